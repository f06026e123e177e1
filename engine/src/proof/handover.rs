//! Handover: follows the sets of validators through their changes with headers and certificates alone.
//!
//! A header says which set decided it and which set decides the next height. So whoever trusts one set needs, to trust
//! a later one, only the headers at which the set changed: each decided by a set that is trusted by then, each naming
//! the next. Between two of them a header of any height is believed as it is.

use super::vouch::{ProofError, Proved, proof_sections, vouch};
use alloc::vec::Vec;
use selfchain_types::block::Header;
use selfchain_types::codec::{DecodeError, Reader, narrow, put_section};
use selfchain_types::crypto::{PublicKey, Scheme};
use selfchain_types::genesis::{Validator, validators_hash};
use selfchain_types::{Hash, Height};
use thiserror::Error;

/// Most validators of a set that is read: positions in certificates are 16 bits wide.
const VALIDATORS_MAX: usize = 65_535;

/// The last header of a set, and the set that decides from the next height on. Table: `docs/formats/snapshot.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The header.
    pub header: Vec<u8>,
    /// The certificate that decided it.
    pub certificate: Vec<u8>,
    /// The validators of the next height, in the order that precommits count in.
    pub next: Vec<Validator>,
}

/// A set of validators that is trusted, and the first height that it is known for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedSet {
    since: Height,
    validators: Vec<Validator>,
    hash: Hash,
}

/// Why a header or a handover is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FollowError {
    /// The header is not decided by the trusted set.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The header is of a height before the trusted set's.
    #[error("a header of height {got}, where the set is known from height {since} on")]
    Early {
        /// The header's.
        got: Height,
        /// The set's first.
        since: Height,
    },
    /// The next set is not the one that the header names.
    #[error("the next validators hash to {got}, the header says {want}")]
    Next {
        /// What they hash to.
        got: Hash,
        /// What the header says.
        want: Hash,
    },
    /// Nothing is handed over.
    #[error("the header of height {height} names the same validators for the next height")]
    Same {
        /// The header's.
        height: Height,
    },
}

impl TrustedSet {
    /// Validators that are trusted from this height on, in the order that precommits count in.
    pub fn new(since: Height, validators: Vec<Validator>) -> Self {
        Self {
            since,
            hash: validators_hash(&validators),
            validators,
        }
    }

    /// The first height that it is known for.
    pub fn since(&self) -> Height {
        self.since
    }

    /// The validators, in the order that precommits count in.
    pub fn validators(&self) -> &[Validator] {
        &self.validators
    }

    /// What a header that they decide has as `validators_hash`.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Believes a header if these validators decided it.
    ///
    /// # Errors
    /// [`FollowError`].
    pub fn vouch(
        &self,
        chain_id: &Hash,
        header: &[u8],
        certificate: &[u8],
    ) -> Result<(Header, Proved), FollowError> {
        let (header, proved) = vouch(header, certificate, chain_id, &self.validators)?;
        if header.height < self.since {
            return Err(FollowError::Early {
                got: header.height,
                since: self.since,
            });
        }
        Ok((header, proved))
    }

    /// Trusts the set that these validators hand over to. After an error nothing has changed.
    ///
    /// # Errors
    /// [`FollowError`].
    pub fn follow(&mut self, chain_id: &Hash, handover: &Handover) -> Result<(), FollowError> {
        let (header, _) = self.vouch(chain_id, &handover.header, &handover.certificate)?;
        let (got, want) = (validators_hash(&handover.next), header.next_validators_hash);
        if got != want {
            return Err(FollowError::Next { got, want });
        }
        if got == self.hash {
            return Err(FollowError::Same {
                height: header.height,
            });
        }
        *self = Self::new(header.height.next(), handover.next.clone());
        Ok(())
    }
}

mod kind {
    pub(super) const HEADER: u16 = 1;
    pub(super) const CERTIFICATE: u16 = 2;
    pub(super) const VALIDATORS: u16 = 3;
}

impl Handover {
    /// The height of its header, unchecked.
    ///
    /// # Errors
    /// [`DecodeError`] where it holds no header.
    pub fn height(&self) -> Result<Height, DecodeError> {
        Ok(Header::decode(&self.header)?.height)
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1_024 + self.certificate.len() + self.next.len() * 44);
        put_section(&mut out, kind::HEADER, |out| out.extend_from_slice(&self.header));
        put_section(&mut out, kind::CERTIFICATE, |out| {
            out.extend_from_slice(&self.certificate);
        });
        put_section(&mut out, kind::VALIDATORS, |out| {
            for validator in &self.next {
                let key = validator.key.as_bytes();
                out.extend_from_slice(&validator.key.scheme().code().to_le_bytes());
                out.extend_from_slice(&validator.power.to_le_bytes());
                out.extend_from_slice(&narrow(key.len()).to_le_bytes());
                out.extend_from_slice(key);
            }
        });
        out
    }

    /// Reads the canonical bytes. They prove nothing until [`TrustedSet::follow`] says so.
    ///
    /// # Errors
    /// [`DecodeError`]; also for more than [`PROOF_BYTES_MAX`](super::PROOF_BYTES_MAX) bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let kinds = [kind::HEADER, kind::CERTIFICATE, kind::VALIDATORS];
        let [header, certificate, validators] = proof_sections(bytes, kinds)?;
        let mut reader = Reader::new("handover", validators);
        let mut next = Vec::new();
        while reader.left() > 0 {
            let code = reader.u16()?;
            let power = reader.u64()?;
            let key = reader.bytes_u32()?;
            let unknown = DecodeError::Value {
                what: "validator's key in a handover",
                value: code.into(),
            };
            let scheme = Scheme::from_code(code).ok_or(unknown)?;
            let key = PublicKey::new(scheme, key).map_err(|_| unknown)?;
            if next.len() == VALIDATORS_MAX {
                return Err(DecodeError::Value {
                    what: "validators of a handover",
                    value: selfchain_types::codec::wide(VALIDATORS_MAX) + 1,
                });
            }
            next.push(Validator { key, power });
        }
        Ok(Self {
            header: header.to_vec(),
            certificate: certificate.to_vec(),
            next,
        })
    }
}

#[cfg(test)]
#[path = "handover_tests.rs"]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
