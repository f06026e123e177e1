//! A run: an immutable file of sorted records for a range of heights, and how it is read.
//!
//! Layout: data blocks of 16 KiB (transactions, then history), each with the first 8 bytes of its BLAKE3
//! before whole records and zeros after them; the two filters; the first key of every block; the footer.
//! A transaction's record is its key (28 bytes), a history record its key and 64 bytes of value.

use std::io;
use std::sync::Arc;

use super::entry::{IndexError, KEY_LEN, Key, VALUE_LEN, prefix};
use super::filter::{LINE_LEN, line_of, may_hold};
use crate::disk::{Disk, File};
use crate::metrics::len_u64;

/// Where the index keeps its files.
pub(super) const INDEX_DIR: &str = "index";
pub(super) const BLOCK_LEN: usize = 16 << 10;
pub(super) const CHECK_LEN: usize = 8;
pub(super) const FOOTER_LEN: usize = 128;
/// Keys of one section kept in memory to find a block; with more blocks only every nth is kept.
const FENCES_MAX: usize = 2_048;
const FOOTER_MAGIC: &[u8; 8] = b"SCidx v1";

/// The two kinds of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Tx,
    History,
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::Tx, Self::History];

    pub fn record_len(self) -> usize {
        match self {
            Kind::Tx => KEY_LEN,
            Kind::History => KEY_LEN + VALUE_LEN,
        }
    }

    pub fn records_per_block(self) -> usize {
        (BLOCK_LEN - CHECK_LEN) / self.record_len()
    }
}

/// Where the records of one kind are in a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Extent {
    pub records: u64,
    /// Offset of the first block, in bytes.
    pub blocks_at: u64,
    pub filter_at: u64,
    pub filter_lines: u64,
    pub fences_at: u64,
}

/// The end of a run's file, which says where everything is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Footer {
    pub first: u64,
    pub last: u64,
    pub extents: [Extent; 2],
    /// First 8 bytes of the BLAKE3 of all fences.
    pub fences_check: u64,
}

impl Footer {
    /// Little endian: magic, first, last, five numbers a kind, the fences' check, then the check of these.
    pub fn encode(&self) -> [u8; FOOTER_LEN] {
        let mut bytes = Vec::with_capacity(FOOTER_LEN);
        bytes.extend_from_slice(FOOTER_MAGIC);
        let extents = self.extents.iter().flat_map(|extent| {
            [
                extent.records,
                extent.blocks_at,
                extent.filter_at,
                extent.filter_lines,
                extent.fences_at,
            ]
        });
        for number in [self.first, self.last]
            .into_iter()
            .chain(extents)
            .chain([self.fences_check])
        {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.resize(FOOTER_LEN - CHECK_LEN, 0);
        let check = check(&bytes);
        bytes.extend_from_slice(&check);
        let mut footer = [0; FOOTER_LEN];
        footer.copy_from_slice(&bytes);
        footer
    }

    fn decode(bytes: &[u8; FOOTER_LEN]) -> Option<Self> {
        let number = |at: usize| {
            bytes[8 + 8 * at..]
                .first_chunk()
                .map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        let extent = |at: usize| Extent {
            records: number(at),
            blocks_at: number(at + 1),
            filter_at: number(at + 2),
            filter_lines: number(at + 3),
            fences_at: number(at + 4),
        };
        let footer = Self {
            first: number(0),
            last: number(1),
            extents: [extent(2), extent(7)],
            fences_check: number(12),
        };
        (footer.encode() == *bytes).then_some(footer)
    }
}

/// A run open for reading. Readers that still hold it go on after its file was removed.
#[derive(Debug)]
pub(super) struct Run {
    pub first: u64,
    pub last: u64,
    pub bytes: u64,
    pub path: String,
    file: Arc<dyn File>,
    sections: [Section; 2],
}

#[derive(Debug)]
struct Section {
    extent: Extent,
    blocks: u64,
    /// First keys of every `fence_step`th block.
    fences: Vec<Key>,
    fence_step: u64,
}

impl Run {
    /// Opens a run and verifies its footer and fences; blocks are verified whenever they are read.
    pub fn open(disk: &dyn Disk, path: &str) -> Result<Self, IndexError> {
        let failed = |source| io_error("open", path, source);
        let file = disk.open_read_only(path).map_err(failed)?;
        let bytes = file.len().map_err(failed)?;
        let corrupt = |offset| IndexError::Corrupt {
            path: path.to_owned(),
            offset,
        };
        let footer_at = bytes.checked_sub(len_u64(FOOTER_LEN)).ok_or_else(|| corrupt(0))?;
        let mut footer = [0; FOOTER_LEN];
        file.read_at(footer_at, &mut footer).map_err(failed)?;
        let footer = Footer::decode(&footer).ok_or_else(|| corrupt(footer_at))?;

        let fences_at = footer.extents[0].fences_at;
        let mut hasher = blake3::Hasher::new();
        let [tx, history] = Kind::ALL.map(|kind| {
            let extent = footer.extents[usize::from(kind == Kind::History)];
            load_section(&*file, kind, extent, &mut hasher)
        });
        let sections = [tx.map_err(failed)?, history.map_err(failed)?];
        if check_of(&hasher) != footer.fences_check.to_le_bytes() {
            return Err(corrupt(fences_at));
        }
        Ok(Self {
            first: footer.first,
            last: footer.last,
            bytes,
            path: path.to_owned(),
            file,
            sections,
        })
    }

    pub fn records(&self, kind: Kind) -> u64 {
        self.section(kind).extent.records
    }

    /// Whether it may hold records of this prefix.
    pub fn may_hold(&self, kind: Kind, prefix: &[u8; 16]) -> Result<bool, IndexError> {
        let extent = &self.section(kind).extent;
        if extent.records == 0 {
            return Ok(false);
        }
        let number = line_of(prefix, extent.filter_lines);
        let offset = extent.filter_at + number * len_u64(LINE_LEN);
        let mut line = [0; LINE_LEN];
        self.file
            .read_at(offset, &mut line)
            .map_err(|source| io_error("read", &self.path, source))?;
        may_hold(prefix, number, &line).ok_or_else(|| self.corrupt(offset))
    }

    /// The records from the first whose key is at least `from`.
    pub fn seek(self: &Arc<Self>, kind: Kind, from: &Key) -> Result<Cursor, IndexError> {
        let mut cursor = self.seek_last(kind, from)?;
        cursor.skip_below(from);
        if cursor.record().is_none() {
            cursor.load(cursor.block + 1)?;
        }
        Ok(cursor)
    }

    /// All records of a kind.
    pub fn scan(self: &Arc<Self>, kind: Kind) -> Result<Cursor, IndexError> {
        let mut cursor = Cursor::new(Arc::clone(self), kind);
        cursor.load(0)?;
        Ok(cursor)
    }

    /// The last record whose key is at most `to` and has its prefix.
    pub fn last_at_most(self: &Arc<Self>, kind: Kind, to: &Key) -> Result<Option<Vec<u8>>, IndexError> {
        let mut from = *to;
        from[16..].fill(0);
        let mut cursor = self.seek_last(kind, to)?;
        let found = cursor
            .last_at_most(to)
            .filter(|record| record[..KEY_LEN] >= from[..]);
        Ok(found
            .filter(|record| prefix(record) == prefix(to))
            .map(<[u8]>::to_vec))
    }

    /// A cursor on the last block whose first key is at most `to`.
    fn seek_last(self: &Arc<Self>, kind: Kind, to: &Key) -> Result<Cursor, IndexError> {
        let mut cursor = Cursor::new(Arc::clone(self), kind);
        let section = self.section(kind);
        // Only every nth block has a fence in memory: search the ones between by reading them.
        let fence = section
            .fences
            .partition_point(|fence| fence <= to)
            .saturating_sub(1);
        let mut low = len_u64(fence) * section.fence_step;
        let mut high = (low + section.fence_step).min(section.blocks);
        while low + 1 < high {
            let middle = low + (high - low) / 2;
            cursor.load(middle)?;
            match cursor.record() {
                Some(record) if record[..KEY_LEN] <= to[..] => low = middle,
                _ => high = middle,
            }
        }
        cursor.load(low)?;
        Ok(cursor)
    }

    fn section(&self, kind: Kind) -> &Section {
        match kind {
            Kind::Tx => &self.sections[0],
            Kind::History => &self.sections[1],
        }
    }

    fn corrupt(&self, offset: u64) -> IndexError {
        IndexError::Corrupt {
            path: self.path.clone(),
            offset,
        }
    }
}

/// A place in the records of one kind of a run.
#[derive(Debug)]
pub(super) struct Cursor {
    run: Arc<Run>,
    kind: Kind,
    block: u64,
    content: Vec<u8>,
    at: usize,
    records: usize,
}

impl Cursor {
    fn new(run: Arc<Run>, kind: Kind) -> Self {
        Self {
            run,
            kind,
            block: 0,
            content: Vec::new(),
            at: 0,
            records: 0,
        }
    }

    /// The record here, `None` at the end.
    pub fn record(&self) -> Option<&[u8]> {
        (self.at < self.records).then(|| self.record_at(self.at))
    }

    pub fn advance(&mut self) -> Result<(), IndexError> {
        self.at += 1;
        if self.at == self.records {
            self.load(self.block + 1)
        } else {
            Ok(())
        }
    }

    fn record_at(&self, at: usize) -> &[u8] {
        let len = self.kind.record_len();
        &self.content[CHECK_LEN + at * len..][..len]
    }

    fn skip_below(&mut self, from: &Key) {
        while self.record().is_some_and(|record| record[..KEY_LEN] < from[..]) {
            self.at += 1;
        }
    }

    fn last_at_most(&mut self, to: &Key) -> Option<&[u8]> {
        let found = (0..self.records)
            .rev()
            .find(|at| self.record_at(*at)[..KEY_LEN] <= to[..]);
        found.map(|at| self.record_at(at))
    }

    /// Reads and verifies a block; past the last one the cursor is at the end.
    fn load(&mut self, block: u64) -> Result<(), IndexError> {
        let section = self.run.section(self.kind);
        (self.block, self.at, self.records) = (block, 0, 0);
        if block >= section.blocks {
            return Ok(());
        }
        let offset = section.extent.blocks_at + block * len_u64(BLOCK_LEN);
        self.content.resize(BLOCK_LEN, 0);
        let file = &self.run.file;
        file.read_at(offset, &mut self.content)
            .map_err(|source| io_error("read", &self.run.path, source))?;
        if check(&self.content[CHECK_LEN..]) != self.content[..CHECK_LEN] {
            return Err(self.run.corrupt(offset));
        }
        let before = block * len_u64(self.kind.records_per_block());
        let left = usize::try_from(section.extent.records - before).unwrap_or(usize::MAX);
        self.records = left.min(self.kind.records_per_block());
        Ok(())
    }
}

fn load_section(
    file: &dyn File,
    kind: Kind,
    extent: Extent,
    hasher: &mut blake3::Hasher,
) -> io::Result<Section> {
    let blocks = extent.records.div_ceil(len_u64(kind.records_per_block()));
    let fence_step = blocks.div_ceil(len_u64(FENCES_MAX)).max(1);
    let mut fences = Vec::new();
    let mut part = vec![0; FENCES_PER_READ * KEY_LEN];
    let mut block = 0;
    while block < blocks {
        let count = usize::try_from(blocks - block)
            .unwrap_or(usize::MAX)
            .min(FENCES_PER_READ);
        let bytes = &mut part[..count * KEY_LEN];
        file.read_at(extent.fences_at + block * len_u64(KEY_LEN), bytes)?;
        hasher.update(bytes);
        for (number, fence) in (block..).zip(bytes.chunks_exact(KEY_LEN)) {
            if number % fence_step == 0 {
                fences.extend(fence.first_chunk::<KEY_LEN>());
            }
        }
        block += len_u64(count);
    }
    Ok(Section {
        extent,
        blocks,
        fences,
        fence_step,
    })
}

/// Path of the run of these heights.
pub(super) fn run_path(first: u64, last: u64) -> String {
    format!("{INDEX_DIR}/{first:020}-{last:020}.run")
}

/// The heights that a run's name says.
pub(super) fn run_heights(name: &str) -> Option<(u64, u64)> {
    let (first, last) = name.strip_suffix(".run")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}

pub(super) fn io_error(action: &str, path: &str, source: io::Error) -> IndexError {
    if source.kind() == io::ErrorKind::UnexpectedEof {
        return IndexError::Corrupt {
            path: path.to_owned(),
            offset: 0,
        };
    }
    IndexError::Io {
        action: format!("{action} {path}"),
        source,
    }
}

pub(super) fn check(bytes: &[u8]) -> [u8; CHECK_LEN] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(bytes);
    check_of(&hasher)
}

pub(super) fn check_of(hasher: &blake3::Hasher) -> [u8; CHECK_LEN] {
    let mut check = [0; CHECK_LEN];
    check.copy_from_slice(&hasher.finalize().as_bytes()[..CHECK_LEN]);
    check
}

const FENCES_PER_READ: usize = 1_024;
