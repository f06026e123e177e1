//! Pauses between connection attempts: growing, bounded, and different for every client.

use std::time::Duration;

/// Exponential backoff with jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The longest first pause.
    pub first: Duration,
    /// The longest pause of all.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(50),
            max: Duration::from_secs(5),
        }
    }
}

impl Backoff {
    /// The pause after attempt number `attempt` (from 0): between half of and the whole of `first × 2^attempt`,
    /// where that is at most `max`. `random` is uniform over all `u32`; without it a thousand clients of a
    /// restarted server would come back at the same instant.
    #[must_use]
    pub fn pause(&self, attempt: u32, random: u32) -> Duration {
        let doubled = 1_u32
            .checked_shl(attempt)
            .and_then(|factor| self.first.checked_mul(factor));
        let whole = doubled.unwrap_or(self.max).min(self.max);
        let half = whole / 2;
        half + half.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

/// From the operating system's generator; 0 in the improbable case that it fails.
pub(crate) fn random_u32() -> u32 {
    let mut bytes = [0; 4];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => u32::from_le_bytes(bytes),
        Err(_) => 0,
    }
}

/// From the operating system's generator; `None` in the improbable case that it fails.
pub(crate) fn random_u64() -> Option<u64> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    Some(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_limit_with_jitter_below() {
        let backoff = Backoff {
            first: Duration::from_millis(100),
            max: Duration::from_secs(1),
        };
        let range = |attempt| {
            (
                backoff.pause(attempt, 0).as_millis(),
                backoff.pause(attempt, u32::MAX).as_millis(),
            )
        };
        assert_eq!(range(0), (50, 100));
        assert_eq!(range(1), (100, 200));
        assert_eq!(range(3), (400, 800));
        for attempt in [4, 31, 32, u32::MAX] {
            assert_eq!(range(attempt), (500, 1_000));
        }
    }
}
