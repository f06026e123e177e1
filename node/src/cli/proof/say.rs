//! What a proof proves, as text and as JSON. Both say the same; 128-bit numbers are strings.

use super::super::describe;
use selfchain_engine::proof::{Decided, Proven, Receipts, Statement};
use selfchain_types::account::{AccountCold, AccountHot};
use selfchain_types::message::AccountState;
use selfchain_types::receipt::NOT_SCORED;
use selfchain_types::{Height, Kind};
use serde_json::{Value, json};

pub(super) fn value(proven: &Proven, bytes: usize) -> Value {
    let mut value = json!({
        "holds": true,
        "chain_id": proven.chain_id.to_hex(),
        "by": {
            "height": proven.by.height.0,
            "block": proven.by.block.to_hex(),
            "time_ns": proven.by.time_ns.0,
            "time": describe::time(proven.by.time_ns),
            "validators": proven.trust.set.validators().len(),
        },
        "handovers": proven.handovers,
        "checkpoints": proven.checkpoints,
        "bytes": bytes,
    });
    let (claim, said) = match &proven.statement {
        Statement::Operation(decided) => ("operation", operation(decided)),
        Statement::Account { height, hot, cold } => ("account", account(*height, hot, cold)),
        Statement::Consistency { old, new } => (
            "consistency",
            json!({ "old": receipts(old), "new": receipts(new) }),
        ),
    };
    value["claim"] = claim.into();
    value[claim] = said;
    value
}

fn operation(decided: &Decided) -> Value {
    json!({
        "tx_id": decided.tx_id.to_hex(),
        "index": decided.operation_index,
        "of": decided.operation_count,
        "operation": describe::operation(&decided.operation),
        "outcome": decided.outcome.name(),
        "took_effect": decided.outcome.took_effect(),
        "actual_units": decided.actual.to_string(),
        "score": (decided.score != NOT_SCORED).then_some(decided.score),
        "height": decided.height.0,
        "transaction_index": decided.transaction_index,
    })
}

/// Amounts in units: no header says how an asset is counted.
fn account(height: Height, hot: &AccountHot, cold: &AccountCold) -> Value {
    let state = AccountState {
        hot: *hot,
        cold: *cold,
    };
    let mut value = describe::account(&state, 0);
    value["height"] = height.0.into();
    value
}

fn receipts(receipts: &Receipts) -> Value {
    json!({
        "height": receipts.height.0,
        "transactions": receipts.size,
        "root": receipts.root.to_hex(),
    })
}

pub(super) fn text(proven: &Proven) -> String {
    let said = match &proven.statement {
        Statement::Operation(decided) => decided_text(decided),
        Statement::Account { height, hot, cold } => account_text(*height, hot, cold),
        Statement::Consistency { old, new } => format!(
            "the {} transactions up to height {} are the first of the {} up to height {}, unchanged and in order",
            old.size, old.height, new.size, new.height
        ),
    };
    let changes = match proven.handovers {
        0 => "whom you trust".to_owned(),
        1 => "who took over from whom you trust, by 1 change of the set".to_owned(),
        changes => format!("who took over from whom you trust, by {changes} changes of the set"),
    };
    let who = match proven.checkpoints {
        0 => format!(
            "decided by more than two thirds of {} validators: {changes}",
            proven.trust.set.validators().len()
        ),
        1 => "signed as a checkpoint by more than two thirds of the power that genesis names".to_owned(),
        followed => format!(
            "signed as a checkpoint by more than two thirds of the power that the one before names, {followed} of them \
             from genesis on"
        ),
    };
    format!(
        "the proof holds: on chain {}\n{said}\nsays header {} of ledger time {}, {who}",
        proven.chain_id,
        proven.by.height,
        describe::time(proven.by.time_ns),
    )
}

fn decided_text(decided: &Decided) -> String {
    let operation = &decided.operation;
    let what = match operation.kind() {
        Some(Kind::Transfer) => format!(
            "transfer {} from account {} to account {}: {}; {} of {} units of asset {} moved or reserved",
            operation.id.get(),
            operation.debit.get(),
            operation.credit.get(),
            decided.outcome,
            decided.actual,
            operation.amount.get(),
            operation.asset.get(),
        ),
        _ => format!(
            "{}: {}",
            describe::operation(operation)["kind"]
                .as_str()
                .unwrap_or("unknown"),
            decided.outcome
        ),
    };
    let score = match decided.score {
        NOT_SCORED => "not scored".to_owned(),
        score => format!("score {score}"),
    };
    format!(
        "operation {} of {} of transaction {}, in block {} at place {}\n{what}; {score}",
        decided.operation_index,
        decided.operation_count,
        decided.tx_id,
        decided.height,
        decided.transaction_index,
    )
}

fn account_text(height: Height, hot: &AccountHot, cold: &AccountCold) -> String {
    format!(
        "account {} of asset {} had after block {height}, in units\ndebits posted {}, credits posted {}, debits pending \
         {}, credits pending {}",
        cold.id.get(),
        hot.asset.get(),
        hot.debits_posted.get(),
        hot.credits_posted.get(),
        hot.debits_pending.get(),
        hot.credits_pending.get(),
    )
}
