//! `testnet`: makes the data directories of several validators of one new chain, and says how to start them.

use super::ai::{MODELS_FOLDER, is_model_file, read_model, read_network};
use super::arguments::TestnetArguments;
use super::init::{of_store, vote_scheme, write_config_to};
use super::output::Output;
use super::settings::Settings;
use super::{ExitStatus, Failure};
use crate::config::{Config, PeerAddress, Peers, Scoring};
use crate::keys;
use crate::standing::{POWER_EACH, REVEALS, found, with_network};
use crate::store::Store;
use selfchain_ai::model::Predict;
use selfchain_storage::FileDisk;
use selfchain_types::crypto::{Scheme, SigningKey};
use selfchain_types::genesis::{Checkpointing, Plane};
use selfchain_types::quality::Network;
use selfchain_types::{AccountId, AssetId, Genesis, Hash};
use serde_json::json;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Ports that one validator takes: for clients, for HTTP, for the other validators; the rest are spare.
const PORTS_EACH: u16 = 10;
/// Blocks between two snapshots.
const SNAPSHOT_INTERVAL_BLOCKS: u64 = 16_384;
/// What bonds are units of. Nothing costs any.
const BOND_ASSET: AssetId = AssetId(978);
/// The account that bonds are pending towards, and where what offences cost goes.
const RESERVE: AccountId = AccountId(1_000_000);

/// The account on which the bond of one more validator may lie.
const BOND_ACCOUNT: AccountId = AccountId(1_000_001);
/// Numbers of issuance accounts, unless said otherwise, are those of their assets from here on.
const ISSUANCE_BASE: u128 = 1 << 64;

pub(super) fn testnet(
    arguments: &TestnetArguments,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let port_base = settings.resolve_without_file()?.config.port_base;
    let made = make(arguments, port_base)?;
    let commands: Vec<String> = made
        .directories
        .iter()
        .map(|directory| format!("selfchain run --data {}", directory.display()))
        .collect();
    let first = made.directories[0].display();
    let model = made
        .model
        .map_or_else(|| "default".to_owned(), |model| model.to_hex());
    let then = [
        format!("selfchain asset create 978 --scale 2 --data {first}"),
        format!("selfchain account open 1 --asset 978 --data {first}"),
        format!("selfchain account open {RESERVE} --asset 978 --data {first}"),
        format!("selfchain model activate {model} --data {first}"),
    ];
    let more = another(arguments, &made, port_base);
    let value = json!({
        "chain_id": made.genesis.chain_id().to_hex(),
        "plane": made.genesis.plane.name(),
        "model": made.model.map(|model| model.to_hex()),
        "validators": made.genesis.validators.len(),
        "directories": made.directories,
        "next": commands,
        "then": then,
        "another_validator": more,
    });
    let text = format!(
        "made chain {} with {} validators ({}) in {}\n\nnext, each in a terminal of its own:\n  {}\n\nthen:\n  {}\n\nanother validator, while they run:\n  {}\n",
        made.genesis.chain_id(),
        made.genesis.validators.len(),
        made.genesis.plane.name(),
        arguments.output.display(),
        commands.join("\n  "),
        then.join("\n  "),
        more.join("\n  "),
    );
    output.result(&text, &value)
}

/// What lets one more validator join, once the asset and the reserve are there.
fn another(arguments: &TestnetArguments, made: &Testnet, port_base: u16) -> Vec<String> {
    let first = made.directories[0].display();
    let count = arguments.validators;
    let data = arguments.output.join(format!("validator-{count}"));
    let data = data.display();
    let base = u32::from(port_base) + u32::from(PORTS_EACH) * u32::from(count);
    let issuance = ISSUANCE_BASE + u128::from(BOND_ASSET.0);
    vec![
        format!("selfchain init --genesis {first}/genesis --port-base {base} --data {data}"),
        format!("selfchain run --data {data}"),
        format!("selfchain account open {BOND_ACCOUNT} --asset {BOND_ASSET} --data {first}"),
        format!(
            "selfchain transfer --from {issuance} --to {BOND_ACCOUNT} --amount {POWER_EACH} --data {first}"
        ),
        format!(
            "selfchain validator join --bond {POWER_EACH} --account {BOND_ACCOUNT} --address 127.0.0.1:{} \
             --key {data}/node.key --owner {first}/node.key --data {first}",
            base + 2
        ),
    ]
}

/// A chain of several validators, each in a directory of its own.
struct Testnet {
    genesis: Genesis,
    directories: Vec<PathBuf>,
    /// The model that was given to all.
    model: Option<Hash>,
}

/// Makes the directories, and nothing where one of them is a chain already.
fn make(arguments: &TestnetArguments, port_base: u16) -> Result<Testnet, Failure> {
    let count = arguments.validators;
    let what = || {
        format!(
            "cannot make a chain of {count} validators in {}",
            arguments.output.display()
        )
    };
    let failed = |error: &(dyn std::error::Error + 'static)| {
        Failure::new(ExitStatus::Failed, what(), "").because(error)
    };
    let last_port = usize::from(port_base) + usize::from(PORTS_EACH) * usize::from(count);
    if last_port > usize::from(u16::MAX) {
        let next = "name a lower --port-base or fewer validators";
        return Err(Failure::usage(
            format!("{}: port {last_port} does not exist", what()),
            next,
        ));
    }
    let directories: Vec<PathBuf> = (0..count)
        .map(|at| arguments.output.join(format!("validator-{at}")))
        .collect();
    for directory in &directories {
        fs::create_dir_all(directory).map_err(|error| failed(&error))?;
        let disk = FileDisk::open(directory).map_err(|error| failed(&error))?;
        if Store::exists(&disk).map_err(|error| of_store(what(), &error))? {
            let next = "name another directory with --output, or remove that one yourself";
            return Err(Failure::usage(
                format!("{}: {} holds a chain already", what(), directory.display()),
                next,
            ));
        }
    }
    let model = match &arguments.model {
        Some(path) => Some(exact(path)?),
        None => None,
    };
    let network = quality(arguments)?;
    let scheme = vote_scheme(arguments.pq_votes);
    let mut signing = Vec::new();
    for directory in &directories {
        let path = directory.join(keys::NODE_KEY_FILE);
        signing.push(keys::open_or_create_of(&path, scheme).map_err(|error| failed(&error))?);
    }
    let mut genesis = match &network {
        Some(network) => with_network(genesis(arguments, &signing)?, network),
        None => genesis(arguments, &signing)?,
    };
    if arguments.checkpoints > 0 && !arguments.pq_votes {
        let key = |directory: &PathBuf| {
            let path = directory.join(keys::CHECKPOINT_KEY_FILE);
            keys::open_or_create_of(&path, Scheme::Ed25519MlDsa65).map(|key| key.public().clone())
        };
        let keys: Result<Vec<_>, _> = directories.iter().map(key).collect();
        genesis.checkpoints = Some(Checkpointing {
            every_blocks: arguments.checkpoints,
            keys: keys.map_err(|error| failed(&error))?,
        });
    }
    for (at, directory) in (0u16..).zip(&directories) {
        let disk = FileDisk::open(directory).map_err(|error| failed(&error))?;
        let config = config(at, port_base, &signing);
        write_config_to(&directory.join("selfchain.toml"), &config).map_err(|error| failed(&error))?;
        if let Some(path) = &arguments.model {
            give(path, directory).map_err(|error| failed(&error))?;
        }
        Store::create(&disk, &genesis).map_err(|error| of_store(what(), &error))?;
    }
    Ok(Testnet {
        genesis,
        directories,
        model,
    })
}

/// The network that qualities shall be by, where one is named.
fn quality(arguments: &TestnetArguments) -> Result<Option<Network>, Failure> {
    let Some(path) = &arguments.quality else {
        return Ok(None);
    };
    if Plane::from(arguments.plane) != Plane::Poai {
        let what = "only validators of the plane poai have qualities";
        return Err(Failure::usage(what, "--quality goes with --plane poai"));
    }
    read_network(path).map(Some)
}

/// The hash of a model that several validators can hold one another to.
fn exact(path: &Path) -> Result<Hash, Failure> {
    let model = read_model(Some(path))?;
    if !is_model_file(path) {
        let what = format!("no validator would load a file of the name {}", path.display());
        return Err(Failure::usage(what, "let its name end in .safetensors or .toml"));
    }
    if model.is_exact() {
        return Ok(model.hash());
    }
    let what = format!(
        "the model {} is not exact: validators cannot hold one another to its scores",
        path.display()
    );
    Err(Failure::usage(what, "train it without --float"))
}

/// Puts a model's file where a validator looks for models.
fn give(path: &Path, directory: &Path) -> io::Result<()> {
    let folder = directory.join(MODELS_FOLDER);
    fs::create_dir_all(&folder)?;
    let name = path.file_name().unwrap_or_default();
    fs::copy(path, folder.join(name)).map(|_| ())
}

fn genesis(arguments: &TestnetArguments, signing: &[SigningKey]) -> Result<Genesis, Failure> {
    let mut salt = [0; 8];
    getrandom::fill(&mut salt)
        .map_err(|error| Failure::new(ExitStatus::Failed, format!("no random numbers: {error}"), ""))?;
    let mut solo = Genesis::solo(
        &arguments.name,
        u64::from_le_bytes(salt),
        signing[0].public().clone(),
    );
    (solo.fees.asset, solo.fees.collector) = (BOND_ASSET, RESERVE);
    let plane = arguments.plane.into();
    Ok(found(solo, plane, signing, arguments.epoch, REVEALS))
}

/// The configuration of the validator at a position of the set.
fn config(at: u16, port_base: u16, signing: &[SigningKey]) -> Config {
    let port =
        |of: u16, what: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port_base + of * PORTS_EACH + what));
    let mut config = Config::default();
    config.ingest.listen = port(at, 0);
    config.http.listen = Some(port(at, 1));
    config.validator.listen = Some(port(at, 2));
    // One that loses its disk, or comes late, has something to begin with.
    config.storage.snapshot_interval_blocks = SNAPSHOT_INTERVAL_BLOCKS;
    let others = (0u16..).zip(signing).filter(|(other, _)| *other != at);
    // Genesis has the whole keys.
    let peers = others.map(|(other, key)| PeerAddress {
        key: key.public().classical().to_vec(),
        address: port(other, 2),
    });
    config.validator.peers = Peers(peers.collect());
    // A model may come into force while they run: from the first block on they remember what it will look at.
    config.ai.scoring = Scoring::On;
    config
}
