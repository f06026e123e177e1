//! Snapshots: a fold over the log, written down, so that a start or a state sync need not fold it again.

use std::boxed::Box;
use std::io;
use std::string::String;
use std::vec::Vec;

/// Holds whole snapshots, each of one height. What a table or a manifest says is the caller's business.
///
/// A snapshot exists from the moment its writer's `finish` returns, all of it, and after a crash at any
/// other moment not at all. A store keeps the newest few and drops the rest when one is finished.
pub trait SnapshotStore: Send + Sync {
    /// Starts the snapshot of `height`. A writer dropped without `finish` leaves nothing behind. An
    /// existing snapshot of `height` is replaced when this one is finished.
    fn begin(&self, height: u64) -> Result<Box<dyn SnapshotWriter>, SnapshotError>;

    /// Heights of the snapshots held, ascending.
    fn list(&self) -> Result<Vec<u64>, SnapshotError>;

    /// The newest height held.
    fn latest(&self) -> Result<Option<u64>, SnapshotError>;

    /// The manifest that `finish` was given.
    fn manifest(&self, height: u64) -> Result<Vec<u8>, SnapshotError>;

    /// The chunks of one table in the order they were put, each checked before it is returned. After an
    /// error the iterator ends.
    fn read(&self, height: u64, table: u16) -> Result<SnapshotChunks, SnapshotError>;

    /// Drops the snapshot of `height`; no error when there is none.
    fn remove(&self, height: u64) -> Result<(), SnapshotError>;
}

/// Writes one snapshot. After an error the snapshot is lost: drop the writer.
pub trait SnapshotWriter: Send {
    /// Adds a chunk to a table. Tables may be interleaved; the order inside a table is kept.
    fn put(&mut self, table: u16, chunk: &[u8]) -> Result<(), SnapshotError>;

    /// Makes the snapshot durable, then visible, in that order.
    fn finish(self: Box<Self>, manifest: &[u8]) -> Result<(), SnapshotError>;
}

/// The chunks of one table, in order.
pub type SnapshotChunks = Box<dyn Iterator<Item = Result<Vec<u8>, SnapshotError>> + Send>;

/// Why a snapshot could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// No snapshot of this height.
    #[error("no snapshot of height {height}")]
    NotFound {
        /// The height asked for.
        height: u64,
    },
    /// The bytes on disk are not those that were put: drop this snapshot and use another.
    #[error("the snapshot of height {height} is damaged at byte {offset}: {what}")]
    Corrupt {
        /// Height of the snapshot.
        height: u64,
        /// Offset in its file, in bytes.
        offset: u64,
        /// What does not hold.
        what: &'static str,
    },
    /// A chunk, or the number of chunks, is over the limit.
    #[error("{got} is over the limit of {max} {unit}")]
    TooLarge {
        /// What was asked for.
        got: u64,
        /// The limit.
        max: u64,
        /// What is counted: `bytes a chunk`, `chunks`.
        unit: &'static str,
    },
    /// Too little space is left on the disk.
    #[error("disk nearly full: {free_bytes} bytes free, {needed_bytes} needed with the reserve")]
    DiskFull {
        /// Free space now, in bytes.
        free_bytes: u64,
        /// What the chunk and the reserve need together, in bytes.
        needed_bytes: u64,
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
