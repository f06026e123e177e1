//! Verify: decides a block anew and compares everything that its row says.

use super::chain::Chain;
use super::replay::Prepared;
use crate::ledger::{Broken, FoldError, InvalidBlock, Ledger};
use crate::proof;
use rayon::prelude::*;
use selfchain_types::certificate::{Certificate, CertificateError};
use selfchain_types::codec::DecodeError;
use selfchain_types::crypto::{BatchVerifier, PublicKey};
use selfchain_types::envelope::KeyLookup;
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
        self.check_links(block)?;
        self.check_commitment(&block.header)?;
        self.check_certificate(block)?;
        check_body(block)?;
        check_signatures(block, &LedgerKeys(&self.ledger), signatures)?;
        self.ledger
            .validate(height, block.header.time_ns, &block.views)
            .and_then(|()| {
                self.ledger
                    .validate_risk(&block.header, &block.views, &block.risk)
            })
            .map_err(|source| VerifyError::Invalid { height, source })?;
        let executed = self
            .ledger
            .execute(height, block.header.time_ns, &block.views, &block.risk, &|_| {
                false
            })
            .map_err(|source| VerifyError::Broken { height, source })?;
        if executed.result != block.result {
            return Err(VerifyError::Mismatch {
                height,
                what: "result",
            });
        }
        let roots = self.ledger.roots();
        self.advance(&block.header, block.hash, roots, &block.leaves);
        Ok(executed.applied)
    }

    /// Checks what a block at or below the tip says by itself: that it follows the block whose hash is `parent`,
    /// if that is known, its certificate and its body. What it did needs the state before it.
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
                check_body(block)
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
        certificate
            .verify(&self.chain_id, &self.genesis.validators)
            .map_err(|source| VerifyError::Certificate { height, source })?;
        let header = &block.header;
        let is_validator = |id: &KeyId| self.genesis.validators.iter().any(|one| one.key.id() == *id);
        match () {
            () if certificate.block != block.hash => mismatch("certified hash"),
            () if certificate.height != height => mismatch("certified height"),
            () if header.validators_hash != self.validators_hash => mismatch("validators hash"),
            () if header.next_validators_hash != self.validators_hash => mismatch("next validators hash"),
            () if !is_validator(&header.proposer) => mismatch("proposer"),
            () => Ok(()),
        }
    }
}

fn check_body(block: &Prepared<'_>) -> Result<(), VerifyError> {
    let height = block.header.height;
    let leaves: Vec<Hash> = block
        .body
        .envelopes
        .par_iter()
        .map(|bytes| hash::ENVELOPE.hash(bytes))
        .collect();
    if proof::root(&leaves) != block.header.transactions_root {
        return Err(VerifyError::Mismatch {
            height,
            what: "transactions root",
        });
    }
    if block.body.hash() != block.header.body_hash {
        return Err(VerifyError::Mismatch {
            height,
            what: "body hash",
        });
    }
    Ok(())
}

/// Checks every signature, in parallel batches, with the keys that the registry held before the block.
fn check_signatures(
    block: &Prepared<'_>,
    keys: &(impl KeyLookup + Sync),
    signatures: &BatchVerifier,
) -> Result<(), VerifyError> {
    let height = block.header.height;
    let entropy = block.hash.0;
    let failed = block
        .body
        .envelopes
        .par_chunks(SIGNATURE_BATCH)
        .enumerate()
        .find_map_first(|(chunk, batch)| {
            let envelopes = batch.iter().map(|bytes| Envelope::decode(bytes.to_vec()));
            let envelopes: Vec<Envelope> = match envelopes.collect() {
                Ok(envelopes) => envelopes,
                Err(refusal) => return Some((chunk * SIGNATURE_BATCH, refusal)),
            };
            let answers = Verified::check_batch(envelopes, keys, signatures, &entropy);
            answers
                .into_iter()
                .enumerate()
                .find_map(|(at, answer)| match answer {
                    Ok(_) => None,
                    Err((_, refusal)) => Some((chunk * SIGNATURE_BATCH + at, refusal)),
                })
        });
    match failed {
        None => Ok(()),
        Some((index, refusal)) => Err(VerifyError::Envelope {
            height,
            index,
            refusal,
        }),
    }
}

/// Envelopes whose signatures are checked as one batch.
const SIGNATURE_BATCH: usize = 128;

struct LedgerKeys<'a>(&'a Ledger);

impl KeyLookup for LedgerKeys<'_> {
    fn public_key(&self, id: &KeyId) -> Option<&PublicKey> {
        self.0.public_key(id)
    }
}
