//! Hashes of whole envelopes that this node verified: bounded, the older half is forgotten at once.

use selfchain_types::Hash;
use std::collections::BTreeSet;

/// Hashes in each half: as many transactions as wait in a pool by default.
const HALF_MAX: usize = 262_144;

/// Hashes of whole envelopes, signatures included.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    young: BTreeSet<Hash>,
    old: BTreeSet<Hash>,
}

impl Remembered {
    pub(super) fn add(&mut self, leaf: Hash) {
        if self.young.len() >= HALF_MAX {
            self.old = core::mem::take(&mut self.young);
        }
        self.young.insert(leaf);
    }

    pub(super) fn holds(&self, leaf: &Hash) -> bool {
        self.young.contains(leaf) || self.old.contains(leaf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_kept_and_the_set_is_bounded() {
        let hash = |number: u64| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            Hash(bytes)
        };
        let mut remembered = Remembered::default();
        let half = u64::try_from(HALF_MAX).unwrap_or(u64::MAX);
        (0..3 * half).for_each(|number| remembered.add(hash(number)));
        assert!(remembered.holds(&hash(3 * half - 1)) && remembered.holds(&hash(2 * half)));
        assert!(!remembered.holds(&hash(0)));
        assert!(remembered.young.len() + remembered.old.len() <= 2 * HALF_MAX);
    }
}
