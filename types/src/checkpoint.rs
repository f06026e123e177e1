//! Checkpoints: headers that validators sign with keys of their own, apart from their votes, so that what was proved
//! against a header holds after their votes' scheme is broken.

use crate::codec::{DecodeError, Reader, put_bytes_u32, wide};
use crate::crypto::{PublicKey, Scheme};
use crate::genesis::POWER_TOTAL_END;
use crate::{Hash, Height, KeyId, hash};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

/// Bytes of the longest signature of a checkpoint.
pub const CHECKPOINT_SIGNATURE_BYTES_MAX: usize = Scheme::Ed25519SlhDsa128f.signature_len();
/// Most signers of a set that is read.
pub const CHECKPOINT_SIGNERS_MAX: usize = 1_024;

/// A checkpoint key, and the power of the validator whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// A hybrid.
    pub key: PublicKey,
    /// Its weight, never zero.
    pub power: u64,
}

/// Who signs the checkpoints after one: validators with their checkpoint keys. Table: `docs/formats/checkpoint.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointSet {
    /// The power of all validators, also of those without a checkpoint key.
    pub power: u64,
    /// Those with one, in the order of the validators.
    pub signers: Vec<Signer>,
}

/// One validator's signature of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointSignature {
    /// Its checkpoint key.
    pub key: KeyId,
    /// Over [`checkpoint_digest`].
    pub signature: Vec<u8>,
}

/// What a validator signs of the header of a height: `H(checkpoint; chain_id ‖ height u64 ‖ header's hash ‖ hash of the
/// set that signs after it)`.
pub fn checkpoint_digest(chain_id: &Hash, height: Height, header: &Hash, next: &Hash) -> Hash {
    hash::CHECKPOINT.hash_parts(&[
        chain_id.as_bytes(),
        &height.0.to_le_bytes(),
        header.as_bytes(),
        next.as_bytes(),
    ])
}

impl CheckpointSet {
    /// `H(checkpoint-set; bytes)`.
    pub fn hash(&self) -> Hash {
        hash::CHECKPOINT_SET.hash(&self.to_bytes())
    }

    /// The signer with this key.
    pub fn signer(&self, key: &KeyId) -> Option<&Signer> {
        self.signers.iter().find(|signer| signer.key.id() == *key)
    }

    /// Whether this power is more than two thirds of all.
    pub fn is_enough(&self, power: u64) -> bool {
        u128::from(power) * 3 > u128::from(self.power) * 2
    }

    /// The canonical bytes: `power u64`, then `{scheme u16, key, power u64}` of each signer.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + self.signers.len() * 2_048);
        out.extend_from_slice(&self.power.to_le_bytes());
        for signer in &self.signers {
            out.extend_from_slice(&signer.key.scheme().code().to_le_bytes());
            out.extend_from_slice(signer.key.as_bytes());
            out.extend_from_slice(&signer.power.to_le_bytes());
        }
        out
    }

    /// Reads the canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError`]: also for a key that is no hybrid or there twice, a signer without power, signers with more power
    /// than there is, and more than [`CHECKPOINT_SIGNERS_MAX`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let refuse = |what, value| Err(DecodeError::Value { what, value });
        let mut reader = Reader::new("checkpoint set", bytes);
        let power = reader.u64()?;
        if power == 0 || power >= POWER_TOTAL_END {
            return refuse("power of a checkpoint set", power);
        }
        let (mut signers, mut keys, mut left) = (Vec::new(), BTreeSet::new(), power);
        while reader.left() > 0 {
            let key = read_checkpoint_key(&mut reader)?;
            let power = reader.u64()?;
            left = match left.checked_sub(power) {
                Some(left) if power > 0 => left,
                _ => return refuse("power of a signer of checkpoints", power),
            };
            if !keys.insert(key.id()) || signers.len() == CHECKPOINT_SIGNERS_MAX {
                return refuse("place of a signer of checkpoints", wide(signers.len()));
            }
            signers.push(Signer { key, power });
        }
        Ok(Self { power, signers })
    }
}

/// Reads `{scheme u16, key}` of a key that may sign checkpoints: any hybrid.
///
/// # Errors
/// [`DecodeError`].
pub fn read_checkpoint_key(reader: &mut Reader<'_>) -> Result<PublicKey, DecodeError> {
    let code = reader.u16()?;
    let unknown = DecodeError::Value {
        what: "scheme of a checkpoint key",
        value: u64::from(code),
    };
    let scheme = Scheme::from_code(code).filter(|scheme| scheme.is_hybrid());
    let scheme = scheme.ok_or(unknown)?;
    PublicKey::new(scheme, reader.take(scheme.public_len())?).map_err(|_| unknown)
}

impl CheckpointSignature {
    /// Appends `{key_id 32, signature u32 + bytes}`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.key.0.as_bytes());
        put_bytes_u32(out, &self.signature);
    }

    /// Reads one from the front.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let key = KeyId(reader.hash()?);
        let signature = reader.bytes_u32()?;
        if signature.len() > CHECKPOINT_SIGNATURE_BYTES_MAX {
            return Err(DecodeError::Value {
                what: "signature length of a checkpoint",
                value: wide(signature.len()),
            });
        }
        let signature = signature.to_vec();
        Ok(Self { key, signature })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use alloc::vec;

    fn key(scheme: Scheme, seed: u8) -> PublicKey {
        PublicKey::new(scheme, &vec![seed; scheme.public_len()]).unwrap()
    }

    fn set() -> CheckpointSet {
        let signer = |scheme, seed| Signer {
            key: key(scheme, seed),
            power: 2,
        };
        CheckpointSet {
            power: 5,
            signers: vec![
                signer(Scheme::Ed25519MlDsa65, 1),
                signer(Scheme::Ed25519SlhDsa128s, 2),
            ],
        }
    }

    #[test]
    fn a_set_reads_back_and_every_part_is_in_its_hash() {
        let set = set();
        assert_eq!(CheckpointSet::decode(&set.to_bytes()), Ok(set.clone()));
        let bytes = set.to_bytes();
        // Eight bytes are a set without signers; any other cut is none.
        let cuts = (0..bytes.len()).filter(|cut| CheckpointSet::decode(&bytes[..*cut]).is_ok());
        assert_eq!(cuts.collect::<Vec<_>>(), [8, bytes.len() - 2 - 64 - 8]);
        let check = |change: fn(&mut CheckpointSet)| {
            let mut other = set.clone();
            change(&mut other);
            assert_ne!(other.hash(), set.hash());
        };
        check(|set| set.power += 1);
        check(|set| set.signers[0].power -= 1);
        check(|set| set.signers.swap(0, 1));
        check(|set| set.signers[1].key = key(Scheme::Ed25519SlhDsa128f, 2));
    }

    #[test]
    fn refuses_sets_that_could_count_more_than_there_is() {
        let check = |change: fn(&mut CheckpointSet)| {
            let mut wrong = set();
            change(&mut wrong);
            assert!(CheckpointSet::decode(&wrong.to_bytes()).is_err(), "{wrong:?}");
        };
        check(|set| set.power = 3);
        check(|set| set.power = POWER_TOTAL_END);
        check(|set| set.signers[0].power = 0);
        check(|set| set.signers[1] = set.signers[0].clone());
        check(|set| set.signers[0].key = key(Scheme::Ed25519, 1));
    }
}
