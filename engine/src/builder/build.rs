//! The choice itself: by fee, or the fair mixture that validators measure proposers against.

use super::room::{BlockLimits, Used};
use crate::pool::{Entry, Pool, Rank};

/// How a block is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// What pays most a byte comes first; of equals, what came first.
    Fee,
    /// The reference selection: 20 % of the block for the highest fees, 20 % for the lowest, 50 % around the
    /// median, 10 % for the oldest, what is then left for the oldest again; placed in order of arrival.
    Fair,
}

/// Takes out of `pool` what the next block is to hold, in the block's order, which keeps every lane's order.
/// The same pool gives the same block. Where there are no fees both orders are the order of arrival, and
/// choosing costs as much as it takes.
///
/// One that does not fit is passed over, with all behind it in its lanes; after [`MISFITS_MAX`] the block is
/// as good as full.
pub fn build<T>(pool: &mut Pool<T>, limits: &BlockLimits, order: Order) -> Vec<Entry<T>> {
    let mut block = Block {
        limits: *limits,
        used: Used::default(),
        entries: Vec::new(),
    };
    match order {
        Order::Fee if has_prices(pool) => block.fill(pool, limits, best),
        Order::Fair if has_prices(pool) => block.fill_fairly(pool),
        Order::Fee | Order::Fair => block.fill_by_arrival(pool, limits),
    }
    block.entries
}

/// Most transactions that a choice passes over because they do not fit.
pub const MISFITS_MAX: usize = 256;

/// Whether what can be taken pays differently.
fn has_prices<T>(pool: &Pool<T>) -> bool {
    let ready = pool.ready();
    match (ready.first(), ready.last()) {
        (Some(worst), Some(best)) => worst.rate != best.rate || ready.len() < pool.len(),
        _ => false,
    }
}

struct Block<T> {
    limits: BlockLimits,
    used: Used,
    entries: Vec<Entry<T>>,
}

impl<T> Block<T> {
    /// Takes `at` if it fits what is left of the block.
    fn take(&mut self, pool: &mut Pool<T>, at: u32) -> bool {
        let fits = self.used.add(&self.limits, pool.size_of(at));
        if fits {
            self.entries.push(pool.take(at));
        }
        fits
    }

    /// Takes what `pick` names until `share` is used, the block is full or nothing is left.
    fn fill(&mut self, pool: &mut Pool<T>, share: &BlockLimits, pick: fn(&Pool<T>) -> Option<Rank>) {
        let before = self.used;
        let mut misfits = Vec::new();
        while !self.used.since(&before).is_full(share) && misfits.len() < MISFITS_MAX {
            let Some(rank) = pick(pool) else { break };
            if !self.take(pool, rank.slot) {
                pool.set_aside(rank);
                misfits.push(rank);
            }
        }
        misfits.into_iter().for_each(|rank| pool.put_back(rank));
    }

    fn fill_fairly(&mut self, pool: &mut Pool<T>) {
        let whole = self.limits.at_most(pool.bytes(), pool.effects(), pool.len());
        self.fill(pool, &whole.percent(20), best);
        self.fill(pool, &whole.percent(20), worst);
        self.fill_around_median(pool, &whole.percent(50));
        self.fill_by_arrival(pool, &whole.percent(10));
        self.fill_by_arrival(pool, &whole);
        self.entries.sort_unstable_by_key(|entry| entry.ticket.arrival());
    }

    /// Walks outwards from the middle of what is ready, in turns to those that pay more and less.
    fn fill_around_median(&mut self, pool: &mut Pool<T>, share: &BlockLimits) {
        let before = self.used;
        let mut misfits = 0;
        loop {
            let ranks: Vec<Rank> = pool.ready().iter().copied().collect();
            let taken = self.entries.len();
            for at in outwards(ranks.len()) {
                if self.used.since(&before).is_full(share) || misfits >= MISFITS_MAX {
                    return;
                }
                if !self.take(pool, ranks[at].slot) {
                    misfits += 1;
                }
            }
            // What was taken may have made others ready.
            if self.entries.len() == taken {
                return;
            }
        }
    }

    /// Takes the oldest; a walk in order of arrival meets every lane in its order.
    fn fill_by_arrival(&mut self, pool: &mut Pool<T>, share: &BlockLimits) {
        let before = self.used;
        let mut misfits = 0;
        let mut at = pool.oldest();
        while let Some(this) = at {
            if self.used.since(&before).is_full(share) || misfits >= MISFITS_MAX {
                return;
            }
            at = pool.newer(this);
            if !(pool.is_first(this) && self.take(pool, this)) {
                misfits += 1;
            }
        }
    }
}

/// `0..len` from the middle outwards, the upper neighbour first.
fn outwards(len: usize) -> impl Iterator<Item = usize> {
    let middle = len / 2;
    let upper = middle..len;
    let lower = (0..middle).rev();
    let mut upper_and_lower = (upper, lower);
    let mut is_upper = false;
    core::iter::from_fn(move || {
        is_upper = !is_upper;
        let (upper, lower) = &mut upper_and_lower;
        if is_upper {
            upper.next().or_else(|| lower.next())
        } else {
            lower.next().or_else(|| upper.next())
        }
    })
}

/// Of those that pay most, the one that came first.
fn best<T>(pool: &Pool<T>) -> Option<Rank> {
    pool.ready().last().copied()
}

/// Of those that pay least, the one that came first.
fn worst<T>(pool: &Pool<T>) -> Option<Rank> {
    let lowest = pool.ready().first()?.rate;
    let end = Rank {
        rate: lowest,
        earliness: u64::MAX,
        slot: u32::MAX,
    };
    pool.ready().range(..=end).next_back().copied()
}

#[cfg(test)]
#[path = "build_tests.rs"]
mod tests;
