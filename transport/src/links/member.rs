//! One peer of the set: its queues, its rates, its connection; and the set itself.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use quinn::Connection;
use selfchain_types::KeyId;
use selfchain_types::crypto::{PublicKey, Scheme};
use tokio::sync::{Notify, Semaphore};

use super::close::close;
use super::control::{Hello, HelloId};
use super::endpoint::Placed;
use super::meter::{Meter, Reading};
use super::metrics::LinkMetrics;
use super::outbox::Outbox;
use super::standing::{Attempt, Standing};
use super::{Lane, LaneStatus, LinkClose, LinkLimits};

/// Stands for the number of a peer that has left the set.
const NUMBER_NONE: u32 = u32::MAX;

/// A peer, for as long as its key is in the set.
pub(super) struct Member {
    number: AtomicU32,
    outboxes: [Outbox; Lane::ALL.len()],
    /// What may wait of this peer on each lane, in bytes.
    pub(super) budgets: [Arc<Semaphore>; Lane::ALL.len()],
    meter: Mutex<Meter>,
    state: Mutex<State>,
    /// Wakes the task that dials.
    pub(super) changed: Notify,
    /// Since when `heard_ms` counts.
    made_at: Instant,
    /// When the last whole frame came, in milliseconds since `made_at`; `u64::MAX`: none did.
    heard_ms: AtomicU64,
}

struct State {
    standing: Standing,
    /// What it may prove: the key that it signs with first.
    keys: Vec<PublicKey>,
    /// Where it is dialled; `None`: it dials, or nobody does.
    address: Option<SocketAddr>,
    connection: Option<Connection>,
    /// The key that the peer proved on it, or on the one before.
    proved: KeyId,
    stands_since: Instant,
    was_up: bool,
    /// Attempts and short connections since the last good one.
    failures: u32,
    dial_at: Instant,
    barred_until: Instant,
    last: Option<LinkClose>,
}

/// What the dialling task is to do.
pub(super) enum Plan {
    /// The peer has left the set.
    Leave,
    /// There is a connection.
    Rest,
    Wait(Instant),
    Dial(Attempt, SocketAddr),
}

/// How it stands with a peer.
pub(super) struct Now {
    pub(super) address: Option<SocketAddr>,
    pub(super) connection: Option<Connection>,
    pub(super) dial_in: Duration,
    /// Why the last attempt or connection ended.
    pub(super) last: Option<LinkClose>,
}

/// A connection that came to stand.
pub(super) struct Stood {
    /// The one that it replaced.
    pub(super) replaced: Option<Connection>,
    /// Whether the peer had one before.
    pub(super) again: bool,
}

impl Member {
    pub(super) fn new(
        number: u32,
        keys: &[PublicKey],
        address: Option<SocketAddr>,
        own_key: &PublicKey,
        run: u64,
        limits: &LinkLimits,
        metrics: &Arc<LinkMetrics>,
    ) -> Self {
        let now = Instant::now();
        Self {
            number: AtomicU32::new(number),
            outboxes: Lane::ALL.map(|lane| Outbox::new(lane, *limits.lane(lane), Arc::clone(metrics))),
            budgets: limits
                .lanes
                .map(|lane| Arc::new(Semaphore::new(lane.receive_room()))),
            meter: Mutex::new(Meter::new(limits, 0)),
            state: Mutex::new(State {
                standing: Standing::new(is_smaller(own_key, keys), run),
                keys: keys.to_vec(),
                address,
                connection: None,
                proved: KeyId::NONE,
                stands_since: now,
                was_up: false,
                failures: 0,
                dial_at: now,
                barred_until: now,
                last: None,
            }),
            changed: Notify::new(),
            made_at: now,
            heard_ms: AtomicU64::new(u64::MAX),
        }
    }

    /// A whole frame came.
    pub(super) fn heard(&self) {
        self.heard_ms.store(self.age_ms(), Ordering::Relaxed);
    }

    /// How long ago the last whole frame came, if one did.
    pub(super) fn heard_ago(&self) -> Option<Duration> {
        let heard = Some(self.heard_ms.load(Ordering::Relaxed)).filter(|ms| *ms != u64::MAX)?;
        Some(Duration::from_millis(self.age_ms().saturating_sub(heard)))
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.made_at.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }

    /// How full its lanes are, by [`Lane::index`].
    pub(super) fn lanes(&self, limits: &LinkLimits) -> [LaneStatus; Lane::ALL.len()] {
        Lane::ALL.map(|lane| {
            let (send_frames, send_bytes) = self.outbox(lane).waiting();
            let all = limits.lane(lane).receive_room();
            LaneStatus {
                send_frames,
                send_bytes,
                receive_bytes: all.saturating_sub(self.budgets[lane.index()].available_permits()),
            }
        })
    }

    /// What the node calls it; `None` once it has left.
    pub(super) fn number(&self) -> Option<u32> {
        Some(self.number.load(Ordering::Acquire)).filter(|number| *number != NUMBER_NONE)
    }

    /// What TLS may prove of the keys that it may prove.
    pub(super) fn classical_keys(&self) -> Vec<[u8; 32]> {
        self.lock().keys.iter().map(PublicKey::classical).collect()
    }

    /// The key of its that a hello says, where TLS has proved this key or half.
    pub(super) fn claimed(&self, classical: &[u8; 32], hello: &Hello) -> Result<PublicKey, LinkClose> {
        let state = self.lock();
        let named = claim(classical, hello);
        let key = state.keys.iter().find(|key| key.id() == named);
        match key {
            Some(key) if key.classical() == *classical => Ok(key.clone()),
            Some(_) => Err(unproved(hello)),
            None if state.keys.iter().any(|key| key.classical() == *classical) => Err(unproved(hello)),
            None => Err(LinkClose::Removed),
        }
    }

    /// Whether a key that was proved is still one of its keys.
    pub(super) fn holds(&self, proved: &KeyId) -> bool {
        self.lock().holds(proved)
    }

    pub(super) fn outbox(&self, lane: Lane) -> &Outbox {
        &self.outboxes[lane.index()]
    }

    /// Takes one frame of `bytes` from the peer's rates.
    pub(super) fn judge(&self, lane: Lane, bytes: usize, now_ns: u64) -> Reading {
        let mut meter = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
        meter.judge(lane, u64::try_from(bytes).unwrap_or(u64::MAX), now_ns)
    }

    /// Moves it in the set. A new address or key is tried at once, when there is no connection; one that was proved by
    /// a key that it has no more is closed.
    pub(super) fn place(
        &self,
        number: u32,
        keys: &[PublicKey],
        address: Option<SocketAddr>,
        own_key: &PublicKey,
    ) {
        self.number.store(number, Ordering::Release);
        let mut state = self.lock();
        state.standing.compare(is_smaller(own_key, keys));
        if state.keys == keys && state.address == address {
            return;
        }
        state.keys = keys.to_vec();
        state.address = address;
        state.failures = 0;
        state.dial_at = Instant::now().max(state.barred_until);
        let outdated = state.connection.clone();
        let outdated = outdated.filter(|_| !state.holds(&state.proved));
        drop(state);
        if let Some(connection) = outdated {
            close(&connection, LinkClose::Removed, Duration::ZERO);
        }
        self.changed.notify_one();
    }

    /// This end proves another key from now on.
    pub(super) fn own_key(&self, own_key: &PublicKey) {
        let mut state = self.lock();
        let smaller = is_smaller(own_key, &state.keys);
        state.standing.compare(smaller);
    }

    /// It is no longer in the set.
    pub(super) fn leave(&self) {
        self.number.store(NUMBER_NONE, Ordering::Release);
        let connection = self.lock().connection.take();
        if let Some(connection) = connection {
            close(&connection, LinkClose::Removed, Duration::ZERO);
        }
        self.changed.notify_one();
    }

    pub(super) fn plan(&self) -> Plan {
        let mut state = self.lock();
        if self.number().is_none() {
            return Plan::Leave;
        }
        if state.standing.is_connected() {
            return Plan::Rest;
        }
        if state.dial_at > Instant::now() {
            return Plan::Wait(state.dial_at);
        }
        let Some(address) = state.address else {
            return Plan::Rest;
        };
        state
            .standing
            .dial()
            .map_or(Plan::Rest, |attempt| Plan::Dial(attempt, address))
    }

    pub(super) fn say_hello(&self, attempt: Attempt) -> Option<HelloId> {
        self.lock().standing.say_hello(attempt)
    }

    /// The peer answered our hello: its connection stands, unless another does by now.
    pub(super) fn answered(
        &self,
        attempt: Attempt,
        heard: HelloId,
        connection: &Connection,
        proved: &PublicKey,
    ) -> Option<Stood> {
        let mut state = self.lock();
        // Asked under the lock that `leave` takes after it has changed the number.
        let is_it = self.number().is_some() && state.keys.contains(proved);
        let stands = is_it && state.standing.answered(attempt, heard);
        stands.then(|| state.stand(connection, proved))
    }

    /// The peer said hello: the answer, after which its connection stands.
    pub(super) fn take(
        &self,
        heard: HelloId,
        connection: &Connection,
        proved: &PublicKey,
    ) -> Result<(HelloId, Stood), (LinkClose, Duration)> {
        let mut state = self.lock();
        if self.number().is_none() || !state.keys.contains(proved) {
            return Err((LinkClose::Removed, Duration::ZERO));
        }
        let barred_for = state.barred_until.saturating_duration_since(Instant::now());
        if !barred_for.is_zero() {
            return Err((LinkClose::RateLimited, barred_for));
        }
        match state.standing.take(heard) {
            Some(answer) => Ok((answer, state.stand(connection, proved))),
            None => Err((LinkClose::Duplicate, Duration::ZERO)),
        }
    }

    /// An attempt came to nothing: the next one is after `pause(failures)`, or later.
    pub(super) fn give_up(&self, attempt: Attempt, why: LinkClose, pause: impl Fn(u32) -> Duration) {
        let mut state = self.lock();
        state.standing.give_up(attempt);
        state.last = Some(why);
        state.fail(pause);
    }

    /// An attempt was broken off, for no fault of the peer.
    pub(super) fn abandon(&self, attempt: Attempt) {
        self.lock().standing.give_up(attempt);
    }

    /// A connection has ended. Whether it was the one that stood.
    pub(super) fn ended(
        &self,
        heard: HelloId,
        why: LinkClose,
        lasting: Duration,
        pause: impl Fn(u32) -> Duration,
    ) -> bool {
        let mut state = self.lock();
        if !state.standing.ended(heard) {
            return false;
        }
        state.connection = None;
        state.last = Some(why);
        if state.stands_since.elapsed() >= lasting {
            state.failures = 0;
        }
        state.fail(pause);
        drop(state);
        self.changed.notify_one();
        true
    }

    /// Neither lets it in nor dials it for `pause`.
    pub(super) fn bar(&self, pause: Duration) {
        self.lock().barred_until = Instant::now() + pause;
    }

    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.lock().address
    }

    /// How it stands.
    pub(super) fn now(&self) -> Now {
        let state = self.lock();
        Now {
            address: state.address,
            connection: state.connection.clone(),
            dial_in: state.dial_at.saturating_duration_since(Instant::now()),
            last: state.last,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether our key is smaller than the one that a peer signs with.
fn is_smaller(own_key: &PublicKey, keys: &[PublicKey]) -> bool {
    keys.first()
        .is_some_and(|key| own_key.as_bytes() < key.as_bytes())
}

/// The key that a hello says, where TLS has proved `classical`.
fn claim(classical: &[u8; 32], hello: &Hello) -> KeyId {
    let plain = || KeyId::of(Scheme::Ed25519, classical);
    hello.proof.as_ref().map_or_else(plain, |proof| proof.key)
}

/// Why a hello is refused whose key TLS proved a half of.
fn unproved(hello: &Hello) -> LinkClose {
    match hello.proof {
        Some(_) => LinkClose::ProofInvalid,
        None => LinkClose::ProofMissing,
    }
}

impl State {
    fn holds(&self, proved: &KeyId) -> bool {
        self.keys.iter().any(|key| key.id() == *proved)
    }

    fn stand(&mut self, connection: &Connection, proved: &PublicKey) -> Stood {
        self.stands_since = Instant::now();
        self.proved = proved.id();
        Stood {
            replaced: self.connection.replace(connection.clone()),
            again: std::mem::replace(&mut self.was_up, true),
        }
    }

    fn fail(&mut self, pause: impl Fn(u32) -> Duration) {
        self.dial_at = (Instant::now() + pause(self.failures)).max(self.barred_until);
        self.failures = self.failures.saturating_add(1);
    }
}

/// The set, by key for the handshake and by number for the node.
#[derive(Default)]
pub(super) struct Roster(RwLock<Members>);

#[derive(Default)]
struct Members {
    by_key: HashMap<KeyId, Arc<Member>>,
    /// What TLS may prove of those keys.
    classical: HashSet<[u8; 32]>,
    by_number: BTreeMap<u32, Arc<Member>>,
}

impl Roster {
    pub(super) fn by_key(&self, key: &KeyId) -> Option<Arc<Member>> {
        self.read(|members| members.by_key.get(key).cloned())
    }

    /// Whether this is somebody's key, or the half of one that TLS proves.
    pub(super) fn has_classical(&self, key: &[u8; 32]) -> bool {
        self.read(|members| members.classical.contains(key))
    }

    /// Who says a hello, and with which key, where TLS has proved this key or half. Two may have the same half, if one
    /// of them forged a signature of the other's: the whole key tells them apart.
    pub(super) fn claimed(
        &self,
        classical: &[u8; 32],
        hello: &Hello,
    ) -> Result<(Arc<Member>, PublicKey), LinkClose> {
        match self.by_key(&claim(classical, hello)) {
            Some(member) => {
                let key = member.claimed(classical, hello)?;
                Ok((member, key))
            }
            None if self.has_classical(classical) => Err(unproved(hello)),
            None => Err(LinkClose::Removed),
        }
    }

    pub(super) fn by_number(&self, number: u32) -> Option<Arc<Member>> {
        self.read(|members| members.by_number.get(&number).cloned())
    }

    /// In the order of positions.
    pub(super) fn all(&self) -> Vec<Arc<Member>> {
        self.read(|members| members.by_number.values().cloned().collect())
    }

    pub(super) fn has_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let is_there =
            |member: &Arc<Member>| member.address().map(|known| known.ip().to_canonical()) == Some(address);
        self.read(|members| members.by_number.values().any(is_there))
    }

    /// Puts `members`, each with its keys, in place of those that were. Returns those that are no longer there.
    pub(super) fn replace(&self, members: &[Placed]) -> Vec<Arc<Member>> {
        let mut set = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut set.by_number);
        set.by_key = members
            .iter()
            .flat_map(|(_, keys, member)| keys.iter().map(move |key| (key.id(), Arc::clone(member))))
            .collect();
        let keys = members.iter().flat_map(|(_, keys, _)| keys);
        set.classical = keys.map(PublicKey::classical).collect();
        set.by_number = members
            .iter()
            .map(|(number, _, member)| (*number, Arc::clone(member)))
            .collect();
        let stays = |left: &Arc<Member>| members.iter().any(|(.., member)| Arc::ptr_eq(member, left));
        before.into_values().filter(|member| !stays(member)).collect()
    }

    fn read<T>(&self, look: impl FnOnce(&Members) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Roster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.read(|members| members.by_key.len());
        f.debug_tuple("Roster").field(&keys).finish()
    }
}
