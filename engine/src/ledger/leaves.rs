//! A table's Merkle tree, and which of its records have changed since it was hashed.

use super::marks::Marks;
use crate::proof::DenseTree;
use rayon::prelude::*;
use selfchain_types::Hash;
use selfchain_types::hash::{Domain, HASH_LANES};

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
        self.root_by_groups(len, |indices, leaves| {
            for (index, slot) in indices.iter().zip(leaves) {
                *slot = leaf(*index);
            }
        })
    }

    /// As [`Self::root`] of records that are `N` bytes long, with many hashed at once.
    pub(super) fn root_of_blocks<const N: usize>(
        &mut self,
        len: u32,
        domain: &Domain,
        bytes: impl Fn(u32) -> [u8; N] + Sync,
    ) -> Option<Hash> {
        self.root_by_groups(len, |indices, leaves| {
            let mut all = [[0; N]; HASH_LANES];
            for (index, slot) in indices.iter().zip(&mut all) {
                *slot = bytes(*index);
            }
            domain.hash_many(&all, leaves);
        })
    }

    /// `hash` gets at most [`HASH_LANES`] numbers of records, and as many places for their leaves.
    fn root_by_groups(&mut self, len: u32, hash: impl Fn(&[u32], &mut [Hash]) + Sync) -> Option<Hash> {
        let mut indices = Vec::new();
        loop {
            indices.clear();
            let seen = self.changed.drain(BATCH, |index| indices.push(index));
            if seen == 0 {
                return (len > 0).then(|| self.tree.root());
            }
            // What a rolled back chain appended was marked and is gone.
            indices.retain(|index| *index < len);
            let mut leaves = vec![Hash::ZERO; indices.len()];
            let groups = indices.par_chunks(HASH_LANES);
            groups
                .zip(leaves.par_chunks_mut(HASH_LANES))
                .with_min_len(SHARE_MIN / HASH_LANES)
                .for_each(|(indices, leaves)| hash(indices, leaves));
            let changes: Vec<(u32, Hash)> = indices.iter().copied().zip(leaves).collect();
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
/// Records that one thread hashes at least: waking another for fewer costs more.
const SHARE_MIN: usize = 64;

/// Hash of a small table that is hashed whole.
pub(super) fn whole(bytes: &[u8]) -> Hash {
    selfchain_types::hash::TABLE.hash(bytes)
}
