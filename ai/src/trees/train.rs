//! Gradient boosting of symmetric trees (Friedman 2001, "Greedy function approximation: a gradient boosting
//! machine"), with Newton steps, seeded and repeatable: the same rows and options give the same bytes.

use super::bins::{Bins, THRESHOLDS_MAX};
use super::grow::{Columns, Soil, Sums};
use super::symmetric::{Symmetric, SymmetricError, TREES_MAX, Tree};
use crate::dataset::Dataset;
use crate::features::FEATURE_COUNT;
use crate::random::Random;
use crate::score::LogOdds;
use rayon::prelude::*;
use selfchain_types::codec;
use thiserror::Error;

/// How trees are grown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TreeOptions {
    /// Most trees.
    pub trees: usize,
    /// What each tree's step is multiplied with.
    pub rate: f64,
    /// Added to every sum of second derivatives.
    pub ridge: f64,
    /// Most thresholds of a feature.
    pub thresholds: usize,
    /// Share of the rows that a tree looks at.
    pub row_share: f64,
    /// Share of the features that it may ask for.
    pub feature_share: f64,
    /// Trees without a lower loss on the stop set before it ends.
    pub patience: usize,
    /// Where random choices begin.
    pub seed: u64,
}

impl Default for TreeOptions {
    fn default() -> Self {
        Self {
            trees: 800,
            rate: 0.12,
            ridge: 3.0,
            thresholds: 128,
            row_share: 0.8,
            feature_share: 0.4,
            patience: 60,
            seed: 1,
        }
    }
}

/// How far training is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Trees so far.
    pub trees: usize,
    /// Most there will be.
    pub trees_max: usize,
    /// Mean logistic loss on the rows that are learnt from.
    pub fit_loss: f64,
    /// The same on the stop set, if there is one.
    pub stop_loss: Option<f64>,
}

/// Why there is nothing to train.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TrainError {
    /// A set has rows of one class only.
    #[error("{set}: {positives} of {rows} rows are fraud; there must be some of both")]
    OneClass {
        /// Which set.
        set: &'static str,
        /// Its rows.
        rows: usize,
        /// Those that are fraud.
        positives: usize,
    },
    /// An option is outside what makes sense.
    #[error("{option} is out of range")]
    Option {
        /// Its name.
        option: &'static str,
    },
    /// More rows than row numbers.
    #[error("{rows} rows, at most {} are allowed", u32::MAX)]
    TooMany {
        /// How many.
        rows: usize,
    },
    /// The trees are no model.
    #[error(transparent)]
    Model(#[from] SymmetricError),
}

/// Trains on `fit`. With a stop set it ends when the loss there no longer falls, and keeps the trees up to the
/// lowest; without one it grows as many as the options say.
///
/// # Errors
/// [`TrainError`].
pub fn train(
    fit: &Dataset,
    stop: Option<&Dataset>,
    options: &TreeOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Symmetric, TrainError> {
    check(fit, stop, options)?;
    let bins = Bins::of(&fit.rows, &fit.labels, options.thresholds);
    let base = base(fit);
    let mut fit_set = Boosted::new(&bins, fit, base);
    let mut stop_set = stop.map(|stop| Boosted::new(&bins, stop, base));
    let mut random = Random::new(options.seed);
    let (mut trees, mut best): (Vec<Tree>, Option<(f64, usize)>) = (Vec::new(), None);
    while trees.len() < options.trees {
        let rows = choose(fit.len(), options.row_share, &mut random);
        let features = choose(FEATURE_COUNT, options.feature_share, &mut random);
        let features: Vec<usize> = features.into_iter().map(codec::index).collect();
        let slopes = fit_set.slopes();
        let soil = Soil {
            columns: &fit_set.columns,
            slopes: &slopes,
            rows: &rows,
            features: &features,
            ridge: options.ridge,
            rate: options.rate,
        };
        let Some(tree) = soil.grow() else { break };
        fit_set.add(&tree);
        trees.push(tree);
        let stop_loss = stop_set.as_mut().map(|set| {
            set.add(&tree);
            set.loss()
        });
        progress(Progress {
            trees: trees.len(),
            trees_max: options.trees,
            fit_loss: fit_set.loss(),
            stop_loss,
        });
        let Some(loss) = stop_loss else { continue };
        if best.is_none_or(|(least, _)| loss < least) {
            best = Some((loss, trees.len()));
        }
        if best.is_some_and(|(_, at)| trees.len() - at >= options.patience) {
            break;
        }
    }
    if let Some((_, count)) = best {
        trees.truncate(count);
    }
    Ok(Symmetric::new(bins, trees, base, fit.typical())?)
}

fn check(fit: &Dataset, stop: Option<&Dataset>, options: &TreeOptions) -> Result<(), TrainError> {
    let sets = [
        Some(("the rows to learn from", fit)),
        stop.map(|stop| ("the rows to stop by", stop)),
    ];
    for (set, rows) in sets.into_iter().flatten() {
        let positives = rows.positives();
        if positives == 0 || positives == rows.len() {
            return Err(TrainError::OneClass {
                set,
                rows: rows.len(),
                positives,
            });
        }
        if u32::try_from(rows.len()).is_err() {
            return Err(TrainError::TooMany { rows: rows.len() });
        }
    }
    let is_share = |share: f64| share > 0.0 && share <= 1.0;
    let checks = [
        ("trees", (1..=TREES_MAX).contains(&options.trees)),
        ("rate", is_share(options.rate)),
        (
            "ridge",
            (0.0..=1e6).contains(&options.ridge) && options.ridge > 0.0,
        ),
        ("thresholds", (1..=THRESHOLDS_MAX).contains(&options.thresholds)),
        ("row share", is_share(options.row_share)),
        ("feature share", is_share(options.feature_share)),
        ("patience", options.patience > 0),
    ];
    match checks.into_iter().find(|(_, is_right)| !is_right) {
        None => Ok(()),
        Some((option, _)) => Err(TrainError::Option { option }),
    }
}

/// Log-odds of the share of fraud.
#[allow(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "counts of rows, far below 2^53"
)]
fn base(fit: &Dataset) -> i32 {
    let positives = fit.positives() as f64;
    LogOdds::from_real((positives / (fit.len() as f64 - positives)).ln()).0
}

/// Numbers below `count`, each with this probability, ascending; never none.
fn choose(count: usize, share: f64, random: &mut Random) -> Vec<u32> {
    let all = || 0..codec::narrow(count);
    if share >= 1.0 {
        return all().collect();
    }
    let chosen: Vec<u32> = all().filter(|_| random.happens(share)).collect();
    if chosen.is_empty() {
        all().collect()
    } else {
        chosen
    }
}

/// A set of rows and what the trees so far say of them.
struct Boosted<'a> {
    columns: Columns,
    labels: &'a [bool],
    sums: Vec<i32>,
}

impl<'a> Boosted<'a> {
    fn new(bins: &Bins, set: &'a Dataset, base: i32) -> Self {
        Self {
            columns: Columns::new(bins, &set.rows),
            labels: &set.labels,
            sums: vec![base; set.len()],
        }
    }

    fn add(&mut self, tree: &Tree) {
        let columns = &self.columns;
        self.sums.par_iter_mut().enumerate().for_each(|(row, sum)| {
            *sum = sum.saturating_add(tree.leaves[columns.leaf(tree, row)]);
        });
    }

    fn slopes(&self) -> Vec<Sums> {
        let slopes = |(sum, label): (&i32, &bool)| {
            let probability = LogOdds(*sum).probability();
            let first = probability - f64::from(u8::from(*label));
            Sums::of(first, probability * (1.0 - probability))
        };
        self.sums.par_iter().zip(self.labels).map(slopes).collect()
    }

    /// Mean logistic loss, summed in the order of rows.
    #[allow(
        clippy::as_conversions,
        clippy::cast_precision_loss,
        reason = "a count of rows, far below 2^53"
    )]
    fn loss(&self) -> f64 {
        let losses: Vec<f64> = self
            .sums
            .par_iter()
            .zip(self.labels)
            .map(|(sum, label)| {
                let real = LogOdds(*sum).real();
                real.max(0.0) - real * f64::from(u8::from(*label)) + (-real.abs()).exp().ln_1p()
            })
            .collect();
        losses.iter().sum::<f64>() / losses.len() as f64
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::features::Row;
    use selfchain_types::Operation;

    /// Fraud where exactly one of two features is high, which no single question tells.
    fn either_or(rows: usize, seed: u64) -> Dataset {
        let mut random = Random::new(seed);
        let mut set = Dataset::default();
        for at in 0..rows {
            let mut row = Row([0; FEATURE_COUNT]);
            for value in &mut row.0[..4] {
                *value = i32::try_from(random.next() % 1000).unwrap();
            }
            let label = (row.0[0] > 500) != (row.0[2] > 300);
            set.push(row, Operation::default(), label, codec::wide(at), 0);
        }
        set
    }

    fn options() -> TreeOptions {
        TreeOptions {
            trees: 60,
            rate: 0.3,
            ..TreeOptions::default()
        }
    }

    #[test]
    fn learns_what_takes_two_questions() {
        let model = train(&either_or(4000, 1), None, &options(), &mut |_| ()).unwrap();
        let other = either_or(1000, 2);
        let scores = other.scored_by(&model);
        let right = scores
            .iter()
            .zip(&other.labels)
            .filter(|(score, label)| (score.0 > 0) == **label);
        let right = right.count();
        assert!(right > 970, "{right} of 1000 are right");
    }

    #[test]
    fn the_same_seed_grows_the_same_trees_and_another_one_others() {
        let set = either_or(1000, 1);
        let grow = |seed| {
            let options = TreeOptions { seed, ..options() };
            train(&set, None, &options, &mut |_| ()).unwrap().trees().to_vec()
        };
        assert_eq!(grow(5), grow(5));
        assert_ne!(grow(5), grow(6));
    }

    #[test]
    fn ends_where_the_stop_set_is_told_best() {
        let (fit, mut stop) = (either_or(400, 1), either_or(400, 2));
        // Labels that have nothing to do with the rows: every tree makes it worse.
        stop.labels.reverse();
        let mut grown = 0;
        let options = TreeOptions {
            patience: 5,
            ..options()
        };
        let model = train(&fit, Some(&stop), &options, &mut |progress| {
            grown = progress.trees
        })
        .unwrap();
        assert!(grown < 60 && model.trees().len() + 5 <= grown, "{grown}");
    }

    #[test]
    fn refuses_what_teaches_nothing() {
        let mut set = either_or(10, 1);
        set.labels.fill(true);
        let error = train(&set, None, &options(), &mut |_| ()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the rows to learn from: 10 of 10 rows are fraud; there must be some of both"
        );
        let wrong = TreeOptions {
            rate: f64::NAN,
            ..options()
        };
        let error = train(&either_or(10, 1), None, &wrong, &mut |_| ()).unwrap_err();
        assert_eq!(error, TrainError::Option { option: "rate" });
    }
}
