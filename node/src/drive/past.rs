//! The past thread: questions about the log and the index, which may read from the disk.

use super::intake::elapsed_ns;
use super::queue::Queue;
use super::rebuild::Rebuilder;
use super::tag::{RETRY_AFTER_MS, Tag};
use crate::answers::{AnswerError, Past};
use crate::telemetry::Metrics;
use core::time::Duration;
use selfchain_engine::commit::AccountPath;
use selfchain_engine::proof::ProofFile;
use selfchain_types::message::{Answer, BY_CHECKPOINTS, HISTORY_ROWS_MAX, Query, Refused, Reply};
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
    /// An account's path, whose header is durable, becomes a proof.
    Account {
        /// The path.
        path: Box<AccountPath>,
        /// From which height on the verifier knows the validators.
        since: Height,
        /// Whom to answer.
        tag: Tag,
    },
}

impl PastJob {
    /// Whom to answer.
    pub fn tag(&self) -> &Tag {
        match self {
            Self::Query(_, tag) | Self::Duplicate { tag, .. } | Self::Account { tag, .. } => tag,
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
    /// Rebuilds past states, one at a time.
    pub rebuilder: Rebuilder,
}

const IDLE_WAIT: Duration = Duration::from_millis(100);

impl PastThread {
    /// Runs until the queue is closed and empty.
    pub fn run(self) {
        while !self.from.is_done() {
            if self.from.wait(IDLE_WAIT) {
                self.from.gauge();
                while let Some(job) = self.from.pop() {
                    self.answer(job);
                }
                self.from.gauge();
            }
        }
        self.rebuilder.stop();
    }

    #[allow(clippy::needless_pass_by_value, reason = "a job that was taken is done once")]
    fn answer(&self, job: PastJob) {
        if let PastJob::Query(Query::ProveAccount { account, at, since }, tag) = &job {
            let (account, at, since) = (*account, *at, *since);
            let height = match since {
                BY_CHECKPOINTS => self.past.checkpointed(at),
                _ => Ok(at),
            };
            let begun = height.and_then(|height| {
                self.rebuilder
                    .begin(&self.past, account, height, since, tag.clone())
            });
            if let Err(error) = begun {
                self.reply(&job, &refused(&error));
            }
            return;
        }
        let reply = match &job {
            PastJob::Query(query, _) => self
                .query(query)
                .map(Reply::Answer)
                .unwrap_or_else(|error| refused(&error)),
            PastJob::Duplicate { tx_id, height, .. } => self.duplicate(tx_id, *height),
            PastJob::Account { path, since, .. } => {
                let proof = self.past.prove_account((**path).clone(), *since);
                proof_reply(proof)
            }
        };
        self.reply(&job, &reply);
    }

    fn reply(&self, job: &PastJob, reply: &Reply) {
        match reply {
            Reply::Refused(refused) => self.metrics.refused(refused.refusal, 1),
            Reply::Committed(_) => self.metrics.refused(Refusal::Duplicate, 1),
            Reply::Accepted | Reply::Answer(_) => {}
        }
        job.tag().answer(reply);
        if let PastJob::Query(_, tag) | PastJob::Account { tag, .. } = job {
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
            Query::ProveOperation {
                tx_id,
                operation,
                since,
            } => Answer::Proof(self.past.prove_operation(tx_id, *operation, *since)?.to_bytes()),
            Query::ProveConsistency { old, new, since } => {
                Answer::Proof(self.past.prove_consistency(*old, *new, *since)?.to_bytes())
            }
            Query::Genesis => Answer::Genesis(self.genesis.clone()),
            Query::Status
            | Query::Account(_)
            | Query::Key(_)
            | Query::Asset(_)
            | Query::Holds { .. }
            | Query::Policy(_)
            | Query::Identity(_)
            | Query::ProveAccount { .. } => {
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

/// A proof file, or why there is none.
pub(super) fn proof_reply(proof: Result<ProofFile, AnswerError>) -> Reply {
    match proof {
        Ok(proof) => Reply::Answer(Answer::Proof(proof.to_bytes())),
        Err(error) => refused(&error),
    }
}

fn refused(error: &AnswerError) -> Reply {
    let (refusal, retry_after_ms) = match error {
        AnswerError::NotFound { .. }
        | AnswerError::NotKept { .. }
        | AnswerError::BeforeSince { .. }
        | AnswerError::Order { .. }
        | AnswerError::TooLong
        | AnswerError::NoCheckpoints
        | AnswerError::BetweenCheckpoints { .. }
        | AnswerError::TooFar { .. } => (Refusal::NotFound, 0),
        AnswerError::OutOfReach { height, last, .. } if height > last => (Refusal::NotFound, RETRY_AFTER_MS),
        AnswerError::OutOfReach { .. } => (Refusal::Pruned, 0),
        AnswerError::Busy => (Refusal::IntakeFull, RETRY_AFTER_MS),
        AnswerError::Stopped => (Refusal::Draining, 0),
        AnswerError::Unbelieved(_) => (Refusal::Poisoned, 0),
        AnswerError::NotYetProvable { .. } | AnswerError::NotCheckpointed { .. } => {
            (Refusal::NotFound, RETRY_AFTER_MS)
        }
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
