//! `init`: makes a data directory that `run` can start from.

use super::arguments::{AccountIdsArgument, InitArguments};
use super::output::Output;
use super::settings::Settings;
use super::{ExitStatus, Failure};
use crate::config::{Config, Resolved, Scoring, annotated};
use crate::keys;
use crate::store::{GENESIS_BYTES_MAX, Store, StoreError};
use selfchain_storage::FileDisk;
use selfchain_types::Genesis;
use selfchain_types::crypto::{Scheme, SigningKey};
use selfchain_types::genesis::AccountIds;
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

pub(super) fn init(arguments: &InitArguments, settings: &Settings, output: Output) -> Result<(), Failure> {
    let resolved = settings.resolve_without_file()?;
    let config = &resolved.config;
    let dir = config.data_dir.clone();
    let failed = || format!("cannot make a chain in {}", dir.display());
    let disk = FileDisk::open(&dir)
        .map_err(|error| Failure::new(ExitStatus::Failed, failed(), "").because(&error))?;
    let exists = Store::exists(&disk).map_err(|error| of_store(failed(), &error))?;
    if exists {
        let next = "name another directory with --data, or remove that one yourself";
        return Err(Failure::usage(failed(), next).because(&StoreError::Initialised));
    }
    let there = match &arguments.genesis {
        Some(path) => Some(beside(path, &resolved)?),
        None => None,
    };
    let pq_votes = there
        .as_ref()
        .map_or(arguments.pq_votes, |(genesis, _)| genesis.pq_votes);
    let key = keys::open_or_create_of(&config.node_key_path(), vote_scheme(pq_votes))
        .map_err(|error| Failure::new(ExitStatus::Failed, failed(), "").because(&error))?;
    let (genesis, chosen) = match there {
        Some(there) => there,
        None => (genesis(arguments, &key)?, resolved.said()),
    };
    // The genesis comes last: a directory without one is no chain, and `init` may be called again.
    write_config(&config.file_path(), &chosen)
        .map_err(|error| Failure::new(ExitStatus::Failed, failed(), "").because(&error))?;
    Store::create(&disk, &genesis).map_err(|error| of_store(failed(), &error))?;

    let data = dir.display().to_string();
    let next = match &arguments.genesis {
        Some(_) => joining(&data, &chosen),
        None => vec![
            format!("selfchain run --data {data}"),
            format!("selfchain asset create 978 --scale 2 --data {data}"),
            format!("selfchain account open 1 --asset 978 --data {data}"),
        ],
    };
    let value = json!({
        "data_dir": data,
        "chain_id": genesis.chain_id().to_hex(),
        "name": genesis.name,
        "key_id": key.id().to_string(),
        "scheme": key.public().scheme().name(),
        "server_key": keys::hex(&key.public().classical()).as_str(),
        "config": config.file_path().display().to_string(),
        "next": next,
    });
    let text = format!(
        "made {} {} ({}) in {data}\nthe node's key has id {}\n\nnext:\n  {}\n",
        if arguments.genesis.is_some() {
            "a node of chain"
        } else {
            "chain"
        },
        genesis.chain_id(),
        genesis.name,
        key.id(),
        next.join("\n  "),
    );
    output.result(&text, &value)
}

/// What a node of a new chain signs with.
pub(super) fn vote_scheme(pq_votes: bool) -> Scheme {
    if pq_votes {
        Scheme::Ed25519MlDsa65
    } else {
        Scheme::Ed25519
    }
}

fn genesis(arguments: &InitArguments, key: &SigningKey) -> Result<Genesis, Failure> {
    let mut salt = [0; 8];
    getrandom::fill(&mut salt)
        .map_err(|error| Failure::new(ExitStatus::Failed, format!("no random numbers: {error}"), ""))?;
    let account_ids = match arguments.account_ids {
        AccountIdsArgument::Free => AccountIds::Free,
        AccountIdsArgument::Derived => AccountIds::Derived,
    };
    let solo = Genesis::solo(&arguments.name, u64::from_le_bytes(salt), key.public().clone());
    Ok(Genesis { account_ids, ..solo })
}

/// The genesis of a chain that is there, and the configuration of one more node of it: where it has several validators
/// one that listens for them, after its other ports, and remembers what models will look at.
fn beside(path: &Path, resolved: &Resolved) -> Result<(Genesis, Config), Failure> {
    let what = || format!("cannot make a node of the chain of {}", path.display());
    let next = "name the file `genesis` of a data directory of the chain";
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(GENESIS_BYTES_MAX).read_to_end(&mut bytes))
        .map_err(|error| Failure::usage(what(), next).because(&error))?;
    let genesis = Genesis::decode(&bytes).map_err(|error| Failure::usage(what(), next).because(&error))?;
    let mut chosen = resolved.said();
    if genesis.validators.len() > 1 {
        chosen.ai.scoring = Scoring::On;
        let mut listen = resolved.config.ingest.listen;
        listen.set_port(listen.port().saturating_add(VALIDATOR_PORT));
        chosen.validator.listen = resolved.config.validator.listen.or(Some(listen));
    }
    Ok((genesis, chosen))
}

/// A node's port for validators comes so many after its port for clients.
const VALIDATOR_PORT: u16 = 2;

/// How a new node becomes a validator.
fn joining(data: &str, chosen: &Config) -> Vec<String> {
    let address = chosen
        .validator
        .listen
        .map_or_else(String::new, |listen| listen.to_string());
    vec![
        format!("selfchain run --data {data}"),
        format!(
            "selfchain validator join --bond UNITS --account NUMBER --address {address} --key {data}/node.key \
             --owner KEY_FILE --data A_VALIDATORS_DIRECTORY"
        ),
    ]
}

/// Writes the annotated file, and leaves one that is there alone.
fn write_config(path: &Path, chosen: &Config) -> std::io::Result<()> {
    // The file lies in the directory that it would name.
    let chosen = Config {
        data_dir: Config::default().data_dir,
        ..chosen.clone()
    };
    write_config_to(path, &chosen)
}

/// Writes an annotated file, and leaves one that is there alone.
pub(super) fn write_config_to(path: &Path, chosen: &Config) -> std::io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(mut file) => {
            file.write_all(annotated(chosen).as_bytes())?;
            file.sync_all()
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// A failed store: exit code 5 where the data does not hold.
pub(super) fn of_store(what: String, error: &StoreError) -> Failure {
    let status = match error {
        StoreError::Verify(_) | StoreError::Genesis(_) | StoreError::Restore { .. } => ExitStatus::Corrupt,
        StoreError::Log(selfchain_types::seam::log::LogError::Corrupt { .. }) => ExitStatus::Corrupt,
        _ => ExitStatus::Failed,
    };
    let next = match error {
        StoreError::NotInitialised => "selfchain init",
        _ if status == ExitStatus::Corrupt => {
            "restore the directory from a backup, or name another with --data"
        }
        _ => "",
    };
    Failure::new(status, what, next).because(error)
}

/// Opens the data directory of a node that is not running.
pub(super) fn open_data(what: &str, dir: &Path) -> Result<FileDisk, Failure> {
    if !dir.is_dir() {
        let next = "name the directory with --data, or make one with `selfchain init`";
        return Err(Failure::usage(
            format!("{what}: there is no directory {}", dir.display()),
            next,
        ));
    }
    FileDisk::open(dir).map_err(|error| {
        let next = "one process at a time can have it open: stop the node first";
        Failure::new(
            ExitStatus::Failed,
            format!("{what}: cannot open {}", dir.display()),
            next,
        )
        .because(&error)
    })
}
