//! Export: rows of features with their labels as CSV, for other programs to learn from.

use super::rows::Reader;
use super::score::ScoreError;
use selfchain_ai::features::FEATURES;
use selfchain_types::codec;
use std::path::{Path, PathBuf};

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
