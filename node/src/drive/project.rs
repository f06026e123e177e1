//! The project thread: the index and the receipts' tree follow the log, off the commit path.

use super::fault::Fault;
use super::intake::elapsed_ns;
use super::queue::Queue;
use super::record::{ROOM_WAIT, STOP_WAIT_MAX};
use crate::recover::project;
use crate::store::StoreError;
use crate::sweep::{Slice, SnapshotFiler};
use crate::telemetry::{Metrics, Stage};
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use selfchain_engine::commit::Folded;
use selfchain_storage::{HandoverFile, Index, IndexError, NodeFile, Snapshots};
use selfchain_types::codec;
use selfchain_types::seam::log::LogReader;
use std::sync::Arc;
use std::time::Instant;

/// A durable block as the projections see it.
#[derive(Debug)]
pub struct Projection {
    /// What it did.
    pub folded: Folded,
    /// What was read of a snapshot after it.
    pub slice: Option<Box<Slice>>,
}

/// What the project thread works with.
pub struct Project {
    /// Where durable blocks come from.
    pub from: Arc<Queue<Projection>>,
    /// Transaction → position, and history.
    pub index: Index,
    /// Where snapshots go.
    pub snapshots: Arc<Snapshots>,
    /// The one that is being written.
    pub filer: SnapshotFiler,
    /// Newest height that a snapshot holds.
    pub snapshot_height: Arc<AtomicU64>,
    /// The receipts' tree.
    pub receipt_nodes: Arc<NodeFile>,
    /// Changes of the set of validators.
    pub handovers: Arc<HandoverFile>,
    /// The log it follows, for the lag.
    pub log: Arc<dyn LogReader>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Stops the node.
    pub fault: Fault,
}

const IDLE_WAIT: Duration = Duration::from_millis(100);

impl Project {
    /// Runs until the queue is closed and empty, or a projection cannot be written. Gives the index back.
    pub fn run(mut self) -> Index {
        let mut retained = 0;
        while !self.from.is_done() {
            if !self.from.wait(IDLE_WAIT) {
                continue;
            }
            while let Some(projection) = self.from.pop() {
                if let Err(error) = self.project(&projection) {
                    self.fault.raise(&error);
                    self.from.close();
                    return self.index;
                }
            }
            self.retain(&mut retained);
            self.from.gauge();
        }
        self.index
    }

    fn project(&mut self, projection: &Projection) -> Result<(), StoreError> {
        let began = Instant::now();
        let folded = &projection.folded;
        self.follow(folded)?;
        self.metrics.stage(Stage::Index).add_busy(elapsed_ns(began));
        self.metrics
            .stage(Stage::Index)
            .add_items(codec::wide(folded.transactions.len()));
        self.metrics.indexed_height.set(folded.tip.height.0);
        let tip = self.log.tip().unwrap_or(0);
        self.metrics
            .index_lag_blocks
            .set(tip.saturating_sub(folded.tip.height.0));
        if let Some(slice) = &projection.slice {
            self.file(slice);
        }
        Ok(())
    }

    fn file(&mut self, slice: &Slice) {
        let written = self.filer.write(
            slice,
            &self.snapshots,
            &mut self.index,
            &self.receipt_nodes,
            &self.handovers,
        );
        match written {
            Ok(None) => {}
            Ok(Some(height)) => {
                self.metrics.snapshots_written.add(1);
                self.snapshot_height.store(height.0, Ordering::Release);
            }
            // Without it the next start folds more of the log.
            Err(error) => tracing::warn!(height = slice.height().0, error = %error, "snapshot not written"),
        }
    }

    /// Waits for room on a full disk, so that the blocks behind this one wait too. Only a node that stops gives
    /// up: the next start feeds the index what it lacks.
    fn follow(&mut self, folded: &Folded) -> Result<(), StoreError> {
        let mut stopping = None;
        loop {
            match project(&mut self.index, &self.receipt_nodes, &self.handovers, folded) {
                Err(error @ StoreError::Index(IndexError::DiskFull { .. })) => {
                    if self.from.is_closed() {
                        let since: &mut Instant = stopping.get_or_insert_with(Instant::now);
                        if since.elapsed() > STOP_WAIT_MAX {
                            return Err(error);
                        }
                    }
                    std::thread::park_timeout(ROOM_WAIT);
                }
                followed => return followed,
            }
        }
    }

    fn retain(&mut self, retained: &mut u64) {
        let first = self.log.first().unwrap_or(0);
        if first > *retained {
            *retained = first;
            if let Err(error) = self.index.retain_from(first) {
                tracing::warn!(first, error = %error, "the index keeps what the log has dropped");
            }
        }
    }
}
