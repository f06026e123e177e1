//! What makes a root believable: the header that holds it, and the certificate that decided the header.

use super::tree::PathError;
use alloc::vec::Vec;
use selfchain_types::block::Header;
use selfchain_types::certificate::{Certificate, CertificateError};
use selfchain_types::codec::{self, DecodeError, Reader, SECTION_VERSION};
use selfchain_types::genesis::{Validator, validators_hash};
use selfchain_types::{Hash, Height, TimeNs, hash};
use thiserror::Error;

/// Most bytes of a proof that is read: the certificate of the largest set of validators fits.
pub const PROOF_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a proof that holds says about where its root comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proved {
    /// The block whose header commits to it.
    pub block: Hash,
    /// That block's height: ROOT_LAG or more after the height that is proved about.
    pub height: Height,
    /// That block's ledger time.
    pub time_ns: TimeNs,
}

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProofError {
    /// The header, certificate or table of roots does not decode.
    #[error("the proof holds bytes that do not decode")]
    Decode(#[from] DecodeError),
    /// The header is another chain's.
    #[error("the header is of chain {got}")]
    Chain {
        /// The chain it names.
        got: Hash,
    },
    /// The validators given are not those of the header's height.
    #[error("the header's validators hash to {want}, those given to {got}")]
    Validators {
        /// Hash of those given.
        got: Hash,
        /// What the header says.
        want: Hash,
    },
    /// The certificate is for another block or height.
    #[error("the certificate decides block {got} at height {height}, not this header")]
    Block {
        /// The block it decides.
        got: Hash,
        /// The height it decides.
        height: Height,
    },
    /// The certificate decides nothing.
    #[error("the certificate does not hold")]
    Certificate(#[from] CertificateError),
    /// A path does not lead to its root.
    #[error("a path does not hold")]
    Path(#[from] PathError),
    /// The header commits to another table of roots.
    #[error("the roots hash to {got}, the header says {want}")]
    Roots {
        /// What they hash to.
        got: Hash,
        /// What the header says.
        want: Hash,
    },
}

/// Checks that a certificate of `validators` decided the header, and returns it with what it proves.
pub(super) fn vouch(
    header_bytes: &[u8],
    certificate_bytes: &[u8],
    chain_id: &Hash,
    validators: &[Validator],
) -> Result<(Header, Proved), ProofError> {
    let header = Header::decode(header_bytes)?;
    if header.chain_id != *chain_id {
        return Err(ProofError::Chain { got: header.chain_id });
    }
    let got = validators_hash(validators);
    if got != header.validators_hash {
        return Err(ProofError::Validators {
            got,
            want: header.validators_hash,
        });
    }
    let block = hash::HEADER.hash(header_bytes);
    let certificate = Certificate::decode(certificate_bytes)?;
    if certificate.block != block || certificate.height != header.height {
        return Err(ProofError::Block {
            got: certificate.block,
            height: certificate.height,
        });
    }
    certificate.verify(chain_id, validators)?;
    let proved = Proved {
        block,
        height: header.height,
        time_ns: header.time_ns,
    };
    Ok((header, proved))
}

/// The sections of a proof, every one of which must be there. An ignorable section of another kind is passed
/// over; a known one has exactly one form, which is not ignorable.
pub(super) fn proof_sections<const N: usize>(
    bytes: &[u8],
    kinds: [u16; N],
) -> Result<[&[u8]; N], DecodeError> {
    if bytes.len() > PROOF_BYTES_MAX {
        return Err(DecodeError::Value {
            what: "proof length",
            value: codec::wide(bytes.len()),
        });
    }
    let mut found = [None; N];
    for section in codec::sections(bytes) {
        let section = section?;
        let at = kinds.iter().position(|kind| *kind == section.kind);
        match at {
            Some(at) if section.version == SECTION_VERSION && !section.ignorable => {
                found[at] = Some(section.bytes);
            }
            None if section.ignorable => {}
            _ => {
                return Err(DecodeError::UnknownSection {
                    kind: section.kind,
                    version: section.version,
                });
            }
        }
    }
    let mut parts: [&[u8]; N] = [&[]; N];
    for ((part, found), kind) in parts.iter_mut().zip(found).zip(kinds) {
        *part = found.ok_or(DecodeError::MissingSection { kind })?;
    }
    Ok(parts)
}

/// Most hashes in a path: a tree has fewer than 2^64 leaves.
const PATH_LEN_MAX: usize = 64;

/// Appends a path: `count u8`, then the hashes.
pub(super) fn put_path(out: &mut Vec<u8>, path: &[Hash]) {
    out.push(u8::try_from(path.len()).expect("a tree has fewer than 2^64 leaves"));
    path.iter()
        .for_each(|node| out.extend_from_slice(node.as_bytes()));
}

/// Reads what [`put_path`] wrote.
pub(super) fn read_path(reader: &mut Reader<'_>) -> Result<Vec<Hash>, DecodeError> {
    let len = reader.u8()?;
    if usize::from(len) > PATH_LEN_MAX {
        return Err(DecodeError::Value {
            what: "path length",
            value: u64::from(len),
        });
    }
    (0..len).map(|_| reader.hash()).collect()
}

/// A block that one validator decided, for the tests of what it commits to.
#[cfg(test)]
pub(super) mod solo {
    use super::*;
    use selfchain_types::KeyId;
    use selfchain_types::crypto::SigningKey;

    pub(in crate::proof) const CHAIN: Hash = Hash([1; 32]);

    pub(in crate::proof) fn validators() -> [Validator; 1] {
        let key = key().public().clone();
        [Validator { key, power: 1 }]
    }

    fn key() -> SigningKey {
        SigningKey::from_seed(&[5; 32])
    }

    /// Header and certificate bytes.
    pub(in crate::proof) fn block(
        state_root: Hash,
        (receipts_root, receipts_size): (Hash, u64),
    ) -> (Vec<u8>, Vec<u8>) {
        let header = Header {
            protocol_version: 1,
            chain_id: CHAIN,
            height: Height(8),
            round: 0,
            parent: Hash([2; 32]),
            time_ns: TimeNs(99),
            proposer: KeyId(Hash([3; 32])),
            reveal: Hash::ZERO,
            transactions_root: Hash([4; 32]),
            body_hash: Hash([5; 32]),
            state_root,
            receipts_root,
            receipts_size,
            validators_hash: validators_hash(&validators()),
            next_validators_hash: Hash([8; 32]),
            models: Vec::new(),
            policy_version: 1,
        };
        let mut certificate = Vec::new();
        Certificate::solo(&CHAIN, header.height, header.hash(), &key()).encode(&mut certificate);
        (header.to_bytes(), certificate)
    }
}
