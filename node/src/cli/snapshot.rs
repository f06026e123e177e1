//! `snapshot`: writes and lists snapshots of a stopped node.

use super::arguments::SnapshotCommand;
use super::init::{of_store, open_data};
use super::output::Output;
use super::progress::bar;
use super::settings::Settings;
use super::{ExitStatus, Failure, describe};
use crate::store::Store;
use selfchain_types::seam::snapshot::SnapshotStore;
use serde_json::json;
use std::sync::Arc;

pub(super) fn snapshot(
    command: &SnapshotCommand,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let config = settings.resolve()?.config;
    let disk = open_data("cannot open the snapshots", &config.data_dir)?;
    let mut store = Store::open(Arc::new(disk), &config.store_config())
        .map_err(|error| of_store("cannot open the store".into(), &error))?;
    let mut written = None;
    if let SnapshotCommand::Create = command {
        let bar = bar("recovering", output.is_json);
        let chain = store.recover(&mut |progress| {
            bar.set_length(progress.tip.0);
            bar.set_position(progress.height.0);
        });
        bar.finish_and_clear();
        let chain = chain.map_err(|error| of_store("cannot recover the chain".into(), &error))?;
        store
            .write_snapshot(&chain)
            .map_err(|error| of_store("cannot write the snapshot".into(), &error))?;
        written = Some(chain.tip().height.0);
    }
    let heights = store
        .snapshots
        .list()
        .map_err(|error| Failure::new(ExitStatus::Failed, "cannot list the snapshots", "").because(&error))?;
    let value = json!({ "written": written, "heights": heights });
    output.result(&describe::lines(&value), &value)
}
