//! `verify`: replays the log of a stopped node.

use super::init::{of_store, open_data};
use super::output::Output;
use super::progress::bar;
use super::settings::Settings;
use super::{Failure, describe};
use crate::verify::{VerifyReport, failed_height, verify as verify_log};
use selfchain_types::Height;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn verify(settings: &Settings, output: Output) -> Result<(), Failure> {
    let dir = settings.resolve()?.config.data_dir;
    let disk = open_data("cannot verify", &dir)?;
    let bar = bar("verifying", output.is_json);
    let verified = verify_log(Arc::new(disk), &mut |height: Height, tip: Height| {
        bar.set_length(tip.0);
        bar.set_position(height.0);
    });
    bar.finish_and_clear();
    let report = verified.map_err(|error| {
        let what = match failed_height(&error) {
            Some(height) => format!(
                "{} does not hold: the first height that does not is {height}",
                dir.display()
            ),
            None => format!("cannot verify {}", dir.display()),
        };
        of_store(what, &error)
    })?;
    let totals: Vec<Value> = (report.totals.iter())
        .map(|(asset, debits, credits)| {
            json!({ "asset": asset.0, "debits_units": debits.to_string(), "credits_units": credits.to_string() })
        })
        .collect();
    let value = json!({
        "ok": true,
        "chain_id": report.chain_id.to_hex(),
        "first": report.first.0,
        "from": report.from.0,
        "height": report.height.0,
        "transfers": report.transfers,
        "state_root": report.state_root.to_hex(),
        "totals": totals,
    });
    output.result(
        &format!("{}\n{}", headline(&report), describe::lines(&value)),
        &value,
    )
}

/// What was verified, and what of the log could not be for want of the state before it.
fn headline(report: &VerifyReport) -> String {
    let from = report.from;
    if from == Height(1) {
        return "every hash, root and total holds".into();
    }
    let sealed = match report.first {
        first if first < from => format!(
            "; heights {first} to {} were checked for hashes, certificates and bodies",
            from.0 - 1
        ),
        _ => String::new(),
    };
    format!(
        "every hash, root and total holds from height {from} on, starting from the snapshot of height {}{sealed}",
        from.0 - 1
    )
}
