//! Networks: what one quality network is worth against another, on validators that fail in ways of all kinds.

use super::check::Broken;
use super::compare::{COMPARED_VALIDATORS, THREE_FAILING, compared};
use super::conduct::Conduct;
use super::plan::{Failing, Plan};
use super::world::{Outcome, run};
use selfchain::types::genesis::Plane;
use selfchain::types::quality::Network;
use std::fmt;
use std::sync::Arc;

const MS: u64 = 1_000_000;

/// What networks came to.
#[derive(Clone, Debug)]
pub struct Judged {
    heights: u64,
    rows: Vec<(&'static str, String, Outcome)>,
}

/// What is wrong in a network of seven: by name, how some behave.
fn cases() -> Vec<(&'static str, Failing, Vec<Conduct>)> {
    let mut kept = vec![Conduct::default(); usize::from(COMPARED_VALIDATORS)];
    let mut with = |all: &[(usize, Conduct)]| {
        kept.fill(Conduct::default());
        all.iter().for_each(|(at, conduct)| kept[*at] = *conduct);
        kept.clone()
    };
    let slow = |slow_tenths| Conduct {
        slow_tenths,
        ..Conduct::default()
    };
    let fills = |fills| Conduct {
        fills: Some(fills),
        ..Conduct::default()
    };
    let off = Conduct {
        off: Some((7_000 * MS, 2_500 * MS)),
        ..Conduct::default()
    };
    let lossy = Conduct {
        lost_per_mille: 300,
        ..Conduct::default()
    };
    let none = Failing::default();
    vec![
        ("healthy", none, Vec::new()),
        ("dead, slow, starving", THREE_FAILING, Vec::new()),
        // These are in no trace: other sizes of failings, and two of them at once.
        (
            "slow 2.5 times, off and on",
            none,
            with(&[(1, slow(15)), (3, off)]),
        ),
        (
            "losing messages, half starving",
            none,
            with(&[(0, lossy), (5, fills(1))]),
        ),
        ("slow 6 times, off and on", none, with(&[(6, slow(50)), (2, off)])),
    ]
}

/// Runs every case to `heights` with each network, by name.
///
/// # Errors
/// What does not hold.
pub fn judge(seed: u64, heights: u64, networks: &[(String, Arc<Network>)]) -> Result<Judged, Broken> {
    let mut rows = Vec::new();
    for (case, failing, conducts) in cases() {
        for (name, network) in networks {
            let plan = Plan {
                conducts: conducts.clone(),
                network: Some(Arc::clone(network)),
                ..compared(seed, Plane::Poai, heights, failing)
            };
            rows.push((case, name.clone(), run(&plan)?));
        }
    }
    Ok(Judged { heights, rows })
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "poai, {COMPARED_VALIDATORS} validators, {} heights, counted after the first epoch",
            self.heights
        )?;
        writeln!(
            f,
            "{:<32} {:<24} {:>13} {:>12} {:>10} {:>13}",
            "case", "network", "later rounds", "p50/p99 ms", "added p99", "transactions"
        )?;
        for (case, name, outcome) in &self.rows {
            let whole = self.rows.iter().find(|(_, network, _)| network == name);
            let healthy = whole.map_or(0, |(.., whole)| whole.finality_ns.1);
            let (p50, p99) = outcome.finality_ns;
            writeln!(
                f,
                "{case:<32} {name:<24} {:>13} {:>12} {:>10} {:>13}",
                outcome.later_rounds_settled,
                format!("{}/{}", p50 / MS, p99 / MS),
                p99.saturating_sub(healthy) / MS,
                outcome.transactions,
            )?;
        }
        Ok(())
    }
}
