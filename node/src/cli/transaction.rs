//! `tx` and `block`: what is on the ledger.

use super::access::{self, asked};
use super::arguments::{BlockArguments, TxArguments};
use super::output::Output;
use super::settings::Settings;
use super::{ExitStatus, Failure, describe};
use selfchain_types::block::{BlockResult, Body, Header, Row};
use selfchain_types::envelope::EnvelopeView;
use selfchain_types::{Hash, Height};
use serde_json::{Value, json};

pub(super) fn tx(arguments: &TxArguments, settings: &Settings, output: Output) -> Result<(), Failure> {
    let tx_id = access::parse_hash("the transaction's id", &arguments.tx_id)?;
    let client = access::connect(&arguments.node, settings)?;
    let committed = client
        .transaction(tx_id)
        .map_err(asked("cannot show the transaction"))?;
    let next = "it may be waiting for its block, or have been refused";
    let missing = || {
        Failure::new(
            ExitStatus::Refused,
            format!("there is no transaction {tx_id}"),
            next,
        )
    };
    let mut value = describe::committed(tx_id, &committed.ok_or_else(missing)?);
    if let (Some(operation), Some(out)) = (arguments.receipt, &arguments.out) {
        let receipt = client
            .receipt(tx_id, operation)
            .map_err(asked("cannot get the receipt"))?;
        let receipt = receipt.ok_or_else(missing)?;
        std::fs::write(out, &receipt).map_err(|error| {
            Failure::new(ExitStatus::Failed, format!("cannot write {}", out.display()), "").because(&error)
        })?;
        value["receipt"] =
            json!({ "operation": operation, "file": out.display().to_string(), "bytes": receipt.len() });
    }
    output.result(&describe::lines(&value), &value)
}

pub(super) fn block(arguments: &BlockArguments, settings: &Settings, output: Output) -> Result<(), Failure> {
    let client = access::connect(&arguments.node, settings)?;
    let row = client
        .block(Height(arguments.height))
        .map_err(asked("cannot show the block"))?;
    let missing = || {
        Failure::new(
            ExitStatus::Refused,
            format!("there is no block {}", arguments.height),
            "",
        )
    };
    let bytes = row.ok_or_else(missing)?;
    let row = decode(&bytes)?;
    let header = &row.header;
    let transactions: Vec<Value> = (row.body.envelopes.iter())
        .map(|envelope| match EnvelopeView::new(envelope) {
            Ok(view) => json!({ "tx_id": view.tx_id().to_hex(), "operations": view.operations().len() }),
            Err(refusal) => json!({ "unreadable": refusal.name() }),
        })
        .collect();
    let hex = |hash: &Hash| hash.to_hex();
    let value = json!({
        "height": header.height.0,
        "hash": header.hash().to_hex(),
        "parent": hex(&header.parent),
        "time_ns": header.time_ns.0,
        "time": describe::time(header.time_ns),
        "round": header.round,
        "proposer": header.proposer.to_string(),
        "transactions_root": hex(&header.transactions_root),
        "state_root": hex(&header.state_root),
        "receipts_root": hex(&header.receipts_root),
        "row_bytes": bytes.len(),
        "transactions": transactions,
    });
    output.result(&describe::lines(&value), &value)
}

/// A block as a client reads it.
pub(super) struct Block<'a> {
    pub(super) header: Header,
    pub(super) body: Body<'a>,
    pub(super) result: BlockResult,
}

/// Reads a row that the node sent.
pub(super) fn decode(bytes: &[u8]) -> Result<Block<'_>, Failure> {
    let block = Row::decode(bytes).and_then(|row| {
        Ok(Block {
            header: Header::decode(row.header)?,
            body: Body::decode(row.body)?,
            result: BlockResult::decode(row.result)?,
        })
    });
    block.map_err(|error| {
        let what = "the node sent a block that cannot be read";
        Failure::new(ExitStatus::Corrupt, what, "use a client of the node's version").because(&error)
    })
}
