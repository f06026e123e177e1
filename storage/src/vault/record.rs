//! What the book's records say, before they are sealed.

use selfchain_types::codec::{DecodeError, Reader, put_text_u16};
use selfchain_types::vault::{Anchored, Denial, Grant, Version, VersionState, check_prefix};
use selfchain_types::{Hash, Height, KeyId};
use zeroize::Zeroizing;

/// Where a version's content lies, and its key.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Names the file.
    pub id: [u8; 16],
    /// Opens it.
    pub key: ContentKey,
}

/// The key of one version's content. Whoever destroys it has destroyed the content.
#[derive(Clone)]
pub(super) struct ContentKey(pub Zeroizing<[u8; 32]>);

impl std::fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ContentKey")
    }
}

/// A version, and where its content lies if it has any.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub version: Version,
    pub place: Option<Place>,
}

/// One record.
#[derive(Debug)]
pub(super) enum Record {
    Version(Box<Entry>),
    /// A hash is on the ledger: that of a version, or without a name the root's.
    Anchored {
        name: String,
        number: u64,
        hash: Hash,
        at: Anchored,
    },
    Grant(Grant),
    Revoke {
        key: KeyId,
        prefix: String,
    },
    Denial(Denial),
}

mod kind {
    pub(super) const VERSION: u8 = 1;
    pub(super) const ANCHORED: u8 = 2;
    pub(super) const GRANT: u8 = 3;
    pub(super) const REVOKE: u8 = 4;
    pub(super) const DENIAL: u8 = 5;
}

/// The bytes of a version's record.
pub(super) fn encode_entry(entry: &Entry) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(512 + entry.version.name.len()));
    out.push(kind::VERSION);
    entry.version.encode(&mut out);
    if let Some(place) = &entry.place {
        out.extend_from_slice(&place.id);
        out.extend_from_slice(place.key.0.as_slice());
    }
    out
}

/// The bytes of the record that a hash is on the ledger.
pub(super) fn encode_anchored((name, number): (&str, u64), hash: &Hash, at: &Anchored) -> Zeroizing<Vec<u8>> {
    let mut out = vec![kind::ANCHORED];
    put_text_u16(&mut out, name);
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(hash.as_bytes());
    out.extend_from_slice(at.tx_id.as_bytes());
    out.extend_from_slice(&at.height.0.to_le_bytes());
    Zeroizing::new(out)
}

/// The bytes of a grant's record.
pub(super) fn encode_grant(grant: &Grant) -> Zeroizing<Vec<u8>> {
    let mut out = vec![kind::GRANT];
    grant.encode(&mut out);
    Zeroizing::new(out)
}

/// The bytes of the record that takes a grant back.
pub(super) fn encode_revoke(key: &KeyId, prefix: &str) -> Zeroizing<Vec<u8>> {
    let mut out = vec![kind::REVOKE];
    out.extend_from_slice(key.0.as_bytes());
    put_text_u16(&mut out, prefix);
    Zeroizing::new(out)
}

/// The bytes of a denial's record.
pub(super) fn encode_denial(denial: &Denial) -> Zeroizing<Vec<u8>> {
    let mut out = vec![kind::DENIAL];
    denial.encode(&mut out);
    Zeroizing::new(out)
}

impl Record {
    /// Reads a record's bytes.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("record of the vault", bytes);
        let record = match reader.u8()? {
            kind::VERSION => {
                let version = Version::decode(&mut reader)?;
                let place = match version.state {
                    VersionState::Written => Some(Place {
                        id: reader.array()?,
                        key: ContentKey(Zeroizing::new(reader.array()?)),
                    }),
                    VersionState::Removed | VersionState::Purged => None,
                };
                Self::Version(Box::new(Entry { version, place }))
            }
            kind::ANCHORED => Self::Anchored {
                name: decode_prefix(&mut reader)?,
                number: reader.u64()?,
                hash: reader.hash()?,
                at: Anchored {
                    tx_id: reader.hash()?,
                    height: Height(reader.u64()?),
                },
            },
            kind::GRANT => Self::Grant(Grant::decode(&mut reader)?),
            kind::REVOKE => {
                let key = KeyId(reader.hash()?);
                let prefix = decode_prefix(&mut reader)?;
                Self::Revoke { key, prefix }
            }
            kind::DENIAL => Self::Denial(Denial::decode(&mut reader)?),
            value => {
                return Err(DecodeError::Value {
                    what: "record kind",
                    value: u64::from(value),
                });
            }
        };
        reader.finish()?;
        Ok(record)
    }
}

fn decode_prefix(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let prefix = reader.text_u16()?;
    let wrong = |_| DecodeError::Value {
        what: "name or prefix",
        value: selfchain_types::codec::wide(prefix.len()),
    };
    check_prefix(prefix).map(|()| prefix.into()).map_err(wrong)
}
