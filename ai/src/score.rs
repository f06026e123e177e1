//! What a score says: the log-odds of fraud, as models add them up and as a byte in the block.

/// Natural log-odds of fraud in steps of 2^-16: 0 is "as likely as not".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogOdds(pub i32);

/// Log-odds of 1, in steps of [`LogOdds`].
pub const LOG_ODDS_ONE: i32 = 1 << 16;
/// Log-odds stay within ± this: 32, and so do the sums of a model's parts.
pub const LOG_ODDS_MAX: i32 = 32 * LOG_ODDS_ONE;
/// The score of even odds.
pub const SCORE_EVEN: u8 = 127;
/// Steps of a score in log-odds of 1.
pub const SCORE_STEPS: i32 = 16;
/// The highest score; 255 says "not scored".
pub const SCORE_MAX: u8 = 254;

impl LogOdds {
    /// From a real number; what is not a number, or too large, is clamped.
    #[allow(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        reason = "a float's cast saturates, and the value is clamped to what fits"
    )]
    pub fn from_real(real: f64) -> Self {
        let scaled = (real * f64::from(LOG_ODDS_ONE)).round();
        let max = f64::from(LOG_ODDS_MAX);
        Self(if scaled.is_nan() {
            0
        } else {
            scaled.clamp(-max, max) as i32
        })
    }

    /// As a real number.
    pub fn real(self) -> f64 {
        f64::from(self.0) / f64::from(LOG_ODDS_ONE)
    }

    /// The probability of fraud, 0 to 1.
    pub fn probability(self) -> f64 {
        1.0 / (1.0 + (-self.real()).exp())
    }

    /// The byte: 127 + 16 × log-odds, rounded half up, from 0 to 254.
    pub fn score(self) -> u8 {
        let steps = (self.0.clamp(-LOG_ODDS_MAX, LOG_ODDS_MAX) * SCORE_STEPS + LOG_ODDS_ONE / 2) >> 16;
        let score = (i32::from(SCORE_EVEN) + steps).clamp(0, i32::from(SCORE_MAX));
        u8::try_from(score).unwrap_or(SCORE_MAX)
    }

    /// The middle of what a score stands for.
    pub fn of_score(score: u8) -> Self {
        Self((i32::from(score) - i32::from(SCORE_EVEN)) * (LOG_ODDS_ONE / SCORE_STEPS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_a_sixteenth_of_log_odds_around_even() {
        let of = |real: f64| LogOdds::from_real(real).score();
        assert_eq!([of(0.0), of(1.0), of(-1.0), of(1.0 / 16.0)], [127, 143, 111, 128]);
        assert_eq!([of(100.0), of(-100.0), of(f64::INFINITY)], [254, 0, 254]);
        assert_eq!(of(f64::NAN), 127, "what is not a number says nothing");
        assert_eq!([LogOdds(i32::MAX).score(), LogOdds(i32::MIN).score()], [254, 0]);
        for score in 0..=SCORE_MAX {
            assert_eq!(LogOdds::of_score(score).score(), score);
        }
    }

    #[test]
    fn a_probability_follows_the_odds() {
        assert!((LogOdds::from_real(0.0).probability() - 0.5).abs() < 1e-9);
        assert!((LogOdds::from_real(3f64.ln()).probability() - 0.75).abs() < 1e-5);
    }
}
