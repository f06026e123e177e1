//! Every rule in tables of cases, and every outcome reached.
#![allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]

use super::world::*;
use super::{Broken, Cause, InvalidBlock};
use alloc::collections::BTreeSet;
use selfchain_types::envelope::EnvelopeView;
use selfchain_types::genesis::{AccountIds, Fees, OpTime};
use selfchain_types::key::SessionScope;
use selfchain_types::{
    AccountFlags, AccountId, Amount, AssetId, EnvelopeBuilder, Genesis, Hash, Height, KeyId, Operation,
    OperationFlags, Outcome, Refusal, Risk, TimeNs,
};

type Seen = BTreeSet<u16>;

fn plain(_: &mut Genesis) {}

fn with(mut operation: Operation, change: impl FnOnce(&mut Operation)) -> Operation {
    change(&mut operation);
    operation
}

fn frames() -> Seen {
    let mut world = World::new(plain);
    let mut check = |operation: Operation, expected| world.check(&[ALICE], &[operation], expected);
    let good = pay(1, A, B, 5);
    check(good, "ok");
    check(with(good, |op| op.kind = 99), "kind_unknown");
    check(with(good, |op| op.kind = 0), "kind_unknown");
    let leave = Operation::bond(1, id(ALICE), 0, AccountId::NONE);
    check(leave, "validators_fixed");
    check(leave.linked(), "chain_open");
    check(with(leave, |op| op.asset = 7.into()), "field_not_zero");
    check(with(good, |op| op.version = 2), "version_unknown");
    check(with(good, |op| op.flags = 128.into()), "flags_unknown");
    check(with(good, |op| op.reserved = [0, 1]), "field_not_zero");
    check(with(good, |op| op.id = 0.into()), "id_reserved");
    check(with(good, |op| op.id = u128::MAX.into()), "id_reserved");
    check(with(good, |op| op.pending = 1.into()), "field_not_zero");
    check(with(good, |op| op.timeout_s = 1.into()), "field_not_zero");
    check(with(good, |op| op.effective_ns = 1.into()), "field_not_zero");
    check(
        with(good, |op| {
            op.user_data_128 = 1.into();
            op.user_data_64 = 2.into();
            op.code = 3.into();
        }),
        "ok",
    );
    // The order of the checks: each of these breaks two rules.
    check(
        with(good, |op| {
            op.kind = 99;
            op.version = 9;
        }),
        "kind_unknown",
    );
    check(
        with(good, |op| {
            op.version = 9;
            op.flags = 128.into();
        }),
        "version_unknown",
    );
    check(
        with(good, |op| {
            op.id = 0.into();
            op.pending = 1.into();
        }),
        "id_reserved",
    );
    use OperationFlags as F;
    for flags in [
        F::PENDING.with(F::POST),
        F::POST.with(F::VOID),
        F::POST.with(F::BALANCING_DEBIT),
        F::VOID.with(F::BALANCING_CREDIT),
        F::CHAIN,
        F::CHAIN.with(F::PENDING),
    ] {
        check(good.flagged(flags), "flags_conflict");
    }
    let void = Operation::void(1, 2);
    check(with(void, |op| op.amount = 1.into()), "field_not_zero");
    let chain = Operation::post(1, 2, Amount(3)).flagged(F::CHAIN);
    check(chain, "field_not_zero");
    check(
        with(Operation::void(1, 2).flagged(F::CHAIN), |op| {
            op.debit = A.0.into()
        }),
        "field_not_zero",
    );
    check(
        with(open(AccountId(99), ALICE), |op| op.flags = 2.into()),
        "flags_unknown",
    );
    check(
        with(open(AccountId(99), ALICE), |op| op.timeout_s = 8.into()),
        "flags_unknown",
    );
    check(
        with(open(AccountId(99), ALICE), |op| op.timeout_s = 16.into()),
        "flags_unknown",
    );
    check(
        with(open(AccountId(99), ALICE), |op| op.timeout_s = 3.into()),
        "flags_conflict",
    );
    check(
        with(open(AccountId(99), ALICE), |op| op.pending = 1.into()),
        "field_not_zero",
    );
    check(
        with(Operation::close_account(A2), |op| op.amount = 1.into()),
        "field_not_zero",
    );
    world.seen
}

fn transfers() -> Seen {
    let mut world = World::new(plain);
    let mut check = |operation: Operation, expected| world.check(&[ALICE], &[operation], expected);
    let nobody = AccountId(999);
    check(pay(1, A, B, 1_000), "ok");
    check(pay(1, A, B, 0), "ok");
    check(pay(1, A, B, 1_001), "insufficient_funds:1001/1000");
    check(pay(1, A2, B, 1), "insufficient_funds:1/0");
    let most = "insufficient_funds:340282366920938463463374607431768211455/1000";
    check(pay(1, A, B, u128::MAX), most);
    check(pay(1, nobody, B, 1), "debit_account_unknown");
    check(pay(1, AccountId(0), B, 1), "debit_account_unknown");
    check(pay(1, A, nobody, 1), "credit_account_unknown");
    check(pay(1, nobody, nobody, 1), "accounts_same");
    check(pay(1, A, A, 1), "accounts_same");
    check(pay(1, A, A_GEM, 1), "asset_mismatch");
    check(Operation::transfer(1, A, B, Amount(1), GEM), "asset_mismatch");
    check(pay(1, B, A, 1), "not_authorized");
    check(pay(1, MINT, A, 1), "not_authorized");
    check(pay(1, A, MINT, 100), "ok");
    check(pay(1, A, B_FEW, 50), "ok");
    check(pay(1, A, B_FEW, 51), "credit_exceeds_debits:51/50");
    world.check(&[BOB, ALICE], &[pay(1, A, B, 1), pay(2, B, A, 1)], "ok ok");
    world.check(&[BOB], &[pay(1, B_FREE, B, 5)], "ok");
    world.check(&[ISSUER], &[pay(1, MINT, A, 999_000)], "ok");
    world.check(
        &[ISSUER],
        &[pay(1, MINT, A, 999_001)],
        "supply_cap_exceeded:999001/999000",
    );
    world.must(&[ALICE], &[pay(1, A, MINT, 400)]);
    world.check(&[ISSUER], &[pay(1, MINT, A, 999_400)], "ok");
    // Overflow: a free account may go as low as it likes, but no total passes 2^128.
    let most = u128::MAX - 600;
    world.must(&[BOB], &[pay(1, B_FREE, B, most)]);
    world.check(&[BOB], &[pay(1, B_FREE, A, 600)], "ok");
    world.check(&[BOB], &[pay(1, B_FREE, A, 601)], "amount_overflow");
    world.check(&[BOB], &[reserve(1, B_FREE, A, 601)], "amount_overflow");
    world.check(
        &[BOB],
        &[reserve(1, B_FREE, A, 600), pay(2, B_FREE, A, 1)],
        "ok amount_overflow",
    );
    world.check(
        &[ALICE],
        &[pay(1, A, B, 600), pay(2, A, B, 1)],
        "ok amount_overflow",
    );
    world.seen
}

fn limits() -> Seen {
    let mut world = World::new(plain);
    let limit = |account, limit| Operation::set_limit(account, Amount(limit));
    world.check(&[ALICE], &[limit(A, 1)], "not_authorized");
    world.check(&[ISSUER], &[limit(MINT, 1)], "not_authorized");
    world.check(&[ISSUER], &[limit(AccountId(999), 1)], "account_unknown");
    world.must(&[ISSUER], &[limit(A2, 70)]);
    world.check(
        &[ALICE],
        &[pay(1, A2, B, 70), pay(2, A2, B, 1)],
        "ok insufficient_funds:1/0",
    );
    world.must(&[ALICE], &[pay(1, A2, B, 60)]);
    world.must(&[ISSUER], &[limit(A2, 10)]);
    world.check(&[ALICE], &[pay(1, A2, B, 1)], "insufficient_funds:1/0");
    world.check(&[ALICE], &[pay(1, A2, B, 0)], "ok");
    // Whoever opens an account cannot give itself credit.
    let opening =
        |flags, limit| Operation::open_account(AccountId(99), COIN, id(ALICE), flags, Amount(limit), 0);
    world.check(&[ALICE], &[opening(BOUND, 0)], "ok");
    world.check(&[ALICE], &[opening(BOUND, 1)], "not_authorized");
    world.check(&[ALICE], &[opening(AccountFlags(0), 0)], "not_authorized");
    world.check(&[ALICE, ISSUER], &[opening(AccountFlags(0), 0)], "ok");
    world.check(&[ISSUER], &[opening(BOUND, 1)], "ok");
    world.seen
}

fn balancing() -> Seen {
    let mut world = World::new(plain);
    let debit = OperationFlags::BALANCING_DEBIT;
    let credit = OperationFlags::BALANCING_CREDIT;
    let mut check = |by: u8, operation: Operation, expected| world.check(&[by], &[operation], expected);
    check(ALICE, pay(1, A, B, 600).flagged(debit), "ok");
    check(ALICE, pay(1, A, B, 1_500).flagged(debit), "ok=1000");
    check(ALICE, pay(1, A, B, u128::MAX).flagged(debit), "ok=1000");
    check(ALICE, pay(1, A2, B, 5).flagged(debit), "ok=0");
    check(ALICE, pay(1, A, B_FEW, 80).flagged(credit), "ok=50");
    check(
        ALICE,
        pay(1, A, B_FEW, u128::MAX).flagged(credit.with(debit)),
        "ok=50",
    );
    check(
        ALICE,
        pay(1, A, B_FEW, 80).flagged(debit),
        "credit_exceeds_debits:80/50",
    );
    check(
        ALICE,
        pay(1, A2, B_FEW, 80).flagged(credit),
        "insufficient_funds:50/0",
    );
    check(ALICE, reserve(1, A, B, u128::MAX).flagged(debit), "ok=1000");
    check(BOB, pay(1, B_FREE, B, 5).flagged(debit), "ok");
    check(
        BOB,
        pay(1, B_FREE, B, u128::MAX).flagged(debit),
        "amount_overflow",
    );
    world.seen
}

fn settlement() -> Seen {
    let mut world = World::new(plain);
    world.must(&[ALICE], &[reserve(5, A, B, 300)]);
    assert_eq!(world.totals(A), [0, 1_000, 300, 0]);
    assert_eq!(world.totals(B), [0, 0, 0, 300]);
    world.check(&[ALICE], &[pay(1, A, B, 701)], "insufficient_funds:701/700");
    world.check(&[ALICE], &[reserve(5, A, B, 1)], "pending_exists");
    let post = |amount| Operation::post(1, 5, amount);
    let void = Operation::void(1, 5);
    world.check(&[ALICE], &[post(Amount::MAX)], "ok=300");
    world.check(&[BOB], &[post(Amount(300))], "ok");
    world.check(
        &[BOB],
        &[post(Amount(120)), post(Amount(1))],
        "ok pending_unknown",
    );
    world.check(&[BOB], &[post(Amount::ZERO)], "ok");
    world.check(&[BOB], &[post(Amount(301))], "pending_amount_exceeded");
    world.check(&[CAROL], &[post(Amount(1))], "not_authorized");
    world.check(&[BOB], &[void, void], "ok pending_unknown");
    world.check(&[ALICE], &[void], "not_authorized");
    world.check(&[CAROL], &[void], "not_authorized");
    world.check(&[BOB], &[Operation::post(1, 0, Amount(1))], "pending_unknown");
    for (change, expected) in [
        (with(post(Amount(1)), |op| op.debit = A.0.into()), "ok"),
        (
            with(post(Amount(1)), |op| op.debit = A2.0.into()),
            "pending_mismatch",
        ),
        (
            with(post(Amount(1)), |op| op.credit = A.0.into()),
            "pending_mismatch",
        ),
        (
            with(post(Amount(1)), |op| op.asset = 8.into()),
            "pending_mismatch",
        ),
        (with(void, |op| op.asset = 8.into()), "pending_mismatch"),
        (with(void, |op| op.asset = 7.into()), "ok"),
    ] {
        world.check(&[BOB], &[change], expected);
    }
    // Between accounts of one owner either side is the payee.
    world.check(&[ALICE], &[reserve(6, A, A2, 10), Operation::void(7, 6)], "ok ok");
    world.check(&[ALICE], &[Operation::close_account(A)], "account_pending");
    world.check(&[BOB], &[Operation::close_account(B)], "account_pending");
    let mut partly = world.clone();
    partly.must(&[BOB], &[post(Amount(120))]);
    assert_eq!(partly.totals(A), [120, 1_000, 0, 0]);
    assert_eq!(partly.totals(B), [0, 120, 0, 0]);
    // Over at its deadline, and gone in the first block that reaches it.
    let deadline = world.ledger.next_expiry().unwrap();
    world.now = TimeNs(deadline.0 - 1);
    world.check(
        &[BOB],
        &[pay(1, B_FREE, B, 0), post(Amount(1)), void],
        "ok pending_expired pending_expired",
    );
    world.now = deadline;
    world.check(&[BOB], &[post(Amount(1))], "pending_unknown");
    let executed = world.block(&[]);
    assert_eq!(executed.result.expired, [5]);
    assert_eq!(world.totals(A), [0, 1_000, 0, 0]);
    assert_eq!(world.totals(B), [0, 0, 0, 0]);
    assert_eq!(
        (world.ledger.next_expiry(), world.ledger.pending(5)),
        (None, None)
    );
    // A timeout may be longer than time, or never.
    world.now = TimeNs(u64::MAX / 2);
    let never = Operation::reserve(5, A, B, Amount(1), COIN, 0);
    world.check(&[ALICE], &[never], "ok");
    world.seen
}

fn pending_limits() -> Seen {
    let mut world = World::new(|genesis| {
        genesis.limits.open_pending_account_max = 2;
        genesis.limits.open_pending_chain_max = 3;
    });
    world.must(&[ALICE], &[reserve(5, A, B, 1), reserve(6, A, B, 1)]);
    world.check(&[ALICE], &[reserve(7, A, B, 1)], "account_pendings_full");
    world.must(&[BOB], &[reserve(7, B_FREE, B, 1)]);
    world.check(&[BOB], &[reserve(8, B_FREE, B, 1)], "chain_pendings_full");
    world.check(
        &[ALICE, BOB],
        &[Operation::void(1, 5), reserve(8, A, B, 1), reserve(9, A, B, 1)],
        "ok ok account_pendings_full",
    );
    let seconds = Operation::reserve(8, A, B, Amount(1), COIN, u32::MAX);
    world.check(&[ALICE], &[seconds], "account_pendings_full");
    world.seen
}

fn far_future() -> Seen {
    let mut world = World::new(|genesis| genesis.op_time = OpTime::Effective);
    let at = |operation: Operation, time: u64| with(operation, |op| op.effective_ns = time.into());
    world.must(&[ALICE], &[at(pay(1, A, B, 1), 5_000_000_000)]);
    assert_eq!(world.ledger.last_op_time(), TimeNs(5_000_000_000));
    world.must(&[ALICE], &[at(pay(1, A, B, 1), 7), pay(2, A, B, 1)]);
    assert_eq!(world.ledger.last_op_time(), TimeNs(5_000_000_002));
    let late = u64::MAX - 1_000_000_000;
    let long = Operation::reserve(5, A, B, Amount(1), COIN, u32::MAX);
    world.check(&[ALICE], &[at(long, late)], "timeout_overflow");
    world.check(&[ALICE], &[at(long, late / 2)], "ok");
    world.seen
}

fn accounts_and_assets() -> Seen {
    let mut world = World::new(plain);
    let fresh = AccountId(99);
    world.check(&[CAROL], &[open(fresh, ALICE)], "ok");
    world.check(&[CAROL], &[open(A, ALICE)], "account_exists");
    world.check(
        &[CAROL],
        &[Operation::open_account(
            fresh,
            AssetId(77),
            id(ALICE),
            BOUND,
            Amount::ZERO,
            0,
        )],
        "asset_unknown",
    );
    let create = |asset, issuance, issuer, scale| {
        Operation::create_asset(AssetId(asset), AccountId(issuance), issuer, scale, Amount(9))
    };
    world.check(&[CAROL], &[create(50, 99, KeyId::NONE, 38)], "ok");
    world.check(&[CAROL], &[create(50, 99, id(CAROL), 38)], "ok");
    world.check(&[CAROL], &[create(50, 99, id(ALICE), 38)], "not_authorized");
    world.check(&[CAROL], &[create(50, 99, id(CAROL), 39)], "scale_too_large");
    world.check(&[CAROL], &[create(7, 99, id(CAROL), 0)], "asset_exists");
    world.check(&[CAROL], &[create(50, 11, id(CAROL), 0)], "account_exists");
    world.check(&[ALICE], &[Operation::close_account(B)], "not_authorized");
    world.check(&[ALICE], &[Operation::close_account(fresh)], "account_unknown");
    world.must(&[ALICE], &[Operation::close_account(A2)]);
    world.check(&[ALICE], &[Operation::close_account(A2)], "account_closed");
    world.check(&[ALICE], &[pay(1, A2, B, 0)], "debit_account_closed");
    world.check(&[ALICE], &[pay(1, A, A2, 0)], "credit_account_closed");
    world.check(
        &[ISSUER],
        &[Operation::set_limit(A2, Amount(1))],
        "account_closed",
    );
    assert_eq!(world.ledger.account(A2).unwrap().owner(), id(ALICE));
    assert_eq!(world.ledger.asset(COIN).unwrap().issuer, id(ISSUER).0);
    // Where ids are derived, only that id will do.
    let mut derived = World::empty(|genesis| genesis.account_ids = AccountIds::Derived);
    let account = AccountId::derive(&id(CAROL), AssetId(50), 0);
    derived.check(
        &[CAROL],
        &[create(50, 99, KeyId::NONE, 0)],
        "account_id_not_derived",
    );
    derived.check(&[CAROL], &[create(50, account.0, KeyId::NONE, 0)], "ok");
    derived.must(&[CAROL], &[create(50, account.0, KeyId::NONE, 0)]);
    let mine =
        |account, salt| Operation::open_account(account, AssetId(50), id(ALICE), BOUND, Amount::ZERO, salt);
    let account = AccountId::derive(&id(ALICE), AssetId(50), 3);
    derived.check(&[CAROL], &[mine(account, 3)], "ok");
    derived.check(&[CAROL], &[mine(account, 4)], "account_id_not_derived");
    world.seen.union(&derived.seen).copied().collect()
}

fn keys_and_records() -> Seen {
    let mut world = World::new(plain);
    let carol = key(CAROL);
    world.attachments = [carol.public().as_bytes(), b"rest"].concat();
    let register = |key, scheme, offset, len| Operation::register_key(1, key, scheme, offset, len);
    world.check(&[ALICE], &[register(id(CAROL), 1, 0, 32)], "ok");
    world.check(&[ALICE], &[register(id(CAROL), 9, 0, 32)], "scheme_unknown");
    world.check(&[ALICE], &[register(id(CAROL), 1, 5, 32)], "attachment_range");
    world.check(&[ALICE], &[register(id(CAROL), 1, 0, 31)], "key_invalid");
    world.check(&[ALICE], &[register(id(CAROL), 1, 1, 32)], "key_invalid");
    world.check(&[ALICE], &[register(id(BOB), 1, 0, 32)], "key_invalid");
    world.must(&[ALICE], &[register(id(CAROL), 1, 0, 32)]);
    assert_eq!(world.ledger.public_key(&id(CAROL)), Some(carol.public()));
    world.check(&[ALICE], &[register(id(CAROL), 1, 0, 32)], "key_exists");
    world.check(&[ALICE], &[Operation::announce_node(1, Hash::ZERO, 0, 36)], "ok");
    world.check(
        &[ALICE],
        &[Operation::announce_node(1, Hash::ZERO, 0, 37)],
        "attachment_range",
    );
    world.check(
        &[ALICE],
        &[Operation::announce_node(1, Hash::ZERO, 0, 0)],
        "attachment_invalid",
    );
    world.check(&[ALICE], &[Operation::anchor(1, Hash([7; 32]))], "ok");
    let report = |account, code| Operation::report(1, Hash([7; 32]), 3, account, code);
    world.check(&[ALICE], &[report(A, 1), report(A, 2)], "ok ok");
    world.check(&[ALICE], &[report(A, 3)], "report_invalid");
    world.check(&[ALICE], &[report(B, 1)], "not_authorized");
    world.check(&[ALICE], &[report(AccountId(999), 1)], "account_unknown");
    world.attachments.clear();
    // Revoked at once, in force from the next height on, and without a fee.
    world.check(&[ALICE], &[Operation::revoke_key(1, id(77))], "key_unknown");
    world.check(&[ALICE], &[Operation::revoke_key(1, id(BOB))], "not_authorized");
    let revoke = world.envelope(&[BOB], &[Operation::revoke_key(1, id(BOB)), pay(2, B_FREE, A, 1)]);
    let same_block = world.envelope(&[BOB, ALICE], &[pay(3, B_FREE, A, 1)]);
    assert_eq!(words(&world.block(&[revoke, same_block]).result), "ok ok ok");
    let next = world.run(&[ALICE, BOB], &[pay(3, A, B, 1), pay(4, B_FREE, A, 1)]);
    assert_eq!(next, "revoked revoked");
    assert_eq!(world.ledger.lane(&id(BOB), 0), 3, "the counter is used up");
    world.seen
}

fn sessions() -> Seen {
    let mut world = World::new(|genesis| genesis.limits.sessions_max = 2);
    let far = TimeNs(1_000_000_000_000);
    let set = |account, key, scope, cap, expires| {
        Operation::set_session(1, account, id(key), scope, Amount(cap), expires)
    };
    let (transfer, pending, settle) = (
        SessionScope::TRANSFER,
        SessionScope::PENDING,
        SessionScope::SETTLE,
    );
    world.check(&[BOB], &[set(A, CAROL, transfer, 5, far)], "not_authorized");
    world.check(
        &[ALICE],
        &[set(AccountId(999), CAROL, transfer, 5, far)],
        "account_unknown",
    );
    world.check(
        &[ALICE],
        &[set(A, CAROL, SessionScope(8), 5, far)],
        "flags_unknown",
    );
    world.check(
        &[ALICE],
        &[set(A, CAROL, SessionScope(0), 5, far)],
        "session_scope",
    );
    world.check(
        &[ALICE],
        &[set(A, CAROL, transfer, 5, TimeNs(1))],
        "session_expired",
    );
    world.check(
        &[ALICE],
        &[set(A, CAROL, SessionScope(0), 0, TimeNs(0))],
        "session_unknown",
    );
    world.check(
        &[ALICE],
        &[set(A, CAROL, transfer, 0, TimeNs(0))],
        "field_not_zero",
    );
    world.check(
        &[ALICE],
        &[Operation::close_account(A2), set(A2, CAROL, transfer, 5, far)],
        "ok account_closed",
    );
    world.must(&[ALICE], &[set(A, CAROL, transfer, 100, far)]);
    world.check(
        &[CAROL],
        &[
            pay(1, A, B, 60),
            pay(2, A, B, 41),
            pay(3, A, B, 40),
            pay(4, A, B, 1),
        ],
        "ok session_cap:41/40 ok session_cap:1/0",
    );
    let balancing = pay(1, A, B, u128::MAX).flagged(OperationFlags::BALANCING_DEBIT);
    world.check(&[CAROL], &[balancing], "session_cap:1000/100");
    world.check(&[CAROL], &[reserve(5, A, B, 1)], "session_scope");
    world.check(&[CAROL], &[pay(1, A2, B, 1)], "not_authorized");
    world.check(&[CAROL], &[set(A, CAROL, transfer, 999, far)], "not_authorized");
    // The owner's signature comes before any session; the cap stays.
    world.check(&[CAROL, ALICE], &[pay(1, A, B, 500), pay(2, A, B, 101)], "ok ok");
    world.must(&[ALICE], &[reserve(5, A, B, 10)]);
    world.must(&[BOB], &[set(B, CAROL, settle, 1, far)]);
    world.check(&[CAROL], &[Operation::post(1, 5, Amount::MAX)], "ok=10");
    world.check(&[CAROL], &[Operation::void(1, 5)], "ok");
    world.check(&[BOB], &[set(B, ALICE, settle, 1, far)], "sessions_full");
    world.check(&[BOB], &[set(B, CAROL, pending, 7, far)], "ok");
    world.must(&[ALICE], &[set(A, CAROL, pending, 50, far)]);
    world.check(
        &[CAROL],
        &[pay(1, A, B, 1), reserve(6, A, B, 50), reserve(7, A, B, 1)],
        "session_scope ok session_cap:1/0",
    );
    world.must(&[ALICE], &[set(A, CAROL, SessionScope(0), 0, TimeNs(0))]);
    world.check(&[CAROL], &[pay(1, A, B, 1)], "not_authorized");
    assert_eq!(world.ledger.session_count(), 1);
    world.must(&[ALICE], &[set(A, CAROL, transfer, 50, TimeNs(30_000_000_000))]);
    world.pass(40);
    world.check(&[CAROL], &[pay(1, A, B, 1)], "session_expired");
    // What a key granted ends with it.
    world.must(
        &[ALICE],
        &[
            set(A, CAROL, transfer, 50, far),
            Operation::revoke_key(2, id(ALICE)),
        ],
    );
    world.check(&[CAROL], &[pay(1, A, B, 1)], "session_expired");
    world.seen
}

fn fees() -> Seen {
    let collector = AccountId(70);
    let mut world = World::new(|genesis| {
        genesis.fees = Fees {
            asset: COIN,
            collector,
            base: 10,
            per_operation: 2,
            per_byte: 0,
        };
    });
    let opening = |owner| Operation::open_account(collector, COIN, id(owner), BOUND, Amount::ZERO, 0);
    world.check(&[ALICE], &[opening(ALICE)], "not_authorized");
    world.must(&[AUTHORITY], &[opening(AUTHORITY)]);
    world.check(&[ALICE], &[pay(1, A, B, 1)], "fee_unpaid");
    let fee = |account, asset, most| (account, asset, Amount(most));
    for (payer, outcomes) in [
        (fee(A, COIN, 14), "ok ok"),
        (fee(A, COIN, 13), "fee_unpaid fee_unpaid"),
        (fee(A, GEM, 14), "fee_unpaid fee_unpaid"),
        (fee(A_GEM, COIN, 14), "fee_unpaid fee_unpaid"),
        (fee(A2, COIN, 14), "fee_unpaid fee_unpaid"),
        (fee(B_FREE, COIN, 14), "fee_unpaid fee_unpaid"),
        (fee(AccountId(999), COIN, 14), "fee_unpaid fee_unpaid"),
    ] {
        world.fee = payer;
        world.check(&[ALICE], &[pay(1, A, B, 1), pay(2, A, B, 1)], outcomes);
    }
    world.fee = fee(A, COIN, 14);
    world.check(&[ALICE], &[pay(1, A, B, 989)], "insufficient_funds:989/988");
    world.must(&[ALICE], &[pay(1, A, B, 988)]);
    assert_eq!(world.totals(A), [1_000, 1_000, 0, 0]);
    assert_eq!(world.totals(collector), [0, 12, 0, 0]);
    world.fee = fee(B_FREE, COIN, 99);
    world.must(&[BOB], &[pay(1, B_FREE, B, 1)]);
    world.check(
        &[BOB, AUTHORITY],
        &[Operation::close_account(collector)],
        "not_authorized",
    );
    world.seen
}

fn upgrades() -> Seen {
    let mut world = World::new(plain);
    let upgrade = |version, height| Operation::upgrade(1, version, Height(height));
    let now = world.height().0;
    world.check(&[ALICE], &[upgrade(2, now + 9)], "not_authorized");
    world.check(&[AUTHORITY], &[upgrade(1, now + 9)], "upgrade_invalid");
    world.check(&[AUTHORITY], &[upgrade(2, now + 1)], "upgrade_invalid");
    world.must(&[AUTHORITY], &[upgrade(2, now + 3)]);
    assert_eq!(world.ledger.scheduled_upgrade(), Some((2, Height(now + 3))));
    world.block(&[]);
    let broken = world.ledger.execute(
        Height(now + 3),
        TimeNs(u64::MAX / 4),
        &[],
        &Risk::default(),
        &|_| false,
    );
    assert_eq!(
        broken.unwrap_err(),
        Broken::Version {
            version: 2,
            height: Height(now + 3)
        }
    );
    world.seen
}

fn effects() -> Seen {
    let mut world = World::new(|genesis| {
        genesis.limits.block_effects_max = 12;
        genesis.limits.expire_per_block_max = 2;
    });
    let ops: Vec<Operation> = (1..=12).map(|at| pay(at, A, B, 1)).collect();
    world.must(&[ALICE], &ops);
    world.must(&[ALICE], &[1, 2, 3].map(|at| reserve(at, A, B, 1)));
    world.pass(60);
    let mut nearly = world.clone();
    let outcomes = nearly.run(&[ALICE], &ops);
    assert_eq!(
        outcomes,
        format!("{}block_effects_full block_effects_full", "ok ".repeat(10))
    );
    assert_eq!(nearly.ledger.pending_count(), 1);
    world.seen.union(&nearly.seen).copied().collect()
}

#[test]
fn a_record_must_be_in_order() {
    frames();
}

#[test]
fn transfers_obey_accounts_assets_owners_and_constraints() {
    transfers();
}

#[test]
fn only_the_issuer_gives_credit() {
    limits();
}

#[test]
fn balancing_moves_what_there_is() {
    balancing();
}

#[test]
fn a_pending_is_posted_voided_or_expires() {
    settlement();
    far_future();
}

#[test]
fn open_pendings_are_limited() {
    pending_limits();
}

#[test]
fn accounts_and_assets_are_opened_created_and_closed() {
    accounts_and_assets();
}

#[test]
fn keys_are_registered_and_revoked_and_records_are_kept() {
    keys_and_records();
}

#[test]
fn a_session_pays_within_scope_cap_and_expiry() {
    sessions();
}

#[test]
fn fees_are_paid_first_or_nothing_is_tried() {
    fees();
}

#[test]
fn an_unknown_version_stops_the_ledger_at_its_height() {
    upgrades();
}

#[test]
fn effects_of_a_block_are_limited() {
    effects();
}

#[test]
fn every_outcome_is_reached() {
    let tables: [fn() -> Seen; 15] = [
        frames,
        transfers,
        limits,
        balancing,
        settlement,
        pending_limits,
        far_future,
        accounts_and_assets,
        keys_and_records,
        sessions,
        fees,
        upgrades,
        effects,
        super::chain_tests::chains,
        super::hold_tests::risks,
    ];
    let seen: Seen = tables.iter().flat_map(|table| table()).collect();
    let missing: Vec<&str> = Outcome::ALL
        .iter()
        // What a standing of several validators says takes one to be met: `tests/it/members.rs`.
        .filter(|outcome| **outcome < Outcome::ValidatorTaken)
        .filter(|outcome| !seen.contains(&outcome.code()))
        .map(|outcome| outcome.name())
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn history_follows_every_change_of_a_flagged_account() {
    let mut world = World::new(plain);
    world.must(&[ALICE], &[reserve(5, A, B_HISTORY, 30)]);
    let first = world.envelope(&[ALICE], &[pay(1, A, B, 1), pay(2, A, B_HISTORY, 7)]);
    let second = world.envelope(&[BOB], &[pay(3, B_HISTORY, B, 2)]);
    world.pass(60);
    let executed = world.block(&[first, second]);
    let history: Vec<(AccountId, Cause, [u128; 4])> = executed
        .history
        .iter()
        .map(|change| (change.account, change.cause, numbers(&change.balances)))
        .collect();
    assert_eq!(
        history,
        [
            (B_HISTORY, Cause::Expiry(0), [0, 0, 0, 0]),
            (B_HISTORY, Cause::Operation(1), [0, 7, 0, 0]),
            (B_HISTORY, Cause::Operation(2), [2, 7, 0, 0]),
        ]
    );
    let pairs: Vec<Vec<([u128; 4], [u128; 4])>> = executed
        .balances
        .iter()
        .map(|(_, pairs)| pairs.iter().map(|(a, b)| (numbers(a), numbers(b))).collect())
        .collect();
    assert_eq!(
        pairs,
        [
            vec![([1, 1_000, 0, 0], [0, 1, 0, 0]), ([8, 1_000, 0, 0], [0, 7, 0, 0])],
            vec![([2, 7, 0, 0], [0, 3, 0, 0])],
        ]
    );
}

#[test]
fn a_ledger_that_makes_money_stops() {
    for linked in [false, true] {
        let mut world = World::new(plain);
        world.ledger.scratch.corrupts = true;
        let mut operations = vec![pay(1, A, B, 5), pay(2, A, B, 5)];
        if linked {
            operations[0] = operations[0].linked();
        }
        let envelope = world.envelope(&[ALICE], &operations);
        let views = [EnvelopeView::new(&envelope).unwrap()];
        let broken = world
            .ledger
            .execute(
                world.height().next(),
                world.now,
                &views,
                &Risk::default(),
                &|_| false,
            )
            .unwrap_err();
        let Broken::Conservation(imbalance) = broken else {
            panic!("{broken}");
        };
        assert_eq!(imbalance.asset, COIN.0);
        assert_eq!(imbalance.posted, 1u128.wrapping_neg());
    }
}

#[test]
fn invalid_blocks_are_named() {
    let world = World::new(|genesis| genesis.limits.block_effects_max = 11);
    let next = world.height().next();
    let builder = EnvelopeBuilder::new(world.genesis.chain_id(), next, 5, vec![pay(1, A, B, 1)]);
    let sign = |builder: &EnvelopeBuilder, counter| builder.sign(&[(&key(ALICE), 3, counter)]);
    let check = |height: Height, time: TimeNs, envelopes: &[Vec<u8>], expected: Option<InvalidBlock>| {
        let views: Vec<EnvelopeView<'_>> = envelopes
            .iter()
            .map(|bytes| EnvelopeView::new(bytes).unwrap())
            .collect();
        assert_eq!(world.ledger.validate(height, time, &views).err(), expected);
    };
    let late = TimeNs(world.ledger.last_op_time().0 + 1);
    let refused = |envelope, refusal| Some(InvalidBlock::Envelope { envelope, refusal });
    let counter = |envelope, got, want| {
        Some(InvalidBlock::Counter {
            envelope,
            signer: 0,
            lane: 3,
            got,
            want,
        })
    };
    let (first, second) = (sign(&builder, 1), sign(&builder, 2));
    check(next, late, &[first.clone(), second.clone()], None);
    check(next, late, core::slice::from_ref(&second), counter(0, 2, 1));
    check(next, late, &[first.clone(), first.clone()], counter(1, 1, 2));
    check(next, late, &[sign(&builder, 0)], counter(0, 0, 1));
    check(
        next.next(),
        late,
        &[],
        Some(InvalidBlock::Height {
            got: next.next(),
            want: next,
        }),
    );
    let last = world.ledger.last_op_time();
    check(
        next,
        last,
        &[],
        Some(InvalidBlock::Time {
            time_ns: last.0,
            last: last.0,
        }),
    );
    check(
        next,
        TimeNs(u64::MAX - 1),
        &[first.clone(), second.clone()],
        Some(InvalidBlock::TimeOverflow {
            envelope: 1,
            time_ns: u64::MAX,
        }),
    );
    let changed = |change: fn(&mut EnvelopeBuilder)| {
        let mut other = builder.clone();
        change(&mut other);
        sign(&other, 1)
    };
    check(
        next,
        late,
        &[changed(|b| b.chain_id = Hash::ZERO)],
        refused(0, Refusal::WrongChain),
    );
    check(
        next,
        late,
        &[changed(|b| b.valid_from = Height(3))],
        refused(0, Refusal::NotYetValid),
    );
    check(
        next,
        late,
        &[changed(|b| {
            b.valid_from = Height(1);
            b.valid_until = Height(1);
        })],
        refused(0, Refusal::Expired),
    );
    check(
        next,
        late,
        &[changed(|b| b.valid_until = Height(4_099))],
        refused(0, Refusal::ValiditySpan),
    );
    let many = changed(|b| b.operations = vec![pay(1, A, B, 1); 12]);
    check(
        next,
        late,
        &[many],
        Some(InvalidBlock::Effects { got: 12, max: 11 }),
    );
}
