//! Whole validators under a virtual clock: seeds that must hold, and safeguards whose absence must be seen.

use rayon::prelude::*;
use selfchain::types::genesis::Plane;
use selfchain_tests::simulator::{
    Broken, Control, EPOCH_BLOCKS, Outcome, Plan, THREE_FAILING, compared, run,
};

const SEEDS: u64 = 200;
const HEIGHTS: u64 = 50;

/// Both planes in turn.
fn plane(seed: u64) -> Plane {
    if seed.is_multiple_of(2) {
        Plane::Stake
    } else {
        Plane::Poai
    }
}

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
            let plan = Plan::of_seed(seed, plane(seed), 4, HEIGHTS);
            let outcome = run(&plan);
            (plan, outcome)
        })
        .collect();
    let (mut crashes, mut moved, mut held, mut disputed) = (0, 0, 0, 0);
    for (plan, outcome) in outcomes {
        let outcome = outcome.unwrap_or_else(|broken| panic!("{broken}\nrepeat: {}", plan.command()));
        assert!(outcome.height >= HEIGHTS && outcome.transactions > 0);
        assert!(
            outcome.scored > 0,
            "nothing was scored\nrepeat: {}",
            plan.command()
        );
        crashes += outcome.crashes;
        let is_by_bond =
            plan.plane == Plane::Stake && outcome.sets > 1 + usize::from(outcome.liar_left.is_some());
        moved += u64::from(is_by_bond);
        held += outcome.held;
        disputed += outcome.disputed;
    }
    assert!(moved > SEEDS / 8, "bonds moved a set in {moved} runs only");
    assert!(
        crashes > SEEDS,
        "{crashes} power cuts are too few to show anything"
    );
    assert!(
        held > SEEDS && disputed > SEEDS,
        "{held} held transfers and {disputed} wrong scores are too few to show anything"
    );
}

#[test]
fn a_validator_that_lost_its_disk_joins_by_snapshot_among_faults() {
    let outcomes: Vec<(Plan, Result<Outcome, Broken>)> = (0..24)
        .into_par_iter()
        .map(|seed| {
            let validators = if seed % 3 == 2 { 7 } else { 4 };
            let plan = Plan::losing(seed, plane(seed), validators, 90);
            let outcome = run(&plan);
            (plan, outcome)
        })
        .collect();
    let (mut joins, mut chunks, mut crashes) = (0, 0, 0);
    for (plan, outcome) in outcomes {
        let outcome = outcome.unwrap_or_else(|broken| panic!("{broken}\n{plan:?}"));
        joins += u64::from(outcome.joins > 0);
        chunks += outcome.fetched.0;
        crashes += outcome.crashes;
    }
    assert!(
        joins >= 8 && chunks > 60,
        "{joins} joined by snapshot, with {chunks} chunks"
    );
    assert!(crashes > 24, "{crashes} power cuts are too few to show anything");
}

#[test]
fn a_seed_gives_the_same_run_each_time() {
    for seed in [3, 78] {
        let plan = Plan::of_seed(seed, plane(seed), 4, 30);
        assert_eq!(run(&plan), run(&plan));
    }
}

#[test]
fn a_calm_network_decides_every_height_in_its_first_round() {
    for (plane, is_scored) in [
        (Plane::Stake, false),
        (Plane::Poai, false),
        (Plane::Stake, true),
        (Plane::Poai, true),
    ] {
        let plan = Plan {
            is_scored,
            ..Plan::calm(1, plane, 4, 100)
        };
        let outcome = run(&plan).unwrap();
        assert_eq!(
            (outcome.later_rounds, outcome.crashes, outcome.disputed),
            (0, 0, 0),
            "{}",
            plane.name()
        );
        assert_eq!(outcome.scored > 0, is_scored);
    }
}

#[test]
fn a_lying_validator_is_found_out_and_is_out_of_the_set_at_an_epochs_end() {
    // With `poai` at most a twentieth of all power moves in an epoch: a quarter takes several, the more as bonds of
    // others move too.
    for (plane, heights) in [(Plane::Stake, 64), (Plane::Poai, 448)] {
        let outcomes: Vec<Outcome> = (0..6u64)
            .into_par_iter()
            .map(|seed| Plan::of_seed(seed, plane, 4, heights))
            .map(|plan| run(&plan).unwrap_or_else(|broken| panic!("{broken}\nrepeat: {}", plan.command())))
            .collect();
        for outcome in outcomes {
            assert!(outcome.proofs > 0, "no block has a proof: {outcome:?}");
            let left = outcome.liar_left.unwrap_or_default();
            assert_eq!(left % u64::from(EPOCH_BLOCKS), 1, "{outcome:?}");
        }
    }
}

#[test]
fn poai_asks_a_dead_proposer_less_often_than_stake_does() {
    let rounds: Vec<u64> = [Plane::Stake, Plane::Poai]
        .into_par_iter()
        .map(|plane| {
            run(&compared(1, plane, 300, THREE_FAILING))
                .unwrap()
                .later_rounds_settled
        })
        .collect();
    assert!(rounds[1] * 2 <= rounds[0] && rounds[0] > 20, "{rounds:?}");
}

#[test]
fn without_a_journal_an_honest_validator_signs_twice() {
    let plans = (0..60).into_par_iter().map(|seed| Plan {
        crashes: 12,
        control: Control::NoJournal,
        ..Plan::of_seed(seed, Plane::Stake, 4, HEIGHTS)
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
        ..Plan::of_seed(seed, Plane::Stake, 4, HEIGHTS)
    });
    let broken = broken(plans);
    let is_seen = |broken: &Broken| matches!(broken, Broken::Stalled { .. } | Broken::Stopped { .. });
    assert!(broken.iter().any(|(_, broken)| is_seen(broken)), "{broken:?}");
}
