//! Parts: content, compressed as a Zstandard frame (RFC 8878), sealed as an age file, known by two hashes.
//!
//! Content is compressed before it is sealed because nothing sealed can be compressed. That a part's length then says
//! something of what is in it is known and accepted: rows are public to every validator anyway.

use super::age::{Identity, Recipient, open_file, seal_file};
use super::error::{BackupError, Fault};
use crate::metrics::len_u64;
use selfchain_types::Hash;
use selfchain_types::backup::{BackupItem, PartEntry, PartHolds};
use std::io;

/// Content of a part at which it is ended; the last row or piece may lead beyond.
pub const PART_BYTES: usize = 16 << 20;
/// Longest content that is read: a part with the longest row.
pub(super) const CONTENT_MAX: u64 = 96 << 20;
/// Longest file of a part that is read.
pub(super) const PART_FILE_MAX: u64 = selfchain_types::keep::KEEP_FILE_MAX;

/// A part that is ready to be kept.
pub(super) struct SealedPart {
    pub entry: PartEntry,
    pub file: Vec<u8>,
}

/// Compresses and seals content.
pub(super) fn seal_part(
    recipients: &[Recipient],
    holds: PartHolds,
    content: &[u8],
) -> Result<SealedPart, BackupError> {
    let plain = compress(content).map_err(BackupError::Compress)?;
    let file = seal_file(recipients, &plain).map_err(BackupError::Seal)?;
    let entry = PartEntry {
        holds,
        content_len: len_u64(content.len()),
        plain_hash: hash(&plain),
        len: len_u64(file.len()),
        hash: hash(&file),
    };
    Ok(SealedPart { entry, file })
}

/// Checks the file of a part against its entry.
pub(super) fn check_file(item: BackupItem, entry: &PartEntry, file: &[u8]) -> Result<(), BackupError> {
    let got = len_u64(file.len());
    if got != entry.len {
        return Err(Fault::Length { got, want: entry.len }.of(item));
    }
    match hash(file) == entry.hash {
        true => Ok(()),
        false => Err(Fault::Hash.of(item)),
    }
}

/// Checks the file of a part, opens it, checks what was encrypted, and only then decompresses it.
pub(super) fn open_part(
    item: BackupItem,
    entry: &PartEntry,
    identity: &Identity,
    file: &[u8],
) -> Result<Vec<u8>, BackupError> {
    check_file(item, entry, file)?;
    let plain = open_file(identity, file, PART_FILE_MAX).map_err(|error| Fault::Age(error).of(item))?;
    if hash(&plain) != entry.plain_hash {
        return Err(Fault::Content.of(item));
    }
    if entry.content_len > CONTENT_MAX {
        return Err(Fault::TooLong {
            got: entry.content_len,
            max: CONTENT_MAX,
        }
        .of(item));
    }
    let content =
        decompress(&plain, entry.content_len).map_err(|error| Fault::Compression(error).of(item))?;
    match len_u64(content.len()) == entry.content_len {
        true => Ok(content),
        false => Err(Fault::Content.of(item)),
    }
}

fn hash(bytes: &[u8]) -> Hash {
    Hash(*blake3::hash(bytes).as_bytes())
}

/// How hard it is tried: rows shrink to a fifth, at more than the pace of encrypting them uncompressed.
const LEVEL: i32 = -3;

fn compress(content: &[u8]) -> io::Result<Vec<u8>> {
    // No sum of its own: age and BLAKE3 both check every byte already.
    zstd::bulk::compress(content, LEVEL)
}

/// At most `content_len` bytes; more are an error, and no memory is taken for them.
fn decompress(plain: &[u8], content_len: u64) -> io::Result<Vec<u8>> {
    let capacity = usize::try_from(content_len).map_err(|_| io::ErrorKind::OutOfMemory)?;
    zstd::bulk::decompress(plain, capacity)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use selfchain_types::crypto::x_wing::KemSecret;

    const ITEM: BackupItem = BackupItem::Part {
        sequence: 1,
        number: 0,
    };

    #[test]
    fn a_part_opens_as_it_was_and_no_flipped_byte_passes() {
        let identity = Identity::new(KemSecret::from_seed(&[1; 32]));
        let content: Vec<u8> = (0..9_000_u32)
            .flat_map(|number| (number / 7).to_le_bytes())
            .collect();
        let sealed = seal_part(&[identity.recipient()], PartHolds::Files, &content).unwrap();
        assert!(sealed.file.len() < content.len(), "it is compressed");
        assert_eq!(
            open_part(ITEM, &sealed.entry, &identity, &sealed.file).unwrap(),
            content
        );
        for at in 0..sealed.file.len() {
            let mut flipped = sealed.file.clone();
            flipped[at] ^= 1 << (at % 8);
            let error = open_part(ITEM, &sealed.entry, &identity, &flipped).unwrap_err();
            assert!(
                matches!(
                    error,
                    BackupError::Piece {
                        item: ITEM,
                        fault: Fault::Hash
                    }
                ),
                "byte {at}: {error:?}"
            );
        }
    }

    #[test]
    fn content_that_is_not_what_was_signed_is_refused_behind_a_good_seal() {
        let identity = Identity::new(KemSecret::from_seed(&[1; 32]));
        let seal = |content: &[u8]| seal_part(&[identity.recipient()], PartHolds::Files, content).unwrap();
        let (signed, other) = (seal(b"what was signed"), seal(b"something other"));
        let entry = PartEntry {
            len: other.entry.len,
            hash: other.entry.hash,
            ..signed.entry
        };
        let error = open_part(ITEM, &entry, &identity, &other.file).unwrap_err();
        assert!(
            matches!(
                error,
                BackupError::Piece {
                    fault: Fault::Content,
                    ..
                }
            ),
            "{error:?}"
        );
        for content_len in [0, 14, 16, CONTENT_MAX + 1] {
            let entry = PartEntry {
                content_len,
                ..signed.entry
            };
            assert!(open_part(ITEM, &entry, &identity, &signed.file).is_err());
        }
    }
}
