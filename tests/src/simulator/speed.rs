//! Speed: how many heights a second of processor time buys, so that runs are long enough to show something.

use super::check::Broken;
use super::plan::Plan;
use super::world::run_alone;
use selfchain::telemetry::usage;
use selfchain::types::genesis::Plane;
use std::fmt;

/// How many validators are measured.
pub const SPEED_VALIDATORS: u16 = 4;
/// Where files are in memory no sync protects anything: some dozens of blocks have one together.
const MEMORY_SYNC_WITHIN_NS: u64 = 1_000_000_000;

/// What heights cost.
#[derive(Clone, Debug)]
pub struct Speed {
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    what: &'static str,
    heights: u64,
    transactions: usize,
    cpu_ns: u64,
}

/// Runs calm networks of [`SPEED_VALIDATORS`] to `heights`, all checkers on: files in memory and signatures neither made
/// nor looked at; on the disk that can lose power, signatures not looked at or looked at, without a model or with one.
///
/// # Errors
/// What does not hold.
pub fn speed(seed: u64, plane: Plane, heights: u64) -> Result<Speed, Broken> {
    let calm = Plan::calm(seed, plane, SPEED_VALIDATORS, heights);
    let memory = Plan {
        is_on_memory: true,
        trusts_signatures: true,
        is_signing_free: true,
        sync_within_ns: MEMORY_SYNC_WITHIN_NS,
        ..calm.clone()
    };
    let disk = Plan {
        trusts_signatures: true,
        ..calm.clone()
    };
    let scored = Plan {
        is_scored: true,
        ..calm.clone()
    };
    let plans = [
        ("files in memory, no signatures", memory),
        ("faulty disk, signatures not looked at", disk),
        ("faulty disk, signatures verified", calm),
        ("faulty disk, signatures verified, scores", scored),
    ];
    let mut rows = Vec::with_capacity(plans.len());
    for (what, plan) in plans {
        let before = usage().cpu_ns;
        let outcome = run_alone(&plan)?;
        rows.push(Row {
            what,
            heights: outcome.height,
            transactions: outcome.transactions,
            cpu_ns: usage().cpu_ns.saturating_sub(before),
        });
    }
    Ok(Speed { rows })
}

impl Row {
    fn heights_per_s(&self) -> u64 {
        let heights = u128::from(self.heights) * 1_000_000_000;
        u64::try_from(heights / u128::from(self.cpu_ns.max(1))).unwrap_or(u64::MAX)
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{SPEED_VALIDATORS} validators, heights in a second of processor time"
        )?;
        for row in &self.rows {
            writeln!(
                f,
                "{:<42} {:>6}/s  ({} heights, {} transactions, {:.1} s)",
                row.what,
                row.heights_per_s(),
                row.heights,
                row.transactions,
                std::time::Duration::from_nanos(row.cpu_ns).as_secs_f64()
            )?;
        }
        Ok(())
    }
}
