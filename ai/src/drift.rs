//! Drift: whether scores are still spread as they were, and how far two models are apart.

use selfchain_types::codec::wide;
use selfchain_types::receipt::NOT_SCORED;

/// How often every score was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; SCORES],
    total: u64,
}

/// Scores that there are: 0 to 254.
pub const SCORES: usize = 255;

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: [0; SCORES],
            total: 0,
        }
    }
}

impl Histogram {
    /// Counts a score; what was not scored counts for nothing.
    pub fn add(&mut self, score: u8) {
        if let Some(count) = self.counts.get_mut(usize::from(score)) {
            *count += 1;
            self.total += 1;
        }
    }

    /// How often each score was given.
    pub fn counts(&self) -> &[u64; SCORES] {
        &self.counts
    }

    /// How many scores were given.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// How many were at most this.
    pub fn up_to(&self, score: u8) -> u64 {
        self.counts.iter().take(usize::from(score) + 1).sum()
    }

    /// All scores together.
    pub fn sum(&self) -> u64 {
        (0..).zip(&self.counts).map(|(score, count)| score * count).sum()
    }
}

/// The population stability index of `actual` against `expected`: Σ (a − e) ln(a / e) over ten bins that hold about a
/// tenth of what was expected each; an empty bin counts as half a score. Below 0.1 nothing has changed, above 0.25 much
/// has (Siddiqi, Credit Risk Scorecards, 2006). `None` where either is empty.
pub fn stability_index(expected: &Histogram, actual: &Histogram) -> Option<f64> {
    if expected.total == 0 || actual.total == 0 {
        return None;
    }
    let mut sum = 0.0;
    for (first, last) in bins(expected) {
        let (expected, actual) = (share(expected, first, last), share(actual, first, last));
        sum += (actual - expected) * (actual / expected).ln();
    }
    Some(sum)
}

const BINS: u64 = 10;

/// Ranges of scores, both ends included, with about equal shares.
fn bins(of: &Histogram) -> Vec<(usize, usize)> {
    let (mut bins, mut first, mut held, mut before) = (Vec::new(), 0, 0, 0);
    for (score, count) in of.counts.iter().enumerate() {
        held += count;
        let is_full = (before + held) * BINS >= of.total * (wide(bins.len()) + 1);
        if score + 1 == SCORES || is_full && held > 0 {
            bins.push((first, score));
            (first, before, held) = (score + 1, before + held, 0);
        }
    }
    bins
}

#[allow(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "a share; counts stay far below 2^53"
)]
fn share(of: &Histogram, first: usize, last: usize) -> f64 {
    let count: u64 = of.counts[first..=last].iter().sum();
    (count as f64).max(0.5) / of.total as f64
}

/// A model's scores as they go by: those of its first [`WINDOW`] are what later ones are expected to be like.
#[derive(Clone, Debug, Default)]
pub struct Drift {
    expected: Histogram,
    open: Histogram,
    last: Histogram,
    all: Histogram,
}

/// Scores that are compared at a time.
pub const WINDOW: u64 = 16_384;

impl Drift {
    /// Sees scores.
    pub fn see(&mut self, scores: &[u8]) {
        for score in scores.iter().copied().filter(|score| *score != NOT_SCORED) {
            self.all.add(score);
            if self.expected.total < WINDOW {
                self.expected.add(score);
                continue;
            }
            self.open.add(score);
            if self.open.total == WINDOW {
                self.last = core::mem::take(&mut self.open);
            }
        }
    }

    /// Every score so far.
    pub fn all(&self) -> &Histogram {
        &self.all
    }

    /// The stability index of the last whole window against the first; `None` before there are two.
    pub fn index(&self) -> Option<f64> {
        stability_index(&self.expected, &self.last)
    }
}

/// Two models on the same transfers.
#[derive(Clone, Debug, Default)]
pub struct Shadowing {
    /// The deciding model's scores.
    pub deciding: Histogram,
    /// The shadow's, over the same transfers.
    pub shadow: Histogram,
    /// Transfers that only the deciding model would have held or refused.
    pub only_deciding: u64,
    /// Transfers that only the shadow would have.
    pub only_shadow: u64,
    /// Transfers that both would have.
    pub both: u64,
    /// By how many steps the scores differ, all together.
    pub apart: u64,
}

impl Shadowing {
    /// Sees the scores of the same transfers; from `threshold` on the policy does something.
    pub fn see(&mut self, deciding: &[u8], shadow: &[u8], threshold: u8) {
        let pairs = deciding.iter().zip(shadow);
        for (one, other) in pairs.filter(|(one, other)| **one != NOT_SCORED && **other != NOT_SCORED) {
            self.deciding.add(*one);
            self.shadow.add(*other);
            self.apart += u64::from(one.abs_diff(*other));
            match (*one >= threshold, *other >= threshold) {
                (true, true) => self.both += 1,
                (true, false) => self.only_deciding += 1,
                (false, true) => self.only_shadow += 1,
                (false, false) => {}
            }
        }
    }

    /// The stability index of the shadow's scores against the deciding model's.
    pub fn index(&self) -> Option<f64> {
        stability_index(&self.deciding, &self.shadow)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn histogram(scores: impl IntoIterator<Item = u8>) -> Histogram {
        let mut histogram = Histogram::default();
        scores.into_iter().for_each(|score| histogram.add(score));
        histogram
    }

    #[test]
    fn what_was_not_scored_counts_for_nothing() {
        let histogram = histogram([3, 255, 3, 254]);
        assert_eq!(
            (histogram.total(), histogram.counts()[3], histogram.up_to(3)),
            (3, 2, 2)
        );
        assert_eq!(histogram.sum(), 260);
    }

    #[test]
    fn equal_spreads_have_an_index_of_zero_and_different_ones_a_large_one() {
        let even = histogram((0..=254).flat_map(|score| [score; 4]));
        assert_eq!(stability_index(&even, &even), Some(0.0));
        let high = histogram((0..1000_u16).map(|at| 200 + u8::try_from(at % 50).unwrap()));
        assert!(stability_index(&even, &high).unwrap() > 1.0);
        assert_eq!(stability_index(&even, &Histogram::default()), None);
        assert_eq!(stability_index(&Histogram::default(), &even), None);
    }

    #[test]
    fn the_index_is_that_of_the_book() {
        // Two scores, each a bin of its own: (0.6 − 0.5) ln(0.6 / 0.5) + (0.4 − 0.5) ln(0.4 / 0.5).
        let expected = histogram([10, 20].repeat(50));
        let actual = histogram([vec![10; 60], vec![20; 40]].concat());
        let index = stability_index(&expected, &actual).unwrap();
        assert!((index - 0.040_546_5).abs() < 1e-6, "{index}");
    }

    #[test]
    fn a_model_drifts_when_its_last_window_is_unlike_its_first() {
        let mut drift = Drift::default();
        let window = usize::try_from(WINDOW).unwrap();
        drift.see(&vec![100; window]);
        assert_eq!(drift.index(), None);
        drift.see(&vec![100; window - 1]);
        assert_eq!(drift.index(), None, "the second window is not whole");
        drift.see(&[100]);
        assert_eq!(drift.index(), Some(0.0));
        drift.see(&vec![180; window]);
        assert!(drift.index().unwrap() > 1.0);
        assert_eq!(drift.all().total(), 3 * WINDOW);
    }

    #[test]
    fn two_models_are_told_apart_by_what_would_have_been_held() {
        let mut both = Shadowing::default();
        both.see(&[10, 200, 200, 10, 255], &[10, 200, 10, 201, 9], 150);
        assert_eq!((both.both, both.only_deciding, both.only_shadow), (1, 1, 1));
        assert_eq!((both.apart, both.shadow.total()), (190 + 191, 4));
    }
}
