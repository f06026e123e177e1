//! Judging: how well a model tells the labels of a file, and how two models differ on it.

use super::rows::Reader;
use super::train::{TrainError, labelled};
use core::ops::Range;
use selfchain_ai::dataset::Dataset;
use selfchain_ai::evaluate::{Evaluation, Ranking};
use selfchain_ai::model::Model;
use selfchain_ai::score::LogOdds;
use std::path::PathBuf;

/// What to judge by.
#[derive(Clone, Debug)]
pub struct JudgeOptions {
    /// Files that come before it in time: their transfers are remembered and not judged.
    pub history: Vec<PathBuf>,
    /// The transfers, with labels.
    pub input: PathBuf,
    /// Rows of other seconds than these are remembered and not judged.
    pub within_s: Range<u64>,
    /// Reports arrive so many seconds after a bad account's first bad transfer.
    pub reports_after_s: Option<u64>,
}

/// A judged model.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The scores, in the order of the file.
    pub scores: Vec<LogOdds>,
    /// The rows by their scores, for plots.
    pub ranking: Ranking,
    /// How well the scores tell the labels.
    pub evaluation: Evaluation,
}

/// How two models differ on a file.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The first.
    pub first: Evaluation,
    /// The second, with how far its scores lie from the first's and on how many rows it decides otherwise.
    pub second: Evaluation,
}

/// The rows of the file, with the past that they have.
///
/// # Errors
/// [`TrainError`].
pub fn rows(options: &JudgeOptions) -> Result<Dataset, TrainError> {
    let mut reader = match options.reports_after_s {
        Some(after_s) => Reader::with_reports(after_s),
        None => Reader::default(),
    };
    for path in &options.history {
        reader.read(path, &mut |_| ())?;
    }
    labelled(&mut reader, &options.input, &options.within_s)
}

/// Judges a model by rows with labels.
///
/// # Errors
/// [`TrainError`].
pub fn judge(model: &Model, rows: &Dataset, flagged_from: u8) -> Result<Judged, TrainError> {
    let scores = rows.scored_by(model);
    let ranking = Ranking::new(&scores, &rows.labels)?;
    Ok(Judged {
        evaluation: Evaluation::of(&ranking, flagged_from),
        ranking,
        scores,
    })
}

/// Compares two models by rows with labels.
///
/// # Errors
/// [`TrainError`].
pub fn compare(
    first: &Model,
    second: &Model,
    rows: &Dataset,
    flagged_from: u8,
) -> Result<Compared, TrainError> {
    let first = judge(first, rows, flagged_from)?;
    let second = judge(second, rows, flagged_from)?;
    let differs = second.evaluation.moved_from(&first.scores, &second.scores)?;
    Ok(Compared {
        first: first.evaluation,
        second: differs.beside(&second.scores, &first.scores)?,
    })
}
