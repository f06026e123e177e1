//! Compare: what the choice of proposers is worth. The same network with three bad proposers of seven, under both
//! planes.

use super::check::Broken;
use super::plan::{Failing, Plan};
use super::world::{Outcome, run};
use selfchain::types::genesis::Plane;
use std::fmt;

/// How many validators are compared.
pub const COMPARED_VALIDATORS: u16 = 7;
/// Blocks of an epoch there.
const COMPARED_EPOCH: u32 = 64;
const MS: u64 = 1_000_000;

/// What the planes came to.
#[derive(Clone, Debug)]
pub struct Comparison {
    heights: u64,
    rows: Vec<Row>,
}

/// One plane on one network.
#[derive(Clone, Debug)]
struct Row {
    plane: Plane,
    /// Whether validators wait less for one that they know to be dead.
    is_known: bool,
    healthy: Outcome,
    failing: Outcome,
}

/// A dead, a slow and a starving proposer.
pub const THREE_FAILING: Failing = Failing {
    dead: Some(2),
    slow: Some(4),
    starving: &[5],
    is_known: false,
};

/// The run of a plane with nothing wrong, or with these bad proposers, to `heights`.
pub fn compared(seed: u64, plane: Plane, heights: u64, failing: Failing) -> Plan {
    Plan {
        delay_ns: (MS, 9 * MS),
        epoch_blocks: COMPARED_EPOCH,
        failing,
        // A second for each height, where few take that long.
        calm_ns_max: (60_000 + 1_000 * heights) * MS,
        ..Plan::calm(seed, plane, COMPARED_VALIDATORS, heights)
    }
}

/// Runs both planes to `heights`: without bad proposers, and with one dead, one slow and one starving; the dead one
/// unknown to the others, and known.
///
/// # Errors
/// What does not hold.
pub fn compare(seed: u64, heights: u64) -> Result<Comparison, Broken> {
    let mut rows = Vec::new();
    for is_known in [false, true] {
        for plane in [Plane::Stake, Plane::Poai] {
            let healthy = Failing {
                is_known,
                ..Failing::default()
            };
            let failing = Failing {
                is_known,
                ..THREE_FAILING
            };
            rows.push(Row {
                plane,
                is_known,
                healthy: run(&compared(seed, plane, heights, healthy))?,
                failing: run(&compared(seed, plane, heights, failing))?,
            });
        }
    }
    Ok(Comparison { heights, rows })
}

impl Row {
    fn added_ns(&self) -> u64 {
        self.failing
            .finality_ns
            .1
            .saturating_sub(self.healthy.finality_ns.1)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{COMPARED_VALIDATORS} validators, {} heights, counted after the first epoch of {COMPARED_EPOCH}; one dead, \
             one slow, one starving",
            self.heights
        )?;
        writeln!(
            f,
            "{:<6} {:<8} {:>13} {:>22} {:>22} {:>10}",
            "plane", "skip", "later rounds", "healthy p50/p99 ms", "failing p50/p99 ms", "added p99"
        )?;
        for row in &self.rows {
            let pair = |(p50, p99): (u64, u64)| format!("{}/{}", p50 / MS, p99 / MS);
            writeln!(
                f,
                "{:<6} {:<8} {:>13} {:>22} {:>22} {:>10}",
                row.plane.name(),
                if row.is_known { "on" } else { "off" },
                row.failing.later_rounds_settled,
                pair(row.healthy.finality_ns),
                pair(row.failing.finality_ns),
                row.added_ns() / MS
            )?;
        }
        Ok(())
    }
}
