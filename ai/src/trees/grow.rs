//! Grows one symmetric tree: level by level, the question that helps all leaves most.

use super::bins::{Bins, THRESHOLDS_MAX};
use super::symmetric::{DEPTH, LEAVES, Tree};
use crate::features::{FEATURE_COUNT, Row};
use crate::score::LogOdds;
use rayon::prelude::*;
use selfchain_types::codec::index;

/// Rows as columns of bins, one column a feature.
pub(super) struct Columns {
    bins: Vec<Vec<u8>>,
    /// How many bins a feature has.
    counts: [usize; FEATURE_COUNT],
}

impl Columns {
    pub(super) fn new(bins: &Bins, rows: &[Row]) -> Self {
        let column = |feature: usize| rows.iter().map(|row| bins.bin(feature, row.0[feature])).collect();
        Self {
            bins: (0..FEATURE_COUNT).into_par_iter().map(column).collect(),
            counts: core::array::from_fn(|feature| bins.thresholds(feature).len() + 1),
        }
    }

    /// The leaf of a row.
    pub(super) fn leaf(&self, tree: &Tree, row: usize) -> usize {
        let answers = tree.features.iter().zip(&tree.bins).enumerate();
        answers.fold(0, |leaf, (level, (feature, bin))| {
            let is_higher = self.bins[usize::from(*feature)][row] > *bin;
            leaf | usize::from(is_higher) << level
        })
    }
}

/// First and second derivative of the loss by a row's log-odds, in steps of 2^-30; or sums of them. Integers: sums are
/// exact, so that the sums of one half of a leaf are those of the leaf less those of the other half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    first: i64,
    second: i64,
}

impl Sums {
    /// Of one row: derivatives between −1 and 1. As many rows as have numbers add up to less than an `i64` holds.
    #[allow(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        reason = "clamped to what an i64 holds"
    )]
    pub(super) fn of(first: f64, second: f64) -> Self {
        let steps = |slope: f64| (slope.clamp(-1.0, 1.0) * SLOPE_ONE).round() as i64;
        Self {
            first: steps(first),
            second: steps(second),
        }
    }

    fn add(&mut self, other: Self) {
        self.first += other.first;
        self.second += other.second;
    }

    fn less(self, other: Self) -> Self {
        Self {
            first: self.first - other.first,
            second: self.second - other.second,
        }
    }

    #[allow(
        clippy::as_conversions,
        clippy::cast_precision_loss,
        reason = "a double tells sums over millions of rows apart"
    )]
    fn real(self) -> (f64, f64) {
        (self.first as f64 / SLOPE_ONE, self.second as f64 / SLOPE_ONE)
    }

    /// By how much the best value of a leaf lowers the loss, times two.
    fn gain(self, ridge: f64) -> f64 {
        let (first, second) = self.real();
        first * first / (second + ridge)
    }
}

/// What a tree is grown from.
pub(super) struct Soil<'a> {
    pub(super) columns: &'a Columns,
    /// Of every row.
    pub(super) slopes: &'a [Sums],
    /// The rows that this tree looks at, ascending.
    pub(super) rows: &'a [u32],
    /// The features that it may ask for, ascending.
    pub(super) features: &'a [usize],
    /// Added to every sum of second derivatives: it keeps small leaves near zero.
    pub(super) ridge: f64,
    /// What a leaf's best value is multiplied with.
    pub(super) rate: f64,
}

/// A question, and by how much it lowers the loss.
#[derive(Clone, Copy, Debug)]
struct Question {
    gain: f64,
    feature: usize,
    bin: u8,
}

/// Sums by leaf and bin of one feature: those of a leaf are [`BIN_COUNT`] neighbours.
type Histogram = Vec<Sums>;

impl Soil<'_> {
    /// The tree; `None` when no question tells rows apart.
    pub(super) fn grow(&self) -> Option<Tree> {
        let mut leaves = vec![0_u8; self.rows.len()];
        let mut histograms = self.histograms_of_all();
        let mut tree = Tree {
            features: [0; DEPTH],
            bins: [u8::MAX; DEPTH],
            leaves: [0; LEAVES],
        };
        for level in 0..DEPTH {
            let Some(best) = self.best_question(&histograms) else {
                break;
            };
            tree.features[level] = u8::try_from(best.feature).expect("a row has fewer than 256 features");
            tree.bins[level] = best.bin;
            let column = &self.columns.bins[best.feature];
            for (leaf, row) in leaves.iter_mut().zip(self.rows) {
                *leaf |= u8::from(column[index(*row)] > best.bin) << level;
            }
            if level + 1 < DEPTH {
                self.halve(&mut histograms, &leaves, 1 << level);
            }
        }
        self.fill_leaves(&mut tree, &leaves);
        tree.leaves.iter().any(|leaf| *leaf != 0).then_some(tree)
    }

    /// Of the one leaf that all rows are in, feature by feature.
    fn histograms_of_all(&self) -> Vec<Histogram> {
        let slopes: Vec<Sums> = self.rows.iter().map(|row| self.slopes[index(*row)]).collect();
        let of = |feature: &usize| {
            let mut histogram = vec![Sums::default(); BIN_COUNT];
            let column = &self.columns.bins[*feature];
            for (row, slopes) in self.rows.iter().zip(&slopes) {
                histogram[usize::from(column[index(*row)])].add(*slopes);
            }
            histogram
        };
        self.features.par_iter().map(of).collect()
    }

    /// From histograms of `count` leaves to those of twice as many, by the answers in bit `count` of `leaves`. Of each
    /// two halves only the one with fewer rows is looked at; the other is what is left.
    fn halve(&self, histograms: &mut [Histogram], leaves: &[u8], count: usize) {
        let mut sizes = [0_usize; LEAVES];
        leaves.iter().for_each(|leaf| sizes[usize::from(*leaf)] += 1);
        let is_small: [bool; LEAVES] = core::array::from_fn(|leaf| {
            let sibling = leaf ^ count;
            sizes[leaf] < sizes[sibling] || (sizes[leaf] == sizes[sibling] && leaf < sibling)
        });
        let some: Vec<(u32, usize, Sums)> = leaves
            .iter()
            .zip(self.rows)
            .filter(|(leaf, _)| is_small[usize::from(**leaf)])
            .map(|(leaf, row)| (*row, usize::from(*leaf) * BIN_COUNT, self.slopes[index(*row)]))
            .collect();
        let halve = |(feature, histogram): (&usize, &mut Histogram)| {
            let whole = core::mem::replace(histogram, vec![Sums::default(); 2 * count * BIN_COUNT]);
            let column = &self.columns.bins[*feature];
            for (row, start, slopes) in &some {
                histogram[start + usize::from(column[index(*row)])].add(*slopes);
            }
            let (low, high) = histogram.split_at_mut(count * BIN_COUNT);
            let halves = low
                .chunks_exact_mut(BIN_COUNT)
                .zip(high.chunks_exact_mut(BIN_COUNT));
            for ((leaf, (low, high)), whole) in halves.enumerate().zip(whole.chunks_exact(BIN_COUNT)) {
                let (small, large) = if is_small[leaf] { (low, high) } else { (high, low) };
                for ((large, small), whole) in large.iter_mut().zip(small).zip(whole) {
                    *large = whole.less(*small);
                }
            }
        };
        self.features
            .par_iter()
            .zip(histograms.par_iter_mut())
            .for_each(halve);
    }

    /// The question with the greatest gain; of equals, the first feature's.
    fn best_question(&self, histograms: &[Histogram]) -> Option<Question> {
        let by_feature: Vec<Option<Question>> = self
            .features
            .par_iter()
            .zip(histograms)
            .map(|(feature, histogram)| self.best_bin(*feature, histogram))
            .collect();
        let better = |best: Question, next: Question| if next.gain > best.gain { next } else { best };
        by_feature.into_iter().flatten().reduce(better)
    }

    fn best_bin(&self, feature: usize, histogram: &[Sums]) -> Option<Question> {
        // Above the last threshold there is nothing to tell apart.
        let count = self.columns.counts[feature];
        let mut gains = [0.0; BIN_COUNT];
        let mut before = 0.0;
        for bins in histogram.chunks_exact(BIN_COUNT) {
            let mut all = Sums::default();
            bins[..count].iter().for_each(|bin| all.add(*bin));
            if all == Sums::default() {
                continue;
            }
            before += all.gain(self.ridge);
            let mut below = Sums::default();
            for (gain, bin) in gains.iter_mut().zip(&bins[..count - 1]) {
                below.add(*bin);
                *gain += below.gain(self.ridge) + all.less(below).gain(self.ridge);
            }
        }
        let least = before + GAIN_MIN;
        let found = (0..=u8::MAX).zip(gains).take(count - 1);
        let found = found.filter(|(_, gain)| *gain > least);
        let (bin, gain) = found.reduce(|best, next| if next.1 > best.1 { next } else { best })?;
        Some(Question {
            gain: gain - before,
            feature,
            bin,
        })
    }

    /// A Newton step for every leaf.
    fn fill_leaves(&self, tree: &mut Tree, leaves: &[u8]) {
        let mut sums = [Sums::default(); LEAVES];
        for (leaf, row) in leaves.iter().zip(self.rows) {
            sums[usize::from(*leaf)].add(self.slopes[index(*row)]);
        }
        for (leaf, sum) in tree.leaves.iter_mut().zip(sums) {
            let (first, second) = sum.real();
            let step = -self.rate * first / (second + self.ridge);
            *leaf = LogOdds::from_real(step.clamp(-STEP_MAX, STEP_MAX)).0;
        }
    }
}

const BIN_COUNT: usize = THRESHOLDS_MAX + 1;
/// A derivative of 1: 2^30.
const SLOPE_ONE: f64 = 1_073_741_824.0;
/// A question that gains less tells nothing but rounding apart.
const GAIN_MIN: f64 = 1e-9;
/// The longest step of a leaf, in log-odds.
const STEP_MAX: f64 = 4.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn halved_histograms_are_those_that_counting_anew_gives() {
        let mut random = Random::new(7);
        let mut below = |most: u64| i32::try_from(random.next() % most).expect("small");
        let rows: Vec<Row> = (0..500)
            .map(|_| Row([0; FEATURE_COUNT].map(|_| below(90))))
            .collect();
        let labels: Vec<bool> = rows.iter().map(|row| row.0[3] > 80).collect();
        let slopes: Vec<Sums> = (0..500)
            .map(|_| {
                Sums::of(
                    f64::from(below(2000) - 1000) / 1000.0,
                    f64::from(below(250)) / 1000.0,
                )
            })
            .collect();
        let columns = Columns::new(&Bins::of(&rows, &labels, 20), &rows);
        let soil = Soil {
            columns: &columns,
            slopes: &slopes,
            rows: &(0..500).filter(|row| row % 5 != 0).collect::<Vec<u32>>(),
            features: &[1, 3, 39],
            ridge: 1.0,
            rate: 0.1,
        };
        let mut leaves = vec![0_u8; soil.rows.len()];
        let mut histograms = soil.histograms_of_all();
        for level in 0..DEPTH - 1 {
            // Leaves of very different sizes, some of them empty.
            for (leaf, row) in leaves.iter_mut().zip(soil.rows) {
                *leaf |= u8::from(rows[index(*row)].0[level] > 70) << level;
            }
            soil.halve(&mut histograms, &leaves, 1 << level);
            for (feature, histogram) in soil.features.iter().zip(&histograms) {
                let mut anew = vec![Sums::default(); (2 << level) * BIN_COUNT];
                for (leaf, row) in leaves.iter().zip(soil.rows) {
                    let bin = usize::from(columns.bins[*feature][index(*row)]);
                    anew[usize::from(*leaf) * BIN_COUNT + bin].add(slopes[index(*row)]);
                }
                assert!(*histogram == anew, "feature {feature}, level {level}");
            }
        }
    }
}
