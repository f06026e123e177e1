//! A proof of consistency: the receipts that an earlier header commits to are the first of those of a later one, so
//! nothing was taken back or put in between.

use super::mountain::verify_consistency;
use super::vouch::{ProofError, proof_sections, put_path, read_path};
use alloc::vec::Vec;
use selfchain_types::Hash;
use selfchain_types::block::Header;
use selfchain_types::codec::{DecodeError, Reader, put_section};

/// A header and the certificate that decided it, as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertifiedHeader {
    /// The header.
    pub header: Vec<u8>,
    /// The certificate.
    pub certificate: Vec<u8>,
}

/// Two headers, and what shows that the receipts of the older are the first of those of the newer. Table:
/// `docs/formats/proof.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistencyProof {
    /// The older.
    pub old: CertifiedHeader,
    /// The newer.
    pub new: CertifiedHeader,
    /// RFC 9162 §2.1.4.1.
    pub path: Vec<Hash>,
}

mod kind {
    pub(super) const PATH: u16 = 1;
    pub(super) const OLD_HEADER: u16 = 2;
    pub(super) const OLD_CERTIFICATE: u16 = 3;
    pub(super) const NEW_HEADER: u16 = 4;
    pub(super) const NEW_CERTIFICATE: u16 = 5;
}

impl ConsistencyProof {
    /// Checks the path between two headers that are believed.
    pub(super) fn holds_between(&self, old: &Header, new: &Header) -> Result<(), ProofError> {
        verify_consistency(
            old.receipts_size,
            &old.receipts_root,
            new.receipts_size,
            &new.receipts_root,
            &self.path,
        )?;
        Ok(())
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(2_048 + self.path.len() * Hash::LEN);
        put_section(&mut out, kind::PATH, |out| put_path(out, &self.path));
        for (kind, bytes) in [
            (kind::OLD_HEADER, &self.old.header),
            (kind::OLD_CERTIFICATE, &self.old.certificate),
            (kind::NEW_HEADER, &self.new.header),
            (kind::NEW_CERTIFICATE, &self.new.certificate),
        ] {
            put_section(&mut out, kind, |out| out.extend_from_slice(bytes));
        }
        out
    }

    /// Reads the canonical bytes. They prove nothing until the headers are believed and the path between them holds.
    ///
    /// # Errors
    /// [`DecodeError`]; also for more than [`PROOF_BYTES_MAX`](super::PROOF_BYTES_MAX) bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let kinds = [
            kind::PATH,
            kind::OLD_HEADER,
            kind::OLD_CERTIFICATE,
            kind::NEW_HEADER,
            kind::NEW_CERTIFICATE,
        ];
        let [path, old_header, old_certificate, new_header, new_certificate] = proof_sections(bytes, kinds)?;
        let mut reader = Reader::new("consistency path", path);
        let path = read_path(&mut reader)?;
        reader.finish()?;
        let certified = |header: &[u8], certificate: &[u8]| CertifiedHeader {
            header: header.to_vec(),
            certificate: certificate.to_vec(),
        };
        Ok(Self {
            old: certified(old_header, old_certificate),
            new: certified(new_header, new_certificate),
            path,
        })
    }
}
