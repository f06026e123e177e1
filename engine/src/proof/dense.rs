//! A Merkle tree kept whole in memory over a dense array of leaves: change a few, hash only what is above them.
//!
//! Nodes lie in pages, each the complete subtree over 1,024 leaves; the roots of a layer's pages are the
//! leaves of the layer above. Growing adds a page and copies nothing, a page is updated by one thread in its
//! own cache, and pages are updated in parallel. Memory is 64 bytes a leaf and at most one part-filled page a
//! layer.

use super::tree::{empty_root, siblings};
use alloc::boxed::Box;
use alloc::vec::Vec;
use selfchain_types::Hash;
use selfchain_types::codec::{index as at_index, wide};
use selfchain_types::hash::{self, HASH_LANES};

/// A dense tree of at most 2^32 leaves, of the shape of RFC 9162 §2.1.
#[derive(Clone, Debug, Default)]
pub struct DenseTree {
    layers: Vec<Layer>,
}

impl DenseTree {
    /// A tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// Leaves.
    pub fn len(&self) -> u64 {
        self.layers.first().map_or(0, |layer| wide(layer.len))
    }

    /// Whether there is no leaf.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sets leaves, in strictly ascending order of index; from [`len`](Self::len) on they are appended,
    /// without a gap. Costs one hash for every node above a changed leaf, once.
    ///
    /// # Panics
    /// When indices do not ascend or leave a gap: the caller numbers its records densely.
    pub fn update(&mut self, changes: &[(u32, Hash)]) {
        if changes.is_empty() {
            return;
        }
        assert_dense(changes, self.len());
        let mut above = Vec::new();
        let mut changes = changes;
        let mut height = 0;
        loop {
            if height == self.layers.len() {
                self.layers.push(Layer::default());
            }
            let roots = self.layers[height].update(changes);
            if self.layers[height].pages.len() == 1 {
                return;
            }
            above = self.with_first_page(height, roots, above);
            changes = &above;
            height += 1;
        }
    }

    /// The root: [`empty_root`] without leaves.
    pub fn root(&self) -> Hash {
        self.layers
            .last()
            .and_then(|layer| layer.pages.first())
            .map_or_else(empty_root, Page::root)
    }

    /// The leaf at `index`, if there is one.
    pub fn leaf(&self, index: u32) -> Option<Hash> {
        let index = at_index(index);
        let layer = self.layers.first()?;
        (index < layer.len).then(|| layer.pages[index / PAGE_LEAVES].leaf(index % PAGE_LEAVES))
    }

    /// RFC 9162 §2.1.3.1: the siblings from the leaf at `index` up to the root, for
    /// [`verify_inclusion`](super::verify_inclusion); `None` when there is no such leaf.
    pub fn path(&self, index: u32) -> Option<Vec<Hash>> {
        let mut index = at_index(index);
        if wide(index) >= self.len() {
            return None;
        }
        let mut path = Vec::new();
        for layer in &self.layers {
            let page = index / PAGE_LEAVES;
            layer.pages[page].path(index % PAGE_LEAVES, layer.leaves_of(page), &mut path);
            index = page;
        }
        Some(path)
    }

    /// A layer's new roots as changes of the layer above, which starts with page 0 even if that is untouched.
    fn with_first_page(
        &self,
        height: usize,
        roots: Vec<(u32, Hash)>,
        mut spent: Vec<(u32, Hash)>,
    ) -> Vec<(u32, Hash)> {
        let first_is_missing = height + 1 == self.layers.len() && roots[0].0 != 0;
        if !first_is_missing {
            return roots;
        }
        spent.clear();
        spent.push((0, self.layers[height].pages[0].root()));
        spent.extend(roots);
        spent
    }
}

fn assert_dense(changes: &[(u32, Hash)], mut len: u64) {
    let mut previous = None;
    for (index, _) in changes {
        assert!(previous < Some(*index), "leaf {index} does not ascend");
        assert!(u64::from(*index) <= len, "leaf {index} leaves a gap after {len}");
        len = len.max(u64::from(*index) + 1);
        previous = Some(*index);
    }
}

/// Leaves of a page: a power of two. A page is then 64 KiB.
const PAGE_LEAVES: usize = 1 << PAGE_HEIGHT;
const PAGE_HEIGHT: u32 = 10;

/// Changes up to which a page's nodes are read ahead: more of them share their nodes, and find them cached.
const SPARSE_CHANGES: usize = 64;

/// Changes from which a layer is updated by more than one thread: below, waking them costs more.
#[cfg(feature = "std")]
const PARALLEL_CHANGES: usize = 128;

#[derive(Clone, Debug, Default)]
struct Layer {
    len: usize,
    pages: Vec<Page>,
}

/// The changes of one page.
type Share<'a> = (&'a mut Page, usize, &'a [(u32, Hash)]);

impl Layer {
    /// Sets leaves and returns the roots of the pages they lie in, with the pages' numbers.
    fn update(&mut self, changes: &[(u32, Hash)]) -> Vec<(u32, Hash)> {
        let last = changes.last().map_or(0, |change| at_index(change.0));
        self.len = self.len.max(last + 1);
        let pages = self.len.div_ceil(PAGE_LEAVES);
        if pages > self.pages.len() {
            self.pages.resize_with(pages, Page::new);
        }
        let len = self.len;
        let mut shares: Vec<Share<'_>> = Vec::new();
        let mut rest = self.pages.iter_mut();
        let mut next = 0;
        for group in changes.chunk_by(|a, b| page_of(a.0) == page_of(b.0)) {
            let page = page_of(group[0].0);
            let found = rest.nth(page - next).expect("there is a page for every leaf");
            next = page + 1;
            shares.push((found, (len - page * PAGE_LEAVES).min(PAGE_LEAVES), group));
        }
        update_pages(shares, changes.len())
    }

    fn leaves_of(&self, page: usize) -> usize {
        (self.len - page * PAGE_LEAVES).min(PAGE_LEAVES)
    }
}

fn page_of(index: u32) -> usize {
    at_index(index >> PAGE_HEIGHT)
}

#[cfg(feature = "std")]
fn update_pages(shares: Vec<Share<'_>>, changes: usize) -> Vec<(u32, Hash)> {
    use rayon::prelude::*;
    if changes < PARALLEL_CHANGES || shares.len() == 1 {
        return shares.into_iter().map(update_page).collect();
    }
    let share_len_min = shares.len() * PARALLEL_CHANGES / 2 / changes;
    shares
        .into_par_iter()
        .with_min_len(share_len_min.max(1))
        .map(update_page)
        .collect()
}

#[cfg(not(feature = "std"))]
fn update_pages(shares: Vec<Share<'_>>, _: usize) -> Vec<(u32, Hash)> {
    shares.into_iter().map(update_page).collect()
}

fn update_page((page, leaves, changes): Share<'_>) -> (u32, Hash) {
    page.update(changes, leaves);
    (changes[0].0 >> PAGE_HEIGHT, page.root())
}

/// A complete subtree as a heap: node 1 is the root, the children of node `i` are `2i` and `2i + 1`, the
/// leaves start at [`PAGE_LEAVES`]. In a part-filled page an odd last node is lifted up to where it pairs.
#[derive(Clone, Debug)]
struct Page(Box<[Siblings]>);

/// Nodes `2i` and `2i + 1`: what is hashed together lies in one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Siblings([Hash; 2]);

impl Page {
    fn new() -> Self {
        Self(alloc::vec![Siblings([Hash::ZERO; 2]); PAGE_LEAVES].into_boxed_slice())
    }

    fn node(&self, at: usize) -> Hash {
        self.0[at / 2].0[at % 2]
    }

    fn set(&mut self, at: usize, node: Hash) {
        self.0[at / 2].0[at % 2] = node;
    }

    fn root(&self) -> Hash {
        self.node(1)
    }

    fn leaf(&self, at: usize) -> Hash {
        self.node(PAGE_LEAVES + at)
    }

    fn update(&mut self, changes: &[(u32, Hash)], leaves: usize) {
        let mut touched = [0u16; PAGE_LEAVES];
        for ((index, _), slot) in changes.iter().zip(&mut touched) {
            let node = PAGE_LEAVES + at_index(*index) % PAGE_LEAVES;
            *slot = u16::try_from(node).expect("a page has 2,048 nodes");
        }
        let mut count = changes.len();
        if count <= SPARSE_CHANGES {
            self.warm(&touched[..count]);
        }
        for ((_, leaf), node) in changes.iter().zip(&touched) {
            self.set(usize::from(*node), *leaf);
        }
        let (mut base, mut width) = (PAGE_LEAVES, leaves);
        while base > 1 {
            count = self.update_parents(&mut touched, count, base + width);
            base /= 2;
            width = width.div_ceil(2);
        }
    }

    /// Reads a byte of every cache line that hashing above `touched` will need: these reads overlap, where
    /// hashing would wait for one after another.
    fn warm(&self, touched: &[u16]) {
        let mut sum = 0;
        for node in touched {
            let mut pair = usize::from(*node) / 2;
            while pair > 0 {
                sum ^= self.0[pair].0[0].0[0];
                pair /= 2;
            }
        }
        core::hint::black_box(sum);
    }

    /// Hashes the parents of the first `count` nodes of `touched`, all of one level that ends before node
    /// `end`; leaves the parents in `touched` and returns how many they are.
    fn update_parents(&mut self, touched: &mut [u16; PAGE_LEAVES], count: usize, end: usize) -> usize {
        let mut parents = 0;
        let mut previous = 0;
        for at in 0..count {
            let parent = touched[at] / 2;
            if parent == previous {
                continue;
            }
            previous = parent;
            touched[parents] = parent;
            parents += 1;
        }
        // Only the last can stand above a single child.
        let mut pairs = parents;
        if let Some(last) = touched[..parents].last().copied().map(usize::from)
            && 2 * last + 1 >= end
        {
            self.set(last, self.node(2 * last));
            pairs -= 1;
        }
        for group in touched[..pairs].chunks(HASH_LANES) {
            let mut hashes = [Hash::ZERO; HASH_LANES];
            let children = group
                .iter()
                .map(|parent| siblings(&self.0[usize::from(*parent)].0));
            hash::NODE.hash_many(children, &mut hashes[..group.len()]);
            for (parent, hash) in group.iter().zip(hashes) {
                self.set(usize::from(*parent), hash);
            }
        }
        parents
    }

    fn path(&self, index: usize, leaves: usize, path: &mut Vec<Hash>) {
        let (mut base, mut width, mut at) = (PAGE_LEAVES, leaves, index);
        while base > 1 {
            if at ^ 1 < width {
                path.push(self.node(base + (at ^ 1)));
            }
            base /= 2;
            width = width.div_ceil(2);
            at /= 2;
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod tests {
    use super::*;
    use crate::proof::tree::{self, naive};
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    fn check(tree: &DenseTree, leaves: &[Hash]) {
        assert_eq!(tree.len(), wide(leaves.len()));
        let root = tree::root(leaves);
        assert_eq!(tree.root(), root, "{} leaves", leaves.len());
        let step = 1 + leaves.len() / 16;
        for index in (0..leaves.len()).step_by(step).chain(leaves.len().checked_sub(1)) {
            let path = tree.path(index as u32).unwrap();
            assert_eq!(tree.leaf(index as u32), Some(leaves[index]));
            tree::verify_inclusion(&leaves[index], wide(index), tree.len(), &path, &root).unwrap();
        }
        assert_eq!(tree.path(leaves.len() as u32), None);
        assert_eq!(tree.leaf(leaves.len() as u32), None);
    }

    #[test]
    fn grown_one_by_one_it_has_the_rfcs_root() {
        let leaves = naive::leaves(2_100);
        let mut tree = DenseTree::new();
        check(&tree, &[]);
        for (at, leaf) in leaves.iter().enumerate() {
            tree.update(&[(at as u32, *leaf)]);
            if at < 70 || at % 97 == 0 || (1_020..1_030).contains(&at) || (2_045..2_052).contains(&at) {
                check(&tree, &leaves[..=at]);
            }
        }
    }

    #[test]
    fn a_third_layer_has_the_rfcs_root() {
        let mut leaves = naive::leaves(PAGE_LEAVES * PAGE_LEAVES + 5);
        let changes: Vec<(u32, Hash)> = leaves
            .iter()
            .enumerate()
            .map(|(at, leaf)| (at as u32, *leaf))
            .collect();
        let mut tree = DenseTree::new();
        let (first, rest) = changes.split_at(PAGE_LEAVES * PAGE_LEAVES);
        tree.update(first);
        check(&tree, &leaves[..first.len()]);
        tree.update(rest);
        check(&tree, &leaves);
        let last = leaves.len() - 1;
        leaves[last] = Hash([7; 32]);
        leaves[3] = Hash([8; 32]);
        tree.update(&[(3, leaves[3]), (last as u32, leaves[last])]);
        check(&tree, &leaves);
    }

    #[test]
    #[should_panic(expected = "leaves a gap")]
    fn a_gap_is_our_own_mistake() {
        DenseTree::new().update(&[(1, Hash::ZERO)]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_updates_give_the_rfcs_root(
            rounds in prop::collection::vec((prop::collection::vec(any::<u32>(), 0..300), 0u32..1_500), 1..5),
        ) {
            let mut leaves: Vec<Hash> = Vec::new();
            let mut tree = DenseTree::new();
            for (round, (touched, grow)) in rounds.into_iter().enumerate() {
                let len = leaves.len() as u32;
                let mut changes = BTreeMap::new();
                for index in touched.into_iter().filter_map(|index| index.checked_rem(len)) {
                    changes.insert(index, selfchain_types::hash::ACCOUNT.hash(&[index as u8, round as u8]));
                }
                for index in len..len + grow {
                    changes.insert(index, selfchain_types::hash::ACCOUNT.hash(&index.to_le_bytes()));
                }
                let changes: Vec<(u32, Hash)> = changes.into_iter().collect();
                for (index, leaf) in &changes {
                    match leaves.get_mut(*index as usize) {
                        Some(slot) => *slot = *leaf,
                        None => leaves.push(*leaf),
                    }
                }
                tree.update(&changes);
                check(&tree, &leaves);
            }
        }
    }
}
