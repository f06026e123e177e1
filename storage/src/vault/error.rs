//! Why the vault refused or failed, named for what the caller can do.

use selfchain_types::vault::NameError;
use std::io;

/// Why the vault refused or failed. After [`VaultError::Io`] in a change it is poisoned: open it again.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// An earlier write or sync failed. Open it again: nothing acknowledged is lost.
    #[error("the vault is poisoned by an earlier failed write or sync: open it again")]
    Poisoned,
    /// Another key file's vault.
    #[error("this key does not open the vault: the key file belongs to another one")]
    WrongKey,
    /// It was made by a later version of the program.
    #[error("the vault has format {version}, this program knows {known}")]
    Format {
        /// What it says.
        version: u32,
        /// What is known.
        known: u32,
    },
    /// What was durable is not whole. Restore the file from a backup.
    #[error("{file} is damaged: {what}")]
    Damaged {
        /// Which file of the data directory.
        file: String,
        /// What does not hold.
        what: String,
    },
    /// The name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// No such document.
    #[error("there is no document `{name}`")]
    NoDocument {
        /// Its name.
        name: String,
    },
    /// No such version of it.
    #[error("`{name}` has versions 1 to {newest}, not {number}")]
    NoVersion {
        /// The document.
        name: String,
        /// The version asked for.
        number: u64,
        /// The newest there is.
        newest: u64,
    },
    /// The version is a removal.
    #[error("`{name}` was removed with version {number}: name an older one to read it")]
    Removed {
        /// The document.
        name: String,
        /// The removal.
        number: u64,
    },
    /// The version's content was destroyed.
    #[error("the content of version {number} of `{name}` was destroyed")]
    Purged {
        /// The document.
        name: String,
        /// The version.
        number: u64,
    },
    /// Another version came first. Nothing was changed.
    #[error("`{name}` is at version {current}, not at {expected}: another version came first")]
    Conflict {
        /// The document.
        name: String,
        /// Its newest version; 0 for none.
        current: u64,
        /// What was expected.
        expected: u64,
    },
    /// A limit of the configuration. Nothing was changed.
    #[error("{needed} are over the vault's limit `{limit}` of {max}")]
    Limit {
        /// The limit's name.
        limit: &'static str,
        /// How much would be needed.
        needed: u64,
        /// How much there may be.
        max: u64,
    },
    /// Too little space is left on the disk. Nothing was changed.
    #[error("disk nearly full: {free_bytes} bytes free, {needed_bytes} needed with the reserve")]
    DiskFull {
        /// Free space now, in bytes.
        free_bytes: u64,
        /// What is needed, in bytes.
        needed_bytes: u64,
    },
    /// The operating system has no random numbers.
    #[error("the operating system has no random numbers")]
    Random,
    /// The disk failed.
    #[error("could not {action} {file}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// With which file.
        file: String,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
}

/// Says what was being done with which file.
pub(super) fn failed(action: &'static str, file: &str) -> impl FnOnce(io::Error) -> VaultError {
    let file = file.to_owned();
    move |source| VaultError::Io { action, file, source }
}

/// Says what does not hold in which file.
pub(super) fn damaged(file: &str, what: impl Into<String>) -> VaultError {
    VaultError::Damaged {
        file: file.into(),
        what: what.into(),
    }
}
