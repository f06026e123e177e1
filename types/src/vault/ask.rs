//! What is asked of a vault and answered: queries 16 to 23 of the ingest protocol, and the answers of those numbers.

use super::{
    Anchored, Denial, Grant, Rights, Version, decode_anchored, decode_flag, decode_name, decode_prefix,
    encode_anchored,
};
use crate::codec::{DecodeError, Reader, put_text_u16};
use crate::{Hash, Height, KeyId, TimeNs};
use alloc::vec::Vec;

/// What is asked of a vault, as it is counted and logged; the numbers are those of the queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaultAction {
    /// A version, without its content.
    Look,
    /// Content.
    Get,
    /// Names.
    List,
    /// Versions of a document.
    History,
    /// A new version.
    Put,
    /// Removal.
    Remove,
    /// Grants and denials.
    Access,
    /// What only the owner asks.
    Owner,
}

impl VaultAction {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Look,
        Self::Get,
        Self::List,
        Self::History,
        Self::Put,
        Self::Remove,
        Self::Access,
        Self::Owner,
    ];

    /// The number of its query.
    pub const fn code(self) -> u8 {
        match self {
            Self::Look => 16,
            Self::Get => 17,
            Self::List => 18,
            Self::History => 19,
            Self::Put => 20,
            Self::Remove => 21,
            Self::Access => 22,
            Self::Owner => 23,
        }
    }

    /// The one with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.code() == code)
    }

    /// The name in text, metrics and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Get => "get",
            Self::List => "list",
            Self::History => "history",
            Self::Put => "put",
            Self::Remove => "remove",
            Self::Access => "access",
            Self::Owner => "owner",
        }
    }
}

/// A question to the vault. `number` is a version's, and 0 the current one's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultQuery<'a> {
    /// A version without its content: [`VaultAnswer::Version`].
    Look {
        /// The document.
        name: &'a str,
        /// Its version.
        number: u64,
    },
    /// Content from a byte on: [`VaultAnswer::Chunk`].
    Get {
        /// The document.
        name: &'a str,
        /// Its version.
        number: u64,
        /// The first byte wanted.
        offset: u64,
        /// Most bytes wanted, at most [`super::CHUNK_BYTES_MAX`].
        len_max: u32,
    },
    /// Current versions in the order of their names: [`VaultAnswer::Versions`].
    List {
        /// How the names begin.
        prefix: &'a str,
        /// After this name; empty for the first.
        after: &'a str,
        /// Also documents that were removed.
        with_removed: bool,
        /// Most rows wanted, at most [`super::ROWS_MAX`].
        rows_max: u16,
    },
    /// Versions of a document, oldest first: [`VaultAnswer::Versions`].
    History {
        /// The document.
        name: &'a str,
        /// The oldest wanted.
        from: u64,
        /// Most rows wanted, at most [`super::ROWS_MAX`].
        rows_max: u16,
    },
    /// The next bytes of a new version: [`VaultAnswer::Taken`], and after the last ones [`VaultAnswer::Version`].
    /// The same request again does nothing and gets the same answer.
    Put {
        /// The document.
        name: &'a str,
        /// The client's number for this version on its way, random.
        upload: u128,
        /// Refused unless this is the number of the current version; `None` for any, 0 for none there yet.
        after: Option<u64>,
        /// Bytes that came before.
        offset: u64,
        /// Whether these are the last.
        is_last: bool,
        /// At most [`super::CHUNK_BYTES_MAX`].
        bytes: &'a [u8],
    },
    /// Removes a document, keeping its versions; or destroys versions: [`VaultAnswer::Version`].
    Remove {
        /// The document.
        name: &'a str,
        /// Destroys the content of versions up to this one, the owner alone; 0 for none.
        purge_through: u64,
    },
    /// Who may what, and who was turned away. The owner alone.
    Access(Access<'a>),
    /// What only the owner asks.
    Owner(OwnerQuery<'a>),
}

/// Who may what, and who was turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access<'a> {
    /// All grants: [`VaultAnswer::Grants`].
    Grants,
    /// Gives one, in place of the key's former one for the same prefix: [`VaultAnswer::Done`].
    Grant {
        /// To whom.
        key: KeyId,
        /// For which names.
        prefix: &'a str,
        /// For what.
        rights: Rights,
        /// From when on it is over; 0 = never.
        until_ns: TimeNs,
    },
    /// Takes one back: [`VaultAnswer::Done`].
    Revoke {
        /// From whom.
        key: KeyId,
        /// For which names.
        prefix: &'a str,
    },
    /// The newest denials, oldest first: [`VaultAnswer::Denials`].
    Denials {
        /// Most rows wanted, at most [`super::ROWS_MAX`].
        rows_max: u16,
    },
}

/// What only the owner asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnerQuery<'a> {
    /// What the vault holds, and its root: [`VaultAnswer::Standing`].
    Standing,
    /// Reads a version's content and checks all of it: [`VaultAnswer::Version`].
    Check {
        /// The document.
        name: &'a str,
        /// Its version.
        number: u64,
    },
    /// Reads every byte of the book and checks it: [`VaultAnswer::Done`].
    CheckBook,
    /// Keeps where a version's hash, or the root, was anchored: [`VaultAnswer::Done`].
    Anchored {
        /// What was anchored.
        hash: Hash,
        /// Where.
        at: Anchored,
    },
}

/// What a vault holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VaultStanding {
    /// Merkle root over the hashes of all current versions, in the order of their names.
    pub root: Hash,
    /// Documents, removed ones included.
    pub names: u64,
    /// Versions of them, destroyed ones included.
    pub versions: u64,
    /// Bytes of their content.
    pub bytes: u64,
    /// The root that was anchored last, and where.
    pub anchored: Option<(Hash, Anchored)>,
}

/// What a vault answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultAnswer {
    /// A version.
    Version(Version),
    /// Part of a version's content.
    Chunk {
        /// The version.
        version: Version,
        /// Where these bytes begin.
        offset: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Versions, and whether there are more.
    Versions(Vec<Version>, bool),
    /// Bytes of a version on its way that are here.
    Taken(u64),
    /// Done.
    Done,
    /// Grants.
    Grants(Vec<Grant>),
    /// Denials, and how many more there were that are not kept.
    Denials(Vec<Denial>, u64),
    /// What the vault holds.
    Standing(VaultStanding),
}

/// In place of the number of a version: any.
const ANY: u64 = u64::MAX;

mod access_kind {
    pub(super) const GRANTS: u8 = 1;
    pub(super) const GRANT: u8 = 2;
    pub(super) const REVOKE: u8 = 3;
    pub(super) const DENIALS: u8 = 4;
}

mod owner_kind {
    pub(super) const STANDING: u8 = 1;
    pub(super) const CHECK: u8 = 2;
    pub(super) const ANCHORED: u8 = 3;
    pub(super) const CHECK_BOOK: u8 = 4;
}

impl<'a> VaultQuery<'a> {
    /// What it asks for.
    pub fn action(&self) -> VaultAction {
        match self {
            Self::Look { .. } => VaultAction::Look,
            Self::Get { .. } => VaultAction::Get,
            Self::List { .. } => VaultAction::List,
            Self::History { .. } => VaultAction::History,
            Self::Put { .. } => VaultAction::Put,
            Self::Remove { .. } => VaultAction::Remove,
            Self::Access(_) => VaultAction::Access,
            Self::Owner(_) => VaultAction::Owner,
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.action().code());
        match self {
            Self::Look { name, number } => {
                put_text_u16(out, name);
                out.extend_from_slice(&number.to_le_bytes());
            }
            Self::Get {
                name,
                number,
                offset,
                len_max,
            } => {
                put_text_u16(out, name);
                out.extend_from_slice(&number.to_le_bytes());
                out.extend_from_slice(&offset.to_le_bytes());
                out.extend_from_slice(&len_max.to_le_bytes());
            }
            Self::List {
                prefix,
                after,
                with_removed,
                rows_max,
            } => {
                put_text_u16(out, prefix);
                put_text_u16(out, after);
                out.push(u8::from(*with_removed));
                out.extend_from_slice(&rows_max.to_le_bytes());
            }
            Self::History { name, from, rows_max } => {
                put_text_u16(out, name);
                out.extend_from_slice(&from.to_le_bytes());
                out.extend_from_slice(&rows_max.to_le_bytes());
            }
            Self::Put {
                name,
                upload,
                after,
                offset,
                is_last,
                bytes,
            } => {
                put_text_u16(out, name);
                out.extend_from_slice(&upload.to_le_bytes());
                out.extend_from_slice(&after.unwrap_or(ANY).to_le_bytes());
                out.extend_from_slice(&offset.to_le_bytes());
                out.push(u8::from(*is_last));
                out.extend_from_slice(bytes);
            }
            Self::Remove { name, purge_through } => {
                put_text_u16(out, name);
                out.extend_from_slice(&purge_through.to_le_bytes());
            }
            Self::Access(access) => access.encode(out),
            Self::Owner(query) => query.encode(out),
        }
    }

    pub(crate) fn decode(action: VaultAction, reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match action {
            VaultAction::Look => Self::Look {
                name: decode_name(reader)?,
                number: reader.u64()?,
            },
            VaultAction::Get => Self::Get {
                name: decode_name(reader)?,
                number: reader.u64()?,
                offset: reader.u64()?,
                len_max: reader.u32()?,
            },
            VaultAction::List => Self::List {
                prefix: decode_prefix(reader)?,
                after: decode_prefix(reader)?,
                with_removed: decode_flag("with removed", reader)?,
                rows_max: reader.u16()?,
            },
            VaultAction::History => Self::History {
                name: decode_name(reader)?,
                from: reader.u64()?,
                rows_max: reader.u16()?,
            },
            VaultAction::Put => Self::Put {
                name: decode_name(reader)?,
                upload: reader.u128()?,
                after: Some(reader.u64()?).filter(|after| *after != ANY),
                offset: reader.u64()?,
                is_last: decode_flag("last", reader)?,
                bytes: decode_chunk(reader)?,
            },
            VaultAction::Remove => Self::Remove {
                name: decode_name(reader)?,
                purge_through: reader.u64()?,
            },
            VaultAction::Access => Self::Access(Access::decode(reader)?),
            VaultAction::Owner => Self::Owner(OwnerQuery::decode(reader)?),
        })
    }
}

fn decode_chunk<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let bytes = reader.rest();
    match bytes.len() > super::CHUNK_BYTES_MAX {
        true => Err(DecodeError::Value {
            what: "bytes of content in one message",
            value: crate::codec::wide(bytes.len()),
        }),
        false => Ok(bytes),
    }
}

impl<'a> Access<'a> {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Grants => out.push(access_kind::GRANTS),
            Self::Grant {
                key,
                prefix,
                rights,
                until_ns,
            } => {
                out.push(access_kind::GRANT);
                out.extend_from_slice(key.0.as_bytes());
                put_text_u16(out, prefix);
                out.push(rights.code());
                out.extend_from_slice(&until_ns.0.to_le_bytes());
            }
            Self::Revoke { key, prefix } => {
                out.push(access_kind::REVOKE);
                out.extend_from_slice(key.0.as_bytes());
                put_text_u16(out, prefix);
            }
            Self::Denials { rows_max } => {
                out.push(access_kind::DENIALS);
                out.extend_from_slice(&rows_max.to_le_bytes());
            }
        }
    }

    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match reader.u8()? {
            access_kind::GRANTS => Self::Grants,
            access_kind::GRANT => Self::Grant {
                key: KeyId(reader.hash()?),
                prefix: decode_prefix(reader)?,
                rights: Rights::from_code(reader.u8()?)?,
                until_ns: TimeNs(reader.u64()?),
            },
            access_kind::REVOKE => Self::Revoke {
                key: KeyId(reader.hash()?),
                prefix: decode_prefix(reader)?,
            },
            access_kind::DENIALS => Self::Denials {
                rows_max: reader.u16()?,
            },
            value => return Err(unknown("access query", value)),
        })
    }
}

impl<'a> OwnerQuery<'a> {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Standing => out.push(owner_kind::STANDING),
            Self::CheckBook => out.push(owner_kind::CHECK_BOOK),
            Self::Check { name, number } => {
                out.push(owner_kind::CHECK);
                put_text_u16(out, name);
                out.extend_from_slice(&number.to_le_bytes());
            }
            Self::Anchored { hash, at } => {
                out.push(owner_kind::ANCHORED);
                out.extend_from_slice(hash.as_bytes());
                out.extend_from_slice(at.tx_id.as_bytes());
                out.extend_from_slice(&at.height.0.to_le_bytes());
            }
        }
    }

    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(match reader.u8()? {
            owner_kind::STANDING => Self::Standing,
            owner_kind::CHECK_BOOK => Self::CheckBook,
            owner_kind::CHECK => Self::Check {
                name: decode_name(reader)?,
                number: reader.u64()?,
            },
            owner_kind::ANCHORED => Self::Anchored {
                hash: reader.hash()?,
                at: Anchored {
                    tx_id: reader.hash()?,
                    height: Height(reader.u64()?),
                },
            },
            value => return Err(unknown("owner query", value)),
        })
    }
}

fn unknown(what: &'static str, value: u8) -> DecodeError {
    DecodeError::Value {
        what,
        value: u64::from(value),
    }
}

mod answer_kind {
    pub(super) const VERSION: u8 = 16;
    pub(super) const CHUNK: u8 = 17;
    pub(super) const VERSIONS: u8 = 18;
    pub(super) const TAKEN: u8 = 19;
    pub(super) const DONE: u8 = 20;
    pub(super) const GRANTS: u8 = 21;
    pub(super) const DENIALS: u8 = 22;
    pub(super) const STANDING: u8 = 23;
}

impl VaultAnswer {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Version(version) => {
                out.push(answer_kind::VERSION);
                version.encode(out);
            }
            Self::Chunk {
                version,
                offset,
                bytes,
            } => {
                out.push(answer_kind::CHUNK);
                version.encode(out);
                out.extend_from_slice(&offset.to_le_bytes());
                out.extend_from_slice(bytes);
            }
            Self::Versions(versions, has_more) => {
                out.push(answer_kind::VERSIONS);
                out.push(u8::from(*has_more));
                versions.iter().for_each(|version| version.encode(out));
            }
            Self::Taken(bytes) => {
                out.push(answer_kind::TAKEN);
                out.extend_from_slice(&bytes.to_le_bytes());
            }
            Self::Done => out.push(answer_kind::DONE),
            Self::Grants(grants) => {
                out.push(answer_kind::GRANTS);
                grants.iter().for_each(|grant| grant.encode(out));
            }
            Self::Denials(denials, more) => {
                out.push(answer_kind::DENIALS);
                out.extend_from_slice(&more.to_le_bytes());
                denials.iter().for_each(|denial| denial.encode(out));
            }
            Self::Standing(standing) => {
                out.push(answer_kind::STANDING);
                out.extend_from_slice(standing.root.as_bytes());
                for number in [standing.names, standing.versions, standing.bytes] {
                    out.extend_from_slice(&number.to_le_bytes());
                }
                encode_anchored(standing.anchored.map(|(_, at)| at), out);
                if let Some((root, _)) = &standing.anchored {
                    out.extend_from_slice(root.as_bytes());
                }
            }
        }
    }

    /// Whether an answer's number is one of the vault's.
    pub(crate) const fn is_code(code: u8) -> bool {
        matches!(code, answer_kind::VERSION..=answer_kind::STANDING)
    }

    pub(crate) fn decode(code: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match code {
            answer_kind::VERSION => Self::Version(Version::decode(reader)?),
            answer_kind::CHUNK => Self::Chunk {
                version: Version::decode(reader)?,
                offset: reader.u64()?,
                bytes: decode_chunk(reader)?.to_vec(),
            },
            answer_kind::VERSIONS => {
                let has_more = decode_flag("more", reader)?;
                Self::Versions(rows(reader, Version::decode)?, has_more)
            }
            answer_kind::TAKEN => Self::Taken(reader.u64()?),
            answer_kind::DONE => Self::Done,
            answer_kind::GRANTS => Self::Grants(rows(reader, Grant::decode)?),
            answer_kind::DENIALS => {
                let more = reader.u64()?;
                Self::Denials(rows(reader, Denial::decode)?, more)
            }
            answer_kind::STANDING => {
                let mut standing = VaultStanding {
                    root: reader.hash()?,
                    names: reader.u64()?,
                    versions: reader.u64()?,
                    bytes: reader.u64()?,
                    anchored: None,
                };
                if let Some(at) = decode_anchored(reader)? {
                    standing.anchored = Some((reader.hash()?, at));
                }
                Self::Standing(standing)
            }
            value => return Err(unknown("answer kind", value)),
        })
    }
}

/// What is left, one row after another.
fn rows<T>(
    reader: &mut Reader<'_>,
    decode: impl Fn(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let mut rows = Vec::new();
    while reader.left() > 0 {
        rows.push(decode(reader)?);
    }
    Ok(rows)
}
