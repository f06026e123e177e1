//! Restoring: puts what a backup holds into an empty directory, which is no ledger before everything was checked.
//!
//! The genesis comes last: without it no node starts from the directory. Until [`finish`] it lies aside, and a mark says
//! whose restore this is. A restore that was cut off goes on where the log ends, and puts the few files in again.

use super::age::Identity;
use super::depot::Depot;
use super::error::{BackupError, Fault, io_error};
use super::history::{History, get};
use super::part::{PART_FILE_MAX, open_part};
use crate::disk::{Disk, publish};
use crate::log::{LogConfig, SegmentLog};
use crate::metrics::{StorageMetrics, len_u64};
use selfchain_types::backup::{BackupItem, FileEntry, PartEntry, PartHolds, read_piece, read_row};
use selfchain_types::codec::Reader;
use selfchain_types::seam::log::{Log as _, LogError};
use selfchain_types::{Hash, Height};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

/// The genesis of a ledger that is being restored, until it is checked.
pub const RESTORING_GENESIS: &str = "restoring.genesis";
/// Says of which chain a restore is, and that it is not finished.
pub const RESTORING_MARK: &str = "restoring";
/// The genesis file of a ledger.
const GENESIS: &str = "genesis";
/// Files of a directory's root that say nothing of what is in it.
const LOCK: &str = "LOCK";

/// What was put in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Parts that were opened.
    pub parts: u64,
    /// Bytes of their files.
    pub file_bytes: u64,
    /// Bytes of content in them.
    pub content_bytes: u64,
    /// Rows that were appended.
    pub rows: u64,
    /// The first height that was appended; what is below an earlier call had put in.
    pub resumed_at: Height,
}

/// Puts everything of a backup into the directory of `disk`, which is empty or holds a restore of the same chain that was
/// cut off. `progress` hears the height reached. It is no ledger before [`finish`].
///
/// # Errors
/// [`BackupError`]; the next call goes on.
pub fn restore(
    depot: &dyn Depot,
    history: &History,
    identity: &Identity,
    disk: &Arc<dyn Disk>,
    config: &LogConfig,
    progress: &mut (dyn FnMut(Height) + Send),
) -> Result<Restored, BackupError> {
    let files = &history.newest().body().files;
    if !files.iter().any(|file| file.path == GENESIS) {
        return Err(BackupError::Incomplete {
            path: GENESIS.to_owned(),
        });
    }
    begin(&**disk, history.newest().body().chain_id)?;
    let metrics = Arc::new(StorageMetrics::default());
    let mut log = SegmentLog::open(Arc::clone(disk), config.clone(), metrics)?;
    let tip = log.reader().tip();
    let mut putting = Putting {
        disk: &**disk,
        tip,
        files: files.iter().map(|file| (file.path.as_str(), file)).collect(),
        touched: BTreeSet::new(),
        restored: Restored::default(),
    };
    let has_files = putting.has_all_files()?;
    let is_needed = |(_, entry): &(BackupItem, PartEntry)| match entry.holds {
        PartHolds::Rows { last, .. } => tip.is_none_or(|tip| last.0 > tip),
        PartHolds::Files => !has_files,
    };
    let parts: Vec<(BackupItem, PartEntry)> = history.parts().filter(is_needed).collect();
    // One part is fetched and opened while the one before is put in.
    std::thread::scope(|scope| {
        let (queue, opened) = sync_channel(0);
        let opener = scope.spawn(move || {
            for (item, entry) in parts {
                let content =
                    get(depot, item, PART_FILE_MAX).and_then(|file| open_part(item, &entry, identity, &file));
                let is_last = content.is_err();
                // A reader that stopped has its own error.
                if queue.send((item, entry, content)).is_err() || is_last {
                    break;
                }
            }
        });
        let mut put = Ok(());
        for (item, entry, content) in opened.iter() {
            put = content.and_then(|content| putting.put(&mut log, item, &entry, &content));
            match (&put, entry.holds) {
                (Ok(()), PartHolds::Rows { last, .. }) => progress(last),
                (Ok(()), PartHolds::Files) => {}
                (Err(_), _) => break,
            }
        }
        drop(opened);
        opener.join().map_err(|_| BackupError::Thread)?;
        put
    })?;
    drop(log);
    putting.settle_files()?;
    Ok(putting.restored)
}

/// Says that this directory is a restore, or that it goes on with one.
fn begin(disk: &dyn Disk, chain_id: Hash) -> Result<(), BackupError> {
    let names = disk.list("").map_err(io_error("list", "the directory"))?;
    if names.iter().any(|name| name == RESTORING_MARK) {
        let got = read_mark(disk).map_err(io_error("read", RESTORING_MARK))?;
        return match got == chain_id {
            true => Ok(()),
            false => Err(BackupError::OtherRestore { got }),
        };
    }
    let is_of_nothing = |name: &String| name == LOCK || name.ends_with(crate::disk::UNPUBLISHED_SUFFIX);
    if !names.iter().all(is_of_nothing) {
        return Err(BackupError::NotEmpty);
    }
    publish(disk, RESTORING_MARK, chain_id.as_bytes()).map_err(io_error("write", RESTORING_MARK))
}

fn read_mark(disk: &dyn Disk) -> io::Result<Hash> {
    let mut bytes = [0; Hash::LEN];
    disk.open_read_only(RESTORING_MARK)?.read_at(0, &mut bytes)?;
    Ok(Hash(bytes))
}

/// Makes the directory a ledger, once everything in it was checked: its genesis comes into its place.
///
/// # Errors
/// [`BackupError::Io`]; the next call does the same.
pub fn finish(disk: &dyn Disk) -> Result<(), BackupError> {
    let renamed = match disk.rename(RESTORING_GENESIS, GENESIS) {
        // An earlier call got as far as this.
        Err(error) if error.kind() == io::ErrorKind::NotFound && disk.open_read_only(GENESIS).is_ok() => {
            Ok(())
        }
        renamed => renamed,
    };
    renamed
        .and_then(|()| disk.sync_dir(""))
        .map_err(io_error("put in place", GENESIS))?;
    match disk.remove(RESTORING_MARK) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed
            .and_then(|()| disk.sync_dir(""))
            .map_err(io_error("remove", RESTORING_MARK)),
    }
}

/// The directory while parts are put into it.
struct Putting<'a> {
    disk: &'a dyn Disk,
    /// How far the log had come before.
    tip: Option<u64>,
    /// The files there are to be in the end.
    files: BTreeMap<&'a str, &'a FileEntry>,
    /// Those that were written to.
    touched: BTreeSet<&'a str>,
    restored: Restored,
}

impl Putting<'_> {
    fn put(
        &mut self,
        log: &mut SegmentLog,
        item: BackupItem,
        entry: &PartEntry,
        content: &[u8],
    ) -> Result<(), BackupError> {
        match entry.holds {
            PartHolds::Rows { first, last } => self.put_rows(log, item, (first.0, last.0), content)?,
            PartHolds::Files => self.put_pieces(item, content)?,
        }
        self.restored.parts += 1;
        self.restored.file_bytes += entry.len;
        self.restored.content_bytes += entry.content_len;
        Ok(())
    }

    fn put_rows(
        &mut self,
        log: &mut SegmentLog,
        item: BackupItem,
        (first, last): (u64, u64),
        content: &[u8],
    ) -> Result<(), BackupError> {
        let mut reader = Reader::new("rows of a part", content);
        let mut want = first;
        while reader.left() > 0 {
            let (height, row) = read_row(&mut reader).map_err(|error| Fault::Decode(error).of(item))?;
            if height.0 != want || want > last {
                return Err(Fault::Row { got: height.0, want }.of(item));
            }
            want = want.saturating_add(1);
            // A part that was cut off has put its first rows in already.
            if self.tip.is_some_and(|tip| height.0 <= tip) {
                continue;
            }
            append(log, height.0, row)?;
            if self.restored.rows == 0 {
                self.restored.resumed_at = height;
            }
            self.restored.rows += 1;
        }
        if want != last.saturating_add(1) {
            return Err(Fault::Row { got: last, want }.of(item));
        }
        log.sync()?;
        Ok(())
    }

    fn put_pieces(&mut self, item: BackupItem, content: &[u8]) -> Result<(), BackupError> {
        let mut reader = Reader::new("pieces of a part", content);
        while reader.left() > 0 {
            let (path, offset, bytes) =
                read_piece(&mut reader).map_err(|error| Fault::Decode(error).of(item))?;
            // Files that went away since are not put in.
            let Some((path, entry)) = self.files.get_key_value(path) else {
                continue;
            };
            let end = offset.saturating_add(len_u64(bytes.len()));
            if end > entry.len {
                // It was longer once.
                continue;
            }
            let place = place(path);
            if self.touched.insert(*path) {
                if let Some((dir, _)) = place.rsplit_once('/') {
                    self.disk.create_dir(dir).map_err(io_error("create", dir))?;
                }
                let file = self.disk.open_or_create(place).map_err(io_error("open", place))?;
                file.set_len(0).map_err(io_error("cut", place))?;
            }
            let file = self.disk.open(place).map_err(io_error("open", place))?;
            file.write_at(offset, bytes).map_err(io_error("write", place))?;
        }
        Ok(())
    }

    /// Makes the files that were written durable, and checks all of them.
    fn settle_files(&self) -> Result<(), BackupError> {
        for path in &self.touched {
            let place = place(path);
            let file = self.disk.open(place).map_err(io_error("open", place))?;
            file.sync().map_err(io_error("sync", place))?;
        }
        for entry in self.files.values() {
            if !is_as_said(self.disk, entry)? {
                return Err(BackupError::File {
                    path: entry.path.clone(),
                });
            }
        }
        Ok(())
    }

    fn has_all_files(&self) -> Result<bool, BackupError> {
        for entry in self.files.values() {
            if !is_as_said(self.disk, entry)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn append(log: &mut SegmentLog, height: u64, row: &[u8]) -> Result<(), BackupError> {
    match log.append(height, row) {
        Err(LogError::PendingFull { .. }) => {
            log.sync()?;
            log.append(height, row)?;
            Ok(())
        }
        appended => Ok(appended?),
    }
}

/// Where a file lies until everything is checked.
fn place(path: &str) -> &str {
    match path {
        GENESIS => RESTORING_GENESIS,
        other => other,
    }
}

fn is_as_said(disk: &dyn Disk, entry: &FileEntry) -> Result<bool, BackupError> {
    let place = place(&entry.path);
    let failed = |error| io_error("read", place)(error);
    let file = match disk.open_read_only(place) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened.map_err(failed)?,
    };
    if file.len().map_err(failed)? != entry.len {
        return Ok(false);
    }
    let mut hasher = blake3::Hasher::new();
    let (mut offset, mut buffer) = (0, vec![0; READ_LEN]);
    while offset < entry.len {
        let part = usize::try_from(entry.len - offset)
            .unwrap_or(READ_LEN)
            .min(READ_LEN);
        file.read_at(offset, &mut buffer[..part]).map_err(failed)?;
        hasher.update(&buffer[..part]);
        offset += len_u64(part);
    }
    Ok(*hasher.finalize().as_bytes() == entry.hash.0)
}

const READ_LEN: usize = 1 << 20;
