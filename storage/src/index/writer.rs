//! The writing end: takes blocks in order, writes runs, merges them, drops what is damaged or pruned.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use super::build::RunBuilder;
use super::entry::{HistoryEntry, IndexConfig, IndexError, Position, TxEntry, key};
use super::merge::{Merge, Progress, choose, merge_budget};
use super::query::{IndexReader, Shared, State};
use super::run::{INDEX_DIR, Run, io_error, run_heights, run_path};
use crate::disk::{Disk, remove_unpublished};
use crate::guard::{read, write};
use crate::metrics::{StorageMetrics, len_u64};

/// The index of one ledger. One thread feeds it rows that are durable in the log.
#[derive(Debug)]
pub struct Index {
    shared: Arc<Shared>,
    merge: Option<Merge>,
    /// The first height in no run.
    buffered_from: Option<u64>,
    /// The height an empty index must begin with, when the log says so.
    begin_at: Option<u64>,
}

impl Index {
    /// Opens the index of a log that holds the heights `log` (`None` while it is empty). Runs that are
    /// damaged, and all newer ones, are dropped; so is everything when the index does not reach back to the
    /// log's first height. Feed it from [`Index::expected`] on.
    pub fn open(
        disk: Arc<dyn Disk>,
        config: IndexConfig,
        metrics: Arc<StorageMetrics>,
        log: Option<RangeInclusive<u64>>,
    ) -> Result<Self, IndexError> {
        let failed = |source| io_error("open", INDEX_DIR, source);
        disk.create_dir(INDEX_DIR).map_err(failed)?;
        let names = remove_unpublished(&*disk, INDEX_DIR).map_err(failed)?;
        let runs = recover_runs(&*disk, &names, log.as_ref(), &metrics)?;
        let through = runs.last().map(|run| run.last);
        let floor = log.as_ref().map_or(0, |log| *log.start());
        let shared = Arc::new(Shared {
            disk,
            config,
            metrics,
            state: RwLock::new(State {
                runs,
                through,
                floor,
                ..State::default()
            }),
            damaged: AtomicU64::new(UNDAMAGED),
        });
        let index = Self {
            shared,
            merge: None,
            buffered_from: through.map(|through| through + 1),
            begin_at: log.map(|log| *log.start()),
        };
        index.measure();
        Ok(index)
    }

    /// The reading end.
    pub fn reader(&self) -> IndexReader {
        IndexReader {
            shared: Arc::clone(&self.shared),
        }
    }

    /// The newest height in the index, `None` while it is empty.
    pub fn indexed_through(&self) -> Option<u64> {
        read(&self.shared.state).through
    }

    /// The height to feed next; `None` when the log was empty too, and any will do.
    pub fn expected(&self) -> Option<u64> {
        self.indexed_through()
            .map(|through| through.saturating_add(1))
            .or(self.begin_at)
    }

    /// Adds the entries of one block. Durable only with its run; a restart says what to feed again.
    ///
    /// Errors: [`IndexError::Gap`]; [`IndexError::Dropped`] when damage was found and dropped (go on from
    /// the height it names); [`IndexError::Io`] before this block was inserted.
    pub fn insert_block(
        &mut self,
        height: u64,
        txs: &[TxEntry],
        history: &[HistoryEntry],
    ) -> Result<(), IndexError> {
        self.drop_damaged()?;
        if let Some(expected) = self.expected()
            && expected != height
        {
            return Err(IndexError::Gap {
                expected,
                got: height,
            });
        }
        if self.is_buffer_full(height) {
            self.flush()?;
        }
        self.advance_merge(merge_budget(txs.len() + history.len()))?;
        let mut state = write(&self.shared.state);
        for tx in txs {
            state.txs.insert(key(
                &tx.prefix,
                Position {
                    height,
                    index: tx.index,
                },
            ));
        }
        for entry in history {
            let position = Position {
                height,
                index: entry.index,
            };
            state
                .history
                .insert(key(&entry.account.to_be_bytes(), position), entry.value);
        }
        state.through = Some(height);
        self.shared.metrics.index_buffer_bytes.set(buffer_bytes(&state));
        self.buffered_from.get_or_insert(height);
        Ok(())
    }

    /// Writes what is in memory as a run. For a clean stop; otherwise done when the buffer is full.
    pub fn flush(&mut self) -> Result<(), IndexError> {
        let (Some(first), Some(last)) = (self.buffered_from, self.indexed_through()) else {
            return Ok(());
        };
        if last < first {
            return Ok(());
        }
        self.refuse_without_room(buffer_bytes(&read(&self.shared.state)))?;
        let run = {
            // Readers go on: they see the entries in memory until the run takes their place.
            let state = read(&self.shared.state);
            let records = [len_u64(state.txs.len()), len_u64(state.history.len())];
            let mut builder = RunBuilder::new(Arc::clone(&self.shared.disk), first, last, records)?;
            state.txs.iter().try_for_each(|key| builder.push(key, &[]))?;
            builder.end_transactions()?;
            state
                .history
                .iter()
                .try_for_each(|(key, value)| builder.push(key, value))?;
            builder.finish()?
        };
        let mut state = write(&self.shared.state);
        state.runs.push(Arc::new(run));
        state.txs.clear();
        state.history.clear();
        drop(state);
        self.buffered_from = Some(last + 1);
        self.measure();
        Ok(())
    }

    /// Forgets entries below `height`: at once in answers, on the disk as whole runs lie below it.
    pub fn retain_from(&mut self, height: u64) -> Result<(), IndexError> {
        let dropped: Vec<Arc<Run>> = {
            let mut state = write(&self.shared.state);
            state.floor = state.floor.max(height);
            let count = state.runs.iter().take_while(|run| run.last < height).count();
            // The newest run stays: it says how far the index has come.
            let count = count.min(state.runs.len().saturating_sub(1));
            state.runs.drain(..count).collect()
        };
        if let Some(merge) = self
            .merge
            .take_if(|merge| dropped.iter().any(|run| merge.reads(run)))
        {
            merge.abandon()?;
        }
        self.remove_files(&dropped)?;
        self.measure();
        Ok(())
    }

    /// Drops runs from the first damaged one on, and everything in memory.
    fn drop_damaged(&mut self) -> Result<(), IndexError> {
        let damaged = self.shared.damaged.swap(UNDAMAGED, Ordering::AcqRel);
        if damaged == UNDAMAGED {
            return Ok(());
        }
        if let Some(merge) = self.merge.take() {
            merge.abandon()?;
        }
        let dropped: Vec<Arc<Run>> = {
            let mut state = write(&self.shared.state);
            let keep = state.runs.iter().take_while(|run| run.first < damaged).count();
            let dropped = state.runs.drain(keep..).collect();
            state.txs.clear();
            state.history.clear();
            state.through = state.runs.last().map(|run| run.last);
            self.begin_at = Some(damaged.max(state.floor));
            dropped
        };
        self.shared.metrics.index_runs_dropped.add(len_u64(dropped.len()));
        // The newest first: a crash on the way leaves runs without a hole.
        let newest_first: Vec<_> = dropped.into_iter().rev().collect();
        self.remove_files(&newest_first)?;
        self.buffered_from = self.indexed_through().map(|through| through + 1);
        self.measure();
        Err(IndexError::Dropped {
            expected: self.expected().unwrap_or(damaged),
        })
    }

    fn is_buffer_full(&self, height: u64) -> bool {
        let heights = self.buffered_from.map_or(0, |from| height.saturating_sub(from));
        buffer_bytes(&read(&self.shared.state)) >= self.shared.config.buffer_bytes_max
            || heights >= self.shared.config.buffer_heights_max
    }

    fn refuse_without_room(&self, bytes: u64) -> Result<(), IndexError> {
        let free_bytes = self
            .shared
            .disk
            .free_bytes()
            .map_err(|source| io_error("measure", INDEX_DIR, source))?;
        let needed_bytes = bytes.saturating_add(self.shared.config.reserve_bytes);
        if free_bytes < needed_bytes {
            Err(IndexError::DiskFull {
                free_bytes,
                needed_bytes,
            })
        } else {
            Ok(())
        }
    }

    /// Begins the merge that is due, unless the disk has no room for it: more runs are only slower.
    fn begin_merge(&self) -> Result<Option<Merge>, IndexError> {
        let state = read(&self.shared.state);
        let Some(inputs) = choose(&state.runs, &self.shared.config) else {
            return Ok(None);
        };
        match self.refuse_without_room(inputs.iter().map(|run| run.bytes).sum()) {
            Ok(()) => Merge::begin(Arc::clone(&self.shared.disk), inputs, state.floor),
            Err(IndexError::DiskFull { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn advance_merge(&mut self, records: u64) -> Result<(), IndexError> {
        let merge = match self.merge.take() {
            Some(merge) => Some(merge),
            None => self.begin_merge()?,
        };
        let Some(merge) = merge else { return Ok(()) };
        let first = merge.first();
        match merge.step(records) {
            Ok(Progress::Going(merge)) => {
                self.merge = Some(merge);
                Ok(())
            }
            Ok(Progress::Done(inputs, merged)) => self.replace(&inputs, merged),
            Err(error) => {
                if let IndexError::Corrupt { .. } = &error {
                    self.shared.damaged.fetch_min(first, Ordering::AcqRel);
                }
                Err(error)
            }
        }
    }

    /// Puts a merged run in the place of its inputs, then removes their files. A crash between the two
    /// leaves runs that another contains, which opening removes.
    fn replace(&self, inputs: &[Arc<Run>], merged: Run) -> Result<(), IndexError> {
        let mut state = write(&self.shared.state);
        let merged = Arc::new(merged);
        let is_input = |run: &Arc<Run>| inputs.iter().any(|input| Arc::ptr_eq(input, run));
        let at = state.runs.iter().position(is_input).unwrap_or(0);
        state.runs.retain(|run| !is_input(run));
        state.runs.insert(at, merged);
        drop(state);
        self.remove_files(inputs)?;
        self.measure();
        Ok(())
    }

    /// Removes files in this order, each durably before the next.
    fn remove_files(&self, runs: &[Arc<Run>]) -> Result<(), IndexError> {
        for run in runs {
            remove_run(&*self.shared.disk, &run.path)?;
        }
        Ok(())
    }

    fn measure(&self) {
        let state = read(&self.shared.state);
        let metrics = &self.shared.metrics;
        metrics.index_runs.set_len(state.runs.len());
        metrics
            .index_bytes
            .set(state.runs.iter().map(|run| run.bytes).sum());
        metrics.index_buffer_bytes.set(buffer_bytes(&state));
    }
}

/// The runs to believe, oldest first and adjacent; every other file is removed.
fn recover_runs(
    disk: &dyn Disk,
    names: &[String],
    log: Option<&RangeInclusive<u64>>,
    metrics: &StorageMetrics,
) -> Result<Vec<Arc<Run>>, IndexError> {
    let mut ranges: Vec<_> = names.iter().filter_map(|name| run_heights(name)).collect();
    // Of runs that begin together the longest first: a merged run before its inputs.
    ranges.sort_unstable_by_key(|(first, last)| (*first, u64::MAX - *last));
    let mut runs: Vec<Arc<Run>> = Vec::new();
    let mut doubted = false;
    for (first, last) in ranges {
        let path = run_path(first, last);
        let newest = runs.last().map(|run| run.last);
        let in_log = log.is_some_and(|log| last <= *log.end());
        if newest.is_some_and(|newest| last <= newest) || doubted || !in_log {
            remove_run(disk, &path)?;
            continue;
        }
        if newest.is_some_and(|newest| newest.checked_add(1) != Some(first)) {
            // A hole: what is older cannot be told from complete any more, and goes.
            for run in runs.drain(..) {
                remove_run(disk, &run.path)?;
            }
        }
        match Run::open(disk, &path) {
            Ok(run) if (run.first, run.last) == (first, last) => runs.push(Arc::new(run)),
            Ok(_) | Err(IndexError::Corrupt { .. }) => {
                doubted = true;
                metrics.index_runs_dropped.add(1);
                remove_run(disk, &path)?;
            }
            Err(error) => return Err(error),
        }
    }
    let reaches_back = runs
        .first()
        .zip(log)
        .is_none_or(|(oldest, log)| oldest.first <= *log.start());
    if !reaches_back {
        for run in runs.drain(..) {
            remove_run(disk, &run.path)?;
        }
    }
    Ok(runs)
}

fn remove_run(disk: &dyn Disk, path: &str) -> Result<(), IndexError> {
    disk.remove(path)
        .map_err(|source| io_error("remove", path, source))?;
    disk.sync_dir(INDEX_DIR)
        .map_err(|source| io_error("remove", path, source))
}

/// What the entries in memory take, counting what a B-tree leaves empty.
fn buffer_bytes(state: &State) -> u64 {
    len_u64(state.txs.len()) * TX_BYTES + len_u64(state.history.len()) * HISTORY_BYTES
}

const TX_BYTES: u64 = 48;
const HISTORY_BYTES: u64 = 144;
const UNDAMAGED: u64 = u64::MAX;

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
