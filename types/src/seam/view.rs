//! Views: what planes and standings show of themselves to whoever operates a node. Nothing that is decided depends on
//! them; each is a copy, made when it is asked for.

use crate::genesis::Validator;
use crate::quality::Row;
use crate::{Hash, Height, KeyId, TimeNs};
use core::net::SocketAddr;
use std::vec::Vec;

/// The height that a plane of several validators has in hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaneView {
    /// The height.
    pub height: Height,
    /// Its round.
    pub round: u32,
    /// Where in the round it is.
    pub step: Step,
    /// When the round began here; zero before the first.
    pub since: TimeNs,
    /// Who proposes in this round and in those after it, by position in the height's set.
    pub proposers: Vec<u16>,
    /// The round and block that this node is locked on.
    pub locked: Option<(u32, Hash)>,
    /// What was heard of this round from each validator of the set, this node among them.
    pub heard: Vec<Heard>,
    /// What the plane has done since it started.
    pub counts: PlaneCounts,
}

/// Where in a round a validator is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Nothing is wanted yet: an idle chain is silent.
    Idle,
    /// A proposal is waited for, or made.
    Propose,
    /// It prevoted, and waits for prevotes.
    Prevote,
    /// It precommitted, and waits for precommits.
    Precommit,
    /// The height is decided.
    Decided,
}

impl Step {
    /// The name that JSON and text use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Propose => "propose",
            Self::Prevote => "prevote",
            Self::Precommit => "precommit",
            Self::Decided => "decided",
        }
    }
}

/// What a validator said in a round, as far as it was heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Its prevote: for a block, or for nothing.
    pub prevote: Option<Option<Hash>>,
    /// Its precommit: for a block, or for nothing.
    pub precommit: Option<Option<Hash>>,
}

/// What a plane has done since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlaneCounts {
    /// Rounds begun.
    pub rounds: u64,
    /// Waits for a proposal that ended without one.
    pub timeouts_propose: u64,
    /// Waits for more prevotes that ended without a decision on them.
    pub timeouts_prevote: u64,
    /// Waits for more precommits that ended without a decision.
    pub timeouts_precommit: u64,
    /// Signatures of ballots that were verified.
    pub votes_verified: u64,
}

/// How the validators of a chain stand after the last block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StandingView {
    /// The epoch of the next block, where sets change from epoch to epoch.
    pub epoch: Option<EpochView>,
    /// Everyone who is in a set, or may be in a next one.
    pub members: Vec<MemberView>,
    /// Who proposes in the first rounds of the next heights, as far as it is settled: not past the epoch's end.
    pub proposers: Vec<KeyId>,
    /// The network that the last qualities were chosen by, where qualities count.
    pub network: Option<Hash>,
    /// The one that the next qualities are chosen by, where that is another.
    pub next_network: Option<Hash>,
}

/// Next heights of which a [`StandingView`] names the proposer.
pub const FORECAST_HEIGHTS: usize = 4;

/// An epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochView {
    /// Its number, from 0.
    pub number: u64,
    /// How many blocks it has.
    pub blocks: u64,
    /// The first height of the one after it.
    pub next: Height,
}

/// How one validator stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// Its number.
    pub number: u32,
    /// The key that it signs with.
    pub key: KeyId,
    /// Where it says that it listens for the others.
    pub address: Option<SocketAddr>,
    /// What it has at stake; 0: it leaves.
    pub bond: u64,
    /// Its power in the next height's set; `None`: it is not in it.
    pub power: Option<u64>,
    /// Its power in the set of the height after that; `None`: it is not in it. Another than [`Self::power`] only in
    /// an epoch's last block.
    pub next_power: Option<u64>,
    /// The factor of its bond, in thousandths, where reputation counts.
    pub factor: Option<u64>,
    /// How good a proposer it is, from 0 to 1,000, where qualities count and it is in the set.
    pub quality: Option<u16>,
    /// What committed evidence says of it so far, where qualities count and it is in the set.
    pub features: Option<Row>,
    /// Offences that blocks prove.
    pub offences: u32,
    /// The height of the last of them; zero for none.
    pub offended: Height,
}

impl StandingView {
    /// Of a set that nothing more is known of.
    pub fn of_set(validators: &[Validator]) -> Self {
        let member = |(number, validator): (u32, &Validator)| MemberView {
            number,
            address: None,
            key: validator.key.id(),
            bond: validator.power,
            power: Some(validator.power),
            next_power: Some(validator.power),
            factor: None,
            quality: None,
            features: None,
            offences: 0,
            offended: Height::GENESIS,
        };
        Self {
            epoch: None,
            members: (0..).zip(validators).map(member).collect(),
            proposers: Vec::new(),
            network: None,
            next_network: None,
        }
    }
}
