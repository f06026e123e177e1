//! Verify: replays the whole log, decides every block anew, and recomputes every hash, root and total.

use crate::recover::for_each_prepared;
use crate::store::{StoreError, read_genesis};
use selfchain_engine::commit::{Chain, VerifyError};
use selfchain_storage::{Disk, LogConfig, SegmentLog, StorageMetrics};
use selfchain_types::crypto::BatchVerifier;
use selfchain_types::seam::log::{Log, LogError};
use selfchain_types::{Amount, AssetId, Hash, Height};
use std::sync::Arc;

/// What was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyReport {
    /// The chain.
    pub chain_id: Hash,
    /// The newest height.
    pub height: Height,
    /// Operations that took effect.
    pub transfers: u64,
    /// State root after the newest height.
    pub state_root: Hash,
    /// Debits and credits posted, by asset: equal.
    pub totals: Vec<(AssetId, Amount, Amount)>,
}

/// Verifies the log on a disk, from its first height to its durable tip. `progress` hears heights.
///
/// # Errors
/// [`StoreError`]: [`failed_height`] names the first height that does not hold.
pub fn verify(
    disk: Arc<dyn Disk>,
    progress: &mut (dyn FnMut(Height, Height) + Send),
) -> Result<VerifyReport, StoreError> {
    let genesis = read_genesis(&*disk)?;
    let log = SegmentLog::open(disk, LogConfig::default(), Arc::new(StorageMetrics::default()))?;
    let reader = log.reader();
    let tip = Height(reader.tip().unwrap_or(0));
    if let Some(first) = reader.first().filter(|first| *first > 1) {
        return Err(StoreError::Unreachable { first });
    }
    let mut chain = Chain::new(genesis);
    let mut transfers = 0;
    let signatures = BatchVerifier::new();
    for_each_prepared(&*reader, Height(1), tip, &mut |block, height| {
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
        height: tip,
        transfers,
        state_root: chain.roots().state_root(),
        totals,
    })
}

/// The first height that does not hold, when that is what the error says.
pub fn failed_height(error: &StoreError) -> Option<Height> {
    match error {
        StoreError::Verify(error) => Some(error.height()),
        StoreError::Log(LogError::Corrupt { height, .. }) => Some(Height(*height)),
        _ => None,
    }
}
