//! Whole validators under a virtual clock: seeds that must hold, and safeguards whose absence must be seen.

use rayon::prelude::*;
use selfchain_tests::simulator::{Broken, Control, Outcome, Plan, run};

const SEEDS: u64 = 200;
const HEIGHTS: u64 = 50;

fn broken(plans: impl ParallelIterator<Item = Plan>) -> Vec<(Plan, Broken)> {
    plans
        .filter_map(|plan| run(&plan).err().map(|broken| (plan, broken)))
        .collect()
}

#[test]
fn every_seed_holds_with_power_cuts_partitions_loss_and_a_lying_validator() {
    let outcomes: Vec<(Plan, Result<Outcome, Broken>)> = (0..SEEDS)
        .into_par_iter()
        .map(|seed| {
            let plan = Plan::of_seed(seed, 4, HEIGHTS);
            let outcome = run(&plan);
            (plan, outcome)
        })
        .collect();
    let mut crashes = 0;
    for (plan, outcome) in outcomes {
        let outcome = outcome.unwrap_or_else(|broken| panic!("{broken}\nrepeat: {}", plan.command()));
        assert!(outcome.height >= HEIGHTS && outcome.transactions > 0);
        crashes += outcome.crashes;
    }
    assert!(
        crashes > SEEDS,
        "{crashes} power cuts are too few to show anything"
    );
}

#[test]
fn a_seed_gives_the_same_run_each_time() {
    for seed in [3, 77] {
        let plan = Plan::of_seed(seed, 4, 30);
        assert_eq!(run(&plan), run(&plan));
    }
}

#[test]
fn a_calm_network_decides_every_height_in_its_first_round() {
    let outcome = run(&Plan::calm(1, 4, 100)).unwrap();
    assert_eq!((outcome.later_rounds, outcome.crashes), (0, 0));
}

#[test]
fn without_a_journal_an_honest_validator_signs_twice() {
    let plans = (0..60).into_par_iter().map(|seed| Plan {
        crashes: 12,
        control: Control::NoJournal,
        ..Plan::of_seed(seed, 4, HEIGHTS)
    });
    let broken = broken(plans);
    let is_seen = |broken: &Broken| matches!(broken, Broken::DoubleSign { .. } | Broken::Fork { .. });
    assert!(broken.iter().any(|(_, broken)| is_seen(broken)), "{broken:?}");
}

#[test]
fn without_bodies_in_the_journal_a_blackout_stops_the_chain() {
    let plans = (0..60).into_par_iter().map(|seed| Plan {
        blackouts: 12,
        calm_ns_max: 30_000_000_000,
        control: Control::NoBodies,
        ..Plan::of_seed(seed, 4, HEIGHTS)
    });
    let broken = broken(plans);
    let is_seen = |broken: &Broken| matches!(broken, Broken::Stalled { .. } | Broken::Stopped { .. });
    assert!(broken.iter().any(|(_, broken)| is_seen(broken)), "{broken:?}");
}
