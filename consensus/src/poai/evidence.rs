//! The evidence window: the last heights, until their late precommits are in, and what they then say of whom.
//!
//! Block h + 1 carries the certificate of h, blocks h + 2 to h + 1 + [`LATE_BLOCKS`] may bring precommits that came
//! late. With the last of these the height is settled: medians are taken over all that was said, and who is still
//! missing was absent.

use super::extension::{Extension, verdict};
use super::median::weighted_median;
use super::tally::{Tally, add};
use crate::roll::bytes::{decode_option, encode_option, refuse};
use crate::roll::{Set, VALIDATORS_MAX};
use selfchain_types::Height;
use selfchain_types::codec::{DecodeError, Reader, narrow, wide};
use selfchain_types::late::LATE_BLOCKS;
use std::collections::{BTreeMap, VecDeque};

/// A height that is not settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Which.
    pub height: Height,
    /// Position of who proposed the block.
    pub proposer: usize,
    /// Round that it was proposed in.
    pub round: u32,
    /// Round that it was decided in, once its certificate is there.
    pub decided: Option<u32>,
    /// How full it was, in thousandths.
    pub fill: u16,
    /// By position in the height's set.
    pub votes: Vec<Option<Vote>>,
}

impl Open {
    /// Whether the validator at this position is in the height's set and none of its precommits was committed.
    pub fn lacks(&self, validator: u16) -> bool {
        self.votes
            .get(usize::from(validator))
            .is_some_and(Option::is_none)
    }
}

/// A precommit that was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// What it says.
    pub extension: Extension,
    /// Whether the certificate had to do without it.
    pub is_late: bool,
}

/// The heights that are not settled, ascending and without a gap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    open: VecDeque<Open>,
}

/// Most heights in a window.
const OPEN_MAX: u64 = LATE_BLOCKS + 1;
/// Most rounds that a block is charged for.
const ROUNDS_MAX: u32 = 16;

impl Window {
    /// The open height `height`.
    pub fn get(&self, height: Height) -> Option<&Open> {
        let first = self.open.front()?.height;
        let at = usize::try_from(height.0.checked_sub(first.0)?).ok()?;
        self.open.get(at)
    }

    /// The open height `height`.
    pub fn get_mut(&mut self, height: Height) -> Option<&mut Open> {
        let first = self.open.front()?.height;
        let at = usize::try_from(height.0.checked_sub(first.0)?).ok()?;
        self.open.get_mut(at)
    }

    /// Adds the next height.
    pub fn push(&mut self, open: Open) {
        self.open.push_back(open);
    }

    /// Takes out a height that block `height` was the last to bring precommits for.
    pub fn settled_by(&mut self, height: Height) -> Option<Open> {
        let first = self.open.front()?;
        let is_settled = first.height.0.saturating_add(OPEN_MAX) <= height.0;
        if is_settled { self.open.pop_front() } else { None }
    }

    /// Appends the canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&narrow(self.open.len()).to_le_bytes());
        for open in &self.open {
            out.extend_from_slice(&open.height.0.to_le_bytes());
            out.extend_from_slice(&narrow(open.proposer).to_le_bytes());
            out.extend_from_slice(&open.round.to_le_bytes());
            encode_option(open.decided.as_ref(), out, |round, out| {
                out.extend_from_slice(&round.to_le_bytes());
            });
            out.extend_from_slice(&open.fill.to_le_bytes());
            out.extend_from_slice(&narrow(open.votes.len()).to_le_bytes());
            for vote in &open.votes {
                encode_option(vote.as_ref(), out, |vote, out| {
                    out.push(u8::from(vote.is_late));
                    out.extend_from_slice(&vote.extension.to_bytes());
                });
            }
        }
    }

    /// Reads what [`Window::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = reader.len_u32()?;
        if wide(count) > OPEN_MAX {
            return refuse("open heights", wide(count));
        }
        let mut window = Self::default();
        for _ in 0..count {
            let open = decode_open(reader)?;
            let last = window.open.back().map(|last| last.height);
            if last.is_some_and(|last| last.0.checked_add(1) != Some(open.height.0)) {
                return refuse("open height", open.height.0);
            }
            window.push(open);
        }
        Ok(window)
    }

    /// The last height in it.
    pub fn last(&self) -> Option<&Open> {
        self.open.back()
    }

    /// In ascending order.
    pub fn iter(&self) -> impl Iterator<Item = &Open> {
        self.open.iter()
    }
}

fn decode_open(reader: &mut Reader<'_>) -> Result<Open, DecodeError> {
    let mut open = Open {
        height: Height(reader.u64()?),
        proposer: reader.len_u32()?,
        round: reader.u32()?,
        decided: decode_option(reader, Reader::u32)?,
        fill: reader.u16()?,
        votes: Vec::new(),
    };
    let count = reader.len_u32()?;
    if count > VALIDATORS_MAX || open.proposer >= count {
        return refuse("votes of an open height", wide(count));
    }
    for _ in 0..count {
        open.votes.push(decode_option(reader, decode_vote)?);
    }
    Ok(open)
}

fn decode_vote(reader: &mut Reader<'_>) -> Result<Vote, DecodeError> {
    let is_late = match reader.u8()? {
        0 => false,
        1 => true,
        flag => return refuse("a flag of 0 or 1", u64::from(flag)),
    };
    Ok(Vote {
        is_late,
        extension: Extension::decode(reader.take(super::extension::EXTENSION_LEN)?)?,
    })
}

/// What a height says of its proposer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Medians {
    /// Of efficiency.
    pub efficiency: u32,
    /// Of starvation.
    pub starved: u32,
    /// Of milliseconds.
    pub received_ms: u32,
}

/// The power-weighted medians of what was said; `None` when nobody said anything.
pub fn medians(open: &Open, set: &Set) -> Option<Medians> {
    let median = |value: fn(&Extension) -> u32| {
        let told: Vec<(u32, u64)> = told(open, set)
            .map(|(vote, power)| (value(&vote.extension), power))
            .collect();
        weighted_median(&told)
    };
    Some(Medians {
        efficiency: median(|extension| u32::from(extension.efficiency))?,
        starved: median(|extension| u32::from(extension.starved))?,
        received_ms: median(|extension| extension.received_ms)?,
    })
}

/// The verdict bits that more than half of the power that said anything set.
pub fn majority(open: &Open, set: &Set) -> u8 {
    let said = |bit: u8| {
        let (with, all) = told(open, set).fold((0u128, 0u128), |(with, all), (vote, power)| {
            let power = u128::from(power);
            let has_bit = vote.extension.verdict & bit != 0;
            (with + if has_bit { power } else { 0 }, all + power)
        });
        2 * with > all
    };
    (0..verdict::COUNT)
        .map(|at| 1u8 << at)
        .filter(|bit| said(*bit))
        .fold(0, |bits, bit| bits | bit)
}

fn told<'a>(open: &'a Open, set: &'a Set) -> impl Iterator<Item = (&'a Vote, u64)> {
    open.votes
        .iter()
        .enumerate()
        .filter_map(|(at, vote)| Some((vote.as_ref()?, set.power(at))))
}

/// Enters a settled height into the tallies of its set. Who has left the roll has none, and is passed over.
pub fn settle(open: &Open, set: &Set, tallies: &mut BTreeMap<u32, Tally>) {
    let proposer = set.numbers.get(open.proposer);
    if let Some(proposer) = proposer.and_then(|number| tallies.get_mut(number)) {
        let rounds = open.decided.unwrap_or(open.round).saturating_sub(open.round);
        add(&mut proposer.rounds, u64::from(rounds.min(ROUNDS_MAX)));
        if let Some(medians) = medians(open, set) {
            add(&mut proposer.judged, 1);
            add(&mut proposer.efficiency, u64::from(medians.efficiency));
            add(&mut proposer.starved, u64::from(medians.starved));
            add(&mut proposer.received, u64::from(medians.received_ms));
        }
    }
    let majority = majority(open, set);
    for (number, vote) in set.numbers.iter().zip(&open.votes) {
        let Some(voter) = tallies.get_mut(number) else {
            continue;
        };
        let Some(vote) = vote else {
            add(&mut voter.absent, 1);
            voter.epoch_absent = voter.epoch_absent.saturating_add(1);
            continue;
        };
        add(&mut voter.voted, 1);
        voter.epoch_voted = voter.epoch_voted.saturating_add(1);
        add(&mut voter.late, u64::from(vote.is_late));
        add(&mut voter.opinions, 1);
        add(
            &mut voter.disagreed,
            u64::from(vote.extension.verdict != majority),
        );
    }
}
