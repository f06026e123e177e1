//! What is stored of a row: a frame that names its height, length and checksum, then its bytes, in chunks.

use crate::metrics::len_u64;

/// Length of a frame, in bytes. Layout, little endian: version u32, zero u32, height u64, start u64 (row
/// bytes before it in its segment), len u64, BLAKE3 of the row keyed by its height (32).
pub(super) const FRAME_LEN: usize = 64;

/// The longest value handed to redb, which rounds a page up to a power of two: one of these fills 64 KiB.
pub(super) const CHUNK_LEN_MAX: usize = 65_024;

const FRAME_VERSION: u32 = 1;

/// The head of a stored row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub height: u64,
    pub start: u64,
    pub len: u64,
    pub checksum: [u8; 32],
}

impl Frame {
    pub fn new(height: u64, start: u64, row: &[u8]) -> Self {
        Self {
            height,
            start,
            len: len_u64(row.len()),
            checksum: checksum(height, row),
        }
    }

    pub fn encode(&self) -> [u8; FRAME_LEN] {
        let mut bytes = [0; FRAME_LEN];
        bytes[..4].copy_from_slice(&FRAME_VERSION.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.height.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.start.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.len.to_le_bytes());
        bytes[32..].copy_from_slice(&self.checksum);
        bytes
    }

    /// The frame at the head of a row's first chunk, `None` when it is not one.
    pub fn decode(chunk: &[u8]) -> Option<Self> {
        let bytes: &[u8; FRAME_LEN] = chunk.first_chunk()?;
        let version = u32::from_le_bytes(*bytes[..4].first_chunk()?);
        let zero = u32::from_le_bytes(*bytes[4..8].first_chunk()?);
        let frame = Self {
            height: u64::from_le_bytes(*bytes[8..16].first_chunk()?),
            start: u64::from_le_bytes(*bytes[16..24].first_chunk()?),
            len: u64::from_le_bytes(*bytes[24..32].first_chunk()?),
            checksum: *bytes[32..].first_chunk()?,
        };
        (version == FRAME_VERSION && zero == 0).then_some(frame)
    }

    /// Row bytes of the segment up to the end of this row.
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.len)
    }
}

/// BLAKE3 of a row, keyed by its height, so that a row under another height does not pass either.
pub(super) fn checksum(height: u64, row: &[u8]) -> [u8; 32] {
    let mut key = *b"selfchain log row v1....height..";
    key[24..].copy_from_slice(&height.to_le_bytes());
    *blake3::keyed_hash(&key, row).as_bytes()
}

/// Cuts a row into what goes under chunk 0 (after the frame) and under the chunks after it.
pub(super) fn chunks(row: &[u8]) -> (&[u8], impl Iterator<Item = &[u8]>) {
    let (first, rest) = row.split_at(row.len().min(CHUNK_LEN_MAX - FRAME_LEN));
    (first, rest.chunks(CHUNK_LEN_MAX))
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_comes_back_and_its_checksum_names_the_height() {
        let frame = Frame::new(7, 100, b"row");
        assert_eq!(Frame::decode(&frame.encode()), Some(frame.clone()));
        assert_eq!(frame.end(), 103);
        assert_ne!(checksum(7, b"row"), checksum(8, b"row"));
        assert_eq!(Frame::decode(&frame.encode()[..63]), None);
        for byte in 0..8 {
            let mut bytes = frame.encode();
            bytes[byte] ^= 1;
            assert_eq!(Frame::decode(&bytes), None, "byte {byte}");
        }
    }

    #[test]
    fn chunks_cover_the_row() {
        for len in [
            0,
            1,
            CHUNK_LEN_MAX - FRAME_LEN,
            CHUNK_LEN_MAX - FRAME_LEN + 1,
            3 * CHUNK_LEN_MAX,
        ] {
            let row: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let (first, rest) = chunks(&row);
            let joined = rest.fold(first.to_vec(), |mut joined, chunk| {
                assert!(chunk.len() <= CHUNK_LEN_MAX);
                joined.extend_from_slice(chunk);
                joined
            });
            assert_eq!(joined, row);
        }
    }
}
