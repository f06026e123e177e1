//! The words of the core, filled with ours: a value is a block's hash, an address a seat in the height's set.

use crate::schedule::proposer;
use arc_malachitebft_core_types::{
    self as core, Context, Extension, NilOrVal, ProposalPart, Round, SignedExtension, SigningScheme, VoteType,
};
use selfchain_types::ballot::{Ballot, Statement};
use selfchain_types::crypto::PublicKey;
use selfchain_types::genesis::Validator;
use selfchain_types::seam::consensus::Schedule;
use selfchain_types::{Hash, Height};
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

/// Our words for the core. Votes carry no extension of the core's: ours is in the signature ([`Signed`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Agreement;

pub(super) type SignedVote = core::SignedVote<Agreement>;
pub(super) type SignedProposal = core::SignedProposal<Agreement>;

/// A height.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct At(pub(super) u64);

/// Position in the height's set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seat(pub(super) u16);

/// The seat of a node that is not in the set: a set ends below it.
pub(super) const NO_SEAT: Seat = Seat(u16::MAX);

/// A block, by its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Block(pub(super) Hash);

/// A vote without its extension and signature: what a replay must derive again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Vote {
    pub(super) kind: VoteType,
    pub(super) height: At,
    pub(super) round: Round,
    pub(super) value: NilOrVal<Block>,
    pub(super) voter: Seat,
}

/// A proposal without its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proposal {
    pub(super) height: At,
    pub(super) round: Round,
    pub(super) block: Block,
    pub(super) polka: Round,
    pub(super) proposer: Seat,
}

/// A signature with the extension that it covers, so that both come out of the core wherever one does. The core
/// clones it freely.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Signed(Arc<SignedParts>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct SignedParts {
    extension: Vec<u8>,
    signature: Vec<u8>,
}

impl Signed {
    pub(super) fn new(extension: Vec<u8>, signature: Vec<u8>) -> Self {
        Self(Arc::new(SignedParts { extension, signature }))
    }

    pub(super) fn extension(&self) -> &[u8] {
        &self.0.extension
    }

    pub(super) fn signature(&self) -> &[u8] {
        &self.0.signature
    }
}

/// One validator of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) seat: Seat,
    pub(super) key: PublicKey,
    pub(super) power: u64,
}

/// A height's validators, with all that their proposers are chosen by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Set {
    members: Arc<[Member]>,
    power: u64,
    height: Height,
    schedule: Schedule,
    /// Who proposes in the first round: asked most often.
    first: usize,
}

impl Set {
    /// `None` where there is nobody, or more than there are seats, or more power than the core can count, or where the
    /// schedule does not fit the set or begins later.
    pub(super) fn new(validators: &[Validator], height: Height, schedule: &Schedule) -> Option<Self> {
        if validators.is_empty() || validators.len() >= usize::from(NO_SEAT.0) {
            return None;
        }
        let mut schedule = schedule.clone();
        if schedule.weights.is_empty() {
            schedule.weights = validators.iter().map(|validator| validator.power).collect();
        }
        let fits = schedule.weights.len() == validators.len()
            && schedule.weights.iter().any(|weight| *weight > 0)
            && height >= schedule.since;
        if !fits {
            return None;
        }
        let power = validators.iter().try_fold(0u64, |sum, validator| {
            sum.checked_add(validator.power).filter(|sum| *sum < POWER_END)
        })?;
        let members = (0..)
            .zip(validators)
            .map(|(seat, validator)| Member {
                seat: Seat(seat),
                key: validator.key.clone(),
                power: validator.power,
            })
            .collect();
        let first = proposer(&schedule, height, 0)?;
        Some(Self {
            members,
            power,
            height,
            schedule,
            first,
        })
    }

    /// Position of whoever proposes in a round.
    fn proposer(&self, round: u32) -> usize {
        match round {
            0 => self.first,
            round => proposer(&self.schedule, self.height, round).unwrap_or(self.first),
        }
    }

    /// Positions of those who propose in a round and in those after it, `count` of them.
    pub(super) fn proposers(&self, round: u32, count: u32) -> Vec<u16> {
        let rounds = round..round.saturating_add(count);
        let positions = rounds.filter_map(|round| u16::try_from(self.proposer(round)).ok());
        positions.collect()
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(super) fn member(&self, seat: u16) -> Option<&Member> {
        self.members.get(usize::from(seat))
    }

    pub(super) fn seat_of(&self, key: &PublicKey) -> Option<Seat> {
        let member = self.members.iter().find(|member| member.key == *key)?;
        Some(member.seat)
    }
}

/// The core multiplies power by three in a `u64`.
const POWER_END: u64 = 1 << 62;

impl Context for Agreement {
    type Address = Seat;
    type Height = At;
    type ProposalPart = NoPart;
    type Proposal = Proposal;
    type Validator = Member;
    type ValidatorSet = Set;
    type Timeouts = core::LinearTimeouts;
    type Value = Block;
    type Vote = Vote;
    type Extension = NoExtension;
    type SigningScheme = BallotScheme;

    fn select_proposer<'a>(&self, set: &'a Set, _: At, round: Round) -> &'a Member {
        &set.members[set.proposer(number(round))]
    }

    fn new_proposal(&self, height: At, round: Round, block: Block, polka: Round, proposer: Seat) -> Proposal {
        Proposal {
            height,
            round,
            block,
            polka,
            proposer,
        }
    }

    fn new_prevote(&self, height: At, round: Round, value: NilOrVal<Block>, voter: Seat) -> Vote {
        Vote {
            kind: VoteType::Prevote,
            height,
            round,
            value,
            voter,
        }
    }

    fn new_precommit(&self, height: At, round: Round, value: NilOrVal<Block>, voter: Seat) -> Vote {
        Vote {
            kind: VoteType::Precommit,
            height,
            round,
            value,
            voter,
        }
    }
}

impl core::Height for At {
    const ZERO: Self = Self(0);
    const INITIAL: Self = Self(1);

    fn increment_by(&self, n: u64) -> Self {
        Self(self.0.saturating_add(n))
    }

    fn decrement_by(&self, n: u64) -> Option<Self> {
        self.0.checked_sub(n).map(Self)
    }

    fn as_u64(&self) -> u64 {
        self.0
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl core::Address for Seat {}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl core::Value for Block {
    type Id = Self;

    fn id(&self) -> Self {
        *self
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl core::Validator<Agreement> for Member {
    fn address(&self) -> &Seat {
        &self.seat
    }

    fn public_key(&self) -> &PublicKey {
        &self.key
    }

    fn voting_power(&self) -> u64 {
        self.power
    }
}

impl core::ValidatorSet<Agreement> for Set {
    fn count(&self) -> usize {
        self.members.len()
    }

    fn total_voting_power(&self) -> u64 {
        self.power
    }

    fn get_by_address(&self, seat: &Seat) -> Option<&Member> {
        self.member(seat.0)
    }

    fn get_by_index(&self, index: usize) -> Option<&Member> {
        self.members.get(index)
    }
}

impl core::Vote<Agreement> for Vote {
    fn height(&self) -> At {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &NilOrVal<Block> {
        &self.value
    }

    fn take_value(self) -> NilOrVal<Block> {
        self.value
    }

    fn vote_type(&self) -> VoteType {
        self.kind
    }

    fn validator_address(&self) -> &Seat {
        &self.voter
    }

    fn extension(&self) -> Option<&SignedExtension<Agreement>> {
        None
    }

    fn take_extension(&mut self) -> Option<SignedExtension<Agreement>> {
        None
    }

    fn extend(self, _: SignedExtension<Agreement>) -> Self {
        self
    }
}

impl core::Proposal<Agreement> for Proposal {
    fn height(&self) -> At {
        self.height
    }

    fn round(&self) -> Round {
        self.round
    }

    fn value(&self) -> &Block {
        &self.block
    }

    fn take_value(self) -> Block {
        self.block
    }

    fn pol_round(&self) -> Round {
        self.polka
    }

    fn validator_address(&self) -> &Seat {
        &self.proposer
    }
}

/// Bodies travel on the node's own channel: the core never sees a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoPart {}

impl ProposalPart<Agreement> for NoPart {
    fn is_first(&self) -> bool {
        match *self {}
    }

    fn is_last(&self) -> bool {
        match *self {}
    }
}

/// The core's own extensions are off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoExtension {}

impl Extension for NoExtension {
    fn size_bytes(&self) -> usize {
        match *self {}
    }
}

/// Keys and signatures as [`Ballot`] has them. The core never encodes one: the journal and the messages are ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BallotScheme;

impl SigningScheme for BallotScheme {
    type DecodingError = &'static str;
    type Signature = Signed;
    type PublicKey = PublicKey;
    type PrivateKey = Infallible;

    fn decode_signature(bytes: &[u8]) -> Result<Signed, &'static str> {
        Ok(Signed::new(Vec::new(), bytes.to_vec()))
    }

    fn encode_signature(signed: &Signed) -> Vec<u8> {
        signed.signature().to_vec()
    }

    fn decode_public_key(_: &[u8]) -> Result<PublicKey, &'static str> {
        Err("keys come from the validator set")
    }

    fn encode_public_key(key: &PublicKey) -> Vec<u8> {
        key.as_bytes().to_vec()
    }
}

/// A round as a number. The core's `Nil` round is before every message, and never in one.
pub(super) fn number(round: Round) -> u32 {
    round.as_u32().unwrap_or_default()
}

impl Vote {
    /// What a validator signs to cast this vote, with `extension` where it precommits a block.
    pub(super) fn statement(&self, extension: &[u8]) -> Statement {
        match (self.kind, &self.value) {
            (VoteType::Prevote, NilOrVal::Nil) => Statement::Prevote(None),
            (VoteType::Prevote, NilOrVal::Val(block)) => Statement::Prevote(Some(block.0)),
            (VoteType::Precommit, NilOrVal::Nil) => Statement::NilPrecommit,
            (VoteType::Precommit, NilOrVal::Val(block)) => Statement::Precommit(block.0, extension.to_vec()),
        }
    }

    /// The signed ballot.
    pub(super) fn ballot(&self, signed: &Signed) -> Ballot {
        Ballot {
            height: Height(self.height.0),
            round: number(self.round),
            validator: self.voter.0,
            statement: self.statement(signed.extension()),
            signature: signed.signature().to_vec(),
        }
    }
}

impl Proposal {
    /// What a validator signs to propose this.
    pub(super) fn statement(&self) -> Statement {
        Statement::Proposal(self.block.0, self.polka.as_u32())
    }

    /// The signed ballot.
    pub(super) fn ballot(&self, signed: &Signed) -> Ballot {
        Ballot {
            height: Height(self.height.0),
            round: number(self.round),
            validator: self.proposer.0,
            statement: self.statement(),
            signature: signed.signature().to_vec(),
        }
    }
}

/// What a ballot is to the core.
pub(super) enum CoreBallot {
    Vote(SignedVote),
    Proposal(SignedProposal),
}

/// A ballot as the core takes it.
pub(super) fn core_ballot(ballot: &Ballot) -> CoreBallot {
    let (height, round) = (At(ballot.height.0), Round::new(ballot.round));
    let seat = Seat(ballot.validator);
    let vote = |kind, block: Option<Hash>, extension: &[u8]| {
        let vote = Vote {
            kind,
            height,
            round,
            value: block.map_or(NilOrVal::Nil, |block| NilOrVal::Val(Block(block))),
            voter: seat,
        };
        let signed = Signed::new(extension.to_vec(), ballot.signature.clone());
        CoreBallot::Vote(SignedVote::new(vote, signed))
    };
    match &ballot.statement {
        Statement::Prevote(block) => vote(VoteType::Prevote, *block, &[]),
        Statement::NilPrecommit => vote(VoteType::Precommit, None, &[]),
        Statement::Precommit(block, extension) => vote(VoteType::Precommit, Some(*block), extension),
        Statement::Proposal(block, polka) => {
            let proposal = Proposal {
                height,
                round,
                block: Block(*block),
                polka: Round::from(*polka),
                proposer: seat,
            };
            let signed = Signed::new(Vec::new(), ballot.signature.clone());
            CoreBallot::Proposal(SignedProposal::new(proposal, signed))
        }
    }
}
