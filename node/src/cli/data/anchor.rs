//! `data anchor`, and the proof of `data get --prove`: documents and the ledger.

use super::SiteArguments;
use super::content::written;
use super::show;
use super::site::Site;
use crate::cli::access::{self, asked};
use crate::cli::arguments::SignArguments;
use crate::cli::output::Output;
use crate::cli::settings::Settings;
use crate::cli::transaction::decode;
use crate::cli::{ExitStatus, Failure, describe};
use crate::client::Client;
use selfchain_types::envelope::EnvelopeView;
use selfchain_types::message::Detail;
use selfchain_types::vault::{Anchored, OwnerQuery, VaultQuery, Version};
use selfchain_types::{Hash, Kind, Operation};
use serde_json::{Value, json};

pub(super) fn anchor(
    name: Option<&str>,
    number: u64,
    sign: &SignArguments,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    // Signing comes first: it says that the node must run.
    let (client, signer) = access::sign(sign, settings)?;
    let at = SiteArguments {
        node: sign.node.clone(),
        key: sign.key.clone(),
    };
    let mut site = Site::open(&at, settings)?;
    let hash = match name {
        Some(name) => written(&mut site, name, number)?.hash,
        None => show::standing(&mut site)?.root,
    };
    let what = "cannot anchor";
    // The reference makes it searchable by what it anchors.
    let reference = u128::from_le_bytes(hash.0[..16].try_into().unwrap_or_default());
    let operation = Operation::anchor(reference, hash);
    let ticket = signer
        .submit(vec![operation], Detail::Refusals)
        .map_err(asked(what))?;
    let tx_id = ticket.tx_id();
    let committed = ticket.wait().map_err(asked(what))?;
    describe::all_applied(what, &committed, 0)?;
    let height = committed.height;
    holds(&client, &hash, &Anchored { tx_id, height })?;
    let query = OwnerQuery::Anchored {
        hash,
        at: Anchored { tx_id, height },
    };
    site.ask(
        "it is anchored, and cannot be noted in the vault",
        &VaultQuery::Owner(query),
    )?;
    let value = json!({
        "name": name,
        "hash": hash.to_hex(),
        "tx_id": tx_id.to_hex(),
        "height": height.0,
    });
    output.result(&describe::lines(&value), &value)
}

/// Everything that somebody else needs to see that the ledger vouches for a version: its fields, from which its hash
/// follows, and where that is, checked with the node.
pub(super) fn prove(version: &Version, at: &SiteArguments, settings: &Settings) -> Result<Value, Failure> {
    let Some(anchored) = version.anchored else {
        let what = format!("version {} of `{}` is not anchored", version.number, version.name);
        return Err(Failure::new(
            ExitStatus::Refused,
            what,
            "anchor it with `selfchain data anchor NAME`, or leave --prove out",
        ));
    };
    let client = access::connect(&at.node, settings)?;
    holds(&client, &version.hash, &anchored)?;
    let mut value = show::value(version);
    value["salt"] = json!(version.salt.to_hex());
    value["state_code"] = json!(version.state.code());
    Ok(value)
}

/// Looks in the block for the operation that anchors `hash`.
fn holds(client: &Client, hash: &Hash, at: &Anchored) -> Result<(), Failure> {
    let what = format!("block {} does not anchor {hash}", at.height);
    let wrong = || Failure::new(ExitStatus::Corrupt, &what, "");
    let row = client.block(at.height).map_err(asked(&what))?.ok_or_else(wrong)?;
    let block = decode(&row)?;
    let mut position = 0;
    for envelope in &block.body.envelopes {
        let view = EnvelopeView::new(envelope).map_err(|_| wrong())?;
        for operation in view.operations() {
            let names = operation.kind() == Some(Kind::Anchor) && operation.named() == *hash;
            let outcome = block.result.outcomes.get(position);
            if names && view.tx_id() == at.tx_id && outcome == Some(&selfchain_types::Outcome::Ok.code()) {
                return Ok(());
            }
            position += 1;
        }
    }
    Err(wrong())
}
