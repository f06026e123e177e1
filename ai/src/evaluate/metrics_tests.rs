//! Figures worked out by hand, ties, extremes, and the slow way of counting pairs.

use super::*;
use crate::score::LogOdds;
use proptest::prelude::*;

fn log_odds(values: &[f64]) -> Vec<LogOdds> {
    values.iter().copied().map(LogOdds::from_real).collect()
}

fn labels(values: &[u8]) -> Vec<bool> {
    values.iter().map(|value| *value == 1).collect()
}

fn ranking(values: &[f64], truth: &[u8]) -> Ranking {
    Ranking::new(&log_odds(values), &labels(truth)).expect("both kinds of rows")
}

#[track_caller]
fn near(got: f64, want: f64) {
    assert!((got - want).abs() < 1e-9, "{got} is not {want}");
}

/// Log-odds of a probability of 3/4, which steps of 2^-16 hit to five digits.
#[track_caller]
fn about(got: f64, want: f64) {
    assert!((got - want).abs() < 1e-5, "{got} is not {want}");
}

#[test]
fn four_rows_have_the_figures_of_the_textbook() {
    let four = ranking(&[0.1, 0.4, 0.35, 0.8], &[0, 0, 1, 1]);
    // Of four pairs only 0.35 against 0.4 is the wrong way round.
    near(four.roc_auc(), 0.75);
    // Recall 1/2 at precision 1, then recall 1 at precision 2/3.
    near(four.average_precision(), 0.5 + 0.5 * 2.0 / 3.0);
    let roc: Vec<_> = four.roc().collect();
    assert_eq!(roc, [(0.0, 0.0), (0.0, 0.5), (0.5, 0.5), (0.5, 1.0), (1.0, 1.0)]);
}

#[test]
fn recall_at_a_rate_lies_on_the_line_between_two_points() {
    let four = ranking(&[0.1, 0.4, 0.35, 0.8], &[0, 0, 1, 1]);
    // On the flat part; on vertical ones the upper end counts.
    near(four.recall_at(0.001), 0.5);
    near(four.recall_at(0.0), 0.5);
    near(four.recall_at(0.5), 1.0);
    near(four.recall_at(1.0), 1.0);
    near(four.recall_at(-1.0), 0.0);
    // One step from (0, 0) to (1/2, 1), all of it slope: 0.01 of false positives is 0.02 of recall.
    near(ranking(&[1.0, 1.0, 0.0], &[1, 0, 0]).recall_at(0.01), 0.02);
}

#[test]
fn ties_count_half_and_are_one_step() {
    // 3 beats three; 1 ties with one and beats two: 5.5 of 6 pairs.
    let tied = ranking(&[3.0, 1.0, 1.0, 0.0, -1.0], &[1, 1, 0, 0, 0]);
    near(tied.roc_auc(), 5.5 / 6.0);
    // Recall 1/2 at precision 1, recall 1 at precision 2/3: the tie is not split.
    near(tied.average_precision(), 0.5 + 0.5 * 2.0 / 3.0);
    let same = ranking(&[0.0; 4], &[1, 0, 0, 0]);
    near(same.roc_auc(), 0.5);
    near(same.average_precision(), 0.25);
    near(same.recall_at(0.01), 0.01);
    assert_eq!(same.steps().len(), 1);
}

#[test]
fn the_best_and_the_worst_are_at_the_ends() {
    let best = ranking(&[-1.0, -2.0, 1.0, 2.0], &[0, 0, 1, 1]);
    near(best.roc_auc(), 1.0);
    near(best.average_precision(), 1.0);
    near(best.recall_at(0.001), 1.0);
    let worst = ranking(&[1.0, 2.0, -1.0, -2.0], &[0, 0, 1, 1]);
    near(worst.roc_auc(), 0.0);
    near(worst.recall_at(0.01), 0.0);
    // Recall 1/2 at precision 1/3, then recall 1 at precision 1/2.
    near(worst.average_precision(), 0.5 / 3.0 + 0.5 / 2.0);
}

#[test]
fn probabilities_are_judged_by_their_errors() {
    let even = ranking(&[0.0, 0.0], &[0, 1]);
    near(even.brier(), 0.25);
    near(even.log_loss(), 2_f64.ln());
    // Probabilities 3/4 of what is fraud and 1/4 of what is not: both err by 1/4.
    let odds = 3_f64.ln();
    let right = ranking(&[odds, -odds], &[1, 0]);
    about(right.brier(), 1.0 / 16.0);
    about(right.log_loss(), -(0.75_f64.ln()));
    // And 3/4 of what is not: errors of 1/4 and 3/4.
    let half = ranking(&[odds, odds], &[1, 0]);
    about(half.brier(), (1.0 / 16.0 + 9.0 / 16.0) / 2.0);
    about(half.log_loss(), -(0.75_f64.ln() + 0.25_f64.ln()) / 2.0);
}

#[test]
fn the_surest_errors_are_finite() {
    let sure = [LogOdds(i32::MIN), LogOdds(i32::MAX)];
    let wrong = Ranking::new(&sure, &[true, false]).expect("both kinds");
    near(wrong.brier(), 1.0);
    about(wrong.log_loss(), 32_768.0 - f64::powi(2.0, -17));
    let right = Ranking::new(&sure, &[false, true]).expect("both kinds");
    near(right.brier(), 0.0);
    near(right.log_loss(), 0.0);
    assert_eq!(wrong.calibration().len(), 2);
}

#[test]
fn bins_are_of_equal_count_where_nothing_ties() {
    // 25 rows: bins of 3 and 2 in turn; the upper half is fraud.
    let values: Vec<f64> = (0..25).map(|at| f64::from(at) / 4.0 - 3.0).collect();
    let truth: Vec<u8> = (0..25).map(|at| u8::from(at >= 12)).collect();
    let bins = ranking(&values, &truth).calibration();
    let counts: Vec<usize> = bins.iter().map(|bin| bin.count).collect();
    assert_eq!(counts, [3, 2, 3, 2, 3, 2, 3, 2, 3, 2]);
    let observed: Vec<f64> = bins.iter().map(|bin| bin.observed).collect();
    // Rows 10, 11 and 12 are the fifth bin, and only 12 is fraud.
    assert_eq!(observed, [0.0, 0.0, 0.0, 0.0, 1.0 / 3.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
    let first = log_odds(&values[..3]);
    let mean = first.iter().map(|odds| odds.probability()).sum::<f64>() / 3.0;
    near(bins[0].probability, mean);
}

#[test]
fn rows_that_tie_share_a_bin() {
    // All say 1/2, and one of four is fraud: off by 1/4.
    let bins = ranking(&[0.0; 4], &[1, 0, 0, 0]).calibration();
    let all = CalibrationBin {
        probability: 0.5,
        observed: 0.25,
        count: 4,
    };
    assert_eq!(bins, [all]);
    near(calibration_error(&bins), 0.25);
    // Nineteen of twenty tie, and the first of them is in the first tenth.
    let mut values = [0.0; 20];
    values[7] = -1.0;
    let mut truth = [0; 20];
    truth[3] = 1;
    let counts: Vec<usize> = ranking(&values, &truth)
        .calibration()
        .iter()
        .map(|bin| bin.count)
        .collect();
    assert_eq!(counts, [20]);
    // A bin of three times the rows weighs three times as much: (3 · 0.1 + 1 · 0.5) / 4.
    let bin = |probability, observed, count| CalibrationBin {
        probability,
        observed,
        count,
    };
    near(calibration_error(&[bin(0.2, 0.3, 3), bin(0.9, 0.4, 1)]), 0.2);
    near(calibration_error(&[]), 0.0);
}

#[test]
fn what_is_flagged_from_a_score_on_is_counted() {
    // Scores 159, 143, 127, 111.
    let ranking = ranking(&[2.0, 1.0, 0.0, -1.0], &[1, 0, 1, 0]);
    let at = |score| {
        let flagged = ranking.flagged(score);
        (flagged.hits, flagged.false_alarms, flagged.missed)
    };
    assert_eq!(
        [at(0), at(127), at(128), at(143), at(159), at(160)],
        [(2, 2, 0), (2, 1, 0), (1, 1, 1), (1, 1, 1), (1, 0, 1), (0, 0, 2)]
    );
    let flagged = ranking.flagged(127);
    near(flagged.precision(), 2.0 / 3.0);
    near(flagged.recall(), 1.0);
    // 2 · (2/3 · 1) / (2/3 + 1).
    near(flagged.f1(), 0.8);
    let nothing = ranking.flagged(254);
    assert_eq!(
        [nothing.precision(), nothing.recall(), nothing.f1()],
        [0.0, 0.0, 0.0]
    );
}

#[test]
fn stability_is_zero_for_the_same_and_grows_with_the_difference() {
    let before: Vec<LogOdds> = (0..10).map(LogOdds).collect();
    let stability = |after: &[LogOdds]| population_stability(&before, after).expect("rows on both sides");
    near(stability(&before), 0.0);
    // A tenth in every bin before. After: nine bins at the floor of 1/10,000, all in the last.
    let moved = 9.0 * (0.1 - 0.0001) * (0.1_f64 / 0.0001).ln() + (0.1 - 1.0) * 0.1_f64.ln();
    near(stability(&[LogOdds(99)]), moved);
    // 2/10 in the first bin, none in the last.
    let mut shifted = before.clone();
    shifted[9] = LogOdds(-5);
    let want = (0.1 - 0.2) * 0.5_f64.ln() + (0.1 - 0.0001) * (0.1_f64 / 0.0001).ln();
    near(stability(&shifted), want);
    assert_eq!(population_stability(&before, &[]), Err(EvaluateError::Empty));
    assert_eq!(population_stability(&[], &before), Err(EvaluateError::Empty));
}

#[test]
fn stability_has_bins_by_the_deciles_of_the_first() {
    // 20 rows in pairs: both of a pair are in one bin; half of each moves up by a bin, but for the last.
    let before: Vec<LogOdds> = (0..20).map(|at| LogOdds(at / 2)).collect();
    let after: Vec<LogOdds> = (0..20).map(|at| LogOdds((at / 2 + at % 2).min(9))).collect();
    let want = (0.1 - 0.05) * (0.1_f64 / 0.05).ln() + (0.1 - 0.15) * (0.1_f64 / 0.15).ln();
    near(
        population_stability(&before, &after).expect("rows on both sides"),
        want,
    );
}

#[test]
fn models_disagree_where_only_one_flags() {
    let one = log_odds(&[2.0, 1.0, 0.0, -1.0]);
    let other = log_odds(&[2.0, 0.0, 1.0, -2.0]);
    assert_eq!(disagreement(&one, &other, 128), Ok(0.5));
    assert_eq!(disagreement(&one, &other, 127), Ok(0.0));
    assert_eq!(
        disagreement(&one, &other[1..], 127),
        Err(EvaluateError::Lengths { first: 4, second: 3 })
    );
    assert_eq!(disagreement(&[], &[], 127), Err(EvaluateError::Empty));
}

#[test]
fn what_cannot_be_judged_is_refused() {
    let refused = |values: &[f64], truth: &[u8]| {
        Ranking::new(&log_odds(values), &labels(truth)).expect_err("nothing to judge by")
    };
    assert_eq!(refused(&[], &[]), EvaluateError::Empty);
    assert_eq!(
        refused(&[1.0], &[0, 1]),
        EvaluateError::Lengths { first: 1, second: 2 }
    );
    assert_eq!(refused(&[], &[1]), EvaluateError::Lengths { first: 0, second: 1 });
    let one_class = |rows, positives| EvaluateError::OneClass { rows, positives };
    assert_eq!(refused(&[1.0, 2.0], &[0, 0]), one_class(2, 0));
    assert_eq!(refused(&[1.0, 2.0], &[1, 1]), one_class(2, 2));
}

/// A small generator: figures must not depend on a library's.
fn next(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// Rows of which fraud tends to have higher log-odds, with many ties.
fn random_rows(count: usize) -> (Vec<LogOdds>, Vec<bool>) {
    let mut state = 7;
    let rows = (0..count).map(|_| {
        let is_fraud = next(&mut state).is_multiple_of(12);
        let shift = if is_fraud { 150 } else { 0 };
        let value = i32::try_from(next(&mut state) % 400).expect("small") + shift - 300;
        (LogOdds(value * 1_000), is_fraud)
    });
    rows.unzip()
}

/// Won pairs and drawn ones, one by one.
fn naive_auc(log_odds: &[LogOdds], labels: &[bool]) -> f64 {
    let (mut won, mut pairs) = (0.0, 0.0);
    for (fraud, _) in log_odds.iter().zip(labels).filter(|(_, label)| **label) {
        for (other, _) in log_odds.iter().zip(labels).filter(|(_, label)| !**label) {
            pairs += 1.0;
            won += match fraud.cmp(other) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            };
        }
    }
    won / pairs
}

#[test]
fn a_hundred_thousand_rows_agree_with_counting_the_pairs_of_some() {
    let (log_odds, labels) = random_rows(100_000);
    let (some, truth) = (&log_odds[..3_000], &labels[..3_000]);
    let part = Ranking::new(some, truth).expect("both kinds");
    near(part.roc_auc(), naive_auc(some, truth));
    let all = Ranking::new(&log_odds, &labels).expect("both kinds");
    let difference = (all.roc_auc() - part.roc_auc()).abs();
    assert!(difference < 0.03, "a sample of 3,000 is off by {difference}");
    let bins = all.calibration();
    assert_eq!(bins.iter().map(|bin| bin.count).sum::<usize>(), 100_000);
    assert!(
        bins.iter().all(|bin| bin.count.abs_diff(10_000) < 500),
        "{bins:?}"
    );
}

proptest! {
    #[test]
    fn figures_stay_in_range_and_ignore_the_order_of_rows(
        rows in proptest::collection::vec((-6_i32..6, any::<bool>()), 2..60)
    ) {
        let of = |rows: &[(i32, bool)]| {
            let (log_odds, labels): (Vec<_>, Vec<_>) =
                rows.iter().map(|(value, label)| (LogOdds(value << 15), *label)).unzip();
            Ranking::new(&log_odds, &labels).map(|ranking| {
                let auc = ranking.roc_auc();
                (auc - naive_auc(&log_odds, &labels)).abs().lt(&1e-9).then_some(ranking)
            })
        };
        let Ok(ranking) = of(&rows) else { return Ok(()) };
        let ranking = ranking.expect("as the pairs say");
        let mut turned = rows.clone();
        turned.reverse();
        prop_assert_eq!(Some(ranking.clone()), of(&turned).expect("the same kinds"));
        for figure in [ranking.average_precision(), ranking.recall_at(0.01), ranking.brier()] {
            prop_assert!((0.0..=1.0 + 1e-9).contains(&figure), "{}", figure);
        }
        let last = ranking.roc().last();
        prop_assert_eq!(last, Some((1.0, 1.0)));
    }
}
