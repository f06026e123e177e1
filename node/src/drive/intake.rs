//! The intake thread: takes what the service queued, has it decoded and verified on all cores, hands it on.

use super::fault::Fault;
use super::queue::Queue;
use super::registry::Registry;
use super::tag::Tag;
use crate::replica::Remembered;
use crate::telemetry::{Metrics, Stage};
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use selfchain_engine::intake::{Decoded, KnownEnvelopes};
use selfchain_types::crypto::BatchVerifier;
use selfchain_types::seam::log::{LogError, LogReader};
use selfchain_types::{Hash, Refusal, Verified, codec};
use std::sync::Arc;
use std::time::Instant;

/// An envelope's bytes and whom to answer.
pub type Submission = (Vec<u8>, Tag);

/// What waits for verification: bounded in number and in bytes.
#[derive(Debug)]
pub struct IntakeQueue {
    queue: Arc<Queue<Submission>>,
    bytes: AtomicU64,
    bytes_max: u64,
}

impl IntakeQueue {
    /// A queue of at most `bytes_max` bytes.
    pub fn new(queue: Arc<Queue<Submission>>, bytes_max: u64) -> Self {
        Self {
            queue,
            bytes: AtomicU64::new(0),
            bytes_max,
        }
    }

    /// Adds a submission, or gives it back when it is full.
    ///
    /// # Errors
    /// The submission.
    pub fn offer(&self, submission: Submission) -> Result<(), Submission> {
        let len = codec::wide(submission.0.len());
        if self.bytes.fetch_add(len, Ordering::Relaxed) > self.bytes_max {
            self.bytes.fetch_sub(len, Ordering::Relaxed);
            self.queue.count_full();
            return Err(submission);
        }
        self.queue.offer(submission).inspect_err(|_| {
            self.bytes.fetch_sub(len, Ordering::Relaxed);
        })
    }

    /// Takes no more.
    pub fn close(&self) {
        self.queue.close();
    }

    /// Whether it takes no more.
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    fn take(&self) -> Vec<Submission> {
        self.queue.gauge();
        let mut taken = Vec::new();
        let mut bytes = 0;
        while taken.len() < ROUND_LEN_MAX && bytes < ROUND_BYTES_MAX {
            let Some(submission) = self.queue.pop() else { break };
            bytes += codec::wide(submission.0.len());
            taken.push(submission);
        }
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.queue.gauge();
        taken
    }
}

/// Most submissions of one round: enough to fill every core's batches, few enough to keep latency low.
const ROUND_LEN_MAX: usize = 2_048;
/// Most bytes of one round.
const ROUND_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Least time between the beginnings of two rounds, unless [`GATHER_LEN`] submissions wait.
const GATHER_MAX: Duration = Duration::from_millis(2);
/// Submissions that are worth a round at once: they fill the batches of two cores.
const GATHER_LEN: usize = 512;
const IDLE_WAIT: Duration = Duration::from_millis(100);

/// What the intake thread works with.
pub struct Intake {
    /// Where submissions come from.
    pub from: Arc<IntakeQueue>,
    /// Where verified ones go.
    pub to: Arc<Queue<(Verified, Tag)>>,
    /// The chain they must be for.
    pub chain_id: Hash,
    /// Keys that blocks registered.
    pub registry: Arc<Registry>,
    /// Asked for room before anything is admitted.
    pub log: Arc<dyn LogReader>,
    /// The verifiers.
    pub pool: Arc<rayon::ThreadPool>,
    /// Checks signatures.
    pub signatures: BatchVerifier,
    /// Whose signatures were checked, where blocks of others bring transactions too.
    pub known: Option<Arc<Remembered>>,
    /// Seeds blinding factors; unpredictable from outside.
    pub entropy: [u8; 32],
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Stops the node.
    pub fault: Fault,
}

impl Intake {
    /// Runs until the queue is closed and empty.
    pub fn run(mut self) {
        let mut last_round = None;
        while !self.from.queue.is_done() {
            if self.from.queue.wait(IDLE_WAIT) {
                self.gather(last_round);
                last_round = Some(Instant::now());
                self.round();
            }
        }
        self.to.close();
    }

    /// Waits a moment for more when the last round began just now: many signatures in one batch cost half of
    /// what they cost in small ones. A first submission after a pause never waits.
    fn gather(&self, last_round: Option<Instant>) {
        let since = last_round.map_or(GATHER_MAX, |began| began.elapsed());
        if self.from.queue.len() < GATHER_LEN && !self.from.is_closed() {
            let wait = GATHER_MAX.saturating_sub(since);
            if !wait.is_zero() {
                std::thread::park_timeout(wait);
            }
        }
    }

    fn round(&mut self) {
        let submissions = self.from.take();
        if let Some((refusal, text)) = self.refuse_all(&submissions) {
            self.metrics.refused(refusal, codec::wide(submissions.len()));
            submissions
                .iter()
                .for_each(|(_, tag)| tag.refuse(refusal, text.clone()));
            return;
        }
        let began = Instant::now();
        let count = codec::wide(submissions.len());
        let keys = self.registry.keys();
        self.entropy = selfchain_types::hash::BATCH.hash(&self.entropy).0;
        let (chain_id, signatures, entropy) = (&self.chain_id, &self.signatures, &self.entropy);
        let decoded = self.pool.install(|| Decoded::new(submissions, chain_id));
        self.metrics.stage(Stage::Decode).add_busy(elapsed_ns(began));
        let began = Instant::now();
        let known = &self.known;
        let answers = self.pool.install(|| {
            let known = known.as_deref().map(|known| -> &dyn KnownEnvelopes { known });
            decoded.verify(&*keys, known, signatures, entropy)
        });
        self.metrics.stage(Stage::Verify).add_busy(elapsed_ns(began));
        for stage in [Stage::Decode, Stage::Verify] {
            self.metrics.stage(stage).add_items(count);
        }
        for (tag, answer) in answers {
            match answer {
                Err(refusal) => {
                    self.metrics.refused(refusal, 1);
                    tag.refuse(refusal, refusal.name());
                }
                Ok(verified) => {
                    // Closed before this thread ends only by a fault.
                    if let Err((_, tag)) = self.to.push((verified, tag)) {
                        self.metrics.refused(Refusal::Poisoned, 1);
                        tag.refuse(Refusal::Poisoned, "the node has stopped; it must be restarted");
                    }
                }
            }
        }
    }

    fn refuse_all(&self, submissions: &[Submission]) -> Option<(Refusal, String)> {
        if self.fault.is_raised() {
            return Some((
                Refusal::Poisoned,
                "the node has stopped; it must be restarted".into(),
            ));
        }
        let bytes: usize = submissions.iter().map(|(bytes, _)| bytes.len()).sum();
        match self.log.headroom(codec::wide(bytes) * 2) {
            Err(error @ LogError::DiskFull { .. }) => Some((Refusal::DiskFull, error.to_string())),
            Ok(()) | Err(_) => None,
        }
    }
}

/// Nanoseconds since `began`.
pub(super) fn elapsed_ns(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
