//! Ballots: what validators sign while they agree. Prevotes, precommits and proposals.

use crate::certificate::{nil_precommit_digest, precommit_digest, prevote_digest, proposal_digest};
use crate::codec::{DecodeError, Reader, put_bytes_u32, wide};
use crate::crypto::{PublicKey, SignatureError, SigningKey};
use crate::{Hash, Height};
use alloc::vec::Vec;

/// Bytes that a precommit may say beside yes.
pub const EXTENSION_BYTES_MAX: usize = 256;
/// Bytes of a signature of any scheme to come.
pub const SIGNATURE_BYTES_MAX: usize = 8_192;

/// What a ballot says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Statement {
    /// The block may be decided in this round; `None`: nothing may that this validator saw in time.
    Prevote(Option<Hash>),
    /// The block is decided, as far as this validator goes, with what it says beside.
    Precommit(Hash, Vec<u8>),
    /// Nothing is decided in this round, as far as this validator goes.
    NilPrecommit,
    /// The block is this round's; two thirds prevoted it already in the round named, if one is.
    Proposal(Hash, Option<u32>),
}

/// A statement of one validator on one round, signed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ballot {
    /// The height it is about.
    pub height: Height,
    /// The round.
    pub round: u32,
    /// Position of the signer in the height's set. Not signed: the key says who it was.
    pub validator: u16,
    /// What it says.
    pub statement: Statement,
    /// Over [`Ballot::digest`].
    pub signature: Vec<u8>,
}

/// Which of its three ballots of a round this is. A validator signs each at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum BallotKind {
    /// For or against going on with a block.
    Prevote = 1,
    /// For or against deciding it.
    Precommit = 2,
    /// A block for the round.
    Proposal = 3,
}

impl Statement {
    /// Which of the three ballots of a round makes it.
    pub fn kind(&self) -> BallotKind {
        match self {
            Self::Prevote(_) => BallotKind::Prevote,
            Self::Precommit(..) | Self::NilPrecommit => BallotKind::Precommit,
            Self::Proposal(..) => BallotKind::Proposal,
        }
    }

    /// What is signed to say it of this round.
    pub fn digest(&self, chain_id: &Hash, height: Height, round: u32) -> Hash {
        match self {
            Self::Prevote(block) => prevote_digest(chain_id, height, round, block.as_ref()),
            Self::Precommit(block, extension) => precommit_digest(chain_id, height, round, block, extension),
            Self::NilPrecommit => nil_precommit_digest(chain_id, height, round),
            Self::Proposal(block, polka) => proposal_digest(chain_id, height, round, block, *polka),
        }
    }
}

impl Ballot {
    /// Signs a statement.
    pub fn sign(
        chain_id: &Hash,
        height: Height,
        round: u32,
        validator: u16,
        statement: Statement,
        key: &SigningKey,
    ) -> Self {
        let signature = key.sign(statement.digest(chain_id, height, round).as_bytes());
        Self {
            height,
            round,
            validator,
            statement,
            signature,
        }
    }

    /// What its signature is over.
    pub fn digest(&self, chain_id: &Hash) -> Hash {
        self.statement.digest(chain_id, self.height, self.round)
    }

    /// Checks the signature against the key of the validator it names.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify(&self, chain_id: &Hash, key: &PublicKey) -> Result<(), SignatureError> {
        let digest = self.digest(chain_id);
        key.verify(digest.as_bytes(), &self.signature)
    }

    /// Appends the canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(kind_code(self.statement.kind()));
        out.extend_from_slice(&self.height.0.to_le_bytes());
        out.extend_from_slice(&self.round.to_le_bytes());
        out.extend_from_slice(&self.validator.to_le_bytes());
        match &self.statement {
            Statement::Prevote(None) | Statement::NilPrecommit => out.push(0),
            Statement::Prevote(Some(block)) => {
                out.push(1);
                out.extend_from_slice(block.as_bytes());
            }
            Statement::Precommit(block, extension) => {
                out.push(1);
                out.extend_from_slice(block.as_bytes());
                put_bytes_u32(out, extension);
            }
            Statement::Proposal(block, polka) => {
                out.extend_from_slice(block.as_bytes());
                out.push(u8::from(polka.is_some()));
                out.extend_from_slice(polka.map(u32::to_le_bytes).as_ref().map_or(&[], |polka| polka));
            }
        }
        put_bytes_u32(out, &self.signature);
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let extension = match &self.statement {
            Statement::Precommit(_, extension) => extension.len(),
            _ => 0,
        };
        let mut out = Vec::with_capacity(64 + extension + self.signature.len());
        self.encode(&mut out);
        out
    }

    /// Reads the canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("ballot", bytes);
        let ballot = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(ballot)
    }

    /// Reads one from the front.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = read_kind(reader)?;
        let height = Height(reader.u64()?);
        let round = reader.u32()?;
        let validator = reader.u16()?;
        let statement = read_statement(kind, reader)?;
        let signature = read_bounded(reader, "signature length", SIGNATURE_BYTES_MAX)?;
        Ok(Self {
            height,
            round,
            validator,
            statement,
            signature,
        })
    }
}

fn read_statement(kind: BallotKind, reader: &mut Reader<'_>) -> Result<Statement, DecodeError> {
    if kind == BallotKind::Proposal {
        let block = reader.hash()?;
        let polka = read_flag(reader)?.then(|| reader.u32()).transpose()?;
        return Ok(Statement::Proposal(block, polka));
    }
    let block = read_flag(reader)?.then(|| reader.hash()).transpose()?;
    Ok(match (kind, block) {
        (BallotKind::Prevote, block) => Statement::Prevote(block),
        (_, None) => Statement::NilPrecommit,
        (_, Some(block)) => {
            let extension = read_bounded(reader, "extension length", EXTENSION_BYTES_MAX)?;
            Statement::Precommit(block, extension)
        }
    })
}

fn read_flag(reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        value => Err(DecodeError::Value {
            what: "flag of a ballot",
            value: u64::from(value),
        }),
    }
}

fn read_bounded(reader: &mut Reader<'_>, what: &'static str, max: usize) -> Result<Vec<u8>, DecodeError> {
    let bytes = reader.bytes_u32()?;
    if bytes.len() > max {
        let value = wide(bytes.len());
        return Err(DecodeError::Value { what, value });
    }
    Ok(bytes.to_vec())
}

fn read_kind(reader: &mut Reader<'_>) -> Result<BallotKind, DecodeError> {
    match reader.u8()? {
        1 => Ok(BallotKind::Prevote),
        2 => Ok(BallotKind::Precommit),
        3 => Ok(BallotKind::Proposal),
        value => Err(DecodeError::Value {
            what: "kind of a ballot",
            value: u64::from(value),
        }),
    }
}

#[allow(clippy::as_conversions, reason = "a field-less enum with explicit u8 codes")]
fn kind_code(kind: BallotKind) -> u8 {
    kind as u8
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::vec;

    fn statements() -> Vec<Statement> {
        let block = Hash([7; 32]);
        vec![
            Statement::Prevote(None),
            Statement::Prevote(Some(block)),
            Statement::Precommit(block, vec![]),
            Statement::Precommit(block, vec![1, 2, 3]),
            Statement::NilPrecommit,
            Statement::Proposal(block, None),
            Statement::Proposal(block, Some(0)),
            Statement::Proposal(block, Some(1)),
        ]
    }

    fn signed(statement: Statement, round: u32) -> Ballot {
        let key = SigningKey::from_seed(&[3; 32]);
        Ballot::sign(&Hash([1; 32]), Height(5), round, 2, statement, &key)
    }

    #[test]
    fn every_statement_of_every_round_is_signed_apart() {
        let mut digests = BTreeSet::new();
        for statement in statements() {
            for (height, round) in [(5, 0), (5, 1), (6, 0)] {
                for chain in [Hash([1; 32]), Hash([2; 32])] {
                    assert!(
                        digests.insert(statement.digest(&chain, Height(height), round)),
                        "{statement:?} at {height}/{round}"
                    );
                }
            }
        }
    }

    #[test]
    fn bytes_round_trip_and_every_cut_is_refused() {
        for statement in statements() {
            let ballot = signed(statement, 9);
            let bytes = ballot.to_bytes();
            assert_eq!(Ballot::decode(&bytes), Ok(ballot));
            assert!((0..bytes.len()).all(|cut| Ballot::decode(&bytes[..cut]).is_err()));
            assert!(Ballot::decode(&[&bytes[..], &[0]].concat()).is_err());
        }
    }

    #[test]
    fn refuses_unknown_kinds_flags_and_long_extensions() {
        fn check(at: usize, value: u8, want: &str) {
            let mut bytes = signed(Statement::Prevote(None), 0).to_bytes();
            bytes[at] = value;
            let error = alloc::format!("{}", Ballot::decode(&bytes).unwrap_err());
            assert_eq!(error, want);
        }
        check(0, 4, "kind of a ballot: value 4 is not allowed");
        check(15, 2, "flag of a ballot: value 2 is not allowed");
        let long = Statement::Precommit(Hash::ZERO, vec![0; EXTENSION_BYTES_MAX + 1]);
        assert!(Ballot::decode(&signed(long, 0).to_bytes()).is_err());
    }

    #[test]
    fn verifies_under_its_own_key_chain_and_extension_only() {
        let key = SigningKey::from_seed(&[3; 32]);
        let ballot = signed(Statement::Precommit(Hash([7; 32]), vec![1]), 0);
        assert_eq!(ballot.verify(&Hash([1; 32]), key.public()), Ok(()));
        assert!(ballot.verify(&Hash([2; 32]), key.public()).is_err());
        let other = SigningKey::from_seed(&[4; 32]);
        assert!(ballot.verify(&Hash([1; 32]), other.public()).is_err());
        let altered = Ballot {
            statement: Statement::Precommit(Hash([7; 32]), vec![2]),
            ..ballot
        };
        assert!(altered.verify(&Hash([1; 32]), key.public()).is_err());
    }
}
