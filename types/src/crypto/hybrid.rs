//! Hybrids: Ed25519 beside a scheme that holds against quantum computers. Both sign one digest, both must verify.
//!
//! The digest names the pair of schemes and both public keys, so that no half can be stripped off, moved to another key
//! or paired with another half: `H(selfchain/hybrid/v1; key_id ‖ message)`, where the key's id is the hash of the
//! scheme's number and both keys. ML-DSA and SLH-DSA are used with an empty context string (FIPS 204 §5.2, FIPS 205
//! §10.2): the digest's domain separates already.

#[cfg(feature = "ml-dsa")]
use super::ml_dsa;
use super::scheme::{ED25519_PUBLIC, ED25519_SIGNATURE};
use super::{Scheme, SignatureError, ed25519, slh_dsa};
use crate::{Hash, KeyId, hash};
use alloc::vec::Vec;
use zeroize::Zeroizing;

/// What both halves sign.
pub(super) fn digest(key: &KeyId, message: &[u8]) -> Hash {
    hash::HYBRID.hash_parts(&[key.0.as_bytes(), message])
}

/// The halves of a key and of a signature, of the right lengths.
pub(super) struct Halves<'a> {
    pub(super) ed25519: (&'a [u8], &'a [u8]),
    second: (&'a [u8], &'a [u8]),
}

impl<'a> Halves<'a> {
    /// Splits what has the scheme's lengths.
    pub(super) fn of(scheme: Scheme, public: &'a [u8], signature: &'a [u8]) -> Result<Self, SignatureError> {
        let name = scheme.name();
        let (got, want) = (public.len(), scheme.public_len());
        if got != want {
            let scheme = name;
            return Err(SignatureError::PublicLength { scheme, got, want });
        }
        let (got, want) = (signature.len(), scheme.signature_len());
        if got != want {
            let scheme = name;
            return Err(SignatureError::SignatureLength { scheme, got, want });
        }
        let (first_public, second_public) = public.split_at(ED25519_PUBLIC);
        let (first_signature, second_signature) = signature.split_at(ED25519_SIGNATURE);
        Ok(Self {
            ed25519: (first_public, first_signature),
            second: (second_public, second_signature),
        })
    }

    /// Checks the half that is not Ed25519.
    pub(super) fn verify_second(&self, scheme: Scheme, digest: &Hash) -> Result<(), SignatureError> {
        let ((public, signature), digest) = (self.second, digest.as_bytes());
        let is_good = match scheme {
            Scheme::Ed25519 => true,
            #[cfg(feature = "ml-dsa")]
            Scheme::Ed25519MlDsa44 | Scheme::Ed25519MlDsa65 => {
                ml_dsa::verify(scheme, public, digest, signature)
            }
            #[cfg(not(feature = "ml-dsa"))]
            Scheme::Ed25519MlDsa44 | Scheme::Ed25519MlDsa65 => {
                let scheme = scheme.name();
                return Err(SignatureError::NotBuilt { scheme });
            }
            Scheme::Ed25519SlhDsa128s => slh_dsa::verify_128s(public, digest, signature),
            Scheme::Ed25519SlhDsa128f => slh_dsa::verify_128f(public, digest, signature),
        };
        let scheme = scheme.name();
        is_good.then_some(()).ok_or(SignatureError::Invalid { scheme })
    }
}

/// `key` is the id of scheme and public key.
pub(super) fn verify(
    key: &KeyId,
    scheme: Scheme,
    public: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    let halves = Halves::of(scheme, public, signature)?;
    let digest = digest(key, message);
    let (first_public, first_signature) = halves.ed25519;
    ed25519::verify(first_public, digest.as_bytes(), first_signature).map_err(|_| {
        SignatureError::Invalid {
            scheme: scheme.name(),
        }
    })?;
    halves.verify_second(scheme, &digest)
}

/// Both secret keys, and the seed that both are made from.
pub(super) struct Secret {
    seed: Zeroizing<[u8; 32]>,
    first: ed25519::Secret,
    second: Second,
}

enum Second {
    #[cfg(feature = "ml-dsa")]
    MlDsa(ml_dsa::Secret),
    Slh128s(slh_dsa::Secret128s),
    Slh128f(slh_dsa::Secret128f),
}

impl Secret {
    /// The keys of a seed: `XOF(selfchain/hybrid-seed/v1; scheme u16 ‖ seed)`, 32 bytes for Ed25519, then the seed of
    /// ML-DSA (FIPS 204 §5.1, 32 bytes) or `SK.seed ‖ SK.prf ‖ PK.seed` of SLH-DSA (FIPS 205 §10.1, 48 bytes).
    pub(super) fn from_seed(scheme: Scheme, seed: &[u8; 32]) -> Result<Self, SignatureError> {
        let input = Zeroizing::new([&scheme.code().to_le_bytes(), seed.as_slice()].concat());
        let derived = Zeroizing::new(hash::HYBRID_SEED.expand(&input, 32 + 48));
        let (first, rest) = derived.split_first_chunk().expect("32 of 80 bytes");
        let second = match scheme {
            #[cfg(feature = "ml-dsa")]
            Scheme::Ed25519MlDsa44 | Scheme::Ed25519MlDsa65 => {
                Second::MlDsa(ml_dsa::Secret::from_seed(scheme, &rest[..32])?)
            }
            Scheme::Ed25519SlhDsa128s => Second::Slh128s(slh_dsa::Secret128s::from_seeds(rest)),
            Scheme::Ed25519SlhDsa128f => Second::Slh128f(slh_dsa::Secret128f::from_seeds(rest)),
            _ => {
                let scheme = scheme.name();
                return Err(SignatureError::NotBuilt { scheme });
            }
        };
        Ok(Self {
            seed: Zeroizing::new(*seed),
            first: ed25519::Secret::from_seed(first),
            second,
        })
    }

    pub(super) fn seed(&self) -> Zeroizing<[u8; 32]> {
        self.seed.clone()
    }

    /// The half that is Ed25519.
    pub(super) fn first(&self) -> &ed25519::Secret {
        &self.first
    }

    pub(super) fn public(&self) -> Vec<u8> {
        let mut public = self.first.public().to_vec();
        match &self.second {
            #[cfg(feature = "ml-dsa")]
            Second::MlDsa(secret) => public.extend_from_slice(secret.public()),
            Second::Slh128s(secret) => public.extend_from_slice(&secret.public()),
            Second::Slh128f(secret) => public.extend_from_slice(&secret.public()),
        }
        public
    }

    /// Both signatures over the digest of `message`; `key` is the id of [`Self::public`]. All but ML-DSA's, which is hedged
    /// (FIPS 204 §3.4), are the same each time.
    pub(super) fn sign(&self, key: &KeyId, message: &[u8]) -> Vec<u8> {
        let digest = digest(key, message);
        let digest = digest.as_bytes();
        let mut signature = self.first.sign(digest).to_vec();
        match &self.second {
            #[cfg(feature = "ml-dsa")]
            Second::MlDsa(secret) => signature.extend_from_slice(&secret.sign(digest)),
            Second::Slh128s(secret) => signature.extend_from_slice(&secret.sign(digest)),
            Second::Slh128f(secret) => signature.extend_from_slice(&secret.sign(digest)),
        }
        signature
    }
}
