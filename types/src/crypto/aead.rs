//! Sealing under a shared secret: XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), whose nonce is long enough to be
//! drawn at random for every message of a key.

use super::fill_random;
use alloc::vec::Vec;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use thiserror::Error;

/// Bytes of a nonce, which stands before the ciphertext.
const NONCE_LEN: usize = 24;
/// Bytes of a tag (RFC 8439 §2.5), which stands after it.
const TAG_LEN: usize = 16;
/// What sealing adds to a plaintext, in bytes.
pub const SEAL_OVERHEAD: usize = NONCE_LEN + TAG_LEN;

/// Why something was not sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SealError {
    /// It is shorter than any sealed message.
    #[error("a sealed message has at least {SEAL_OVERHEAD} bytes, not {got}")]
    Short {
        /// Bytes there are.
        got: usize,
    },
    /// Another key or another context sealed it, or it was changed.
    #[error("it does not open: another key or purpose sealed it, or it was changed")]
    Refused,
    /// The operating system has no random numbers.
    #[error("the operating system has no random numbers")]
    Random,
}

/// Seals `plaintext` as `nonce 24 ‖ ciphertext ‖ tag 16`. `context` names what it is and where it belongs: it is not kept,
/// and opening under another one fails.
///
/// # Errors
/// [`SealError::Random`].
pub fn seal(key: &[u8; 32], context: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
    let mut nonce = [0; NONCE_LEN];
    fill_random(&mut nonce).map_err(|_| SealError::Random)?;
    let payload = Payload {
        msg: plaintext,
        aad: context,
    };
    let sealed = cipher(key)
        .encrypt(&XNonce::from(nonce), payload)
        .map_err(|_| SealError::Refused)?;
    Ok([&nonce[..], &sealed].concat())
}

/// Opens what [`seal`] sealed under the same key and context.
///
/// # Errors
/// [`SealError::Short`], [`SealError::Refused`].
pub fn open(key: &[u8; 32], context: &[u8], sealed: &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>, SealError> {
    let short = SealError::Short { got: sealed.len() };
    let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(short)?;
    if ciphertext.len() < TAG_LEN {
        return Err(short);
    }
    let payload = Payload {
        msg: ciphertext,
        aad: context,
    };
    let plaintext = cipher(key).decrypt(&XNonce::from(*nonce), payload);
    plaintext
        .map(zeroize::Zeroizing::new)
        .map_err(|_| SealError::Refused)
}

fn cipher(key: &[u8; 32]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&Key::from(*key))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn it_opens_under_its_key_and_context_alone() {
        let (key, context) = ([7; 32], b"a purpose");
        for len in [0, 1, 63, 64, 65, 4_096] {
            let plaintext = alloc::vec![9; len];
            let sealed = seal(&key, context, &plaintext).unwrap();
            assert_eq!(sealed.len(), len + SEAL_OVERHEAD);
            assert_eq!(*open(&key, context, &sealed).unwrap(), plaintext);
            assert_eq!(open(&[8; 32], context, &sealed), Err(SealError::Refused));
            assert_eq!(open(&key, b"another", &sealed), Err(SealError::Refused));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let (key, context) = ([7; 32], b"a purpose");
        let sealed = seal(&key, context, b"thirty bytes of what is secret").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                open(&key, context, &flipped),
                Err(SealError::Refused),
                "bit {bit}"
            );
        }
        for cut in 0..sealed.len() {
            assert!(open(&key, context, &sealed[..cut]).is_err(), "cut at {cut}");
        }
        assert_eq!(
            open(&key, context, &sealed[..39]),
            Err(SealError::Short { got: 39 })
        );
    }

    #[test]
    fn the_same_plaintext_is_never_sealed_twice_alike() {
        let sealed = || seal(&[7; 32], b"", b"plain").unwrap();
        assert_ne!(sealed(), sealed());
    }
}
