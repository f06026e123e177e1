//! Reputation: what a validator's bond counts for, in integers, within bounds that safety rests on.
//!
//! Power is bond times a factor between 4/5 and 1. The factor grows with epochs of being there to vote, and with
//! nothing else: what others say of a validator never moves it. A voter's own signatures cannot be bought or forged,
//! so praise by new identities is worth nothing and slander neither.
//!
//! Everything is in *units*: 2^40 of them are all bonds together. A unit at factor 1 is a power of 1,000, at 4/5 of
//! 800, so that a power is an integer without rounding. `docs/protocol/poai.md` has the proofs; the tests hold them.

use selfchain_types::codec::wide;

/// The factor 1, in thousandths.
pub const FACTOR_ONE: u64 = 1_000;
/// The factor 4/5: newcomers, and who is not there.
pub const FACTOR_MIN: u64 = 800;
/// The best score: a score of `s` is a factor of `FACTOR_MIN + s`.
pub const SCORE_MAX: u16 = 200;
/// What a good epoch adds to a score: it takes fifty to the top.
pub const SCORE_RISE: u16 = 4;
/// What an epoch of absence takes from a score; five take all.
pub const SCORE_FALL: u16 = 40;
/// In an epoch at least so many thousandths of the heights must be voted on for a score to rise.
pub const PRESENCE_GOOD: u64 = 950;
/// Epochs for which a score stays zero after an offence.
pub const OFFENCE_EPOCHS: u64 = 64;
/// Units that all bonds together have, before rounding.
pub const UNITS: u64 = 1 << 40;
/// The largest share of power, in millionths, of four validators or more.
pub const CAP_PPM: u64 = 300_000;
/// From this many validators on there is a cap.
pub const CAP_FROM: usize = 4;
/// Power gained by all who gain, and power lost by all who lose, is each at most one part in this of all power.
pub const STEP_PART: u64 = 20;

/// What a validator's bond is and counts for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Units of bond, as far as they are phased in.
    pub units: u64,
    /// Power: from 800 to 1,000 a unit.
    pub power: u64,
}

/// A score after an epoch in which so many heights were voted on and so many not. Without any it stays.
pub fn next_score(score: u16, voted: u64, absent: u64) -> u16 {
    let all = u128::from(voted) + u128::from(absent);
    let Some(presence) = (u128::from(voted) * 1_000).checked_div(all) else {
        return score.min(SCORE_MAX);
    };
    let presence = u64::try_from(presence).unwrap_or(1_000);
    if presence >= PRESENCE_GOOD {
        return score.saturating_add(SCORE_RISE).min(SCORE_MAX);
    }
    // From one, just below what is good, to SCORE_FALL when nothing was voted on: rounded up.
    let lacking = (PRESENCE_GOOD - presence) * u64::from(SCORE_FALL);
    let fall = u16::try_from(lacking.div_ceil(PRESENCE_GOOD)).unwrap_or(SCORE_FALL);
    score.min(SCORE_MAX).saturating_sub(fall)
}

/// The factor of a score, in thousandths.
pub fn factor(score: u16) -> u64 {
    FACTOR_MIN + u64::from(score.min(SCORE_MAX))
}

/// The cap of `validators`, in millionths: `max(0.30, 1.1 / n)` from four on, else all.
pub fn cap_ppm(validators: usize) -> u64 {
    if validators < CAP_FROM {
        return 1_000_000;
    }
    CAP_PPM.max(1_100_000 / wide(validators))
}

/// Where bonds and scores pull to: capped bonds in units, times factors, capped again. A bond of zero weighs zero,
/// any other at least one unit.
pub fn target(bonds: &[u64], scores: &[u16]) -> Vec<Weight> {
    let staying = bonds.iter().filter(|bond| **bond > 0).count();
    // A millionth below the cap: room for what rounding later adds.
    let cap = cap_ppm(staying).min(1_000_000 - 1) - 1;
    let level = |values: Vec<u128>| {
        if staying < CAP_FROM {
            values
        } else {
            level(values, cap)
        }
    };
    // Shifted, so that the level of small bonds is not rounded to whole ones.
    let bonds = level(bonds.iter().map(|bond| u128::from(*bond) << BOND_SHIFT).collect());
    let units = level(in_units(&bonds));
    let powers = (units.iter().zip(scores)).map(|(units, score)| units * u128::from(factor(*score)));
    let powers = level(powers.collect());
    let narrow = |value: u128| u64::try_from(value).unwrap_or(u64::MAX);
    units
        .into_iter()
        .zip(powers)
        .map(|(units, power)| Weight {
            units: narrow(units),
            power: narrow(power),
        })
        .collect()
}

const BOND_SHIFT: u32 = 24;

/// Bonds as parts of [`UNITS`], rounded down, but none below one that is above zero.
fn in_units(bonds: &[u128]) -> Vec<u128> {
    let total: u128 = bonds.iter().sum();
    // A bond has at most 64 bits, shifted by 24, and UNITS is 2^40: just within 128.
    let units = |bond: &u128| {
        let exact = (bond * u128::from(UNITS)).checked_div(total).unwrap_or(0);
        exact.max(u128::from(*bond > 0))
    };
    bonds.iter().map(units).collect()
}

/// Lowers the largest values to one level, the highest at which none is more than `ppm` millionths of the sum.
fn level(values: Vec<u128>, ppm: u64) -> Vec<u128> {
    let fits = |level: u128| {
        let sum: u128 = values.iter().map(|value| (*value).min(level)).sum();
        level * 1_000_000 <= sum * u128::from(ppm)
    };
    // What fits is an interval from zero on: the sum is concave in the level.
    let (mut fitting, mut above) = (0, values.iter().copied().max().unwrap_or(0));
    if fits(above) {
        return values;
    }
    while above - fitting > 1 {
        let middle = fitting + (above - fitting) / 2;
        if fits(middle) {
            fitting = middle
        } else {
            above = middle
        }
    }
    values.into_iter().map(|value| value.min(fitting)).collect()
}

/// As far from `now` towards `target` as one epoch may go: the same part of the way for all, the largest of 1,024ths
/// at which what all gain and what all lose stays within one part in [`STEP_PART`] of the power before.
pub fn step(now: &[Weight], target: &[Weight]) -> Vec<Weight> {
    let (mut allowed, mut above) = (0, PARTS + 1);
    while above - allowed > 1 {
        let middle = allowed + (above - allowed) / 2;
        if is_allowed(now, &part_way(now, target, middle)) {
            allowed = middle;
        } else {
            above = middle;
        }
    }
    part_way(now, target, allowed)
}

/// Parts that a way is divided into.
const PARTS: u64 = 1_024;

/// Whether a step is small enough. The first powers of a chain come from nowhere.
pub fn is_allowed(now: &[Weight], then: &[Weight]) -> bool {
    let total: u128 = now.iter().map(|weight| u128::from(weight.power)).sum();
    let (mut gained, mut lost) = (0u128, 0u128);
    for (now, then) in now.iter().zip(then) {
        gained += u128::from(then.power.saturating_sub(now.power));
        lost += u128::from(now.power.saturating_sub(then.power));
    }
    gained.max(lost) * u128::from(STEP_PART) <= total
}

fn part_way(now: &[Weight], target: &[Weight], part: u64) -> Vec<Weight> {
    let way = |now: &Weight, target: &Weight| {
        if part == 0 {
            return *now;
        }
        let mut units = towards(now.units, target.units, part);
        // A newcomer is there from its first step on, and who leaves is gone only at the end of the way.
        units = units.max(u64::from(target.units > 0));
        let power = towards(now.power, target.power, part);
        Weight {
            units,
            power: power.clamp(units * FACTOR_MIN, units * FACTOR_ONE),
        }
    };
    now.iter()
        .zip(target)
        .map(|(now, target)| way(now, target))
        .collect()
}

/// `part` of [`PARTS`] of the way, rounded towards where it starts.
fn towards(from: u64, to: u64, part: u64) -> u64 {
    let way = u128::from(from.abs_diff(to)) * u128::from(part) / u128::from(PARTS);
    let way = u64::try_from(way).unwrap_or(u64::MAX);
    if to >= from { from + way } else { from - way }
}

#[cfg(test)]
#[path = "reputation_tests.rs"]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
