//! Pace: when a transfer is due, as a function of its place alone. No clock is read here.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;
use thiserror::Error;

/// How fast recorded transfers are replayed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// As fast as the node commits.
    Max,
    /// So many recorded seconds in one.
    Times(f64),
}

/// Why a speed is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("speed `{got}` is neither `max` nor a number from {SPEED_MIN} to {SPEED_MAX}")]
pub struct SpeedError {
    /// The text.
    pub got: String,
}

/// Least speed: a recorded second takes a quarter of an hour.
pub const SPEED_MIN: f64 = 0.001;
/// Greatest speed: a recorded year takes 32 ms.
pub const SPEED_MAX: f64 = 1e9;

impl FromStr for Speed {
    type Err = SpeedError;

    fn from_str(text: &str) -> Result<Self, SpeedError> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let times = text.strip_suffix('x').unwrap_or(text).parse::<f64>().ok();
        let times = times.filter(|times| (SPEED_MIN..=SPEED_MAX).contains(times));
        times
            .map(Self::Times)
            .ok_or_else(|| SpeedError { got: text.to_owned() })
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Max => f.write_str("max"),
            Self::Times(times) => write!(f, "{times}x"),
        }
    }
}

/// When recorded transfers are due.
#[derive(Clone, Copy, Debug)]
pub struct ReplayPace {
    speed: Speed,
    first_s: u64,
}

impl ReplayPace {
    /// The pace of a recording that begins at `first_s`.
    pub fn new(speed: Speed, first_s: u64) -> Self {
        Self { speed, first_s }
    }

    /// When a transfer recorded at `time_s` is due, from the beginning of the replay; at once if it was
    /// recorded before the first, or if nothing is waited for.
    pub fn due(&self, time_s: u64) -> Duration {
        let after = Duration::from_secs(time_s.saturating_sub(self.first_s));
        match self.speed {
            Speed::Max => Duration::ZERO,
            // At the slowest speed the longest recording takes 2^44 s: far inside what a duration holds.
            Speed::Times(times) => after.div_f64(times),
        }
    }

    /// Whether transfers have a moment at which they are due.
    pub fn is_timed(&self) -> bool {
        self.speed != Speed::Max
    }
}

/// When generated transfers are due: half of each second's in its first fifth, the others in the rest.
#[derive(Clone, Copy, Debug)]
pub struct BurstPace {
    per_s: u64,
}

impl BurstPace {
    /// `per_s` transfers in every second.
    pub fn new(per_s: u64) -> Self {
        Self {
            per_s: per_s.clamp(1, RATE_MAX),
        }
    }

    /// When transfer `number`, from 0, is due, from the beginning.
    pub fn due(&self, number: u64) -> Duration {
        let (second, place) = (number / self.per_s, number % self.per_s);
        let burst = self.per_s / 2;
        let ns = if burst == 0 {
            0
        } else if place < burst {
            BURST_NS * place / burst
        } else {
            BURST_NS + (SECOND_NS - BURST_NS) * (place - burst) / (self.per_s - burst)
        };
        Duration::from_secs(second) + Duration::from_nanos(ns)
    }
}

/// Most transfers a second that a burst pace places; more than any machine takes.
pub const RATE_MAX: u64 = 10_000_000;
const SECOND_NS: u64 = 1_000_000_000;
const BURST_NS: u64 = SECOND_NS / 5;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn recorded_time_is_divided_by_the_speed() {
        let due = |speed: &str, time_s| ReplayPace::new(speed.parse().unwrap(), 1_000).due(time_s);
        assert_eq!(due("1", 1_060), Duration::from_secs(60));
        assert_eq!(due("60x", 1_060), Duration::from_secs(1));
        assert_eq!(due("0.5", 1_060), Duration::from_secs(120));
        assert_eq!(due("max", 1_060), Duration::ZERO);
        assert_eq!(due("1", 900), Duration::ZERO);
        assert_eq!(due("0.001", crate::input::TIME_S_MAX).as_secs() >> 44, 0);
    }

    #[test]
    fn what_is_no_speed_is_refused() {
        for text in ["", "fast", "0", "-1", "nan", "inf", "1e10", "x"] {
            assert_eq!(text.parse::<Speed>(), Err(SpeedError { got: text.to_owned() }));
        }
        assert_eq!("86400x".parse::<Speed>().unwrap().to_string(), "86400x");
    }

    #[test]
    fn bursts_keep_the_mean_and_never_go_back() {
        for per_s in [1, 2, 3, 1_000, RATE_MAX] {
            let pace = BurstPace::new(per_s);
            assert_eq!(pace.due(7 * per_s), Duration::from_secs(7));
            let dues: Vec<_> = (0..per_s.min(5_000) * 2).map(|number| pace.due(number)).collect();
            assert!(dues.is_sorted());
        }
        let pace = BurstPace::new(1_000);
        assert_eq!(pace.due(499), Duration::from_micros(199_600));
        assert_eq!(pace.due(500), Duration::from_millis(200));
        assert_eq!(pace.due(750), Duration::from_millis(600));
    }
}
