//! What validators send each other: ballots, and lists of ballots that prove that a round may be entered or a
//! block proposed again. Bytes: `docs/formats/agreement.md`.

use super::context::{
    Agreement, At, Block, CoreBallot, Seat, Signed, SignedProposal, SignedVote, Vote, core_ballot,
};
use arc_malachitebft_core_types::{
    PolkaCertificate, PolkaSignature, Round, RoundCertificate, RoundCertificateType, RoundSignature,
};
use selfchain_types::ballot::{Ballot, BallotKind, Statement};
use selfchain_types::codec::{DecodeError, Reader};
use selfchain_types::genesis::Validator;
use selfchain_types::{Hash, Height};

/// Bytes of a message: ballots of every validator there may be, in a scheme with long signatures, fit a quarter.
pub(super) const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// One ballot.
    Ballot(Ballot),
    /// Prevotes of two thirds for one block in one round.
    Polka(Vec<Ballot>),
    /// Votes of a third in one round: that round may be entered.
    Skip(Vec<Ballot>),
    /// Precommits of two thirds in one round: the next round may be entered.
    Precommits(Vec<Ballot>),
}

const KIND_POLKA: u8 = 4;
const KIND_SKIP: u8 = 5;
const KIND_PRECOMMITS: u8 = 6;

impl Message {
    /// All ballots in it, at least one.
    pub(super) fn ballots(&self) -> &[Ballot] {
        match self {
            Self::Ballot(ballot) => core::slice::from_ref(ballot),
            Self::Polka(ballots) | Self::Skip(ballots) | Self::Precommits(ballots) => ballots,
        }
    }

    /// The height of them all.
    pub(super) fn height(&self) -> Height {
        self.ballots()
            .first()
            .map_or(Height::GENESIS, |ballot| ballot.height)
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let (kind, ballots) = match self {
            Self::Ballot(ballot) => return ballot.to_bytes(),
            Self::Polka(ballots) => (KIND_POLKA, ballots),
            Self::Skip(ballots) => (KIND_SKIP, ballots),
            Self::Precommits(ballots) => (KIND_PRECOMMITS, ballots),
        };
        let mut out = vec![kind];
        let count = u16::try_from(ballots.len()).expect("at most one ballot of each validator");
        out.extend_from_slice(&count.to_le_bytes());
        ballots.iter().for_each(|ballot| ballot.encode(&mut out));
        out
    }

    /// Reads a message. Ballots of a list are votes of one height and round, in ascending order of validator;
    /// those of a polka are prevotes for one block. Signatures and power are not looked at.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(refused("bytes of a message", bytes.len()));
        }
        let mut reader = Reader::new("message of agreement", bytes);
        let message = match bytes.first() {
            Some(&kind @ KIND_POLKA..=KIND_PRECOMMITS) => {
                reader.u8()?;
                let ballots = read_list(&mut reader)?;
                match kind {
                    KIND_POLKA => polka(ballots)?,
                    KIND_SKIP => Self::Skip(ballots),
                    _ => precommits(ballots)?,
                }
            }
            _ => Self::Ballot(Ballot::read(&mut reader)?),
        };
        reader.finish()?;
        Ok(message)
    }

    pub(super) fn of_vote(vote: &SignedVote) -> Self {
        Self::Ballot(vote.message.ballot(&vote.signature))
    }

    pub(super) fn of_proposal(proposal: &SignedProposal) -> Self {
        Self::Ballot(proposal.message.ballot(&proposal.signature))
    }

    pub(super) fn of_polka(polka: &PolkaCertificate<Agreement>) -> Self {
        Self::Polka(in_order(
            polka
                .votes(&Agreement)
                .map(|vote| vote.message.ballot(&vote.signature)),
        ))
    }

    pub(super) fn of_round(certificate: &RoundCertificate<Agreement>) -> Self {
        let ballots = in_order(
            certificate
                .votes(&Agreement)
                .map(|vote| vote.message.ballot(&vote.signature)),
        );
        match certificate.cert_type {
            RoundCertificateType::Skip => Self::Skip(ballots),
            RoundCertificateType::Precommit => Self::Precommits(ballots),
        }
    }
}

/// A list as the core's certificates are, without their types: height, round, and votes.
pub(super) fn core_polka(ballots: &[Ballot]) -> Option<PolkaCertificate<Agreement>> {
    let (height, round) = place(ballots)?;
    let Some(Statement::Prevote(Some(block))) = ballots.first().map(|ballot| &ballot.statement) else {
        return None;
    };
    Some(PolkaCertificate {
        height,
        round,
        value_id: Block(*block),
        polka_signatures: ballots
            .iter()
            .map(|ballot| {
                let signed = Signed::new(Vec::new(), ballot.signature.clone());
                PolkaSignature::new(Seat(ballot.validator), signed)
            })
            .collect(),
    })
}

pub(super) fn core_round(
    ballots: &[Ballot],
    cert_type: RoundCertificateType,
) -> Option<RoundCertificate<Agreement>> {
    let (height, round) = place(ballots)?;
    let votes = ballots.iter().filter_map(|ballot| match core_ballot(ballot) {
        CoreBallot::Vote(vote) => Some(vote),
        CoreBallot::Proposal(_) => None,
    });
    Some(RoundCertificate {
        height,
        round,
        cert_type,
        round_signatures: votes
            .map(|vote| {
                let Vote {
                    kind, value, voter, ..
                } = vote.message;
                RoundSignature::new(kind, value, voter, vote.signature)
            })
            .collect(),
    })
}

/// Checks every signature in a message of the height that `set` decides. Pure: for the driver's pool, which then
/// says so in `Input::Message`.
pub fn check(bytes: &[u8], chain_id: &Hash, height: Height, set: &[Validator]) -> bool {
    let Ok(message) = Message::decode(bytes) else {
        return false;
    };
    message.height() == height
        && message.ballots().iter().all(|ballot| {
            set.get(usize::from(ballot.validator))
                .is_some_and(|validator| ballot.verify(chain_id, &validator.key).is_ok())
        })
}

/// The ballot that a message is, if it is no list of them.
pub fn said(bytes: &[u8]) -> Option<Ballot> {
    match bytes.first() {
        Some(KIND_POLKA..=KIND_PRECOMMITS) => None,
        _ => Ballot::decode(bytes).ok(),
    }
}

fn place(ballots: &[Ballot]) -> Option<(At, Round)> {
    let first = ballots.first()?;
    Some((At(first.height.0), Round::new(first.round)))
}

fn in_order(ballots: impl Iterator<Item = Ballot>) -> Vec<Ballot> {
    let mut ballots: Vec<Ballot> = ballots.collect();
    ballots.sort_by_key(|ballot| ballot.validator);
    ballots
}

fn polka(ballots: Vec<Ballot>) -> Result<Message, DecodeError> {
    let first = ballots.first().map(|ballot| ballot.statement.clone());
    match first {
        Some(Statement::Prevote(Some(_)))
            if ballots
                .iter()
                .all(|ballot| Some(&ballot.statement) == first.as_ref()) =>
        {
            Ok(Message::Polka(ballots))
        }
        _ => Err(refused("ballots of a polka", ballots.len())),
    }
}

fn precommits(ballots: Vec<Ballot>) -> Result<Message, DecodeError> {
    let is_precommit = |ballot: &Ballot| ballot.statement.kind() == BallotKind::Precommit;
    if ballots.iter().all(is_precommit) {
        return Ok(Message::Precommits(ballots));
    }
    Err(refused("ballots of a list of precommits", ballots.len()))
}

fn read_list(reader: &mut Reader<'_>) -> Result<Vec<Ballot>, DecodeError> {
    let count = reader.u16()?;
    let mut ballots: Vec<Ballot> = Vec::new();
    for _ in 0..count {
        let ballot = Ballot::read(reader)?;
        let follows = ballots.last().is_none_or(|last| {
            last.validator < ballot.validator && (last.height, last.round) == (ballot.height, ballot.round)
        });
        if !follows || matches!(ballot.statement, Statement::Proposal(..)) {
            return Err(refused("place in a list of ballots", ballots.len()));
        }
        ballots.push(ballot);
    }
    if ballots.is_empty() {
        return Err(refused("ballots in a list", 0));
    }
    Ok(ballots)
}

fn refused(what: &'static str, value: usize) -> DecodeError {
    DecodeError::Value {
        what,
        value: selfchain_types::codec::wide(value),
    }
}
