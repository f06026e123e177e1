//! Compare: what the choice of proposers is worth. The same network under both planes, whole, with one bad proposer of
//! each kind, and with three of seven.

use super::check::Broken;
use super::plan::{Failing, Load, Plan};
use super::world::{Outcome, run_alone};
use selfchain::types::genesis::Plane;
use std::fmt;
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// How many validators are compared.
pub const COMPARED_VALIDATORS: u16 = 7;
/// Blocks of an epoch there.
const COMPARED_EPOCH: u32 = 64;
const MS: u64 = 1_000_000;
/// What clients offer: three quarters of what blocks of eight have room for while nothing is wrong.
const COMPARED_LOAD: Load = Load {
    lanes: 16,
    every_ns: 100 * MS,
    validity: 400,
    block_transactions: 8,
};

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
    case: Case,
    outcome: Outcome,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Case {
    name: &'static str,
    failing: Failing,
    /// Whether the last validator signs two proposals, and tells each side another.
    is_one_lying: bool,
}

/// A dead, a slow and a starving proposer.
pub const THREE_FAILING: Failing = Failing {
    dead: Some(2),
    slow: Some(4),
    starving: &[5],
    is_known: false,
};

/// Nobody.
const NONE_FAILING: Failing = Failing {
    dead: None,
    slow: None,
    starving: &[],
    is_known: false,
};

const fn case(name: &'static str, failing: Failing) -> Case {
    Case {
        name,
        failing,
        is_one_lying: false,
    }
}

/// All that is compared; the first is what the others are measured against.
const CASES: [Case; 7] = [
    case("healthy", NONE_FAILING),
    case(
        "one dead",
        Failing {
            dead: Some(2),
            ..NONE_FAILING
        },
    ),
    case(
        "one slow",
        Failing {
            slow: Some(4),
            ..NONE_FAILING
        },
    ),
    case(
        "one starving",
        Failing {
            starving: &[5],
            ..NONE_FAILING
        },
    ),
    Case {
        name: "one Byzantine",
        failing: NONE_FAILING,
        is_one_lying: true,
    },
    case("dead, slow, starving", THREE_FAILING),
    case(
        "the same, skip on",
        Failing {
            is_known: true,
            ..THREE_FAILING
        },
    ),
];

/// The run of a plane with nothing wrong, or with these bad proposers, to `heights`.
pub fn compared(seed: u64, plane: Plane, heights: u64, failing: Failing) -> Plan {
    Plan {
        delay_ns: (MS, 9 * MS),
        epoch_blocks: COMPARED_EPOCH,
        failing,
        load: COMPARED_LOAD,
        is_on_memory: true,
        // With everybody honest it changes nothing but the time that it takes.
        trusts_signatures: true,
        // A second for each height, where few take that long.
        calm_ns_max: (60_000 + 1_000 * heights) * MS,
        ..Plan::calm(seed, plane, COMPARED_VALIDATORS, heights)
    }
}

/// Runs both planes to `heights`: with nothing wrong, with one bad proposer of each kind, and with one dead, one slow
/// and one starving; the dead one unknown to the others, and in the last case known.
///
/// # Errors
/// What does not hold.
pub fn compare(seed: u64, heights: u64) -> Result<Comparison, Broken> {
    let runs: Vec<(Plane, Case)> = CASES
        .into_iter()
        .flat_map(|case| [(Plane::Stake, case), (Plane::Poai, case)])
        .collect();
    let (waiting, done) = (Mutex::new(runs.iter().enumerate()), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((at, (plane, case))) = next else { return };
            let plan = Plan {
                is_one_lying: case.is_one_lying,
                trusts_signatures: !case.is_one_lying,
                ..compared(seed, *plane, heights, case.failing)
            };
            let outcome = run_alone(&plan);
            done.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((at, outcome));
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(work);
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(at, _)| *at);
    let rows = runs.into_iter().zip(done).map(|((plane, case), (_, outcome))| {
        Ok(Row {
            plane,
            case,
            outcome: outcome?,
        })
    });
    let rows = rows.collect::<Result<Vec<Row>, Broken>>()?;
    Ok(Comparison { heights, rows })
}

impl Row {
    fn operations_per_s(&self) -> u64 {
        let operations = u128::from(self.outcome.operations_settled) * 1_000_000_000;
        u64::try_from(operations / u128::from(self.outcome.settled_ns.max(1))).unwrap_or(u64::MAX)
    }
}

impl Comparison {
    /// What the 99th of a hundred heights takes longer than in the whole network of the same plane, in ns.
    fn added_ns(&self, row: &Row) -> u64 {
        let whole = self
            .rows
            .iter()
            .find(|whole| whole.plane == row.plane && whole.case == CASES[0]);
        let healthy = whole.map_or(0, |whole| whole.outcome.finality_ns.1);
        row.outcome.finality_ns.1.saturating_sub(healthy)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{COMPARED_VALIDATORS} validators, {} heights, counted after the first epoch of {COMPARED_EPOCH}",
            self.heights
        )?;
        writeln!(
            f,
            "{:<22} {:<6} {:>12} {:>14} {:>16} {:>10} {:>13}",
            "", "plane", "later rounds", "first epoch's", "p50/p99 ms", "added p99", "operations/s"
        )?;
        for row in &self.rows {
            let (p50, p99) = row.outcome.finality_ns;
            writeln!(
                f,
                "{:<22} {:<6} {:>12} {:>14} {:>16} {:>10} {:>13}",
                row.case.name,
                row.plane.name(),
                row.outcome.later_rounds_settled,
                row.outcome.later_rounds - row.outcome.later_rounds_settled,
                format!("{}/{}", p50 / MS, p99 / MS),
                self.added_ns(row) / MS,
                row.operations_per_s()
            )?;
        }
        Ok(())
    }
}
