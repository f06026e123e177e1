//! What scores do: holds, releases, voids, refusals, policies and models. Every block is folded too, by `World`.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::world::*;
use super::{HoldState, Ledger, POLICIES_MAX};
use core::convert::Infallible;
use selfchain_types::roots::Table;
use selfchain_types::{
    AccountId, Amount, Hash, Height, KeyId, Operation, OperationFlags, Policy, Risk, TimeNs,
};

const MODEL: Hash = Hash([7; 32]);
const FOREVER: u32 = 0;

/// A world whose chain holds from score 160 on, refuses from 250 on, and has CAROL as its reviewer.
fn world() -> World {
    let mut world = World::new(|_| {});
    let policy = Policy {
        hold: 160,
        reject: 250,
        hold_timeout_s: FOREVER,
        reviewer: id(CAROL),
        ..Policy::default()
    };
    world.must(
        &[AUTHORITY],
        &[Operation::set_policy(1, AccountId::NONE, &policy)],
    );
    world
}

/// Outcomes of operations with these scores.
fn scored(world: &mut World, by: &[u8], operations: &[(Operation, u8)]) -> String {
    world.risk = Risk {
        scores: operations.iter().map(|(_, score)| *score).collect(),
        reasons: (0..)
            .zip(operations)
            .map(|(at, (_, score))| (at, [*score, 2, 3]))
            .collect(),
    };
    let operations: Vec<Operation> = operations.iter().map(|(operation, _)| *operation).collect();
    world.run(by, &operations)
}

fn only_hold(world: &World) -> (u128, HoldState) {
    let (holds, more) = world.ledger.holds(0, 10);
    assert_eq!((holds.len(), more), (1, None));
    (holds[0].id, holds[0].hold.unwrap())
}

fn set(account: AccountId, policy: Policy) -> Operation {
    Operation::set_policy(1, account, &policy)
}

#[test]
fn a_risky_transfer_waits_for_its_reviewer_and_then_moves() {
    let mut world = world();
    assert_eq!(scored(&mut world, &[ALICE], &[(pay(1, A, B, 10), 159)]), "ok");
    assert_eq!(scored(&mut world, &[ALICE], &[(pay(2, A, B, 30), 160)]), "held");
    assert_eq!(world.totals(A), [10, 1000, 30, 0]);
    let (hold, state) = only_hold(&world);
    assert_eq!(
        (state.score, state.reasons, state.reviewer),
        (160, [160, 2, 3], id(CAROL))
    );
    let release = Operation::post(3, hold, Amount::MAX);
    world.check(&[ALICE, BOB], &[release], "held_for_review");
    world.check(&[ALICE, BOB], &[Operation::void(3, hold)], "held_for_review");
    world.check(
        &[CAROL],
        &[Operation::post(3, hold, Amount(29))],
        "held_for_review",
    );
    assert_eq!(world.run(&[CAROL], &[release]), "ok=30");
    assert_eq!(world.totals(A), [40, 1000, 0, 0]);
    assert_eq!(world.totals(B), [0, 40, 0, 0]);
    assert_eq!(world.run(&[CAROL], &[release]), "pending_unknown");
}

#[test]
fn a_voided_hold_gives_the_amount_back() {
    let mut world = world();
    assert_eq!(scored(&mut world, &[ALICE], &[(pay(2, A, B, 30), 200)]), "held");
    let (hold, _) = only_hold(&world);
    world.must(&[CAROL], &[Operation::void(3, hold)]);
    assert_eq!((world.totals(A), world.totals(B)), ([0, 1000, 0, 0], [0; 4]));
}

#[test]
fn a_hold_ends_by_itself_when_the_policy_says_so() {
    let mut world = world();
    world.must(
        &[AUTHORITY],
        &[set(
            AccountId::NONE,
            Policy {
                hold: 160,
                hold_timeout_s: 60,
                ..Policy::default()
            },
        )],
    );
    assert_eq!(scored(&mut world, &[ALICE], &[(pay(2, A, B, 30), 200)]), "held");
    assert_eq!(
        only_hold(&world).1.reviewer,
        id(AUTHORITY),
        "without a reviewer the authority reviews"
    );
    world.pass(61);
    let executed = world.block(&[]);
    assert_eq!(executed.result.expired.len(), 1);
    assert_eq!((world.totals(A), world.totals(B)), ([0, 1000, 0, 0], [0; 4]));
}

#[test]
fn the_rules_of_money_come_before_a_hold_and_a_refused_score_before_them() {
    let mut world = world();
    assert_eq!(
        scored(&mut world, &[ALICE], &[(pay(1, A, B, 1001), 200)]),
        "insufficient_funds:1001/1000"
    );
    assert_eq!(
        scored(&mut world, &[BOB], &[(pay(1, A, B, 1), 200)]),
        "not_authorized"
    );
    assert_eq!(
        scored(&mut world, &[ALICE], &[(pay(1, A, B, 1001), 250)]),
        "risk_rejected"
    );
    assert_eq!(
        scored(&mut world, &[ALICE], &[(pay(1, A, AccountId(99), 1), 250)]),
        "credit_account_unknown"
    );
}

#[test]
fn what_an_issuance_account_pays_is_not_judged() {
    let mut world = world();
    assert_eq!(scored(&mut world, &[ISSUER], &[(pay(1, MINT, A, 5), 254)]), "ok");
    assert_eq!(scored(&mut world, &[ALICE], &[(pay(1, A, MINT, 5), 254)]), "ok");
}

#[test]
fn what_is_not_scored_is_held_where_the_policy_says_so() {
    let mut world = world();
    assert_eq!(scored(&mut world, &[ALICE], &[(pay(1, A, B, 1), 255)]), "ok");
    let strict = Policy {
        holds_unscored: true,
        ..Policy::default()
    };
    world.must(&[ALICE], &[set(A, strict)]);
    assert_eq!(scored(&mut world, &[ALICE], &[(pay(1, A, B, 1), 255)]), "held");
    assert_eq!(scored(&mut world, &[ALICE], &[(pay(1, A2, A, 0), 255)]), "ok");
    assert_eq!(
        world.run(&[ALICE], &[pay(1, A, B, 1)]),
        "ok",
        "a block without scores is not judged"
    );
}

#[test]
fn an_account_may_be_stricter_than_its_chain_and_names_its_own_reviewer() {
    let mut world = world();
    let own = Policy {
        hold: 100,
        reviewer: id(BOB),
        ..Policy::default()
    };
    world.check(&[BOB], &[set(A, own)], "not_authorized");
    world.check(&[ALICE], &[set(AccountId(99), own)], "account_unknown");
    world.must(&[ALICE], &[set(A, own)]);
    assert_eq!(world.ledger.own_policy(A), Some(own));
    assert_eq!(world.ledger.least_threshold(), 100);
    assert_eq!(scored(&mut world, &[ALICE], &[(pay(1, A, B, 1), 100)]), "held");
    let (hold, state) = only_hold(&world);
    assert_eq!(state.reviewer, id(BOB));
    world.check(&[CAROL], &[Operation::void(3, hold)], "held_for_review");
    // Another reviewer later: the one in force when it is settled counts.
    world.must(&[ALICE], &[set(A, Policy::default())]);
    assert_eq!(world.ledger.own_policy(A), None);
    world.check(&[BOB], &[Operation::void(3, hold)], "held_for_review");
    world.must(&[CAROL], &[Operation::void(3, hold)]);
}

#[test]
fn what_the_chain_holds_its_reviewer_settles_whomever_the_account_names() {
    let mut world = world();
    let own = Policy {
        hold: 100,
        reviewer: id(ALICE),
        ..Policy::default()
    };
    world.must(&[ALICE], &[set(A, own)]);
    assert_eq!(scored(&mut world, &[ALICE], &[(pay(1, A, B, 1), 160)]), "held");
    let (hold, state) = only_hold(&world);
    assert_eq!(state.reviewer, id(CAROL));
    world.check(
        &[ALICE],
        &[Operation::post(3, hold, Amount::MAX)],
        "held_for_review",
    );
}

#[test]
fn a_policy_that_comes_and_goes_leaves_no_count_behind() {
    let mut world = world();
    let strict = Policy {
        hold: 10,
        holds_unscored: true,
        ..Policy::default()
    };
    for _ in 0..2 {
        world.must(&[ALICE], &[set(A, strict)]);
        assert_eq!(scored(&mut world, &[ALICE], &[(pay(1, A, B, 0), 255)]), "held");
        world.must(&[ALICE], &[set(A, Policy::default())]);
        assert_eq!(scored(&mut world, &[ALICE], &[(pay(1, A, B, 0), 255)]), "ok");
        assert_eq!(world.ledger.least_threshold(), 160);
    }
    world.must(
        &[ALICE],
        &[set(A, strict), set(A2, strict), set(A, Policy::default())],
    );
    assert_eq!(
        scored(&mut world, &[ALICE], &[(pay(1, A2, B, 0), 255)]),
        "held",
        "the other's still counts"
    );
}

#[test]
fn a_chain_that_changes_the_policy_under_itself_is_refused_whole() {
    let mut world = world();
    let strict = Policy {
        hold: 50,
        ..Policy::default()
    };
    let chain = [
        (pay(1, A, B, 5).linked(), 10),
        (set(A, strict).linked(), 255),
        (pay(2, A, B, 7), 60),
    ];
    assert_eq!(
        scored(&mut world, &[ALICE], &chain),
        "linked_failed linked_failed chain_unholdable"
    );
    assert_eq!(world.totals(A), [0, 1000, 0, 0]);
}

#[test]
fn a_chain_that_opens_the_account_of_a_held_member_is_refused_whole() {
    let mut world = world();
    let fresh = AccountId(99);
    let chain = [
        (open(fresh, ALICE).linked(), 255),
        (pay(2, A, fresh, 5).linked(), 200),
        (pay(3, A, B, 1), 3),
    ];
    assert_eq!(
        scored(&mut world, &[ALICE], &chain),
        "linked_failed chain_unholdable linked_failed"
    );
    assert_eq!(world.ledger.account(fresh), None);
}

#[test]
fn a_held_chain_is_released_whole_and_what_stays_pending_is_a_chain_again() {
    let mut world = world();
    let chain = [
        (pay(1, A, B, 10).linked(), 200),
        (reserve(5, A, B, 20).linked(), 5),
        (reserve(6, A, B, 30), 5),
    ];
    assert_eq!(scored(&mut world, &[ALICE], &chain), "held held held");
    let (holds, _) = world.ledger.holds(0, 9);
    world.check(
        &[CAROL, AUTHORITY],
        &[Operation::post(9, holds[0].id, Amount::MAX)],
        "held_for_review",
    );
    world.check(
        &[CAROL, AUTHORITY],
        &[Operation::post(9, 5, Amount::MAX)],
        "held_for_review",
    );
    let whole = Operation::post(9, holds[0].id, Amount::MAX).flagged(OperationFlags::CHAIN);
    world.must(&[CAROL, AUTHORITY], &[whole]);
    assert_eq!(world.totals(A), [10, 1000, 50, 0]);
    assert_eq!(world.ledger.pending(5).unwrap().chain_len, 2);
    world.must(
        &[BOB],
        &[Operation::post(10, 5, Amount::MAX).flagged(OperationFlags::CHAIN)],
    );
    assert_eq!(world.totals(A), [60, 1000, 0, 0]);
}

#[test]
fn models_to_come_do_not_push_out_the_one_in_force() {
    let mut world = world();
    let now = world.height().0;
    world.must(&[AUTHORITY], &[Operation::set_model(1, MODEL, Height(now + 2))]);
    for ahead in 0..7 {
        world.must(
            &[AUTHORITY],
            &[Operation::set_model(1, Hash([8; 32]), Height(now + 1000 + ahead))],
        );
    }
    world.check(
        &[AUTHORITY],
        &[Operation::set_model(1, MODEL, Height(now + 2000))],
        "model_invalid",
    );
    world.must(
        &[AUTHORITY],
        &[Operation::set_model(1, MODEL, Height(now + 1006))],
    );
    assert_eq!(world.ledger.model_at(world.height().next()), Some(MODEL));
}

#[test]
fn a_held_pending_transfer_becomes_an_ordinary_one_when_released() {
    let mut world = world();
    assert_eq!(
        scored(&mut world, &[ALICE], &[(reserve(5, A, B, 40), 200)]),
        "held"
    );
    assert!(only_hold(&world).1.was_pending);
    world.check(&[BOB], &[Operation::post(6, 5, Amount::MAX)], "held_for_review");
    assert_eq!(world.run(&[CAROL], &[Operation::post(6, 5, Amount::MAX)]), "ok=0");
    assert_eq!(world.ledger.pending(5).unwrap().hold, None);
    assert_eq!(world.totals(A), [0, 1000, 40, 0]);
    assert_eq!(world.run(&[BOB], &[Operation::post(7, 5, Amount(15))]), "ok");
    assert_eq!(world.totals(A), [15, 1000, 0, 0]);
}

#[test]
fn one_held_member_holds_its_whole_chain() {
    let mut world = world();
    let chain = [
        (pay(1, A, B, 10).linked(), 5),
        (pay(2, A, B_FREE, 20).linked(), 200),
        (pay(3, A2, B, 0), 5),
    ];
    assert_eq!(scored(&mut world, &[ALICE], &chain), "held held held");
    assert_eq!(world.totals(A), [0, 1000, 30, 0]);
    let (holds, _) = world.ledger.holds(0, 10);
    assert!(holds.iter().all(|hold| hold.chain_len == 3));
    let whole = Operation::post(9, holds[0].id, Amount::MAX).flagged(OperationFlags::CHAIN);
    world.check(&[BOB], &[whole], "held_for_review");
    world.must(&[CAROL], &[whole]);
    assert_eq!(world.totals(A), [30, 1000, 0, 0]);
}

#[test]
fn a_chain_with_a_member_that_cannot_be_pending_is_refused_when_one_is_held() {
    let mut world = world();
    let chain = [
        (open(AccountId(77), ALICE).linked(), 255),
        (pay(2, A, B, 20), 200),
    ];
    assert_eq!(
        scored(&mut world, &[ALICE], &chain),
        "linked_failed chain_unholdable"
    );
    let chain = [(pay(1, A, B, 1).linked(), 3), (pay(2, A, B, 20), 251)];
    assert_eq!(
        scored(&mut world, &[ALICE], &chain),
        "linked_failed risk_rejected"
    );
    let chain = [(pay(1, A, B, 990).linked(), 200), (pay(2, A, B, 20), 3)];
    assert_eq!(
        scored(&mut world, &[ALICE], &chain),
        "linked_failed insufficient_funds:20/10"
    );
    assert_eq!(world.ledger.pending_count(), 0);
    assert_eq!(world.totals(A), [0, 1000, 0, 0]);
}

#[test]
fn policies_and_models_are_the_authoritys_and_are_taken_back_with_their_chain() {
    let mut world = world();
    let model = Operation::set_model(1, MODEL, Height(100));
    world.check(&[ALICE], &[model], "not_authorized");
    world.check(
        &[ALICE],
        &[set(AccountId::NONE, Policy::default())],
        "not_authorized",
    );
    world.check(
        &[AUTHORITY],
        &[Operation::set_model(1, MODEL, world.height().next())],
        "model_invalid",
    );
    let (roots, version) = (world.ledger.roots(), world.ledger.policy_version());
    let fails = pay(3, A, B, 5000);
    let strict = Policy {
        hold: 1,
        ..Policy::default()
    };
    assert_eq!(
        world.run(
            &[AUTHORITY, ALICE],
            &[
                set(AccountId::NONE, strict).linked(),
                set(A, strict).linked(),
                model.linked(),
                fails
            ]
        ),
        "linked_failed linked_failed linked_failed insufficient_funds:5000/1000"
    );
    assert_eq!(world.ledger.policy_version(), version);
    for table in [Table::Policies, Table::Models] {
        assert_eq!(world.ledger.roots().get(table), roots.get(table));
    }
    world.must(&[AUTHORITY], &[model]);
    assert_eq!(world.ledger.model_at(Height(99)), None);
    assert_eq!(world.ledger.model_at(Height(100)), Some(MODEL));
    world.check(
        &[AUTHORITY],
        &[Operation::set_model(1, MODEL, Height(99))],
        "model_invalid",
    );
    world.must(&[AUTHORITY], &[Operation::set_model(1, Hash::ZERO, Height(200))]);
    assert_eq!(world.ledger.model_at(Height(200)), None, "rolled back to none");
    for from in 201..207 {
        world.must(&[AUTHORITY], &[Operation::set_model(1, MODEL, Height(from))]);
    }
    assert_eq!(world.ledger.models().len(), 8);
}

const OTHER: Hash = Hash([8; 32]);

/// A chain where one model has decided and another does, at the next height.
fn world_with_two_models() -> World {
    let mut world = world();
    let now = world.height().0;
    world.must(
        &[AUTHORITY],
        &[
            Operation::set_model(1, MODEL, Height(now + 2)),
            Operation::set_model(2, OTHER, Height(now + 3)),
        ],
    );
    world.must(&[ALICE], &[Operation::anchor(1, Hash::ZERO)]);
    world.must(&[ALICE], &[Operation::anchor(2, Hash::ZERO)]);
    world
}

#[test]
fn an_account_prefers_a_model_that_has_decided_and_blocks_name_it() {
    let mut world = world_with_two_models();
    let next = world.height().next();
    assert_eq!(world.ledger.models_named_at(next), [OTHER]);
    let prefer = |model| Operation::prefer_model(1, A, model);
    world.check(&[BOB], &[prefer(MODEL)], "not_authorized");
    world.check(&[ALICE], &[prefer(Hash([99; 32]))], "model_invalid");
    let version = world.ledger.policy_version();
    world.must(&[ALICE], &[prefer(MODEL)]);
    assert_eq!(world.ledger.policy_version(), version + 1);
    let next = world.height().next();
    let mut both = [MODEL, OTHER];
    both.sort_unstable();
    assert_eq!(world.ledger.models_named_at(next), both);
    assert_eq!(world.ledger.preferred_model(A, next), Some(MODEL));
    assert_eq!(world.ledger.preferred_model(B, next), None);
    world.must(&[ALICE], &[prefer(OTHER)]);
    assert_eq!(
        world.ledger.preferred_model(A, next),
        None,
        "the one that decides is asked anyway"
    );
    assert_eq!(world.ledger.own_model(A), Some(OTHER));
    world.must(&[ALICE], &[prefer(Hash::ZERO)]);
    assert!(!world.ledger.has_preferred_models());
}

#[test]
fn a_preference_is_taken_back_with_its_chain_and_carried_by_snapshots() {
    let mut world = world_with_two_models();
    let before = world.ledger.roots().get(Table::Models);
    let prefer = Operation::prefer_model(1, A, MODEL);
    world.check(
        &[ALICE],
        &[prefer.linked(), pay(3, A, B, 5000)],
        "linked_failed insufficient_funds:5000/1000",
    );
    assert_eq!(world.ledger.roots().get(Table::Models), before);
    world.must(&[ALICE], &[prefer]);
    assert_ne!(world.ledger.roots().get(Table::Models), before);
    let mut chunks = Vec::new();
    world
        .ledger
        .snapshot(&mut |table, chunk| chunks.push(Ok::<_, Infallible>((table, chunk.to_vec()))));
    let mut restored = Ledger::restore(&world.genesis, &mut chunks.into_iter()).unwrap();
    assert_eq!(restored.roots(), world.ledger.roots());
    assert_eq!(restored.own_model(A), Some(MODEL));
}

#[test]
fn no_model_begins_where_the_record_of_a_preference_would() {
    let mut world = world();
    let far = Operation::set_model(1, MODEL, Height(u64::MAX << 32));
    world.check(&[AUTHORITY], &[far], "model_invalid");
}

#[test]
fn an_account_is_spoken_for_by_its_owner_and_its_reviewers() {
    let mut world = world();
    let report = Operation::report(1, Hash([1; 32]), 0, A, 1).accusing(B);
    world.must(&[ALICE], &[report]);
    world.must(&[CAROL], &[report]);
    world.check(&[BOB], &[report], "not_authorized");
    let own = Policy {
        reviewer: id(BOB),
        ..Policy::default()
    };
    world.must(&[ALICE], &[set(A, own)]);
    world.must(&[BOB], &[report]);
    world.check(&[AUTHORITY], &[report], "not_authorized");
}

/// Every outcome that scores and policies have.
pub(super) fn risks() -> alloc::collections::BTreeSet<u16> {
    let mut world = world();
    scored(&mut world, &[ALICE], &[(pay(1, A, B, 1), 200)]);
    let hold = only_hold(&world).0;
    world.check(&[BOB], &[Operation::void(3, hold)], "held_for_review");
    scored(&mut world, &[ALICE], &[(pay(1, A, B, 1), 250)]);
    scored(
        &mut world,
        &[ALICE],
        &[
            (open(AccountId(77), ALICE).linked(), 255),
            (pay(2, A, B, 20), 200),
        ],
    );
    world.check(
        &[AUTHORITY],
        &[Operation::set_model(1, MODEL, Height(0))],
        "model_invalid",
    );
    let wrong = Operation {
        amount: 0x1_0000.into(),
        ..set(AccountId::NONE, Policy::default())
    };
    world.check(&[AUTHORITY], &[wrong], "policy_invalid");
    fill_policies(&mut world);
    world.seen
}

fn fill_policies(world: &mut World) {
    let strict = Policy {
        annotate: 1,
        ..Policy::default()
    };
    let most = u128::try_from(POLICIES_MAX).unwrap();
    let accounts: Vec<AccountId> = (0..=most).map(|at| AccountId(1_000_000 + at)).collect();
    let last = *accounts.last().unwrap();
    for some in accounts.chunks(4_000) {
        let operations: Vec<Operation> = some.iter().map(|account| open(*account, ALICE)).collect();
        world.must(&[ALICE], &operations);
        let operations: Vec<Operation> = some
            .iter()
            .filter(|account| **account != last)
            .map(|account| set(*account, strict))
            .collect();
        world.must(&[ALICE], &operations);
    }
    assert_eq!(world.ledger.least_threshold(), 1);
    world.check(&[ALICE], &[set(last, strict)], "policies_full");
    world.must(
        &[ALICE],
        &[
            set(last, Policy::default()),
            set(accounts[0], Policy::default()),
            set(last, strict),
        ],
    );
}

#[test]
fn a_policy_of_nonsense_is_refused() {
    let mut world = world();
    let wrong = Operation {
        amount: 0x1_0000.into(),
        ..set(AccountId::NONE, Policy::default())
    };
    world.check(&[AUTHORITY], &[wrong], "policy_invalid");
    let used = Operation {
        asset: 1.into(),
        ..set(AccountId::NONE, Policy::default())
    };
    world.check(&[AUTHORITY], &[used], "field_not_zero");
}

#[test]
fn a_snapshot_carries_holds_policies_and_models() {
    let mut world = world();
    world.must(&[AUTHORITY], &[Operation::set_model(1, MODEL, Height(100))]);
    let own = Policy {
        annotate: 9,
        reviewer: KeyId(Hash([5; 32])),
        ..Policy::default()
    };
    world.must(&[ALICE], &[set(A, own)]);
    assert_eq!(scored(&mut world, &[ALICE], &[(pay(1, A, B, 3), 201)]), "held");
    let mut chunks = Vec::new();
    world
        .ledger
        .snapshot(&mut |table, chunk| chunks.push(Ok::<_, Infallible>((table, chunk.to_vec()))));
    let mut restored = Ledger::restore(&world.genesis, &mut chunks.clone().into_iter()).unwrap();
    assert_eq!(restored.roots(), world.ledger.roots());
    assert_eq!(restored.holds(0, 9), world.ledger.holds(0, 9));
    assert_eq!(restored.own_policy(A), Some(own));
    assert_eq!(restored.model_at(Height(100)), Some(MODEL));
    assert_eq!(restored.least_threshold(), 9);
    let policies =
        |chunk: &&mut Result<(Table, Vec<u8>), Infallible>| matches!(chunk, Ok((Table::Policies, _)));
    let Some(Ok((_, bytes))) = chunks.iter_mut().find(policies) else {
        panic!("policies have a chunk");
    };
    let last = bytes.len() - 44;
    bytes[last..last + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(
        Ledger::restore(&world.genesis, &mut chunks.into_iter()).is_err(),
        "an account that is not there"
    );
    assert_eq!(world.ledger.times_of(TimeNs(5), &[]), []);
}
