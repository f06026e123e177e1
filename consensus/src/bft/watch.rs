//! Ballots seen and found good: what need not be verified twice, and who signed two that conflict.

use super::context::Set;
use selfchain_types::ballot::{Ballot, BallotKind, Statement};
use selfchain_types::evidence::Evidence;
use selfchain_types::seam::view::Heard;
use selfchain_types::{Hash, Height};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

/// Heights before the one in hand of which late ballots are still looked at.
pub(super) const LATE_HEIGHTS_MAX: u64 = 8;
/// Ballots of one validator that are kept of one height: of many rounds the latest.
pub(super) const BALLOTS_KEPT_MAX: usize = 96;

/// What was seen of the height in hand and of those just before it.
#[derive(Debug)]
pub(super) struct Watch {
    chain_id: Hash,
    heights: BTreeMap<Height, Seen>,
    /// Signatures verified so far.
    verified: Cell<u64>,
    /// Whether nobody looks at them: a simulation of all else.
    trusts: bool,
}

#[derive(Debug)]
struct Seen {
    set: Set,
    ballots: BTreeMap<Slot, Ballot>,
    /// Of whom evidence was given: one is enough.
    accused: BTreeSet<u16>,
}

/// An honest validator fills each at most once.
type Slot = (u16, u32, BallotKind);

/// What is known of a ballot before its signature is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nobody of this height's set, or a height that is not watched.
    Stranger,
    /// It was found good before.
    Good,
    /// Its validator is found out already, and this is another of its conflicting ballots.
    Surplus,
    /// Its signature decides.
    New,
}

impl Watch {
    pub(super) fn new(chain_id: Hash) -> Self {
        Self {
            chain_id,
            heights: BTreeMap::new(),
            verified: Cell::new(0),
            trusts: false,
        }
    }

    /// Takes every signature of a validator for good from now on.
    #[cfg(any(test, feature = "controls"))]
    pub(super) fn trust(&mut self) {
        self.trusts = true;
    }

    /// Signatures verified so far.
    pub(super) fn verified(&self) -> u64 {
        self.verified.get()
    }

    /// What the validator at a seat said in a round.
    pub(super) fn heard(&self, height: Height, round: u32, seat: u16) -> Heard {
        let seen = self.heights.get(&height);
        let said = |kind| seen.and_then(|seen| seen.ballots.get(&(seat, round, kind)));
        let block = |ballot: &Ballot| match &ballot.statement {
            Statement::Prevote(block) => *block,
            Statement::Precommit(block, _) | Statement::Proposal(block, _) => Some(*block),
            Statement::NilPrecommit => None,
        };
        Heard {
            prevote: said(BallotKind::Prevote).map(block),
            precommit: said(BallotKind::Precommit).map(block),
        }
    }

    /// `height` begins with this set; what is long past is forgotten.
    pub(super) fn begin(&mut self, height: Height, set: Set) {
        let first = Height(height.0.saturating_sub(LATE_HEIGHTS_MAX));
        self.heights = self.heights.split_off(&first);
        self.heights.insert(
            height,
            Seen {
                set,
                ballots: BTreeMap::new(),
                accused: BTreeSet::new(),
            },
        );
    }

    /// What is known of a ballot, without verifying it.
    pub(super) fn known(&self, ballot: &Ballot) -> Known {
        let Some(seen) = self.heights.get(&ballot.height) else {
            return Known::Stranger;
        };
        if seen.set.member(ballot.validator).is_none() {
            return Known::Stranger;
        }
        match seen.ballots.get(&slot(ballot)) {
            Some(first) if first == ballot => Known::Good,
            Some(first)
                if first.statement != ballot.statement && seen.accused.contains(&ballot.validator) =>
            {
                Known::Surplus
            }
            _ => Known::New,
        }
    }

    /// Whether the signature is its validator's.
    pub(super) fn is_good(&self, ballot: &Ballot) -> bool {
        match self.known(ballot) {
            Known::Good => true,
            Known::Stranger => false,
            Known::Surplus | Known::New if self.trusts => true,
            Known::Surplus | Known::New => {
                self.verified.set(self.verified.get().saturating_add(1));
                let member = self
                    .heights
                    .get(&ballot.height)
                    .and_then(|seen| seen.set.member(ballot.validator));
                member.is_some_and(|member| ballot.verify(&self.chain_id, &member.key).is_ok())
            }
        }
    }

    /// Keeps a good ballot; evidence if it is the first of its validator's that conflicts with one kept.
    pub(super) fn keep(&mut self, ballot: &Ballot) -> Option<Evidence> {
        let seen = self.heights.get_mut(&ballot.height)?;
        if let Some(first) = seen.ballots.get(&slot(ballot)) {
            let evidence = Evidence::new(first.clone(), ballot.clone()).ok()?;
            return seen.accused.insert(ballot.validator).then_some(evidence);
        }
        seen.make_room(ballot.validator);
        seen.ballots.insert(slot(ballot), ballot.clone());
        None
    }
}

impl Seen {
    fn make_room(&mut self, validator: u16) {
        let mine = (validator, 0, BallotKind::Prevote)..=(validator, u32::MAX, BallotKind::Proposal);
        let mut slots = self.ballots.range(mine).map(|(slot, _)| *slot);
        let earliest = slots.next();
        if slots.count() + 1 >= BALLOTS_KEPT_MAX
            && let Some(earliest) = earliest
        {
            self.ballots.remove(&earliest);
        }
    }
}

fn slot(ballot: &Ballot) -> Slot {
    (ballot.validator, ballot.round, ballot.statement.kind())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use selfchain_types::crypto::SigningKey;
    use selfchain_types::genesis::Validator;
    use selfchain_types::seam::consensus::Schedule;

    const CHAIN: Hash = Hash([1; 32]);

    fn key() -> SigningKey {
        SigningKey::from_seed(&[1; 32])
    }

    fn watch() -> Watch {
        let validators = [Validator {
            key: key().public().clone(),
            power: 1,
        }];
        let schedule = Schedule::by_power(Height(1));
        let mut watch = Watch::new(CHAIN);
        watch.begin(Height(5), Set::new(&validators, Height(5), &schedule).unwrap());
        watch
    }

    fn ballot(round: u32, block: u8) -> Ballot {
        let statement = Statement::Prevote(Some(Hash([block; 32])));
        Ballot::sign(&CHAIN, Height(5), round, 0, statement, &key())
    }

    #[test]
    fn a_kept_ballot_is_good_and_another_of_its_slot_is_evidence_once() {
        let mut watch = watch();
        assert_eq!(watch.known(&ballot(0, 1)), Known::New);
        assert_eq!(watch.keep(&ballot(0, 1)), None);
        assert_eq!(watch.known(&ballot(0, 1)), Known::Good);
        assert_eq!(watch.keep(&ballot(0, 1)), None, "the same again");
        let evidence = watch.keep(&ballot(0, 2)).unwrap();
        assert_eq!(evidence.verify(&CHAIN, key().public()), Ok(()));
        assert_eq!(watch.known(&ballot(0, 3)), Known::Surplus);
        assert_eq!(watch.keep(&ballot(0, 3)), None, "one is enough");
        assert_eq!(watch.known(&ballot(1, 3)), Known::New);
    }

    #[test]
    fn a_signature_of_another_is_good_only_where_none_is_looked_at() {
        let watch = watch();
        let mut forged = ballot(0, 1);
        forged.signature[0] ^= 1;
        assert!(!watch.is_good(&forged));
        assert!(watch.is_good(&ballot(0, 1)));
        let stranger = Ballot {
            validator: 1,
            ..ballot(0, 1)
        };
        assert!(!watch.is_good(&stranger));
        let mut trusting = watch;
        trusting.trust();
        assert!(trusting.is_good(&forged) && !trusting.is_good(&stranger));
    }

    #[test]
    fn of_many_rounds_the_latest_are_kept() {
        let mut watch = watch();
        for round in 0..200 {
            assert_eq!(watch.keep(&ballot(round, 1)), None);
        }
        assert_eq!(watch.known(&ballot(199, 1)), Known::Good);
        assert_eq!(watch.known(&ballot(200 - 96, 1)), Known::Good);
        assert_eq!(watch.known(&ballot(199 - 96, 1)), Known::New);
    }
}
