//! The project thread: the index and the receipts' tree follow the log, off the commit path.

use super::fault::Fault;
use super::intake::elapsed_ns;
use super::queue::Queue;
use crate::recover::project;
use crate::telemetry::{Metrics, Stage};
use core::time::Duration;
use selfchain_engine::commit::Folded;
use selfchain_storage::{Index, NodeFile};
use selfchain_types::codec;
use selfchain_types::seam::log::LogReader;
use std::sync::Arc;
use std::time::Instant;

/// What the project thread works with.
pub struct Project {
    /// Where durable blocks come from.
    pub from: Arc<Queue<Folded>>,
    /// Transaction → position, and history.
    pub index: Arc<Index>,
    /// The receipts' tree.
    pub receipt_nodes: Arc<NodeFile>,
    /// The log it follows, for the lag.
    pub log: Arc<dyn LogReader>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Stops the node.
    pub fault: Fault,
}

const IDLE_WAIT: Duration = Duration::from_millis(100);

impl Project {
    /// Runs until the queue is closed and empty, or a projection cannot be written.
    pub fn run(self) {
        let mut retained = 0;
        while !self.from.is_done() {
            if !self.from.wait(IDLE_WAIT) {
                continue;
            }
            while let Some(folded) = self.from.pop() {
                let began = Instant::now();
                if let Err(error) = project(&self.index, &self.receipt_nodes, &folded) {
                    self.fault.raise(&error);
                    self.from.close();
                    return;
                }
                self.metrics.stage(Stage::Index).add_busy(elapsed_ns(began));
                self.metrics.stage(Stage::Index).add_items(codec::wide(folded.transactions.len()));
                let tip = self.log.tip().unwrap_or(0);
                self.metrics.index_lag_blocks.set(tip.saturating_sub(folded.tip.height.0));
            }
            let first = self.log.first().unwrap_or(0);
            if first > retained {
                retained = first;
                if let Err(error) = self.index.retain_from(first) {
                    tracing::warn!(first, error = %error, "the index keeps what the log has dropped");
                }
            }
            self.from.gauge();
        }
    }
}
