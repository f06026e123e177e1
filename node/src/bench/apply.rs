//! The tier `apply`: the ledger alone on one core, executed and folded, without roots.

use super::arguments::Flags;
use super::ceiling::blank;
use super::error::{BenchError, Tell};
use super::load::{LoadShape, SignedLoad};
use super::single::float;
use core::time::Duration;
use rayon::prelude::*;
use selfchain_bench::load::workload::Profile;
use selfchain_bench::process::{Process, Usage};
use selfchain_bench::report::{Applied, Report};
use selfchain_engine::ledger::Ledger;
use selfchain_types::block::BlockResult;
use selfchain_types::envelope::EnvelopeView;
use selfchain_types::{Risk, TimeNs, codec};
use std::time::Instant;

/// Executes transfers in blocks of decoded envelopes. Rates are by the ledger thread's own CPU time, so that
/// other work on the machine does not count; the wall clock is in the report too.
///
/// # Errors
/// [`BenchError`].
pub fn apply(flags: &Flags, tell: &mut Tell<'_>) -> Result<Report, BenchError> {
    let shape = LoadShape {
        operations: usize::from(flags.ops.unwrap_or(8_190)),
        accounts: flags.accounts.unwrap_or(1_000_000),
        ..flags.shape()
    };
    let profiles = match flags.profile {
        Some(profile) => vec![profile],
        None => vec![Profile::Uniform, Profile::ZIPF],
    };
    let mut report = Report {
        scheme: shape.scheme.name().into(),
        ops_per_tx: codec::wide(shape.operations),
        accounts: shape.accounts,
        profile: profiles[0].to_string(),
        seed: shape.seed,
        arrivals: "window(1)".into(),
        durability: "none: memory only".into(),
        ..blank("apply", &std::env::temp_dir())
    };
    for profile in profiles {
        let shape = LoadShape {
            profile,
            ..shape.clone()
        };
        let mut applied = one(shape, flags.seconds, tell)?;
        // Later ledgers are made of the first one's memory.
        if let Some(first) = report.apply.first() {
            applied.account_bytes = first.account_bytes;
        }
        report.apply.push(applied);
    }
    let first = &report.apply[0];
    report.committed_per_s = first.transfers_per_s;
    (report.offered_per_s, report.accepted_per_s) = (first.transfers_per_s, first.transfers_per_s);
    report.cpu_seconds_per_1k = 1_000.0 / first.transfers_per_s;
    report.seconds = first.wall_seconds;
    report.verify.transfers = first.transfers;
    report.verify.ok = report.apply.iter().all(|applied| applied.conserved);
    report.rss_bytes = memory().rss_peak_bytes;
    report.notes.push("rates: transfers by a second of the ledger thread's CPU time; signatures, roots and decoding are not in it".into());
    Ok(report)
}

/// Transfers of one block at most: below the chain's limit of effects.
const BLOCK_TRANSFERS: usize = 122_850;
/// Blocks that are made before they are executed: what is held in memory at once.
const BLOCKS_AHEAD: usize = 8;
/// Blocks that are kept to be folded.
const FOLDED_MAX: usize = 40;
/// Above this many accounts the state is not copied to be folded into.
const FOLD_ACCOUNTS_MAX: u64 = 2_000_000;

type Block = Vec<Vec<u8>>;

fn one(shape: LoadShape, seconds: u64, tell: &mut Tell<'_>) -> Result<Applied, BenchError> {
    let load = SignedLoad::new(shape)?;
    let shape = load.shape();
    let before = memory();
    let mut ledger = Ledger::new(load.genesis());
    tell("opening accounts", 0, 0);
    for (number, envelope) in (1..).zip(load.setup()) {
        execute(&mut ledger, &[envelope])?;
        ledger.roots();
        tell("opening accounts", number, load.setup_len());
    }
    let account_bytes = memory().rss_bytes.saturating_sub(before.rss_bytes) / shape.accounts;
    let mut chunks = Vec::new();
    let can_fold = shape.accounts <= FOLD_ACCOUNTS_MAX;
    if can_fold {
        ledger.snapshot(&mut |table, bytes| chunks.push((table, bytes.to_vec())));
    }
    let block_len = (BLOCK_TRANSFERS / shape.operations).max(1);
    let what = format!("executing, {}", shape.profile);
    tell(&what, 0, 0);
    let mut plans = load.plans()?;
    let mut kept: Vec<(Block, BlockResult)> = Vec::new();
    let (mut executing, mut wall, mut transfers) = (Duration::ZERO, Duration::ZERO, 0);
    while executing < Duration::from_secs(seconds) {
        let group: Vec<_> = plans.by_ref().take(block_len * BLOCKS_AHEAD).collect();
        let envelopes: Vec<Vec<u8>> = group.par_iter().map(|plan| load.sign(plan)).collect();
        for block in envelopes.chunks(block_len) {
            let began = Instant::now();
            let (result, spent) = execute(&mut ledger, block)?;
            wall += began.elapsed();
            executing += spent;
            transfers += codec::wide(result.outcomes.len());
            // A chain takes the roots after each block; their time is not this tier's.
            ledger.roots();
            if can_fold && kept.len() < FOLDED_MAX {
                kept.push((block.to_vec(), result));
            }
        }
        tell(&what, executing.as_secs(), seconds);
    }
    let fold_per_s = if can_fold {
        fold(&load, chunks, &kept, tell)?
    } else {
        0.0
    };
    let totals = ledger.totals();
    Ok(Applied {
        profile: shape.profile.to_string(),
        transfers,
        transfers_per_s: float(transfers) / executing.as_secs_f64(),
        wall_seconds: wall.as_secs_f64(),
        fold_per_s,
        account_bytes,
        conserved: totals.iter().all(|(_, debits, credits)| debits == credits),
    })
}

fn views(block: &[Vec<u8>]) -> Result<Vec<EnvelopeView<'_>>, BenchError> {
    let view = |bytes| EnvelopeView::new(bytes).map_err(|error| BenchError::Ledger(error.to_string()));
    block.iter().map(|bytes| view(bytes)).collect()
}

/// Executes a block and says how long this thread was at it.
fn execute(ledger: &mut Ledger, block: &[Vec<u8>]) -> Result<(BlockResult, Duration), BenchError> {
    let views = views(block)?;
    let (height, time_ns) = (ledger.height().next(), TimeNs(ledger.last_op_time().0 + 1));
    let began = thread_time();
    let executed = ledger.execute(height, time_ns, &views, &Risk::default(), &|_| false);
    let spent = thread_time().saturating_sub(began);
    let executed = executed.map_err(|error| BenchError::Ledger(error.to_string()))?;
    if executed.refused > 0 {
        return Err(BenchError::Ledger(format!(
            "{} transfers of block {height} were refused",
            executed.refused
        )));
    }
    Ok((executed.result, spent))
}

/// Folds the kept blocks into the state before them: transfers a second of this thread.
fn fold(
    load: &SignedLoad,
    chunks: Vec<(selfchain_types::roots::Table, Vec<u8>)>,
    kept: &[(Block, BlockResult)],
    tell: &mut Tell<'_>,
) -> Result<f64, BenchError> {
    tell("folding", 0, 0);
    let broke = |error: &dyn std::fmt::Display| BenchError::Ledger(error.to_string());
    let mut chunks = chunks.into_iter().map(Ok::<_, std::io::Error>);
    let mut ledger = Ledger::restore(load.genesis(), &mut chunks).map_err(|error| broke(&error))?;
    let (mut spent, mut transfers) = (Duration::ZERO, 0);
    for (block, result) in kept {
        let views = views(block)?;
        let (height, time_ns) = (ledger.height().next(), TimeNs(ledger.last_op_time().0 + 1));
        let began = thread_time();
        ledger
            .fold(height, time_ns, &views, &Risk::default(), result)
            .map_err(|error| broke(&error))?;
        spent += thread_time().saturating_sub(began);
        transfers += codec::wide(result.outcomes.len());
        ledger.roots();
    }
    Ok(float(transfers) / spent.as_secs_f64())
}

/// CPU time of this thread.
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

fn memory() -> Usage {
    Process::Own.usage().unwrap_or_default()
}
