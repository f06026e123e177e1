//! The publish thread: what is durable is told to whoever waits for it, and the tip moves.

use super::covering::Covering;
use super::intake::elapsed_ns;
use super::project::Projection;
use super::queue::Queue;
use super::record::Executed;
use crate::answers::committed;
use crate::telemetry::{Metrics, Stage};
use core::time::Duration;
use selfchain_engine::commit::{Folded, Tip};
use selfchain_types::codec;
use selfchain_types::message::Reply;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

/// The newest durable block, for whoever asks.
#[derive(Debug, Default)]
pub struct DurableTip(RwLock<Tip>);

impl DurableTip {
    /// A tip to begin with.
    pub fn new(tip: Tip) -> Self {
        Self(RwLock::new(tip))
    }

    /// The newest durable block.
    pub fn get(&self) -> Tip {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, tip: Tip) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = tip;
    }
}

/// What the publish thread works with.
pub struct Publish {
    /// Where durable blocks come from.
    pub from: Arc<Queue<Executed>>,
    /// Where the projections hear of them.
    pub to: Arc<Queue<Projection>>,
    /// The newest durable block.
    pub tip: Arc<DurableTip>,
    /// Paths of accounts that wait for their headers.
    pub covering: Arc<Covering>,
    /// Wakes subscribers.
    pub tip_moved: Box<dyn Fn() + Send>,
    /// Counts.
    pub metrics: Arc<Metrics>,
}

const IDLE_WAIT: Duration = Duration::from_millis(100);

impl Publish {
    /// Runs until the queue is closed and empty.
    pub fn run(self) {
        while !self.from.is_done() {
            if self.from.wait(IDLE_WAIT) {
                self.from.gauge();
                while let Some(executed) = self.from.pop() {
                    self.publish(executed);
                }
                self.from.gauge();
            }
        }
        self.to.close();
    }

    fn publish(&self, executed: Executed) {
        let began = Instant::now();
        let Executed { block, tags, slice } = executed;
        self.tip.set(block.tip);
        (self.tip_moved)();
        self.covering.look();
        let mut balances = block.balances.into_iter().peekable();
        for ((index, transaction), tag) in (0u32..).zip(&block.transactions).zip(&tags) {
            if tag.is_nobody() {
                continue;
            }
            let its = balances
                .next_if(|(at, _)| *at == index)
                .map(|(_, its)| its)
                .unwrap_or_default();
            let result = committed(
                block.tip.height,
                block.tip.time_ns,
                index,
                transaction,
                &block.result,
                its,
            );
            tag.answer(&Reply::Committed(result));
            self.metrics.commit_latency.record(elapsed_ns(tag.received));
        }
        self.metrics.committed(
            codec::wide(block.transactions.len()),
            block.applied + block.refused,
        );
        self.metrics.blocks_committed.add(1);
        self.metrics.tip_height.set(block.tip.height.0);
        self.metrics.tip_time_ns.set(block.tip.time_ns.0);
        self.metrics.stage(Stage::Publish).add_busy(elapsed_ns(began));
        self.metrics
            .stage(Stage::Publish)
            .add_items(codec::wide(tags.len()));
        let folded = Folded {
            tip: block.tip,
            transactions: block.transactions,
            history: block.history,
            receipt_nodes: block.receipt_nodes,
            handover: block.handover,
        };
        if self.to.push(Projection { folded, slice }).is_err() {
            tracing::warn!(
                height = block.tip.height.0,
                "the index has stopped; a restart rebuilds it"
            );
        }
    }
}
