//! A file whose whole blocks go straight to the device, past the page cache of the system.
//!
//! The log is written once and seldom read: copying it through the page cache costs several times what writing
//! it does, and pushes out what is read. Blocks are gathered in a buffer of our own and written in few large
//! requests, in order of their place. Whatever is not whole blocks (a database's header) takes the usual way;
//! the two never share a block.

use super::File;
use crate::guard::lock;
use crate::metrics::len_u64;
use rustix::fs::OFlags;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Mutex;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// What direct requests are aligned to, in the file and in memory.
const BLOCK_LEN: usize = 4_096;
/// Blocks gathered before they are written at the latest: 16 MiB, a full block of the chain.
const GATHERED_BLOCKS_MAX: usize = 4_096;
/// Most pieces of one request (`IOV_MAX` of Linux).
const PIECES_MAX: usize = 1_024;
/// Reads at least this long go past the page cache too: whoever reads so much at once reads it once.
const DIRECT_READ_MIN: usize = 256 << 10;

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4096))]
struct Block([u8; BLOCK_LEN]);

/// The file, twice open: for whole blocks and for the rest.
#[derive(Debug)]
pub(super) struct DirectFile {
    direct: fs::File,
    buffered: fs::File,
    gathered: Mutex<Gathered>,
}

impl DirectFile {
    /// Opens `path` with `options`, and a second time for direct requests; the usual file where the file system
    /// knows no direct requests.
    pub fn open(path: &Path, options: &fs::OpenOptions) -> io::Result<Result<Self, fs::File>> {
        let buffered = options.open(path)?;
        let mut again = options.clone();
        let flags = i32::try_from(OFlags::DIRECT.bits()).map_err(io::Error::other)?;
        // The first open has created and cut it.
        let opened = again.create(false).truncate(false).custom_flags(flags).open(path);
        match opened {
            Ok(direct) => Ok(Ok(Self {
                direct,
                buffered,
                gathered: Mutex::default(),
            })),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(Err(buffered)),
            Err(error) => Err(error),
        }
    }
}

impl File for DirectFile {
    fn len(&self) -> io::Result<u64> {
        lock(&self.gathered).write_to(&self.direct)?;
        File::len(&self.buffered)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut gathered = lock(&self.gathered);
        if gathered.overlaps(offset, out.len()) {
            gathered.write_to(&self.direct)?;
        }
        if out.len() >= DIRECT_READ_MIN && is_whole(offset, out.len()) && gathered.is_empty() {
            return gathered.read_through(&self.direct, offset, out);
        }
        drop(gathered);
        self.buffered.read_exact_at(out, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut gathered = lock(&self.gathered);
        let is_direct = is_whole(offset, bytes.len()) && bytes.len() / BLOCK_LEN <= GATHERED_BLOCKS_MAX;
        let has_room = gathered.has_room(bytes.len());
        if gathered.overlaps(offset, bytes.len()) || (is_direct && !has_room) {
            gathered.write_to(&self.direct)?;
        }
        if is_direct {
            return gathered.take(offset, bytes);
        }
        drop(gathered);
        self.buffered.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        lock(&self.gathered).write_to(&self.direct)?;
        self.buffered.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        lock(&self.gathered).write_to(&self.direct)?;
        self.direct.sync_data()
    }
}

fn is_whole(offset: u64, len: usize) -> bool {
    len > 0 && len.is_multiple_of(BLOCK_LEN) && offset.is_multiple_of(len_u64(BLOCK_LEN))
}

/// Writes that wait: none overlaps another.
#[derive(Default)]
struct Gathered {
    /// Their bytes, one after another as they came.
    blocks: Vec<Block>,
    used: usize,
    /// Offset in the file → first block and count.
    places: BTreeMap<u64, (usize, usize)>,
}

impl std::fmt::Debug for Gathered {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_map().entries(&self.places).finish()
    }
}

impl Gathered {
    fn is_empty(&self) -> bool {
        self.used == 0
    }

    fn has_room(&self, len: usize) -> bool {
        self.used + len / BLOCK_LEN <= GATHERED_BLOCKS_MAX
    }

    fn overlaps(&self, offset: u64, len: usize) -> bool {
        let end = offset.saturating_add(len_u64(len));
        self.places
            .range(..end)
            .next_back()
            .is_some_and(|(from, (_, count))| from + len_u64(count * BLOCK_LEN) > offset)
    }

    /// The buffer: memory that is not written to is not resident.
    fn blocks(&mut self) -> io::Result<&mut [Block]> {
        if self.blocks.is_empty() {
            self.blocks = Block::new_vec_zeroed(GATHERED_BLOCKS_MAX)
                .map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        }
        Ok(&mut self.blocks)
    }

    fn take(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (from, count) = (self.used, bytes.len() / BLOCK_LEN);
        self.blocks()?[from..from + count]
            .as_mut_bytes()
            .copy_from_slice(bytes);
        self.used += count;
        self.places.insert(offset, (from, count));
        Ok(())
    }

    /// Writes what waits: neighbours in the file as one request.
    fn write_to(&mut self, file: &fs::File) -> io::Result<()> {
        let places = std::mem::take(&mut self.places);
        self.used = 0;
        let mut run: Vec<IoSlice<'_>> = Vec::new();
        let (mut start, mut end) = (0, 0);
        for (offset, (from, count)) in places {
            if offset != end || run.len() == PIECES_MAX {
                write_run(file, start, &mut run)?;
                start = offset;
            }
            let bytes = self.blocks[from..from + count].as_bytes();
            end = offset + len_u64(bytes.len());
            run.push(IoSlice::new(bytes));
        }
        write_run(file, start, &mut run)
    }

    /// Reads past the page cache by way of the buffer, which nothing waits in.
    fn read_through(&mut self, file: &fs::File, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let blocks = self.blocks()?;
        let mut offset = offset;
        for part in out.chunks_mut(GATHERED_BLOCKS_MAX * BLOCK_LEN) {
            let bytes = blocks[..part.len() / BLOCK_LEN].as_mut_bytes();
            file.read_exact_at(bytes, offset)?;
            part.copy_from_slice(bytes);
            offset += len_u64(part.len());
        }
        Ok(())
    }
}

/// Writes the pieces one after another from `offset` on, and empties the run.
fn write_run(file: &fs::File, offset: u64, run: &mut Vec<IoSlice<'_>>) -> io::Result<()> {
    let mut left = run.as_mut_slice();
    let mut offset = offset;
    while !left.is_empty() {
        let written = match rustix::io::pwritev(file, left, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => written,
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        IoSlice::advance_slices(&mut left, written);
        offset += len_u64(written);
    }
    run.clear();
    Ok(())
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod tests {
    use super::*;
    use crate::disk::{Disk as _, FileDisk};
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Write { offset: u64, len: usize, seed: u8 },
        Read { offset: u64, len: usize },
        SetLen(u64),
        Sync,
    }

    const FILE_LEN: u64 = 1 << 20;

    fn step() -> impl Strategy<Value = Step> {
        let whole =
            (0..FILE_LEN / 4_096, 1..40usize).prop_map(|(block, blocks)| (block * 4_096, blocks * 4_096));
        let odd = (0..FILE_LEN, 1..5_000usize);
        let place = prop_oneof![3 => whole, 1 => odd];
        prop_oneof![
            4 => (place.clone(), any::<u8>()).prop_map(|((offset, len), seed)| Step::Write { offset, len, seed }),
            2 => place.prop_map(|(offset, len)| Step::Read { offset, len }),
            1 => (FILE_LEN / 2..FILE_LEN).prop_map(Step::SetLen),
            1 => Just(Step::Sync),
        ]
    }

    fn bytes(len: usize, seed: u8) -> Vec<u8> {
        (0..len)
            .map(|at| (at as u8).wrapping_mul(7).wrapping_add(seed))
            .collect()
    }

    fn contents(disk: &FileDisk) -> Vec<u8> {
        std::fs::read(disk.root().join("file")).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn it_is_a_file_like_any_other(steps in prop::collection::vec(step(), 1..60)) {
            let folder = tempfile::tempdir().unwrap();
            let disk = FileDisk::open(folder.path()).unwrap();
            let file = disk.create_streamed("file").unwrap();
            let mut model: Vec<u8> = Vec::new();
            for step in steps {
                match step {
                    Step::Write { offset, len, seed } => {
                        let (from, data) = (offset as usize, bytes(len, seed));
                        file.write_at(offset, &data).unwrap();
                        model.resize(model.len().max(from + len), 0);
                        model[from..from + len].copy_from_slice(&data);
                    }
                    Step::Read { offset, len } => {
                        let mut out = vec![0; len];
                        let want = model.get(offset as usize..offset as usize + len);
                        prop_assert_eq!(file.read_at(offset, &mut out).is_ok(), want.is_some());
                        prop_assert!(want.is_none_or(|want| want == out));
                    }
                    Step::SetLen(len) => {
                        file.set_len(len).unwrap();
                        model.resize(len as usize, 0);
                    }
                    Step::Sync => {
                        file.sync().unwrap();
                        prop_assert!(contents(&disk) == model);
                    }
                }
                prop_assert_eq!(file.len().unwrap(), model.len() as u64);
            }
            file.sync().unwrap();
            prop_assert!(contents(&disk) == model);
            drop(file);
            let mut out = vec![0; model.len()];
            disk.open_read_only_streamed("file").unwrap().read_at(0, &mut out).unwrap();
            prop_assert!(out == model);
        }
    }

    #[test]
    fn more_than_the_buffer_holds_is_written_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let disk = FileDisk::open(folder.path()).unwrap();
        let file = disk.create_streamed("file").unwrap();
        let piece = 64 << 10;
        let pieces = 2 * GATHERED_BLOCKS_MAX * BLOCK_LEN / piece + 3;
        // Every second piece first, so that neighbours come apart.
        for at in (0..pieces).step_by(2).chain((1..pieces).step_by(2)) {
            file.write_at((at * piece) as u64, &bytes(piece, at as u8))
                .unwrap();
        }
        file.sync().unwrap();
        let written = contents(&disk);
        assert_eq!(written.len(), pieces * piece);
        let is_right = |(at, part): (usize, &[u8])| part == bytes(piece, at as u8);
        assert!(written.chunks(piece).enumerate().all(is_right));
    }
}
