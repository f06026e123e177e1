//! The log: where decided blocks go, in order, and the one thing a restart believes.

use std::io;
use std::string::String;
use std::sync::Arc;

/// The writing end of the log. There is one, and one thread owns it.
///
/// A *row* is one block's bytes, opaque here. Heights are consecutive: the first row of an empty log may
/// have any height below `u64::MAX`, every later one is its predecessor plus one.
///
/// **After an error.** [`LogError::Gap`], [`LogError::TooLarge`], [`LogError::PendingFull`] and
/// [`LogError::DiskFull`] are refusals before anything is written, and the log goes on. Any other error of
/// `append`, `sync` or `retain_from` poisons the log: each later call answers [`LogError::Poisoned`], and
/// only a restart, which recovers the last durable row, makes it usable. A failed sync is never retried.
///
/// **After a restart** the tip is at or past every height that `sync` returned, never past what was appended.
pub trait Log: Send {
    /// Hands over the row of `height` without waiting for the disk: it is durable, and visible to
    /// readers, only once a later [`Log::sync`] returns a tip at or past `height`.
    fn append(&mut self, height: u64, row: &[u8]) -> Result<(), LogError>;

    /// Makes every appended row durable in one commit and returns the durable tip (0 while the log is
    /// empty). Called with nothing appended it touches no disk.
    fn sync(&mut self) -> Result<u64, LogError>;

    /// Forgets rows below `height`, in whole segments, so possibly fewer than asked and never the newest.
    /// Returns the first height still held (0 while the log is empty).
    fn retain_from(&mut self, height: u64) -> Result<u64, LogError>;

    /// A reading end. All reading ends see the same rows.
    fn reader(&self) -> Arc<dyn LogReader>;
}

/// A reading end of the log, for any number of threads. A subscriber is a height it wants next.
///
/// Only durable rows are visible. Reading goes on while the disk is nearly full, and after the writing
/// end was poisoned or dropped as far as the disk still answers.
pub trait LogReader: Send + Sync {
    /// The first height held, `None` while the log is empty.
    fn first(&self) -> Option<u64>;

    /// The durable tip: the newest height that survives power loss. `None` while the log is empty.
    fn tip(&self) -> Option<u64>;

    /// The row of `height`, its checksum verified.
    ///
    /// Errors: [`LogError::Pruned`] below the first height, [`LogError::NotFound`] above the tip,
    /// [`LogError::Corrupt`] when the bytes on disk are not those that were appended.
    fn read(&self, height: u64) -> Result<Arc<[u8]>, LogError>;

    /// Whether `bytes` more would leave the configured reserve of the disk free, else
    /// [`LogError::DiskFull`]. For refusing work before it is admitted.
    fn headroom(&self, bytes: u64) -> Result<(), LogError>;
}

/// Why the log refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// An earlier write or sync failed. Stop, restart, recover.
    #[error("the log is poisoned by an earlier failed write or sync: restart to recover")]
    Poisoned,
    /// Too little space is left. Nothing was written; reads go on.
    #[error("disk nearly full: {free_bytes} bytes free, {needed_bytes} needed with the reserve")]
    DiskFull {
        /// Free space now, in bytes.
        free_bytes: u64,
        /// What the request and the reserve need together, in bytes.
        needed_bytes: u64,
    },
    /// A height out of order. Nothing was written.
    #[error("append expects height {expected}, got {got}")]
    Gap {
        /// The only height that `append` accepts now.
        expected: u64,
        /// The height it was given.
        got: u64,
    },
    /// A row longer than the configured maximum. Nothing was written.
    #[error("a row of {len} bytes is over the maximum of {max}")]
    TooLarge {
        /// Length of the row, in bytes.
        len: u64,
        /// The longest row accepted, in bytes.
        max: u64,
    },
    /// Too many rows wait for a sync. Sync, then append again.
    #[error("{pending_bytes} bytes wait for a sync, at most {max_bytes} may")]
    PendingFull {
        /// Bytes appended and not synced.
        pending_bytes: u64,
        /// The most that may wait, in bytes.
        max_bytes: u64,
    },
    /// The bytes on disk are not those that were written. `height` is the first that cannot be believed.
    #[error("the log is damaged at height {height}: {what}")]
    Corrupt {
        /// The first height that cannot be believed.
        height: u64,
        /// What does not hold.
        what: String,
    },
    /// Another process, or another ledger in this one, has this directory open.
    #[error("{path} is in use by process {holder} (lock file {path}/LOCK)")]
    Locked {
        /// The directory.
        path: String,
        /// Process id of the holder, 0 when it left none.
        holder: u32,
    },
    /// Retention has dropped this height.
    #[error("pruned: the log begins at height {first}")]
    Pruned {
        /// The first height held.
        first: u64,
    },
    /// No durable row has this height.
    #[error("no durable row at height {height} (tip {tip:?})")]
    NotFound {
        /// The height asked for.
        height: u64,
        /// The durable tip, `None` while the log is empty.
        tip: Option<u64>,
    },
    /// The disk failed.
    #[error("could not {action}")]
    Io {
        /// What was being done, and to which file.
        action: String,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
}
