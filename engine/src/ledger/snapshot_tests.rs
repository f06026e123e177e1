//! Snapshots from strangers, and a great many pendings that are due at once.
#![allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]

use super::world::*;
use super::{CHUNK_BYTES_MAX, Ledger, RestoreError};
use alloc::collections::BTreeSet;
use selfchain_types::envelope::EnvelopeView;
use selfchain_types::key::SessionScope;
use selfchain_types::roots::Table;
use selfchain_types::time::NS_PER_S;
use selfchain_types::{Amount, Operation, OperationFlags, Risk, TimeNs};

type Chunks = Vec<(Table, Vec<u8>)>;

/// A world with something in every table.
fn full_world() -> World {
    let mut world = World::new(|_| ());
    let far = TimeNs(1 << 60);
    world.attachments = key(CAROL).public().as_bytes().to_vec();
    world.must(
        &[ALICE],
        &[
            Operation::register_key(1, id(CAROL), 1, 0, 32),
            reserve(3, A, B, 6).linked(),
            reserve(4, A, B, 7),
            reserve(5, A, B, 8),
            Operation::set_session(1, A, id(CAROL), SessionScope::ALL, Amount(9), far),
            Operation::set_session(1, A2, id(CAROL), SessionScope::ALL, Amount(9), far),
        ],
    );
    world.must(&[BOB], &[Operation::void(1, 5)]);
    let first = super::identity_tests::body(ROOT, 1, Some(CAROL));
    super::identity_tests::must(&mut world, &[ROOT, CAROL], &first);
    world.attachments = key(CAROL).public().as_bytes().to_vec();
    world.must(
        &[ALICE],
        &[Operation::set_session(
            1,
            A2,
            id(CAROL),
            SessionScope(0),
            Amount(0),
            TimeNs(0),
        )],
    );
    world
}

fn chunks(world: &World) -> Chunks {
    let mut chunks = Vec::new();
    world
        .ledger
        .snapshot(&mut |table, bytes| chunks.push((table, bytes.to_vec())));
    chunks
}

fn restore(world: &World, chunks: Chunks) -> Result<Ledger, RestoreError<std::io::Error>> {
    Ledger::restore(&world.genesis, &mut chunks.into_iter().map(Ok))
}

#[test]
fn a_restored_ledger_is_the_same_and_goes_on_the_same() {
    let mut world = full_world();
    let mut other = world.clone();
    other.ledger = restore(&world, chunks(&world)).ok().unwrap();
    assert_eq!(other.ledger.roots(), world.ledger.roots());
    assert_eq!(other.ledger.public_key(&id(CAROL)), Some(key(CAROL).public()));
    assert_eq!(other.ledger.last_op_time(), world.ledger.last_op_time());
    let next = [
        Operation::post(1, 3, Amount::MAX).flagged(OperationFlags::CHAIN),
        reserve(6, A, B, 1),
        pay(7, A, B, 3),
    ];
    assert_eq!(world.run(&[ALICE], &next), other.run(&[ALICE], &next));
    assert_eq!(other.ledger.roots(), world.ledger.roots());
}

#[test]
fn chunks_are_bounded_and_keep_their_order() {
    let world = full_world();
    let good = chunks(&world);
    assert!(good.iter().all(|(_, bytes)| bytes.len() <= CHUNK_BYTES_MAX));
    for at in 0..good.len() {
        let mut missing = good.clone();
        missing.remove(at);
        assert!(restore(&world, missing).is_err(), "without chunk {at}");
        let mut twice = good.clone();
        twice.insert(at, good[at].clone());
        assert!(restore(&world, twice).is_err(), "with chunk {at} twice");
    }
    let other = World::empty(|genesis| genesis.salt = 77);
    assert!(matches!(restore(&other, good), Err(RestoreError::OtherChain)));
}

#[test]
fn no_flipped_bit_goes_unnoticed_and_none_panics() {
    let mut world = full_world();
    let roots = world.ledger.roots();
    let good = chunks(&world);
    for (chunk, (_, bytes)) in good.iter().enumerate() {
        for at in 0..bytes.len() {
            let mut bad = good.clone();
            bad[chunk].1[at] ^= 1 << (at % 8);
            let is_same = restore(&world, bad).is_ok_and(|mut ledger| ledger.roots() == roots);
            // The three bytes of padding in a chunk's header are in no record.
            assert!(!is_same || (1..4).contains(&at), "chunk {chunk}, byte {at}");
        }
        let mut cut = good.clone();
        cut[chunk].1.pop();
        assert!(restore(&world, cut).is_err(), "chunk {chunk} cut");
    }
}

#[test]
fn a_million_pendings_due_at_once_expire_block_by_block() {
    const PENDINGS: u128 = 1_000_000;
    let mut world = World::new(|genesis| genesis.limits.block_bytes_max = 64 << 20);
    let mut next = 0;
    while next < PENDINGS {
        let last = PENDINGS.min(next + 8_190);
        let operations: Vec<Operation> = (next..last)
            .map(|at| Operation::reserve(100 + at, B_FREE, B, Amount(1), COIN, 100))
            .collect();
        run(&mut world, &operations);
        next = last;
    }
    assert_eq!(world.ledger.pending_count(), 1_000_000);
    let due = TimeNs(world.ledger.last_op_time().0 + 100 * NS_PER_S);
    assert_eq!(world.ledger.expiries_at(due), 4_096);
    world.now = due;
    for block in 0..3 {
        let late = Operation::post(1, 100 + PENDINGS - 1, Amount(1));
        let executed = run(&mut world, &[late]);
        let first = 100 + block * 4_096;
        assert!(executed.result.expired.iter().copied().eq(first..first + 4_096));
        assert_eq!(words(&executed.result), "pending_expired");
    }
    assert_eq!(world.ledger.pending_count(), 1_000_000 - 3 * 4_096);
    assert_eq!(world.totals(B), [0, 0, 0, 1_000_000 - 3 * 4_096]);
}

/// SplitMix64.
fn next(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *seed;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A block of random operations on every table, linked at random: many chains fail and are undone.
fn random_block(world: &mut World, seed: &mut u64, last_id: &mut u128, last_key: &mut u8) {
    let newcomer = key(*last_key);
    world.attachments = newcomer.public().as_bytes().to_vec();
    let owner = newcomer.id();
    let mut operations = Vec::new();
    for _ in 0..1 + next(seed) % 8 {
        *last_id += 1;
        let id = *last_id;
        let some = id - u128::from(next(seed) % 12).min(id - 1);
        let amount = u128::from(next(seed) % 40);
        let far = TimeNs(1 << 60);
        let operation = match next(seed) % 10 {
            0 | 1 => pay(id, A, B, amount),
            2 => pay(id, B, A, amount),
            3 => reserve(id, A, B, amount),
            4 => Operation::post(id, some, Amount::MAX),
            5 => Operation::void(id, some),
            6 => Operation::set_session(1, A, owner, SessionScope::ALL, Amount(amount + 1), far),
            7 if amount > 30 => open(A, ALICE),
            7 => Operation::set_session(1, A, owner, SessionScope(0), Amount(0), TimeNs(0)),
            8 => Operation::open_account(
                selfchain_types::AccountId(1_000 + id),
                COIN,
                owner,
                BOUND,
                Amount::ZERO,
                0,
            ),
            _ => {
                *last_key += 1;
                Operation::register_key(1, owner, 1, 0, 32)
            }
        };
        operations.push(if next(seed).is_multiple_of(3) {
            operation.linked()
        } else {
            operation
        });
    }
    let by = [ALICE, BOB];
    world.run(&by[..1 + usize::from(next(seed).is_multiple_of(2))], &operations);
    if next(seed).is_multiple_of(4) {
        world.pass(5);
    }
}

#[test]
fn a_snapshot_swept_while_the_ledger_goes_on_is_the_one_taken_at_once() {
    let (mut longest, mut seen) = (0, BTreeSet::new());
    for first_seed in 0..48 {
        let mut seed = first_seed;
        let (mut world, mut last_id, mut last_key) = (full_world(), 100, 20);
        for _ in 0..next(&mut seed) % 30 {
            random_block(&mut world, &mut seed, &mut last_id, &mut last_key);
        }
        let at_once = chunks(&world);
        world.ledger.freeze();
        let (mut swept, mut blocks) = (Chunks::new(), 0);
        loop {
            for _ in 0..next(&mut seed) % 6 {
                random_block(&mut world, &mut seed, &mut last_id, &mut last_key);
                blocks += 1;
            }
            let count = 1 + u32::try_from(next(&mut seed) % 6).unwrap();
            let sink = &mut |table, bytes: &[u8]| swept.push((table, bytes.to_vec()));
            if world.ledger.sweep(count, sink) {
                break;
            }
            assert!(world.ledger.is_sweeping() && world.ledger.frozen_bytes() > 0);
        }
        assert!(
            swept == at_once,
            "seed {first_seed}: other chunks after {blocks} blocks"
        );
        assert!(!world.ledger.is_sweeping() && world.ledger.frozen_bytes() == 0);
        longest = longest.max(blocks);
        seen.extend(world.seen);
    }
    assert!(
        longest > 20,
        "the ledger goes on meanwhile: {longest} blocks at most"
    );
    let undone = selfchain_types::Outcome::LinkedFailed;
    assert!(seen.contains(&undone.code()), "chains are undone");
}

#[test]
fn a_snapshot_taken_at_once_during_a_sweep_is_of_the_newest_state() {
    let mut world = full_world();
    world.ledger.freeze();
    world.must(&[ALICE], &[pay(50, A, B, 1), reserve(51, A, B, 1)]);
    assert!(!world.ledger.sweep(2, &mut |_, _| {}));
    let mut restored = restore(&world, chunks(&world)).ok().unwrap();
    assert_eq!(restored.roots(), world.ledger.roots());
}

/// Executes a block of Bob's without the checks that clone the ledger.
fn run(world: &mut World, operations: &[Operation]) -> super::Executed {
    let envelope = world.envelope(&[BOB], operations);
    let views = [EnvelopeView::new(&envelope).unwrap()];
    let height = world.height().next();
    let time = world.ledger.next_time(&views, world.now);
    world.ledger.validate(height, time, &views).unwrap();
    world
        .ledger
        .execute(height, time, &views, &Risk::default(), &|_| false)
        .unwrap()
}
