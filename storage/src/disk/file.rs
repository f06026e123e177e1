//! The real disk: a directory that one process at a time holds by an advisory lock.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock, statvfs};
use selfchain_types::seam::log::LogError;

use super::{Disk, File, parent};

/// A directory of this machine, locked while the value lives.
#[derive(Debug)]
pub struct FileDisk {
    root: PathBuf,
    /// Held for its lock, which the kernel drops with it, however the process ends.
    _lock: Option<fs::File>,
}

impl FileDisk {
    /// Creates `root` if needed and locks it.
    ///
    /// Errors: [`LogError::Locked`] with the holder's process id when somebody else has it,
    /// [`LogError::Io`] when it cannot be made or locked.
    pub fn open(root: &Path) -> Result<Self, LogError> {
        let failed = |action: &str| {
            let action = format!("{action} {}", root.display());
            move |source: io::Error| LogError::Io { action, source }
        };
        fs::create_dir_all(root).map_err(failed("create the directory"))?;
        let path = root.join(LOCK_NAME);
        let mut lock = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed("open the lock file of"))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(LogError::Locked {
                    path: root.display().to_string(),
                    holder: read_holder(&lock),
                });
            }
            Err(errno) => return Err(failed("lock")(errno.into())),
        }
        // The number only makes the next process's message clearer: it need not be durable.
        lock.set_len(0).map_err(failed("write the lock file of"))?;
        writeln!(lock, "{}", std::process::id()).map_err(failed("write the lock file of"))?;
        Ok(Self {
            root: root.to_owned(),
            _lock: Some(lock),
        })
    }

    /// The directory without its lock: for reading what never changes, or only grows, while somebody else may have it.
    pub fn unlocked(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            _lock: None,
        }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

impl Disk for FileDisk {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(creating().open(self.root.join(path))?))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(writing().open(self.root.join(path))?))
    }

    fn open_read_only(&self, path: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(reading().open(self.root.join(path))?))
    }

    fn create_streamed(&self, path: &str) -> io::Result<Arc<dyn File>> {
        streamed(&self.root.join(path), &creating())
    }

    fn open_streamed(&self, path: &str) -> io::Result<Arc<dyn File>> {
        streamed(&self.root.join(path), &writing())
    }

    fn open_read_only_streamed(&self, path: &str) -> io::Result<Arc<dyn File>> {
        streamed(&self.root.join(path), &reading())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.root.join(dir))? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                // A name that is not UTF-8 is none of ours.
                names.extend(entry.file_name().into_string());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir(&self, dir: &str) -> io::Result<()> {
        fs::create_dir_all(self.root.join(dir))?;
        let mut made = dir;
        while !made.is_empty() {
            made = parent(made);
            self.sync_dir(made)?;
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.root.join(from), self.root.join(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.root.join(path))
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        fs::File::open(self.root.join(dir))?.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = statvfs(&self.root)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

fn reading() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.read(true);
    options
}

fn writing() -> fs::OpenOptions {
    let mut options = reading();
    options.write(true);
    options
}

fn creating() -> fs::OpenOptions {
    let mut options = writing();
    options.create(true).truncate(true);
    options
}

#[cfg(target_os = "linux")]
fn streamed(path: &Path, options: &fs::OpenOptions) -> io::Result<Arc<dyn File>> {
    Ok(match super::direct::DirectFile::open(path, options)? {
        Ok(direct) => Arc::new(direct),
        Err(buffered) => Arc::new(buffered),
    })
}

#[cfg(not(target_os = "linux"))]
fn streamed(path: &Path, options: &fs::OpenOptions) -> io::Result<Arc<dyn File>> {
    Ok(Arc::new(options.open(path)?))
}

impl File for fs::File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(out, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        fs::File::set_len(self, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// The holder's process id, 0 when the file does not say.
fn read_holder(lock: &fs::File) -> u32 {
    let mut text = String::new();
    match lock.take(HOLDER_LEN_MAX).read_to_string(&mut text) {
        Ok(_) => text.trim().parse().unwrap_or(0),
        Err(_) => 0,
    }
}

const LOCK_NAME: &str = "LOCK";
const HOLDER_LEN_MAX: u64 = 16;

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_path_and_process() {
        let dir = tempfile::tempdir().unwrap();
        let held = FileDisk::open(dir.path()).unwrap();
        let error = FileDisk::open(dir.path()).unwrap_err();
        match &error {
            LogError::Locked { path, holder } => {
                assert_eq!(path, &dir.path().display().to_string());
                assert_eq!(*holder, std::process::id());
            }
            other => panic!("expected Locked, got {other}"),
        }
        assert!(error.to_string().contains(&std::process::id().to_string()));
        drop(held);
        FileDisk::open(dir.path()).unwrap();
    }

    #[test]
    fn a_read_only_file_refuses_writes() {
        let dir = tempfile::tempdir().unwrap();
        let disk = FileDisk::open(dir.path()).unwrap();
        disk.create_dir("a/b").unwrap();
        disk.create("a/b/c").unwrap().write_at(0, b"hello").unwrap();
        let file = disk.open_read_only("a/b/c").unwrap();
        assert!(file.write_at(0, b"x").is_err());
        assert_eq!(disk.list("a").unwrap(), Vec::<String>::new());
        assert_eq!(disk.list("a/b").unwrap(), vec!["c".to_owned()]);
        assert!(disk.free_bytes().unwrap() > 0);
    }
}
