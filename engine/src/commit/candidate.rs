//! A candidate: a block that is built and hashed but not decided.

use super::council::Parts;
use crate::proof;
use selfchain_types::block::{Body, Header, Proposed};
use selfchain_types::envelope::EnvelopeView;
use selfchain_types::{Envelope, Hash, Risk, Verified};

/// A block that is built and hashed but not decided.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub(super) header: Header,
    pub(super) hash: Hash,
    pub(super) envelopes: Vec<Verified>,
    pub(super) risk: Risk,
    /// Bytes of the risk's reasons, as the body has them.
    pub(super) reasons: Vec<u8>,
    /// Bytes of the certificate of the block before; empty in solo.
    pub(super) parent_certificate: Vec<u8>,
    /// Bytes of precommits that came late.
    pub(super) late_precommits: Vec<u8>,
    /// Bytes of proofs of misbehaviour.
    pub(super) evidence: Vec<u8>,
}

impl Candidate {
    /// What validators send one another: [`Proposed`].
    pub fn to_bytes(&self) -> Vec<u8> {
        let envelopes: usize = self.envelopes.iter().map(|one| one.as_bytes().len() + 4).sum();
        let mut out = Vec::with_capacity(1024 + envelopes + self.risk.scores.len());
        Proposed::encode(&self.header, &self.body(), &mut out);
        out
    }

    /// The proofs of misbehaviour that it carries.
    pub fn evidence(&self) -> &[u8] {
        &self.evidence
    }

    /// Bytes of the certificate of the block before.
    pub fn parent_certificate(&self) -> &[u8] {
        &self.parent_certificate
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The block's hash.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The transactions, in order.
    pub fn envelopes(&self) -> &[Verified] {
        &self.envelopes
    }

    /// What a scorer said of its operations.
    pub fn risk(&self) -> &Risk {
        &self.risk
    }

    /// The transactions, for a pool to take back when another block is decided.
    pub fn into_envelopes(self) -> Vec<Verified> {
        self.envelopes
    }

    pub(super) fn views(&self) -> Vec<EnvelopeView<'_>> {
        self.envelopes.iter().map(|envelope| envelope.view()).collect()
    }

    pub(super) fn body(&self) -> Body<'_> {
        let envelopes = self
            .envelopes
            .iter()
            .map(|envelope| envelope.as_bytes())
            .collect();
        Body {
            envelopes,
            scores: &self.risk.scores,
            reasons: &self.reasons,
            parent_certificate: &self.parent_certificate,
            late_precommits: &self.late_precommits,
            evidence: &self.evidence,
        }
    }

    /// What it says of validators, and how large it is.
    pub(super) fn parts(&self) -> Parts<'_> {
        let envelopes = self.envelopes.iter();
        Parts {
            parent_certificate: &self.parent_certificate,
            late_precommits: &self.late_precommits,
            evidence: &self.evidence,
            bytes: envelopes.map(|envelope| envelope.as_bytes().len()).sum(),
            operations: self.views().iter().map(|view| view.operations().len()).sum(),
        }
    }
}

/// Merkle root over the whole envelopes.
pub(super) fn transactions_root(envelopes: &[Verified]) -> Hash {
    let leaves: Vec<Hash> = envelopes.iter().map(|one| Envelope::leaf(one)).collect();
    proof::root(&leaves)
}
