//! Writes every table as chunks, from which `restore` makes the same state.
//!
//! A chunk is `{part u8, zero 3, first u32}` and then records: those of one part of one table, from the
//! record with number `first` on. Keys come before accounts, whose owners they are; parts and chunks come in
//! order.
//!
//! A snapshot is taken at once, or swept: the ledger is frozen at one height and goes on, and between its
//! blocks a few records at a time are read as they were. The chunks are the same.

use super::Ledger;
use super::dense::Dense;
use selfchain_types::roots::Table;
use zerocopy::{Immutable, IntoBytes};

/// Most bytes of a chunk.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;

/// Parts of a table.
pub(super) mod part {
    /// Its records: of accounts both halves, hot before cold.
    pub(in super::super) const RECORDS: u8 = 0;
    /// Of keys: `{index u32, scheme u16, len u16, bytes}` for each that is registered.
    pub(in super::super) const PUBLIC_KEYS: u8 = 1;
}

/// Which state of a table is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// As it is.
    Now,
    /// As it was when it was frozen.
    Freeze,
}

impl Moment {
    pub(super) fn of<T: Copy>(self, table: &Dense<T>, index: u32) -> &T {
        match self {
            Self::Now => &table[index],
            Self::Freeze => table.as_frozen(index),
        }
    }
}

/// The parts of a snapshot, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Keys,
    PublicKeys,
    Accounts,
    Pendings,
    Assets,
    Sessions,
    Policies,
    Models,
    Bonds,
    Checkpoints,
    Chain,
}

impl Part {
    fn table(self) -> Table {
        match self {
            Self::Keys | Self::PublicKeys => Table::Keys,
            Self::Accounts => Table::Accounts,
            Self::Pendings => Table::Pendings,
            Self::Assets => Table::Assets,
            Self::Sessions => Table::Sessions,
            Self::Policies => Table::Policies,
            Self::Models => Table::Models,
            Self::Bonds => Table::Bonds,
            Self::Checkpoints => Table::Checkpoints,
            Self::Chain => Table::Chain,
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::PublicKeys => part::PUBLIC_KEYS,
            _ => part::RECORDS,
        }
    }

    fn next(self) -> Option<Self> {
        match self {
            Self::Keys => Some(Self::PublicKeys),
            Self::PublicKeys => Some(Self::Accounts),
            Self::Accounts => Some(Self::Pendings),
            Self::Pendings => Some(Self::Assets),
            Self::Assets => Some(Self::Sessions),
            Self::Sessions => Some(Self::Policies),
            Self::Policies => Some(Self::Models),
            Self::Models => Some(Self::Bonds),
            Self::Bonds => Some(Self::Checkpoints),
            Self::Checkpoints => Some(Self::Chain),
            Self::Chain => None,
        }
    }
}

/// How far a snapshot is, and what of the state at its height lies in no table.
#[derive(Clone, Debug)]
pub(super) struct Sweep {
    moment: Moment,
    /// Height of the state that is written: keys registered after it are not in it.
    height: u64,
    /// Records of each part that has numbers without a gap.
    lens: [u32; 5],
    /// The tables that are hashed whole, small ones; empty for one that is not there.
    policies: Vec<u8>,
    models: Vec<u8>,
    bonds: Vec<u8>,
    checkpoints: Vec<u8>,
    chain: Vec<u8>,
    /// The part under way; `None` when all is written.
    part: Option<Part>,
    /// Number of the next record of that part.
    next: u32,
    chunk: Chunk,
}

/// Records of one part, collected until they fill a chunk.
#[derive(Clone, Debug, Default)]
struct Chunk {
    /// Records of this part so far, those of earlier chunks included.
    count: u32,
    bytes: Vec<u8>,
}

impl Chunk {
    fn push(&mut self, part: Part, parts: &[&[u8]], sink: &mut dyn FnMut(Table, &[u8])) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if self.bytes.len() + len > CHUNK_BYTES_MAX {
            self.flush(part, sink);
        }
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(&[part.code(), 0, 0, 0]);
            self.bytes.extend_from_slice(&self.count.to_le_bytes());
        }
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.count += 1;
    }

    fn flush(&mut self, part: Part, sink: &mut dyn FnMut(Table, &[u8])) {
        if !self.bytes.is_empty() {
            sink(part.table(), &self.bytes);
            self.bytes.clear();
        }
    }
}

impl Sweep {
    fn new(ledger: &Ledger, moment: Moment) -> Self {
        Self {
            moment,
            height: ledger.chain.height.0,
            lens: [
                ledger.keys.records.len(),
                ledger.accounts.len(),
                ledger.pendings.slab.len(),
                ledger.assets.records.len(),
                ledger.sessions.slab.len(),
            ],
            policies: ledger.policies.bytes(),
            models: ledger.models.bytes(),
            bonds: ledger.bonds.bytes(),
            checkpoints: ledger.checkpoints.bytes(),
            chain: ledger.chain_bytes(),
            part: Some(Part::Keys),
            next: 0,
            chunk: Chunk::default(),
        }
    }

    /// Reads up to `count` records more.
    fn advance(&mut self, ledger: &Ledger, mut count: u32, sink: &mut dyn FnMut(Table, &[u8])) {
        while let Some(part) = self.part.filter(|_| count > 0) {
            let (taken, is_done) = self.take(ledger, part, count, sink);
            // An empty part counts too, so that every call ends.
            count = count.saturating_sub(taken.max(1));
            if is_done {
                self.chunk.flush(part, sink);
                self.chunk.count = 0;
                self.next = 0;
                self.part = part.next();
            }
        }
    }

    /// Reads up to `count` records of a part: how many, and whether it is at its end.
    fn take(
        &mut self,
        ledger: &Ledger,
        part: Part,
        count: u32,
        sink: &mut dyn FnMut(Table, &[u8]),
    ) -> (u32, bool) {
        let [keys, accounts, pendings, assets, sessions] = self.lens;
        match part {
            Part::Keys => self.records(part, &ledger.keys.records, keys, count, sink),
            Part::PublicKeys => self.public_keys(ledger, count, sink),
            Part::Accounts => {
                let end = accounts.min(self.next.saturating_add(count));
                for index in self.next..end {
                    let (hot, cold) = ledger.accounts.halves(index, &ledger.keys, self.moment);
                    self.chunk.push(part, &[hot.as_bytes(), cold.as_bytes()], sink);
                }
                self.reach(end, accounts)
            }
            Part::Pendings => self.records(part, ledger.pendings.slab.slots(), pendings, count, sink),
            Part::Assets => self.records(part, &ledger.assets.records, assets, count, sink),
            Part::Sessions => self.records(part, ledger.sessions.slab.slots(), sessions, count, sink),
            Part::Policies | Part::Models | Part::Bonds | Part::Checkpoints | Part::Chain => {
                let whole = match part {
                    Part::Policies => &self.policies,
                    Part::Models => &self.models,
                    Part::Bonds => &self.bonds,
                    Part::Checkpoints => &self.checkpoints,
                    _ => &self.chain,
                };
                if !whole.is_empty() {
                    self.chunk.push(part, &[whole], sink);
                }
                self.reach(1, 1)
            }
        }
    }

    fn records<T: Copy + IntoBytes + Immutable>(
        &mut self,
        part: Part,
        table: &Dense<T>,
        len: u32,
        count: u32,
        sink: &mut dyn FnMut(Table, &[u8]),
    ) -> (u32, bool) {
        let end = len.min(self.next.saturating_add(count));
        for index in self.next..end {
            let record = self.moment.of(table, index);
            self.chunk.push(part, &[record.as_bytes()], sink);
        }
        self.reach(end, len)
    }

    /// The registered keys lie in no table that is frozen: a key is registered once, so its record says
    /// whether it was by then.
    fn public_keys(
        &mut self,
        ledger: &Ledger,
        count: u32,
        sink: &mut dyn FnMut(Table, &[u8]),
    ) -> (u32, bool) {
        let mut taken = 0;
        let mut publics = ledger.keys.publics_from(self.next);
        while taken < count {
            let Some((index, public, registered)) = publics.next() else {
                return (taken, true);
            };
            taken += 1;
            self.next = index + 1;
            if registered > self.height {
                continue;
            }
            let len = u16::try_from(public.as_bytes().len()).expect("a public key is short");
            let head: [&[u8]; 3] = [
                &index.to_le_bytes(),
                &public.scheme().code().to_le_bytes(),
                &len.to_le_bytes(),
            ];
            let parts = [head[0], head[1], head[2], public.as_bytes()];
            self.chunk.push(Part::PublicKeys, &parts, sink);
        }
        (taken, false)
    }

    fn reach(&mut self, end: u32, len: u32) -> (u32, bool) {
        let taken = end - self.next;
        self.next = end;
        (taken, end == len)
    }

    /// How far a part is read.
    fn passed(&self, part: Part) -> u32 {
        match self.part {
            Some(under_way) if under_way == part => self.next,
            Some(under_way) if Self::order(under_way) < Self::order(part) => 0,
            _ => u32::MAX,
        }
    }

    fn order(part: Part) -> usize {
        core::iter::successors(Some(Part::Keys), |part| part.next())
            .take_while(|one| *one != part)
            .count()
    }
}

impl Ledger {
    /// Hands every table to `sink` in chunks of at most [`CHUNK_BYTES_MAX`]. Equal states give equal chunks.
    pub fn snapshot(&self, sink: &mut dyn FnMut(Table, &[u8])) {
        let mut sweep = Sweep::new(self, Moment::Now);
        while sweep.part.is_some() {
            sweep.advance(self, u32::MAX, sink);
        }
    }

    /// Freezes the state as it is between two blocks: [`Ledger::sweep`] hands it on little by little while
    /// blocks are executed. Records are kept as they were when they change before they are handed on: memory
    /// for those, [`Ledger::frozen_bytes`]. A sweep that is under way is given up.
    pub fn freeze(&mut self) {
        self.keys.records.freeze();
        self.accounts.freeze();
        self.pendings.slab.slots_mut().freeze();
        self.assets.records.freeze();
        self.sessions.slab.slots_mut().freeze();
        self.sweep = Some(Box::new(Sweep::new(self, Moment::Freeze)));
    }

    /// Hands about `count` records more of the frozen state to `sink`, in the chunks that
    /// [`Ledger::snapshot`] would have given at the freeze. Returns whether that was all: then the freeze
    /// has ended.
    pub fn sweep(&mut self, count: u32, sink: &mut dyn FnMut(Table, &[u8])) -> bool {
        let Some(mut sweep) = self.sweep.take() else {
            return true;
        };
        sweep.advance(self, count, sink);
        if sweep.part.is_none() {
            self.thaw();
            return true;
        }
        self.keys.records.release(sweep.passed(Part::Keys));
        self.accounts.release(sweep.passed(Part::Accounts));
        self.pendings
            .slab
            .slots_mut()
            .release(sweep.passed(Part::Pendings));
        self.assets.records.release(sweep.passed(Part::Assets));
        self.sessions
            .slab
            .slots_mut()
            .release(sweep.passed(Part::Sessions));
        self.sweep = Some(sweep);
        false
    }

    /// Whether a frozen state is not handed on in full.
    pub fn is_sweeping(&self) -> bool {
        self.sweep.is_some()
    }

    /// Bytes that a freeze takes: records kept as they were, and where they are.
    pub fn frozen_bytes(&self) -> usize {
        self.keys.records.frozen_bytes()
            + self.accounts.frozen_bytes()
            + self.pendings.slab.slots().frozen_bytes()
            + self.assets.records.frozen_bytes()
            + self.sessions.slab.slots().frozen_bytes()
    }

    /// Gives the frozen state up.
    fn thaw(&mut self) {
        self.sweep = None;
        self.keys.records.thaw();
        self.accounts.thaw();
        self.pendings.slab.slots_mut().thaw();
        self.assets.records.thaw();
        self.sessions.slab.slots_mut().thaw();
    }
}
