//! Certificates: the precommits that decided a block.

use crate::codec::{DecodeError, Reader, put_bytes_u32};
use crate::crypto::{SignatureError, SigningKey};
use crate::genesis::Validator;
use crate::{Hash, Height, hash};
use alloc::vec::Vec;
use thiserror::Error;

/// One validator's precommit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Precommit {
    /// Position in the height's validator set.
    pub validator: u16,
    /// What it says beside yes; empty in solo.
    pub extension: Vec<u8>,
    /// Signature over [`precommit_digest`].
    pub signature: Vec<u8>,
}

/// What decided a block: precommits of more than two thirds of the power, for one hash in one round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The height decided.
    pub height: Height,
    /// The round it was decided in; may be later than the header's.
    pub round: u32,
    /// The block's hash.
    pub block: Hash,
    /// In ascending order of validator.
    pub precommits: Vec<Precommit>,
}

/// Why a certificate proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// A precommit of nobody in the set, or out of order.
    #[error("precommit {at}: validator {validator} is not in a set of {len}, or out of order")]
    Validator {
        /// Which precommit.
        at: usize,
        /// What it names.
        validator: u16,
        /// How many validators there are.
        len: usize,
    },
    /// A signature that does not verify.
    #[error("precommit {at}: the signature does not verify")]
    Signature {
        /// Which precommit.
        at: usize,
    },
    /// A signature of a scheme that this program was built without: whether it verifies is not known.
    #[error(
        "precommit {at}: this program was built without {scheme}, which this chain's validators sign with"
    )]
    NotBuilt {
        /// Which precommit.
        at: usize,
        /// The scheme's name.
        scheme: &'static str,
    },
    /// Too little power.
    #[error("power {got} of {total} is not more than two thirds")]
    Power {
        /// Power that signed.
        got: u64,
        /// Power in all.
        total: u64,
    },
}

/// What a validator signs to precommit `block`: `H(precommit; chain_id ‖ height u64 ‖ round u32 ‖ block ‖
/// extension)`.
pub fn precommit_digest(chain_id: &Hash, height: Height, round: u32, block: &Hash, extension: &[u8]) -> Hash {
    hash::PRECOMMIT.hash_parts(&[
        chain_id.as_bytes(),
        &height.0.to_le_bytes(),
        &round.to_le_bytes(),
        block.as_bytes(),
        extension,
    ])
}

/// What a validator signs to precommit nothing: `H(precommit-nil; chain_id ‖ height u64 ‖ round u32)`. A domain
/// of its own, so that no block's hash and no extension can stand for it.
pub fn nil_precommit_digest(chain_id: &Hash, height: Height, round: u32) -> Hash {
    of_round(hash::PRECOMMIT_NIL, chain_id, height, round)
}

/// What a validator signs to prevote `block`: `H(prevote; chain_id ‖ height u64 ‖ round u32 ‖ block)`; to
/// prevote nothing: `H(prevote-nil; chain_id ‖ height u64 ‖ round u32)`.
pub fn prevote_digest(chain_id: &Hash, height: Height, round: u32, block: Option<&Hash>) -> Hash {
    let Some(block) = block else {
        return of_round(hash::PREVOTE_NIL, chain_id, height, round);
    };
    hash::PREVOTE.hash_parts(&[
        chain_id.as_bytes(),
        &height.0.to_le_bytes(),
        &round.to_le_bytes(),
        block.as_bytes(),
    ])
}

/// What a validator signs to propose `block`: `H(proposal; chain_id ‖ height u64 ‖ round u32 ‖ block ‖ 0 u8)`,
/// or `… ‖ block ‖ 1 u8 ‖ polka u32)` where two thirds prevoted the block in round `polka` already.
pub fn proposal_digest(
    chain_id: &Hash,
    height: Height,
    round: u32,
    block: &Hash,
    polka: Option<u32>,
) -> Hash {
    hash::PROPOSAL.hash_parts(&[
        chain_id.as_bytes(),
        &height.0.to_le_bytes(),
        &round.to_le_bytes(),
        block.as_bytes(),
        &[u8::from(polka.is_some())],
        polka.map(u32::to_le_bytes).as_ref().map_or(&[], |polka| polka),
    ])
}

fn of_round(domain: hash::Domain, chain_id: &Hash, height: Height, round: u32) -> Hash {
    domain.hash_parts(&[chain_id.as_bytes(), &height.0.to_le_bytes(), &round.to_le_bytes()])
}

impl Certificate {
    /// The certificate of a set of one: its only precommit.
    pub fn solo(chain_id: &Hash, height: Height, block: Hash, key: &SigningKey) -> Self {
        let digest = precommit_digest(chain_id, height, 0, &block, &[]);
        let precommit = Precommit {
            validator: 0,
            extension: Vec::new(),
            signature: key.sign(digest.as_bytes()),
        };
        Self {
            height,
            round: 0,
            block,
            precommits: alloc::vec![precommit],
        }
    }

    /// Checks every signature and the power behind them against the height's own set.
    ///
    /// # Errors
    /// [`CertificateError`], naming the first precommit that fails.
    pub fn verify(&self, chain_id: &Hash, set: &[Validator]) -> Result<(), CertificateError> {
        self.verify_but(chain_id, set, &|_| false)
    }

    /// [`Self::verify`], but for the signatures of precommits that are `known`: whoever asks verified the same bytes
    /// for this height, round and block before.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn verify_but(
        &self,
        chain_id: &Hash,
        set: &[Validator],
        known: &dyn Fn(&Precommit) -> bool,
    ) -> Result<(), CertificateError> {
        let mut got: u64 = 0;
        let mut previous = None;
        for (at, precommit) in self.precommits.iter().enumerate() {
            let unknown = CertificateError::Validator {
                at,
                validator: precommit.validator,
                len: set.len(),
            };
            let validator = set.get(usize::from(precommit.validator)).ok_or(unknown)?;
            if previous >= Some(precommit.validator) {
                return Err(unknown);
            }
            previous = Some(precommit.validator);
            if !known(precommit) {
                let digest = precommit_digest(
                    chain_id,
                    self.height,
                    self.round,
                    &self.block,
                    &precommit.extension,
                );
                let checked = validator.key.verify(digest.as_bytes(), &precommit.signature);
                checked.map_err(|error| match error {
                    SignatureError::NotBuilt { scheme } => CertificateError::NotBuilt { at, scheme },
                    _ => CertificateError::Signature { at },
                })?;
            }
            got = got.saturating_add(validator.power);
        }
        let total = set
            .iter()
            .fold(0u64, |sum, validator| sum.saturating_add(validator.power));
        if u128::from(got) * 3 > u128::from(total) * 2 {
            Ok(())
        } else {
            Err(CertificateError::Power { got, total })
        }
    }

    /// Appends the canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.height.0.to_le_bytes());
        out.extend_from_slice(&self.round.to_le_bytes());
        out.extend_from_slice(self.block.as_bytes());
        let count = u16::try_from(self.precommits.len()).expect("a set has at most 65,535 validators");
        out.extend_from_slice(&count.to_le_bytes());
        for precommit in &self.precommits {
            out.extend_from_slice(&precommit.validator.to_le_bytes());
            put_bytes_u32(out, &precommit.extension);
            put_bytes_u32(out, &precommit.signature);
        }
    }

    /// Reads the canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("certificate", bytes);
        let height = Height(reader.u64()?);
        let round = reader.u32()?;
        let block = reader.hash()?;
        let count = reader.u16()?;
        let mut precommits = Vec::new();
        for _ in 0..count {
            precommits.push(Precommit {
                validator: reader.u16()?,
                extension: reader.bytes_u32()?.to_vec(),
                signature: reader.bytes_u32()?.to_vec(),
            });
        }
        reader.finish()?;
        Ok(Self {
            height,
            round,
            block,
            precommits,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_solo_certificate_verifies_and_no_other() {
        let key = SigningKey::from_seed(&[5; 32]);
        let set = [Validator {
            key: key.public().clone(),
            power: 1,
        }];
        let chain = Hash([1; 32]);
        let certificate = Certificate::solo(&chain, Height(3), Hash([2; 32]), &key);
        assert_eq!(certificate.verify(&chain, &set), Ok(()));
        assert_eq!(
            certificate.verify(&Hash([9; 32]), &set),
            Err(CertificateError::Signature { at: 0 })
        );
        let nobody = Certificate {
            precommits: Vec::new(),
            ..certificate.clone()
        };
        assert_eq!(
            nobody.verify(&chain, &set),
            Err(CertificateError::Power { got: 0, total: 1 })
        );
        let twice = Certificate {
            precommits: [certificate.precommits.clone(), certificate.precommits.clone()].concat(),
            ..certificate.clone()
        };
        assert!(matches!(
            twice.verify(&chain, &set),
            Err(CertificateError::Validator { at: 1, .. })
        ));
        let mut bytes = Vec::new();
        certificate.encode(&mut bytes);
        assert_eq!(Certificate::decode(&bytes).unwrap(), certificate);
        assert!((0..bytes.len()).all(|cut| Certificate::decode(&bytes[..cut]).is_err()));
    }
}
