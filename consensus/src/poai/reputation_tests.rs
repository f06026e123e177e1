//! The bounds of reputation, for every history.

use super::*;
use proptest::prelude::*;

fn total(weights: &[Weight]) -> u128 {
    weights.iter().map(|weight| u128::from(weight.power)).sum()
}

fn is_capped(weights: &[Weight]) -> bool {
    let staying = weights.iter().filter(|weight| weight.power > 0).count();
    let total = total(weights);
    let most = weights.iter().map(|weight| weight.power).max().unwrap_or(0);
    u128::from(most) * 1_000_000 <= total * u128::from(cap_ppm(staying))
}

fn has_factors(weights: &[Weight]) -> bool {
    weights
        .iter()
        .all(|weight| (weight.units * FACTOR_MIN..=weight.units * FACTOR_ONE).contains(&weight.power))
}

#[test]
fn the_cap_is_what_is_stated() {
    assert_eq!(
        [1, 3, 4, 5, 100].map(cap_ppm),
        [1_000_000, 1_000_000, 300_000, 300_000, 300_000]
    );
}

#[test]
fn scores_rise_slowly_and_fall_fast() {
    assert_eq!(next_score(0, 100, 0), 4);
    assert_eq!(next_score(199, 95, 5), 200);
    assert_eq!(next_score(200, 94, 6), 199);
    assert_eq!(next_score(200, 0, 1), 160);
    assert_eq!(next_score(7, 0, 0), 7);
    assert_eq!(next_score(u16::MAX, u64::MAX, u64::MAX), 181);
    assert_eq!((factor(0), factor(50), factor(u16::MAX)), (800, 850, 1_000));
}

#[test]
fn newcomers_start_at_four_fifths_and_a_whale_is_cut() {
    let weights = target(&[100, 100, 100, 100], &[0, 0, 200, 0]);
    assert!(has_factors(&weights) && is_capped(&weights));
    assert_eq!(weights[0].power, weights[0].units * 800);
    assert_eq!(weights[2].power, weights[2].units * 1_000);
    let whale = target(&[1_000_000, 100, 100, 100, 100], &[0; 5]);
    assert!(is_capped(&whale));
    assert!(whale[0].power * 100 > total(&whale).try_into().map_or(0, |total: u64| total * 29));
    let three = target(&[98, 1, 1], &[0; 3]);
    assert!(
        three[0].power > 9 * (three[1].power + three[2].power),
        "no cap of three"
    );
}

#[test]
fn splitting_a_bond_into_new_identities_gains_nothing() {
    // One old validator of full score against the same bond in ten new ones.
    let one = target(&[100, 100, 100, 100, 100], &[200; 5]);
    let split = target(
        &[100, 100, 100, 100, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10],
        &[200, 200, 200, 200, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    );
    let share = |part: u128, of: &[Weight]| part * 1_000_000 / total(of);
    assert!(share(total(&split[4..]), &split) < share(total(&one[4..]), &one));
}

#[test]
fn a_whole_change_takes_at_most_twenty_six_epochs() {
    let bonds = [100, 100, 100, 100, 0, 0, 0, 0];
    let mut now = target(&bonds, &[200; 8]);
    let goal = target(&[0, 0, 0, 0, 100, 100, 100, 100], &[0; 8]);
    let mut epochs = 0;
    while now != goal {
        now = step(&now, &goal);
        epochs += 1;
        assert!(epochs <= 26, "{now:?}");
    }
    assert!(epochs >= 20, "{epochs}");
}

/// What happens to one validator in one epoch.
#[derive(Clone, Debug)]
struct Event {
    bond: Option<u64>,
    voted: u64,
    absent: u64,
    offends: bool,
}

prop_compose! {
    fn any_event()(
        bond in prop::option::weighted(0.2, prop_oneof![Just(0u64), 1..1_000u64, any::<u64>()]),
        voted in 0..300u64, absent in prop_oneof![Just(0u64), 0..300u64], offends in prop::bool::weighted(0.05),
    ) -> Event {
        Event { bond, voted, absent, offends }
    }
}

/// Runs a history and hands every epoch's weights, old and new, to `check`.
fn run(
    bonds: &[u64],
    history: &[Vec<Event>],
    mut check: impl FnMut(&[Weight], &[Weight], &[u64]) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let mut bonds = bonds.to_vec();
    let mut scores = vec![0u16; bonds.len()];
    let mut now = target(&bonds, &scores);
    check(&now, &now, &bonds)?;
    for epoch in history {
        for (at, event) in epoch.iter().enumerate().take(bonds.len()) {
            let others = bonds
                .iter()
                .enumerate()
                .any(|(other, bond)| other != at && *bond > 0);
            bonds[at] = event.bond.filter(|bond| *bond > 0 || others).unwrap_or(bonds[at]);
            scores[at] = next_score(scores[at], event.voted, event.absent);
            if event.offends {
                scores[at] = 0;
            }
        }
        let then = step(&now, &target(&bonds, &scores));
        check(&now, &then, &bonds)?;
        now = then;
    }
    Ok(())
}

fn any_history() -> impl Strategy<Value = Vec<Vec<Event>>> {
    prop::collection::vec(prop::collection::vec(any_event(), 12), 1..30)
}

proptest! {
    /// Bonds change, validators join and leave, offend and sleep.
    #[test]
    fn factor_and_step_hold_for_every_history(
        bonds in prop::collection::vec(prop_oneof![1..1_000u64, any::<u64>()], 1..12), history in any_history(),
    ) {
        let bonds: Vec<u64> = bonds.iter().map(|bond| (*bond).max(1)).collect();
        run(&bonds, &history, |now, then, bonds| {
            prop_assert!(has_factors(then), "{:?}", then);
            prop_assert!(is_allowed(now, then), "{:?} {:?}", now, then);
            // Of shares, too, no more than a twentieth changes hands.
            let (before, after) = (total(now), total(then));
            let moved: u128 = now.iter().zip(then)
                .map(|(now, then)| (u128::from(then.power) * before).saturating_sub(u128::from(now.power) * after))
                .sum();
            prop_assert!(20 * (moved >> 40) <= (before * after) >> 40);
            prop_assert!(after > 0 && after < 1 << 61);
            for (weight, bond) in then.iter().zip(bonds) {
                prop_assert!(weight.power > 0 || *bond == 0, "a bond always weighs");
            }
            Ok(())
        })?;
    }

    /// Once there are four or more to stay, the cap holds in every epoch.
    #[test]
    fn the_cap_holds_for_every_history_of_four_or_more(
        bonds in prop::collection::vec(prop_oneof![1..1_000u64, any::<u64>()], 4..12), history in any_history(),
    ) {
        let bonds: Vec<u64> = bonds.iter().map(|bond| (*bond).max(1)).collect();
        let history: Vec<Vec<Event>> = history.into_iter().map(|epoch| {
            epoch.into_iter().enumerate().map(|(at, event)| Event {
                // The first four change their bonds, but stay.
                bond: event.bond.map(|bond| if at < 4 { bond.max(1) } else { bond }),
                ..event
            }).collect()
        }).collect();
        run(&bonds, &history, |_, then, _| {
            prop_assert!(is_capped(then), "{:?}", then);
            Ok(())
        })?;
    }

    /// With best over worst factor r = 5/4: who has less than 1/(1 + 2r) = 2/7 of the units has less than a third of
    /// the power, in every epoch, whoever they are.
    #[test]
    fn a_byzantine_share_below_two_sevenths_stays_below_a_third(
        bonds in prop::collection::vec(prop_oneof![1..1_000u64, any::<u64>()], 1..12),
        history in any_history(), who: u16,
    ) {
        let bonds: Vec<u64> = bonds.iter().map(|bond| (*bond).max(1)).collect();
        run(&bonds, &history, |_, then, _| {
            let (mut units, mut power) = (0u128, 0u128);
            let all: u128 = then.iter().map(|weight| u128::from(weight.units)).sum();
            // As many of those picked as stay below the bound.
            for (at, weight) in then.iter().enumerate() {
                let more = units + u128::from(weight.units);
                if who >> at & 1 == 1 && 7 * more < 2 * all {
                    units = more;
                    power += u128::from(weight.power);
                }
            }
            prop_assert!(3 * power < total(then), "{} of {:?}", power, then);
            Ok(())
        })?;
    }

    /// The target moves and stays: a target that does not change is reached.
    #[test]
    fn a_steady_target_is_reached(
        from in prop::collection::vec((any::<u64>(), 0u16..=200), 2..8),
        to in prop::collection::vec((any::<u64>(), 0u16..=200), 8),
    ) {
        let weights = |of: &[(u64, u16)]| {
            let bonds: Vec<u64> = of.iter().map(|one| one.0.max(1)).collect();
            target(&bonds, &of.iter().map(|one| one.1).collect::<Vec<_>>())
        };
        let goal = weights(&to[..from.len()]);
        let mut now = weights(&from);
        for _ in 0..40 {
            now = step(&now, &goal);
        }
        prop_assert_eq!(now, goal);
    }

    #[test]
    fn any_input_is_a_weight(bonds: Vec<u64>, scores: Vec<u16>) {
        let scores: Vec<u16> = (0..bonds.len()).map(|at| scores.get(at).copied().unwrap_or(0)).collect();
        let weights = target(&bonds, &scores);
        prop_assert_eq!(weights.len(), bonds.len());
        prop_assert!(has_factors(&weights));
    }
}
