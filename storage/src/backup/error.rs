//! Why a backup was not made, checked or restored, naming the piece.

use super::age::AgeError;
use super::depot::DepotError;
use selfchain_types::backup::{BackupItem, ManifestError};
use selfchain_types::codec::DecodeError;
use selfchain_types::seam::log::LogError;
use selfchain_types::{Hash, Height};
use std::io;

/// Why a backup was not made, checked or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Where it is kept failed.
    #[error("where the backup is kept, something failed")]
    Depot(#[from] DepotError),
    /// No manifest is there.
    #[error("no backup is there")]
    Empty,
    /// A piece is not what was signed.
    #[error("{item} does not hold")]
    Piece {
        /// Which.
        item: BackupItem,
        /// What is wrong with it.
        #[source]
        fault: Fault,
    },
    /// It is of another chain.
    #[error("the backup is of chain {got}, not of {want}")]
    Chain {
        /// The backup's.
        got: Hash,
        /// The expected one.
        want: Hash,
    },
    /// The ledger is not the one that was backed up: its block at that height is another.
    #[error(
        "at height {height} this ledger has another block than the backup: it went on from an older state. \
         Keep that backup, and begin another one elsewhere or a new one with --full"
    )]
    Diverged {
        /// Where.
        height: Height,
    },
    /// There are more files than a backup names.
    #[error("{count} files are more than the {max} that a backup names")]
    Files {
        /// Files there are.
        count: usize,
        /// Files it names.
        max: usize,
    },
    /// The log failed.
    #[error("the log could not be used")]
    Log(#[from] LogError),
    /// A block could not be read.
    #[error("the block at height {height} cannot be read")]
    Block {
        /// Where.
        height: Height,
        /// What is wrong.
        #[source]
        source: DecodeError,
    },
    /// What is to be sealed could not be.
    #[error("a part could not be sealed")]
    Seal(#[source] AgeError),
    /// What is to be sealed could not be compressed.
    #[error("a part could not be compressed")]
    Compress(#[source] io::Error),
    /// The directory holds a restore of another chain.
    #[error("the directory holds an unfinished restore of chain {got}: remove it, or name another")]
    OtherRestore {
        /// Of which.
        got: Hash,
    },
    /// The directory holds something that is no unfinished restore.
    #[error("the directory is not empty, and holds no unfinished restore")]
    NotEmpty,
    /// The files that a ledger needs are not all in the backup.
    #[error("the backup is not complete: `{path}` is not in it; make it anew with `selfchain backup create`")]
    Incomplete {
        /// What is missing.
        path: String,
    },
    /// A file is not what the manifest says after everything was put together.
    #[error("`{path}` is not what the newest manifest says, although every part holds")]
    File {
        /// Which.
        path: String,
    },
    /// The disk failed.
    #[error("could not {action} {path}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// With what.
        path: String,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// A thread that seals or opens parts ended in a panic.
    #[error("a thread that works on parts failed")]
    Thread,
}

/// What is wrong with a piece of a backup.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It is not there.
    #[error("it is missing")]
    Missing,
    /// Its file has another length.
    #[error("it has {got} bytes, its manifest says {want}")]
    Length {
        /// Bytes it has.
        got: u64,
        /// Bytes it should have.
        want: u64,
    },
    /// Its file has another hash.
    #[error("it was changed: its hash is not what its manifest says")]
    Hash,
    /// What was encrypted has another hash.
    #[error("it holds something else than its manifest says")]
    Content,
    /// It does not open.
    #[error("it does not open")]
    Age(#[source] AgeError),
    /// What it holds cannot be decompressed.
    #[error("what it holds cannot be decompressed")]
    Compression(#[source] io::Error),
    /// What it holds cannot be read.
    #[error("what it holds cannot be read")]
    Decode(#[from] DecodeError),
    /// Its rows are not those that its manifest says.
    #[error("it holds the row of height {got} where {want} is expected")]
    Row {
        /// The height of the row.
        got: u64,
        /// The height that comes next.
        want: u64,
    },
    /// It is no manifest of the owner's.
    #[error(transparent)]
    Manifest(ManifestError),
    /// It has another number than its name.
    #[error("it says that it is number {got}")]
    Number {
        /// What it says.
        got: u64,
    },
    /// It does not follow the manifest before it.
    #[error("it does not follow the manifest before it")]
    Previous,
    /// It is of another chain than the newest.
    #[error("it is of another chain than the newest")]
    OtherChain,
    /// Its parts do not go on where those before ended, or do not reach as far as it says.
    #[error("its parts hold heights up to {got}, it says that it reaches {want}")]
    Reach {
        /// What they hold.
        got: u64,
        /// What it says.
        want: u64,
    },
    /// It would reach longer than any piece may.
    #[error("it says {got} bytes, at most {max} are read")]
    TooLong {
        /// What it says.
        got: u64,
        /// What is read.
        max: u64,
    },
}

impl Fault {
    /// The error that names the piece.
    pub(super) fn of(self, item: BackupItem) -> BackupError {
        BackupError::Piece { item, fault: self }
    }
}

pub(super) fn io_error(action: &'static str, path: &str) -> impl FnOnce(io::Error) -> BackupError + use<> {
    let path = path.to_owned();
    move |source| BackupError::Io { action, path, source }
}
