//! Puts a small file in place whole or not at all: write aside, sync, rename, sync the directory.

use std::io;

use super::{Disk, parent};

/// Names that end so were never published and are removed when their owner opens.
pub const UNPUBLISHED_SUFFIX: &str = ".new";

/// Writes `bytes` under `path`. After a crash the file is absent, the former one, or this one whole.
pub fn publish(disk: &dyn Disk, path: &str, bytes: &[u8]) -> io::Result<()> {
    let aside = format!("{path}{UNPUBLISHED_SUFFIX}");
    let file = disk.create(&aside)?;
    file.write_at(0, bytes)?;
    file.sync()?;
    disk.rename(&aside, path)?;
    disk.sync_dir(parent(path))
}

/// Removes what an interrupted [`publish`] left in `dir` and returns the names that remain.
pub fn remove_unpublished(disk: &dyn Disk, dir: &str) -> io::Result<Vec<String>> {
    let (unpublished, published): (Vec<_>, Vec<_>) = disk
        .list(dir)?
        .into_iter()
        .partition(|name| name.ends_with(UNPUBLISHED_SUFFIX));
    for name in &unpublished {
        disk.remove(&format!("{dir}/{name}"))?;
    }
    Ok(published)
}
