//! One connection under load: when its next transaction goes, and what its answers are booked as.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use crate::load::drive::{LoadError, LoadPlan, Pace, Shared};
use crate::load::flight::{Flight, Times};
use crate::load::recorder::Recorder;
use crate::load::schedule::Schedule;
use crate::prepared::Track;
use crate::rate::float;
use crate::rig::{Answer, Answers, Submit};

/// One connection's state, shared by its two threads and the watching one.
pub(super) struct Lane {
    pub(super) pace: LanePace,
    pub(super) flight: Flight,
    recorder: Mutex<Recorder>,
    sent_all: AtomicBool,
    sender: OnceLock<Thread>,
    /// The sender waits for answers: to be woken when some have come.
    full: AtomicBool,
}

#[derive(Clone)]
pub(super) enum LanePace {
    Open(Schedule),
    Closed { window: u64 },
}

enum Step {
    /// Send now; the transaction was meant for then.
    Send { intended_ns: u64 },
    /// Nothing is due before this.
    WaitUntil(u64),
    /// The window is full.
    Full,
}

impl LanePace {
    fn step(&self, now_ns: u64, unanswered: u64) -> Step {
        match self {
            Self::Open(schedule) if schedule.next_ns() <= now_ns => Step::Send {
                intended_ns: schedule.next_ns(),
            },
            Self::Open(schedule) => Step::WaitUntil(schedule.next_ns()),
            Self::Closed { window } if unanswered < *window => Step::Send { intended_ns: now_ns },
            Self::Closed { .. } => Step::Full,
        }
    }

    fn sent(&mut self, now_ns: u64) {
        if let Self::Open(schedule) = self {
            schedule.take_due(now_ns);
        }
    }
}

impl Lane {
    pub(super) fn new(plan: &LoadPlan, number: u64, connections: u64) -> Self {
        let pace = match plan.pace {
            Pace::Open { arrivals, rate_per_s } => {
                let transactions_per_s = rate_per_s / float(plan.operations_per_transaction.max(1));
                let phase = float(number) / float(connections);
                let seed = plan.seed.wrapping_add(number);
                LanePace::Open(Schedule::new(
                    arrivals,
                    transactions_per_s / float(connections),
                    phase,
                    seed,
                ))
            }
            Pace::Closed { window } => LanePace::Closed {
                window: window.max(1),
            },
        };
        Self {
            pace,
            flight: Flight::new(plan.unanswered_max),
            recorder: Mutex::new(Recorder::new(plan.window(), plan.operations_per_transaction)),
            sent_all: AtomicBool::new(false),
            sender: OnceLock::new(),
            full: AtomicBool::new(false),
        }
    }

    fn wait_for_answers(&self) {
        self.full.store(true, Ordering::Release);
        thread::park_timeout(FULL_WAIT_MAX);
    }

    fn wake_full_sender(&self) {
        if self.full.swap(false, Ordering::AcqRel)
            && let Some(sender) = self.sender.get()
        {
            sender.unpark();
        }
    }

    /// A panic while booking would end the load anyway, so poison carries no news.
    pub(super) fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn send(
        &self,
        mut submit: Box<dyn Submit>,
        track: &mut Track,
        shared: &Shared,
    ) -> Result<(), LoadError> {
        self.sender.get_or_init(thread::current);
        let result = self.send_until_end(submit.as_mut(), track, shared);
        self.sent_all.store(true, Ordering::Release);
        result?;
        Ok(submit.flush()?)
    }

    fn send_until_end(
        &self,
        submit: &mut dyn Submit,
        track: &mut Track,
        shared: &Shared,
    ) -> Result<(), LoadError> {
        let mut pace = self.pace.clone();
        loop {
            let now_ns = shared.now_ns();
            // What fell due before the end is sent even when this thread wakes a little after it.
            if now_ns >= shared.window.end_ns + LAST_SEND_NS || shared.stopped() {
                return Ok(());
            }
            match pace.step(now_ns, self.flight.unanswered()) {
                Step::Send { intended_ns } if intended_ns >= shared.window.end_ns => return Ok(()),
                Step::WaitUntil(_) | Step::Full if now_ns >= shared.window.end_ns => return Ok(()),
                Step::Send { intended_ns } => {
                    if !track.is_at_hand(Duration::ZERO)? {
                        // Another connection, which may have sent its last, holds up the file: the end of the
                        // load must not wait for it.
                        submit.flush()?;
                        if !track.is_at_hand(FILE_WAIT_MAX)? {
                            continue;
                        }
                    }
                    let Some(envelope) = track.peek()? else {
                        shared.exhausted_ns.fetch_min(now_ns, Ordering::AcqRel);
                        return Ok(());
                    };
                    if self
                        .flight
                        .depart(Times {
                            intended_ns,
                            sent_ns: now_ns,
                        })
                        .is_some()
                    {
                        pace.sent(now_ns);
                        submit.submit(envelope)?;
                        track.advance();
                    } else {
                        submit.flush()?;
                        self.wait_for_answers();
                    }
                }
                Step::WaitUntil(next_ns) => {
                    submit.flush()?;
                    let until_ns = if next_ns >= shared.window.end_ns {
                        shared.window.end_ns
                    } else {
                        next_ns.max(now_ns + SEND_GATHER_NS)
                    };
                    let wait_ns = until_ns.saturating_sub(shared.now_ns());
                    thread::park_timeout(Duration::from_nanos(wait_ns).min(IDLE_WAIT_MAX));
                }
                Step::Full => {
                    submit.flush()?;
                    self.wait_for_answers();
                }
            }
        }
    }

    pub(super) fn receive(&self, mut answers: Box<dyn Answers>, shared: &Shared) -> Result<(), LoadError> {
        let mut batch = Vec::new();
        loop {
            let sent_all = self.sent_all.load(Ordering::Acquire);
            if (sent_all && self.flight.unanswered() == 0)
                || shared.stopped()
                || shared.now_ns() >= shared.drain_until_ns
            {
                return Ok(());
            }
            batch.clear();
            answers.receive(RECEIVE_WAIT, &mut batch)?;
            self.book(&batch, shared.now_ns());
            self.wake_full_sender();
        }
    }

    fn book(&self, answers: &[Answer], now_ns: u64) {
        let mut recorder = self.recorder();
        for answer in answers {
            recorder.record(answer, &self.flight, now_ns);
        }
    }
}

/// Least time between two sends of one connection at a given rate: what falls due within it goes together, as from a
/// client that serves many users. The wait counts as latency, which begins at the intended time.
const SEND_GATHER_NS: u64 = 1_000_000;
/// How long after the end what fell due before it is still sent.
const LAST_SEND_NS: u64 = 20_000_000;
/// Longest pause of a sender whose window or table is full; answers end it sooner.
const FULL_WAIT_MAX: Duration = Duration::from_millis(1);
/// Longest pause of a sender with nothing due, so that a stop is noticed.
const IDLE_WAIT_MAX: Duration = Duration::from_millis(20);
/// Longest wait for the load file in one call.
const FILE_WAIT_MAX: Duration = Duration::from_millis(5);
/// Longest wait for answers in one call.
const RECEIVE_WAIT: Duration = Duration::from_millis(5);
