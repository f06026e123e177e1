//! The knee: the highest rate that holds its latency bound, found by raising until it breaks and then halving.

use crate::rate::ratio;
use crate::report::Trial;

/// How to search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchPlan {
    /// First rate tried, transfers/s.
    pub start_per_s: f64,
    /// Factor between rates while they hold, more than 1.
    pub growth: f64,
    /// Ends when the lowest rate that broke is within this share of the highest that held.
    pub tolerance: f64,
    /// A rate whose 99th percentile is above this does not hold, milliseconds.
    pub p99_ms_max: f64,
    /// Most rates tried; the search ends there whatever it knows.
    pub trials_max: usize,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Knee {
    /// Highest rate that held, transfers/s; 0 when none did.
    pub rate_per_s: f64,
    /// Every rate tried, in order.
    pub trials: Vec<Trial>,
    /// Whether a higher rate was seen to break: without that, the knee is only a lower bound.
    pub bracketed: bool,
}

/// What the search needs to know of one load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrialOutcome {
    /// Rate of the schedule, transfers/s.
    pub offered_per_s: f64,
    /// Rate achieved, transfers/s.
    pub committed_per_s: f64,
    /// 99th percentile from the intended time, milliseconds.
    pub p99_ms: f64,
    /// Transfers that the node turned away, or that were never sent or never answered.
    pub lost: u64,
    /// The backlog grew.
    pub overloaded: bool,
}

impl Default for SearchPlan {
    fn default() -> Self {
        Self {
            start_per_s: 1_000.0,
            growth: 1.6,
            tolerance: 0.05,
            p99_ms_max: 100.0,
            trials_max: 16,
        }
    }
}

impl SearchPlan {
    /// Whether a rate with this outcome holds.
    #[must_use]
    pub fn holds(&self, outcome: &TrialOutcome) -> bool {
        outcome.lost == 0 && !outcome.overloaded && outcome.p99_ms <= self.p99_ms_max
    }
}

impl Knee {
    /// The rate for a soak: [`SOAK_SHARE`] of the knee.
    #[must_use]
    pub fn soak_per_s(&self) -> f64 {
        self.rate_per_s * SOAK_SHARE
    }
}

/// Searches with `trial`, which drives one load at the given rate in transfers/s. Calls it at most
/// `plan.trials_max` times.
///
/// # Errors
/// The first error of `trial`.
pub fn find_knee<E>(
    plan: &SearchPlan,
    mut trial: impl FnMut(f64) -> Result<TrialOutcome, E>,
) -> Result<Knee, E> {
    let growth = plan.growth.max(GROWTH_MIN);
    let mut knee = Knee {
        rate_per_s: 0.0,
        trials: Vec::new(),
        bracketed: false,
    };
    let mut broke_per_s = f64::INFINITY;
    let mut rate_per_s = plan.start_per_s;
    while knee.trials.len() < plan.trials_max {
        let outcome = trial(rate_per_s)?;
        let held = plan.holds(&outcome);
        knee.trials.push(Trial {
            offered_per_s: rate_per_s,
            committed_per_s: outcome.committed_per_s,
            p99_ms: outcome.p99_ms,
            held,
        });
        if held {
            knee.rate_per_s = knee.rate_per_s.max(rate_per_s);
        } else {
            broke_per_s = broke_per_s.min(rate_per_s);
            knee.bracketed = true;
        }
        rate_per_s = match (knee.rate_per_s > 0.0, knee.bracketed) {
            (true, false) => rate_per_s * growth,
            // The start was too high. What it achieved is the best guess, but each step must go down.
            (false, _) => outcome
                .committed_per_s
                .min(rate_per_s / growth)
                .max(rate_per_s / DESCENT_MAX),
            (true, true) if ratio(broke_per_s, knee.rate_per_s) - 1.0 <= plan.tolerance => break,
            (true, true) => (knee.rate_per_s * broke_per_s).sqrt(),
        };
    }
    Ok(knee)
}

/// Share of the knee at which a soak runs (CometBFT's method).
pub const SOAK_SHARE: f64 = 0.8;
const GROWTH_MIN: f64 = 1.05;
/// A node that commits nothing at one rate is not asked for less than this part of it next.
const DESCENT_MAX: f64 = 20.0;

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// A queue with one server (M/M/1): p99 of the time in it is −ln(0.01) / (capacity − rate).
    fn queue(capacity: f64) -> impl FnMut(f64) -> Result<TrialOutcome, Infallible> {
        move |rate| {
            let overloaded = rate >= capacity;
            let p99_ms = if overloaded {
                10_000.0
            } else {
                4_605.0 / (capacity - rate)
            };
            let committed_per_s = rate.min(capacity);
            Ok(TrialOutcome {
                offered_per_s: rate,
                committed_per_s,
                p99_ms,
                lost: 0,
                overloaded,
            })
        }
    }

    fn knee_of(capacity: f64, plan: SearchPlan) -> Knee {
        find_knee(&plan, queue(capacity)).unwrap()
    }

    #[test]
    fn finds_the_knee_from_below_and_from_above() {
        for start_per_s in [10.0, 1_000.0, 49_000.0, 900_000.0] {
            let knee = knee_of(
                50_000.0,
                SearchPlan {
                    start_per_s,
                    trials_max: 40,
                    ..SearchPlan::default()
                },
            );
            assert!(knee.bracketed);
            assert!(
                (47_000.0..50_000.0).contains(&knee.rate_per_s),
                "{start_per_s}: {}",
                knee.rate_per_s
            );
        }
    }

    #[test]
    fn the_latency_bound_can_break_before_the_rate_does() {
        let plan = SearchPlan {
            p99_ms_max: 1.0,
            trials_max: 40,
            ..SearchPlan::default()
        };
        let knee = knee_of(50_000.0, plan);
        // 4,605 / (50,000 − r) = 1 at r = 45,395.
        assert!(
            (43_000.0..45_395.0).contains(&knee.rate_per_s),
            "{}",
            knee.rate_per_s
        );
    }

    #[test]
    fn the_search_ends_at_its_limit_and_says_what_it_does_not_know() {
        let knee = knee_of(
            f64::MAX,
            SearchPlan {
                trials_max: 3,
                ..SearchPlan::default()
            },
        );
        assert_eq!(knee.trials.len(), 3);
        assert!(!knee.bracketed);
        assert_eq!(knee.rate_per_s, 1_000.0 * 1.6 * 1.6);
        let dead = find_knee(&SearchPlan::default(), |rate| {
            Ok::<_, Infallible>(TrialOutcome {
                offered_per_s: rate,
                committed_per_s: 0.0,
                p99_ms: 1e9,
                lost: 1,
                overloaded: true,
            })
        })
        .unwrap();
        assert_eq!((dead.rate_per_s, dead.trials.len()), (0.0, 16));
    }

    #[test]
    fn a_growth_that_would_stand_still_still_grows() {
        let plan = SearchPlan {
            growth: 1.0,
            trials_max: 4,
            ..SearchPlan::default()
        };
        assert!(knee_of(f64::MAX, plan).rate_per_s > 1_000.0);
    }

    #[test]
    fn one_lost_transfer_breaks_a_rate() {
        let plan = SearchPlan::default();
        let good = TrialOutcome {
            offered_per_s: 1.0,
            committed_per_s: 1.0,
            p99_ms: 100.0,
            lost: 0,
            overloaded: false,
        };
        assert!(plan.holds(&good));
        assert!(!plan.holds(&TrialOutcome { lost: 1, ..good }));
        assert!(!plan.holds(&TrialOutcome {
            overloaded: true,
            ..good
        }));
        assert!(!plan.holds(&TrialOutcome {
            p99_ms: 100.1,
            ..good
        }));
    }

    #[test]
    fn an_error_of_a_trial_ends_the_search() {
        let error = find_knee(&SearchPlan::default(), |_| Err::<TrialOutcome, _>("gone")).unwrap_err();
        assert_eq!(error, "gone");
    }
}
