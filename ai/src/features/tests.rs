//! Rows see only the past, do not depend on blocks, and stay within bounds.

use super::catalogue::{GREATEST, LEAST};
use super::*;
use proptest::prelude::*;
use selfchain_types::seam::scorer::Timed;
use selfchain_types::time::NS_PER_S;
use selfchain_types::{AccountId, Amount, AssetId, Hash, KeyId, Kind, Operation, TimeNs};

/// Attempts among a few accounts, at any time, of any amount.
fn attempts() -> impl Strategy<Value = Vec<(Operation, TimeNs)>> {
    let amount = prop_oneof![Just(0), Just(u128::MAX), 0_u128..1_000_000, any::<u128>()];
    let second = prop_oneof![
        Just(0),
        Just(u64::MAX),
        1_500_000_000_u64 * NS_PER_S..1_600_000_000 * NS_PER_S
    ];
    let one = (0_u128..6, 0_u128..6, amount, second, 0_u16..12).prop_map(|(from, to, amount, time, way)| {
        let operation = match way {
            0 => Operation::reserve(1, AccountId(from), AccountId(to), Amount(amount), AssetId(1), 1),
            1 | 2 => report(from, to, way),
            3 => Operation::post(1, 2, Amount(amount)),
            _ => transfer(from, to, amount),
        };
        (operation, TimeNs(time))
    });
    proptest::collection::vec(one, 1..80)
}

fn transfer(from: u128, to: u128, amount: u128) -> Operation {
    Operation::transfer(1, AccountId(from), AccountId(to), Amount(amount), AssetId(1))
}

fn report(by: u128, accused: u128, code: u16) -> Operation {
    Operation::report(1, Hash::ZERO, 0, AccountId(by), code).accusing(AccountId(accused))
}

/// The rows of all attempts, one after the other.
fn rows(attempts: &[(Operation, TimeNs)]) -> Vec<Option<Row>> {
    let mut contexts = Contexts::default();
    let each = attempts.iter().map(|(operation, time)| {
        let row = contexts.row(operation, *time);
        contexts.observe(operation, *time);
        row
    });
    each.collect()
}

/// The rows of all attempts, as candidates of blocks of this size.
fn rows_of_blocks(attempts: &[(Operation, TimeNs)], block: usize) -> (Vec<Option<Row>>, Contexts) {
    let mut contexts = Contexts::default();
    let mut rows = Vec::new();
    for block in attempts.chunks(block) {
        let next = timed(block);
        let backwards: Vec<Timed<'_>> = next.iter().rev().copied().collect();
        let before = contexts.hash();
        // A candidate that is never decided leaves no trace.
        contexts.begin();
        contexts.rows(&backwards, &mut Rows::default());
        contexts.take_back();
        assert_eq!(contexts.hash(), before);
        contexts.begin();
        contexts.rows(&backwards, &mut Rows::default());
        contexts.begin();
        let mut its = Rows::default();
        contexts.rows(&next, &mut its);
        rows.extend((0..its.operations()).map(|position| its.at(position).copied()));
        contexts.keep();
        for (operation, time) in block.iter().filter(|(operation, _)| is_report(operation)) {
            contexts.observe(operation, *time);
        }
    }
    (rows, contexts)
}

fn timed(attempts: &[(Operation, TimeNs)]) -> Vec<Timed<'_>> {
    let timed = attempts.iter();
    timed
        .map(|(operation, time)| Timed {
            operation,
            time: *time,
        })
        .collect()
}

fn is_report(operation: &Operation) -> bool {
    operation.kind() == Some(Kind::Report)
}

fn folded(attempts: &[(Operation, TimeNs)]) -> Contexts {
    let mut contexts = Contexts::default();
    for (operation, time) in attempts {
        contexts.observe(operation, *time);
    }
    contexts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn hostile_values_stay_within_bounds(attempts in attempts()) {
        for row in rows(&attempts).into_iter().flatten() {
            for at in 0..FEATURE_COUNT {
                prop_assert!((LEAST[at]..=GREATEST[at]).contains(&row.0[at]), "{}", FEATURES[at].name);
            }
        }
    }

    #[test]
    fn a_row_does_not_change_when_transfers_are_appended(attempts in attempts(), cut in 0_usize..80) {
        let cut = cut.min(attempts.len());
        prop_assert_eq!(&rows(&attempts)[..cut], &rows(&attempts[..cut])[..]);
    }

    #[test]
    fn rows_and_contexts_do_not_depend_on_how_blocks_are_cut(attempts in attempts(), block in 1_usize..80) {
        let attempts: Vec<_> = attempts.into_iter().filter(|(operation, _)| !is_report(operation)).collect();
        let (in_blocks, contexts) = rows_of_blocks(&attempts, block);
        prop_assert_eq!(in_blocks, rows(&attempts));
        prop_assert_eq!(contexts.hash(), folded(&attempts).hash());
    }

    #[test]
    fn a_report_tells_from_the_next_block_on(attempts in attempts()) {
        let (one_by_one, contexts) = rows_of_blocks(&attempts, 1);
        prop_assert_eq!(one_by_one, rows(&attempts));
        prop_assert_eq!(contexts.hash(), folded(&attempts).hash());
    }

    #[test]
    fn many_at_once_are_the_same_as_one_by_one(attempts in attempts()) {
        let mut contexts = Contexts::default();
        contexts.observe_all(&timed(&attempts));
        prop_assert_eq!(contexts.hash(), folded(&attempts).hash());
    }

    #[test]
    fn restored_contexts_hash_as_those_of_a_replay(attempts in attempts()) {
        let contexts = folded(&attempts);
        let mut restored = Contexts::default();
        contexts.snapshot(&mut |chunk| restored.restore(chunk).expect("chunks in order"));
        prop_assert_eq!(restored.hash(), folded(&attempts).hash());
        let marked = contexts.iter().map(Context::of_no_candidate);
        prop_assert!(restored.iter().copied().eq(marked));
    }
}

#[test]
fn a_snapshot_of_many_chunks_is_restored() {
    let attempts: Vec<_> = (0..10_000)
        .map(|at| (transfer(at, at + 1, at), TimeNs(1)))
        .collect();
    let contexts = folded(&attempts);
    let (mut restored, mut chunks) = (Contexts::default(), 0);
    contexts.snapshot(&mut |chunk| {
        chunks += 1;
        assert!(chunk.len() <= 1 << 20);
        restored.restore(chunk).expect("chunks in order");
    });
    assert_eq!(chunks, 3);
    assert_eq!(restored.hash(), contexts.hash());
}

proptest! {
    #[test]
    fn a_sweep_hands_on_what_was_frozen_while_folds_go_on(
        before in attempts(),
        after in attempts(),
        step in 1_u32..4,
    ) {
        let mut contexts = folded(&before);
        let (frozen, mut restored) = (contexts.hash(), Contexts::default());
        contexts.freeze();
        let mut more = after.iter();
        while !contexts.sweep(step, &mut |chunk| restored.restore(chunk).expect("chunks in order")) {
            if let Some((operation, time)) = more.next() {
                contexts.observe(operation, *time);
            }
        }
        prop_assert_eq!(restored.hash(), frozen);
    }
}

#[test]
fn damaged_chunks_are_refused() {
    let mut chunks = Vec::new();
    folded(&[(transfer(1, 2, 3), TimeNs(1))]).snapshot(&mut |chunk| chunks.push(chunk.to_vec()));
    let whole = &chunks[0];
    let restore = |bytes: &[u8]| Contexts::default().restore(bytes);
    assert!(matches!(
        restore(&whole[..whole.len() - 1]),
        Err(RestoreError::Decode(_))
    ));
    let mut twice = whole.clone();
    twice.extend_from_slice(&whole[8..]);
    assert_eq!(restore(&twice), Err(RestoreError::Twice { account: 1 }));
    let mut late = whole.clone();
    late[0] = 7;
    assert_eq!(
        restore(&late),
        Err(RestoreError::Order {
            first: 7,
            expected: 0
        })
    );
}

#[test]
fn a_context_that_no_past_leaves_is_refused() {
    let mut chunks = Vec::new();
    folded(&[(transfer(1, 2, 3), TimeNs(1))]).snapshot(&mut |chunk| chunks.push(chunk.to_vec()));
    let unsound = Err(RestoreError::Unsound { account: 1 });
    // The top byte of a mean, and the last of what is spare.
    for at in [8 + 16 + 27, 8 + CONTEXT_BYTES - 1] {
        let mut chunk = chunks[0].clone();
        chunk[at] = 0x80;
        assert_eq!(Contexts::default().restore(&chunk), unsound, "byte {at}");
    }
}

/// One feature of the row of a transfer of 100 at second 3.
#[track_caller]
fn check(contexts: &Contexts, from: u128, to: u128, name: &str, is_wanted: impl Fn(i32) -> bool) {
    let row = contexts.row(&transfer(from, to, 100), TimeNs(3 * NS_PER_S));
    let at = FEATURES.iter().position(|feature| feature.name == name);
    let value = row.expect("a transfer has a row").0[at.expect("a feature")];
    assert!(is_wanted(value), "{name} is {value}");
}

#[test]
fn a_report_is_seen_by_later_transfers_and_met_by_counterparties() {
    let time = TimeNs(3 * NS_PER_S);
    let mut contexts = folded(&[(transfer(1, 2, 100), TimeNs(1)), (report(1, 2, 1), TimeNs(2))]);
    check(&contexts, 3, 2, "to_reports", |value| value > 0);
    check(&contexts, 2, 3, "from_reports", |value| value > 0);
    check(&contexts, 3, 2, "from_met", |value| value == 0);
    contexts.observe(&transfer(3, 2, 100), time);
    check(&contexts, 3, 4, "from_met", |value| value > 0);
    contexts.observe(&report(1, 2, 2), time);
    check(&contexts, 5, 2, "to_reports", |value| value == 0);
}

#[test]
fn only_accounts_that_have_dealt_with_one_another_are_believed() {
    let paid = (transfer(1, 2, 100), TimeNs(1));
    let other = (transfer(3, 4, 100), TimeNs(1));
    for (by, accused, is_believed) in [
        (1, 2, true),
        (2, 1, true),
        (3, 2, false),
        (9, 2, false),
        (2, 2, false),
    ] {
        let contexts = folded(&[paid, other, (report(by, accused, 1), TimeNs(2))]);
        check(&contexts, accused, 5, "from_reports", |value| {
            (value > 0) == is_believed
        });
        assert_eq!(contexts.len(), 4);
    }
}

#[test]
fn an_account_has_no_more_reports_than_transfers() {
    let mut attempts = vec![(transfer(1, 2, 5), TimeNs(1)), (transfer(3, 2, 5), TimeNs(1))];
    let reports_of = |attempts: &[(Operation, TimeNs)]| {
        let row = folded(attempts).row(&transfer(1, 2, 5), TimeNs(2));
        let at = FEATURES.iter().position(|feature| feature.name == "to_reports");
        row.expect("a transfer has a row").0[at.expect("it is a feature")]
    };
    let reported: Vec<i32> = (0..4)
        .map(|_| {
            attempts.push((report(1, 2, 1), TimeNs(1)));
            reports_of(&attempts)
        })
        .collect();
    assert!(0 < reported[0] && reported[0] < reported[1]);
    assert_eq!(reported[1..], [reported[1]; 3]);
}

#[test]
fn what_an_issuance_account_pays_is_no_payment_between_parties() {
    let created = Operation::create_asset(AssetId(1), AccountId(9), KeyId::NONE, 2, Amount(1));
    let mut contexts = folded(&[
        (created, TimeNs(1)),
        (transfer(9, 2, 100), TimeNs(2)),
        (transfer(2, 9, 100), TimeNs(3)),
    ]);
    assert_eq!(contexts.len(), 1, "only the issuance account is remembered");
    assert_eq!(contexts.row(&transfer(9, 2, 100), TimeNs(4)), None);
    let operation = transfer(9, 2, 100);
    let mut rows = Rows::default();
    contexts.begin();
    contexts.rows(
        &[Timed {
            operation: &operation,
            time: TimeNs(4),
        }],
        &mut rows,
    );
    contexts.keep();
    assert_eq!((rows.rows().len(), rows.operations(), contexts.len()), (0, 1, 1));
    let mut restored = Contexts::default();
    contexts.snapshot(&mut |chunk| restored.restore(chunk).expect("a context of this kind is sound"));
    assert_eq!(restored.row(&transfer(2, 9, 100), TimeNs(4)), None);
}

#[test]
fn posts_and_voids_leave_no_trace() {
    let contexts = folded(&[
        (Operation::post(1, 2, Amount(3)), TimeNs(1)),
        (Operation::void(1, 2), TimeNs(2)),
    ]);
    assert!(contexts.is_empty());
}

#[test]
fn fixed_operations_give_fixed_rows() {
    let second = |second: u64| TimeNs((1_500_000_000 + second) * NS_PER_S);
    let attempts = [
        (transfer(1, 2, 1_000), second(0)),
        (transfer(2, 3, 900), second(60)),
        (transfer(1, 2, 1_000), second(3_600)),
        (transfer(3, 1, u128::MAX), second(90_000)),
        (report(2, 3, 1), second(95_000)),
        (transfer(1, 2, 123_456), second(100_000)),
        (transfer(2, 3, 0), second(99_999)),
    ];
    let rows: Vec<Row> = rows(&attempts).into_iter().flatten().collect();
    assert_eq!(rows, ROWS);
    assert_eq!(folded(&attempts).hash().to_hex(), HASH);
}

const ROWS: [Row; 6] = [
    Row([
        2551, 1, 0, -4097, 2551, 0, -4097, -4097, 5889, 5889, 5889, 5889, 5889, 5889, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ]),
    Row([
        2512, 1, 0, -4097, -39, 0, -4097, -4097, 5889, 1518, 5889, 5889, 1518, 5889, 0, 0, 0, 0, 0, 0, 0, 1,
        0, 0, 0, 0, 0, -2551, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ]),
    Row([
        2551, 1, 0, 0, 2551, 0, 0, 0, 3024, 5889, 3024, 3017, 3024, 3024, 2305, 2549, 2558, 2305, 2549, 2558,
        1, 0, 1, 1, 2551, 2551, 0, 2551, -39, 5, 0, 5, 5, 1, 1024, 0, 0, 0, 0, 0,
    ]),
    Row([
        32767, 39, 0, -4097, 4096, 0, -4097, -4097, 5889, 4212, 5889, 4197, 4212, 4212, 0, 0, 0, 0, 0, 0, 0,
        1, 0, 2, 0, 0, 0, -2512, 2807, 0, 5, 0, 5, 0, 0, 0, 0, 0, 0, 0,
    ]),
    Row([
        4329, 6, 2048, 1778, -4096, 2048, 1778, 1778, 4237, 3401, 4237, 4251, 4251, 4251, 0, 2525, 2774, 0,
        2525, 2774, 2, 1, 2, 1, 2807, 2551, 0, -4096, -295, 5, 5, 5, 5, 1, 1024, 0, 0, 0, 0, 0,
    ]),
    Row([
        0, 0, -2048, -2512, -4096, -2048, -2512, -2512, 4251, 0, 4251, 3401, 4251, 4251, 0, 2263, 2517, 0,
        2263, 2517, 1, 3, 1, 1, 2512, 2512, 0, -1823, 4096, 5, 5, 5, 5, 1, 1024, 0, 5117, 1024, 0, 0,
    ]),
];
const HASH: &str = "ae80d4a2e6636ce2d678da83b710ba98b05980e08beefb8417eb925815aa1b47";
