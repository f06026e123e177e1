//! The conformance suite of models: every kind keeps the contract of [`Predict`].
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::{Card, Model, Predict, Scoring, default_model};
use crate::explain::words;
use crate::features::{FEATURE_COUNT, Row};
use crate::network::samples;
use crate::projection::Projection;
use crate::rules::STARTER;
use crate::score::{LOG_ODDS_MAX, LogOdds};
use crate::trees::import;
use proptest::prelude::*;
use rayon::ThreadPoolBuilder;
use rayon::prelude::*;
use selfchain_types::receipt::NOT_SCORED;
use selfchain_types::risk::NO_REASON;
use selfchain_types::seam::scorer::{Scorer, Terms, Timed};
use selfchain_types::{AccountId, Amount, AssetId, Operation, Risk, TimeNs};
use std::sync::{Arc, LazyLock};

/// A model of each kind, and the sum of its log-odds over [`transfers`] where that is the same on every processor.
fn kinds() -> Vec<(Model, Option<i64>)> {
    let asymmetric = import(TREES, Row([0; FEATURE_COUNT])).unwrap();
    let network = samples::random(1, 64, 32);
    let model = |scoring: Scoring| Model::new(scoring, Card::default());
    let rules = STARTER.replace("accounts = []", "accounts = [3, 5]");
    vec![
        (default_model(), Some(SYMMETRIC_SUM)),
        (model(Scoring::Asymmetric(asymmetric)), Some(ASYMMETRIC_SUM)),
        (
            model(Scoring::network(network.clone()).unwrap()),
            Some(NETWORK_SUM),
        ),
        #[cfg(feature = "candle")]
        (model(Scoring::float(network).unwrap()), None),
        (Model::read(rules.as_bytes()).unwrap(), Some(RULES_SUM)),
    ]
}

const SYMMETRIC_SUM: i64 = 205_065_200;
const ASYMMETRIC_SUM: i64 = 45_940_736;
const NETWORK_SUM: i64 = 591_475_283;
const RULES_SUM: i64 = 466_006_016;

const TREES: &str = "tree\nnum_class=1\nobjective=binary sigmoid:1\nfeature_names=amount pair\n\nTree=0\nnum_leaves=3\n\
    split_feature=0 1\nthreshold=9999.5 1.5\ndecision_type=2 2\nleft_child=1 -1\nright_child=-2 -3\n\
    leaf_value=-1 1 0.5\n";

/// Rows within their bounds, and transfers that some rules name.
fn transfers() -> (Vec<Row>, Vec<Operation>) {
    let rows = samples::rows(7, 1_100);
    let operation = |at: u128| transfer(at % 7, at % 11, at * at * at);
    (rows, (0..1_100).map(operation).collect())
}

fn transfer(from: u128, to: u128, amount: u128) -> Operation {
    Operation::transfer(1, AccountId(from), AccountId(to), Amount(amount), AssetId(1))
}

fn log_odds(model: &Model, rows: &[Row], operations: &[Operation]) -> Vec<LogOdds> {
    let operations: Vec<&Operation> = operations.iter().collect();
    let mut out = Vec::new();
    model.log_odds(rows, &operations, &mut out);
    assert_eq!(out.len(), rows.len());
    assert!(out.iter().all(|one| one.0.abs() <= LOG_ODDS_MAX));
    out
}

#[test]
fn rows_score_the_same_in_every_batch_and_on_any_number_of_threads() {
    let (rows, operations) = transfers();
    for (model, _) in kinds() {
        let whole = log_odds(&model, &rows, &operations);
        assert!(
            whole.iter().any(|one| *one != whole[0]),
            "{model} tells rows apart"
        );
        for size in [1, 7, 63, 64, 65, 512, 1_099] {
            let chunks = rows.chunks(size).zip(operations.chunks(size));
            let parts: Vec<LogOdds> = chunks
                .flat_map(|(rows, operations)| log_odds(&model, rows, operations))
                .collect();
            assert_eq!(parts, whole, "{model} in batches of {size}");
        }
        let backwards = |mut all: Vec<LogOdds>| {
            all.reverse();
            all
        };
        let (last, first): (Vec<Row>, Vec<Operation>) =
            rows.iter().copied().zip(operations.iter().copied()).rev().unzip();
        assert_eq!(
            backwards(log_odds(&model, &last, &first)),
            whole,
            "{model} backwards"
        );
        for threads in [1, 3] {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let batches = rows.par_chunks(100).zip(operations.par_chunks(100));
            let score = || -> Vec<LogOdds> {
                let parts: Vec<Vec<LogOdds>> = batches
                    .map(|(rows, operations)| log_odds(&model, rows, operations))
                    .collect();
                parts.into_iter().flatten().collect()
            };
            assert_eq!(pool.install(score), whole, "{model} on {threads} threads");
        }
        assert_eq!(model.failed(), 0);
    }
}

#[test]
fn exact_kinds_score_as_they_always_did() {
    let (rows, operations) = transfers();
    let sum = |model: &Model| -> i64 {
        let all = log_odds(model, &rows, &operations);
        all.iter().map(|one| i64::from(one.0)).sum()
    };
    let (sums, golden): (Vec<Option<i64>>, Vec<Option<i64>>) = kinds()
        .iter()
        .map(|(model, golden)| (model.is_exact().then(|| sum(model)), *golden))
        .unzip();
    assert_eq!(sums, golden);
}

#[test]
fn files_give_every_kind_back() {
    let (rows, operations) = transfers();
    for (model, _) in kinds() {
        let read = Model::read_named(&model.to_bytes(), model.hash()).unwrap();
        assert_eq!((read.card(), read.is_exact()), (model.card(), model.is_exact()));
        assert_eq!(
            log_odds(&read, &rows, &operations),
            log_odds(&model, &rows, &operations),
            "{model}"
        );
    }
}

#[test]
fn only_what_is_exact_scores_where_a_candidate_may_be_taken_back() {
    let operation = transfer(1, 2, 3);
    for (model, golden) in kinds() {
        let model = Arc::new(model);
        for is_decided in [true, false] {
            let mut risk = Risk::default();
            let mut projection = Projection::new(vec![Arc::clone(&model)]);
            let timed = [Timed {
                operation: &operation,
                time: TimeNs(1),
            }];
            projection.score(&timed, &terms(&model, is_decided), &mut risk);
            let is_scored = risk.scores[0] != NOT_SCORED;
            assert_eq!(is_scored, is_decided || golden.is_some(), "{model}");
        }
    }
}

fn terms(model: &Model, is_decided: bool) -> Terms<'static> {
    Terms {
        model: model.hash(),
        preferred: &[],
        reasons_from: 0,
        budget_ns: u64::MAX,
        is_decided,
    }
}

static KINDS: LazyLock<Vec<Arc<Model>>> =
    LazyLock::new(|| kinds().into_iter().map(|(model, _)| Arc::new(model)).collect());

/// Values at the ends of what they can be, and others.
fn any_value() -> impl Strategy<Value = i32> {
    prop_oneof![Just(i32::MIN), Just(i32::MAX), -2..2, any::<i32>()]
}

fn any_operation() -> impl Strategy<Value = Operation> {
    let amount = prop_oneof![Just(0), Just(u128::MAX), 0..2_000_000_u128, any::<u128>()];
    let account = || prop_oneof![0..6_u128, Just(u128::MAX), any::<u128>()];
    (account(), account(), amount).prop_map(|(from, to, amount)| transfer(from, to, amount))
}

/// Nothing between two transfers, a step, and clocks that jump to either end.
fn any_time() -> impl Strategy<Value = TimeNs> {
    prop_oneof![Just(0), Just(u64::MAX), 0..1_000_u64, any::<u64>()].prop_map(TimeNs)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_row_and_no_operation_panics(
        values in proptest::collection::vec(any_value(), FEATURE_COUNT),
        operation in any_operation(),
    ) {
        let row = Row(values.try_into().unwrap());
        for model in KINDS.iter() {
            log_odds(model, &[row], &[operation]);
            let reasons = model.explain(&row, &operation);
            prop_assert!(reasons.is_sorted_by(|left, right| left.raises >= right.raises));
            for reason in reasons {
                prop_assert!(reason.raises.0 > 0 && words(reason.feature).is_some());
            }
        }
    }

    #[test]
    fn no_amounts_and_no_clock_panic(
        attempts in proptest::collection::vec((any_operation(), any_time()), 1..40),
        block in 1_usize..40,
    ) {
        let timed: Vec<Timed<'_>> = attempts
            .iter()
            .map(|(operation, time)| Timed { operation, time: *time })
            .collect();
        for model in KINDS.iter() {
            let mut projection = Projection::new(vec![Arc::clone(model)]);
            for block in timed.chunks(block) {
                let mut risk = Risk::default();
                projection.score(block, &terms(model, true), &mut risk);
                prop_assert!(risk.fits(block.len()));
                let told = risk.reasons.iter().flat_map(|(_, codes)| codes);
                let mut told = told.filter(|code| **code != NO_REASON);
                prop_assert!(told.all(|code| words(*code).is_some()));
                projection.keep(&[]);
            }
            prop_assert_eq!(projection.failed(), 0);
        }
    }
}
