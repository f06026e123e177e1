//! What choosing a validator costs, and what quality that deserves.
//!
//! The unit of cost is a block: the time in which the chain would have decided one more, or the part of a block that was
//! not there. A validator's cost in an epoch is `max(0, wait / usual − 1) + max(1 − efficiency, starved)`, where `wait`
//! is the mean time of the heights whose first draw it won (later rounds and late blocks are in it), `usual` the
//! median time of heights that took one round, and the last two are means over its blocks. More than [`COST_MAX`] counts
//! as that.
//!
//! The quality that it deserves is `exp(−cost / temperature)`. Draws in proportion to that are those that make
//! `expected cost + temperature · KL(draws ‖ power)` least: cheap for the chain, and no further from fair than that is
//! worth. How far a quality `q` is from what is deserved is `q · cost / temperature + q ln q − q`, plus what makes the
//! least zero. Where the same evidence comes with several costs, the `q` that is nearest to all of them is what their
//! *mean* cost deserves: a validator that fails every other time deserves little, not half.

use super::traces::Trace;

/// The most that a choice costs, in blocks: about a round at the usual timeouts.
pub const COST_MAX: f64 = 50.0;

/// The cost of choosing a validator in an epoch, in blocks; `None` where nobody did, or all heights took more rounds.
pub fn cost(trace: &Trace) -> Option<f64> {
    if trace.drawn == 0 || trace.usual_us == 0 {
        return None;
    }
    let wait = real(trace.wait_us) / real(trace.drawn) / real(trace.usual_us);
    Some(((wait - 1.0).max(0.0) + lacking(trace)).min(COST_MAX))
}

/// The part of its blocks that was not there.
fn lacking(trace: &Trace) -> f64 {
    if trace.judged == 0 {
        return 0.0;
    }
    let whole = 1_000.0 * real(trace.judged);
    (1.0 - real(trace.efficiency) / whole).max(real(trace.starved) / whole)
}

/// The quality that a cost deserves, from 0 to 1.
pub fn deserved(cost: f64, temperature: f64) -> f64 {
    (-cost / temperature).exp()
}

/// How far a quality from 0 to 1 is from what a cost deserves; zero where it is that.
pub fn distance(quality: f64, cost: f64, temperature: f64) -> f64 {
    let entropy = if quality > 0.0 {
        quality * quality.ln()
    } else {
        0.0
    };
    quality * cost / temperature + entropy - quality + deserved(cost, temperature)
}

/// Counts and times of traces stay below 2^53.
#[allow(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "values of traces are bounded below 2^53"
)]
pub(super) fn real(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: Trace = Trace {
        run: 1,
        epoch: 1,
        features: [0; 13],
        drawn: 4,
        wait_us: 120_000,
        usual_us: 20_000,
        judged: 2,
        efficiency: 1_500,
        starved: 200,
    };

    #[test]
    fn a_cost_is_lost_time_and_lost_room_in_blocks() {
        // 30 ms a height, half a block more than the usual 20; a quarter of its blocks was missing.
        assert_eq!(cost(&TRACE), Some(0.5 + 0.25));
        let starved = 900;
        assert_eq!(cost(&Trace { starved, ..TRACE }), Some(0.5 + 0.45));
        let wait_us = 40_000;
        assert_eq!(cost(&Trace { wait_us, ..TRACE }), Some(0.25), "fast is no merit");
        assert_eq!(cost(&Trace { judged: 0, ..TRACE }), Some(0.5));
        assert_eq!(cost(&Trace { drawn: 0, ..TRACE }), None);
        assert_eq!(cost(&Trace { usual_us: 0, ..TRACE }), None);
    }

    #[test]
    fn what_costs_nothing_deserves_all() {
        assert!((deserved(0.0, 0.25) - 1.0).abs() < 1e-12);
        assert!((deserved(0.25, 0.25) - (-1.0_f64).exp()).abs() < 1e-12);
        assert!(deserved(30.0, 0.25) < 1e-9);
    }

    #[test]
    fn the_nearest_quality_to_several_costs_is_what_their_mean_deserves() {
        let sum = |quality: f64| distance(quality, 0.0, 0.5) + distance(quality, 1.0, 0.5);
        let best = deserved(0.5, 0.5);
        assert!(sum(best) < sum(best + 0.01) && sum(best) < sum(best - 0.01));
        assert!(distance(deserved(0.7, 0.5), 0.7, 0.5).abs() < 1e-12);
        assert!((distance(0.0, 0.7, 0.5) - deserved(0.7, 0.5)).abs() < 1e-12);
        assert!(
            distance(1.0, 40.0, 0.5) > 70.0,
            "to choose who is dead is far worse than not to choose who is not"
        );
    }
}
