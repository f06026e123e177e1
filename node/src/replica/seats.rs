//! Seats: peers are known by their place in genesis, as links are; the plane knows them by their place in the set of
//! the height in hand.

use selfchain_types::KeyId;
use selfchain_types::genesis::Validator;
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Seats {
    founders: Vec<KeyId>,
    set: Arc<[Validator]>,
    /// By place in genesis.
    seats: Vec<Option<u16>>,
}

impl Seats {
    pub(super) fn new(founders: &[Validator]) -> Self {
        Self {
            founders: founders.iter().map(|validator| validator.key.id()).collect(),
            set: Arc::new([]),
            seats: Vec::new(),
        }
    }

    /// A height with this set begins.
    pub(super) fn sit(&mut self, set: &Arc<[Validator]>) {
        if Arc::ptr_eq(&self.set, set) {
            return;
        }
        self.set = Arc::clone(set);
        let ids: Vec<KeyId> = set.iter().map(|validator| validator.key.id()).collect();
        let seat = |founder: &KeyId| {
            let at = ids.iter().position(|id| id == founder)?;
            u16::try_from(at).ok()
        };
        self.seats = self.founders.iter().map(seat).collect();
    }

    /// Where a peer sits, if it is in the set.
    pub(super) fn of_peer(&self, peer: u16) -> Option<u16> {
        self.seats.get(usize::from(peer)).copied().flatten()
    }

    /// Which peer sits there.
    pub(super) fn peer_at(&self, seat: u16) -> Option<u16> {
        let at = self.seats.iter().position(|one| *one == Some(seat))?;
        u16::try_from(at).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfchain_types::crypto::SigningKey;

    #[test]
    fn peers_keep_their_numbers_when_a_validator_before_them_leaves() {
        let set = |seeds: &[u8]| -> Vec<Validator> {
            let validator = |seed: &u8| Validator {
                key: SigningKey::from_seed(&[*seed; 32]).public().clone(),
                power: 1,
            };
            seeds.iter().map(validator).collect()
        };
        let mut seats = Seats::new(&set(&[1, 2, 3]));
        assert_eq!(seats.of_peer(0), None, "nobody sits yet");
        seats.sit(&set(&[1, 2, 3]).into());
        assert_eq!((seats.of_peer(2), seats.peer_at(2)), (Some(2), Some(2)));
        seats.sit(&set(&[1, 3]).into());
        assert_eq!(
            [0, 1, 2, 3].map(|peer| seats.of_peer(peer)),
            [Some(0), None, Some(1), None]
        );
        assert_eq!(
            [0, 1, 2].map(|seat| seats.peer_at(seat)),
            [Some(0), Some(2), None]
        );
    }
}
