//! Scoring a file: one score a row, and how well they tell where the file has labels.

use super::rows::Reader;
use crate::input::InputError;
use selfchain_ai::evaluate::{EvaluateError, Evaluation};
use selfchain_ai::explain::words;
use selfchain_ai::features::Row;
use selfchain_ai::model::{Model, Predict};
use selfchain_ai::score::LogOdds;
use selfchain_types::Operation;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// What to score, and where scores go.
#[derive(Clone, Debug)]
pub struct ScoreOptions {
    /// Files that come before it in time: their transfers are remembered and not scored.
    pub history: Vec<PathBuf>,
    /// The transfers to score.
    pub input: PathBuf,
    /// Where the scores go, as CSV.
    pub output: PathBuf,
    /// Reports arrive so many seconds after a bad account's first bad transfer.
    pub reports_after_s: Option<u64>,
    /// Scores from which on a row's reasons are written.
    pub reasons_from: u8,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Scored {
    /// Rows that were scored.
    pub rows: u64,
    /// How well the scores tell, where the file has labels of both kinds.
    pub evaluation: Option<Evaluation>,
}

/// Why a file was not scored.
#[derive(Debug, Error)]
pub enum ScoreError {
    /// A file is not what it should be.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The scores cannot be written.
    #[error("cannot write {path}")]
    Output {
        /// Where to.
        path: PathBuf,
        /// Why not.
        #[source]
        source: csv::Error,
    },
    /// The scores cannot be judged.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
}

/// Rows that are scored together.
const BATCH: usize = 4_096;

/// Scores every transfer of a file as a node would that has seen the file's own past, and `history` before it.
/// Writes `line,score,log_odds,probability,reasons`: the line in the file (the header is line 1), the byte of the
/// block, the natural log-odds behind it, their probability, and the features that raise it most.
///
/// # Errors
/// [`ScoreError`].
pub fn score(
    model: &Model,
    options: &ScoreOptions,
    progress: &mut dyn FnMut(u64),
) -> Result<Scored, ScoreError> {
    let mut reader = match options.reports_after_s {
        Some(after_s) => Reader::with_reports(after_s),
        None => Reader::default(),
    };
    for path in &options.history {
        reader.read(path, &mut |_| ())?;
    }
    let failed = |source| ScoreError::Output {
        path: options.output.clone(),
        source,
    };
    let mut scoring = Scoring {
        model,
        reasons_from: options.reasons_from,
        writer: open(&options.output).map_err(failed)?,
        batch: Batch::default(),
        scores: Vec::new(),
        labels: Vec::new(),
        failed: None,
    };
    let has_labels = reader.read(&options.input, &mut |sample| {
        scoring
            .batch
            .push(sample.line.line, *sample.row, *sample.operation);
        scoring.labels.push(sample.line.label.is_bad());
        if scoring.batch.rows.len() == BATCH {
            scoring.flush();
            progress(selfchain_types::codec::wide(scoring.scores.len()));
        }
    })?;
    scoring.flush();
    if let Some(source) = scoring.failed {
        return Err(failed(source));
    }
    scoring.writer.flush().map_err(|error| failed(error.into()))?;
    let is_told_apart = has_labels && scoring.labels.iter().any(|label| *label != scoring.labels[0]);
    let evaluation = is_told_apart
        .then(|| Evaluation::new(&scoring.scores, &scoring.labels, options.reasons_from))
        .transpose()?;
    Ok(Scored {
        rows: selfchain_types::codec::wide(scoring.scores.len()),
        evaluation,
    })
}

fn open(path: &Path) -> Result<csv::Writer<std::fs::File>, csv::Error> {
    let mut writer = csv::Writer::from_path(path)?;
    writer.write_record(["line", "score", "log_odds", "probability", "reasons"])?;
    Ok(writer)
}

#[derive(Default)]
struct Batch {
    lines: Vec<u64>,
    rows: Vec<Row>,
    operations: Vec<Operation>,
}

impl Batch {
    fn push(&mut self, line: u64, row: Row, operation: Operation) {
        self.lines.push(line);
        self.rows.push(row);
        self.operations.push(operation);
    }

    fn clear(&mut self) {
        self.lines.clear();
        self.rows.clear();
        self.operations.clear();
    }
}

struct Scoring<'a> {
    model: &'a Model,
    reasons_from: u8,
    writer: csv::Writer<std::fs::File>,
    batch: Batch,
    scores: Vec<LogOdds>,
    labels: Vec<bool>,
    failed: Option<csv::Error>,
}

impl Scoring<'_> {
    fn flush(&mut self) {
        if self.failed.is_some() {
            return;
        }
        let from = self.scores.len();
        let operations: Vec<&Operation> = self.batch.operations.iter().collect();
        self.model
            .log_odds(&self.batch.rows, &operations, &mut self.scores);
        for (at, score) in self.scores[from..].iter().enumerate() {
            let reasons = if score.score() >= self.reasons_from {
                reasons(self.model, &self.batch.rows[at], operations[at])
            } else {
                String::new()
            };
            let record = [
                self.batch.lines[at].to_string(),
                score.score().to_string(),
                format!("{:.5}", score.real()),
                format!("{:.7}", score.probability()),
                reasons,
            ];
            if let Err(error) = self.writer.write_record(&record) {
                self.failed = Some(error);
                return;
            }
        }
        self.batch.clear();
    }
}

/// Reasons that a row is written with at most.
const REASONS: usize = 3;

fn reasons(model: &Model, row: &Row, operation: &Operation) -> String {
    let reasons = model.explain(row, operation);
    let words: Vec<&str> = reasons
        .iter()
        .take(REASONS)
        .filter_map(|reason| words(reason.feature))
        .collect();
    words.join("; ")
}
