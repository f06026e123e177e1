//! A witness of the durable tip: tells a commit that the disk lost from a commit that never returned.
//!
//! redb, opened after a crash, takes the newest commit whose checksums hold. That is right for a commit the
//! power cut interrupted and wrong for one that was durable and has rotted since. So after each commit its
//! height is also written here, unsynced: it may be old, never too new, and a log that opens below it is
//! damaged.

use std::io;
use std::sync::Arc;

use crate::disk::{Disk, File};

/// Two slots, written in turn, so that a torn one leaves the other. A slot is the height (u64, little
/// endian) and the first 8 bytes of its BLAKE3.
#[derive(Debug)]
pub(super) struct TipWitness {
    file: Arc<dyn File>,
    slot: u64,
}

impl TipWitness {
    pub fn open(disk: &dyn Disk, path: &str) -> io::Result<(Self, Option<u64>)> {
        let file = match disk.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(path)?,
            opened => opened?,
        };
        let mut newest = None;
        for slot in 0..SLOTS {
            let mut bytes = [0; SLOT_LEN];
            match file.read_at(slot * SLOT_STRIDE, &mut bytes) {
                Ok(()) => newest = newest.max(decode(&bytes)),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) => return Err(error),
            }
        }
        Ok((Self { file, slot: 0 }, newest))
    }

    pub fn write(&mut self, height: u64) -> io::Result<()> {
        self.slot = (self.slot + 1) % SLOTS;
        self.file.write_at(self.slot * SLOT_STRIDE, &encode(height))
    }
}

fn encode(height: u64) -> [u8; SLOT_LEN] {
    let mut bytes = [0; SLOT_LEN];
    let (number, check) = bytes.split_at_mut(8);
    number.copy_from_slice(&height.to_le_bytes());
    check.copy_from_slice(&blake3::hash(number).as_bytes()[..8]);
    bytes
}

fn decode(bytes: &[u8; SLOT_LEN]) -> Option<u64> {
    let height = u64::from_le_bytes(*bytes.first_chunk()?);
    (encode(height) == *bytes).then_some(height)
}

const SLOTS: u64 = 2;
const SLOT_LEN: usize = 16;
/// One sector each, the unit that a disk writes whole.
const SLOT_STRIDE: u64 = 512;
