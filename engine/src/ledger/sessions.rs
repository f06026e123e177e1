//! The table of sessions: which keys may act for which accounts, in slots.

use super::index::Index;
use super::leaves::Leaves;
use super::slab::{Placed, Slab, Slot};
use selfchain_types::key::SessionRecord;
use selfchain_types::{Hash, hash};
use zerocopy::{FromZeros, IntoBytes};

impl Slot for SessionRecord {
    /// All zero but `key_index`, which holds the next free slot + 1.
    fn vacant(next: u32) -> Self {
        let mut vacant = Self::new_zeroed();
        vacant.key_index = next.into();
        vacant
    }

    fn next_vacant(&self) -> Option<u32> {
        (self.account.get() == 0).then(|| self.key_index.get())
    }
}

/// Every session.
#[derive(Clone, Debug)]
pub(super) struct Sessions {
    pub(super) slab: Slab<SessionRecord>,
    ids: Index,
    leaves: Leaves,
}

fn pair(session: &SessionRecord) -> u128 {
    pair_of(session.account_index.get(), session.key_index.get())
}

fn pair_of(account: u32, key: u32) -> u128 {
    u128::from(account) << 32 | u128::from(key)
}

impl Sessions {
    pub(super) fn new() -> Self {
        Self {
            slab: Slab::default(),
            ids: Index::new(),
            leaves: Leaves::default(),
        }
    }

    /// The slot of the session that a key has for an account.
    pub(super) fn find(&self, account: u32, key: u32) -> Option<u32> {
        let wanted = pair_of(account, key);
        let hash = self.ids.secret().of_u128(wanted);
        self.ids.find(hash, |slot| pair(&self.slab[slot]) == wanted)
    }

    /// Adds a session that [`Self::find`] does not find.
    pub(super) fn insert(&mut self, record: SessionRecord) -> Placed {
        let placed = self.slab.insert(record);
        self.enter(placed.slot);
        placed
    }

    pub(super) fn undo_insert(&mut self, placed: Placed) {
        self.leave(placed.slot);
        self.slab.undo_insert(placed);
    }

    /// Replaces a record; account and key stay.
    pub(super) fn set(&mut self, slot: u32, record: SessionRecord) {
        self.slab.set(slot, record);
        self.leaves.mark(slot);
    }

    pub(super) fn remove(&mut self, slot: u32) -> SessionRecord {
        self.leave(slot);
        self.slab.remove(slot)
    }

    pub(super) fn undo_remove(&mut self, slot: u32, record: SessionRecord) {
        self.slab.undo_remove(slot, record);
        self.enter(slot);
    }

    fn enter(&mut self, slot: u32) {
        let (secret, slab) = (self.ids.secret(), &self.slab);
        self.ids.insert(secret.of_u128(pair(&slab[slot])), slot, |other| {
            secret.of_u128(pair(&slab[other]))
        });
        self.leaves.mark(slot);
    }

    fn leave(&mut self, slot: u32) {
        let (secret, slab) = (self.ids.secret(), &self.slab);
        self.ids.remove(secret.of_u128(pair(&slab[slot])), slot, |other| {
            secret.of_u128(pair(&slab[other]))
        });
        self.leaves.mark(slot);
    }

    pub(super) fn root(&mut self) -> Option<Hash> {
        let slab = &self.slab;
        self.leaves
            .root(slab.len(), |slot| hash::SESSION.hash(slab[slot].as_bytes()))
    }

    /// The table of restored slots; `None` if two are for one account and key.
    pub(super) fn restore(slab: Slab<SessionRecord>) -> Option<Self> {
        let mut sessions = Self::new();
        sessions.slab = slab;
        for slot in 0..sessions.slab.len() {
            let record = sessions.slab[slot];
            sessions.leaves.mark(slot);
            if record.next_vacant().is_none() {
                let known = sessions.find(record.account_index.get(), record.key_index.get());
                if known.is_some() {
                    return None;
                }
                sessions.enter(slot);
            }
        }
        Some(sessions)
    }
}
