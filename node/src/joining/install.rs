//! Install: puts a snapshot that was fetched and proved in place of what a store holds.
//!
//! A marker says that it is proved. It is published after the snapshot is durable aside, and removed after everything is
//! in place; every step between can be done again. So a power cut leaves what was there before, or the marker, with
//! which the next start ends what this one began.

use super::fetch::JOINED_KEEP;
use crate::store::{RECEIPT_NODES_FILE, StoreError};
use selfchain_engine::commit::ChainSnapshot;
use selfchain_engine::proof::mountain::node_count;
use selfchain_storage::disk::publish;
use selfchain_storage::snapshots::{SNAPSHOTS_DIR, path_of};
use selfchain_storage::{Disk, SnapshotConfig, Snapshots};
use selfchain_types::Height;
use selfchain_types::seam::snapshot::SnapshotStore;
use std::io;
use std::sync::Arc;

/// Where a snapshot is put aside while it is fetched.
pub const JOINING_DIR: &str = "joining";
/// Says the height of the snapshot aside, once it is proved.
const MARKER: &str = "joining/proved";
/// What a store holds besides: all of it is of the history before the snapshot.
const REPLACED: [&str; 2] = ["log", "index"];

/// Says that the snapshot of this height, whole in [`JOINING_DIR`], is proved: the next start begins with it.
pub(super) fn mark(disk: &dyn Disk, height: Height) -> io::Result<()> {
    let number = height.0.to_le_bytes();
    let check = blake3_check(&number);
    publish(disk, MARKER, &[number, check].concat())
}

/// Ends what a snapshot that was fetched began, if one is proved: gives its height. To be called before anything of a
/// store is open.
///
/// # Errors
/// [`StoreError`]; the next call begins anew.
pub fn install(disk: &Arc<dyn Disk>) -> Result<Option<Height>, StoreError> {
    let failed = |action| move |source| StoreError::Io { action, source };
    disk.create_dir(JOINING_DIR)
        .map_err(failed("make the directory of a snapshot that is fetched"))?;
    let Some(height) = marked(&**disk).map_err(failed("read the mark of a fetched snapshot"))? else {
        return Ok(None);
    };
    put_in_place(disk, height)?;
    disk.remove(MARKER)
        .and_then(|()| disk.sync_dir(JOINING_DIR))
        .map_err(failed("remove the mark of a fetched snapshot"))?;
    tracing::info!(%height, "the chain begins at a snapshot that was fetched from other validators");
    Ok(Some(height))
}

fn put_in_place(disk: &Arc<dyn Disk>, height: Height) -> Result<(), StoreError> {
    let failed = |action| move |source| StoreError::Io { action, source };
    let (from, to) = (path_of(JOINING_DIR, height.0), path_of(SNAPSHOTS_DIR, height.0));
    for dir in REPLACED {
        clear(&**disk, dir, &|_| false).map_err(failed("remove what a fetched snapshot replaces"))?;
    }
    disk.create_dir(SNAPSHOTS_DIR)
        .map_err(failed("make the directory of snapshots"))?;
    match disk.rename(&from, &to) {
        // An earlier start got as far as this.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        moved => moved.map_err(failed("move a fetched snapshot into its place"))?,
    }
    clear(&**disk, SNAPSHOTS_DIR, &|name| to.ends_with(name))
        .and_then(|()| disk.sync_dir(JOINING_DIR))
        .map_err(failed("remove the snapshots that a fetched one replaces"))?;
    let config = SnapshotConfig {
        keep: JOINED_KEEP,
        ..SnapshotConfig::default()
    };
    let snapshots = Snapshots::open_with(Arc::clone(disk), config)?;
    let manifest = snapshots.manifest(height.0)?;
    let snapshot = ChainSnapshot::decode(&manifest).map_err(|source| StoreError::Restore {
        height: height.0,
        source: Box::new(source.into()),
    })?;
    begin_receipts(&**disk, &snapshot).map_err(failed("begin the receipts' nodes anew"))
}

/// The receipts' tree goes on from its peaks: nodes below them are not here, and nothing that they prove.
fn begin_receipts(disk: &dyn Disk, snapshot: &ChainSnapshot) -> io::Result<()> {
    let file = disk.create(RECEIPT_NODES_FILE)?;
    file.set_len(node_count(snapshot.receipts.size()).saturating_mul(32))?;
    for (place, peak) in snapshot.receipts.placed_peaks() {
        file.write_at(place.saturating_mul(32), peak.as_bytes())?;
    }
    file.sync()?;
    disk.sync_dir("")
}

/// Removes every file of a directory but those to keep, durably.
fn clear(disk: &dyn Disk, dir: &str, keeps: &dyn Fn(&str) -> bool) -> io::Result<()> {
    disk.create_dir(dir)?;
    for name in disk.list(dir)? {
        if !keeps(&name) {
            disk.remove(&format!("{dir}/{name}"))?;
        }
    }
    disk.sync_dir(dir)
}

fn marked(disk: &dyn Disk) -> io::Result<Option<Height>> {
    let file = match disk.open_read_only(MARKER) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = [0; 16];
    file.read_at(0, &mut bytes)?;
    let (number, check) = bytes.split_at(8);
    let number: [u8; 8] = number.try_into().unwrap_or_default();
    if blake3_check(&number) != check {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not check"));
    }
    Ok(Some(Height(u64::from_le_bytes(number))))
}

fn blake3_check(number: &[u8; 8]) -> [u8; 8] {
    let hash = selfchain_types::hash::SNAPSHOT.hash(number);
    hash.0.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
#[path = "install_tests.rs"]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
