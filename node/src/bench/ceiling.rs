//! The tier `ceiling`, and the head that every report begins with.

use super::arguments::Flags;
use super::error::{BenchError, Tell};
use core::time::Duration;
use selfchain_bench::ceiling::{Ceiling, CeilingPlan, MlDsa, OPERATION_BYTES};
use selfchain_bench::machine::{Commit, Machine, build_flags, load_average_1m};
use selfchain_bench::report::{Report, SCHEMA};
use selfchain_types::crypto::Scheme;
use std::error::Error;
use std::path::Path;

/// Measures this machine's limits alone.
///
/// # Errors
/// [`BenchError::Ceiling`].
pub fn ceiling(flags: &Flags, tell: &mut Tell<'_>) -> Result<Report, BenchError> {
    let folder = flags.data.clone().unwrap_or_else(std::env::temp_dir);
    let mut report = blank("ceiling", &folder);
    let operations = usize::from(flags.ops.unwrap_or(8_190));
    report.ceiling = measure_ceiling(
        &folder,
        operations,
        flags.shape().scheme,
        Duration::from_secs(flags.seconds.min(EACH_MAX_S)),
        tell,
    )?;
    Ok(report)
}

/// Longer measurements of one limit say nothing more.
const EACH_MAX_S: u64 = 10;

/// This machine's limits for transactions of `operations` each, signed under `scheme`.
pub(super) fn measure_ceiling(
    folder: &Path,
    operations: usize,
    scheme: Scheme,
    each: Duration,
    tell: &mut Tell<'_>,
) -> Result<Ceiling, BenchError> {
    let plan = CeilingPlan {
        folder: folder.to_owned(),
        each,
        // What a node makes of either load in one sync, roughly.
        block_bytes: if operations == 1 {
            SMALL_BLOCK_BYTES
        } else {
            8_190 * OPERATION_BYTES
        },
        beside: match scheme {
            Scheme::Ed25519MlDsa44 => Some(MlDsa::Of44),
            Scheme::Ed25519MlDsa65 => Some(MlDsa::Of65),
            // With SLH-DSA many operations share a signature: nothing is measured against what checking alone could do.
            Scheme::Ed25519 | Scheme::Ed25519SlhDsa128s | Scheme::Ed25519SlhDsa128f => None,
        },
        quic: Some(quic),
        ..CeilingPlan::default()
    };
    Ok(Ceiling::measure(&plan, &mut |step| {
        tell(&format!("ceiling: {step}"), 0, 0)
    })?)
}

const SMALL_BLOCK_BYTES: usize = 128 * 1024;

fn quic(each: Duration) -> Result<f64, Box<dyn Error + Send + Sync>> {
    Ok(selfchain_transport::ceiling(each)?.small.frames_per_s)
}

/// A report that says what and where, and nothing else yet.
pub(super) fn blank(tier: &str, folder: &Path) -> Report {
    let commit = Commit::of(Path::new("."));
    Report {
        schema: SCHEMA,
        commit: commit.id,
        dirty: commit.dirty,
        tier: tier.into(),
        machine: Machine::of(folder),
        load_average_before: load_average_1m(),
        flags: build_flags(),
        ..Report::default()
    }
}
