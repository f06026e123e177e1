//! Draws: who proposes. The chance is power times quality, with a floor for everyone and a pause after winning.

use selfchain_types::quality::QUALITY_MAX;
use selfchain_types::seam::consensus::Schedule;
use selfchain_types::{Hash, Height, hash};
use std::sync::Arc;

/// Weight that power times quality shares.
pub const SHARED: u64 = 99 << 32;
/// Weight that all share alike: with all of [`SHARED`] given out it is less than 1 % of the draws.
pub const FLOOR: u64 = (1 << 32) - (1 << 20);
/// Blocks that a winner pauses for.
pub const PAUSE_MAX: usize = 2;

/// How many of the last winners pause in a set of `validators`: none of three, one of four to six, then two.
pub fn pause(validators: usize) -> usize {
    (validators.saturating_sub(1) / 3).min(PAUSE_MAX)
}

/// The weights of a height: [`SHARED`] in proportion to power × quality among those who do not pause, and
/// [`FLOOR`] in equal parts to all. Each part is rounded down. Where nobody has any quality, power alone decides.
pub fn weights(powers: &[u64], qualities: &[u16], pausing: &[bool]) -> Arc<[u64]> {
    let may_win = |at: usize| !pausing.get(at).copied().unwrap_or(false);
    let chance = |by_quality: bool| -> Vec<u128> {
        let of = |at: usize, power: u64| {
            let quality = qualities.get(at).copied().unwrap_or(0).min(QUALITY_MAX);
            u128::from(power) * u128::from(if by_quality { quality } else { 1 })
        };
        (0..)
            .zip(powers)
            .map(|(at, power)| if may_win(at) { of(at, *power) } else { 0 })
            .collect()
    };
    let mut chances = chance(true);
    if chances.iter().all(|chance| *chance == 0) {
        chances = chance(false);
    }
    // Powers sum to less than 2^62 and qualities have 10 bits: times 2^39 this stays below 2^112.
    let total: u128 = chances.iter().sum();
    let floor = FLOOR
        .checked_div(selfchain_types::codec::wide(powers.len()))
        .unwrap_or(0);
    chances
        .iter()
        .map(|chance| {
            let share = chance
                .saturating_mul(u128::from(SHARED))
                .checked_div(total)
                .unwrap_or(0);
            u64::try_from(share).unwrap_or(SHARED).saturating_add(floor)
        })
        .collect()
}

/// Who proposes in `round` of `height`, by position; `None` of nobody.
///
/// Rounds `k·n` to `k·n + n − 1` of a height are drawn without replacement: each of n validators proposes in one of
/// them, so that a run of n rounds has every honest proposer.
pub fn draw(schedule: &Schedule, height: Height, round: u32) -> Option<usize> {
    let cycle = u32::try_from(schedule.weights.len()).unwrap_or(u32::MAX);
    let first = round - round.checked_rem(cycle)?;
    winners(schedule, height, first..=round).pop()
}

/// Who was to propose in each of the `rounds` before a round, as far as they differ: at most everyone once.
pub fn lineup(schedule: &Schedule, height: Height, rounds: u32) -> Vec<usize> {
    let cycle = u32::try_from(schedule.weights.len()).unwrap_or(u32::MAX);
    match rounds.min(cycle).checked_sub(1) {
        Some(last) => winners(schedule, height, 0..=last),
        None => Vec::new(),
    }
}

/// Draws a round after the other, without those who were drawn before.
fn winners(schedule: &Schedule, height: Height, rounds: std::ops::RangeInclusive<u32>) -> Vec<usize> {
    let mut weights = schedule.weights.to_vec();
    rounds
        .map(|round| {
            let winner = pick(&weights, &seed(&schedule.seed, height, round));
            weights[winner] = 0;
            winner
        })
        .collect()
}

/// `seed(h, r) = H(draw; epoch seed ‖ h u64 ‖ r u32)`.
pub fn seed(epoch: &Hash, height: Height, round: u32) -> Hash {
    hash::DRAW.hash_parts(&[epoch.as_bytes(), &height.0.to_le_bytes(), &round.to_le_bytes()])
}

/// Where the seed's first 16 bytes, little-endian, fall modulo the sum of weights. Weights sum to less than 2^70, so
/// the remainder favours nobody by more than 2^−58. Where all are zero: the last.
pub fn pick(weights: &[u64], seed: &Hash) -> usize {
    let (number, _) = seed.as_bytes().as_chunks::<16>();
    let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    let mut point = u128::from_le_bytes(number[0]).checked_rem(total).unwrap_or(0);
    for (at, weight) in weights.iter().enumerate() {
        match point.checked_sub(u128::from(*weight)) {
            Some(rest) => point = rest,
            None => return at,
        }
    }
    weights.len().saturating_sub(1)
}

/// The mix of an epoch's reveals, with one more: `H(epoch; mix ‖ reveal ‖ height u64)`.
pub fn mix(mix: &Hash, reveal: &Hash, height: Height) -> Hash {
    hash::EPOCH.hash_parts(&[mix.as_bytes(), reveal.as_bytes(), &height.0.to_le_bytes()])
}

/// The seed of `epoch` from the mix after the epoch before it: `H(epoch; mix ‖ epoch u64)`.
pub fn epoch_seed(mix: &Hash, epoch: u64) -> Hash {
    hash::EPOCH.hash_parts(&[mix.as_bytes(), &epoch.to_le_bytes()])
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn schedule(weights: &[u64]) -> Schedule {
        Schedule {
            seed: Hash([7; 32]),
            since: Height(1),
            weights: weights.into(),
        }
    }

    /// The same on every machine and build, for ever.
    #[test]
    fn golden_draws() {
        let weights = weights(
            &[400, 300, 200, 100],
            &[1_000, 500, 0, 900],
            &[true, false, false, false],
        );
        assert_eq!(&weights[..], GOLDEN_WEIGHTS);
        let schedule = schedule(&weights);
        let winners: Vec<usize> = (1..=16)
            .flat_map(|height| (0..2).map(move |round| (height, round)))
            .map(|(height, round)| draw(&schedule, Height(height), round).unwrap())
            .collect();
        assert_eq!(winners, GOLDEN_WINNERS);
        assert_eq!(seed(&schedule.seed, Height(9), 3).to_hex(), GOLDEN_SEED);
        let mixed = mix(&Hash::ZERO, &Hash([1; 32]), Height(5));
        assert_eq!(epoch_seed(&mixed, 2).to_hex(), GOLDEN_EPOCH_SEED);
    }

    const GOLDEN_WEIGHTS: [u64; 4] = [1_073_479_680, 266_824_581_120, 1_073_479_680, 160_524_140_544];
    const GOLDEN_WINNERS: [usize; 32] = [
        3, 1, 1, 3, 1, 3, 1, 0, 1, 3, 3, 1, 3, 1, 1, 3, 3, 1, 1, 3, 3, 1, 1, 3, 3, 1, 1, 3, 1, 3, 1, 3,
    ];
    const GOLDEN_SEED: &str = "9254ee39747f573c04b9ae031e4a61ad6782046732a800ba2c38c0dcc69c3640";
    const GOLDEN_EPOCH_SEED: &str = "b842f97ce2985c5ea0ac55a5d9a08b5ded20f28c4c3ab80f43f95f625aaa3618";

    #[test]
    fn draws_follow_the_weights() {
        let schedule = schedule(&[6_000, 3_000, 1_000]);
        let mut won = [0u32; 3];
        for height in 1..=10_000 {
            won[draw(&schedule, Height(height), 0).unwrap()] += 1;
        }
        // Five standard deviations of a binomial around 6,000, 3,000 and 1,000.
        for (won, (want, margin)) in won.iter().zip([(6_000, 245), (3_000, 230), (1_000, 150)]) {
            assert!(won.abs_diff(want) < margin, "{won} of {want}");
        }
    }

    #[test]
    fn nobody_and_nothing_do_no_harm() {
        assert_eq!(draw(&schedule(&[]), Height(1), 5), None);
        assert!(draw(&schedule(&[0, 0]), Height(1), u32::MAX).is_some());
        assert_eq!(&weights(&[], &[], &[])[..], [0u64; 0]);
        assert_eq!(weights(&[0, 0], &[0, 0], &[false, false]).len(), 2);
        assert_eq!([1, 3, 4, 6, 7, 100].map(pause), [0, 0, 1, 1, 2, 2]);
    }

    fn any_set() -> impl Strategy<Value = Vec<(u64, u16, bool)>> {
        prop::collection::vec((1u64..1 << 50, 0u16..=1_000, any::<bool>()), 1..40)
    }

    proptest! {
        #[test]
        fn everyone_may_win_and_the_floor_is_at_most_a_hundredth(set in any_set()) {
            let powers: Vec<u64> = set.iter().map(|one| one.0).collect();
            let qualities: Vec<u16> = set.iter().map(|one| one.1).collect();
            let mut pausing: Vec<bool> = set.iter().map(|one| one.2).collect();
            pausing[0] = false;
            let weights = weights(&powers, &qualities, &pausing);
            prop_assert!(weights.iter().all(|weight| *weight > 0));
            let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
            let floor = u128::from(FLOOR / u64::try_from(set.len()).unwrap());
            prop_assert!(100 * floor * u128::try_from(set.len()).unwrap() <= total);
            // Who has no quality or pauses has the floor alone, where anybody has more.
            let has_rival = (0..set.len()).any(|at| !pausing[at] && qualities[at] > 0);
            for at in 0..set.len() {
                if has_rival && (pausing[at] || qualities[at] == 0) {
                    prop_assert_eq!(u128::from(weights[at]), floor);
                }
            }
        }

        #[test]
        fn a_run_of_rounds_has_every_proposer_once(
            weights in prop::collection::vec(1u64..1 << 40, 1..12), height: u64, run in 0u32..1_000_000,
        ) {
            let schedule = schedule(&weights);
            let n = u32::try_from(weights.len()).unwrap();
            let drawn: BTreeSet<usize> = (run * n..(run + 1) * n)
                .map(|round| draw(&schedule, Height(height), round).unwrap()).collect();
            prop_assert_eq!(drawn.len(), weights.len());
            let first: Vec<usize> = (0..n).map(|round| draw(&schedule, Height(height), round).unwrap()).collect();
            prop_assert_eq!(&lineup(&schedule, Height(height), run)[..], &first[..first.len().min(run.try_into().unwrap())]);
        }

        #[test]
        fn no_input_panics(
            powers: Vec<u64>, qualities: Vec<u16>, pausing: Vec<bool>, height: u64, round: u32,
        ) {
            let weights = weights(&powers, &qualities, &pausing);
            let at = draw(&schedule(&weights), Height(height), round);
            prop_assert_eq!(at.is_some(), !powers.is_empty());
            prop_assert!(at.unwrap_or(0) < powers.len().max(1));
        }
    }
}
