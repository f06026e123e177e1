//! Paths of accounts that wait for the header which commits to them.
//!
//! A path is taken between two blocks, when the state stands at some height; the header that commits to that height
//! follows ROOT_LAG blocks later. What the path needs besides is then read from the log, by the thread that reads it.

use super::past::PastJob;
use super::publish::DurableTip;
use super::queue::Queue;
use super::tag::Tag;
use crate::telemetry::Metrics;
use core::sync::atomic::{AtomicUsize, Ordering};
use selfchain_engine::commit::AccountPath;
use selfchain_types::{Height, Refusal};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Most paths that wait.
pub const WAITING_MAX: usize = 4_096;
/// How long one waits at most: without enough of the other validators there is no next header.
pub const WAIT_MAX: Duration = Duration::from_secs(5);

/// Paths that wait for their headers.
#[derive(Debug)]
pub struct Covering {
    waiting: Mutex<Vec<Waiting>>,
    /// How many, for whoever only wants to know whether there is any.
    count: AtomicUsize,
    durable: Arc<DurableTip>,
    past: Arc<Queue<PastJob>>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Waiting {
    path: Box<AccountPath>,
    since: Height,
    tag: Tag,
    until: Instant,
}

impl Covering {
    /// Nothing waits yet.
    pub fn new(durable: Arc<DurableTip>, past: Arc<Queue<PastJob>>, metrics: Arc<Metrics>) -> Self {
        Self {
            waiting: Mutex::default(),
            count: AtomicUsize::new(0),
            durable,
            past,
            metrics,
        }
    }

    /// Takes a path, and hands it on once its header is durable.
    pub fn add(&self, path: AccountPath, since: Height, tag: Tag) {
        let mut waiting = self.lock();
        if waiting.len() >= WAITING_MAX {
            return self.refuse(
                &tag,
                Refusal::IntakeFull,
                "too many proofs wait for their headers",
            );
        }
        waiting.push(Waiting {
            path: path.into(),
            since,
            tag,
            until: Instant::now() + WAIT_MAX,
        });
        self.settle(&mut waiting);
    }

    /// To be called whenever the durable tip has moved, and now and then: hands on what is ready, and refuses what has
    /// waited too long.
    pub fn look(&self) {
        if self.count.load(Ordering::SeqCst) > 0 {
            self.settle(&mut self.lock());
        }
    }

    /// The newest height whose header is waited for; genesis when none is.
    pub fn wanted_through(&self) -> Height {
        if self.count.load(Ordering::SeqCst) == 0 {
            return Height::GENESIS;
        }
        let waiting = self.lock();
        let newest = waiting.iter().map(|one| one.path.by).max();
        newest.unwrap_or(Height::GENESIS)
    }

    /// Refuses all that wait.
    pub fn close(&self) {
        for one in self.lock().drain(..) {
            self.refuse(&one.tag, Refusal::Draining, "the node is shutting down");
        }
    }

    fn settle(&self, waiting: &mut Vec<Waiting>) {
        let (durable, now) = (self.durable.get().height, Instant::now());
        let done = waiting.extract_if(.., |one| one.path.by <= durable || one.until <= now);
        for Waiting { path, since, tag, .. } in done {
            if path.by > durable {
                let by = path.by;
                let text = format!("header {by}, which would commit to the account as it is, does not come");
                self.refuse(&tag, Refusal::NotFound, &text);
            } else if let Err(job) = self.past.offer(PastJob::Account { path, since, tag }) {
                self.refuse(job.tag(), Refusal::IntakeFull, "too many questions wait");
            }
        }
        self.count.store(waiting.len(), Ordering::SeqCst);
    }

    fn refuse(&self, tag: &Tag, refusal: Refusal, text: &str) {
        self.metrics.refused(refusal, 1);
        tag.refuse(refusal, text);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
