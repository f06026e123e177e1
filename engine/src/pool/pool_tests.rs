//! Lane order never breaks, nothing is lost, and every refusal has its reason.
#![allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]

use super::*;
use crate::builder::{BlockLimits, Order, build};
use proptest::prelude::*;
use selfchain_types::crypto::SigningKey;
use selfchain_types::genesis::Limits;
use selfchain_types::{AccountId, Amount, AssetId, Envelope, EnvelopeBuilder, Operation, Verified};

/// The chain's lanes, as far as blocks were decided.
#[derive(Default)]
struct Chain(BTreeMap<(KeyId, u32), u64>);

impl LaneView for Chain {
    fn lane(&self, key: &KeyId, lane: u32) -> u64 {
        self.0.get(&(*key, lane)).copied().unwrap_or(0)
    }
}

impl Chain {
    fn apply(&mut self, verified: &Verified) {
        for signer in verified.view().signers() {
            let used = self.0.entry((signer.key, signer.lane.get())).or_default();
            assert_eq!(signer.counter.get(), *used + 1, "a block keeps lane order");
            *used += 1;
        }
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn rules(fees: Fees) -> PoolRules {
    let limits = Limits::default();
    PoolRules {
        validity_max: u64::from(limits.validity_max),
        lead_max: LEAD_MAX,
        block_bytes_max: u64::from(limits.block_bytes_max),
        block_effects_max: u64::from(limits.block_effects_max),
        fees,
    }
}

const PRICED: Fees = Fees {
    asset: AssetId(1),
    collector: AccountId(9),
    base: 1_000,
    per_operation: 10,
    per_byte: 0,
};

const FREE: Fees = Fees {
    asset: AssetId(0),
    collector: AccountId::NONE,
    base: 0,
    per_operation: 0,
    per_byte: 0,
};

/// A transaction of these `(key, lane, counter)`, valid in `window`, of so many operations; the more, the
/// less it pays a byte.
fn tx(signers: &[(u8, u32, u64)], window: (u64, u64), operations: usize, id: u128) -> Verified {
    let operation = Operation::transfer(id, AccountId(1), AccountId(2), Amount(3), AssetId(1));
    let mut builder = EnvelopeBuilder::new(Hash([9; 32]), Height(window.0), 0, vec![operation; operations]);
    builder.valid_until = Height(window.1);
    builder.fee = (AccountId(1), AssetId(1), Amount(1_000_000));
    let keys: Vec<(SigningKey, u32, u64)> = signers
        .iter()
        .map(|(seed, lane, counter)| (key(*seed), *lane, *counter))
        .collect();
    let signers: Vec<_> = keys
        .iter()
        .map(|(key, lane, counter)| (key, *lane, *counter))
        .collect();
    Verified::from_log(Envelope::decode(builder.sign(&signers)).unwrap())
}

fn plain(seed: u8, counter: u64) -> Verified {
    tx(&[(seed, 0, counter)], (1, 100), 1, 1)
}

fn pool(limits: PoolLimits, fees: Fees) -> Pool<u32> {
    Pool::new(limits, rules(fees), Height(1))
}

const ROOMY: BlockLimits = BlockLimits {
    bytes_max: 16 << 20,
    effects_max: 131_072,
    envelopes_max: 100_000,
};

/// Admits in turn; the answers in order, `None` for "waits".
fn admit(pool: &mut Pool<u32>, chain: &Chain, all: &[Verified]) -> Vec<Option<Refusal>> {
    let mut out = Vec::new();
    let answers = all
        .iter()
        .enumerate()
        .map(|(tag, one)| {
            pool.admit(one.clone(), tag as u32, chain, &mut out)
                .err()
                .map(|(_, why)| why)
        })
        .collect();
    assert_eq!(out, []);
    answers
}

#[test]
fn every_refusal_has_its_reason() {
    let mut chain = Chain::default();
    chain.0.insert((key(1).id(), 0), 5);
    chain.0.insert((key(2).id(), 0), u64::MAX);
    let again = tx(&[(1, 0, 6)], (1, 100), 1, 1);
    let cases = [
        (again.clone(), None),
        (again, Some(Refusal::Waiting)),
        (tx(&[(1, 0, 6)], (1, 100), 1, 2), Some(Refusal::CounterUsed)),
        (plain(1, 5), Some(Refusal::CounterUsed)),
        (plain(1, 8), Some(Refusal::CounterSkipped)),
        (plain(1, 7), None),
        (plain(2, u64::MAX), Some(Refusal::CounterUsed)),
        (plain(3, 0), Some(Refusal::CounterUsed)),
        (tx(&[(3, 0, 1)], (10, 100), 1, 1), Some(Refusal::NotYetValid)),
        (tx(&[(3, 0, 1)], (9, 100), 1, 1), None),
        (tx(&[(4, 0, 1)], (0, 0), 1, 1), Some(Refusal::Expired)),
        (tx(&[(4, 0, 1)], (7, 6), 1, 1), Some(Refusal::ValiditySpan)),
        (tx(&[(4, 0, 1)], (1, 4_098), 1, 1), Some(Refusal::ValiditySpan)),
        (tx(&[(4, 0, 1)], (1, 4_097), 1, 1), None),
        (
            tx(&[(4, 1, 1), (1, 0, 7)], (1, 100), 1, 1),
            Some(Refusal::CounterUsed),
        ),
        (tx(&[(4, 1, 1), (1, 0, 8)], (1, 100), 1, 1), None),
    ];
    let (all, want): (Vec<Verified>, Vec<_>) = cases.into_iter().unzip();
    let mut pool = pool(PoolLimits::default(), FREE);
    assert_eq!(admit(&mut pool, &chain, &all), want);
    assert_eq!(pool.len(), 5);
    let mut small = rules(FREE);
    small.block_effects_max = 3;
    let mut tight: Pool<u32> = Pool::new(PoolLimits::default(), small, Height(1));
    let long = tx(&[(1, 0, 6)], (1, 100), 4, 1);
    assert_eq!(admit(&mut tight, &chain, &[long]), [Some(Refusal::TooLarge)]);
}

#[test]
fn limits_hold_for_lanes_transactions_and_bytes() {
    let chain = Chain::default();
    let limits = PoolLimits {
        transactions_max: 4,
        lane_max: 2,
        ..PoolLimits::default()
    };
    let all = [
        plain(1, 1),
        plain(1, 2),
        plain(1, 3),
        plain(2, 1),
        plain(3, 1),
        plain(4, 1),
    ];
    let want = [
        None,
        None,
        Some(Refusal::LaneFull),
        None,
        None,
        Some(Refusal::PoolFull),
    ];
    let mut small = pool(limits, FREE);
    assert_eq!(admit(&mut small, &chain, &all), want);
    let taken = build(&mut small, &ROOMY, Order::Fee);
    assert_eq!((taken.len(), small.len(), small.proposed()), (4, 0, 4));
    assert_eq!(
        admit(&mut small, &chain, &[plain(5, 1)]),
        [Some(Refusal::PoolFull)],
        "what is proposed may come back"
    );
    let bytes = wide(plain(1, 1).as_bytes().len());
    let limits = PoolLimits {
        bytes_max: 2 * bytes,
        ..PoolLimits::default()
    };
    let mut narrow = pool(limits, FREE);
    assert_eq!(
        admit(&mut narrow, &chain, &[plain(1, 1), plain(2, 1), plain(3, 1)]),
        [None, None, Some(Refusal::PoolFull)]
    );
    assert_eq!(narrow.bytes(), 2 * bytes);
}

fn wide(len: usize) -> u64 {
    len as u64
}

#[test]
fn who_pays_more_pushes_out_the_last_of_a_lane_that_pays_least() {
    let chain = Chain::default();
    let limits = PoolLimits {
        transactions_max: 3,
        ..PoolLimits::default()
    };
    let mut pool = pool(limits, PRICED);
    let (mut out, of) = (Vec::new(), |seed, counter, operations| {
        tx(&[(seed, 0, counter)], (1, 100), operations, 1)
    });
    // The fewer operations, the more a byte.
    for (tag, one) in [of(1, 1, 9), of(1, 2, 5), of(2, 1, 7)].into_iter().enumerate() {
        pool.admit(one, tag as u32, &chain, &mut out).unwrap();
    }
    assert_eq!(
        pool.admit(of(3, 1, 8), 3, &chain, &mut out),
        Err((3, Refusal::PoolFull)),
        "the worst is not the last of its lane, and the lasts pay more"
    );
    pool.admit(of(3, 1, 6), 4, &chain, &mut out).unwrap();
    assert_eq!(out, [(2, Refusal::Evicted)]);
    pool.admit(of(3, 2, 1), 5, &chain, &mut out).unwrap();
    assert_eq!(out[1..], [(1, Refusal::Evicted)], "never the one that it follows");
    let block: Vec<u32> = build(&mut pool, &ROOMY, Order::Fee)
        .iter()
        .map(|entry| entry.ticket.tag)
        .collect();
    assert_eq!(block, [4, 5, 0]);
}

#[test]
fn what_is_over_goes_with_all_behind_it() {
    let chain = Chain::default();
    let mut pool = pool(PoolLimits::default(), FREE);
    let all = [
        tx(&[(1, 0, 1)], (1, 100), 1, 1),
        tx(&[(1, 0, 2)], (1, 5), 1, 1),
        tx(&[(1, 0, 3), (2, 0, 1)], (1, 100), 1, 1),
        tx(&[(2, 0, 2)], (1, 5), 1, 1),
        tx(&[(3, 0, 1)], (1, 6), 1, 1),
    ];
    assert_eq!(admit(&mut pool, &chain, &all), [None; 5]);
    let mut out = Vec::new();
    pool.advance(Height(5), &mut out);
    assert_eq!(out, []);
    pool.advance(Height(6), &mut out);
    assert_eq!(
        out,
        [
            (1, Refusal::Expired),
            (2, Refusal::CounterSkipped),
            (3, Refusal::Expired)
        ]
    );
    assert_eq!(pool.len(), 2);
    let mut retry = Vec::new();
    pool.admit(tx(&[(1, 0, 2)], (1, 100), 1, 2), 9, &chain, &mut retry)
        .unwrap();
}

#[test]
fn what_is_not_valid_yet_waits_with_all_behind_it() {
    let chain = Chain::default();
    let mut pool = pool(PoolLimits::default(), FREE);
    let all = [
        tx(&[(1, 0, 1)], (4, 100), 1, 1),
        tx(&[(1, 0, 2)], (1, 100), 1, 1),
        tx(&[(2, 0, 1)], (1, 100), 1, 1),
    ];
    assert_eq!(admit(&mut pool, &chain, &all), [None; 3]);
    let tags = |pool: &mut Pool<u32>| -> Vec<u32> {
        build(pool, &ROOMY, Order::Fee)
            .iter()
            .map(|entry| entry.ticket.tag)
            .collect()
    };
    assert_eq!(tags(&mut pool), [2]);
    pool.advance(Height(3), &mut Vec::new());
    assert!(!pool.has_ready());
    assert_eq!(tags(&mut pool), []);
    pool.advance(Height(4), &mut Vec::new());
    assert_eq!(tags(&mut pool), [0, 1]);
}

#[test]
fn a_dead_proposal_comes_back_in_its_old_order() {
    let mut chain = Chain::default();
    let mut pool = pool(PoolLimits::default(), FREE);
    let all = [plain(1, 1), plain(2, 1), plain(1, 2), plain(3, 1)];
    assert_eq!(admit(&mut pool, &chain, &all), [None; 4]);
    let two = BlockLimits {
        envelopes_max: 3,
        ..ROOMY
    };
    let taken = build(&mut pool, &two, Order::Fee);
    assert_eq!(
        pool.admit(plain(1, 1), 8, &chain, &mut Vec::new()),
        Err((8, Refusal::Waiting))
    );
    // Another block decides another use of key 2's counter, and key 1's first.
    let mut out = Vec::new();
    for other in [tx(&[(2, 0, 1)], (1, 100), 2, 7), plain(1, 1)] {
        chain.apply(&other);
        assert_eq!(
            pool.decided(&other.tx_id(), other.view().signers(), &mut out),
            None
        );
    }
    assert_eq!(out, []);
    pool.give_back(taken, &chain, &mut out);
    assert_eq!(out, [(0, Refusal::CounterUsed), (1, Refusal::CounterUsed)]);
    let rest: Vec<u32> = build(&mut pool, &ROOMY, Order::Fee)
        .iter()
        .map(|entry| entry.ticket.tag)
        .collect();
    assert_eq!(rest, [2, 3]);
}

#[test]
fn anothers_block_lets_go_of_what_waits() {
    let mut chain = Chain::default();
    let mut pool = pool(PoolLimits::default(), FREE);
    let all = [
        plain(1, 1),
        plain(1, 2),
        tx(&[(1, 0, 3), (2, 0, 1)], (1, 100), 1, 1),
    ];
    assert_eq!(admit(&mut pool, &chain, &all), [None; 3]);
    let mut out = Vec::new();
    chain.apply(&all[0]);
    assert_eq!(
        pool.decided(&all[0].tx_id(), all[0].view().signers(), &mut out),
        Some(0)
    );
    let rival = tx(&[(1, 0, 2)], (1, 100), 3, 5);
    chain.apply(&rival);
    assert_eq!(
        pool.decided(&rival.tx_id(), rival.view().signers(), &mut out),
        None
    );
    assert_eq!(out, [(1, Refusal::CounterUsed), (2, Refusal::CounterSkipped)]);
    assert!(pool.is_empty() && pool.bytes() == 0 && pool.effects() == 0);
    assert_eq!(admit(&mut pool, &chain, &[plain(1, 3), plain(2, 1)]), [None; 2]);
}

#[derive(Clone, Debug)]
enum Step {
    /// `(key, lane, off)`: `off` shifts the counter from the right one.
    Admit {
        signers: Vec<(u8, u32, i8)>,
        lead: u64,
        span: u64,
        operations: usize,
    },
    Build {
        envelopes_max: usize,
        effects_max: u64,
        fair: bool,
    },
    Decide,
    GiveBack,
    Advance(u64),
    Rival {
        seed: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let signer = (0u8..5, 0u32..2, prop_oneof![20 => Just(0i8), 1 => -1i8..2]);
    prop_oneof![
        12 => (prop::collection::vec(signer, 1..3), 0u64..4, 0u64..12, 1usize..6).prop_map(
            |(signers, lead, span, operations)| Step::Admit { signers, lead, span, operations }
        ),
        3 => (0usize..12, 0u64..40, any::<bool>()).prop_map(
            |(envelopes_max, effects_max, fair)| Step::Build { envelopes_max, effects_max, fair }
        ),
        2 => Just(Step::Decide),
        1 => Just(Step::GiveBack),
        2 => (0u64..4).prop_map(Step::Advance),
        1 => (0u8..5).prop_map(|seed| Step::Rival { seed }),
    ]
}

/// Drives a pool, and knows where every admitted transaction must be.
struct Model {
    chain: Chain,
    pool: Pool<u32>,
    height: u64,
    /// Counters that wait or are proposed, as the pool must count them.
    next: BTreeMap<(KeyId, u32), u64>,
    proposals: Vec<Vec<Entry<u32>>>,
    /// Admitted and not yet out by any door.
    inside: BTreeMap<u32, Verified>,
    out: Vec<(u32, Refusal)>,
    tags: u32,
}

impl Model {
    fn run(steps: Vec<Step>, fees: Fees, limits: PoolLimits) {
        let mut model = Self {
            chain: Chain::default(),
            pool: pool(limits, fees),
            height: 1,
            next: BTreeMap::new(),
            proposals: Vec::new(),
            inside: BTreeMap::new(),
            out: Vec::new(),
            tags: 0,
        };
        for step in steps {
            model.step(step);
            model.settle();
        }
        while !model.proposals.is_empty() {
            model.step(Step::Decide);
            model.settle();
        }
        model.step(Step::Advance(10_000));
        model.settle();
        assert!(model.inside.is_empty(), "lost: {:?}", model.inside.keys());
        assert_eq!((model.pool.bytes(), model.pool.effects()), (0, 0));
        assert!(model.pool.ready.is_empty() && model.pool.tails.is_empty());
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Admit {
                signers,
                lead,
                span,
                operations,
            } => self.admit(signers, (lead, span), operations),
            Step::Build {
                envelopes_max,
                effects_max,
                fair,
            } => {
                let limits = BlockLimits {
                    envelopes_max,
                    effects_max,
                    ..ROOMY
                };
                let order = if fair { Order::Fair } else { Order::Fee };
                let block = build(&mut self.pool, &limits, order);
                assert!(block.len() <= envelopes_max);
                self.check_block(&block);
                self.proposals.push(block);
            }
            Step::Decide if !self.proposals.is_empty() => {
                // The oldest proposal is decided; those on top of it stay.
                for entry in self.proposals.remove(0) {
                    self.chain.apply(&entry.verified);
                    let signers = entry.verified.view().signers();
                    assert_eq!(
                        self.pool.decided(&entry.verified.tx_id(), signers, &mut self.out),
                        None
                    );
                    assert!(self.inside.remove(&entry.ticket.tag).is_some());
                }
            }
            Step::GiveBack if !self.proposals.is_empty() => {
                // All die at once, the newest first: a lane is given back from its end.
                while let Some(block) = self.proposals.pop() {
                    self.pool.give_back(block, &self.chain, &mut self.out);
                }
            }
            Step::Advance(by) => {
                self.height += by;
                self.pool.advance(Height(self.height), &mut self.out);
            }
            Step::Rival { seed } if self.proposals.is_empty() => {
                let used = self.chain.lane(&key(seed).id(), 0);
                let rival = tx(&[(seed, 0, used + 1)], (1, 100), 1, u128::MAX - 1);
                self.chain.apply(&rival);
                assert_eq!(
                    self.pool
                        .decided(&rival.tx_id(), rival.view().signers(), &mut self.out),
                    None
                );
            }
            Step::Decide | Step::GiveBack | Step::Rival { .. } => {}
        }
    }

    fn admit(&mut self, mut signers: Vec<(u8, u32, i8)>, (lead, span): (u64, u64), operations: usize) {
        signers.dedup_by_key(|signer| signer.0);
        let signers: Vec<(u8, u32, u64)> = signers
            .into_iter()
            .map(|(seed, lane, off)| {
                let id = (key(seed).id(), lane);
                let next = self
                    .next
                    .get(&id)
                    .copied()
                    .unwrap_or(self.chain.lane(&id.0, lane) + 1);
                (seed, lane, next.saturating_add_signed(i64::from(off)))
            })
            .collect();
        self.tags += 1;
        let from = self.height + lead;
        let verified = tx(&signers, (from, from + span), operations, u128::from(self.tags));
        match self
            .pool
            .admit(verified.clone(), self.tags, &self.chain, &mut self.out)
        {
            Ok(()) => {
                assert!(self.inside.insert(self.tags, verified).is_none());
            }
            Err((tag, _)) => assert_eq!(tag, self.tags),
        }
    }

    fn check_block(&self, block: &[Entry<u32>]) {
        let mut lanes = Chain(self.chain.0.clone());
        for entry in self.proposals.iter().flatten().chain(block) {
            lanes.apply(&entry.verified);
        }
        for entry in block {
            let view = entry.verified.view();
            let header = view.header();
            assert!((header.valid_from.get()..=header.valid_until.get()).contains(&self.height));
        }
    }

    /// Takes note of refusals, and compares gauges.
    fn settle(&mut self) {
        for (tag, _) in self.out.drain(..) {
            assert!(self.inside.remove(&tag).is_some(), "{tag} left twice");
        }
        self.next.clear();
        for verified in self.inside.values() {
            for signer in verified.view().signers() {
                let next = self.next.entry((signer.key, signer.lane.get())).or_default();
                *next = (*next).max(signer.counter.get() + 1);
            }
        }
        let proposed: usize = self.proposals.iter().map(Vec::len).sum();
        assert_eq!(self.pool.proposed(), proposed);
        assert_eq!(self.pool.len() + proposed, self.inside.len());
        check_orders(&self.pool);
    }
}

/// What the pool keeps beside the lanes must say what the lanes say.
fn check_orders(pool: &Pool<u32>) {
    let (mut ready, mut tails, mut waiting) = (BTreeSet::new(), BTreeSet::new(), 0);
    for list in pool.later.values().chain([&pool.arrival]) {
        let mut at = list.first;
        while at != NONE {
            let slot = &pool.slots[at];
            let links = slot.links.as_slice();
            let waits = |other: u32| other != NONE && pool.slots[other].is_waiting();
            let behind = links.iter().filter(|link| waits(link.previous)).count();
            let ahead = links.iter().filter(|link| link.next != NONE).count();
            assert_eq!(
                (usize::from(slot.behind), usize::from(slot.ahead)),
                (behind, ahead)
            );
            if behind == 0 && slot.from <= pool.height {
                ready.insert(slot.rank(at));
            }
            if ahead == 0 {
                tails.insert(slot.rank(at));
            }
            waiting += 1;
            at = slot.order.next;
        }
    }
    assert_eq!(pool.len(), waiting);
    if pool.is_priced() {
        assert_eq!((&pool.ready, &pool.tails), (&ready, &tails));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn nothing_is_lost_and_lanes_stay_in_order(
        steps in prop::collection::vec(step(), 0..120),
        is_priced in any::<bool>(),
        transactions_max in 5usize..60,
    ) {
        let limits = PoolLimits { transactions_max, lane_max: 8, ..PoolLimits::default() };
        Model::run(steps, if is_priced { PRICED } else { FREE }, limits);
    }
}
