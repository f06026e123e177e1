//! Logarithms and decays in integers, the same on every processor.

/// Log2 of `value` in 1/256 steps, rounded down; of 0 it is 0.
#[inline]
pub(crate) fn log2(value: u128) -> i32 {
    // Where the upper half is empty, as nearly always, half the work does.
    if let Ok(value) = u64::try_from(value) {
        return log2_u64(value);
    }
    let exponent = value.ilog2();
    let whole = i32::try_from(exponent).unwrap_or(127) * 256;
    let mantissa = (value >> (exponent - 8)) & 0xff;
    whole + fraction(u64::try_from(mantissa).unwrap_or(0))
}

/// The same of fewer bits.
#[inline]
pub(super) fn log2_u64(value: u64) -> i32 {
    let value = value.max(1);
    let exponent = value.ilog2();
    let whole = i32::try_from(exponent).unwrap_or(63) * 256;
    whole + fraction(((value << (63 - exponent)) >> 55) & 0xff)
}

/// Of the eight bits after the leading one.
#[inline]
fn fraction(mantissa: u64) -> i32 {
    i32::from(LOG2_FRACTIONS[usize::try_from(mantissa & 0xff).unwrap_or(0)])
}

/// Log2 of 1 + `value`, in 1/256 steps.
#[inline]
pub(crate) fn log2_of_more(value: u128) -> i32 {
    log2(value.saturating_add(1))
}

/// [`log2_of_one_more`] of each: a loop without a branch, of which a compiler makes few instructions for many values.
#[inline(always)]
#[allow(clippy::inline_always, reason = "else it is compiled for the least processor")]
pub(super) fn log2s_of_one_more<const N: usize>(values: [u64; N]) -> [i32; N] {
    let mut logs = [0; N];
    for (log, value) in logs.iter_mut().zip(values) {
        *log = log2_of_one_more(value);
    }
    logs
}

/// Log2 of 1 + `value`, in 1/256 steps.
#[inline]
pub(super) fn log2_of_one_more(value: u64) -> i32 {
    log2_u64(value.saturating_add(1))
}

/// Significant decimal digits of `value`: those that are left without the zeros at the end.
#[inline]
pub(super) fn digits(value: u128) -> i32 {
    let digits = match u64::try_from(value) {
        Ok(0) => 0,
        Ok(small) => small.ilog10() + 1 - zeros_of(small),
        Err(_) => value.ilog10() + 1 - zeros_of_large(value),
    };
    i32::try_from(digits).unwrap_or(0)
}

fn zeros_of(mut value: u64) -> u32 {
    let mut zeros = 0;
    for (power, count) in [
        (10_000_000_000_000_000, 16),
        (100_000_000, 8),
        (10_000, 4),
        (100, 2),
        (10, 1),
    ] {
        if value.is_multiple_of(power) {
            value /= power;
            zeros += count;
        }
    }
    zeros
}

#[cold]
fn zeros_of_large(mut value: u128) -> u32 {
    let mut zeros = 0;
    while value.is_multiple_of(10) {
        value /= 10;
        zeros += 1;
    }
    zeros
}

/// A counter that loses half in every half life.
#[derive(Clone, Copy, Debug)]
pub(super) struct HalfLife {
    /// Half lives a tick, in 2^-24.
    per_tick: u64,
}

/// Seconds of a tick of the clock by which counters decay.
pub(super) const TICK_S: u64 = 64;
/// Of an hour.
pub(super) const HOUR: HalfLife = HalfLife::seconds(3_600);
/// Of a day.
pub(super) const DAY: HalfLife = HalfLife::seconds(86_400);
/// Of a week.
pub(super) const WEEK: HalfLife = HalfLife::seconds(604_800);

impl HalfLife {
    const fn seconds(seconds: u64) -> Self {
        Self {
            per_tick: (TICK_S << 24) / seconds,
        }
    }

    /// What is left of one after so many ticks, in 2^-32.
    #[inline]
    pub(super) fn left(self, ticks: u32) -> u64 {
        let halves = u64::from(ticks) * self.per_tick;
        let whole = halves >> 24;
        if whole >= 32 {
            return 0;
        }
        let step = usize::try_from(halves >> 16 & 0xff).unwrap_or(0);
        let (above, below) = (DECAYS[step], DECAYS[step + 1]);
        // Between two steps, linearly.
        let factor = above - (((above - below) * (halves & 0xffff)) >> 16);
        factor >> whole
    }
}

/// What is left of a counter, rounded down.
#[inline]
pub(super) fn decayed(counter: u32, left: u64) -> u32 {
    u32::try_from((u64::from(counter) * left) >> 32).unwrap_or(u32::MAX)
}

/// 256 × log2(1 + i/256), rounded down, for i in 0..256.
const LOG2_FRACTIONS: [u16; 256] = log2_fractions();
/// 2^(32 − i/256), rounded down, for i in 0..=256.
const DECAYS: [u64; 257] = decays();

const fn log2_fractions() -> [u16; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        // Squaring doubles the logarithm: each overflow over two is its next bit.
        let mut mantissa: u128 = (256 + at) << 54;
        let mut bits = 0;
        let mut bit = 0;
        while bit < 8 {
            mantissa = (mantissa * mantissa) >> 62;
            bits <<= 1;
            if mantissa >> 63 == 1 {
                mantissa >>= 1;
                bits |= 1;
            }
            bit += 1;
        }
        table[widened(at)] = bits;
        at += 1;
    }
    table
}

#[allow(clippy::as_conversions, reason = "below 256; TryFrom is not const")]
const fn widened(at: u128) -> usize {
    at as usize
}

const fn decays() -> [u64; 257] {
    // 2^(-1/256) in 2^-62: the eighth root by squares of a half.
    let mut root: u128 = 1 << 61;
    let mut squares = 0;
    while squares < 8 {
        root = (root << 62).isqrt();
        squares += 1;
    }
    let mut table = [0; 257];
    let mut factor: u128 = 1 << 62;
    let mut at = 0;
    while at < 257 {
        table[at] = low(factor >> 30);
        factor = (factor * root) >> 62;
        at += 1;
    }
    table
}

#[allow(clippy::as_conversions, reason = "at most 2^32; TryFrom is not const")]
const fn low(value: u128) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_those_of_the_textbook() {
        assert_eq!(
            [0, 1, 2, 3, 1000, u128::MAX].map(log2),
            [0, 0, 256, 405, 2551, 32767]
        );
    }

    #[test]
    fn digits_are_counted_without_the_zeros_at_the_end() {
        let large = 12 * 10_u128.pow(36);
        assert_eq!(
            [0, 1, 10, 1200, 1201, large, u128::MAX].map(digits),
            [0, 1, 1, 2, 4, 2, 39]
        );
    }

    #[test]
    fn half_is_left_after_a_half_life_and_nothing_after_many() {
        assert!(DAY.left(1350).abs_diff(1 << 31) < 1 << 17);
        assert!(WEEK.left(9450).abs_diff(1 << 31) < 1 << 20);
        assert_eq!(HOUR.left(0), 1 << 32);
        assert_eq!(HOUR.left(u32::MAX), 0);
    }
}
