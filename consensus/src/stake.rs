//! Stake: power is the bond, and validators take turns by power.

use crate::poai::rewards::{ByPower, Work, share};
use crate::roll::{Founder, Roll, RollError};
use selfchain_types::codec::{DecodeError, Reader};
use selfchain_types::genesis::{POWER_TOTAL_END, Validator};
use selfchain_types::roots::Table;
use selfchain_types::seam::consensus::Schedule;
use selfchain_types::seam::standing::{
    Change, ChangeRefusal, Held, Observed, Offence, Reward, Standing, StandingError,
};
use selfchain_types::seam::view::StandingView;
use selfchain_types::{Amount, Hash, Height, KeyId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The standing of the stake plane.
#[derive(Clone, Debug)]
pub struct Stake {
    roll: Roll,
    work: Option<Work>,
}

impl Stake {
    /// The standing at genesis.
    ///
    /// # Errors
    /// [`RollError`].
    pub fn new(epoch_blocks: u32, founders: &[Founder]) -> Result<Self, RollError> {
        let mut roll = Roll::new(epoch_blocks, founders)?;
        roll.begin(&powers(&roll));
        Ok(Self { roll, work: None })
    }
}

/// Power is the bond. Where bonds sum to what agreement cannot count, all are halved as often as it takes, and none
/// falls to zero.
fn powers(roll: &Roll) -> BTreeMap<u32, u64> {
    let bonds = roll
        .members()
        .iter()
        .map(|(number, member)| (*number, member.bond));
    let total: u128 = bonds.clone().map(|(_, bond)| u128::from(bond)).sum();
    let mut halvings = 0;
    // A bond that becomes one adds at most one to its part: leave room for all of them.
    while (total >> halvings) >= u128::from(POWER_TOTAL_END / 2) {
        halvings += 1;
    }
    bonds
        .filter(|(_, bond)| *bond > 0)
        .map(|(number, bond)| (number, (bond >> halvings).max(1)))
        .collect()
}

impl Standing for Stake {
    fn check(&self, block: &Observed<'_>) -> Result<(), StandingError> {
        self.roll.check(block)?;
        let set = self.roll.current();
        let proposer = turn(&self.schedule(), block.height, block.round).and_then(|at| set.id(at));
        if proposer != Some(block.proposer) {
            return Err(StandingError::Proposer { round: block.round });
        }
        if block.reveal != Hash::ZERO {
            return Err(StandingError::Reveal);
        }
        if let Some(late) = block.late.first() {
            return Err(StandingError::Late { height: late.height });
        }
        for precommit in block.parent.iter().flat_map(|parent| &parent.precommits) {
            Reader::new("extension", &precommit.extension)
                .finish()
                .map_err(|error| StandingError::Extension {
                    validator: precommit.validator,
                    error,
                })?;
        }
        Ok(())
    }

    fn observe(&mut self, block: &Observed<'_>) -> Result<(), StandingError> {
        self.check(block)?;
        let voters = block.parent.iter().flat_map(|parent| {
            let set = self.roll.set_of(parent.height);
            parent.precommits.iter().filter_map(|precommit| {
                let at = usize::from(precommit.validator);
                Some((set.id(at)?, set.power(at)))
            })
        });
        self.work = Some(Work {
            builder: block.proposer,
            voters: voters.collect(),
            checker: None,
        });
        for offence in block.offences {
            self.roll.offend(&offence.validator, offence.height);
        }
        self.roll.advance();
        Ok(())
    }

    fn change(&mut self, change: &Change) -> Result<(), ChangeRefusal> {
        self.roll.change(change)
    }

    fn rewards(&self, fees: Amount) -> Vec<Reward> {
        let work = self.work.as_ref();
        work.map_or_else(
            || crate::poai::rewards::reserve(fees),
            |work| share(&ByPower, work, fees),
        )
    }

    fn close(&mut self) {
        self.work = None;
        if self.roll.is_choosing() {
            self.roll.choose(&powers(&self.roll));
        }
        if self.roll.is_epoch_end() {
            self.roll.turn();
        }
        self.roll.settle();
    }

    fn height(&self) -> Height {
        self.roll.height()
    }

    fn validators(&self) -> Arc<[Validator]> {
        Arc::clone(&self.roll.current().validators)
    }

    fn next_validators(&self) -> Arc<[Validator]> {
        Arc::clone(&self.roll.upcoming().validators)
    }

    fn validators_of(&self, height: Height) -> Option<Arc<[Validator]>> {
        self.roll.validators_of(height)
    }

    fn reveals_before(&self, validator: &KeyId) -> Option<Hash> {
        self.roll.current().position(validator).map(|_| Hash::ZERO)
    }

    fn misses(&self, _: Height, _: u16) -> bool {
        false
    }

    fn punishes(&self, offence: &Offence) -> bool {
        self.roll.punishes(offence)
    }

    fn schedule(&self) -> Schedule {
        let set = self.roll.current();
        Schedule {
            seed: Hash::ZERO,
            since: set.since,
            weights: set.validators.iter().map(|validator| validator.power).collect(),
        }
    }

    fn member(&self, validator: &KeyId) -> Option<u32> {
        self.roll.member(validator)
    }

    fn holds(&self, member: u32) -> Option<u64> {
        self.roll.holds(member)
    }

    fn held(&self) -> Arc<[Held]> {
        self.roll.held()
    }

    fn view(&self) -> StandingView {
        let (set, schedule) = (self.roll.current(), self.schedule());
        let proposer = |height| turn(&schedule, height, 0).and_then(|at| set.id(at));
        let proposers = self.roll.forecast().filter_map(proposer).collect();
        self.roll.view(proposers, |_, _, _| {})
    }

    fn encode(&self, table: Table, out: &mut Vec<u8>) {
        if table == Table::Validators {
            self.roll.encode(out);
        }
    }

    fn restore(&mut self, validators: &[u8], plane: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new("roll", validators);
        let roll = Roll::decode(&mut reader)?;
        reader.finish()?;
        Reader::new("stake", plane).finish()?;
        *self = Self { roll, work: None };
        Ok(())
    }
}

/// Whose turn it is, by position; `None` in an empty set.
///
/// At each height everyone gains its weight, and who has gained most (among equals the first) has the turn and pays
/// the sum of weights: smooth weighted round robin. Later rounds go on among those who have not had a round of this
/// height, all again after all.
pub fn turn(schedule: &Schedule, height: Height, round: u32) -> Option<usize> {
    let weights = &schedule.weights;
    let round = round.checked_rem(u32::try_from(weights.len()).unwrap_or(u32::MAX))?;
    let total: i128 = weights.iter().map(|weight| i128::from(*weight)).sum();
    let mut gained = vec![0i128; weights.len()];
    let heights = height.0.saturating_sub(schedule.since.0).min(TURNS_MAX);
    let mut at = 0;
    for _ in 0..=heights {
        at = richest(&mut gained, weights, &[]);
        gained[at] -= total;
    }
    let mut had = vec![false; weights.len()];
    for _ in 0..round {
        had[at] = true;
        at = richest(&mut gained, weights, &had);
        gained[at] -= total;
    }
    Some(at)
}

/// Most heights of an epoch.
const TURNS_MAX: u64 = 65_536;

/// Adds everyone's weight; who then has most of those who have not had a turn.
fn richest(gained: &mut [i128], weights: &[u64], had: &[bool]) -> usize {
    let mut best: Option<(usize, i128)> = None;
    for (at, (gained, weight)) in gained.iter_mut().zip(weights).enumerate() {
        *gained += i128::from(*weight);
        let may = !had.get(at).copied().unwrap_or(false);
        if may && best.is_none_or(|(_, most)| *gained > most) {
            best = Some((at, *gained));
        }
    }
    best.map_or(0, |(at, _)| at)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn schedule(weights: &[u64]) -> Schedule {
        Schedule {
            seed: Hash::ZERO,
            since: Height(1),
            weights: weights.into(),
        }
    }

    fn turns(weights: &[u64], heights: u64) -> Vec<usize> {
        (1..=heights)
            .map(|height| turn(&schedule(weights), Height(height), 0).unwrap())
            .collect()
    }

    #[test]
    fn equals_take_turns_and_others_by_weight() {
        assert_eq!(turns(&[5, 5, 5], 6), [0, 1, 2, 0, 1, 2]);
        assert_eq!(turns(&[5, 1, 1], 7), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(turn(&schedule(&[]), Height(1), 0), None);
        assert_eq!(turn(&schedule(&[3, 3]), Height(u64::MAX), u32::MAX), Some(1));
    }

    proptest! {
        #[test]
        fn nobody_is_more_than_n_turns_away_from_its_share(
            weights in prop::collection::vec(1u64..1 << 40, 1..8), heights in 1u64..200,
        ) {
            let turns = turns(&weights, heights);
            let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
            for (at, weight) in weights.iter().enumerate() {
                let had = u128::try_from(turns.iter().filter(|turn| **turn == at).count()).unwrap();
                let due = u128::from(*weight) * u128::from(heights);
                let slack = total * u128::try_from(weights.len()).unwrap();
                prop_assert!((had * total).abs_diff(due) <= slack);
            }
        }

        #[test]
        fn a_run_of_rounds_has_everyone_once(
            weights in prop::collection::vec(1u64..1 << 40, 1..9), height in 1u64..300, run in 0u32..100_000,
        ) {
            let n = u32::try_from(weights.len()).unwrap();
            let proposers: BTreeSet<usize> = (run * n..(run + 1) * n)
                .map(|round| turn(&schedule(&weights), Height(height), round).unwrap()).collect();
            prop_assert_eq!(proposers.len(), weights.len());
        }
    }
}
