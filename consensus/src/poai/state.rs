//! PoAI's standing: the fold of all evidence, and what it gives an agreement for the next height.

use super::draw;
use super::evidence::{Open, Vote, Window, settle};
use super::extension::Extension;
use super::features::{Row, Subject, rows};
use super::reputation::{OFFENCE_EPOCHS, Weight, factor, next_score, step, target};
use super::reveal::is_next;
use super::rewards::{self, ForBuilding, RewardPolicy, Work, share};
use super::tally::{Tally, add};
use crate::roll::{Founder, Roll, RollError};
use selfchain_types::certificate::Precommit;
use selfchain_types::codec::DecodeError;
use selfchain_types::genesis::Validator;
use selfchain_types::late::place;
use selfchain_types::quality::{Network, NetworkError};
use selfchain_types::roots::Table;
use selfchain_types::seam::consensus::Schedule;
use selfchain_types::seam::standing::{
    Change, ChangeRefusal, Held, Observed, Offence, Reward, Standing, StandingError,
};
use selfchain_types::seam::view::StandingView;
use selfchain_types::{Amount, Hash, Height, KeyId};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// The standing of the PoAI plane.
#[derive(Clone)]
pub struct Poai {
    pub(super) roll: Roll,
    /// What the last qualities were chosen by.
    pub(super) network: Arc<Network>,
    /// What the next ones are chosen by, where that is another.
    pub(super) waiting: Option<Arc<Network>>,
    pub(super) plane: PlaneState,
    pub(super) standings: BTreeMap<u32, Reputation>,
    policy: Arc<dyn RewardPolicy>,
    /// Between `observe` and `close` only.
    work: Option<Work>,
}

/// A member's reputation, by its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reputation {
    /// From 0 to [`super::reputation::SCORE_MAX`].
    pub score: u16,
    /// The first epoch in which the score may rise again.
    pub frozen_until: u64,
    /// The epoch it joined in.
    pub joined: u64,
    /// What its bond counts for in the set that was chosen last.
    pub weight: Weight,
}

/// What the table of the plane holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PlaneState {
    /// Of this epoch's draws.
    pub(super) seed: Hash,
    /// Of this epoch's reveals, from its seed on.
    pub(super) mix: Hash,
    /// Of this epoch's set, by position.
    pub(super) qualities: Vec<u16>,
    /// Of the next one's, once it is chosen.
    pub(super) next_qualities: Vec<u16>,
    /// Numbers of the last winners of a first round, the oldest first.
    pub(super) winners: VecDeque<u32>,
    /// By number.
    pub(super) tallies: BTreeMap<u32, Tally>,
    /// The heights that are not settled.
    pub(super) window: Window,
}

impl Poai {
    /// The standing at genesis of the chain `chain_id`.
    ///
    /// # Errors
    /// [`RollError`].
    pub fn new(
        chain_id: &Hash,
        epoch_blocks: u32,
        founders: &[Founder],
        network: Arc<Network>,
    ) -> Result<Self, RollError> {
        network.fits().map_err(RollError::Network)?;
        let seed = draw::epoch_seed(chain_id, 0);
        let mut poai = Self {
            roll: Roll::new(epoch_blocks, founders)?,
            network,
            waiting: None,
            plane: PlaneState {
                seed,
                mix: seed,
                ..PlaneState::default()
            },
            standings: BTreeMap::new(),
            policy: Arc::new(ForBuilding),
            work: None,
        };
        poai.enroll();
        let weights = poai.targets();
        poai.set_weights(&weights);
        let powers = poai.powers();
        poai.roll.begin(&powers);
        poai.plane.qualities = poai.qualities(poai.roll.current().numbers.as_slice());
        Ok(poai)
    }

    /// The same, sharing fees by another policy.
    #[must_use]
    pub fn with_policy(self, policy: Arc<dyn RewardPolicy>) -> Self {
        Self { policy, ..self }
    }

    /// Another network decides qualities, from the next epoch whose qualities are still to be chosen. It is in the
    /// table of the plane at once.
    ///
    /// # Errors
    /// [`NetworkError`] of a network that no chain takes; nothing has changed.
    pub fn adopt(&mut self, network: &Arc<Network>) -> Result<(), NetworkError> {
        network.fits()?;
        let is_other = network.id() != self.network.id();
        self.waiting = is_other.then(|| Arc::clone(network));
        Ok(())
    }

    /// Reputations by number, and the qualities of the next height's set by position.
    pub fn standings(&self) -> (&BTreeMap<u32, Reputation>, &[u16]) {
        (&self.standings, &self.plane.qualities)
    }

    /// The roll of validators.
    pub fn roll(&self) -> &Roll {
        &self.roll
    }

    pub(super) fn take(&mut self, roll: Roll, standings: BTreeMap<u32, Reputation>, plane: PlaneState) {
        self.roll = roll;
        self.standings = standings;
        self.plane = plane;
        self.work = None;
    }

    /// Gives every member of the roll a reputation and a tally, where it has none.
    fn enroll(&mut self) {
        let joined = self.roll.epoch();
        for number in self.roll.members().keys() {
            self.standings.entry(*number).or_insert(Reputation {
                joined,
                ..Reputation::default()
            });
            self.plane.tallies.entry(*number).or_default();
        }
    }

    /// Where weights pull to, in order of number.
    fn targets(&self) -> Vec<Weight> {
        let bond = |number: &u32| self.roll.members().get(number).map_or(0, |member| member.bond);
        let bonds: Vec<u64> = self.standings.keys().map(bond).collect();
        let scores: Vec<u16> = self.standings.values().map(|standing| standing.score).collect();
        target(&bonds, &scores)
    }

    /// The schedule of a height before which these won, the oldest first.
    fn schedule_after(&self, winners: &VecDeque<u32>) -> Schedule {
        let set = self.roll.current();
        let powers: Vec<u64> = set.validators.iter().map(|validator| validator.power).collect();
        let winners = winners.iter().rev().take(draw::pause(set.len()));
        let pausing: Vec<u32> = winners.copied().collect();
        let is_pausing: Vec<bool> = set
            .numbers
            .iter()
            .map(|number| pausing.contains(number))
            .collect();
        Schedule {
            seed: self.plane.seed,
            since: set.since,
            weights: draw::weights(&powers, &self.plane.qualities, &is_pausing),
        }
    }

    fn set_weights(&mut self, weights: &[Weight]) {
        for (standing, weight) in self.standings.values_mut().zip(weights) {
            standing.weight = *weight;
        }
    }

    fn powers(&self) -> BTreeMap<u32, u64> {
        let powers = self.standings.iter();
        powers
            .map(|(number, standing)| (*number, standing.weight.power))
            .collect()
    }

    /// The qualities of a set, by the evidence so far.
    fn qualities(&self, numbers: &[u32]) -> Vec<u16> {
        let rows = self.rows(numbers);
        rows.iter().map(|row| self.network.quality(row)).collect()
    }

    /// The features of a set, by the evidence so far.
    fn rows(&self, numbers: &[u32]) -> Vec<Row> {
        let epoch = self.roll.epoch();
        let nothing = (Tally::default(), Reputation::default());
        let subjects: Vec<Subject<'_>> = numbers
            .iter()
            .map(|number| {
                let standing = self.standings.get(number).unwrap_or(&nothing.1);
                let member = self.roll.members().get(number);
                Subject {
                    tally: self.plane.tallies.get(number).unwrap_or(&nothing.0),
                    power: standing.weight.power,
                    offences: member.map_or(0, |member| member.offences),
                    epochs: epoch.saturating_sub(standing.joined),
                }
            })
            .collect();
        rows(&subjects)
    }

    /// Checks late precommits: of a height whose certificate is there and that is not settled by this block's end,
    /// in order, none counted before.
    fn check_late(&self, block: &Observed<'_>) -> Result<(), StandingError> {
        let mut previous = None;
        for late in block.late {
            let validator = late.precommit.validator;
            let open = self.plane.window.get(late.height);
            let open = open.filter(|open| open.decided.is_some());
            let open = open.ok_or(StandingError::Late { height: late.height })?;
            if !open.lacks(validator) || previous >= Some(place(late)) {
                return Err(StandingError::Precommit { validator });
            }
            previous = Some(place(late));
            decode(&late.precommit)?;
        }
        Ok(())
    }

    /// Enters one precommit.
    fn vote(&mut self, height: Height, precommit: &Precommit, is_late: bool) -> Result<(), StandingError> {
        let extension = decode(precommit)?;
        let open = self.plane.window.get_mut(height);
        let place = open.and_then(|open| open.votes.get_mut(usize::from(precommit.validator)));
        if let Some(place) = place {
            *place = Some(Vote { extension, is_late });
        }
        Ok(())
    }

    /// Who worked for a block: its builder, who voted for its parent, and one of those, drawn by power.
    fn work(&self, block: &Observed<'_>) -> Work {
        let voters: Vec<(KeyId, u64)> = (block.parent.iter())
            .flat_map(|parent| {
                let set = self.roll.set_of(parent.height);
                parent.precommits.iter().filter_map(|precommit| {
                    let at = usize::from(precommit.validator);
                    Some((set.id(at)?, set.power(at)))
                })
            })
            .collect();
        let powers: Vec<u64> = voters.iter().map(|(_, power)| *power).collect();
        let seed = draw::seed(&self.plane.seed, block.height, CHECKER_ROUND);
        Work {
            builder: block.proposer,
            checker: voters.get(draw::pick(&powers, &seed)).map(|(voter, _)| *voter),
            voters,
        }
    }

    /// Charges who was to propose in the rounds before the block's, notes who won the first, and counts the block.
    fn tally_proposal(&mut self, block: &Observed<'_>, proposer: usize) {
        let lineup = draw::lineup(&self.schedule(), block.height, block.round.max(1));
        let numbers: Vec<u32> = (lineup.iter().chain([&proposer]))
            .filter_map(|at| self.roll.current().numbers.get(*at).copied())
            .collect();
        let [drawn @ .., maker] = numbers.as_slice() else {
            return;
        };
        let missed = if block.round == 0 { &[] } else { drawn };
        let tallies = &mut self.plane.tallies;
        for number in missed {
            tallies
                .entry(*number)
                .and_modify(|tally| add(&mut tally.missed, 1));
        }
        tallies.entry(*maker).and_modify(|tally| {
            add(&mut tally.made, 1);
            add(&mut tally.fill, u64::from(block.fill));
        });
        if let Some(winner) = drawn.first() {
            tallies.entry(*winner).and_modify(|tally| add(&mut tally.won, 1));
            self.plane.winners.push_back(*winner);
        }
        while self.plane.winners.len() > draw::PAUSE_MAX {
            self.plane.winners.pop_front();
        }
    }

    /// Settles what this block was the last to bring precommits for.
    fn settle(&mut self, height: Height) {
        while let Some(open) = self.plane.window.settled_by(height) {
            settle(&open, self.roll.set_of(open.height), &mut self.plane.tallies);
        }
    }

    fn punish(&mut self, block: &Observed<'_>) {
        let until = self.roll.epoch().saturating_add(OFFENCE_EPOCHS);
        for offence in block.offences {
            let number = self.roll.offend(&offence.validator, offence.height);
            if let Some(standing) = number.and_then(|number| self.standings.get_mut(&number)) {
                standing.score = 0;
                standing.frozen_until = until;
            }
        }
    }

    /// Chooses the next epoch's set, powers and qualities; then the evidence fades.
    fn choose(&mut self) {
        self.enroll();
        let epoch = self.roll.epoch();
        for (number, standing) in &mut self.standings {
            let tally = self.plane.tallies.get(number);
            let (voted, absent) = tally.map_or((0, 0), |tally| (tally.epoch_voted, tally.epoch_absent));
            if epoch >= standing.frozen_until {
                standing.score = next_score(standing.score, voted, absent);
            }
        }
        let now: Vec<Weight> = self.standings.values().map(|standing| standing.weight).collect();
        self.set_weights(&step(&now, &self.targets()));
        let powers = self.powers();
        self.roll.choose(&powers);
        if let Some(network) = self.waiting.take() {
            self.network = network;
        }
        self.plane.next_qualities = self.qualities(&self.roll.upcoming().numbers);
        self.plane.tallies.values_mut().for_each(Tally::fade);
    }

    /// The epoch is over: what was chosen takes over, with the seed that its reveals make.
    fn turn(&mut self) {
        for number in self.roll.turn() {
            self.standings.remove(&number);
            self.plane.tallies.remove(&number);
        }
        self.plane.qualities = std::mem::take(&mut self.plane.next_qualities);
        self.plane.seed = draw::epoch_seed(&self.plane.mix, self.roll.epoch());
        self.plane.mix = self.plane.seed;
    }
}

impl Standing for Poai {
    fn check(&self, block: &Observed<'_>) -> Result<(), StandingError> {
        self.roll.check(block)?;
        let set = self.roll.current();
        let proposer = draw::draw(&self.schedule(), block.height, block.round);
        let proposer = proposer.filter(|at| set.id(*at) == Some(block.proposer));
        let proposer = proposer.ok_or(StandingError::Proposer { round: block.round })?;
        let head = self.roll.head(proposer);
        let is_revealed = if head == Hash::ZERO {
            block.reveal == Hash::ZERO
        } else {
            is_next(&head, &block.reveal)
        };
        if !is_revealed {
            return Err(StandingError::Reveal);
        }
        if let Some(parent) = block.parent {
            let open = self.plane.window.get(parent.height);
            if open.is_none_or(|open| parent.round < open.round) {
                return Err(StandingError::Parent);
            }
            parent
                .precommits
                .iter()
                .try_for_each(|precommit| decode(precommit).map(drop))?;
        }
        self.check_late(block)
    }

    fn observe(&mut self, block: &Observed<'_>) -> Result<(), StandingError> {
        self.check(block)?;
        let set = self.roll.current();
        let proposer = set.position(&block.proposer);
        let proposer = proposer.ok_or(StandingError::Proposer { round: block.round })?;
        let votes = vec![None; set.len()];
        self.work = Some(self.work(block));
        self.tally_proposal(block, proposer);
        if block.reveal != Hash::ZERO {
            self.roll.reveal(proposer, block.reveal);
            self.plane.mix = draw::mix(&self.plane.mix, &block.reveal, block.height);
        }
        if let Some(parent) = block.parent {
            if let Some(open) = self.plane.window.get_mut(parent.height) {
                open.decided = Some(parent.round);
            }
            for precommit in &parent.precommits {
                self.vote(parent.height, precommit, false)?;
            }
        }
        for late in block.late {
            self.vote(late.height, &late.precommit, true)?;
        }
        self.plane.window.push(Open {
            height: block.height,
            proposer,
            round: block.round,
            decided: None,
            fill: block.fill,
            votes,
        });
        self.settle(block.height);
        self.punish(block);
        self.roll.advance();
        Ok(())
    }

    fn change(&mut self, change: &Change) -> Result<(), ChangeRefusal> {
        match change {
            Change::Join { reveals, .. } | Change::Reveals { reveals, .. } if *reveals == Hash::ZERO => {
                Err(ChangeRefusal::Reveals)
            }
            Change::Network { network } => self.adopt(network).map_err(|_| ChangeRefusal::Network),
            _ => self.roll.change(change),
        }
    }

    fn rewards(&self, fees: Amount) -> Vec<Reward> {
        let work = self.work.as_ref();
        work.map_or_else(|| rewards::reserve(fees), |work| share(&*self.policy, work, fees))
    }

    fn close(&mut self) {
        self.work = None;
        if self.roll.is_choosing() {
            self.choose();
        }
        if self.roll.is_epoch_end() {
            self.turn();
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
        let at = self.roll.current().position(validator)?;
        Some(self.roll.head(at))
    }

    fn misses(&self, height: Height, validator: u16) -> bool {
        let open = self.plane.window.get(height);
        open.is_some_and(|open| open.decided.is_some() && open.lacks(validator))
    }

    fn punishes(&self, offence: &Offence) -> bool {
        self.roll.punishes(offence)
    }

    fn schedule(&self) -> Schedule {
        self.schedule_after(&self.plane.winners)
    }

    fn view(&self) -> StandingView {
        let set = self.roll.current();
        // A winner pauses whoever proposes in the end: a whole epoch's first rounds are settled when it begins.
        let mut winners = self.plane.winners.clone();
        let proposer = |height| {
            let at = draw::draw(&self.schedule_after(&winners), height, 0)?;
            winners.extend(set.numbers.get(at));
            set.id(at)
        };
        let proposers = self.roll.forecast().filter_map(proposer).collect();
        let rows = self.rows(&set.numbers);
        let mut view = self.roll.view(proposers, |number, at, member| {
            let standing = self.standings.get(&number);
            member.factor = standing.map(|standing| factor(standing.score));
            member.quality = at.and_then(|at| self.plane.qualities.get(at).copied());
            member.features = at.and_then(|at| rows.get(at).copied());
        });
        view.network = Some(self.network.id());
        view.next_network = self.waiting.as_ref().map(|waiting| waiting.id());
        view
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

    fn encode(&self, table: Table, out: &mut Vec<u8>) {
        match table {
            Table::Validators => self.encode_validators(out),
            Table::Plane => self.encode_plane(out),
            _ => {}
        }
    }

    fn restore(&mut self, validators: &[u8], plane: &[u8]) -> Result<(), DecodeError> {
        self.decode(validators, plane)
    }
}

/// The round whose seed draws the checker: no round of proposals.
const CHECKER_ROUND: u32 = u32::MAX;

fn decode(precommit: &Precommit) -> Result<Extension, StandingError> {
    Extension::decode(&precommit.extension).map_err(|error| StandingError::Extension {
        validator: precommit.validator,
        error,
    })
}

#[cfg(test)]
#[path = "state_tests.rs"]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
