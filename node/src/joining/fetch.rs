//! Fetch: asks for offers, takes one, and has its parts proved one by one as they come.

use super::index::Index;
use super::install::{JOINING_DIR, mark};
use crate::recover::{RestoreFailure, restore};
use selfchain_engine::commit::{Anchor, AnchorError, Chain, ChainSnapshot};
use selfchain_engine::proof::{FollowError, Handover, TrustedSet};
use selfchain_storage::{Disk, HandoverFile, SnapshotConfig, Snapshots, chunk_hash};
use selfchain_types::block::Header;
use selfchain_types::codec::{self, DecodeError};
use selfchain_types::peer::{Asked, HANDOVERS_MAX, PeerMessage, SnapshotOffer};
use selfchain_types::roots::Table;
use selfchain_types::seam::snapshot::{SnapshotError, SnapshotStore, SnapshotWriter};
use selfchain_types::{Hash, Height, TimeNs};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use thiserror::Error;

/// So many blocks behind, a validator begins at a snapshot of another's, unless said otherwise.
pub const JOIN_BEHIND_BLOCKS: u64 = 65_536;
/// Chunks that are asked for and not here yet, at most.
pub const CHUNKS_IN_FLIGHT: usize = 8;
/// Most bytes of a snapshot's chunks.
pub const SNAPSHOT_BYTES_MAX: u64 = 1 << 40;
/// Most bytes of one chunk: what the ledger writes, and its head.
const CHUNK_BYTES_MAX: u32 = (1 << 20) + 64;
/// Snapshots kept aside.
pub(super) const JOINED_KEEP: usize = 1;
/// How long offers are waited for.
const OFFERS_WAIT_NS: u64 = 500_000_000;
/// How long a part is waited for before it is asked of another peer.
const PART_WAIT_NS: u64 = 2_000_000_000;
/// How often a part is asked for before the snapshot is given up.
const TRIES_MAX: u32 = 16;
/// When offers are asked for again, after something went wrong.
const AGAIN_NS: u64 = 1_000_000_000;
/// When offers are asked for again, after there was none of use.
const AGAIN_NONE_NS: u64 = 5_000_000_000;
/// For so long nothing is asked of a peer whose word did not hold.
const DISTRUST_NS: u64 = 60_000_000_000;
/// Most offers that are remembered because they did not hold.
const REFUSED_MAX: usize = 64;
/// A peer that does not send a part now is believed for at most so long.
const REFUSING_NS_MAX: u64 = 10_000_000_000;

/// When a validator joins by snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinConfig {
    /// So many blocks behind it does; 0: only where no peer has the next block any more.
    pub behind_blocks: u64,
}

impl Default for JoinConfig {
    fn default() -> Self {
        Self {
            behind_blocks: JOIN_BEHIND_BLOCKS,
        }
    }
}

/// Why what a peer says of a snapshot is refused.
#[derive(Debug, Error)]
pub enum Refused {
    /// The index is another than the one offered.
    #[error("its index is not the one that was offered")]
    Id,
    /// The index cannot be read.
    #[error("its index cannot be read")]
    Index(#[source] DecodeError),
    /// The snapshot is of another height, or has other chunks, than the offer says.
    #[error("its index has another {what} than the offer")]
    Offer {
        /// What differs.
        what: &'static str,
    },
    /// It says of past heights what no header proves.
    #[error("its index has tables of roots of past heights, which no header proves")]
    Unproved,
    /// It is larger than any may be.
    #[error("{got} bytes {unit} are over the limit of {max}")]
    TooLarge {
        /// What it says.
        got: u64,
        /// The limit.
        max: u64,
        /// Of what.
        unit: &'static str,
    },
    /// No header that a quorum decided commits to it.
    #[error("it is not proved")]
    Anchor(#[from] AnchorError),
    /// A change of the set of validators does not hold.
    #[error("a change of the set of validators does not hold")]
    Follow(#[from] FollowError),
    /// A change of the set of validators cannot be read.
    #[error("a change of the set of validators cannot be read")]
    Handover(#[source] DecodeError),
    /// Nothing leads to the validators that decided the header.
    #[error("no change of the set of validators after height {since} leads to those of height {height}")]
    NoWay {
        /// From where on.
        since: Height,
        /// The header's height.
        height: Height,
    },
    /// A chunk is not the one that the index says.
    #[error("chunk {part} of {} has another {what} than the index says", table_name(*.table))]
    Chunk {
        /// Which part.
        part: u32,
        /// Of which table.
        table: u16,
        /// What differs.
        what: &'static str,
    },
    /// The chunks have another state than the header commits to.
    #[error("its chunks are not the state that the header commits to")]
    State(#[source] Box<RestoreFailure>),
}

fn table_name(code: u16) -> &'static str {
    Table::from_code(code).map_or("an unknown table", Table::name)
}

/// Something went wrong here, by nobody's fault but the disk's.
#[derive(Debug, Error)]
enum Failed {
    #[error("the snapshot cannot be put aside")]
    Snapshots(#[from] SnapshotError),
    #[error("the disk failed")]
    Io(#[from] io::Error),
}

/// How far a snapshot is, for whoever operates the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinView {
    /// Its height.
    pub height: Height,
    /// Chunks that are here.
    pub chunks: u32,
    /// Chunks that it has.
    pub chunks_all: u32,
    /// Bytes of the chunks that are here.
    pub bytes: u64,
    /// Bytes of all chunks.
    pub bytes_all: u64,
    /// Whom it is fetched from.
    pub from: Vec<u32>,
}

/// Where the validator stands that may join.
pub struct Standpoint<'a> {
    /// Its chain.
    pub chain: &'a Chain,
    /// The newest height that each peer says it decided, of those that are ahead.
    pub ahead: &'a [(u32, Height)],
    /// The power of a peer in the chain's next set.
    pub power: &'a dyn Fn(u32) -> u64,
}

/// Fetches a snapshot when the chain is too far behind to go on block by block.
pub struct Joining {
    config: JoinConfig,
    disk: Arc<dyn Disk>,
    handovers: Arc<HandoverFile>,
    state: State,
    /// Offers that did not hold, the oldest first.
    refused: Vec<Hash>,
    /// Peers whose word did not hold, and until when nothing is asked of them.
    distrusted: BTreeMap<u32, TimeNs>,
    /// Peers that are ahead and do not have the block after `tip`.
    starving: BTreeSet<u32>,
    tip: Height,
    /// What peers sent that did not hold.
    refusals: u64,
    /// Chunks taken, of all snapshots.
    taken: u64,
}

enum State {
    Idle {
        again_at: TimeNs,
    },
    Asking {
        until: TimeNs,
        asked: usize,
        offers: BTreeMap<u32, Option<SnapshotOffer>>,
    },
    Fetching(Box<Fetching>),
    Ready(Height),
}

struct Fetching {
    offer: SnapshotOffer,
    /// Who offered it.
    peers: Vec<u32>,
    /// Whether more than a third of the power offers it, a scorer's memory among it: nobody honest would, were that
    /// memory wrong.
    takes_memory: bool,
    proof: Option<Proof>,
    set: TrustedSet,
    staged: Snapshots,
    writer: Option<Box<dyn SnapshotWriter>>,
    /// The next part to be put: 1 is the first chunk.
    next: u32,
    /// Parts asked for; part 0 is the index.
    in_flight: BTreeMap<u32, InFlight>,
    /// Chunks that are here before their turn.
    arrived: BTreeMap<u32, Vec<u8>>,
    /// Handovers asked for.
    following: Option<InFlight>,
    follow_tries: u32,
    /// Peers that do not send now, and until when.
    refusing: BTreeMap<u32, TimeNs>,
    turns: usize,
    bytes: u64,
}

/// The index, read.
struct Proof {
    index: Index,
    snapshot: ChainSnapshot,
    anchor: Anchor,
    committing: Header,
    /// Each chunk's number in its table.
    numbers: Vec<u64>,
}

#[derive(Clone, Copy)]
struct InFlight {
    peer: u32,
    until: TimeNs,
    tries: u32,
}

/// A question for one peer.
pub type Question = (u32, PeerMessage<'static>);

impl Joining {
    /// Of a chain on this disk.
    pub fn new(disk: Arc<dyn Disk>, handovers: Arc<HandoverFile>, config: JoinConfig) -> Self {
        Self {
            config,
            disk,
            handovers,
            state: State::Idle {
                again_at: TimeNs::ZERO,
            },
            refused: Vec::new(),
            distrusted: BTreeMap::new(),
            starving: BTreeSet::new(),
            tip: Height::GENESIS,
            refusals: 0,
            taken: 0,
        }
    }

    /// Whether a snapshot is asked for or fetched: then no blocks need be.
    pub fn is_fetching(&self) -> bool {
        !matches!(self.state, State::Idle { .. })
    }

    /// The snapshot that the next start begins with, once it is whole.
    pub fn ready(&self) -> Option<Height> {
        match self.state {
            State::Ready(height) => Some(height),
            _ => None,
        }
    }

    /// How far it is; `None` while nothing is fetched.
    pub fn view(&self) -> Option<JoinView> {
        let State::Fetching(fetching) = &self.state else {
            return None;
        };
        Some(JoinView {
            height: fetching.offer.height,
            chunks: fetching.next - 1,
            chunks_all: fetching.offer.chunks,
            bytes: fetching.bytes,
            bytes_all: fetching.offer.bytes,
            from: fetching.peers.clone(),
        })
    }

    /// How often what a peer sent did not hold.
    pub fn refusals(&self) -> u64 {
        self.refusals
    }

    /// Chunks taken, of all snapshots.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// A peer answered a question for blocks, and did not have the next one.
    pub fn starved_by(&mut self, from: u32) {
        self.starving.insert(from);
    }

    /// When [`Self::clock`] may have something to do.
    pub fn wake(&self) -> Option<TimeNs> {
        match &self.state {
            State::Idle { .. } | State::Ready(_) => None,
            State::Asking { until, .. } => Some(*until),
            State::Fetching(fetching) => {
                let waits = fetching.in_flight.values().chain(&fetching.following);
                let refusing = fetching.refusing.values().copied();
                waits.map(|one| one.until).chain(refusing).min()
            }
        }
    }

    /// Time passed: asks what is to be asked.
    pub fn clock(&mut self, at: &Standpoint<'_>, now: TimeNs) -> Vec<Question> {
        self.distrusted.retain(|_, until| now < *until);
        let tip = at.chain.tip().height;
        if self.tip != tip {
            self.tip = tip;
            self.starving.clear();
        }
        match &self.state {
            State::Idle { again_at } if now >= *again_at && self.is_due(at) => self.ask_for_offers(at, now),
            State::Asking { until, asked, offers } if now >= *until || offers.len() >= *asked => {
                self.choose(at, now)
            }
            State::Fetching(fetching) if fetching.offer.height <= at.chain.tip().height => {
                tracing::info!(height = %fetching.offer.height, "blocks came sooner than the snapshot");
                self.rest(now, AGAIN_NONE_NS);
                Vec::new()
            }
            State::Fetching(_) => self.go_on(at, now),
            _ => Vec::new(),
        }
    }

    /// Whether it is too far behind, or nobody has the next block.
    fn is_due(&self, at: &Standpoint<'_>) -> bool {
        let tip = at.chain.tip().height;
        let most = at
            .ahead
            .iter()
            .map(|(_, theirs)| theirs.0.saturating_sub(tip.0))
            .max();
        let is_far = self.config.behind_blocks > 0 && most >= Some(self.config.behind_blocks);
        is_far || self.is_starved(at)
    }

    fn is_starved(&self, at: &Standpoint<'_>) -> bool {
        !self.starving.is_empty() && at.ahead.iter().all(|(peer, _)| self.starving.contains(peer))
    }

    fn ask_for_offers(&mut self, at: &Standpoint<'_>, now: TimeNs) -> Vec<Question> {
        let ahead = at.ahead.iter().map(|(peer, _)| *peer);
        let asked: BTreeSet<u32> = ahead
            .chain(self.starving.iter().copied())
            .filter(|peer| !self.distrusted.contains_key(peer))
            .collect();
        if asked.is_empty() {
            return Vec::new();
        }
        self.state = State::Asking {
            until: later(now, OFFERS_WAIT_NS),
            asked: asked.len(),
            offers: BTreeMap::new(),
        };
        let ask = |peer| (peer, PeerMessage::WantSnapshot);
        asked.into_iter().map(ask).collect()
    }

    /// A peer says which snapshot it has.
    pub fn offered(&mut self, from: u32, offer: Option<SnapshotOffer>) {
        if self.distrusted.contains_key(&from) {
            return;
        }
        match &mut self.state {
            State::Asking { offers, .. } => {
                offers.insert(from, offer);
            }
            // One more who has it.
            State::Fetching(fetching) if offer == Some(fetching.offer) && !fetching.peers.contains(&from) => {
                fetching.peers.push(from);
            }
            _ => {}
        }
    }

    /// Takes the highest snapshot that is offered, if it is of use.
    fn choose(&mut self, at: &Standpoint<'_>, now: TimeNs) -> Vec<Question> {
        let State::Asking { offers, .. } = &self.state else {
            return Vec::new();
        };
        let behind = if self.is_starved(at) {
            0
        } else {
            self.config.behind_blocks
        };
        let least = at.chain.tip().height.0.saturating_add(behind.max(1));
        let mut groups: BTreeMap<(Height, Hash), (SnapshotOffer, Vec<u32>)> = BTreeMap::new();
        for (peer, offer) in offers {
            let Some(offer) = offer.filter(|offer| offer.height.0 >= least && self.may_take(offer)) else {
                continue;
            };
            let group = groups.entry((offer.height, offer.id));
            let (known, peers) = group.or_insert_with(|| (offer, Vec::new()));
            if *known == offer {
                peers.push(*peer);
            }
        }
        let validators = at.chain.validators();
        let total: u128 = validators.iter().map(|one| u128::from(one.power)).sum();
        let is_backed = |peers: &[u32]| {
            let theirs = peers.iter().map(|peer| u128::from((at.power)(*peer)));
            theirs.sum::<u128>() * 3 > total
        };
        // One that somebody honest offers first, since it may bring a scorer's memory; then the newest.
        let best = groups
            .into_iter()
            .max_by_key(|(place, (_, peers))| (is_backed(peers), *place));
        let Some((_, (offer, peers))) = best else {
            tracing::info!("no validator offers a snapshot of use; asking again later");
            self.rest(now, AGAIN_NONE_NS);
            return Vec::new();
        };
        let takes_memory = is_backed(&peers);
        match self.begin(at.chain, offer, peers, takes_memory) {
            Ok(fetching) => {
                tracing::info!(height = %offer.height, bytes = offer.bytes, chunks = offer.chunks, from = ?fetching.peers, "fetching a snapshot");
                self.state = State::Fetching(Box::new(fetching));
                self.go_on(at, now)
            }
            Err(error) => {
                self.stop_for_now(&error, now);
                Vec::new()
            }
        }
    }

    fn may_take(&self, offer: &SnapshotOffer) -> bool {
        !self.refused.contains(&offer.id) && offer.bytes <= SNAPSHOT_BYTES_MAX
    }

    fn begin(
        &self,
        chain: &Chain,
        offer: SnapshotOffer,
        peers: Vec<u32>,
        takes_memory: bool,
    ) -> Result<Fetching, Failed> {
        let config = SnapshotConfig {
            keep: JOINED_KEEP,
            ..SnapshotConfig::default()
        };
        let staged = Snapshots::open_in(Arc::clone(&self.disk), JOINING_DIR, config)?;
        for left in staged.list()? {
            staged.remove(left)?;
        }
        Ok(Fetching {
            offer,
            peers,
            takes_memory,
            proof: None,
            set: self.newest_set(chain)?,
            staged,
            writer: None,
            next: 1,
            in_flight: BTreeMap::new(),
            arrived: BTreeMap::new(),
            following: None,
            follow_tries: 0,
            refusing: BTreeMap::new(),
            turns: 0,
            bytes: 0,
        })
    }

    /// The newest set that is trusted: the chain's next one, and what was followed from it before.
    fn newest_set(&self, chain: &Chain) -> io::Result<TrustedSet> {
        let mut set = TrustedSet::new(chain.tip().height.next(), chain.validators().to_vec());
        loop {
            let known = self
                .handovers
                .read_from(set.since().0, HANDOVERS_MAX, usize::MAX)?;
            let before = set.since();
            for handover in known.iter().filter_map(|bytes| Handover::decode(bytes).ok()) {
                if set.follow(&chain.chain_id(), &handover).is_err() {
                    return Ok(set);
                }
            }
            if set.since() == before {
                return Ok(set);
            }
        }
    }

    /// Does whatever is next, as far as it can without an answer.
    fn go_on(&mut self, at: &Standpoint<'_>, now: TimeNs) -> Vec<Question> {
        let State::Fetching(fetching) = &mut self.state else {
            return Vec::new();
        };
        match fetching.go_on(at.chain, now) {
            Ok(Next::Ask(questions)) => questions,
            Ok(Next::Whole) => {
                self.prove(at.chain, now);
                Vec::new()
            }
            Err(Trouble::Refused(why)) => {
                self.refuse_offer(&why, now);
                Vec::new()
            }
            Err(Trouble::Silent) => {
                tracing::warn!(height = %fetching.offer.height, from = ?fetching.peers, "nobody sends the rest of a snapshot; it is given up");
                self.rest(now, AGAIN_NS);
                Vec::new()
            }
            Err(Trouble::Failed(error)) => {
                self.stop_for_now(&error, now);
                Vec::new()
            }
        }
    }

    /// A part arrived.
    pub fn part(
        &mut self,
        from: u32,
        (id, part, bytes): (Hash, u32, &[u8]),
        at: &Standpoint<'_>,
        now: TimeNs,
    ) -> Vec<Question> {
        let State::Fetching(fetching) = &mut self.state else {
            return Vec::new();
        };
        if id != fetching.offer.id {
            return Vec::new();
        }
        // What was not asked of it is nothing to judge it by.
        let is_asked = fetching.in_flight.get(&part).is_some_and(|one| one.peer == from);
        if !is_asked {
            return Vec::new();
        }
        fetching.in_flight.remove(&part);
        let took = if part == 0 {
            fetching.take_index(bytes)
        } else {
            fetching.take_chunk(part, bytes)
        };
        match took {
            Ok(()) => self.taken += u64::from(part > 0),
            // Only the index answers for itself alone: it is whose id was offered, so all who offered it lie.
            Err(why) if part == 0 && !matches!(why, Refused::Id) => {
                self.refuse_offer(&why, now);
                return Vec::new();
            }
            Err(why) => self.refuse_peer(from, &why, now),
        }
        self.go_on(at, now)
    }

    /// Changes of the set of validators arrived.
    pub fn handovers(
        &mut self,
        from: u32,
        handovers: &[&[u8]],
        at: &Standpoint<'_>,
        now: TimeNs,
    ) -> Vec<Question> {
        let State::Fetching(fetching) = &mut self.state else {
            return Vec::new();
        };
        if fetching.following.is_none_or(|one| one.peer != from) {
            return Vec::new();
        }
        fetching.following = None;
        match fetching.follow(&at.chain.chain_id(), handovers, &self.handovers) {
            Ok(true) => fetching.follow_tries = 0,
            Ok(false) => {
                let why = Refused::NoWay {
                    since: fetching.set.since(),
                    height: fetching.offer.height,
                };
                self.refuse_peer(from, &why, now);
            }
            Err(Trouble::Refused(why)) => self.refuse_peer(from, &why, now),
            Err(Trouble::Failed(error)) => {
                self.stop_for_now(&error, now);
                return Vec::new();
            }
            Err(Trouble::Silent) => {}
        }
        self.go_on(at, now)
    }

    /// A peer does not send what it was asked for, and says when it would.
    pub fn refused(&mut self, from: u32, asked: Asked, retry_after_ms: u32, now: TimeNs) {
        let State::Fetching(fetching) = &mut self.state else {
            return;
        };
        let wait = u64::from(retry_after_ms)
            .saturating_mul(1_000_000)
            .min(REFUSING_NS_MAX);
        match asked {
            Asked::Part => fetching.in_flight.values_mut().for_each(|one| {
                if one.peer == from {
                    one.until = TimeNs::ZERO;
                }
            }),
            Asked::Handovers => fetching.following = fetching.following.filter(|one| one.peer != from),
            Asked::Body | Asked::Blocks => return,
        }
        fetching.refusing.insert(from, later(now, wait));
    }

    /// Recomputes every root of the snapshot that is whole aside, and lets the next start begin with it.
    fn prove(&mut self, chain: &Chain, now: TimeNs) {
        let State::Fetching(fetching) = &mut self.state else {
            return;
        };
        let height = fetching.offer.height;
        let proved = match fetching.finish() {
            Ok(()) => restore(chain.genesis(), &fetching.staged, height.0),
            Err(error) => return self.stop_for_now(&error, now),
        };
        match proved {
            Ok(_) => {
                let marked = self.handovers.sync().and_then(|()| mark(&*self.disk, height));
                match marked {
                    Ok(()) => {
                        tracing::info!(%height, "a snapshot is fetched and proved; the node begins with it");
                        self.state = State::Ready(height);
                    }
                    Err(error) => self.stop_for_now(&error.into(), now),
                }
            }
            Err(RestoreFailure::Snapshot(error)) => self.stop_for_now(&error.into(), now),
            Err(error) => self.refuse_offer(&Refused::State(Box::new(error)), now),
        }
    }

    /// What one peer sent does not hold: nothing more is asked of it.
    fn refuse_peer(&mut self, peer: u32, why: &Refused, now: TimeNs) {
        self.refusals += 1;
        self.distrusted.insert(peer, later(now, DISTRUST_NS));
        let State::Fetching(fetching) = &mut self.state else {
            return;
        };
        warn(fetching.offer.height, &[peer], why);
        fetching.drop_peer(peer);
    }

    /// The offer itself does not hold: all who made it are distrusted.
    fn refuse_offer(&mut self, why: &Refused, now: TimeNs) {
        self.refusals += 1;
        if let State::Fetching(fetching) = &self.state {
            warn(fetching.offer.height, &fetching.peers, why);
            let until = later(now, DISTRUST_NS);
            self.distrusted
                .extend(fetching.peers.iter().map(|peer| (*peer, until)));
            if self.refused.len() == REFUSED_MAX {
                self.refused.remove(0);
            }
            self.refused.push(fetching.offer.id);
        }
        self.rest(now, AGAIN_NS);
    }

    fn stop_for_now(&mut self, error: &Failed, now: TimeNs) {
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::warn!(error = %error, cause, "a snapshot cannot be fetched now");
        self.rest(now, AGAIN_NONE_NS);
    }

    fn rest(&mut self, now: TimeNs, wait_ns: u64) {
        self.state = State::Idle {
            again_at: later(now, wait_ns),
        };
    }
}

fn warn(height: Height, peers: &[u32], why: &Refused) {
    let cause = std::error::Error::source(why).map(ToString::to_string);
    tracing::warn!(%height, from = ?peers, why = %why, cause, "what validators send of a snapshot is refused");
}

fn later(now: TimeNs, by_ns: u64) -> TimeNs {
    TimeNs(now.0.saturating_add(by_ns))
}

/// What is next.
enum Next {
    Ask(Vec<Question>),
    Whole,
}

/// What is in the way.
enum Trouble {
    Refused(Refused),
    /// Nobody answers.
    Silent,
    Failed(Failed),
}

impl From<Failed> for Trouble {
    fn from(error: Failed) -> Self {
        Self::Failed(error)
    }
}

impl Fetching {
    fn go_on(&mut self, chain: &Chain, now: TimeNs) -> Result<Next, Trouble> {
        self.refusing.retain(|_, until| now < *until);
        if self.peers.is_empty() {
            return Err(Trouble::Silent);
        }
        let Some(proof) = &self.proof else {
            return self.want_parts(0..1, now).map(Next::Ask);
        };
        if self.writer.is_none() {
            let is_known = self.set.hash() == proof.committing.validators_hash
                && self.set.since() <= proof.committing.height;
            if !is_known {
                return self.want_handovers(now).map(Next::Ask);
            }
            let checked = proof.anchor.check(chain.genesis(), &self.set, &proof.snapshot);
            checked.map_err(|error| Trouble::Refused(error.into()))?;
            let writer = self.staged.begin(self.offer.height.0).map_err(Failed::from)?;
            self.writer = Some(writer);
        }
        self.put_arrived()?;
        let end = self.offer.chunks.saturating_add(1);
        if self.next == end {
            return Ok(Next::Whole);
        }
        self.want_parts(self.next..end, now).map(Next::Ask)
    }

    /// Puts the chunks whose turn it is.
    fn put_arrived(&mut self) -> Result<(), Failed> {
        let (Some(writer), Some(proof)) = (&mut self.writer, &self.proof) else {
            return Ok(());
        };
        while let Some(entry) = proof.index.chunks.get(codec::index(self.next - 1)) {
            let is_left_out = entry.table == Table::Contexts.code() && !self.takes_memory;
            if !is_left_out {
                let Some(chunk) = self.arrived.remove(&self.next) else {
                    break;
                };
                writer.put(entry.table, &chunk)?;
                self.bytes += u64::from(entry.len);
            }
            self.next += 1;
        }
        Ok(())
    }

    /// Asks for the first of these parts that are neither here nor on their way, as many as may be.
    fn want_parts(&mut self, parts: core::ops::Range<u32>, now: TimeNs) -> Result<Vec<Question>, Trouble> {
        let mut questions = Vec::new();
        let window = parts
            .start
            .saturating_add(codec::narrow(CHUNKS_IN_FLIGHT))
            .min(parts.end);
        for part in parts.start..window {
            let is_memory = part.checked_sub(1).is_some_and(|chunk| {
                let entry = self
                    .proof
                    .as_ref()
                    .map(|proof| proof.index.chunks.get(codec::index(chunk)));
                entry
                    .flatten()
                    .is_some_and(|entry| entry.table == Table::Contexts.code())
            });
            if self.arrived.contains_key(&part) || (is_memory && !self.takes_memory) {
                continue;
            }
            let asked = self.in_flight.get(&part).copied();
            if asked.is_some_and(|one| now < one.until) {
                continue;
            }
            let tries = asked.map_or(0, |one| one.tries);
            if tries >= TRIES_MAX {
                return Err(Trouble::Silent);
            }
            let Some(peer) = self.free_peer() else { break };
            let until = later(now, PART_WAIT_NS);
            let tries = tries + 1;
            self.in_flight.insert(part, InFlight { peer, until, tries });
            let id = self.offer.id;
            questions.push((peer, PeerMessage::WantPart { id, part }));
        }
        Ok(questions)
    }

    fn want_handovers(&mut self, now: TimeNs) -> Result<Vec<Question>, Trouble> {
        if self.following.is_some_and(|one| now < one.until) {
            return Ok(Vec::new());
        }
        if self.follow_tries >= TRIES_MAX {
            return Err(Trouble::Silent);
        }
        let Some(peer) = self.free_peer() else {
            return Ok(Vec::new());
        };
        self.follow_tries += 1;
        self.following = Some(InFlight {
            peer,
            until: later(now, PART_WAIT_NS),
            tries: self.follow_tries,
        });
        Ok(vec![(peer, PeerMessage::WantHandovers(self.set.since()))])
    }

    /// One peer after the other, but for those that do not send now.
    fn free_peer(&mut self) -> Option<u32> {
        let count = self.peers.len();
        let free = (0..count)
            .map(|step| self.peers[(self.turns + step) % count])
            .find(|peer| !self.refusing.contains_key(peer));
        self.turns = self.turns.wrapping_add(1);
        free
    }

    fn drop_peer(&mut self, peer: u32) {
        self.peers.retain(|one| *one != peer);
        // What it was asked for is asked of others at once.
        for asked in self.in_flight.values_mut().filter(|one| one.peer == peer) {
            asked.until = TimeNs::ZERO;
        }
    }

    fn take_index(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        if Index::id(bytes) != self.offer.id {
            return Err(Refused::Id);
        }
        let index = Index::decode(bytes).map_err(Refused::Index)?;
        let snapshot = ChainSnapshot::decode(&index.manifest).map_err(Refused::Index)?;
        let anchor = Anchor::decode(&index.anchor).map_err(Refused::Index)?;
        let offer = |what| Refused::Offer { what };
        if snapshot.tip.height != self.offer.height {
            return Err(offer("height"));
        }
        if !snapshot.past_roots.is_empty() {
            return Err(Refused::Unproved);
        }
        if codec::wide(index.chunks.len()) != u64::from(self.offer.chunks) {
            return Err(offer("number of chunks"));
        }
        if index.bytes() != self.offer.bytes {
            return Err(offer("size"));
        }
        if let Some(chunk) = index.chunks.iter().find(|chunk| chunk.len > CHUNK_BYTES_MAX) {
            return Err(Refused::TooLarge {
                got: chunk.len.into(),
                max: CHUNK_BYTES_MAX.into(),
                unit: "of a chunk",
            });
        }
        let mut counts: BTreeMap<u16, u64> = BTreeMap::new();
        let number = |table| {
            let next = counts.entry(table).or_default();
            *next += 1;
            *next - 1
        };
        let numbers = index.chunks.iter().map(|chunk| chunk.table).map(number).collect();
        self.takes_memory &= index.has_memory();
        self.proof = Some(Proof {
            committing: anchor.committing()?,
            index,
            snapshot,
            anchor,
            numbers,
        });
        Ok(())
    }

    fn take_chunk(&mut self, part: u32, bytes: &[u8]) -> Result<(), Refused> {
        let at = codec::index(part - 1);
        let Some(proof) = &self.proof else {
            return Ok(());
        };
        let (Some(entry), Some(number)) = (proof.index.chunks.get(at), proof.numbers.get(at)) else {
            return Ok(());
        };
        let other = |what| Refused::Chunk {
            part,
            table: entry.table,
            what,
        };
        if codec::wide(bytes.len()) != u64::from(entry.len) {
            return Err(other("length"));
        }
        if chunk_hash(self.offer.height.0, entry.table, *number, bytes) != entry.hash {
            return Err(other("hash"));
        }
        self.arrived.insert(part, bytes.to_vec());
        Ok(())
    }

    /// Follows the set of validators as far as these lead; whether that is any further.
    fn follow(&mut self, chain_id: &Hash, handovers: &[&[u8]], file: &HandoverFile) -> Result<bool, Trouble> {
        let mut is_further = false;
        for bytes in handovers {
            let is_there = self
                .proof
                .as_ref()
                .is_some_and(|proof| self.set.hash() == proof.committing.validators_hash && is_further);
            if is_there {
                break;
            }
            let refused = |why| Trouble::Refused(why);
            let handover = Handover::decode(bytes).map_err(|error| refused(Refused::Handover(error)))?;
            let height = handover
                .height()
                .map_err(|error| refused(Refused::Handover(error)))?;
            self.set
                .follow(chain_id, &handover)
                .map_err(|error| refused(Refused::Follow(error)))?;
            file.append(height.0, bytes).map_err(Failed::from)?;
            is_further = true;
        }
        Ok(is_further)
    }

    fn finish(&mut self) -> Result<(), Failed> {
        let (Some(writer), Some(proof)) = (self.writer.take(), &self.proof) else {
            return Ok(());
        };
        Ok(writer.finish(&proof.index.manifest)?)
    }
}

#[cfg(all(test, feature = "network"))]
#[path = "fetch_tests.rs"]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
