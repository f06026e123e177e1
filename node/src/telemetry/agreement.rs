//! What a validator of several has done to agree. Plain numbers: its replica has one thread, which copies them out.

use selfchain_types::TimeNs;
use selfchain_types::peer::Asked;

/// What a replica has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgreementCounts {
    /// Blocks that it built and proposed.
    pub proposed: u64,
    /// Blocks of others that it found valid.
    pub valid: u64,
    /// Those that it found invalid, by [`InvalidBlock`].
    pub invalid: [u64; InvalidBlock::ALL.len()],
    /// Those that it objected to because their time is too far ahead of its clock.
    pub objected_clock: u64,
    /// Those that it objected to because they have no scores where the model in force has some.
    pub objected_unscored: u64,
    /// Those that it objected to because they grossly leave out what their proposers acknowledged long ago.
    pub objected_starved: u64,
    /// Transactions that it acknowledged.
    pub acknowledged: u64,
    /// Acknowledgements that it signed.
    pub acknowledgements_made: u64,
    /// Acknowledgements of others that were forgotten for newer ones.
    pub acknowledgements_forgotten: u64,
    /// Acknowledgements of others whose signature was not theirs.
    pub acknowledgements_forged: u64,
    /// Heights decided, by how many rounds they took.
    pub rounds: Histogram,
    /// Heights decided, by the milliseconds from the first proposal seen here to the decision.
    pub decision_ms: Histogram,
    /// Decided blocks that it fetched because it was behind.
    pub blocks_fetched: u64,
    /// Decided blocks that it sent to others.
    pub blocks_served: u64,
    /// Parts of snapshots that it fetched.
    pub snapshot_chunks_fetched: u64,
    /// What others sent of snapshots that did not hold.
    pub snapshot_refusals: u64,
    /// Parts of snapshots that it sent to others.
    pub snapshot_parts_served: u64,
    /// Bodies that it sent because it was asked.
    pub bodies_served: u64,
    /// Requests that it refused to serve, as [`Asked::ALL`] orders them.
    pub refused_to_serve: [u64; Asked::ALL.len()],
    /// Requests of its own that others refused.
    pub refused_by_others: u64,
    /// Proofs of misbehaviour that it found.
    pub evidence: u64,
    /// Ballots of its own that it did not send, because it may have signed others there.
    pub guarded: u64,
}

/// Why a block can never be decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidBlock {
    /// What it holds breaks a rule.
    Content,
    /// It names a later round than it was proposed in.
    Round,
    /// It is larger than a block of its round may be.
    Size,
    /// Its scores are not the model's.
    Scores,
}

impl InvalidBlock {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Content, Self::Round, Self::Size, Self::Scores];

    /// The name that metrics use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Round => "round",
            Self::Size => "size",
            Self::Scores => "scores",
        }
    }

    fn index(self) -> usize {
        Self::ALL.iter().position(|one| *one == self).unwrap_or(0)
    }
}

impl AgreementCounts {
    /// A block can never be decided.
    pub fn found_invalid(&mut self, why: InvalidBlock) {
        self.invalid[why.index()] += 1;
    }

    /// A peer asked for something, and was not served.
    pub fn refused_to_serve(&mut self, asked: Asked) {
        let at = Asked::ALL.iter().position(|one| *one == asked);
        self.refused_to_serve[at.unwrap_or(0)] += 1;
    }

    /// A height is decided, in this round; its first proposal was seen then.
    pub fn decided(&mut self, round: u32, proposed: Option<TimeNs>, now: TimeNs) {
        self.rounds.add(u64::from(round).saturating_add(1));
        if let Some(proposed) = proposed {
            self.decision_ms.add(now.0.saturating_sub(proposed.0) / 1_000_000);
        }
    }
}

/// How often values up to each of [`BOUNDS`] were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u64; BOUNDS.len()],
    count: u64,
    sum: u64,
}

/// Upper ends of buckets: for rounds, and for milliseconds.
pub const BOUNDS: [u64; 15] = [
    1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 60_000,
];

impl Histogram {
    fn add(&mut self, value: u64) {
        let at = BOUNDS.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.buckets.get_mut(at) {
            *bucket += 1;
        }
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
    }

    /// The upper ends, each with how many values were not above it.
    pub fn up_to(&self) -> impl Iterator<Item = (u64, u64)> {
        BOUNDS
            .into_iter()
            .zip(self.buckets)
            .scan(0, |seen, (bound, count)| {
                *seen += count;
                Some((bound, *seen))
            })
    }

    /// Values seen.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    pub fn sum(&self) -> u64 {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_the_first_bucket_that_holds_it_and_in_those_above() {
        let mut histogram = Histogram::default();
        [0, 1, 2, 4, 70_000]
            .into_iter()
            .for_each(|value| histogram.add(value));
        let up_to: Vec<(u64, u64)> = histogram.up_to().collect();
        assert_eq!(up_to[..5], [(1, 2), (2, 3), (3, 3), (5, 4), (10, 4)]);
        assert_eq!(
            up_to.last(),
            Some(&(60_000, 4)),
            "what is above all bounds is in the count alone"
        );
        assert_eq!((histogram.count(), histogram.sum()), (5, 70_007));
    }

    #[test]
    fn a_decision_counts_its_rounds_and_how_long_it_took_where_the_proposal_was_seen() {
        let mut counts = AgreementCounts::default();
        counts.decided(0, Some(TimeNs(5_000_000)), TimeNs(47_000_000));
        counts.decided(2, None, TimeNs(9));
        assert_eq!((counts.rounds.count(), counts.rounds.sum()), (2, 4));
        assert_eq!((counts.decision_ms.count(), counts.decision_ms.sum()), (1, 42));
    }
}
