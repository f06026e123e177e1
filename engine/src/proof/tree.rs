//! Merkle trees of the shape of RFC 9162 §2.1 with this chain's hashes: roots, inclusion paths, and the check.
//!
//! Leaves are hashes already. An inner node is `H(node; left ‖ right)`, the root of no leaves `H(empty; )`.
//! The RFC's split at the largest power of two is the same tree as pairing neighbours level by level and
//! lifting an odd last node unchanged.

use alloc::vec::Vec;
use selfchain_types::{Hash, hash};
use thiserror::Error;

/// Why a path proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// There is no such leaf.
    #[error("leaf {index} is not in a tree of {size}")]
    Index {
        /// The leaf's index.
        index: u64,
        /// Leaves in the tree.
        size: u64,
    },
    /// The older tree is not a prefix in length.
    #[error("a tree of {old} leaves cannot come before one of {new}")]
    Order {
        /// Leaves of the older tree.
        old: u64,
        /// Leaves of the newer tree.
        new: u64,
    },
    /// Too many or too few hashes for the tree's shape.
    #[error("a path of {got} hashes does not fit the tree")]
    Length {
        /// Hashes in the path.
        got: usize,
    },
    /// The path leads to another root.
    #[error("the path leads to {got}, not to {want}")]
    Root {
        /// Where it leads.
        got: Hash,
        /// Where it should.
        want: Hash,
    },
    /// A node that the path needs is not there.
    #[error("node {position} of the mountain range is missing")]
    NodeMissing {
        /// Its position, in nodes from the start.
        position: u64,
    },
}

/// Root of the tree over `leaves`.
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [only] => *only,
        _ if leaves.len() <= PARALLEL_LEAVES => root_of_few(leaves),
        _ => root(&subtree_roots(leaves)),
    }
}

/// Root of the tree without leaves.
pub fn empty_root() -> Hash {
    hash::EMPTY.hash(&[])
}

/// Leaves that one thread takes at a time; a power of two, so that each share is a whole subtree.
const PARALLEL_LEAVES: usize = 1_024;

#[cfg(feature = "std")]
fn subtree_roots(leaves: &[Hash]) -> Vec<Hash> {
    use rayon::prelude::*;
    leaves.par_chunks(PARALLEL_LEAVES).map(root_of_few).collect()
}

#[cfg(not(feature = "std"))]
fn subtree_roots(leaves: &[Hash]) -> Vec<Hash> {
    leaves.chunks(PARALLEL_LEAVES).map(root_of_few).collect()
}

fn root_of_few(leaves: &[Hash]) -> Hash {
    let mut level: Vec<Hash> = level_above(leaves);
    while level.len() > 1 {
        level = level_above(&level);
    }
    level[0]
}

/// The nodes above neighbours, many hashed at once; an odd last one is lifted unchanged.
fn level_above(level: &[Hash]) -> Vec<Hash> {
    let (pairs, odd) = level.as_chunks();
    let mut above = alloc::vec![Hash::ZERO; pairs.len()];
    hash::NODE.hash_many(pairs.iter().map(siblings), &mut above);
    above.extend(odd);
    above
}

/// Two neighbours as they lie side by side: what the node above them hashes.
pub(super) fn siblings(pair: &[Hash; 2]) -> &[u8; 64] {
    zerocopy::transmute_ref!(pair)
}

/// RFC 9162 §2.1.3.1: the siblings from leaf `index` up to the root; `None` when there is no such leaf.
pub fn path(leaves: &[Hash], index: usize) -> Option<Vec<Hash>> {
    leaves.get(index)?;
    let mut path = Vec::new();
    let mut at = index;
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        path.extend(level.get(at ^ 1));
        level = level_above(&level);
        at /= 2;
    }
    Some(path)
}

/// RFC 9162 §2.1.3.2: the root that `path` leads to from `leaf` at `index` of a tree of `size` leaves.
///
/// # Errors
/// [`PathError::Index`], or [`PathError::Length`] when the path does not have exactly the hashes that the
/// tree's shape asks for.
pub fn root_from(leaf: &Hash, index: u64, size: u64, path: &[Hash]) -> Result<Hash, PathError> {
    if index >= size {
        return Err(PathError::Index { index, size });
    }
    let length = PathError::Length { got: path.len() };
    let (mut at, mut last) = (index, size - 1);
    let mut node = *leaf;
    for sibling in path {
        if last == 0 {
            return Err(length);
        }
        if at & 1 == 1 || at == last {
            node = hash::NODE.node(sibling, &node);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            node = hash::NODE.node(&node, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    if last == 0 { Ok(node) } else { Err(length) }
}

/// Checks that `leaf` stands at `index` of the tree of `size` leaves whose root is `root`.
///
/// # Errors
/// [`PathError`], saying which part does not fit.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    path: &[Hash],
    root: &Hash,
) -> Result<(), PathError> {
    let got = root_from(leaf, index, size, path)?;
    if got == *root {
        Ok(())
    } else {
        Err(PathError::Root { got, want: *root })
    }
}

/// Most hashes in a path of a tree with at most `size` leaves.
pub fn path_len_max(size: u64) -> usize {
    let bits = u64::BITS - size.saturating_sub(1).leading_zeros();
    selfchain_types::codec::index(bits)
}

/// Leaves as the RFC defines their root, recursion and all: what every other way is tested against.
#[cfg(test)]
pub(super) mod naive {
    use super::*;
    use selfchain_types::codec::wide;

    pub(in crate::proof) fn root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [only] => *only,
            _ => {
                let (left, right) = leaves.split_at(split(leaves.len()));
                hash::NODE.node(&root(left), &root(right))
            }
        }
    }

    pub(in crate::proof) fn path(leaves: &[Hash], index: usize) -> Vec<Hash> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let (left, right) = leaves.split_at(split(leaves.len()));
        let (mut inner, sibling) = if index < left.len() {
            (path(left, index), root(right))
        } else {
            (path(right, index - left.len()), root(left))
        };
        inner.push(sibling);
        inner
    }

    /// The largest power of two smaller than `len`.
    pub(in crate::proof) fn split(len: usize) -> usize {
        len.next_power_of_two() / 2
    }

    pub(in crate::proof) fn leaves(count: usize) -> Vec<Hash> {
        (0..count)
            .map(|at| hash::RECEIPT.hash(&wide(at).to_le_bytes()))
            .collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use selfchain_types::codec::wide;

    #[test]
    fn roots_and_paths_are_the_rfcs() {
        for size in (0..=200).chain([1_023, 1_024, 1_025, 5_000]) {
            let leaves = naive::leaves(size);
            let want = naive::root(&leaves);
            assert_eq!(root(&leaves), want, "{size} leaves");
            let step = 1 + size / 64;
            for index in (0..size).step_by(step) {
                let found = path(&leaves, index).unwrap();
                assert_eq!(found, naive::path(&leaves, index), "leaf {index} of {size}");
                assert!(found.len() <= path_len_max(wide(size)));
                verify_inclusion(&leaves[index], wide(index), wide(size), &found, &want).unwrap();
            }
            assert_eq!(path(&leaves, size), None);
        }
    }

    #[test]
    fn a_path_that_was_touched_is_refused() {
        for size in 1..=33 {
            let leaves = naive::leaves(size);
            let root = root(&leaves);
            for index in 0..size {
                let path = path(&leaves, index).unwrap();
                let check = |leaf: &Hash, index: u64, size: u64, path: &[Hash]| {
                    verify_inclusion(leaf, index, size, path, &root).is_ok()
                };
                let (at, len) = (wide(index), wide(size));
                assert!(!check(&Hash([1; 32]), at, len, &path), "another leaf");
                assert!(
                    !check(&leaves[index], at, len, &[&path[..], &[root]].concat()),
                    "a hash more"
                );
                assert!(!check(&leaves[index], len, len, &path), "an index outside");
                for cut in 0..path.len() {
                    assert!(!check(&leaves[index], at, len, &path[..cut]), "cut at {cut}");
                    let mut mutated = path.clone();
                    mutated[cut].0[7] ^= 1;
                    assert!(!check(&leaves[index], at, len, &mutated), "hash {cut} changed");
                }
                for other in (0..size).filter(|other| *other != index) {
                    assert!(
                        !check(&leaves[index], wide(other), len, &path),
                        "index {index} as {other}"
                    );
                }
            }
        }
    }
}
