//! The order thread where several validators agree: it feeds a [`Replica`] and carries out what that wants.

use super::board::Board;
use super::checkpointing::Checkpointing;
use super::fault::Fault;
use super::intake::{IntakeQueue, elapsed_ns};
use super::order::{IDLE_WAIT, WAIT_MIN, count_outcomes};
use super::past::PastJob;
use super::queue::Queue;
use super::record::Executed;
use super::registry::Registry;
use super::scoring::Scoring;
use super::state::StateAnswers;
use super::tag::Tag;
use crate::ledger::now;
use crate::replica::{Committed, Event, Outgoing, Replica, ReplicaError};
use crate::sweep::Sweeper;
use crate::telemetry::{Metrics, Stage};
use core::time::Duration;
use selfchain_engine::commit::Chain;
use selfchain_types::crypto::{PublicKey, SigningKey};
use selfchain_types::seam::standing::Held;
use selfchain_types::{Height, Refusal, TimeNs, Verified, codec};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// The other validators, as this node reaches them.
pub trait Peers: Send {
    /// Sends, or drops what does not fit: agreement survives loss.
    fn send(&self, message: Outgoing);

    /// What came from them next, if anything did.
    fn next(&self) -> Option<FromPeer>;

    /// From now on these are the validators, this one among them.
    fn follow(&mut self, held: &[Held]);

    /// A key of this node's that the chain names and that it did not sign with before, if its operator put it there.
    fn next_key(&mut self, missing: &[PublicKey]) -> Option<SigningKey>;
}

/// What comes from the other validators.
#[derive(Debug)]
pub enum FromPeer {
    /// A message.
    Message {
        /// The sender's number.
        from: u32,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// A validator can be reached, or cannot any more.
    Link {
        /// Its number.
        peer: u32,
        /// Whether it can.
        is_up: bool,
    },
}

/// What the thread works with.
pub struct Agree {
    /// Where verified transactions come from.
    pub verified: Arc<Queue<(Verified, Tag)>>,
    /// Where transactions of other validators go, to be verified.
    pub intake: Arc<IntakeQueue>,
    /// The other validators.
    pub peers: Box<dyn Peers>,
    /// Answers questions about the state.
    pub state: StateAnswers,
    /// Where a used counter is looked up: maybe it is a duplicate.
    pub past: Arc<Queue<PastJob>>,
    /// Where executed blocks go.
    pub to: Arc<Queue<Executed>>,
    /// The validator.
    pub replica: Replica<Tag>,
    /// Keys for intake.
    pub registry: Arc<Registry>,
    /// Threads for signatures, roots and rows.
    pub commit_pool: Arc<rayon::ThreadPool>,
    /// Reads snapshots between blocks.
    pub sweeper: Sweeper,
    /// Where it shows how it is.
    pub board: Arc<Board>,
    /// The height of a snapshot that it fetched.
    pub joined: Arc<OnceLock<Height>>,
    /// What signs checkpoints, where the chain has some.
    pub checkpointing: Option<Checkpointing>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Stops the node.
    pub fault: Fault,
}

/// How long a node that stops waits for what its clients sent to be decided: without enough of the others it never is.
const DRAIN_MAX: Duration = Duration::from_secs(3);
/// How often it shows how it is.
const SHOW_EVERY: Duration = Duration::from_millis(250);
/// Most transactions, and most messages, taken before the next look at the clock.
const ROUND_MAX: usize = 4_096;

impl Agree {
    /// Runs until nothing more can come, or the node must stop. Gives back the chain and the scorer.
    pub fn run(mut self) -> (Chain, Option<Scoring>) {
        let mut durable = Height::GENESIS;
        let mut draining: Option<Instant> = None;
        let mut shown: Option<Instant> = None;
        while !self.fault.is_raised() {
            self.state.answer(self.replica.chain());
            if let Err(error) = self.round(&mut durable) {
                self.fault.raise(&error);
                break;
            }
            if shown.is_none_or(|shown| shown.elapsed() >= SHOW_EVERY) {
                shown = Some(Instant::now());
                self.take_next_key();
                self.board.show(self.replica.view(now().unwrap_or(TimeNs::ZERO)));
            }
            if let Some(height) = self.replica.joined() {
                self.joined.get_or_init(|| height);
                break;
            }
            // Its clients wait for what it took in; the other validators go on without it.
            if self.verified.is_done() {
                let pool = self.replica.pool();
                let since = draining.get_or_insert_with(Instant::now);
                if (pool.is_empty() && pool.proposed() == 0) || since.elapsed() > DRAIN_MAX {
                    break;
                }
            }
            self.wait();
        }
        self.end()
    }

    /// The key to come is asked for until it is there: its operator may put it there at any time before its epoch.
    fn take_next_key(&mut self) {
        let missing = self.replica.keys_missing();
        if missing.is_empty() {
            return;
        }
        if let Some(key) = self.peers.next_key(&missing) {
            tracing::info!(key = %key.id(), "this validator's next key is here: it signs from its epoch on");
            self.replica.hold(key);
        }
    }

    fn wait(&self) {
        let wake = now().map_or(IDLE_WAIT, |now| {
            Duration::from_nanos(self.replica.next_wake().0.saturating_sub(now.0))
        });
        self.verified.wait(wake.clamp(WAIT_MIN, IDLE_WAIT));
    }

    fn round(&mut self, durable: &mut Height) -> Result<(), ReplicaError> {
        let began = Instant::now();
        let tip = self.state.durable.get().height;
        if tip > *durable {
            *durable = tip;
            self.handle(Event::Durable(tip))?;
        }
        for _ in 0..ROUND_MAX {
            let Some(message) = self.peers.next() else { break };
            let event = match message {
                FromPeer::Message { from, bytes } => Event::Peer { from, bytes },
                FromPeer::Link { peer, is_up } => Event::Link { peer, is_up },
            };
            self.handle(event)?;
        }
        while let Some((height, signatures)) = self.checkpointing.as_ref().and_then(Checkpointing::take) {
            self.replica.checkpoint_signed(height, signatures)?;
        }
        let mut admitted = 0;
        for _ in 0..ROUND_MAX {
            let Some((verified, ticket)) = self.verified.pop() else {
                break;
            };
            admitted += 1;
            self.submit(verified, ticket);
        }
        self.handle(Event::Clock)?;
        if admitted > 0 {
            self.verified.gauge();
            self.metrics.stage(Stage::Admit).add_busy(elapsed_ns(began));
            self.metrics.stage(Stage::Admit).add_items(admitted);
            self.metrics
                .pool_transactions
                .set(codec::wide(self.replica.pool().len()));
            self.metrics.pool_bytes.set(self.replica.pool().bytes());
        }
        Ok(())
    }

    fn submit(&mut self, verified: Verified, tag: Tag) {
        let chain = self.replica.chain();
        if now().is_ok_and(|clock| chain.ledger().is_ahead(&verified.view(), clock)) {
            return self.refuse(&tag, Refusal::NotYetValid);
        }
        let (tx_id, height) = (verified.tx_id(), chain.tip().height);
        let (waiting, is_own) = (tag.clone(), !tag.is_nobody());
        match self.replica.submit(verified, tag, is_own) {
            Ok(()) => waiting.accept(),
            Err((tag, Refusal::CounterUsed)) if is_own => {
                if let Err(job) = self.past.offer(PastJob::Duplicate { tx_id, height, tag }) {
                    self.metrics.refused(Refusal::IntakeFull, 1);
                    job.tag().refuse(Refusal::IntakeFull, Refusal::IntakeFull.name());
                }
            }
            Err((tag, refusal)) => self.refuse(&tag, refusal),
        }
    }

    fn handle(&mut self, event: Event) -> Result<(), ReplicaError> {
        let time = now().unwrap_or(TimeNs::ZERO);
        let (replica, pool) = (&mut self.replica, &self.commit_pool);
        pool.install(|| replica.handle(event, time))?;
        if let Some(held) = self.replica.take_held() {
            self.peers.follow(&held);
            self.take_next_key();
        }
        for message in self.replica.take_outgoing() {
            self.peers.send(message);
        }
        if let Some(checkpointing) = &self.checkpointing {
            let jobs = self.replica.take_checkpoint_jobs().into_iter();
            jobs.for_each(|job| checkpointing.give(job));
        }
        for (_, bytes) in self.replica.take_unverified() {
            // A full intake drops what the other validators hold anyway.
            drop(self.intake.offer((bytes, Tag::nobody())));
        }
        for (tag, refusal) in self.replica.take_refused() {
            self.refuse(&tag, refusal);
        }
        for evidence in self.replica.take_evidence() {
            tracing::warn!(bytes = evidence.len(), "a validator contradicted itself");
        }
        for committed in self.replica.take_committed() {
            self.record(committed);
        }
        Ok(())
    }

    fn refuse(&self, tag: &Tag, refusal: Refusal) {
        if !tag.is_nobody() {
            self.metrics.refused(refusal, 1);
            tag.refuse(refusal, refusal.name());
        }
    }

    fn record(&mut self, committed: Committed<Tag>) {
        let Committed {
            mut block, tickets, ..
        } = committed;
        self.registry.register(core::mem::take(&mut block.registered));
        for stage in [Stage::Execute, Stage::Root] {
            self.metrics.stage(stage).add_items(block.applied + block.refused);
        }
        count_outcomes(&self.metrics, &block);
        let accounts = self.replica.chain().ledger().account_count();
        self.metrics.accounts.set(accounts);
        let effects = block.result.outcomes.len() + block.result.expired.len();
        let slice = if self.sweeper.is_at_work(self.replica.chain()) {
            let (chain, scorer) = self.replica.for_snapshot();
            self.sweeper.after_block(chain, scorer, effects).map(Box::new)
        } else {
            None
        };
        let tags = tickets
            .into_iter()
            .map(|tag| tag.unwrap_or_else(Tag::nobody))
            .collect();
        // The writer has stopped by a fault, which ends this thread too.
        drop(self.to.push(Executed { block, tags, slice }));
    }

    fn end(self) -> (Chain, Option<Scoring>) {
        let (refusal, text) = if self.fault.is_raised() {
            (Refusal::Poisoned, "the node has stopped; it must be restarted")
        } else {
            (Refusal::Draining, "the node is shutting down")
        };
        // Closed, or intake would wait for ever for room in it.
        self.verified.close();
        let verified = core::iter::from_fn(|| self.verified.pop()).map(|(_, tag)| tag);
        let left: Vec<Tag> = verified.collect();
        let (chain, scoring, mut pool) = self.replica.into_parts();
        let mut waiting = Vec::new();
        pool.advance(Height(u64::MAX), &mut waiting);
        for tag in left.into_iter().chain(waiting.into_iter().map(|(tag, _)| tag)) {
            if !tag.is_nobody() {
                self.metrics.refused(refusal, 1);
                tag.refuse(refusal, text);
            }
        }
        self.state.queries.close();
        self.past.close();
        self.to.close();
        (chain, scoring)
    }
}
