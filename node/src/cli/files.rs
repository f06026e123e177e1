//! Files that a command is given and leaves behind: read whole up to a limit, and written for whom they are for.

use super::{ExitStatus, Failure};
use crate::folder;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use zeroize::Zeroizing;

/// A whole file of at most `max` bytes.
pub(super) fn read_bounded(path: &Path, max: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|error| cannot("read", &name, "", &error))?;
    bounded(file, &name, max)
}

/// All of `from`, which has at most `max` bytes.
pub(super) fn bounded(from: impl Read, name: &str, max: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut bytes = Zeroizing::new(Vec::new());
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    let read = from.take(limit).read_to_end(&mut bytes);
    read.map_err(|error| cannot("read", name, "", &error))?;
    match bytes.len() > max {
        true => Err(Failure::usage(format!("{name} has more than {max} bytes"), "")),
        false => Ok(bytes),
    }
}

/// Writes a file that its owner alone may read, over one that is there.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    let written = opened.and_then(|mut file| {
        // One that was there keeps its mode, and others may have been able to read it.
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(bytes)
    });
    written.map_err(|error| cannot("write", &path.display().to_string(), "", &error))
}

/// Writes a file that is not there yet, and makes it durable. Nothing in it is secret.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let written = File::create_new(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        folder::sync_of(path)
    });
    let next = "name a file that is not there";
    written.map_err(|error| cannot("write", &path.display().to_string(), next, &error))
}

fn cannot(what: &str, name: &str, next: &str, error: &io::Error) -> Failure {
    Failure::new(ExitStatus::Failed, format!("cannot {what} {name}"), next).because(error)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn what_is_secret_is_for_its_owner_even_over_a_file_that_was_for_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plain");
        fs::write(&path, "old and longer").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        write_private(&path, b"secret").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"secret");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    }

    #[test]
    fn a_file_is_read_whole_or_refused_and_a_new_one_covers_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new");
        write_new(&path, b"1234").unwrap();
        assert!(write_new(&path, b"5678").is_err());
        assert_eq!(read_bounded(&path, 4).unwrap().as_slice(), b"1234");
        assert!(read_bounded(&path, 3).is_err());
    }
}
