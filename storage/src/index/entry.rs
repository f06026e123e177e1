//! What the index holds, what can be chosen about it, and how it fails.

use std::io;

/// Where something is in the log. Ordered as the ledger is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Height of the block.
    pub height: u64,
    /// Number inside the block, as the caller counts.
    pub index: u32,
}

impl Position {
    /// Before everything.
    pub const FIRST: Self = Self { height: 0, index: 0 };
    /// After everything.
    pub const LAST: Self = Self {
        height: u64::MAX,
        index: u32::MAX,
    };
}

/// A transaction of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxEntry {
    /// The first 16 bytes of its id. Whoever looks it up verifies the whole id in the row.
    pub prefix: [u8; 16],
    /// Its number inside the block.
    pub index: u32,
}

/// A change of an account that keeps its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The account.
    pub account: u128,
    /// The operation's number inside the block; one entry per account and operation.
    pub index: u32,
    /// What the account was after it: four totals of 16 bytes, opaque here.
    pub value: [u8; 64],
}

/// A row of an account's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryRow {
    /// Where it changed.
    pub position: Position,
    /// What it was then.
    pub value: [u8; 64],
}

/// Sizes of the index, in bytes unless said otherwise.
#[derive(Debug, Clone)]
pub struct IndexConfig {
    /// Memory for entries that are in no run yet.
    pub buffer_bytes_max: u64,
    /// A run is written at the latest after this many heights, so that a restart has few to feed again.
    pub buffer_heights_max: u64,
    /// Runs are merged up to this size. Retention drops whole runs, so a multiple of few log segments'
    /// entries is a good choice.
    pub run_bytes_max: u64,
    /// More runs than this are merged whatever their size, so that a query asks a bounded number.
    pub runs_max: usize,
    /// What must stay free on the disk: nothing is written that would leave less, so that the index never
    /// takes the log's room.
    pub reserve_bytes: u64,
    /// Heights the index may be behind before a query answers [`IndexError::Behind`].
    pub lag_max: u64,
}

impl Default for IndexConfig {
    fn default() -> Self {
        Self {
            buffer_bytes_max: 16 << 20,
            buffer_heights_max: 65_536,
            run_bytes_max: 256 << 20,
            runs_max: 96,
            reserve_bytes: 256 << 20,
            lag_max: 1_000,
        }
    }
}

/// Why the index refused or failed. Nothing here touches the log.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// A block out of order. Nothing was inserted.
    #[error("the index expects height {expected}, got {got}")]
    Gap {
        /// The height it must be fed next.
        expected: u64,
        /// The height it was given.
        got: u64,
    },
    /// The index is too far behind the log to answer.
    #[error("the index is {by} heights behind the log")]
    Behind {
        /// How far, in heights.
        by: u64,
    },
    /// A run was damaged and has been dropped with all newer ones: feed again from `expected`.
    #[error("a damaged run was dropped: feed the index again from height {expected}")]
    Dropped {
        /// The height it must be fed next.
        expected: u64,
    },
    /// Too little space is left for a run. Nothing was inserted; the block may be tried again.
    #[error("disk nearly full: {free_bytes} bytes free, {needed_bytes} needed with the reserve")]
    DiskFull {
        /// Free space now, in bytes.
        free_bytes: u64,
        /// What the run and the reserve need together, in bytes.
        needed_bytes: u64,
    },
    /// A run does not match its checksums. The next insert drops it.
    #[error("index run {path} is damaged at byte {offset}")]
    Corrupt {
        /// The file.
        path: String,
        /// Where in it.
        offset: u64,
    },
    /// The disk failed. A failed write may be tried again: it starts a new file.
    #[error("could not {action}")]
    Io {
        /// What was being done, and to which file.
        action: String,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
}

/// Length of a key in a run: 16 bytes of transaction id or account, then the position, all big endian, so
/// that byte order is their order.
pub(super) const KEY_LEN: usize = 28;
pub(super) const VALUE_LEN: usize = 64;

pub(super) type Key = [u8; KEY_LEN];

pub(super) fn key(prefix: &[u8; 16], position: Position) -> Key {
    let mut key = [0; KEY_LEN];
    key[..16].copy_from_slice(prefix);
    key[16..24].copy_from_slice(&position.height.to_be_bytes());
    key[24..].copy_from_slice(&position.index.to_be_bytes());
    key
}

/// The 16 bytes that a key begins with.
pub(super) fn prefix(key: &[u8]) -> [u8; 16] {
    *key.first_chunk().expect("a key begins with 16 bytes")
}

pub(super) fn position(key: &[u8]) -> Position {
    let height = key[16..].first_chunk().expect("a key holds a height");
    let index = key[24..].first_chunk().expect("a key holds an index");
    Position {
        height: u64::from_be_bytes(*height),
        index: u32::from_be_bytes(*index),
    }
}
