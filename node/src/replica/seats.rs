//! Seats: peers are known by their number, which is theirs for as long as they are validators, as links are; the plane
//! knows them by their place in the set of the height in hand.

use selfchain_types::KeyId;
use selfchain_types::genesis::Validator;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Seats {
    set: Arc<[Validator]>,
    ids: Vec<KeyId>,
    /// By place in the set.
    numbers: Vec<Option<u32>>,
    seats: BTreeMap<u32, u16>,
}

impl Default for Seats {
    fn default() -> Self {
        Self {
            set: Arc::new([]),
            ids: Vec::new(),
            numbers: Vec::new(),
            seats: BTreeMap::new(),
        }
    }
}

impl Seats {
    /// A height with this set begins; `number_of` says whose a key is. Whether it is another set than before.
    pub(super) fn sit(&mut self, set: &Arc<[Validator]>, number_of: impl Fn(&KeyId) -> Option<u32>) -> bool {
        if Arc::ptr_eq(&self.set, set) {
            return false;
        }
        self.set = Arc::clone(set);
        self.ids = set.iter().map(|one| one.key.id()).collect();
        self.numbers = self.ids.iter().map(number_of).collect();
        let seated = (0..).zip(&self.numbers);
        self.seats = seated
            .filter_map(|(seat, number)| Some(((*number)?, seat)))
            .collect();
        true
    }

    /// Whether the set names this key.
    pub(super) fn names(&self, key: &KeyId) -> bool {
        self.ids.contains(key)
    }

    /// Where a peer sits, if it is in the set.
    pub(super) fn of_peer(&self, peer: u32) -> Option<u16> {
        self.seats.get(&peer).copied()
    }

    /// Which peer sits there.
    pub(super) fn peer_at(&self, seat: u16) -> Option<u32> {
        self.numbers.get(usize::from(seat)).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfchain_types::crypto::SigningKey;

    #[test]
    fn peers_keep_their_numbers_when_others_come_and_go_and_when_they_take_another_key() {
        let set = |seeds: &[u8]| -> Arc<[Validator]> {
            let validator = |seed: &u8| Validator {
                key: SigningKey::from_seed(&[*seed; 32]).public().clone(),
                power: 1,
            };
            seeds.iter().map(validator).collect()
        };
        // The key of seed 30 is the later one of number 2.
        let numbers = [(1, 0), (2, 1), (3, 2), (30, 2), (9, 70_000)];
        let number_of = |key: &KeyId| {
            let is_it = |(seed, _): &&(u8, u32)| SigningKey::from_seed(&[*seed; 32]).id() == *key;
            numbers.iter().find(is_it).map(|(_, number)| *number)
        };
        let mut seats = Seats::default();
        assert_eq!(seats.of_peer(0), None, "nobody sits yet");
        let founders = set(&[1, 2, 3]);
        assert!(seats.sit(&founders, number_of) && !seats.sit(&founders, number_of));
        assert_eq!((seats.of_peer(2), seats.peer_at(2)), (Some(2), Some(2)));
        assert!(seats.sit(&set(&[1, 30, 9]), number_of));
        assert_eq!(
            [0, 1, 2, 70_000].map(|peer| seats.of_peer(peer)),
            [Some(0), None, Some(1), Some(2)]
        );
        assert_eq!(
            [0, 1, 2, 3].map(|seat| seats.peer_at(seat)),
            [Some(0), Some(2), Some(70_000), None]
        );
    }
}
