//! Recovery: from the newest usable snapshot, the log is folded up to its durable tip.

use crate::store::{Store, StoreError};
use rayon::prelude::*;
use selfchain_engine::commit::{Chain, ChainSnapshot, Folded, Prepared};
use selfchain_engine::ledger::Ledger;
use selfchain_engine::proof::mountain::node_count;
use selfchain_storage::{HistoryEntry, Index, NodeFile, Snapshots, TxEntry};
use selfchain_types::roots::Table;
use selfchain_types::seam::log::{LogError, LogReader};
use selfchain_types::seam::snapshot::SnapshotStore;
use selfchain_types::{Hash, Height, codec};
use std::sync::Arc;

/// How far recovery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Height reached.
    pub height: Height,
    /// Height to reach.
    pub tip: Height,
}

impl Store {
    /// Rebuilds the chain at the log's durable tip: the newest snapshot that every projection has caught up
    /// with, then a fold of the rows after it. The last blocks' roots are recomputed and compared.
    ///
    /// # Errors
    /// [`StoreError`]; a damaged row is named by its height.
    pub fn recover(&self, progress: &mut dyn FnMut(Progress)) -> Result<Chain, StoreError> {
        let reader = self.log_reader();
        let tip = Height(reader.tip().unwrap_or(0));
        let mut chain = self.newest_snapshot(tip)?.unwrap_or_else(|| Chain::new(self.genesis.clone()));
        let next = chain.tip().height.next();
        match reader.first() {
            Some(first) if first > next.0 => return Err(StoreError::Unreachable { first }),
            _ => {}
        }
        let io = |source| StoreError::Io { action: "cut the receipts' nodes", source };
        self.receipt_nodes.truncate(node_count(chain.receipts().size())).map_err(io)?;
        let with_roots_from = chain.roots_needed_from(tip);
        for_each_prepared(&*reader, next, tip, &mut |block, height| {
            let folded = chain.fold(block, height >= with_roots_from)?;
            project(&self.index, &self.receipt_nodes, &folded)?;
            progress(Progress { height, tip });
            Ok(())
        })?;
        Ok(chain)
    }

    /// A reading end of the log.
    pub fn log_reader(&self) -> Arc<dyn LogReader> {
        selfchain_types::seam::log::Log::reader(&self.log)
    }

    fn newest_snapshot(&self, tip: Height) -> Result<Option<Chain>, StoreError> {
        let mut heights = self.snapshots.list()?;
        heights.retain(|height| *height <= tip.0.min(self.index.indexed_through()));
        while let Some(height) = heights.pop() {
            match self.restore(height) {
                Ok(chain) if self.receipt_nodes.len() >= node_count(chain.receipts().size()) => {
                    return Ok(Some(chain));
                }
                Ok(_) => tracing::warn!(height, "snapshot passed over: the receipts' nodes end before it"),
                Err(error) => tracing::warn!(height, error = %error, "snapshot passed over"),
            }
        }
        Ok(None)
    }

    fn restore(&self, height: u64) -> Result<Chain, RestoreFailure> {
        let manifest = self.snapshots.manifest(height)?;
        let snapshot = ChainSnapshot::decode(&manifest)?;
        let mut chunks = Table::ALL.into_iter().flat_map(|table| {
            let opened = self.snapshots.read(height, table.code());
            let (chunks, error) = match opened {
                Ok(chunks) => (Some(chunks), None),
                Err(error) => (None, Some(Err(error))),
            };
            error.into_iter().chain(chunks.into_iter().flatten().map(move |chunk| chunk.map(|bytes| (table, bytes))))
        });
        let ledger = Ledger::restore(&self.genesis, &mut chunks)?;
        Chain::restore(self.genesis.clone(), ledger, snapshot).map_err(RestoreFailure::Root)
    }
}

/// Writes snapshots, each after the projections that it will be opened with.
#[derive(Clone, Debug)]
pub struct Snapshotter {
    snapshots: Arc<Snapshots>,
    index: Arc<Index>,
    receipt_nodes: Arc<NodeFile>,
}

impl Snapshotter {
    /// The snapshotter of a store.
    pub fn of(store: &Store) -> Self {
        Self {
            snapshots: Arc::clone(&store.snapshots),
            index: Arc::clone(&store.index),
            receipt_nodes: Arc::clone(&store.receipt_nodes),
        }
    }

    /// Writes the chain's state down at its tip.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn write(&self, chain: &Chain) -> Result<(), StoreError> {
        self.receipt_nodes.sync().map_err(|source| StoreError::Io { action: "sync the receipts' nodes", source })?;
        self.index.flush()?;
        let mut writer = self.snapshots.begin(chain.tip().height.0)?;
        let mut failed = Ok(());
        chain.ledger().snapshot(&mut |table, chunk| {
            if failed.is_ok() {
                failed = writer.put(table.code(), chunk);
            }
        });
        failed?;
        writer.finish(&chain.snapshot().to_bytes())?;
        Ok(())
    }

    /// Whether the projections have caught up with this height.
    pub fn is_caught_up(&self, height: Height) -> bool {
        self.index.indexed_through() >= height.0
    }
}

#[derive(Debug, thiserror::Error)]
enum RestoreFailure {
    #[error(transparent)]
    Snapshot(#[from] selfchain_types::seam::snapshot::SnapshotError),
    #[error("its manifest cannot be read")]
    Manifest(#[from] codec::DecodeError),
    #[error(transparent)]
    Ledger(#[from] selfchain_engine::ledger::RestoreError),
    #[error("its {} table does not have the root it says", .0.name())]
    Root(Table),
}

/// Tells the projections behind the log what a block did.
pub(crate) fn project(
    index: &Index,
    receipt_nodes: &NodeFile,
    folded: &Folded,
) -> Result<(), StoreError> {
    let height = folded.tip.height.0;
    let nodes: Vec<[u8; 32]> = folded.receipt_nodes.iter().map(|node| node.0).collect();
    receipt_nodes
        .append(&nodes)
        .map_err(|source| StoreError::Io { action: "append to the receipts' nodes", source })?;
    if height <= index.indexed_through() {
        return Ok(());
    }
    let transactions: Vec<TxEntry> = folded
        .transactions
        .iter()
        .enumerate()
        .map(|(index, transaction)| tx_entry(&transaction.tx_id, height, codec::narrow(index)))
        .collect();
    let history: Vec<HistoryEntry> = folded
        .history
        .iter()
        .map(|change| history_entry(change, height))
        .collect();
    index.insert_block(height, &transactions, &history)?;
    Ok(())
}

/// Splits, decodes and hashes the rows `from ..= to` in parallel batches, one batch ahead of `each`.
pub(crate) fn for_each_prepared(
    reader: &dyn LogReader,
    from: Height,
    to: Height,
    each: &mut (dyn FnMut(Prepared<'_>, Height) -> Result<(), StoreError> + Send),
) -> Result<(), StoreError> {
    let mut next = from;
    let mut rows = read_batch(reader, &mut next, to)?;
    while !rows.is_empty() {
        let prepared: Vec<Result<Prepared<'_>, _>> =
            rows.par_iter().map(|(height, row)| Prepared::new(*height, row)).collect();
        let (ahead, done) = rayon::join(
            || read_batch(reader, &mut next, to),
            || {
                rows.iter().zip(prepared).try_for_each(|((height, _), block)| each(block?, *height))
            },
        );
        done?;
        rows = ahead?;
    }
    Ok(())
}

/// Rows read ahead, in bytes: a full block or many small ones.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Rows read ahead, in rows.
const BATCH_ROWS: usize = 4_096;

fn read_batch(
    reader: &dyn LogReader,
    next: &mut Height,
    to: Height,
) -> Result<Vec<(Height, Arc<[u8]>)>, LogError> {
    let mut rows = Vec::new();
    let mut bytes = 0;
    while *next <= to && bytes < BATCH_BYTES && rows.len() < BATCH_ROWS {
        let row = reader.read(next.0)?;
        bytes += row.len();
        rows.push((*next, row));
        *next = next.next();
    }
    Ok(rows)
}

fn tx_entry(tx_id: &Hash, height: u64, index: u32) -> TxEntry {
    let mut prefix = [0; 16];
    prefix.copy_from_slice(&tx_id.0[..16]);
    TxEntry { prefix, height, index }
}

fn history_entry(change: &selfchain_engine::ledger::HistoryChange, height: u64) -> HistoryEntry {
    HistoryEntry { account: change.account.0, height, index: change.operation, value: change.balances }
}
