//! The service: what the node makes of the frames that transport carries.

use crate::drive::Tag;
use crate::drive::intake::IntakeQueue;
use crate::drive::past::PastJob;
use crate::drive::queue::Queue;
use crate::drive::state::StateQuery;
use crate::drive::tag::RETRY_AFTER_MS;
use crate::keeping::KeepJob;
use crate::telemetry::Metrics;
use crate::vault::VaultJob;
use selfchain_types::message::{BY_CHECKPOINTS, Query, Refused, Reply, Request, SUBMIT_FRONT_LEN};
use selfchain_types::seam::log::{LogError, LogReader};
use selfchain_types::seam::transport::{Cursor, CursorStep, Overload, Peer, PeerId, Service};
use selfchain_types::{Height, Refusal};
use std::sync::Arc;
use std::time::Instant;

/// Sends every frame where it belongs, or refuses it. Never waits.
pub struct NodeService {
    /// Submissions.
    pub intake: Arc<IntakeQueue>,
    /// Questions about the state.
    pub state_queries: Arc<Queue<StateQuery>>,
    /// Wakes the thread that answers them.
    pub wake_order: Arc<dyn Fn() + Send + Sync>,
    /// Questions about the past.
    pub past_queries: Arc<Queue<PastJob>>,
    /// Questions to the vault, where there is one.
    pub vault: Option<Arc<Queue<VaultJob>>>,
    /// What owners of backups ask, where this node keeps any.
    pub keep: Option<Arc<Queue<KeepJob>>>,
    /// What subscribers read.
    pub log: Arc<dyn LogReader>,
    /// Counts.
    pub metrics: Arc<Metrics>,
}

impl Service for NodeService {
    fn receive(&self, peer: &Arc<dyn Peer>, frames: Vec<Vec<u8>>) {
        let received = Instant::now();
        for frame in frames {
            self.route(peer, frame, received);
        }
    }

    fn refuse(&self, frame: &[u8], why: Overload) -> Option<Vec<u8>> {
        self.metrics.refused(Refusal::RateLimited, 1);
        let request = Request::number(frame)?;
        let text = format!("over the limit of {}", why.limit);
        let refused = Refused {
            refusal: Refusal::RateLimited,
            retry_after_ms: why.retry_after_ms,
            text,
        };
        Some(Reply::Refused(refused).encode(request))
    }

    fn closed(&self, peer: PeerId) {
        tracing::debug!(?peer, "peer closed");
    }

    fn subscribe(&self, _: &Arc<dyn Peer>, request: &[u8]) -> Result<Box<dyn Cursor>, Vec<u8>> {
        match Request::decode(request) {
            Ok((number, Request::Subscribe { from })) => Ok(Box::new(LogCursor {
                log: Arc::clone(&self.log),
                next: from.0.max(1),
                number,
            })),
            Ok((number, _)) => {
                self.metrics.refused(Refusal::RequestUnknown, 1);
                let text = "a subscription was expected".into();
                Err(refused(number, Refusal::RequestUnknown, text))
            }
            Err(error) => {
                self.metrics.refused(Refusal::Malformed, 1);
                let number = Request::number(request).unwrap_or_default();
                Err(refused(number, Refusal::Malformed, error.to_string()))
            }
        }
    }
}

impl NodeService {
    fn route(&self, peer: &Arc<dyn Peer>, mut frame: Vec<u8>, received: Instant) {
        let (request, decoded) = match Request::decode(&frame) {
            Ok(decoded) => decoded,
            Err(error) => {
                let tag = tag(peer, Request::number(&frame).unwrap_or_default(), received);
                return self.refuse_to(&tag, Refusal::Malformed, error.to_string());
            }
        };
        let mut tag = tag(peer, request, received);
        match decoded {
            Request::Submit { detail, .. } => {
                tag.detail = detail;
                frame.drain(..SUBMIT_FRONT_LEN);
                if let Err((_, tag)) = self.intake.offer((frame, tag)) {
                    if self.intake.is_closed() {
                        self.refuse_to(&tag, Refusal::Draining, "the node is shutting down".into());
                    } else {
                        self.refuse_to(&tag, Refusal::IntakeFull, "the intake queue is full".into());
                    }
                }
            }
            // State that is past by now.
            Request::Query(
                query @ Query::ProveAccount {
                    since: BY_CHECKPOINTS,
                    ..
                },
            ) => {
                if let Err(job) = self.past_queries.offer(PastJob::Query(query, tag)) {
                    self.refuse_to(job.tag(), Refusal::IntakeFull, "too many questions wait".into());
                }
            }
            Request::Query(
                query @ (Query::Status
                | Query::Account(_)
                | Query::Key(_)
                | Query::Asset(_)
                | Query::Holds { .. }
                | Query::Policy(_)
                | Query::Identity(_)
                | Query::ProveAccount {
                    at: Height::GENESIS, ..
                }),
            ) => match self.state_queries.offer((query, tag)) {
                Ok(()) => (self.wake_order)(),
                Err((_, tag)) => self.refuse_to(&tag, Refusal::IntakeFull, "too many questions wait".into()),
            },
            Request::Query(query) => {
                if let Err(job) = self.past_queries.offer(PastJob::Query(query, tag)) {
                    self.refuse_to(job.tag(), Refusal::IntakeFull, "too many questions wait".into());
                }
            }
            Request::Vault(_) => match &self.vault {
                None => {
                    let text = "this node serves no documents: its data.serve is off";
                    self.refuse_to(&tag, Refusal::RequestUnknown, text.into());
                }
                Some(queue) => {
                    if let Err(job) = queue.offer(VaultJob { frame, tag }) {
                        let text = "too many questions to the vault wait";
                        self.refuse_to(&job.tag, Refusal::IntakeFull, text.into());
                    }
                }
            },
            Request::Keep(_) => match &self.keep {
                None => {
                    let text = "this node has not agreed to keep backups for anybody";
                    self.refuse_to(&tag, Refusal::NotAgreed, text.into());
                }
                Some(queue) => {
                    if let Err((_, tag)) = queue.offer((frame, tag)) {
                        let text = "too many pieces of backups wait";
                        self.refuse_to(&tag, Refusal::IntakeFull, text.into());
                    }
                }
            },
            Request::Subscribe { .. } => {
                self.refuse_to(
                    &tag,
                    Refusal::RequestUnknown,
                    "a subscription takes a stream of its own".into(),
                );
            }
        }
    }

    fn refuse_to(&self, tag: &Tag, refusal: Refusal, text: String) {
        self.metrics.refused(refusal, 1);
        tag.refuse(refusal, text);
    }
}

fn tag(peer: &Arc<dyn Peer>, request: u64, received: Instant) -> Tag {
    Tag {
        peer: Arc::clone(peer),
        request,
        detail: Default::default(),
        received,
    }
}

fn refused(number: u64, refusal: Refusal, text: String) -> Vec<u8> {
    let retry_after_ms = if refusal.is_transient() { RETRY_AFTER_MS } else { 0 };
    Reply::Refused(Refused {
        refusal,
        retry_after_ms,
        text,
    })
    .encode(number)
}

/// A subscriber: the height it wants next.
struct LogCursor {
    log: Arc<dyn LogReader>,
    next: u64,
    number: u64,
}

impl Cursor for LogCursor {
    fn next(&mut self, bytes_max: usize) -> CursorStep {
        let mut rows = Vec::new();
        let mut bytes = 0;
        while bytes < bytes_max && self.log.tip().is_some_and(|tip| self.next <= tip) {
            match self.log.read(self.next) {
                Ok(row) => {
                    bytes += row.len();
                    rows.push(row.to_vec());
                    self.next += 1;
                }
                Err(_) if !rows.is_empty() => break,
                Err(error) => return CursorStep::End(Some(self.end(&error))),
            }
        }
        if rows.is_empty() {
            CursorStep::Idle
        } else {
            CursorStep::Rows(rows)
        }
    }
}

impl LogCursor {
    fn end(&self, error: &LogError) -> Vec<u8> {
        let refusal = match error {
            LogError::Pruned { .. } => Refusal::Pruned,
            LogError::NotFound { .. } => Refusal::NotFound,
            _ => Refusal::Poisoned,
        };
        refused(
            self.number,
            refusal,
            format!("subscription at height {}: {error}", Height(self.next)),
        )
    }
}
