//! A disk that fails on purpose, from a seed: power cuts, torn and lost writes, bit flips, failed syncs.
//!
//! It keeps, for every file and for the names, what the process sees apart from what would survive a power
//! cut. The step from one to the other is as hostile as POSIX allows: of the writes since the last sync of
//! a file each may be kept, lost, or torn at a 512-byte sector, independently; of the creations, renames
//! and removals since the last sync of their directory likewise each.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use super::memory::{names_in, not_found, read_from, write_into};
use super::{Disk, File, parent};
use crate::guard::lock;

/// Which operation misbehaves. Operations that change something (create, write, set length, sync, rename,
/// remove, directory sync) are numbered from 0 in the order they happen; see [`FaultyDisk::ops`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// Power fails in this operation: it and every later one, reads too, are errors until
    /// [`FaultyDisk::restart`].
    pub crash_at: Option<u64>,
    /// If this operation is a sync it fails once, and what it should have written never will be (as
    /// Linux does: the pages are marked clean). Other operations fail without effect.
    pub fail_at: Option<u64>,
    /// If this operation is a write it reports success and does nothing, now and after every sync.
    pub lose_at: Option<u64>,
    /// The disk holds this many bytes; a write past it fails with `StorageFull`.
    pub capacity_bytes: Option<u64>,
}

/// The disk. Clones share it.
#[derive(Debug, Clone)]
pub struct FaultyDisk {
    state: Arc<Mutex<State>>,
}

impl FaultyDisk {
    /// An empty disk that behaves until told otherwise.
    pub fn new(seed: u64) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                random: Random(seed),
                ..State::default()
            })),
        }
    }

    /// Replaces the plan. Operation numbers go on counting.
    pub fn set_faults(&self, faults: Faults) {
        lock(&self.state).faults = faults;
    }

    /// Operations so far.
    pub fn ops(&self) -> u64 {
        lock(&self.state).ops
    }

    /// Whether the power has failed.
    pub fn crashed(&self) -> bool {
        lock(&self.state).crashed
    }

    /// The disk after a power cut now (if it has not happened yet) and a restart: another disk, which
    /// behaves, with what survived. Handles of this one are dead.
    pub fn restart(&self) -> Self {
        let mut state = lock(&self.state);
        state.crashed = true;
        let survived = state.survive();
        Self {
            state: Arc::new(Mutex::new(survived)),
        }
    }

    /// Another disk with the same content, now and after a power cut, which then goes its own way.
    pub fn duplicate(&self) -> Self {
        Self {
            state: Arc::new(Mutex::new(lock(&self.state).clone())),
        }
    }

    /// Flips one bit of a byte, as ageing media do: on the disk and in what is read.
    pub fn flip_bit(&self, path: &str, offset: u64, bit: u8) -> io::Result<()> {
        let mut state = lock(&self.state);
        let id = *state.live.get(path).ok_or_else(|| not_found(path))?;
        let file = state.file(id)?;
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        for content in [&mut file.live, &mut file.durable] {
            if let Some(byte) = content.get_mut(at) {
                *byte ^= 1 << (bit & 7);
            }
        }
        Ok(())
    }

    /// Length of a file in bytes, without counting an operation.
    pub fn file_len(&self, path: &str) -> io::Result<u64> {
        let mut state = lock(&self.state);
        let id = *state.live.get(path).ok_or_else(|| not_found(path))?;
        u64::try_from(state.file(id)?.live.len()).map_err(io::Error::other)
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let mut state = lock(&self.state);
        state.begin(Doing::Other)?;
        let id = state.next_id;
        state.next_id += 1;
        state.files.insert(id, Content::default());
        state.name(Naming {
            from: None,
            to: Some(path.to_owned()),
            id,
        });
        Ok(self.handle(id, false))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let state = lock(&self.state);
        state.alive()?;
        let id = *state.live.get(path).ok_or_else(|| not_found(path))?;
        Ok(self.handle(id, false))
    }

    fn open_read_only(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let state = lock(&self.state);
        state.alive()?;
        let id = *state.live.get(path).ok_or_else(|| not_found(path))?;
        Ok(self.handle(id, true))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let state = lock(&self.state);
        state.alive()?;
        Ok(names_in(dir, state.live.keys()))
    }

    fn create_dir(&self, _dir: &str) -> io::Result<()> {
        lock(&self.state).begin(Doing::Other)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.begin(Doing::Other)?;
        let id = *state.live.get(from).ok_or_else(|| not_found(from))?;
        state.name(Naming {
            from: Some(from.to_owned()),
            to: Some(to.to_owned()),
            id,
        });
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.begin(Doing::Other)?;
        let id = *state.live.get(path).ok_or_else(|| not_found(path))?;
        state.name(Naming {
            from: Some(path.to_owned()),
            to: None,
            id,
        });
        Ok(())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.begin(Doing::Other)?;
        let (synced, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut state.namings)
            .into_iter()
            .partition(|naming| naming.touches(dir));
        state.namings = waiting;
        for naming in synced {
            naming.apply(&mut state.durable);
        }
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = lock(&self.state);
        state.alive()?;
        Ok(state
            .faults
            .capacity_bytes
            .map_or(u64::MAX, |capacity| capacity.saturating_sub(state.used_bytes())))
    }
}

impl FaultyDisk {
    fn handle(&self, id: u64, read_only: bool) -> Arc<dyn File> {
        Arc::new(FaultyFile {
            state: Arc::clone(&self.state),
            id,
            read_only,
        })
    }
}

#[derive(Debug)]
struct FaultyFile {
    state: Arc<Mutex<State>>,
    id: u64,
    read_only: bool,
}

impl FaultyFile {
    fn change(&self, change: Change) -> io::Result<()> {
        if self.read_only {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut state = lock(&self.state);
        let doing = if matches!(change, Change::Write { .. }) {
            Doing::Write
        } else {
            Doing::Other
        };
        if let Some(capacity) = state.faults.capacity_bytes
            && state
                .used_bytes()
                .saturating_add(state.file(self.id)?.growth(&change))
                > capacity
        {
            state.alive()?;
            state.ops += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let begun = state.begin(doing);
        let crashed_now = state.crashed && state.faults.crash_at.is_some_and(|at| at + 1 == state.ops);
        if begun.is_err() && !crashed_now {
            return begun;
        }
        let lost = state.faults.lose_at.is_some_and(|at| at + 1 == state.ops) && doing == Doing::Write;
        if !lost {
            // A write that the power cut interrupts may still reach the disk, whole or torn.
            let file = state.file(self.id)?;
            if begun.is_ok() {
                change.apply(&mut file.live)?;
            }
            file.pending.push(change);
        }
        begun
    }
}

impl File for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        let mut state = lock(&self.state);
        state.alive()?;
        u64::try_from(state.file(self.id)?.live.len()).map_err(io::Error::other)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.alive()?;
        read_from(&state.file(self.id)?.live, offset, out)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(Change::Write {
            offset,
            bytes: bytes.to_vec(),
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::SetLen(len))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = lock(&self.state);
        let begun = state.begin(Doing::Other);
        let crashed = state.crashed;
        let file = state.file(self.id)?;
        match begun {
            Ok(()) => {
                for change in std::mem::take(&mut file.pending) {
                    change.apply(&mut file.durable)?;
                }
                Ok(())
            }
            Err(error) => {
                if !crashed {
                    file.pending.clear();
                }
                Err(error)
            }
        }
    }
}

#[derive(Debug, Clone, Default)]
struct State {
    faults: Faults,
    random: Random,
    ops: u64,
    crashed: bool,
    next_id: u64,
    files: BTreeMap<u64, Content>,
    live: BTreeMap<String, u64>,
    durable: BTreeMap<String, u64>,
    namings: Vec<Naming>,
}

impl State {
    fn alive(&self) -> io::Result<()> {
        if self.crashed {
            Err(io::Error::other("the power has failed"))
        } else {
            Ok(())
        }
    }

    /// Counts an operation and says whether it may go on.
    fn begin(&mut self, doing: Doing) -> io::Result<()> {
        self.alive()?;
        let number = self.ops;
        self.ops += 1;
        if self.faults.crash_at == Some(number) {
            self.crashed = true;
            return self.alive();
        }
        if self.faults.fail_at == Some(number) {
            let kind = if doing == Doing::Write {
                "write"
            } else {
                "operation"
            };
            return Err(io::Error::other(format!("injected failure of {kind} {number}")));
        }
        Ok(())
    }

    fn file(&mut self, id: u64) -> io::Result<&mut Content> {
        self.files
            .get_mut(&id)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn name(&mut self, naming: Naming) {
        naming.apply(&mut self.live);
        self.namings.push(naming);
    }

    fn used_bytes(&self) -> u64 {
        let lens = self
            .live
            .values()
            .filter_map(|id| self.files.get(id))
            .map(|file| file.live.len());
        lens.map(|len| u64::try_from(len).unwrap_or(u64::MAX))
            .fold(0, u64::saturating_add)
    }

    fn survive(&mut self) -> State {
        let chance = self.random.below(4);
        let mut durable = std::mem::take(&mut self.durable);
        for naming in std::mem::take(&mut self.namings) {
            if self.random.keeps(chance) {
                naming.apply(&mut durable);
            }
        }
        let mut files = BTreeMap::new();
        for (path, id) in &durable {
            let Some(file) = self.files.get_mut(id) else {
                continue;
            };
            let mut content = std::mem::take(&mut file.durable);
            for change in std::mem::take(&mut file.pending) {
                let change = if self.random.keeps(chance) {
                    Some(change)
                } else {
                    change.tear(&mut self.random)
                };
                if let Some(change) = change {
                    change
                        .apply(&mut content)
                        .unwrap_or_else(|error| panic!("{path}: {error}"));
                }
            }
            files.insert(
                *id,
                Content {
                    live: content.clone(),
                    durable: content,
                    pending: Vec::new(),
                },
            );
        }
        State {
            random: Random(self.random.next()),
            next_id: self.next_id,
            files,
            live: durable.clone(),
            durable,
            ..State::default()
        }
    }
}

/// One file: what is seen, what survives, and the changes between the two.
#[derive(Debug, Clone, Default)]
struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

impl Content {
    fn growth(&self, change: &Change) -> u64 {
        let end = match change {
            Change::Write { offset, bytes } => {
                offset.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
            }
            Change::SetLen(len) => *len,
        };
        end.saturating_sub(u64::try_from(self.live.len()).unwrap_or(u64::MAX))
    }
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    SetLen(u64),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Change::Write { offset, bytes } => write_into(content, *offset, bytes),
            Change::SetLen(len) => {
                content.resize(usize::try_from(*len).map_err(io::Error::other)?, 0);
                Ok(())
            }
        }
    }

    /// What is left of a change that was not kept: nothing, or some whole sectors of a long write.
    fn tear(self, random: &mut Random) -> Option<Change> {
        match self {
            Change::Write { offset, mut bytes } if bytes.len() > SECTOR_LEN && random.below(2) == 0 => {
                let sectors = u64::try_from(bytes.len() / SECTOR_LEN).unwrap_or(1);
                let kept = usize::try_from(random.below(sectors + 1)).unwrap_or(0) * SECTOR_LEN;
                if random.below(2) == 0 {
                    bytes.truncate(kept);
                    return Some(Change::Write { offset, bytes });
                }
                let bytes = bytes.split_off(kept);
                Some(Change::Write {
                    offset: offset + u64::try_from(kept).unwrap_or(0),
                    bytes,
                })
            }
            Change::Write { .. } | Change::SetLen(_) => None,
        }
    }
}

/// One change of names: created (`to` only), removed (`from` only), or renamed.
#[derive(Debug, Clone)]
struct Naming {
    from: Option<String>,
    to: Option<String>,
    id: u64,
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        // Only this file's name goes: an earlier lost rename may have left another file under it.
        if let Some(from) = &self.from
            && names.get(from) == Some(&self.id)
        {
            names.remove(from);
        }
        if let Some(to) = &self.to {
            names.insert(to.clone(), self.id);
        }
    }

    fn touches(&self, dir: &str) -> bool {
        [&self.from, &self.to]
            .into_iter()
            .flatten()
            .any(|path| parent(path) == dir)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Write,
    Other,
}

/// SplitMix64: small, seeded, good enough to choose what breaks.
#[derive(Debug, Clone, Default)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// 0: nothing unsynced survives; 3: all of it does; between: each by a throw.
    fn keeps(&mut self, chance: u64) -> bool {
        match chance {
            0 => false,
            3 => true,
            _ => self.below(2) == 0,
        }
    }
}

const SECTOR_LEN: usize = 512;

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod tests {
    use super::*;

    fn content(disk: &FaultyDisk, path: &str) -> Option<Vec<u8>> {
        let file = disk.open(path).ok()?;
        let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
        file.read_at(0, &mut bytes).unwrap();
        Some(bytes)
    }

    #[test]
    fn what_was_synced_survives_and_the_rest_may_not() {
        let (mut kept, mut lost, mut torn) = (0, 0, 0);
        for seed in 0..200 {
            let disk = FaultyDisk::new(seed);
            let file = disk.create("a").unwrap();
            file.write_at(0, b"first").unwrap();
            file.sync().unwrap();
            disk.sync_dir("").unwrap();
            file.write_at(5, &[7; 2048]).unwrap();
            let bytes = content(&disk.restart(), "a").unwrap();
            assert_eq!(&bytes[..5], b"first", "seed {seed}");
            assert!(file.sync().is_err(), "a dead handle");
            match bytes.iter().filter(|byte| **byte == 7).count() {
                0 => lost += 1,
                2048 => kept += 1,
                _ => torn += 1,
            }
        }
        assert!(
            kept > 10 && lost > 10 && torn > 10,
            "{kept} kept, {lost} lost, {torn} torn"
        );
    }

    #[test]
    fn a_name_needs_its_directory_synced() {
        let names = |sync: bool| {
            let mut found = 0;
            for seed in 0..50 {
                let disk = FaultyDisk::new(seed);
                disk.create("d/a").unwrap().sync().unwrap();
                if sync {
                    disk.sync_dir("d").unwrap();
                }
                found += disk.restart().list("d").unwrap().len();
            }
            found
        };
        assert_eq!(names(true), 50);
        assert!((5..45).contains(&names(false)));
    }

    #[test]
    fn a_failed_sync_loses_what_it_covered_for_good() {
        let disk = FaultyDisk::new(1);
        let file = disk.create("a").unwrap();
        disk.sync_dir("").unwrap();
        file.write_at(0, b"x").unwrap();
        disk.set_faults(Faults {
            fail_at: Some(disk.ops()),
            ..Faults::default()
        });
        assert!(file.sync().is_err());
        file.sync().unwrap();
        assert_eq!(content(&disk, "a").unwrap(), b"x");
        assert_eq!(content(&disk.restart(), "a").unwrap(), b"");
    }

    #[test]
    fn a_full_disk_says_so_and_keeps_what_it_had() {
        let disk = FaultyDisk::new(1);
        let file = disk.create("a").unwrap();
        disk.set_faults(Faults {
            capacity_bytes: Some(8),
            ..Faults::default()
        });
        file.write_at(0, b"12345").unwrap();
        assert_eq!(disk.free_bytes().unwrap(), 3);
        assert_eq!(
            file.write_at(5, b"6789").unwrap_err().kind(),
            io::ErrorKind::StorageFull
        );
        assert_eq!(content(&disk, "a").unwrap(), b"12345");
    }
}
