//! The disk as storage sees it: a few files in one directory tree, and exactly what a power cut may take.
//!
//! Everything in this crate writes through [`Disk`] and [`File`], so that the same code runs on a real
//! directory, in memory, and on a disk that fails on purpose.

#[cfg(target_os = "linux")]
mod direct;
mod faulty;
mod file;
mod memory;
mod publish;

pub use faulty::{Faults, FaultyDisk};
pub use file::FileDisk;
pub use memory::MemoryDisk;
pub use publish::{UNPUBLISHED_SUFFIX, publish, publish_streamed, remove_unpublished};

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

/// An open file. Writes are visible to readers at once and survive power loss only after `sync`; until
/// then any of them may be lost, kept or torn, in any order.
pub trait File: Debug + Send + Sync {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the length is zero.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `out` from `offset`; `UnexpectedEof` when the file ends before.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`, growing the file as needed.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file, or extends it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes content and length durable (`fdatasync`). After an error nothing is known about what
    /// earlier writes left on the disk, and calling again proves nothing.
    fn sync(&self) -> io::Result<()>;
}

/// A directory tree. Paths are relative to its root, with `/` between parts.
///
/// A file's *name* is durable only after `sync_dir` of its directory, whatever was synced inside it.
pub trait Disk: Debug + Send + Sync {
    /// Creates an empty file open for reading and writing; an existing one is cut to zero.
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>>;

    /// Opens an existing file for reading and writing.
    fn open(&self, path: &str) -> io::Result<Arc<dyn File>>;

    /// Opens an existing file for reading; writing to it is an error.
    fn open_read_only(&self, path: &str) -> io::Result<Arc<dyn File>>;

    /// Opens a file for reading and writing, making it if there is none, under a name that is durable then.
    fn open_or_create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        match self.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = self.create(path)?;
                self.sync_dir(path.rsplit_once('/').map_or("", |(dir, _)| dir))?;
                Ok(file)
            }
            opened => opened,
        }
    }

    /// [`create`](Self::create) for a file that is written once in large pieces and seldom read. What is written
    /// shows through this handle at once, through others only after [`File::sync`].
    fn create_streamed(&self, path: &str) -> io::Result<Arc<dyn File>> {
        self.create(path)
    }

    /// [`open`](Self::open), as [`create_streamed`](Self::create_streamed).
    fn open_streamed(&self, path: &str) -> io::Result<Arc<dyn File>> {
        self.open(path)
    }

    /// [`open_read_only`](Self::open_read_only) for a file that is read once from end to end.
    fn open_read_only_streamed(&self, path: &str) -> io::Result<Arc<dyn File>> {
        self.open_read_only(path)
    }

    /// Names of the files in a directory, sorted, directories left out.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Creates a directory and its parents, durable when this returns; no error when it exists.
    fn create_dir(&self, dir: &str) -> io::Result<()>;

    /// Gives a file another name, replacing what had that name, in one step.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a name. Open files stay readable.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Makes creations, renames and removals in a directory durable.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;

    /// Space left for this process, in bytes.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// The part of a path before its last `/`, empty for the root.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}
