//! Seals a full segment: closes it, hashes its file, and writes what it must be for ever beside it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use selfchain_types::seam::log::LogError;

use super::reader::Shared;
use super::segment::{LOG_DIR, Segment, corrupt, io_error, segment_path};
use crate::disk::{Disk, publish};
use crate::metrics::len_u64;

/// What a sealed segment must be. The file beside it (`<first>.seal`) holds these fields little endian,
/// after a version u64, then the first 8 bytes of their BLAKE3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seal {
    pub first: u64,
    pub last: u64,
    /// Row bytes.
    pub row_bytes: u64,
    /// Length of the file, in bytes.
    pub file_len: u64,
    /// BLAKE3 of the file.
    pub file_hash: [u8; 32],
}

impl Seal {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SEAL_LEN);
        for number in [SEAL_VERSION, self.first, self.last, self.row_bytes, self.file_len] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.file_hash);
        let check = blake3::hash(&bytes);
        bytes.extend_from_slice(&check.as_bytes()[..8]);
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; SEAL_LEN] = bytes.try_into().ok()?;
        let number = |at: usize| bytes[at..].first_chunk().map(|chunk| u64::from_le_bytes(*chunk));
        let seal = Self {
            first: number(8)?,
            last: number(16)?,
            row_bytes: number(24)?,
            file_len: number(32)?,
            file_hash: *bytes[40..].first_chunk()?,
        };
        (seal.encode() == bytes).then_some(seal)
    }

    /// Reads the seal of the segment that begins at `first`.
    pub fn read(disk: &dyn Disk, first: u64) -> Result<Self, LogError> {
        let path = seal_path(first);
        let failed = |source| io_error("read", &path, source);
        let file = disk.open_read_only(&path).map_err(failed)?;
        let mut bytes = [0; SEAL_LEN];
        if file.len().map_err(failed)? != len_u64(SEAL_LEN) {
            return Err(corrupt(first, "its segment's seal has the wrong length"));
        }
        file.read_at(0, &mut bytes).map_err(failed)?;
        Self::decode(&bytes)
            .filter(|seal| seal.first == first && seal.last >= first)
            .ok_or_else(|| corrupt(first, "its segment's seal does not match its checksum"))
    }
}

/// Closes and seals `segment`. Done again after a crash at any point it ends the same.
pub(super) fn seal(disk: &dyn Disk, segment: &Segment) -> Result<(), LogError> {
    segment.close()?;
    let (file_len, file_hash) = hash_segment(disk, segment.first)?;
    let seal = Seal {
        first: segment.first,
        last: segment.last(),
        row_bytes: segment.bytes(),
        file_len,
        file_hash,
    };
    let path = seal_path(segment.first);
    publish(disk, &path, &seal.encode()).map_err(|source| io_error("write", &path, source))?;
    segment.mark_sealed();
    Ok(())
}

/// Length and BLAKE3 of a segment's file.
pub(super) fn hash_segment(disk: &dyn Disk, first: u64) -> Result<(u64, [u8; 32]), LogError> {
    let path = segment_path(first);
    let failed = |source| io_error("hash", &path, source);
    let file = disk.open_read_only_streamed(&path).map_err(failed)?;
    let len = file.len().map_err(failed)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; HASH_BUFFER_LEN];
    let mut offset = 0;
    while offset < len {
        let part = usize::try_from(len - offset)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        file.read_at(offset, &mut buffer[..part]).map_err(failed)?;
        hasher.update(&buffer[..part]);
        offset += len_u64(part);
    }
    Ok((len, *hasher.finalize().as_bytes()))
}

/// Path of the seal of the segment that begins at `first`.
pub(super) fn seal_path(first: u64) -> String {
    format!("{LOG_DIR}/{first:020}.seal")
}

/// The thread that seals, when the writer does not.
#[derive(Debug)]
pub(super) struct Sealer {
    queue: Option<SyncSender<Arc<Segment>>>,
    thread: Option<JoinHandle<()>>,
}

impl Sealer {
    pub fn start(shared: Arc<Shared>) -> Result<Self, LogError> {
        let (queue, segments) = sync_channel(SEALS_QUEUED_MAX);
        let thread = std::thread::Builder::new()
            .name("log-seal".to_owned())
            .spawn(move || run(&shared, &segments))
            .map_err(|source| LogError::Io {
                action: "start the sealing thread".to_owned(),
                source,
            })?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// Hands a segment over; waits while [`SEALS_QUEUED_MAX`] are waiting already.
    pub fn seal(&self, segment: Arc<Segment>) -> Result<(), LogError> {
        let queue = self.queue.as_ref().ok_or(LogError::Poisoned)?;
        queue.send(segment).map_err(|_| LogError::Poisoned)
    }
}

impl Drop for Sealer {
    fn drop(&mut self) {
        self.queue = None;
        // A sealer that panicked has left its segment unsealed; the next open seals it.
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {}
    }
}

fn run(shared: &Shared, segments: &Receiver<Arc<Segment>>) {
    while let Ok(segment) = segments.recv() {
        match seal(&*shared.disk, &segment) {
            Ok(()) => shared.metrics.log_seals.add(1),
            Err(_) => shared.poison(),
        }
    }
}

const SEAL_VERSION: u64 = 1;
const SEAL_LEN: usize = 80;
const HASH_BUFFER_LEN: usize = 1 << 20;
const SEALS_QUEUED_MAX: usize = 2;

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_comes_back_and_any_flipped_bit_is_seen() {
        let seal = Seal {
            first: 3,
            last: 9,
            row_bytes: 100,
            file_len: 200,
            file_hash: [7; 32],
        };
        let bytes = seal.encode();
        assert_eq!(bytes.len(), SEAL_LEN);
        assert_eq!(Seal::decode(&bytes), Some(seal));
        for bit in 0..SEAL_LEN * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Seal::decode(&flipped), None, "bit {bit}");
        }
    }
}
