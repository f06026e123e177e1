//! Verify: replays the log, decides every block anew, and recomputes every hash, root and total.
//!
//! Where retention has dropped the log's beginning, from the oldest snapshot that fits: its tables must have the
//! roots that it says, and the headers after it must commit to those.

use crate::recover::{for_each_prepared, restore};
use crate::standing::standing;
use crate::store::{StoreError, read_genesis};
use selfchain_engine::commit::{Chain, VerifyError};
use selfchain_storage::{Disk, LogConfig, SegmentLog, SnapshotConfig, Snapshots, StorageMetrics};
use selfchain_types::crypto::BatchVerifier;
use selfchain_types::seam::log::{Log, LogError, LogReader};
use selfchain_types::seam::snapshot::SnapshotStore;
use selfchain_types::{Amount, AssetId, Genesis, Hash, Height};
use std::sync::Arc;

/// What was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyReport {
    /// The chain.
    pub chain_id: Hash,
    /// The first height that was decided anew: 1, or the one after a snapshot.
    pub from: Height,
    /// The first height of the log. Up to `from`, blocks were checked for what they say by themselves: hashes,
    /// certificates, bodies.
    pub first: Height,
    /// The newest height.
    pub height: Height,
    /// Operations that took effect in the blocks that were decided anew.
    pub transfers: u64,
    /// The newest block's hash; zeros where there is none.
    pub block: Hash,
    /// State root after the newest height.
    pub state_root: Hash,
    /// Debits and credits posted, by asset: equal.
    pub totals: Vec<(AssetId, Amount, Amount)>,
}

/// Verifies the log on a disk, up to its durable tip: from height 1, or, where the log begins later, from the
/// oldest snapshot that fits. `progress` hears heights.
///
/// # Errors
/// [`StoreError`]: [`failed_height`] names the first height that does not hold.
pub fn verify(
    disk: Arc<dyn Disk>,
    progress: &mut (dyn FnMut(Height, Height) + Send),
) -> Result<VerifyReport, StoreError> {
    verify_as(read_genesis(&*disk)?, disk, progress)
}

/// As [`verify`], of the chain with this genesis, wherever that lies.
///
/// # Errors
/// As [`verify`].
pub fn verify_as(
    genesis: Genesis,
    disk: Arc<dyn Disk>,
    progress: &mut (dyn FnMut(Height, Height) + Send),
) -> Result<VerifyReport, StoreError> {
    let log = SegmentLog::open(
        Arc::clone(&disk),
        LogConfig::default(),
        Arc::new(StorageMetrics::default()),
    )?;
    let reader = log.reader();
    let tip = Height(reader.tip().unwrap_or(0));
    let first = Height(reader.first().unwrap_or(1));
    let mut chain = if first > Height(1) {
        let chain = chain_at_snapshot(disk, &genesis, first, tip)?;
        check_sealed(&*reader, &chain, first, progress)?;
        chain
    } else {
        let standing = standing(&genesis)?;
        Chain::new(genesis, standing)
    };
    let from = chain.tip().height.next();
    let mut transfers = 0;
    let signatures = BatchVerifier::new();
    for_each_prepared(&*reader, from, tip, &mut |block, height| {
        transfers += chain.verify(&block, &signatures)?;
        progress(height, tip);
        Ok(())
    })?;
    let totals = chain.ledger().totals();
    if totals.iter().any(|(_, debits, credits)| debits != credits) {
        return Err(VerifyError::Mismatch {
            height: tip,
            what: "total of debits and credits",
        }
        .into());
    }
    Ok(VerifyReport {
        chain_id: chain.chain_id(),
        from,
        first,
        height: tip,
        block: match tip {
            Height::GENESIS => Hash::ZERO,
            _ => chain.tip().hash,
        },
        transfers,
        state_root: chain.roots().state_root(),
        totals,
    })
}

/// The chain at the oldest snapshot from which the log goes on without a gap, and whose roots one of its headers
/// commits to.
fn chain_at_snapshot(
    disk: Arc<dyn Disk>,
    genesis: &Genesis,
    first: Height,
    tip: Height,
) -> Result<Chain, StoreError> {
    let snapshots = Snapshots::open_with(disk, SnapshotConfig::default())?;
    let last = tip.0.saturating_sub(genesis.plane.root_lag());
    let fits = |height: &u64| height.saturating_add(1) >= first.0 && *height <= last;
    let height = snapshots
        .list()?
        .into_iter()
        .find(fits)
        .ok_or(StoreError::Unverifiable { first: first.0, last })?;
    restore(genesis, &snapshots, height).map_err(|source| StoreError::Restore {
        height,
        source: Box::new(source),
    })
}

/// Checks the blocks from `first` to the snapshot's: that they are one chain, which ends where the snapshot is.
fn check_sealed(
    reader: &dyn LogReader,
    chain: &Chain,
    first: Height,
    progress: &mut (dyn FnMut(Height, Height) + Send),
) -> Result<(), StoreError> {
    let tip = chain.tip();
    let mut parent = None;
    for_each_prepared(reader, first, tip.height, &mut |block, height| {
        chain.verify_sealed(&block, height, parent)?;
        parent = Some(block.hash());
        progress(height, tip.height);
        Ok(())
    })?;
    if parent.is_some_and(|hash| hash != tip.hash) {
        return Err(VerifyError::Mismatch {
            height: tip.height,
            what: "hash that the snapshot says",
        }
        .into());
    }
    Ok(())
}

/// The first height that does not hold, when that is what the error says.
pub fn failed_height(error: &StoreError) -> Option<Height> {
    match error {
        StoreError::Verify(error) => Some(error.height()),
        StoreError::Log(LogError::Corrupt { height, .. }) => Some(Height(*height)),
        _ => None,
    }
}
