//! The doors out with a reason: eviction by one that pays more, and refusal of all that waits behind.

use super::Pool;
use super::entry::{NONE, Rank};
use selfchain_types::Refusal;

impl<T> Pool<T> {
    /// Makes room for one of `bytes` that pays `rate`, pushing out lanes' last ones that pay less.
    pub(super) fn make_room(
        &mut self,
        bytes: u64,
        rate: u64,
        own_lanes: &[u32],
        out: &mut Vec<(T, Refusal)>,
    ) -> Result<(), Refusal> {
        let gauges = &self.gauges;
        let transactions = gauges.waiting + gauges.proposed + 1;
        let total = gauges.waiting_bytes + gauges.proposed_bytes + bytes;
        if transactions <= self.limits.transactions_max && total <= self.limits.bytes_max {
            return Ok(());
        }
        let excess = total.saturating_sub(self.limits.bytes_max);
        let evicted = self
            .worse_than(rate, excess, own_lanes)
            .ok_or(Refusal::PoolFull)?;
        for rank in evicted {
            self.refuse_last(rank.slot, Refusal::Evicted, out);
        }
        Ok(())
    }

    /// The worst payers below `rate` whose bytes make up `excess`, at least one; `None` when they do not.
    fn worse_than(&self, rate: u64, excess: u64, own_lanes: &[u32]) -> Option<Vec<Rank>> {
        let mut evicted = Vec::new();
        let mut bytes = 0;
        // A transaction may not push out the one that it follows.
        let worse = self
            .tails
            .iter()
            .take_while(|rank| rank.rate < rate)
            .filter(|rank| !self.is_in(rank.slot, own_lanes));
        for rank in worse.take(EVICT_MAX) {
            evicted.push(*rank);
            bytes += self.slots[rank.slot].bytes;
            if bytes >= excess {
                return Some(evicted);
            }
        }
        None
    }

    fn is_in(&self, at: u32, lanes: &[u32]) -> bool {
        let links = self.slots[at].links.as_slice();
        links.iter().any(|link| lanes.contains(&link.lane))
    }

    /// Refuses a waiting transaction, and all that waits behind it in any of its lanes.
    pub(super) fn refuse_from(
        &mut self,
        at: u32,
        why: Refusal,
        why_behind: Refusal,
        out: &mut Vec<(T, Refusal)>,
    ) {
        let first_out = out.len();
        let mut path = vec![at];
        while let Some(last) = path.last().copied() {
            let links = self.slots[last].links.as_slice();
            if let Some(link) = links.iter().find(|link| link.next != NONE) {
                path.push(link.next);
                continue;
            }
            path.pop();
            let is_over = self.slots[last].valid_until < self.height;
            let reason = match () {
                () if last == at => why,
                () if is_over => Refusal::Expired,
                () => why_behind,
            };
            self.refuse_last(last, reason, out);
        }
        out[first_out..].reverse();
    }

    /// Refuses a transaction that is the last in all its lanes.
    fn refuse_last(&mut self, at: u32, why: Refusal, out: &mut Vec<(T, Refusal)>) {
        if self.slots[at].is_waiting() {
            self.unlist(at);
        }
        for place in 0..self.slots[at].links.as_slice().len() {
            let link = self.slots[at].links.as_slice()[place];
            self.lanes[link.lane].next = Some(link.counter);
            self.unlink(at, place);
        }
        // The tag of a proposed one is with the proposal, and comes back refused when it is given back.
        out.extend(self.forget(at).map(|tag| (tag, why)));
    }
}

/// Most transactions that one pushes out.
const EVICT_MAX: usize = 1_024;
