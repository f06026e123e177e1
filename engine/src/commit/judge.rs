//! Judges a block that another validator proposed, before anything of it is executed: every node finds the same.

use super::candidate::Candidate;
use super::chain::Chain;
use super::verify::{VerifyError, check_body, parts};
use crate::intake::KnownEnvelopes;
use selfchain_types::block::{Body, Header, Proposed};
use selfchain_types::certificate::Precommit;
use selfchain_types::crypto::BatchVerifier;
use selfchain_types::envelope::EnvelopeView;
use selfchain_types::{Hash, Height, Risk};

/// A block as it arrived, whole: its bytes are the one encoding of what its hash covers.
#[derive(Clone, Debug)]
pub struct Proposal {
    header: Header,
    hash: Hash,
    bytes: Vec<u8>,
    /// Hashes of its whole envelopes.
    leaves: Vec<Hash>,
}

impl Proposal {
    /// Reads the bytes of [`Candidate::to_bytes`], and checks that header and body belong together. Says nothing of
    /// whether the block may follow any other.
    ///
    /// # Errors
    /// [`VerifyError`]; nothing is known of the header's hash then.
    pub fn new(bytes: Vec<u8>) -> Result<Self, VerifyError> {
        let damaged = |height, what, source| VerifyError::Decode { height, what, source };
        let proposed =
            Proposed::decode(&bytes).map_err(|source| damaged(Height::GENESIS, "block", source))?;
        let header =
            Header::decode(proposed.header).map_err(|source| damaged(Height::GENESIS, "header", source))?;
        let height = header.height;
        let body = Body::decode(proposed.body).map_err(|source| damaged(height, "body", source))?;
        let leaves = check_body(&header, &body)?;
        let mut canonical = Vec::with_capacity(bytes.len());
        Proposed::encode(&header, &body, &mut canonical);
        if canonical != bytes {
            let what = "encoding of the block";
            return Err(VerifyError::Mismatch { height, what });
        }
        let hash = header.hash();
        Ok(Self {
            header,
            hash,
            bytes,
            leaves,
        })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The block's hash.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What a node verified before, byte for byte: its signature is not looked at again.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// Whole envelopes; those that are checked are known from then on.
    pub envelopes: Option<&'a dyn KnownEnvelopes>,
    /// A precommit for this block in this round of this height.
    pub precommit: &'a dyn Fn(Height, u32, &Hash, &Precommit) -> bool,
}

impl Known<'static> {
    /// Nothing was: every signature is looked at.
    pub const NOTHING: Self = Self {
        envelopes: None,
        precommit: &|_, _, _, _| false,
    };
}

impl Chain {
    /// Whether a block may follow the tip: all but its scores, which only a model can judge. `signatures` checks those of
    /// its envelopes that are not `known`.
    ///
    /// # Errors
    /// [`VerifyError`], the first rule that it breaks.
    pub fn judge(
        &self,
        proposal: &Proposal,
        signatures: &BatchVerifier,
        known: &Known<'_>,
    ) -> Result<Candidate, VerifyError> {
        let height = self.tip().height.next();
        let damaged = |what, source| VerifyError::Decode { height, what, source };
        let header = &proposal.header;
        self.check_links(header)?;
        self.check_commitment(header)?;
        self.check_validators(header)?;
        let proposed = Proposed::decode(&proposal.bytes).map_err(|source| damaged("block", source))?;
        let body = Body::decode(proposed.body).map_err(|source| damaged("body", source))?;
        let risk = Risk::decode(body.scores, body.reasons).map_err(|source| damaged("reasons", source))?;
        let leaves = &proposal.leaves;
        let envelopes = self.check_signatures(&proposal.hash, &body, leaves, signatures, known.envelopes)?;
        let candidate = Candidate {
            header: header.clone(),
            hash: proposal.hash,
            envelopes,
            risk,
            reasons: body.reasons.to_vec(),
            parent_certificate: body.parent_certificate.to_vec(),
            late_precommits: body.late_precommits.to_vec(),
            evidence: body.evidence.to_vec(),
        };
        let views: Vec<EnvelopeView<'_>> = candidate.views();
        self.check_said(header, &parts(&body, &views), known)?;
        self.ledger()
            .validate(height, header.time_ns, &views)
            .and_then(|()| self.ledger().validate_risk(header, &views, &candidate.risk))
            .map_err(|source| VerifyError::Invalid { height, source })?;
        Ok(candidate)
    }
}
