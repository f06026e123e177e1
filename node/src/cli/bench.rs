//! `bench`: measures, prints a table, writes the report.

use super::{ExitStatus, Failure};
use crate::bench::{self, BenchArguments, BenchError, Flags, Tell, Tier};
use crate::config::{LogLevel, TelemetryConfig};
use crate::telemetry::start_log;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use selfchain_bench::compare::compare;
use selfchain_bench::report::Report;
use serde_json::json;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use super::output::Output;

pub(super) fn bench(words: &[OsString], output: Output) -> Result<(), Failure> {
    let name = OsString::from("selfchain bench");
    let arguments = match BenchArguments::try_parse_from(core::iter::once(&name).chain(words)) {
        Ok(arguments) => arguments,
        Err(error) => {
            let status = if error.use_stderr() {
                ExitStatus::Usage
            } else {
                ExitStatus::Done
            };
            let printed = error.print().is_ok();
            let what = if printed {
                "the arguments are wrong"
            } else {
                "the arguments are wrong; nowhere to say how"
            };
            return if status == ExitStatus::Done && printed {
                Ok(())
            } else {
                Err(Failure::new(status, what, ""))
            };
        }
    };
    let warnings = TelemetryConfig {
        log_level: LogLevel::Warn,
        ..TelemetryConfig::default()
    };
    start_log(&warnings)
        .map_err(|error| Failure::new(ExitStatus::Failed, "nothing was measured", "").because(&error))?;
    let mut bar = Bar::new();
    let tell = &mut |what: &str, done: u64, total: u64| bar.tell(what, done, total);
    match &arguments.tier {
        Tier::Apply(flags) => finish(bench::apply(flags, tell), flags, output),
        Tier::Single(flags) => finish(bench::single(flags, "single", tell), flags, output),
        Tier::Stages(flags) => {
            let flags = Flags {
                rate: bench::Rate::Max,
                search: false,
                soak: false,
                ..flags.clone()
            };
            finish(bench::single(&flags, "stages", tell), &flags, output)
        }
        Tier::Cluster(flags) => {
            let flags = Flags {
                validators: flags.validators.or(Some(CLUSTER_VALIDATORS)),
                ..flags.clone()
            };
            finish(bench::single(&flags, "cluster", tell), &flags, output)
        }
        Tier::Ceiling(flags) => finish(bench::ceiling(flags, tell), flags, output),
        Tier::Peers { postgres, flags } => finish(bench::peers(flags, postgres.clone(), tell), flags, output),
        Tier::Prepare(flags) => prepare(flags, tell, output),
        Tier::Compare { a, b } => {
            let comparison = compare(&read(a)?, &read(b)?);
            output.result(&comparison.to_string(), &json!({ "unlike": comparison.unlike }))
        }
    }
}

/// Validators of the tier `cluster`, unless said otherwise: with four, one may fail.
const CLUSTER_VALIDATORS: u16 = 4;

fn prepare(flags: &Flags, tell: &mut Tell<'_>, output: Output) -> Result<(), Failure> {
    let header = bench::prepare_file(flags, tell).map_err(|error| failure(&error))?;
    let text = format!(
        "{} transactions of {} operations, {} bytes, signed in {:.1} s{}",
        header.records - header.setup_records,
        header.ops_per_tx,
        header.bytes,
        header.sign_seconds,
        if header.capped {
            "; cut at --load-bytes"
        } else {
            ""
        },
    );
    let value =
        json!({ "records": header.records, "bytes": header.bytes, "sign_seconds": header.sign_seconds });
    output.result(&text, &value)
}

/// The table, the file, and the exit code of a log that does not hold.
fn finish(report: Result<Report, BenchError>, flags: &Flags, output: Output) -> Result<(), Failure> {
    let report = report.map_err(|error| failure(&error))?;
    if let Some(path) = &flags.json {
        report.write(path).map_err(|error| failure(&error.into()))?;
    }
    let value = json!({ "committed_per_s": report.committed_per_s, "verify": { "ok": report.verify.ok } });
    output.result(&report.to_string(), &value)?;
    if report.tier != "ceiling" && !report.verify.ok {
        return Err(Failure::new(
            ExitStatus::Corrupt,
            "what the node left does not hold",
            "",
        ));
    }
    Ok(())
}

fn read(path: &Path) -> Result<Report, Failure> {
    Report::read(path).map_err(|error| failure(&error.into()))
}

fn failure(error: &BenchError) -> Failure {
    let what = "nothing was measured";
    let failure = if error.is_usage() {
        Failure::usage(what, "")
    } else {
        Failure::new(ExitStatus::Failed, what, "")
    };
    failure.because(error)
}

/// What is being done: a bar on a terminal, else a line for each step, on standard error.
struct Bar {
    bar: ProgressBar,
    is_terminal: bool,
    what: String,
}

impl Bar {
    fn new() -> Self {
        let is_terminal = io::stderr().is_terminal();
        let bar = if is_terminal {
            ProgressBar::new(0)
        } else {
            ProgressBar::hidden()
        };
        let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} {eta}");
        let bar = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self {
            bar,
            is_terminal,
            what: String::new(),
        }
    }

    fn tell(&mut self, what: &str, done: u64, total: u64) {
        if self.what != what {
            what.clone_into(&mut self.what);
            self.bar.set_message(self.what.clone());
            if !self.is_terminal && writeln!(io::stderr(), "{what}").is_err() {
                tracing::debug!("standard error is closed");
            }
        }
        self.bar.set_length(total.max(1));
        self.bar.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
