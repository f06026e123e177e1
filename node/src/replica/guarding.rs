//! Before a ballot of this validator's leaves: whether it signed another one there, as far as the guard knows, which
//! outlives the journal.
//!
//! What the journal holds, and what was said since, may be said again, word for word, and nothing else in its place.
//! Where the guard knows of more than the journal, the directory is an old one, or
//! another process signs with the key: then nothing is said up to the height that the guard saw.

use super::replica::{Replica, ReplicaError, Ticket};
use selfchain_consensus::bft;
use selfchain_storage::{Place, Watermark};
use selfchain_types::ballot::{Ballot, BallotKind};
use selfchain_types::{Hash, Height};
use std::collections::BTreeMap;

/// Heights that the guard reserves at once, with one sync: so old may a directory be that comes back after a loss of
/// power, and not be noticed.
pub const GUARD_AHEAD: u64 = 256;

/// The guard, and what is known to have been signed.
#[derive(Debug)]
pub(super) struct Guarding {
    watermark: Option<Watermark>,
    /// What was signed at heights that are not decided: in the journal, or said.
    known: BTreeMap<Place, Hash>,
    /// Nothing new is said up to this height.
    floor: Height,
}

impl Guarding {
    pub(super) fn new(watermark: Option<Watermark>) -> Self {
        Self {
            watermark,
            known: BTreeMap::new(),
            floor: Height::GENESIS,
        }
    }

    pub(super) fn floor(&self) -> Height {
        self.floor
    }

    /// A ballot of this validator's that the journal holds.
    pub(super) fn journaled(&mut self, ballot: &Ballot, chain_id: &Hash) {
        self.known.insert(place_of(ballot), ballot.digest(chain_id));
    }

    /// All of the journal is read: whether the guard knows of more.
    pub(super) fn settle(&mut self, tip: Height) {
        let Some(watermark) = &self.watermark else {
            return;
        };
        let found = watermark.found();
        let last = found.place;
        let knows_last = last.height <= tip.0 || self.known.get(&last) == Some(&found.hash);
        // What was signed first of what is reserved is in the journal, unless its block is in the log.
        let journaled = self.known.keys().next_back().map_or(0, |place| place.height);
        let is_recent = tip.0.max(journaled).saturating_add(GUARD_AHEAD) >= found.through;
        let through = match (knows_last, watermark.is_doubtful()) {
            (true, false) => 0,
            (true, true) if is_recent => 0,
            (true, true) | (false, true) => last.height.max(found.through),
            (false, false) => last.height,
        };
        self.floor = Height(through);
        if self.floor > tip {
            tracing::warn!(
                tip = %tip, through = %self.floor,
                "the guard knows of signatures that this directory does not hold: nothing is signed up to that height"
            );
        }
    }

    /// Whether a ballot of this validator's may leave; then the guard knows of it.
    fn admit(&mut self, ballot: &Ballot, chain_id: &Hash) -> Result<bool, ReplicaError> {
        let Some(watermark) = &mut self.watermark else {
            return Ok(true);
        };
        let (place, digest) = (place_of(ballot), ballot.digest(chain_id));
        match self.known.get(&place) {
            Some(known) => return Ok(*known == digest),
            // Of lower heights it is not known any more what was signed.
            None if ballot.height.0.saturating_add(1) < watermark.signed().place.height => return Ok(false),
            None if ballot.height <= self.floor => return Ok(false),
            None => {}
        }
        // A proposal leaves after its proposer's own prevote.
        if place > watermark.signed().place {
            watermark.advance(place, digest)?;
        }
        // Of the height before, what was said last may be wanted again.
        self.known
            .retain(|known, _| known.height.saturating_add(1) >= place.height);
        self.known.insert(place, digest);
        Ok(true)
    }

    /// What was signed outlives the power too.
    pub(super) fn close(&mut self) {
        if let Some(watermark) = &mut self.watermark
            && let Err(error) = watermark.sync()
        {
            tracing::warn!(error = %error, "the guard against signing twice is not durable");
        }
    }
}

fn place_of(ballot: &Ballot) -> Place {
    Place {
        height: ballot.height.0,
        round: ballot.round,
        step: match ballot.statement.kind() {
            BallotKind::Proposal => 1,
            BallotKind::Prevote => 2,
            BallotKind::Precommit => 3,
        },
    }
}

impl<T: Ticket> Replica<T> {
    /// Notes what a record of the journal says that this validator signed.
    pub(super) fn guard_record(&mut self, record: &[u8]) {
        if let Some(ballot) = bft::journaled(record)
            && self.is_own(&ballot)
        {
            self.guarding.journaled(&ballot, &self.chain.chain_id());
        }
    }

    /// Whether a message of the plane may leave: one that is no ballot of this validator's may.
    pub(super) fn may_say(&mut self, message: &[u8]) -> Result<bool, ReplicaError> {
        let own = bft::said(message).filter(|ballot| self.is_own(ballot));
        let Some(ballot) = own else {
            return Ok(true);
        };
        let may = self.guarding.admit(&ballot, &self.chain.chain_id())?;
        if !may {
            self.counts.guarded += 1;
            let (height, round) = (ballot.height, ballot.round);
            tracing::warn!(%height, round, "a ballot is not sent: this validator may have signed another one there");
        }
        Ok(may)
    }

    fn is_own(&self, ballot: &Ballot) -> bool {
        // After a loss of power the journal may be two heights ahead of the log: the next height's set stands for those
        // after it, and differs from theirs at an epoch's end alone.
        let set = if ballot.height > self.chain.tip().height {
            Some(self.chain.validators())
        } else {
            self.chain.validators_of(ballot.height)
        };
        let signer = set
            .as_ref()
            .and_then(|set| set.get(usize::from(ballot.validator)));
        signer.is_some_and(|signer| self.own.contains(&signer.key.id()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use selfchain_storage::MemoryDisk;
    use selfchain_types::ballot::Statement;
    use selfchain_types::crypto::SigningKey;
    use std::sync::Arc;

    const CHAIN: Hash = Hash([7; 32]);

    fn ballot(height: u64, round: u32, statement: Statement) -> Ballot {
        Ballot::sign(
            &CHAIN,
            Height(height),
            round,
            0,
            statement,
            &SigningKey::from_seed(&[1; 32]),
        )
    }

    fn prevote(height: u64, round: u32, block: u8) -> Ballot {
        ballot(height, round, Statement::Prevote(Some(Hash([block; 32]))))
    }

    fn precommit(height: u64, round: u32, block: u8) -> Ballot {
        ballot(height, round, Statement::Precommit(Hash([block; 32]), Vec::new()))
    }

    fn open(disk: &MemoryDisk, boot: u8) -> Guarding {
        let disk = Arc::new(disk.clone());
        Guarding::new(Some(
            Watermark::open(disk, CHAIN, [boot; 16], GUARD_AHEAD).unwrap(),
        ))
    }

    fn says(guarding: &mut Guarding, ballot: &Ballot) -> bool {
        guarding.admit(ballot, &CHAIN).unwrap()
    }

    #[test]
    fn what_was_said_is_said_again_and_nothing_else_there() {
        let mut guarding = open(&MemoryDisk::new(), 1);
        guarding.settle(Height(9));
        assert!(says(&mut guarding, &prevote(10, 0, 1)));
        assert!(says(&mut guarding, &prevote(10, 0, 1)));
        assert!(!says(&mut guarding, &prevote(10, 0, 2)));
        assert!(!says(&mut guarding, &ballot(10, 0, Statement::Prevote(None))));
        assert!(says(&mut guarding, &precommit(10, 0, 1)));
        assert!(
            says(&mut guarding, &prevote(10, 0, 1)),
            "repeated after the precommit"
        );
        assert!(!says(&mut guarding, &ballot(10, 0, Statement::NilPrecommit)));
        assert!(says(&mut guarding, &prevote(10, 1, 2)));
        let proposal = |block| ballot(10, 1, Statement::Proposal(Hash([block; 32]), None));
        assert!(says(&mut guarding, &proposal(2)), "after the prevote for it");
        assert!(says(&mut guarding, &proposal(2)));
        assert!(!says(&mut guarding, &proposal(3)));
        assert!(says(&mut guarding, &prevote(11, 0, 1)) && says(&mut guarding, &prevote(12, 0, 1)));
        assert!(
            !says(&mut guarding, &prevote(10, 2, 1)),
            "what was signed there is not known any more"
        );
    }

    #[test]
    fn after_a_crash_the_journal_says_what_may_be_repeated() {
        let disk = MemoryDisk::new();
        let mut guarding = open(&disk, 1);
        assert!(says(&mut guarding, &prevote(10, 0, 1)));
        assert!(says(&mut guarding, &precommit(10, 0, 1)));
        let mut again = open(&disk, 1);
        again.journaled(&prevote(10, 0, 1), &CHAIN);
        again.journaled(&precommit(10, 0, 1), &CHAIN);
        again.settle(Height(9));
        assert_eq!(again.floor(), Height(0));
        assert!(says(&mut again, &precommit(10, 0, 1)));
        assert!(!says(&mut again, &precommit(10, 0, 2)));
        assert!(says(&mut again, &prevote(10, 1, 2)));
    }

    #[test]
    fn a_directory_that_went_back_keeps_silent_to_where_it_had_signed() {
        let disk = MemoryDisk::new();
        let mut guarding = open(&disk, 1);
        assert!(says(&mut guarding, &precommit(10, 0, 1)));
        assert!(says(&mut guarding, &prevote(11, 2, 1)));
        // Block 10 is not in the log any more, and nothing of 11 in the journal.
        let mut back = open(&disk, 1);
        back.settle(Height(7));
        assert_eq!(back.floor(), Height(11));
        for one in [
            prevote(8, 0, 3),
            precommit(10, 0, 1),
            prevote(11, 2, 1),
            prevote(11, 3, 1),
        ] {
            assert!(!says(&mut back, &one), "{one:?}");
        }
        assert!(says(&mut back, &prevote(12, 0, 1)));
        // Where the log holds what was decided, all goes on, although the journal is empty.
        let mut whole = open(&disk, 1);
        whole.settle(Height(12));
        assert_eq!(whole.floor(), Height(0));
        assert!(says(&mut whole, &prevote(13, 0, 1)));
    }

    #[test]
    fn after_a_loss_of_power_the_reserve_counts() {
        let disk = MemoryDisk::new();
        let mut guarding = open(&disk, 1);
        assert!(says(&mut guarding, &prevote(10, 0, 1)));
        let through = 10 + GUARD_AHEAD;
        let recent = |tip| {
            let mut one = open(&disk.clone(), 2);
            one.settle(Height(tip));
            one.floor()
        };
        // The first start after the loss is the one in doubt.
        assert_eq!(recent(10), Height(0), "the log is of this reserve");
        for (boot, tip) in [(4, 9), (5, 8)] {
            let mut one = open(&disk, boot);
            one.journaled(&prevote(10, 0, 1), &CHAIN);
            one.settle(Height(tip));
            let why = "what was signed first is in the journal";
            assert_eq!(one.floor(), Height(0), "{why}, at tip {tip}");
        }
        let mut old = open(&disk, 3);
        old.settle(Height(4));
        assert_eq!(old.floor(), Height(through), "it knows nothing of height 10");
    }
}
