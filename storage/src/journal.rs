//! The consensus journal: what a validator must remember of heights that the log does not hold yet.
//!
//! One append-only file. Its first 4,096 bytes are the head: the magic in sector 0, a witness of how far
//! the file was durable in sectors 1 and 2 (written in turn after each sync, itself unsynced: it may be
//! old, never too far). Records follow, each aligned to 8 bytes. Fields are little endian:
//!
//! | bytes | field |
//! |---|---|
//! | 4 | magic `SCJr` |
//! | 4 | length of the body |
//! | 8 | height |
//! | 8 | how far the file was durable when this record was appended |
//! | 16 | BLAKE3 of the body |
//! | 8 | BLAKE3 of the record's offset and the 40 bytes above |
//! | n | the body, then zeros up to 8 |
//!
//! A record that does not check is a torn tail, to be cut, unless a later record or the witness shows that
//! it had been durable: then it is damage.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::disk::{Disk, File, UNPUBLISHED_SUFFIX, remove_unpublished};
use crate::metrics::len_u64;

/// Sizes of the journal, in bytes.
#[derive(Debug, Clone)]
pub struct JournalConfig {
    /// The file never grows past this.
    pub bytes_max: u64,
    /// The longest record.
    pub record_bytes_max: u64,
    /// Dropped records are cleared out once they take this much.
    pub rotate_bytes: u64,
    /// What must stay free on the disk. Smaller than the log's, so that votes go on when blocks do not.
    pub reserve_bytes: u64,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self {
            bytes_max: 512 << 20,
            record_bytes_max: 64 << 20,
            rotate_bytes: 64 << 20,
            reserve_bytes: 64 << 20,
        }
    }
}

/// Why the journal refused or failed. After [`JournalError::Io`] it is poisoned.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// An earlier write or sync failed. Stop, restart, recover.
    #[error("the journal is poisoned by an earlier failed write or sync: restart to recover")]
    Poisoned,
    /// The records of undecided heights fill the journal. Nothing was written.
    #[error(
        "the journal is full: {live_bytes} bytes of live records and {needed_bytes} more are over {max_bytes}"
    )]
    Full {
        /// Bytes of records not dropped.
        live_bytes: u64,
        /// Bytes the record needs.
        needed_bytes: u64,
        /// The limit.
        max_bytes: u64,
    },
    /// A record over the limit. Nothing was written.
    #[error("a record of {len} bytes is over the maximum of {max}")]
    TooLarge {
        /// Length of the record, in bytes.
        len: u64,
        /// The longest record accepted, in bytes.
        max: u64,
    },
    /// Too little space is left on the disk. Nothing was written.
    #[error("disk nearly full: {free_bytes} bytes free, {needed_bytes} needed with the reserve")]
    DiskFull {
        /// Free space now, in bytes.
        free_bytes: u64,
        /// What the record and the reserve need together, in bytes.
        needed_bytes: u64,
    },
    /// What was durable is not whole: this validator may have forgotten a vote and must not vote.
    #[error("the journal is damaged at byte {offset}: {what}")]
    Damaged {
        /// Where, in bytes from the start of the file.
        offset: u64,
        /// What does not hold.
        what: &'static str,
    },
    /// The disk failed.
    #[error("could not {action} the journal")]
    Io {
        /// What was being done.
        action: &'static str,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
}

/// The journal of one validator.
#[derive(Debug)]
pub struct Journal {
    disk: Arc<dyn Disk>,
    config: JournalConfig,
    file: Arc<dyn File>,
    /// Where the next record goes.
    end: u64,
    /// How far the file is durable.
    synced: u64,
    witness_slot: u64,
    /// Live records, in the order they were appended.
    live: VecDeque<Place>,
    live_bytes: u64,
    poisoned: bool,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    height: u64,
    offset: u64,
    len: u64,
}

impl Place {
    /// Bytes the record takes in the file.
    fn span(&self) -> u64 {
        span(self.len)
    }
}

impl Journal {
    /// Opens or creates the journal, cuts a torn tail, and drops records at or below `durable_tip`, the
    /// tip of the log.
    ///
    /// Errors: [`JournalError::Damaged`] when a record that was durable does not check.
    pub fn open(disk: Arc<dyn Disk>, config: JournalConfig, durable_tip: u64) -> Result<Self, JournalError> {
        disk.create_dir(DIR).map_err(failed("create the directory of"))?;
        remove_unpublished(&*disk, DIR).map_err(failed("clean up"))?;
        let file = match disk.open(PATH) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (file, _) = write_whole(&*disk, None, &VecDeque::new())?;
                publish_whole(&*disk)?;
                file
            }
            Err(error) => return Err(failed("open")(error)),
        };
        let mut journal = Self {
            disk,
            config,
            file,
            end: HEAD_LEN,
            synced: HEAD_LEN,
            witness_slot: 0,
            live: VecDeque::new(),
            live_bytes: 0,
            poisoned: false,
        };
        journal.recover()?;
        journal.forget_through(durable_tip);
        Ok(journal)
    }

    /// Writes a record without waiting for the disk: it is durable once a later `sync` returns.
    pub fn append(&mut self, height: u64, record: &[u8]) -> Result<(), JournalError> {
        self.alive()?;
        let len = len_u64(record.len());
        if len > self.config.record_bytes_max || u32::try_from(len).is_err() {
            return Err(JournalError::TooLarge {
                len,
                max: self.config.record_bytes_max,
            });
        }
        let place = self.make_room(height, len)?;
        let mut bytes = Vec::with_capacity(record.len() + RECORD_HEAD_LEN + ALIGN_LEN);
        bytes.extend_from_slice(&encode_head(place, self.synced, &check_body(record)));
        bytes.extend_from_slice(record);
        bytes.resize(bytes.len().next_multiple_of(ALIGN_LEN), 0);
        let written = self
            .file
            .write_at(place.offset, &bytes)
            .map_err(failed("append to"));
        self.fatal(written)?;
        self.end += place.span();
        self.live_bytes += place.span();
        self.live.push_back(place);
        Ok(())
    }

    /// Makes every appended record durable.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        self.alive()?;
        if self.synced == self.end {
            return Ok(());
        }
        let synced = self.file.sync().map_err(failed("sync"));
        self.fatal(synced)?;
        self.synced = self.end;
        self.witness_slot = (self.witness_slot + 1) % WITNESS_SLOTS;
        let offset = (self.witness_slot + 1) * SECTOR_LEN;
        let written = self
            .file
            .write_at(offset, &encode_witness(self.synced))
            .map_err(failed("write"));
        self.fatal(written)
    }

    /// The live records in the order they were appended, each checked again.
    pub fn replay(&self) -> impl Iterator<Item = Result<(u64, Vec<u8>), JournalError>> + '_ {
        self.live
            .iter()
            .map(|place| Ok((place.height, read_body(&*self.file, *place)?)))
    }

    /// Drops records at or below `height`: call it once their block is durable in the log. The file is
    /// rewritten only when dropped records take `rotate_bytes`; until then a restart that names the log's
    /// tip drops them again.
    pub fn truncate_through(&mut self, height: u64) -> Result<(), JournalError> {
        self.alive()?;
        self.forget_through(height);
        if self.dead_bytes() < self.config.rotate_bytes {
            return Ok(());
        }
        let rotated = self.rotate();
        self.fatal(rotated)
    }

    /// Length of the file, in bytes.
    pub fn bytes(&self) -> u64 {
        self.end
    }

    /// Bytes of the records not dropped.
    pub fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    fn alive(&self) -> Result<(), JournalError> {
        if self.poisoned {
            Err(JournalError::Poisoned)
        } else {
            Ok(())
        }
    }

    fn fatal<T>(&mut self, result: Result<T, JournalError>) -> Result<T, JournalError> {
        self.poisoned |= result.is_err();
        result
    }

    fn dead_bytes(&self) -> u64 {
        self.end - HEAD_LEN - self.live_bytes
    }

    fn forget_through(&mut self, height: u64) {
        self.live.retain(|place| place.height > height);
        self.live_bytes = self.live.iter().map(Place::span).sum();
    }

    /// Where a record of `len` bytes goes, after clearing out dropped ones if there is no room otherwise.
    fn make_room(&mut self, height: u64, len: u64) -> Result<Place, JournalError> {
        let needed_bytes = span(len);
        let max_bytes = self.config.bytes_max;
        if HEAD_LEN + self.live_bytes + needed_bytes > max_bytes {
            return Err(JournalError::Full {
                live_bytes: self.live_bytes,
                needed_bytes,
                max_bytes,
            });
        }
        let rotates = self.end + needed_bytes > max_bytes;
        let writes = if rotates {
            self.live_bytes + needed_bytes
        } else {
            needed_bytes
        };
        let free_bytes = self
            .disk
            .free_bytes()
            .map_err(failed("ask for the disk space of"))?;
        let needed_free = writes.saturating_add(self.config.reserve_bytes);
        if free_bytes < needed_free {
            return Err(JournalError::DiskFull {
                free_bytes,
                needed_bytes: needed_free,
            });
        }
        if rotates {
            let rotated = self.rotate();
            self.fatal(rotated)?;
        }
        Ok(Place {
            height,
            offset: self.end,
            len,
        })
    }

    /// Replaces the file by one with the live records only, all of them durable.
    fn rotate(&mut self) -> Result<(), JournalError> {
        let (file, live) = write_whole(&*self.disk, Some(&*self.file), &self.live)?;
        publish_whole(&*self.disk)?;
        self.file = file;
        self.live = live;
        self.end = HEAD_LEN + self.live_bytes;
        self.synced = self.end;
        Ok(())
    }

    fn recover(&mut self) -> Result<(), JournalError> {
        let len = self.file.len().map_err(failed("measure"))?;
        let mut head = vec![0; usize::try_from(HEAD_LEN).unwrap_or(0)];
        if len < HEAD_LEN {
            return Err(JournalError::Damaged {
                offset: len,
                what: "it ends inside its head",
            });
        }
        self.file.read_at(0, &mut head).map_err(failed("read"))?;
        if !head.starts_with(FILE_MAGIC) {
            return Err(JournalError::Damaged {
                offset: 0,
                what: "it has no magic",
            });
        }
        while let Some(place) = read_place(&*self.file, self.end, len)? {
            match read_body(&*self.file, place) {
                Ok(_) => {}
                Err(JournalError::Damaged { .. }) => break,
                // A disk that cannot be read is not a torn tail: cut nothing.
                Err(error) => return Err(error),
            }
            self.end += place.span();
            self.live_bytes += place.span();
            self.live.push_back(place);
        }
        let durable = find_durable(&*self.file, &head, self.end, len)?;
        if durable > self.end {
            return Err(JournalError::Damaged {
                offset: self.end,
                what: "a durable record does not check",
            });
        }
        if self.end < len {
            self.file
                .set_len(self.end)
                .map_err(failed("cut the torn tail of"))?;
            self.file.sync().map_err(failed("sync"))?;
        }
        self.synced = self.end;
        Ok(())
    }
}

/// How far the file says it was durable: by its witness, and by records that follow the place `bad` where
/// reading stopped.
fn find_durable(file: &dyn File, head: &[u8], bad: u64, len: u64) -> Result<u64, JournalError> {
    let sector = usize::try_from(SECTOR_LEN).unwrap_or(0);
    let mut durable = head
        .chunks(sector)
        .skip(1)
        .filter_map(decode_witness)
        .max()
        .unwrap_or(HEAD_LEN);
    let mut buffer = vec![0; SCAN_BUFFER_LEN];
    let mut at = bad;
    while at < len {
        let part = usize::try_from(len - at).unwrap_or(usize::MAX).min(buffer.len());
        file.read_at(at, &mut buffer[..part]).map_err(failed("read"))?;
        for start in (0..part).step_by(ALIGN_LEN) {
            if buffer[start..part].starts_with(RECORD_MAGIC)
                && let Some((_, synced)) = read_head(file, at + len_u64(start), len)?
            {
                durable = durable.max(synced);
            }
        }
        at += len_u64(part);
    }
    Ok(durable)
}

/// Writes a whole journal aside: the head, and what is live of another file. Durable, but not in place.
fn write_whole(
    disk: &dyn Disk,
    from: Option<&dyn File>,
    live: &VecDeque<Place>,
) -> Result<(Arc<dyn File>, VecDeque<Place>), JournalError> {
    let file = disk
        .create(&format!("{PATH}{UNPUBLISHED_SUFFIX}"))
        .map_err(failed("create"))?;
    let mut end = HEAD_LEN;
    let mut moved = VecDeque::with_capacity(live.len());
    for place in live {
        let Some(from) = from else { break };
        let body = read_body(from, *place)?;
        let place = Place {
            offset: end,
            ..*place
        };
        let mut bytes = encode_head(place, HEAD_LEN, &check_body(&body)).to_vec();
        bytes.extend_from_slice(&body);
        bytes.resize(bytes.len().next_multiple_of(ALIGN_LEN), 0);
        file.write_at(end, &bytes).map_err(failed("rewrite"))?;
        end += place.span();
        moved.push_back(place);
    }
    let mut head = vec![0; usize::try_from(HEAD_LEN).unwrap_or(0)];
    head[..FILE_MAGIC.len()].copy_from_slice(FILE_MAGIC);
    let witness = usize::try_from(SECTOR_LEN).unwrap_or(0);
    head[witness..witness + WITNESS_LEN].copy_from_slice(&encode_witness(end));
    file.write_at(0, &head).map_err(failed("write the head of"))?;
    file.sync().map_err(failed("sync"))?;
    Ok((file, moved))
}

/// Puts what [`write_whole`] wrote in place, in one step.
fn publish_whole(disk: &dyn Disk) -> Result<(), JournalError> {
    disk.rename(&format!("{PATH}{UNPUBLISHED_SUFFIX}"), PATH)
        .map_err(failed("put in place"))?;
    disk.sync_dir(DIR).map_err(failed("put in place"))
}

fn encode_head(place: Place, synced: u64, body_check: &[u8; 16]) -> [u8; RECORD_HEAD_LEN] {
    let mut head = [0; RECORD_HEAD_LEN];
    head[..4].copy_from_slice(RECORD_MAGIC);
    head[4..8].copy_from_slice(&place.len.to_le_bytes()[..4]);
    head[8..16].copy_from_slice(&place.height.to_le_bytes());
    head[16..24].copy_from_slice(&synced.to_le_bytes());
    head[24..40].copy_from_slice(body_check);
    let check = check_head(place.offset, &head);
    head[40..].copy_from_slice(&check);
    head
}

/// The record at `offset` and how far the file was durable before it, if a head there checks.
fn read_head(file: &dyn File, offset: u64, len: u64) -> Result<Option<(Place, u64)>, JournalError> {
    let mut head = [0; RECORD_HEAD_LEN];
    if len.saturating_sub(offset) < len_u64(RECORD_HEAD_LEN) {
        return Ok(None);
    }
    file.read_at(offset, &mut head).map_err(failed("read"))?;
    let number = |at: usize| {
        head[at..]
            .first_chunk()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes))
    };
    if !head.starts_with(RECORD_MAGIC) || check_head(offset, &head) != head[40..] {
        return Ok(None);
    }
    // The upper half of the first eight bytes: the four after the magic.
    let place = Place {
        height: number(8),
        offset,
        len: number(0) >> 32,
    };
    Ok(Some((place, number(16))))
}

fn read_place(file: &dyn File, offset: u64, len: u64) -> Result<Option<Place>, JournalError> {
    let found = read_head(file, offset, len)?.map(|(place, _)| place);
    Ok(found.filter(|place| place.span() <= len - offset))
}

fn read_body(file: &dyn File, place: Place) -> Result<Vec<u8>, JournalError> {
    let damaged = JournalError::Damaged {
        offset: place.offset,
        what: "a record's body does not check",
    };
    let Ok(len) = usize::try_from(place.len) else {
        return Err(damaged);
    };
    let mut bytes = vec![0; RECORD_HEAD_LEN + len];
    file.read_at(place.offset, &mut bytes).map_err(failed("read"))?;
    let body = bytes.split_off(RECORD_HEAD_LEN);
    if check_body(&body) != bytes[24..40] {
        return Err(damaged);
    }
    Ok(body)
}

fn check_body(body: &[u8]) -> [u8; 16] {
    let mut check = [0; 16];
    check.copy_from_slice(&blake3::hash(body).as_bytes()[..16]);
    check
}

fn check_head(offset: u64, head: &[u8; RECORD_HEAD_LEN]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&offset.to_le_bytes()).update(&head[..40]);
    let mut check = [0; 8];
    check.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    check
}

fn encode_witness(synced: u64) -> [u8; WITNESS_LEN] {
    let mut bytes = [0; WITNESS_LEN];
    let (number, check) = bytes.split_at_mut(8);
    number.copy_from_slice(&synced.to_le_bytes());
    check.copy_from_slice(&blake3::hash(number).as_bytes()[..8]);
    bytes
}

fn decode_witness(sector: &[u8]) -> Option<u64> {
    let synced = u64::from_le_bytes(*sector.first_chunk()?);
    sector.starts_with(&encode_witness(synced)).then_some(synced)
}

fn span(len: u64) -> u64 {
    (len + len_u64(RECORD_HEAD_LEN)).next_multiple_of(len_u64(ALIGN_LEN))
}

fn failed(action: &'static str) -> impl Fn(io::Error) -> JournalError {
    move |source| JournalError::Io { action, source }
}

const DIR: &str = "journal";
const PATH: &str = "journal/records";
const FILE_MAGIC: &[u8] = b"selfchain journal v1";
const RECORD_MAGIC: &[u8] = b"SCJr";
const RECORD_HEAD_LEN: usize = 48;
const ALIGN_LEN: usize = 8;
const HEAD_LEN: u64 = 4096;
const SECTOR_LEN: u64 = 512;
const WITNESS_LEN: usize = 16;
const WITNESS_SLOTS: u64 = 2;
const SCAN_BUFFER_LEN: usize = 1 << 20;

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
