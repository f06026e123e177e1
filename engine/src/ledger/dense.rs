//! A dense array in chunks: it grows without copying, so that memory never doubles while it grows; and it can be
//! read as it was at one moment while it changes.

use super::frozen::Frozen;
use core::ops::{Index, IndexMut};
use selfchain_types::codec;

/// Items by number, from 0 on without a gap.
#[derive(Clone, Debug)]
pub(super) struct Dense<T> {
    chunks: Vec<Vec<T>>,
    len: u32,
    /// What has changed since the freeze, while one lasts.
    frozen: Option<Box<Frozen<T>>>,
}

impl<T> Default for Dense<T> {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            len: 0,
            frozen: None,
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
        if self.frozen.is_some() {
            self.keep(self.len.checked_sub(1)?);
        }
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

    /// From here on [`Self::as_frozen`] gives every item as it is now, until [`Self::release`] or
    /// [`Self::thaw`]. A freeze that lasts is given up for this one.
    pub(super) fn freeze(&mut self) {
        self.frozen = Some(Box::new(Frozen::new(self.len)));
    }

    /// An item as it was at the freeze; without a freeze, as it is.
    ///
    /// # Panics
    /// If there was no such item, or it is released and gone.
    pub(super) fn as_frozen(&self, index: u32) -> &T {
        let kept = self.frozen.as_ref().and_then(|frozen| frozen.get(index));
        kept.unwrap_or_else(|| &self[index])
    }

    /// Items before `passed` are wanted as they were no longer.
    pub(super) fn release(&mut self, passed: u32) {
        if let Some(frozen) = &mut self.frozen {
            frozen.release(passed);
        }
    }

    /// Ends a freeze.
    pub(super) fn thaw(&mut self) {
        self.frozen = None;
    }

    /// Bytes that a freeze holds.
    pub(super) fn frozen_bytes(&self) -> usize {
        self.frozen.as_ref().map_or(0, |frozen| frozen.bytes())
    }

    #[cold]
    #[inline(never)]
    fn keep(&mut self, index: u32) {
        let item = self[index];
        if let Some(frozen) = &mut self.frozen {
            frozen.keep(index, item);
        }
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

impl<T: Copy> IndexMut<u32> for Dense<T> {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut T {
        if self.frozen.is_some() {
            self.keep(index);
        }
        &mut self.chunks[codec::index(index >> CHUNK_BITS)][codec::index(index & CHUNK_MASK)]
    }
}

const CHUNK_BITS: u32 = 16;
const CHUNK_LEN: u32 = 1 << CHUNK_BITS;
const CHUNK_MASK: u32 = CHUNK_LEN - 1;
const INDEX_MAX: u32 = u32::MAX - 1;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
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

    /// SplitMix64.
    fn next(seed: &mut u64) -> u64 {
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    #[test]
    fn what_is_frozen_reads_as_it_was_whatever_is_written_popped_and_pushed_over_it() {
        for mut seed in 0..200 {
            let mut dense = Dense::default();
            let len = u32::try_from(next(&mut seed) % 10_000).unwrap() + 1;
            (0..len).for_each(|_| {
                dense.push(next(&mut seed));
            });
            let before: Vec<u64> = dense.iter().copied().collect();
            dense.freeze();
            let mut passed = 0;
            while passed < len {
                for _ in 0..next(&mut seed) % 2_000 {
                    match next(&mut seed) % 8 {
                        0 => {
                            dense.push(next(&mut seed));
                        }
                        // What is released may go; what is not stays readable.
                        1 | 2 => {
                            dense.pop();
                        }
                        _ if dense.len() > 0 => {
                            let at = u32::try_from(next(&mut seed)).unwrap_or(u32::MAX) % dense.len();
                            dense[at] = next(&mut seed);
                        }
                        _ => (),
                    }
                }
                let end = len.min(passed + u32::try_from(next(&mut seed) % 3_000).unwrap());
                for at in passed..end {
                    assert_eq!(*dense.as_frozen(at), before[codec::index(at)], "item {at}");
                }
                passed = end;
                dense.release(passed);
            }
            assert_eq!(
                dense.frozen_bytes(),
                Frozen::<u64>::new(0).bytes(),
                "all is released"
            );
            dense.thaw();
            assert_eq!(dense.frozen_bytes(), 0);
        }
    }
}
