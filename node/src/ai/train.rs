//! Training: from files with labels to a model file with its card.

use super::rows::Reader;
use crate::input::InputError;
use selfchain_ai::dataset::Dataset;
use selfchain_ai::evaluate::{EvaluateError, Evaluation};
use selfchain_ai::model::{Card, Model, Predict, Scoring};
use selfchain_ai::score::SCORE_EVEN;
use selfchain_ai::trees::{self, Progress, TreeOptions};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// What to learn from, and how.
#[derive(Clone, Debug)]
pub struct TrainOptions {
    /// Files with labels, in the order of time; they are one log.
    pub inputs: Vec<PathBuf>,
    /// Rows before this second are remembered and not learnt from.
    pub since_s: u64,
    /// Learn also from the same rows as they are when reports arrive so many seconds late.
    pub reports_after_s: Option<u64>,
    /// Share of the rows, the last in time, that tells when to stop.
    pub stop_share: f64,
    /// How trees are grown.
    pub trees: TreeOptions,
    /// What the card says: name, data, licence, notes.
    pub card: Card,
    /// A later file with labels, to judge the model by.
    pub valid: Option<PathBuf>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// Reading the files.
    Reading,
    /// Growing trees, to find how many are best.
    Stopping(Progress),
    /// Growing so many trees on all rows.
    Growing(Progress),
}

/// Why there is no model.
#[derive(Debug, Error)]
pub enum TrainError {
    /// A file is not what it should be.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A file does not say which transfers are bad.
    #[error("{path} has no labels: a column `to_bad`, `from_bad` or `fraud` of 0 and 1")]
    Labels {
        /// The file.
        path: PathBuf,
    },
    /// The rows teach nothing.
    #[error(transparent)]
    Trees(#[from] trees::TrainError),
    /// The model cannot be judged.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
}

/// Trains a model: first on the earlier rows, to find the number of trees that tells the later ones best without
/// bad accounts that were seen before; then on all rows with that many.
///
/// # Errors
/// [`TrainError`].
pub fn train(options: &TrainOptions, progress: &mut dyn FnMut(Step)) -> Result<Model, TrainError> {
    progress(Step::Reading);
    let plain = read(options, Reader::default())?;
    let reported = match options.reports_after_s {
        Some(after_s) => Some(read(options, Reader::with_reports(after_s))?),
        None => None,
    };
    let (mut fit, mut stop, mut all) = (Dataset::default(), Dataset::default(), Dataset::default());
    for set in [Some(&plain), reported.as_ref()].into_iter().flatten() {
        let (early, late) = set.split(1.0 - options.stop_share);
        fit.append(&early);
        stop.append(&late.without_known_culprits(&early));
        all.append(set);
    }
    let found = trees::train(&fit, Some(&stop), &options.trees, &mut |at| {
        progress(Step::Stopping(at));
    })?;
    let mut card = options.card.clone();
    card.seed = options.trees.seed;
    note(&mut card, "stop", &evaluate(&found, &stop)?);
    let whole = TreeOptions {
        trees: found.trees().len().max(1),
        ..options.trees
    };
    let grown = trees::train(&all, None, &whole, &mut |at| progress(Step::Growing(at)))?;
    card.split = split(options, &fit, &stop);
    if let Some(valid) = &options.valid {
        let mut figures = |set: &str, reader| -> Result<(), TrainError> {
            let evaluation = evaluate(&grown, &read_valid(options, valid, reader)?)?;
            note(&mut card, set, &evaluation);
            Ok(())
        };
        figures("valid", Reader::default())?;
        if let Some(after_s) = options.reports_after_s {
            figures("valid_reported", Reader::with_reports(after_s))?;
        }
    }
    Ok(Model::new(Scoring::Symmetric(grown), card))
}

fn split(options: &TrainOptions, fit: &Dataset, stop: &Dataset) -> String {
    format!(
        "in the order of time, from second {}; {} rows to learn from, then {} to stop by, without bad accounts that \
         were bad before; then as many trees on all of them",
        options.since_s,
        fit.len(),
        stop.len()
    )
}

/// The rows of a later file, after the past that it has.
fn read_valid(options: &TrainOptions, valid: &Path, mut reader: Reader) -> Result<Dataset, TrainError> {
    for path in &options.inputs {
        reader.read(path, &mut |_| ())?;
    }
    labelled(&mut reader, valid, 0)
}

/// The rows of a file that must have labels.
pub(super) fn labelled(reader: &mut Reader, path: &Path, since_s: u64) -> Result<Dataset, TrainError> {
    let labelled = reader.labelled(path, since_s)?;
    if labelled.has_labels {
        Ok(labelled.set)
    } else {
        Err(TrainError::Labels { path: path.into() })
    }
}

/// Puts the figures of a set into the card.
fn note(card: &mut Card, set: &str, evaluation: &Evaluation) {
    for (name, value) in [
        ("pr_auc", evaluation.average_precision),
        ("roc_auc", evaluation.roc_auc),
        ("recall_at_1pct_fpr", evaluation.recall_at_percent),
    ] {
        card.metrics.insert(format!("{set}/{name}"), value);
    }
}

fn read(options: &TrainOptions, mut reader: Reader) -> Result<Dataset, TrainError> {
    let mut all = Dataset::default();
    for path in &options.inputs {
        all.append(&labelled(&mut reader, path, options.since_s)?);
    }
    Ok(all)
}

fn evaluate(model: &dyn Predict, set: &Dataset) -> Result<Evaluation, EvaluateError> {
    let mut scores = Vec::with_capacity(set.len());
    model.log_odds(&set.rows, &[], &mut scores);
    Evaluation::new(&scores, &set.labels, SCORE_EVEN)
}
