//! Lets redb keep a segment in a file of our disk.

use std::io;
use std::sync::Arc;

use crate::disk::File;

/// A [`File`] as redb wants it. Locking is the directory's business, so redb's own is left unsupported.
#[derive(Debug)]
pub(super) struct Backend(pub Arc<dyn File>);

impl redb::StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }
}
