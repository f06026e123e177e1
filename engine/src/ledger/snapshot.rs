//! Writes every table as chunks, from which `restore` makes the same state.
//!
//! A chunk is `{part u8, zero 3, first u32}` and then records: those of one part of one table, from the
//! record with number `first` on. Keys come before accounts, whose owners they are; parts and chunks come in
//! order.

use super::Ledger;
use selfchain_types::roots::Table;
use zerocopy::IntoBytes;

/// Most bytes of a chunk.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;

/// Parts of a table.
pub(super) mod part {
    /// Its records: of accounts both halves, hot before cold.
    pub(in super::super) const RECORDS: u8 = 0;
    /// Of keys: `{index u32, scheme u16, len u16, bytes}` for each that is registered.
    pub(in super::super) const PUBLIC_KEYS: u8 = 1;
}

/// Collects records of one part and hands them on in chunks.
struct Chunks<'a> {
    table: Table,
    part: u8,
    first: u32,
    count: u32,
    bytes: Vec<u8>,
    sink: &'a mut dyn FnMut(Table, &[u8]),
}

impl<'a> Chunks<'a> {
    fn new(table: Table, part: u8, sink: &'a mut dyn FnMut(Table, &[u8])) -> Self {
        Self {
            table,
            part,
            first: 0,
            count: 0,
            bytes: Vec::new(),
            sink,
        }
    }

    fn push(&mut self, parts: &[&[u8]]) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if self.bytes.len() + len > CHUNK_BYTES_MAX {
            self.flush();
        }
        if self.bytes.is_empty() {
            self.first = self.count;
            self.bytes.extend_from_slice(&[self.part, 0, 0, 0]);
            self.bytes.extend_from_slice(&self.first.to_le_bytes());
        }
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.count += 1;
    }

    fn flush(&mut self) {
        if !self.bytes.is_empty() {
            (self.sink)(self.table, &self.bytes);
            self.bytes.clear();
        }
    }
}

impl Ledger {
    /// Hands every table to `sink` in chunks of at most [`CHUNK_BYTES_MAX`]. Equal states give equal chunks.
    pub fn snapshot(&self, sink: &mut dyn FnMut(Table, &[u8])) {
        records(Table::Keys, self.keys.records.iter(), sink);
        let mut chunks = Chunks::new(Table::Keys, part::PUBLIC_KEYS, sink);
        for (index, public) in self.keys.publics() {
            let len = u16::try_from(public.as_bytes().len()).expect("a public key is short");
            chunks.push(&[
                &index.to_le_bytes(),
                &public.scheme().code().to_le_bytes(),
                &len.to_le_bytes(),
                public.as_bytes(),
            ]);
        }
        chunks.flush();
        let mut chunks = Chunks::new(Table::Accounts, part::RECORDS, sink);
        for (index, hot) in (0..).zip(self.accounts.iter()) {
            let cold = self.accounts.cold(index, &self.keys);
            chunks.push(&[hot.as_bytes(), cold.as_bytes()]);
        }
        chunks.flush();
        records(Table::Pendings, self.pendings.slab.iter(), sink);
        records(Table::Assets, self.assets.records.iter(), sink);
        records(Table::Sessions, self.sessions.slab.iter(), sink);
        let mut chunks = Chunks::new(Table::Chain, part::RECORDS, sink);
        chunks.push(&[&self.chain_bytes()]);
        chunks.flush();
    }
}

fn records<'a, T: IntoBytes + zerocopy::Immutable + 'a>(
    table: Table,
    records: impl Iterator<Item = &'a T>,
    sink: &mut dyn FnMut(Table, &[u8]),
) {
    let mut chunks = Chunks::new(table, part::RECORDS, sink);
    for record in records {
        chunks.push(&[record.as_bytes()]);
    }
    chunks.flush();
}
