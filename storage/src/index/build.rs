//! Writes a run: records in order go in, and a file comes out that appears whole or not at all.

use std::sync::Arc;

use super::entry::{IndexError, KEY_LEN, Key, prefix};
use super::filter::Filter;
use super::run::{
    BLOCK_LEN, CHECK_LEN, Extent, Footer, INDEX_DIR, Kind, Run, check, check_of, io_error, run_path,
};
use crate::disk::{Disk, File, UNPUBLISHED_SUFFIX};
use crate::metrics::len_u64;

/// A run being written. All transactions come before all history.
#[derive(Debug)]
pub(super) struct RunBuilder {
    disk: Arc<dyn Disk>,
    path: String,
    file: Arc<dyn File>,
    first: u64,
    last: u64,
    kind: Kind,
    block: Vec<u8>,
    offset: u64,
    unsynced: u64,
    extents: [Extent; 2],
    filters: [Filter; 2],
    fences: [Vec<Key>; 2],
}

impl RunBuilder {
    /// Begins the run of these heights; `records_max` bounds the records of each kind.
    pub fn new(
        disk: Arc<dyn Disk>,
        first: u64,
        last: u64,
        records_max: [u64; 2],
    ) -> Result<Self, IndexError> {
        let path = run_path(first, last);
        let aside = format!("{path}{UNPUBLISHED_SUFFIX}");
        let file = disk
            .create(&aside)
            .map_err(|source| io_error("create", &path, source))?;
        Ok(Self {
            disk,
            path,
            file,
            first,
            last,
            kind: Kind::Tx,
            block: Vec::with_capacity(BLOCK_LEN),
            offset: 0,
            unsynced: 0,
            extents: [Extent::default(); 2],
            filters: records_max.map(Filter::new),
            fences: [Vec::new(), Vec::new()],
        })
    }

    /// Adds the next record: key, then value.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), IndexError> {
        if self.block.is_empty() {
            self.block.resize(CHECK_LEN, 0);
            let fence = *key
                .first_chunk::<KEY_LEN>()
                .expect("a record begins with its key");
            self.fences[self.section()].push(fence);
        }
        let section = self.section();
        self.filters[section].insert(&prefix(key));
        self.extents[section].records += 1;
        self.block.extend_from_slice(key);
        self.block.extend_from_slice(value);
        if self.block.len() + self.kind.record_len() > BLOCK_LEN {
            self.end_block()
        } else {
            Ok(())
        }
    }

    /// Goes on to the history.
    pub fn end_transactions(&mut self) -> Result<(), IndexError> {
        self.end_block()?;
        self.kind = Kind::History;
        self.extents[1].blocks_at = self.offset;
        Ok(())
    }

    /// Makes the run durable, then visible, and opens it.
    pub fn finish(mut self) -> Result<Run, IndexError> {
        self.end_block()?;
        for section in 0..2 {
            let filter = self.filters[section].encode();
            self.extents[section].filter_at = self.offset;
            self.extents[section].filter_lines = self.filters[section].lines();
            self.write(&filter)?;
        }
        let mut hasher = blake3::Hasher::new();
        for section in 0..2 {
            let fences = self.fences[section].concat();
            hasher.update(&fences);
            self.extents[section].fences_at = self.offset;
            self.write(&fences)?;
        }
        let footer = Footer {
            first: self.first,
            last: self.last,
            extents: self.extents,
            fences_check: u64::from_le_bytes(check_of(&hasher)),
        };
        self.write(&footer.encode())?;
        let failed = |source| io_error("publish", &self.path, source);
        self.file.sync().map_err(failed)?;
        self.disk
            .rename(&format!("{}{UNPUBLISHED_SUFFIX}", self.path), &self.path)
            .map_err(failed)?;
        self.disk.sync_dir(INDEX_DIR).map_err(failed)?;
        Run::open(&*self.disk, &self.path)
    }

    /// Gives up and removes what was written.
    pub fn abandon(self) -> Result<(), IndexError> {
        let aside = format!("{}{UNPUBLISHED_SUFFIX}", self.path);
        self.disk
            .remove(&aside)
            .map_err(|source| io_error("remove", &aside, source))
    }

    fn section(&self) -> usize {
        usize::from(self.kind == Kind::History)
    }

    fn end_block(&mut self) -> Result<(), IndexError> {
        if self.block.is_empty() {
            return Ok(());
        }
        let mut block = std::mem::take(&mut self.block);
        block.resize(BLOCK_LEN, 0);
        let check = check(&block[CHECK_LEN..]);
        block[..CHECK_LEN].copy_from_slice(&check);
        self.write(&block)?;
        block.clear();
        self.block = block;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), IndexError> {
        let failed = |source| io_error("write", &self.path, source);
        self.file.write_at(self.offset, bytes).map_err(failed)?;
        self.offset += len_u64(bytes.len());
        self.unsynced += len_u64(bytes.len());
        if self.unsynced >= UNSYNCED_MAX {
            // Little by little: one big sync at the end would hold up the log's, on the same disk.
            self.file.sync().map_err(failed)?;
            self.unsynced = 0;
        }
        Ok(())
    }
}

/// Bytes left to the kernel before they are synced.
const UNSYNCED_MAX: u64 = 4 << 20;
