//! A distribution that any thread records into without waiting, and that hdrhistogram reads.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use hdrhistogram::Histogram;

/// How values are spread: how often each was seen, to 0.8 %. 36 KiB.
///
/// Recording is one or two relaxed additions and never waits. A snapshot taken while others record may miss
/// what is being recorded, and nothing else.
pub struct Distribution {
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
    max: AtomicU64,
}

impl Default for Distribution {
    fn default() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
            max: AtomicU64::new(0),
        }
    }
}

impl Distribution {
    /// Counts one value. Latencies are in ns; one past 73 minutes counts as 73 minutes.
    pub fn record(&self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts the same value `n` times, as for all the transactions of one block.
    pub fn record_n(&self, value: u64, n: u64) {
        let value = value.min(VALUE_MAX);
        self.buckets[bucket_of(value)].fetch_add(n, Ordering::Relaxed);
        self.sum.fetch_add(value.saturating_mul(n), Ordering::Relaxed);
        if value > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(value, Ordering::Relaxed);
        }
    }

    /// All that was recorded so far.
    pub fn snapshot(&self) -> DistributionSnapshot {
        let mut counts = empty();
        for (at, bucket) in self.buckets.iter().enumerate() {
            let n = bucket.load(Ordering::Relaxed);
            if n > 0 {
                counts.saturating_record_n(lowest_of(at), n);
            }
        }
        DistributionSnapshot {
            counts,
            sum: self.sum.load(Ordering::Relaxed),
            max: Some(self.max.load(Ordering::Relaxed)),
        }
    }
}

impl fmt::Debug for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.snapshot();
        write!(
            f,
            "Distribution(count {}, max {})",
            snapshot.count(),
            snapshot.max()
        )
    }
}

/// A distribution as it was at one moment, or between two.
#[derive(Clone, Debug)]
pub struct DistributionSnapshot {
    counts: Histogram<u64>,
    sum: u64,
    /// The exact largest value; not known of a difference.
    max: Option<u64>,
}

impl DistributionSnapshot {
    /// Values counted.
    pub fn count(&self) -> u64 {
        self.counts.len()
    }

    /// Their sum.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The value that `quantile` (0 to 1) of the values do not exceed; 0 of nothing.
    pub fn quantile(&self, quantile: f64) -> u64 {
        self.counts.value_at_quantile(quantile).min(self.max())
    }

    /// The largest value; 0 of nothing.
    pub fn max(&self) -> u64 {
        self.max.unwrap_or_else(|| self.counts.max())
    }

    /// What came after `earlier`, a snapshot of the same distribution.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut counts = empty();
        for value in self.counts.iter_recorded() {
            let at = value.value_iterated_to();
            let n = self
                .counts
                .count_at(at)
                .saturating_sub(earlier.counts.count_at(at));
            if n > 0 {
                counts.saturating_record_n(at, n);
            }
        }
        Self {
            counts,
            sum: self.sum.saturating_sub(earlier.sum),
            max: None,
        }
    }

    /// The counts, for whoever wants more than this type says.
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.counts
    }
}

fn empty() -> Histogram<u64> {
    // Two digits are 256 buckets below 2 · 128 and 128 a doubling: the layout above, bucket for bucket.
    Histogram::new_with_bounds(1, VALUE_MAX, 2).expect("constant bounds that hdrhistogram allows")
}

fn bucket_of(value: u64) -> usize {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(SUB_BITS + 1);
    index(u64::from(shift) * SUB + (value >> shift))
}

fn lowest_of(bucket: usize) -> u64 {
    let bucket = u64::try_from(bucket).unwrap_or(u64::MAX);
    let shift = (bucket / SUB).saturating_sub(1);
    (bucket - shift * SUB) << shift
}

fn index(bucket: u64) -> usize {
    usize::try_from(bucket).expect("a bucket's number is below BUCKETS")
}

/// Buckets in a doubling: 2^7 = 128.
const SUB_BITS: u32 = 7;
const SUB: u64 = 1 << SUB_BITS;
/// The largest value that is told apart: 2^42 − 1.
const VALUE_BITS: u32 = 42;
const VALUE_MAX: u64 = (1 << VALUE_BITS) - 1;
/// 256 exact values, and 128 buckets for each of the 34 doublings above.
const BUCKETS: usize = (2 + 34) * 128;

#[cfg(test)]
#[allow(clippy::as_conversions, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_the_bucket_that_begins_at_or_just_below_it() {
        assert_eq!(bucket_of(VALUE_MAX), BUCKETS - 1);
        for value in
            (0..100_000).chain((8..VALUE_BITS).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1]))
        {
            let lowest = lowest_of(bucket_of(value));
            assert!(
                lowest <= value && value - lowest <= value / SUB,
                "{value}: {lowest}"
            );
            assert_eq!(bucket_of(lowest), bucket_of(value));
        }
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let distribution = Distribution::default();
        for value in 1..=10_000u64 {
            distribution.record(value * 1_000);
        }
        let all = distribution.snapshot();
        assert_eq!((all.count(), all.max()), (10_000, 10_000_000));
        assert_eq!(all.sum(), 10_000 * 10_001 / 2 * 1_000);
        for (quantile, want) in [
            (0.5, 5_000_000),
            (0.99, 9_900_000),
            (0.999, 9_990_000),
            (1.0, 10_000_000),
        ] {
            let got = all.quantile(quantile);
            assert!(got.abs_diff(want) <= want / 100, "{quantile}: {got}, not {want}");
        }
    }

    #[test]
    fn a_difference_holds_what_came_after() {
        let distribution = Distribution::default();
        distribution.record_n(5, 3);
        let earlier = distribution.snapshot();
        distribution.record(1_000_000);
        let since = distribution.snapshot().since(&earlier);
        assert_eq!((since.count(), since.sum()), (1, 1_000_000));
        assert!(since.quantile(0.0).abs_diff(1_000_000) < 10_000);
        assert!(since.max().abs_diff(1_000_000) < 10_000);
    }

    #[test]
    fn nothing_recorded_is_zero_and_a_huge_value_is_the_largest() {
        let distribution = Distribution::default();
        assert_eq!(distribution.snapshot().quantile(0.99), 0);
        distribution.record(u64::MAX);
        assert_eq!(distribution.snapshot().max(), VALUE_MAX);
    }
}
