//! Puts a file in place whole or not at all: write aside, sync, rename, sync the directory.

use std::io;

use super::{Disk, File, parent};
use crate::metrics::len_u64;

/// Names that end so were never published and are removed when their owner opens.
pub const UNPUBLISHED_SUFFIX: &str = ".new";

/// Writes `bytes` under `path`. After a crash the file is absent, the former one, or this one whole.
pub fn publish(disk: &dyn Disk, path: &str, bytes: &[u8]) -> io::Result<()> {
    let aside = format!("{path}{UNPUBLISHED_SUFFIX}");
    let file = disk.create(&aside)?;
    file.write_at(0, bytes)?;
    put_in_place(disk, &*file, &aside, path)
}

/// As [`publish`], of a file that is seldom read: its whole blocks go past the page cache where the disk can.
pub fn publish_streamed(disk: &dyn Disk, path: &str, bytes: &[u8]) -> io::Result<()> {
    let aside = format!("{path}{UNPUBLISHED_SUFFIX}");
    let file = disk.create_streamed(&aside)?;
    let (whole, rest) = bytes.split_at(bytes.len() - bytes.len() % STREAMED_BLOCK_LEN);
    let mut offset = 0;
    for piece in whole
        .chunks(STREAMED_PIECE_LEN)
        .chain((!rest.is_empty()).then_some(rest))
    {
        file.write_at(offset, piece)?;
        offset += len_u64(piece.len());
    }
    put_in_place(disk, &*file, &aside, path)
}

/// What goes past the page cache is whole blocks of this length.
const STREAMED_BLOCK_LEN: usize = 4_096;
/// Most of it at once.
const STREAMED_PIECE_LEN: usize = 1 << 20;

fn put_in_place(disk: &dyn Disk, file: &dyn File, aside: &str, path: &str) -> io::Result<()> {
    file.sync()?;
    disk.rename(aside, path)?;
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::disk::FileDisk;

    #[test]
    fn a_file_of_any_length_is_in_place_whole() {
        let folder = tempfile::tempdir().unwrap();
        let disk = FileDisk::open(folder.path()).unwrap();
        for len in [0, 1, 4_095, 4_096, 4_097, (1 << 20) - 1, (3 << 20) + 5_000] {
            let bytes: Vec<u8> = (0..len).map(|at: usize| at.to_le_bytes()[at % 3]).collect();
            publish_streamed(&disk, "part", &bytes).unwrap();
            assert_eq!(std::fs::read(folder.path().join("part")).unwrap(), bytes, "{len}");
        }
        assert_eq!(remove_unpublished(&disk, "").unwrap(), ["LOCK", "part"]);
    }
}
