//! A UDP relay with delay, jitter and loss, as a program for scripts that join network namespaces.
//!
//! `cargo run --release -p selfchain-tests --bin relay -- LISTEN TARGET [DELAY_MS [JITTER_MS [LOSS_PERCENT [SEED]]]]`
//! runs until its standard input ends. A line `DELAY_MS JITTER_MS LOSS_PERCENT` there changes the path: loss 100
//! is a partition. Prints where it listens, and at the end what it passed on and lost.

use selfchain_tests::relay::{Path, Relay};
use std::io::BufRead;
use std::process::ExitCode;
use std::time::Duration;

const USAGE: &str = "relay LISTEN TARGET [DELAY_MS [JITTER_MS [LOSS_PERCENT [SEED]]]]";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("relay: {error}\nusage: {USAGE}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let listen = arguments.next().ok_or("LISTEN is missing")?.parse()?;
    let target = arguments.next().ok_or("TARGET is missing")?.parse()?;
    let numbers: Vec<String> = arguments.collect();
    let seed = numbers.get(3).map_or(Ok(0), |seed| seed.parse())?;
    let relay = Relay::start(listen, target, path_of(&numbers)?, seed)?;
    println!("{}", relay.address());
    for line in std::io::stdin().lock().lines() {
        let words: Vec<String> = line?.split_whitespace().map(str::to_owned).collect();
        relay.set_path(path_of(&words)?);
    }
    let relayed = relay.relayed();
    println!("passed {} lost {}", relayed.passed, relayed.lost);
    Ok(())
}

/// Delay and jitter in milliseconds, loss in whole percent; what is missing is 0.
fn path_of(words: &[String]) -> Result<Path, std::num::ParseIntError> {
    let number = |at: usize| words.get(at).map_or(Ok(0), |word| word.parse::<u32>());
    Ok(Path {
        delay: Duration::from_millis(u64::from(number(0)?)),
        jitter: Duration::from_millis(u64::from(number(1)?)),
        loss_per_million: number(2)?.saturating_mul(10_000),
    })
}
