//! Opening: tells whole segments from torn ones, finishes interrupted sealing, and finds the tip.

use std::collections::BTreeSet;

use selfchain_types::seam::log::LogError;

use super::config::LogConfig;
use super::seal::{Seal, seal, seal_path};
use super::segment::{LOG_DIR, Segment, corrupt, file_len, io_error, segment_path};
use crate::disk::{Disk, remove_unpublished};

/// The segments of a directory, consecutive and oldest first. Only the last may be unsealed.
pub(super) fn recover_segments(disk: &dyn Disk, config: &LogConfig) -> Result<Vec<Segment>, LogError> {
    let failed = |source| io_error("read the directory", LOG_DIR, source);
    disk.create_dir(LOG_DIR).map_err(failed)?;
    let names = remove_unpublished(disk, LOG_DIR).map_err(failed)?;
    let firsts = heights(&names, ".redb");
    let seals = remove_orphan_seals(disk, &firsts, heights(&names, ".seal"))?;

    let mut segments: Vec<Segment> = Vec::with_capacity(firsts.len());
    for first in &firsts {
        if let Some(before) = segments.last()
            && before.last().checked_add(1) != Some(*first)
        {
            return Err(corrupt(
                before.last().saturating_add(1),
                "a segment of the log is missing",
            ));
        }
        let newest = firsts.last() == Some(first);
        if seals.contains(first) {
            segments.push(believe_seal(disk, *first)?);
            continue;
        }
        let (segment, has_rows) = Segment::recover(disk, config, *first)?;
        match (has_rows, newest) {
            (true, true) => segments.push(segment),
            (true, false) => {
                seal(disk, &segment)?;
                segments.push(segment);
            }
            (false, true) => remove_empty(disk, &segment)?,
            (false, false) => return Err(corrupt(*first, "its segment has no rows")),
        }
    }
    Ok(segments)
}

/// A sealed segment is believed as far as its length goes; its rows carry their own checksums.
fn believe_seal(disk: &dyn Disk, first: u64) -> Result<Segment, LogError> {
    let seal = Seal::read(disk, first)?;
    if file_len(disk, first)? != seal.file_len {
        return Err(corrupt(
            first,
            "its segment's file is not as long as its seal says",
        ));
    }
    Ok(Segment::sealed(first, seal.last, seal.row_bytes))
}

/// Retention removes a segment, then its seal: a seal older than every segment is what a crash left.
fn remove_orphan_seals(
    disk: &dyn Disk,
    firsts: &BTreeSet<u64>,
    seals: BTreeSet<u64>,
) -> Result<BTreeSet<u64>, LogError> {
    for orphan in seals.difference(firsts) {
        if firsts.first().is_none_or(|oldest| orphan > oldest) {
            return Err(corrupt(*orphan, "its segment is missing and its seal is not"));
        }
        let path = seal_path(*orphan);
        disk.remove(&path)
            .map_err(|source| io_error("remove", &path, source))?;
    }
    Ok(seals)
}

/// A segment that was begun and never committed to.
fn remove_empty(disk: &dyn Disk, segment: &Segment) -> Result<(), LogError> {
    segment.close()?;
    let path = segment_path(segment.first);
    let failed = |source| io_error("remove", &path, source);
    disk.remove(&path).map_err(failed)?;
    disk.sync_dir(LOG_DIR).map_err(failed)
}

fn heights(names: &[String], suffix: &str) -> BTreeSet<u64> {
    names
        .iter()
        .filter_map(|name| name.strip_suffix(suffix)?.parse().ok())
        .collect()
}
