//! Counts, seconds and ratios turned into each other, in one place because these conversions round.
#![allow(
    clippy::as_conversions,
    reason = "f64 and integers have no `From` for each other; every conversion here saturates or rounds"
)]

use std::time::Duration;

/// `count` as a float, exact up to 2^53.
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

/// `value` rounded towards zero; negative values and NaN give 0, values past the range its end.
pub(crate) fn whole(value: f64) -> u64 {
    value as u64
}

/// `len` as a `u64`: no supported machine has wider addresses.
pub(crate) fn count(len: usize) -> u64 {
    len as u64
}

/// Nanoseconds of `duration`, saturating (584 years).
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds as milliseconds.
pub(crate) fn milliseconds(nanoseconds: u64) -> f64 {
    float(nanoseconds) / 1e6
}

/// How many a second; 0 for an empty interval.
pub(crate) fn per_second(count: u64, elapsed: Duration) -> f64 {
    ratio(float(count), elapsed.as_secs_f64())
}

/// `part / whole`, and 0 where `whole` is 0, so that no report holds a NaN.
pub(crate) fn ratio(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_saturate_instead_of_wrapping() {
        assert_eq!(whole(-1.0), 0);
        assert_eq!(whole(f64::NAN), 0);
        assert_eq!(whole(1e30), u64::MAX);
        assert_eq!(nanoseconds(Duration::MAX), u64::MAX);
    }

    #[test]
    fn nothing_divided_by_no_time_is_nothing() {
        assert_eq!(per_second(5, Duration::ZERO), 0.0);
        assert_eq!(per_second(5, Duration::from_secs(2)), 2.5);
    }
}
