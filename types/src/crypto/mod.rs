//! Signatures: schemes by number, one rule set each, and nobody else imports a signature library.

#[cfg(feature = "seal")]
pub mod aead;
#[cfg(feature = "std")]
mod batch;
mod ed25519;
#[cfg(all(feature = "std", any(test, feature = "controls")))]
mod hollow;
mod hybrid;
#[cfg(feature = "ml-dsa")]
mod ml_dsa;
#[cfg(feature = "seal")]
pub mod passphrase;
#[cfg(feature = "std")]
mod remembered;
mod scheme;
mod slh_dsa;
#[cfg(feature = "seal")]
pub mod x_wing;

#[cfg(feature = "std")]
pub use batch::{BatchItem, BatchVerifier};
pub use scheme::Scheme;

use crate::{Hash, KeyId, hash};
use alloc::sync::Arc;
use alloc::vec::Vec;
use scheme::ED25519_PUBLIC;
use thiserror::Error;

/// Why a signature does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// The public key has the wrong length for its scheme.
    #[error("a {scheme} public key has {want} bytes, not {got}")]
    PublicLength {
        /// The scheme's name.
        scheme: &'static str,
        /// Bytes there are.
        got: usize,
        /// Bytes there should be.
        want: usize,
    },
    /// The signature has the wrong length for its scheme.
    #[error("a {scheme} signature has {want} bytes, not {got}")]
    SignatureLength {
        /// The scheme's name.
        scheme: &'static str,
        /// Bytes there are.
        got: usize,
        /// Bytes there should be.
        want: usize,
    },
    /// It is not that key's signature over that message.
    #[error("the {scheme} signature does not verify")]
    Invalid {
        /// The scheme's name.
        scheme: &'static str,
    },
    /// This program was built without the scheme.
    #[error("this program was built without {scheme}")]
    NotBuilt {
        /// The scheme's name.
        scheme: &'static str,
    },
}

/// A public key with its scheme: what the registry holds. A copy shares its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    scheme: Scheme,
    bytes: Arc<[u8]>,
    /// Hashed once: hybrids have thousands of bytes.
    id: KeyId,
}

impl PublicKey {
    /// A key of `scheme` from its bytes.
    ///
    /// # Errors
    /// [`SignatureError::PublicLength`].
    pub fn new(scheme: Scheme, bytes: &[u8]) -> Result<Self, SignatureError> {
        let want = scheme.public_len();
        if bytes.len() != want {
            return Err(SignatureError::PublicLength {
                scheme: scheme.name(),
                got: bytes.len(),
                want,
            });
        }
        Ok(Self::of(scheme, bytes))
    }

    fn of(scheme: Scheme, bytes: &[u8]) -> Self {
        Self {
            scheme,
            bytes: bytes.into(),
            id: KeyId::of(scheme, bytes),
        }
    }

    /// Its scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The Ed25519 key that it is, or that a hybrid begins with: what TLS proves.
    pub fn classical(&self) -> [u8; ED25519_PUBLIC] {
        let front = self.bytes.first_chunk();
        *front.expect("every scheme's keys begin with one of Ed25519")
    }

    /// Its id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Checks one signature over `message`.
    ///
    /// # Errors
    /// [`SignatureError`], naming the scheme.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        verify_by(&self.id, self.scheme, &self.bytes, message, signature)
    }
}

/// What a signer of transaction `tx_id` signs: `H(sign; key_id ‖ tx_id)`. The key id names the scheme and
/// every public key of it, so that no part of a hybrid signature can be moved to another key.
pub fn signing_digest(key: &KeyId, tx_id: &Hash) -> Hash {
    hash::SIGN.node(&key.0, tx_id)
}

/// Checks one signature over `message`.
///
/// # Errors
/// [`SignatureError`], naming the scheme.
pub fn verify(scheme: Scheme, public: &[u8], message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
    verify_by(&KeyId::of(scheme, public), scheme, public, message, signature)
}

/// As [`verify`], where the key's id is known.
fn verify_by(
    key: &KeyId,
    scheme: Scheme,
    public: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    match scheme {
        Scheme::Ed25519 => ed25519::verify(public, message, signature),
        _ => hybrid::verify(key, scheme, public, message, signature),
    }
}

/// A secret key with its public key. Its bytes are wiped when it is dropped.
pub struct SigningKey {
    secret: Secret,
    public: PublicKey,
}

/// What a key signs with.
#[allow(clippy::large_enum_variant, reason = "nearly every key is of the large one")]
#[derive(Clone)]
enum Secret {
    Ed25519(ed25519::Secret),
    Hybrid(Arc<hybrid::Secret>),
    #[cfg(all(feature = "std", any(test, feature = "controls")))]
    Hollow(hollow::Hollow),
}

impl SigningKey {
    /// The Ed25519 key of this seed (RFC 8032 §5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let secret = ed25519::Secret::from_seed(seed);
        let public = secret.public();
        Self::of(Secret::Ed25519(secret), Scheme::Ed25519, &public)
    }

    /// The key of this seed under any scheme; for a hybrid both keys follow from it. With SLH-DSA-SHA2-128s this takes
    /// about a tenth of a second.
    ///
    /// # Errors
    /// [`SignatureError::NotBuilt`].
    pub fn of_scheme(scheme: Scheme, seed: &[u8; 32]) -> Result<Self, SignatureError> {
        if scheme == Scheme::Ed25519 {
            return Ok(Self::from_seed(seed));
        }
        let secret = hybrid::Secret::from_seed(scheme, seed)?;
        let public = secret.public();
        Ok(Self::of(Secret::Hybrid(Arc::new(secret)), scheme, &public))
    }

    fn of(secret: Secret, scheme: Scheme, bytes: &[u8]) -> Self {
        let public = PublicKey::of(scheme, bytes);
        Self { secret, public }
    }

    /// A key of which everybody knows the signatures, for a simulation that measures all but signing: its public key is
    /// a point of small order, for which ZIP-215 accepts one and the same signature whatever the message. `None` from
    /// the eighth on: there are no more such points.
    #[cfg(all(feature = "std", any(test, feature = "controls")))]
    pub fn hollow(number: u8) -> Option<Self> {
        let secret = hollow::Hollow::new(number)?;
        let public = secret.public();
        Some(Self::of(Secret::Hollow(secret), Scheme::Ed25519, &public))
    }

    /// The same key once more. Not `Clone`: a key is not copied by accident.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self {
            secret: self.secret.clone(),
            public: self.public.clone(),
        }
    }

    /// A new Ed25519 key from the operating system's random numbers.
    ///
    /// # Errors
    /// When the operating system has none.
    #[cfg(feature = "std")]
    pub fn generate() -> Result<Self, getrandom::Error> {
        Ok(Self::from_seed(&*random_seed()?))
    }

    /// Its public key.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Its public key's id.
    pub fn id(&self) -> KeyId {
        self.public.id()
    }

    /// The Ed25519 key that it is, or that a hybrid begins with, by itself: what TLS proves.
    #[must_use]
    pub fn classical(&self) -> Self {
        match &self.secret {
            Secret::Hybrid(secret) => {
                let first = secret.first();
                Self::of(Secret::Ed25519(first.clone()), Scheme::Ed25519, &first.public())
            }
            _ => self.copy(),
        }
    }

    /// The seed, for a key file. Keep it secret.
    pub fn seed(&self) -> zeroize::Zeroizing<[u8; 32]> {
        match &self.secret {
            Secret::Ed25519(secret) => secret.seed(),
            Secret::Hybrid(secret) => secret.seed(),
            #[cfg(all(feature = "std", any(test, feature = "controls")))]
            Secret::Hollow(secret) => secret.seed(),
        }
    }

    /// Signs `message`: the same signature each time (RFC 8032, FIPS 205) but for ML-DSA, which is hedged.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.secret {
            Secret::Ed25519(secret) => secret.sign(message).to_vec(),
            Secret::Hybrid(secret) => secret.sign(&self.public.id, message),
            #[cfg(all(feature = "std", any(test, feature = "controls")))]
            Secret::Hollow(_) => hollow::SIGNATURE.to_vec(),
        }
    }
}

impl core::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SigningKey({})", self.id())
    }
}

/// A new secret seed from the operating system's random numbers.
///
/// # Errors
/// When the operating system has none.
#[cfg(feature = "std")]
pub fn random_seed() -> Result<zeroize::Zeroizing<[u8; 32]>, getrandom::Error> {
    let mut seed = zeroize::Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut())?;
    Ok(seed)
}

/// Fills `bytes` with random numbers from the operating system.
///
/// # Errors
/// When the operating system has none.
#[cfg(feature = "std")]
pub fn fill_random(bytes: &mut [u8]) -> Result<(), getrandom::Error> {
    getrandom::fill(bytes)
}
