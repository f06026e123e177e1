//! The reference block: what a validator would have built from its own pool, to hold a proposer's block against.
//!
//! The selection fills a block from four ends of the pool (20 % by highest fee, 20 % by lowest, 50 % nearest to the
//! median, 10 % by age), so that a builder that serves only the rich, or only its friends, is far from it. This is a
//! node's own view, from its own pool: it travels in its extension, and counts through medians.

use super::extension::WHOLE;
use std::collections::BTreeSet;

/// A transaction that waits in a node's pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What it is called here: different for each.
    pub id: u64,
    /// What it offers for its room: fee per byte, or per effect.
    pub fee: u64,
    /// When it came, in any unit that grows.
    pub arrived: u64,
    /// Bytes of room that it takes.
    pub bytes: u32,
    /// Effects of room that it takes.
    pub effects: u32,
    /// Whether the block's proposer acknowledged it so long ago that it is due.
    pub is_overdue: bool,
}

/// The room in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// For envelopes.
    pub bytes: u64,
    /// For operations and what they cause.
    pub effects: u64,
}

/// How a block compares to the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// How much of the reference, by bytes, the block has, in thousandths.
    pub efficiency: u16,
    /// How many of the overdue transactions that the reference has the block leaves out, in thousandths.
    pub starved: u16,
}

/// Shares of a block's room, in hundredths: highest fee, lowest, around the median, oldest.
pub const SHARES: [u64; 4] = [20, 20, 50, 10];
/// Starvation from which on a node objects to a block.
pub const STARVED_OBJECTION: u16 = 500;

/// The ids that the reference block has, ascending. Room that a share leaves goes to the oldest. Without any fees all
/// of it goes by arrival.
pub fn reference(pool: &[Waiting], room: Room) -> BTreeSet<u64> {
    let mut by_age: Vec<&Waiting> = pool.iter().collect();
    by_age.sort_by_key(|waiting| (waiting.arrived, waiting.id));
    let mut chosen = Selection::default();
    if pool.iter().any(|waiting| waiting.fee > 0) {
        let mut by_fee = by_age.clone();
        by_fee.sort_by_key(|waiting| waiting.fee);
        let orders = [
            highest(&by_fee),
            by_fee.clone(),
            around_median(&by_fee),
            by_age.clone(),
        ];
        let mut share = 0;
        for (order, hundredths) in orders.iter().zip(SHARES) {
            share += hundredths;
            chosen.fill(order, room.part(share));
        }
    }
    chosen.fill(&by_age, room);
    chosen.ids
}

/// Compares a block, by what of this pool is in it, with the reference. An empty reference is met by any block.
pub fn compare(pool: &[Waiting], room: Room, block: &BTreeSet<u64>) -> Comparison {
    let reference = reference(pool, room);
    let (mut of, mut has, mut due, mut left_out) = (0u64, 0u64, 0u64, 0u64);
    for waiting in pool.iter().filter(|waiting| reference.contains(&waiting.id)) {
        let is_in = block.contains(&waiting.id);
        let bytes = u64::from(waiting.bytes.max(1));
        of = of.saturating_add(bytes);
        has = has.saturating_add(if is_in { bytes } else { 0 });
        due = due.saturating_add(u64::from(waiting.is_overdue));
        left_out = left_out.saturating_add(u64::from(waiting.is_overdue && !is_in));
    }
    Comparison {
        efficiency: thousandths(has, of).unwrap_or(WHOLE),
        starved: thousandths(left_out, due).unwrap_or(0),
    }
}

/// `part / of` in thousandths, rounded down; `None` of nothing.
fn thousandths(part: u64, of: u64) -> Option<u16> {
    let exact = (u128::from(part) * u128::from(WHOLE)).checked_div(u128::from(of))?;
    Some(u16::try_from(exact).unwrap_or(WHOLE).min(WHOLE))
}

/// From the highest fee down, among equals by age.
fn highest<'a>(by_fee: &[&'a Waiting]) -> Vec<&'a Waiting> {
    let mut order = by_fee.to_vec();
    order.sort_by_key(|waiting| std::cmp::Reverse(waiting.fee));
    order
}

/// From the lower median outwards, below and above in turn.
fn around_median<'a>(by_fee: &[&'a Waiting]) -> Vec<&'a Waiting> {
    let middle = by_fee.len().div_ceil(2);
    let (below, above) = by_fee.split_at(middle);
    let mut order = Vec::with_capacity(by_fee.len());
    let mut above = above.iter();
    for waiting in below.iter().rev() {
        order.push(*waiting);
        order.extend(above.next().copied());
    }
    order
}

#[derive(Default)]
struct Selection {
    ids: BTreeSet<u64>,
    bytes: u64,
    effects: u64,
}

impl Selection {
    /// Takes what fits of `order`, in order, until `room` is used. What does not fit is passed over.
    fn fill(&mut self, order: &[&Waiting], room: Room) {
        for waiting in order {
            let bytes = self.bytes.saturating_add(u64::from(waiting.bytes));
            let effects = self.effects.saturating_add(u64::from(waiting.effects));
            if bytes <= room.bytes && effects <= room.effects && self.ids.insert(waiting.id) {
                (self.bytes, self.effects) = (bytes, effects);
            }
        }
    }
}

impl Room {
    /// So many hundredths of it, rounded down.
    fn part(self, hundredths: u64) -> Self {
        Self {
            bytes: hundredth(self.bytes, hundredths),
            effects: hundredth(self.effects, hundredths),
        }
    }
}

fn hundredth(of: u64, hundredths: u64) -> u64 {
    let exact = u128::from(of) * u128::from(hundredths) / 100;
    u64::try_from(exact).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn waiting(id: u64, fee: u64) -> Waiting {
        Waiting {
            id,
            fee,
            arrived: id,
            bytes: 10,
            effects: 1,
            is_overdue: false,
        }
    }

    const TEN: Room = Room {
        bytes: 100,
        effects: 1_000,
    };

    #[test]
    fn the_four_ends_of_the_pool_fill_their_shares() {
        // Fee grows with the id, and so does age fall: 100 waiting, room for ten.
        let pool: Vec<Waiting> = (0..100).map(|id| waiting(id, id + 1)).collect();
        let chosen: Vec<u64> = reference(&pool, TEN).into_iter().collect();
        // Lowest 0 1, oldest of what is left 2, around the median 47 to 51, highest 98 99.
        assert_eq!(chosen, [0, 1, 2, 47, 48, 49, 50, 51, 98, 99]);
    }

    #[test]
    fn without_fees_arrival_decides() {
        let mut pool: Vec<Waiting> = (0..100).map(|id| waiting(id, 0)).collect();
        pool.reverse();
        assert_eq!(reference(&pool, TEN), (0..10).collect());
    }

    #[test]
    fn a_block_that_is_the_reference_is_whole_and_one_that_leaves_out_is_less() {
        let mut pool: Vec<Waiting> = (0..20).map(|id| waiting(id, 0)).collect();
        pool[0].is_overdue = true;
        pool[1].is_overdue = true;
        let check = |block: &[u64], efficiency, starved| {
            let block = block.iter().copied().collect();
            assert_eq!(compare(&pool, TEN, &block), Comparison { efficiency, starved });
        };
        check(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 1_000, 0);
        check(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 900, 500);
        check(&[100, 101, 102], 0, 1_000);
        assert_eq!(
            compare(&[], TEN, &BTreeSet::new()),
            Comparison {
                efficiency: 1_000,
                starved: 0
            }
        );
    }

    prop_compose! {
        fn any_waiting()(
            id in 0u64..64, fee: u64, arrived: u64, bytes: u32, effects: u32, is_overdue: bool,
        ) -> Waiting {
            Waiting { id, fee, arrived, bytes, effects, is_overdue }
        }
    }

    proptest! {
        #[test]
        fn the_reference_fits_and_scores_itself_whole(
            pool in prop::collection::vec(any_waiting(), 0..80), bytes: u64, effects: u64,
        ) {
            let pool: Vec<Waiting> = pool.into_iter().map(|one| (one.id, one))
                .collect::<std::collections::BTreeMap<_, _>>().into_values().collect();
            let room = Room { bytes, effects };
            let chosen = reference(&pool, room);
            let used: u128 = pool.iter().filter(|one| chosen.contains(&one.id))
                .map(|one| u128::from(one.bytes)).sum();
            prop_assert!(used <= u128::from(bytes));
            let same = compare(&pool, room, &chosen);
            prop_assert_eq!(same, Comparison { efficiency: 1_000, starved: 0 });
            let mut shuffled = pool.clone();
            shuffled.reverse();
            prop_assert_eq!(reference(&shuffled, room), chosen);
        }
    }
}
