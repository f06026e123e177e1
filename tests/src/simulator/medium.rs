//! What a simulated validator keeps its files on.

use selfchain::storage::disk::{Faults, FaultyDisk};
use selfchain::storage::{Disk, MemoryDisk};
use std::sync::Arc;

/// A disk that loses power, or memory that never does.
#[derive(Clone, Debug)]
pub(super) enum Medium {
    Faulty(FaultyDisk),
    Memory(MemoryDisk),
}

impl Medium {
    /// An empty one.
    pub(super) fn new(is_memory: bool, seed: u64) -> Self {
        if is_memory {
            Self::Memory(MemoryDisk::new())
        } else {
            Self::Faulty(FaultyDisk::new(seed))
        }
    }

    pub(super) fn disk(&self) -> Arc<dyn Disk> {
        match self {
            Self::Faulty(disk) => Arc::new(disk.clone()),
            Self::Memory(disk) => Arc::new(disk.clone()),
        }
    }

    /// Power fails after so many more writes and syncs; `None`: not by itself.
    pub(super) fn crash_after(&self, ops: Option<u64>) {
        if let Self::Faulty(disk) = self {
            disk.set_faults(Faults {
                crash_at: ops.map(|ops| disk.ops() + ops),
                ..Faults::default()
            });
        }
    }

    pub(super) fn crashed(&self) -> bool {
        matches!(self, Self::Faulty(disk) if disk.crashed())
    }

    /// A copy that goes its own way.
    pub(super) fn duplicate(&self) -> Self {
        match self {
            Self::Faulty(disk) => Self::Faulty(disk.duplicate()),
            Self::Memory(disk) => Self::Memory(disk.clone()),
        }
    }

    /// What is left when power goes now and comes back.
    pub(super) fn restart(&self) -> Self {
        match self {
            Self::Faulty(disk) => Self::Faulty(disk.restart()),
            Self::Memory(disk) => Self::Memory(disk.clone()),
        }
    }
}
