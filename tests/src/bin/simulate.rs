//! `simulate`: runs seeds of the simulator until one breaks; each repeats bit for bit.

use selfchain::types::genesis::Plane;
use selfchain_tests::simulator::{Control, Plan, compare, run};
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "\
simulate --seed S [--count N | --forever] [--plane stake|poai] [--validators V] [--heights H] [--calm] [--compare] [--control no-journal|no-bodies|no-acknowledgements]
  --seed S         the first seed
  --count N        how many seeds, one after another [default: 1]
  --forever        goes on until one breaks
  --plane P        how validators stand and who proposes: stake or poai [default: stake]
  --validators V   how many validators [default: 4]
  --heights H      the height that all honest ones must reach [default: 50]
  --calm           nothing goes wrong: for speed
  --compare        both planes to H heights on one network of seven, with a dead, a slow and a starving proposer
  --control WHAT   takes a safeguard away; then a seed that holds proves nothing
Exit codes: 0 every checker held, 1 one did not, 2 wrong usage.";

struct Options {
    seed: u64,
    count: u64,
    plane: Plane,
    validators: u16,
    heights: u64,
    is_calm: bool,
    is_comparing: bool,
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
            "--control" => {
                options.control = match value()?.as_str() {
                    "no-journal" => Control::NoJournal,
                    "no-bodies" => Control::NoBodies,
                    "no-acknowledgements" => Control::NoAcknowledgements,
                    other => return Err(format!("no control is called {other}")),
                }
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
        return match compare(options.seed, options.heights) {
            Ok(comparison) => {
                print!("{comparison}");
                ExitCode::SUCCESS
            }
            Err(broken) => {
                println!("BROKEN: {broken}");
                ExitCode::FAILURE
            }
        };
    }
    let began = Instant::now();
    let (mut heights, mut crashes) = (0, 0);
    for seed in (options.seed..).take(usize::try_from(options.count).unwrap_or(usize::MAX)) {
        let mut plan = if options.is_calm {
            Plan::calm(seed, options.plane, options.validators, options.heights)
        } else {
            Plan::of_seed(seed, options.plane, options.validators, options.heights)
        };
        plan.control = options.control;
        match run(&plan) {
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

fn seconds(ns: u64) -> f64 {
    std::time::Duration::from_nanos(ns).as_secs_f64()
}
