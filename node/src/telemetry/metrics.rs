//! Every metric of the node in one place. Recording is a relaxed addition; nobody waits for a reader.

use super::Distribution;
use core::sync::atomic::{AtomicU64, Ordering};
use selfchain_types::{Outcome, Refusal, codec};

/// What the node has done since it started, and how it stands. Held by an `Arc` and recorded into from anywhere.
#[derive(Debug)]
pub struct Metrics {
    stages: [StageMetrics; Stage::ALL.len()],
    queues: [QueueMetrics; Queue::ALL.len()],
    refused: [Counter; REFUSAL_CODES],
    outcomes: [Counter; OUTCOME_CODES],
    /// Transactions in durable blocks.
    pub transactions_committed: Counter,
    /// Their operations, refused ones included.
    pub operations_committed: Counter,
    /// Durable blocks.
    pub blocks_committed: Counter,
    /// From a transaction's arrival to its block being durable, in ns.
    pub commit_latency: Distribution,
    /// A sync of the log, in ns.
    pub sync_latency: Distribution,
    /// From a query's arrival to its answer, in ns.
    pub query_latency: Distribution,
    /// Height of the newest durable block.
    pub tip_height: Gauge,
    /// Ledger time of that block, in ns since the Unix epoch.
    pub tip_time_ns: Gauge,
    /// Newest height that the index holds.
    pub indexed_height: Gauge,
    /// Heights that the index is behind the log.
    pub index_lag_blocks: Gauge,
    /// Bytes free on the disk that holds the log.
    pub disk_free_bytes: Gauge,
    /// Bytes of the log.
    pub log_bytes: Gauge,
    /// Transactions waiting for a block.
    pub pool_transactions: Gauge,
    /// Their bytes.
    pub pool_bytes: Gauge,
    /// Accounts there are.
    pub accounts: Gauge,
    /// Bytes that a snapshot under way holds of records that have changed since its height.
    pub snapshot_frozen_bytes: Gauge,
    /// Snapshots written while blocks went on.
    pub snapshots_written: Counter,
    /// Snapshots that were due while the one before was still being read.
    pub snapshots_skipped: Counter,
    /// Blocks that were scored, others' included: beside the stage's operations it gives the size of a batch.
    pub score_blocks: Counter,
    /// Own blocks whose scoring took longer than its budget.
    pub score_late: Counter,
    /// How long scoring a block may take, in ns.
    pub score_budget_ns: Gauge,
    /// Operations that got a score.
    pub scored: Counter,
    /// Operations of blocks with a model that got none: other kinds, and what came too late.
    pub not_scored: Counter,
    /// Blocks for which the model in force was not here, or may not decide.
    pub model_missing: Counter,
    /// Blocks of other validators with other scores than the model's.
    pub scores_disputed: Counter,
    /// Blocks of other validators without scores where the model in force has some.
    pub scores_left_out: Counter,
    /// Neutral scores that stand for what failed inside a model.
    pub score_failed: Gauge,
    /// Processor time that scoring has taken, in ns.
    pub score_cpu_ns: Gauge,
    /// Bytes of the contexts that scores are made from.
    pub contexts_bytes: Gauge,
    /// Questions to the vault that were answered.
    pub vault_answered: Counter,
    /// Questions to the vault by those who may not.
    pub vault_denied: Counter,
    /// Bytes of the vault's contents.
    pub vault_bytes: Gauge,
    /// How scores are spread.
    #[cfg(feature = "network")]
    pub scores: super::Scores,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            stages: core::array::from_fn(|_| StageMetrics::default()),
            queues: core::array::from_fn(|_| QueueMetrics::default()),
            refused: core::array::from_fn(|_| Counter::default()),
            outcomes: core::array::from_fn(|_| Counter::default()),
            transactions_committed: Counter::default(),
            operations_committed: Counter::default(),
            blocks_committed: Counter::default(),
            commit_latency: Distribution::default(),
            sync_latency: Distribution::default(),
            query_latency: Distribution::default(),
            tip_height: Gauge::default(),
            tip_time_ns: Gauge::default(),
            indexed_height: Gauge::default(),
            index_lag_blocks: Gauge::default(),
            disk_free_bytes: Gauge::default(),
            log_bytes: Gauge::default(),
            pool_transactions: Gauge::default(),
            pool_bytes: Gauge::default(),
            accounts: Gauge::default(),
            snapshot_frozen_bytes: Gauge::default(),
            snapshots_written: Counter::default(),
            snapshots_skipped: Counter::default(),
            score_blocks: Counter::default(),
            score_late: Counter::default(),
            score_budget_ns: Gauge::default(),
            scored: Counter::default(),
            not_scored: Counter::default(),
            model_missing: Counter::default(),
            scores_disputed: Counter::default(),
            scores_left_out: Counter::default(),
            score_failed: Gauge::default(),
            score_cpu_ns: Gauge::default(),
            contexts_bytes: Gauge::default(),
            vault_answered: Counter::default(),
            vault_denied: Counter::default(),
            vault_bytes: Gauge::default(),
            #[cfg(feature = "network")]
            scores: super::Scores::default(),
        }
    }
}

impl Metrics {
    /// One stage's.
    pub fn stage(&self, stage: Stage) -> &StageMetrics {
        &self.stages[stage.index()]
    }

    /// One queue's.
    pub fn queue(&self, queue: Queue) -> &QueueMetrics {
        &self.queues[queue.index()]
    }

    /// `n` envelopes or requests were refused for one reason.
    pub fn refused(&self, refusal: Refusal, n: u64) {
        self.refused[usize::from(refusal.code())].add(n);
    }

    /// How many were refused for this reason.
    pub fn refused_count(&self, refusal: Refusal) -> u64 {
        self.refused[usize::from(refusal.code())].get()
    }

    /// `n` operations ended with one outcome.
    pub fn outcome(&self, outcome: Outcome, n: u64) {
        self.outcomes[usize::from(outcome.code())].add(n);
    }

    /// How many ended with this outcome.
    pub fn outcome_count(&self, outcome: Outcome) -> u64 {
        self.outcomes[usize::from(outcome.code())].get()
    }

    /// Durable blocks brought this many transactions, with this many operations.
    pub fn committed(&self, transactions: u64, operations: u64) {
        self.transactions_committed.add(transactions);
        self.operations_committed.add(operations);
    }
}

/// One more than the largest refusal code.
const REFUSAL_CODES: usize = {
    let (mut codes, mut at) = (0, 0);
    while at < Refusal::ALL.len() {
        codes = larger(codes, Refusal::ALL[at].code());
        at += 1;
    }
    codes
};

/// One more than the largest outcome code.
const OUTCOME_CODES: usize = {
    let (mut codes, mut at) = (0, 0);
    while at < Outcome::ALL.len() {
        codes = larger(codes, Outcome::ALL[at].code());
        at += 1;
    }
    codes
};

#[allow(clippy::as_conversions, reason = "u16 to usize; `From` is not const")]
const fn larger(codes: usize, code: u16) -> usize {
    if codes > code as usize {
        codes
    } else {
        code as usize + 1
    }
}

/// A stretch of the road whose work is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Frames to envelopes.
    Decode,
    /// Signatures.
    Verify,
    /// Replay protection, validity and the pool.
    Admit,
    /// From the pool to a block.
    Build,
    /// Rows of features, and the model's scores.
    Score,
    /// The ledger's rules.
    Execute,
    /// The table of roots.
    Root,
    /// Rows to the log.
    Record,
    /// The log's sync.
    Sync,
    /// Results to clients.
    Publish,
    /// Rows to the index.
    Index,
}

impl Stage {
    /// Every stage, in the order of the road.
    pub const ALL: [Self; 11] = [
        Self::Decode,
        Self::Verify,
        Self::Admit,
        Self::Build,
        Self::Score,
        Self::Execute,
        Self::Root,
        Self::Record,
        Self::Sync,
        Self::Publish,
        Self::Index,
    ];

    /// The name that metrics and JSON use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Verify => "verify",
            Self::Admit => "admit",
            Self::Build => "build",
            Self::Score => "score",
            Self::Execute => "execute",
            Self::Root => "root",
            Self::Record => "record",
            Self::Sync => "sync",
            Self::Publish => "publish",
            Self::Index => "index",
        }
    }

    #[allow(
        clippy::as_conversions,
        reason = "a field-less enum, numbered in the order of ALL"
    )]
    const fn index(self) -> usize {
        self as usize
    }
}

/// A queue between two threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Queue {
    /// From the sockets to decoding.
    Intake,
    /// From verification to the drive thread.
    Verified,
    /// Executed blocks to the log writer.
    Log,
    /// Durable blocks to the publisher.
    Publish,
    /// Durable blocks to the index.
    Index,
    /// Questions about the state.
    State,
    /// Questions about the past.
    Past,
    /// Questions to the vault.
    Vault,
    /// Pieces of backups that are kept for others.
    Keep,
}

impl Queue {
    /// Every queue, in the order of the road.
    pub const ALL: [Self; 9] = [
        Self::Intake,
        Self::Verified,
        Self::Log,
        Self::Publish,
        Self::Index,
        Self::State,
        Self::Past,
        Self::Vault,
        Self::Keep,
    ];

    /// The name that metrics and JSON use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Intake => "intake",
            Self::Verified => "verified",
            Self::Log => "log",
            Self::Publish => "publish",
            Self::Index => "index",
            Self::State => "state",
            Self::Past => "past",
            Self::Vault => "vault",
            Self::Keep => "keep",
        }
    }

    #[allow(
        clippy::as_conversions,
        reason = "a field-less enum, numbered in the order of ALL"
    )]
    const fn index(self) -> usize {
        self as usize
    }
}

/// How busy a stage was, over all threads that work on it.
#[derive(Debug, Default)]
pub struct StageMetrics {
    busy_ns: Counter,
    items: Counter,
}

impl StageMetrics {
    /// A thread worked on it for `ns`.
    pub fn add_busy(&self, ns: u64) {
        self.busy_ns.add(ns);
    }

    /// `n` items (envelopes before order, operations after it) went through.
    pub fn add_items(&self, n: u64) {
        self.items.add(n);
    }

    /// Nanoseconds of work, summed over threads.
    pub fn busy_ns(&self) -> u64 {
        self.busy_ns.get()
    }

    /// Items that went through.
    pub fn items(&self) -> u64 {
        self.items.get()
    }
}

/// How full a queue is and was.
#[derive(Debug, Default)]
pub struct QueueMetrics {
    len: Gauge,
    limit: Gauge,
    full: Counter,
    lens: Distribution,
}

impl QueueMetrics {
    /// It holds `len` items: noted as of now and in the distribution of lengths.
    pub fn set(&self, len: usize) {
        let len = codec::wide(len);
        self.len.set(len);
        self.lens.record(len);
    }

    /// It holds at most `limit` items.
    pub fn set_limit(&self, limit: u64) {
        self.limit.set(limit);
    }

    /// It was found full `n` times, and an item was refused or somebody waited.
    pub fn add_full(&self, n: u64) {
        self.full.add(n);
    }

    /// Items in it, when it was last looked at.
    pub fn len(&self) -> u64 {
        self.len.get()
    }

    /// Whether it was empty then.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Most items it may hold.
    pub fn limit(&self) -> u64 {
        self.limit.get()
    }

    /// How often it was found full.
    pub fn full(&self) -> u64 {
        self.full.get()
    }

    /// Its length at every look.
    pub fn lens(&self) -> &Distribution {
        &self.lens
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that is set, or that grows in parts.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Sets it.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_queue_refusal_and_outcome_has_its_own_place() {
        let metrics = Metrics::default();
        for (at, stage) in (1..).zip(Stage::ALL) {
            metrics.stage(stage).add_busy(at);
        }
        for (len, queue) in (1..).zip(Queue::ALL) {
            metrics.queue(queue).set(len);
        }
        for (at, refusal) in (1..).zip(Refusal::ALL) {
            metrics.refused(*refusal, at);
        }
        for (at, outcome) in (1..).zip(Outcome::ALL) {
            metrics.outcome(*outcome, at);
        }
        assert!(
            (1..)
                .zip(Stage::ALL)
                .all(|(at, stage)| metrics.stage(stage).busy_ns() == at)
        );
        assert!(
            (1..)
                .zip(Queue::ALL)
                .all(|(at, queue)| metrics.queue(queue).len() == at)
        );
        assert!(
            (1..)
                .zip(Refusal::ALL)
                .all(|(at, refusal)| metrics.refused_count(*refusal) == at)
        );
        assert!(
            (1..)
                .zip(Outcome::ALL)
                .all(|(at, outcome)| metrics.outcome_count(*outcome) == at)
        );
    }
}
