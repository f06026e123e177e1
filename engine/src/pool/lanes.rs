//! The lanes that have something in the pool, found by key and lane through open addressing.
//!
//! The table is never iterated: its order depends on a secret of this process, so that nobody can choose keys
//! that collide.

use super::entry::NONE;
use core::hash::BuildHasher;
use selfchain_types::KeyId;
use selfchain_types::codec::index;
use std::hash::RandomState;

/// What a lane has in the pool, proposed ones first: never nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane {
    key: KeyId,
    number: u32,
    /// Transactions, proposed and waiting.
    pub(super) len: u32,
    /// The counter that the next one must have; `None` when the lane is used up for ever.
    pub(super) next: Option<u64>,
    pub(super) first: u32,
    pub(super) last: u32,
}

#[derive(Debug)]
pub(super) struct Lanes {
    all: Vec<Lane>,
    free: Vec<u32>,
    /// Hash in the upper half, lane + 1 in the lower; 0 where there is none. A power of two long.
    table: Vec<u64>,
    secret: u64,
}

const TABLE_LEN_MIN: usize = 1_024;

impl Lanes {
    pub(super) fn new() -> Self {
        Self {
            all: Vec::new(),
            free: Vec::new(),
            table: vec![0; TABLE_LEN_MIN],
            secret: RandomState::new().hash_one(TABLE_LEN_MIN),
        }
    }

    /// The lane, if it has anything in the pool.
    pub(super) fn find(&self, key: &KeyId, number: u32) -> Option<u32> {
        let hash = self.hash(key, number);
        let mut at = self.home(hash);
        loop {
            let (found, lane) = halves(self.table[at]);
            if lane == 0 {
                return None;
            }
            if found == hash {
                let candidate = &self[lane - 1];
                if candidate.number == number && candidate.key == *key {
                    return Some(lane - 1);
                }
            }
            at = self.after(at);
        }
    }

    /// Adds a lane that is not there, still without a transaction.
    pub(super) fn insert(&mut self, key: KeyId, number: u32, next: u64) -> u32 {
        if (self.len() + 1) * 2 > self.table.len() {
            self.grow();
        }
        let lane = Lane {
            key,
            number,
            len: 0,
            next: Some(next),
            first: NONE,
            last: NONE,
        };
        let at = match self.free.pop() {
            Some(at) => {
                self[at] = lane;
                at
            }
            None => {
                self.all.push(lane);
                u32::try_from(self.all.len() - 1).expect("the pool's limit is far below 2^32")
            }
        };
        self.put(self.hash(&key, number), at);
        at
    }

    /// Takes out a lane whose last transaction left.
    pub(super) fn remove(&mut self, lane: u32) {
        let Lane { key, number, .. } = self[lane];
        let mut hole = self.home(self.hash(&key, number));
        while halves(self.table[hole]).1 != lane + 1 {
            hole = self.after(hole);
        }
        // Close the gap: move every follower that may lie there, so that no search stops early.
        let mut at = self.after(hole);
        while self.table[at] != 0 {
            let home = self.home(halves(self.table[at]).0);
            if self.steps(home, at) >= self.steps(hole, at) {
                self.table[hole] = self.table[at];
                hole = at;
            }
            at = self.after(at);
        }
        self.table[hole] = 0;
        self.free.push(lane);
    }

    fn len(&self) -> usize {
        self.all.len() - self.free.len()
    }

    fn grow(&mut self) {
        let len = 2 * self.table.len();
        let cells = core::mem::replace(&mut self.table, vec![0; len]);
        for cell in cells.into_iter().filter(|cell| *cell != 0) {
            let (hash, lane) = halves(cell);
            self.put(hash, lane - 1);
        }
    }

    fn put(&mut self, hash: u32, lane: u32) {
        let mut at = self.home(hash);
        while self.table[at] != 0 {
            at = self.after(at);
        }
        self.table[at] = u64::from(hash) << 32 | u64::from(lane + 1);
    }

    /// A key's id is a hash already; its maker can choose among many, so the secret decides where it falls.
    fn hash(&self, key: &KeyId, number: u32) -> u32 {
        let front = key
            .0
            .as_bytes()
            .first_chunk()
            .expect("a hash is longer than a u64");
        let mixed = (u64::from_le_bytes(*front) ^ self.secret).wrapping_add(u64::from(number) << 32);
        let product = u128::from(mixed) * u128::from(MULTIPLIER ^ self.secret.rotate_left(32) | 1);
        let bytes = product.to_le_bytes();
        u32::from_le_bytes([bytes[6], bytes[7], bytes[8], bytes[9]])
    }

    fn home(&self, hash: u32) -> usize {
        index(hash) & (self.table.len() - 1)
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.table.len() - 1)
    }

    /// Steps from `from` forward to `to`.
    fn steps(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.table.len() - 1)
    }
}

/// The golden ratio's fraction, whose bits are spread evenly.
const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

fn halves(cell: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = cell.to_le_bytes();
    (u32::from_le_bytes([e, f, g, h]), u32::from_le_bytes([a, b, c, d]))
}

impl core::ops::Index<u32> for Lanes {
    type Output = Lane;
    fn index(&self, at: u32) -> &Lane {
        &self.all[index(at)]
    }
}

impl core::ops::IndexMut<u32> for Lanes {
    fn index_mut(&mut self, at: u32) -> &mut Lane {
        &mut self.all[index(at)]
    }
}

#[cfg(test)]
#[allow(clippy::as_conversions, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use selfchain_types::Hash;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn finds_what_is_in_it_and_nothing_else(steps in prop::collection::vec((0u8..40, 0u32..3), 0..400)) {
            let mut lanes = Lanes::new();
            lanes.table = vec![0; 128];
            let mut model = BTreeMap::new();
            for (key, number) in steps {
                let id = KeyId(Hash([key; 32]));
                prop_assert_eq!(lanes.find(&id, number), model.get(&(key, number)).copied());
                match model.remove(&(key, number)) {
                    Some(lane) => lanes.remove(lane),
                    None => {
                        model.insert((key, number), lanes.insert(id, number, 1));
                    }
                }
                prop_assert_eq!(lanes.len(), model.len());
            }
            for ((key, number), lane) in model {
                prop_assert_eq!(lanes.find(&KeyId(Hash([key; 32])), number), Some(lane));
            }
        }
    }
}
