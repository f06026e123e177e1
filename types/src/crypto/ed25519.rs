//! Ed25519 (RFC 8032) with the verification rules of ZIP-215, by `ed25519-zebra`.

use super::{Scheme, SignatureError};
use ed25519_zebra::{Signature, SigningKey, VerificationKey, VerificationKeyBytes};
use zeroize::Zeroize;

const SCHEME: &str = Scheme::Ed25519.name();

pub(super) fn verify(public: &[u8], message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
    let (public, signature) = lengths(public, signature)?;
    VerificationKey::try_from(VerificationKeyBytes::from(*public))
        .and_then(|key| key.verify(&Signature::from(*signature), message))
        .map_err(|_| SignatureError::Invalid { scheme: SCHEME })
}

/// A public key and a signature of the right lengths.
pub(super) fn lengths<'a>(
    public: &'a [u8],
    signature: &'a [u8],
) -> Result<(&'a [u8; 32], &'a [u8; 64]), SignatureError> {
    let public_key = public.try_into().map_err(|_| SignatureError::PublicLength {
        scheme: SCHEME,
        got: public.len(),
        want: Scheme::Ed25519.public_len(),
    })?;
    let signature = signature
        .try_into()
        .map_err(|_| SignatureError::SignatureLength {
            scheme: SCHEME,
            got: signature.len(),
            want: Scheme::Ed25519.signature_len(),
        })?;
    Ok((public_key, signature))
}

/// `R` and `s` of a signature (RFC 8032 §5.1.6).
#[cfg(feature = "std")]
pub(super) fn halves(signature: &[u8; 64]) -> (&[u8; 32], &[u8; 32]) {
    let (r, rest) = signature.split_first_chunk().expect("64 bytes hold 32");
    let (s, _) = rest.split_first_chunk().expect("32 bytes are left");
    (r, s)
}

/// A secret key, wiped when it is dropped: the library's own is `Copy` and is not.
#[derive(Clone)]
pub(super) struct Secret(SigningKey);

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

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
