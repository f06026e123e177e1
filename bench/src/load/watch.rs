//! The watcher of a load: samples its backlog, writes the interval log, reads the node's cost, adds everything up.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use crate::load::drive::{LoadError, LoadPlan, LoadProgress, LoadResult, Pace, Shared};
use crate::load::flight::Times;
use crate::load::hlog::Hlog;
use crate::load::lane::{Lane, LanePace};
use crate::load::recorder::{Recorder, add, empty_histogram};
use crate::load::schedule::Schedule;
use crate::process::{Process, Usage};
use crate::rate::{count, float, per_second, ratio};
use crate::report::{Moment, Stage};
use crate::rig::{Heights, Rig};

/// The watching thread: samples the backlog, writes the interval log, reads the node's cost at the window's ends.
pub(super) struct Watch<'a> {
    rig: &'a dyn Rig,
    plan: &'a LoadPlan,
    lanes: &'a [Lane],
    /// Copies of the lanes' schedules: what is due is known without asking a thread that may be blocked.
    schedules: Vec<Schedule>,
    samples: Vec<Sample>,
    lag: IndexLag,
    timeline: Vec<Moment>,
    log_bytes_before: u64,
    at_begin: Option<Reading>,
    at_end: Option<(Reading, Vec<Stage>)>,
}

/// One look at the load.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Sample {
    /// Transactions due since the load began; sent ones when closed.
    due: u64,
    /// Transactions due and not answered.
    backlog: u64,
    /// Transactions sent and not answered.
    unanswered: u64,
}

/// How long blocks wait for the index: exact to the time between two looks.
#[derive(Debug, Default)]
struct IndexLag {
    /// When a durable height was first seen; those that are indexed are gone.
    waiting: VecDeque<(u64, u64)>,
    max_ns: u64,
}

impl IndexLag {
    /// How long the oldest durable block that is not indexed has been waiting.
    fn look(&mut self, now_ns: u64, heights: Heights) -> u64 {
        if self
            .waiting
            .back()
            .is_none_or(|(_, durable)| *durable < heights.durable)
        {
            self.waiting.push_back((now_ns, heights.durable));
        }
        while self
            .waiting
            .front()
            .is_some_and(|(_, durable)| *durable <= heights.indexed)
        {
            self.waiting.pop_front();
        }
        let lag_ns = self.waiting.front().map_or(0, |(seen_ns, _)| now_ns - seen_ns);
        self.max_ns = self.max_ns.max(lag_ns);
        lag_ns
    }
}

struct Reading {
    usage: Usage,
    cpu_seconds: f64,
    committed: u64,
    departed: u64,
}

impl<'a> Watch<'a> {
    pub(super) fn new(rig: &'a dyn Rig, plan: &'a LoadPlan, lanes: &'a [Lane]) -> Result<Self, LoadError> {
        let schedule = |lane: &Lane| match &lane.pace {
            LanePace::Open(schedule) => Some(schedule.clone()),
            LanePace::Closed { .. } => None,
        };
        Ok(Self {
            rig,
            plan,
            lanes,
            schedules: lanes.iter().filter_map(schedule).collect(),
            samples: Vec::new(),
            lag: IndexLag::default(),
            timeline: Vec::new(),
            log_bytes_before: rig.log_bytes(),
            at_begin: None,
            at_end: None,
        })
    }

    pub(super) fn until(
        &mut self,
        mut hlog: Option<&mut Hlog<'_>>,
        progress: &mut dyn FnMut(LoadProgress),
        shared: &Shared,
        finished: impl Fn() -> bool,
    ) -> Result<(), LoadError> {
        let mut interval_begin = Duration::ZERO;
        loop {
            let last = finished();
            let now_ns = shared.now_ns();
            self.read_at_ends(now_ns, shared, last)?;
            let sample = self.sample(now_ns, shared);
            let lag_ns = self.lag.look(now_ns, self.rig.heights());
            let is_measured = now_ns >= shared.window.begin_ns && now_ns < shared.window.end_ns;
            if is_measured {
                self.samples.push(sample);
            }
            let now = Duration::from_nanos(now_ns);
            if now - interval_begin >= HLOG_INTERVAL || last {
                if is_measured {
                    self.timeline.push(Moment {
                        seconds: now.as_secs_f64(),
                        committed: self.committed(),
                        rss_bytes: self.rig.process().usage()?.rss_bytes,
                        index_lag_seconds: Duration::from_nanos(lag_ns).as_secs_f64(),
                    });
                }
                self.write_interval(hlog.as_deref_mut(), interval_begin, now)?;
                interval_begin = now;
            }
            progress(LoadProgress {
                elapsed: now,
                planned: self.plan.warmup + self.plan.measure,
                committed: self.committed(),
                backlog: sample.backlog,
            });
            if last {
                return Ok(());
            }
            let pause_ns = self.next_end_ns(shared).saturating_sub(now_ns).max(1_000_000);
            thread::park_timeout(SAMPLE_INTERVAL.min(Duration::from_nanos(pause_ns)));
        }
    }

    /// The end of the window that is still to be read, so that it is read on time.
    fn next_end_ns(&self, shared: &Shared) -> u64 {
        match (&self.at_begin, &self.at_end) {
            (None, _) => shared.window.begin_ns,
            (Some(_), None) => shared.window.end_ns,
            (Some(_), Some(_)) => u64::MAX,
        }
    }

    fn read_at_ends(&mut self, now_ns: u64, shared: &Shared, last: bool) -> Result<(), LoadError> {
        if self.at_begin.is_none() && (now_ns >= shared.window.begin_ns || last) {
            self.rig.mark_stages();
            self.at_begin = Some(self.reading()?);
        }
        if self.at_end.is_none() && (now_ns >= shared.window.end_ns || last) {
            self.at_end = Some((self.reading()?, self.rig.stages()));
        }
        Ok(())
    }

    fn reading(&self) -> Result<Reading, LoadError> {
        let usage = self.rig.process().usage()?;
        let own = match self.rig.process() {
            Process::Own => 0.0,
            Process::Other(_) => Process::Own.usage()?.cpu_seconds,
        };
        let departed = self.lanes.iter().map(|lane| lane.flight.departed()).sum();
        Ok(Reading {
            usage,
            cpu_seconds: usage.cpu_seconds + own,
            committed: self.committed(),
            departed,
        })
    }

    fn committed(&self) -> u64 {
        self.lanes
            .iter()
            .map(|lane| lane.recorder().counts.committed_ever)
            .sum()
    }

    fn sample(&mut self, now_ns: u64, shared: &Shared) -> Sample {
        let due = self.due_by(now_ns.min(shared.last_due_ns()));
        // Landed before departed: a landing in between must not count as more answers than questions.
        let landed: u64 = self.lanes.iter().map(|lane| lane.flight.landed()).sum();
        let departed: u64 = self.lanes.iter().map(|lane| lane.flight.departed()).sum();
        let due = due.unwrap_or(departed);
        Sample {
            due,
            backlog: due.saturating_sub(landed),
            unanswered: departed - landed,
        }
    }

    /// Transactions that the schedules asked for by then; `None` when closed.
    fn due_by(&mut self, time_ns: u64) -> Option<u64> {
        if self.schedules.is_empty() {
            return None;
        }
        Some(
            self.schedules
                .iter_mut()
                .map(|schedule| schedule.due_by(time_ns))
                .sum(),
        )
    }

    fn write_interval(
        &self,
        hlog: Option<&mut Hlog<'_>>,
        begin: Duration,
        end: Duration,
    ) -> Result<(), LoadError> {
        let mut interval = empty_histogram();
        for lane in self.lanes {
            add(&mut interval, &lane.recorder().take_interval());
        }
        match hlog {
            Some(hlog) => Ok(hlog.write(&interval, begin, end - begin, None)?),
            None => Ok(()),
        }
    }

    /// Charges what was never answered or never sent, and adds everything up.
    pub(super) fn conclude(mut self, shared: &Shared) -> Result<LoadResult, LoadError> {
        let ended_ns = shared.now_ns();
        let exhausted = shared.exhausted_ns.load(Ordering::Acquire) != u64::MAX;
        let due = self.due_by(shared.last_due_ns());
        let departed: u64 = self.lanes.iter().map(|lane| lane.flight.departed()).sum();
        let mut recorder = Recorder::new(shared.window, self.plan.operations_per_transaction);
        let mut unanswered = 0;
        for lane in self.lanes {
            recorder.merge(&lane.recorder());
            for times in lane.flight.abandon() {
                recorder.charge(times, ended_ns);
                unanswered += 1;
            }
        }
        self.charge_not_sent(&mut recorder, shared, ended_ns);
        let measured_ns = shared
            .window
            .end_ns
            .min(ended_ns)
            .saturating_sub(shared.window.begin_ns);
        let measured = Duration::from_nanos(measured_ns);
        let (at_begin, (at_end, stages)) = self.readings()?;
        let operations = self.plan.operations_per_transaction;
        let offered_per_s = match self.plan.pace {
            Pace::Open { rate_per_s, .. } => rate_per_s,
            Pace::Closed { .. } => per_second((at_end.departed - at_begin.departed) * operations, measured),
        };
        let in_flight: u64 = self.samples.iter().map(|sample| sample.unanswered).sum();
        Ok(LoadResult {
            offered_per_s,
            measured,
            not_sent: due.map_or(0, |due| due.saturating_sub(departed)) * operations,
            unanswered: unanswered * operations,
            in_flight_mean: ratio(float(in_flight), float(count(self.samples.len()))),
            overloaded: matches!(self.plan.pace, Pace::Open { .. }) && backlog_grew(&self.samples),
            exhausted,
            cpu_seconds: at_end.cpu_seconds - at_begin.cpu_seconds,
            cpu_transfers: at_end.committed - at_begin.committed,
            rss_peak_bytes: at_end.usage.rss_peak_bytes,
            log_bytes: self.rig.log_bytes().saturating_sub(self.log_bytes_before),
            stages,
            recorder,
            timeline: self.timeline,
            index_lag_seconds_max: Duration::from_nanos(self.lag.max_ns).as_secs_f64(),
        })
    }

    /// Walks each schedule again, past what its connection sent.
    fn charge_not_sent(&self, recorder: &mut Recorder, shared: &Shared, ended_ns: u64) {
        for lane in self.lanes {
            let LanePace::Open(schedule) = &lane.pace else {
                continue;
            };
            let mut schedule = schedule.clone();
            let mut place = 0;
            while let Some(intended_ns) = schedule.take_due(shared.last_due_ns()) {
                if place >= lane.flight.departed() {
                    recorder.charge(
                        Times {
                            intended_ns,
                            sent_ns: intended_ns,
                        },
                        ended_ns,
                    );
                }
                place += 1;
            }
        }
    }

    fn readings(&mut self) -> Result<(Reading, (Reading, Vec<Stage>)), LoadError> {
        let begin = match self.at_begin.take() {
            Some(begin) => begin,
            None => self.reading()?,
        };
        let end = match self.at_end.take() {
            Some(end) => end,
            None => (self.reading()?, self.rig.stages()),
        };
        Ok((begin, end))
    }
}

/// Whether what is not answered piles up: from the second quarter of the samples to the last, the backlog grew by
/// more than [`BACKLOG_GROWTH_MAX`] of what came due in between.
fn backlog_grew(samples: &[Sample]) -> bool {
    let quarter = samples.len() / 4;
    if quarter < SAMPLES_PER_QUARTER_MIN {
        return false;
    }
    let mean = |part: &[Sample]| {
        ratio(
            float(part.iter().map(|sample| sample.backlog).sum()),
            float(count(part.len())),
        )
    };
    let (early, late) = (&samples[quarter..2 * quarter], &samples[3 * quarter..4 * quarter]);
    let growth = mean(late) - mean(early);
    let came_due = float(late[0].due.saturating_sub(early[0].due));
    growth > BACKLOG_NOISE && growth > came_due * BACKLOG_GROWTH_MAX
}

/// Growth of the backlog that counts as overload, as a share of what came due: a node at 99 % of the rate.
const BACKLOG_GROWTH_MAX: f64 = 0.01;
/// Growth below this many transactions is chance.
const BACKLOG_NOISE: f64 = 4.0;
/// With fewer samples nothing is said about the backlog.
const SAMPLES_PER_QUARTER_MIN: usize = 2;
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);
const HLOG_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_waits_for_the_index_from_when_it_was_first_seen() {
        let mut lag = IndexLag::default();
        let at = |durable, indexed| Heights { durable, indexed };
        assert_eq!(lag.look(0, at(5, 5)), 0);
        assert_eq!(lag.look(10, at(7, 5)), 0, "seen just now");
        assert_eq!(lag.look(20, at(9, 5)), 10);
        assert_eq!(lag.look(30, at(9, 7)), 10, "7 is indexed, 9 was seen at 20");
        assert_eq!(lag.look(40, at(9, 9)), 0);
        assert_eq!(lag.max_ns, 10);
    }

    #[test]
    fn a_backlog_that_grows_is_overload_and_one_that_stands_is_not() {
        let samples = |backlog: &dyn Fn(u64) -> u64| -> Vec<Sample> {
            (0..100)
                .map(|n| Sample {
                    due: n * 100,
                    backlog: backlog(n),
                    unanswered: 0,
                })
                .collect()
        };
        assert!(!backlog_grew(&samples(&|_| 500)), "a steady queue");
        assert!(backlog_grew(&samples(&|n| n * 2)), "2 % of the arrivals pile up");
        assert!(
            !backlog_grew(&samples(&|n| n / 2)),
            "half a percent is within the bound"
        );
        assert!(
            !backlog_grew(&samples(&|n| if n < 20 { 2_000 } else { 10 })),
            "a bad beginning that was made good"
        );
        assert!(
            !backlog_grew(&samples(&|n| n * 50)[..7]),
            "too few samples to say"
        );
    }
}
