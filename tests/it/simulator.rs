//! Whole validators under a virtual clock: seeds that must hold, and safeguards whose absence must be seen.

use rayon::prelude::*;
use selfchain::replica::INCLUSION_BOUND;
use selfchain::types::genesis::Plane;
use selfchain_ai::proposer::Traces;
use selfchain_ai::proposer::cost::cost;
use selfchain_tests::simulator::{
    Broken, Control, EPOCH_BLOCKS, Failing, Guards, Load, Outcome, Plan, Revoking, THREE_FAILING, Trace,
    compared, header, run, run_alone, traced, traces,
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
    let (mut crashes, mut moved, mut held, mut disputed, mut ahead) = (0, 0, 0, 0, 0);
    for (plan, outcome) in outcomes {
        let outcome = outcome.unwrap_or_else(|broken| panic!("{broken}\nrepeat: {}", plan.command()));
        assert!(outcome.height >= HEIGHTS && outcome.transactions > 0);
        assert_eq!(
            outcome.guarded,
            0,
            "a guard held back what it should not\nrepeat: {}",
            plan.command()
        );
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
        ahead += outcome.ahead;
    }
    assert!(
        ahead > SEEDS / 4,
        "{ahead} objections by clocks that went back are too few"
    );
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
fn looking_at_no_signature_changes_nothing_where_all_are_honest() {
    for plane in [Plane::Stake, Plane::Poai] {
        let plan = Plan::calm(5, plane, 4, 40);
        let trusting = Plan {
            trusts_signatures: true,
            is_on_memory: true,
            ..plan.clone()
        };
        assert_eq!(run(&plan), run_alone(&trusting));
    }
}

#[test]
fn a_network_whose_signing_costs_nothing_decides_every_height_in_its_first_round_too() {
    for plane in [Plane::Stake, Plane::Poai] {
        for trusts_signatures in [true, false] {
            let plan = Plan {
                is_signing_free: true,
                trusts_signatures,
                ..Plan::calm(6, plane, 4, 40)
            };
            let outcome = run(&plan).unwrap();
            assert_eq!(
                (outcome.height, outcome.later_rounds),
                (40, 0),
                "{}",
                plane.name()
            );
            assert_eq!(run(&plan), Ok(outcome));
        }
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
fn poai_asks_a_dead_proposer_less_often_than_stake_does_and_a_starving_one_starves_nobody() {
    let outcomes: Vec<Outcome> = [Plane::Stake, Plane::Poai]
        .into_par_iter()
        .map(|plane| run(&compared(1, plane, 300, THREE_FAILING)).unwrap())
        .collect();
    for outcome in &outcomes {
        let waited = outcome.waited_max;
        assert!(waited <= u64::from(INCLUSION_BOUND), "{outcome:?}");
    }
    let rounds: Vec<u64> = outcomes.iter().map(|one| one.later_rounds_settled).collect();
    assert!(rounds[1] * 2 <= rounds[0] && rounds[0] > 20, "{rounds:?}");
}

/// What breaks without a safeguard, in so many runs.
fn broken_without(control: Control, seeds: u64, heights: u64) -> Vec<Broken> {
    let plan = |seed| Plan::of_seed(seed, Plane::Stake, 4, heights).without(control);
    let runs = (0..seeds).into_par_iter();
    runs.filter_map(|seed| run(&plan(seed)).err()).collect()
}

/// Fourteen of sixteen put nothing into their blocks.
const FOURTEEN: Failing = Failing {
    dead: None,
    slow: None,
    starving: &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13],
    is_known: false,
};

#[test]
fn what_was_acknowledged_gets_in_sooner_although_most_proposers_go_on_leaving_it_out() {
    for (plane, waited) in [(Plane::Stake, 13), (Plane::Poai, 11)] {
        let [told, silent]: [Outcome; 2] = [Control::None, Control::NoAcknowledgements]
            .into_par_iter()
            .map(|control| Plan {
                control,
                failing: FOURTEEN,
                ..Plan::calm(0, plane, 16, 36)
            })
            .map(|plan| run(&plan).unwrap())
            .collect::<Vec<_>>()
            .try_into()
            .unwrap();
        assert!(told.starved > 0 && told.round_max == 2, "{told:?}");
        assert!(told.waited_max <= waited, "{told:?}");
        assert_eq!((silent.starved, silent.round_max), (0, 0), "{silent:?}");
        assert!(silent.waited_max > told.waited_max, "{silent:?}\n{told:?}");
    }
}

#[test]
fn honest_proposers_are_never_objected_to_for_what_they_leave_out() {
    let outcomes: Vec<Outcome> = (0..SEEDS)
        .into_par_iter()
        .map(|seed| {
            // In half of the runs every block is full, and all wait for longer than the bound.
            let is_crowded = seed / 2 % 2 == 0;
            let (lanes, block_transactions) = if is_crowded { (16, 1) } else { (4, 64) };
            Plan {
                is_one_lying: false,
                is_scored: false,
                // A real link breaks when its end restarts, and with it goes what that had said; here nobody is told.
                crashes: 0,
                blackouts: 0,
                load: Load {
                    lanes,
                    block_transactions,
                    ..Load::default()
                },
                ..Plan::of_seed(seed, plane(seed), 4, 30)
            }
        })
        .map(|plan| run(&plan).unwrap_or_else(|broken| panic!("{broken}\nrepeat: {}", plan.command())))
        .collect();
    let overdue = outcomes.iter().filter(|outcome| outcome.waited_max > 10).count();
    assert!(
        overdue > outcomes.len() / 3,
        "{overdue} runs in which anything was overdue"
    );
    for outcome in outcomes {
        assert_eq!((outcome.starved, outcome.forged), (0, 0), "{outcome:?}");
    }
}

#[test]
fn without_a_journal_an_honest_validator_signs_twice() {
    let broken = broken_without(Control::NoJournal, 60, HEIGHTS);
    let is_seen = |broken: &Broken| matches!(broken, Broken::DoubleSign { .. } | Broken::Fork { .. });
    assert!(broken.iter().any(is_seen), "{broken:?}");
}

#[test]
fn a_directory_that_goes_back_signs_nothing_twice_as_long_as_its_guard_does_not() {
    let runs = |guards: Guards| -> Vec<(Plan, Result<Outcome, Broken>)> {
        let plans = (0..40).into_par_iter().map(|seed| Plan {
            guards,
            ..Plan::rolling(seed, plane(seed), HEIGHTS)
        });
        plans.map(|plan| (plan.clone(), run(&plan))).collect()
    };
    let mut went_back = 0;
    for (plan, outcome) in runs(Guards::Apart) {
        let outcome = outcome.unwrap_or_else(|broken| panic!("{broken}\n{plan:?}"));
        went_back += u64::from(outcome.rolled_back);
    }
    assert!(
        went_back > 20,
        "{went_back} directories that went back are too few to show anything"
    );
    let broken: Vec<Broken> = runs(Guards::Off)
        .into_iter()
        .filter_map(|(_, run)| run.err())
        .collect();
    let twice = |broken: &Broken| matches!(broken, Broken::DoubleSign { .. });
    assert!(
        broken.iter().any(twice),
        "without a guard nobody signed twice: {broken:?}"
    );
}

#[test]
#[allow(clippy::result_large_err, reason = "a run that breaks ends the test")]
fn guards_alone_keep_validators_from_signing_twice_when_journals_are_lost() {
    let runs = (0..40).into_par_iter().map(|seed| Plan {
        guards: Guards::Apart,
        is_one_lying: false,
        blackouts: 0,
        calm_ns_max: 20_000_000_000,
        ..Plan::of_seed(seed, plane(seed), 7, 30).without(Control::NoJournal)
    });
    let outcomes: Vec<Result<Outcome, Broken>> = runs.map(|plan| run(&plan)).collect();
    // So many may be silent at one height that it is never decided: that is the price, and no fork.
    let stalled = |broken: &Broken| matches!(broken, Broken::Stalled { .. });
    let broken: Vec<&Broken> = outcomes.iter().filter_map(|one| one.as_ref().err()).collect();
    assert!(broken.iter().all(|one| stalled(one)), "{broken:?}");
    assert!(broken.len() < outcomes.len() / 2, "{} runs stalled", broken.len());
}

#[test]
fn what_a_revoked_key_signs_is_refused_on_every_node_from_the_next_height_on() {
    let plans: Vec<Plan> = (0..24)
        .map(|seed| Plan {
            revoking: Some(if seed % 3 == 0 {
                Revoking::Key
            } else {
                Revoking::Identity
            }),
            ..Plan::of_seed(seed, plane(seed), 4, 40)
        })
        .collect();
    let outcomes: Vec<(Plan, Result<Outcome, Broken>)> = plans
        .into_par_iter()
        .map(|plan| (plan.clone(), run(&plan)))
        .collect();
    let (mut there, mut next) = (0, 0);
    for (plan, outcome) in outcomes {
        let outcome = outcome.unwrap_or_else(|broken| panic!("{broken}\nrepeat: {}", plan.command()));
        assert!(
            outcome.revoked.is_some(),
            "not every node met the revocation: {plan:?}"
        );
        there += outcome.signed_when_revoked.0;
        next += outcome.signed_when_revoked.1;
    }
    assert!(
        there > 50 && next > 50,
        "{there} counted at that height and {next} at the next: too few to show anything"
    );
}

#[test]
fn without_bodies_in_the_journal_a_blackout_stops_the_chain() {
    let broken = broken_without(Control::NoBodies, 60, HEIGHTS);
    let is_seen = |broken: &Broken| matches!(broken, Broken::Stalled { .. } | Broken::Stopped { .. });
    assert!(broken.iter().any(is_seen), "{broken:?}");
}

#[test]
fn with_a_quorum_of_a_third_validators_fork() {
    let broken = broken_without(Control::BrokenQuorum, 40, 10);
    let forks = broken
        .iter()
        .filter(|broken| matches!(broken, Broken::Fork { .. }));
    assert!(forks.count() > 4, "{broken:?}");
}

#[test]
fn an_objection_that_never_yields_stops_the_chain_and_one_that_yields_does_not() {
    let late = |seed| {
        let plan = Plan::of_seed(seed, Plane::Stake, 4, 10).without(Control::UnlimitedObjections);
        let control = Control::None;
        run(&Plan { control, ..plan }).unwrap()
    };
    let broken = broken_without(Control::UnlimitedObjections, 8, 10);
    let stalls = broken
        .iter()
        .filter(|broken| matches!(broken, Broken::Stalled { .. }));
    assert_eq!(stalls.count(), 8, "{broken:?}");
    let outcomes: Vec<Outcome> = (0..8).into_par_iter().map(late).collect();
    for outcome in outcomes {
        assert!(outcome.later_rounds > 0, "nobody objected: {outcome:?}");
        assert_eq!(outcome.scored, 0, "{outcome:?}");
    }
}

#[test]
fn traces_repeat_and_say_what_choosing_a_bad_proposer_costs() {
    let text = |traces: &[Trace]| {
        let lines = traces.iter().map(|trace| format!("{trace}\n"));
        format!("{}\n{}", header(), lines.collect::<String>())
    };
    // A run with a dead validator, and draws by power alone.
    let has_dead = |seed: &u64| {
        let plan = traced(*seed);
        plan.validators == 4 && plan.conducts.iter().any(|conduct| conduct.is_dead)
    };
    let seed = (0..1_000).step_by(2).find(has_dead).unwrap();
    let dead = traced(seed)
        .conducts
        .iter()
        .position(|conduct| conduct.is_dead)
        .unwrap();
    let first = traces(seed).unwrap();
    assert_eq!(text(&first), text(&traces(seed).unwrap()));
    let read = Traces::read(text(&first).as_bytes()).unwrap();
    assert_eq!(read.rows.len(), first.len());
    assert_eq!(read.rows.len() % 4, 0, "all validators of each epoch");
    let mean = |is_dead: bool| {
        let rows = (0..)
            .zip(&read.rows)
            .filter(|(at, _)| (at % 4 == dead) == is_dead);
        let costs: Vec<f64> = rows.filter_map(|(_, row)| cost(row)).collect();
        costs.iter().sum::<f64>() / f64::from(u32::try_from(costs.len()).unwrap())
    };
    assert!(mean(true) > 10.0, "{}", mean(true));
    assert!(mean(false) < 1.0, "{}", mean(false));
    let missed = |at: usize| {
        read.rows
            .iter()
            .skip(at)
            .step_by(4)
            .map(|row| row.features[0])
            .max()
    };
    assert!(missed(dead) > Some(700), "{:?}", missed(dead));
}
