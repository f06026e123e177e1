//! The suite that every plane passes.

use super::world::{CHAIN, Factory, MS, Outcome, Scenario, World};
use crate::Solo;
use crate::bft::{Bft, Options};
use selfchain_types::Hash;
use selfchain_types::crypto::SigningKey;

/// Seeds of the rough runs.
const SEEDS: u64 = 120;

pub(super) fn options() -> Options {
    Options {
        propose_ns: 200 * MS,
        prevote_ns: 100 * MS,
        precommit_ns: 100 * MS,
        growth_ns: 50 * MS,
        repeat_ns: 250 * MS,
        ..Options::default()
    }
}

fn run(scenario: &Scenario, factory: &Factory) -> Outcome {
    let outcome = World::run(scenario, factory);
    let seed = scenario.seed;
    assert_eq!(outcome.forks, [], "seed {seed}: a fork");
    assert_eq!(
        outcome.double_signs,
        [],
        "seed {seed}: an honest validator signed twice"
    );
    assert!(
        outcome.has_progressed,
        "seed {seed}: stuck at height {}",
        outcome.heights
    );
    outcome
}

/// Agreement, order, progress after faults stop, recovery at every persisted record, and one seed, one run.
fn conform(nodes: usize, draws_from: Hash, factory: &Factory) {
    let calm_of = |seed| Scenario {
        draws_from,
        ..Scenario::calm(seed, nodes)
    };
    let rough_of = |seed| Scenario {
        draws_from,
        ..Scenario::rough(seed, nodes)
    };
    let calm = run(&calm_of(1), factory);
    assert!(calm.heights >= 10);
    assert_eq!(calm.later_rounds, 0, "nothing fails: one round is enough");
    for seed in 0..SEEDS {
        run(&rough_of(seed), factory);
    }
    for seed in [3, 4] {
        let again = || run(&rough_of(seed), factory);
        assert_eq!(again(), again(), "seed {seed} twice");
    }
    let short = Scenario {
        heights_after: 4,
        ..calm_of(1)
    };
    let records = run(&short, factory).records;
    for record in 1..=records {
        let scenario = Scenario {
            crash_after_record: Some(record),
            ..short.clone()
        };
        let crashes = run(&scenario, factory).crashes;
        assert_eq!(crashes, 1, "after record {record}");
    }
}

#[test]
fn solo_conforms() {
    conform(1, Hash::ZERO, &|key: SigningKey| Box::new(Solo::new(CHAIN, key)));
}

#[test]
fn stake_conforms_with_four() {
    conform(4, Hash::ZERO, &|key| Box::new(Bft::new(CHAIN, key, options())));
}

#[test]
fn stake_conforms_with_seven() {
    conform(7, Hash::ZERO, &|key| Box::new(Bft::new(CHAIN, key, options())));
}

#[test]
fn draws_conform() {
    let draws_from = Hash([5; 32]);
    conform(4, draws_from, &|key| Box::new(Bft::new(CHAIN, key, options())));
}
