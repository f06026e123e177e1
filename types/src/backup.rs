//! Backups: what one piece of a backup is called, and the manifest that says what belongs together.
//!
//! A backup is a chain of manifests, each with parts of its own. A manifest names the one before it by hash, and the
//! owner's root key signs it: whoever keeps a backup can neither change it nor put pieces of two together. What a part
//! holds is for storage to know; `docs/formats/backup.md`.

use crate::codec::{
    DecodeError, Reader, SECTION_HEADER_LEN, known_sections, put_bytes_u32, put_section, put_text_u16,
};
use crate::crypto::{PublicKey, Scheme, SignatureError, SigningKey};
use crate::{Hash, Height, KeyId, TimeNs, hash};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use thiserror::Error;

/// Most parts of one manifest. A backup that needs more has several manifests, each complete in itself: what is cut off
/// goes on after the last.
pub const PARTS_MAX: usize = 64;
/// Most keys that a backup is sealed to.
pub const RECIPIENTS_MAX: usize = 16;
/// Most files that a backup names.
pub const FILES_MAX: usize = 4_096;
/// Longest path of such a file, in bytes.
pub const PATH_LEN_MAX: usize = 512;
/// Longest manifest, in bytes: 4,096 files with long paths, and any signature.
pub const MANIFEST_LEN_MAX: usize = 4 << 20;

/// One piece of a backup, as a directory and a peer know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BackupItem {
    /// The manifest with this number; the first is 1.
    Manifest(u64),
    /// A part of that manifest.
    Part {
        /// The manifest's number.
        sequence: u64,
        /// Which of its parts, from 0 on.
        number: u32,
    },
}

impl BackupItem {
    /// Bytes on the wire.
    pub const LEN: usize = 13;

    /// The manifest that it belongs to.
    pub fn sequence(self) -> u64 {
        match self {
            Self::Manifest(sequence) | Self::Part { sequence, .. } => sequence,
        }
    }

    /// The name of its file.
    pub fn file_name(self) -> String {
        match self {
            Self::Manifest(sequence) => format!("{sequence:010}.manifest"),
            Self::Part { sequence, number } => format!("{sequence:010}-{number:04}.age"),
        }
    }

    /// The piece whose file has this name, if it is one.
    pub fn of_file_name(name: &str) -> Option<Self> {
        let item = match name.strip_suffix(".manifest") {
            Some(sequence) => Self::Manifest(sequence.parse().ok()?),
            None => {
                let (sequence, number) = name.strip_suffix(".age")?.split_once('-')?;
                Self::Part {
                    sequence: sequence.parse().ok()?,
                    number: number.parse().ok()?,
                }
            }
        };
        // One piece has one name.
        (item.file_name() == name).then_some(item)
    }

    /// Appends its bytes: kind u8, sequence u64, number u32.
    pub fn put(self, out: &mut Vec<u8>) {
        let (kind, number) = match self {
            Self::Manifest(_) => (1, 0),
            Self::Part { number, .. } => (2, number),
        };
        out.push(kind);
        out.extend_from_slice(&self.sequence().to_le_bytes());
        out.extend_from_slice(&number.to_le_bytes());
    }

    /// Reads its bytes.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (kind, sequence, number) = (reader.u8()?, reader.u64()?, reader.u32()?);
        match (kind, number) {
            (1, 0) => Ok(Self::Manifest(sequence)),
            (2, number) => Ok(Self::Part { sequence, number }),
            _ => Err(value("backup item", u64::from(kind))),
        }
    }
}

impl core::fmt::Display for BackupItem {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.file_name())
    }
}

/// What a part holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartHolds {
    /// The log's rows from one height to another.
    Rows {
        /// The first.
        first: Height,
        /// The last.
        last: Height,
    },
    /// Pieces of files.
    Files,
}

/// A part, as its manifest names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartEntry {
    /// What it holds.
    pub holds: PartHolds,
    /// Bytes of what it holds, before they were compressed.
    pub content_len: u64,
    /// BLAKE3 of what was encrypted: the compressed content.
    pub plain_hash: Hash,
    /// Bytes of its file.
    pub len: u64,
    /// BLAKE3 of its file.
    pub hash: Hash,
}

/// A file, as it was when the backup was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Where, relative to the data directory.
    pub path: String,
    /// Its length in bytes.
    pub len: u64,
    /// BLAKE3 of it.
    pub hash: Hash,
}

/// How far a backup reaches, with all manifests before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// First height; 0 while there is none.
    pub first: Height,
    /// Last height; 0 while there is none.
    pub last: Height,
    /// Hash of the block there.
    pub block: Hash,
    /// The newest state root that this block's header commits to.
    pub state_root: Hash,
    /// After which height.
    pub state_height: Height,
}

/// What a manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestBody {
    /// The chain.
    pub chain_id: Hash,
    /// Its number; the first is 1.
    pub sequence: u64,
    /// The number of the first manifest that a restore needs: its own where it holds everything.
    pub base: u64,
    /// [`Manifest::hash`] of the one before; zeros before the first.
    pub previous: Hash,
    /// When it was made, by the owner's clock.
    pub created: TimeNs,
    /// How far it reaches.
    pub reach: Reach,
    /// Ids of the keys that its parts are sealed to ([`crate::hash::KEM`]).
    pub recipients: Vec<Hash>,
    /// The files there are, by path.
    pub files: Vec<FileEntry>,
    /// Its own parts.
    pub parts: Vec<PartEntry>,
}

/// A manifest whose signature has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    body: ManifestBody,
    signer: PublicKey,
    hash: Hash,
    bytes: Vec<u8>,
}

/// Why bytes are no manifest of the owner's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ManifestError {
    /// They are no manifest.
    #[error("it is no manifest")]
    Decode(#[from] DecodeError),
    /// Somebody else signed it.
    #[error("key {signer} signed it, not the owner's key {owner}")]
    Signer {
        /// Who signed.
        signer: KeyId,
        /// Who should have.
        owner: KeyId,
    },
    /// It was changed after it was signed.
    #[error("its signature does not hold: it was changed, or another key signed it")]
    Signature(#[from] SignatureError),
}

mod section {
    pub(super) const HEAD: u16 = 1;
    pub(super) const REACH: u16 = 2;
    pub(super) const RECIPIENTS: u16 = 3;
    pub(super) const FILES: u16 = 4;
    pub(super) const PARTS: u16 = 5;
    pub(super) const SIGNER: u16 = 6;
    pub(super) const SIGNATURE: u16 = 7;
}

const PART_ROWS: u8 = 1;
const PART_FILES: u8 = 2;

impl Manifest {
    /// Signs what it says with the owner's key.
    pub fn sign(body: ManifestBody, key: &SigningKey) -> Self {
        let mut bytes = Vec::new();
        body.put(&mut bytes);
        let signer = key.public().clone();
        put_section(&mut bytes, section::SIGNER, |out| {
            out.extend_from_slice(&signer.scheme().code().to_le_bytes());
            out.extend_from_slice(signer.as_bytes());
        });
        let hash = hash::BACKUP.hash(&bytes);
        let signature = key.sign(hash.as_bytes());
        put_section(&mut bytes, section::SIGNATURE, |out| {
            out.extend_from_slice(&signature);
        });
        Self {
            body,
            signer,
            hash,
            bytes,
        }
    }

    /// Reads a manifest that `owner` signed.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn decode(bytes: &[u8], owner: &KeyId) -> Result<Self, ManifestError> {
        if bytes.len() > MANIFEST_LEN_MAX {
            return Err(value("manifest length", crate::codec::wide(bytes.len())).into());
        }
        let kinds = [
            section::HEAD,
            section::REACH,
            section::RECIPIENTS,
            section::FILES,
            section::PARTS,
            section::SIGNER,
            section::SIGNATURE,
        ];
        let sections = known_sections(bytes, kinds)?;
        let need = |at: usize| sections[at].ok_or(DecodeError::MissingSection { kind: kinds[at] });
        let mut reader = Reader::new("manifest signer", need(5)?);
        let code = reader.u16()?;
        let scheme = Scheme::from_code(code).ok_or_else(|| value("signature scheme", u64::from(code)))?;
        let signer = PublicKey::new(scheme, reader.rest())?;
        let signature = need(6)?;
        if signer.id() != *owner {
            return Err(ManifestError::Signer {
                signer: signer.id(),
                owner: *owner,
            });
        }
        // The signature is the last section, so what it covers is everything before.
        let signed = bytes.len() - signature.len() - SECTION_HEADER_LEN;
        let hash = hash::BACKUP.hash(&bytes[..signed]);
        signer.verify(hash.as_bytes(), signature)?;
        let body = ManifestBody::read([need(0)?, need(1)?, need(2)?, need(3)?, need(4)?])?;
        Ok(Self {
            body,
            signer,
            hash,
            bytes: bytes.into(),
        })
    }

    /// What it says.
    pub fn body(&self) -> &ManifestBody {
        &self.body
    }

    /// Who signed it.
    pub fn signer(&self) -> &PublicKey {
        &self.signer
    }

    /// What the next manifest names it by: `H(backup; all but the signature)`.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl ManifestBody {
    fn put(&self, out: &mut Vec<u8>) {
        put_section(out, section::HEAD, |out| {
            out.extend_from_slice(self.chain_id.as_bytes());
            out.extend_from_slice(&self.sequence.to_le_bytes());
            out.extend_from_slice(&self.base.to_le_bytes());
            out.extend_from_slice(self.previous.as_bytes());
            out.extend_from_slice(&self.created.0.to_le_bytes());
        });
        put_section(out, section::REACH, |out| {
            out.extend_from_slice(&self.reach.first.0.to_le_bytes());
            out.extend_from_slice(&self.reach.last.0.to_le_bytes());
            out.extend_from_slice(self.reach.block.as_bytes());
            out.extend_from_slice(self.reach.state_root.as_bytes());
            out.extend_from_slice(&self.reach.state_height.0.to_le_bytes());
        });
        put_section(out, section::RECIPIENTS, |out| {
            for recipient in &self.recipients {
                out.extend_from_slice(recipient.as_bytes());
            }
        });
        put_section(out, section::FILES, |out| {
            for file in &self.files {
                put_text_u16(out, &file.path);
                out.extend_from_slice(&file.len.to_le_bytes());
                out.extend_from_slice(file.hash.as_bytes());
            }
        });
        put_section(out, section::PARTS, |out| {
            for part in &self.parts {
                part.put(out);
            }
        });
    }

    fn read([head, reach, recipients, files, parts]: [&[u8]; 5]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("manifest head", head);
        let (chain_id, sequence, base) = (reader.hash()?, reader.u64()?, reader.u64()?);
        let (previous, created) = (reader.hash()?, TimeNs(reader.u64()?));
        reader.finish()?;
        if sequence == 0 || base == 0 || base > sequence || (sequence == 1) != (previous == Hash::ZERO) {
            return Err(value("manifest number", sequence));
        }
        let mut reader = Reader::new("manifest reach", reach);
        let reach = Reach {
            first: Height(reader.u64()?),
            last: Height(reader.u64()?),
            block: reader.hash()?,
            state_root: reader.hash()?,
            state_height: Height(reader.u64()?),
        };
        reader.finish()?;
        // Both are zero while there are no rows in it yet.
        if reach.first > reach.last || (reach.first == Height::GENESIS) != (reach.last == Height::GENESIS) {
            return Err(value("manifest reach", reach.last.0));
        }
        let body = Self {
            chain_id,
            sequence,
            base,
            previous,
            created,
            reach,
            recipients: read_all("recipients", recipients, RECIPIENTS_MAX, Reader::hash)?,
            files: read_all("files", files, FILES_MAX, FileEntry::read)?,
            parts: read_all("parts", parts, PARTS_MAX, PartEntry::read)?,
        };
        if !body.files.is_sorted_by(|a, b| a.path < b.path) {
            return Err(value("order of files", crate::codec::wide(body.files.len())));
        }
        Ok(body)
    }
}

/// Reads values until the bytes end, at most `max`.
fn read_all<'a, T>(
    what: &'static str,
    bytes: &'a [u8],
    max: usize,
    mut read: impl FnMut(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let mut reader = Reader::new(what, bytes);
    let mut all = Vec::new();
    while reader.left() > 0 {
        if all.len() == max {
            return Err(value(what, crate::codec::wide(max) + 1));
        }
        all.push(read(&mut reader)?);
    }
    Ok(all)
}

impl FileEntry {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let path = reader.text_u16()?;
        if !is_path(path) {
            return Err(value("path of a file", crate::codec::wide(path.len())));
        }
        Ok(Self {
            path: path.into(),
            len: reader.u64()?,
            hash: reader.hash()?,
        })
    }
}

/// Whether it is a path that stays in the directory it is relative to: plain names with `/` between them.
pub fn is_path(path: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with('.')
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
    };
    path.len() <= PATH_LEN_MAX && path.split('/').all(is_name)
}

impl PartEntry {
    fn put(&self, out: &mut Vec<u8>) {
        let (kind, first, last) = match self.holds {
            PartHolds::Rows { first, last } => (PART_ROWS, first.0, last.0),
            PartHolds::Files => (PART_FILES, 0, 0),
        };
        out.push(kind);
        for number in [first, last, self.content_len, self.len] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(self.plain_hash.as_bytes());
        out.extend_from_slice(self.hash.as_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = reader.u8()?;
        let (first, last) = (Height(reader.u64()?), Height(reader.u64()?));
        let holds = match kind {
            PART_ROWS if Height::GENESIS < first && first <= last => PartHolds::Rows { first, last },
            PART_FILES if first == Height::GENESIS && last == Height::GENESIS => PartHolds::Files,
            _ => return Err(value("part kind", u64::from(kind))),
        };
        Ok(Self {
            holds,
            content_len: reader.u64()?,
            len: reader.u64()?,
            plain_hash: reader.hash()?,
            hash: reader.hash()?,
        })
    }
}

fn value(what: &'static str, value: u64) -> DecodeError {
    DecodeError::Value { what, value }
}

/// Appends a file's piece of a part: path, offset, bytes.
pub fn put_piece(out: &mut Vec<u8>, path: &str, offset: u64, bytes: &[u8]) {
    put_text_u16(out, path);
    out.extend_from_slice(&offset.to_le_bytes());
    put_bytes_u32(out, bytes);
}

/// Reads one back: path, offset, bytes.
///
/// # Errors
/// [`DecodeError`].
pub fn read_piece<'a>(reader: &mut Reader<'a>) -> Result<(&'a str, u64, &'a [u8]), DecodeError> {
    let path = reader.text_u16()?;
    if !is_path(path) {
        return Err(value("path of a file", crate::codec::wide(path.len())));
    }
    Ok((path, reader.u64()?, reader.bytes_u32()?))
}

/// Appends a row of the log to a part: height, bytes.
pub fn put_row(out: &mut Vec<u8>, height: Height, row: &[u8]) {
    out.extend_from_slice(&height.0.to_le_bytes());
    put_bytes_u32(out, row);
}

/// Reads one back.
///
/// # Errors
/// [`DecodeError`].
pub fn read_row<'a>(reader: &mut Reader<'a>) -> Result<(Height, &'a [u8]), DecodeError> {
    Ok((Height(reader.u64()?), reader.bytes_u32()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use alloc::vec;

    fn body() -> ManifestBody {
        ManifestBody {
            chain_id: Hash([1; 32]),
            sequence: 2,
            base: 1,
            previous: Hash([2; 32]),
            created: TimeNs(3),
            reach: Reach {
                first: Height(1),
                last: Height(9),
                block: Hash([4; 32]),
                state_root: Hash([5; 32]),
                state_height: Height(8),
            },
            recipients: vec![Hash([6; 32])],
            files: vec![FileEntry {
                path: "models/a.scm".into(),
                len: 7,
                hash: Hash([7; 32]),
            }],
            parts: vec![PartEntry {
                holds: PartHolds::Rows {
                    first: Height(5),
                    last: Height(9),
                },
                content_len: 10,
                plain_hash: Hash([8; 32]),
                len: 11,
                hash: Hash([9; 32]),
            }],
        }
    }

    fn key() -> SigningKey {
        SigningKey::from_seed(&[7; 32])
    }

    #[test]
    fn a_manifest_reads_back_and_no_changed_or_cut_byte_passes() {
        let signed = Manifest::sign(body(), &key());
        let read = Manifest::decode(signed.as_bytes(), &key().id()).unwrap();
        assert_eq!((read.body(), read.hash()), (&body(), signed.hash()));
        for at in 0..signed.as_bytes().len() {
            let mut changed = signed.as_bytes().to_vec();
            changed[at] ^= 1 << (at % 8);
            assert!(Manifest::decode(&changed, &key().id()).is_err(), "byte {at}");
            assert!(
                Manifest::decode(&signed.as_bytes()[..at], &key().id()).is_err(),
                "cut at {at}"
            );
        }
    }

    #[test]
    fn anybody_elses_manifest_is_refused() {
        let signed = Manifest::sign(body(), &SigningKey::from_seed(&[8; 32]));
        assert!(matches!(
            Manifest::decode(signed.as_bytes(), &key().id()),
            Err(ManifestError::Signer { .. })
        ));
    }

    #[test]
    fn what_makes_no_sense_is_refused_although_it_is_signed() {
        let check = |change: fn(&mut ManifestBody)| {
            let mut body = body();
            change(&mut body);
            let signed = Manifest::sign(body, &key());
            let read = Manifest::decode(signed.as_bytes(), &key().id());
            assert!(matches!(read, Err(ManifestError::Decode(_))), "{read:?}");
        };
        check(|body| body.sequence = 0);
        check(|body| body.base = 3);
        check(|body| body.previous = Hash::ZERO);
        check(|body| body.reach.first = Height(10));
        check(|body| body.files[0].path = "../node.key".into());
        check(|body| body.files.push(body.files[0].clone()));
        check(|body| body.recipients = vec![Hash::ZERO; RECIPIENTS_MAX + 1]);
        check(|body| body.parts = vec![body.parts[0]; PARTS_MAX + 1]);
        check(|body| {
            body.parts[0].holds = PartHolds::Rows {
                first: Height(9),
                last: Height(5),
            }
        });
    }

    #[test]
    fn a_piece_has_one_name() {
        let items = [
            (BackupItem::Manifest(7), "0000000007.manifest"),
            (
                BackupItem::Part {
                    sequence: 7,
                    number: 12,
                },
                "0000000007-0012.age",
            ),
        ];
        for (item, name) in items {
            assert_eq!(item.file_name(), name);
            assert_eq!(BackupItem::of_file_name(name), Some(item));
            let mut bytes = vec![];
            item.put(&mut bytes);
            assert_eq!(bytes.len(), BackupItem::LEN);
            assert_eq!(BackupItem::read(&mut Reader::new("item", &bytes)), Ok(item));
        }
        for name in [
            "7.manifest",
            "+000000007.manifest",
            "0000000007-12.age",
            "x",
            "lock",
        ] {
            assert_eq!(BackupItem::of_file_name(name), None, "{name}");
        }
    }

    #[test]
    fn only_plain_names_are_paths() {
        for path in [
            "genesis",
            "models/a.scm",
            "snapshots/00000000000000000007.snapshot",
        ] {
            assert!(is_path(path), "{path}");
        }
        for path in [
            "", "/etc/x", "a//b", "../a", "a/../b", ".hidden", "a/", "a\\b", "a b",
        ] {
            assert!(!is_path(path), "{path}");
        }
    }
}
