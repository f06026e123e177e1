//! Index: what a snapshot is, before any of its chunks is here. Table: `docs/formats/snapshot.md`.

use selfchain_storage::ChunkEntry;
use selfchain_types::codec::{DecodeError, Reader, known_sections, put_section, wide};
use selfchain_types::hash::SNAPSHOT;
use selfchain_types::{Hash, roots::Table};

/// Most bytes of an index.
pub const INDEX_BYTES_MAX: usize = 12 << 20;

/// A snapshot's own bytes, what proves them, and its chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Canonical bytes of a [`ChainSnapshot`](selfchain_engine::commit::ChainSnapshot).
    pub manifest: Vec<u8>,
    /// Canonical bytes of an [`Anchor`](selfchain_engine::commit::Anchor).
    pub anchor: Vec<u8>,
    /// Every chunk, in the order they are put.
    pub chunks: Vec<ChunkEntry>,
}

mod kind {
    pub(super) const MANIFEST: u16 = 1;
    pub(super) const ANCHOR: u16 = 2;
    pub(super) const CHUNKS: u16 = 3;
}

impl Index {
    /// What offers and parts name it by.
    pub fn id(bytes: &[u8]) -> Hash {
        SNAPSHOT.hash(bytes)
    }

    /// Bytes of all chunks together.
    pub fn bytes(&self) -> u64 {
        self.chunks.iter().map(|chunk| u64::from(chunk.len)).sum()
    }

    /// Whether some of the chunks are a scorer's memory, which no header commits to.
    pub fn has_memory(&self) -> bool {
        self.chunks
            .iter()
            .any(|chunk| chunk.table == Table::Contexts.code())
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_section(&mut out, kind::MANIFEST, |out| {
            out.extend_from_slice(&self.manifest);
        });
        put_section(&mut out, kind::ANCHOR, |out| out.extend_from_slice(&self.anchor));
        put_section(&mut out, kind::CHUNKS, |out| {
            for chunk in &self.chunks {
                out.extend_from_slice(&chunk.table.to_le_bytes());
                out.extend_from_slice(&chunk.len.to_le_bytes());
                out.extend_from_slice(&chunk.hash);
            }
        });
        out
    }

    /// Reads the canonical bytes.
    ///
    /// # Errors
    /// [`DecodeError`]; also for more than [`INDEX_BYTES_MAX`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > INDEX_BYTES_MAX {
            return Err(DecodeError::Value {
                what: "bytes of a snapshot's index",
                value: wide(bytes.len()),
            });
        }
        let kinds = [kind::MANIFEST, kind::ANCHOR, kind::CHUNKS];
        let parts = known_sections(bytes, kinds)?;
        let part = |at: usize| parts[at].ok_or(DecodeError::MissingSection { kind: kinds[at] });
        let mut reader = Reader::new("snapshot chunks", part(2)?);
        let mut chunks = Vec::new();
        while reader.left() > 0 {
            let table = reader.u16()?;
            if Table::from_code(table).is_none() {
                return Err(DecodeError::Value {
                    what: "table of a snapshot's chunk",
                    value: table.into(),
                });
            }
            chunks.push(ChunkEntry {
                table,
                len: reader.u32()?,
                hash: reader.array()?,
            });
        }
        Ok(Self {
            manifest: part(0)?.to_vec(),
            anchor: part(1)?.to_vec(),
            chunks,
        })
    }
}
