//! The pool: its limits, its gauges, and the doors by which transactions leave it in order.

use super::entry::{Entry, NONE, Rank, Slots, Ticket};
use super::lanes::Lanes;
use super::lists::{self, List};
use selfchain_types::envelope::Signer;
use selfchain_types::genesis::{Fees, Genesis};
use selfchain_types::{Hash, Height, KeyId, Refusal};
use std::collections::{BTreeMap, BTreeSet};

/// How much may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Transactions, waiting and proposed.
    pub transactions_max: usize,
    /// Their bytes.
    pub bytes_max: u64,
    /// Transactions of one lane.
    pub lane_max: u32,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            transactions_max: 262_144,
            bytes_max: 256 * 1024 * 1024,
            lane_max: 65_536,
        }
    }
}

/// What the chain asks of every transaction, whatever the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolRules {
    /// Most heights between `valid_from` and `valid_until`.
    pub validity_max: u64,
    /// How many heights ahead of the next one `valid_from` may lie.
    pub lead_max: u64,
    /// Most bytes that a block could hold.
    pub block_bytes_max: u64,
    /// Most operations that a block could hold.
    pub block_effects_max: u64,
    /// What transactions cost.
    pub fees: Fees,
}

/// How many heights early a transaction may come.
const LEAD_MAX: u64 = 8;

impl PoolRules {
    /// The rules of a chain.
    pub fn of(genesis: &Genesis) -> Self {
        Self {
            validity_max: u64::from(genesis.limits.validity_max),
            lead_max: LEAD_MAX,
            block_bytes_max: u64::from(genesis.limits.block_bytes_max),
            block_effects_max: u64::from(genesis.limits.block_effects_max),
            fees: genesis.fees,
        }
    }
}

/// The lanes as the newest executed block left them.
pub trait LaneView {
    /// The last counter used on a key's lane; 0 before the first.
    fn lane(&self, key: &KeyId, lane: u32) -> u64;
}

/// Verified transactions that wait, each with the caller's tag.
///
/// The contract with its owner: [`advance`](Self::advance) is called once the next height is known, and
/// [`decided`](Self::decided) for every transaction of a block once the [`LaneView`] that the next `admit`
/// gets includes that block: a lane whose last transaction left is known from there alone.
#[derive(Debug)]
pub struct Pool<T> {
    pub(super) limits: PoolLimits,
    pub(super) rules: PoolRules,
    /// The next block's.
    pub(super) height: u64,
    pub(super) slots: Slots<T>,
    pub(super) lanes: Lanes,
    /// Admissions so far.
    pub(super) arrivals: u64,
    /// What the next block may hold, in order of arrival: which is in lane order too.
    pub(super) arrival: List,
    /// What only a later block may hold, by the first height that may.
    pub(super) later: BTreeMap<u64, List>,
    /// What waits, by `valid_until`.
    pub(super) deadlines: BTreeMap<u64, List>,
    /// First in all their lanes and valid at the next height; kept only where there are fees.
    pub(super) ready: BTreeSet<Rank>,
    /// Last in all their lanes; kept only where there are fees.
    pub(super) tails: BTreeSet<Rank>,
    pub(super) gauges: Gauges,
}

/// A transaction that waits, as others may see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its id.
    pub tx_id: Hash,
    /// What it pays a byte, in 2^-16 units; zero in a chain without fees.
    pub rate: u64,
    /// Admissions up to it: different for each.
    pub arrival: u64,
    /// Its bytes.
    pub bytes: u64,
    /// Its operations.
    pub effects: u64,
    /// First height whose block may hold it and all before it in its lanes.
    pub from: Height,
    /// Whether nothing waits before it in its lanes.
    pub is_first: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gauges {
    pub(super) waiting: usize,
    pub(super) waiting_bytes: u64,
    pub(super) waiting_effects: u64,
    pub(super) proposed: usize,
    pub(super) proposed_bytes: u64,
}

impl<T> Pool<T> {
    /// An empty pool before `next`, the height of the next block.
    pub fn new(limits: PoolLimits, rules: PoolRules, next: Height) -> Self {
        Self {
            limits,
            rules,
            height: next.0,
            slots: Slots::new(),
            lanes: Lanes::new(),
            arrivals: 0,
            arrival: List::default(),
            later: BTreeMap::new(),
            deadlines: BTreeMap::new(),
            ready: BTreeSet::new(),
            tails: BTreeSet::new(),
            gauges: Gauges::default(),
        }
    }

    /// Transactions that wait.
    pub fn len(&self) -> usize {
        self.gauges.waiting
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the next block may hold any that waits.
    pub fn has_ready(&self) -> bool {
        !self.arrival.is_empty()
    }

    /// Bytes of the transactions that wait.
    pub fn bytes(&self) -> u64 {
        self.gauges.waiting_bytes
    }

    /// Operations of the transactions that wait.
    pub fn effects(&self) -> u64 {
        self.gauges.waiting_effects
    }

    /// Admissions so far.
    pub fn admissions(&self) -> u64 {
        self.arrivals
    }

    /// Those that wait and that the next block may hold, in order of arrival.
    pub fn waiting(&self) -> impl Iterator<Item = Waiting> + '_ {
        let next = |at: &u32| some(self.slots[*at].order.next);
        core::iter::successors(some(self.arrival.first), next).map(|at| {
            let slot = &self.slots[at];
            Waiting {
                tx_id: slot.tx_id,
                rate: slot.rate,
                arrival: slot.arrival,
                bytes: slot.bytes,
                effects: slot.effects,
                from: Height(slot.from),
                is_first: slot.behind == 0,
            }
        })
    }

    /// Transactions that proposals hold.
    pub fn proposed(&self) -> usize {
        self.gauges.proposed
    }

    /// Whether a transaction that uses this counter is this very one, waiting or proposed.
    pub fn holds(&self, tx_id: &Hash, signer: &Signer) -> bool {
        self.lanes
            .find(&signer.key, signer.lane.get())
            .is_some_and(|lane| self.holds_in(lane, signer.counter.get(), tx_id))
    }

    pub(super) fn holds_in(&self, lane: u32, counter: u64, tx_id: &Hash) -> bool {
        let mut at = self.lanes[lane].last;
        while at != NONE {
            let slot = &self.slots[at];
            let link = slot.links.in_lane(lane);
            if link.counter <= counter {
                return link.counter == counter && slot.tx_id == *tx_id;
            }
            at = link.previous;
        }
        false
    }

    /// Moves on to the next block's height: what has become valid may be taken, and what is over is refused,
    /// with all that waits behind it in its lanes.
    pub fn advance(&mut self, next: Height, out: &mut Vec<(T, Refusal)>) {
        self.height = next.0;
        while let Some(entry) = self.later.first_entry().filter(|entry| *entry.key() <= next.0) {
            let mut list = entry.remove();
            while !list.is_empty() {
                let at = list.first;
                list.remove(&mut self.slots, lists::order, at);
                self.arrival.push_last(&mut self.slots, lists::order, at);
                self.mark_ready(at);
            }
        }
        while let Some(entry) = self.deadlines.first_entry().filter(|entry| *entry.key() < next.0) {
            let first = entry.get().first;
            self.refuse_from(first, Refusal::Expired, Refusal::CounterSkipped, out);
        }
    }

    /// Hands out a waiting transaction for a proposal; nothing before it in its lanes may wait. Its counters
    /// count as used until it is decided or given back.
    pub(crate) fn take(&mut self, at: u32) -> Entry<T> {
        self.unlist(at);
        let slot = &mut self.slots[at];
        assert_eq!(slot.behind, 0, "a lane is taken in order");
        let (verified, tag) = slot.held.take().expect("what is taken waits");
        let (bytes, effects, arrival) = (slot.bytes, slot.effects, slot.arrival);
        self.gauges.waiting -= 1;
        self.gauges.waiting_bytes -= bytes;
        self.gauges.waiting_effects -= effects;
        self.gauges.proposed += 1;
        self.gauges.proposed_bytes += bytes;
        for link in 0..self.slots[at].links.as_slice().len() {
            self.release_next(at, link);
        }
        let ticket = Ticket {
            tag,
            slot: at,
            arrival,
        };
        Entry { verified, ticket }
    }

    /// Takes back what a dead proposal held. What cannot come back, because its counter was used or its time
    /// is over meanwhile, is refused.
    pub fn give_back(&mut self, entries: Vec<Entry<T>>, lanes: &impl LaneView, out: &mut Vec<(T, Refusal)>) {
        let mut strangers = Vec::new();
        // From the last to the first, each before all that wait: the order of arrival is as it was.
        for entry in entries.into_iter().rev() {
            let Ticket { tag, slot, arrival } = entry.ticket;
            match self.slots.get(slot, arrival) {
                Some(place) if !place.is_waiting() => self.restore(slot, (entry.verified, tag)),
                _ => strangers.push((entry.verified, tag)),
            }
        }
        for (verified, tag) in strangers.into_iter().rev() {
            if let Err(refused) = self.admit(verified, tag, lanes, out) {
                out.push(refused);
            }
        }
        self.advance(Height(self.height), out);
    }

    fn restore(&mut self, at: u32, held: (selfchain_types::Verified, T)) {
        let slot = &mut self.slots[at];
        slot.held = Some(held);
        let (bytes, effects, valid_until) = (slot.bytes, slot.effects, slot.valid_until);
        self.gauges.waiting += 1;
        self.gauges.waiting_bytes += bytes;
        self.gauges.waiting_effects += effects;
        self.gauges.proposed -= 1;
        self.gauges.proposed_bytes -= bytes;
        self.arrival.push_first(&mut self.slots, lists::order, at);
        let deadline = self.deadlines.entry(valid_until).or_default();
        deadline.push_last(&mut self.slots, lists::deadline, at);
        for link in 0..self.slots[at].links.as_slice().len() {
            let next = self.slots[at].links.as_slice()[link].next;
            if next != NONE && self.slots[next].is_waiting() {
                if self.is_priced() {
                    let rank = self.slots[next].rank(next);
                    self.ready.remove(&rank);
                }
                self.slots[next].behind += 1;
            }
        }
        self.mark_ready(at);
        self.mark_tail(at);
    }

    /// Lets go of a transaction that a decided block holds, and returns its tag if it waited here; a proposal
    /// that holds it has the tag itself. What waits with another use of its counters is refused.
    pub fn decided(&mut self, tx_id: &Hash, signers: &[Signer], out: &mut Vec<(T, Refusal)>) -> Option<T> {
        for signer in signers {
            while let Some(first) = self.first_up_to(signer) {
                if self.slots[first].tx_id == *tx_id {
                    break;
                }
                self.refuse_from(first, Refusal::CounterUsed, Refusal::CounterSkipped, out);
            }
        }
        // Whatever stood before it in any of its lanes is gone: it is the first in all of them.
        let first = self.first_up_to(signers.first()?)?;
        self.let_go(first)
    }

    /// The first of a lane, if its counter is not past the signer's.
    fn first_up_to(&self, signer: &Signer) -> Option<u32> {
        let lane = self.lanes.find(&signer.key, signer.lane.get())?;
        let first = self.lanes[lane].first;
        let counter = self.slots[first].links.in_lane(lane).counter;
        (counter <= signer.counter.get()).then_some(first)
    }

    /// Takes the first of its lanes out of them, and leaves those after it.
    fn let_go(&mut self, at: u32) -> Option<T> {
        let waited = self.slots[at].is_waiting();
        if waited {
            self.unlist(at);
        }
        for place in 0..self.slots[at].links.as_slice().len() {
            if waited {
                self.release_next(at, place);
            }
            self.unlink(at, place);
        }
        self.forget(at)
    }

    /// Counts a slot out of the gauges and frees it.
    pub(super) fn forget(&mut self, at: u32) -> Option<T> {
        let slot = &self.slots[at];
        if slot.is_waiting() {
            self.gauges.waiting -= 1;
            self.gauges.waiting_bytes -= slot.bytes;
            self.gauges.waiting_effects -= slot.effects;
        } else {
            self.gauges.proposed -= 1;
            self.gauges.proposed_bytes -= slot.bytes;
        }
        self.slots.remove(at).map(|(_, tag)| tag)
    }

    /// The successor in one lane no longer waits behind `at`.
    fn release_next(&mut self, at: u32, place: usize) {
        let next = self.slots[at].links.as_slice()[place].next;
        if next != NONE {
            self.slots[next].behind -= 1;
            self.mark_ready(next);
        }
    }

    /// Takes `at` out of one lane, joining its neighbours.
    pub(super) fn unlink(&mut self, at: u32, place: usize) {
        let link = self.slots[at].links.as_slice()[place];
        let lane = &mut self.lanes[link.lane];
        lane.len -= 1;
        if lane.len == 0 {
            self.lanes.remove(link.lane);
            return;
        }
        match link.previous {
            NONE => lane.first = link.next,
            previous => self.slots[previous].links.in_lane_mut(link.lane).next = link.next,
        }
        match link.next {
            NONE => self.lanes[link.lane].last = link.previous,
            next => self.slots[next].links.in_lane_mut(link.lane).previous = link.previous,
        }
        if link.next == NONE && link.previous != NONE {
            self.slots[link.previous].ahead -= 1;
            self.mark_tail(link.previous);
        }
    }

    /// Takes `at` out of every order in which waiting ones stand.
    pub(super) fn unlist(&mut self, at: u32) {
        let slot = &self.slots[at];
        let (from, valid_until, rank) = (slot.from, slot.valid_until, slot.rank(at));
        if from <= self.height {
            self.arrival.remove(&mut self.slots, lists::order, at);
        } else {
            remove_from(&mut self.later, from, &mut self.slots, lists::order, at);
        }
        remove_from(
            &mut self.deadlines,
            valid_until,
            &mut self.slots,
            lists::deadline,
            at,
        );
        if self.is_priced() {
            self.ready.remove(&rank);
            self.tails.remove(&rank);
        }
    }

    pub(super) fn mark_ready(&mut self, at: u32) {
        let slot = &self.slots[at];
        if self.is_priced() && slot.is_waiting() && slot.behind == 0 && slot.from <= self.height {
            self.ready.insert(slot.rank(at));
        }
    }

    pub(super) fn mark_tail(&mut self, at: u32) {
        let slot = &self.slots[at];
        if self.is_priced() && slot.is_waiting() && slot.ahead == 0 {
            self.tails.insert(slot.rank(at));
        }
    }

    /// Whether what a transaction pays makes a difference.
    pub(crate) fn is_priced(&self) -> bool {
        !self.rules.fees.is_free()
    }
}

fn remove_from<T>(
    lists: &mut BTreeMap<u64, List>,
    key: u64,
    slots: &mut Slots<T>,
    through: lists::Through<T>,
    at: u32,
) {
    let list = lists.get_mut(&key).expect("what waits is in a list");
    list.remove(slots, through, at);
    if list.is_empty() {
        lists.remove(&key);
    }
}

/// What the builder reads to choose.
impl<T> Pool<T> {
    /// The one that came first of those that the next block may hold.
    pub(crate) fn oldest(&self) -> Option<u32> {
        some(self.arrival.first)
    }

    /// The one that came after `at`.
    pub(crate) fn newer(&self, at: u32) -> Option<u32> {
        some(self.slots[at].order.next)
    }

    /// Whether nothing waits before `at` in its lanes.
    pub(crate) fn is_first(&self, at: u32) -> bool {
        self.slots[at].behind == 0
    }

    /// Bytes and operations of `at`.
    pub(crate) fn size_of(&self, at: u32) -> (u64, u64) {
        let slot = &self.slots[at];
        (slot.bytes, slot.effects)
    }

    /// Those that can be taken at once, by what they pay; empty where there are no fees.
    pub(crate) fn ready(&self) -> &BTreeSet<Rank> {
        &self.ready
    }

    /// Keeps one out of [`ready`](Self::ready) while a block is chosen that it does not fit.
    pub(crate) fn set_aside(&mut self, rank: Rank) {
        self.ready.remove(&rank);
    }

    /// Ends [`set_aside`](Self::set_aside).
    pub(crate) fn put_back(&mut self, rank: Rank) {
        self.mark_ready(rank.slot);
    }
}

impl<T> Ticket<T> {
    /// Admissions before it and itself: the order of arrival.
    pub(crate) fn arrival(&self) -> u64 {
        self.arrival
    }
}

fn some(at: u32) -> Option<u32> {
    (at != NONE).then_some(at)
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
