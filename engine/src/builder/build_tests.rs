//! Which transactions a block takes, and in what order.
#![allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]

use super::*;
use crate::pool::{LaneView, PoolLimits, PoolRules};
use selfchain_types::crypto::SigningKey;
use selfchain_types::genesis::Genesis;
use selfchain_types::{
    AccountId, Amount, AssetId, Envelope, EnvelopeBuilder, Hash, Height, KeyId, Operation, Verified,
};

struct Fresh;

impl LaneView for Fresh {
    fn lane(&self, _: &KeyId, _: u32) -> u64 {
        0
    }
}

/// A pool of transactions `(key, counter, operations)`, tagged by position. Where there are fees, fewer
/// operations pay more a byte.
fn pool(is_priced: bool, all: &[(u16, u64, usize)]) -> Pool<usize> {
    let mut genesis = Genesis::solo("test", 1, SigningKey::from_seed(&[1; 32]).public().clone());
    genesis.fees.asset = AssetId(1);
    genesis.fees.base = if is_priced { 1_000_000 } else { 0 };
    let mut pool = Pool::new(PoolLimits::default(), PoolRules::of(&genesis), Height(1));
    for (tag, (key, counter, operations)) in all.iter().enumerate() {
        let mut seed = [0; 32];
        seed[..2].copy_from_slice(&key.to_le_bytes());
        let operation = Operation::transfer(1, AccountId(1), AccountId(2), Amount(3), AssetId(1));
        let mut builder = EnvelopeBuilder::new(Hash([9; 32]), Height(1), 9, vec![operation; *operations]);
        builder.fee = (AccountId(1), AssetId(1), Amount::MAX);
        let bytes = builder.sign(&[(&SigningKey::from_seed(&seed), 0, *counter)]);
        let verified = Verified::from_log(Envelope::decode(bytes).unwrap());
        pool.admit(verified, tag, &Fresh, &mut Vec::new()).unwrap();
    }
    pool
}

fn limits(envelopes_max: usize, effects_max: u64) -> BlockLimits {
    BlockLimits {
        bytes_max: 1 << 24,
        effects_max,
        envelopes_max,
    }
}

fn check(is_priced: bool, order: Order, limits: BlockLimits, all: &[(u16, u64, usize)], want: &[usize]) {
    let mut pool = pool(is_priced, all);
    let got: Vec<usize> = build(&mut pool, &limits, order)
        .iter()
        .map(|entry| entry.ticket.tag)
        .collect();
    assert_eq!(got, want, "{order:?} of {all:?}");
    assert_eq!(pool.len() + got.len(), all.len());
}

#[test]
fn without_fees_both_orders_are_that_of_arrival() {
    let all = [(1, 1, 3), (2, 1, 1), (1, 2, 1), (3, 1, 9)];
    for order in [Order::Fee, Order::Fair] {
        check(false, order, limits(9, 99), &all, &[0, 1, 2, 3]);
        check(false, order, limits(2, 99), &all, &[0, 1]);
        check(false, order, limits(0, 99), &all, &[]);
        check(false, order, limits(9, 99), &[], &[]);
    }
}

#[test]
fn what_does_not_fit_is_passed_over_with_its_lane() {
    let all = [(1, 1, 1), (2, 1, 5), (2, 2, 1), (3, 1, 2)];
    check(false, Order::Fee, limits(9, 4), &all, &[0, 3]);
    check(true, Order::Fee, limits(9, 4), &all, &[0, 3]);
}

#[test]
fn by_fee_the_best_comes_first_and_lanes_keep_their_order() {
    // Key 1's second pays most, but waits for its first, which pays least.
    let all = [(1, 1, 9), (1, 2, 1), (2, 1, 5), (3, 1, 5), (4, 1, 7)];
    check(true, Order::Fee, limits(9, 99), &all, &[2, 3, 4, 0, 1]);
    check(true, Order::Fee, limits(3, 99), &all, &[2, 3, 4]);
}

#[test]
fn the_fair_order_takes_of_every_kind_and_places_by_arrival() {
    // 100 transactions; the later they came, the more they pay, but for the oldest ten, which pay in between.
    let all: Vec<(u16, u64, usize)> = (0..100u16)
        .map(|at| {
            (
                at,
                1,
                if at < 10 {
                    75 - usize::from(at)
                } else {
                    110 - usize::from(at)
                },
            )
        })
        .collect();
    let mut pool = pool(true, &all);
    let block: Vec<usize> = build(&mut pool, &limits(20, 1 << 40), Order::Fair)
        .iter()
        .map(|entry| entry.ticket.tag)
        .collect();
    assert_eq!(block.len(), 20);
    assert!(block.is_sorted());
    let count = |range: core::ops::Range<usize>| block.iter().filter(|tag| range.contains(tag)).count();
    assert_eq!(count(96..100), 4, "a fifth pays most: {block:?}");
    assert_eq!(count(10..14), 4, "a fifth pays least: {block:?}");
    assert_eq!(count(0..2), 2, "a tenth is the oldest: {block:?}");
    assert_eq!(count(40..70), 10, "half pays about the median: {block:?}");
}

#[test]
fn the_same_pool_gives_the_same_block() {
    let all: Vec<(u16, u64, usize)> = (0..60u16)
        .map(|at| (at % 20, u64::from(at / 20) + 1, usize::from(at % 7 + 1)))
        .collect();
    for order in [Order::Fee, Order::Fair] {
        let tags = || -> Vec<usize> {
            build(&mut pool(true, &all), &limits(25, 60), order)
                .iter()
                .map(|entry| entry.ticket.tag)
                .collect()
        };
        assert_eq!(tags(), tags());
    }
}

#[test]
fn outwards_visits_each_once() {
    for len in 0..20 {
        let mut seen: Vec<usize> = outwards(len).collect();
        if len > 2 {
            assert_eq!(seen[..3], [len / 2, len / 2 - 1, (len / 2 + 1).min(len - 1)][..]);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..len).collect::<Vec<_>>());
    }
}
