//! Starving: whether a block leaves out what its proposer said long ago that it has.

use super::acknowledged::{Acknowledged, Signer};
use super::seats::Seats;
use selfchain_consensus::poai::reference::STARVED_OBJECTION;
use selfchain_engine::commit::{Candidate, Chain};
use selfchain_engine::pool::Waiting;
use selfchain_types::crypto::BatchVerifier;
use selfchain_types::{Hash, Verified, codec};
use std::collections::BTreeSet;

/// What a block is judged with.
pub(super) struct Judge<'a> {
    pub(super) chain: &'a Chain,
    pub(super) seats: &'a Seats,
    pub(super) signatures: &'a BatchVerifier,
    /// Bytes of envelopes that the block may have.
    pub(super) bytes_max: u64,
    /// Envelopes that this node would put into one at most.
    pub(super) envelopes_max: usize,
    /// Whether the extension tells of what a full block leaves out.
    pub(super) is_compared: bool,
}

/// What was found of a block.
#[derive(Debug, Default)]
pub(super) struct Starved {
    /// Whether it is reason enough to object.
    pub(super) is_gross: bool,
    /// Numbers of arrival of what its proposer acknowledged and is overdue.
    pub(super) overdue: BTreeSet<u64>,
    /// Acknowledgements whose signature is not the proposer's.
    pub(super) forged: u64,
}

impl Judge<'_> {
    /// What a block does to `overdue`, which has waited for long, oldest first.
    pub(super) fn starved(
        &self,
        mut overdue: Vec<Waiting>,
        acknowledged: &mut Acknowledged,
        candidate: &Candidate,
    ) -> Starved {
        if overdue.is_empty() {
            return Starved::default();
        }
        let (room, used) = (self.room(candidate), used(candidate.envelopes()));
        // Under more load than blocks take, much is overdue, and nobody has time to ask by whose word.
        if room.is_half_used(&used) && !self.is_compared {
            return Starved::default();
        }
        let (set, proposer) = (self.chain.validators(), candidate.header().proposer);
        let at = set.iter().position(|one| one.key.id() == proposer);
        let seat = at.and_then(|at| u16::try_from(at).ok());
        let peer = seat.and_then(|seat| self.seats.peer_at(seat));
        let (Some(at), Some(peer)) = (at, peer) else {
            return Starved::default();
        };
        let signer = Signer {
            peer,
            key: &set[at].key,
            chain_id: &self.chain.chain_id(),
        };
        let (tip, seed) = (self.chain.tip().height, candidate.hash());
        let found = acknowledged.find(&overdue, &signer, tip, self.signatures, &seed);
        overdue.retain(|one| found.arrivals.contains(&one.arrival));
        Starved {
            is_gross: !overdue.is_empty() && starves(marked(&overdue, candidate), &room, &used),
            overdue: found.arrivals,
            forged: found.forged,
        }
    }

    fn room(&self, candidate: &Candidate) -> Room {
        let limits = self.chain.genesis().limits;
        let expiries = self.chain.ledger().expiries_at(candidate.header().time_ns);
        Room {
            bytes: self.bytes_max,
            effects: u64::from(limits.block_effects_max).saturating_sub(codec::wide(expiries)),
            envelopes: codec::wide(self.envelopes_max),
        }
    }
}

/// With each whether the block holds it.
fn marked<'a>(overdue: &'a [Waiting], candidate: &Candidate) -> impl Iterator<Item = (&'a Waiting, bool)> {
    let ids: BTreeSet<Hash> = candidate.envelopes().iter().map(|one| one.tx_id()).collect();
    overdue.iter().map(move |one| (one, ids.contains(&one.tx_id)))
}

/// Room in a block, or what is used of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Room {
    /// Of envelopes.
    bytes: u64,
    /// Operations.
    effects: u64,
    /// Envelopes.
    envelopes: u64,
}

impl Room {
    /// Takes one transaction's part away; `false` where there is not as much.
    fn take(&mut self, one: &Waiting) -> bool {
        let left = (
            self.bytes.checked_sub(one.bytes),
            self.effects.checked_sub(one.effects),
            self.envelopes.checked_sub(1),
        );
        let (Some(bytes), Some(effects), Some(envelopes)) = left else {
            return false;
        };
        *self = Self {
            bytes,
            effects,
            envelopes,
        };
        true
    }

    /// Whether more than half of any of it is used.
    fn is_half_used(&self, used: &Self) -> bool {
        let over = |room: u64, used: u64| used > room / 2;
        over(self.bytes, used.bytes)
            || over(self.effects, used.effects)
            || over(self.envelopes, used.envelopes)
    }
}

/// Whether a block starves grossly: at most half of it is used, and of what its proposer acknowledged long ago, is next in
/// its lanes and would have fitted, it leaves out at least [`STARVED_OBJECTION`] thousandths. `overdue` is that, oldest
/// first, with whether the block holds each.
///
/// Whoever builds by fee, by the reference or by arrival takes all that fits as long as there is room, so that an honest
/// block leaves out nothing of this; a full one is let be, whatever it holds. Half is far from where large transactions
/// that do not fit make an honest choice end early.
fn starves<'a>(overdue: impl Iterator<Item = (&'a Waiting, bool)>, room: &Room, used: &Room) -> bool {
    if room.is_half_used(used) {
        return false;
    }
    let mut left = Room {
        bytes: room.bytes.saturating_sub(used.bytes),
        effects: room.effects.saturating_sub(used.effects),
        envelopes: room.envelopes.saturating_sub(used.envelopes),
    };
    let (mut due, mut left_out) = (0u64, 0u64);
    for (one, is_in) in overdue.filter(|(one, _)| one.is_first) {
        let is_left_out = !is_in && left.take(one);
        due += u64::from(is_in || is_left_out);
        left_out += u64::from(is_left_out);
    }
    left_out > 0 && left_out * 1_000 >= due * u64::from(STARVED_OBJECTION)
}

/// What a block's envelopes use.
fn used(envelopes: &[Verified]) -> Room {
    let nothing = Room {
        bytes: 0,
        effects: 0,
        envelopes: 0,
    };
    envelopes.iter().fold(nothing, |sum, one| Room {
        bytes: sum.bytes + codec::wide(one.as_bytes().len()),
        effects: sum.effects + u64::from(one.view().header().operations.get()),
        envelopes: sum.envelopes + 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfchain_types::Height;

    const ROOM: Room = Room {
        bytes: 1_000,
        effects: 100,
        envelopes: 10,
    };

    fn waiting(bytes: u64) -> Waiting {
        Waiting {
            tx_id: Hash::ZERO,
            rate: 0,
            arrival: 1,
            bytes,
            effects: 1,
            from: Height(1),
            is_first: true,
        }
    }

    fn used(bytes: u64, effects: u64, envelopes: u64) -> Room {
        Room {
            bytes,
            effects,
            envelopes,
        }
    }

    #[test]
    fn half_of_what_would_have_fitted_is_gross_and_less_is_not() {
        let one = waiting(10);
        let check = |is_in: &[bool]| {
            let overdue = is_in.iter().map(|is_in| (&one, *is_in));
            starves(overdue, &ROOM, &used(100, 10, 1))
        };
        assert!(check(&[false]) && check(&[true, false]) && check(&[false, false, true]));
        assert!(!check(&[]) && !check(&[true]) && !check(&[true, false, true]));
    }

    #[test]
    fn a_block_that_is_more_than_half_full_in_any_way_is_let_be() {
        let one = waiting(1);
        let check = |used: Room| starves([(&one, false)].into_iter(), &ROOM, &used);
        assert!(check(used(500, 50, 5)) && check(used(0, 0, 0)));
        assert!(!check(used(501, 0, 0)) && !check(used(0, 51, 0)) && !check(used(0, 0, 6)));
    }

    #[test]
    fn what_does_not_fit_or_is_not_next_in_its_lanes_does_not_count() {
        let (large, small) = (waiting(901), waiting(10));
        let check = |overdue: &[(&Waiting, bool)]| starves(overdue.iter().copied(), &ROOM, &used(100, 1, 1));
        assert!(!check(&[(&large, false)]));
        assert!(!check(&[(&large, false), (&small, true)]));
        assert!(check(&[(&large, false), (&small, false)]));
        // 600 bytes of 900 go to the first; the second finds 300 left.
        let half = waiting(600);
        assert!(!check(&[
            (&half, false),
            (&half, false),
            (&small, true),
            (&small, true)
        ]));
        let behind = Waiting {
            is_first: false,
            ..small
        };
        assert!(!check(&[(&behind, false)]));
    }

    #[test]
    fn expiries_may_leave_no_room_at_all() {
        let none = Room { effects: 0, ..ROOM };
        assert!(!starves(
            [(&waiting(1), false)].into_iter(),
            &none,
            &used(0, 0, 0)
        ));
    }
}
