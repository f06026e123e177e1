//! The store: everything of a chain that lies in its directory, opened together.

use crate::joining::install;
use core::ops::RangeInclusive;
use selfchain_storage::{
    Disk, HandoverFile, Index, IndexConfig, IndexError, LogConfig, NodeFile, SegmentLog, SnapshotConfig,
    Snapshots, StorageMetrics, disk,
};
use selfchain_types::Genesis;
use selfchain_types::codec::DecodeError;
use selfchain_types::seam::log::{Log, LogError};
use selfchain_types::seam::snapshot::SnapshotError;
use std::io;
use std::sync::Arc;
use thiserror::Error;

/// How a store keeps what it keeps.
#[derive(Clone, Debug, Default)]
pub struct StoreConfig {
    /// The log.
    pub log: LogConfig,
    /// The index behind it.
    pub index: IndexConfig,
    /// The snapshots of its state.
    pub snapshots: SnapshotConfig,
}

/// Everything of a chain that lies in its directory.
#[derive(Debug)]
pub struct Store {
    /// What the chain was born with.
    pub genesis: Genesis,
    /// The directory.
    pub disk: Arc<dyn Disk>,
    /// The truth.
    pub log: SegmentLog,
    /// Transaction → position, and balances of accounts with history; a projection.
    pub index: Index,
    /// State by height; a projection.
    pub snapshots: Arc<Snapshots>,
    /// The receipts' tree; a projection.
    pub receipt_nodes: Arc<NodeFile>,
    /// Changes of the set of validators, all of them: a projection of blocks that retention drops.
    pub handovers: Arc<HandoverFile>,
    /// Headers that validators signed with their checkpoint keys, all of them.
    pub checkpoints: Arc<HandoverFile>,
    /// What storage counts.
    pub metrics: Arc<StorageMetrics>,
}

/// Why a store could not be opened.
#[derive(Debug, Error)]
pub enum StoreError {
    /// No chain is there.
    #[error("no chain here: {GENESIS_FILE} is missing; `selfchain init` makes one")]
    NotInitialised,
    /// A chain is there already.
    #[error("a chain is here already ({GENESIS_FILE} exists); it is not touched")]
    Initialised,
    /// The genesis file is damaged.
    #[error("{GENESIS_FILE} cannot be read")]
    Genesis(#[source] DecodeError),
    /// The log failed.
    #[error("the log could not be used")]
    Log(#[from] LogError),
    /// The index failed.
    #[error("the index could not be used")]
    Index(#[from] IndexError),
    /// The snapshots failed.
    #[error("the snapshots could not be used")]
    Snapshots(#[from] SnapshotError),
    /// The log begins above the newest usable snapshot: state cannot be rebuilt.
    #[error("the log begins at height {first}, and no usable snapshot reaches height {}", first - 1)]
    Unreachable {
        /// First height of the log.
        first: u64,
    },
    /// The log begins above height 1, and no snapshot fits from which it could be verified.
    #[error(
        "the log begins at height {first}, and there is no snapshot of a height from {} to {last}: \
         what lies before is not here, and what follows cannot be decided anew without the state there",
        first - 1
    )]
    Unverifiable {
        /// First height of the log.
        first: u64,
        /// Last height whose roots a header of the log commits to.
        last: u64,
    },
    /// A snapshot is damaged, or is not of this log.
    #[error("the snapshot of height {height} does not hold")]
    Restore {
        /// Its height.
        height: u64,
        /// What is wrong with it.
        #[source]
        source: Box<crate::recover::RestoreFailure>,
    },
    /// Its validators cannot begin.
    #[error("the chain's validators cannot begin")]
    Founding(#[from] crate::standing::FoundingError),
    /// The log says what cannot be.
    #[error("the log does not hold")]
    Verify(#[from] selfchain_engine::commit::VerifyError),
    /// The disk failed.
    #[error("could not {action}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
}

/// The genesis file, in the directory's root.
pub const GENESIS_FILE: &str = "genesis";
pub(crate) const RECEIPT_NODES_FILE: &str = "receipts";
const HANDOVERS_FILE: &str = "handovers";
const CHECKPOINTS_FILE: &str = "checkpoints";

impl Store {
    /// Makes a chain in an empty directory: writes its genesis, durably.
    ///
    /// # Errors
    /// [`StoreError::Initialised`], or what the disk says.
    pub fn create(disk: &dyn Disk, genesis: &Genesis) -> Result<(), StoreError> {
        if Self::exists(disk)? {
            return Err(StoreError::Initialised);
        }
        disk::publish(disk, GENESIS_FILE, &genesis.to_bytes()).map_err(|source| StoreError::Io {
            action: "write the genesis file",
            source,
        })
    }

    /// Whether a chain is there.
    ///
    /// # Errors
    /// What the disk says.
    pub fn exists(disk: &dyn Disk) -> Result<bool, StoreError> {
        let files = disk.list("").map_err(|source| StoreError::Io {
            action: "list the data directory",
            source,
        })?;
        Ok(files.iter().any(|file| file == GENESIS_FILE))
    }

    /// Opens everything, after what a snapshot began that was fetched. The disk holds the directory's lock.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(disk: Arc<dyn Disk>, config: &StoreConfig) -> Result<Self, StoreError> {
        let genesis = read_genesis(&*disk)?;
        install(&disk)?;
        let metrics = Arc::new(StorageMetrics::default());
        let log = SegmentLog::open(Arc::clone(&disk), config.log.clone(), Arc::clone(&metrics))?;
        let held = held(&log);
        let index = Index::open(
            Arc::clone(&disk),
            config.index.clone(),
            Arc::clone(&metrics),
            held,
        )?;
        let snapshots = Snapshots::open_with(Arc::clone(&disk), config.snapshots.clone())?;
        let receipt_nodes = NodeFile::open(&*disk, RECEIPT_NODES_FILE).map_err(|source| StoreError::Io {
            action: "open the receipts' nodes",
            source,
        })?;
        let handovers = HandoverFile::open(&*disk, HANDOVERS_FILE).map_err(|source| StoreError::Io {
            action: "open the changes of the set of validators",
            source,
        })?;
        let checkpoints = HandoverFile::open(&*disk, CHECKPOINTS_FILE).map_err(|source| StoreError::Io {
            action: "open the checkpoints",
            source,
        })?;
        Ok(Self {
            genesis,
            disk,
            log,
            index,
            snapshots: Arc::new(snapshots),
            receipt_nodes: Arc::new(receipt_nodes),
            handovers: Arc::new(handovers),
            checkpoints: Arc::new(checkpoints),
            metrics,
        })
    }
}

/// The heights that the log holds.
fn held(log: &SegmentLog) -> Option<RangeInclusive<u64>> {
    let reader = log.reader();
    reader.first().zip(reader.tip()).map(|(first, tip)| first..=tip)
}

/// The genesis of the chain on this disk.
///
/// # Errors
/// [`StoreError::NotInitialised`], [`StoreError::Genesis`], or what the disk says.
pub fn read_genesis(disk: &dyn Disk) -> Result<Genesis, StoreError> {
    let io = |source| StoreError::Io {
        action: "read the genesis file",
        source,
    };
    let file = match disk.open_read_only(GENESIS_FILE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(StoreError::NotInitialised),
        opened => opened.map_err(io)?,
    };
    let len = file.len().map_err(io)?;
    if len > GENESIS_BYTES_MAX {
        return Err(StoreError::Genesis(DecodeError::Value {
            what: "genesis length",
            value: len,
        }));
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
    file.read_at(0, &mut bytes).map_err(io)?;
    Genesis::decode(&bytes).map_err(StoreError::Genesis)
}

/// No genesis is larger: 65,535 validators' keys fit many times.
pub const GENESIS_BYTES_MAX: u64 = 64 * 1024 * 1024;
