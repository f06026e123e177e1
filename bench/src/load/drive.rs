//! One load against a running node: a sending and a receiving thread per connection, and one that watches.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, ScopedJoinHandle, Thread};
use std::time::{Duration, Instant};

use crate::load::hlog::Hlog;
use crate::load::lane::Lane;
use crate::load::recorder::{Recorder, Window};
use crate::load::schedule::Arrivals;
use crate::load::search::TrialOutcome;
use crate::load::watch::Watch;
use crate::prepared::{PreparedError, Track};
use crate::process::ProcessError;
use crate::rate::{count, float, milliseconds, nanoseconds, per_second, ratio};
use crate::report::{InFlight, Latency, MOMENTS_MAX, Moment, Report, Stage};
use crate::rig::{Connection, Rig, RigError};

/// When and for how long to send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoadPlan {
    /// Open loop at a rate, or closed by a window.
    pub pace: Pace,
    /// Sent before anything is measured.
    pub warmup: Duration,
    /// Measured.
    pub measure: Duration,
    /// Longest wait for answers after the last send.
    pub drain_max: Duration,
    /// Unanswered transactions of one connection at most; beyond it sending waits, and the wait is charged.
    pub unanswered_max: usize,
    /// Operations in each envelope.
    pub operations_per_transaction: u64,
    /// Seed of the arrivals.
    pub seed: u64,
}

/// What decides when the next transaction is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// A schedule that ignores answers.
    Open {
        /// Its pattern.
        arrivals: Arrivals,
        /// Transfers a second, over all connections.
        rate_per_s: f64,
    },
    /// As fast as answers come back: finds a rate, but its latency says nothing about a given load.
    Closed {
        /// Unanswered transactions kept in the air on each connection.
        window: u64,
    },
}

/// What happened.
#[derive(Clone, Debug)]
pub struct LoadResult {
    /// The books of all connections together.
    pub recorder: Recorder,
    /// Rate of the schedule over the measured time, or of sending when closed, transfers/s.
    pub offered_per_s: f64,
    /// Length of the measured time, shorter than planned when the load file ended.
    pub measured: Duration,
    /// Transfers that were due but never sent.
    pub not_sent: u64,
    /// Transfers sent but not answered when waiting ended.
    pub unanswered: u64,
    /// Mean unanswered transactions over the measured time, by samples.
    pub in_flight_mean: f64,
    /// The backlog grew over the measured time.
    pub overloaded: bool,
    /// The load file ended before the plan did.
    pub exhausted: bool,
    /// CPU seconds of node and harness while `cpu_transfers` were committed.
    pub cpu_seconds: f64,
    /// See `cpu_seconds`.
    pub cpu_transfers: u64,
    /// Peak memory of the node's process, bytes.
    pub rss_peak_bytes: u64,
    /// Growth of the log over the whole load, drain included, bytes.
    pub log_bytes: u64,
    /// The node's stages over the measured time.
    pub stages: Vec<Stage>,
    /// The measured time, a moment a second.
    pub timeline: Vec<Moment>,
    /// Longest time for which a durable block was not in the index, seconds.
    pub index_lag_seconds_max: f64,
}

/// A word on a running load, about ten times a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LoadProgress {
    /// Since the load began.
    pub elapsed: Duration,
    /// Warm-up and measured time.
    pub planned: Duration,
    /// Transfers committed so far.
    pub committed: u64,
    /// Transactions due but not answered.
    pub backlog: u64,
}

/// Why a load ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The node or its connection.
    #[error(transparent)]
    Rig(#[from] RigError),
    /// The load file.
    #[error(transparent)]
    Prepared(#[from] PreparedError),
    /// The node's process could not be read: it has probably ended.
    #[error("the node's process cannot be read")]
    Process(#[from] ProcessError),
    /// The histogram log could not be written.
    #[error("cannot write the histogram log")]
    Hlog(#[from] io::Error),
    /// Nothing to send on.
    #[error("a load needs at least one track")]
    NoTracks,
}

/// Drives one load, a connection for each track, and returns when everything is answered or waiting has ended.
/// Tracks keep their place, so that the next load goes on where this one stopped.
///
/// # Errors
/// When a connection breaks, the load file cannot be read, or the log cannot be written. The load then ends at once.
pub fn drive(
    rig: &dyn Rig,
    tracks: &mut [Track],
    plan: &LoadPlan,
    hlog: Option<&mut Hlog<'_>>,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<LoadResult, LoadError> {
    if tracks.is_empty() {
        return Err(LoadError::NoTracks);
    }
    let lanes: Vec<Lane> = (0..tracks.len())
        .map(|number| Lane::new(plan, count(number), count(tracks.len())))
        .collect();
    let connections = tracks
        .iter()
        .map(|_| rig.connect())
        .collect::<Result<Vec<_>, _>>()?;
    let shared = Shared::new(plan);
    let mut watch = Watch::new(rig, plan, &lanes)?;
    thread::scope(|scope| {
        let mut senders = Vec::new();
        let mut receivers = Vec::new();
        for ((lane, track), Connection { submit, answers }) in lanes.iter().zip(tracks).zip(connections) {
            let shared = &shared;
            senders.push(scope.spawn(move || shared.stop_on_error(lane.send(submit, track, shared))));
            receivers.push(scope.spawn(move || {
                let received = shared.stop_on_error(lane.receive(answers, shared));
                shared.watcher.unpark();
                received
            }));
        }
        let watched = watch.until(hlog, progress, &shared, || {
            receivers.iter().all(ScopedJoinHandle::is_finished)
        });
        let watched = shared.stop_on_error(watched);
        senders.into_iter().try_for_each(join)?;
        receivers.into_iter().try_for_each(join)?;
        watched
    })?;
    watch.conclude(&shared)
}

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// What all threads of a load share.
pub(super) struct Shared {
    begin: Instant,
    /// The thread that watches; woken when a connection has ended.
    watcher: Thread,
    pub(super) window: Window,
    pub(super) drain_until_ns: u64,
    /// A thread failed: the others end at once.
    stop: AtomicBool,
    /// When the load file ended, or `u64::MAX`.
    pub(super) exhausted_ns: AtomicU64,
}

impl Shared {
    fn new(plan: &LoadPlan) -> Self {
        let end_ns = nanoseconds(plan.warmup + plan.measure);
        Self {
            begin: Instant::now(),
            watcher: thread::current(),
            window: plan.window(),
            drain_until_ns: end_ns.saturating_add(nanoseconds(plan.drain_max)),
            stop: AtomicBool::new(false),
            exhausted_ns: AtomicU64::new(u64::MAX),
        }
    }

    pub(super) fn now_ns(&self) -> u64 {
        nanoseconds(self.begin.elapsed())
    }

    fn stop_on_error<T>(&self, result: Result<T, LoadError>) -> Result<T, LoadError> {
        if result.is_err() {
            self.stop.store(true, Ordering::Release);
        }
        result
    }

    /// Last instant at which an arrival counts as due: just before the end of sending, or of the load file.
    pub(super) fn last_due_ns(&self) -> u64 {
        self.exhausted_ns
            .load(Ordering::Acquire)
            .min(self.window.end_ns)
            .saturating_sub(1)
    }

    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

impl LoadPlan {
    pub(super) fn window(&self) -> Window {
        Window {
            begin_ns: nanoseconds(self.warmup),
            end_ns: nanoseconds(self.warmup + self.measure),
        }
    }

    /// What the report calls the arrivals.
    #[must_use]
    pub fn arrivals(&self) -> String {
        match self.pace {
            Pace::Open { arrivals, .. } => arrivals.to_string(),
            Pace::Closed { window } => format!("window({window})"),
        }
    }
}

impl LoadResult {
    /// What a saturation search needs to know.
    #[must_use]
    pub fn outcome(&self) -> TrialOutcome {
        TrialOutcome {
            offered_per_s: self.offered_per_s,
            committed_per_s: self.committed_per_s(),
            p99_ms: milliseconds(self.recorder.latency.value_at_quantile(0.99)),
            lost: self.recorder.counts.dropped + self.not_sent + self.unanswered,
            overloaded: self.overloaded,
        }
    }

    /// Transfers committed a second, by the time of the answer.
    #[must_use]
    pub fn committed_per_s(&self) -> f64 {
        per_second(self.recorder.counts.committed, self.measured)
    }

    /// Writes everything this load found into a report; `operation_bytes` is the size of one operation in the log.
    pub fn fill(&self, plan: &LoadPlan, operation_bytes: u64, report: &mut Report) {
        let counts = &self.recorder.counts;
        report.ops_per_tx = plan.operations_per_transaction;
        report.arrivals = plan.arrivals();
        report.offered_per_s = self.offered_per_s;
        report.accepted_per_s = per_second(counts.accepted.max(counts.committed), self.measured);
        report.committed_per_s = self.committed_per_s();
        report.latency_ms = Latency::of(&self.recorder.latency);
        report.cpu_seconds_per_1k = ratio(self.cpu_seconds, float(self.cpu_transfers) / 1_000.0);
        report.rss_bytes = self.rss_peak_bytes;
        let operations_bytes = float(counts.committed_ever * operation_bytes);
        report.log_bytes_per_op_byte = ratio(float(self.log_bytes), operations_bytes);
        report.stages.clone_from(&self.stages);
        report.errors.clone_from(&counts.errors);
        if counts.strays > 0 {
            report.errors.insert("stray_answers".to_owned(), counts.strays);
        }
        report.index_lag_seconds_max = self.index_lag_seconds_max;
        let every = self.timeline.len().div_ceil(MOMENTS_MAX).max(1);
        report.timeline = self.timeline.iter().copied().step_by(every).collect();
        report.seconds = self.measured.as_secs_f64();
        report.overloaded = self.overloaded;
        report.exhausted = self.exhausted;
        report.not_sent = self.not_sent;
        report.unanswered = self.unanswered;
        report.in_flight = InFlight {
            sampled: self.in_flight_mean,
            by_littles_law: per_second(counts.answered_transactions, self.measured)
                * self.recorder.service.mean()
                / 1e9,
        };
    }
}

#[cfg(test)]
#[path = "drive_tests.rs"]
mod tests;
