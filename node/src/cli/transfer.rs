//! `transfer`: moves an amount, or reserves, posts or voids one.

use super::account::commit;
use super::arguments::TransferArguments;
use super::output::Output;
use super::settings::Settings;
use super::{ExitStatus, Failure, access};
use crate::client::Client;
use selfchain_types::{AccountId, Amount, AssetId, Operation};
use serde_json::json;

pub(super) fn transfer(
    arguments: &TransferArguments,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let id = match arguments.id {
        Some(id) => id,
        None => random_id()?,
    };
    let (client, signer) = access::sign(&arguments.sign, settings)?;
    let (operation, scale) = match (arguments.post, arguments.void) {
        (Some(pending), _) => post(arguments, &client, id, pending)?,
        (_, Some(pending)) => (Operation::void(id, pending), None),
        (None, None) => send(arguments, &client, id)?,
    };
    commit(
        "cannot transfer",
        &signer,
        operation,
        scale,
        json!({ "id": id.to_string() }),
        output,
    )
}

fn post(
    arguments: &TransferArguments,
    client: &Client,
    id: u128,
    pending: u128,
) -> Result<(Operation, Option<u8>), Failure> {
    match (&arguments.amount, arguments.asset) {
        (None, _) => Ok((Operation::post(id, pending, Amount::MAX), None)),
        (Some(amount), Some(asset)) => {
            let scale = access::scale(client, AssetId(asset))?;
            Ok((
                Operation::post(id, pending, access::amount(amount, scale)?),
                Some(scale),
            ))
        }
        (Some(_), None) => Err(Failure::usage(
            "the asset of the pending transfer is not known, so its amount cannot be read",
            "add --asset NUMBER, or leave --amount out to post all of it",
        )),
    }
}

fn send(
    arguments: &TransferArguments,
    client: &Client,
    id: u128,
) -> Result<(Operation, Option<u8>), Failure> {
    let (Some(from), Some(to), Some(amount)) = (arguments.from, arguments.to, &arguments.amount) else {
        return Err(Failure::usage("--from, --to and --amount are needed", ""));
    };
    let (from, to) = (AccountId(from), AccountId(to));
    let asset = match arguments.asset {
        Some(asset) => AssetId(asset),
        None => AssetId(access::account(client, from)?.hot.asset.get()),
    };
    let scale = access::scale(client, asset)?;
    let amount = access::amount(amount, scale)?;
    let operation = match arguments.pending {
        true => Operation::reserve(id, from, to, amount, asset, arguments.timeout_s),
        false => Operation::transfer(id, from, to, amount, asset),
    };
    Ok((operation, Some(scale)))
}

fn random_id() -> Result<u128, Failure> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| {
        Failure::new(
            ExitStatus::Failed,
            format!("no random numbers: {error}"),
            "pass --id",
        )
    })?;
    // The first and the last are reserved.
    Ok(u128::from_le_bytes(id).clamp(1, u128::MAX - 1))
}
