//! Token bucket: a sustained rate with a burst, in integers, with time as an argument.

use super::Rate;

/// Tokens are kept in billionths, so that a slow rate does not round to nothing between two calls.
const SCALE: u128 = 1_000_000_000;

/// What is left of a [`Rate`]. Pure: `now_ns` is any clock that does not run backwards (an earlier time than
/// the last is taken as the last).
#[derive(Debug, Clone)]
pub struct Bucket {
    rate: Rate,
    /// Tokens × [`SCALE`]. May be negative after a frame larger than the burst was let in.
    level: i128,
    filled_at_ns: u64,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn full(rate: Rate, now_ns: u64) -> Self {
        Self {
            rate,
            level: capacity(rate),
            filled_at_ns: now_ns,
        }
    }

    /// Takes `tokens`, or nothing.
    ///
    /// # Errors
    /// Milliseconds (at least 1) after which the same call would succeed, if nothing else is taken meanwhile.
    pub fn take(&mut self, tokens: u64, now_ns: u64) -> Result<(), u32> {
        self.fill(now_ns);
        let wanted = scaled(tokens);
        // More than the burst can never be there at once: it is let in from a full bucket, which then owes.
        let threshold = wanted.min(capacity(self.rate));
        if self.level >= threshold {
            self.level -= wanted;
            return Ok(());
        }
        Err(self.wait_ms(threshold - self.level))
    }

    /// Gives back what a `take` took, when a second bucket refused the same frame.
    pub fn give_back(&mut self, tokens: u64) {
        self.level = self.level.saturating_add(scaled(tokens)).min(capacity(self.rate));
    }

    /// Whether forgetting this bucket would change nothing.
    pub fn is_full(&mut self, now_ns: u64) -> bool {
        self.fill(now_ns);
        self.level >= capacity(self.rate)
    }

    fn fill(&mut self, now_ns: u64) {
        let elapsed_ns = now_ns.saturating_sub(self.filled_at_ns);
        self.filled_at_ns = self.filled_at_ns.max(now_ns);
        // tokens × 10⁹ = per_s × ns: the scale is a second in nanoseconds.
        let gained = i128::from(self.rate.per_s).saturating_mul(i128::from(elapsed_ns));
        self.level = self.level.saturating_add(gained).min(capacity(self.rate));
    }

    fn wait_ms(&self, missing: i128) -> u32 {
        let per_ms = u128::from(self.rate.per_s.max(1)) * 1_000_000;
        let missing = u128::try_from(missing).unwrap_or(0);
        u32::try_from(missing.div_ceil(per_ms)).unwrap_or(u32::MAX).max(1)
    }
}

fn scaled(tokens: u64) -> i128 {
    // 2⁶⁴ × 10⁹ < 2⁹⁴, so that this never fails.
    i128::try_from(u128::from(tokens) * SCALE).unwrap_or(i128::MAX)
}

fn capacity(rate: Rate) -> i128 {
    scaled(rate.burst)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn bucket() -> Bucket {
        Bucket::full(
            Rate {
                per_s: 1_000,
                burst: 10,
            },
            0,
        )
    }

    #[test]
    fn gives_the_burst_and_then_the_rate() {
        let mut bucket = bucket();
        assert_eq!(bucket.take(10, 0), Ok(()));
        assert_eq!(bucket.take(1, 0), Err(1));
        assert_eq!(
            bucket.take(1, MS),
            Ok(()),
            "1,000 a second is one each millisecond"
        );
        assert_eq!(bucket.take(5, MS), Err(5));
        assert_eq!(bucket.take(5, 6 * MS), Ok(()), "the promised time is enough");
    }

    #[test]
    fn never_holds_more_than_the_burst() {
        let mut bucket = bucket();
        assert!(bucket.is_full(1_000_000 * MS));
        assert_eq!(bucket.take(10, 1_000_000 * MS), Ok(()));
        assert_eq!(bucket.take(1, 1_000_000 * MS), Err(1));
        assert!(!bucket.is_full(1_000_009 * MS));
        assert!(bucket.is_full(1_000_010 * MS));
    }

    #[test]
    fn lets_one_oversized_taking_in_and_then_makes_it_wait() {
        let mut bucket = bucket();
        assert_eq!(bucket.take(30, 0), Ok(()));
        assert_eq!(bucket.take(1, 0), Err(21));
        assert_eq!(bucket.take(1, 21 * MS), Ok(()));
    }

    #[test]
    fn survives_a_clock_that_steps_back_and_rates_of_zero_and_the_largest() {
        let mut bucket = bucket();
        assert_eq!(bucket.take(10, 5 * MS), Ok(()));
        assert_eq!(bucket.take(1, 0), Err(1));
        let mut closed = Bucket::full(Rate { per_s: 0, burst: 0 }, 0);
        assert_eq!(
            closed.take(1, u64::MAX),
            Ok(()),
            "a burst of zero lets one in from an empty, full bucket"
        );
        assert_eq!(closed.take(1, u64::MAX), Err(1_000));
        let mut open = Bucket::full(
            Rate {
                per_s: u64::MAX,
                burst: u64::MAX,
            },
            0,
        );
        assert_eq!(open.take(u64::MAX, u64::MAX), Ok(()));
    }
}
