//! The guard against signing twice: how far a validator may have signed, kept apart from its journal.
//!
//! One small file of four slots, 512 bytes apart. A slot says the last place that was signed at, and a height up to which
//! more may be signed. The place is written before each message leaves, to the first two slots in turn and without a
//! sync: it outlives the process, not the power. The height is durable before anything at it is signed, in the last two
//! slots in turn, and goes ahead by many at once, so that it costs a sync seldom. Whatever a loss of power does to slots
//! that were not synced, one of the last two is whole. Fields are little endian:
//!
//! | bytes | field |
//! |---|---|
//! | 8 | magic `SCguard1` |
//! | 8 | how often the file was written |
//! | 32 | the chain |
//! | 8 | height of the last place |
//! | 4 | its round |
//! | 1 | what was said there, as a ballot's kind goes: 1 a proposal, 2 a prevote, 3 a precommit; 0 before the first |
//! | 3 | zero |
//! | 32 | hash of what was signed |
//! | 8 | up to where more may be signed |
//! | 16 | which start of the machine wrote it |
//! | 8 | BLAKE3 of the 120 bytes above |

use core::ops::Range;
use std::io;
use std::sync::Arc;

use selfchain_types::Hash;

use crate::disk::{Disk, File, UNPUBLISHED_SUFFIX};

/// Why the guard cannot be used. Whoever meets this must not sign.
#[derive(Debug, thiserror::Error)]
pub enum WatermarkError {
    /// An earlier write failed. Stop, restart.
    #[error("the guard against signing twice is poisoned by an earlier failed write: restart")]
    Poisoned,
    /// It is another chain's.
    #[error(
        "the guard against signing twice is of chain {of}: name another place for it, or move it away yourself"
    )]
    OtherChain {
        /// The chain that it is of.
        of: Hash,
    },
    /// No slot checks.
    #[error(
        "the guard against signing twice does not check, so what was signed is not known: bring it back, or start with another \
         key"
    )]
    Damaged,
    /// The disk failed.
    #[error("cannot {action} the guard against signing twice")]
    Io {
        /// What was tried.
        action: &'static str,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

/// A place in the order in which an honest validator signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// The height.
    pub height: u64,
    /// The round.
    pub round: u32,
    /// 1 a proposal, 2 a prevote, 3 a precommit; 0 nothing.
    pub step: u8,
}

/// What was signed last, and up to where more may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Signed {
    /// Where.
    pub place: Place,
    /// What: the hash that the signature is over.
    pub hash: Hash,
    /// More may have been signed up to this height, if the machine lost power since.
    pub through: u64,
}

impl Signed {
    /// Whichever is further on, and the higher of the bounds.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        let further = if other.place > self.place { other } else { self };
        Self {
            through: self.through.max(other.through),
            ..further
        }
    }
}

/// Bytes of a slot.
pub const WATERMARK_BYTES: usize = 128;

/// What a slot says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatermarkSlot {
    /// The chain.
    pub chain: Hash,
    /// What was signed.
    pub signed: Signed,
    count: u64,
    boot: [u8; 16],
}

impl WatermarkSlot {
    /// Reads a slot, as a file of keys brings it along.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; WATERMARK_BYTES] = bytes.try_into().ok()?;
        let (body, check) = bytes.split_at(CHECKED_LEN);
        if !body.starts_with(MAGIC) || check != check_of(body) || body[61..64] != [0; 3] {
            return None;
        }
        let number = |at: usize| body[at..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let hash = |at: usize| body[at..].first_chunk().map(|bytes| Hash(*bytes));
        Some(Self {
            count: number(8)?,
            chain: hash(16)?,
            signed: Signed {
                place: Place {
                    height: number(48)?,
                    round: u32::from_le_bytes(*body[56..].first_chunk()?),
                    step: body[60],
                },
                hash: hash(64)?,
                through: number(96)?,
            },
            boot: *body[104..].first_chunk()?,
        })
    }

    /// The bytes.
    pub fn encode(&self) -> [u8; WATERMARK_BYTES] {
        let mut bytes = [0; WATERMARK_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..16].copy_from_slice(&self.count.to_le_bytes());
        bytes[16..48].copy_from_slice(self.chain.as_bytes());
        bytes[48..56].copy_from_slice(&self.signed.place.height.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.signed.place.round.to_le_bytes());
        bytes[60] = self.signed.place.step;
        bytes[64..96].copy_from_slice(self.signed.hash.as_bytes());
        bytes[96..104].copy_from_slice(&self.signed.through.to_le_bytes());
        bytes[104..120].copy_from_slice(&self.boot);
        let check = check_of(&bytes[..CHECKED_LEN]);
        bytes[CHECKED_LEN..].copy_from_slice(&check);
        bytes
    }
}

/// The guard of one validator.
#[derive(Debug)]
pub struct Watermark {
    file: Arc<dyn File>,
    /// Kept for its lock.
    _disk: Arc<dyn Disk>,
    slot: WatermarkSlot,
    /// What was found when it was opened.
    found: Signed,
    /// Whether what was found may be older than what was written last: the machine lost its power meanwhile.
    is_doubtful: bool,
    ahead: u64,
    /// Counts syncs: the one before left the other slot of its pair.
    syncs: u64,
    poisoned: bool,
}

impl Watermark {
    /// Opens or creates the guard of a chain. `boot` tells one start of the machine from another; `ahead` is how many
    /// heights are reserved at once.
    ///
    /// # Errors
    /// [`WatermarkError`].
    pub fn open(
        disk: Arc<dyn Disk>,
        chain: Hash,
        boot: [u8; 16],
        ahead: u64,
    ) -> Result<Self, WatermarkError> {
        let file = match disk.open(WATERMARK_PATH) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            opened => Some(opened.map_err(failed("open"))?),
        };
        let newest = file.as_deref().map_or(Ok(None), newest_slot)?;
        // The durable slot that counts is not the one to be written next.
        let durable_turn = file.as_deref().map_or(Ok(0), newest_durable)?;
        let newest = match newest {
            None if file.is_some() => return Err(WatermarkError::Damaged),
            Some(slot) if slot.chain != chain => return Err(WatermarkError::OtherChain { of: slot.chain }),
            newest => newest,
        };
        let found = newest.map_or(Signed::default(), |slot| slot.signed);
        let slot = WatermarkSlot {
            chain,
            signed: found,
            count: newest.map_or(0, |slot| slot.count),
            boot,
        };
        let file = match file {
            Some(file) => file,
            None => create(&*disk, &slot)?,
        };
        let mut watermark = Self {
            file,
            _disk: disk,
            slot,
            found,
            is_doubtful: newest.is_some_and(|slot| slot.boot != boot),
            ahead: ahead.max(1),
            syncs: durable_turn.wrapping_add(1),
            poisoned: false,
        };
        // Durable before anything is signed, so that the next start knows which of the machine's this was.
        watermark.sync()?;
        Ok(watermark)
    }

    /// What was found when it was opened: what this validator signed before.
    pub fn found(&self) -> Signed {
        self.found
    }

    /// Whether the machine was started anew since what was found was written, so that more may have been signed, up to
    /// [`Signed::through`].
    pub fn is_doubtful(&self) -> bool {
        self.is_doubtful
    }

    /// What was signed last.
    pub fn signed(&self) -> Signed {
        self.slot.signed
    }

    /// Takes over what another guard of the same key says, before anything is signed.
    ///
    /// # Errors
    /// [`WatermarkError`].
    pub fn take_over(&mut self, other: &WatermarkSlot) -> Result<(), WatermarkError> {
        if other.chain != self.slot.chain {
            return Err(WatermarkError::OtherChain { of: other.chain });
        }
        self.found = self.found.max(other.signed);
        self.slot.signed = self.slot.signed.max(other.signed);
        self.sync()
    }

    /// Notes what is about to be signed or sent: returns once it outlives this process. `place` is after that of
    /// [`Self::signed`].
    ///
    /// # Errors
    /// [`WatermarkError`]: nothing may be sent.
    pub fn advance(&mut self, place: Place, hash: Hash) -> Result<(), WatermarkError> {
        self.slot.signed.place = place;
        self.slot.signed.hash = hash;
        if place.height > self.slot.signed.through {
            self.slot.signed.through = place.height.saturating_add(self.ahead);
            return self.sync();
        }
        self.write(0)
    }

    /// Makes what was noted outlive the power too.
    ///
    /// # Errors
    /// [`WatermarkError`].
    pub fn sync(&mut self) -> Result<(), WatermarkError> {
        self.write(PAIR)?;
        self.syncs += 1;
        let synced = self.file.sync().map_err(failed("sync"));
        self.fatal(synced)
    }

    /// Writes one slot of the pair that begins there.
    fn write(&mut self, pair: u64) -> Result<(), WatermarkError> {
        if self.poisoned {
            return Err(WatermarkError::Poisoned);
        }
        self.slot.count += 1;
        let turn = if pair == 0 { self.slot.count } else { self.syncs };
        let offset = (pair + turn % PAIR) * SLOT_DISTANCE;
        let written = self
            .file
            .write_at(offset, &self.slot.encode())
            .map_err(failed("write"));
        self.fatal(written)
    }

    fn fatal<T>(&mut self, result: Result<T, WatermarkError>) -> Result<T, WatermarkError> {
        self.poisoned |= result.is_err();
        result
    }
}

/// What a guard says that nobody has open; `None` where there is none.
///
/// # Errors
/// [`WatermarkError`].
pub fn read_watermark(disk: &dyn Disk) -> Result<Option<WatermarkSlot>, WatermarkError> {
    let file = match disk.open_read_only(WATERMARK_PATH) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed("open"))?,
    };
    let slot = newest_slot(&*file)?;
    slot.map(Some).ok_or(WatermarkError::Damaged)
}

/// A file with one slot, whole or not there.
fn create(disk: &dyn Disk, slot: &WatermarkSlot) -> Result<Arc<dyn File>, WatermarkError> {
    let aside = format!("{WATERMARK_PATH}{UNPUBLISHED_SUFFIX}");
    let file = disk.create(&aside).map_err(failed("create"))?;
    file.write_at(PAIR * SLOT_DISTANCE, &slot.encode())
        .map_err(failed("write"))?;
    file.set_len(2 * PAIR * SLOT_DISTANCE).map_err(failed("write"))?;
    file.sync().map_err(failed("sync"))?;
    disk.rename(&aside, WATERMARK_PATH)
        .map_err(failed("put in place"))?;
    disk.sync_dir("").map_err(failed("put in place"))?;
    Ok(file)
}

/// The slot that was written last. One that is torn gives way to the others.
fn newest_slot(file: &dyn File) -> Result<Option<WatermarkSlot>, WatermarkError> {
    Ok(newest_of(file, 0..2 * PAIR)?.map(|(_, slot)| slot))
}

/// Which of the durable slots was written last.
fn newest_durable(file: &dyn File) -> Result<u64, WatermarkError> {
    Ok(newest_of(file, PAIR..2 * PAIR)?.map_or(0, |(number, _)| number - PAIR))
}

fn newest_of(file: &dyn File, numbers: Range<u64>) -> Result<Option<(u64, WatermarkSlot)>, WatermarkError> {
    let len = file.len().map_err(failed("measure"))?;
    let mut newest: Option<(u64, WatermarkSlot)> = None;
    for number in numbers {
        let offset = number * SLOT_DISTANCE;
        let mut bytes = [0; WATERMARK_BYTES];
        if len < offset + crate::metrics::len_u64(WATERMARK_BYTES) {
            continue;
        }
        file.read_at(offset, &mut bytes).map_err(failed("read"))?;
        if let Some(slot) = WatermarkSlot::decode(&bytes)
            && newest.is_none_or(|(_, newest)| newest.count <= slot.count)
        {
            newest = Some((number, slot));
        }
    }
    Ok(newest)
}

fn check_of(bytes: &[u8]) -> [u8; 8] {
    let mut check = [0; 8];
    check.copy_from_slice(&blake3::hash(bytes).as_bytes()[..8]);
    check
}

fn failed(action: &'static str) -> impl Fn(io::Error) -> WatermarkError {
    move |source| WatermarkError::Io { action, source }
}

/// The guard's file, in its directory.
pub const WATERMARK_PATH: &str = "guard";
const MAGIC: &[u8; 8] = b"SCguard1";
const CHECKED_LEN: usize = 120;
/// Slots of each kind.
const PAIR: u64 = 2;
const SLOT_DISTANCE: u64 = 512;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::disk::MemoryDisk;

    const CHAIN: Hash = Hash([7; 32]);

    fn at(height: u64, round: u32, step: u8) -> Place {
        Place { height, round, step }
    }

    fn open(disk: &MemoryDisk, boot: u8) -> Result<Watermark, WatermarkError> {
        Watermark::open(Arc::new(disk.clone()), CHAIN, [boot; 16], 10)
    }

    #[test]
    fn it_says_what_was_signed_last_and_whether_that_may_not_be_all() {
        let disk = MemoryDisk::new();
        let mut guard = open(&disk, 1).unwrap();
        assert_eq!((guard.found(), guard.is_doubtful()), (Signed::default(), false));
        for round in 0..5 {
            guard.advance(at(3, round, 2), Hash([1; 32])).unwrap();
        }
        assert_eq!(guard.signed().through, 13);
        let again = open(&disk, 1).unwrap();
        assert_eq!(again.found().place, at(3, 4, 2));
        assert!(!again.is_doubtful());
        assert!(
            open(&disk, 2).unwrap().is_doubtful(),
            "the machine was started anew"
        );
        assert!(!open(&disk, 2).unwrap().is_doubtful());
    }

    #[test]
    fn torn_slots_give_way_to_older_ones_and_no_whole_one_is_damage() {
        let disk = MemoryDisk::new();
        let mut guard = open(&disk, 1).unwrap();
        for step in 1..4 {
            guard.advance(at(3, 0, step), Hash([step; 32])).unwrap();
        }
        let file = disk.open(WATERMARK_PATH).unwrap();
        let place = || read_watermark(&disk).unwrap().unwrap().signed.place;
        assert_eq!(place(), at(3, 0, 3));
        // As after a loss of power: of what was not synced nothing may be whole, and of the pair that is, one.
        let newest = guard.slot.count % PAIR * SLOT_DISTANCE;
        file.write_at(newest + 60, &[9]).unwrap();
        assert_eq!(place(), at(3, 0, 2));
        file.write_at((newest + SLOT_DISTANCE) % (2 * SLOT_DISTANCE) + 60, &[9])
            .unwrap();
        assert_eq!(place(), at(3, 0, 1), "what was reserved with it was synced");
        let reserved = (PAIR + (guard.syncs - 1) % PAIR) * SLOT_DISTANCE;
        file.write_at(reserved + 60, &[9]).unwrap();
        assert_eq!(place(), Place::default());
        assert_eq!(open(&disk, 1).unwrap().found(), Signed::default());
        for slot in 0..2 * PAIR {
            file.write_at(slot * SLOT_DISTANCE + 60, &[9]).unwrap();
        }
        assert!(matches!(open(&disk, 1), Err(WatermarkError::Damaged)));
        assert!(matches!(read_watermark(&disk), Err(WatermarkError::Damaged)));
    }

    #[test]
    fn the_durable_slot_that_counts_is_never_the_one_written_next() {
        let disk = MemoryDisk::new();
        for start in 1..6 {
            let mut guard = open(&disk, start).unwrap();
            for _ in 0..3 {
                let file = disk.open(WATERMARK_PATH).unwrap();
                let counts = newest_durable(&*file).unwrap();
                let next = guard.syncs % PAIR;
                assert_ne!(counts, next);
                guard.sync().unwrap();
            }
        }
    }

    #[test]
    fn every_byte_of_a_slot_counts() {
        let disk = MemoryDisk::new();
        let guard = open(&disk, 1).unwrap();
        let bytes = guard.slot.encode();
        assert_eq!(WatermarkSlot::decode(&bytes), Some(guard.slot));
        for at in 0..bytes.len() {
            let mut bad = bytes;
            bad[at] ^= 1;
            assert_eq!(WatermarkSlot::decode(&bad), None, "byte {at}");
        }
        assert_eq!(WatermarkSlot::decode(&bytes[1..]), None);
    }

    #[test]
    fn it_is_of_one_chain_and_takes_over_what_another_one_says() {
        let (disk, other) = (MemoryDisk::new(), MemoryDisk::new());
        let mut guard = open(&disk, 1).unwrap();
        guard.advance(at(30, 1, 3), Hash([3; 32])).unwrap();
        let slot = read_watermark(&disk).unwrap().unwrap();
        let mut fresh = open(&other, 1).unwrap();
        fresh
            .take_over(&WatermarkSlot::decode(&slot.encode()).unwrap())
            .unwrap();
        assert_eq!(fresh.found(), guard.signed());
        assert_eq!(open(&other, 1).unwrap().found(), guard.signed());
        let elsewhere = Watermark::open(Arc::new(disk.clone()), Hash([8; 32]), [1; 16], 10);
        assert!(matches!(elsewhere, Err(WatermarkError::OtherChain { of: CHAIN })));
        assert_eq!(read_watermark(&MemoryDisk::new()).unwrap(), None);
    }
}
