//! The record thread: appends executed blocks and makes as many of them durable with one sync as there are.

use super::fault::Fault;
use super::intake::IntakeQueue;
use super::intake::elapsed_ns;
use super::queue::Queue;
use super::tag::Tag;
use crate::sweep::Slice;
use crate::telemetry::{Metrics, Stage};
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use selfchain_engine::commit::{Anchor, Block};
use selfchain_storage::SegmentLog;
use selfchain_types::seam::log::{Log, LogError};
use selfchain_types::{Height, Refusal, codec};
use std::sync::Arc;
use std::time::Instant;

/// An executed block and who waits for it, transaction by transaction.
#[derive(Debug)]
pub struct Executed {
    /// The block.
    pub block: Block,
    /// Whom to answer, in the order of its transactions.
    pub tags: Vec<Tag>,
    /// What was read of a snapshot after it.
    pub slice: Option<Box<Slice>>,
}

/// What the record thread works with.
pub struct Record {
    /// Where executed blocks come from.
    pub from: Arc<Queue<Executed>>,
    /// Where durable ones go.
    pub to: Arc<Queue<Executed>>,
    /// The log.
    pub log: SegmentLog,
    /// Closed when the node stops: then a full disk is waited for no longer.
    pub intake: Arc<IntakeQueue>,
    /// Bytes of log to keep; 0 = all.
    pub retention_bytes: u64,
    /// Newest height that a snapshot holds: nothing above it is forgotten, nor what proves it.
    pub snapshot_height: Arc<AtomicU64>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Stops the node.
    pub fault: Fault,
}

const IDLE_WAIT: Duration = Duration::from_millis(100);
/// Most blocks of one sync.
const GROUP_MAX: usize = 64;
/// Syncs between two looks at retention.
const RETAIN_EVERY: u64 = 256;

impl Record {
    /// Runs until the queue is closed and empty, or the log fails. Gives the log back.
    pub fn run(mut self) -> SegmentLog {
        let mut syncs = 0u64;
        while !self.from.is_done() {
            if !self.from.wait(IDLE_WAIT) {
                continue;
            }
            if let Err(error) = self.group() {
                self.fault.raise(&error);
                break;
            }
            syncs += 1;
            if self.retention_bytes > 0
                && syncs.is_multiple_of(RETAIN_EVERY)
                && let Err(error) = self.retain()
            {
                self.fault.raise(&error);
                break;
            }
        }
        self.from.close();
        while let Some(executed) = self.from.pop() {
            self.refuse(vec![executed]);
        }
        self.to.close();
        self.log
    }

    fn group(&mut self) -> Result<(), LogError> {
        let began = Instant::now();
        self.from.gauge();
        let mut group = Vec::new();
        let mut bytes = 0;
        while group.len() < GROUP_MAX {
            let Some(executed) = self.from.pop() else { break };
            if let Err(error) = self.append(&executed.block) {
                group.push(executed);
                self.refuse(group);
                return Err(error);
            }
            bytes += executed.block.row.len();
            group.push(executed);
            if bytes >= GROUP_BYTES_MAX {
                break;
            }
        }
        self.from.gauge();
        self.metrics.stage(Stage::Record).add_busy(elapsed_ns(began));
        let began = Instant::now();
        if let Err(error) = self.log.sync() {
            self.refuse(group);
            return Err(error);
        }
        let synced_ns = elapsed_ns(began);
        self.metrics.sync_latency.record(synced_ns);
        self.metrics.stage(Stage::Sync).add_busy(synced_ns);
        self.metrics
            .stage(Stage::Sync)
            .add_items(codec::wide(group.len()));
        for mut executed in group {
            executed.block.row = Vec::new();
            if self.to.push(executed).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Appends a block. What was admitted while there was room waits for room: nothing is lost, and intake
    /// refuses more by the name of the full disk. Only a node that stops gives up.
    fn append(&mut self, block: &Block) -> Result<(), LogError> {
        let mut stopping = None;
        loop {
            match self.log.append(block.tip.height.0, &block.row) {
                Err(error @ LogError::DiskFull { .. }) => {
                    if self.intake.is_closed() {
                        let since: &mut Instant = stopping.get_or_insert_with(Instant::now);
                        if since.elapsed() > STOP_WAIT_MAX {
                            return Err(error);
                        }
                    }
                    std::thread::park_timeout(ROOM_WAIT);
                }
                appended => return appended,
            }
        }
    }

    /// Tells whoever waits for these blocks that they will not be durable.
    fn refuse(&self, group: Vec<Executed>) {
        for tag in group.into_iter().flat_map(|executed| executed.tags) {
            self.metrics.refused(Refusal::Poisoned, 1);
            tag.refuse(Refusal::Poisoned, "the log failed; the node must be restarted");
        }
    }

    fn retain(&mut self) -> Result<(), LogError> {
        let keep = self.log.first_within(self.retention_bytes);
        // Whoever is sent the snapshot has it proved by the blocks up to it.
        let snapshot = Height(self.snapshot_height.load(Ordering::Acquire));
        let (covered, _) = Anchor::heights(snapshot, 0);
        if keep > 0 {
            self.log.retain_from(keep.min(covered.0))?;
        }
        Ok(())
    }
}

/// How often a full disk is asked for room.
pub(super) const ROOM_WAIT: Duration = Duration::from_millis(50);
/// How long a node that stops waits for room.
pub(super) const STOP_WAIT_MAX: Duration = Duration::from_secs(1);
/// Most bytes of one sync: two full blocks.
const GROUP_BYTES_MAX: usize = 32 * 1024 * 1024;
