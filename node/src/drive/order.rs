//! The order thread: one writer. It admits to the pool, asks the plane for blocks, and executes what is decided.

use super::fault::Fault;
use super::intake::elapsed_ns;
use super::past::PastJob;
use super::publish::DurableTip;
use super::queue::Queue;
use super::record::Executed;
use super::registry::Registry;
use super::tag::Tag;
use crate::ledger::{now, start};
use crate::recover::Snapshotter;
use crate::telemetry::{Metrics, Stage};
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use selfchain_engine::builder::{BlockLimits, Order as BlockOrder, build};
use selfchain_engine::commit::{Candidate, Chain};
use selfchain_engine::pool::{LaneView, Pool};
use selfchain_types::genesis::Fees;
use selfchain_types::message::{Answer, Detail, Query, Reply, Status};
use selfchain_types::seam::consensus::{Effect, Input, Plane};
use selfchain_types::seam::log::LogReader;
use selfchain_types::{Height, KeyId, Outcome, Refusal, TimeNs, Verified, codec};
use std::sync::Arc;
use std::time::Instant;

/// A question about the state, answered between two blocks.
pub type StateQuery = (Query, Tag);

/// What the order thread works with.
pub struct Order {
    /// Where verified transactions come from.
    pub verified: Arc<Queue<(Verified, Tag)>>,
    /// Questions about the state.
    pub queries: Arc<Queue<StateQuery>>,
    /// Where a used counter is looked up: maybe it is a duplicate.
    pub past: Arc<Queue<PastJob>>,
    /// Where executed blocks go.
    pub to: Arc<Queue<Executed>>,
    /// Transactions that wait.
    pub pool: Pool<Tag>,
    /// The chain.
    pub chain: Chain,
    /// The newest durable block.
    pub durable: Arc<DurableTip>,
    /// The log, for its first height.
    pub log: Arc<dyn LogReader>,
    /// Who orders.
    pub plane: Box<dyn Plane>,
    /// Who proposes.
    pub proposer: KeyId,
    /// Keys for intake.
    pub registry: Arc<Registry>,
    /// Threads for roots, receipts and rows; apart from the verifiers, so that a commit never waits behind
    /// a round of signatures.
    pub commit_pool: Arc<rayon::ThreadPool>,
    /// Least time between two blocks.
    pub interval: Duration,
    /// How blocks are filled.
    pub order: BlockOrder,
    /// Blocks between two snapshots; 0 = only when the node stops.
    pub snapshot_every: u64,
    /// Writes them.
    pub snapshotter: Snapshotter,
    /// Newest height that a snapshot holds.
    pub snapshot_height: Arc<AtomicU64>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Stops the node.
    pub fault: Fault,
}

/// Most transactions admitted before the next look at the clock.
const ADMIT_ROUND_MAX: usize = 4_096;
/// Most questions answered before the next look at the clock.
const QUERY_ROUND_MAX: usize = 256;

impl Order {
    /// Runs until nothing more can come, everything in the pool is decided, or the node must stop. Gives
    /// back the chain.
    pub fn run(mut self) -> Chain {
        let mut last_block = Instant::now();
        let mut empties_due = 0;
        let mut last_snapshot = self.chain.tip().height;
        if let Err(error) = start(&mut *self.plane, &self.chain) {
            self.fault.raise(&error);
        }
        while !self.fault.is_raised() {
            self.answer_queries();
            self.admit();
            let done = self.verified.is_done();
            let wait = self.interval.saturating_sub(last_block.elapsed());
            if self.is_wanted(empties_due) && (done || wait.is_zero() || self.is_block_full()) {
                last_block = Instant::now();
                match self.step() {
                    Ok(0) => empties_due = u64::saturating_sub(empties_due, 1),
                    Ok(_) => empties_due = self.chain.genesis().plane.root_lag(),
                    Err(error) => self.fault.raise(&*error),
                }
                if self.snapshot_every > 0 && self.chain.tip().height.0 - last_snapshot.0 >= self.snapshot_every {
                    last_snapshot = self.chain.tip().height;
                    self.write_snapshot();
                }
            } else if done && self.pool.is_empty() && empties_due == 0 {
                break;
            } else {
                let wait = if self.is_wanted(empties_due) { wait } else { IDLE_WAIT };
                self.verified.wait(wait.max(WAIT_MIN));
            }
        }
        self.end()
    }

    fn end(mut self) -> Chain {
        for entry in self.pool.drain() {
            entry.tag.refuse(Refusal::Poisoned, "the node has stopped; it must be restarted");
        }
        self.queries.close();
        self.past.close();
        self.to.close();
        self.chain
    }

    /// Waits until the projections have caught up with the tip, which is as good as on the disk then, and
    /// writes the state down. A failure only makes the next start fold more of the log.
    fn write_snapshot(&self) {
        let height = self.chain.tip().height;
        let began = Instant::now();
        while !self.snapshotter.is_caught_up(height) && !self.fault.is_raised() && began.elapsed() < CATCH_UP_MAX {
            std::thread::park_timeout(WAIT_MIN);
        }
        match self.snapshotter.write(&self.chain) {
            Ok(()) => self.snapshot_height.store(height.0, Ordering::Release),
            Err(error) => tracing::warn!(height = height.0, error = %error, "snapshot not written"),
        }
    }

    fn answer_queries(&mut self) {
        for _ in 0..QUERY_ROUND_MAX {
            let Some((query, tag)) = self.queries.pop() else { return };
            let ledger = self.chain.ledger();
            let answer = match query {
                Query::Account(id) => ledger.account(id).map(Answer::Account),
                Query::Key(id) => ledger.key(&id).map(Answer::Key),
                Query::Asset(id) => ledger.asset(id).map(Answer::Asset),
                Query::Status => Some(Answer::Status(self.status())),
                _ => None,
            };
            match answer {
                Some(answer) => tag.answer(&Reply::Answer(answer)),
                None => tag.refuse(Refusal::NotFound, "nothing by that name on this chain"),
            }
        }
    }

    fn status(&self) -> Status {
        let tip = self.durable.get();
        Status {
            chain_id: self.chain.chain_id(),
            tip: tip.height,
            tip_hash: tip.hash,
            first: Height(self.log.first().unwrap_or(0)),
            time_ns: tip.time_ns,
            accounts: self.chain.ledger().account_count(),
            operations: self.chain.ledger().operations_applied(),
            validity_max: self.chain.genesis().limits.validity_max,
        }
    }

    fn admit(&mut self) {
        let began = Instant::now();
        let mut evicted = Vec::new();
        let mut admitted = 0;
        for _ in 0..ADMIT_ROUND_MAX {
            let Some((verified, tag)) = self.verified.pop() else { break };
            let tx_id = verified.tx_id();
            let waiting = tag.clone();
            match self.pool.admit(verified, tag, &View(&self.chain), &mut evicted) {
                Ok(()) => waiting.accept(),
                Err((tag, Refusal::CounterUsed)) => {
                    let height = self.chain.tip().height;
                    if let Err(job) = self.past.offer(PastJob::Duplicate { tx_id, height, tag }) {
                        self.refuse(job.tag(), Refusal::IntakeFull);
                    }
                }
                Err((tag, refusal)) => self.refuse(&tag, refusal),
            }
            admitted += 1;
        }
        evicted.iter().for_each(|(tag, refusal)| self.refuse(tag, *refusal));
        if admitted > 0 {
            self.verified.gauge();
            self.metrics.stage(Stage::Admit).add_busy(elapsed_ns(began));
            self.metrics.stage(Stage::Admit).add_items(admitted);
            self.metrics.pool_transactions.set(codec::wide(self.pool.len()));
            self.metrics.pool_bytes.set(codec::wide(self.pool.bytes()));
        }
    }

    fn refuse(&self, tag: &Tag, refusal: Refusal) {
        self.metrics.refused(refusal, 1);
        tag.refuse(refusal, refusal.name());
    }

    fn is_wanted(&self, empties_due: u64) -> bool {
        let overdue = |due: TimeNs| now().is_ok_and(|now| due <= now);
        !self.pool.is_empty() || empties_due > 0 || self.chain.ledger().next_expiry().is_some_and(overdue)
    }

    fn is_block_full(&self) -> bool {
        self.pool.bytes() >= codec::index(self.chain.genesis().limits.block_bytes_max)
    }

    /// One height: the plane is told that there is something to order, and its effects are performed.
    /// Returns how many transactions the block holds.
    fn step(&mut self) -> Result<usize, Box<dyn std::error::Error + Send + Sync>> {
        let now = now()?;
        let mut effects = Vec::new();
        let mut built: Option<(Candidate, Vec<Tag>)> = None;
        let mut transactions = 0;
        self.plane.handle(Input::Wanted, now, &mut effects)?;
        while !effects.is_empty() {
            match effects.remove(0) {
                Effect::Build { height, round } => {
                    let (candidate, tags) = self.build(now);
                    let block = candidate.hash();
                    built = Some((candidate, tags));
                    self.plane.handle(Input::Built { height, round, block }, now, &mut effects)?;
                }
                Effect::Decided(certificate) => {
                    let (candidate, tags) = built.take().ok_or("decided a block that was not built here")?;
                    transactions = tags.len();
                    self.execute(&candidate, &certificate, tags)?;
                    start(&mut *self.plane, &self.chain)?;
                }
                effect => return Err(format!("the drive of one node does not perform {effect:?}").into()),
            }
        }
        Ok(transactions)
    }

    fn build(&mut self, now: TimeNs) -> (Candidate, Vec<Tag>) {
        let began = Instant::now();
        let mut expired = Vec::new();
        self.pool.expire(self.chain.tip().height.next(), &mut expired);
        expired.iter().for_each(|(tag, refusal)| self.refuse(tag, *refusal));
        let limits = BlockLimits::of(&self.chain.genesis().limits);
        let (envelopes, tags): (Vec<Verified>, Vec<Tag>) =
            build(&mut self.pool, &limits, self.order).into_iter().map(|entry| (entry.verified, entry.tag)).unzip();
        let (chain, proposer) = (&self.chain, self.proposer);
        let candidate = self.commit_pool.install(|| chain.propose(envelopes, Vec::new(), now, proposer));
        self.metrics.stage(Stage::Build).add_busy(elapsed_ns(began));
        self.metrics.stage(Stage::Build).add_items(codec::wide(tags.len()));
        (candidate, tags)
    }

    fn execute(
        &mut self,
        candidate: &Candidate,
        certificate: &selfchain_types::certificate::Certificate,
        tags: Vec<Tag>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let began = Instant::now();
        let details: Vec<Detail> = tags.iter().map(|tag| tag.detail).collect();
        let wants = |at: usize| details.get(at) == Some(&Detail::Balances);
        let (chain, pool) = (&mut self.chain, Arc::clone(&self.commit_pool));
        let mut block = pool.install(|| chain.commit(candidate, certificate, &wants))?;
        self.registry.register(core::mem::take(&mut block.registered));
        self.metrics.stage(Stage::Execute).add_busy(elapsed_ns(began));
        self.metrics.stage(Stage::Execute).add_items(block.applied + block.refused);
        self.count(&block.result.outcomes, block.applied);
        self.metrics.accounts.set(self.chain.ledger().account_count());
        if self.to.push(Executed { block, tags }).is_err() {
            return Err("the log writer has stopped".into());
        }
        Ok(())
    }

    fn count(&self, outcomes: &[u16], applied: u64) {
        self.metrics.outcome(Outcome::Ok, applied);
        for code in outcomes.iter().filter(|code| **code != Outcome::Ok.code()) {
            if let Some(outcome) = Outcome::from_code(*code) {
                self.metrics.outcome(outcome, 1);
            }
        }
    }
}

const IDLE_WAIT: Duration = Duration::from_millis(20);
/// A snapshot above what the projections hold is passed over at the next start: better late than that.
const CATCH_UP_MAX: Duration = Duration::from_secs(5);
const WAIT_MIN: Duration = Duration::from_micros(50);

/// What the pool asks of the chain.
struct View<'a>(&'a Chain);

impl LaneView for View<'_> {
    fn lane(&self, key: &KeyId, lane: u32) -> u64 {
        self.0.ledger().lane(key, lane)
    }

    fn next_height(&self) -> Height {
        self.0.tip().height.next()
    }

    fn validity_max(&self) -> u32 {
        self.0.genesis().limits.validity_max
    }

    fn fees(&self) -> Fees {
        self.0.genesis().fees
    }
}
