//! What users would pick instead, at the same work on the same disk: double-entry transfers, durable when answered.
//!
//! Both rivals are given every advantage that keeps them honest: no signatures, no limits on balances, no network
//! but a local socket, prepared statements, one round trip a transaction. Each is checked at the end: debits equal
//! credits equal the sum of all transfers, and every acknowledged transfer is there.

pub mod sqlite;

pub mod postgres;

use std::fmt::{self, Display, Formatter};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::load::workload::{Profile, Workload, WorkloadError};
use crate::rate::{per_second, ratio};
use crate::report::Latency;

/// Which rivals, at which work.
#[derive(Clone, Debug)]
pub struct PeerPlan {
    /// Accounts that transfers touch.
    pub accounts: u64,
    /// Their contention.
    pub profile: Profile,
    /// Seed of the transfers; each client adds its number.
    pub seed: u64,
    /// Length of each measurement.
    pub each: Duration,
    /// Transfers in one transaction, each measured; 1 is one per transaction.
    pub batches: Vec<usize>,
    /// Folder for SQLite's file: on the disk that the node writes to.
    pub folder: PathBuf,
    /// Connection string of a PostgreSQL whose schema `selfchain_bench` may be dropped; `None` leaves it out.
    pub postgres: Option<String>,
    /// PostgreSQL clients for one transfer per transaction, each measured.
    pub clients: Vec<usize>,
}

/// One rival at one setting.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerResult {
    /// sqlite or postgres.
    pub system: String,
    /// As it names itself.
    pub version: String,
    /// What makes its commits durable, as it reports it.
    pub durability: String,
    /// Concurrent connections.
    pub clients: u64,
    /// Transfers in one transaction.
    pub batch: u64,
    /// Transfers acknowledged.
    pub transfers: u64,
    /// Wall clock, seconds.
    pub seconds: f64,
    /// The quotient of the two.
    pub transfers_per_s: f64,
    /// Time of one transaction, from its first statement to the acknowledged commit.
    pub commit_ms: Latency,
    /// Transactions that had to be repeated after a deadlock.
    pub retries: u64,
    /// Debits = credits = transfers, and none is missing.
    pub conserved: bool,
}

/// Why a rival could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The workload is impossible.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// SQLite refused.
    #[error("SQLite refused")]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL refused, or is not there.
    #[error("PostgreSQL refused")]
    Postgres(#[from] ::postgres::Error),
    /// The folder for SQLite's file.
    #[error("cannot make a folder in {folder}")]
    Folder {
        /// Where.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A setting that would make the comparison worthless.
    #[error("PostgreSQL has {setting} = {got}; a durable commit needs \"on\"")]
    NotDurable {
        /// Its name.
        setting: &'static str,
        /// Its value.
        got: String,
    },
}

impl Default for PeerPlan {
    fn default() -> Self {
        Self {
            accounts: 10_000,
            profile: Profile::Uniform,
            seed: 1,
            each: Duration::from_secs(10),
            batches: vec![1, 1_000, 8_190],
            folder: PathBuf::from("."),
            postgres: None,
            clients: vec![1, 4, 16, 32, 64],
        }
    }
}

/// Measures every rival at every setting of the plan, one after the other; `progress` is told what begins.
///
/// # Errors
/// When a rival refuses; what was measured before is lost.
pub fn measure(plan: &PeerPlan, progress: &mut dyn FnMut(&str)) -> Result<Vec<PeerResult>, PeerError> {
    let mut results = Vec::new();
    for &batch in &plan.batches {
        progress(&format!("SQLite, {batch} transfers a transaction"));
        results.push(sqlite::measure(plan, batch)?);
    }
    let Some(connection) = &plan.postgres else {
        return Ok(results);
    };
    for &batch in &plan.batches {
        // Batches of several clients wait for each other's rows and deadlock: one client is their best.
        let clients: &[usize] = if batch == 1 { &plan.clients } else { &[1] };
        for &clients in clients {
            progress(&format!(
                "PostgreSQL, {batch} transfers a transaction, {clients} clients"
            ));
            results.push(postgres::measure(plan, connection, batch, clients)?);
        }
    }
    Ok(results)
}

/// The fastest setting of a system, among those with one transfer a transaction or among the batched ones.
#[must_use]
pub fn best<'a>(results: &'a [PeerResult], system: &str, batched: bool) -> Option<&'a PeerResult> {
    results
        .iter()
        .filter(|result| result.system == system && (result.batch > 1) == batched)
        .max_by(|a, b| a.transfers_per_s.total_cmp(&b.transfers_per_s))
}

/// Results as rows for people, with the best of each kind marked.
pub struct Table<'a>(pub &'a [PeerResult]);

impl Display for Table<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "peer        batch  clients   transfers/s     p50 ms     p99 ms   retries  conserved"
        )?;
        for result in self.0 {
            let PeerResult {
                system,
                clients,
                batch,
                transfers_per_s,
                commit_ms,
                retries,
                conserved,
                ..
            } = result;
            let Latency { p50, p99, .. } = commit_ms;
            let is_best = best(self.0, system, *batch > 1) == Some(result);
            let mark = if is_best { "  <- best" } else { "" };
            writeln!(
                out,
                "{system:<10} {batch:>6} {clients:>8} {transfers_per_s:>13.0} {p50:>10.2} {p99:>10.2} {retries:>9}  {conserved:>9}{mark}"
            )?;
        }
        Ok(())
    }
}

/// A measurement before it is told: what every rival counts alike.
struct Tally {
    transfers: u64,
    retries: u64,
    elapsed: Duration,
    commits: Histogram<u64>,
}

/// What a rival's tables say after the run.
struct Sums {
    debits: i64,
    credits: i64,
    amounts: i64,
    transfers: i64,
}

impl Tally {
    fn result(&self, system: &str, clients: usize, batch: usize, sums: &Sums) -> PeerResult {
        PeerResult {
            system: system.to_owned(),
            clients: crate::rate::count(clients),
            batch: crate::rate::count(batch),
            transfers: self.transfers,
            seconds: self.elapsed.as_secs_f64(),
            transfers_per_s: per_second(self.transfers, self.elapsed),
            commit_ms: Latency::of(&self.commits),
            retries: self.retries,
            conserved: sums.hold(self.transfers),
            ..PeerResult::default()
        }
    }
}

impl Sums {
    fn hold(&self, acknowledged: u64) -> bool {
        self.debits == self.credits
            && self.debits == self.amounts
            && u64::try_from(self.transfers) == Ok(acknowledged)
    }
}

/// The next `batch` transfers as the columns that a statement takes.
struct Columns {
    debits: Vec<i64>,
    credits: Vec<i64>,
    amounts: Vec<i64>,
}

impl Columns {
    fn take(workload: &mut Workload, batch: usize) -> Self {
        let mut columns = Self {
            debits: Vec::new(),
            credits: Vec::new(),
            amounts: Vec::new(),
        };
        for transfer in workload.take(batch) {
            columns.debits.push(integer(transfer.debit));
            columns.credits.push(integer(transfer.credit));
            columns.amounts.push(integer(transfer.amount));
        }
        columns
    }

    fn rows(&self) -> impl Iterator<Item = (i64, i64, i64)> {
        self.debits
            .iter()
            .zip(&self.credits)
            .zip(&self.amounts)
            .map(|((debit, credit), amount)| (*debit, *credit, *amount))
    }
}

fn integer(value: u64) -> i64 {
    i64::try_from(value).expect("a workload's indices and amounts stay far below 2^63")
}

/// How many times faster `ours` is than a rival's best; 0 where the rival was not measured.
#[must_use]
pub fn times_faster(ours_per_s: f64, results: &[PeerResult], system: &str, batched: bool) -> f64 {
    best(results, system, batched).map_or(0.0, |best| ratio(ours_per_s, best.transfers_per_s))
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod tests {
    use super::*;

    fn result(system: &str, batch: u64, transfers_per_s: f64) -> PeerResult {
        PeerResult {
            system: system.to_owned(),
            batch,
            transfers_per_s,
            ..PeerResult::default()
        }
    }

    #[test]
    fn the_best_is_looked_for_among_its_own_kind() {
        let results = [
            result("postgres", 1, 900.0),
            result("postgres", 1, 2_000.0),
            result("postgres", 1_000, 40_000.0),
            result("sqlite", 1_000, 400_000.0),
        ];
        assert_eq!(
            best(&results, "postgres", false).unwrap().transfers_per_s,
            2_000.0
        );
        assert_eq!(
            best(&results, "postgres", true).unwrap().transfers_per_s,
            40_000.0
        );
        assert_eq!(times_faster(30_000.0, &results, "postgres", false), 15.0);
        assert_eq!(times_faster(30_000.0, &results, "sqlite", false), 0.0);
        assert_eq!(Table(&results).to_string().matches("<- best").count(), 3);
    }

    #[test]
    fn money_made_or_lost_or_a_missing_transfer_is_told() {
        let good = Sums {
            debits: 10,
            credits: 10,
            amounts: 10,
            transfers: 2,
        };
        assert!(good.hold(2));
        assert!(!good.hold(3));
        assert!(!Sums { credits: 11, ..good }.hold(2));
        assert!(
            !Sums {
                debits: 10,
                credits: 10,
                amounts: 9,
                transfers: 2
            }
            .hold(2)
        );
    }
}
