//! The history of a backup: its manifests from the one that holds everything to the newest, each following the other.

use super::depot::{Depot, DepotError};
use super::error::{BackupError, Fault};
use selfchain_types::KeyId;
use selfchain_types::backup::{BackupItem, MANIFEST_LEN_MAX, Manifest, PartEntry, PartHolds};
use selfchain_types::codec::{narrow, wide};

/// The manifests that a restore needs, checked: signed by the owner, of one chain, each naming the one before, their
/// rows without a gap.
#[derive(Debug)]
pub struct History {
    manifests: Vec<Manifest>,
}

impl History {
    /// Reads the history that ends with the newest manifest.
    ///
    /// # Errors
    /// [`BackupError`]; [`BackupError::Empty`] where there is none.
    pub fn read(depot: &dyn Depot, owner: &KeyId) -> Result<Self, BackupError> {
        let newest = newest(depot, owner)?.ok_or(BackupError::Empty)?;
        let (base, last) = (newest.body().base, newest.body().sequence);
        let mut manifests = Vec::new();
        for sequence in base..last {
            manifests.push(read(depot, owner, sequence)?);
        }
        manifests.push(newest);
        check_links(&manifests)?;
        check_reach(&manifests)?;
        Ok(Self { manifests })
    }

    /// The manifests, the oldest first.
    pub fn manifests(&self) -> &[Manifest] {
        &self.manifests
    }

    /// The newest manifest.
    pub fn newest(&self) -> &Manifest {
        self.manifests.last().expect("a history has a manifest")
    }

    /// Every part, in the order of restoring.
    pub fn parts(&self) -> impl Iterator<Item = (BackupItem, PartEntry)> + '_ {
        self.manifests.iter().flat_map(parts_of)
    }
}

/// The parts of a manifest with their names.
fn parts_of(manifest: &Manifest) -> impl Iterator<Item = (BackupItem, PartEntry)> + '_ {
    let sequence = manifest.body().sequence;
    let parts = manifest.body().parts.iter().enumerate();
    parts.map(move |(number, entry)| {
        let number = narrow(number);
        (BackupItem::Part { sequence, number }, *entry)
    })
}

/// The newest manifest, if there is one.
pub(super) fn newest(depot: &dyn Depot, owner: &KeyId) -> Result<Option<Manifest>, BackupError> {
    let kept = depot.list()?;
    let manifests = kept.iter().filter_map(|kept| match kept.item {
        BackupItem::Manifest(sequence) => Some(sequence),
        BackupItem::Part { .. } => None,
    });
    match manifests.max() {
        Some(sequence) => read(depot, owner, sequence).map(Some),
        None => Ok(None),
    }
}

fn read(depot: &dyn Depot, owner: &KeyId, sequence: u64) -> Result<Manifest, BackupError> {
    let item = BackupItem::Manifest(sequence);
    let bytes = get(depot, item, wide(MANIFEST_LEN_MAX))?;
    let manifest = Manifest::decode(&bytes, owner).map_err(|error| Fault::Manifest(error).of(item))?;
    match manifest.body().sequence {
        got if got != sequence => Err(Fault::Number { got }.of(item)),
        _ => Ok(manifest),
    }
}

/// A piece, its absence named as a fault of the backup.
pub(super) fn get(depot: &dyn Depot, item: BackupItem, max: u64) -> Result<Vec<u8>, BackupError> {
    depot.get(item, max).map_err(|error| match error {
        DepotError::NotFound { item } => Fault::Missing.of(item),
        DepotError::TooLong { item, len, max } => Fault::TooLong { got: len, max }.of(item),
        other => other.into(),
    })
}

fn check_links(manifests: &[Manifest]) -> Result<(), BackupError> {
    for pair in manifests.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        let item = BackupItem::Manifest(after.body().sequence);
        if after.body().previous != before.hash() {
            return Err(Fault::Previous.of(item));
        }
        if after.body().chain_id != before.body().chain_id || after.body().base != before.body().base {
            return Err(Fault::OtherChain.of(item));
        }
    }
    Ok(())
}

/// Checks that rows follow one another without a gap, and reach as far as each manifest says.
fn check_reach(manifests: &[Manifest]) -> Result<(), BackupError> {
    let mut reached: Option<(u64, u64)> = None;
    for manifest in manifests {
        for (item, entry) in parts_of(manifest) {
            if let PartHolds::Rows { first, last } = entry.holds {
                let want = reached.map_or(first.0, |(_, last)| last.saturating_add(1));
                if first.0 != want {
                    return Err(Fault::Row { got: first.0, want }.of(item));
                }
                reached = Some((reached.map_or(first.0, |(first, _)| first), last.0));
            }
        }
        let reach = &manifest.body().reach;
        let (first, last) = reached.unwrap_or_default();
        if (reach.first.0, reach.last.0) != (first, last) {
            let item = BackupItem::Manifest(manifest.body().sequence);
            return Err(Fault::Reach {
                got: last,
                want: reach.last.0,
            }
            .of(item));
        }
    }
    Ok(())
}

/// Removes what no restore needs any more: everything before the newest manifest that holds everything, and parts
/// without a manifest after the newest. Gives how many pieces that were.
///
/// # Errors
/// [`BackupError`]; nothing is removed where the newest manifest does not hold.
pub fn prune(depot: &dyn Depot, history: &History) -> Result<usize, BackupError> {
    let body = history.newest().body();
    let is_needed = |item: BackupItem| (body.base..=body.sequence).contains(&item.sequence());
    let mut kept = depot.list()?;
    kept.retain(|kept| !is_needed(kept.item));
    // Manifests go first: a part without one is nobody's, a manifest without its parts would be damage.
    for kept in &kept {
        depot.remove(kept.item)?;
    }
    Ok(kept.len())
}
