//! Checkpoints as a chain: from genesis on each is signed by those whom the one before names, so that headers are
//! believed whatever becomes of the signatures of votes.

use super::vouch::proof_sections;
use alloc::vec::Vec;
use selfchain_types::block::Header;
use selfchain_types::checkpoint::{
    CHECKPOINT_SIGNERS_MAX, CheckpointSet, CheckpointSignature, checkpoint_digest,
};
use selfchain_types::codec::{DecodeError, Reader, put_bytes_u32, put_section, wide};
use selfchain_types::crypto::SignatureError;
use selfchain_types::{Genesis, Hash, Height, KeyId, hash};
use thiserror::Error;

/// A header, who signs after it, and the signatures of those who were to sign it. Table: `docs/formats/checkpoint.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The header.
    pub header: Vec<u8>,
    /// Who signs the next checkpoint.
    pub next: CheckpointSet,
    /// In ascending order of key.
    pub signatures: Vec<CheckpointSignature>,
}

/// The signers that are trusted, and the height of the header that named them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedSigners {
    since: Height,
    set: CheckpointSet,
}

/// Why a checkpoint is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CheckpointError {
    /// The header does not decode.
    #[error("the checkpoint's header does not decode")]
    Decode(#[from] DecodeError),
    /// The header is another chain's.
    #[error("the header is of chain {got}")]
    Chain {
        /// The chain it names.
        got: Hash,
    },
    /// The header is not of a later height than the one that named the signers.
    #[error("a checkpoint of height {got} after one of height {since}")]
    Early {
        /// The header's.
        got: Height,
        /// That of the checkpoint before.
        since: Height,
    },
    /// A signature of a key that was not named, or out of order.
    #[error("signature {at}: key {key} was not named by the checkpoint before, or is out of order")]
    Stranger {
        /// Which signature.
        at: usize,
        /// The key.
        key: KeyId,
    },
    /// A signature that does not verify.
    #[error("signature {at} does not verify")]
    Signature {
        /// Which.
        at: usize,
    },
    /// A signature of a scheme that this program was built without.
    #[error("signature {at}: this program was built without {scheme}")]
    NotBuilt {
        /// Which signature.
        at: usize,
        /// The scheme's name.
        scheme: &'static str,
    },
    /// Too little power signed.
    #[error("power {got} of {total} is not more than two thirds")]
    Power {
        /// Power that signed.
        got: u64,
        /// Power in all.
        total: u64,
    },
}

impl TrustedSigners {
    /// Those whom a chain begins with; `None` of a chain without checkpoints.
    pub fn of_genesis(genesis: &Genesis) -> Option<Self> {
        let set = genesis.checkpoint_set()?;
        Some(Self::new(Height::GENESIS, set))
    }

    /// Those whom the checkpoint of this height named.
    pub fn new(since: Height, set: CheckpointSet) -> Self {
        Self { since, set }
    }

    /// The height of the checkpoint that named them.
    pub fn since(&self) -> Height {
        self.since
    }

    /// Who they are.
    pub fn set(&self) -> &CheckpointSet {
        &self.set
    }

    /// Believes the header of a checkpoint if they signed it, and trusts those whom it names from then on. After an
    /// error nothing has changed.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn follow(&mut self, chain_id: &Hash, checkpoint: &Checkpoint) -> Result<Header, CheckpointError> {
        let header = Header::decode(&checkpoint.header)?;
        if header.chain_id != *chain_id {
            return Err(CheckpointError::Chain { got: header.chain_id });
        }
        if header.height <= self.since {
            return Err(CheckpointError::Early {
                got: header.height,
                since: self.since,
            });
        }
        let block = hash::HEADER.hash(&checkpoint.header);
        let digest = checkpoint_digest(chain_id, header.height, &block, &checkpoint.next.hash());
        let (mut got, mut last) = (0u64, None);
        for (at, one) in checkpoint.signatures.iter().enumerate() {
            let stranger = CheckpointError::Stranger { at, key: one.key };
            let signer = self.set.signer(&one.key).ok_or(stranger)?;
            if last >= Some(one.key) {
                return Err(stranger);
            }
            last = Some(one.key);
            let key = &signer.key;
            key.verify(digest.as_bytes(), &one.signature)
                .map_err(|error| match error {
                    SignatureError::NotBuilt { scheme } => CheckpointError::NotBuilt { at, scheme },
                    _ => CheckpointError::Signature { at },
                })?;
            got = got.saturating_add(signer.power);
        }
        if !self.set.is_enough(got) {
            let total = self.set.power;
            return Err(CheckpointError::Power { got, total });
        }
        *self = Self::new(header.height, checkpoint.next.clone());
        Ok(header)
    }
}

mod kind {
    pub(super) const HEADER: u16 = 1;
    pub(super) const NEXT: u16 = 2;
    pub(super) const SIGNATURES: u16 = 3;
    pub(super) const CHAIN: u16 = 1;
}

impl Checkpoint {
    /// The height of its header, unchecked.
    ///
    /// # Errors
    /// [`DecodeError`] where it holds no header.
    pub fn height(&self) -> Result<Height, DecodeError> {
        Ok(Header::decode(&self.header)?.height)
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_section(&mut out, kind::HEADER, |out| out.extend_from_slice(&self.header));
        put_section(&mut out, kind::NEXT, |out| {
            out.extend_from_slice(&self.next.to_bytes());
        });
        put_section(&mut out, kind::SIGNATURES, |out| {
            self.signatures.iter().for_each(|one| one.encode(out));
        });
        out
    }

    /// Reads the canonical bytes. They prove nothing until [`TrustedSigners::follow`] says so.
    ///
    /// # Errors
    /// [`DecodeError`]; also for more than [`PROOF_BYTES_MAX`](super::PROOF_BYTES_MAX) bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let kinds = [kind::HEADER, kind::NEXT, kind::SIGNATURES];
        let [header, next, signatures] = proof_sections(bytes, kinds)?;
        let mut reader = Reader::new("checkpoint signatures", signatures);
        let mut all = Vec::new();
        while reader.left() > 0 {
            if all.len() == CHECKPOINT_SIGNERS_MAX {
                let value = wide(CHECKPOINT_SIGNERS_MAX) + 1;
                let what = "signatures of a checkpoint";
                return Err(DecodeError::Value { what, value });
            }
            all.push(CheckpointSignature::read(&mut reader)?);
        }
        Ok(Self {
            header: header.to_vec(),
            next: CheckpointSet::decode(next)?,
            signatures: all,
        })
    }
}

/// A chain of checkpoints in one container, for a file of proofs: `{len u32, checkpoint}` of each, from the first after
/// genesis on.
pub fn encode_checkpoints(checkpoints: &[Checkpoint]) -> Vec<u8> {
    let mut out = Vec::new();
    put_section(&mut out, kind::CHAIN, |out| {
        checkpoints
            .iter()
            .for_each(|one| put_bytes_u32(out, &one.to_bytes()));
    });
    out
}

/// Reads what [`encode_checkpoints`] wrote.
///
/// # Errors
/// [`DecodeError`]; also for more than [`PROOF_BYTES_MAX`](super::PROOF_BYTES_MAX) bytes.
pub fn decode_checkpoints(bytes: &[u8]) -> Result<Vec<Checkpoint>, DecodeError> {
    let [chain] = proof_sections(bytes, [kind::CHAIN])?;
    let mut reader = Reader::new("checkpoints", chain);
    let mut all = Vec::new();
    while reader.left() > 0 {
        all.push(Checkpoint::decode(reader.bytes_u32()?)?);
    }
    Ok(all)
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
