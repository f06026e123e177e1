//! Keeping backups for others: what an owner asks a node that agreed to keep them, and what it answers.
//!
//! They are queries of the ingest protocol with codes of their own. The owner is the Ed25519 key that the client proved in
//! the handshake, so no message names one, and nobody can ask for what another left. `docs/formats/message.md`.

use crate::Hash;
use crate::backup::BackupItem;
use crate::codec::{DecodeError, Reader};
use alloc::vec::Vec;

/// Longest piece of a file in one message, in bytes.
pub const KEEP_CHUNK_MAX: usize = 1 << 20;
/// Most rows of one list.
pub const KEEP_ROWS_MAX: usize = 1_000;
/// Longest file that is kept, in bytes: a part holds at most a row more than 16 MiB, and a row has at most 64 MiB.
pub const KEEP_FILE_MAX: u64 = 96 << 20;

/// What an owner asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep<'a> {
    /// What was agreed, and how much of it is used: [`Kept::Terms`].
    Terms,
    /// What is kept, in order, after this piece: [`Kept::List`].
    List {
        /// The last that is known; `None` from the first on.
        after: Option<BackupItem>,
    },
    /// Keep the next bytes of a file: [`Kept::Received`]. The file is kept, durably, once all of it is there and has
    /// its hash.
    Put {
        /// Which.
        item: BackupItem,
        /// Its whole length.
        len: u64,
        /// BLAKE3 of the whole.
        hash: Hash,
        /// Where these bytes belong. Only the next ones are taken; the answer says where those are.
        offset: u64,
        /// At most [`KEEP_CHUNK_MAX`].
        bytes: &'a [u8],
    },
    /// Give back a piece of a file: [`Kept::Piece`].
    Get {
        /// Which.
        item: BackupItem,
        /// From where.
        offset: u64,
        /// How much, at most [`KEEP_CHUNK_MAX`]; fewer at the end.
        len: u32,
    },
    /// Forget a file: [`Kept::Removed`].
    Remove(BackupItem),
}

/// A file that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptItem {
    /// Which.
    pub item: BackupItem,
    /// Its length in bytes.
    pub len: u64,
}

/// What the keeper answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// To [`Keep::Terms`].
    Terms {
        /// Bytes that it keeps at most.
        quota_bytes: u64,
        /// Bytes that it keeps now.
        used_bytes: u64,
        /// Files that it keeps.
        files: u64,
    },
    /// To [`Keep::List`]: at most [`KEEP_ROWS_MAX`]; none when these were the last.
    List(Vec<KeptItem>),
    /// To [`Keep::Put`].
    Received {
        /// Bytes of the file that are there; all of them once it is kept.
        received: u64,
    },
    /// To [`Keep::Get`].
    Piece {
        /// The file's whole length.
        len: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// To [`Keep::Remove`].
    Removed {
        /// Whether it was there.
        was_kept: bool,
    },
}

mod code {
    pub(super) const TERMS: u8 = 24;
    pub(super) const LIST: u8 = 25;
    pub(super) const PUT: u8 = 26;
    pub(super) const GET: u8 = 27;
    pub(super) const REMOVE: u8 = 28;
}

/// Whether a query or an answer with this code is one of these.
pub(crate) fn is_code(code: u8) -> bool {
    (code::TERMS..=31).contains(&code)
}

impl<'a> Keep<'a> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Terms => out.push(code::TERMS),
            Self::List { after } => {
                out.push(code::LIST);
                out.push(u8::from(after.is_some()));
                if let Some(item) = after {
                    item.put(out);
                }
            }
            Self::Put {
                item,
                len,
                hash,
                offset,
                bytes,
            } => {
                out.push(code::PUT);
                item.put(out);
                out.extend_from_slice(&len.to_le_bytes());
                out.extend_from_slice(hash.as_bytes());
                out.extend_from_slice(&offset.to_le_bytes());
                out.extend_from_slice(bytes);
            }
            Self::Get { item, offset, len } => {
                out.push(code::GET);
                item.put(out);
                out.extend_from_slice(&offset.to_le_bytes());
                out.extend_from_slice(&len.to_le_bytes());
            }
            Self::Remove(item) => {
                out.push(code::REMOVE);
                item.put(out);
            }
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match reader.u8()? {
            code::TERMS => Self::Terms,
            code::LIST => Self::List {
                after: match reader.u8()? {
                    0 => None,
                    1 => Some(BackupItem::read(reader)?),
                    other => return Err(value("whether a list goes on", other)),
                },
            },
            code::PUT => Self::Put {
                item: BackupItem::read(reader)?,
                len: reader.u64()?,
                hash: reader.hash()?,
                offset: reader.u64()?,
                bytes: bounded(reader.rest())?,
            },
            code::GET => Self::Get {
                item: BackupItem::read(reader)?,
                offset: reader.u64()?,
                len: reader.u32()?,
            },
            code::REMOVE => Self::Remove(BackupItem::read(reader)?),
            other => return Err(value("query kind", other)),
        })
    }
}

impl Kept {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Terms {
                quota_bytes,
                used_bytes,
                files,
            } => {
                out.push(code::TERMS);
                for number in [quota_bytes, used_bytes, files] {
                    out.extend_from_slice(&number.to_le_bytes());
                }
            }
            Self::List(rows) => {
                out.push(code::LIST);
                for row in rows {
                    row.item.put(out);
                    out.extend_from_slice(&row.len.to_le_bytes());
                }
            }
            Self::Received { received } => {
                out.push(code::PUT);
                out.extend_from_slice(&received.to_le_bytes());
            }
            Self::Piece { len, bytes } => {
                out.push(code::GET);
                out.extend_from_slice(&len.to_le_bytes());
                out.extend_from_slice(bytes);
            }
            Self::Removed { was_kept } => out.extend_from_slice(&[code::REMOVE, u8::from(*was_kept)]),
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match reader.u8()? {
            code::TERMS => Self::Terms {
                quota_bytes: reader.u64()?,
                used_bytes: reader.u64()?,
                files: reader.u64()?,
            },
            code::LIST => {
                let mut rows = Vec::new();
                while reader.left() > 0 && rows.len() < KEEP_ROWS_MAX {
                    rows.push(KeptItem {
                        item: BackupItem::read(reader)?,
                        len: reader.u64()?,
                    });
                }
                Self::List(rows)
            }
            code::PUT => Self::Received {
                received: reader.u64()?,
            },
            code::GET => Self::Piece {
                len: reader.u64()?,
                bytes: bounded(reader.rest())?.to_vec(),
            },
            code::REMOVE => Self::Removed {
                was_kept: match reader.u8()? {
                    0 => false,
                    1 => true,
                    other => return Err(value("whether it was kept", other)),
                },
            },
            other => return Err(value("answer kind", other)),
        })
    }
}

fn bounded(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    match bytes.len() > KEEP_CHUNK_MAX {
        true => Err(DecodeError::Value {
            what: "length of a piece",
            value: crate::codec::wide(bytes.len()),
        }),
        false => Ok(bytes),
    }
}

fn value(what: &'static str, value: u8) -> DecodeError {
    DecodeError::Value {
        what,
        value: u64::from(value),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::message::{Answer, Reply, Request};
    use alloc::vec;

    const PART: BackupItem = BackupItem::Part {
        sequence: 3,
        number: 4,
    };

    #[test]
    fn what_is_asked_reads_back() {
        for keep in [
            Keep::Terms,
            Keep::List { after: None },
            Keep::List { after: Some(PART) },
            Keep::Put {
                item: PART,
                len: 10,
                hash: Hash([1; 32]),
                offset: 4,
                bytes: b"bytes",
            },
            Keep::Get {
                item: BackupItem::Manifest(2),
                offset: 1,
                len: 5,
            },
            Keep::Remove(PART),
        ] {
            let frame = Request::Keep(keep).encode(9);
            assert_eq!(Request::decode(&frame), Ok((9, Request::Keep(keep))));
        }
        let long = vec![0; KEEP_CHUNK_MAX + 1];
        let put = Keep::Put {
            item: PART,
            len: 10,
            hash: Hash::ZERO,
            offset: 0,
            bytes: &long,
        };
        assert!(Request::decode(&Request::Keep(put).encode(1)).is_err());
    }

    #[test]
    fn what_is_answered_reads_back() {
        for kept in [
            Kept::Terms {
                quota_bytes: 1,
                used_bytes: 2,
                files: 3,
            },
            Kept::List(vec![KeptItem { item: PART, len: 9 }]),
            Kept::Received { received: 7 },
            Kept::Piece {
                len: 9,
                bytes: vec![1, 2],
            },
            Kept::Removed { was_kept: true },
        ] {
            let reply = Reply::Answer(Answer::Kept(kept));
            assert_eq!(Reply::decode(&reply.encode(9)), Ok((9, reply)));
        }
    }
}
