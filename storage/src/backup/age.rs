//! age files (age-encryption.org/v1) sealed to keys that hold against a quantum computer too: the recipient type
//! `mlkem768x25519` over our X-Wing, and its keys as text.
//!
//! The file key is sealed by HPKE in base mode, X-Wing with HKDF-SHA256 and ChaCha20-Poly1305, for the purpose
//! `age-encryption.org/mlkem768x25519`. The stanza is the type, HPKE's `enc` in base64, and the sealed file key.

use std::collections::HashSet;
use std::io::{self, Read as _, Write as _};

use age::{DecryptError, Decryptor, EncryptError, Encryptor};
use age_core::format::{FILE_KEY_BYTES, FileKey, Stanza};
use age_core::secrecy::ExposeSecret as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use bech32::{FromBase32 as _, ToBase32 as _, Variant};
use selfchain_types::Hash;
use selfchain_types::crypto::x_wing::{ENC_LEN, KemPublic, KemSecret, XWingError, open, seal};
use zeroize::{Zeroize as _, Zeroizing};

/// The type of the stanza.
const STANZA_TAG: &str = "mlkem768x25519";
/// What the file key is sealed for.
const INFO: &[u8] = b"age-encryption.org/mlkem768x25519";
/// Files sealed to such a key may have no recipients that a quantum computer could open them for.
const LABEL: &str = "postquantum";
/// What a recipient's text begins with, before the separator.
const RECIPIENT_PREFIX: &str = "age1pq";
/// What an identity's text begins with. bech32 is in one case; identities are shown in capitals.
const IDENTITY_PREFIX: &str = "age-secret-key-pq-";
/// Bytes of a sealed file key.
const SEALED_KEY_LEN: usize = FILE_KEY_BYTES + 16;
/// Longest text that is looked at as a key.
const TEXT_LEN_MAX: usize = 4_096;

/// Whom a file is sealed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient(KemPublic);

/// Who can open it.
#[derive(Debug)]
pub struct Identity(KemSecret);

/// Why a text is no key of age's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyTextError {
    /// It is not bech32, or too long for a key.
    #[error("it is no key: not bech32, or changed")]
    Text,
    /// It begins otherwise.
    #[error("it does not begin with {want}")]
    Kind {
        /// What it should begin with.
        want: &'static str,
        /// Whether it is a key of age at all.
        is_age: bool,
    },
    /// The key in it is not one.
    #[error("the key in it is none")]
    Key(#[source] XWingError),
}

/// Why a file was not sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum AgeError {
    /// It is no age file, or its header was changed.
    #[error("its header is no age header, or was changed")]
    Header,
    /// None of the keys that it is sealed to is this one.
    #[error("it is not sealed to this key")]
    NoMatch,
    /// What it holds was changed or cut.
    #[error("what it holds was changed or cut off")]
    Payload,
    /// It holds more than it may.
    #[error("it holds more than {max} bytes")]
    TooLong {
        /// Bytes that it may hold.
        max: u64,
    },
    /// It is sealed to nobody.
    #[error("it would be sealed to nobody")]
    NoRecipients,
    /// The library could not seal it.
    #[error("it could not be sealed: {0}")]
    Seal(String),
}

impl Recipient {
    /// The recipient with this key.
    pub fn new(public: KemPublic) -> Self {
        Self(public)
    }

    /// Reads `age1pq1…`.
    ///
    /// # Errors
    /// [`KeyTextError`].
    pub fn parse(text: &str) -> Result<Self, KeyTextError> {
        let bytes = parse_key(text, RECIPIENT_PREFIX, "age1pq1")?;
        KemPublic::new(&bytes).map(Self).map_err(KeyTextError::Key)
    }

    /// `age1pq1…`.
    pub fn text(&self) -> String {
        let data = self.0.as_bytes().as_slice().to_base32();
        bech32::encode(RECIPIENT_PREFIX, data, Variant::Bech32).expect("the prefix is in one case")
    }

    /// The key.
    pub fn public(&self) -> &KemPublic {
        &self.0
    }

    /// The key's id.
    pub fn id(&self) -> Hash {
        self.0.id()
    }
}

impl Identity {
    /// The identity with this key.
    pub fn new(secret: KemSecret) -> Self {
        Self(secret)
    }

    /// Reads `AGE-SECRET-KEY-PQ-1…`.
    ///
    /// # Errors
    /// [`KeyTextError`].
    pub fn parse(text: &str) -> Result<Self, KeyTextError> {
        let mut bytes = parse_key(text, IDENTITY_PREFIX, "AGE-SECRET-KEY-PQ-1")?;
        let seed = <[u8; 32]>::try_from(bytes.as_slice()).map(Zeroizing::new);
        bytes.zeroize();
        let seed = seed.map_err(|_| KeyTextError::Text)?;
        Ok(Self(KemSecret::from_seed(&seed)))
    }

    /// `AGE-SECRET-KEY-PQ-1…`. Keep it secret.
    pub fn text(&self) -> Zeroizing<String> {
        let data = self.0.seed().as_slice().to_base32();
        let text = bech32::encode(IDENTITY_PREFIX, data, Variant::Bech32);
        let mut text = text.expect("the prefix is in one case");
        text.make_ascii_uppercase();
        Zeroizing::new(text)
    }

    /// Whom to seal to so that this one can open.
    pub fn recipient(&self) -> Recipient {
        Recipient(self.0.public().clone())
    }

    /// The key.
    pub fn secret(&self) -> &KemSecret {
        &self.0
    }
}

fn parse_key(text: &str, prefix: &str, want: &'static str) -> Result<Vec<u8>, KeyTextError> {
    if text.len() > TEXT_LEN_MAX {
        return Err(KeyTextError::Text);
    }
    let (found, data, variant) = bech32::decode(text).map_err(|_| KeyTextError::Text)?;
    if found != prefix || !text.starts_with(want) {
        let is_age = found.starts_with("age");
        return Err(KeyTextError::Kind { want, is_age });
    }
    if variant != Variant::Bech32 {
        return Err(KeyTextError::Text);
    }
    Vec::from_base32(&data).map_err(|_| KeyTextError::Text)
}

impl age::Recipient for Recipient {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        let sealed = seal(&self.0, INFO, &[], file_key.expose_secret().as_slice());
        let sealed = sealed.map_err(|error| EncryptError::Io(io::Error::other(error)))?;
        let (enc, body) = sealed.split_at(ENC_LEN);
        let stanza = Stanza {
            tag: STANZA_TAG.to_owned(),
            args: vec![BASE64_STANDARD_NO_PAD.encode(enc)],
            body: body.to_vec(),
        };
        Ok((vec![stanza], HashSet::from([LABEL.to_owned()])))
    }
}

impl age::Identity for Identity {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        if stanza.tag != STANZA_TAG {
            return None;
        }
        let refused = || Some(Err(DecryptError::InvalidHeader));
        // The library's base64 refuses what is not canonical.
        let enc = match stanza.args.as_slice() {
            [one] => BASE64_STANDARD_NO_PAD.decode(one).ok(),
            _ => None,
        };
        let Some(sealed) = enc.filter(|enc| enc.len() == ENC_LEN && stanza.body.len() == SEALED_KEY_LEN)
        else {
            return refused();
        };
        match open(&self.0, INFO, &[], &[sealed.as_slice(), &stanza.body].concat()) {
            Ok(key) => Some(Ok(FileKey::init_with_mut(|bytes| bytes.copy_from_slice(&key)))),
            // Another of the stanzas may be this key's.
            Err(XWingError::Refused) => None,
            Err(_) => refused(),
        }
    }
}

/// An age file of `plaintext` that any of `recipients` can open.
///
/// # Errors
/// [`AgeError::NoRecipients`], [`AgeError::Seal`].
pub fn seal_file(recipients: &[Recipient], plaintext: &[u8]) -> Result<Vec<u8>, AgeError> {
    let failed = |error: &dyn std::error::Error| AgeError::Seal(error.to_string());
    let recipients = recipients.iter().map(|one| {
        let one: &dyn age::Recipient = one;
        one
    });
    let encryptor = match Encryptor::with_recipients(recipients) {
        Err(EncryptError::MissingRecipients) => return Err(AgeError::NoRecipients),
        made => made.map_err(|error| failed(&error))?,
    };
    // Its header, and a tag for every 64 KiB.
    let out = Vec::with_capacity(plaintext.len() + plaintext.len() / 2_048 + 16_384);
    let mut writer = encryptor.wrap_output(out).map_err(|error| failed(&error))?;
    let written = writer.write_all(plaintext);
    written
        .and_then(|()| writer.finish())
        .map_err(|error| failed(&error))
}

/// What an age file holds, at most `max` bytes, opened by `identity`. Nothing of it is given out before all of it has
/// been checked.
///
/// # Errors
/// [`AgeError`].
pub fn open_file(identity: &Identity, file: &[u8], max: u64) -> Result<Vec<u8>, AgeError> {
    let identity: &dyn age::Identity = identity;
    let opened = Decryptor::new_buffered(file)
        .and_then(|decryptor| decryptor.decrypt(std::iter::once(identity)))
        .map_err(|error| match error {
            DecryptError::NoMatchingKeys | DecryptError::KeyDecryptionFailed => AgeError::NoMatch,
            DecryptError::DecryptionFailed => AgeError::Payload,
            _ => AgeError::Header,
        })?;
    let mut plaintext = Vec::with_capacity(file.len());
    let read = opened.take(max.saturating_add(1)).read_to_end(&mut plaintext);
    read.map_err(|_| AgeError::Payload)?;
    if u64::try_from(plaintext.len()).is_ok_and(|len| len > max) {
        return Err(AgeError::TooLong { max });
    }
    Ok(plaintext)
}

#[cfg(test)]
#[path = "age_tests.rs"]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
