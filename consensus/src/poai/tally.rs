//! The tally of a validator: what committed evidence says of it, in counts that fade from epoch to epoch.

use selfchain_types::codec::{DecodeError, Reader};

/// Counts are kept in 256ths, so that they fade smoothly.
pub const ONE: u64 = 256;
/// At the end of an epoch an eighth of every count is forgotten.
pub const FADES_BY: u64 = 8;

/// Fading counts and sums; each event adds [`ONE`] times what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Blocks that it proposed and that were decided.
    pub made: u64,
    /// Rounds that it was to propose in, and another one's proposal was decided later.
    pub missed: u64,
    /// Rounds that its decided blocks took after the one that they were proposed in.
    pub rounds: u64,
    /// Sum of how full its blocks were, in thousandths.
    pub fill: u64,
    /// Its blocks that voters said something of.
    pub judged: u64,
    /// Sum of medians: efficiency of its blocks, in thousandths.
    pub efficiency: u64,
    /// Sum of medians: starvation by its blocks, in thousandths.
    pub starved: u64,
    /// Sum of medians: milliseconds until its blocks were there.
    pub received: u64,
    /// Heights that it precommitted.
    pub voted: u64,
    /// Of those, heights whose certificate had to do without it.
    pub late: u64,
    /// Heights that it did not precommit, even late.
    pub absent: u64,
    /// Precommits that were held against those of others.
    pub opinions: u64,
    /// Of those, the ones that said otherwise than most power did.
    pub disagreed: u64,
    /// Draws of a first round that it won.
    pub won: u64,
    /// Of this epoch alone, not in 256ths: heights that it precommitted.
    pub epoch_voted: u64,
    /// Of this epoch alone, not in 256ths: heights that it did not.
    pub epoch_absent: u64,
}

/// How many numbers a tally has.
const COUNTS: usize = 16;

impl Tally {
    fn counts(&self) -> [u64; COUNTS] {
        let Self {
            made,
            missed,
            rounds,
            fill,
            judged,
            efficiency,
            starved,
            received,
            voted,
            late,
            absent,
            opinions,
            disagreed,
            won,
            epoch_voted,
            epoch_absent,
        } = *self;
        [
            made,
            missed,
            rounds,
            fill,
            judged,
            efficiency,
            starved,
            received,
            voted,
            late,
            absent,
            opinions,
            disagreed,
            won,
            epoch_voted,
            epoch_absent,
        ]
    }

    fn of_counts(counts: [u64; COUNTS]) -> Self {
        let [
            made,
            missed,
            rounds,
            fill,
            judged,
            efficiency,
            starved,
            received,
            voted,
            late,
            absent,
            opinions,
            disagreed,
            won,
            epoch_voted,
            epoch_absent,
        ] = counts;
        Self {
            made,
            missed,
            rounds,
            fill,
            judged,
            efficiency,
            starved,
            received,
            voted,
            late,
            absent,
            opinions,
            disagreed,
            won,
            epoch_voted,
            epoch_absent,
        }
    }

    /// The epoch is over: counts fade, rounded down, and the epoch's own begin anew.
    pub fn fade(&mut self) {
        *self = Self {
            epoch_voted: 0,
            epoch_absent: 0,
            ..Self::of_counts(self.counts().map(|count| count - count.div_ceil(FADES_BY)))
        };
    }

    /// Appends the canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.counts()
            .iter()
            .for_each(|count| out.extend_from_slice(&count.to_le_bytes()));
    }

    /// Reads what [`Tally::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut counts = [0; COUNTS];
        for count in &mut counts {
            *count = reader.u64()?;
        }
        Ok(Self::of_counts(counts))
    }
}

/// Adds `count` events to a count; at the top it stays there.
pub fn add(to: &mut u64, count: u64) {
    *to = to.saturating_add(count.saturating_mul(ONE));
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn counts_fade_to_nothing_and_round_trip() {
        let counts = std::array::from_fn(|at| u64::try_from(at).unwrap() * 1_000);
        let mut tally = Tally::of_counts(counts);
        let mut bytes = Vec::new();
        tally.encode(&mut bytes);
        assert_eq!(Tally::decode(&mut Reader::new("tally", &bytes)).unwrap(), tally);
        tally.fade();
        assert_eq!(tally.won, 13_000 - 1_625);
        assert_eq!(tally.epoch_absent, 0);
        for _ in 0..200 {
            tally.fade();
        }
        assert_eq!(tally, Tally::default());
        let mut full = Tally::of_counts([u64::MAX; COUNTS]);
        add(&mut full.made, u64::MAX);
        assert_eq!(full.made, u64::MAX);
    }
}
