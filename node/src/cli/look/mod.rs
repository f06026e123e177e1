//! What an operator of a validator looks at: `validators`, `consensus status`, `evidence`. Asked of the running node
//! over its HTTP port; where none runs, read from the data directory.

mod ask;
mod table;
mod validators;
mod consensus;
mod evidence;
mod checkpoints;

use super::access;
use super::arguments::{ConsensusCommand, LookArguments};
use super::init::{of_store, open_data};
use super::output::Output;
use super::progress::bar;
use super::settings::Settings;
use super::{ExitStatus, Failure};
use crate::api::Topic;
use crate::config::Config;
use crate::overview::Overview;
use crate::replica::{Checkpoints, ReplicaView};
use crate::store::Store;
use ask::AskError;
use selfchain_types::KeyId;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

pub(super) fn validators(
    arguments: &LookArguments,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let value = look(Topic::Validators, arguments, settings, output)?;
    output.result(&validators::text(&value), &value)
}

pub(super) fn consensus(
    command: &ConsensusCommand,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let ConsensusCommand::Status(arguments) = command;
    let value = look(Topic::Consensus, arguments, settings, output)?;
    output.result(&consensus::text(&value), &value)
}

pub(super) fn evidence(
    arguments: &LookArguments,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let value = look(Topic::Evidence, arguments, settings, output)?;
    output.result(&evidence::text(&value), &value)
}

pub(super) fn checkpoints(
    arguments: &LookArguments,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let value = look(Topic::Checkpoints, arguments, settings, output)?;
    output.result(&checkpoints::text(&value), &value)
}

fn what(of: Topic) -> &'static str {
    match of {
        Topic::Validators => "cannot show the validators",
        Topic::Consensus => "cannot show where agreement is",
        Topic::Evidence => "cannot show the evidence",
        Topic::Checkpoints => "cannot show the checkpoints",
    }
}

/// The object of a topic.
fn look(of: Topic, arguments: &LookArguments, settings: &Settings, output: Output) -> Result<Value, Failure> {
    let config = settings.resolve()?.config;
    let me = access::read_key(&config.node_key_path()).ok().map(|key| key.id());
    let address = arguments.http.or(config.http.listen);
    let deadline = Duration::from_millis(arguments.deadline_ms.max(1));
    match address.filter(|_| !arguments.offline) {
        None => {}
        Some(address) => match ask::ask(address, of, deadline) {
            Ok(value) if arguments.http.is_some() || is_mine(&value, me) => return Ok(value),
            // Another directory's node listens there.
            Ok(_) => {}
            Err(AskError::Closed { .. }) if arguments.http.is_none() => {}
            Err(error) => {
                let next = "name the node's HTTP port with --http ADDRESS (http.listen), or stop it and use --offline";
                return Err(Failure::new(ExitStatus::Unreachable, what(of), next).because(&error));
            }
        },
    }
    read(of, &config, me, output)
}

/// Whether a node answered that has the key of this data directory.
fn is_mine(value: &Value, me: Option<KeyId>) -> bool {
    me.is_none_or(|me| value["key_id"] == me.0.to_hex())
}

/// The same from the data directory of a stopped node.
fn read(of: Topic, config: &Config, me: Option<KeyId>, output: Output) -> Result<Value, Failure> {
    let disk = open_data(what(of), &config.data_dir)?;
    let failed = |error: &_| of_store(what(of).into(), error);
    let mut store = Store::open(Arc::new(disk), &config.store_config()).map_err(|error| failed(&error))?;
    let bar = bar("recovering", output.is_json);
    let log = store.log_reader();
    let chain = store.recover(&mut |progress| {
        bar.set_length(progress.tip.0);
        bar.set_position(progress.height.0);
    });
    bar.finish_and_clear();
    let chain = chain.map_err(|error| failed(&error))?;
    let mut view = ReplicaView::of_chain(&chain, &*log);
    if of == Topic::Evidence {
        let bar = self::bar("reading the log", output.is_json);
        view.read_all(&chain, &*log, &mut |height, tip| {
            bar.set_length(tip.0);
            bar.set_position(height.0);
        })
        .map_err(|error| failed(&error.into()))?;
        bar.finish_and_clear();
    }
    if of == Topic::Checkpoints {
        let checkpoints = Checkpoints::follow_all(&store.genesis, Arc::clone(&store.checkpoints));
        let checkpoints = checkpoints.map_err(|error| {
            let next = "the others send them again: move the file `checkpoints` away, and start the node";
            Failure::new(ExitStatus::Corrupt, what(of), next).because(&error)
        })?;
        view.checkpoints = checkpoints.as_ref().map(Checkpoints::view);
    }
    let overview = Overview {
        genesis: &store.genesis,
        view: &view,
        me,
        links: None,
    };
    Ok(match of {
        Topic::Validators => overview.validators(),
        Topic::Consensus => overview.consensus(),
        Topic::Evidence => overview.evidence(),
        Topic::Checkpoints => overview.checkpoints(),
    })
}

/// Said before everything else where no node was asked.
fn still(value: &Value) -> &'static str {
    if value["is_live"] == true {
        ""
    } else {
        "no node runs on this data directory: this is what its log says\n"
    }
}

/// The first characters of a key or hash: enough to tell one from another.
fn short(hex: &Value) -> String {
    hex.as_str()
        .map_or_else(|| "-".into(), |hex| hex.chars().take(SHORT).collect())
}

const SHORT: usize = 12;

/// The network that qualities are by, and the one that waits to take its place; `None` where there are none.
fn network(value: &Value) -> Option<String> {
    let network = value["network"].is_string().then(|| short(&value["network"]))?;
    Some(if value["next_network"].is_string() {
        format!(
            "{network}; from the next epoch on {}",
            short(&value["next_network"])
        )
    } else {
        network
    })
}

/// A part of a whole in percent, rounded down; `-` where either is not known.
fn percent(part: &Value, of: &Value) -> String {
    let share = part.as_u64().zip(of.as_u64()).and_then(|(part, of)| {
        let thousandths = u128::from(part) * 1_000;
        thousandths.checked_div(u128::from(of))
    });
    share.map_or_else(|| "-".into(), |share| format!("{}.{} %", share / 10, share % 10))
}

/// A number with its thousands told apart; `-` where it is not known.
fn number(value: &Value) -> String {
    value.as_u64().map_or_else(|| "-".into(), crate::demo::grouped)
}

#[cfg(test)]
#[path = "look_tests.rs"]
mod tests;
