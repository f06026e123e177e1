//! Merges adjacent runs into one, a few records at a time.

use std::cmp::Ordering;
use std::sync::Arc;

use super::build::RunBuilder;
use super::entry::{IndexConfig, IndexError, KEY_LEN, position};
use super::run::{Cursor, Kind, Run};
use crate::disk::Disk;
use crate::metrics::len_u64;

/// A merge under way.
#[derive(Debug)]
pub(super) struct Merge {
    inputs: Vec<Arc<Run>>,
    builder: RunBuilder,
    kind: Kind,
    cursors: Vec<Cursor>,
    /// Entries below this height are left out: retention has dropped their rows.
    floor: u64,
}

/// How a step ended.
#[derive(Debug)]
pub(super) enum Progress {
    /// More to do.
    Going(Merge),
    /// The inputs and the run that replaces them.
    Done(Vec<Arc<Run>>, Run),
}

impl Merge {
    pub fn begin(disk: Arc<dyn Disk>, inputs: &[Arc<Run>], floor: u64) -> Result<Option<Self>, IndexError> {
        let (Some(oldest), Some(newest)) = (inputs.first(), inputs.last()) else {
            return Ok(None);
        };
        let records_max = Kind::ALL.map(|kind| inputs.iter().map(|run| run.records(kind)).sum());
        let builder = RunBuilder::new(disk, oldest.first, newest.last, records_max)?;
        let cursors = inputs
            .iter()
            .map(|run| run.scan(Kind::Tx))
            .collect::<Result<_, _>>()?;
        Ok(Some(Self {
            inputs: inputs.to_vec(),
            builder,
            kind: Kind::Tx,
            cursors,
            floor,
        }))
    }

    /// Merges at most `records` more.
    pub fn step(mut self, records: u64) -> Result<Progress, IndexError> {
        for _ in 0..records {
            let Some(cursor) = smallest(&mut self.cursors) else {
                if self.kind == Kind::History {
                    return Ok(Progress::Done(self.inputs, self.builder.finish()?));
                }
                self.builder.end_transactions()?;
                self.kind = Kind::History;
                self.cursors = self
                    .inputs
                    .iter()
                    .map(|run| run.scan(Kind::History))
                    .collect::<Result<_, _>>()?;
                continue;
            };
            if let Some(record) = cursor.record()
                && position(record).height >= self.floor
            {
                let (key, value) = record.split_at(KEY_LEN);
                self.builder.push(key, value)?;
            }
            cursor.advance()?;
        }
        Ok(Progress::Going(self))
    }

    /// The first height it covers.
    pub fn first(&self) -> u64 {
        self.inputs.first().map_or(0, |run| run.first)
    }

    /// Whether a run is being merged.
    pub fn reads(&self, run: &Arc<Run>) -> bool {
        self.inputs.iter().any(|input| Arc::ptr_eq(input, run))
    }

    pub fn abandon(self) -> Result<(), IndexError> {
        self.builder.abandon()
    }
}

fn smallest(cursors: &mut [Cursor]) -> Option<&mut Cursor> {
    cursors
        .iter_mut()
        .filter(|cursor| cursor.record().is_some())
        .min_by(|a, b| match (a.record(), b.record()) {
            (Some(a), Some(b)) => a[..KEY_LEN].cmp(&b[..KEY_LEN]),
            _ => Ordering::Equal,
        })
}

/// The runs to merge next, if any: the newest [`FANOUT`] neighbours of one size class that fit a run
/// together, or, when there are too many runs, the two neighbours that are smallest together.
pub(super) fn choose<'a>(runs: &'a [Arc<Run>], config: &IndexConfig) -> Option<&'a [Arc<Run>]> {
    let fits = |window: &&[Arc<Run>]| {
        let classes: Vec<_> = window.iter().map(|run| size_class(run.bytes, config)).collect();
        let bytes: u64 = window.iter().map(|run| run.bytes).sum();
        classes.iter().all(|class| *class == classes[0]) && bytes <= config.run_bytes_max
    };
    let like = runs.windows(FANOUT).rev().find(fits);
    let crowded = || {
        let pairs = runs.windows(2).filter(|_| runs.len() > config.runs_max);
        pairs.min_by_key(|pair| pair.iter().map(|run| run.bytes).sum::<u64>())
    };
    like.or_else(crowded)
}

/// Four times the size is one class more; all that a full buffer or less makes is class 0.
fn size_class(bytes: u64, config: &IndexConfig) -> u32 {
    (bytes / config.buffer_bytes_max.max(1))
        .checked_ilog2()
        .map_or(0, |log| 1 + log / 2)
}

/// Runs merged into one.
const FANOUT: usize = 4;

/// What a block's insert merges for every record it adds: more than all classes of a record's life need.
pub(super) const MERGED_PER_INSERTED: u64 = 8;
/// And at least this.
pub(super) const MERGED_PER_BLOCK: u64 = 2_048;

/// Records to merge after inserting this many.
pub(super) fn merge_budget(inserted: usize) -> u64 {
    len_u64(inserted)
        .saturating_mul(MERGED_PER_INSERTED)
        .saturating_add(MERGED_PER_BLOCK)
}
