//! The receipts' Merkle mountain range: append a leaf, know the root, prove inclusion and consistency.
//!
//! The range is the tree of RFC 9162 §2.1 seen from its perfect subtrees, the peaks; bagging them from the
//! right gives the RFC's root. Finished nodes never change, so they go in post-order into a file of 32-byte
//! nodes that is only appended to, and any proof about any size is read from it.

use super::tree::{PathError, empty_root};
use alloc::vec::Vec;
use selfchain_types::codec::{DecodeError, Reader};
use selfchain_types::{Hash, hash};

/// The peaks of the tree over all leaves so far: all that appending needs, at most 64 hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mountain {
    size: u64,
    peaks: Vec<Hash>,
}

impl Mountain {
    /// No leaf yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Roots of the perfect subtrees, the largest first: one for every bit of the size.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Nodes that all appends so far have finished: `2 · size − peaks`.
    pub fn nodes(&self) -> u64 {
        node_count(self.size)
    }

    /// Appends a leaf, and to `finished` the nodes that this finishes: the leaf, then its parents upwards.
    pub fn append(&mut self, leaf: Hash, finished: &mut Vec<Hash>) {
        let mut node = leaf;
        finished.push(node);
        for _ in 0..self.size.trailing_ones() {
            let left = self
                .peaks
                .pop()
                .expect("there is a peak for every bit of the size");
            node = hash::NODE.node(&left, &node);
            finished.push(node);
        }
        self.peaks.push(node);
        self.size = self.size.checked_add(1).expect("fewer than 2^64 receipts");
    }

    /// As [`append`](Self::append), for each leaf in order.
    pub fn append_many(&mut self, leaves: &[Hash], finished: &mut Vec<Hash>) {
        finished.reserve(2 * leaves.len());
        for leaf in leaves {
            self.append(*leaf, finished);
        }
    }

    /// The root of RFC 9162 §2.1.1 over all leaves.
    pub fn root(&self) -> Hash {
        bag(self.peaks.iter().copied()).unwrap_or_else(empty_root)
    }

    /// The peaks, each with its place in nodes from the start.
    pub fn placed_peaks(&self) -> impl Iterator<Item = (u64, Hash)> + '_ {
        let heights = (0..u64::BITS).rev().filter(|height| self.size >> height & 1 == 1);
        let mut end = 0;
        heights.zip(&self.peaks).map(move |(height, peak)| {
            end += 1 << height;
            (position(end, height), *peak)
        })
    }

    /// Appends the canonical bytes: `size u64`, then the peaks, 32 bytes each.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.size.to_le_bytes());
        for peak in &self.peaks {
            out.extend_from_slice(peak.as_bytes());
        }
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// [`DecodeError`] unless there is one peak for every bit of the size.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("mountain range", bytes);
        let size = reader.u64()?;
        let peaks = (0..size.count_ones())
            .map(|_| reader.hash())
            .collect::<Result<_, _>>()?;
        reader.finish()?;
        Ok(Self { size, peaks })
    }
}

/// Folds peaks, given from the left, from the right; `None` for none.
fn bag(peaks: impl DoubleEndedIterator<Item = Hash>) -> Option<Hash> {
    peaks.rev().reduce(|right, left| hash::NODE.node(&left, &right))
}

/// Nodes that are finished once `size` leaves are appended.
pub fn node_count(size: u64) -> u64 {
    size.saturating_mul(2) - u64::from(size.count_ones())
}

/// Where the node over the `2^height` leaves that end before leaf `end` lies, in nodes from the start.
fn position(end: u64, height: u32) -> u64 {
    node_count(end - 1) + u64::from(height)
}

/// Finished nodes by position in post-order: the append-only file, or any copy of it.
pub trait Nodes {
    /// The node at `position`, if it is there.
    fn node(&self, position: u64) -> Option<Hash>;
}

impl Nodes for [Hash] {
    fn node(&self, position: u64) -> Option<Hash> {
        self.get(usize::try_from(position).ok()?).copied()
    }
}

impl Nodes for Vec<Hash> {
    fn node(&self, position: u64) -> Option<Hash> {
        self.as_slice().node(position)
    }
}

/// RFC 9162 §2.1.3.1: proves that leaf `index` is in the tree of the first `size` leaves; checked by
/// [`verify_inclusion`](super::verify_inclusion).
///
/// # Errors
/// [`PathError::Index`], or [`PathError::NodeMissing`] when `nodes` does not reach so far.
pub fn inclusion_path(index: u64, size: u64, nodes: &(impl Nodes + ?Sized)) -> Result<Vec<Hash>, PathError> {
    if index >= size {
        return Err(PathError::Index { index, size });
    }
    let mut path = Vec::new();
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            path.push(subtree(middle, end, nodes)?);
            end = middle;
        } else {
            path.push(subtree(start, middle, nodes)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// RFC 9162 §2.1.4.1: proves that the tree of the first `old` leaves is a prefix of that of the first `new`.
///
/// # Errors
/// [`PathError::Order`] when `old` is larger, or [`PathError::NodeMissing`].
pub fn consistency_path(old: u64, new: u64, nodes: &(impl Nodes + ?Sized)) -> Result<Vec<Hash>, PathError> {
    if old > new {
        return Err(PathError::Order { old, new });
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let mut path = Vec::new();
    let (mut start, mut end) = (0, new);
    while end != old {
        let middle = start + split(end - start);
        if old <= middle {
            path.push(subtree(middle, end, nodes)?);
            end = middle;
        } else {
            path.push(subtree(start, middle, nodes)?);
            start = middle;
        }
    }
    // The old root itself is not sent: the verifier has it.
    if start != 0 {
        path.push(subtree(start, end, nodes)?);
    }
    path.reverse();
    Ok(path)
}

/// The largest power of two smaller than `len`, which is at least 2.
fn split(len: u64) -> u64 {
    1 << (u64::BITS - 1 - (len - 1).leading_zeros())
}

/// Root over the leaves `start..end`, where `start` is a multiple of the power of two that covers them.
fn subtree(start: u64, end: u64, nodes: &(impl Nodes + ?Sized)) -> Result<Hash, PathError> {
    let mut peaks = Vec::new();
    let mut at = start;
    while at < end {
        let height = u64::BITS - 1 - (end - at).leading_zeros();
        at += 1 << height;
        let position = position(at, height);
        peaks.push(nodes.node(position).ok_or(PathError::NodeMissing { position })?);
    }
    Ok(bag(peaks.into_iter()).expect("a range has a leaf"))
}

/// RFC 9162 §2.1.4.2: checks that the tree of `old` leaves with root `old_root` is a prefix of the tree of
/// `new` leaves with root `new_root`. The empty tree is a prefix of every tree.
///
/// # Errors
/// [`PathError`], saying which part does not fit.
pub fn verify_consistency(
    old: u64,
    old_root: &Hash,
    new: u64,
    new_root: &Hash,
    path: &[Hash],
) -> Result<(), PathError> {
    if old > new {
        return Err(PathError::Order { old, new });
    }
    let length = PathError::Length { got: path.len() };
    if old == 0 || old == new {
        let want = if old == 0 { empty_root() } else { *new_root };
        return if path.is_empty() {
            same(&want, old_root)
        } else {
            Err(length)
        };
    }
    // Where the old tree is perfect, its root is the first node of the path and is not sent.
    let (first, rest) = if old.is_power_of_two() {
        (old_root, path)
    } else {
        path.split_first().ok_or(length)?
    };
    let perfect = (old - 1).trailing_ones();
    let (mut at, mut last) = ((old - 1) >> perfect, (new - 1) >> perfect);
    let (mut old_node, mut new_node) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return Err(length);
        }
        if at & 1 == 1 || at == last {
            old_node = hash::NODE.node(sibling, &old_node);
            new_node = hash::NODE.node(sibling, &new_node);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            new_node = hash::NODE.node(&new_node, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(length);
    }
    same(&old_node, old_root)?;
    same(&new_node, new_root)
}

fn same(got: &Hash, want: &Hash) -> Result<(), PathError> {
    if got == want {
        Ok(())
    } else {
        Err(PathError::Root {
            got: *got,
            want: *want,
        })
    }
}

/// Bytes of the longest canonical encoding of a [`Mountain`].
pub const MOUNTAIN_BYTES_MAX: usize = 8 + 64 * Hash::LEN;

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod tests {
    use super::*;
    use crate::proof::tree::{naive, verify_inclusion};
    use proptest::prelude::*;
    use selfchain_types::codec::wide;

    fn grown(leaves: &[Hash]) -> (Mountain, Vec<Hash>) {
        let (mut mountain, mut nodes) = (Mountain::new(), Vec::new());
        mountain.append_many(leaves, &mut nodes);
        (mountain, nodes)
    }

    #[test]
    fn every_size_has_the_rfcs_root_and_reads_back() {
        let leaves = naive::leaves(200);
        let (mut mountain, mut nodes) = (Mountain::new(), Vec::new());
        for size in 0..=leaves.len() {
            assert_eq!(mountain.root(), naive::root(&leaves[..size]), "{size} leaves");
            assert_eq!(mountain.nodes(), wide(nodes.len()));
            let mut bytes = Vec::new();
            mountain.encode(&mut bytes);
            assert!(bytes.len() <= MOUNTAIN_BYTES_MAX);
            assert_eq!(Mountain::decode(&bytes).unwrap(), mountain);
            assert!((0..bytes.len()).all(|cut| Mountain::decode(&bytes[..cut]).is_err()));
            assert!(Mountain::decode(&[&bytes[..], &[0]].concat()).is_err());
            if let Some(leaf) = leaves.get(size) {
                mountain.append(*leaf, &mut nodes);
            }
        }
    }

    #[test]
    fn peaks_lie_where_the_nodes_have_them() {
        let leaves: Vec<Hash> = (0..40).map(|leaf| Hash([leaf; 32])).collect();
        for size in 0..=leaves.len() {
            let (mountain, nodes) = grown(&leaves[..size]);
            assert_eq!(mountain.placed_peaks().count(), mountain.peaks().len());
            for (place, peak) in mountain.placed_peaks() {
                assert_eq!(nodes.as_slice().node(place), Some(peak), "{size} leaves");
            }
        }
    }

    #[test]
    fn inclusion_is_proved_for_every_leaf_of_every_size() {
        let leaves = naive::leaves(200);
        let (_, nodes) = grown(&leaves);
        for size in 1..=leaves.len() {
            let root = naive::root(&leaves[..size]);
            for index in 0..size {
                let path = inclusion_path(wide(index), wide(size), &nodes).unwrap();
                assert_eq!(
                    path,
                    naive::path(&leaves[..size], index),
                    "leaf {index} of {size}"
                );
                verify_inclusion(&leaves[index], wide(index), wide(size), &path, &root).unwrap();
            }
        }
        assert_eq!(
            inclusion_path(5, 5, &nodes),
            Err(PathError::Index { index: 5, size: 5 })
        );
        assert_eq!(
            inclusion_path(0, 2, &nodes[..1]),
            Err(PathError::NodeMissing { position: 1 })
        );
    }

    /// PROOF(m, D_n) of RFC 9162 §2.1.4.1, word for word.
    fn naive_consistency(old: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
        if old == leaves.len() {
            return if whole {
                Vec::new()
            } else {
                Vec::from([naive::root(leaves)])
            };
        }
        let (left, right) = leaves.split_at(naive::split(leaves.len()));
        let (mut inner, sibling) = if old <= left.len() {
            (naive_consistency(old, left, whole), naive::root(right))
        } else {
            (
                naive_consistency(old - left.len(), right, false),
                naive::root(left),
            )
        };
        inner.push(sibling);
        inner
    }

    #[test]
    fn consistency_is_proved_between_every_two_sizes() {
        let leaves = naive::leaves(100);
        let (_, nodes) = grown(&leaves);
        for new in 0..=leaves.len() {
            let new_root = naive::root(&leaves[..new]);
            for old in 0..=new {
                let old_root = naive::root(&leaves[..old]);
                let path = consistency_path(wide(old), wide(new), &nodes).unwrap();
                if old > 0 {
                    assert_eq!(
                        path,
                        naive_consistency(old, &leaves[..new], true),
                        "{old} in {new}"
                    );
                }
                let check = |old_root: &Hash, new_root: &Hash, path: &[Hash]| {
                    verify_consistency(wide(old), old_root, wide(new), new_root, path)
                };
                check(&old_root, &new_root, &path).unwrap();
                check(&Hash([1; 32]), &new_root, &path).unwrap_err();
                if old > 0 {
                    check(&old_root, &Hash([1; 32]), &path).unwrap_err();
                }
                check(&old_root, &new_root, &[&path[..], &[new_root]].concat()).unwrap_err();
                for at in 0..path.len() {
                    check(&old_root, &new_root, &path[..at]).unwrap_err();
                    let mut mutated = path.clone();
                    mutated[at].0[3] ^= 1;
                    check(&old_root, &new_root, &mutated).unwrap_err();
                }
            }
        }
        assert_eq!(
            consistency_path(3, 2, &nodes),
            Err(PathError::Order { old: 3, new: 2 })
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn larger_ranges_prove_too(size in 201usize..5_000, index in any::<usize>(), old in any::<usize>()) {
            let leaves = naive::leaves(size);
            let (mountain, nodes) = grown(&leaves);
            let (index, old) = (index % size, old % (size + 1));
            let path = inclusion_path(wide(index), wide(size), &nodes).unwrap();
            prop_assert_eq!(&path, &naive::path(&leaves, index));
            verify_inclusion(&leaves[index], wide(index), wide(size), &path, &mountain.root()).unwrap();
            let path = consistency_path(wide(old), wide(size), &nodes).unwrap();
            let old_root = naive::root(&leaves[..old]);
            verify_consistency(wide(old), &old_root, wide(size), &mountain.root(), &path).unwrap();
        }
    }
}
