//! One segment: a redb file of consecutive rows, written by one transaction a sync, then sealed for ever.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use redb::{Database, ReadOnlyDatabase, ReadTransaction, ReadableDatabase, TableDefinition};
use selfchain_types::seam::log::LogError;

use super::backend::Backend;
use super::config::LogConfig;
use super::frame::{CHUNK_LEN_MAX, FRAME_LEN, Frame, checksum, chunks};
use crate::disk::{Disk, UNPUBLISHED_SUFFIX};
use crate::guard::{read, write};
use crate::metrics::len_u64;

/// Rows of the log, in chunks: `(height, chunk) -> bytes`.
const ROWS: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("rows");

/// Where the log keeps its files.
pub(super) const LOG_DIR: &str = "log";

/// What a segment holds, for backup, `verify` and display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentSummary {
    /// Its first height.
    pub first: u64,
    /// Its last durable height.
    pub last: u64,
    /// Length of its file, in bytes, and BLAKE3 of it; `None` while it is not sealed.
    pub sealed: Option<(u64, [u8; 32])>,
    /// Path of its file, relative to the disk.
    pub path: String,
}

/// A segment, shared by the writer, the sealer and all readers.
#[derive(Debug)]
pub(super) struct Segment {
    pub first: u64,
    /// Last durable height; below `first` while there is none.
    last: AtomicU64,
    /// Row bytes it holds.
    bytes: AtomicU64,
    sealed: AtomicBool,
    /// `None` while closed; a reader then opens it read-only.
    handle: RwLock<Option<Handle>>,
}

enum Handle {
    Writable(Database),
    ReadOnly(ReadOnlyDatabase),
}

impl fmt::Debug for Handle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Handle::Writable(_) => "Writable",
            Handle::ReadOnly(_) => "ReadOnly",
        })
    }
}

impl Handle {
    fn begin_read(&self) -> Result<ReadTransaction, redb::TransactionError> {
        match self {
            Handle::Writable(database) => database.begin_read(),
            Handle::ReadOnly(database) => database.begin_read(),
        }
    }
}

impl Segment {
    /// Creates an empty segment whose first row will be `first`. Its name appears only once the file is a
    /// whole database, so a crash leaves either that or a name that [`UNPUBLISHED_SUFFIX`] marks.
    pub fn create(disk: &dyn Disk, config: &LogConfig, first: u64) -> Result<Self, LogError> {
        let path = segment_path(first);
        let aside = format!("{path}{UNPUBLISHED_SUFFIX}");
        let file = disk
            .create_streamed(&aside)
            .map_err(|source| io_error("create", &path, source))?;
        let database = builder(config.write_cache_bytes)
            .create_with_backend(Backend(file))
            .map_err(|error| redb_error("create", first, error.into()))?;
        write_rows(&database, config.quick_repair, 0, &[])
            .map_err(|error| redb_error("create", first, error))?;
        disk.rename(&aside, &path)
            .map_err(|source| io_error("publish", &path, source))?;
        disk.sync_dir(LOG_DIR)
            .map_err(|source| io_error("publish", &path, source))?;
        Ok(Self {
            first,
            last: AtomicU64::new(first.wrapping_sub(1)),
            bytes: AtomicU64::new(0),
            sealed: AtomicBool::new(false),
            handle: RwLock::new(Some(Handle::Writable(database))),
        })
    }

    /// Opens a segment that is not sealed; redb takes it back to its last durable commit. Returns it with
    /// whether it holds any row. Its last row is verified, and with `check_on_open` every page.
    pub fn recover(disk: &dyn Disk, config: &LogConfig, first: u64) -> Result<(Self, bool), LogError> {
        let path = segment_path(first);
        let file = disk
            .open_streamed(&path)
            .map_err(|source| io_error("open", &path, source))?;
        let opened = believing(first, || {
            let database = builder(config.write_cache_bytes)
                .set_check_integrity_on_open(config.check_on_open)
                .create_with_backend(Backend(file))
                .map_err(|error| redb_error("open", first, error.into()))?;
            let newest = newest_frame(&database, first)?;
            Ok((database, newest))
        });
        let (database, newest) = opened?;
        let segment = Self {
            first,
            last: AtomicU64::new(
                newest
                    .as_ref()
                    .map_or(first.wrapping_sub(1), |frame| frame.height),
            ),
            bytes: AtomicU64::new(newest.as_ref().map_or(0, Frame::end)),
            sealed: AtomicBool::new(false),
            handle: RwLock::new(Some(Handle::Writable(database))),
        };
        if let Some(frame) = &newest {
            // The key alone is not believed: the row must be whole and carry its own height.
            segment.read(disk, config, frame.height)?;
        }
        Ok((segment, newest.is_some()))
    }

    /// A sealed segment, opened when first read.
    pub fn sealed(first: u64, last: u64, bytes: u64) -> Self {
        Self {
            first,
            last: AtomicU64::new(last),
            bytes: AtomicU64::new(bytes),
            sealed: AtomicBool::new(true),
            handle: RwLock::new(None),
        }
    }

    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    pub fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    pub fn mark_sealed(&self) {
        self.sealed.store(true, Ordering::Release);
    }

    pub fn is_open(&self) -> bool {
        read(&self.handle).is_some()
    }

    /// Makes `rows` durable in one commit.
    pub fn append(&self, config: &LogConfig, rows: &[(u64, Arc<[u8]>)]) -> Result<(), LogError> {
        let handle = read(&self.handle);
        let Some(Handle::Writable(database)) = &*handle else {
            return Err(LogError::Poisoned);
        };
        let bytes = write_rows(database, config.quick_repair, self.bytes(), rows)
            .map_err(|error| redb_error("commit", self.first, error))?;
        self.bytes.store(bytes, Ordering::Release);
        if let Some((height, _)) = rows.last() {
            self.last.store(*height, Ordering::Release);
        }
        Ok(())
    }

    /// Reads one row and verifies it.
    pub fn read(&self, disk: &dyn Disk, config: &LogConfig, height: u64) -> Result<Arc<[u8]>, LogError> {
        loop {
            if let Some(handle) = &*read(&self.handle) {
                return believing(height, || read_row(handle, config.row_bytes_max, height));
            }
            self.open_read_only(disk, config)?;
        }
    }

    fn open_read_only(&self, disk: &dyn Disk, config: &LogConfig) -> Result<(), LogError> {
        let mut handle = write(&self.handle);
        if handle.is_none() {
            let path = segment_path(self.first);
            let file = disk
                .open_read_only(&path)
                .map_err(|source| io_error("open", &path, source))?;
            let database = believing(self.first, || {
                builder(config.read_cache_bytes)
                    .open_read_only_with_backend(Backend(file))
                    .map_err(|error| redb_error("open", self.first, error.into()))
            })?;
            *handle = Some(Handle::ReadOnly(database));
        }
        Ok(())
    }

    /// Closes it, cleanly when it was being written, so that it opens read-only from then on.
    pub fn close(&self) -> Result<(), LogError> {
        match write(&self.handle).take() {
            Some(Handle::Writable(database)) => database
                .close()
                .map_err(|error| redb_error("close", self.first, error.into())),
            Some(Handle::ReadOnly(database)) => database
                .close()
                .map_err(|error| redb_error("close", self.first, error.into())),
            None => Ok(()),
        }
    }
}

/// Path of the segment that begins at `first`.
pub(super) fn segment_path(first: u64) -> String {
    format!("{LOG_DIR}/{first:020}.redb")
}

fn builder(cache_bytes: usize) -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes);
    builder
}

/// Writes and commits `rows` after `start` row bytes; returns the row bytes then.
fn write_rows(
    database: &Database,
    quick_repair: bool,
    mut start: u64,
    rows: &[(u64, Arc<[u8]>)],
) -> Result<u64, redb::Error> {
    // Durability is Immediate unless told otherwise: the commit returns after its sync.
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(quick_repair);
    {
        let mut table = transaction.open_table(ROWS)?;
        for (height, row) in rows {
            let frame = Frame::new(*height, start, row);
            let (first, rest) = chunks(row);
            let mut chunk = table.insert_reserve((*height, 0), FRAME_LEN + first.len())?;
            let (head, body) = chunk.as_mut().split_at_mut(FRAME_LEN);
            head.copy_from_slice(&frame.encode());
            body.copy_from_slice(first);
            drop(chunk);
            for (number, piece) in (1..).zip(rest) {
                table.insert((*height, number), piece)?;
            }
            start = frame.end();
        }
    }
    transaction.commit()?;
    Ok(start)
}

/// The frame of the newest row, `None` when there is none.
fn newest_frame(database: &Database, first: u64) -> Result<Option<Frame>, LogError> {
    let failed = |error: redb::Error| redb_error("read", first, error);
    let transaction = database.begin_read().map_err(|error| failed(error.into()))?;
    let table = match transaction.open_table(ROWS) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        opened => opened.map_err(|error| failed(error.into()))?,
    };
    let last = redb::ReadableTable::last(&table).map_err(|error| failed(error.into()))?;
    let Some((key, _)) = last else { return Ok(None) };
    let height = key.value().0;
    let chunk = redb::ReadableTable::get(&table, (height, 0)).map_err(|error| failed(error.into()))?;
    let frame = chunk.and_then(|chunk| Frame::decode(chunk.value()));
    match frame {
        Some(frame) if frame.height == height && height >= first => Ok(Some(frame)),
        _ => Err(corrupt(height, "its newest row has no valid head")),
    }
}

fn read_row(handle: &Handle, row_bytes_max: u64, height: u64) -> Result<Arc<[u8]>, LogError> {
    let failed = |error: redb::Error| redb_error("read", height, error);
    let transaction = handle.begin_read().map_err(|error| failed(error.into()))?;
    let table = transaction
        .open_table(ROWS)
        .map_err(|error| failed(error.into()))?;
    let mut pieces = redb::ReadableTable::range(&table, (height, 0)..=(height, u32::MAX))
        .map_err(|error| failed(error.into()))?;
    let mut next_piece = || pieces.next().transpose().map_err(|error| failed(error.into()));

    let (key, head) = next_piece()?.ok_or_else(|| corrupt(height, "its row is missing"))?;
    let frame = Frame::decode(head.value()).filter(|frame| frame.height == height && key.value().1 == 0);
    let frame = frame.ok_or_else(|| corrupt(height, "its row has no valid head"))?;
    if frame.len > row_bytes_max {
        return Err(corrupt(height, "its row is longer than any may be"));
    }
    let len = usize::try_from(frame.len).map_err(|_| corrupt(height, "its row does not fit memory"))?;

    let mut row: Arc<[u8]> = std::iter::repeat_n(0, len).collect();
    let buffer = Arc::get_mut(&mut row).expect("nobody else has seen the row yet");
    let mut filled = copy_piece(buffer, 0, &head.value()[FRAME_LEN..]);
    let mut number = 1;
    while let Some((key, piece)) = next_piece()? {
        if key.value().1 != number || piece.value().len() > CHUNK_LEN_MAX {
            return Err(corrupt(height, "a chunk of its row is missing"));
        }
        filled = filled.and_then(|filled| copy_piece(buffer, filled, piece.value()));
        number += 1;
    }
    if filled != Some(len) || checksum(height, &row) != frame.checksum {
        return Err(corrupt(height, "its row does not match its checksum"));
    }
    Ok(row)
}

/// Copies a piece behind what is filled and returns how much is filled then, `None` when it is too long.
fn copy_piece(row: &mut [u8], filled: usize, piece: &[u8]) -> Option<usize> {
    let end = filled.checked_add(piece.len())?;
    row.get_mut(filled..end)?.copy_from_slice(piece);
    Some(end)
}

/// Runs a read of a file that may be damaged. redb promises an error for a torn file, but may panic on one
/// that was altered after it was written; that is damage too, and must not take the node down.
fn believing<T>(height: u64, read: impl FnOnce() -> Result<T, LogError>) -> Result<T, LogError> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(corrupt(height, "its segment is not a sound database")))
}

pub(super) fn corrupt(height: u64, what: &str) -> LogError {
    LogError::Corrupt {
        height,
        what: what.to_owned(),
    }
}

pub(super) fn io_error(action: &str, path: &str, source: std::io::Error) -> LogError {
    LogError::Io {
        action: format!("{action} {path}"),
        source,
    }
}

/// What redb says, in our words: damage at `height`, an earlier failure, or the disk.
fn redb_error(action: &str, height: u64, error: redb::Error) -> LogError {
    let source = match error {
        redb::Error::Corrupted(what) => return LogError::Corrupt { height, what },
        redb::Error::PreviousIo | redb::Error::DatabaseClosed => return LogError::Poisoned,
        redb::Error::RepairAborted => return corrupt(height, "its segment was not closed cleanly"),
        redb::Error::UpgradeRequired(_) | redb::Error::TableTypeMismatch { .. } => {
            return corrupt(height, "its segment is of another format");
        }
        redb::Error::TableDoesNotExist(_) => return corrupt(height, "its segment has no rows table"),
        redb::Error::Io(source) if source.kind() == std::io::ErrorKind::InvalidData => {
            return LogError::Corrupt {
                height,
                what: source.to_string(),
            };
        }
        redb::Error::Io(source) if source.kind() == std::io::ErrorKind::UnexpectedEof => {
            return corrupt(height, "its segment ends too early");
        }
        redb::Error::Io(source) => source,
        other => std::io::Error::other(other),
    };
    LogError::Io {
        action: format!("{action} the segment at height {height}"),
        source,
    }
}

/// The file of a segment and the length that a summary reports.
pub(super) fn file_len(disk: &dyn Disk, first: u64) -> Result<u64, LogError> {
    let path = segment_path(first);
    let file = disk
        .open_read_only(&path)
        .map_err(|source| io_error("open", &path, source))?;
    file.len().map_err(|source| io_error("measure", &path, source))
}

/// Row bytes waiting plus what their frames and redb's pages add, for the check against the disk's space.
pub(super) fn estimate_disk_bytes(row_bytes: u64) -> u64 {
    row_bytes
        .saturating_add(row_bytes / 8)
        .saturating_add(len_u64(COMMIT_OVERHEAD))
}

/// Pages that any commit rewrites, and the first ones of a new segment.
const COMMIT_OVERHEAD: usize = 1 << 20;
