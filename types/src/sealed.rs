//! Sealed messages: bytes that one key's holder can read and that another's vouches for.
//!
//! Sealing to a public key says nothing of who sealed. So the sender signs what was sealed together with whom it is
//! for: nobody can pass another's message on as his own, or to somebody else than it was written for.

use crate::codec::{DecodeError, Reader, known_sections, put_section};
use crate::crypto::x_wing::{self, KemPublic, KemSecret, XWingError};
use crate::crypto::{PublicKey, Scheme, SignatureError, SigningKey};
use crate::{Hash, KeyId, hash};
use alloc::vec::Vec;
use thiserror::Error;
use zeroize::Zeroizing;

/// Longest plaintext, in bytes.
pub const SEALED_PLAINTEXT_MAX: usize = 16 << 20;
/// Longest context, in bytes.
pub const SEALED_CONTEXT_MAX: usize = 1_024;
/// What the library is told that it seals; the context follows.
const INFO: &[u8] = b"selfchain/sealed/v1";

/// Why a message was not sealed or opened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SealedError {
    /// It is no message.
    #[error("it is no sealed message")]
    Decode(#[from] DecodeError),
    /// Longer than any may be.
    #[error("the {what} has {got} bytes, at most {max} are sealed")]
    TooLong {
        /// What.
        what: &'static str,
        /// Bytes it has.
        got: usize,
        /// Bytes it may have.
        max: usize,
    },
    /// It is for another key.
    #[error("it is sealed to key {sealed_to}, this is key {mine}")]
    Recipient {
        /// Whom it is for.
        sealed_to: Hash,
        /// Who wants to read it.
        mine: Hash,
    },
    /// Somebody else sent it.
    #[error("key {sender} sent it, not {expected}")]
    Sender {
        /// Who did.
        sender: KeyId,
        /// Who should have.
        expected: KeyId,
    },
    /// The sender's signature does not hold.
    #[error("its sender's signature does not hold: it was changed, or another key signed it")]
    Signature(#[from] SignatureError),
    /// It does not open.
    #[error(transparent)]
    Open(#[from] XWingError),
}

/// A message that was opened.
#[derive(Debug)]
pub struct Opened {
    /// Who sealed it. Whether to believe that key is for the reader to decide.
    pub sender: PublicKey,
    /// What it says.
    pub plaintext: Zeroizing<Vec<u8>>,
}

mod section {
    pub(super) const SENDER: u16 = 1;
    pub(super) const RECIPIENT: u16 = 2;
    pub(super) const SEALED: u16 = 3;
    pub(super) const SIGNATURE: u16 = 4;
}

/// Seals `plaintext` to `recipient`, signed by `sender` under any scheme. `context` says what it is about; the reader
/// must name the same.
///
/// # Errors
/// [`SealedError::TooLong`], [`SealedError::Open`] where there are no random numbers.
pub fn seal_message(
    sender: &SigningKey,
    recipient: &KemPublic,
    plaintext: &[u8],
    context: &[u8],
) -> Result<Vec<u8>, SealedError> {
    bounded("message", plaintext, SEALED_PLAINTEXT_MAX)?;
    bounded("context", context, SEALED_CONTEXT_MAX)?;
    let info = [INFO, context].concat();
    let sealed = x_wing::seal(recipient, &info, sender.id().0.as_bytes(), plaintext)?;
    let signature = sender.sign(digest(&sender.id(), &recipient.id(), context, &sealed).as_bytes());
    let mut out = Vec::with_capacity(sealed.len() + signature.len() + 4_096);
    put_section(&mut out, section::SENDER, |out| {
        out.extend_from_slice(&sender.public().scheme().code().to_le_bytes());
        out.extend_from_slice(sender.public().as_bytes());
    });
    put_section(&mut out, section::RECIPIENT, |out| {
        out.extend_from_slice(recipient.id().as_bytes());
    });
    put_section(&mut out, section::SEALED, |out| out.extend_from_slice(&sealed));
    put_section(&mut out, section::SIGNATURE, |out| {
        out.extend_from_slice(&signature);
    });
    Ok(out)
}

/// Opens a message: checks that it is for `recipient`, who sent it, the signature, and only then decrypts. With
/// `expected`, nobody else's message is taken.
///
/// # Errors
/// [`SealedError`].
pub fn open_message(
    recipient: &KemSecret,
    expected: Option<&KeyId>,
    message: &[u8],
    context: &[u8],
) -> Result<Opened, SealedError> {
    bounded("context", context, SEALED_CONTEXT_MAX)?;
    let Parts {
        sender,
        sealed_to,
        sealed,
        signature,
    } = Parts::read(message)?;
    let mine = recipient.public().id();
    if sealed_to != mine {
        return Err(SealedError::Recipient { sealed_to, mine });
    }
    if let Some(expected) = expected
        && sender.id() != *expected
    {
        return Err(SealedError::Sender {
            sender: sender.id(),
            expected: *expected,
        });
    }
    let digest = digest(&sender.id(), &mine, context, sealed);
    sender.verify(digest.as_bytes(), signature)?;
    let info = [INFO, context].concat();
    let plaintext = x_wing::open(recipient, &info, sender.id().0.as_bytes(), sealed)?;
    Ok(Opened { sender, plaintext })
}

/// The sections of a message, none of them believed yet.
struct Parts<'a> {
    sender: PublicKey,
    sealed_to: Hash,
    sealed: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Parts<'a> {
    fn read(message: &'a [u8]) -> Result<Self, SealedError> {
        let kinds = [
            section::SENDER,
            section::RECIPIENT,
            section::SEALED,
            section::SIGNATURE,
        ];
        let sections = known_sections(message, kinds)?;
        let need = |at: usize| sections[at].ok_or(DecodeError::MissingSection { kind: kinds[at] });
        let mut reader = Reader::new("sender of a message", need(0)?);
        let code = reader.u16()?;
        let scheme = Scheme::from_code(code).ok_or(DecodeError::Value {
            what: "signature scheme",
            value: u64::from(code),
        })?;
        let sender = PublicKey::new(scheme, reader.rest())?;
        let mut reader = Reader::new("recipient of a message", need(1)?);
        let sealed_to = reader.hash()?;
        reader.finish()?;
        let sealed = need(2)?;
        bounded(
            "message",
            sealed,
            SEALED_PLAINTEXT_MAX + x_wing::KEM_SEAL_OVERHEAD,
        )?;
        Ok(Self {
            sender,
            sealed_to,
            sealed,
            signature: need(3)?,
        })
    }
}

/// What the sender signs: `H(sealed; sender 32 ‖ recipient 32 ‖ context length u32 ‖ context ‖ sealed)`.
fn digest(sender: &KeyId, recipient: &Hash, context: &[u8], sealed: &[u8]) -> Hash {
    let len = crate::codec::narrow(context.len()).to_le_bytes();
    let parts = [
        sender.0.as_bytes(),
        recipient.as_bytes().as_slice(),
        &len,
        context,
        sealed,
    ];
    hash::SEALED.hash_parts(&parts)
}

fn bounded(what: &'static str, bytes: &[u8], max: usize) -> Result<(), SealedError> {
    let got = bytes.len();
    match got > max {
        true => Err(SealedError::TooLong { what, got, max }),
        false => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn keys() -> (SigningKey, KemSecret) {
        (SigningKey::from_seed(&[1; 32]), KemSecret::from_seed(&[2; 32]))
    }

    #[test]
    fn a_message_opens_for_its_reader_from_its_sender_about_its_matter() {
        let (sender, reader) = keys();
        let message = seal_message(&sender, reader.public(), b"an offer", b"trade 7").unwrap();
        let opened = open_message(&reader, Some(&sender.id()), &message, b"trade 7").unwrap();
        assert_eq!(
            (opened.plaintext.as_slice(), opened.sender.id()),
            (&b"an offer"[..], sender.id())
        );
        let other = KemSecret::from_seed(&[3; 32]);
        assert!(matches!(
            open_message(&other, None, &message, b"trade 7"),
            Err(SealedError::Recipient { .. })
        ));
        assert!(matches!(
            open_message(&reader, Some(&KeyId(Hash([9; 32]))), &message, b"trade 7"),
            Err(SealedError::Sender { .. })
        ));
        assert!(matches!(
            open_message(&reader, None, &message, b"trade 8"),
            Err(SealedError::Signature(_))
        ));
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_refused() {
        let (sender, reader) = keys();
        let message = seal_message(&sender, reader.public(), b"an offer", b"").unwrap();
        for at in 0..message.len() {
            let mut changed = message.clone();
            changed[at] ^= 1 << (at % 8);
            assert!(open_message(&reader, None, &changed, b"").is_err(), "byte {at}");
            assert!(
                open_message(&reader, None, &message[..at], b"").is_err(),
                "cut at {at}"
            );
        }
    }

    #[test]
    fn nobody_can_put_his_own_name_to_anothers_message() {
        let (sender, reader) = keys();
        let message = seal_message(&sender, reader.public(), b"an offer", b"").unwrap();
        let Parts { sealed, .. } = Parts::read(&message).unwrap();
        let thief = SigningKey::from_seed(&[9; 32]);
        let signature = thief.sign(digest(&thief.id(), &reader.public().id(), b"", sealed).as_bytes());
        let mut forged = Vec::new();
        put_section(&mut forged, section::SENDER, |out| {
            out.extend_from_slice(&thief.public().scheme().code().to_le_bytes());
            out.extend_from_slice(thief.public().as_bytes());
        });
        put_section(&mut forged, section::RECIPIENT, |out| {
            out.extend_from_slice(reader.public().id().as_bytes());
        });
        put_section(&mut forged, section::SEALED, |out| out.extend_from_slice(sealed));
        put_section(&mut forged, section::SIGNATURE, |out| {
            out.extend_from_slice(&signature);
        });
        // The signature holds, but the sender's id went into the sealing too.
        assert_eq!(
            open_message(&reader, None, &forged, b"").unwrap_err(),
            SealedError::Open(XWingError::Refused)
        );
    }

    #[test]
    fn nobody_can_send_a_message_on_to_another_reader() {
        let (sender, reader) = keys();
        let other = KemSecret::from_seed(&[3; 32]);
        let mut message = seal_message(&sender, reader.public(), b"an offer", b"").unwrap();
        let (from, to) = (reader.public().id(), other.public().id());
        let at = message
            .windows(Hash::LEN)
            .position(|bytes| bytes == from.as_bytes());
        let at = at.unwrap();
        message[at..at + Hash::LEN].copy_from_slice(to.as_bytes());
        assert!(matches!(
            open_message(&other, None, &message, b""),
            Err(SealedError::Signature(_))
        ));
    }

    #[test]
    fn what_is_too_long_is_refused_with_its_limit() {
        let (sender, reader) = keys();
        let error = seal_message(&sender, reader.public(), b"", &[0; SEALED_CONTEXT_MAX + 1]).unwrap_err();
        assert_eq!(
            error,
            SealedError::TooLong {
                what: "context",
                got: SEALED_CONTEXT_MAX + 1,
                max: SEALED_CONTEXT_MAX
            }
        );
    }
}
