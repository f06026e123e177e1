//! `validator`: joins the validators of a chain, bonds money, leaves, takes another key, begins other reveals.

use super::access;
use super::access::asked;
use super::account::commit_among;
use super::arguments::{SignArguments, ValidatorCommand};
use super::output::Output;
use super::settings::Settings;
use super::{ExitStatus, Failure};
use crate::client::Client;
use crate::standing::later_reveals;
use selfchain_types::address::{decode_address, encode_address};
use selfchain_types::crypto::SigningKey;
use selfchain_types::genesis::Plane;
use selfchain_types::{AccountId, Genesis, Hash, Operation};
use serde_json::{Value, json};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

pub(super) fn validator(
    command: &ValidatorCommand,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    match command {
        ValidatorCommand::Join {
            bond,
            account,
            owner,
            address,
            sign,
        } => {
            let address = address.as_deref().map(resolve).transpose()?;
            let (key, genesis) = begin(sign, settings)?;
            let link = last_link(&genesis, &key);
            let mut attachments = [link.0.as_slice(), key.public().as_bytes()].concat();
            let len = u32::try_from(attachments.len()).unwrap_or(u32::MAX);
            let scheme = key.public().scheme().code();
            let join = Operation::join(1, key.id(), *bond, AccountId(*account), scheme, (0, len));
            let mut operations = vec![join];
            if let Some(address) = &address {
                operations.push(Operation::address(2, key.id(), len));
                attachments.extend_from_slice(&encode_address(address));
            }
            let also = json!({
                "validator": key.id().0.to_hex(),
                "bond": bond,
                "account": account.to_string(),
                "address": address.map(|address| address.to_string()),
            });
            say(
                "cannot join",
                sign,
                owner,
                (operations, attachments),
                also,
                settings,
                output,
            )
        }
        ValidatorCommand::Address { address, sign } => {
            let address = resolve(address)?;
            let (key, _) = begin(sign, settings)?;
            let operation = Operation::address(1, key.id(), 0);
            let also = json!({ "validator": key.id().0.to_hex(), "address": address.to_string() });
            let said = (vec![operation], encode_address(&address).to_vec());
            say(
                "cannot say where it listens",
                sign,
                &None,
                said,
                also,
                settings,
                output,
            )
        }
        ValidatorCommand::Bond {
            bond,
            account,
            owner,
            sign,
        } => {
            let (key, _) = begin(sign, settings)?;
            let account = account.map_or(AccountId::NONE, AccountId);
            let operation = Operation::bond(1, key.id(), *bond, account);
            let also = json!({ "validator": key.id().0.to_hex(), "bond": bond });
            let what = "cannot change the bond";
            say(
                what,
                sign,
                owner,
                (vec![operation], Vec::new()),
                also,
                settings,
                output,
            )
        }
        ValidatorCommand::Leave { sign } => {
            let (key, _) = begin(sign, settings)?;
            let operation = Operation::bond(1, key.id(), 0, AccountId::NONE);
            let also = json!({ "validator": key.id().0.to_hex() });
            say(
                "cannot leave",
                sign,
                &None,
                (vec![operation], Vec::new()),
                also,
                settings,
                output,
            )
        }
        ValidatorCommand::Rotate { to, sign } => {
            let (key, _) = begin(sign, settings)?;
            let next = access::read_key(to)?;
            let attachments = [next.id().0.as_bytes().as_slice(), next.public().as_bytes()].concat();
            let len = u32::try_from(attachments.len()).unwrap_or(u32::MAX);
            let scheme = next.public().scheme().code();
            let operation = Operation::rotate(1, key.id(), scheme, (0, len));
            let also = json!({ "validator": key.id().0.to_hex(), "next": next.id().0.to_hex() });
            let (what, both) = ("cannot take another key", Some(to.clone()));
            say(
                what,
                sign,
                &both,
                (vec![operation], attachments),
                also,
                settings,
                output,
            )
        }
        ValidatorCommand::CheckpointKey { to, sign } => {
            let (key, _) = begin(sign, settings)?;
            let next = access::read_key(to)?;
            let attachments = next.public().as_bytes().to_vec();
            let len = u32::try_from(attachments.len()).unwrap_or(u32::MAX);
            let scheme = next.public().scheme().code();
            let operation = Operation::checkpoint_key(1, key.id(), scheme, (0, len));
            let also = json!({ "validator": key.id().0.to_hex(), "checkpoint_key": next.id().0.to_hex() });
            let (what, both) = ("cannot take another checkpoint key", Some(to.clone()));
            say(
                what,
                sign,
                &both,
                (vec![operation], attachments),
                also,
                settings,
                output,
            )
        }
        ValidatorCommand::Reveals { sign } => {
            let (key, genesis) = begin(sign, settings)?;
            let link = last_link(&genesis, &key);
            let operation = Operation::reveals(1, key.id(), 0);
            let also = json!({ "validator": key.id().0.to_hex(), "last_link": link.to_hex() });
            let what = "cannot begin another chain of reveals";
            say(
                what,
                sign,
                &None,
                (vec![operation], link.0.to_vec()),
                also,
                settings,
                output,
            )
        }
    }
}

/// An address that the others can dial, of a machine that may be named.
fn resolve(text: &str) -> Result<SocketAddr, Failure> {
    let wrong = || {
        let what = format!("{text} is no address that other validators could reach");
        Failure::usage(
            what,
            "name host and port, such as 203.0.113.7:7402 or node.example.org:7402",
        )
    };
    let mut found = text.to_socket_addrs().map_err(|error| wrong().because(&error))?;
    let address = found.next().ok_or_else(wrong)?;
    decode_address(&encode_address(&address)).map_err(|error| wrong().because(&error))
}

/// The validator's key, and the chain that it is, or wants to be, a validator of.
fn begin(sign: &SignArguments, settings: &Settings) -> Result<(SigningKey, Genesis), Failure> {
    let key = match &sign.key {
        Some(file) => access::read_key(file)?,
        None => access::read_key(&settings.resolve()?.config.node_key_path())?,
    };
    let client: Client = access::connect(&sign.node, settings)?;
    let genesis = client
        .genesis()
        .map_err(asked("cannot ask how the chain is decided"))?;
    if genesis.validators.len() < 2 {
        let what = "one validator decides this chain, and none may join or change";
        let next = "`selfchain testnet` makes a chain of several";
        return Err(Failure::new(ExitStatus::Refused, what, next));
    }
    Ok((key, genesis))
}

/// What a validator commits its reveals with; zero where the plane asks for none.
fn last_link(genesis: &Genesis, key: &SigningKey) -> Hash {
    match genesis.plane {
        Plane::Poai => later_reveals(&genesis.chain_id(), key).head(),
        Plane::Solo | Plane::Stake => Hash::ZERO,
    }
}

fn say(
    what: &str,
    sign: &SignArguments,
    other: &Option<PathBuf>,
    said: (Vec<Operation>, Vec<u8>),
    also: Value,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let (_, signer) = access::sign(sign, settings)?;
    let other = other.as_deref().map(access::read_key).transpose()?;
    // A key that is the validator's and the owner's signs once.
    let others: Vec<SigningKey> = other.into_iter().filter(|key| key.id() != signer.id()).collect();
    commit_among(what, &signer, &others, said, also, output)
}
