//! Two models on one chain: the one that an account prefers, and the one that scores in the shadow.

use selfchain::drive::shadow::Shadow;
use selfchain::telemetry::Metrics;
use selfchain_ai::Projection;
use selfchain_ai::dataset::Dataset;
use selfchain_ai::features::{FEATURE_COUNT, Row};
use selfchain_ai::model::{Card, Model, Scoring, default_model};
use selfchain_ai::trees::{TreeOptions, train};
use selfchain_types::receipt::NOT_SCORED;
use selfchain_types::seam::scorer::{Scorer, Terms, Timed};
use selfchain_types::{AccountId, Amount, AssetId, Hash, Operation, Risk, TimeNs};
use std::sync::Arc;
use std::time::{Duration, Instant};

const TRANSFERS: u64 = 6_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// A model that finds large amounts risky, and nothing else.
fn of_amounts() -> Arc<Model> {
    let mut set = Dataset::default();
    for at in 0..2_000 {
        let mut row = Row([0; FEATURE_COUNT]);
        row.0[0] = at * 4;
        set.push(row, Operation::default(), at > 1_000, 0, 0);
    }
    let options = TreeOptions {
        trees: 20,
        ..TreeOptions::default()
    };
    let trees = train(&set, None, &options, &mut |_| ()).unwrap();
    Arc::new(Model::new(Scoring::Symmetric(trees), Card::default()))
}

fn operations() -> Vec<Operation> {
    let transfer = |at: u64| {
        let (from, to) = (u128::from(at % 50), u128::from(50 + at % 7));
        let amount = Amount(1 << (at % 30));
        Operation::transfer(
            u128::from(at + 1),
            AccountId(from),
            AccountId(to),
            amount,
            AssetId(1),
        )
    };
    (0..TRANSFERS).map(transfer).collect()
}

fn scored(scorer: &mut Projection, preferred: &[(u32, Hash)], is_decided: bool) -> Risk {
    let operations = operations();
    let timed: Vec<Timed<'_>> = (1_u64..)
        .zip(&operations)
        .map(|(at, operation)| Timed {
            operation,
            time: TimeNs(at * 1_000_000_000),
        })
        .collect();
    let terms = Terms {
        model: default_model().hash(),
        preferred,
        reasons_from: 100,
        budget_ns: u64::MAX,
        is_decided,
    };
    let mut risk = Risk::default();
    scorer.score(&timed, &terms, &mut risk);
    scorer.keep(&[]);
    assert!(risk.fits(timed.len()));
    risk
}

fn projection() -> Projection {
    Projection::new(vec![Arc::new(default_model()), of_amounts()])
}

#[test]
fn of_two_models_the_stricter_one_is_heard_and_only_where_the_payer_asks() {
    let other = of_amounts().hash();
    let alone = scored(&mut projection(), &[], false);
    let everywhere: Vec<(u32, Hash)> = (0..).zip(&alone.scores).map(|(at, _)| (at, other)).collect();
    let both = scored(&mut projection(), &everywhere, false);
    assert!(
        alone
            .scores
            .iter()
            .zip(&both.scores)
            .all(|(one, higher)| one <= higher)
    );
    assert!(
        alone
            .scores
            .iter()
            .zip(&both.scores)
            .any(|(one, higher)| one < higher)
    );
    let some: Vec<(u32, Hash)> = everywhere.iter().copied().filter(|(at, _)| at % 3 == 1).collect();
    let mixed = scored(&mut projection(), &some, false);
    for (at, score) in mixed.scores.iter().enumerate() {
        let want = if at % 3 == 1 { &both } else { &alone };
        assert_eq!(*score, want.scores[at], "operation {at}");
    }
    for risk in [&alone, &both, &mixed] {
        let high = (0_u32..).zip(&risk.scores).filter(|(_, score)| **score >= 100);
        let explained: Vec<u32> = risk.reasons.iter().map(|(at, _)| *at).collect();
        assert_eq!(explained, high.map(|(at, _)| at).collect::<Vec<_>>());
    }
    let unknown = scored(&mut projection(), &[(5, Hash([1; 32]))], false);
    assert_eq!(unknown, alone, "a model that is not there has no say");
}

#[test]
fn a_candidate_that_is_decided_for_certain_scores_and_is_remembered_the_same() {
    let (mut one, mut other) = (projection(), projection());
    for _ in 0..2 {
        assert_eq!(scored(&mut one, &[], false), scored(&mut other, &[], true));
        assert_eq!(one.memory_hash(), other.memory_hash());
    }
    one.freeze();
    other.freeze();
    scored(&mut one, &[], false);
    scored(&mut other, &[], true);
    let swept = |scorer: &mut Projection| {
        let mut chunks = Vec::new();
        while !scorer.sweep(10, &mut |chunk| chunks.push(chunk.to_vec())) {}
        chunks
    };
    assert_eq!(
        swept(&mut one),
        swept(&mut other),
        "a snapshot is of the moment that it was frozen"
    );
}

#[test]
fn a_shadow_scores_what_was_scored_and_says_how_far_it_is() {
    let metrics = Arc::new(Metrics::default());
    let shadow = Shadow::start(of_amounts(), Arc::clone(&metrics)).unwrap();
    let mut watched = projection().watched(Box::new(shadow));
    let risk = scored(&mut watched, &[], true);
    assert_eq!(risk, scored(&mut projection(), &[], true), "it decides nothing");
    metrics.scores.decided(&risk.scores, 120);
    let scored_count = risk.scores.iter().filter(|score| **score != NOT_SCORED).count();
    let seen = || {
        let shadow = metrics.scores.shadow();
        usize::try_from(shadow.beside.shadow.total() + metrics.scores.shadow_skipped.get()).unwrap()
    };
    let began = Instant::now();
    while seen() < scored_count {
        assert!(began.elapsed() < PATIENCE, "{} of {scored_count}", seen());
        std::thread::yield_now();
    }
    let shadow = metrics.scores.shadow();
    assert_eq!(seen(), scored_count);
    assert_eq!(metrics.scores.deciding().all().total(), TRANSFERS);
    assert!(shadow.beside.apart > 0);
    assert!(shadow.beside.index().unwrap() > 0.0);
    let text = selfchain::telemetry::encode(&metrics);
    let count = format!(
        "selfchain_score_count{{model=\"shadow\"}} {}",
        shadow.beside.shadow.total()
    );
    assert!(text.contains(&count), "{count}");
}
