//! The ledger's records as text and as JSON. 128-bit numbers are strings there: no JSON reader rounds them.

use super::{ExitStatus, Failure};
use selfchain_types::account::{AccountFlags, Balances};
use selfchain_types::block::Exception;
use selfchain_types::message::{AccountState, Committed};
use selfchain_types::{Amount, Hash, Kind, Operation, OperationFlags, TimeNs};
use serde_json::{Value, json};
use std::fmt::Write;

/// The four totals at a scale.
pub(super) fn balances(balances: &Balances, scale: u8) -> Value {
    let show = |units: u128| Amount(units).at_scale(scale);
    json!({
        "debits_posted": show(balances.debits_posted.get()),
        "credits_posted": show(balances.credits_posted.get()),
        "debits_pending": show(balances.debits_pending.get()),
        "credits_pending": show(balances.credits_pending.get()),
    })
}

/// An account.
pub(super) fn account(account: &AccountState, scale: u8) -> Value {
    let AccountState { hot, cold } = account;
    json!({
        "account": cold.id.get().to_string(),
        "asset": hot.asset.get(),
        "scale": scale,
        "owner": cold.owner.to_hex(),
        "flags": flags(hot.flags()),
        "limit": Amount(hot.limit.get()).at_scale(scale),
        "balances": balances(&hot.balances(), scale),
        "available": hot.available_to_debit().map(|amount| amount.at_scale(scale)),
        "pendings_open": hot.pendings_open.get(),
        "opened_height": cold.opened.get(),
        "code": cold.code.get(),
        "user_data_128": cold.user_data_128.get().to_string(),
        "user_data_64": cold.user_data_64.get().to_string(),
    })
}

fn flags(flags: AccountFlags) -> Vec<&'static str> {
    let names = [
        (
            AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS,
            "debits_must_not_exceed_credits",
        ),
        (
            AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS,
            "credits_must_not_exceed_debits",
        ),
        (AccountFlags::HISTORY, "history"),
        (AccountFlags::CLOSED, "closed"),
        (AccountFlags::ISSUANCE, "issuance"),
    ];
    names
        .into_iter()
        .filter(|(flag, _)| flags.has(*flag))
        .map(|(_, name)| name)
        .collect()
}

/// A committed transaction.
pub(super) fn committed(tx_id: Hash, committed: &Committed) -> Value {
    let refused: Vec<Value> = committed.refused.iter().map(refused).collect();
    json!({
        "tx_id": tx_id.to_hex(),
        "height": committed.height.0,
        "index": committed.index,
        "time_ns": committed.time_ns.0,
        "operations": committed.operations,
        "duplicate": committed.duplicate,
        "refused": refused,
    })
}

fn refused((at, outcome, exception): &(u32, selfchain_types::Outcome, Option<Exception>)) -> Value {
    let mut value = json!({ "operation": at, "outcome": outcome.name(), "code": outcome.code() });
    if let Some(Exception::Shortfall { needed, available }) = exception {
        value["needed_units"] = needed.to_string().into();
        value["available_units"] = available.to_string().into();
    }
    value
}

/// An operation with its outcome's name.
pub(super) fn operation(operation: &Operation) -> Value {
    let named = operation.kind() != Some(Kind::Transfer);
    let mut value = json!({
        "kind": operation.kind().map_or("unknown", kind),
        "id": operation.id.get().to_string(),
        "asset": operation.asset.get(),
        "amount_units": operation.amount.get().to_string(),
        "linked": operation.is_linked(),
    });
    if named {
        value["names"] = operation.named().to_hex().into();
    } else {
        value["debit"] = operation.debit.get().to_string().into();
        value["credit"] = operation.credit.get().to_string().into();
        value["pending"] = operation.pending.get().to_string().into();
        value["how"] = how(operation.flags()).into();
    }
    value
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Transfer => "transfer",
        Kind::OpenAccount => "open_account",
        Kind::CreateAsset => "create_asset",
        Kind::CloseAccount => "close_account",
        Kind::SetLimit => "set_limit",
        Kind::RegisterKey => "register_key",
        Kind::RevokeKey => "revoke_key",
        Kind::SetSession => "set_session",
        Kind::AnnounceNode => "announce_node",
        Kind::Anchor => "anchor",
        Kind::Report => "report",
        Kind::Upgrade => "upgrade",
        Kind::SetPolicy => "set_policy",
        Kind::SetModel => "set_model",
        Kind::Join => "join",
        Kind::Bond => "bond",
        Kind::Rotate => "rotate",
        Kind::Reveals => "reveals",
        Kind::Address => "address",
        Kind::SetQuality => "set_quality",
        Kind::CheckpointKey => "checkpoint_key",
    }
}

fn how(flags: OperationFlags) -> &'static str {
    let names = [
        (OperationFlags::PENDING, "pending"),
        (OperationFlags::POST, "post"),
        (OperationFlags::VOID, "void"),
        (OperationFlags::BALANCING_DEBIT, "balancing_debit"),
        (OperationFlags::BALANCING_CREDIT, "balancing_credit"),
    ];
    names
        .into_iter()
        .find(|(flag, _)| flags.has(*flag))
        .map_or("plain", |(_, name)| name)
}

/// Ledger time for people: seconds since the Unix epoch.
pub(super) fn time(time: TimeNs) -> String {
    format!("{}.{:09} s", time.0 / 1_000_000_000, time.0 % 1_000_000_000)
}

/// `name  value` lines of a JSON object, for people.
pub(super) fn lines(value: &Value) -> String {
    let mut text = String::new();
    add_lines(&mut text, "", value);
    text
}

fn add_lines(text: &mut String, name: &str, value: &Value) {
    let path = |key: &str| {
        if name.is_empty() {
            key.to_owned()
        } else {
            format!("{name}.{key}")
        }
    };
    match value {
        Value::Object(fields) => fields
            .iter()
            .for_each(|(key, value)| add_lines(text, &path(key), value)),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            let numbered = items.iter().enumerate();
            numbered.for_each(|(at, value)| add_lines(text, &path(&at.to_string()), value));
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            add_line(text, name, &items.join(", "));
        }
        value => add_line(text, name, &plain(value)),
    }
}

fn add_line(text: &mut String, name: &str, value: &str) {
    writeln!(text, "{name:<32} {value}").expect("writing to a string cannot fail");
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        other => other.to_string(),
    }
}

/// Fails with exit code 3 when the ledger refused an operation of the transaction.
pub(super) fn all_applied(what: &str, committed: &Committed, scale: u8) -> Result<(), Failure> {
    let mut refused = committed
        .refused
        .iter()
        .filter(|(_, outcome, _)| !outcome.took_effect());
    let Some((_, outcome, exception)) = refused.next() else {
        return Ok(());
    };
    let mut failure = Failure::new(ExitStatus::Refused, format!("{what}: the ledger refused it"), "");
    let shortfall = match exception {
        Some(Exception::Shortfall { needed, available }) => {
            format!(
                ": needed {}, available {}",
                needed.at_scale(scale),
                available.at_scale(scale)
            )
        }
        _ => String::new(),
    };
    failure.causes.push(format!(
        "{outcome}{shortfall} (recorded in block {})",
        committed.height
    ));
    Err(failure)
}
