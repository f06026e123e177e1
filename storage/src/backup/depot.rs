//! Depots: where the pieces of a backup are kept.

use crate::disk::{Disk, UNPUBLISHED_SUFFIX, publish, publish_streamed};
use crate::metrics::len_u64;
use selfchain_types::backup::BackupItem;
use selfchain_types::keep::KeptItem;
use std::io;
use std::sync::Arc;

/// Where the pieces of a backup are kept. It is trusted with nothing: it cannot read parts, and what it changes or
/// leaves out is noticed.
pub trait Depot: Send + Sync {
    /// Every piece there is, in order. A piece whose `put` was cut off is not among them.
    ///
    /// # Errors
    /// [`DepotError`].
    fn list(&self) -> Result<Vec<KeptItem>, DepotError>;

    /// A piece, whole.
    ///
    /// # Errors
    /// [`DepotError::NotFound`]; [`DepotError::TooLong`] where it has more than `max` bytes.
    fn get(&self, item: BackupItem, max: u64) -> Result<Vec<u8>, DepotError>;

    /// Keeps a piece, in place of one that is there; durable when this returns, and whole or as before after a crash.
    ///
    /// # Errors
    /// [`DepotError`].
    fn put(&self, item: BackupItem, bytes: &[u8]) -> Result<(), DepotError>;

    /// Forgets a piece; nothing happens where there is none.
    ///
    /// # Errors
    /// [`DepotError`].
    fn remove(&self, item: BackupItem) -> Result<(), DepotError>;
}

/// Why a depot did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DepotError {
    /// There is no such piece.
    #[error("{item} is not there")]
    NotFound {
        /// Which.
        item: BackupItem,
    },
    /// It is longer than was expected.
    #[error("{item} has {len} bytes, at most {max} are expected")]
    TooLong {
        /// Which.
        item: BackupItem,
        /// Its length.
        len: u64,
        /// The most that is read.
        max: u64,
    },
    /// The disk failed.
    #[error("could not {action} {name}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// With what.
        name: String,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// The node that keeps it refused or could not be reached.
    #[error("the node that keeps it did not do it")]
    Peer(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A directory as a depot: a file for each piece.
#[derive(Debug, Clone)]
pub struct DirectoryDepot {
    disk: Arc<dyn Disk>,
}

impl DirectoryDepot {
    /// The directory of this disk; what was not finished in it is removed.
    ///
    /// # Errors
    /// [`DepotError::Io`].
    pub fn open(disk: Arc<dyn Disk>) -> Result<Self, DepotError> {
        for name in disk.list("").map_err(failed("list", "the directory"))? {
            let unpublished = name.strip_suffix(UNPUBLISHED_SUFFIX);
            if unpublished.is_some_and(|name| BackupItem::of_file_name(name).is_some()) {
                disk.remove(&name).map_err(failed("remove", &name))?;
            }
        }
        Ok(Self { disk })
    }

    /// The directory of this disk, to be read: nothing in it is touched.
    pub fn reading(disk: Arc<dyn Disk>) -> Self {
        Self { disk }
    }
}

impl Depot for DirectoryDepot {
    fn list(&self) -> Result<Vec<KeptItem>, DepotError> {
        let names = self.disk.list("").map_err(failed("list", "the directory"))?;
        let mut items = Vec::new();
        for name in names {
            if let Some(item) = BackupItem::of_file_name(&name) {
                let file = self.disk.open_read_only(&name).map_err(failed("open", &name))?;
                let len = file.len().map_err(failed("measure", &name))?;
                items.push(KeptItem { item, len });
            }
        }
        items.sort_unstable_by_key(|kept| kept.item);
        Ok(items)
    }

    fn get(&self, item: BackupItem, max: u64) -> Result<Vec<u8>, DepotError> {
        let name = item.file_name();
        let file = match self.disk.open_read_only(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(DepotError::NotFound { item });
            }
            opened => opened.map_err(failed("open", &name))?,
        };
        let len = file.len().map_err(failed("measure", &name))?;
        if len > max {
            return Err(DepotError::TooLong { item, len, max });
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
        file.read_at(0, &mut bytes).map_err(failed("read", &name))?;
        Ok(bytes)
    }

    fn put(&self, item: BackupItem, bytes: &[u8]) -> Result<(), DepotError> {
        let name = item.file_name();
        let needed = len_u64(bytes.len());
        let free = self
            .disk
            .free_bytes()
            .map_err(failed("ask for the space of", &name))?;
        if free < needed {
            let full = io::Error::new(
                io::ErrorKind::StorageFull,
                format!("{free} bytes are free, {needed} are needed"),
            );
            return Err(failed("write", &name)(full));
        }
        let published = match item {
            BackupItem::Manifest(_) => publish(&*self.disk, &name, bytes),
            BackupItem::Part { .. } => publish_streamed(&*self.disk, &name, bytes),
        };
        published.map_err(failed("write", &name))
    }

    fn remove(&self, item: BackupItem) -> Result<(), DepotError> {
        let name = item.file_name();
        match self.disk.remove(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed
                .and_then(|()| self.disk.sync_dir(""))
                .map_err(failed("remove", &name)),
        }
    }
}

fn failed(action: &'static str, name: &str) -> impl FnOnce(io::Error) -> DepotError + use<> {
    let name = name.to_owned();
    move |source| DepotError::Io { action, name, source }
}
