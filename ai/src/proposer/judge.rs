//! Judges a network: how far its qualities are from what was deserved, and what draws by them would have cost.

use super::cost::{cost, distance, real};
use super::traces::{Trace, Traces};
use selfchain_types::quality::{Network, QUALITY_MAX};
use serde::Serialize;
use std::collections::BTreeMap;

/// What a network is worth on a set of traces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// How far qualities are from what was deserved ([`super::cost::distance`]): mean over draws.
    pub loss: f64,
    /// What a draw would have cost among validators of equal power, in blocks, by heights: mean over epochs.
    pub draw_cost: f64,
}

/// The figures of qualities given by `network`.
pub fn judge(network: &Network, traces: &Traces, temperature: f64) -> Figures {
    judge_by(traces, temperature, |trace| {
        f64::from(network.quality(&trace.features)) / f64::from(QUALITY_MAX)
    })
}

/// The figures of qualities from 0 to 1 given by anything.
pub(super) fn judge_by(traces: &Traces, temperature: f64, quality: impl Fn(&Trace) -> f64) -> Figures {
    let (mut loss, mut draws) = (0.0, 0.0);
    let mut epochs: BTreeMap<(u64, u64), Epoch> = BTreeMap::new();
    for trace in &traces.rows {
        let Some(cost) = cost(trace) else { continue };
        let (drawn, quality) = (real(trace.drawn), quality(trace));
        loss += drawn * distance(quality, cost, temperature);
        draws += drawn;
        epochs
            .entry((trace.run, trace.epoch))
            .or_default()
            .add(quality, cost, drawn);
    }
    let spent: f64 = epochs.values().map(|epoch| epoch.drawn * epoch.draw_cost()).sum();
    if draws == 0.0 {
        return Figures::default();
    }
    Figures {
        loss: loss / draws,
        draw_cost: spent / draws,
    }
}

/// The validators of one epoch that were drawn.
#[derive(Clone, Copy, Debug, Default)]
struct Epoch {
    members: f64,
    drawn: f64,
    qualities: f64,
    costs: f64,
    products: f64,
}

impl Epoch {
    fn add(&mut self, quality: f64, cost: f64, drawn: f64) {
        self.members += 1.0;
        self.drawn += drawn;
        self.qualities += quality;
        self.costs += cost;
        self.products += quality * cost;
    }

    /// As the plane draws: 99 of a hundred by quality, the rest evenly; where nobody has any, all evenly.
    fn draw_cost(&self) -> f64 {
        let even = self.costs / self.members;
        if self.qualities == 0.0 {
            return even;
        }
        BY_QUALITY * self.products / self.qualities + (1.0 - BY_QUALITY) * even
    }
}

/// The share of draws that go by power and quality.
const BY_QUALITY: f64 = 0.99;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proposer::cost::deserved;

    fn trace(drawn: u64, cost_us: u64) -> Trace {
        Trace {
            run: 1,
            epoch: 1,
            features: [0; 13],
            drawn,
            wait_us: drawn * (1_000 + cost_us),
            usual_us: 1_000,
            judged: 0,
            efficiency: 0,
            starved: 0,
        }
    }

    #[test]
    fn a_draw_costs_what_the_drawn_cost() {
        let rows = vec![trace(3, 0), trace(1, 4_000), trace(0, 9_000)];
        let traces = Traces { rows };
        let even = judge_by(&traces, 1.0, |_| 0.5);
        assert!((even.draw_cost - 2.0).abs() < 1e-9, "{even:?}");
        let bad = (-4.0_f64).exp();
        let want = (3.0 * distance(0.5, 0.0, 1.0) + distance(0.5, 4.0, 1.0)) / 4.0;
        assert!((even.loss - want).abs() < 1e-9, "{even:?}");
        let knowing = judge_by(&traces, 1.0, |trace| deserved(cost(trace).unwrap_or(0.0), 1.0));
        assert!(knowing.loss < 1e-12);
        assert!((knowing.draw_cost - (0.99 * 4.0 * bad / (1.0 + bad) + 0.02)).abs() < 1e-9);
        let nobody = judge_by(&traces, 1.0, |_| 0.0);
        assert!((nobody.draw_cost - 2.0).abs() < 1e-9);
        assert_eq!(judge_by(&Traces::default(), 1.0, |_| 0.5), Figures::default());
    }
}
