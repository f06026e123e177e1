//! Nodes: an append-only file of 32-byte tree nodes, behind the log and never on the commit path.
//!
//! It serves proofs. What a crash takes from its end is appended again from the log: until `sync` returns,
//! nothing of it may be relied on after a restart.

use crate::disk::Disk;
use crate::disk::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a node.
pub const NODE_LEN: usize = 32;

/// An append-only file of nodes, for one writer and any number of readers.
#[derive(Debug)]
pub struct NodeFile {
    file: Arc<dyn File>,
    len: AtomicU64,
}

impl NodeFile {
    /// Opens the file at `path`, making it if there is none. A torn last node is cut off.
    ///
    /// # Errors
    /// What the disk says.
    pub fn open(disk: &dyn Disk, path: &str) -> io::Result<Self> {
        let file = disk.open_or_create(path)?;
        let len = file.len()? / 32;
        file.set_len(len * 32)?;
        Ok(Self {
            file,
            len: AtomicU64::new(len),
        })
    }

    /// Nodes there are.
    pub fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Cuts the file to `len` nodes; nothing happens if it is shorter.
    ///
    /// # Errors
    /// What the disk says.
    pub fn truncate(&self, len: u64) -> io::Result<()> {
        if len < self.len() {
            self.file.set_len(len * 32)?;
            self.len.store(len, Ordering::Release);
        }
        Ok(())
    }

    /// Appends nodes. Only the writer calls this.
    ///
    /// # Errors
    /// What the disk says; the file is then as long as before.
    pub fn append(&self, nodes: &[[u8; NODE_LEN]]) -> io::Result<()> {
        let len = self.len();
        self.file.write_at(len * 32, nodes.as_flattened())?;
        let added = u64::try_from(nodes.len()).expect("a slice is shorter than 2^64");
        self.len.store(len + added, Ordering::Release);
        Ok(())
    }

    /// The node at `position`, or `None` past the end.
    ///
    /// # Errors
    /// What the disk says.
    pub fn node(&self, position: u64) -> io::Result<Option<[u8; NODE_LEN]>> {
        if position >= self.len() {
            return Ok(None);
        }
        let mut node = [0; NODE_LEN];
        self.file.read_at(position * 32, &mut node)?;
        Ok(Some(node))
    }

    /// Makes everything appended durable.
    ///
    /// # Errors
    /// What the disk says.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::MemoryDisk;

    #[test]
    fn nodes_read_back_and_a_torn_one_is_cut() {
        let disk = MemoryDisk::new();
        let nodes = NodeFile::open(&disk, "nodes").unwrap();
        nodes.append(&[[1; 32], [2; 32]]).unwrap();
        assert_eq!(nodes.node(1).unwrap(), Some([2; 32]));
        assert_eq!(nodes.node(2).unwrap(), None);
        disk.open("nodes").unwrap().write_at(64, &[9; 7]).unwrap();
        let again = NodeFile::open(&disk, "nodes").unwrap();
        assert_eq!(again.len(), 2);
        again.truncate(1).unwrap();
        again.append(&[[3; 32]]).unwrap();
        assert_eq!(again.node(1).unwrap(), Some([3; 32]));
    }
}
