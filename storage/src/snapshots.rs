//! Snapshots: one file each, chunks checked one by one, visible only when whole.
//!
//! A file is chunks one after another, then the manifest, then a directory entry for each chunk, then the
//! tail. An entry is: table u16, zeros u16, length u32, offset u64, BLAKE3 of the chunk keyed by height,
//! table and number (32). The tail is: magic (8), height, chunks, manifest offset, manifest length,
//! directory offset (u64 each), BLAKE3 of the manifest (32), of the directory (32), of the tail so far (8).
//! Numbers are little endian.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use selfchain_types::seam::snapshot::{SnapshotChunks, SnapshotError, SnapshotStore, SnapshotWriter};

use crate::disk::{Disk, File, UNPUBLISHED_SUFFIX, remove_unpublished};
use crate::guard::lock;
use crate::metrics::len_u64;

/// Sizes of the snapshot store.
#[derive(Debug, Clone)]
pub struct SnapshotConfig {
    /// Snapshots kept, at least one; finishing one more drops the oldest.
    pub keep: usize,
    /// The longest chunk, in bytes.
    pub chunk_bytes_max: u64,
    /// The most chunks of a snapshot.
    pub chunks_max: u64,
    /// The longest manifest, in bytes.
    pub manifest_bytes_max: u64,
    /// What must stay free on the disk, in bytes.
    pub reserve_bytes: u64,
}

impl Default for SnapshotConfig {
    fn default() -> Self {
        Self {
            keep: 2,
            chunk_bytes_max: 16 << 20,
            chunks_max: 1 << 18,
            manifest_bytes_max: 64 << 20,
            reserve_bytes: 256 << 20,
        }
    }
}

/// The snapshots of one ledger. Clones share them.
#[derive(Debug, Clone)]
pub struct Snapshots {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    disk: Arc<dyn Disk>,
    dir: &'static str,
    config: SnapshotConfig,
    /// One change of names at a time.
    naming: Mutex<()>,
    /// Makes the names of unfinished snapshots differ.
    begun: Mutex<u64>,
}

impl Snapshots {
    /// Opens the store of the newest `keep` snapshots and removes what was not finished.
    pub fn open(disk: Arc<dyn Disk>, keep: usize) -> Result<Self, SnapshotError> {
        Self::open_with(
            disk,
            SnapshotConfig {
                keep,
                ..SnapshotConfig::default()
            },
        )
    }

    /// As [`Snapshots::open`], with every limit chosen.
    pub fn open_with(disk: Arc<dyn Disk>, config: SnapshotConfig) -> Result<Self, SnapshotError> {
        Self::open_in(disk, SNAPSHOTS_DIR, config)
    }

    /// As [`Snapshots::open_with`], in a directory of the caller's.
    pub fn open_in(
        disk: Arc<dyn Disk>,
        dir: &'static str,
        config: SnapshotConfig,
    ) -> Result<Self, SnapshotError> {
        disk.create_dir(dir).map_err(failed("create", dir))?;
        remove_unpublished(&*disk, dir).map_err(failed("clean", dir))?;
        let shared = Shared {
            disk,
            dir,
            config,
            naming: Mutex::new(()),
            begun: Mutex::new(0),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    fn open_one(&self, height: u64) -> Result<Opened, SnapshotError> {
        let path = path_of(self.shared.dir, height);
        let file = match self.shared.disk.open_read_only(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(SnapshotError::NotFound { height });
            }
            Err(error) => return Err(failed("open", &path)(error)),
        };
        let tail = read_tail(&*file, &path, height)?;
        Ok(Opened { file, tail })
    }

    /// The file of a snapshot: it stays readable when the store drops the snapshot.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn file(&self, height: u64) -> Result<SnapshotFile, SnapshotError> {
        let opened = self.open_one(height)?;
        let directory = self.directory(&opened, height)?;
        let mut numbers: BTreeMap<u16, u64> = BTreeMap::new();
        let entries = directory.map(|entry| {
            let next = numbers.entry(entry.table).or_default();
            let number = *next;
            *next += 1;
            (number, entry)
        });
        Ok(SnapshotFile {
            height,
            entries: entries.collect(),
            file: opened.file,
            chunk_bytes_max: self.shared.config.chunk_bytes_max,
        })
    }

    /// Where every chunk of a snapshot is, in the order they were put.
    fn directory(
        &self,
        Opened { file, tail }: &Opened,
        height: u64,
    ) -> Result<impl Iterator<Item = Entry> + use<>, SnapshotError> {
        let corrupt = |what| SnapshotError::Corrupt {
            height,
            offset: tail.directory_at,
            what,
        };
        if tail.chunks > self.shared.config.chunks_max {
            return Err(corrupt("it has more chunks than any may have"));
        }
        let directory = read_part(
            &**file,
            height,
            tail.directory_at,
            tail.chunks * len_u64(ENTRY_LEN),
        )?;
        if *blake3::hash(&directory).as_bytes() != tail.directory_hash {
            return Err(corrupt("its directory does not check"));
        }
        let entries: Vec<Entry> = directory.chunks_exact(ENTRY_LEN).map(Entry::decode).collect();
        Ok(entries.into_iter())
    }
}

/// One snapshot, to be read chunk by chunk in any order.
#[derive(Debug)]
pub struct SnapshotFile {
    height: u64,
    /// Each with its number in its table.
    entries: Vec<(u64, Entry)>,
    file: Arc<dyn File>,
    chunk_bytes_max: u64,
}

/// What a chunk of a snapshot is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkEntry {
    /// Its table.
    pub table: u16,
    /// Its length, in bytes.
    pub len: u32,
    /// [`chunk_hash`].
    pub hash: [u8; 32],
}

impl SnapshotFile {
    /// Its chunks, in the order they were put.
    pub fn entries(&self) -> impl Iterator<Item = ChunkEntry> + '_ {
        self.entries.iter().map(|(_, entry)| ChunkEntry {
            table: entry.table,
            len: entry.len,
            hash: entry.hash,
        })
    }

    /// The chunk at this place among [`Self::entries`], checked; `None` past the last.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn chunk(&self, at: usize) -> Result<Option<Vec<u8>>, SnapshotError> {
        let Some((number, entry)) = self.entries.get(at) else {
            return Ok(None);
        };
        read_chunk(&*self.file, self.height, *number, entry, self.chunk_bytes_max).map(Some)
    }
}

impl SnapshotStore for Snapshots {
    fn begin(&self, height: u64) -> Result<Box<dyn SnapshotWriter>, SnapshotError> {
        let number = {
            let mut begun = lock(&self.shared.begun);
            *begun += 1;
            *begun
        };
        let aside = format!(
            "{}.{number}{UNPUBLISHED_SUFFIX}",
            path_of(self.shared.dir, height)
        );
        let file = self
            .shared
            .disk
            .create(&aside)
            .map_err(failed("create", &aside))?;
        Ok(Box::new(Writer {
            shared: Arc::clone(&self.shared),
            height,
            aside,
            file,
            offset: 0,
            unsynced: 0,
            directory: Vec::new(),
            numbers: BTreeMap::new(),
            published: false,
        }))
    }

    fn list(&self) -> Result<Vec<u64>, SnapshotError> {
        let dir = self.shared.dir;
        let names = self.shared.disk.list(dir).map_err(failed("list", dir))?;
        let mut heights: Vec<u64> = names
            .iter()
            .filter_map(|name| name.strip_suffix(SUFFIX)?.parse().ok())
            .collect();
        heights.sort_unstable();
        Ok(heights)
    }

    fn latest(&self) -> Result<Option<u64>, SnapshotError> {
        Ok(self.list()?.pop())
    }

    fn manifest(&self, height: u64) -> Result<Vec<u8>, SnapshotError> {
        let Opened { file, tail } = self.open_one(height)?;
        let corrupt = |what| SnapshotError::Corrupt {
            height,
            offset: tail.manifest_at,
            what,
        };
        if tail.manifest_len > self.shared.config.manifest_bytes_max {
            return Err(corrupt("its manifest is longer than any may be"));
        }
        let manifest = read_part(&*file, height, tail.manifest_at, tail.manifest_len)?;
        if *blake3::hash(&manifest).as_bytes() != tail.manifest_hash {
            return Err(corrupt("its manifest does not check"));
        }
        Ok(manifest)
    }

    fn read(&self, height: u64, table: u16) -> Result<SnapshotChunks, SnapshotError> {
        let opened = self.open_one(height)?;
        let entries: Vec<Entry> = self
            .directory(&opened, height)?
            .filter(|entry| entry.table == table)
            .collect();
        let file = opened.file;
        let mut entries = (0..).zip(entries);
        let mut broken = false;
        let chunk_bytes_max = self.shared.config.chunk_bytes_max;
        Ok(Box::new(std::iter::from_fn(move || {
            let (number, entry) = entries.next().filter(|_| !broken)?;
            let chunk = read_chunk(&*file, height, number, &entry, chunk_bytes_max);
            broken = chunk.is_err();
            Some(chunk)
        })))
    }

    fn remove(&self, height: u64) -> Result<(), SnapshotError> {
        let _one_at_a_time = lock(&self.shared.naming);
        remove_file(&*self.shared.disk, self.shared.dir, height)
    }
}

#[derive(Debug)]
struct Opened {
    file: Arc<dyn File>,
    tail: Tail,
}

#[derive(Debug)]
struct Writer {
    shared: Arc<Shared>,
    height: u64,
    aside: String,
    file: Arc<dyn File>,
    offset: u64,
    unsynced: u64,
    directory: Vec<Entry>,
    /// Chunks so far of each table.
    numbers: BTreeMap<u16, u64>,
    published: bool,
}

impl SnapshotWriter for Writer {
    fn put(&mut self, table: u16, chunk: &[u8]) -> Result<(), SnapshotError> {
        let config = &self.shared.config;
        refuse_over(len_u64(chunk.len()), config.chunk_bytes_max, "bytes a chunk")?;
        refuse_over(len_u64(self.directory.len()) + 1, config.chunks_max, "chunks")?;
        let number = self.numbers.entry(table).or_default();
        let hash = chunk_hash(self.height, table, *number, chunk);
        *number += 1;
        let len = u32::try_from(chunk.len())
            .map_err(|_| failed("write", &self.aside)(io::ErrorKind::FileTooLarge.into()))?;
        self.directory.push(Entry {
            table,
            len,
            offset: self.offset,
            hash,
        });
        self.write(chunk)
    }

    fn finish(mut self: Box<Self>, manifest: &[u8]) -> Result<(), SnapshotError> {
        refuse_over(
            len_u64(manifest.len()),
            self.shared.config.manifest_bytes_max,
            "bytes of manifest",
        )?;
        let directory: Vec<u8> = self.directory.iter().flat_map(Entry::encode).collect();
        let tail = Tail {
            height: self.height,
            chunks: len_u64(self.directory.len()),
            manifest_at: self.offset,
            manifest_len: len_u64(manifest.len()),
            directory_at: self.offset + len_u64(manifest.len()),
            manifest_hash: *blake3::hash(manifest).as_bytes(),
            directory_hash: *blake3::hash(&directory).as_bytes(),
        };
        self.write(manifest)?;
        self.write(&directory)?;
        self.write(&tail.encode())?;
        self.file.sync().map_err(failed("sync", &self.aside))?;

        let path = path_of(self.shared.dir, self.height);
        let shared = Arc::clone(&self.shared);
        let _one_at_a_time = lock(&shared.naming);
        shared
            .disk
            .rename(&self.aside, &path)
            .map_err(failed("publish", &path))?;
        self.published = true;
        shared
            .disk
            .sync_dir(shared.dir)
            .map_err(failed("publish", &path))?;
        let heights = Snapshots {
            shared: Arc::clone(&shared),
        }
        .list()?;
        let surplus = heights.len().saturating_sub(shared.config.keep.max(1));
        heights
            .iter()
            .take(surplus)
            .try_for_each(|height| remove_file(&*shared.disk, shared.dir, *height))
    }
}

impl Writer {
    fn write(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        let free_bytes = self
            .shared
            .disk
            .free_bytes()
            .map_err(failed("measure the disk of", &self.aside))?;
        let needed_bytes = len_u64(bytes.len()).saturating_add(self.shared.config.reserve_bytes);
        if free_bytes < needed_bytes {
            return Err(SnapshotError::DiskFull {
                free_bytes,
                needed_bytes,
            });
        }
        self.file
            .write_at(self.offset, bytes)
            .map_err(failed("write", &self.aside))?;
        self.offset += len_u64(bytes.len());
        self.unsynced += len_u64(bytes.len());
        if self.unsynced >= UNSYNCED_MAX {
            // Little by little: one big sync at the end would hold up the log's, on the same disk.
            self.file.sync().map_err(failed("sync", &self.aside))?;
            self.unsynced = 0;
        }
        Ok(())
    }
}

impl Drop for Writer {
    /// Leaves nothing of an unfinished snapshot; what cannot be removed now, the next open removes.
    fn drop(&mut self) {
        if !self.published
            && let Err(_left) = self.shared.disk.remove(&self.aside)
        {}
    }
}

/// Where one chunk is.
#[derive(Debug, Clone)]
struct Entry {
    table: u16,
    len: u32,
    offset: u64,
    hash: [u8; 32],
}

impl Entry {
    fn encode(&self) -> [u8; ENTRY_LEN] {
        let mut bytes = [0; ENTRY_LEN];
        bytes[..2].copy_from_slice(&self.table.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.len.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.offset.to_le_bytes());
        bytes[16..].copy_from_slice(&self.hash);
        bytes
    }

    fn decode(bytes: &[u8]) -> Self {
        Self {
            table: bytes.first_chunk().map_or(0, |part| u16::from_le_bytes(*part)),
            len: bytes[4..]
                .first_chunk()
                .map_or(0, |part| u32::from_le_bytes(*part)),
            offset: bytes[8..]
                .first_chunk()
                .map_or(0, |part| u64::from_le_bytes(*part)),
            hash: bytes[16..].first_chunk().copied().unwrap_or_default(),
        }
    }
}

/// The end of a file, which says where everything is.
#[derive(Debug, PartialEq, Eq)]
struct Tail {
    height: u64,
    chunks: u64,
    manifest_at: u64,
    manifest_len: u64,
    directory_at: u64,
    manifest_hash: [u8; 32],
    directory_hash: [u8; 32],
}

impl Tail {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = TAIL_MAGIC.to_vec();
        for number in [
            self.height,
            self.chunks,
            self.manifest_at,
            self.manifest_len,
            self.directory_at,
        ] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.manifest_hash);
        bytes.extend_from_slice(&self.directory_hash);
        let check = blake3::hash(&bytes);
        bytes.extend_from_slice(&check.as_bytes()[..8]);
        bytes
    }

    fn decode(bytes: &[u8; TAIL_LEN]) -> Option<Self> {
        let number = |at: usize| {
            bytes[at..]
                .first_chunk()
                .map_or(0, |part| u64::from_le_bytes(*part))
        };
        let tail = Self {
            height: number(8),
            chunks: number(16),
            manifest_at: number(24),
            manifest_len: number(32),
            directory_at: number(40),
            manifest_hash: *bytes[48..].first_chunk()?,
            directory_hash: *bytes[80..].first_chunk()?,
        };
        (tail.encode() == bytes).then_some(tail)
    }
}

fn read_tail(file: &dyn File, path: &str, height: u64) -> Result<Tail, SnapshotError> {
    let len = file.len().map_err(failed("measure", path))?;
    let offset = len.saturating_sub(len_u64(TAIL_LEN));
    let corrupt = |what| SnapshotError::Corrupt { height, offset, what };
    if len < len_u64(TAIL_LEN) {
        return Err(corrupt("it is shorter than its tail"));
    }
    let mut bytes = [0; TAIL_LEN];
    file.read_at(offset, &mut bytes).map_err(failed("read", path))?;
    let tail = Tail::decode(&bytes).ok_or_else(|| corrupt("its tail does not check"))?;
    if tail.height != height {
        return Err(corrupt("it is of another height"));
    }
    Ok(tail)
}

fn read_chunk(
    file: &dyn File,
    height: u64,
    number: u64,
    entry: &Entry,
    chunk_bytes_max: u64,
) -> Result<Vec<u8>, SnapshotError> {
    let corrupt = |what| SnapshotError::Corrupt {
        height,
        offset: entry.offset,
        what,
    };
    if u64::from(entry.len) > chunk_bytes_max {
        return Err(corrupt("a chunk is longer than any may be"));
    }
    let chunk = read_part(file, height, entry.offset, u64::from(entry.len))?;
    if chunk_hash(height, entry.table, number, &chunk) != entry.hash {
        return Err(corrupt("a chunk does not check"));
    }
    Ok(chunk)
}

fn read_part(file: &dyn File, height: u64, offset: u64, len: u64) -> Result<Vec<u8>, SnapshotError> {
    let corrupt = |what| SnapshotError::Corrupt { height, offset, what };
    let len = usize::try_from(len).map_err(|_| corrupt("a part does not fit memory"))?;
    let mut bytes = vec![0; len];
    match file.read_at(offset, &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(corrupt("it ends too early")),
        Err(error) => Err(failed("read", &format!("the snapshot of height {height}"))(error)),
    }
}

/// BLAKE3 keyed by what the chunk is, so that no chunk passes for another.
pub fn chunk_hash(height: u64, table: u16, number: u64, chunk: &[u8]) -> [u8; 32] {
    let mut key = *b"snapshot chunk000000001111111122";
    key[14..22].copy_from_slice(&height.to_le_bytes());
    key[22..30].copy_from_slice(&number.to_le_bytes());
    key[30..32].copy_from_slice(&table.to_le_bytes());
    *blake3::keyed_hash(&key, chunk).as_bytes()
}

fn remove_file(disk: &dyn Disk, dir: &str, height: u64) -> Result<(), SnapshotError> {
    let path = path_of(dir, height);
    match disk.remove(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        removed => removed.map_err(failed("remove", &path))?,
    }
    disk.sync_dir(dir).map_err(failed("remove", &path))
}

fn refuse_over(got: u64, max: u64, unit: &'static str) -> Result<(), SnapshotError> {
    if got > max {
        Err(SnapshotError::TooLarge { got, max, unit })
    } else {
        Ok(())
    }
}

/// The file of a snapshot in a directory of snapshots.
pub fn path_of(dir: &str, height: u64) -> String {
    format!("{dir}/{height:020}{SUFFIX}")
}

fn failed(action: &str, path: &str) -> impl Fn(io::Error) -> SnapshotError + use<> {
    let action = format!("{action} {path}");
    move |source| SnapshotError::Io {
        action: action.clone(),
        source,
    }
}

/// Where a ledger's own snapshots are.
pub const SNAPSHOTS_DIR: &str = "snapshots";
const SUFFIX: &str = ".snapshot";
const TAIL_MAGIC: &[u8; 8] = b"SCsnapv1";
const TAIL_LEN: usize = 120;
const ENTRY_LEN: usize = 48;
/// Bytes left to the kernel before they are synced.
const UNSYNCED_MAX: u64 = 8 << 20;

#[cfg(test)]
#[path = "snapshots_tests.rs"]
mod tests;
