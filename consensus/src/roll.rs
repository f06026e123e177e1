//! The roll of validators: keys, bonds and chains of reveals, and the sets that they form from epoch to epoch.
//!
//! A member keeps its number for as long as it is on the roll, whatever keys it signs with. The set of the epoch
//! before is kept, because late precommits and offences are of its heights.

pub(crate) mod bytes;

use selfchain_types::certificate::Precommit;
use selfchain_types::crypto::PublicKey;
use selfchain_types::genesis::Validator;
use selfchain_types::seam::standing::{Change, ChangeRefusal, Held, Observed, Offence, StandingError};
use selfchain_types::seam::view::{EpochView, FORECAST_HEIGHTS, MemberView, StandingView};
use selfchain_types::{Hash, Height, KeyId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use thiserror::Error;

/// Most validators on a roll.
pub const VALIDATORS_MAX: usize = 1_024;
/// An epoch has at least this many blocks: more than a precommit may be late, so that two sets are enough.
pub const EPOCH_BLOCKS_MIN: u32 = 16;
/// An epoch has at most this many blocks.
pub const EPOCH_BLOCKS_MAX: u32 = 65_536;

/// Who a chain begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founder {
    /// What it signs precommits with.
    pub key: PublicKey,
    /// What it has at stake.
    pub bond: u64,
    /// The last link of its chain of reveals; zero for none.
    pub reveals: Hash,
}

impl Founder {
    /// A validator of genesis, whose power is its bond, without a chain of reveals.
    pub fn of_genesis(validator: &Validator) -> Self {
        Self {
            key: validator.key.clone(),
            bond: validator.power,
            reveals: Hash::ZERO,
        }
    }
}

/// Why a chain cannot begin like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RollError {
    /// Blocks of an epoch.
    #[error("an epoch of {got} blocks; {EPOCH_BLOCKS_MIN} to {EPOCH_BLOCKS_MAX} are allowed")]
    EpochBlocks {
        /// How many.
        got: u32,
    },
    /// None, or too many.
    #[error("{got} validators; 1 to {VALIDATORS_MAX} are allowed")]
    Founders {
        /// How many.
        got: usize,
    },
    /// A founder without a bond, or whose key another has.
    #[error("validator {at} has no bond, or the key of another")]
    Founder {
        /// Which.
        at: usize,
    },
    /// A network that no chain takes.
    #[error("the quality network does not fit: {0}")]
    Network(selfchain_types::quality::NetworkError),
}

/// Who may be a validator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Signs precommits; from the next set on.
    pub key: PublicKey,
    /// What it has at stake; zero: it leaves.
    pub bond: u64,
    /// The link of its chain of reveals that its next reveal must come before; zero for no chain.
    pub head: Hash,
    /// The height of its last offence; zero for none.
    pub offended: Height,
    /// How many offences it has.
    pub offences: u32,
    /// Where it says that it listens for the others.
    pub address: Option<SocketAddr>,
    next_key: Option<PublicKey>,
    next_head: Option<Hash>,
}

/// The validators of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its first height.
    pub since: Height,
    /// Members' numbers, ascending.
    pub numbers: Vec<u32>,
    /// Keys and powers, in the same order.
    pub validators: Arc<[Validator]>,
    ids: Vec<KeyId>,
}

/// The roll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roll {
    epoch_blocks: u32,
    height: Height,
    members: BTreeMap<u32, Member>,
    next_number: u32,
    /// The height of the last offence of those who left the roll, while one of theirs could still be proved: who is in
    /// the previous set.
    gone: BTreeMap<u32, Height>,
    previous: Set,
    current: Set,
    next: Option<Set>,
    /// What follows from the rest: whom the others reach, and whether that is of before the last change.
    held: Arc<[Held]>,
    is_stale: bool,
}

impl Set {
    fn new(since: Height, numbers: Vec<u32>, validators: Vec<Validator>) -> Self {
        Self {
            since,
            numbers,
            ids: validators.iter().map(|validator| validator.key.id()).collect(),
            validators: validators.into(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// The position of a key.
    pub fn position(&self, id: &KeyId) -> Option<usize> {
        self.ids.iter().position(|one| one == id)
    }

    /// The key at a position.
    pub fn id(&self, at: usize) -> Option<KeyId> {
        self.ids.get(at).copied()
    }

    /// The power at a position; zero for nobody's.
    pub fn power(&self, at: usize) -> u64 {
        self.validators.get(at).map_or(0, |validator| validator.power)
    }
}

impl Roll {
    /// A roll of founders, none of them in a set yet: [`Roll::begin`] follows.
    ///
    /// # Errors
    /// [`RollError`].
    pub fn new(epoch_blocks: u32, founders: &[Founder]) -> Result<Self, RollError> {
        if !(EPOCH_BLOCKS_MIN..=EPOCH_BLOCKS_MAX).contains(&epoch_blocks) {
            return Err(RollError::EpochBlocks { got: epoch_blocks });
        }
        if founders.is_empty() || founders.len() > VALIDATORS_MAX {
            return Err(RollError::Founders { got: founders.len() });
        }
        let nobody = Set::new(Height(1), Vec::new(), Vec::new());
        let mut roll = Self {
            epoch_blocks,
            height: Height::GENESIS,
            members: BTreeMap::new(),
            next_number: 0,
            gone: BTreeMap::new(),
            previous: nobody.clone(),
            current: nobody,
            next: None,
            held: Arc::new([]),
            is_stale: true,
        };
        for (at, founder) in founders.iter().enumerate() {
            roll.join(&founder.key, founder.bond, founder.reveals)
                .map_err(|_| RollError::Founder { at })?;
        }
        Ok(roll)
    }

    /// Gives the founders their powers and makes them the first set.
    pub fn begin(&mut self, powers: &BTreeMap<u32, u64>) {
        self.current = self.set(Height(1), powers);
        self.previous = self.current.clone();
        self.settle();
    }

    /// The last block's height.
    pub fn height(&self) -> Height {
        self.height
    }

    /// The epoch of the next block, from 0.
    pub fn epoch(&self) -> u64 {
        self.height.0 / u64::from(self.epoch_blocks)
    }

    /// Members by number.
    pub fn members(&self) -> &BTreeMap<u32, Member> {
        &self.members
    }

    /// The next block's set.
    pub fn current(&self) -> &Set {
        &self.current
    }

    /// The set of the block after the next.
    pub fn upcoming(&self) -> &Set {
        self.next.as_ref().unwrap_or(&self.current)
    }

    /// The set of a height of this epoch or the one before.
    pub fn set_of(&self, height: Height) -> &Set {
        if height >= self.current.since {
            &self.current
        } else {
            &self.previous
        }
    }

    /// The set of a height from the previous epoch up to the next block; `None` of others.
    pub fn validators_of(&self, height: Height) -> Option<Arc<[Validator]>> {
        let known = self.previous.since..=self.height.next();
        known
            .contains(&height)
            .then(|| Arc::clone(&self.set_of(height).validators))
    }

    /// The number of who signs with this key, or did in a set whose offences still count.
    pub fn member(&self, id: &KeyId) -> Option<u32> {
        self.number(id).or_else(|| self.number_of_signer(id))
    }

    /// The bond of a member that is on the roll, or in a set whose offences still count: then zero.
    pub fn holds(&self, number: u32) -> Option<u64> {
        let on_roll = self.members.get(&number).map(|member| member.bond);
        on_roll.or_else(|| {
            let sets = [&self.previous, &self.current];
            let is_in = |set: &&Set| set.numbers.binary_search(&number).is_ok();
            sets.iter().any(is_in).then_some(0)
        })
    }

    /// The links that a reveal of the proposer `at` must come before.
    pub fn head(&self, at: usize) -> Hash {
        let number = self.current.numbers.get(at);
        number
            .and_then(|number| self.members.get(number))
            .map_or(Hash::ZERO, |member| member.head)
    }

    /// Notes a proposer's reveal.
    pub fn reveal(&mut self, at: usize, reveal: Hash) {
        let number = self.current.numbers.get(at);
        if let Some(member) = number.and_then(|number| self.members.get_mut(number)) {
            member.head = reveal;
        }
    }

    /// Notes an offence; the offender's number, if it is still on the roll.
    pub fn offend(&mut self, id: &KeyId, height: Height) -> Option<u32> {
        let number = self.number_of_signer(id)?;
        let Some(member) = self.members.get_mut(&number) else {
            self.gone.insert(number, height);
            return None;
        };
        member.offended = height;
        member.offences = member.offences.saturating_add(1);
        Some(number)
    }

    fn number(&self, id: &KeyId) -> Option<u32> {
        let found = self.members.iter().find(|(_, member)| member.key.id() == *id)?;
        Some(*found.0)
    }

    /// By any key that signs or signed in one of the sets.
    fn number_of_signer(&self, id: &KeyId) -> Option<u32> {
        [&self.current, &self.previous].iter().find_map(|set| {
            let at = set.position(id)?;
            set.numbers.get(at).copied()
        })
    }

    /// What is the same for every plane: heights, the parent certificate's precommits, offences.
    ///
    /// # Errors
    /// [`StandingError`].
    pub fn check(&self, block: &Observed<'_>) -> Result<(), StandingError> {
        let want = self.height.next();
        if block.height != want {
            return Err(StandingError::Height {
                got: block.height,
                want,
            });
        }
        if block.fill > crate::poai::extension::WHOLE {
            return Err(StandingError::Fill { got: block.fill });
        }
        match block.parent {
            None if self.height == Height::GENESIS => {}
            Some(parent) if self.height > Height::GENESIS && parent.height == self.height => {
                self.check_precommits(parent.height, &parent.precommits)?;
            }
            _ => return Err(StandingError::Parent),
        }
        self.check_offences(block)
    }

    fn check_precommits(&self, height: Height, precommits: &[Precommit]) -> Result<(), StandingError> {
        let len = self.set_of(height).len();
        let mut previous = None;
        for precommit in precommits {
            let validator = precommit.validator;
            if usize::from(validator) >= len || previous >= Some(validator) {
                return Err(StandingError::Precommit { validator });
            }
            previous = Some(validator);
        }
        Ok(())
    }

    fn check_offences(&self, block: &Observed<'_>) -> Result<(), StandingError> {
        for (at, offence) in block.offences.iter().enumerate() {
            let in_order = at == 0 || block.offences.get(at - 1) < Some(offence);
            if !(in_order && self.punishes(offence)) {
                return Err(StandingError::Offence { at });
            }
        }
        Ok(())
    }

    /// Whether the next block may bring proof of this offence.
    pub fn punishes(&self, offence: &Offence) -> bool {
        let heights = self.previous.since..=self.height;
        let signed = self.set_of(offence.height).position(&offence.validator).is_some();
        let number = self.number_of_signer(&offence.validator);
        let is_new = number.is_none_or(|number| offence.height > self.offended(number));
        heights.contains(&offence.height) && signed && is_new
    }

    /// The height of a validator's last offence that was proved; zero for none.
    fn offended(&self, number: u32) -> Height {
        let on_roll = self.members.get(&number).map(|member| member.offended);
        let offended = on_roll.or_else(|| self.gone.get(&number).copied());
        offended.unwrap_or(Height::GENESIS)
    }

    /// Takes a change of the set.
    ///
    /// # Errors
    /// [`ChangeRefusal`], and nothing has changed.
    pub fn change(&mut self, change: &Change) -> Result<(), ChangeRefusal> {
        self.make(change)?;
        self.is_stale = true;
        Ok(())
    }

    fn make(&mut self, change: &Change) -> Result<(), ChangeRefusal> {
        match change {
            Change::Join { key, bond, reveals } => self.join(key, *bond, *reveals),
            Change::Bond { validator, bond } => {
                let number = self.number(validator).ok_or(ChangeRefusal::Unknown)?;
                self.set_bond(number, *bond)
            }
            Change::Rotate { validator, key } => {
                let number = self.number(validator).ok_or(ChangeRefusal::Unknown)?;
                self.check_free(key)?;
                self.with(number, |member| member.next_key = Some(key.clone()));
                Ok(())
            }
            Change::Reveals { validator, reveals } => {
                let number = self.number(validator).ok_or(ChangeRefusal::Unknown)?;
                self.with(number, |member| member.next_head = Some(*reveals));
                Ok(())
            }
            Change::Address { validator, address } => {
                let number = self.number(validator).ok_or(ChangeRefusal::Unknown)?;
                self.with(number, |member| member.address = Some(*address));
                Ok(())
            }
            Change::CheckpointKey { validator, .. } => {
                self.number(validator).ok_or(ChangeRefusal::Unknown).map(|_| ())
            }
            Change::Forfeit { member } => self.set_bond(*member, 0),
            // What a network is for is the plane's to know.
            Change::Network { .. } => Err(ChangeRefusal::Network),
        }
    }

    fn join(&mut self, key: &PublicKey, bond: u64, reveals: Hash) -> Result<(), ChangeRefusal> {
        self.check_free(key)?;
        if bond == 0 {
            return Err(ChangeRefusal::Bond { bond });
        }
        if self.members.len() >= VALIDATORS_MAX || self.next_number == u32::MAX {
            return Err(ChangeRefusal::Full { max: VALIDATORS_MAX });
        }
        self.members.insert(
            self.next_number,
            Member {
                key: key.clone(),
                bond,
                head: reveals,
                offended: Height::GENESIS,
                offences: 0,
                address: None,
                next_key: None,
                next_head: None,
            },
        );
        self.next_number += 1;
        Ok(())
    }

    fn set_bond(&mut self, number: u32, bond: u64) -> Result<(), ChangeRefusal> {
        if !self.members.contains_key(&number) {
            return Err(ChangeRefusal::Unknown);
        }
        let others = self.members.iter().filter(|(other, _)| **other != number);
        if bond == 0 && others.map(|(_, member)| member).all(|member| member.bond == 0) {
            return Err(ChangeRefusal::Last);
        }
        self.with(number, |member| member.bond = bond);
        Ok(())
    }

    fn with(&mut self, number: u32, change: impl FnOnce(&mut Member)) {
        if let Some(member) = self.members.get_mut(&number) {
            change(member);
        }
    }

    /// A key is free that no member has or waits for, and that signed in no set whose offences count.
    fn check_free(&self, key: &PublicKey) -> Result<(), ChangeRefusal> {
        let mut members = self.members.values();
        let is_taken = members.any(|member| member.key == *key || member.next_key.as_ref() == Some(key));
        if is_taken || self.member(&key.id()).is_some() {
            return Err(ChangeRefusal::Taken);
        }
        Ok(())
    }

    /// The next block is here.
    pub fn advance(&mut self) {
        self.height = self.height.next();
    }

    /// Whether the next set is to be chosen: the block after the last one ends the epoch.
    pub fn is_choosing(&self) -> bool {
        self.next.is_none() && self.height.next().0.is_multiple_of(u64::from(self.epoch_blocks))
    }

    /// Whether the next set is chosen and waits for the epoch's end.
    pub fn is_chosen(&self) -> bool {
        self.next.is_some()
    }

    /// Whether the last block ended an epoch.
    pub fn is_epoch_end(&self) -> bool {
        self.next.is_some() && self.height.0.is_multiple_of(u64::from(self.epoch_blocks))
    }

    /// Chooses the next set: who has power, with the keys that they asked for.
    pub fn choose(&mut self, powers: &BTreeMap<u32, u64>) {
        self.next = Some(self.set(Height(self.height.0.saturating_add(2)), powers));
    }

    /// The epoch is over: the set that was chosen takes over, and new chains of reveals begin. Members who left and
    /// have no power are struck off; their numbers are returned.
    pub fn turn(&mut self) -> Vec<u32> {
        if let Some(next) = self.next.take() {
            self.previous = std::mem::replace(&mut self.current, next);
        }
        for (number, validator) in self.current.numbers.iter().zip(self.current.validators.iter()) {
            if let Some(member) = self.members.get_mut(number) {
                member.key = validator.key.clone();
                member.next_key.take_if(|key| *key == validator.key);
            }
        }
        for member in self.members.values_mut() {
            if let Some(head) = member.next_head.take() {
                member.head = head;
            }
        }
        let has_power = |number: &u32| self.current.numbers.binary_search(number).is_ok();
        let gone =
            |(number, member): (&u32, &Member)| (member.bond == 0 && !has_power(number)).then_some(*number);
        let gone: Vec<u32> = self.members.iter().filter_map(gone).collect();
        for number in &gone {
            if let Some(member) = self.members.remove(number) {
                self.gone.insert(*number, member.offended);
            }
        }
        let previous = &self.previous.numbers;
        self.gone
            .retain(|number, offended| *offended > Height::GENESIS && previous.binary_search(number).is_ok());
        self.is_stale = true;
        gone
    }

    /// A block is over: [`Self::held`] is of what it left.
    pub fn settle(&mut self) {
        if core::mem::take(&mut self.is_stale) {
            let held = self.hold();
            if *held != *self.held {
                self.held = held.into();
            }
        }
    }

    /// Everyone on the roll or in a set whose offences count, by number, with all keys that they may prove.
    pub fn held(&self) -> Arc<[Held]> {
        Arc::clone(&self.held)
    }

    fn hold(&self) -> Vec<Held> {
        let sets = [&self.current, self.upcoming(), &self.previous];
        let seated = sets.iter().flat_map(|set| set.numbers.iter());
        let numbers: BTreeSet<u32> = self.members.keys().chain(seated).copied().collect();
        let held = numbers.into_iter().map(|number| {
            let member = self.members.get(&number);
            let key_in = |set: &Set| {
                let at = set.numbers.binary_search(&number).ok()?;
                set.validators.get(at).map(|one| one.key.clone())
            };
            let next_key = member.and_then(|member| member.next_key.clone());
            let in_turn = [
                key_in(&self.current),
                member.map(|member| member.key.clone()),
                key_in(self.upcoming()),
                next_key,
                key_in(&self.previous),
            ];
            let mut keys: Vec<PublicKey> = Vec::with_capacity(1);
            for key in in_turn.into_iter().flatten() {
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
            Held {
                number,
                keys,
                is_in_set: self.current.numbers.binary_search(&number).is_ok(),
                address: member.and_then(|member| member.address),
            }
        });
        held.collect()
    }

    fn set(&self, since: Height, powers: &BTreeMap<u32, u64>) -> Set {
        let mut numbers = Vec::new();
        let mut validators = Vec::new();
        for (number, member) in &self.members {
            let power = powers.get(number).copied().unwrap_or(0);
            if power > 0 {
                numbers.push(*number);
                validators.push(Validator {
                    key: member.next_key.as_ref().unwrap_or(&member.key).clone(),
                    power,
                });
            }
        }
        Set::new(since, numbers, validators)
    }

    /// How everyone stands, with what the plane adds to each member, by number and position in the current set.
    pub fn view(
        &self,
        proposers: Vec<KeyId>,
        add: impl Fn(u32, Option<usize>, &mut MemberView),
    ) -> StandingView {
        let epoch = self.epoch();
        let members = self.members.iter().map(|(number, member)| {
            let place = |set: &Set| set.numbers.binary_search(number).ok();
            let at = place(&self.current);
            let mut view = MemberView {
                number: *number,
                address: member.address,
                key: at.and_then(|at| self.current.id(at)).unwrap_or(member.key.id()),
                bond: member.bond,
                power: at.map(|at| self.current.power(at)),
                next_power: place(self.upcoming()).map(|at| self.upcoming().power(at)),
                factor: None,
                quality: None,
                features: None,
                offences: member.offences,
                offended: member.offended,
            };
            add(*number, at, &mut view);
            view
        });
        StandingView {
            epoch: Some(EpochView {
                number: epoch,
                blocks: self.epoch_blocks(),
                next: self.epoch_end().next(),
            }),
            members: members.collect(),
            proposers,
            network: None,
            next_network: None,
        }
    }

    /// The next heights of which a view names the proposer: none of another epoch.
    pub fn forecast(&self) -> impl Iterator<Item = Height> {
        let (next, end) = (self.height.next().0, self.epoch_end().0);
        (next..=end).take(FORECAST_HEIGHTS).map(Height)
    }

    /// The last height of the next block's epoch.
    fn epoch_end(&self) -> Height {
        Height(self.epoch().saturating_add(1).saturating_mul(self.epoch_blocks()))
    }

    /// How many blocks an epoch has.
    pub fn epoch_blocks(&self) -> u64 {
        u64::from(self.epoch_blocks)
    }
}

#[cfg(test)]
#[path = "roll/roll_tests.rs"]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
