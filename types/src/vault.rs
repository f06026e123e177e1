//! The words of the vault: versions of a user's own documents, who may see them, who was turned away.
//! `docs/formats/vault.md`.

mod ask;

pub use ask::{Access, OwnerQuery, VaultAction, VaultAnswer, VaultQuery, VaultStanding};

use crate::codec::{DecodeError, Reader, put_text_u16};
use crate::{Hash, Height, KeyId, TimeNs, hash};
use alloc::string::String;
use alloc::vec::Vec;
use thiserror::Error;

/// Most bytes of a document's name or of a prefix.
pub const NAME_BYTES_MAX: usize = 512;
/// Most bytes of content in one request or answer.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;
/// Most versions, grants or denials in one answer.
pub const ROWS_MAX: u16 = 1_000;

/// Why a text names no document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// It is empty or too long.
    #[error("a name has 1 to {NAME_BYTES_MAX} bytes, not {got}")]
    Length {
        /// Bytes it has.
        got: usize,
    },
    /// It holds a control character.
    #[error("a name has no control characters, as at byte {at}")]
    Control {
        /// Where.
        at: usize,
    },
    /// A part between slashes is empty, `.` or `..`.
    #[error("between slashes a name has neither nothing nor `.` nor `..`")]
    Part,
}

/// Checks a document's name: UTF-8 with `/` between its parts, as `notes/2026/plan.md`.
///
/// # Errors
/// [`NameError`].
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Length { got: 0 });
    }
    check_prefix(name)?;
    match name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        true => Err(NameError::Part),
        false => Ok(()),
    }
}

/// Checks the beginning of names; nothing is the beginning of all.
///
/// # Errors
/// [`NameError`].
pub fn check_prefix(prefix: &str) -> Result<(), NameError> {
    if prefix.len() > NAME_BYTES_MAX {
        return Err(NameError::Length { got: prefix.len() });
    }
    match prefix.char_indices().find(|(_, letter)| letter.is_control()) {
        Some((at, _)) => Err(NameError::Control { at }),
        None => Ok(()),
    }
}

/// What a version is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionState {
    /// It has content.
    Written,
    /// The document was removed; the versions before it are there.
    Removed,
    /// Its content is destroyed; only its hash is left.
    Purged,
}

impl VersionState {
    /// The byte on the wire and on the disk.
    pub const fn code(self) -> u8 {
        match self {
            Self::Written => 1,
            Self::Removed => 2,
            Self::Purged => 3,
        }
    }

    /// The one with this byte.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Written),
            2 => Some(Self::Removed),
            3 => Some(Self::Purged),
            _ => None,
        }
    }

    /// The name in text and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Removed => "removed",
            Self::Purged => "purged",
        }
    }
}

/// Where on the ledger a hash was anchored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchored {
    /// The transaction.
    pub tx_id: Hash,
    /// Its block.
    pub height: Height,
}

/// One version of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The document's name.
    pub name: String,
    /// Counts from 1.
    pub number: u64,
    /// What it is.
    pub state: VersionState,
    /// Hash of the version before; zeros for the first.
    pub previous: Hash,
    /// Random: hides from whoever sees the hash alone what it stands for. Zeros when purged.
    pub salt: Hash,
    /// BLAKE3 of the content; zeros without any.
    pub content: Hash,
    /// Bytes of the content.
    pub len: u64,
    /// When it was written, by the clock of the machine that did.
    pub time_ns: TimeNs,
    /// Who wrote it.
    pub author: KeyId,
    /// What stands for all of the above, and is anchored on the ledger: [`Version::commitment`].
    pub hash: Hash,
    /// Where that was anchored.
    pub anchored: Option<Anchored>,
}

impl Version {
    /// `H(vault-version; salt ‖ previous ‖ number ‖ state ‖ content ‖ len ‖ time ‖ author ‖ name)`. Of a purged version
    /// it cannot be computed any more.
    pub fn commitment(&self) -> Hash {
        hash::VAULT_VERSION.hash_parts(&[
            &self.salt.0,
            &self.previous.0,
            &self.number.to_le_bytes(),
            &[self.state.code()],
            &self.content.0,
            &self.len.to_le_bytes(),
            &self.time_ns.0.to_le_bytes(),
            &self.author.0.0,
            self.name.as_bytes(),
        ])
    }

    /// What is left when its content is destroyed.
    #[must_use]
    pub fn purged(&self) -> Self {
        Self {
            state: VersionState::Purged,
            salt: Hash::ZERO,
            content: Hash::ZERO,
            len: 0,
            ..self.clone()
        }
    }

    /// Appends its bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_text_u16(out, &self.name);
        out.extend_from_slice(&self.number.to_le_bytes());
        out.push(self.state.code());
        for hash in [self.previous, self.salt, self.content] {
            out.extend_from_slice(hash.as_bytes());
        }
        out.extend_from_slice(&self.len.to_le_bytes());
        out.extend_from_slice(&self.time_ns.0.to_le_bytes());
        out.extend_from_slice(self.author.0.as_bytes());
        out.extend_from_slice(self.hash.as_bytes());
        encode_anchored(self.anchored, out);
    }

    /// Reads one, and holds its hash against what it says.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let name = decode_name(reader)?.into();
        let number = reader.u64()?;
        let code = reader.u8()?;
        let state = VersionState::from_code(code).ok_or(DecodeError::Value {
            what: "state of a version",
            value: u64::from(code),
        })?;
        let version = Self {
            name,
            number,
            state,
            previous: reader.hash()?,
            salt: reader.hash()?,
            content: reader.hash()?,
            len: reader.u64()?,
            time_ns: TimeNs(reader.u64()?),
            author: KeyId(reader.hash()?),
            hash: reader.hash()?,
            anchored: decode_anchored(reader)?,
        };
        let holds = match state {
            VersionState::Purged => version == version.purged(),
            VersionState::Written | VersionState::Removed => version.hash == version.commitment(),
        };
        match holds && number > 0 {
            true => Ok(version),
            false => Err(DecodeError::Value {
                what: "version whose hash does not hold",
                value: number,
            }),
        }
    }
}

pub(super) fn encode_anchored(anchored: Option<Anchored>, out: &mut Vec<u8>) {
    match anchored {
        None => out.push(0),
        Some(Anchored { tx_id, height }) => {
            out.push(1);
            out.extend_from_slice(tx_id.as_bytes());
            out.extend_from_slice(&height.0.to_le_bytes());
        }
    }
}

pub(super) fn decode_anchored(reader: &mut Reader<'_>) -> Result<Option<Anchored>, DecodeError> {
    match decode_flag("anchored", reader)? {
        false => Ok(None),
        true => Ok(Some(Anchored {
            tx_id: reader.hash()?,
            height: Height(reader.u64()?),
        })),
    }
}

pub(super) fn decode_flag(what: &'static str, reader: &mut Reader<'_>) -> Result<bool, DecodeError> {
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        value => Err(DecodeError::Value {
            what,
            value: u64::from(value),
        }),
    }
}

pub(super) fn decode_name<'a>(reader: &mut Reader<'a>) -> Result<&'a str, DecodeError> {
    let name = reader.text_u16()?;
    let wrong = |_| DecodeError::Value {
        what: "name of a document",
        value: crate::codec::wide(name.len()),
    };
    check_name(name).map_err(wrong)?;
    Ok(name)
}

pub(super) fn decode_prefix<'a>(reader: &mut Reader<'a>) -> Result<&'a str, DecodeError> {
    let prefix = reader.text_u16()?;
    let wrong = |_| DecodeError::Value {
        what: "prefix of names",
        value: crate::codec::wide(prefix.len()),
    };
    check_prefix(prefix).map_err(wrong)?;
    Ok(prefix)
}

/// What a key may do with documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// List, read, and see the history.
    pub read: bool,
    /// Write new versions, and remove without destroying.
    pub write: bool,
}

impl Rights {
    const READ: u8 = 1;
    const WRITE: u8 = 2;

    fn code(self) -> u8 {
        u8::from(self.read) * Self::READ + u8::from(self.write) * Self::WRITE
    }

    fn from_code(code: u8) -> Result<Self, DecodeError> {
        match code {
            1..=3 => Ok(Self {
                read: code & Self::READ != 0,
                write: code & Self::WRITE != 0,
            }),
            value => Err(DecodeError::Value {
                what: "rights",
                value: u64::from(value),
            }),
        }
    }
}

/// A key's permission for the documents whose names begin so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whose.
    pub key: KeyId,
    /// The beginning of the names; empty for all.
    pub prefix: String,
    /// For what.
    pub rights: Rights,
    /// From when on it is over; 0 = never.
    pub until_ns: TimeNs,
    /// When it was given.
    pub time_ns: TimeNs,
}

impl Grant {
    /// Whether it holds at `now`.
    pub fn is_in_force(&self, now: TimeNs) -> bool {
        self.until_ns.0 == 0 || now < self.until_ns
    }

    /// Appends its bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.key.0.as_bytes());
        put_text_u16(out, &self.prefix);
        out.push(self.rights.code());
        out.extend_from_slice(&self.until_ns.0.to_le_bytes());
        out.extend_from_slice(&self.time_ns.0.to_le_bytes());
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            key: KeyId(reader.hash()?),
            prefix: decode_prefix(reader)?.into(),
            rights: Rights::from_code(reader.u8()?)?,
            until_ns: TimeNs(reader.u64()?),
            time_ns: TimeNs(reader.u64()?),
        })
    }
}

/// Why somebody was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenialReason {
    /// No key was shown in the handshake.
    NoKey,
    /// The key has no grant for that.
    NoGrant,
    /// The key's grant is over.
    Expired,
    /// Only the owner may.
    OwnerOnly,
}

impl DenialReason {
    /// The name in text, metrics and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoKey => "no_key",
            Self::NoGrant => "no_grant",
            Self::Expired => "expired",
            Self::OwnerOnly => "owner_only",
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::NoKey => 1,
            Self::NoGrant => 2,
            Self::Expired => 3,
            Self::OwnerOnly => 4,
        }
    }

    fn from_code(code: u8) -> Result<Self, DecodeError> {
        Ok(match code {
            1 => Self::NoKey,
            2 => Self::NoGrant,
            3 => Self::Expired,
            4 => Self::OwnerOnly,
            value => {
                return Err(DecodeError::Value {
                    what: "reason of a denial",
                    value: u64::from(value),
                });
            }
        })
    }
}

/// Somebody was turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// When.
    pub time_ns: TimeNs,
    /// The key that asked, if it showed one.
    pub key: Option<KeyId>,
    /// The address that asked.
    pub address: String,
    /// What it asked for.
    pub action: VaultAction,
    /// Of which document, or of which beginning of names.
    pub name: String,
    /// Why not.
    pub why: DenialReason,
    /// Denials before this one that were only counted, because too many came at once.
    pub missed: u64,
}

/// Most bytes of the text of an address.
pub const ADDRESS_TEXT_MAX: usize = 64;

impl Denial {
    /// Appends its bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.time_ns.0.to_le_bytes());
        match self.key {
            None => out.push(0),
            Some(key) => {
                out.push(1);
                out.extend_from_slice(key.0.as_bytes());
            }
        }
        put_text_u16(out, &self.address);
        out.push(self.action.code());
        put_text_u16(out, &self.name);
        out.push(self.why.code());
        out.extend_from_slice(&self.missed.to_le_bytes());
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let time_ns = TimeNs(reader.u64()?);
        let key = match decode_flag("key of a denial", reader)? {
            true => Some(KeyId(reader.hash()?)),
            false => None,
        };
        let address = reader.text_u16()?;
        if address.len() > ADDRESS_TEXT_MAX {
            return Err(DecodeError::Value {
                what: "address of a denial",
                value: crate::codec::wide(address.len()),
            });
        }
        let code = reader.u8()?;
        let action = VaultAction::from_code(code).ok_or(DecodeError::Value {
            what: "action of a denial",
            value: u64::from(code),
        })?;
        Ok(Self {
            time_ns,
            key,
            address: address.into(),
            action,
            name: decode_prefix(reader)?.into(),
            why: DenialReason::from_code(reader.u8()?)?,
            missed: reader.u64()?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn names_are_paths_without_surprises() {
        let long = "x".repeat(NAME_BYTES_MAX);
        for name in [
            "a",
            "notes/plan.md",
            "überall/ü",
            " spaces too ",
            ".hidden",
            &long,
        ] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["/a", "a/", "a//b", "a/../b", ".", "./a"] {
            assert_eq!(check_name(name), Err(NameError::Part), "{name}");
        }
        assert_eq!(check_name(""), Err(NameError::Length { got: 0 }));
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        assert_eq!(
            check_name(&long),
            Err(NameError::Length {
                got: NAME_BYTES_MAX + 1
            })
        );
        assert_eq!(check_name("a\nb"), Err(NameError::Control { at: 1 }));
        assert_eq!(check_prefix(""), Ok(()));
        assert_eq!(check_prefix("notes/"), Ok(()));
    }

    #[test]
    fn a_version_reads_back_and_no_field_of_it_may_change() {
        let mut version = Version {
            name: "notes/plan.md".into(),
            number: 3,
            state: VersionState::Written,
            previous: Hash([1; 32]),
            salt: Hash([2; 32]),
            content: Hash([3; 32]),
            len: 4,
            time_ns: TimeNs(5),
            author: KeyId(Hash([6; 32])),
            hash: Hash::ZERO,
            anchored: None,
        };
        version.hash = version.commitment();
        let mut bytes = Vec::new();
        version.encode(&mut bytes);
        let read = |bytes: &[u8]| Version::decode(&mut Reader::new("version", bytes));
        assert_eq!(read(&bytes).unwrap(), version);
        // The flag behind the hash says only where it was anchored.
        for at in 0..bytes.len() - 1 {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(read(&changed).is_err(), "byte {at}");
        }
        let mut bytes = Vec::new();
        version.purged().encode(&mut bytes);
        assert_eq!(read(&bytes).unwrap().hash, version.hash);
    }

    #[test]
    fn a_grant_ends_when_it_says() {
        let grant = |until| Grant {
            key: KeyId(Hash::ZERO),
            prefix: String::new(),
            rights: Rights::default(),
            until_ns: TimeNs(until),
            time_ns: TimeNs(0),
        };
        assert!(grant(0).is_in_force(TimeNs(u64::MAX)));
        assert!(grant(5).is_in_force(TimeNs(4)));
        assert!(!grant(5).is_in_force(TimeNs(5)));
    }
}
