//! When transactions are meant to arrive: a pure function of rate and seed that no slow answer can delay.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use crate::rate::{float, whole};

/// The intended arrival times of one connection, in nanoseconds since the load began, in order. Reading it
/// needs no clock: the caller brings the time, so a test can run an hour of load in a millisecond.
#[derive(Clone, Debug)]
pub struct Schedule {
    arrivals: Arrivals,
    gap_ns: f64,
    rng: Xoshiro256PlusPlus,
    /// Arrivals drawn so far, the pending one included.
    drawn: u64,
    /// Place of the pending arrival in nanoseconds, as if the rate were steady.
    steady_ns: f64,
    next_ns: u64,
    taken: u64,
}

/// The pattern of arrivals. All have the same mean rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// One every 1/rate seconds.
    Constant,
    /// Independent arrivals: exponential gaps.
    Poisson,
    /// Independent arrivals of which 4 in 10 fall into the first second of every ten.
    Bursts,
}

/// No such pattern of arrivals.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no arrivals {got:?}; there are constant, poisson, bursts")]
pub struct UnknownArrivals {
    /// The text.
    pub got: String,
}

/// Slowest rate of a schedule, arrivals/s: one in about eleven days. Slower, zero and NaN are taken as this.
pub const RATE_MIN_PER_S: f64 = 1e-6;

/// Fastest rate of a schedule, arrivals/s: one a nanosecond, the unit of its clock.
pub const RATE_MAX_PER_S: f64 = 1e9;

impl Schedule {
    /// A schedule of `rate_per_s` arrivals a second. `phase` (0 to 1) shifts constant arrivals by that share of
    /// a gap, so that several connections interleave instead of firing together.
    #[must_use]
    pub fn new(arrivals: Arrivals, rate_per_s: f64, phase: f64, seed: u64) -> Self {
        let rate_per_s = if rate_per_s.is_nan() {
            RATE_MIN_PER_S
        } else {
            rate_per_s
        };
        let gap_ns = 1e9 / rate_per_s.clamp(RATE_MIN_PER_S, RATE_MAX_PER_S);
        let mut schedule = Self {
            arrivals,
            gap_ns,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            drawn: 0,
            steady_ns: phase * gap_ns,
            next_ns: 0,
            taken: 0,
        };
        schedule.next_ns = match arrivals {
            Arrivals::Constant => whole(schedule.steady_ns),
            Arrivals::Poisson | Arrivals::Bursts => schedule.draw(),
        };
        schedule
    }

    /// Intended time of the next arrival.
    #[must_use]
    pub fn next_ns(&self) -> u64 {
        self.next_ns
    }

    /// Takes the next arrival if its time has come, and returns its *intended* time, however late the caller is.
    pub fn take_due(&mut self, now_ns: u64) -> Option<u64> {
        if self.next_ns > now_ns {
            return None;
        }
        let intended_ns = self.next_ns;
        self.taken += 1;
        self.next_ns = self.draw().max(intended_ns);
        Some(intended_ns)
    }

    /// Takes every arrival due by `now_ns`, and returns how many have been taken since the beginning.
    pub fn due_by(&mut self, now_ns: u64) -> u64 {
        while self.take_due(now_ns).is_some() {}
        self.taken
    }

    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        match self.arrivals {
            // Multiplied, not summed: a sum of rounded gaps drifts over a long soak.
            Arrivals::Constant => whole(self.steady_ns + float(self.drawn) * self.gap_ns),
            Arrivals::Poisson => whole(self.advance()),
            Arrivals::Bursts => whole(burst_time_ns(self.advance())),
        }
    }

    fn advance(&mut self) -> f64 {
        let uniform: f64 = self.rng.random();
        // 1 − u lies in (0, 1], whose logarithm is finite.
        self.steady_ns -= (1.0 - uniform).ln() * self.gap_ns;
        self.steady_ns
    }
}

/// Where a steady arrival falls when each period squeezes [`BURST_ARRIVALS`] of its arrivals into its first
/// [`BURST_TIME`]: the inverse of the cumulative rate.
fn burst_time_ns(steady_ns: f64) -> f64 {
    let periods = (steady_ns / BURST_PERIOD_NS).floor();
    let share = steady_ns / BURST_PERIOD_NS - periods;
    let place = if share < BURST_ARRIVALS {
        share * BURST_TIME / BURST_ARRIVALS
    } else {
        BURST_TIME + (share - BURST_ARRIVALS) * (1.0 - BURST_TIME) / (1.0 - BURST_ARRIVALS)
    };
    (periods + place) * BURST_PERIOD_NS
}

impl FromStr for Arrivals {
    type Err = UnknownArrivals;

    fn from_str(text: &str) -> Result<Self, UnknownArrivals> {
        match text {
            "constant" => Ok(Self::Constant),
            "poisson" => Ok(Self::Poisson),
            "bursts" => Ok(Self::Bursts),
            _ => Err(UnknownArrivals { got: text.to_owned() }),
        }
    }
}

impl Display for Arrivals {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Constant => "constant",
            Self::Poisson => "poisson",
            Self::Bursts => "bursts",
        })
    }
}

const BURST_PERIOD_NS: f64 = 10e9;
const BURST_TIME: f64 = 0.1;
const BURST_ARRIVALS: f64 = 0.4;

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn times(arrivals: Arrivals, rate: f64, until_ns: u64) -> Vec<u64> {
        let mut schedule = Schedule::new(arrivals, rate, 0.0, 9);
        std::iter::from_fn(|| schedule.take_due(until_ns)).collect()
    }

    #[test]
    fn constant_arrivals_stand_at_their_multiples_for_an_hour() {
        let times = times(Arrivals::Constant, 1_000.0, 3_600 * SECOND);
        assert_eq!(times.len(), 3_600_001);
        assert!(times.iter().zip(0..).all(|(&time, n)| time == n * 1_000_000));
    }

    #[test]
    fn nothing_is_due_early_and_everything_late_keeps_its_intended_time() {
        let mut schedule = Schedule::new(Arrivals::Constant, 10.0, 0.5, 0);
        assert_eq!(schedule.take_due(49_999_999), None);
        assert_eq!(schedule.take_due(50_000_000), Some(50_000_000));
        // A caller that comes back after a second finds ten arrivals, each at the time it was meant for.
        let late: Vec<u64> = std::iter::from_fn(|| schedule.take_due(1_050_000_000)).collect();
        assert_eq!(
            late,
            (1..=10)
                .map(|n| 50_000_000 + n * 100_000_000)
                .collect::<Vec<u64>>()
        );
    }

    #[test]
    fn a_copy_counts_what_was_due_without_disturbing_the_original() {
        let mut sender = Schedule::new(Arrivals::Poisson, 500.0, 0.0, 3);
        let mut counter = sender.clone();
        let due = counter.due_by(SECOND);
        assert_eq!(due, sender.due_by(SECOND));
        assert_eq!(due, counter.due_by(SECOND), "asking twice takes nothing more");
    }

    #[test]
    fn poisson_gaps_have_the_mean_and_the_spread_of_an_exponential() {
        let times = times(Arrivals::Poisson, 1_000.0, 100 * SECOND);
        let gaps: Vec<f64> = times.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean / 1e6 - 1.0).abs() < 0.02, "mean gap {mean} ns");
        assert!(
            (variance.sqrt() / mean - 1.0).abs() < 0.03,
            "an exponential's deviation is its mean"
        );
    }

    #[test]
    fn bursts_keep_the_mean_rate_and_crowd_the_first_tenth() {
        let times = times(Arrivals::Bursts, 1_000.0, 100 * SECOND);
        assert!((times.len() as f64 / 100_000.0 - 1.0).abs() < 0.02);
        let crowded = times
            .iter()
            .filter(|&&time| time % (10 * SECOND) < SECOND)
            .count();
        assert!((crowded as f64 / times.len() as f64 - 0.4).abs() < 0.02);
        assert!(times.is_sorted());
    }

    #[test]
    fn a_rate_of_nothing_is_the_slowest_rate_and_not_a_flood() {
        for rate in [0.0, -5.0, f64::NAN] {
            assert_eq!(Schedule::new(Arrivals::Constant, rate, 0.0, 0).due_by(SECOND), 1);
        }
    }

    #[test]
    fn arrivals_read_as_they_print() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson, Arrivals::Bursts] {
            assert_eq!(arrivals.to_string().parse(), Ok(arrivals));
        }
        assert!("uniform".parse::<Arrivals>().is_err());
    }
}
