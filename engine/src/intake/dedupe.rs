//! The transactions that were verified and are not decided yet, so that a copy costs no verification.

use selfchain_types::Hash;
use std::collections::BTreeSet;

/// A bounded set of verified, undecided transactions.
///
/// Only a *verified* transaction goes in: a forged copy has the honest one's id, and would shut it out. The
/// set only saves work: when it is full it remembers nothing new, and the pool, which knows every waiting
/// transaction by its lane, still refuses the copy after it was verified.
#[derive(Clone, Debug)]
pub struct Dedupe {
    undecided: BTreeSet<Hash>,
    len_max: usize,
}

impl Dedupe {
    /// A set of at most `len_max` transactions.
    pub fn new(len_max: usize) -> Self {
        Self {
            undecided: BTreeSet::new(),
            len_max,
        }
    }

    /// Whether a transaction is remembered.
    pub fn contains(&self, tx_id: &Hash) -> bool {
        self.undecided.contains(tx_id)
    }

    /// Remembers a verified transaction, if there is room.
    pub fn insert(&mut self, tx_id: Hash) {
        if self.undecided.len() < self.len_max {
            self.undecided.insert(tx_id);
        }
    }

    /// Forgets a transaction that was decided or refused, so that it may come again.
    pub fn remove(&mut self, tx_id: &Hash) {
        self.undecided.remove(tx_id);
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.undecided.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.undecided.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_known_until_the_first_is_decided_and_the_set_stays_bounded() {
        let mut dedupe = Dedupe::new(2);
        let [a, b, c] = [Hash([1; 32]), Hash([2; 32]), Hash([3; 32])];
        for tx_id in [a, a, b, c] {
            dedupe.insert(tx_id);
        }
        assert_eq!(dedupe.len(), 2);
        assert!(dedupe.contains(&a) && dedupe.contains(&b));
        assert!(!dedupe.contains(&c), "no room");
        dedupe.remove(&a);
        assert!(!dedupe.contains(&a));
        dedupe.insert(c);
        assert!(dedupe.contains(&c));
    }
}
