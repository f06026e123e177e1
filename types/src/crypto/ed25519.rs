//! Ed25519 (RFC 8032) with the verification rules of ZIP-215, by `ed25519-zebra`.

use super::{Scheme, SignatureError};
use ed25519_zebra::{Signature, SigningKey, VerificationKey, VerificationKeyBytes};

const SCHEME: &str = Scheme::Ed25519.name();

pub(super) fn verify(public: &[u8], message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
    let (public, signature) = parse(public, signature)?;
    VerificationKey::try_from(public)
        .and_then(|key| key.verify(&signature, message))
        .map_err(|_| SignatureError::Invalid { scheme: SCHEME })
}

pub(super) fn parse(
    public: &[u8],
    signature: &[u8],
) -> Result<(VerificationKeyBytes, Signature), SignatureError> {
    let public: [u8; 32] = public.try_into().map_err(|_| SignatureError::PublicLength {
        scheme: SCHEME,
        got: public.len(),
        want: Scheme::Ed25519.public_len(),
    })?;
    let signature: [u8; 64] = signature
        .try_into()
        .map_err(|_| SignatureError::SignatureLength {
            scheme: SCHEME,
            got: signature.len(),
            want: Scheme::Ed25519.signature_len(),
        })?;
    Ok((public.into(), signature.into()))
}

/// A secret key; the library wipes it when it is dropped.
pub(super) struct Secret(SigningKey);

impl Secret {
    pub(super) fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from(*seed))
    }

    pub(super) fn public(&self) -> [u8; 32] {
        VerificationKeyBytes::from(&self.0).into()
    }

    pub(super) fn seed(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.0.to_bytes())
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).into()
    }
}
