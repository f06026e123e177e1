//! `demo`: streams transfers through a node of its own, and checks what came of them.

use super::ai::read_model;
use super::init::of_store;
use super::output::Output;
use super::settings::Settings;
use super::{ExitStatus, Failure};
use crate::bench::PlaneArgument;
use crate::demo::{
    DemoError, HOLD_DEFAULT, Options, ReplayOptions, ScoreOptions, Screen, SourceOptions, Speed, Summary,
    TrafficOptions, run,
};
use crate::node::ScoreWhen;
use clap::{Args, value_parser};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io;
use std::path::{Path, PathBuf};
use std::process::exit;
use std::sync::Arc;
use std::thread;
use tokio::runtime::Builder;

/// What to stream. Without --input transfers are generated: most between a few busy accounts, in bursts, some
/// refused for lack of funds. With it they are real ones, in the file's order, at the file's ledger time.
#[derive(Args, Clone, Debug)]
pub(super) struct DemoArguments {
    /// How long to stream [default: 10, or as long as --input lasts].
    #[arg(long, value_name = "S", value_parser = value_parser!(u64).range(1..=604_800))]
    seconds: Option<u64>,
    /// Transfers to replay: CSV, plain or gzip, with columns time (unix seconds), from, to, and amount or
    /// amount_<unit>.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Opening balances: CSV, plain or gzip, with columns account, and opening or opening_<unit>.
    #[arg(long, value_name = "FILE", requires = "input")]
    openings: Option<PathBuf>,
    /// Recorded seconds in one second, or max: as fast as the node commits.
    #[arg(long, value_name = "X", default_value_t = Speed::Max, requires = "input")]
    speed: Speed,
    /// Score the file's transfers: `default` by the model that comes with the program, a model FILE, or `off`.
    #[arg(long, value_name = "MODEL", default_value = "default", requires = "input")]
    model: String,
    /// Hold transfers with this score or more (127 is even odds, 16 more a factor e); they are settled a day of
    /// ledger time later: voided if labelled as fraud, else released. 255 holds nothing.
    #[arg(long, value_name = "SCORE", default_value_t = HOLD_DEFAULT, requires = "input")]
    hold: u8,
    /// Generated transfers a second, on average.
    #[arg(long, value_name = "N", default_value_t = TrafficOptions::default().rate_per_s, conflicts_with = "input")]
    rate: u64,
    /// Accounts between which generated transfers go.
    #[arg(long, value_name = "N", default_value_t = TrafficOptions::default().accounts, conflicts_with = "input")]
    accounts: u64,
    /// How many validators agree on every block, all in this process; 1 orders alone. With several the times of --input
    /// are not the ledger's, and scores see those of the blocks.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u16).range(1..=16))]
    validators: u16,
    /// How several validators agree.
    #[arg(long, value_enum, default_value_t = PlaneArgument::Stake)]
    plane: PlaneArgument,
    /// Validators sign with Ed25519 and ML-DSA-65.
    #[arg(long)]
    pq_votes: bool,
    /// Decides which transfers are generated.
    #[arg(long, value_name = "N", default_value_t = TrafficOptions::default().seed, conflicts_with = "input")]
    seed: u64,
}

impl DemoArguments {
    fn options(self, settings: &Settings) -> Result<Options, Failure> {
        let time_max = self.seconds.map(Duration::from_secs);
        let source = match self.input {
            Some(input) => SourceOptions::Replay(ReplayOptions {
                input,
                openings: self.openings,
                speed: self.speed,
                scoring: scoring(&self.model, self.hold)?,
                keeps_time: self.validators == 1,
            }),
            None => {
                let defaults = TrafficOptions::default();
                SourceOptions::Traffic(TrafficOptions {
                    duration: time_max.unwrap_or(defaults.duration),
                    rate_per_s: self.rate,
                    accounts: self.accounts,
                    seed: self.seed,
                    ..defaults
                })
            }
        };
        // The directory is not that of the configuration: a demo writes where it is told to, or nowhere for long.
        let data = settings.flags.0.iter().find(|(key, _)| key == "data_dir");
        let key_log = settings.env.iter().find(|(name, _)| name == "SSLKEYLOGFILE");
        let config = settings.resolve_without_file()?.config;
        let mut node = config.node_config(key_log.map(|(_, path)| path.clone()));
        if let SourceOptions::Replay(ReplayOptions {
            scoring: Some(scoring),
            ..
        }) = &source
        {
            node.scoring.when = ScoreWhen::On;
            node.scoring.models = vec![Arc::clone(&scoring.model)];
        }
        Ok(Options {
            time_max: time_max.filter(|_| matches!(source, SourceOptions::Replay(_))),
            source,
            data: data.map(|(_, path)| PathBuf::from(path)),
            node,
            validators: self.validators,
            plane: self.plane.into(),
            pq_votes: self.pq_votes,
        })
    }
}

fn scoring(model: &str, hold: u8) -> Result<Option<ScoreOptions>, Failure> {
    let model = match model {
        "off" => return Ok(None),
        "default" => read_model(None)?,
        path => read_model(Some(Path::new(path)))?,
    };
    Ok(Some(ScoreOptions {
        model: Arc::new(model),
        hold,
    }))
}

pub(super) fn demo(arguments: DemoArguments, settings: &Settings, output: Output) -> Result<(), Failure> {
    let options = arguments.options(settings)?;
    let stop = Arc::new(AtomicBool::new(false));
    stop_on_interrupt(Arc::clone(&stop));
    let mut screen = Screen::new();
    let ended = run(&options, &stop, &mut screen);
    screen.clear();
    let summary = ended.map_err(|error| failure(&error))?;
    let value = serde_json::to_value(&summary)
        .map_err(|error| Failure::new(ExitStatus::Failed, "cannot write the summary", "").because(&error))?;
    output.result(&summary.to_string(), &value)?;
    if summary.holds() {
        Ok(())
    } else {
        Err(does_not_hold(&summary))
    }
}

fn does_not_hold(summary: &Summary) -> Failure {
    let what = match (&summary.verify.error, &summary.balances) {
        (Some(error), _) => format!("the log does not hold: {error}"),
        (None, Some(balances)) => format!(
            "{} balances differ from the fold of the file",
            balances.mismatched
        ),
        (None, None) if !summary.validators_agree() => "the validators stand at different blocks".to_owned(),
        (None, None) => "the summary does not hold".to_owned(),
    };
    Failure::new(
        ExitStatus::Corrupt,
        what,
        "run it again with --data, keep the directory, and report it",
    )
}

fn failure(error: &DemoError) -> Failure {
    match error {
        DemoError::Option { .. } | DemoError::Input(_) | DemoError::Workload(_) => {
            Failure::usage("the demo was not started", "").because(error)
        }
        DemoError::Store(error) => of_store("the demo was not started".into(), error),
        DemoError::Client(error) => Failure::of_client("the demo ended early", error),
        error => Failure::new(ExitStatus::Failed, "the demo ended early", "").because(error),
    }
}

/// The first ctrl-c ends the stream, the second the process.
fn stop_on_interrupt(stop: Arc<AtomicBool>) {
    let listen = move || -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(tokio::signal::ctrl_c())?;
        stop.store(true, Ordering::Relaxed);
        runtime.block_on(tokio::signal::ctrl_c())?;
        exit(INTERRUPTED)
    };
    let listener = thread::Builder::new().name("interrupt".into()).spawn(move || {
        if let Err(error) = listen() {
            tracing::warn!(error = %error, "ctrl-c is not heard");
        }
    });
    if let Err(error) = listener {
        tracing::warn!(error = %error, "ctrl-c ends the process at once");
    }
}

/// What a shell reports of a process that an interrupt ended.
const INTERRUPTED: i32 = 130;
