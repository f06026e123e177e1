//! What survives power loss: the log, the consensus journal, snapshots, the rebuildable index, and the vault.
//!
//! This crate keeps records and never asks what they mean: a block row is bytes under a height. It owns
//! the files of a ledger's directory and guarantees that what a `sync` returned for is there after any
//! crash, that damage is reported with its place instead of being served, and that after a failed write
//! nothing pretends to be durable. It starts one thread (sealing, optional) and reads the clock only to
//! measure. It does not decide what to keep: retention is asked for by the caller.
//!
//! Status: the file formats are version 1.
//!
//! ```
//! use std::sync::Arc;
//! use selfchain_storage::{LogConfig, MemoryDisk, SegmentLog, StorageMetrics};
//! use selfchain_types::seam::log::{Log, LogError};
//!
//! let metrics = Arc::new(StorageMetrics::default());
//! let mut log = SegmentLog::open(Arc::new(MemoryDisk::new()), LogConfig::default(), metrics)?;
//! log.append(1, b"the first block")?;
//! assert_eq!(log.reader().tip(), None, "not durable yet");
//! assert_eq!(log.sync()?, 1);
//! assert_eq!(&log.reader().read(1)?[..], b"the first block");
//! # Ok::<(), LogError>(())
//! ```

#[cfg(feature = "backup")]
pub mod backup;
pub mod disk;
mod guard;
pub mod handovers;
pub mod index;
pub mod journal;
pub mod log;
pub mod metrics;
pub mod nodes;
pub mod snapshots;
pub mod vault;
pub mod watermark;

pub use disk::{Disk, FaultyDisk, File, FileDisk, MemoryDisk};
pub use handovers::HandoverFile;
pub use index::{HistoryEntry, HistoryRow, Index, IndexConfig, IndexError, IndexReader, Position, TxEntry};
pub use journal::{Journal, JournalConfig, JournalError};
pub use log::{LogConfig, Sealing, SegmentLog, SegmentReader, SegmentSummary};
pub use metrics::StorageMetrics;
pub use nodes::NodeFile;
pub use snapshots::{ChunkEntry, SnapshotConfig, SnapshotFile, Snapshots, chunk_hash};
pub use vault::{Vault, VaultError, VaultLimits};
pub use watermark::{Place, Signed, Watermark, WatermarkError, WatermarkSlot, read_watermark};
