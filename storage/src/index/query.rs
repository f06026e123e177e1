//! What can be asked of the index, by any number of threads while one writer inserts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use super::entry::{
    HistoryRow, IndexConfig, IndexError, KEY_LEN, Key, Position, VALUE_LEN, key, position, prefix,
};
use super::run::{Kind, Run};
use crate::disk::Disk;
use crate::guard::read;
use crate::metrics::StorageMetrics;

/// What the writer and the readers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub disk: Arc<dyn Disk>,
    pub config: IndexConfig,
    pub metrics: Arc<StorageMetrics>,
    pub state: RwLock<State>,
    /// First height of the oldest run found damaged, `u64::MAX` while there is none.
    pub damaged: AtomicU64,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Oldest first; their heights are adjacent.
    pub runs: Vec<Arc<Run>>,
    /// Entries in no run yet.
    pub txs: BTreeSet<Key>,
    pub history: BTreeMap<Key, [u8; VALUE_LEN]>,
    /// The newest height inserted.
    pub through: Option<u64>,
    /// Answers never reach below this height.
    pub floor: u64,
}

/// The reading end of the index.
#[derive(Debug, Clone)]
pub struct IndexReader {
    pub(super) shared: Arc<Shared>,
}

impl IndexReader {
    /// The newest height in the index, `None` while it is empty.
    pub fn indexed_through(&self) -> Option<u64> {
        read(&self.shared.state).through
    }

    /// Heights that the index is behind a log with this tip.
    pub fn lag(&self, tip: u64) -> u64 {
        let through = self.indexed_through();
        let lag = through.map_or(tip, |through| tip.saturating_sub(through));
        self.shared.metrics.index_lag_heights.set(lag);
        lag
    }

    /// [`IndexError::Behind`] when the lag is over the limit: an answer would not be worth having.
    pub fn refuse_behind(&self, tip: u64) -> Result<(), IndexError> {
        let by = self.lag(tip);
        if by > self.shared.config.lag_max {
            Err(IndexError::Behind { by })
        } else {
            Ok(())
        }
    }

    /// Positions of transactions whose id begins with `prefix`, newest first, at most
    /// [`CANDIDATES_MAX`]. Different ids may share a prefix: compare the whole id in the row.
    pub fn find_tx(&self, prefix: &[u8; 16]) -> Result<Vec<Position>, IndexError> {
        let from = key(prefix, Position::FIRST);
        let to = key(prefix, Position::LAST);
        let (runs, floor, mut found) = {
            let state = read(&self.shared.state);
            let found: Vec<_> = state
                .txs
                .range(from..=to)
                .rev()
                .map(|key| position(key))
                .collect();
            (state.runs.clone(), state.floor, found)
        };
        for run in runs.iter().rev() {
            if found.len() >= CANDIDATES_MAX {
                break;
            }
            let positions = self.noting(run, || positions_in(run, prefix, &from))?;
            found.extend(positions.into_iter().rev());
        }
        found.retain(|position| position.height >= floor);
        found.truncate(CANDIDATES_MAX);
        Ok(found)
    }

    /// An account's history from `from` on, oldest first, at most `limit` rows.
    pub fn history(
        &self,
        account: u128,
        from: Position,
        limit: usize,
    ) -> Result<Vec<HistoryRow>, IndexError> {
        let prefix = account.to_be_bytes();
        let to = key(&prefix, Position::LAST);
        let (runs, from, buffered) = {
            let state = read(&self.shared.state);
            let from = from.max(Position {
                height: state.floor,
                index: 0,
            });
            let buffered: Vec<_> = state
                .history
                .range(key(&prefix, from)..=to)
                .take(limit)
                .map(|(key, value)| HistoryRow {
                    position: position(key),
                    value: *value,
                })
                .collect();
            (state.runs.clone(), from, buffered)
        };
        let mut rows = Vec::new();
        for run in runs.iter().filter(|run| run.last >= from.height) {
            if rows.len() >= limit {
                break;
            }
            self.noting(run, || history_in(run, &prefix, from, limit, &mut rows))?;
        }
        rows.extend(buffered);
        rows.truncate(limit);
        Ok(rows)
    }

    /// What an account was after `height`: its newest history row at or below it. `None` when there is
    /// none at or above the retained floor: then it has not changed from there to `height`.
    pub fn balance_at(&self, account: u128, height: u64) -> Result<Option<HistoryRow>, IndexError> {
        let prefix = account.to_be_bytes();
        let to = key(
            &prefix,
            Position {
                height,
                index: u32::MAX,
            },
        );
        let (runs, floor) = {
            let state = read(&self.shared.state);
            let from = key(&prefix, Position::FIRST);
            if let Some((key, value)) = state.history.range(from..=to).next_back() {
                let row = HistoryRow {
                    position: position(key),
                    value: *value,
                };
                return Ok(Some(row).filter(|row| row.position.height >= state.floor));
            }
            (state.runs.clone(), state.floor)
        };
        for run in runs.iter().rev().filter(|run| run.first <= height) {
            let found = self.noting(run, || {
                if run.may_hold(Kind::History, &prefix)? {
                    run.last_at_most(Kind::History, &to)
                } else {
                    Ok(None)
                }
            })?;
            if let Some(row) = found.map(|record| history_row(&record)) {
                return Ok(Some(row).filter(|row| row.position.height >= floor));
            }
        }
        Ok(None)
    }

    /// Remembers which run an answer failed on, so that the writer drops it.
    fn noting<T>(&self, run: &Run, ask: impl FnOnce() -> Result<T, IndexError>) -> Result<T, IndexError> {
        let answer = ask();
        if let Err(IndexError::Corrupt { .. }) = &answer {
            self.shared.damaged.fetch_min(run.first, Ordering::AcqRel);
        }
        answer
    }
}

fn positions_in(run: &Arc<Run>, wanted: &[u8; 16], from: &Key) -> Result<Vec<Position>, IndexError> {
    let mut found = Vec::new();
    if !run.may_hold(Kind::Tx, wanted)? {
        return Ok(found);
    }
    let mut cursor = run.seek(Kind::Tx, from)?;
    while let Some(record) = cursor.record()
        && prefix(record) == *wanted
        && found.len() < CANDIDATES_MAX
    {
        found.push(position(record));
        cursor.advance()?;
    }
    Ok(found)
}

fn history_in(
    run: &Arc<Run>,
    wanted: &[u8; 16],
    from: Position,
    limit: usize,
    rows: &mut Vec<HistoryRow>,
) -> Result<(), IndexError> {
    if !run.may_hold(Kind::History, wanted)? {
        return Ok(());
    }
    let mut cursor = run.seek(Kind::History, &key(wanted, from))?;
    while let Some(record) = cursor.record()
        && prefix(record) == *wanted
        && rows.len() < limit
    {
        rows.push(history_row(record));
        cursor.advance()?;
    }
    Ok(())
}

fn history_row(record: &[u8]) -> HistoryRow {
    let value = record[KEY_LEN..]
        .first_chunk()
        .expect("a history record ends with its value");
    HistoryRow {
        position: position(record),
        value: *value,
    }
}

/// The most candidates a look-up returns. Sixteen bytes of a strong hash collide never by chance.
pub const CANDIDATES_MAX: usize = 64;
