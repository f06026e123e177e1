//! The replica itself.

use super::acknowledged::Acknowledged;
use super::acknowledging::Acknowledging;
use super::allowance::Allowance;
use super::bodies::{Bodies, OWN};
use super::catch_up::CatchUp;
use super::checkpoints::Checkpoints;
use super::deciding::Lanes;
use super::fetched::Fetched;
use super::lately::Lately;
use super::quiet::Quiet;
use super::remembered::Remembered;
use super::scores::Scores;
use super::seats::Seats;
use super::seen::Arrivals;
use super::sharing::Sharing;
use super::word::Word;
use crate::drive::Scoring;
use crate::standing::Reveals;
use crate::telemetry::agreement::AgreementCounts;
use selfchain_engine::builder::Order;
use selfchain_engine::commit::{Block, Chain, ChainError, Proposal, VerifyError};
use selfchain_engine::pool::{Entry, Pool};
use selfchain_storage::{Journal, JournalError};
use selfchain_types::block::Row;
use selfchain_types::certificate::Certificate;
use selfchain_types::codec::{self, DecodeError};
use selfchain_types::crypto::{BatchVerifier, SigningKey};
use selfchain_types::evidence::Evidence;
use selfchain_types::peer::{Asked, Lane, PeerMessage};
use selfchain_types::seam::consensus::{Effect, Input, Plane, PlaneError};
use selfchain_types::seam::log::{LogError, LogReader};
use selfchain_types::seam::scorer::Scorer;
use selfchain_types::seam::standing::Held;
use selfchain_types::{Hash, Height, KeyId, Refusal, TimeNs, Verified};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use thiserror::Error;

/// What happens to a replica.
#[derive(Debug)]
pub enum Event {
    /// A validator's message arrived.
    Peer {
        /// Its number, as its connection proves.
        from: u32,
        /// [`PeerMessage`].
        bytes: Vec<u8>,
    },
    /// A validator can be reached, or cannot any more.
    Link {
        /// Its number.
        peer: u32,
        /// Whether it can.
        is_up: bool,
    },
    /// Time passed.
    Clock,
    /// The log is durable up to here.
    Durable(Height),
}

/// Whom a transaction's outcome is told.
pub trait Ticket {
    /// Whether they want balances with it.
    fn wants_balances(&self) -> bool;
}

/// To whom a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Every other validator that this one has a link to.
    All,
    /// One, by number.
    One(u32),
}

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// To whom.
    pub to: To,
    /// On which lane.
    pub lane: Lane,
    /// The bytes.
    pub bytes: Arc<[u8]>,
}

/// A decided and executed block, for the log.
#[derive(Debug)]
pub struct Committed<T> {
    /// The block.
    pub block: Block,
    /// The round it was decided in.
    pub round: u32,
    /// Whom to answer, in the order of its transactions.
    pub tickets: Vec<Option<T>>,
}

/// How a replica works.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How blocks are filled.
    pub order: Order,
    /// Most transactions of a block.
    pub envelopes_max: usize,
    /// Least time between two blocks that it proposes, in ns.
    pub interval_ns: u64,
    /// How often it says where it stands when nothing happens, in ns.
    pub tip_every_ns: u64,
    /// Whether bodies are in the journal before they are voted for. Only the simulator says no, to see what happens:
    /// after a power cut everywhere nobody has the block that all are locked on.
    pub keeps_bodies: bool,
    /// Whether its blocks leave out all that waits. Only the simulator says yes, to see what the others do.
    pub starves: bool,
}

/// What a replica agrees by.
pub struct Agreement {
    /// How.
    pub plane: Box<dyn Plane>,
    /// The keys that it signs with, wherever a set names one; never empty.
    pub keys: Vec<SigningKey>,
    /// What it reveals when it proposes, where its plane asks for it.
    pub reveals: Box<Reveals>,
    /// What scores its blocks and judges the others' scores: it remembers the chain up to its tip.
    pub scoring: Option<Scoring>,
}

/// Why a replica may not go on.
#[derive(Debug, Error)]
pub enum ReplicaError {
    /// The plane.
    #[error("the consensus plane stopped")]
    Plane(#[from] PlaneError),
    /// The chain.
    #[error("the chain stopped")]
    Chain(#[from] ChainError),
    /// The journal.
    #[error("the journal failed")]
    Journal(#[from] JournalError),
    /// The log could not be read.
    #[error("the log could not be read")]
    Log(#[from] LogError),
    /// A row of the log cannot be read.
    #[error("the newest row of the log cannot be read")]
    Row(#[source] DecodeError),
    /// The file of checkpoints.
    #[error("the file of checkpoints failed")]
    Checkpoints(#[source] std::io::Error),
    /// The others decided what this node finds invalid: one of them or this one is wrong.
    #[error("a block that was decided is invalid here")]
    Disagrees(#[source] VerifyError),
}

/// One validator of several.
pub struct Replica<T> {
    pub(super) options: Options,
    pub(super) chain: Chain,
    pub(super) plane: Box<dyn Plane>,
    pub(super) seats: Seats,
    /// The keys that it holds, never none, and the one that the next block's set names.
    pub(super) own: Vec<KeyId>,
    pub(super) signer: KeyId,
    /// Whom it has links to, and whether nobody was told yet.
    pub(super) held: Arc<[Held]>,
    pub(super) is_held_new: bool,
    /// The others in the next block's set: whom bodies are asked of, in turn, the one after this node first.
    pub(super) others: Vec<u32>,
    /// Whose link broke.
    pub(super) down: BTreeSet<u32>,
    pub(super) word: Word,
    pub(super) arrivals: Arrivals,
    pub(super) acknowledging: Acknowledging,
    pub(super) acknowledged: Acknowledged,
    pub(super) scores: Scores,
    pub(super) pool: Pool<T>,
    pub(super) journal: Journal,
    /// Whether the journal has records that are not durable.
    pub(super) is_journal_behind: bool,
    pub(super) log: Arc<dyn LogReader>,
    pub(super) signatures: BatchVerifier,
    /// Transactions whose signatures need not be checked again, by whoever meets them next.
    pub(super) verified: Arc<Remembered>,
    pub(super) bodies: Bodies,
    /// What the own proposal of this height took out of the pool.
    pub(super) proposed: Vec<Entry<T>>,
    pub(super) effects: VecDeque<Effect>,
    pub(super) timers: BTreeMap<u64, TimeNs>,
    /// Blocks whose judgement the plane waits for.
    pub(super) judging: Vec<Judging>,
    /// A decided block whose body is not here.
    pub(super) deciding: Option<Certificate>,
    /// The decided block that a peer sent, while its certificate is checked: one, so that nobody can fill the memory
    /// with blocks that were not decided.
    pub(super) offered: Option<Proposal>,
    /// Bodies that were asked for: when to ask again, and how often it was.
    pub(super) wanted: BTreeMap<Hash, (TimeNs, usize)>,
    /// Bytes of the tip's certificate.
    pub(super) tip_certificate: Vec<u8>,
    /// Decided blocks that the log's reading end may not show yet.
    pub(super) recent: BTreeMap<Height, Decided>,
    pub(super) catch_up: CatchUp,
    pub(super) fetched: Fetched,
    /// What each peer may still be sent because it asks.
    pub(super) allowance: Allowance,
    pub(super) lately: Lately,
    pub(super) counts: AgreementCounts,
    /// When the first proposal of the height in hand was seen.
    pub(super) proposal_seen: Option<TimeNs>,
    /// Empty blocks that are due, so that the newest roots are certified.
    pub(super) empties_due: u64,
    /// Whether the plane was told of this height that a block is wanted.
    pub(super) is_wanted: bool,
    pub(super) last_block: TimeNs,
    pub(super) last_tip: TimeNs,
    pub(super) out: Vec<Outgoing>,
    pub(super) gossip: Vec<Vec<u8>>,
    pub(super) unverified: Vec<(u32, Vec<u8>)>,
    pub(super) committed: Vec<Committed<T>>,
    pub(super) refused: Vec<(T, Refusal)>,
    pub(super) evidence: Vec<Vec<u8>>,
    /// Whether it says anything.
    pub(super) quiet: Quiet,
    /// Whether it began with nothing: an empty log, and a journal without a record.
    pub(super) is_blank: bool,
    /// What it sends of its snapshots, and how it gets one.
    pub(super) sharing: Option<Sharing>,
    /// What it signs and gathers beside, where the chain has checkpoints.
    pub(super) checkpoints: Option<Checkpoints>,
}

/// A block whose judgement the plane waits for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judging {
    pub(super) block: Hash,
    pub(super) round: u32,
    /// When that round began.
    pub(super) since: TimeNs,
}

/// A decided block with its certificate, as peers are sent them.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) block: Vec<u8>,
    pub(super) certificate: Vec<u8>,
}

/// The first number that is no validator's: peers that a node knows by its configuration only, before the chain names
/// them, have numbers from here on.
pub const GUEST_FIRST: u32 = 1 << 31;
/// A record of the journal: the plane's.
const RECORD_PLANE: u8 = 1;
/// A record of the journal: a body, as [`Candidate::to_bytes`].
pub(super) const RECORD_BODY: u8 = 2;
/// A record of the journal: that this validator begins, and may say whatever it likes.
pub(super) const RECORD_BEGUN: u8 = 3;
/// A record of the journal: up to its height this validator says nothing.
pub(super) const RECORD_QUIET: u8 = 4;
/// Most records of misbehaviour kept for whoever asks.
const EVIDENCE_MAX: usize = 256;
/// Most transactions from peers that wait to be verified.
const UNVERIFIED_MAX: usize = 65_536;

impl<T: Ticket> Replica<T> {
    /// A replica of a recovered chain. It replays its journal: what it said before a crash it will not contradict.
    ///
    /// # Errors
    /// [`ReplicaError`].
    pub fn open(
        options: Options,
        chain: Chain,
        agreement: Agreement,
        pool: Pool<T>,
        journal: Journal,
        log: Arc<dyn LogReader>,
        now: TimeNs,
    ) -> Result<Self, ReplicaError> {
        let tip = chain.tip().height;
        let tip_certificate = if log.tip() == Some(tip.0) {
            let row = log.read(tip.0)?;
            Row::decode(&row).map_err(ReplicaError::Row)?.local.to_vec()
        } else {
            Vec::new()
        };
        let lag = chain.genesis().plane.root_lag();
        let own: Vec<KeyId> = agreement.keys.iter().map(SigningKey::id).collect();
        let signer = own.first().copied().unwrap_or(KeyId::NONE);
        let lately = Lately::read(&*log, tip, &|height| chain.validators_of(height));
        let mut replica = Self {
            seats: Seats::default(),
            own,
            signer,
            held: Arc::new([]),
            is_held_new: false,
            others: Vec::new(),
            down: BTreeSet::new(),
            word: Word::new(signer, agreement.reveals),
            arrivals: Arrivals::default(),
            acknowledging: Acknowledging::new(agreement.keys, now),
            acknowledged: Acknowledged::default(),
            scores: Scores::new(agreement.scoring),
            options,
            chain,
            plane: agreement.plane,
            pool,
            journal,
            is_journal_behind: false,
            log,
            signatures: BatchVerifier::new(),
            verified: Arc::default(),
            bodies: Bodies::default(),
            proposed: Vec::new(),
            effects: VecDeque::new(),
            timers: BTreeMap::new(),
            judging: Vec::new(),
            deciding: None,
            offered: None,
            wanted: BTreeMap::new(),
            tip_certificate,
            recent: BTreeMap::new(),
            catch_up: CatchUp::default(),
            fetched: Fetched::default(),
            allowance: Allowance::default(),
            lately,
            counts: AgreementCounts::default(),
            proposal_seen: None,
            // What was last decided may not be certified yet.
            empties_due: if tip > Height::GENESIS { lag } else { 0 },
            is_wanted: false,
            last_block: TimeNs::ZERO,
            last_tip: TimeNs::ZERO,
            out: Vec::new(),
            gossip: Vec::new(),
            unverified: Vec::new(),
            committed: Vec::new(),
            refused: Vec::new(),
            evidence: Vec::new(),
            quiet: Quiet::No,
            is_blank: false,
            sharing: None,
            checkpoints: None,
        };
        replica.replay(now)?;
        Ok(replica)
    }

    fn replay(&mut self, now: TimeNs) -> Result<(), ReplicaError> {
        let records = self.journal.replay().collect::<Result<Vec<_>, _>>()?;
        self.is_blank = records.is_empty() && self.chain.tip().height == Height::GENESIS;
        for (height, record) in records {
            match record.split_first() {
                Some((&RECORD_QUIET, _)) => self.quiet = Quiet::Through(Height(height)),
                Some((&RECORD_PLANE, record)) => self.input(Input::Recovered(record.to_vec()), now)?,
                Some((&RECORD_BODY, bytes)) => {
                    // Written by this node, whole: what cannot be read is of another version.
                    if let Ok(proposal) = Proposal::new(bytes.to_vec()) {
                        self.bodies.receive(OWN, proposal, true);
                    }
                }
                _ => {}
            }
        }
        self.start(now)?;
        self.perform(now)
    }

    /// The chain.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The chain, and the scorer that remembers it, for snapshots between blocks.
    pub fn for_snapshot(&mut self) -> (&mut Chain, Option<&mut dyn Scorer>) {
        (&mut self.chain, self.scores.scorer())
    }

    /// What it has done since it started.
    pub fn counts(&self) -> &AgreementCounts {
        &self.counts
    }

    /// Transactions that were verified here, for intake to share: each signature is checked once.
    pub fn verified(&self) -> Arc<Remembered> {
        Arc::clone(&self.verified)
    }

    /// The transactions that wait.
    pub fn pool(&self) -> &Pool<T> {
        &self.pool
    }

    /// Gives the chain, its scorer and the pool back, and into the pool what an own proposal holds of it.
    pub fn into_parts(mut self) -> (Chain, Option<Scoring>, Pool<T>) {
        self.give_back();
        (self.chain, self.scores.into_scoring(), self.pool)
    }

    /// What is to be sent, in order.
    pub fn take_outgoing(&mut self) -> Vec<Outgoing> {
        self.flush_gossip();
        core::mem::take(&mut self.out)
    }

    /// What was decided, in order.
    pub fn take_committed(&mut self) -> Vec<Committed<T>> {
        core::mem::take(&mut self.committed)
    }

    /// Who is refused.
    pub fn take_refused(&mut self) -> Vec<(T, Refusal)> {
        self.acknowledging
            .refused(self.refused.iter().map(|(_, why)| *why));
        core::mem::take(&mut self.refused)
    }

    /// Envelopes that peers sent, whose signatures are to be checked.
    pub fn take_unverified(&mut self) -> Vec<(u32, Vec<u8>)> {
        core::mem::take(&mut self.unverified)
    }

    /// Evidence of misbehaviour that was found.
    pub fn take_evidence(&mut self) -> Vec<Vec<u8>> {
        core::mem::take(&mut self.evidence)
    }

    /// When [`Event::Clock`] is due next.
    pub fn next_wake(&self) -> TimeNs {
        let timers = self.timers.values().copied();
        let wanted = self.wanted.values().map(|(at, _)| *at);
        let tip = TimeNs(self.last_tip.0.saturating_add(self.options.tip_every_ns));
        let block = TimeNs(self.last_block.0.saturating_add(self.options.interval_ns));
        let is_waiting = !self.is_wanted && (self.empties_due > 0 || self.pool.has_ready());
        let expiry = self.chain.ledger().next_expiry().filter(|_| !self.is_wanted);
        timers
            .chain(wanted)
            .chain(self.catch_up.wake())
            .chain((!self.fetched.is_empty()).then_some(TimeNs::ZERO))
            .chain(self.acknowledging.wake())
            .chain(self.quiet.wake())
            .chain(self.sharing.as_ref().and_then(|sharing| sharing.joining.wake()))
            .chain(is_waiting.then_some(block))
            .chain(expiry)
            .fold(tip, TimeNs::min)
    }

    /// Takes one event in.
    ///
    /// # Errors
    /// [`ReplicaError`]: the node must stop.
    pub fn handle(&mut self, event: Event, now: TimeNs) -> Result<(), ReplicaError> {
        match event {
            Event::Peer { from, bytes } => self.message(from, &bytes, now)?,
            Event::Link { peer, is_up } => {
                self.acknowledged.linked(peer);
                if is_up {
                    self.down.remove(&peer);
                } else {
                    self.down.insert(peer);
                    self.catch_up.retain(|one| one != peer);
                }
                if let Some(validator) = self.seats.of_peer(peer) {
                    let alive = is_up;
                    self.input(Input::Peer { validator, alive }, now)?;
                }
                if is_up {
                    let tip = self.chain.tip().height;
                    self.send(To::One(peer), &PeerMessage::Tip(tip));
                    if let Some(run) = self.acknowledging.run(&self.chain.chain_id(), tip) {
                        self.send(To::One(peer), &PeerMessage::Acknowledged(run));
                    }
                }
            }
            Event::Clock => {}
            Event::Durable(height) => self.durable(height)?,
        }
        self.execute_fetched(now)?;
        self.clock(now)?;
        self.perform(now)?;
        self.acknowledge(now);
        Ok(())
    }

    /// Tells the others what was admitted: after all that somebody waits for.
    fn acknowledge(&mut self, now: TimeNs) {
        let (chain_id, tip) = (self.chain.chain_id(), self.chain.tip().height);
        for said in self.acknowledging.take(&chain_id, tip, now) {
            self.counts.acknowledged += codec::wide(said.transactions.len());
            self.counts.acknowledgements_made += 1;
            self.send(To::All, &PeerMessage::Acknowledged(said));
        }
    }

    fn message(&mut self, from: u32, bytes: &[u8], now: TimeNs) -> Result<(), ReplicaError> {
        let Ok(message) = PeerMessage::decode(bytes) else {
            tracing::debug!(from, "a peer's message cannot be read");
            return Ok(());
        };
        match message {
            PeerMessage::Plane { tip, bytes } => {
                self.catch_up.told(from, tip);
                if self.is_quiet() {
                    self.quiet.keep(from, bytes);
                    return Ok(());
                }
                self.plane_message(from, bytes.to_vec(), now)?;
            }
            PeerMessage::Tip(tip) => {
                self.catch_up.told(from, tip);
                if tip < self.chain.tip().height {
                    self.send(To::One(from), &PeerMessage::Tip(self.chain.tip().height));
                }
            }
            PeerMessage::Body(bytes) => self.body(from, bytes, now)?,
            PeerMessage::WantBody { height, block } => self.serve_body(from, height, &block, now)?,
            PeerMessage::WantBlocks(height) => self.serve_blocks(from, height, now)?,
            PeerMessage::Blocks(blocks) => self.blocks(from, &blocks),
            PeerMessage::Transactions(envelopes) => {
                let room = UNVERIFIED_MAX.saturating_sub(self.unverified.len());
                let envelopes = envelopes.into_iter().take(room);
                self.unverified
                    .extend(envelopes.map(|bytes| (from, bytes.to_vec())));
            }
            PeerMessage::Acknowledged(said) => {
                if self.seats.of_peer(from).is_some() {
                    let forgotten = self.acknowledged.receive(from, said, self.chain.tip().height);
                    self.counts.acknowledgements_forgotten += forgotten;
                }
            }
            PeerMessage::Refused {
                asked: asked @ (Asked::Part | Asked::Handovers),
                retry_after_ms,
                ..
            } => self.sharing_refused(from, asked, retry_after_ms, now),
            PeerMessage::Refused { retry_after_ms, .. } => {
                self.counts.refused_by_others += 1;
                self.catch_up.refused(from, retry_after_ms, now);
            }
            PeerMessage::WantSnapshot => self.serve_offer(from, now),
            PeerMessage::WantPart { id, part } => self.serve_part(from, &id, part, now),
            PeerMessage::WantHandovers(height) => self.serve_handovers(from, height, now),
            PeerMessage::Snapshot(offer) => self.offered(from, offer),
            PeerMessage::Part { id, part, bytes } => self.part(from, (id, part, bytes), now),
            PeerMessage::Handovers(handovers) => self.handovers(from, &handovers, now),
            PeerMessage::CheckpointSignature {
                height,
                header,
                signature,
            } => self.checkpoint_heard(height, header, signature)?,
            PeerMessage::WantCheckpoints(height) => self.serve_checkpoints(from, height, now)?,
            PeerMessage::Checkpoints(all) => self.checkpoints_heard(&all)?,
        }
        Ok(())
    }

    pub(super) fn plane_message(
        &mut self,
        from: u32,
        bytes: Vec<u8>,
        now: TimeNs,
    ) -> Result<(), ReplicaError> {
        let Some(from) = self.seats.of_peer(from) else {
            return Ok(());
        };
        let checked = false;
        self.input(Input::Message { from, bytes, checked }, now)
    }

    /// Lets a transaction wait for a block. One that came from a client of this node goes to the other validators too.
    /// [`Event::Clock`] is due afterwards.
    ///
    /// # Errors
    /// The ticket and the [`Refusal`], as [`Pool::admit`] says.
    pub fn submit(&mut self, verified: Verified, ticket: T, is_own: bool) -> Result<(), (T, Refusal)> {
        let bytes = is_own.then(|| verified.as_bytes().to_vec());
        let tx_id = verified.tx_id();
        let (pool, lanes) = (&mut self.pool, Lanes(&self.chain));
        pool.admit(verified, ticket, &lanes, &mut self.refused)?;
        self.acknowledging.admitted(&tx_id);
        self.gossip.extend(bytes);
        Ok(())
    }

    fn durable(&mut self, height: Height) -> Result<(), ReplicaError> {
        self.journal.truncate_through(height.0)?;
        self.recent.retain(|decided, _| *decided > height);
        Ok(())
    }

    fn clock(&mut self, now: TimeNs) -> Result<(), ReplicaError> {
        let due: Vec<u64> = self
            .timers
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(timer, _)| *timer)
            .collect();
        for timer in due {
            // Another timer may have moved this one.
            if self.timers.get(&timer).is_some_and(|at| *at <= now) {
                self.timers.remove(&timer);
                self.input(Input::Timer(timer), now)?;
            }
        }
        self.listen(now)?;
        self.ask_again(now);
        self.join(now);
        let fetches = self
            .sharing
            .as_ref()
            .is_some_and(|sharing| sharing.joining.is_fetching())
            || self.quiet.is_listening();
        let have = self.fetched.reaches(self.chain.tip().height);
        let peer = if fetches || self.fetched.is_full() {
            None
        } else {
            self.catch_up.ask(have, now)
        };
        if let Some(peer) = peer {
            let from = have.next();
            self.send(To::One(peer), &PeerMessage::WantBlocks(from));
        }
        if now.0.saturating_sub(self.last_tip.0) >= self.options.tip_every_ns {
            self.last_tip = now;
            self.acknowledging.remind();
            self.remind_checkpoints();
            self.send(To::All, &PeerMessage::Tip(self.chain.tip().height));
        }
        if !self.is_wanted && self.deciding.is_none() && !self.is_quiet() && self.is_block_due(now) {
            self.is_wanted = true;
            self.input(Input::Wanted, now)?;
        }
        Ok(())
    }

    fn is_block_due(&self, now: TimeNs) -> bool {
        let overdue = self.chain.ledger().next_expiry().is_some_and(|due| due <= now);
        let is_paced = now.0.saturating_sub(self.last_block.0) >= self.options.interval_ns;
        is_paced && (overdue || self.empties_due > 0 || self.pool.has_ready())
    }

    pub(super) fn input(&mut self, input: Input, now: TimeNs) -> Result<(), ReplicaError> {
        let mut effects = Vec::new();
        self.plane.handle(input, now, &mut effects)?;
        self.effects.extend(effects);
        Ok(())
    }

    pub(super) fn start(&mut self, now: TimeNs) -> Result<(), ReplicaError> {
        self.is_wanted = false;
        let (validators, schedule) = (self.chain.validators(), self.chain.schedule());
        let height = self.chain.tip().height.next();
        let standing = self.chain.standing();
        let number_of = |key: &KeyId| standing.and_then(|standing| standing.member(key));
        let is_other_set = self.seats.sit(&validators, number_of);
        self.follow();
        self.input(
            Input::Start {
                height,
                validators,
                schedule,
            },
            now,
        )?;
        // The plane knows who cannot be reached by keys of the set before.
        let down = self.down.iter().filter(|_| is_other_set);
        for validator in down
            .filter_map(|peer| self.seats.of_peer(*peer))
            .collect::<Vec<u16>>()
        {
            let alive = false;
            self.input(Input::Peer { validator, alive }, now)?;
        }
        Ok(())
    }

    /// Performs effects until none is left.
    pub(super) fn perform(&mut self, now: TimeNs) -> Result<(), ReplicaError> {
        while let Some(effect) = self.effects.pop_front() {
            match effect {
                Effect::Persist { height, record } => {
                    let record = [&[RECORD_PLANE], record.as_slice()].concat();
                    self.journal.append(height.0, &record)?;
                    self.is_journal_behind = true;
                }
                Effect::Send { to, bytes } => {
                    if let Some(peer) = self.seats.peer_at(to) {
                        self.say(To::One(peer), &bytes)?;
                    }
                }
                Effect::Broadcast(bytes) => self.say(To::All, &bytes)?,
                Effect::SetTimer { timer, at } => {
                    self.timers.insert(timer, at);
                }
                Effect::Build { height, round } => self.build(height, round, now)?,
                Effect::Judge { block, round, since } => {
                    self.proposal_seen.get_or_insert(now);
                    self.judging.push(Judging { block, round, since });
                    self.judge(now)?;
                }
                Effect::Decided(certificate) => {
                    self.sync_journal()?;
                    let proposed = self.proposal_seen.take();
                    self.counts.decided(certificate.round, proposed, now);
                    self.deciding = Some(certificate);
                    self.decide(now)?;
                }
                Effect::Late(ballot) => self.word.late(self.chain.tip().height, ballot),
                Effect::Evidence(evidence) => {
                    self.counts.evidence += 1;
                    if let Ok(evidence) = Evidence::decode(&evidence) {
                        self.word.proof(evidence);
                    }
                    if self.evidence.len() < EVIDENCE_MAX {
                        self.evidence.push(evidence);
                    }
                }
            }
        }
        Ok(())
    }

    fn sync_journal(&mut self) -> Result<(), ReplicaError> {
        if self.is_journal_behind {
            self.journal.sync()?;
            self.is_journal_behind = false;
        }
        Ok(())
    }

    /// Sends a message of the plane, once everything that it persisted before is durable.
    fn say(&mut self, to: To, bytes: &[u8]) -> Result<(), ReplicaError> {
        self.sync_journal()?;
        let tip = self.chain.tip().height;
        self.send(to, &PeerMessage::Plane { tip, bytes });
        Ok(())
    }

    pub(super) fn send(&mut self, to: To, message: &PeerMessage<'_>) {
        let (lane, bytes) = (message.lane(), message.to_bytes().into());
        self.out.push(Outgoing { to, lane, bytes });
    }
}
