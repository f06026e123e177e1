//! The JSON of one run, the same facts as a table for people, and where they are written.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::ceiling::Ceiling;
use crate::machine::Machine;
use crate::peers::PeerResult;
use crate::rate::{float, milliseconds, ratio};

/// Version of the JSON. Fields are added without changing it; a field that changes its meaning raises it.
pub const SCHEMA: u32 = 1;

/// Everything one run found. Rates count transfers (operations), not transactions; times are wall clock.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// [`SCHEMA`] of the writer.
    pub schema: u32,
    /// Source state that was built, or "unknown".
    pub commit: String,
    /// Whether that source state had changes on top.
    pub dirty: bool,
    /// What the road contained: apply, single, cluster, ceiling, peers, stages.
    pub tier: String,
    /// Signature scheme of the load.
    pub scheme: String,
    /// Whether the signers' public keys were registered beforehand, and left out of the transactions.
    pub registered: bool,
    /// Operations under one signature.
    pub ops_per_tx: u64,
    /// Accounts that the load touches.
    pub accounts: u64,
    /// Contention: uniform, zipf(s), hot(p).
    pub profile: String,
    /// constant, poisson, or window(n): closed by n unanswered transactions, which hides queueing.
    pub arrivals: String,
    /// When a transfer counts as committed: none, or synced.
    pub durability: String,
    /// Intended rate of the schedule, transfers/s; for arrivals by window, what was sent.
    pub offered_per_s: f64,
    /// Taken by the node, transfers/s.
    pub accepted_per_s: f64,
    /// Committed and answered, transfers/s.
    pub committed_per_s: f64,
    /// Intended send to the answer "committed".
    pub latency_ms: Latency,
    /// This machine's own limits, measured in the same run.
    pub ceiling: Ceiling,
    /// `committed_per_s / ops_per_tx / ceiling.verify_per_s`: signatures against the best this machine can check.
    pub ratio_to_verify_ceiling: f64,
    /// CPU seconds of node and client together for 1,000 committed transfers.
    pub cpu_seconds_per_1k: f64,
    /// Most resident memory of the node's process, bytes.
    pub rss_bytes: u64,
    /// Bytes of log for each byte of the committed operations.
    pub log_bytes_per_op_byte: f64,
    /// The node's stages at the end of the load, in the order of the road.
    pub stages: Vec<Stage>,
    /// What replaying the whole log found.
    pub verify: Verify,
    /// Transfers that were not committed, by reason.
    pub errors: BTreeMap<String, u64>,
    /// Where it ran.
    pub machine: Machine,
    /// [`crate::machine::load_average_1m`] before the run: above half the cores, something else ran beside it.
    pub load_average_before: f64,
    /// Build settings and whatever else the command line set.
    pub flags: String,
    /// Seed of everything random in the load.
    pub seed: u64,
    /// Length of the measured load, seconds, without warm-up.
    pub seconds: f64,
    /// The backlog grew: the node could not keep up with `offered_per_s`.
    pub overloaded: bool,
    /// The load file ended before the planned time did; `seconds` is what was measured.
    pub exhausted: bool,
    /// Transfers whose time came but which were never sent, because the road to the node was full.
    pub not_sent: u64,
    /// Transfers sent but not answered when the run stopped waiting.
    pub unanswered: u64,
    /// Sampled mean of unanswered transactions, and what Little's law makes of rate and latency.
    pub in_flight: InFlight,
    /// Steps of the saturation search that chose the rate, in order; empty when the rate was given.
    pub trials: Vec<Trial>,
    /// Seconds it took to sign the load beforehand, not part of any other figure.
    pub prepare_seconds: f64,
    /// Other systems at the same work in the same run.
    pub peers: Vec<PeerResult>,
    /// The measurements of which `ceiling` is the mean, in order; empty when there was one.
    pub ceilings: Vec<Ceiling>,
    /// Bytes of log, index and snapshots after the run for each byte of all committed operations, set-up included.
    pub data_bytes_per_op_byte: f64,
    /// Seconds that `verify` took.
    pub verify_seconds: f64,
    /// The ledger alone, profile by profile.
    pub apply: Vec<Applied>,
    /// Rates against those of other systems, by name.
    pub ratios: BTreeMap<String, f64>,
    /// Longest time for which a durable block was not in the index, seconds, to the tenth.
    pub index_lag_seconds_max: f64,
    /// The measured load as it went on, a moment a second, thinned to at most [`MOMENTS_MAX`].
    pub timeline: Vec<Moment>,
    /// Validators that agree.
    pub validators: u64,
    /// How: solo, stake, poai.
    pub plane: String,
    /// Whether they sign with Ed25519 and ML-DSA-65.
    pub pq_votes: bool,
    /// What the last of them does badly: none, dead, slow, starving, byzantine.
    pub fault: String,
    /// Rounds that heights took in the measured load.
    pub rounds: Rounds,
    /// What a reader of the figures must know besides.
    pub notes: Vec<String>,
}

/// Rounds that heights of several validators took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rounds {
    /// Heights decided.
    pub heights: u64,
    /// Of them above round 0.
    pub above_0: u64,
    /// Of them above round 1.
    pub above_1: u64,
}

/// Most moments of a timeline.
pub const MOMENTS_MAX: usize = 120;

/// One look at a running load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// Since the load began, seconds.
    pub seconds: f64,
    /// Transfers committed so far.
    pub committed: u64,
    /// Resident memory of the node's process, bytes.
    pub rss_bytes: u64,
    /// How long the oldest durable block that is not in the index has been waiting for it, seconds.
    pub index_lag_seconds: f64,
}

/// The ledger alone under one profile.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Applied {
    /// Contention: uniform, zipf(s), hot(p).
    pub profile: String,
    /// Transfers executed.
    pub transfers: u64,
    /// Executed a second of the ledger thread's CPU time.
    pub transfers_per_s: f64,
    /// Wall clock of the same, seconds.
    pub wall_seconds: f64,
    /// Recorded outcomes folded a second of the thread's CPU time, as at a restart; 0 when not measured.
    pub fold_per_s: f64,
    /// Resident bytes of an account.
    pub account_bytes: u64,
    /// Debits equal credits at the end.
    pub conserved: bool,
}

/// A latency distribution in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Arithmetic mean.
    #[serde(default)]
    pub mean: f64,
    /// Half were faster.
    pub p50: f64,
    /// 90 % were faster.
    pub p90: f64,
    /// 99 % were faster.
    pub p99: f64,
    /// 99.9 % were faster.
    pub p999: f64,
    /// The slowest one.
    pub max: f64,
}

/// One stage of the node's pipeline.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Its name in metrics and logs.
    pub name: String,
    /// Share of the measured time it was working, 0 to 1 (all its threads together).
    pub busy: f64,
    /// 99th percentile of its queue's length.
    pub queue_p99: u64,
    /// What it turned away or threw out.
    pub dropped: u64,
    /// Its share of the processor time of node and client, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_share: Option<f64>,
}

/// What `verify` said after the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verify {
    /// Every hash, root and total holds, and debits equal credits.
    pub ok: bool,
    /// First block that was decided anew: 1, or the one after a snapshot where the log's beginning was dropped.
    #[serde(default)]
    pub from: u64,
    /// Last block of the log.
    #[serde(default)]
    pub height: u64,
    /// Transfers in the log.
    #[serde(default)]
    pub transfers: u64,
}

/// Little's law as a check on the harness: the two agree unless somebody's clock or count is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InFlight {
    /// Mean number of unanswered transactions, sampled over the measured time.
    pub sampled: f64,
    /// Rate of answers × mean time from actual send to answer.
    pub by_littles_law: f64,
}

/// One step of a saturation search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Rate tried, transfers/s.
    pub offered_per_s: f64,
    /// Rate achieved, transfers/s.
    pub committed_per_s: f64,
    /// 99th percentile, milliseconds.
    pub p99_ms: f64,
    /// Nothing dropped, latency within the bound, backlog steady.
    pub held: bool,
}

/// Why a report could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The file could not be opened, read or written.
    #[error("cannot use the report {path}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Not a report.
    #[error("{path} is no report of a run")]
    Json {
        /// Which file.
        path: PathBuf,
        /// What serde said.
        #[source]
        source: serde_json::Error,
    },
    /// Written by a newer program, whose fields may mean something else.
    #[error("{path} has schema {got}; this program reads up to {SCHEMA}")]
    Schema {
        /// Which file.
        path: PathBuf,
        /// Its schema.
        got: u32,
    },
}

impl Latency {
    /// Reads a histogram of nanoseconds; all zero when it is empty.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile: f64| milliseconds(histogram.value_at_quantile(quantile));
        Self {
            mean: histogram.mean() / 1e6,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: milliseconds(histogram.max()),
        }
    }
}

impl Report {
    /// Fills in the ratios that follow from the other fields; call it last.
    pub fn conclude(&mut self) {
        let signatures_per_s = ratio(self.committed_per_s, float(self.ops_per_tx.max(1)));
        self.ratio_to_verify_ceiling = ratio(signatures_per_s, self.ceiling.verify_per_s);
    }

    /// The busiest stage: where more speed would have to come from.
    #[must_use]
    pub fn bottleneck(&self) -> Option<&Stage> {
        self.stages.iter().max_by(|a, b| a.busy.total_cmp(&b.busy))
    }

    /// Writes indented JSON, whole or not at all: beside the target first, then renamed over it.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn write(&self, path: &Path) -> Result<(), ReportError> {
        let file_error = |source| ReportError::File {
            path: path.to_path_buf(),
            source,
        };
        let partial = path.with_extension("json.partial");
        let mut writer = BufWriter::new(File::create(&partial).map_err(file_error)?);
        serde_json::to_writer_pretty(&mut writer, self).map_err(|source| ReportError::Json {
            path: path.to_path_buf(),
            source,
        })?;
        writer
            .write_all(b"\n")
            .and_then(|()| writer.flush())
            .map_err(file_error)?;
        std::fs::rename(&partial, path).map_err(file_error)
    }

    /// Reads what [`Report::write`] wrote, by this or an older program; missing fields take their zero.
    ///
    /// # Errors
    /// When the file is missing, no report, or of a newer schema.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        let file = File::open(path).map_err(|source| ReportError::File {
            path: path.to_path_buf(),
            source,
        })?;
        let report: Self =
            serde_json::from_reader(BufReader::new(file)).map_err(|source| ReportError::Json {
                path: path.to_path_buf(),
                source,
            })?;
        if report.schema > SCHEMA {
            return Err(ReportError::Schema {
                path: path.to_path_buf(),
                got: report.schema,
            });
        }
        Ok(report)
    }
}

impl Display for Report {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        self.write_head(out)?;
        if self.committed_per_s > 0.0 && self.apply.is_empty() {
            self.write_rates(out)?;
        }
        for Applied {
            profile,
            transfers_per_s,
            fold_per_s,
            account_bytes,
            ..
        } in &self.apply
        {
            writeln!(
                out,
                "apply      {profile}: {transfers_per_s:.0} transfers/s executed, {fold_per_s:.0}/s folded, {account_bytes} bytes an account"
            )?;
        }
        for note in &self.notes {
            writeln!(out, "note       {note}")?;
        }
        if !self.trials.is_empty() {
            writeln!(
                out,
                "\nsearch     {:>12} {:>12} {:>10}",
                "offered/s", "committed/s", "p99 ms"
            )?;
            for trial in &self.trials {
                let held = if trial.held { "held" } else { "too much" };
                let Trial {
                    offered_per_s,
                    committed_per_s,
                    p99_ms,
                    ..
                } = trial;
                writeln!(
                    out,
                    "           {offered_per_s:>12.0} {committed_per_s:>12.0} {p99_ms:>10.2}  {held}"
                )?;
            }
        }
        if !self.stages.is_empty() {
            self.write_stages(out)?;
        }
        if self.ceiling.verify_per_s > 0.0 {
            write!(out, "\n{}", self.ceiling)?;
        }
        if !self.peers.is_empty() {
            write!(out, "\n{}", crate::peers::Table(&self.peers))?;
        }
        for (name, ratio) in &self.ratios {
            writeln!(out, "{name:<40} {ratio:>8.2}")?;
        }
        Ok(())
    }
}

impl Report {
    fn write_head(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let dirty = if self.dirty { " with changes" } else { "" };
        let Machine {
            cpu_model,
            cores,
            memory_bytes,
            kernel,
            filesystem,
            disk,
        } = &self.machine;
        writeln!(out, "commit     {}{dirty}", self.commit)?;
        writeln!(
            out,
            "machine    {cpu_model}, {cores} cores, {} GiB, Linux {kernel}",
            memory_bytes >> 30
        )?;
        writeln!(out, "disk       {filesystem} on {disk}")?;
        if self.load_average_before > float(*cores) * BUSY_SHARE {
            writeln!(
                out,
                "BUSY       load average {:.1} before the run: trust ratios only",
                self.load_average_before
            )?;
        }
        writeln!(out, "build      {}", self.flags)
    }

    fn write_rates(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "tier       {}: {}{}, {} operations a transaction, {} accounts {}, durability {}",
            self.tier,
            self.scheme,
            if self.registered {
                " by registered keys"
            } else {
                ""
            },
            self.ops_per_tx,
            self.accounts,
            self.profile,
            self.durability
        )?;
        writeln!(
            out,
            "load       {} arrivals, {:.0} offered/s for {:.1} s, seed {}{}",
            self.arrivals,
            self.offered_per_s,
            self.seconds,
            self.seed,
            if self.overloaded {
                ": OVERLOADED, the backlog grew"
            } else {
                ""
            }
        )?;
        writeln!(
            out,
            "result     {:.0} committed/s ({:.0} accepted/s), {:.2} of the signature ceiling",
            self.committed_per_s, self.accepted_per_s, self.ratio_to_verify_ceiling
        )?;
        writeln!(out, "latency    {}", self.latency_ms)?;
        if self.rounds.heights > 0 {
            let Rounds {
                heights,
                above_0,
                above_1,
            } = self.rounds;
            writeln!(
                out,
                "agreement  {} validators, {}, {} votes, fault {}: {heights} heights, {above_0} above round 0, {above_1} above round 1",
                self.validators,
                self.plane,
                if self.pq_votes { "hybrid" } else { "ed25519" },
                self.fault
            )?;
        }
        writeln!(
            out,
            "cost       {:.4} CPU s per 1,000, {} MiB resident, {:.3} log bytes per operation byte, {:.3} with index",
            self.cpu_seconds_per_1k,
            self.rss_bytes >> 20,
            self.log_bytes_per_op_byte,
            self.data_bytes_per_op_byte
        )?;
        if let [first, .., last] = self.timeline.as_slice() {
            writeln!(
                out,
                "course     {} MiB resident at {:.0} s, {} at {:.0} s; the index at most {:.1} s behind",
                first.rss_bytes >> 20,
                first.seconds,
                last.rss_bytes >> 20,
                last.seconds,
                self.index_lag_seconds_max
            )?;
        }
        writeln!(
            out,
            "in flight  {:.1} sampled, {:.1} by rate × latency; {} never sent, {} unanswered",
            self.in_flight.sampled, self.in_flight.by_littles_law, self.not_sent, self.unanswered
        )?;
        for (code, times) in &self.errors {
            writeln!(out, "refused    {times} × {code}")?;
        }
        let verdict = if self.verify.ok {
            "every hash, root and total holds"
        } else {
            "FAILED"
        };
        writeln!(
            out,
            "verify     {verdict}, {} transfers, heights {} to {}, {:.1} s",
            self.verify.transfers, self.verify.from, self.verify.height, self.verify_seconds
        )
    }

    fn write_stages(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "\nstage                  busy %  queue p99    dropped")?;
        let bottleneck = self.bottleneck().map(|stage| stage.name.as_str());
        for Stage {
            name,
            busy,
            queue_p99,
            dropped,
            cpu_share,
        } in &self.stages
        {
            let mark = if Some(name.as_str()) == bottleneck {
                "  <- busiest"
            } else {
                ""
            };
            let share = cpu_share.filter(|share| *share > 0.0);
            let share = share.map_or_else(String::new, |share| {
                format!("  {:.1} % of all CPU time", share * 100.0)
            });
            writeln!(
                out,
                "{name:<20} {:>8.1} {queue_p99:>10} {dropped:>10}{mark}{share}",
                busy * 100.0
            )?;
        }
        Ok(())
    }
}

impl Display for Latency {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            mean: _,
            p50,
            p90,
            p99,
            p999,
            max,
        } = self;
        write!(
            out,
            "p50 {p50:.2} ms, p90 {p90:.2}, p99 {p99:.2}, p99.9 {p999:.2}, max {max:.2}"
        )
    }
}

/// Load per core before a run above which its figures are marked.
const BUSY_SHARE: f64 = 0.5;

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod tests {
    use super::*;

    /// What others script against; a name missing here is a broken script somewhere.
    const PROMISED: [&str; 20] = [
        "schema",
        "commit",
        "tier",
        "scheme",
        "ops_per_tx",
        "profile",
        "offered_per_s",
        "accepted_per_s",
        "committed_per_s",
        "latency_ms",
        "ceiling",
        "ratio_to_verify_ceiling",
        "cpu_seconds_per_1k",
        "rss_bytes",
        "log_bytes_per_op_byte",
        "stages",
        "verify",
        "dirty",
        "machine",
        "errors",
    ];

    fn sample() -> Report {
        let stage = |name: &str, busy| Stage {
            name: name.to_owned(),
            busy,
            queue_p99: 3,
            dropped: 1,
            cpu_share: None,
        };
        Report {
            schema: SCHEMA,
            tier: "single".to_owned(),
            ops_per_tx: 10,
            committed_per_s: 50_000.0,
            ceiling: Ceiling {
                verify_per_s: 10_000.0,
                ..Ceiling::default()
            },
            stages: vec![stage("intake.verify", 0.9), stage("commit.execute", 0.2)],
            errors: BTreeMap::from([("pool_full".to_owned(), 7)]),
            verify: Verify {
                ok: true,
                from: 1,
                height: 4,
                transfers: 9,
            },
            ..Report::default()
        }
    }

    #[test]
    fn the_json_has_every_promised_name() {
        let json = serde_json::to_value(sample()).unwrap();
        for name in PROMISED {
            assert!(json.get(name).is_some(), "{name} is missing");
        }
        for name in ["p50", "p90", "p99", "p999", "max"] {
            assert!(
                json["latency_ms"].get(name).is_some(),
                "latency_ms.{name} is missing"
            );
        }
        for name in [
            "verify_per_s",
            "append_per_s",
            "sync_ms_p50",
            "sync_ms_p99",
            "quic_per_s",
        ] {
            assert!(json["ceiling"].get(name).is_some(), "ceiling.{name} is missing");
        }
        for name in ["name", "busy", "queue_p99", "dropped"] {
            assert!(
                json["stages"][0].get(name).is_some(),
                "stages[].{name} is missing"
            );
        }
        assert_eq!(json["verify"]["ok"], true);
    }

    #[test]
    fn a_report_survives_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        let mut report = sample();
        report.conclude();
        report.write(&path).unwrap();
        assert_eq!(Report::read(&path).unwrap(), report);
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no partial file is left"
        );
    }

    #[test]
    fn refuses_a_report_of_a_newer_program() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        Report {
            schema: SCHEMA + 1,
            ..sample()
        }
        .write(&path)
        .unwrap();
        assert!(matches!(Report::read(&path), Err(ReportError::Schema { got, .. }) if got == SCHEMA + 1));
    }

    #[test]
    fn signatures_not_operations_are_held_against_the_ceiling() {
        let mut report = sample();
        report.conclude();
        assert_eq!(report.ratio_to_verify_ceiling, 0.5);
    }

    #[test]
    fn the_table_names_the_busiest_stage_and_the_refusals() {
        let table = sample().to_string();
        assert!(
            table
                .lines()
                .any(|line| line.starts_with("intake.verify") && line.ends_with("<- busiest"))
        );
        assert!(table.contains("7 × pool_full"));
    }

    #[test]
    fn a_run_beside_other_work_is_marked() {
        let quiet = Report {
            machine: Machine {
                cores: 2,
                ..Machine::default()
            },
            ..sample()
        };
        assert!(!quiet.to_string().contains("BUSY"));
        let busy = Report {
            load_average_before: 1.5,
            ..quiet
        };
        assert!(busy.to_string().contains("BUSY       load average 1.5"));
    }

    #[test]
    fn a_histogram_of_nanoseconds_reads_as_milliseconds() {
        let mut histogram = Histogram::<u64>::new(3).unwrap();
        for microseconds in 1..=1_000_u64 {
            histogram.record(microseconds * 1_000).unwrap();
        }
        let latency = Latency::of(&histogram);
        assert!((latency.p50 - 0.5).abs() < 0.01 && (latency.p99 - 0.99).abs() < 0.01);
        assert!((latency.max - 1.0).abs() < 0.01);
        assert_eq!(Latency::of(&Histogram::new(3).unwrap()), Latency::default());
    }
}
