//! Verify: decides a block anew and compares everything that its row says.

use super::chain::Chain;
use super::council::{Parts, Said};
use super::judge::Known;
use super::replay::Prepared;
use crate::intake::KnownEnvelopes;
use crate::ledger::{Broken, FoldError, InvalidBlock, Ledger};
use crate::proof;
use rayon::prelude::*;
use selfchain_types::block::{Body, Header};
use selfchain_types::certificate::{Certificate, CertificateError};
use selfchain_types::codec::DecodeError;
use selfchain_types::crypto::{BatchVerifier, PublicKey};
use selfchain_types::envelope::{EnvelopeView, KeyLookup};
use selfchain_types::genesis::validators_hash;
use selfchain_types::seam::standing::StandingError;
use selfchain_types::{Envelope, Hash, Height, KeyId, Refusal, Verified, hash};
use thiserror::Error;

/// What of the log does not hold, and at which height.
#[derive(Clone, Debug, Error)]
pub enum VerifyError {
    /// Bytes that are not what they should be.
    #[error("height {height}: the {what} cannot be read")]
    Decode {
        /// Where.
        height: Height,
        /// Which part.
        what: &'static str,
        /// Why.
        #[source]
        source: DecodeError,
    },
    /// An envelope that intake would not have taken.
    #[error("height {height}: envelope {index} is {refusal}")]
    Envelope {
        /// Where.
        height: Height,
        /// Which envelope.
        index: usize,
        /// Why.
        refusal: Refusal,
    },
    /// Something recomputed differs from what is recorded.
    #[error("height {height}: the {what} does not match")]
    Mismatch {
        /// Where.
        height: Height,
        /// What differs.
        what: &'static str,
    },
    /// A certificate that proves nothing.
    #[error("height {height}: the certificate does not hold")]
    Certificate {
        /// Where.
        height: Height,
        /// Why.
        #[source]
        source: CertificateError,
    },
    /// What a block says of validators is invalid.
    #[error("height {height}: what the block says of validators is invalid")]
    Standing {
        /// Where.
        height: Height,
        /// Why.
        #[source]
        source: StandingError,
    },
    /// A block that no honest node would have decided.
    #[error("height {height}: the block is invalid")]
    Invalid {
        /// Where.
        height: Height,
        /// Why.
        #[source]
        source: InvalidBlock,
    },
    /// Money was made or lost.
    #[error("height {height}: the block breaks conservation")]
    Broken {
        /// Where.
        height: Height,
        /// Which asset.
        #[source]
        source: Broken,
    },
    /// Recorded outcomes that cannot have happened.
    #[error("height {height}: the recorded outcomes cannot be folded")]
    Fold {
        /// Where.
        height: Height,
        /// Why.
        #[source]
        source: FoldError,
    },
}

impl VerifyError {
    /// The height that does not hold.
    pub fn height(&self) -> Height {
        match self {
            Self::Decode { height, .. }
            | Self::Envelope { height, .. }
            | Self::Mismatch { height, .. }
            | Self::Certificate { height, .. }
            | Self::Standing { height, .. }
            | Self::Invalid { height, .. }
            | Self::Broken { height, .. }
            | Self::Fold { height, .. } => *height,
        }
    }
}

impl Chain {
    /// Decides the next block anew: links, certificate, body, signatures, validity, outcomes, roots. Returns
    /// how many operations took effect. `signatures` checks those of every block.
    ///
    /// # Errors
    /// [`VerifyError`], naming the height; the chain is not usable after it.
    pub fn verify(&mut self, block: &Prepared<'_>, signatures: &BatchVerifier) -> Result<u64, VerifyError> {
        let height = block.header.height;
        self.check_links(&block.header)?;
        self.check_commitment(&block.header)?;
        self.check_certificate(block)?;
        self.check_validators(&block.header)?;
        let leaves = check_body(&block.header, &block.body)?;
        let said = self.check_said(&block.header, &parts(&block.body, &block.views), &Known::NOTHING)?;
        self.check_signatures(&block.hash, &block.body, &leaves, signatures, None)?;
        self.ledger
            .validate(height, block.header.time_ns, &block.views)
            .and_then(|()| {
                self.ledger
                    .validate_risk(&block.header, &block.views, &block.risk)
            })
            .map_err(|source| VerifyError::Invalid { height, source })?;
        let offences = self
            .council
            .observe(&block.header, said)
            .map_err(|source| VerifyError::Standing { height, source })?;
        let (validators, time_ns) = (self.council.voting(&offences), block.header.time_ns);
        let executed = self
            .ledger
            .execute_among(validators, height, time_ns, &block.views, &block.risk, &|_| false)
            .map_err(|source| VerifyError::Broken { height, source })?;
        if executed.result != block.result {
            return Err(VerifyError::Mismatch {
                height,
                what: "result",
            });
        }
        self.council.close();
        let roots = self.ledger.roots();
        self.advance(&block.header, block.hash, roots, &block.leaves);
        Ok(executed.applied)
    }

    /// Checks what a block at or below the tip says by itself: that it follows the block whose hash is `parent`,
    /// if that is known, its certificate and its body. What it did needs the state before it. Certificates from
    /// before the epochs that the standing remembers are passed over: the hashes of the blocks after them stand for
    /// what they decided.
    ///
    /// # Errors
    /// [`VerifyError`], naming the height.
    pub fn verify_sealed(
        &self,
        block: &Prepared<'_>,
        height: Height,
        parent: Option<Hash>,
    ) -> Result<(), VerifyError> {
        let header = &block.header;
        let mismatch = |what| Err(VerifyError::Mismatch { height, what });
        match () {
            () if header.height != height => mismatch("height"),
            () if header.chain_id != self.chain_id => mismatch("chain id"),
            () if parent.is_some_and(|parent| header.parent != parent) => mismatch("parent hash"),
            () => {
                self.check_certificate(block)?;
                self.check_sealed_validators(header)?;
                check_body(header, &block.body).map(|_| ())
            }
        }
    }

    fn check_certificate(&self, block: &Prepared<'_>) -> Result<(), VerifyError> {
        let height = block.header.height;
        let mismatch = |what| Err(VerifyError::Mismatch { height, what });
        let certificate = Certificate::decode(block.local).map_err(|source| VerifyError::Decode {
            height,
            what: "certificate",
            source,
        })?;
        match () {
            () if certificate.block != block.hash => mismatch("certified hash"),
            () if certificate.height != height => mismatch("certified height"),
            () => match self.council.validators_of(height) {
                Some(validators) => certificate
                    .verify(&self.chain_id, &validators)
                    .map_err(|source| VerifyError::Certificate { height, source }),
                None => Ok(()),
            },
        }
    }

    /// Checks what a header at or below the tip says of validators, as far as they are known.
    fn check_sealed_validators(&self, header: &Header) -> Result<(), VerifyError> {
        let height = header.height;
        let is_other = |height, said: Hash| {
            let known = self.council.validators_of(height);
            known.is_some_and(|validators| validators_hash(&validators) != said)
        };
        let mismatch = |what| Err(VerifyError::Mismatch { height, what });
        match () {
            () if is_other(height, header.validators_hash) => mismatch("validators hash"),
            () if is_other(height.next(), header.next_validators_hash) => mismatch("next validators hash"),
            () => Ok(()),
        }
    }

    /// Checks what a next block says of validators beside its header's hashes, and gives it decoded.
    pub(super) fn check_said(
        &self,
        header: &Header,
        parts: &Parts<'_>,
        known: &Known<'_>,
    ) -> Result<Option<Said>, VerifyError> {
        let said = self.council.read(header, &self.genesis.limits, parts)?;
        self.council
            .check(&self.chain_id, &self.tip, header, said.as_ref(), parts, known)?;
        Ok(said)
    }

    /// Checks what a next header says of validators.
    pub(super) fn check_validators(&self, header: &Header) -> Result<(), VerifyError> {
        let mismatch = |what| {
            let height = header.height;
            Err(VerifyError::Mismatch { height, what })
        };
        let validators = self.council.validators();
        let is_validator = |id: &KeyId| validators.iter().any(|one| one.key.id() == *id);
        let (this, next) = self.council.hashes();
        match () {
            () if header.validators_hash != this => mismatch("validators hash"),
            () if header.next_validators_hash != next => mismatch("next validators hash"),
            () if !is_validator(&header.proposer) => mismatch("proposer"),
            () => Ok(()),
        }
    }

    /// Checks every signature of a next block but those of envelopes that are `known`, and gives the checked envelopes;
    /// `leaves` are the hashes of the whole envelopes.
    pub(super) fn check_signatures(
        &self,
        hash: &Hash,
        body: &Body<'_>,
        leaves: &[Hash],
        signatures: &BatchVerifier,
        known: Option<&dyn KnownEnvelopes>,
    ) -> Result<Vec<Verified>, VerifyError> {
        let (height, keys) = (self.tip.height.next(), LedgerKeys(&self.ledger));
        check_signatures(height, hash, &body.envelopes, leaves, &keys, signatures, known)
    }
}

/// What a body says of validators, and how large it is.
pub(super) fn parts<'a>(body: &Body<'a>, views: &[EnvelopeView<'_>]) -> Parts<'a> {
    Parts {
        parent_certificate: body.parent_certificate,
        late_precommits: body.late_precommits,
        evidence: body.evidence,
        bytes: body.envelopes.iter().map(|envelope| envelope.len()).sum(),
        operations: views.iter().map(|view| view.operations().len()).sum(),
    }
}

/// Checks that a body is the header's. Returns the hashes of its whole envelopes.
pub(super) fn check_body(header: &Header, body: &Body<'_>) -> Result<Vec<Hash>, VerifyError> {
    let height = header.height;
    let leaves: Vec<Hash> = body
        .envelopes
        .par_iter()
        .map(|bytes| hash::ENVELOPE.hash(bytes))
        .collect();
    if proof::root(&leaves) != header.transactions_root {
        return Err(VerifyError::Mismatch {
            height,
            what: "transactions root",
        });
    }
    if body.hash() != header.body_hash {
        return Err(VerifyError::Mismatch {
            height,
            what: "body hash",
        });
    }
    Ok(leaves)
}

/// Checks every signature but those of envelopes that are `known`, in parallel batches, with the keys that the registry
/// held before the block. What was checked is known from then on.
fn check_signatures(
    height: Height,
    block: &Hash,
    envelopes: &[&[u8]],
    leaves: &[Hash],
    keys: &(impl KeyLookup + Sync),
    signatures: &BatchVerifier,
    known: Option<&dyn KnownEnvelopes>,
) -> Result<Vec<Verified>, VerifyError> {
    let check = |(chunk, (batch, leaves)): (usize, (&[&[u8]], &[Hash]))| {
        let failed = |at: usize, refusal| VerifyError::Envelope {
            height,
            index: chunk * SIGNATURE_BATCH + at,
            refusal,
        };
        let (mut new, mut places) = (Vec::new(), Vec::new());
        let mut verified: Vec<Option<Verified>> = Vec::with_capacity(batch.len());
        for (at, (bytes, leaf)) in batch.iter().zip(leaves).enumerate() {
            let decoded = Envelope::decode_hashed(bytes.to_vec(), *leaf);
            let envelope = decoded.map_err(|refusal| failed(at, refusal))?;
            if known.is_some_and(|known| known.holds(leaf)) {
                verified.push(Some(Verified::known(envelope)));
            } else {
                verified.push(None);
                places.push(at);
                new.push(envelope);
            }
        }
        let answers = Verified::check_batch(new, keys, signatures, &block.0);
        for (at, answer) in places.into_iter().zip(answers) {
            verified[at] = Some(answer.map_err(|(_, refusal)| failed(at, refusal))?);
            if let Some(known) = known {
                known.add(leaves[at]);
            }
        }
        Ok(verified.into_iter().flatten().collect::<Vec<Verified>>())
    };
    let batches: Vec<Result<Vec<Verified>, VerifyError>> = envelopes
        .par_chunks(SIGNATURE_BATCH)
        .zip(leaves.par_chunks(SIGNATURE_BATCH))
        .enumerate()
        .map(check)
        .collect();
    let mut verified = Vec::with_capacity(envelopes.len());
    for batch in batches {
        verified.append(&mut batch?);
    }
    Ok(verified)
}

/// Envelopes whose signatures are checked as one batch.
const SIGNATURE_BATCH: usize = 256;

struct LedgerKeys<'a>(&'a Ledger);

impl KeyLookup for LedgerKeys<'_> {
    fn public_key(&self, id: &KeyId) -> Option<&PublicKey> {
        self.0.public_key(id)
    }
}
