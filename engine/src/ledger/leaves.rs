//! A table's Merkle tree, and which of its records have changed since it was hashed.

use super::marks::Marks;
use crate::proof::DenseTree;
use rayon::prelude::*;
use selfchain_types::Hash;

/// The tree over a table's records, brought up to date when its root is wanted.
#[derive(Clone, Debug, Default)]
pub(super) struct Leaves {
    tree: DenseTree,
    changed: Marks,
}

impl Leaves {
    /// Says that a record changed.
    #[inline]
    pub(super) fn mark(&mut self, index: u32) {
        self.changed.set(index);
    }

    /// The root over the first `len` records, of which changed ones are hashed anew; `None` without records.
    pub(super) fn root(&mut self, len: u32, leaf: impl Fn(u32) -> Hash + Sync) -> Option<Hash> {
        let mut indices = Vec::new();
        loop {
            indices.clear();
            let seen = self.changed.drain(BATCH, |index| indices.push(index));
            if seen == 0 {
                return (len > 0).then(|| self.tree.root());
            }
            // What a rolled back chain appended was marked and is gone.
            indices.retain(|index| *index < len);
            let hash = |index: &u32| (*index, leaf(*index));
            let changes: Vec<(u32, Hash)> = if indices.len() < PARALLEL_MIN {
                indices.iter().map(hash).collect()
            } else {
                indices
                    .par_iter()
                    .with_min_len(PARALLEL_MIN / 4)
                    .map(hash)
                    .collect()
            };
            self.tree.update(&changes);
        }
    }

    /// Siblings from the leaf at `index` to the root, and the number of leaves, as of the last root.
    pub(super) fn path(&self, index: u32) -> Option<(u64, Vec<Hash>)> {
        Some((self.tree.len(), self.tree.path(index)?))
    }
}

/// Records hashed at once: bounds the memory that a root over millions takes.
const BATCH: usize = 1 << 16;
/// Fewer are hashed by one thread: waking others costs more.
const PARALLEL_MIN: usize = 256;

/// Hash of a small table that is hashed whole.
pub(super) fn whole(bytes: &[u8]) -> Hash {
    selfchain_types::hash::TABLE.hash(bytes)
}
