//! The folder that a path lies in: a file's name is durable only once that is synced.

use std::fs::File;
use std::io;
use std::path::Path;

/// The folder of `path`.
pub(crate) fn of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Makes the name of `path` durable.
pub(crate) fn sync_of(path: &Path) -> io::Result<()> {
    File::open(of(path))?.sync_all()
}
