//! `simulate`: runs seeds of the simulator until one breaks; each repeats bit for bit.

use flate2::Compression;
use flate2::write::GzEncoder;
use selfchain::types::genesis::Plane;
use selfchain::types::quality::Network;
use selfchain_consensus::poai::quality::{by_hand, flat};
use selfchain_tests::simulator::{Broken, Control, Plan, compare, header, judge, run_alone, speed, traces};
use std::fmt::Display;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

const USAGE: &str = "\
simulate --seed S [--count N | --forever] [--plane stake|poai] [--validators V] [--heights H] [--calm] [--compare | --speed | --networks FILE,FILE | --traces FILE] [--control WHAT]
  --seed S         the first seed
  --count N        how many seeds, one after another [default: 1]
  --forever        goes on until one breaks
  --plane P        how validators stand and who proposes: stake or poai [default: stake]
  --validators V   how many validators [default: 4]
  --heights H      the height that all honest ones must reach [default: 50]
  --calm           nothing goes wrong: for speed
  --compare        both planes to H heights on one network of seven: whole, and with a dead, a slow, a starving and a
                   Byzantine proposer
  --speed          heights in a second of processor time, over H of them
  --networks F,F   the plane poai to H heights with these quality networks: files, `flat` or `by-hand`
  --traces FILE    what evidence says of validators and what choosing them costs, in N runs: CSV, gzip if it ends in .gz
  --control WHAT   takes a safeguard away: no-journal, no-bodies, broken-quorum or unlimited-objections; then a seed
                   that holds proves nothing
Exit codes: 0 every checker held, 1 one did not, 2 wrong usage.";

struct Options {
    seed: u64,
    count: u64,
    plane: Plane,
    validators: u16,
    heights: u64,
    is_calm: bool,
    is_comparing: bool,
    is_for_speed: bool,
    networks: Option<String>,
    traces: Option<PathBuf>,
    control: Control,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        seed: 0,
        count: 1,
        plane: Plane::Stake,
        validators: 4,
        heights: 50,
        is_calm: false,
        is_comparing: false,
        is_for_speed: false,
        networks: None,
        traces: None,
        control: Control::None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} takes a value"));
        let number = |text: String| {
            text.parse::<u64>()
                .map_err(|_| format!("{text} is no whole number"))
        };
        match word.as_str() {
            "--seed" => options.seed = number(value()?)?,
            "--count" => options.count = number(value()?)?,
            "--forever" => options.count = u64::MAX,
            "--plane" => {
                options.plane = match value()?.as_str() {
                    "stake" => Plane::Stake,
                    "poai" => Plane::Poai,
                    other => return Err(format!("several validators cannot run the plane {other}")),
                }
            }
            "--validators" => {
                let got = number(value()?)?;
                let validators = u16::try_from(got).ok().filter(|count| (2..=64).contains(count));
                options.validators =
                    validators.ok_or(format!("{got} validators: from 2 to 64 are possible"))?;
            }
            "--heights" => options.heights = number(value()?)?,
            "--calm" => options.is_calm = true,
            "--compare" => options.is_comparing = true,
            "--speed" => options.is_for_speed = true,
            "--networks" => options.networks = Some(value()?),
            "--traces" => options.traces = Some(value()?.into()),
            "--control" => {
                let name = value()?;
                let found = Control::ALL.into_iter().find(|control| control.name() == name);
                options.control = found.ok_or(format!("no control is called {name}"))?;
            }
            other => return Err(format!("{other} is not known")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    if std::env::args().any(|word| word == "--help" || word == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if options.is_comparing {
        return report(compare(options.seed, options.heights));
    }
    if options.is_for_speed {
        return report(speed(options.seed, options.plane, options.heights));
    }
    if let Some(path) = &options.traces {
        return said(write_traces(path, options.seed, options.count));
    }
    if let Some(names) = &options.networks {
        return said(judge_networks(names, options.seed, options.heights));
    }
    let began = Instant::now();
    let (mut heights, mut crashes) = (0, 0);
    for seed in (options.seed..).take(usize::try_from(options.count).unwrap_or(usize::MAX)) {
        let plan = if options.is_calm {
            Plan::calm(seed, options.plane, options.validators, options.heights)
        } else {
            Plan::of_seed(seed, options.plane, options.validators, options.heights)
        };
        let plan = plan.without(options.control);
        match run_alone(&plan) {
            Ok(outcome) => {
                heights += outcome.height;
                crashes += outcome.crashes;
                println!(
                    "seed {seed}: holds. {} heights in {:.3} s of virtual time, {} later rounds (highest {}), \
                     {} power cuts, {} sets, {} transactions, {} held, {} blocks scored, {} disputed, {} messages, trace {}",
                    outcome.height,
                    seconds(outcome.virtual_ns),
                    outcome.later_rounds,
                    outcome.round_max,
                    outcome.crashes,
                    outcome.sets,
                    outcome.transactions,
                    outcome.held,
                    outcome.scored,
                    outcome.disputed,
                    outcome.messages,
                    outcome.trace,
                );
            }
            Err(broken) => {
                println!("seed {seed}: BROKEN: {broken}\nrepeat: {}", plan.command());
                return ExitCode::FAILURE;
            }
        }
    }
    let took = began.elapsed().as_secs_f64();
    println!("all held: {heights} heights, {crashes} power cuts in {took:.1} s");
    ExitCode::SUCCESS
}

fn report<T: Display>(result: Result<T, Broken>) -> ExitCode {
    match result {
        Ok(figures) => {
            print!("{figures}");
            ExitCode::SUCCESS
        }
        Err(broken) => {
            println!("BROKEN: {broken}");
            ExitCode::FAILURE
        }
    }
}

fn said(done: Result<String, String>) -> ExitCode {
    match done {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Most runs of a file of traces.
const TRACED_MAX: u64 = 10_000;

fn write_traces(path: &Path, seed: u64, count: u64) -> Result<String, String> {
    if count > TRACED_MAX {
        return Err(format!("{count} runs: at most {TRACED_MAX} fit a file"));
    }
    let failed = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
    let file = BufWriter::new(File::create(path).map_err(failed)?);
    let mut out: Box<dyn Write> = if path.extension().is_some_and(|extension| extension == "gz") {
        Box::new(GzEncoder::new(file, Compression::best()))
    } else {
        Box::new(file)
    };
    writeln!(out, "{}", header()).map_err(failed)?;
    let (began, mut rows) = (Instant::now(), 0);
    for seed in (seed..).take(usize::try_from(count).unwrap_or(usize::MAX)) {
        let traces = traces(seed).map_err(|broken| format!("seed {seed}: BROKEN: {broken}"))?;
        for trace in &traces {
            writeln!(out, "{trace}").map_err(failed)?;
        }
        rows += traces.len();
        let took = began.elapsed().as_secs_f64();
        eprintln!(
            "seed {seed}: {} rows, {rows} in all after {took:.0} s",
            traces.len()
        );
    }
    out.flush().map_err(failed)?;
    Ok(format!("{rows} rows of {count} runs in {}\n", path.display()))
}

fn judge_networks(names: &str, seed: u64, heights: u64) -> Result<String, String> {
    let mut networks = Vec::new();
    for name in names.split(',') {
        let network = match name {
            "flat" => flat(),
            "by-hand" => by_hand(),
            path => {
                let bytes = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
                Network::decode(&bytes).map_err(|error| format!("{path}: {error}"))?
            }
        };
        networks.push((name.to_owned(), Arc::new(network)));
    }
    let judged = judge(seed, heights, &networks).map_err(|broken| format!("BROKEN: {broken}"))?;
    Ok(judged.to_string())
}

fn seconds(ns: u64) -> f64 {
    std::time::Duration::from_nanos(ns).as_secs_f64()
}
