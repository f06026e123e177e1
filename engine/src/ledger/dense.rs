//! A dense array in chunks: it grows without copying, so that memory never doubles while it grows.

use core::ops::{Index, IndexMut};
use selfchain_types::codec;

/// Items by number, from 0 on without a gap.
#[derive(Clone, Debug)]
pub(super) struct Dense<T> {
    chunks: Vec<Vec<T>>,
    len: u32,
}

impl<T> Default for Dense<T> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            len: 0,
        }
    }
}

impl<T: Copy> Dense<T> {
    /// Items there are.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// The item at `index`, if there is one.
    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&T> {
        self.chunks
            .get(codec::index(index >> CHUNK_BITS))?
            .get(codec::index(index & CHUNK_MASK))
    }

    /// Appends an item and returns its number.
    ///
    /// # Panics
    /// Past 2^32 − 2 items: 400 GB of accounts.
    pub(super) fn push(&mut self, item: T) -> u32 {
        let index = self.len;
        assert!(index < INDEX_MAX, "a table has fewer than 2^32 - 1 records");
        if index & CHUNK_MASK == 0 {
            // The first chunk grows as it fills, so that a small ledger stays small.
            let capacity = if index == 0 { 0 } else { codec::index(CHUNK_LEN) };
            self.chunks.push(Vec::with_capacity(capacity));
        }
        self.chunks[codec::index(index >> CHUNK_BITS)].push(item);
        self.len += 1;
        index
    }

    /// Takes the last item back.
    pub(super) fn pop(&mut self) -> Option<T> {
        let chunk = self.chunks.last_mut()?;
        let item = chunk.pop();
        if chunk.is_empty() {
            self.chunks.pop();
        }
        if item.is_some() {
            self.len -= 1;
        }
        item
    }

    /// Every item, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }
}

impl<T> Index<u32> for Dense<T> {
    type Output = T;
    #[inline]
    fn index(&self, index: u32) -> &T {
        &self.chunks[codec::index(index >> CHUNK_BITS)][codec::index(index & CHUNK_MASK)]
    }
}

impl<T> IndexMut<u32> for Dense<T> {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut T {
        &mut self.chunks[codec::index(index >> CHUNK_BITS)][codec::index(index & CHUNK_MASK)]
    }
}

const CHUNK_BITS: u32 = 16;
const CHUNK_LEN: u32 = 1 << CHUNK_BITS;
const CHUNK_MASK: u32 = CHUNK_LEN - 1;
const INDEX_MAX: u32 = u32::MAX - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_and_shrinks_across_chunks() {
        let mut dense = Dense::default();
        let count = 3 * CHUNK_LEN + 5;
        for item in 0..count {
            assert_eq!(dense.push(item), item);
        }
        assert_eq!(dense.get(count), None);
        assert!((0..count).all(|at| dense[at] == at));
        assert!(dense.iter().copied().eq(0..count));
        for item in (0..count).rev() {
            assert_eq!(dense.pop(), Some(item));
        }
        assert_eq!((dense.pop(), dense.len()), (None, 0));
        assert_eq!(dense.push(7), 0);
    }
}
