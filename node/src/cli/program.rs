//! The program: reads arguments and environment once, calls the command, turns its end into an exit code.

use super::arguments::{Arguments, Command};
use super::output::Output;
use super::settings::Settings;
use super::{
    ExitStatus, Failure, account, ai, asset, bench, config, demo, events, init, keys, look, report, review,
    run, snapshot, testnet, transaction, transfer, validator, verify,
};
use clap::{CommandFactory, Parser};
use std::ffi::OsString;

/// Runs the program with these arguments (the first is its name) and this environment.
pub fn main(
    arguments: impl IntoIterator<Item = OsString>,
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitStatus {
    let words: Vec<OsString> = arguments.into_iter().collect();
    let is_json = words.iter().any(|word| word == "--json");
    let arguments = match Arguments::try_parse_from(words) {
        Ok(arguments) => arguments,
        Err(error) => {
            if is_json && error.use_stderr() {
                let text = error.to_string();
                let what = text
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .trim_start_matches("error: ");
                Output { is_json }.failure(&Failure::usage(what, "selfchain --help"));
                return ExitStatus::Usage;
            }
            let status = if error.use_stderr() {
                ExitStatus::Usage
            } else {
                ExitStatus::Done
            };
            // Without standard output or error the exit code is all that is left to say.
            return error.print().map_or(ExitStatus::Failed, |()| status);
        }
    };
    let output = Output {
        is_json: arguments.json,
    };
    let settings = Settings {
        file: arguments.config,
        flags: arguments.keys,
        unused_ports: arguments.unused_ports,
        env: env.into_iter().collect(),
    };
    match dispatch(arguments.command, &settings, output) {
        Ok(()) => ExitStatus::Done,
        Err(failure) => {
            // What is done or held was said already, and only the exit code is left to say.
            if !matches!(failure.status, ExitStatus::Done | ExitStatus::Held) {
                output.failure(&failure);
            }
            failure.status
        }
    }
}

fn dispatch(command: Command, settings: &Settings, output: Output) -> Result<(), Failure> {
    match command {
        Command::Init(arguments) => init::init(&arguments, settings, output),
        Command::Testnet(arguments) => testnet::testnet(&arguments, settings, output),
        Command::Run => run::run(settings, output),
        Command::Keys(command) => keys::keys(command, settings, output),
        Command::Account(command) => account::account(command, settings, output),
        Command::Asset(command) => asset::asset(command, settings, output),
        Command::Validator(command) => validator::validator(&command, settings, output),
        Command::Transfer(arguments) => transfer::transfer(&arguments, settings, output),
        Command::Hold(command) => review::hold(&command, settings, output),
        Command::Policy(command) => review::policy(&command, settings, output),
        Command::Model(command) => review::model(&command, settings, output),
        Command::Report(arguments) => report::report(&arguments, settings, output),
        Command::Tx(arguments) => transaction::tx(&arguments, settings, output),
        Command::Block(arguments) => transaction::block(&arguments, settings, output),
        Command::Events(arguments) => events::events(&arguments, settings, output),
        Command::Validators(arguments) => look::validators(&arguments, settings, output),
        Command::Consensus(command) => look::consensus(&command, settings, output),
        Command::Checkpoints(arguments) => look::checkpoints(&arguments, settings, output),
        Command::Evidence(arguments) => look::evidence(&arguments, settings, output),
        Command::Verify => verify::verify(settings, output),
        Command::Snapshot(command) => snapshot::snapshot(&command, settings, output),
        Command::Ai(command) => ai::ai(command, settings, output),
        Command::Bench { words } => bench::bench(&words, output),
        Command::Demo(arguments) => demo::demo(arguments, settings, output),
        Command::Config(command) => config::config(&command, settings, output),
        Command::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut Arguments::command(),
                "selfchain",
                &mut std::io::stdout(),
            );
            Ok(())
        }
    }
}

#[cfg(test)]
#[path = "program_tests.rs"]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
