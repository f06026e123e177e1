//! ML-DSA-44 and ML-DSA-65 (FIPS 204), by AWS-LC.

use super::{Scheme, SignatureError};
use alloc::vec;
use alloc::vec::Vec;
use aws_lc_rs::signature::{
    KeyPair, ML_DSA_44, ML_DSA_44_SIGNING, ML_DSA_65, ML_DSA_65_SIGNING, PqdsaKeyPair, PqdsaSigningAlgorithm,
    PqdsaVerificationAlgorithm, UnparsedPublicKey,
};

static VERIFY_44: PqdsaVerificationAlgorithm = ML_DSA_44;
static VERIFY_65: PqdsaVerificationAlgorithm = ML_DSA_65;
static SIGN_44: PqdsaSigningAlgorithm = ML_DSA_44_SIGNING;
static SIGN_65: PqdsaSigningAlgorithm = ML_DSA_65_SIGNING;

/// Whether it is that key's signature, with an empty context.
pub(super) fn verify(scheme: Scheme, public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let algorithm = match scheme {
        Scheme::Ed25519MlDsa44 => &VERIFY_44,
        _ => &VERIFY_65,
    };
    UnparsedPublicKey::new(algorithm, public)
        .verify(message, signature)
        .is_ok()
}

/// A secret key; the library wipes it when it is dropped.
pub(super) struct Secret(PqdsaKeyPair);

impl Secret {
    /// The key of a seed of 32 bytes (FIPS 204 algorithm 1).
    pub(super) fn from_seed(scheme: Scheme, seed: &[u8]) -> Result<Self, SignatureError> {
        let algorithm = match scheme {
            Scheme::Ed25519MlDsa44 => &SIGN_44,
            _ => &SIGN_65,
        };
        let scheme = scheme.name();
        let pair =
            PqdsaKeyPair::from_seed(algorithm, seed).map_err(|_| SignatureError::NotBuilt { scheme })?;
        Ok(Self(pair))
    }

    pub(super) fn public(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.0.algorithm().signature_len()];
        let signed = self.0.sign(message, &mut signature);
        assert_eq!(
            signed.ok(),
            Some(signature.len()),
            "signing fails only without random numbers or memory"
        );
        signature
    }
}
