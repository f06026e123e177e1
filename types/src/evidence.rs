//! Evidence: two ballots of one validator that no honest one signs both of.

use crate::ballot::{Ballot, BallotKind};
use crate::codec::{DecodeError, Reader};
use crate::crypto::PublicKey;
use crate::{Hash, Height};
use alloc::vec::Vec;
use thiserror::Error;

/// Two ballots of one kind, height, round and validator that say different things.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Evidence {
    first: Ballot,
    second: Ballot,
}

/// Why two ballots prove nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EvidenceError {
    /// They are not about the same: an honest validator may have signed both.
    #[error("the two ballots are not of one kind, height, round and validator")]
    Apart,
    /// They say the same.
    #[error("the two ballots say the same")]
    Same,
    /// They are not in order: this evidence has another byte string.
    #[error("the two ballots are not in ascending order")]
    Order,
    /// A signature that does not verify.
    #[error("a ballot's signature does not verify")]
    Signature,
}

/// Most proofs of misbehaviour in a block.
pub const EVIDENCE_PER_BLOCK_MAX: usize = 16;

/// Appends the bytes of each, one after the other: section 5 of a body.
pub fn encode_evidence(all: &[Evidence], out: &mut Vec<u8>) {
    for evidence in all {
        evidence.first.encode(out);
        evidence.second.encode(out);
    }
}

/// Reads what [`encode_evidence`] wrote. What was read may still prove nothing: [`Evidence::verify`].
///
/// # Errors
/// [`DecodeError`]; there are at most [`EVIDENCE_PER_BLOCK_MAX`].
pub fn decode_evidence(bytes: &[u8]) -> Result<Vec<Evidence>, DecodeError> {
    let mut reader = Reader::new("evidence", bytes);
    let mut all = Vec::new();
    while reader.left() > 0 {
        if all.len() == EVIDENCE_PER_BLOCK_MAX {
            return Err(DecodeError::Value {
                what: "proofs of misbehaviour, of which there are more than",
                value: crate::codec::wide(EVIDENCE_PER_BLOCK_MAX),
            });
        }
        let first = Ballot::read(&mut reader)?;
        let second = Ballot::read(&mut reader)?;
        all.push(Evidence { first, second });
    }
    Ok(all)
}

impl Evidence {
    /// Evidence of two ballots, in either order.
    ///
    /// # Errors
    /// [`EvidenceError::Apart`] or [`EvidenceError::Same`]; signatures are not looked at.
    pub fn new(one: Ballot, other: Ballot) -> Result<Self, EvidenceError> {
        let (first, second) = if one <= other { (one, other) } else { (other, one) };
        let evidence = Self { first, second };
        evidence.check()?;
        Ok(evidence)
    }

    /// The height it happened at.
    pub fn height(&self) -> Height {
        self.first.height
    }

    /// The round.
    pub fn round(&self) -> u32 {
        self.first.round
    }

    /// Position of the validator in the height's set.
    pub fn validator(&self) -> u16 {
        self.first.validator
    }

    /// What was signed twice.
    pub fn kind(&self) -> BallotKind {
        self.first.statement.kind()
    }

    /// Checks both signatures against the key of validator [`Evidence::validator`] at [`Evidence::height`].
    ///
    /// # Errors
    /// [`EvidenceError`].
    pub fn verify(&self, chain_id: &Hash, key: &PublicKey) -> Result<(), EvidenceError> {
        self.check()?;
        for ballot in [&self.first, &self.second] {
            ballot
                .verify(chain_id, key)
                .map_err(|_| EvidenceError::Signature)?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), EvidenceError> {
        let about = |ballot: &Ballot| {
            (
                ballot.statement.kind(),
                ballot.height,
                ballot.round,
                ballot.validator,
            )
        };
        if about(&self.first) != about(&self.second) {
            return Err(EvidenceError::Apart);
        }
        if self.first.statement == self.second.statement {
            return Err(EvidenceError::Same);
        }
        if self.first > self.second {
            return Err(EvidenceError::Order);
        }
        Ok(())
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.first.encode(&mut out);
        self.second.encode(&mut out);
        out
    }

    /// Reads the canonical bytes. What was read may still prove nothing: [`Evidence::verify`].
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("evidence", bytes);
        let first = Ballot::read(&mut reader)?;
        let second = Ballot::read(&mut reader)?;
        reader.finish()?;
        Ok(Self { first, second })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::ballot::Statement;
    use crate::crypto::SigningKey;

    const CHAIN: Hash = Hash([1; 32]);

    fn ballot(round: u32, statement: Statement) -> Ballot {
        let key = SigningKey::from_seed(&[3; 32]);
        Ballot::sign(&CHAIN, Height(5), round, 2, statement, &key)
    }

    #[test]
    fn two_different_ballots_of_one_round_prove_a_fault_in_either_order() {
        let key = SigningKey::from_seed(&[3; 32]);
        let one = ballot(1, Statement::Prevote(Some(Hash([1; 32]))));
        let other = ballot(1, Statement::Prevote(None));
        let evidence = Evidence::new(one.clone(), other.clone()).unwrap();
        assert_eq!(Evidence::new(other, one), Ok(evidence.clone()));
        assert_eq!(evidence.verify(&CHAIN, key.public()), Ok(()));
        assert_eq!(Evidence::decode(&evidence.to_bytes()), Ok(evidence.clone()));
        let nobody = SigningKey::from_seed(&[4; 32]);
        assert_eq!(
            evidence.verify(&CHAIN, nobody.public()),
            Err(EvidenceError::Signature)
        );
    }

    #[test]
    fn what_an_honest_validator_signs_proves_nothing() {
        let block = Hash([1; 32]);
        let prevote = ballot(1, Statement::Prevote(Some(block)));
        let later = ballot(2, Statement::Prevote(None));
        let precommit = ballot(1, Statement::NilPrecommit);
        assert_eq!(Evidence::new(prevote.clone(), later), Err(EvidenceError::Apart));
        assert_eq!(
            Evidence::new(prevote.clone(), precommit),
            Err(EvidenceError::Apart)
        );
        assert_eq!(
            Evidence::new(prevote.clone(), prevote.clone()),
            Err(EvidenceError::Same)
        );
    }

    #[test]
    fn a_blocks_evidence_round_trips_up_to_the_limit() {
        let one = ballot(1, Statement::Prevote(Some(Hash([1; 32]))));
        let evidence = Evidence::new(one, ballot(1, Statement::Prevote(None))).unwrap();
        let mut bytes = Vec::new();
        encode_evidence(&[evidence.clone(), evidence.clone()], &mut bytes);
        assert_eq!(
            decode_evidence(&bytes).unwrap(),
            [evidence.clone(), evidence.clone()]
        );
        let half = bytes.len() / 2;
        for cut in 0..bytes.len() {
            assert_eq!(
                decode_evidence(&bytes[..cut]).is_ok(),
                cut % half == 0,
                "cut at {cut}"
            );
        }
        let many = alloc::vec![evidence; EVIDENCE_PER_BLOCK_MAX + 1];
        let read = |count: usize| {
            let mut bytes = Vec::new();
            encode_evidence(&many[..count], &mut bytes);
            decode_evidence(&bytes)
        };
        assert!(read(EVIDENCE_PER_BLOCK_MAX).is_ok() && read(EVIDENCE_PER_BLOCK_MAX + 1).is_err());
    }

    #[test]
    fn evidence_has_one_byte_string() {
        let key = SigningKey::from_seed(&[3; 32]);
        let one = ballot(1, Statement::Prevote(Some(Hash([1; 32]))));
        let other = ballot(1, Statement::Prevote(None));
        let forward = Evidence::new(one.clone(), other.clone()).unwrap().to_bytes();
        let mut back = Vec::new();
        let (low, high) = if one < other { (one, other) } else { (other, one) };
        high.encode(&mut back);
        low.encode(&mut back);
        assert_ne!(forward, back);
        assert_eq!(
            Evidence::decode(&back).unwrap().verify(&CHAIN, key.public()),
            Err(EvidenceError::Order)
        );
    }
}
