//! The table of pendings: amounts that are reserved, in slots, found by id and by deadline.

use super::index::Index;
use super::leaves::Leaves;
use super::slab::{Placed, Slab, Slot};
use alloc::collections::BTreeMap;
use selfchain_types::{Hash, hash};
use zerocopy::little_endian::{U32, U64, U128};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// An open pending transfer: 80 bytes, the leaf of its root. In a free slot everything but `chain_next` is
/// zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct PendingRecord {
    /// The id of the operation that made it; zero in a free slot.
    pub id: U128,
    /// Units that are reserved.
    pub amount: U128,
    /// Ledger time in ns from which it is over; 0 = never.
    pub deadline_ns: U64,
    /// Height of the block that made it.
    pub opened: U64,
    /// Dense index of the account to debit.
    pub debit: U32,
    /// Dense index of the account to credit.
    pub credit: U32,
    /// What the amount counts.
    pub asset: U32,
    /// Slot + 1 of the open member before it in its linked chain; 0 = none.
    pub chain_previous: U32,
    /// Slot + 1 of the open member after it; 0 = none. In a free slot: slot + 1 of the one freed before it.
    pub chain_next: U32,
    /// Members that its linked chain had, itself included; 1 if it was made alone.
    pub chain_len: U32,
    /// 0, or held for review: 1 a plain transfer, 2 a transfer that was pending by itself.
    pub hold: u8,
    /// The score of what is held.
    pub score: u8,
    /// The features that raised it most.
    pub reasons: [u8; 3],
    /// Zero.
    pub reserved: [u8; 3],
}

/// What `hold` says of a plain transfer.
pub(super) const HOLD_OF_PLAIN: u8 = 1;
/// What `hold` says of a transfer that was pending by itself.
pub(super) const HOLD_OF_PENDING: u8 = 2;

const _: () = assert!(size_of::<PendingRecord>() == 80);

impl Slot for PendingRecord {
    fn vacant(next: u32) -> Self {
        let mut vacant = Self::new_zeroed();
        vacant.chain_next = next.into();
        vacant
    }

    fn next_vacant(&self) -> Option<u32> {
        (self.id.get() == 0).then(|| self.chain_next.get())
    }
}

impl PendingRecord {
    /// Whether its time is over.
    pub(super) fn is_over(&self, now: u64) -> bool {
        let deadline = self.deadline_ns.get();
        deadline != 0 && deadline <= now
    }
}

/// Every open pending transfer.
#[derive(Clone, Debug)]
pub(super) struct Pendings {
    pub(super) slab: Slab<PendingRecord>,
    ids: Index,
    deadlines: BTreeMap<(u64, u128), u32>,
    leaves: Leaves,
}

impl Pendings {
    pub(super) fn new() -> Self {
        Self {
            slab: Slab::default(),
            ids: Index::new(),
            deadlines: BTreeMap::new(),
            leaves: Leaves::default(),
        }
    }

    /// The slot of an open pending.
    pub(super) fn find(&self, id: u128) -> Option<u32> {
        let hash = self.ids.secret().of_u128(id);
        self.ids.find(hash, |slot| self.slab[slot].id.get() == id)
    }

    /// The earliest deadline: `(deadline, slot)`.
    pub(super) fn first_due(&self) -> Option<(u64, u32)> {
        self.deadlines
            .first_key_value()
            .map(|((deadline, _), slot)| (*deadline, *slot))
    }

    /// How many are over at `now`, counted up to `enough`.
    pub(super) fn count_due(&self, now: u64, enough: usize) -> usize {
        self.deadlines.range(..=(now, u128::MAX)).take(enough).count()
    }

    /// Adds a pending whose id [`Self::find`] does not find.
    pub(super) fn insert(&mut self, record: PendingRecord) -> Placed {
        let placed = self.slab.insert(record);
        self.enter(placed.slot);
        placed
    }

    pub(super) fn undo_insert(&mut self, placed: Placed) {
        self.leave(placed.slot);
        self.slab.undo_insert(placed);
    }

    /// Replaces a record; id and deadline stay.
    pub(super) fn set(&mut self, slot: u32, record: PendingRecord) {
        self.slab.set(slot, record);
        self.leaves.mark(slot);
    }

    pub(super) fn remove(&mut self, slot: u32) -> PendingRecord {
        self.leave(slot);
        self.slab.remove(slot)
    }

    pub(super) fn undo_remove(&mut self, slot: u32, record: PendingRecord) {
        self.slab.undo_remove(slot, record);
        self.enter(slot);
    }

    fn enter(&mut self, slot: u32) {
        let (secret, slab) = (self.ids.secret(), &self.slab);
        let record = slab[slot];
        self.ids.insert(secret.of_u128(record.id.get()), slot, |other| {
            secret.of_u128(slab[other].id.get())
        });
        if record.deadline_ns.get() != 0 {
            self.deadlines
                .insert((record.deadline_ns.get(), record.id.get()), slot);
        }
        self.leaves.mark(slot);
    }

    fn leave(&mut self, slot: u32) {
        let (secret, slab) = (self.ids.secret(), &self.slab);
        let record = slab[slot];
        let hash = secret.of_u128(record.id.get());
        self.ids
            .remove(hash, slot, |other| secret.of_u128(slab[other].id.get()));
        self.deadlines
            .remove(&(record.deadline_ns.get(), record.id.get()));
        self.leaves.mark(slot);
    }

    pub(super) fn root(&mut self) -> Option<Hash> {
        let slab = &self.slab;
        self.leaves
            .root(slab.len(), |slot| hash::PENDING.hash(slab[slot].as_bytes()))
    }

    /// The table of restored slots; `None` if two have one id.
    pub(super) fn restore(slab: Slab<PendingRecord>) -> Option<Self> {
        let mut pendings = Self::new();
        pendings.slab = slab;
        for slot in 0..pendings.slab.len() {
            let record = pendings.slab[slot];
            pendings.leaves.mark(slot);
            if record.next_vacant().is_none() {
                if pendings.find(record.id.get()).is_some() {
                    return None;
                }
                pendings.enter(slot);
            }
        }
        Some(pendings)
    }
}
