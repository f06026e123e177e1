//! Allowance: how much one peer is sent of what it asks for. A request is a few bytes and its answer up to a block:
//! without a bound one validator could keep another busy reading its log and filling its line.

use selfchain_types::{TimeNs, codec};
use std::collections::BTreeMap;

/// Bytes of bodies and decided blocks that one peer is sent a second because it asked.
pub const SERVED_BYTES_PER_S: u64 = 64 << 20;
/// Of these, how many at once.
pub const SERVED_BURST_BYTES: u64 = 64 << 20;
/// What an answer counts for at least: reading the log for a small one costs too.
pub const SERVED_BYTES_MIN: u64 = 4 << 10;

/// Bytes are kept in billionths: a second in nanoseconds.
const SCALE: i128 = 1_000_000_000;

/// What is left to each peer that asked.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    peers: BTreeMap<u32, Level>,
}

#[derive(Clone, Copy, Debug)]
struct Level {
    /// Bytes × [`SCALE`]. Negative after an answer that was larger than what was left.
    left: i128,
    at: TimeNs,
}

impl Allowance {
    /// Forgets who is no peer any more.
    pub(super) fn retain(&mut self, is_peer: impl Fn(u32) -> bool) {
        self.peers.retain(|peer, _| is_peer(*peer));
    }

    /// Whether a peer may be sent something now.
    ///
    /// # Errors
    /// Milliseconds, at least 1, after which it may, if it is sent nothing meanwhile.
    pub(super) fn ask(&mut self, peer: u32, now: TimeNs) -> Result<(), u32> {
        let level = self.level(peer, now);
        if level.left > 0 {
            return Ok(());
        }
        // One more than nothing, rounded up.
        let missing_ms = (1 - level.left)
            .unsigned_abs()
            .div_ceil(u128::from(SERVED_BYTES_PER_S) * 1_000_000);
        Err(u32::try_from(missing_ms).unwrap_or(u32::MAX).max(1))
    }

    /// A peer is sent this many bytes.
    pub(super) fn sent(&mut self, peer: u32, bytes: usize, now: TimeNs) {
        let cost = codec::wide(bytes).max(SERVED_BYTES_MIN);
        self.level(peer, now).left -= i128::from(cost) * SCALE;
    }

    /// What is left to a peer by now.
    fn level(&mut self, peer: u32, now: TimeNs) -> &mut Level {
        let full = i128::from(SERVED_BURST_BYTES) * SCALE;
        let level = self.peers.entry(peer).or_insert(Level { left: full, at: now });
        let gained = i128::from(SERVED_BYTES_PER_S) * i128::from(now.0.saturating_sub(level.at.0));
        level.left = level.left.saturating_add(gained).min(full);
        level.at = level.at.max(now);
        level
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn bytes(bytes: u64) -> usize {
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    #[test]
    fn a_peer_is_sent_the_burst_and_then_the_rate_and_others_are_not_concerned() {
        let mut allowance = Allowance::default();
        let (now, part) = (TimeNs(5 * SECOND), SERVED_BURST_BYTES / 16);
        for _ in 0..16 {
            assert_eq!(allowance.ask(1, now), Ok(()));
            allowance.sent(1, bytes(part), now);
        }
        assert_eq!(
            allowance.ask(1, now),
            Err(1),
            "the burst is used up to the last byte"
        );
        assert_eq!(allowance.ask(2, now), Ok(()));
        allowance.sent(1, bytes(part), now);
        let wait = allowance.ask(1, now).map_or_else(u64::from, |()| 0);
        assert_eq!(wait, 63, "a sixteenth of a second's bytes is owed");
        assert!(allowance.ask(1, TimeNs(now.0 + (wait - 1) * 1_000_000)).is_err());
        assert_eq!(allowance.ask(1, TimeNs(now.0 + wait * 1_000_000)), Ok(()));
    }

    #[test]
    fn ten_seconds_of_asking_bring_the_burst_and_ten_seconds_bytes() {
        for answer in [1, 300_000, 16 << 20] {
            let (mut allowance, mut sent) = (Allowance::default(), 0);
            for step in 0..200_000u64 {
                let now = TimeNs(step * SECOND / 20_000);
                if allowance.ask(7, now).is_ok() {
                    allowance.sent(7, bytes(answer), now);
                    sent += answer.max(SERVED_BYTES_MIN);
                }
            }
            let due = SERVED_BURST_BYTES + 10 * SERVED_BYTES_PER_S;
            assert!(sent <= due + answer, "{sent} bytes in answers of {answer}");
            assert!(answer < SERVED_BYTES_MIN || sent + answer >= due, "{sent} bytes");
        }
    }

    #[test]
    fn a_clock_that_runs_back_gives_nothing() {
        let mut allowance = Allowance::default();
        allowance.sent(1, bytes(SERVED_BURST_BYTES), TimeNs(9 * SECOND));
        assert!(allowance.ask(1, TimeNs(SECOND)).is_err());
        assert!(allowance.ask(1, TimeNs(9 * SECOND)).is_err());
        assert_eq!(allowance.ask(1, TimeNs(10 * SECOND)), Ok(()));
    }
}
