//! Symmetric trees: every level asks one question of all rows, so that many rows are scored side by side.
//!
//! The shape is that of "oblivious" trees (Prokhorenkova et al. 2018, "CatBoost: unbiased boosting with
//! categorical features"): a row's leaf is a number whose bits are the answers.

use super::bins::Bins;
use super::lanes;
use crate::features::{FEATURE_COUNT, Row};
use crate::model::Predict;
use crate::score::{LOG_ODDS_MAX, LogOdds};
use selfchain_types::Operation;
use thiserror::Error;

/// Questions of a tree.
pub const DEPTH: usize = 6;
/// Leaves of a tree.
pub const LEAVES: usize = 1 << DEPTH;
/// Most trees of a model.
pub const TREES_MAX: usize = 8_192;
/// What all leaves of a path may add up to, in steps of [`LogOdds`]: sums stay within an `i32`.
pub const SUM_MAX: i64 = 1 << 30;

/// One tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tree {
    /// The feature that each level asks for.
    pub features: [u8; DEPTH],
    /// The bin that each level compares with: a higher bin sets the level's bit.
    pub bins: [u8; DEPTH],
    /// What a row in a leaf adds, in steps of [`LogOdds`].
    pub leaves: [i32; LEAVES],
}

/// A sum of symmetric trees. Bit-exact: integers only.
#[derive(Clone, Debug)]
pub struct Symmetric {
    bins: Bins,
    trees: Vec<Tree>,
    base: i32,
    typical: Row,
}

/// Why parts are not a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SymmetricError {
    /// Too many trees.
    #[error("{got} trees, at most {TREES_MAX} are allowed")]
    TooMany {
        /// How many.
        got: usize,
    },
    /// A tree asks for a feature that rows do not have.
    #[error("tree {tree} asks for feature {feature}, where a row has {FEATURE_COUNT}")]
    Feature {
        /// The tree.
        tree: usize,
        /// The feature.
        feature: u8,
    },
    /// Models that are to be averaged tell values apart in other places, or there are none.
    #[error("models are averaged where there are some, and all have the same thresholds")]
    Average,
    /// The leaves could add up to more than a sum holds.
    #[error("the leaves add up to {sum} steps of log-odds, at most {SUM_MAX} are allowed")]
    Sum {
        /// The greatest sum.
        sum: i64,
    },
}

impl Symmetric {
    /// Puts a model together. `typical` is what explanations compare rows with.
    ///
    /// # Errors
    /// [`SymmetricError`].
    pub fn new(bins: Bins, trees: Vec<Tree>, base: i32, typical: Row) -> Result<Self, SymmetricError> {
        if trees.len() > TREES_MAX {
            return Err(SymmetricError::TooMany { got: trees.len() });
        }
        let mut sum = i64::from(base).abs();
        for (at, tree) in trees.iter().enumerate() {
            if let Some(feature) = tree
                .features
                .iter()
                .copied()
                .find(|feature| usize::from(*feature) >= FEATURE_COUNT)
            {
                return Err(SymmetricError::Feature { tree: at, feature });
            }
            let greatest = tree.leaves.iter().map(|leaf| i64::from(*leaf).abs()).max();
            sum += greatest.unwrap_or(0);
        }
        if sum > SUM_MAX {
            return Err(SymmetricError::Sum { sum });
        }
        Ok(Self {
            bins,
            trees,
            base,
            typical,
        })
    }

    /// The mean of models with the same thresholds, as those of several seeds over the same rows: all their trees, with
    /// leaves divided.
    ///
    /// # Errors
    /// [`SymmetricError`].
    pub fn averaged(models: &[Self]) -> Result<Self, SymmetricError> {
        let Some((first, others)) = models.split_first() else {
            return Err(SymmetricError::Average);
        };
        let thresholds = |model: &Self, feature| model.bins.thresholds(feature).to_vec();
        let is_same =
            |other: &Self| (0..FEATURE_COUNT).all(|at| thresholds(first, at) == thresholds(other, at));
        if !others.iter().all(is_same) {
            return Err(SymmetricError::Average);
        }
        let count = i32::try_from(models.len()).map_err(|_| SymmetricError::Average)?;
        let mean = models.iter().map(|model| i64::from(model.base)).sum::<i64>() / i64::from(count);
        let trees = models.iter().flat_map(|model| &model.trees).map(|tree| Tree {
            leaves: tree.leaves.map(|leaf| leaf / count),
            ..*tree
        });
        let base = i32::try_from(mean).map_err(|_| SymmetricError::Average)?;
        Self::new(first.bins.clone(), trees.collect(), base, first.typical)
    }

    /// Where values are told apart.
    pub fn bins(&self) -> &Bins {
        &self.bins
    }

    /// The trees, in the order they were grown.
    pub fn trees(&self) -> &[Tree] {
        &self.trees
    }

    /// The log-odds that every row begins with.
    pub fn base(&self) -> i32 {
        self.base
    }
}

impl Predict for Symmetric {
    fn log_odds(&self, rows: &[Row], _: &[&Operation], out: &mut Vec<LogOdds>) {
        let mut sums = Vec::with_capacity(rows.len());
        lanes::sums(&self.bins, &self.trees, self.base, rows, &mut sums);
        let clamped = sums
            .iter()
            .map(|sum| LogOdds((*sum).clamp(-LOG_ODDS_MAX, LOG_ODDS_MAX)));
        out.extend(clamped);
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn typical(&self) -> &Row {
        &self.typical
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bins() -> Bins {
        let thresholds = (0..FEATURE_COUNT).map(|_| vec![-100, 0, 100, 1000]).collect();
        Bins::new(thresholds).unwrap()
    }

    fn tree(features: [u8; DEPTH]) -> Tree {
        let leaves = core::array::from_fn(|leaf| i32::try_from(leaf).unwrap() * 1000);
        Tree {
            features,
            bins: [1; DEPTH],
            leaves,
        }
    }

    fn model(trees: Vec<Tree>) -> Result<Symmetric, SymmetricError> {
        Symmetric::new(bins(), trees, -500, Row([0; FEATURE_COUNT]))
    }

    /// One row after the other, a question at a time.
    fn plainly(model: &Symmetric, row: &Row) -> i32 {
        let leaf = |tree: &Tree| {
            (0..DEPTH).fold(0, |leaf, level| {
                let feature = usize::from(tree.features[level]);
                let answer = model.bins.bin(feature, row.0[feature]) > tree.bins[level];
                leaf + (usize::from(answer) << level)
            })
        };
        let sum: i32 = model.trees.iter().map(|tree| tree.leaves[leaf(tree)]).sum();
        model.base + sum
    }

    #[test]
    fn a_leaf_is_the_number_that_the_answers_write() {
        let model = model(vec![tree([0, 1, 2, 3, 4, 5])]).unwrap();
        let mut row = Row([0; FEATURE_COUNT]);
        row.0[1] = 1;
        row.0[4] = 101;
        let mut out = Vec::new();
        model.log_odds(&[row], &[], &mut out);
        assert_eq!(out, [LogOdds(-500 + (2 + 16) * 1000)]);
    }

    #[test]
    fn an_average_scores_between_its_models() {
        let models = [tree([0, 1, 2, 3, 4, 5]), tree([7; 6])].map(|tree| model(vec![tree]).unwrap());
        let mean = Symmetric::averaged(&models).unwrap();
        let row = Row([500; FEATURE_COUNT]);
        let score = |model: &Symmetric| plainly(model, &row);
        assert_eq!(score(&mean), i32::midpoint(score(&models[0]), score(&models[1])));
        assert_eq!(Symmetric::averaged(&[]).unwrap_err(), SymmetricError::Average);
        let other = Symmetric::new(Bins::of(&[], &[], 3), Vec::new(), 0, row).unwrap();
        let [first, _] = models;
        assert_eq!(
            Symmetric::averaged(&[first, other]).unwrap_err(),
            SymmetricError::Average
        );
    }

    #[test]
    fn refuses_what_is_not_a_model() {
        let outside = model(vec![tree([0, 0, 0, 0, 0, 40])]).unwrap_err();
        assert_eq!(outside, SymmetricError::Feature { tree: 0, feature: 40 });
        let mut heavy = tree([0; DEPTH]);
        heavy.leaves[7] = i32::MIN;
        assert!(matches!(
            model(vec![heavy]).unwrap_err(),
            SymmetricError::Sum { .. }
        ));
        let many = vec![tree([0; DEPTH]); TREES_MAX + 1];
        assert!(matches!(model(many).unwrap_err(), SymmetricError::TooMany { .. }));
    }

    proptest! {
        #[test]
        fn any_rows_in_any_batches_score_as_one_by_one(
            rows in prop::collection::vec(prop::array::uniform32(any::<i32>()), 1..200),
            cut in 0_usize..200,
        ) {
            let rows: Vec<Row> = rows
                .iter()
                .map(|some| Row(core::array::from_fn(|at| some[at % 32] >> (at % 20))))
                .collect();
            let model = model(vec![tree([0, 1, 2, 3, 4, 5]), tree([39, 7, 7, 12, 0, 31])]).unwrap();
            let (mut whole, mut parts) = (Vec::new(), Vec::new());
            model.log_odds(&rows, &[], &mut whole);
            let (first, second) = rows.split_at(cut.min(rows.len()));
            model.log_odds(first, &[], &mut parts);
            model.log_odds(second, &[], &mut parts);
            let plain: Vec<LogOdds> = rows.iter().map(|row| LogOdds(plainly(&model, row))).collect();
            prop_assert_eq!(&whole, &plain);
            prop_assert_eq!(&parts, &plain);
        }
    }
}
