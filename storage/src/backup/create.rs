//! Creating: what the newest manifest does not have yet goes into parts, and those under a manifest.
//!
//! A part is durable before the manifest that names it, and a manifest has few parts. So what is cut off loses at most
//! the parts of one manifest, and the next call goes on after the last one that is whole.

use super::age::Recipient;
use super::depot::Depot;
use super::error::{BackupError, io_error};
use super::history::newest;
use super::part::{SealedPart, seal_part};
use crate::disk::Disk;
use crate::guard::lock;
use crate::metrics::len_u64;
use selfchain_types::backup::{
    BackupItem, FILES_MAX, FileEntry, Manifest, ManifestBody, PARTS_MAX, PartEntry, PartHolds, Reach,
    put_piece, put_row,
};
use selfchain_types::codec::{DecodeError, narrow};
use selfchain_types::crypto::SigningKey;
use selfchain_types::seam::log::LogReader;
use selfchain_types::{Hash, Height, TimeNs};
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

/// What a block says of the ledger: its hash, and the newest state root that its header commits to, with its height.
pub type TipOf<'a> = &'a dyn Fn(Height, &[u8]) -> Result<(Hash, Hash, Height), DecodeError>;

/// A ledger to be backed up.
pub struct Source<'a> {
    /// Its chain.
    pub chain_id: Hash,
    /// Its log.
    pub log: &'a dyn LogReader,
    /// Its directory.
    pub disk: &'a dyn Disk,
    /// Files of that directory to be kept as they are: the genesis first, so that no manifest with rows lacks it.
    pub files: Vec<String>,
    /// Reads a block.
    pub tip_of: TipOf<'a>,
}

/// How a backup is made.
pub struct CreateOptions<'a> {
    /// The owner's root key, which signs.
    pub key: &'a SigningKey,
    /// Whom parts are sealed to.
    pub recipients: &'a [Recipient],
    /// The time now.
    pub created: TimeNs,
    /// Threads that compress and seal. One: everything happens in the calling thread, in one order.
    pub threads: usize,
    /// Bytes of content at which a part is ended; the last row may lead beyond. `PART_BYTES` but in tests.
    pub part_bytes: usize,
    /// Whether to begin anew, with everything.
    pub is_full: bool,
}

/// What was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Created {
    /// The newest manifest, unless none is there because the ledger is empty.
    pub newest: Option<Manifest>,
    /// Manifests that were added.
    pub manifests: u64,
    /// Parts that were added.
    pub parts: u64,
    /// Rows in them.
    pub rows: u64,
    /// Bytes of content in them.
    pub content_bytes: u64,
    /// Bytes of their files.
    pub file_bytes: u64,
    /// Whether everything was put in anew although that was not asked for: the log has dropped rows that the backup
    /// does not have.
    pub began_anew: bool,
}

/// Adds to the backup in `depot` what it does not have. `progress` hears the height reached.
///
/// # Errors
/// [`BackupError`]; what manifests name is whole all the same, and the next call goes on.
pub fn create(
    depot: &dyn Depot,
    source: &Source<'_>,
    options: &CreateOptions<'_>,
    progress: &mut dyn FnMut(Height),
) -> Result<Created, BackupError> {
    let last = newest(depot, &options.key.id())?;
    if let Some(last) = &last {
        check_source(last, source)?;
    }
    remove_orphans(depot, last.as_ref())?;
    let mut created = Created {
        newest: last.clone(),
        ..Created::default()
    };
    // A gap that retention has torn cannot be filled.
    let next = last.as_ref().map(|last| last.body().reach.last.next());
    let first = source.log.first().map(Height);
    let is_torn = next.zip(first).is_some_and(|(next, first)| next < first);
    let continues = last.filter(|_| !options.is_full && !is_torn);
    created.began_anew = is_torn && !options.is_full;
    let mut work = Work::plan(source, continues.as_ref(), options.part_bytes)?;
    let base = continues.as_ref().map(|last| last.body().base);
    let mut begun = base;
    loop {
        let sequence = created.newest.as_ref().map_or(1, |last| last.body().sequence + 1);
        let parts = fill(depot, sequence, &mut work, options)?;
        if parts.is_empty() && !work.are_files_new {
            break;
        }
        work.are_files_new &= !work.files.is_empty();
        let base = *begun.get_or_insert(sequence);
        let manifest = Manifest::sign(
            ManifestBody {
                chain_id: source.chain_id,
                sequence,
                base,
                previous: created.newest.as_ref().map_or(Hash::ZERO, Manifest::hash),
                created: options.created,
                reach: work.reach,
                recipients: options.recipients.iter().map(Recipient::id).collect(),
                files: work.files_done.clone(),
                parts: parts.clone(),
            },
            options.key,
        );
        depot.put(BackupItem::Manifest(sequence), manifest.as_bytes())?;
        created.manifests += 1;
        created.parts += len_u64(parts.len());
        created.content_bytes += parts.iter().map(|part| part.content_len).sum::<u64>();
        created.file_bytes += parts.iter().map(|part| part.len).sum::<u64>();
        created.newest = Some(manifest);
        progress(work.reach.last);
    }
    created.rows = work.rows;
    Ok(created)
}

/// Refuses a ledger that is not the one of the backup, or went on from an older state of it.
fn check_source(last: &Manifest, source: &Source<'_>) -> Result<(), BackupError> {
    let (got, want) = (last.body().chain_id, source.chain_id);
    if got != want {
        return Err(BackupError::Chain { got, want });
    }
    let Reach {
        last: height, block, ..
    } = last.body().reach;
    if height == Height::GENESIS || source.log.first().is_some_and(|first| first > height.0) {
        return Ok(());
    }
    if source.log.tip().is_none_or(|tip| tip < height.0) {
        return Err(BackupError::Diverged { height });
    }
    let row = source.log.read(height.0)?;
    match (source.tip_of)(height, &row) {
        Ok((hash, ..)) if hash == block => Ok(()),
        Ok(_) => Err(BackupError::Diverged { height }),
        Err(source) => Err(BackupError::Block { height, source }),
    }
}

/// Parts above the newest manifest are of one that was never finished.
fn remove_orphans(depot: &dyn Depot, last: Option<&Manifest>) -> Result<(), BackupError> {
    let newest = last.map_or(0, |last| last.body().sequence);
    for kept in depot.list()? {
        if kept.item.sequence() > newest {
            depot.remove(kept.item)?;
        }
    }
    Ok(())
}

/// What is to be put into parts, in order.
struct Work<'a> {
    source: &'a Source<'a>,
    /// Files of which bytes are still to be put in, from an offset on.
    files: VecDeque<(FileEntry, u64)>,
    /// Files that are wholly in.
    files_done: Vec<FileEntry>,
    /// Whether what the manifests say of files is not what is there: files that went away are worth one without parts.
    are_files_new: bool,
    reach: Reach,
    rows: u64,
    part_bytes: usize,
}

/// A part before it is sealed.
type Content = (PartHolds, Vec<u8>);

impl<'a> Work<'a> {
    fn plan(source: &'a Source<'a>, last: Option<&Manifest>, part_bytes: usize) -> Result<Self, BackupError> {
        let count = source.files.len();
        if count > FILES_MAX {
            return Err(BackupError::Files {
                count,
                max: FILES_MAX,
            });
        }
        let before = last.map_or(&[][..], |last| &last.body().files);
        let (mut files, mut files_done) = (VecDeque::new(), Vec::new());
        for path in &source.files {
            let old = before.iter().find(|file| file.path == *path);
            let (entry, from) = look_at(source.disk, path, old)?;
            if old == Some(&entry) {
                files_done.push(entry);
            } else {
                files.push_back((entry, from));
            }
        }
        let are_files_new = !files.is_empty() || files_done.len() != before.len();
        files_done.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        let none = Reach {
            first: Height::GENESIS,
            last: Height::GENESIS,
            block: Hash::ZERO,
            state_root: Hash::ZERO,
            state_height: Height::GENESIS,
        };
        Ok(Self {
            source,
            files,
            files_done,
            are_files_new,
            reach: last.map_or(none, |last| last.body().reach),
            rows: 0,
            part_bytes,
        })
    }

    fn next_content(&mut self) -> Result<Option<Content>, BackupError> {
        if self.files.is_empty() {
            return self.next_rows();
        }
        let mut content = Vec::new();
        while content.len() < self.part_bytes
            && let Some((entry, from)) = self.files.front_mut()
        {
            let room = len_u64(self.part_bytes - content.len());
            let len = (entry.len - *from).min(room);
            let bytes = read_file(self.source.disk, &entry.path, *from, len)?;
            put_piece(&mut content, &entry.path, *from, &bytes);
            *from += len;
            if *from == entry.len
                && let Some((entry, _)) = self.files.pop_front()
            {
                let at = self.files_done.partition_point(|done| done.path < entry.path);
                self.files_done.insert(at, entry);
            }
        }
        Ok(Some((PartHolds::Files, content)))
    }

    fn next_rows(&mut self) -> Result<Option<Content>, BackupError> {
        let log = self.source.log;
        let (Some(first), Some(tip)) = (log.first(), log.tip()) else {
            return Ok(None);
        };
        let from = Height(first.max(self.reach.last.0.saturating_add(1)));
        // The last row may lead beyond.
        let (mut next, mut content) = (from, Vec::with_capacity(self.part_bytes + self.part_bytes / 8));
        let mut newest = None;
        while next.0 <= tip && content.len() < self.part_bytes {
            let row = log.read(next.0)?;
            put_row(&mut content, next, &row);
            newest = Some((next, row));
            next = next.next();
        }
        let Some((last, row)) = newest else {
            return Ok(None);
        };
        let (block, state_root, state_height) =
            (self.source.tip_of)(last, &row).map_err(|source| BackupError::Block { height: last, source })?;
        let is_first = self.reach.first == Height::GENESIS;
        self.reach = Reach {
            first: if is_first { from } else { self.reach.first },
            last,
            block,
            state_root,
            state_height,
        };
        self.rows += last.0 - from.0 + 1;
        Ok(Some((PartHolds::Rows { first: from, last }, content)))
    }
}

/// What a file is, and from where on the backup does not have it: one that only grew goes on where it ended.
fn look_at(disk: &dyn Disk, path: &str, old: Option<&FileEntry>) -> Result<(FileEntry, u64), BackupError> {
    let file = disk.open_read_only(path).map_err(io_error("open", path))?;
    let len = file.len().map_err(io_error("measure", path))?;
    let mut hasher = blake3::Hasher::new();
    let (mut offset, mut grew_from) = (0, 0);
    let mut buffer = vec![0; HASH_BUFFER_LEN];
    let boundary = old.map_or(0, |old| old.len);
    while offset < len {
        let until = if offset < boundary { boundary.min(len) } else { len };
        let part = (until - offset).min(len_u64(HASH_BUFFER_LEN));
        let part = &mut buffer[..usize::try_from(part).unwrap_or(HASH_BUFFER_LEN)];
        file.read_at(offset, part).map_err(io_error("read", path))?;
        hasher.update(part);
        offset += len_u64(part.len());
        if offset == boundary && old.is_some_and(|old| old.hash.0 == *hasher.finalize().as_bytes()) {
            grew_from = boundary;
        }
    }
    let entry = FileEntry {
        path: path.to_owned(),
        len,
        hash: Hash(*hasher.finalize().as_bytes()),
    };
    Ok((entry, grew_from))
}

const HASH_BUFFER_LEN: usize = 1 << 20;

fn read_file(disk: &dyn Disk, path: &str, offset: u64, len: u64) -> Result<Vec<u8>, BackupError> {
    let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
    disk.open_read_only(path)
        .and_then(|file| file.read_at(offset, &mut bytes))
        .map_err(io_error("read", path))?;
    Ok(bytes)
}

/// Seals the parts of one manifest and keeps them, each durably. One thread reads, the others seal; what is read waits in
/// a queue of one.
fn fill(
    depot: &dyn Depot,
    sequence: u64,
    work: &mut Work<'_>,
    options: &CreateOptions<'_>,
) -> Result<Vec<PartEntry>, BackupError> {
    let keep = |number: usize, (holds, content): Content| -> Result<PartEntry, BackupError> {
        let SealedPart { entry, file } = seal_part(options.recipients, holds, &content)?;
        drop(content);
        let number = narrow(number);
        depot.put(BackupItem::Part { sequence, number }, &file)?;
        Ok(entry)
    };
    if options.threads <= 1 {
        let mut parts = Vec::new();
        while parts.len() < PARTS_MAX
            && let Some(content) = work.next_content()?
        {
            parts.push(keep(parts.len(), content)?);
        }
        return Ok(parts);
    }
    let (queue, waiting) = sync_channel::<(usize, Content)>(1);
    let waiting: Mutex<Receiver<(usize, Content)>> = Mutex::new(waiting);
    let has_failed = AtomicBool::new(false);
    let worker = || {
        let next = || lock(&waiting).recv();
        let (mut done, mut failed) = (Vec::new(), None::<BackupError>);
        while let Ok((number, content)) = next() {
            // What still waits is taken and dropped, so that the reader never waits for ever.
            if has_failed.load(Ordering::Relaxed) {
                continue;
            }
            match keep(number, content) {
                Ok(entry) => done.push((number, entry)),
                Err(error) => {
                    has_failed.store(true, Ordering::Relaxed);
                    failed = Some(error);
                }
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(done),
        }
    };
    let mut parts: Vec<(usize, PartEntry)> = Vec::new();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..options.threads).map(|_| scope.spawn(worker)).collect();
        let mut read = Ok(());
        for number in 0..PARTS_MAX {
            if has_failed.load(Ordering::Relaxed) {
                break;
            }
            match work.next_content() {
                Ok(Some(content)) => {
                    if queue.send((number, content)).is_err() {
                        break;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    read = Err(error);
                    break;
                }
            }
        }
        drop(queue);
        for worker in workers {
            parts.extend(worker.join().map_err(|_| BackupError::Thread)??);
        }
        read
    })?;
    parts.sort_unstable_by_key(|(number, _)| *number);
    Ok(parts.into_iter().map(|(_, entry)| entry).collect())
}
