//! A pooled transaction: what leaves the pool, and what the pool keeps of it.

use super::lists::Hooks;
use selfchain_types::codec::index;
use selfchain_types::{Hash, Verified};

/// A transaction that a proposal took out of the pool.
#[derive(Debug)]
pub struct Entry<T> {
    /// The transaction.
    pub verified: Verified,
    /// What the pool needs to take it back, and the caller's tag.
    pub ticket: Ticket<T>,
}

/// A taken transaction's place in the pool, and the caller's tag.
#[derive(Debug)]
pub struct Ticket<T> {
    /// The caller's own, as a handle for the reply.
    pub tag: T,
    pub(super) slot: u32,
    pub(super) arrival: u64,
}

/// "No slot" and "no lane".
pub(super) const NONE: u32 = u32::MAX;

/// A transaction's place in the pool.
#[derive(Debug)]
pub(super) struct Slot<T> {
    /// There while it waits; gone while a proposal holds it.
    pub(super) held: Option<(Verified, T)>,
    pub(super) tx_id: Hash,
    /// Counts admissions; `0` marks a free slot.
    pub(super) arrival: u64,
    /// What it pays a byte, in 2^-16 units; zero in a chain without fees.
    pub(super) rate: u64,
    pub(super) bytes: u64,
    pub(super) effects: u64,
    pub(super) valid_until: u64,
    /// First height whose block may hold it and all before it in its lanes.
    pub(super) from: u64,
    /// Lanes in which another waits before it.
    pub(super) behind: u8,
    /// Lanes in which another waits after it.
    pub(super) ahead: u8,
    pub(super) links: Links,
    /// Neighbours in order of arrival, or among those of one `from`.
    pub(super) order: Hooks,
    /// Neighbours of one `valid_until`.
    pub(super) deadline: Hooks,
}

impl<T> Slot<T> {
    pub(super) fn is_waiting(&self) -> bool {
        self.held.is_some()
    }

    /// Its place in the order of payment: the best pays most a byte, and of equals came first.
    pub(super) fn rank(&self, slot: u32) -> Rank {
        Rank {
            rate: self.rate,
            earliness: u64::MAX - self.arrival,
            slot,
        }
    }
}

/// Order of payment, ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) rate: u64,
    pub(crate) earliness: u64,
    pub(crate) slot: u32,
}

/// A transaction's place in one lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) lane: u32,
    pub(super) counter: u64,
    pub(super) previous: u32,
    pub(super) next: u32,
}

/// The places in all lanes: nearly always one, which lies in the slot itself.
#[derive(Debug)]
pub(super) enum Links {
    One([Link; 1]),
    Many(Box<[Link]>),
}

impl Links {
    pub(super) fn none() -> Self {
        Self::Many(Box::default())
    }

    pub(super) fn as_slice(&self) -> &[Link] {
        match self {
            Self::One(link) => link,
            Self::Many(links) => links,
        }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [Link] {
        match self {
            Self::One(link) => link,
            Self::Many(links) => links,
        }
    }

    pub(super) fn in_lane(&self, lane: u32) -> &Link {
        let found = self.as_slice().iter().find(|link| link.lane == lane);
        found.expect("neighbours in a lane are linked to it")
    }

    pub(super) fn in_lane_mut(&mut self, lane: u32) -> &mut Link {
        let found = self.as_mut_slice().iter_mut().find(|link| link.lane == lane);
        found.expect("neighbours in a lane are linked to it")
    }
}

/// All slots; a freed one is used again.
#[derive(Debug)]
pub(super) struct Slots<T> {
    all: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    pub(super) fn new() -> Self {
        Self {
            all: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(super) fn insert(&mut self, slot: Slot<T>) -> u32 {
        if let Some(at) = self.free.pop() {
            self[at] = slot;
            return at;
        }
        let at = u32::try_from(self.all.len()).expect("the pool's limit is far below 2^32");
        self.all.push(slot);
        at
    }

    /// Frees a slot and returns what it held.
    pub(super) fn remove(&mut self, at: u32) -> Option<(Verified, T)> {
        self.free.push(at);
        let slot = &mut self[at];
        slot.arrival = 0;
        slot.links = Links::none();
        slot.held.take()
    }

    /// The slot, if it still holds that admission.
    pub(super) fn get(&self, at: u32, arrival: u64) -> Option<&Slot<T>> {
        self.all.get(index(at)).filter(|slot| slot.arrival == arrival)
    }
}

impl<T> core::ops::Index<u32> for Slots<T> {
    type Output = Slot<T>;
    fn index(&self, at: u32) -> &Slot<T> {
        &self.all[index(at)]
    }
}

impl<T> core::ops::IndexMut<u32> for Slots<T> {
    fn index_mut(&mut self, at: u32) -> &mut Slot<T> {
        &mut self.all[index(at)]
    }
}
