//! Judges a block that another validator proposed, before anything of it is executed: every node finds the same.

use super::candidate::Candidate;
use super::chain::Chain;
use super::verify::{VerifyError, check_body};
use selfchain_types::block::{Body, Header, Proposed};
use selfchain_types::certificate::Certificate;
use selfchain_types::crypto::BatchVerifier;
use selfchain_types::envelope::EnvelopeView;
use selfchain_types::{Hash, Height, Risk};

/// A block as it arrived, whole: its bytes are the one encoding of what its hash covers.
#[derive(Clone, Debug)]
pub struct Proposal {
    header: Header,
    hash: Hash,
    bytes: Vec<u8>,
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
        check_body(&header, &body)?;
        let mut canonical = Vec::with_capacity(bytes.len());
        Proposed::encode(&header, &body, &mut canonical);
        if canonical != bytes {
            let what = "encoding of the block";
            return Err(VerifyError::Mismatch { height, what });
        }
        let hash = header.hash();
        Ok(Self { header, hash, bytes })
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

impl Chain {
    /// Whether a block may follow the tip: all but its scores, which only a model can judge, and who proposed it in
    /// which round, which only the plane knows. `signatures` checks those of its envelopes.
    ///
    /// # Errors
    /// [`VerifyError`], the first rule that it breaks.
    pub fn judge(&self, proposal: &Proposal, signatures: &BatchVerifier) -> Result<Candidate, VerifyError> {
        let height = self.tip().height.next();
        let damaged = |what, source| VerifyError::Decode { height, what, source };
        let header = &proposal.header;
        self.check_links(header)?;
        self.check_commitment(header)?;
        self.check_validators(header)?;
        let proposed = Proposed::decode(&proposal.bytes).map_err(|source| damaged("block", source))?;
        let body = Body::decode(proposed.body).map_err(|source| damaged("body", source))?;
        self.check_parent_certificate(height, body.parent_certificate)?;
        if !body.late_precommits.is_empty() || !body.evidence.is_empty() {
            let what = "late precommits or evidence: this protocol version has none";
            return Err(VerifyError::Mismatch { height, what });
        }
        let risk = Risk::decode(body.scores, body.reasons).map_err(|source| damaged("reasons", source))?;
        let envelopes = self.check_signatures(header, &proposal.hash, &body, signatures)?;
        let candidate = Candidate {
            header: header.clone(),
            hash: proposal.hash,
            envelopes,
            risk,
            reasons: body.reasons.to_vec(),
            parent_certificate: body.parent_certificate.to_vec(),
        };
        let views: Vec<EnvelopeView<'_>> = candidate.views();
        self.ledger()
            .validate(height, header.time_ns, &views)
            .and_then(|()| self.ledger().validate_risk(header, &views, &candidate.risk))
            .map_err(|source| VerifyError::Invalid { height, source })?;
        Ok(candidate)
    }

    /// A block carries the certificate of the one before: not in height 1, nor where one validator decides.
    pub(super) fn check_parent_certificate(&self, height: Height, bytes: &[u8]) -> Result<(), VerifyError> {
        let mismatch = |what| Err(VerifyError::Mismatch { height, what });
        let is_wanted = height > Height(1) && self.genesis().validators.len() > 1;
        if !is_wanted {
            return if bytes.is_empty() {
                Ok(())
            } else {
                mismatch("parent certificate, where there is none")
            };
        }
        let certificate = Certificate::decode(bytes).map_err(|source| VerifyError::Decode {
            height,
            what: "parent certificate",
            source,
        })?;
        if certificate.block != self.tip().hash || certificate.height != self.tip().height {
            return mismatch("block of the parent certificate");
        }
        certificate
            .verify(&self.chain_id(), &self.genesis().validators)
            .map_err(|source| VerifyError::Certificate { height, source })
    }
}
