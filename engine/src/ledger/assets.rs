//! The table of assets: few, found by number.

use super::dense::Dense;
use super::leaves::Leaves;
use alloc::collections::BTreeMap;
use selfchain_types::asset::AssetRecord;
use selfchain_types::{AssetId, Hash, hash};
use zerocopy::IntoBytes;

/// Every asset, in the order of creation.
#[derive(Clone, Debug, Default)]
pub(super) struct Assets {
    pub(super) records: Dense<AssetRecord>,
    ids: BTreeMap<u32, u32>,
    leaves: Leaves,
}

impl Assets {
    pub(super) fn find(&self, id: AssetId) -> Option<&AssetRecord> {
        self.ids.get(&id.0).map(|index| &self.records[*index])
    }

    /// Adds an asset that [`Self::find`] does not find.
    pub(super) fn add(&mut self, record: AssetRecord) {
        let index = self.records.push(record);
        self.ids.insert(record.id.get(), index);
        self.leaves.mark(index);
    }

    /// Undoes the last addition.
    pub(super) fn undo_add(&mut self) {
        if let Some(record) = self.records.pop() {
            self.ids.remove(&record.id.get());
        }
    }

    pub(super) fn root(&mut self) -> Option<Hash> {
        let records = &self.records;
        self.leaves
            .root(records.len(), |index| hash::ASSET.hash(records[index].as_bytes()))
    }
}
