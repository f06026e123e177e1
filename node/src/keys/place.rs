//! Puts a file in its place, whole, durable, and readable by its owner alone.

use super::KeyError;
use crate::folder;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The mode of a key file: its owner reads and writes, nobody else does anything.
const MODE: u32 = 0o600;

/// A file that is not there yet.
pub(super) fn new(path: &Path, content: &[u8]) -> Result<(), KeyError> {
    let aside = aside(path);
    write_aside(&aside, content).map_err(failed("write", path))?;
    // A hard link, unlike a rename, never replaces a file that is there.
    let placed = fs::hard_link(&aside, path);
    fs::remove_file(&aside).map_err(failed("remove the unfinished copy of", path))?;
    match placed {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(KeyError::Exists { path: path.into() })
        }
        placed => placed.map_err(failed("put in place", path)),
    }?;
    sync_folder(path)
}

/// A file in the place of another.
#[cfg(feature = "network")]
pub(super) fn over(path: &Path, content: &[u8]) -> Result<(), KeyError> {
    let aside = aside(path);
    write_aside(&aside, content).map_err(failed("write", path))?;
    fs::rename(&aside, path).map_err(failed("put in place", path))?;
    sync_folder(path)
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyError + use<> {
    let path = path.to_owned();
    move |source| KeyError::Io { what, path, source }
}

fn aside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    folder::of(path).join(format!(".{name}.{}.new", std::process::id()))
}

fn sync_folder(path: &Path) -> Result<(), KeyError> {
    folder::sync_of(path).map_err(failed("sync the folder of", path))
}

fn write_aside(aside: &Path, content: &[u8]) -> io::Result<()> {
    match fs::remove_file(aside) {
        // A crash of a process with this number left it.
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(aside)?;
    // The process's umask may have taken bits away, never added any.
    file.set_permissions(fs::Permissions::from_mode(MODE))?;
    file.write_all(content)?;
    file.sync_all()
}
