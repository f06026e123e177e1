//! What is kept: a directory for each owner, a file for each piece, and one file that is still coming.

use super::Agreement;
use selfchain_storage::Disk;
use selfchain_storage::disk::{File, UNPUBLISHED_SUFFIX, remove_unpublished};
use selfchain_types::backup::BackupItem;
use selfchain_types::codec::wide;
use selfchain_types::keep::{KEEP_CHUNK_MAX, KEEP_FILE_MAX, KEEP_ROWS_MAX, Keep, Kept, KeptItem};
use selfchain_types::{Hash, Refusal};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use thiserror::Error;

/// Where files are kept, in the data directory.
const KEPT_DIR: &str = "kept";
/// What a file counts beside its bytes: its place in a directory is not free.
const FILE_OVERHEAD: u64 = 4_096;

/// Why something was not kept or given back.
#[derive(Debug, Error)]
pub enum KeepError {
    /// This node keeps nothing for that key.
    #[error("this node has not agreed to keep backups for {}", owner.as_ref().map_or("a client without a key".into(), Hash::to_hex))]
    NotAgreed {
        /// The key that the client showed.
        owner: Option<Hash>,
    },
    /// It would be more than was agreed.
    #[error(
        "{used} bytes of {quota} are used, {needed} more are needed (a file counts {FILE_OVERHEAD} beside its own)"
    )]
    Quota {
        /// Bytes that are kept.
        used: u64,
        /// Bytes that are agreed.
        quota: u64,
        /// Bytes that would be added.
        needed: u64,
    },
    /// It is not there.
    #[error("{item} is not kept here")]
    NotFound {
        /// Which.
        item: BackupItem,
    },
    /// It is longer than anything that is kept.
    #[error("{item} has {len} bytes, files that are kept have 1 to {KEEP_FILE_MAX}")]
    Length {
        /// Which.
        item: BackupItem,
        /// Its length.
        len: u64,
    },
    /// More bytes than the file has.
    #[error("{item} ends before these bytes do")]
    Beyond {
        /// Which.
        item: BackupItem,
    },
    /// What came is not what was announced.
    #[error("{item} does not have the hash that was announced: it was forgotten, send it again")]
    Hash {
        /// Which.
        item: BackupItem,
    },
    /// The disk is nearly full.
    #[error("the disk of this node is nearly full: {free} bytes are free, {reserve} stay free")]
    DiskFull {
        /// Bytes free.
        free: u64,
        /// Bytes that stay free.
        reserve: u64,
    },
    /// The disk failed.
    #[error("the disk of this node failed")]
    Disk(#[from] io::Error),
}

impl KeepError {
    /// What the owner is told.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::NotAgreed { .. } => Refusal::NotAgreed,
            Self::Quota { .. } => Refusal::QuotaFull,
            Self::NotFound { .. } => Refusal::NotFound,
            Self::Length { .. } => Refusal::TooLarge,
            Self::Beyond { .. } | Self::Hash { .. } => Refusal::Malformed,
            Self::DiskFull { .. } => Refusal::DiskFull,
            Self::Disk(_) => Refusal::Poisoned,
        }
    }
}

/// Everything that is kept, for everybody.
#[derive(Debug)]
pub struct KeptFiles {
    disk: Arc<dyn Disk>,
    reserve_bytes: u64,
    owners: BTreeMap<[u8; 32], Owner>,
}

#[derive(Debug)]
struct Owner {
    dir: String,
    quota: u64,
    files: BTreeMap<BackupItem, u64>,
    /// Bytes of the files, with what each counts beside them.
    used: u64,
    coming: Option<Coming>,
}

/// A file that is still coming.
#[derive(Debug)]
struct Coming {
    item: BackupItem,
    len: u64,
    hash: Hash,
    received: u64,
    hasher: Box<blake3::Hasher>,
    file: Arc<dyn File>,
}

impl KeptFiles {
    /// Opens what is kept under these agreements; what had not come whole is removed. What is kept without an agreement
    /// any more stays, and is given to nobody.
    ///
    /// # Errors
    /// What the disk says.
    pub fn open(disk: Arc<dyn Disk>, agreements: &[Agreement], reserve_bytes: u64) -> io::Result<Self> {
        let mut owners = BTreeMap::new();
        for agreement in agreements {
            owners.insert(agreement.owner, Owner::open(&*disk, agreement)?);
        }
        Ok(Self {
            disk,
            reserve_bytes,
            owners,
        })
    }

    /// Does what the owner with this key asks; without a key nobody is an owner.
    ///
    /// # Errors
    /// [`KeepError`].
    pub fn answer(&mut self, owner: Option<[u8; 32]>, keep: &Keep<'_>) -> Result<Kept, KeepError> {
        let refused = || KeepError::NotAgreed {
            owner: owner.map(Hash),
        };
        let disk = &*self.disk;
        let owned = owner
            .and_then(|key| self.owners.get_mut(&key))
            .ok_or_else(refused)?;
        match *keep {
            Keep::Terms => Ok(Kept::Terms {
                quota_bytes: owned.quota,
                used_bytes: owned.used,
                files: wide(owned.files.len()),
            }),
            Keep::List { after } => Ok(Kept::List(owned.list(after))),
            Keep::Put {
                item,
                len,
                hash,
                offset,
                bytes,
            } => {
                let announced = Announced { item, len, hash };
                let received = owned.put(disk, self.reserve_bytes, announced, offset, bytes)?;
                Ok(Kept::Received { received })
            }
            Keep::Get { item, offset, len } => owned.get(disk, item, offset, len),
            Keep::Remove(item) => Ok(Kept::Removed {
                was_kept: owned.remove(disk, item)?,
            }),
        }
    }
}

/// A file, as its owner announces it.
#[derive(Clone, Copy)]
struct Announced {
    item: BackupItem,
    len: u64,
    hash: Hash,
}

impl Owner {
    fn open(disk: &dyn Disk, agreement: &Agreement) -> io::Result<Self> {
        let dir = format!("{KEPT_DIR}/{}", Hash(agreement.owner).to_hex());
        disk.create_dir(&dir)?;
        let mut files = BTreeMap::new();
        for name in remove_unpublished(disk, &dir)? {
            if let Some(item) = BackupItem::of_file_name(&name) {
                files.insert(item, disk.open_read_only(&format!("{dir}/{name}"))?.len()?);
            }
        }
        let used = files.values().map(|len| len + FILE_OVERHEAD).sum();
        Ok(Self {
            dir,
            quota: agreement.quota_bytes,
            files,
            used,
            coming: None,
        })
    }

    fn path(&self, item: BackupItem) -> String {
        format!("{}/{}", self.dir, item.file_name())
    }

    fn list(&self, after: Option<BackupItem>) -> Vec<KeptItem> {
        let from = match after {
            Some(item) => std::ops::Bound::Excluded(item),
            None => std::ops::Bound::Unbounded,
        };
        let files = self.files.range((from, std::ops::Bound::Unbounded));
        let rows = files.map(|(item, len)| KeptItem {
            item: *item,
            len: *len,
        });
        rows.take(KEEP_ROWS_MAX).collect()
    }

    /// Takes the next bytes of a file; how many of it are there then.
    fn put(
        &mut self,
        disk: &dyn Disk,
        reserve: u64,
        announced: Announced,
        offset: u64,
        bytes: &[u8],
    ) -> Result<u64, KeepError> {
        let Announced { item, len, hash } = announced;
        if len == 0 || len > KEEP_FILE_MAX {
            return Err(KeepError::Length { item, len });
        }
        let is_the_same = |coming: &Coming| (coming.item, coming.len, coming.hash) == (item, len, hash);
        if !self.coming.as_ref().is_some_and(is_the_same) {
            // The answer to the last bytes may have been lost.
            if self.files.get(&item) == Some(&len) && self.hash_of(disk, item, len)? == hash {
                return Ok(len);
            }
            self.give_up(disk)?;
            if offset != 0 {
                return Ok(0);
            }
            self.begin(disk, reserve, announced)?;
        }
        let Some(coming) = &mut self.coming else {
            return Ok(0);
        };
        if offset != coming.received {
            return Ok(coming.received);
        }
        let end = offset.saturating_add(wide(bytes.len()));
        if end > len {
            return Err(KeepError::Beyond { item });
        }
        coming.file.write_at(offset, bytes)?;
        coming.hasher.update(bytes);
        coming.received = end;
        if end == len {
            self.publish(disk)?;
        }
        Ok(end)
    }

    fn begin(&mut self, disk: &dyn Disk, reserve: u64, announced: Announced) -> Result<(), KeepError> {
        let Announced { item, len, hash } = announced;
        let replaced = self.files.get(&item).map_or(0, |len| len + FILE_OVERHEAD);
        let (used, needed) = (self.used - replaced, len + FILE_OVERHEAD);
        if used.saturating_add(needed) > self.quota {
            return Err(KeepError::Quota {
                used,
                quota: self.quota,
                needed,
            });
        }
        let free = disk.free_bytes()?;
        if free < reserve.saturating_add(len) {
            return Err(KeepError::DiskFull { free, reserve });
        }
        let file = disk.create(&format!("{}{UNPUBLISHED_SUFFIX}", self.path(item)))?;
        self.coming = Some(Coming {
            item,
            len,
            hash,
            received: 0,
            hasher: Box::default(),
            file,
        });
        Ok(())
    }

    /// Puts a file that has come whole into its place, durably.
    fn publish(&mut self, disk: &dyn Disk) -> Result<(), KeepError> {
        let Some(coming) = self.coming.take() else {
            return Ok(());
        };
        let (item, path) = (coming.item, self.path(coming.item));
        let aside = format!("{path}{UNPUBLISHED_SUFFIX}");
        if *coming.hasher.finalize().as_bytes() != coming.hash.0 {
            disk.remove(&aside)?;
            return Err(KeepError::Hash { item });
        }
        coming.file.sync()?;
        disk.rename(&aside, &path)?;
        disk.sync_dir(&self.dir)?;
        let replaced = self.files.insert(item, coming.len);
        self.used -= replaced.map_or(0, |len| len + FILE_OVERHEAD);
        self.used += coming.len + FILE_OVERHEAD;
        Ok(())
    }

    fn give_up(&mut self, disk: &dyn Disk) -> Result<(), KeepError> {
        if let Some(coming) = self.coming.take() {
            disk.remove(&format!("{}{UNPUBLISHED_SUFFIX}", self.path(coming.item)))?;
        }
        Ok(())
    }

    fn hash_of(&self, disk: &dyn Disk, item: BackupItem, len: u64) -> Result<Hash, KeepError> {
        let file = disk.open_read_only(&self.path(item))?;
        let (mut hasher, mut offset, mut buffer) = (blake3::Hasher::new(), 0, vec![0; KEEP_CHUNK_MAX]);
        while offset < len {
            let part = usize::try_from(len - offset)
                .unwrap_or(KEEP_CHUNK_MAX)
                .min(KEEP_CHUNK_MAX);
            file.read_at(offset, &mut buffer[..part])?;
            hasher.update(&buffer[..part]);
            offset += wide(part);
        }
        Ok(Hash(*hasher.finalize().as_bytes()))
    }

    fn get(&self, disk: &dyn Disk, item: BackupItem, offset: u64, len: u32) -> Result<Kept, KeepError> {
        let whole = *self.files.get(&item).ok_or(KeepError::NotFound { item })?;
        let wanted = u64::from(len).min(wide(KEEP_CHUNK_MAX));
        let wanted = wanted.min(whole.saturating_sub(offset));
        let mut bytes = vec![0; usize::try_from(wanted).unwrap_or_default()];
        disk.open_read_only(&self.path(item))?
            .read_at(offset.min(whole), &mut bytes)?;
        Ok(Kept::Piece { len: whole, bytes })
    }

    fn remove(&mut self, disk: &dyn Disk, item: BackupItem) -> Result<bool, KeepError> {
        let Some(len) = self.files.get(&item) else {
            return Ok(false);
        };
        let freed = len + FILE_OVERHEAD;
        disk.remove(&self.path(item))?;
        disk.sync_dir(&self.dir)?;
        self.files.remove(&item);
        self.used -= freed;
        Ok(true)
    }
}

#[cfg(test)]
#[path = "kept_tests.rs"]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod tests;
