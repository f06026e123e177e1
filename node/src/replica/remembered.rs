//! Transactions that this node verified, by the hashes of their whole envelopes. Intake and the order thread meet the
//! same ones, whichever comes first. Bounded: a hash has few places, and there displaces the one that came first. What
//! is forgotten is verified again.

use selfchain_engine::intake::KnownEnvelopes;
use selfchain_types::Hash;
use std::sync::{Mutex, PoisonError};

/// Parts, each behind its own lock: more than threads that ask at once.
const PARTS: usize = 64;
/// Rows of a part.
const ROWS: usize = 2_048;
/// Hashes of a row, the newest first: two cache lines, so that a hash is found or missed by one look at memory.
const PLACES: usize = 4;
/// What an empty place has. No envelope is known to hash to it, and none can be made to.
const EMPTY: [u8; 32] = [0; 32];

/// Hashes of whole envelopes, signatures included: 16 MiB when full.
#[derive(Debug)]
pub struct Remembered([Mutex<Vec<[[u8; 32]; PLACES]>>; PARTS]);

impl Default for Remembered {
    fn default() -> Self {
        Self(core::array::from_fn(|_| Mutex::default()))
    }
}

impl Remembered {
    fn part(&self, leaf: &Hash) -> &Mutex<Vec<[[u8; 32]; PLACES]>> {
        &self.0[usize::from(leaf.0[0]) % PARTS]
    }
}

fn row_of(leaf: &Hash) -> usize {
    usize::from(u16::from_le_bytes([leaf.0[1], leaf.0[2]])) % ROWS
}

impl KnownEnvelopes for Remembered {
    fn holds(&self, leaf: &Hash) -> bool {
        // Whole after any panic: a row is written in one step.
        let rows = self.part(leaf).lock().unwrap_or_else(PoisonError::into_inner);
        rows.get(row_of(leaf)).is_some_and(|row| row.contains(&leaf.0))
    }

    fn add(&self, leaf: Hash) {
        let mut rows = self.part(&leaf).lock().unwrap_or_else(PoisonError::into_inner);
        if rows.is_empty() {
            *rows = vec![[EMPTY; PLACES]; ROWS];
        }
        let row = &mut rows[row_of(&leaf)];
        if !row.contains(&leaf.0) {
            row.copy_within(..PLACES - 1, 1);
            row[0] = leaf.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: usize) -> Hash {
        selfchain_types::hash::TX.hash(&number.to_le_bytes())
    }

    #[test]
    fn what_is_new_is_held_and_what_is_old_makes_room() {
        let remembered = Remembered::default();
        assert!(!remembered.holds(&hash(0)));
        let held = |range: core::ops::Range<usize>| range.filter(|at| remembered.holds(&hash(*at))).count();
        let room = PARTS * ROWS * PLACES;
        (0..room / 16).for_each(|number| remembered.add(hash(number)));
        assert!(
            held(0..room / 16) > room / 16 - room / 1_000,
            "few are displaced while there is room"
        );
        (room..4 * room).for_each(|number| remembered.add(hash(number)));
        assert!(remembered.holds(&hash(4 * room - 1)));
        assert!(held(0..room / 16) < room / 1_000, "the oldest are forgotten");
    }

    #[test]
    fn one_is_held_once_and_a_row_keeps_its_newest() {
        let remembered = Remembered::default();
        let alike = |last: u8| {
            let mut hash = Hash([7; 32]);
            hash.0[31] = last;
            hash
        };
        remembered.add(alike(0));
        (0..5).for_each(|_| remembered.add(alike(1)));
        assert!(remembered.holds(&alike(0)), "the same one again displaces nobody");
        (2..5).for_each(|last| remembered.add(alike(last)));
        let held: Vec<u8> = (0..8).filter(|last| remembered.holds(&alike(*last))).collect();
        assert_eq!(held, [1, 2, 3, 4]);
    }
}
