//! The door in: what a transaction must be to wait, and how it takes its place in every signer's lane.

use super::entry::{Link, Links, NONE, Slot};
use super::lists::{self, Hooks};
use super::{LaneView, Pool};
use selfchain_types::codec::wide;
use selfchain_types::envelope::{EnvelopeView, SIGNERS_MAX, Signer};
use selfchain_types::{AccountId, Refusal, Verified};

/// The lanes of a transaction's signers, in order; [`NONE`] for one that has nothing in the pool.
type SignersLanes = [u32; SIGNERS_MAX];

impl<T> Pool<T> {
    /// Lets a transaction wait, if the chain's rules, its lanes and the pool's limits allow. Those that it
    /// pushes out go to `out`.
    ///
    /// # Errors
    /// The tag and the [`Refusal`]: `ValiditySpan`, `Expired`, `NotYetValid`, `TooLarge`, `CounterUsed`
    /// (also for one that is committed), `Waiting`, `CounterSkipped`, `LaneFull`, `PoolFull`.
    pub fn admit(
        &mut self,
        verified: Verified,
        tag: T,
        lanes: &impl LaneView,
        out: &mut Vec<(T, Refusal)>,
    ) -> Result<(), (T, Refusal)> {
        let view = verified.view();
        let rate = self.rate_of(&view);
        let checked = self
            .check_rules(&view)
            .and_then(|()| self.find_lanes(&verified, &view, lanes))
            .and_then(|found| {
                self.make_room(wide(view.as_bytes().len()), rate, &found, out)?;
                Ok(found)
            });
        match checked {
            Ok(found) => {
                self.insert(verified, tag, rate, found);
                Ok(())
            }
            Err(refusal) => Err((tag, refusal)),
        }
    }

    /// What the rules say of a transaction, whatever else waits: cheap, and true whatever its signatures are.
    ///
    /// # Errors
    /// `ValiditySpan`, `Expired`, `NotYetValid` or `TooLarge`.
    pub fn check_rules(&self, view: &EnvelopeView<'_>) -> Result<(), Refusal> {
        let header = view.header();
        let (from, until) = (header.valid_from.get(), header.valid_until.get());
        if until < from || until - from > self.rules.validity_max {
            return Err(Refusal::ValiditySpan);
        }
        if until < self.height {
            return Err(Refusal::Expired);
        }
        if from > self.height.saturating_add(self.rules.lead_max) {
            return Err(Refusal::NotYetValid);
        }
        let fits = wide(view.as_bytes().len()) <= self.rules.block_bytes_max
            && u64::from(header.operations.get()) <= self.rules.block_effects_max;
        if fits { Ok(()) } else { Err(Refusal::TooLarge) }
    }

    /// The fee a byte, in 2^-16 units; zero for what would not be paid.
    fn rate_of(&self, view: &EnvelopeView<'_>) -> u64 {
        let (header, fees) = (view.header(), &self.rules.fees);
        if fees.is_free() {
            return 0;
        }
        let len = view.as_bytes().len();
        let fee = fees.of(view.operations().len(), len).0;
        let is_paid = header.fee_account.get() != AccountId::NONE.0
            && header.fee_asset.get() == fees.asset.0
            && header.fee_max.get() >= fee;
        if !is_paid {
            return 0;
        }
        let rate = fee.saturating_mul(1 << 16) / u128::from(wide(len));
        u64::try_from(rate).unwrap_or(u64::MAX)
    }

    fn find_lanes(
        &self,
        verified: &Verified,
        view: &EnvelopeView<'_>,
        lanes: &impl LaneView,
    ) -> Result<SignersLanes, Refusal> {
        let mut found = [NONE; SIGNERS_MAX];
        for (signer, found) in view.signers().iter().zip(&mut found) {
            let counter = signer.counter.get();
            let lane = self.lanes.find(&signer.key, signer.lane.get());
            let next = match lane {
                Some(lane) => self.lanes[lane].next,
                None => lanes.lane(&signer.key, signer.lane.get()).checked_add(1),
            };
            if next.is_none_or(|next| counter < next) {
                let is_this = lane.is_some_and(|lane| self.holds_in(lane, counter, &verified.tx_id()));
                return Err(if is_this {
                    Refusal::Waiting
                } else {
                    Refusal::CounterUsed
                });
            }
            if next < Some(counter) {
                return Err(Refusal::CounterSkipped);
            }
            if let Some(lane) = lane {
                if self.lanes[lane].len >= self.limits.lane_max {
                    return Err(Refusal::LaneFull);
                }
                *found = lane;
            }
        }
        Ok(found)
    }

    fn insert(&mut self, verified: Verified, tag: T, rate: u64, found: SignersLanes) {
        let tx_id = verified.tx_id();
        let view = verified.view();
        let header = view.header();
        let (bytes, effects) = (wide(view.as_bytes().len()), u64::from(header.operations.get()));
        let (mut from, valid_until) = (header.valid_from.get(), header.valid_until.get());
        let mut behind = 0;
        let mut links = self.join_lanes(view.signers(), found);
        for link in links.as_slice() {
            if link.previous != NONE && self.slots[link.previous].is_waiting() {
                behind += 1;
                from = from.max(self.slots[link.previous].from);
            }
        }
        self.arrivals += 1;
        let at = self.slots.insert(Slot {
            held: Some((verified, tag)),
            tx_id,
            arrival: self.arrivals,
            rate,
            bytes,
            effects,
            valid_until,
            from,
            behind,
            ahead: 0,
            links: Links::none(),
            order: Hooks::LOOSE,
            deadline: Hooks::LOOSE,
        });
        for link in links.as_mut_slice() {
            self.lanes[link.lane].last = at;
            match link.previous {
                NONE => self.lanes[link.lane].first = at,
                previous => self.follow(previous, link.lane, at),
            }
        }
        self.slots[at].links = links;
        self.gauges.waiting += 1;
        self.gauges.waiting_bytes += bytes;
        self.gauges.waiting_effects += effects;
        self.list(at, from, valid_until);
    }

    /// Places at the end of every signer's lane, making lanes where there are none.
    fn join_lanes(&mut self, signers: &[Signer], found: SignersLanes) -> Links {
        let mut join = |signer: &Signer, found: u32| {
            let counter = signer.counter.get();
            let lane = match found {
                NONE => self.lanes.insert(signer.key, signer.lane.get(), counter),
                found => found,
            };
            let ends = &mut self.lanes[lane];
            ends.len += 1;
            ends.next = counter.checked_add(1);
            Link {
                lane,
                counter,
                previous: ends.last,
                next: NONE,
            }
        };
        match signers {
            [only] => Links::One([join(only, found[0])]),
            many => Links::Many(
                many.iter()
                    .zip(found)
                    .map(|(signer, found)| join(signer, found))
                    .collect(),
            ),
        }
    }

    fn follow(&mut self, previous: u32, lane: u32, at: u32) {
        if self.is_priced() {
            let rank = self.slots[previous].rank(previous);
            self.tails.remove(&rank);
        }
        let slot = &mut self.slots[previous];
        slot.ahead += 1;
        slot.links.in_lane_mut(lane).next = at;
    }

    fn list(&mut self, at: u32, from: u64, valid_until: u64) {
        let list = if from <= self.height {
            &mut self.arrival
        } else {
            self.later.entry(from).or_default()
        };
        list.push_last(&mut self.slots, lists::order, at);
        let deadline = self.deadlines.entry(valid_until).or_default();
        deadline.push_last(&mut self.slots, lists::deadline, at);
        self.mark_ready(at);
        self.mark_tail(at);
    }
}
