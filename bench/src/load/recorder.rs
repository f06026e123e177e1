//! What came of one connection's load: latencies from the intended time, rates, refusals by reason.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::load::flight::{Flight, Times};
use crate::rig::{Answer, Verdict};

/// The measured part of a load, nanoseconds since it began. Latencies and refusals belong to it by the *intended*
/// time of their transaction, rates by the time of the answer: neither can be improved by answering late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// End of the warm-up.
    pub begin_ns: u64,
    /// End of sending.
    pub end_ns: u64,
}

/// The books of one connection, or of several after [`Recorder::merge`].
#[derive(Clone, Debug)]
pub struct Recorder {
    window: Window,
    operations_per_transaction: u64,
    /// Intended send to last answer, ns, of transactions meant for the window.
    pub latency: Histogram<u64>,
    /// Actual send to last answer, ns, of the same: what a harness that waits for its server would report.
    pub service: Histogram<u64>,
    /// As `latency`, since the last [`Recorder::take_interval`], warm-up included.
    interval: Histogram<u64>,
    /// The counts.
    pub counts: Counts,
}

/// Sums over transfers (operations), except where a name says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Past intake, acknowledged within the window.
    pub accepted: u64,
    /// Committed, answered within the window.
    pub committed: u64,
    /// Committed at any time, warm-up and drain included.
    pub committed_ever: u64,
    /// Transactions answered within the window, whatever the answer.
    pub answered_transactions: u64,
    /// Dropped whole by the node, of those meant for the window.
    pub dropped: u64,
    /// Not committed, by reason, of those meant for the window; dropped ones included.
    pub errors: BTreeMap<String, u64>,
    /// Answers to tickets that were not in the air: each is a defect of the node or the rig.
    pub strays: u64,
}

impl Window {
    fn holds(self, time_ns: u64) -> bool {
        (self.begin_ns..self.end_ns).contains(&time_ns)
    }
}

impl Recorder {
    /// Empty books for transactions of `operations_per_transaction` each.
    #[must_use]
    pub fn new(window: Window, operations_per_transaction: u64) -> Self {
        Self {
            window,
            operations_per_transaction,
            latency: empty_histogram(),
            service: empty_histogram(),
            interval: empty_histogram(),
            counts: Counts::default(),
        }
    }

    /// Books one answer that arrived at `now_ns`, and lands its ticket when the answer is the last one.
    pub fn record(&mut self, answer: &Answer, flight: &Flight, now_ns: u64) {
        if answer.verdict == Verdict::Accepted {
            if !flight.in_the_air(answer.ticket) {
                self.counts.strays += 1;
            } else if self.window.holds(now_ns) {
                self.counts.accepted += self.operations_per_transaction;
            }
            return;
        }
        let Some(times) = flight.land(answer.ticket) else {
            self.counts.strays += 1;
            return;
        };
        self.book_times(times, now_ns);
        let measured = self.window.holds(times.intended_ns);
        if self.window.holds(now_ns) {
            self.counts.answered_transactions += 1;
        }
        match &answer.verdict {
            Verdict::Accepted => {}
            Verdict::Committed { applied, refused } => {
                self.counts.committed_ever += applied;
                if self.window.holds(now_ns) {
                    self.counts.committed += applied;
                }
                if measured {
                    refused
                        .iter()
                        .for_each(|(code, times)| self.count_error(code, *times));
                }
            }
            Verdict::Dropped { code } if measured => {
                self.counts.dropped += self.operations_per_transaction;
                self.count_error(code, self.operations_per_transaction);
            }
            Verdict::Dropped { .. } => {}
        }
    }

    /// Books a transaction that was never answered, or never sent, as if it were answered at `now_ns`: a lower
    /// bound, and far from the nothing that leaving it out would charge.
    pub fn charge(&mut self, times: Times, now_ns: u64) {
        self.book_times(times, now_ns);
    }

    /// The latencies since the last call.
    pub fn take_interval(&mut self) -> Histogram<u64> {
        std::mem::replace(&mut self.interval, empty_histogram())
    }

    /// Adds another connection's books to these.
    pub fn merge(&mut self, other: &Self) {
        add(&mut self.latency, &other.latency);
        add(&mut self.service, &other.service);
        add(&mut self.interval, &other.interval);
        let Counts {
            accepted,
            committed,
            committed_ever,
            answered_transactions,
            dropped,
            errors,
            strays,
        } = &other.counts;
        self.counts.accepted += accepted;
        self.counts.committed += committed;
        self.counts.committed_ever += committed_ever;
        self.counts.answered_transactions += answered_transactions;
        self.counts.dropped += dropped;
        self.counts.strays += strays;
        for (code, times) in errors {
            self.count_error(code, *times);
        }
    }

    fn book_times(&mut self, times: Times, now_ns: u64) {
        let latency_ns = now_ns.saturating_sub(times.intended_ns);
        self.interval.saturating_record(latency_ns);
        if self.window.holds(times.intended_ns) {
            self.latency.saturating_record(latency_ns);
            self.service
                .saturating_record(now_ns.saturating_sub(times.sent_ns));
        }
    }

    fn count_error(&mut self, code: &str, times: u64) {
        match self.counts.errors.get_mut(code) {
            Some(sum) => *sum += times,
            None => {
                self.counts.errors.insert(code.to_owned(), times);
            }
        }
    }
}

/// A histogram of nanoseconds up to [`LATENCY_NS_MAX`], to three digits.
pub(crate) fn empty_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("the bounds are constants that the crate accepts")
}

/// `sum += part`, for histograms made by [`empty_histogram`].
pub(crate) fn add(sum: &mut Histogram<u64>, part: &Histogram<u64>) {
    sum.add(part).expect("both have the same bounds");
}

/// One hour; what took longer is recorded as this.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod tests {
    use super::*;
    use crate::load::schedule::{Arrivals, Schedule};
    use crate::report::Latency;

    const MILLISECOND: u64 = 1_000_000;
    const SECOND: u64 = 1_000 * MILLISECOND;
    const CONNECTION_HOLDS: usize = 16;
    const ALWAYS: Window = Window {
        begin_ns: 0,
        end_ns: u64::MAX,
    };

    fn committed(ticket: u64) -> Answer {
        Answer {
            ticket,
            verdict: Verdict::Committed {
                applied: 1,
                refused: Vec::new(),
            },
        }
    }

    /// Ten seconds of 1,000 a second against a server that answers in 0.1 ms, but stands still from the 4th to the
    /// 5th second, over a connection that holds 16 unanswered, on a clock that nobody waits for. A client that
    /// `waits` takes the time at which it could send for the time at which it meant to.
    fn run_against_a_stall(waits: bool) -> Recorder {
        let mut schedule = Schedule::new(Arrivals::Constant, 1_000.0, 0.0, 0);
        let flight = Flight::new(CONNECTION_HOLDS);
        let mut recorder = Recorder::new(
            Window {
                begin_ns: 0,
                end_ns: 10 * SECOND,
            },
            1,
        );
        let mut answered_ns: Vec<u64> = Vec::new();
        while let Some(due_ns) = schedule.take_due(10 * SECOND - 1) {
            let room_ns = answered_ns
                .len()
                .checked_sub(CONNECTION_HOLDS)
                .map_or(0, |oldest| answered_ns[oldest]);
            let sent_ns = due_ns.max(room_ns);
            if waits {
                schedule.due_by(sent_ns);
            }
            let intended_ns = if waits { sent_ns } else { due_ns };
            let ticket = flight.depart(Times { intended_ns, sent_ns }).unwrap();
            let begin_ns = sent_ns.max(answered_ns.last().copied().unwrap_or(0));
            let stalled = (4 * SECOND..5 * SECOND).contains(&begin_ns);
            let begin_ns = if stalled { 5 * SECOND } else { begin_ns };
            answered_ns.push(begin_ns + MILLISECOND / 10);
            recorder.record(&committed(ticket), &flight, begin_ns + MILLISECOND / 10);
        }
        recorder
    }

    #[test]
    fn a_stalled_server_is_charged_for_everybody_who_would_have_come() {
        let honest = Latency::of(&run_against_a_stall(false).latency);
        // A tenth of all arrivals falls into the stall and waits 1 s to 0 s, plus a short catching up.
        assert!((990.0..1_010.0).contains(&honest.max), "{honest}");
        assert!((850.0..950.0).contains(&honest.p99), "{honest}");
        assert!(honest.p50 < 0.2, "{honest}");
    }

    #[test]
    fn a_client_that_waits_would_have_hidden_the_stall() {
        let flattered = Latency::of(&run_against_a_stall(true).latency);
        // Sixteen were caught in the stall, and all the others never came.
        assert!(flattered.p99 < 0.2, "{flattered}");
    }

    #[test]
    fn service_time_is_not_latency() {
        let flight = Flight::new(4);
        let mut recorder = Recorder::new(ALWAYS, 1);
        let times = Times {
            intended_ns: SECOND,
            sent_ns: 3 * SECOND,
        };
        let ticket = flight.depart(times).unwrap();
        recorder.record(&committed(ticket), &flight, 4 * SECOND);
        assert_eq!(recorder.latency.max() / SECOND, 3);
        assert_eq!(recorder.service.max() / SECOND, 1);
    }

    #[test]
    fn warm_up_and_late_answers_stay_out_of_the_right_figures() {
        let flight = Flight::new(8);
        let mut recorder = Recorder::new(
            Window {
                begin_ns: 100,
                end_ns: 200,
            },
            1,
        );
        let mut answer = |intended_ns, now_ns| {
            let ticket = flight
                .depart(Times {
                    intended_ns,
                    sent_ns: intended_ns,
                })
                .unwrap();
            recorder.record(&committed(ticket), &flight, now_ns);
        };
        answer(50, 60); // warm-up: nowhere
        answer(90, 110); // meant for the warm-up, answered in the window: rate only
        answer(150, 160); // both
        answer(190, 900); // meant for the window, answered in the drain: latency only
        assert_eq!(recorder.counts.committed, 2);
        assert_eq!(recorder.counts.committed_ever, 4);
        assert_eq!(recorder.latency.len(), 2);
        assert_eq!(recorder.latency.max(), 710);
        assert_eq!(recorder.take_interval().len(), 4);
        assert!(recorder.take_interval().is_empty());
    }

    #[test]
    fn refusals_are_counted_by_reason_and_in_operations() {
        let flight = Flight::new(8);
        let mut recorder = Recorder::new(ALWAYS, 10);
        let depart = || {
            flight
                .depart(Times {
                    intended_ns: 5,
                    sent_ns: 5,
                })
                .unwrap()
        };
        let refused = vec![("exceeds_credits", 3)];
        let mixed = Answer {
            ticket: depart(),
            verdict: Verdict::Committed { applied: 7, refused },
        };
        let dropped = Answer {
            ticket: depart(),
            verdict: Verdict::Dropped { code: "pool_full" },
        };
        let accepted = Answer {
            ticket: mixed.ticket,
            verdict: Verdict::Accepted,
        };
        [&accepted, &mixed, &dropped]
            .into_iter()
            .for_each(|answer| recorder.record(answer, &flight, 9));
        let mut both = Recorder::new(ALWAYS, 10);
        both.merge(&recorder);
        both.merge(&recorder);
        assert_eq!(
            (both.counts.accepted, both.counts.committed, both.counts.dropped),
            (20, 14, 20)
        );
        let errors = BTreeMap::from([("exceeds_credits".to_owned(), 6), ("pool_full".to_owned(), 20)]);
        assert_eq!(both.counts.errors, errors);
        assert_eq!(both.latency.len(), 4);
    }

    #[test]
    fn an_answer_nobody_waits_for_is_a_stray_and_no_success() {
        let flight = Flight::new(8);
        let mut recorder = Recorder::new(ALWAYS, 1);
        recorder.record(&committed(3), &flight, 9);
        recorder.record(
            &Answer {
                ticket: 3,
                verdict: Verdict::Accepted,
            },
            &flight,
            9,
        );
        assert_eq!(
            recorder.counts,
            Counts {
                strays: 2,
                ..Counts::default()
            }
        );
        assert!(recorder.latency.is_empty());
    }

    #[test]
    fn an_unanswered_transaction_is_charged_what_it_has_waited() {
        let mut recorder = Recorder::new(ALWAYS, 1);
        recorder.charge(
            Times {
                intended_ns: SECOND,
                sent_ns: SECOND,
            },
            31 * SECOND,
        );
        assert_eq!(recorder.latency.max() / SECOND, 30);
        assert_eq!(recorder.counts.committed_ever, 0);
    }
}
