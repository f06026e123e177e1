//! The order thread: one writer. It admits to the pool, asks the plane for blocks, and executes what is decided.

use super::fault::Fault;
use super::intake::elapsed_ns;
use super::past::PastJob;
use super::queue::Queue;
use super::record::Executed;
use super::registry::Registry;
use super::scoring::Scoring;
use super::state::StateAnswers;
use super::tag::Tag;
use crate::ledger::{now, start};
use crate::sweep::Sweeper;
use crate::telemetry::{Metrics, Stage};
use core::time::Duration;
use selfchain_engine::builder::{BlockLimits, Order as BlockOrder, build};
use selfchain_engine::commit::{Block, Candidate, Chain, Proposing};
use selfchain_engine::pool::{LaneView, Pool};
use selfchain_types::genesis::OpTime;
use selfchain_types::message::Detail;
use selfchain_types::seam::consensus::{Effect, Input, Plane};
use selfchain_types::{Height, KeyId, Outcome, Refusal, Risk, TimeNs, Verified, codec};
use std::sync::Arc;
use std::time::Instant;

/// What the order thread works with.
pub struct Order {
    /// Where verified transactions come from.
    pub verified: Arc<Queue<(Verified, Tag)>>,
    /// Answers questions about the state.
    pub state: StateAnswers,
    /// Where a used counter is looked up: maybe it is a duplicate.
    pub past: Arc<Queue<PastJob>>,
    /// Where executed blocks go.
    pub to: Arc<Queue<Executed>>,
    /// Transactions that wait.
    pub pool: Pool<Tag>,
    /// The chain.
    pub chain: Chain,
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
    /// Scores blocks, if the node does.
    pub scoring: Option<Scoring>,
    /// Reads snapshots between blocks.
    pub sweeper: Sweeper,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Stops the node.
    pub fault: Fault,
}

/// Most transactions admitted before the next look at the clock.
const ADMIT_ROUND_MAX: usize = 4_096;

impl Order {
    /// Runs until nothing more can come, everything in the pool is decided, or the node must stop. Gives
    /// back the chain and the scorer.
    pub fn run(mut self) -> (Chain, Option<Scoring>) {
        let mut last_block = Instant::now();
        let mut empties_due = 0;
        if let Err(error) = start(&mut *self.plane, &self.chain) {
            self.fault.raise(&error);
        }
        while !self.fault.is_raised() {
            self.state.answer(&self.chain);
            self.admit();
            let done = self.verified.is_done();
            let wait = self.interval.saturating_sub(last_block.elapsed());
            let is_wanted = self.is_wanted(empties_due);
            if is_wanted && self.to.is_full() {
                // The disk is behind, or full: questions are answered meanwhile.
                self.verified.wait(BEHIND_WAIT);
            } else if is_wanted && (done || wait.is_zero() || self.is_block_full()) {
                last_block = Instant::now();
                match self.step() {
                    Ok(0) => empties_due = u64::saturating_sub(empties_due, 1),
                    Ok(_) => empties_due = self.chain.genesis().plane.root_lag(),
                    Err(error) => self.fault.raise(&*error),
                }
            } else if done && !is_wanted {
                // What still waits is valid only from a height that does not come.
                break;
            } else {
                let wait = if is_wanted { wait } else { IDLE_WAIT };
                self.verified.wait(wait.max(WAIT_MIN));
            }
        }
        self.end()
    }

    fn end(mut self) -> (Chain, Option<Scoring>) {
        let (refusal, text) = if self.fault.is_raised() {
            (Refusal::Poisoned, "the node has stopped; it must be restarted")
        } else {
            (Refusal::Draining, "the node is shutting down")
        };
        // Closed, or intake would wait for ever for room in it.
        self.verified.close();
        let mut left = Vec::new();
        self.pool.advance(Height(u64::MAX), &mut left);
        let waiting = left.into_iter().map(|(tag, _)| tag);
        let verified = core::iter::from_fn(|| self.verified.pop()).map(|(_, tag)| tag);
        for tag in waiting.chain(verified) {
            self.metrics.refused(refusal, 1);
            tag.refuse(refusal, text);
        }
        self.state.close();
        self.past.close();
        self.to.close();
        (self.chain, self.scoring)
    }

    fn admit(&mut self) {
        let began = Instant::now();
        let mut evicted = Vec::new();
        let mut admitted = 0;
        let clock = now().ok();
        if !self.verified.is_empty() {
            self.verified.gauge();
        }
        for _ in 0..ADMIT_ROUND_MAX {
            let Some((verified, tag)) = self.verified.pop() else {
                break;
            };
            if clock.is_some_and(|clock| self.chain.ledger().is_ahead(&verified.view(), clock)) {
                self.refuse(&tag, Refusal::NotYetValid);
                continue;
            }
            let tx_id = verified.tx_id();
            let waiting = tag.clone();
            match self.pool.admit(verified, tag, &Lanes(&self.chain), &mut evicted) {
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
        evicted
            .iter()
            .for_each(|(tag, refusal)| self.refuse(tag, *refusal));
        if admitted > 0 {
            self.verified.gauge();
            self.metrics.stage(Stage::Admit).add_busy(elapsed_ns(began));
            self.metrics.stage(Stage::Admit).add_items(admitted);
            self.gauge_pool();
        }
    }

    fn gauge_pool(&self) {
        self.metrics.pool_transactions.set(codec::wide(self.pool.len()));
        self.metrics.pool_bytes.set(self.pool.bytes());
    }

    fn refuse(&self, tag: &Tag, refusal: Refusal) {
        self.metrics.refused(refusal, 1);
        tag.refuse(refusal, refusal.name());
    }

    fn is_wanted(&self, empties_due: u64) -> bool {
        // Where operations bring their own time, a block without any moves it by 1 ns: nothing expires in it.
        let is_clocked = self.chain.genesis().op_time == OpTime::Block;
        let overdue = |due: TimeNs| is_clocked && now().is_ok_and(|now| due <= now);
        let is_proof_due = self.state.wanted_through() > self.chain.tip().height;
        is_proof_due
            || self.pool.has_ready()
            || empties_due > 0
            || self.chain.ledger().next_expiry().is_some_and(overdue)
    }

    fn is_block_full(&self) -> bool {
        let limits = &self.chain.genesis().limits;
        self.pool.bytes() >= u64::from(limits.block_bytes_max)
            || self.pool.effects() >= u64::from(limits.block_effects_max)
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
                    let built = Input::Built {
                        height,
                        round,
                        block,
                        extension: Vec::new(),
                    };
                    self.plane.handle(built, now, &mut effects)?;
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
        let limits = self.chain.genesis().limits;
        let expiries = self
            .chain
            .ledger()
            .expiries_at(self.chain.ledger().next_time(&[], now));
        let limits = BlockLimits {
            bytes_max: u64::from(limits.block_bytes_max),
            // Expiries come first and count as effects.
            effects_max: u64::from(limits.block_effects_max).saturating_sub(codec::wide(expiries)),
            envelopes_max: BLOCK_ENVELOPES_MAX,
        };
        let entries = build(&mut self.pool, &limits, self.order);
        let (envelopes, tags): (Vec<Verified>, Vec<Tag>) = entries
            .into_iter()
            .map(|entry| (entry.verified, entry.ticket.tag))
            .unzip();
        let (chain, proposer) = (&self.chain, self.proposer);
        let scoring_began = Instant::now();
        let scoring = self.scoring.as_mut();
        let risk = scoring.map_or_else(Risk::default, |scoring| {
            self.commit_pool.install(|| scoring.score(chain, &envelopes, now))
        });
        let scored_ns = elapsed_ns(scoring_began);
        let candidate = self
            .commit_pool
            .install(|| chain.propose(envelopes, risk, now, Proposing::solo(proposer)));
        let build_ns = elapsed_ns(began).saturating_sub(scored_ns);
        self.metrics.stage(Stage::Build).add_busy(build_ns);
        self.metrics
            .stage(Stage::Build)
            .add_items(codec::wide(tags.len()));
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
        let executed = pool.install(|| chain.execute(candidate, &wants))?;
        self.metrics.stage(Stage::Execute).add_busy(elapsed_ns(began));
        if let Some(scoring) = &mut self.scoring {
            let began = Instant::now();
            scoring.keep(candidate, &self.chain, &executed.result);
            self.metrics.stage(Stage::Score).add_busy(elapsed_ns(began));
        }
        let chain = &mut self.chain;
        let began = Instant::now();
        let mut block = pool.install(|| chain.finish(candidate, certificate, executed));
        self.registry.register(core::mem::take(&mut block.registered));
        self.metrics.stage(Stage::Root).add_busy(elapsed_ns(began));
        for stage in [Stage::Execute, Stage::Root] {
            self.metrics.stage(stage).add_items(block.applied + block.refused);
        }
        count_outcomes(&self.metrics, &block);
        self.metrics.accounts.set(self.chain.ledger().account_count());
        self.settle(candidate, &block);
        let effects = block.result.outcomes.len() + block.result.expired.len();
        let scorer = self.scoring.as_mut().map(|scoring| scoring.scorer());
        let slice = self
            .sweeper
            .after_block(&mut self.chain, scorer, effects)
            .map(Box::new);
        if self.to.push(Executed { block, tags, slice }).is_err() {
            return Err("the log writer has stopped".into());
        }
        Ok(())
    }

    /// Tells the pool what is decided, and that the next height begins.
    fn settle(&mut self, candidate: &Candidate, block: &Block) {
        let mut refused = Vec::new();
        for (envelope, transaction) in candidate.envelopes().iter().zip(&block.transactions) {
            // A transaction of a proposal of ours has its tag in the proposal.
            let none = self
                .pool
                .decided(&transaction.tx_id, envelope.view().signers(), &mut refused);
            assert!(none.is_none(), "what is proposed does not wait");
        }
        self.pool.advance(block.tip.height.next(), &mut refused);
        self.gauge_pool();
        refused
            .iter()
            .for_each(|(tag, refusal)| self.refuse(tag, *refusal));
    }
}

/// Counts what became of a block's operations.
pub(super) fn count_outcomes(metrics: &Metrics, block: &Block) {
    metrics.outcome(Outcome::Ok, block.applied);
    let outcomes = block.result.outcomes.iter();
    for code in outcomes.filter(|code| **code != Outcome::Ok.code()) {
        if let Some(outcome) = Outcome::from_code(*code) {
            metrics.outcome(outcome, 1);
        }
    }
}

/// Most transactions of one block: at the interval of 5 ms, 13 million a second.
pub(super) const BLOCK_ENVELOPES_MAX: usize = 65_536;
pub(super) const IDLE_WAIT: Duration = Duration::from_millis(20);
/// How often a log writer that is behind is looked at.
const BEHIND_WAIT: Duration = Duration::from_micros(200);
pub(super) const WAIT_MIN: Duration = Duration::from_micros(50);

/// The lanes as the newest executed block left them.
struct Lanes<'a>(&'a Chain);

impl LaneView for Lanes<'_> {
    fn lane(&self, key: &KeyId, lane: u32) -> u64 {
        self.0.ledger().lane(key, lane)
    }
}
