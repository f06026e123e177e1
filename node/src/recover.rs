//! Recovery: from the newest usable snapshot, the log is folded up to its durable tip.

use crate::remember::write_memory;
use crate::standing::{FoundingError, standing};
use crate::store::{Store, StoreError};
use rayon::prelude::*;
use selfchain_engine::commit::{Chain, ChainSnapshot, Folded, Prepared, RestoreError, Transaction};
use selfchain_engine::ledger::{Cause, HistoryChange, Ledger};
use selfchain_engine::proof::mountain::node_count;
use selfchain_storage::index::{HistoryEntry, TxEntry};
use selfchain_storage::{HandoverFile, Index, IndexError, NodeFile, Snapshots};
use selfchain_types::message::{BOND_PLACES_FROM, OPERATION_PLACES_FROM, REWARD_PLACES_FROM};
use selfchain_types::roots::Table;
use selfchain_types::seam::log::LogReader;
use selfchain_types::seam::scorer::Scorer;
use selfchain_types::seam::snapshot::SnapshotStore;
use selfchain_types::{Genesis, Hash, Height, codec};
use std::sync::Arc;
use zerocopy::IntoBytes;

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
    /// with, then a fold of the rows after it. The last blocks' roots are recomputed and compared. An empty log goes on
    /// from the newest snapshot: one that was fetched from other validators.
    ///
    /// # Errors
    /// [`StoreError`]; a damaged row is named by its height.
    pub fn recover(&mut self, progress: &mut (dyn FnMut(Progress) + Send)) -> Result<Chain, StoreError> {
        let reader = self.log_reader();
        let tip = reader.tip().or(self.snapshots.latest()?);
        let tip = Height(tip.unwrap_or(0));
        let mut chain = match self.newest_snapshot(tip)? {
            Some(chain) => chain,
            None => Chain::new(self.genesis.clone(), standing(&self.genesis)?),
        };
        let next = chain.tip().height.next();
        match reader.first() {
            Some(first) if first > next.0 => return Err(StoreError::Unreachable { first }),
            _ => {}
        }
        let io = |source| StoreError::Io {
            action: "cut the receipts' nodes",
            source,
        };
        self.receipt_nodes
            .truncate(node_count(chain.receipts().size()))
            .map_err(io)?;
        let with_roots_from = chain.roots_needed_from(tip);
        let (index, receipt_nodes, handovers) = (&mut self.index, &self.receipt_nodes, &self.handovers);
        for_each_prepared(&*reader, next, tip, &mut |block, height| {
            let folded = chain.fold(block, height >= with_roots_from)?;
            project(index, receipt_nodes, handovers, &folded)?;
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
        // An index without anything is fed from the log's first block on.
        let first = self.log_reader().first();
        let begun = first.map_or(tip.0, |first| first.saturating_sub(1));
        let indexed = self.index.indexed_through().unwrap_or(begun);
        heights.retain(|height| *height <= tip.0.min(indexed));
        while let Some(height) = heights.pop() {
            match restore(&self.genesis, &self.snapshots, height) {
                Ok(chain) if self.receipt_nodes.len() >= node_count(chain.receipts().size()) => {
                    return Ok(Some(chain));
                }
                Ok(_) => tracing::warn!(height, "snapshot passed over: the receipts' nodes end before it"),
                Err(error) => tracing::warn!(height, error = %error, "snapshot passed over"),
            }
        }
        Ok(None)
    }
}

/// The chain at a snapshot, once its tables have the roots that its manifest says.
pub(crate) fn restore(
    genesis: &Genesis,
    snapshots: &Snapshots,
    height: u64,
) -> Result<Chain, RestoreFailure> {
    let manifest = snapshots.manifest(height)?;
    let snapshot = ChainSnapshot::decode(&manifest)?;
    // Accounts name their owners, so the keys come first, as they were written.
    // A scorer's memory is not the chain's: `remember` reads it.
    let others = Table::ALL
        .into_iter()
        .filter(|table| !matches!(table, Table::Keys | Table::Contexts));
    let mut chunks = core::iter::once(Table::Keys).chain(others).flat_map(|table| {
        let damaged = move |source| TableFailure { table, source };
        let (chunks, error) = match snapshots.read(height, table.code()) {
            Ok(chunks) => (Some(chunks), None),
            Err(error) => (None, Some(Err(damaged(error)))),
        };
        let chunks = chunks.into_iter().flatten();
        let named = chunks.map(move |chunk| chunk.map(|bytes| (table, bytes)).map_err(damaged));
        error.into_iter().chain(named)
    });
    let ledger = Ledger::restore(genesis, &mut chunks)?;
    if snapshot.tip.height.0 != height {
        return Err(RestoreFailure::Height(snapshot.tip.height));
    }
    let standing = standing(genesis)?;
    Ok(Chain::restore(genesis.clone(), standing, ledger, snapshot)?)
}

impl Store {
    /// Tells the projections behind the log what a block did.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn project(&mut self, folded: &Folded) -> Result<(), StoreError> {
        project(&mut self.index, &self.receipt_nodes, &self.handovers, folded)
    }

    /// Writes the chain's state at its tip down, after the projections that it will be opened with.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn write_snapshot(&mut self, chain: &Chain) -> Result<(), StoreError> {
        write_snapshot(
            chain.ledger(),
            &chain.snapshot(),
            None,
            &self.snapshots,
            &mut self.index,
            &self.receipt_nodes,
            &self.handovers,
        )
    }
}

/// Writes the chain's state at its tip down at once, and a scorer's memory with it.
pub(crate) fn write_snapshot(
    ledger: &Ledger,
    snapshot: &ChainSnapshot,
    scorer: Option<&mut dyn Scorer>,
    snapshots: &Snapshots,
    index: &mut Index,
    receipt_nodes: &NodeFile,
    handovers: &HandoverFile,
) -> Result<(), StoreError> {
    settle(index, receipt_nodes, handovers)?;
    let mut writer = snapshots.begin(snapshot.tip.height.0)?;
    let mut written = Ok(());
    ledger.snapshot(&mut |table, chunk| {
        if written.is_ok() {
            written = writer.put(table.code(), chunk);
        }
    });
    if let Some(scorer) = scorer {
        write_memory(scorer, &mut |chunk| {
            if written.is_ok() {
                written = writer.put(Table::Contexts.code(), chunk);
            }
        });
    }
    written?;
    writer.finish(&snapshot.to_bytes())?;
    Ok(())
}

/// Makes the projections durable as far as they are. Before a snapshot is finished: one above what they hold
/// would be passed over at the next start.
pub(crate) fn settle(
    index: &mut Index,
    receipt_nodes: &NodeFile,
    handovers: &HandoverFile,
) -> Result<(), StoreError> {
    receipt_nodes.sync().map_err(|source| StoreError::Io {
        action: "sync the receipts' nodes",
        source,
    })?;
    handovers.sync().map_err(|source| StoreError::Io {
        action: "sync the changes of the set of validators",
        source,
    })?;
    index.flush()?;
    Ok(())
}

/// Why a snapshot is not used.
#[derive(Debug, thiserror::Error)]
pub enum RestoreFailure {
    /// It cannot be read.
    #[error(transparent)]
    Snapshot(#[from] selfchain_types::seam::snapshot::SnapshotError),
    /// Its manifest is not one.
    #[error("its manifest cannot be read")]
    Manifest(#[from] codec::DecodeError),
    /// Its tables are no state.
    #[error("its tables are no state")]
    Ledger(#[from] selfchain_engine::ledger::RestoreError<TableFailure>),
    /// It is of another height than its name.
    #[error("it is of height {0}")]
    Height(Height),
    /// The chain's validators cannot begin.
    #[error(transparent)]
    Founding(#[from] FoundingError),
    /// It does not say itself what its manifest says of it.
    #[error(transparent)]
    Chain(#[from] RestoreError),
}

/// A table of a snapshot that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("its {} table cannot be read", table.name())]
pub struct TableFailure {
    /// The table.
    pub table: Table,
    /// Why.
    #[source]
    pub source: selfchain_types::seam::snapshot::SnapshotError,
}

/// Tells the projections behind the log what a block did.
pub(crate) fn project(
    index: &mut Index,
    receipt_nodes: &NodeFile,
    handovers: &HandoverFile,
    folded: &Folded,
) -> Result<(), StoreError> {
    let height = folded.tip.height.0;
    // The index first: it may refuse for want of room, and then nothing has been done.
    if index.indexed_through() < Some(height) {
        insert(index, folded)?;
    }
    if let Some(handover) = &folded.handover {
        handovers
            .append(height, &handover.to_bytes())
            .map_err(|source| StoreError::Io {
                action: "append a change of the set of validators",
                source,
            })?;
    }
    let nodes: Vec<[u8; 32]> = folded.receipt_nodes.iter().map(|node| node.0).collect();
    receipt_nodes.append(&nodes).map_err(|source| StoreError::Io {
        action: "append to the receipts' nodes",
        source,
    })
}

fn insert(index: &mut Index, folded: &Folded) -> Result<(), IndexError> {
    let transactions: Vec<TxEntry> = (0u32..)
        .zip(&folded.transactions)
        .map(|(index, transaction)| TxEntry {
            prefix: prefix(&transaction.tx_id),
            index,
        })
        .collect();
    let history: Vec<HistoryEntry> = folded
        .history
        .iter()
        .map(|change| history_entry(change, &folded.transactions))
        .collect();
    index.insert_block(folded.tip.height.0, &transactions, &history)
}

/// What the index knows a transaction by.
pub(crate) fn prefix(tx_id: &Hash) -> [u8; 16] {
    let mut prefix = [0; 16];
    prefix.copy_from_slice(&tx_id.0[..16]);
    prefix
}

/// A block's changes have their places in the order in which they happened: expiries, then for each envelope its fee
/// and its operations.
fn history_entry(change: &HistoryChange, transactions: &[Transaction]) -> HistoryEntry {
    let index = match change.cause {
        Cause::Expiry(at) => at,
        Cause::Fee(envelope) => {
            let first = transactions
                .get(codec::index(envelope))
                .map_or(0, |one| one.first_operation);
            OPERATION_PLACES_FROM + 2 * first
        }
        Cause::Operation(at) => OPERATION_PLACES_FROM + 2 * at + 1,
        Cause::Bond(at) => BOND_PLACES_FROM + at,
        Cause::Reward(at) => REWARD_PLACES_FROM + at,
    };
    let mut value = [0; 64];
    value.copy_from_slice(change.balances.as_bytes());
    HistoryEntry {
        account: change.account.0,
        index,
        value,
    }
}

/// As [`try_each_prepared`], for what fails only as a store does.
pub(crate) fn for_each_prepared(
    reader: &dyn LogReader,
    from: Height,
    to: Height,
    each: &mut (dyn FnMut(Prepared<'_>, Height) -> Result<(), StoreError> + Send),
) -> Result<(), StoreError> {
    try_each_prepared(reader, from, to, each)
}

/// Splits, decodes and hashes the rows `from ..= to` in parallel batches, one batch ahead of `each`, until that
/// fails.
pub(crate) fn try_each_prepared<E: From<StoreError> + Send>(
    reader: &dyn LogReader,
    from: Height,
    to: Height,
    each: &mut (dyn FnMut(Prepared<'_>, Height) -> Result<(), E> + Send),
) -> Result<(), E> {
    let mut next = from;
    let mut rows = read_batch(reader, &mut next, to)?;
    while !rows.is_empty() {
        let prepared: Vec<Result<Prepared<'_>, _>> = rows
            .par_iter()
            .map(|(height, row)| Prepared::new(*height, row))
            .collect();
        let (ahead, done) = rayon::join(
            || read_batch(reader, &mut next, to),
            || {
                rows.iter()
                    .zip(prepared)
                    .try_for_each(|((height, _), block)| each(block.map_err(StoreError::from)?, *height))
            },
        );
        done?;
        rows = ahead?;
    }
    Ok(())
}

/// A row and its height.
type HeldRow = (Height, Arc<[u8]>);

/// Rows read ahead, in bytes: a full block or many small ones.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Rows read ahead, in rows.
const BATCH_ROWS: usize = 4_096;

fn read_batch(reader: &dyn LogReader, next: &mut Height, to: Height) -> Result<Vec<HeldRow>, StoreError> {
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
