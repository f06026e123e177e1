//! Handovers: an append-only file of records by height, few and small, kept for as long as the chain is.
//!
//! A record is: magic (4), length of the bytes u32, height u64, BLAKE3 of height and bytes (16), the bytes. Numbers are
//! little endian. It is behind the log, as every projection: what a crash takes from its end is appended again.

use std::io;
use std::sync::{Arc, Mutex};

use crate::disk::{Disk, File};
use crate::guard::lock;
use crate::metrics::len_u64;

/// The longest record, in bytes.
pub const RECORD_BYTES_MAX: usize = 16 << 20;

/// A file of records, for any number of threads.
#[derive(Debug)]
pub struct HandoverFile {
    file: Arc<dyn File>,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    /// Height, offset of the bytes and their length, in ascending order of height.
    records: Vec<(u64, u64, u32)>,
    /// Where the next record goes.
    end: u64,
}

impl HandoverFile {
    /// Opens the file at `path`, making it if there is none. What does not check at its end is cut off.
    ///
    /// # Errors
    /// What the disk says.
    pub fn open(disk: &dyn Disk, path: &str) -> io::Result<Self> {
        let file = disk.open_or_create(path)?;
        let len = file.len()?;
        let mut places = Places::default();
        while let Some((height, bytes)) = read_record(&*file, places.end, len)? {
            if places.records.last().is_some_and(|(last, ..)| *last >= height) {
                break;
            }
            let bytes_len = u32::try_from(bytes).unwrap_or(u32::MAX);
            places.records.push((height, places.end + HEAD_LEN, bytes_len));
            places.end += HEAD_LEN + bytes;
        }
        file.set_len(places.end)?;
        Ok(Self {
            file,
            places: Mutex::new(places),
        })
    }

    /// The height of the newest record.
    pub fn last(&self) -> Option<u64> {
        lock(&self.places).records.last().map(|(height, ..)| *height)
    }

    /// Appends the record of a height; nothing happens if there is one of this height or a later one.
    ///
    /// # Errors
    /// What the disk says; the file has the records that it had.
    pub fn append(&self, height: u64, bytes: &[u8]) -> io::Result<()> {
        let mut places = lock(&self.places);
        if places.records.last().is_some_and(|(last, ..)| *last >= height) {
            return Ok(());
        }
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let len = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut record = Vec::with_capacity(HEAD_BYTES + bytes.len());
        record.extend_from_slice(MAGIC);
        record.extend_from_slice(&len.to_le_bytes());
        record.extend_from_slice(&height.to_le_bytes());
        record.extend_from_slice(&check(height, bytes));
        record.extend_from_slice(bytes);
        self.file.write_at(places.end, &record)?;
        let offset = places.end + HEAD_LEN;
        places.records.push((height, offset, len));
        places.end += len_u64(record.len());
        Ok(())
    }

    /// Records from a height on, in order, until they have `bytes_max` bytes together or are `count_max`; the first is
    /// among them however long it is.
    ///
    /// # Errors
    /// What the disk says.
    pub fn read_from(&self, height: u64, count_max: usize, bytes_max: usize) -> io::Result<Vec<Vec<u8>>> {
        let chosen: Vec<(u64, u32)> = {
            let places = lock(&self.places);
            let from = places.records.partition_point(|(at, ..)| *at < height);
            let records = places.records[from..].iter().take(count_max);
            records.map(|(_, offset, len)| (*offset, *len)).collect()
        };
        let (mut all, mut total) = (Vec::new(), 0);
        for (offset, len) in chosen {
            let len = usize::try_from(len).map_err(|_| io::ErrorKind::InvalidData)?;
            total += len;
            if !all.is_empty() && total > bytes_max {
                break;
            }
            let mut bytes = vec![0; len];
            self.file.read_at(offset, &mut bytes)?;
            all.push(bytes);
        }
        Ok(all)
    }

    /// Makes everything appended durable.
    ///
    /// # Errors
    /// What the disk says.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

/// Height and length of the record at `offset`, if one is there whole.
fn read_record(file: &dyn File, offset: u64, file_len: u64) -> io::Result<Option<(u64, u64)>> {
    if offset + HEAD_LEN > file_len {
        return Ok(None);
    }
    let mut head = [0; HEAD_BYTES];
    file.read_at(offset, &mut head)?;
    let (Some(len), Some(height)) = (head[4..].first_chunk(), head[8..].first_chunk()) else {
        return Ok(None);
    };
    let (len, height) = (u32::from_le_bytes(*len), u64::from_le_bytes(*height));
    let is_whole = offset + HEAD_LEN + u64::from(len) <= file_len;
    let bytes_len = usize::try_from(len).unwrap_or(usize::MAX);
    if !head.starts_with(MAGIC) || !is_whole || bytes_len > RECORD_BYTES_MAX {
        return Ok(None);
    }
    let mut bytes = vec![0; bytes_len];
    file.read_at(offset + HEAD_LEN, &mut bytes)?;
    let holds = head[16..] == check(height, &bytes);
    Ok(holds.then_some((height, u64::from(len))))
}

fn check(height: u64, bytes: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&height.to_le_bytes()).update(bytes);
    let mut check = [0; 16];
    check.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    check
}

const MAGIC: &[u8; 4] = b"SChv";
const HEAD_BYTES: usize = 32;
const HEAD_LEN: u64 = 32;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::MemoryDisk;

    #[test]
    fn records_read_back_by_height_and_none_is_there_twice() {
        let disk = MemoryDisk::new();
        let file = HandoverFile::open(&disk, "handovers").unwrap();
        assert_eq!(file.last(), None);
        for (height, bytes) in [
            (16, b"one".as_slice()),
            (48, b"other"),
            (48, b"again"),
            (32, b"old"),
        ] {
            file.append(height, bytes).unwrap();
        }
        file.append(64, b"third").unwrap();
        let again = HandoverFile::open(&disk, "handovers").unwrap();
        for file in [file, again] {
            assert_eq!(file.last(), Some(64));
            let read = |from, count, bytes| file.read_from(from, count, bytes).unwrap();
            assert_eq!(
                read(0, 9, 99),
                [b"one".to_vec(), b"other".to_vec(), b"third".to_vec()]
            );
            assert_eq!(read(17, 9, 99), [b"other".to_vec(), b"third".to_vec()]);
            assert_eq!(read(17, 1, 99), [b"other".to_vec()]);
            assert_eq!(read(16, 9, 1), [b"one".to_vec()]);
            assert!(read(65, 9, 99).is_empty());
        }
    }

    #[test]
    fn whatever_happens_to_the_end_what_is_before_it_stays() {
        let disk = MemoryDisk::new();
        HandoverFile::open(&disk, "handovers")
            .unwrap()
            .append(16, b"first")
            .unwrap();
        let whole = disk.open("handovers").unwrap().len().unwrap();
        HandoverFile::open(&disk, "handovers")
            .unwrap()
            .append(32, b"second")
            .unwrap();
        let file = disk.open("handovers").unwrap();
        let len = file.len().unwrap();
        let mut bytes = vec![0; usize::try_from(len).unwrap()];
        file.read_at(0, &mut bytes).unwrap();
        for at in usize::try_from(whole).unwrap()..bytes.len() {
            let mut spoilt = bytes.clone();
            spoilt[at] ^= 4;
            for damaged in [&spoilt[..], &bytes[..at]] {
                let disk = MemoryDisk::new();
                disk.create("handovers").unwrap().write_at(0, damaged).unwrap();
                let file = HandoverFile::open(&disk, "handovers").unwrap();
                assert_eq!(file.last(), Some(16), "byte {at}");
                file.append(32, b"second").unwrap();
                assert_eq!(file.read_from(32, 1, 99).unwrap(), [b"second".to_vec()]);
            }
        }
    }
}
