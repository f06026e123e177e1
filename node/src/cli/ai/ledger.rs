//! `ai` on the log of a stopped node: exports its rows, and reads them to learn from or to judge by.

use super::super::init::{of_store, open_data};
use super::super::output::Output;
use super::super::progress::bar;
use super::super::settings::Settings;
use super::super::{ExitStatus, Failure};
use super::of_training;
use crate::ai::{ExportError, LedgerRows, ReportsError, export_ledger, ledger_set};
use crate::recover::Progress;
use core::ops::Range;
use selfchain_ai::dataset::Dataset;
use selfchain_storage::Disk;
use selfchain_types::Height;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

/// The data directory of a stopped node.
pub(super) fn disk(what: &str, settings: &Settings) -> Result<Arc<dyn Disk>, Failure> {
    let dir = settings.resolve()?.config.data_dir;
    Ok(Arc::new(open_data(what, &dir)?))
}

/// Its rows with labels.
pub(super) fn rows(
    what: &str,
    within_s: &Range<u64>,
    settings: &Settings,
    output: Output,
) -> Result<Dataset, Failure> {
    let disk = disk(what, settings)?;
    let bar = bar("reading the log", output.is_json);
    let set = ledger_set(&disk, within_s, &mut |at: Progress| {
        bar.set_length(at.tip.0);
        bar.set_position(at.height.0);
    });
    bar.finish_and_clear();
    set.map_err(|error| of_training(what, &error))
}

/// Writes its rows.
pub(super) fn export_rows(to: &Path, settings: &Settings, output: Output) -> Result<(), Failure> {
    let what = "the rows were not written";
    let disk = disk(what, settings)?;
    let bar = bar("reading the log", output.is_json);
    let mut progress = |at: Progress| {
        bar.set_length(at.tip.0);
        bar.set_position(at.height.0);
    };
    let exported = LedgerRows::open(disk, &mut progress)
        .map_err(ExportError::from)
        .and_then(|ledger| Ok((export_ledger(&ledger, to, &mut progress)?, ledger)));
    bar.finish_and_clear();
    let (exported, ledger) = exported.map_err(|error| of_export(what, &error))?;
    let (first, tip) = ledger.heights();
    let verdicts = ledger.verdicts();
    let mut text = format!(
        "{} rows written, {} of them with a score, {} labelled as fraud by the {} of {} reports that count",
        exported.rows, exported.scored, exported.bad, verdicts.counted, verdicts.reports
    );
    if first > Height(1) {
        text = format!(
            "{text}\nwarning: the log begins at height {first}; what accounts did before is not in the rows"
        );
    }
    let value = json!({
        "rows": exported.rows,
        "scored": exported.scored,
        "bad": exported.bad,
        "reports": verdicts.reports,
        "reports_counted": verdicts.counted,
        "chain_id": ledger.chain_id().to_hex(),
        "first": first.0,
        "height": tip.0,
    });
    output.result(&text, &value)
}

fn of_export(what: &str, error: &ExportError) -> Failure {
    match error {
        ExportError::Store(error) | ExportError::Reports(ReportsError::Store(error)) => {
            of_store(what.into(), error)
        }
        error => Failure::new(ExitStatus::Failed, what, "").because(error),
    }
}
