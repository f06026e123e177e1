//! Grows one symmetric tree: level by level, the question that helps all leaves most.

use super::bins::{Bins, THRESHOLDS_MAX};
use super::symmetric::{DEPTH, LEAVES, Tree};
use crate::features::{FEATURE_COUNT, Row};
use crate::score::LogOdds;
use rayon::prelude::*;
use selfchain_types::codec::index;

/// Rows as columns of bins, one column a feature.
pub(super) struct Columns(Vec<Vec<u8>>);

impl Columns {
    pub(super) fn new(bins: &Bins, rows: &[Row]) -> Self {
        let column = |feature: usize| rows.iter().map(|row| bins.bin(feature, row.0[feature])).collect();
        Self((0..FEATURE_COUNT).into_par_iter().map(column).collect())
    }

    /// The leaf of a row.
    pub(super) fn leaf(&self, tree: &Tree, row: usize) -> usize {
        let answers = tree.features.iter().zip(&tree.bins).enumerate();
        answers.fold(0, |leaf, (level, (feature, bin))| {
            let is_higher = self.0[usize::from(*feature)][row] > *bin;
            leaf | usize::from(is_higher) << level
        })
    }
}

/// First and second derivatives of the loss by each row's log-odds.
pub(super) struct Slopes {
    pub(super) first: Vec<f32>,
    pub(super) second: Vec<f32>,
}

/// What a tree is grown from.
pub(super) struct Soil<'a> {
    pub(super) columns: &'a Columns,
    pub(super) slopes: &'a Slopes,
    /// The rows that this tree looks at, ascending.
    pub(super) rows: &'a [u32],
    /// The features that it may ask for, ascending.
    pub(super) features: &'a [usize],
    /// Added to every sum of second derivatives: it keeps small leaves near zero.
    pub(super) ridge: f64,
    /// What a leaf's best value is multiplied with.
    pub(super) rate: f64,
}

/// Sums of first and second derivatives.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    first: f64,
    second: f64,
}

impl Sums {
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

    /// By how much the best value of a leaf lowers the loss, times two.
    fn gain(self, ridge: f64) -> f64 {
        self.first * self.first / (self.second + ridge)
    }
}

/// A question, and by how much it lowers the loss.
#[derive(Clone, Copy, Debug)]
struct Question {
    gain: f64,
    feature: usize,
    bin: u8,
}

impl Soil<'_> {
    /// The tree; `None` when no question tells rows apart.
    pub(super) fn grow(&self) -> Option<Tree> {
        let mut leaves = vec![0_u8; self.rows.len()];
        let mut tree = Tree {
            features: [0; DEPTH],
            bins: [u8::MAX; DEPTH],
            leaves: [0; LEAVES],
        };
        for level in 0..DEPTH {
            let Some(best) = self.best_question(&leaves, 1 << level) else {
                break;
            };
            tree.features[level] = u8::try_from(best.feature).expect("a row has fewer than 256 features");
            tree.bins[level] = best.bin;
            let column = &self.columns.0[best.feature];
            for (leaf, row) in leaves.iter_mut().zip(self.rows) {
                *leaf |= u8::from(column[index(*row)] > best.bin) << level;
            }
        }
        self.fill_leaves(&mut tree, &leaves);
        tree.leaves.iter().any(|leaf| *leaf != 0).then_some(tree)
    }

    /// The question with the greatest gain; of equals, the first feature's.
    fn best_question(&self, leaves: &[u8], count: usize) -> Option<Question> {
        let by_feature: Vec<Option<Question>> = self
            .features
            .par_iter()
            .map(|feature| self.best_bin(*feature, leaves, count))
            .collect();
        let better = |best: Question, next: Question| if next.gain > best.gain { next } else { best };
        by_feature.into_iter().flatten().reduce(better)
    }

    fn best_bin(&self, feature: usize, leaves: &[u8], count: usize) -> Option<Question> {
        let sums = self.sums_by_bin(feature, leaves, count);
        let mut gains = [0.0; THRESHOLDS_MAX];
        let mut before = 0.0;
        for bins in sums.chunks_exact(BIN_COUNT) {
            let mut all = Sums::default();
            bins.iter().for_each(|bin| all.add(*bin));
            before += all.gain(self.ridge);
            let mut below = Sums::default();
            for (gain, bin) in gains.iter_mut().zip(bins) {
                below.add(*bin);
                *gain += below.gain(self.ridge) + all.less(below).gain(self.ridge);
            }
        }
        let least = before + GAIN_MIN;
        let found = (0..=u8::MAX).zip(gains).filter(|(_, gain)| *gain > least);
        let (bin, gain) = found.reduce(|best, next| if next.1 > best.1 { next } else { best })?;
        Some(Question {
            gain: gain - before,
            feature,
            bin,
        })
    }

    fn sums_by_bin(&self, feature: usize, leaves: &[u8], count: usize) -> Vec<Sums> {
        let mut sums = vec![Sums::default(); count * BIN_COUNT];
        let column = &self.columns.0[feature];
        for (leaf, row) in leaves.iter().zip(self.rows) {
            let row = index(*row);
            let at = usize::from(*leaf) * BIN_COUNT + usize::from(column[row]);
            sums[at].add(self.slopes_of(row));
        }
        sums
    }

    fn slopes_of(&self, row: usize) -> Sums {
        Sums {
            first: self.slopes.first[row].into(),
            second: self.slopes.second[row].into(),
        }
    }

    /// A Newton step for every leaf.
    fn fill_leaves(&self, tree: &mut Tree, leaves: &[u8]) {
        let mut sums = [Sums::default(); LEAVES];
        for (leaf, row) in leaves.iter().zip(self.rows) {
            sums[usize::from(*leaf)].add(self.slopes_of(index(*row)));
        }
        for (leaf, sum) in tree.leaves.iter_mut().zip(sums) {
            let step = -self.rate * sum.first / (sum.second + self.ridge);
            *leaf = LogOdds::from_real(step.clamp(-STEP_MAX, STEP_MAX)).0;
        }
    }
}

const BIN_COUNT: usize = THRESHOLDS_MAX + 1;
/// A question that gains less tells nothing but rounding apart.
const GAIN_MIN: f64 = 1e-9;
/// The longest step of a leaf, in log-odds.
const STEP_MAX: f64 = 4.0;
