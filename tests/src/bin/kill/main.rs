//! Kills a real node at random instants under load, and checks after every restart that nothing acknowledged is
//! lost, nothing is applied twice, every counter goes on, and the log verifies.
//!
//! `cargo run --release -p selfchain-tests --bin kill -- --cycles 1000 [--seed S] [--verify-every K] [--json FILE]`.
//! Exits with 0 only when all of it holds; else it names the data directory, which it keeps, and the command that
//! repeats the run. The instants come from the seed; how far the node is at each is the machine's.

mod options;
mod run;
mod check;
mod load;
mod node;
mod model;

use options::Options;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

type Checked<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, directory] = &arguments[..]
        && flag == "--node"
    {
        return ended(node::serve(Path::new(directory)));
    }
    // The program itself, for tests that look at a whole process: this is linked with all of it anyway.
    if arguments.first().is_some_and(|word| word == "program") {
        let status = selfchain::cli::main(std::env::args_os().skip(1), std::env::vars_os());
        return status.code().into();
    }
    ended(Options::read(&arguments).and_then(|options| run::run(&options)))
}

fn ended(result: Checked<()>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    let mut cause: Option<&dyn Error> = Some(&*error);
    while let Some(one) = cause {
        eprintln!("kill: {one}");
        cause = one.source();
    }
    ExitCode::FAILURE
}
