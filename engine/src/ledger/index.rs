//! From ids to dense numbers: open addressing, four bytes a slot, hashed with a secret of this process.
//!
//! A slot holds the number + 1 in its low bits and part of the hash above, so that a look-up reads the record
//! it looks for and hardly ever another. 256 shards grow one at a time, by half: neither memory nor time
//! jumps when there are millions. The order of slots depends on the secret; it is never iterated.

use core::hash::BuildHasher;
use selfchain_types::{Hash, codec};

/// Numbers by id. The ids themselves lie in the records, which callers compare.
#[derive(Clone, Debug)]
pub(super) struct Index {
    secret: Secret,
    shards: Vec<Shard>,
}

#[derive(Clone, Debug, Default)]
struct Shard {
    slots: Vec<u32>,
    len: usize,
    index_bits: u32,
}

/// Where the search for a hash starts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    shard: usize,
    at: usize,
}

/// Says "not there" where a number is expected; no record has it.
pub(super) const ABSENT: u32 = u32::MAX;

impl Index {
    pub(super) fn new() -> Self {
        Self {
            secret: Secret::new(),
            shards: vec![Shard::default(); SHARDS],
        }
    }

    /// What its hashes are made with.
    pub(super) fn secret(&self) -> Secret {
        self.secret
    }

    /// Where the search for a hash starts.
    #[inline]
    pub(super) fn place(&self, hash: u64) -> Place {
        let shard = shard_of(hash);
        Place {
            shard,
            at: self.shards[shard].home(hash),
        }
    }

    /// What lies there: many such reads overlap, where searches wait for one another.
    #[inline]
    pub(super) fn read(&self, place: Place) -> u32 {
        let slots = &self.shards[place.shard].slots;
        slots.get(place.at).copied().unwrap_or(0)
    }

    /// The first number whose part of the hash agrees, or [`ABSENT`], given what was read where the search
    /// starts. The caller must still compare the ids.
    #[inline]
    pub(super) fn guess(&self, hash: u64, slot: u32) -> u32 {
        let shard = &self.shards[shard_of(hash)];
        let (mask, tag) = (shard.mask(), shard.tag(hash));
        if slot != 0 && slot & !mask == tag {
            return (slot & mask) - 1;
        }
        if slot == 0 {
            return ABSENT;
        }
        self.find(hash, |_| true).unwrap_or(ABSENT)
    }

    /// The number of the record that `is_it` accepts.
    #[inline]
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let shard = &self.shards[shard_of(hash)];
        if shard.len == 0 {
            return None;
        }
        let (mask, tag) = (shard.mask(), shard.tag(hash));
        let mut at = shard.home(hash);
        loop {
            let slot = shard.slots[at];
            if slot == 0 {
                return None;
            }
            if slot & !mask == tag && is_it((slot & mask) - 1) {
                return Some((slot & mask) - 1);
            }
            at = shard.after(at);
        }
    }

    /// Adds a number that is not in it; `rehash` gives the hash of any number that is.
    pub(super) fn insert(&mut self, hash: u64, index: u32, rehash: impl Fn(u32) -> u64) {
        let shard = &mut self.shards[shard_of(hash)];
        let is_full = (shard.len + 1) * LOAD.1 > shard.slots.len() * LOAD.0;
        if is_full || index >= shard.mask() {
            shard.grow(index, is_full, rehash);
        }
        shard.put(hash, index);
        shard.len += 1;
    }

    /// Takes a number out; `rehash` gives the hash of any number that is in it.
    pub(super) fn remove(&mut self, hash: u64, index: u32, rehash: impl Fn(u32) -> u64) {
        let shard = &mut self.shards[shard_of(hash)];
        let mask = shard.mask();
        let mut hole = shard.home(hash);
        while shard.slots[hole] & mask != index + 1 {
            assert!(shard.slots[hole] != 0, "what is taken out is in the index");
            hole = shard.after(hole);
        }
        // Close the gap: move every follower that may lie there, so that no search stops early.
        let mut at = shard.after(hole);
        while shard.slots[at] != 0 {
            let home = shard.home(rehash((shard.slots[at] & mask) - 1));
            if shard.distance(home, at) >= shard.distance(hole, at) {
                shard.slots[hole] = shard.slots[at];
                hole = at;
            }
            at = shard.after(at);
        }
        shard.slots[hole] = 0;
        shard.len -= 1;
    }
}

impl Shard {
    #[inline]
    fn mask(&self) -> u32 {
        u32::MAX >> (u32::BITS - self.index_bits.max(1))
    }

    /// The upper bits of a slot: part of the hash that the position does not use.
    #[inline]
    fn tag(&self, hash: u64) -> u32 {
        halves(hash).0 & !self.mask()
    }

    /// Where the search for a hash starts: its middle bits, scaled to the length.
    #[inline]
    fn home(&self, hash: u64) -> usize {
        let scaled = u128::from(hash << SHARD_BITS) * u128::from(codec::wide(self.slots.len()));
        usize::try_from(scaled >> 64).expect("below the number of slots")
    }

    #[inline]
    fn after(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() { 0 } else { at + 1 }
    }

    /// Steps from `from` forward to `to`.
    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from {
            to - from
        } else {
            to + self.slots.len() - from
        }
    }

    fn put(&mut self, hash: u64, index: u32) {
        let mut at = self.home(hash);
        while self.slots[at] != 0 {
            at = self.after(at);
        }
        self.slots[at] = self.tag(hash) | (index + 1);
    }

    #[cold]
    fn grow(&mut self, index: u32, is_full: bool, rehash: impl Fn(u32) -> u64) {
        let len = self.slots.len();
        let len = if is_full {
            (len + len / 2).max(SLOTS_MIN)
        } else {
            len
        };
        let old_mask = self.mask();
        let old = core::mem::replace(&mut self.slots, vec![0; len]);
        // One bit to spare, so that this happens once a doubling.
        let bits = u32::BITS - index.max(SLOTS_MIN_INDEX).leading_zeros() + 1;
        self.index_bits = self.index_bits.max(bits.min(u32::BITS));
        for slot in old.into_iter().filter(|slot| *slot != 0) {
            let index = (slot & old_mask) - 1;
            self.put(rehash(index), index);
        }
    }
}

/// A process's secret, without which nobody can choose ids that collide.
#[derive(Clone, Copy, Debug)]
pub(super) struct Secret([u64; 4]);

impl Secret {
    fn new() -> Self {
        let state = std::hash::RandomState::new();
        Self([0u64, 1, 2, 3].map(|at| state.hash_one(at)))
    }

    /// Hash of a 16-byte id.
    #[inline]
    pub(super) fn of_u128(&self, id: u128) -> u64 {
        let (low, high) = (id & u128::from(u64::MAX), id >> 64);
        let low = u64::try_from(low).expect("masked");
        let high = u64::try_from(high).expect("shifted");
        mix(mix(low ^ self.0[0], high ^ self.0[1]) ^ self.0[2], self.0[3] | 1)
    }

    /// Hash of a 32-byte id.
    #[inline]
    pub(super) fn of_hash(&self, id: &Hash) -> u64 {
        let (front, back) = id.0.split_at(16);
        let half = |bytes: &[u8]| u128::from_le_bytes(bytes.try_into().expect("half of 32"));
        self.of_u128(half(front) ^ u128::from(self.of_u128(half(back))))
    }
}

/// The product's two halves, folded.
#[inline]
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    let high = u64::try_from(product >> 64).expect("shifted");
    let low = u64::try_from(product & u128::from(u64::MAX)).expect("masked");
    high ^ low
}

/// The low and the high half of a hash.
#[inline]
fn halves(hash: u64) -> (u32, u32) {
    let low = u32::try_from(hash & u64::from(u32::MAX)).expect("masked");
    let high = u32::try_from(hash >> 32).expect("shifted");
    (low, high)
}

#[inline]
fn shard_of(hash: u64) -> usize {
    codec::index(halves(hash).1 >> (32 - SHARD_BITS))
}

const SHARD_BITS: u32 = 8;
const SHARDS: usize = 1 << SHARD_BITS;
/// Slots are at most this part full.
const LOAD: (usize, usize) = (17, 20);
const SLOTS_MIN: usize = 8;
const SLOTS_MIN_INDEX: u32 = 255;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_in_it_while_others_come_and_go() {
        let ids: Vec<u128> = (0..60_000u128).map(|at| at * at + 7).collect();
        let mut index = Index::new();
        let secret = index.secret();
        let rehash = |at: u32| secret.of_u128(ids[codec::index(at)]);
        let find = |index: &Index, id: u128| index.find(secret.of_u128(id), |at| ids[codec::index(at)] == id);
        for at in 0..60_000 {
            index.insert(rehash(at), at, rehash);
        }
        for at in (0..60_000).step_by(3) {
            index.remove(rehash(at), at, rehash);
        }
        for at in 0..60_000 {
            let expected = (at % 3 != 0).then_some(at);
            assert_eq!(find(&index, ids[codec::index(at)]), expected);
        }
        assert_eq!(find(&index, 3), None);
        for at in (0..60_000).step_by(3) {
            index.insert(rehash(at), at, rehash);
        }
        assert!((0..60_000).all(|at| find(&index, ids[codec::index(at)]) == Some(at)));
    }

    #[test]
    fn a_guess_is_nearly_always_right_and_slots_are_few() {
        let mut index = Index::new();
        let secret = index.secret();
        let rehash = |at: u32| secret.of_u128(u128::from(at));
        (0..100_000).for_each(|at| index.insert(rehash(at), at, rehash));
        let right = (0..100_000)
            .filter(|at| index.guess(rehash(*at), index.read(index.place(rehash(*at)))) == *at)
            .count();
        assert!(right > 99_000, "{right} of 100,000");
        let slots: usize = index.shards.iter().map(|shard| shard.slots.len()).sum();
        assert!(slots * 4 < 100_000 * 8, "{slots} slots");
    }
}
