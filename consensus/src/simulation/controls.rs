//! Runs that must fail: a simulation that cannot find a fault proves nothing. And faults that must be told of.

use super::conform::options;
use super::world::{CHAIN, Factory, MS, Scenario, World};
use crate::bft::{Bft, Options};
use selfchain_types::crypto::SigningKey;
use selfchain_types::seam::consensus::Plane;

fn four() -> Box<Factory> {
    Box::new(|key: SigningKey| -> Box<dyn Plane> { Box::new(Bft::new(CHAIN, key, options())) })
}

#[test]
fn a_journal_thrown_away_shows_as_double_signs() {
    let caught = (0..20).filter(|seed| {
        let scenario = Scenario {
            keeps_journal: false,
            crash_permille: 30,
            byzantine: None,
            ..Scenario::rough(*seed, 4)
        };
        !World::run(&scenario, &four()).double_signs.is_empty()
    });
    let caught = caught.count();
    assert!(caught >= 10, "caught in {caught} of 20 runs");
}

#[test]
fn a_broken_quorum_shows_as_a_fork() {
    let broken = |key: SigningKey| -> Box<dyn Plane> {
        let mut plane = Bft::new(CHAIN, key, options());
        plane.break_quorum(1, 3);
        Box::new(plane)
    };
    let caught = (0..20).filter(|seed| {
        let scenario = Scenario {
            has_quorum: false,
            byzantine: None,
            ..Scenario::rough(*seed, 4)
        };
        !World::run(&scenario, &broken).forks.is_empty()
    });
    let caught = caught.count();
    assert!(caught >= 5, "caught in {caught} of 20 runs");
}

#[test]
fn a_validator_that_signs_twice_is_proved_to() {
    let scenario = Scenario {
        byzantine: Some(1),
        faults_until_ns: 3_000 * MS,
        ..Scenario::calm(5, 4)
    };
    let outcome = World::run(&scenario, &four());
    assert!(outcome.evidence.len() >= 10, "{} found", outcome.evidence.len());
    assert!(outcome.has_progressed);
}

#[test]
fn a_proposer_that_cannot_be_reached_is_not_waited_for() {
    let took_ns = |unreachable_ns| {
        let factory = move |key: SigningKey| -> Box<dyn Plane> {
            let options = Options {
                unreachable_ns,
                ..options()
            };
            Box::new(Bft::new(CHAIN, key, options))
        };
        let scenario = Scenario {
            dead: Some(2),
            heights_after: 40,
            ..Scenario::calm(7, 4)
        };
        let outcome = World::run(&scenario, &factory);
        assert!(outcome.has_progressed);
        assert!(outcome.later_rounds > 0, "its turns are lost all the same");
        outcome.ended_ns
    };
    let (waited, skipped) = (took_ns(None), took_ns(Some(20 * MS)));
    assert!(
        skipped + 1_000 * MS < waited,
        "{skipped} ns with, {waited} ns without"
    );
}
