//! `report`: says that a transfer was fraud, or that it was not.

use super::access::{self, asked};
use super::account::commit;
use super::arguments::ReportArguments;
use super::output::Output;
use super::settings::Settings;
use super::transaction::decode;
use super::{ExitStatus, Failure};
use crate::client::Client;
use selfchain_types::envelope::EnvelopeView;
use selfchain_types::{AccountId, Hash, Kind, Operation, codec};
use serde_json::json;

const WHAT: &str = "cannot report the transfer";
/// What a report's code says (docs/formats/operation.md).
const FRAUD: u16 = 1;
const CLEARED: u16 = 2;

pub(super) fn report(
    arguments: &ReportArguments,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let tx_id = access::parse_hash("the transaction's id", &arguments.tx_id)?;
    let (client, signer) = access::sign(&arguments.sign, settings)?;
    let transfer = transfer(&client, tx_id, arguments.operation)?;
    let party = arguments.party.unwrap_or_else(|| transfer.debit.get());
    let accused = match party {
        paid if paid == transfer.debit.get() => transfer.credit.get(),
        got if got == transfer.credit.get() => transfer.debit.get(),
        other => {
            let what = format!(
                "account {other} is no party of operation {} of {tx_id}",
                arguments.operation
            );
            return Err(Failure::usage(what, "name one of its two accounts with --for"));
        }
    };
    let code = if arguments.fraud { FRAUD } else { CLEARED };
    let operation = Operation::report(1, tx_id, arguments.operation, AccountId(party), code);
    let also = json!({ "for": party.to_string(), "about": accused.to_string(), "fraud": arguments.fraud });
    commit(
        WHAT,
        &signer,
        operation.accusing(AccountId(accused)),
        None,
        also,
        output,
    )
}

/// The transfer that is spoken of.
fn transfer(client: &Client, tx_id: Hash, number: u32) -> Result<Operation, Failure> {
    let missing = |what: String| move || Failure::new(ExitStatus::Refused, what, "");
    let none = || missing(format!("there is no transaction {tx_id}"));
    let committed = client
        .transaction(tx_id)
        .map_err(asked(WHAT))?
        .ok_or_else(none())?;
    let row = client
        .block(committed.height)
        .map_err(asked(WHAT))?
        .ok_or_else(none())?;
    let block = decode(&row)?;
    let envelope = block.body.envelopes.get(codec::index(committed.index));
    let view = envelope.and_then(|envelope| EnvelopeView::new(envelope).ok());
    let view = view.ok_or_else(none())?;
    let operation = view.operations().get(codec::index(number)).copied();
    let is_transfer = |operation: &Operation| operation.kind() == Some(Kind::Transfer);
    let none = missing(format!("operation {number} of {tx_id} is no transfer"));
    operation.filter(is_transfer).ok_or_else(none)
}
