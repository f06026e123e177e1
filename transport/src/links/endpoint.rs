//! The links as the node holds them: start, send, what came in, the set, close.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::{Endpoint, TokioRuntime, TransportConfig, VarInt};
use selfchain_types::Hash;
use selfchain_types::crypto::{PublicKey, SigningKey};
use selfchain_types::seam::standing::HELD_KEYS_MAX;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::inbox::Inbox;
use super::member::{Member, Roster};
use super::tls::Identity;
use super::{Event, Lane, LinkClose, LinkLimits, LinkMetrics, PEERS_MAX, Wake, accept, dial, tls};
use crate::client::backoff::random_u64;
use crate::quic::{DatagramError, TransportTuning, bind, endpoint_config, transport_config};
use crate::tls::{TlsError, refuse_key_log};

/// QUIC's window for control frames, beside those of the lanes. Many more than one end ever sends at once.
const CONTROL_WINDOW_BYTES: u32 = 64 << 10;

/// What the links need to start.
#[derive(Clone)]
pub struct Options {
    /// Where to listen, and from where to dial; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Peers of another chain are refused.
    pub chain: Hash,
    /// The value of the environment variable `SSLKEYLOGFILE`, which this crate does not read itself.
    pub key_log_path: Option<OsString>,
    /// Seeds the jitter of the pauses between attempts: different for every node.
    pub seed: u64,
    /// What peers may use.
    pub limits: LinkLimits,
    /// Told of every event.
    pub wake: Option<Wake>,
}

/// One validator of the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its number in the set: the name that [`Links::send`] and [`Event`] use.
    pub number: u32,
    /// Keys, one of which it must prove to hold: the one that it signs with first. 1 to [`HELD_KEYS_MAX`].
    pub keys: Vec<PublicKey>,
    /// Where it listens; `None`: it is not dialled.
    pub address: Option<SocketAddr>,
}

/// A set that cannot be. Nothing has changed then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeersError {
    /// A number or a key stands twice in it.
    #[error("number {number} or a key of its stands twice in the set")]
    Twice {
        /// The second of the two.
        number: u32,
    },
    /// More peers than a mesh is for.
    #[error("{peers} peers, where {PEERS_MAX} are possible")]
    TooMany {
        /// Peers in the set.
        peers: usize,
    },
    /// Keys that the links cannot pin.
    #[error("the keys of number {number} are not 1 to {HELD_KEYS_MAX} that a validator may sign with")]
    Key {
        /// Whose.
        number: u32,
    },
}

/// Why the links did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The key or the TLS configuration was refused, or a key log is asked for.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address could not be listened on.
    #[error("cannot listen on {listen}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The datagram size is not possible.
    #[error(transparent)]
    Datagram(#[from] DatagramError),
    /// The set cannot be.
    #[error(transparent)]
    Peers(#[from] PeersError),
    /// The operating system gave no randomness.
    #[error("no randomness from the operating system")]
    Random,
}

/// Why a frame was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The peer's queue is full and the lane refuses ([`Lane::when_full`]). Later there may be room.
    #[error("the queue of peer {to} for {lane} is full")]
    Full {
        /// The peer.
        to: u32,
        /// The lane.
        lane: Lane,
    },
    /// Nobody else has this number.
    #[error("no peer has number {to}")]
    Unknown {
        /// The number.
        to: u32,
    },
    /// The frame is empty or above the lane's limit; a bug of the caller.
    #[error("a frame of {len} bytes for {lane}, where 1 to {len_max} are allowed")]
    Length {
        /// The lane.
        lane: Lane,
        /// Bytes in the frame.
        len: usize,
        /// The limit.
        len_max: usize,
    },
}

/// How it stands with one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its number.
    pub number: u32,
    /// Where it is dialled; `None`: it is not.
    pub address: Option<SocketAddr>,
    /// Round trip of the connection that stands; `None`: there is none.
    pub round_trip: Option<Duration>,
    /// Without a connection: after how long it is dialled next.
    pub dial_in: Option<Duration>,
    /// Why the last attempt or connection ended, if one did.
    pub last: Option<LinkClose>,
    /// How long ago the last whole frame came, on this or an earlier connection; `None`: none did.
    pub heard_ago: Option<Duration>,
    /// Bytes of UDP that the connection that stands has sent; 0 without one.
    pub sent_bytes: u64,
    /// And received.
    pub received_bytes: u64,
    /// By [`Lane::index`].
    pub lanes: [LaneStatus; Lane::ALL.len()],
}

/// How full one lane of one peer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LaneStatus {
    /// Frames that wait to be sent.
    pub send_frames: usize,
    /// Their bytes.
    pub send_bytes: usize,
    /// Bytes received, or being received, that the node has not taken yet; each frame counts 64 more.
    pub receive_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// What is queued is sent; nothing new begins.
    Draining,
    Closed,
}

/// What all tasks share.
pub(super) struct Shared {
    pub(super) limits: LinkLimits,
    pub(super) chain: [u8; 32],
    pub(super) identity: Arc<Identity>,
    pub(super) transport: Arc<TransportConfig>,
    pub(super) endpoint: Endpoint,
    pub(super) roster: Arc<Roster>,
    pub(super) inbox: Inbox,
    pub(super) metrics: Arc<LinkMetrics>,
    pub(super) phase: watch::Sender<Phase>,
    tasks: watch::Sender<usize>,
    jitter: Mutex<Jitter>,
    run: u64,
    started_at: Instant,
}

impl Shared {
    /// Nanoseconds since the start.
    pub(super) fn now_ns(&self) -> u64 {
        u64::try_from(self.started_at.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(super) fn is_open(&self) -> bool {
        *self.phase.borrow() == Phase::Open
    }

    /// The pause after so many failures, at least `at_least`.
    pub(super) fn pause(&self, failures: u32, at_least: Duration) -> Duration {
        let random = self.jitter.lock().unwrap_or_else(PoisonError::into_inner).next();
        self.limits.backoff.pause(failures, random).max(at_least)
    }

    /// Runs `task`; [`Links::close`] waits for its end.
    pub(super) fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        let mark = TaskMark::set(Arc::clone(self));
        tokio::spawn(async move {
            task.await;
            drop(mark);
        });
    }
}

/// One task counted, until it is dropped, however it ends.
struct TaskMark(Arc<Shared>);

impl TaskMark {
    fn set(shared: Arc<Shared>) -> Self {
        shared.tasks.send_modify(|tasks| *tasks += 1);
        Self(shared)
    }
}

impl Drop for TaskMark {
    fn drop(&mut self) {
        self.0.tasks.send_modify(|tasks| *tasks -= 1);
    }
}

/// The links of one validator to all others. Every method may be called from any thread, and none but
/// [`Links::next`] and [`Links::close`] waits. Dropping it closes every connection at once.
pub struct Links {
    shared: Arc<Shared>,
    runtime: Handle,
    address: SocketAddr,
    /// One change of the set at a time.
    changing: Mutex<()>,
}

impl Links {
    /// Listens, and dials every peer, on `runtime`, which must have I/O and time enabled. The own key may be
    /// among `peers` and is passed over.
    ///
    /// # Errors
    /// [`StartError`]; nothing is listening then.
    pub fn start(
        options: Options,
        key: &SigningKey,
        peers: &[Peer],
        runtime: &Handle,
    ) -> Result<Self, StartError> {
        refuse_key_log(options.key_log_path.as_ref())?;
        check_own(key)?;
        let (limits, metrics, roster) = (
            options.limits,
            Arc::<LinkMetrics>::default(),
            Arc::<Roster>::default(),
        );
        let window = limits.stream_window_bytes;
        let all_windows = window.saturating_mul(4).saturating_add(CONTROL_WINDOW_BYTES);
        let transport = transport_config(&TransportTuning {
            bidirectional_streams_max: 1,
            unidirectional_streams_max: 4,
            stream_receive_window_bytes: window,
            // Room for all lanes at their limits, here and at the sender: a full lane takes nothing from another.
            receive_window_bytes: all_windows,
            send_window_bytes: u64::from(all_windows) * 2,
            datagram_bytes_max: limits.datagram_bytes_max,
            idle_timeout: limits.idle_timeout,
            keep_alive: Some(limits.keep_alive),
        });
        let identity = Arc::new(Identity::new(key)?);
        let crypto = tls::server_config(Arc::clone(&identity), &roster)?;
        let mut quic = quinn::ServerConfig::with_crypto(Arc::new(crypto));
        quic.transport_config(Arc::clone(&transport))
            .migration(false)
            .max_incoming(limits.arrivals_max + limits.strangers_max);

        let endpoint_config = endpoint_config(limits.datagram_bytes_max)?;
        let listen = |source| StartError::Listen {
            listen: options.listen,
            source,
        };
        let socket = bind(options.listen, limits.socket_buffer_bytes).map_err(listen)?;
        let address = socket.local_addr().map_err(listen)?;
        let _context = runtime.enter();
        let endpoint =
            Endpoint::new(endpoint_config, Some(quic), socket, Arc::new(TokioRuntime)).map_err(listen)?;

        let shared = Arc::new(Shared {
            chain: *options.chain.as_bytes(),
            identity,
            transport,
            endpoint,
            roster,
            inbox: Inbox::new(options.wake, Arc::clone(&metrics)),
            metrics,
            phase: watch::Sender::new(Phase::Open),
            tasks: watch::Sender::new(0),
            jitter: Mutex::new(Jitter(options.seed)),
            run: random_u64().ok_or(StartError::Random)?,
            started_at: Instant::now(),
            limits,
        });
        let links = Self {
            runtime: runtime.clone(),
            address,
            changing: Mutex::default(),
            shared,
        };
        links.set_peers(peers)?;
        links.shared.spawn(accept::accept(Arc::clone(&links.shared)));
        tracing::info!(%address, peers = peers.len(), "links.listening");
        Ok(links)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has done. The counters stay readable after the links are gone.
    #[must_use]
    pub fn metrics(&self) -> Arc<LinkMetrics> {
        Arc::clone(&self.shared.metrics)
    }

    /// Queues one frame for one peer, connected or not. Never waits.
    ///
    /// # Errors
    /// [`SendError`]; the frame is not queued then.
    pub fn send(&self, to: u32, lane: Lane, frame: Bytes) -> Result<(), SendError> {
        self.check_length(lane, &frame)?;
        let Some(member) = self.shared.roster.by_number(to) else {
            self.shared.metrics.lane(lane).frames_unaddressed.add(1);
            return Err(SendError::Unknown { to });
        };
        member
            .outbox(lane)
            .push(frame)
            .map_err(|_| SendError::Full { to, lane })
    }

    /// Queues one frame for every peer whose queue has room. Returns for how many. The bytes are shared.
    ///
    /// # Errors
    /// [`SendError::Length`].
    pub fn broadcast(&self, lane: Lane, frame: &Bytes) -> Result<usize, SendError> {
        self.check_length(lane, frame)?;
        let members = self.shared.roster.all();
        let queued = members
            .iter()
            .filter(|member| member.outbox(lane).push(frame.clone()).is_ok());
        Ok(queued.count())
    }

    /// What happened next, if anything did. Ups and downs first, then frames by lane, votes first.
    #[must_use]
    pub fn try_next(&self) -> Option<Event> {
        self.shared.inbox.try_next()
    }

    /// As [`Links::try_next`], waiting for up to `timeout`.
    #[must_use]
    pub fn next(&self, timeout: Duration) -> Option<Event> {
        self.shared.inbox.next(timeout)
    }

    /// Changes the set. Peers that stay keep their connection, what is queued for them, and their rates; a new
    /// address counts from the next attempt on. Those that leave are closed as `removed`, and no event of theirs
    /// is handed out any more. The own key may be among `peers` and is passed over.
    ///
    /// # Errors
    /// [`PeersError`]; nothing has changed then.
    pub fn set_peers(&self, peers: &[Peer]) -> Result<(), PeersError> {
        let shared = &self.shared;
        if peers.len() > PEERS_MAX {
            return Err(PeersError::TooMany { peers: peers.len() });
        }
        let _context = self.runtime.enter();
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = shared.identity.shown();
        let own_key = shown.key.public();
        let (mut numbers, mut keys, mut wanted) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for peer in peers {
            let number = peer.number;
            let is_provable = |key: &PublicKey| key.scheme().can_vote();
            if !(1..=HELD_KEYS_MAX).contains(&peer.keys.len()) || !peer.keys.iter().all(is_provable) {
                return Err(PeersError::Key { number });
            }
            if !numbers.insert(number) || !peer.keys.iter().all(|key| keys.insert(key.id())) {
                return Err(PeersError::Twice { number });
            }
            if !peer.keys.contains(own_key) {
                wanted.push((number, peer.keys.clone(), peer.address));
            }
        }
        let (mut members, mut placed, mut new) = (Vec::new(), Vec::new(), Vec::new());
        for (number, keys, address) in wanted {
            // Who is known by any of its keys stays who it is.
            let known = keys.iter().find_map(|key| shared.roster.by_key(&key.id()));
            let is_free =
                |known: &Arc<Member>| members.iter().all(|(.., one): &Placed| !Arc::ptr_eq(one, known));
            let member = match known.filter(is_free) {
                Some(known) => {
                    placed.push((number, keys.clone(), address, Arc::clone(&known)));
                    known
                }
                None => {
                    let (limits, metrics) = (&shared.limits, &shared.metrics);
                    let member = Member::new(number, &keys, address, own_key, shared.run, limits, metrics);
                    let member = Arc::new(member);
                    new.push(Arc::clone(&member));
                    member
                }
            };
            members.push((number, keys, member));
        }
        let left = shared.roster.replace(&members);
        for (number, keys, address, member) in placed {
            member.place(number, &keys, address, own_key);
        }
        for member in left {
            member.leave();
        }
        for member in new {
            shared.spawn(dial::keep_dialling(Arc::clone(shared), member));
        }
        Ok(())
    }

    /// Proves another key, from the next handshake on. Connections stay: a peer closes those that a key proved which it
    /// does not know any more.
    ///
    /// # Errors
    /// [`StartError::Tls`], [`StartError::Peers`]: the key cannot be proved; nothing has changed.
    pub fn set_key(&self, key: &SigningKey) -> Result<(), StartError> {
        check_own(key)?;
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.identity.set(key)?;
        for member in self.shared.roster.all() {
            member.own_key(key.public());
        }
        Ok(())
    }

    /// How it stands with every peer, by number.
    #[must_use]
    pub fn status(&self) -> Vec<PeerStatus> {
        let members = self.shared.roster.all();
        let status = members.iter().filter_map(|member| {
            let now = member.now();
            let stats = now.connection.as_ref().map(quinn::Connection::stats);
            Some(PeerStatus {
                number: member.number()?,
                address: now.address,
                dial_in: now.connection.is_none().then_some(now.dial_in),
                sent_bytes: stats.map_or(0, |stats| stats.udp_tx.bytes),
                received_bytes: stats.map_or(0, |stats| stats.udp_rx.bytes),
                round_trip: now.connection.map(|connection| connection.rtt()),
                last: now.last,
                heard_ago: member.heard_ago(),
                lanes: member.lanes(&self.shared.limits),
            })
        });
        status.collect()
    }

    /// Sends what is queued for connected peers, ends every connection as `shutting_down`, and waits for all of
    /// it, at most for `timeout`. Returns whether all was sent by then; the rest is cut. Must not be called on a
    /// thread of the runtime.
    #[must_use]
    pub fn close(self, timeout: Duration) -> bool {
        self.shared.phase.send_replace(Phase::Draining);
        let (done, ended) = sync_channel(1);
        let shared = Arc::clone(&self.shared);
        self.runtime.spawn(async move {
            let mut tasks = shared.tasks.subscribe();
            // The sender lives in `shared`, so that this ends only when no task is left.
            drop(tasks.wait_for(|tasks| *tasks == 0).await);
            shared.endpoint.wait_idle().await;
            if done.send(()).is_err() {
                tracing::debug!("the links ended after nobody waited for it any more");
            }
        });
        let all = ended.recv_timeout(timeout).is_ok();
        tracing::info!(address = %self.address, all, "links.closed");
        all
    }

    fn check_length(&self, lane: Lane, frame: &Bytes) -> Result<(), SendError> {
        let (len, len_max) = (frame.len(), self.shared.limits.lane(lane).frame_bytes_max);
        if len == 0 || len > len_max || u32::try_from(len).is_err() {
            self.shared.metrics.lane(lane).frames_unfit.add(1);
            return Err(SendError::Length { lane, len, len_max });
        }
        Ok(())
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.shared.phase.send_replace(Phase::Closed);
        let why = LinkClose::ShuttingDown;
        self.shared
            .endpoint
            .close(VarInt::from_u32(why.code()), why.name().as_bytes());
    }
}

/// A member of a set: its number, its keys, itself.
pub(super) type Placed = (u32, Vec<PublicKey>, Arc<Member>);

/// Whether a node may show this key.
fn check_own(key: &SigningKey) -> Result<(), PeersError> {
    let can_vote = key.public().scheme().can_vote();
    can_vote.then_some(()).ok_or(PeersError::Key { number: 0 })
}

/// SplitMix64: the jitter of one node, the same for the same seed.
struct Jitter(u64);

impl Jitter {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        u32::try_from(mixed >> 32).unwrap_or(u32::MAX)
    }
}
