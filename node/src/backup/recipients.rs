//! Identity files: the secret key that backups and messages are opened with, as age writes them.

use crate::folder;
use selfchain_storage::backup::age::{Identity, KeyTextError};
use selfchain_types::crypto::x_wing::KemSecret;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;
use zeroize::Zeroizing;

/// Why an identity file was not made or read.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// There is a file by that name.
    #[error("{path} exists; a key is never overwritten: name another file, or move that one away yourself")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Others than its owner may read or write it.
    #[error("{path} has mode {mode:04o}, so others may read or change this key: run `chmod 600 {path}`")]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It holds no identity, or several.
    #[error("{path} holds {count} identities, one is expected: a line AGE-SECRET-KEY-PQ-1… among comments")]
    Count {
        /// The file.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// Its identity is not one.
    #[error("{path} holds no key of the kind that is needed")]
    Text {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: KeyTextError,
    },
    /// There are no random numbers.
    #[error("the operating system has no random numbers")]
    Random,
    /// The operating system refused.
    #[error("cannot {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

const FILE_LEN_MAX: u64 = 65_536;
const MODE: u32 = 0o600;

/// Makes a new identity in a new file at `path`, which its owner alone can read; durable when this returns.
///
/// # Errors
/// [`IdentityError`].
pub fn new_identity(path: &Path) -> Result<Identity, IdentityError> {
    let identity = Identity::new(KemSecret::generate().map_err(|_| IdentityError::Random)?);
    let text = Zeroizing::new(format!(
        "# A secret key of age, for backups and messages of Selfchain. Whoever reads this file can open them.\n# public key: {}\n{}\n",
        identity.recipient().text(),
        identity.text().as_str(),
    ));
    let failed = |source| IdentityError::Io {
        what: "write",
        path: path.into(),
        source,
    };
    let opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(path);
    let mut file = match opened {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(IdentityError::Exists { path: path.into() });
        }
        opened => opened.map_err(failed)?,
    };
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(failed)?;
    folder::sync_of(path).map_err(failed)?;
    Ok(identity)
}

/// Reads the one identity of a file.
///
/// # Errors
/// [`IdentityError`].
pub fn read_identity(path: &Path) -> Result<Identity, IdentityError> {
    let failed = |source| IdentityError::Io {
        what: "read",
        path: path.into(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(IdentityError::Permissions {
            path: path.into(),
            mode,
        });
    }
    let mut text = Zeroizing::new(String::with_capacity(8_192));
    file.take(FILE_LEN_MAX)
        .read_to_string(&mut text)
        .map_err(failed)?;
    let lines = text.lines().map(str::trim);
    let mut keys = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    match (keys.next(), keys.count()) {
        (Some(key), 0) => Identity::parse(key).map_err(|source| IdentityError::Text {
            path: path.into(),
            source,
        }),
        (first, more) => Err(IdentityError::Count {
            path: path.into(),
            count: more + usize::from(first.is_some()),
        }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn an_identity_reads_back_for_its_owner_alone_and_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.txt");
        let made = new_identity(&path).unwrap();
        assert_eq!(read_identity(&path).unwrap().recipient(), made.recipient());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert!(matches!(new_identity(&path), Err(IdentityError::Exists { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            read_identity(&path),
            Err(IdentityError::Permissions { mode: 0o644, .. })
        ));
    }

    #[test]
    fn a_file_without_the_one_identity_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.txt");
        let made = new_identity(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let check = |text: &str| {
            fs::write(&path, text).unwrap();
            read_identity(&path).unwrap_err()
        };
        assert!(matches!(
            check("# nothing\n"),
            IdentityError::Count { count: 0, .. }
        ));
        assert!(matches!(
            check(&format!("{text}{text}")),
            IdentityError::Count { count: 2, .. }
        ));
        assert!(matches!(
            check(&made.recipient().text()),
            IdentityError::Text { .. }
        ));
    }
}
