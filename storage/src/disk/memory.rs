//! A disk in memory: what an embedded ledger without a directory uses. It survives nothing.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, RwLock};

use super::{Disk, File, parent};
use crate::guard::{lock, read, write};

/// Files in memory. Clones share them, so a second `open` of a store finds what the first one wrote.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    names: Arc<Mutex<BTreeMap<String, Arc<MemoryFile>>>>,
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    fn find(&self, path: &str) -> io::Result<Arc<MemoryFile>> {
        lock(&self.names)
            .get(path)
            .cloned()
            .ok_or_else(|| not_found(path))
    }
}

impl Disk for MemoryDisk {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let file = Arc::new(MemoryFile::default());
        lock(&self.names).insert(path.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let file: Arc<dyn File> = self.find(path)?;
        Ok(file)
    }

    fn open_read_only(&self, path: &str) -> io::Result<Arc<dyn File>> {
        self.open(path)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        Ok(names_in(dir, lock(&self.names).keys()))
    }

    fn create_dir(&self, _dir: &str) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut names = lock(&self.names);
        let file = names.remove(from).ok_or_else(|| not_found(from))?;
        names.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        lock(&self.names)
            .remove(path)
            .map(|_| ())
            .ok_or_else(|| not_found(path))
    }

    fn sync_dir(&self, _dir: &str) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

#[derive(Debug, Default)]
struct MemoryFile(RwLock<Vec<u8>>);

impl File for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        u64::try_from(read(&self.0).len()).map_err(io::Error::other)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        read_from(&read(&self.0), offset, out)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        write_into(&mut write(&self.0), offset, bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        write(&self.0).resize(usize::try_from(len).map_err(io::Error::other)?, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Copies `out.len()` bytes from `offset` of `content`.
pub(super) fn read_from(content: &[u8], offset: u64, out: &mut [u8]) -> io::Result<()> {
    let start = usize::try_from(offset).map_err(io::Error::other)?;
    let found = start
        .checked_add(out.len())
        .and_then(|end| content.get(start..end));
    out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
    Ok(())
}

/// Copies `bytes` to `offset` of `content`, growing it with zeros as needed.
pub(super) fn write_into(content: &mut Vec<u8>, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let start = usize::try_from(offset).map_err(io::Error::other)?;
    let end = start
        .checked_add(bytes.len())
        .ok_or(io::ErrorKind::InvalidInput)?;
    if content.len() < end {
        content.resize(end, 0);
    }
    content[start..end].copy_from_slice(bytes);
    Ok(())
}

/// The last parts of those paths that lie directly in `dir`.
pub(super) fn names_in<'a>(dir: &str, paths: impl Iterator<Item = &'a String>) -> Vec<String> {
    paths
        .filter(|path| parent(path) == dir)
        .map(|path| {
            path.rsplit_once('/')
                .map_or(path.as_str(), |(_, name)| name)
                .to_owned()
        })
        .collect()
}

pub(super) fn not_found(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no file {path}"))
}
