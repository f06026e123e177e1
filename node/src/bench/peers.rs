//! The tier `peers`: what users would pick instead, and this node, at the same work in the same run.

use super::arguments::{Flags, Rate};
use super::ceiling::{blank, measure_ceiling};
use super::error::{BenchError, Tell};
use super::load::TRACKS;
use super::single::at_most;
use core::time::Duration;
use selfchain_bench::load::workload::Profile;
use selfchain_bench::peers::{PeerPlan, PeerResult, best, measure};
use selfchain_bench::report::Report;
use selfchain_types::codec;

/// Measures SQLite, PostgreSQL where there is one, and this node one by one and in full batches.
///
/// # Errors
/// [`BenchError`].
pub fn peers(flags: &Flags, postgres: Option<String>, tell: &mut Tell<'_>) -> Result<Report, BenchError> {
    let folder = flags.data.clone().unwrap_or_else(std::env::temp_dir);
    let plan = PeerPlan {
        accounts: flags.accounts.unwrap_or(10_000),
        profile: flags.profile.unwrap_or(Profile::Uniform),
        seed: flags.seed,
        each: Duration::from_secs(flags.seconds),
        folder: folder.clone(),
        postgres,
        ..PeerPlan::default()
    };
    let mut report = Report {
        scheme: flags.shape().scheme.name().into(),
        accounts: plan.accounts,
        profile: plan.profile.to_string(),
        seed: plan.seed,
        seconds: plan.each.as_secs_f64(),
        ..blank("peers", &folder)
    };
    report.ceiling = measure_ceiling(&folder, BATCH.into(), flags.shape().scheme, CEILING_EACH, tell)?;
    if plan.postgres.is_none() {
        report.notes.push(
            "PostgreSQL: not measured; --postgres CONNECTION, from bench/peers/postgres.sh start".into(),
        );
    }
    report.peers = measure(&plan, &mut |step| tell(step, 0, 0))?;
    report.verify.ok = true;
    for operations in [1, BATCH] {
        let flags = Flags {
            ops: Some(operations),
            rate: Rate::Max,
            load: None,
            data: None,
            hlog: None,
            json: None,
            ..flags.clone()
        };
        tell(&format!("selfchain, {operations} transfers a transaction"), 0, 0);
        let ours = at_most(&flags, &report.ceiling, tell)?;
        report.verify.ok &= ours.verify.ok;
        report.verify.transfers += ours.verify.transfers;
        report.peers.push(row(&ours));
    }
    let ratios = [
        ("selfchain_to_postgres_single", "postgres", false),
        ("selfchain_to_sqlite_single", "sqlite", false),
        ("selfchain_to_postgres_batched", "postgres", true),
        ("selfchain_to_sqlite_batched", "sqlite", true),
    ];
    for (name, system, batched) in ratios {
        let rate = |system| best(&report.peers, system, batched).map(|result| result.transfers_per_s);
        if let (Some(ours), Some(theirs)) = (rate(SYSTEM), rate(system)) {
            report.ratios.insert(name.into(), ours / theirs);
        }
    }
    Ok(report)
}

const SYSTEM: &str = "selfchain";
const BATCH: u16 = 8_190;
const CEILING_EACH: Duration = Duration::from_secs(1);

fn row(ours: &Report) -> PeerResult {
    PeerResult {
        system: SYSTEM.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        durability: ours.durability.clone(),
        clients: TRACKS,
        batch: ours.ops_per_tx,
        transfers: codec::wide(0).max(ours.verify.transfers),
        seconds: ours.seconds,
        transfers_per_s: ours.committed_per_s,
        commit_ms: ours.latency_ms,
        retries: 0,
        conserved: ours.verify.ok,
    }
}
