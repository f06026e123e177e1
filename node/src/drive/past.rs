//! The past thread: questions about the log and the index, which may read from the disk.

use super::intake::elapsed_ns;
use super::queue::Queue;
use super::tag::{RETRY_AFTER_MS, Tag};
use crate::answers::{AnswerError, Past};
use crate::telemetry::Metrics;
use core::time::Duration;
use selfchain_types::message::{Answer, HISTORY_ROWS_MAX, Query, Refused, Reply};
use selfchain_types::{Hash, Height, Refusal};
use std::sync::Arc;

/// A question about the past.
#[derive(Debug)]
pub enum PastJob {
    /// A client's question.
    Query(Query, Tag),
    /// A transaction whose counter was used when height `height` was executed: is it committed already?
    Duplicate {
        /// The transaction.
        tx_id: Hash,
        /// Where the chain stood.
        height: Height,
        /// Whom to answer.
        tag: Tag,
    },
}

impl PastJob {
    /// Whom to answer.
    pub fn tag(&self) -> &Tag {
        match self {
            Self::Query(_, tag) | Self::Duplicate { tag, .. } => tag,
        }
    }
}

/// What the past thread works with.
pub struct PastThread {
    /// Where questions come from.
    pub from: Arc<Queue<PastJob>>,
    /// The log, the index, the receipts' tree.
    pub past: Past,
    /// The genesis bytes.
    pub genesis: Vec<u8>,
    /// Counts.
    pub metrics: Arc<Metrics>,
}

const IDLE_WAIT: Duration = Duration::from_millis(100);

impl PastThread {
    /// Runs until the queue is closed and empty.
    pub fn run(self) {
        while !self.from.is_done() {
            if self.from.wait(IDLE_WAIT) {
                self.from.gauge();
                while let Some(job) = self.from.pop() {
                    self.answer(&job);
                }
                self.from.gauge();
            }
        }
    }

    fn answer(&self, job: &PastJob) {
        let reply = match job {
            PastJob::Query(query, _) => self
                .query(query)
                .map(Reply::Answer)
                .unwrap_or_else(|error| refused(&error)),
            PastJob::Duplicate { tx_id, height, .. } => self.duplicate(tx_id, *height),
        };
        match &reply {
            Reply::Refused(refused) => self.metrics.refused(refused.refusal, 1),
            Reply::Committed(_) => self.metrics.refused(Refusal::Duplicate, 1),
            Reply::Accepted | Reply::Answer(_) => {}
        }
        job.tag().answer(&reply);
        if let PastJob::Query(_, tag) = job {
            self.metrics.query_latency.record(elapsed_ns(tag.received));
        }
    }

    fn query(&self, query: &Query) -> Result<Answer, AnswerError> {
        Ok(match query {
            Query::Transaction(tx_id) => Answer::Transaction(self.past.transaction(tx_id)?),
            Query::Block(height) => Answer::Block(self.past.log().read(height.0)?.to_vec()),
            Query::History {
                account,
                from,
                rows_max,
            } => Answer::History(
                self.past
                    .history(*account, *from, (*rows_max).min(HISTORY_ROWS_MAX))?,
            ),
            Query::BalanceAt { account, height } => {
                Answer::History(self.past.balance_at(*account, *height)?.into_iter().collect())
            }
            Query::Receipt { tx_id, operation } => {
                Answer::Receipt(self.past.receipt(tx_id, *operation)?.to_bytes())
            }
            Query::Genesis => Answer::Genesis(self.genesis.clone()),
            Query::Status
            | Query::Account(_)
            | Query::Key(_)
            | Query::Asset(_)
            | Query::Holds { .. }
            | Query::Policy(_) => {
                return Err(AnswerError::NotFound {
                    what: "an answer about the present in the past",
                });
            }
        })
    }

    fn duplicate(&self, tx_id: &Hash, height: Height) -> Reply {
        match self.past.transaction(tx_id) {
            Ok(mut committed) => {
                committed.duplicate = true;
                Reply::Committed(committed)
            }
            Err(AnswerError::NotFound { .. } | AnswerError::NotKept { .. })
                if self.past.indexed_through() >= height =>
            {
                Reply::Refused(Refused {
                    refusal: Refusal::CounterUsed,
                    retry_after_ms: 0,
                    text: "another transaction used this counter".into(),
                })
            }
            Err(AnswerError::NotFound { .. } | AnswerError::NotKept { .. }) => {
                refused(&AnswerError::IndexBehind {
                    by: height.0.saturating_sub(self.past.indexed_through().0),
                })
            }
            Err(error) => refused(&error),
        }
    }
}

fn refused(error: &AnswerError) -> Reply {
    let (refusal, retry_after_ms) = match error {
        AnswerError::NotFound { .. } | AnswerError::NotKept { .. } => (Refusal::NotFound, 0),
        AnswerError::NotYetProvable { .. } => (Refusal::NotFound, RETRY_AFTER_MS),
        AnswerError::Pruned { .. } => (Refusal::Pruned, 0),
        AnswerError::IndexBehind { .. } => (Refusal::IndexBehind, RETRY_AFTER_MS),
        AnswerError::Store(_) => (Refusal::Poisoned, 0),
    };
    Reply::Refused(Refused {
        refusal,
        retry_after_ms,
        text: error.to_string(),
    })
}
