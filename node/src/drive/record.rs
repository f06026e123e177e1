//! The record thread: appends executed blocks and makes as many of them durable with one sync as there are.

use super::fault::Fault;
use super::intake::elapsed_ns;
use super::queue::Queue;
use super::tag::Tag;
use crate::recover::Frozen;
use crate::telemetry::{Metrics, Stage};
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use selfchain_engine::commit::Block;
use selfchain_storage::SegmentLog;
use selfchain_types::codec;
use selfchain_types::seam::log::{Log, LogError};
use std::sync::Arc;
use std::time::Instant;

/// An executed block and who waits for it, transaction by transaction.
#[derive(Debug)]
pub struct Executed {
    /// The block.
    pub block: Block,
    /// Whom to answer, in the order of its transactions.
    pub tags: Vec<Tag>,
    /// The state after it, where a snapshot is due.
    pub frozen: Option<Box<Frozen>>,
}

/// What the record thread works with.
pub struct Record {
    /// Where executed blocks come from.
    pub from: Arc<Queue<Executed>>,
    /// Where durable ones go.
    pub to: Arc<Queue<Executed>>,
    /// The log.
    pub log: SegmentLog,
    /// Bytes of log to keep; 0 = all.
    pub retention_bytes: u64,
    /// Newest height that a snapshot holds: nothing above it is forgotten.
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
            if self.retention_bytes > 0 && syncs.is_multiple_of(RETAIN_EVERY) && let Err(error) = self.retain() {
                self.fault.raise(&error);
                break;
            }
        }
        self.from.close();
        while let Some(executed) = self.from.pop() {
            for tag in executed.tags {
                tag.refuse(selfchain_types::Refusal::Poisoned, "the log failed; the node must be restarted");
            }
        }
        self.to.close();
        self.log
    }

    fn group(&mut self) -> Result<(), LogError> {
        let began = Instant::now();
        let mut group = Vec::new();
        let mut bytes = 0;
        while group.len() < GROUP_MAX {
            let Some(executed) = self.from.pop() else { break };
            self.log.append(executed.block.tip.height.0, &executed.block.row)?;
            bytes += executed.block.row.len();
            group.push(executed);
            if bytes >= GROUP_BYTES_MAX {
                break;
            }
        }
        self.from.gauge();
        self.metrics.stage(Stage::Record).add_busy(elapsed_ns(began));
        let began = Instant::now();
        self.log.sync()?;
        let synced_ns = elapsed_ns(began);
        self.metrics.sync_latency.record(synced_ns);
        self.metrics.stage(Stage::Sync).add_busy(synced_ns);
        self.metrics.stage(Stage::Sync).add_items(codec::wide(group.len()));
        for mut executed in group {
            executed.block.row = Vec::new();
            if self.to.push(executed).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn retain(&mut self) -> Result<(), LogError> {
        let keep = self.log.first_within(self.retention_bytes);
        let covered = self.snapshot_height.load(Ordering::Acquire).saturating_add(1);
        if keep > 0 {
            self.log.retain_from(keep.min(covered))?;
        }
        Ok(())
    }
}

/// Most bytes of one sync: two full blocks.
const GROUP_BYTES_MAX: usize = 32 * 1024 * 1024;
