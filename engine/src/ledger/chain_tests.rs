//! Linked chains: all or nothing, and chains of pendings settled as one.
#![allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]

use super::world::*;
use alloc::collections::BTreeSet;
use selfchain_types::account::Balances;
use selfchain_types::key::SessionScope;
use selfchain_types::{AccountId, Amount, AssetId, Height, KeyId, Operation, OperationFlags, TimeNs};

/// Cases of linked chains; the outcomes they met.
pub(super) fn chains() -> BTreeSet<u16> {
    let mut world = World::new(|genesis| genesis.limits.chain_max = 3);
    let ok = |id| pay(id, A, B, 1);
    let bad = |id| pay(id, A2, B, 9);
    world.check(
        &[ALICE],
        &[ok(1).linked(), ok(2).linked(), ok(3), ok(4)],
        "ok ok ok ok",
    );
    world.check(
        &[ALICE],
        &[ok(1), ok(2).linked(), bad(3).linked(), ok(4), ok(5)],
        "ok linked_failed insufficient_funds:9/0 linked_failed ok",
    );
    world.check(
        &[ALICE],
        &[ok(1).linked(), bad(2)],
        "linked_failed insufficient_funds:9/0",
    );
    world.check(
        &[ALICE],
        &[bad(1).linked(), ok(2)],
        "insufficient_funds:9/0 linked_failed",
    );
    world.check(
        &[ALICE],
        &[ok(1), ok(2).linked(), ok(3).linked()],
        "ok linked_failed chain_open",
    );
    world.check(
        &[ALICE],
        &[bad(1).linked(), ok(2).linked()],
        "linked_failed chain_open",
    );
    world.check(&[ALICE], &[ok(1).linked()], "chain_open");
    world.check(
        &[ALICE],
        &[ok(1).linked(), ok(2).linked(), ok(3).linked(), ok(4), ok(5)],
        "linked_failed linked_failed linked_failed chain_too_long ok",
    );
    // An amount that moved is told only of a chain that did.
    let all = pay(1, A, B, u128::MAX).flagged(OperationFlags::BALANCING_DEBIT);
    world.check(
        &[ALICE],
        &[all.linked(), ok(2)],
        "linked_failed insufficient_funds:1/0",
    );
    world.check(&[ALICE], &[ok(1).linked(), all], "ok ok=999");
    // Refusals in an unknown kind are still members of the chain.
    let mut unknown = ok(1);
    unknown.kind = 200;
    world.check(&[ALICE], &[unknown.linked(), ok(2)], "kind_unknown linked_failed");
    world.seen
}

#[test]
fn a_chain_takes_effect_whole_or_not_at_all() {
    chains();
}

/// Operations of every kind that changes a table, none of which fails.
fn everything() -> Vec<Operation> {
    let far = TimeNs(1 << 60);
    let fresh = AccountId(500);
    vec![
        Operation::create_asset(AssetId(60), AccountId(501), KeyId::NONE, 2, Amount(9)),
        Operation::open_account(fresh, AssetId(60), id(200), BOUND, Amount::ZERO, 0),
        Operation::transfer(1, AccountId(501), fresh, Amount(3), AssetId(60)),
        pay(2, A, B_HISTORY, 5),
        reserve(3, A, B, 6),
        reserve(4, A, B, 7),
        Operation::post(5, 3, Amount(2)),
        Operation::post(6, 40, Amount::MAX),
        Operation::void(7, 41),
        Operation::post(8, 42, Amount::MAX).flagged(OperationFlags::CHAIN),
        Operation::register_key(9, id(CAROL), 1, 0, 32),
        Operation::set_session(10, A, id(201), SessionScope::ALL, Amount(9), far),
        Operation::set_session(11, A, id(CAROL), SessionScope::ALL, Amount(90), far),
        Operation::set_session(12, A2, id(CAROL), SessionScope(0), Amount(0), TimeNs(0)),
        Operation::close_account(A2),
        Operation::set_limit(B, Amount(3)),
        Operation::upgrade(13, 2, Height(1 << 40)),
        Operation::revoke_key(14, id(BOB)),
        Operation::anchor(15, selfchain_types::Hash([3; 32])),
    ]
}

fn busy_world() -> World {
    let mut world = World::new(|_| ());
    let far = TimeNs(1 << 60);
    let session =
        |account, cap| Operation::set_session(1, account, id(CAROL), SessionScope::ALL, Amount(cap), far);
    world.must(
        &[ALICE],
        &[
            reserve(39, A, B, 1),
            reserve(40, A, B, 10),
            reserve(41, A, B, 10),
            reserve(42, A, B, 10).linked(),
            reserve(43, A, B, 10),
            reserve(44, A, B, 10),
            session(A, 20),
            session(A2, 20),
        ],
    );
    world.must(&[BOB], &[Operation::void(1, 39), Operation::void(2, 44)]);
    world.attachments = key(CAROL).public().as_bytes().to_vec();
    world
}

#[test]
fn a_chain_that_fails_leaves_no_trace_whatever_it_did() {
    let by = [ISSUER, ALICE, BOB, AUTHORITY];
    let all = everything();
    for len in 0..=all.len() {
        let mut world = busy_world();
        let mut nothing = world.clone();
        let mut members: Vec<Operation> = all[..len].iter().map(|one| one.linked()).collect();
        members.push(pay(99, A, B, 1 << 100));
        let outcomes = world.run(&by, &members);
        assert_eq!(
            outcomes.matches("linked_failed").count(),
            len,
            "with {len} members: {outcomes}"
        );
        assert!(outcomes.contains("insufficient_funds"), "{outcomes}");
        // The same block with operations that change nothing: only counters and time move on.
        let idle = vec![pay(99, A, B, 1 << 100); len + 1];
        let refused = nothing.run(&by, &idle);
        assert!(!refused.contains("ok"), "{refused}");
        assert_eq!(
            world.ledger.roots(),
            nothing.ledger.roots(),
            "after {len} members"
        );
        assert_eq!(world.ledger.public_key(&id(CAROL)), None);
        assert_eq!(world.ledger.next_expiry(), nothing.ledger.next_expiry());
        // And what comes after goes the same way.
        let alone: Vec<Operation> = all.clone();
        assert_eq!(world.run(&by, &alone), nothing.run(&by, &alone));
        assert_eq!(
            world.ledger.roots(),
            nothing.ledger.roots(),
            "later, after {len} members"
        );
    }
}

#[test]
fn a_chain_that_holds_does_what_its_members_do_alone() {
    let by = [ISSUER, ALICE, BOB, AUTHORITY];
    let mut linked = busy_world();
    let mut alone = linked.clone();
    let mut members: Vec<Operation> = everything().iter().map(|one| one.linked()).collect();
    members.push(pay(99, A, B, 1));
    linked.must(&by, &members);
    let mut each = everything();
    each.push(pay(99, A, B, 1));
    alone.must(&by, &each);
    assert_eq!(linked.ledger.roots(), alone.ledger.roots());
}

#[test]
fn a_chain_of_pendings_is_settled_as_one() {
    let mut world = World::new(|_| ());
    let gem = Operation::reserve(51, A_GEM, GEM_MINT, Amount(4), GEM, 0);
    world.must(
        &[ALICE],
        &[
            reserve(50, A, B, 10).linked(),
            gem.linked(),
            reserve(52, A, B, 20),
        ],
    );
    world.must(&[ALICE], &[reserve(60, A, B, 1)]);
    assert_eq!(world.ledger.pending(51).unwrap().chain_len, 3);
    assert_eq!(world.ledger.pending(60).unwrap().chain_len, 1);
    let post = |id| Operation::post(1, id, Amount::MAX).flagged(OperationFlags::CHAIN);
    let void = |id| Operation::void(1, id).flagged(OperationFlags::CHAIN);
    world.check(&[BOB, ALICE], &[post(50)], "ok=34");
    world.check(&[BOB, ALICE], &[post(51)], "pending_mismatch");
    world.check(&[BOB, ALICE], &[post(52)], "pending_mismatch");
    world.check(&[BOB], &[post(50)], "not_authorized");
    world.check(&[BOB], &[void(50)], "not_authorized");
    world.check(&[BOB, ISSUER], &[void(50), post(50)], "ok pending_unknown");
    world.check(&[BOB], &[post(60)], "ok=1");
    // A chain that lost a member is posted no more, but what is left can be voided.
    for (settled, first) in [(50, 51), (51, 50), (52, 50)] {
        let mut torn = world.clone();
        torn.must(&[BOB, ALICE], &[Operation::post(1, settled, Amount::MAX)]);
        torn.check(&[BOB, ALICE], &[post(first)], "pending_unknown");
        torn.check(&[BOB, ISSUER], &[void(first)], "ok");
    }
    // Two members are over, which tears the chain too.
    world.pass(60);
    world.check(&[BOB, ALICE], &[post(51)], "pending_unknown");
    world.check(&[BOB, ALICE, ISSUER], &[void(51)], "ok");
}

#[test]
fn a_pending_that_its_own_chain_settles_is_no_member() {
    for (settled, members) in [(70, [71, 72]), (71, [70, 72]), (72, [70, 71])] {
        let mut world = World::new(|_| ());
        let mut operations: Vec<Operation> = Vec::new();
        for id in [70, 71, 72] {
            operations.push(reserve(id, A, B, 5).linked());
            if id == settled {
                operations.push(Operation::post(1, id, Amount(2)).linked());
            }
        }
        operations.push(pay(1, A, B, 1));
        world.must(&[ALICE], &operations);
        for id in members {
            assert_eq!(
                world.ledger.pending(id).unwrap().chain_len,
                2,
                "{id} without {settled}"
            );
        }
        let post = |id| Operation::post(1, id, Amount::MAX).flagged(OperationFlags::CHAIN);
        world.check(&[ALICE], &[post(members[1])], "pending_mismatch");
        world.check(&[ALICE], &[post(members[0])], "ok=10");
    }
}

#[test]
fn a_chain_costs_its_length() {
    let mut world = World::new(|genesis| genesis.limits.block_effects_max = 12);
    world.must(
        &[ALICE],
        &[1, 2, 3, 4, 5, 6].map(|at| match at {
            6 => reserve(6, A, B, 1),
            at => reserve(at, A, B, 1).linked(),
        }),
    );
    let mut operations: Vec<Operation> = (0..7).map(|at| pay(10 + at, A, B, 1)).collect();
    operations.push(Operation::post(9, 1, Amount::MAX).flagged(OperationFlags::CHAIN));
    operations.push(pay(99, A, B, 1));
    let full = world.clone().run(&[ALICE], &operations);
    assert_eq!(full, format!("{}block_effects_full ok", "ok ".repeat(7)));
    operations.remove(0);
    let fits = world.run(&[ALICE], &operations);
    assert_eq!(fits, format!("{}ok=6 block_effects_full", "ok ".repeat(6)));
}

#[test]
fn a_failed_chain_reports_no_balances() {
    let mut world = World::new(|_| ());
    let envelope = world.envelope(
        &[ALICE],
        &[
            pay(1, A, B, 1),
            pay(2, A, B, 1).linked(),
            pay(3, A2, B, 1),
            pay(4, A, B, 1),
        ],
    );
    let executed = world.block(&[envelope]);
    let (_, pairs) = &executed.balances[0];
    let debits: Vec<u128> = pairs.iter().map(|(debit, _)| debit.debits_posted.get()).collect();
    assert_eq!(debits, [1, 0, 0, 2]);
    assert_eq!(pairs[1], (Balances::default(), Balances::default()));
}
