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
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
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
/// Rounds that are checked at once: while the last batches of one are checked, cores without one begin with the next.
const ROUNDS_MAX: usize = 2;
/// Submissions that are worth a second round beside one that is being checked.
const AHEAD_LEN: usize = 1_024;
/// Most bytes of one round.
const ROUND_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Least time between the beginnings of two rounds, unless [`GATHER_LEN`] submissions wait.
const GATHER_MAX: Duration = Duration::from_millis(2);
/// Submissions that are worth a round at once: they fill the batches of two cores.
const GATHER_LEN: usize = 512;
const IDLE_WAIT: Duration = Duration::from_millis(100);

/// A round that is being checked.
type Round = Receiver<thread::Result<Checked>>;

/// A round that was checked, its answers in the order of arrival.
struct Checked {
    began: Instant,
    decoded_at: Instant,
    ended: Instant,
    answers: Vec<(Tag, Result<Verified, Refusal>)>,
}

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
    pub signatures: Arc<BatchVerifier>,
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
        let (mut last_began, mut last_ended) = (None, Instant::now());
        let mut rounds: VecDeque<Round> = VecDeque::with_capacity(ROUNDS_MAX);
        while !self.from.queue.is_done() || !rounds.is_empty() {
            let is_worth_one = match rounds.len() {
                0 => self.from.queue.wait(IDLE_WAIT),
                ROUNDS_MAX.. => false,
                _ => self.from.queue.len() >= AHEAD_LEN,
            };
            if is_worth_one {
                if rounds.is_empty() {
                    self.gather(last_began);
                }
                last_began = Some(Instant::now());
                rounds.extend(self.begin());
            } else if let Some(round) = rounds.pop_front() {
                self.finish(&round, &mut last_ended);
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
                thread::park_timeout(wait);
            }
        }
    }

    /// Has what waits decoded and checked, unless all of it is refused.
    fn begin(&mut self) -> Option<Round> {
        let submissions = self.from.take();
        if let Some((refusal, text)) = self.refuse_all(&submissions) {
            self.metrics.refused(refusal, codec::wide(submissions.len()));
            submissions
                .iter()
                .for_each(|(_, tag)| tag.refuse(refusal, text.clone()));
            return None;
        }
        self.entropy = selfchain_types::hash::BATCH.hash(&self.entropy).0;
        let (chain_id, entropy, keys) = (self.chain_id, self.entropy, self.registry.keys());
        let (signatures, known) = (Arc::clone(&self.signatures), self.known.clone());
        let (done, round) = sync_channel(1);
        self.pool.spawn(move || {
            let check = || {
                let began = Instant::now();
                let decoded = Decoded::new(submissions, &chain_id);
                let decoded_at = Instant::now();
                let known = known.as_deref().map(|known| -> &dyn KnownEnvelopes { known });
                Checked {
                    began,
                    decoded_at,
                    answers: decoded.verify(&*keys, known, &signatures, &entropy),
                    ended: Instant::now(),
                }
            };
            // A panic goes on in the intake thread, which takes the node down. It waits for this as long as it lives.
            drop(done.send(catch_unwind(AssertUnwindSafe(check))));
        });
        Some(round)
    }

    /// Waits for a round, and hands it on in order.
    fn finish(&self, round: &Round, last_ended: &mut Instant) {
        let checked = round.recv().expect("a round's end is always told");
        let checked = checked.unwrap_or_else(|panic| resume_unwind(panic));
        let count = codec::wide(checked.answers.len());
        // What two rounds share is counted once.
        let until = |from: Instant, to: Instant| ns(to.saturating_duration_since(from.max(*last_ended)));
        let decoding = until(checked.began, checked.decoded_at);
        let verifying = until(checked.decoded_at, checked.ended);
        *last_ended = checked.ended;
        for (stage, busy) in [(Stage::Decode, decoding), (Stage::Verify, verifying)] {
            self.metrics.stage(stage).add_busy(busy);
            self.metrics.stage(stage).add_items(count);
        }
        for (tag, answer) in checked.answers {
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
    ns(began.elapsed())
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::telemetry::Queue as Name;
    use selfchain_storage::{LogConfig, MemoryDisk, SegmentLog, StorageMetrics};
    use selfchain_types::crypto::SigningKey;
    use selfchain_types::seam::log::Log;
    use selfchain_types::{EnvelopeBuilder, Height, Operation};

    const CHAIN: Hash = Hash([7; 32]);
    /// More than two rounds, so that two are checked at once.
    const COUNT: u64 = 5_000;

    #[test]
    fn rounds_that_are_checked_at_once_are_handed_on_in_order_without_what_is_bad() {
        let metrics = Arc::new(Metrics::default());
        let submissions = Queue::new(Name::Intake, 8_192, Arc::clone(&metrics));
        let from = Arc::new(IntakeQueue::new(submissions, 1 << 30));
        let to = Queue::new(Name::Verified, 8_192, Arc::clone(&metrics));
        let key = SigningKey::from_seed(&[3; 32]);
        let is_bad = |number: u64| number.is_multiple_of(97);
        for number in 1..=COUNT {
            let builder = EnvelopeBuilder::new(CHAIN, Height(1), 50, vec![Operation::anchor(1, CHAIN)]);
            let mut bytes = builder.sign(&[(&key, 0, number)]);
            if is_bad(number) {
                *bytes.last_mut().unwrap() ^= 1;
            }
            let tag = Tag {
                request: number,
                ..Tag::nobody()
            };
            from.offer((bytes, tag)).unwrap();
        }
        from.close();
        let log = SegmentLog::open(
            Arc::new(MemoryDisk::default()),
            LogConfig::default(),
            Arc::new(StorageMetrics::default()),
        )
        .unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        Intake {
            from,
            to: Arc::clone(&to),
            chain_id: CHAIN,
            registry: Arc::default(),
            log: log.reader(),
            pool: Arc::new(pool),
            signatures: Arc::new(BatchVerifier::new()),
            known: None,
            entropy: [1; 32],
            metrics: Arc::clone(&metrics),
            fault: Fault::default(),
        }
        .run();
        let handed_on: Vec<u64> = std::iter::from_fn(|| to.pop())
            .map(|(_, tag)| tag.request)
            .collect();
        let wanted: Vec<u64> = (1..=COUNT).filter(|number| !is_bad(*number)).collect();
        assert_eq!(handed_on, wanted);
        assert!(to.is_done());
    }
}
