//! Sealing to a public key: HPKE (RFC 9180) in base mode with X-Wing (draft-connolly-cfrg-xwing-kem, X25519 and
//! ML-KEM-768 at once), HKDF-SHA256 and ChaCha20-Poly1305.
//!
//! X-Wing itself takes an X25519 share of small order, whose half of the secret is then known to everybody. Here such a
//! share is refused in keys and in what was sealed: a hybrid that silently has one half is not what was asked for.

use super::fill_random;
use crate::{Hash, hash};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::convert::Infallible;
use curve25519_dalek::montgomery::MontgomeryPoint;
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use thiserror::Error;
use zeroize::Zeroizing;

/// Bytes of a public key: ML-KEM-768's 1,184 and X25519's 32.
pub const KEM_PUBLIC_LEN: usize = 1_216;
/// Bytes of an encapsulated key (HPKE's `enc`): ML-KEM-768's 1,088 and X25519's 32.
pub const ENC_LEN: usize = 1_120;
/// Bytes of a tag (RFC 8439 §2.5).
const TAG_LEN: usize = 16;
/// What sealing adds to a plaintext, in bytes.
pub const KEM_SEAL_OVERHEAD: usize = ENC_LEN + TAG_LEN;
/// Random bytes that one encapsulation uses.
const ENCAPSULATION_RANDOM_LEN: usize = 64;
const X25519_LEN: usize = 32;

/// Why something was not sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum XWingError {
    /// The public key has another length.
    #[error("an X-Wing public key has {KEM_PUBLIC_LEN} bytes, not {got}")]
    PublicLength {
        /// Bytes there are.
        got: usize,
    },
    /// The public key's ML-KEM half is not reduced (FIPS 203 §7.2).
    #[error("it is not an X-Wing public key: a number in its ML-KEM half is too large")]
    Public,
    /// The X25519 half of a public key or of an encapsulated key has a small order.
    #[error("its X25519 half has a small order, so that half would keep no secret")]
    LowOrder,
    /// It is shorter than any sealed message.
    #[error("a sealed message has at least {KEM_SEAL_OVERHEAD} bytes, not {got}")]
    Short {
        /// Bytes there are.
        got: usize,
    },
    /// It was sealed to another key or for another purpose, or was changed.
    #[error("it does not open: it was sealed to another key or for another purpose, or it was changed")]
    Refused,
    /// The operating system has no random numbers.
    #[error("the operating system has no random numbers")]
    Random,
}

/// A public key to seal to.
#[derive(Clone, PartialEq, Eq)]
pub struct KemPublic(Box<[u8; KEM_PUBLIC_LEN]>);

impl KemPublic {
    /// The key with these bytes.
    ///
    /// # Errors
    /// [`XWingError::PublicLength`], [`XWingError::Public`], [`XWingError::LowOrder`].
    pub fn new(bytes: &[u8]) -> Result<Self, XWingError> {
        let length = XWingError::PublicLength { got: bytes.len() };
        let array: &[u8; KEM_PUBLIC_LEN] = bytes.try_into().map_err(|_| length)?;
        parse_public(array)?;
        refuse_low_order(array)?;
        Ok(Self(Box::new(*array)))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; KEM_PUBLIC_LEN] {
        &self.0
    }

    /// Its id: `H(kem; bytes)`.
    pub fn id(&self) -> Hash {
        hash::KEM.hash(&*self.0)
    }
}

impl core::fmt::Debug for KemPublic {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "KemPublic({})", self.id())
    }
}

/// A secret key to open with: the 32 bytes that everything else follows from. They are wiped when it is dropped.
pub struct KemSecret {
    seed: Zeroizing<[u8; 32]>,
    public: KemPublic,
}

impl KemSecret {
    /// The key of this seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let secret = parse_secret(seed);
        let mut public = Box::new([0; KEM_PUBLIC_LEN]);
        XWing::sk_to_pk(&secret).write_exact(public.as_mut_slice());
        Self {
            seed: Zeroizing::new(*seed),
            public: KemPublic(public),
        }
    }

    /// A new key from the operating system's random numbers.
    ///
    /// # Errors
    /// [`XWingError::Random`].
    pub fn generate() -> Result<Self, XWingError> {
        let mut seed = Zeroizing::new([0; 32]);
        fill_random(seed.as_mut()).map_err(|_| XWingError::Random)?;
        Ok(Self::from_seed(&seed))
    }

    /// Its public key.
    pub fn public(&self) -> &KemPublic {
        &self.public
    }

    /// The seed, for a key file. Keep it secret.
    pub fn seed(&self) -> &Zeroizing<[u8; 32]> {
        &self.seed
    }
}

impl core::fmt::Debug for KemSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "KemSecret({})", self.public.id())
    }
}

/// Seals `plaintext` to `recipient` as `enc 1,120 ‖ ciphertext ‖ tag 16`. `info` names the purpose, `aad` is what else
/// must not change; neither is kept, and opening under others fails. It says nothing of who sealed it.
///
/// # Errors
/// [`XWingError::Random`].
pub fn seal(recipient: &KemPublic, info: &[u8], aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, XWingError> {
    let mut drawn = Zeroizing::new([0; ENCAPSULATION_RANDOM_LEN]);
    fill_random(drawn.as_mut()).map_err(|_| XWingError::Random)?;
    seal_drawn(recipient, info, aad, plaintext, &drawn)
}

/// As [`seal`], with the random bytes given: for published vectors. The same bytes must never seal twice.
///
/// # Errors
/// [`XWingError::Refused`], which a key of [`KemPublic`] never causes.
pub fn seal_drawn(
    recipient: &KemPublic,
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
    drawn: &[u8; ENCAPSULATION_RANDOM_LEN],
) -> Result<Vec<u8>, XWingError> {
    let public = parse_public(recipient.as_bytes())?;
    let mut random = Drawn(drawn.iter());
    let sealed = hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, XWing>(
        &OpModeS::Base,
        &public,
        info,
        plaintext,
        aad,
        &mut random,
    );
    let (enc, ciphertext) = sealed.map_err(|_| XWingError::Refused)?;
    let mut out = Vec::with_capacity(ENC_LEN + ciphertext.len());
    out.extend_from_slice(&enc.to_bytes());
    out.extend_from_slice(&ciphertext);
    Ok(out)
}

/// Opens what [`seal`] sealed to this key with the same `info` and `aad`.
///
/// # Errors
/// [`XWingError::Short`], [`XWingError::LowOrder`], [`XWingError::Refused`].
pub fn open(
    secret: &KemSecret,
    info: &[u8],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, XWingError> {
    let short = XWingError::Short { got: sealed.len() };
    let (enc, ciphertext) = sealed.split_first_chunk::<ENC_LEN>().ok_or(short)?;
    if ciphertext.len() < TAG_LEN {
        return Err(short);
    }
    refuse_low_order(enc)?;
    let enc = <XWing as Kem>::EncappedKey::from_bytes(enc).map_err(|_| XWingError::Refused)?;
    let opened = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, XWing>(
        &OpModeR::Base,
        &parse_secret(&secret.seed),
        &enc,
        info,
        ciphertext,
        aad,
    );
    opened.map(Zeroizing::new).map_err(|_| XWingError::Refused)
}

fn parse_public(bytes: &[u8; KEM_PUBLIC_LEN]) -> Result<<XWing as Kem>::PublicKey, XWingError> {
    <XWing as Kem>::PublicKey::from_bytes(bytes).map_err(|_| XWingError::Public)
}

fn parse_secret(seed: &[u8; 32]) -> <XWing as Kem>::PrivateKey {
    <XWing as Kem>::PrivateKey::from_bytes(seed).expect("every 32 bytes are a seed")
}

/// Refuses an X25519 share, the last 32 bytes, whose product with every secret is zero (RFC 7748 §6.1). A clamped scalar
/// is a multiple of eight, the largest small order, so any of them shows it.
fn refuse_low_order(bytes: &[u8]) -> Result<(), XWingError> {
    let share = bytes
        .last_chunk::<X25519_LEN>()
        .expect("an X25519 share stands last");
    match MontgomeryPoint(*share).mul_clamped([0; 32]).to_bytes() == [0; 32] {
        true => Err(XWingError::LowOrder),
        false => Ok(()),
    }
}

/// Hands on random bytes that were drawn before, because the library would panic where there are none.
struct Drawn<'a>(core::slice::Iter<'a, u8>);

impl TryRng for Drawn<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill_with(|| {
            let next = self.0.next();
            *next.expect("an encapsulation draws 64 bytes")
        });
        Ok(())
    }
}

impl TryCryptoRng for Drawn<'_> {}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn key(seed: u8) -> KemSecret {
        KemSecret::from_seed(&[seed; 32])
    }

    #[test]
    fn it_opens_with_its_key_and_purpose_alone() {
        let (mine, other) = (key(1), key(2));
        for len in [0, 1, 64, 5_000] {
            let plaintext = alloc::vec![9; len];
            let sealed = seal(mine.public(), b"purpose", b"besides", &plaintext).unwrap();
            assert_eq!(sealed.len(), len + KEM_SEAL_OVERHEAD);
            assert_eq!(*open(&mine, b"purpose", b"besides", &sealed).unwrap(), plaintext);
            for refused in [
                open(&other, b"purpose", b"besides", &sealed),
                open(&mine, b"another", b"besides", &sealed),
                open(&mine, b"purpose", b"nothing", &sealed),
            ] {
                assert_eq!(refused, Err(XWingError::Refused));
            }
        }
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_refused() {
        let mine = key(1);
        let sealed = seal(mine.public(), b"", b"", b"a secret").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1 << (at % 7);
            assert!(open(&mine, b"", b"", &changed).is_err(), "byte {at}");
            assert!(open(&mine, b"", b"", &sealed[..at]).is_err(), "cut at {at}");
        }
        assert_eq!(
            open(&mine, b"", b"", &sealed[..1_135]),
            Err(XWingError::Short { got: 1_135 })
        );
    }

    #[test]
    fn a_share_of_small_order_is_refused_in_keys_and_messages() {
        let mine = key(1);
        let sealed = seal(mine.public(), b"", b"", b"a secret").unwrap();
        for share in low_order_shares() {
            let mut changed = sealed.clone();
            changed[ENC_LEN - 32..ENC_LEN].copy_from_slice(&share);
            assert_eq!(open(&mine, b"", b"", &changed), Err(XWingError::LowOrder));
            let mut public = *mine.public().as_bytes();
            public[KEM_PUBLIC_LEN - 32..].copy_from_slice(&share);
            assert_eq!(KemPublic::new(&public), Err(XWingError::LowOrder));
        }
    }

    /// 0, 1, p - 1, p, p + 1, and the same with the bit set that X25519 ignores (RFC 7748 §5).
    fn low_order_shares() -> impl Iterator<Item = [u8; 32]> {
        let near = |low: u8| {
            let mut share = [0xff; 32];
            (share[0], share[31]) = (low, 0x7f);
            share
        };
        let small = |low: u8| {
            let mut share = [0; 32];
            share[0] = low;
            share
        };
        let canonical = [small(0), small(1), near(0xec), near(0xed), near(0xee)];
        canonical.into_iter().flat_map(|share| {
            let mut high = share;
            high[31] |= 0x80;
            [share, high]
        })
    }

    #[test]
    fn a_public_key_must_be_whole_and_reduced() {
        assert_eq!(
            KemPublic::new(&[0; 1_184]),
            Err(XWingError::PublicLength { got: 1_184 })
        );
        let mut public = *key(1).public().as_bytes();
        assert!(KemPublic::new(&public).is_ok());
        // The first number of the ML-KEM half becomes 4,095, above the modulus 3,329.
        (public[0], public[1]) = (0xff, public[1] | 0x0f);
        assert_eq!(KemPublic::new(&public), Err(XWingError::Public));
    }

    #[test]
    fn a_secret_key_does_not_show_itself() {
        let text = alloc::format!("{:?}", key(0xab));
        assert!(!text.contains("abab") && !text.contains("171"), "{text}");
    }
}
