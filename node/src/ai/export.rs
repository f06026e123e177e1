//! Export: rows of features with their labels as CSV, for other programs to learn from.

use super::ledger::{LedgerRows, LedgerSample};
use super::reports::ReportsError;
use super::rows::Reader;
use super::score::ScoreError;
use crate::recover::Progress;
use crate::store::StoreError;
use selfchain_ai::features::FEATURES;
use selfchain_types::codec;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Writes the rows of files, as one log in this order: `file,line,time,from,to`, the features by name, `label`.
/// How many there are.
///
/// # Errors
/// [`ScoreError`].
pub fn export(mut reader: Reader, inputs: &[PathBuf], output: &Path) -> Result<u64, ScoreError> {
    let failed = |source| ScoreError::Output {
        path: output.into(),
        source,
    };
    let mut writer = csv::Writer::from_path(output).map_err(failed)?;
    let names = FEATURES.iter().map(|feature| feature.name);
    let header = ["file", "line", "time", "from", "to"].into_iter().chain(names);
    writer.write_record(header.chain(["label"])).map_err(failed)?;
    let (mut rows, mut wrong) = (0, None);
    for (file, path) in inputs.iter().enumerate() {
        reader.read(path, &mut |sample| {
            let line = sample.line;
            let place = [codec::wide(file), line.line, line.time_s, line.from, line.to];
            let cells = place.iter().map(u64::to_string);
            let cells = cells.chain(sample.row.0.iter().map(i32::to_string));
            let label = u8::from(line.label.is_bad()).to_string();
            if wrong.is_none() {
                wrong = writer.write_record(cells.chain([label])).err();
            }
            rows += 1;
        })?;
    }
    if let Some(source) = wrong {
        return Err(failed(source));
    }
    writer.flush().map_err(|error| failed(error.into()))?;
    Ok(rows)
}

/// Why the rows of a ledger were not written.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The log's reports are not known.
    #[error(transparent)]
    Reports(#[from] ReportsError),
    /// The log failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The rows cannot be written.
    #[error("cannot write {path}")]
    Output {
        /// Where to.
        path: PathBuf,
        /// Why not.
        #[source]
        source: csv::Error,
    },
}

/// What was written of a ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Rows.
    pub rows: u64,
    /// Those labelled as fraud.
    pub bad: u64,
    /// Those with a score.
    pub scored: u64,
}

/// Columns of a ledger's rows that a file's do not have.
const LEDGER_COLUMNS: [&str; 5] = ["height", "tx_id", "operation", "score", "outcome"];

/// Writes the rows of a ledger as [`export`] does those of files, one at a time: `file` is 0, `line` counts rows from
/// 1, accounts are the ledger's; then `height,tx_id,operation,score,outcome`, where a score that the block does not
/// have is empty.
///
/// # Errors
/// [`ExportError`].
pub fn export_ledger(
    ledger: &LedgerRows,
    output: &Path,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Exported, ExportError> {
    let failed = |source| ExportError::Output {
        path: output.into(),
        source,
    };
    let mut writer = csv::Writer::from_path(output).map_err(failed)?;
    let names = FEATURES.iter().map(|feature| feature.name);
    let header = ["file", "line", "time", "from", "to"].into_iter().chain(names);
    let header = header.chain(["label"]).chain(LEDGER_COLUMNS);
    writer.write_record(header).map_err(failed)?;
    let mut exported = Exported::default();
    let mut each = |sample: LedgerSample<'_>| {
        exported.rows += 1;
        exported.bad += u64::from(sample.is_bad);
        exported.scored += u64::from(sample.score.is_some());
        let cells = cells(exported.rows, &sample);
        writer.write_record(cells).map_err(failed)
    };
    ledger.read(&mut each, progress)?;
    writer.flush().map_err(|error| failed(error.into()))?;
    Ok(exported)
}

fn cells(line: u64, sample: &LedgerSample<'_>) -> impl Iterator<Item = String> {
    let operation = sample.operation;
    let place = [
        "0".to_owned(),
        line.to_string(),
        sample.time_s.to_string(),
        operation.debit.get().to_string(),
        operation.credit.get().to_string(),
    ];
    let after = [
        u8::from(sample.is_bad).to_string(),
        sample.height.0.to_string(),
        sample.tx_id.to_hex(),
        sample.number.to_string(),
        sample.score.map_or_else(String::new, |score| score.to_string()),
        sample.outcome.name().to_owned(),
    ];
    let features = sample.row.0.map(|value| value.to_string());
    place.into_iter().chain(features).chain(after)
}
