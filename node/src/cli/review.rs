//! `hold`, `policy`, `model`: what is held and by whom it is settled, what is done about scores, and who gives them.

use super::access::{self, asked};
use super::account::{commit, commit_among};
use super::ai::read_network;
use super::arguments::{HoldCommand, ModelCommand, NodeArguments, PolicyCommand, SignArguments};
use super::output::Output;
use super::settings::Settings;
use super::{Failure, describe, explain};
use crate::client::Client;
use selfchain_ai::explain::words;
use selfchain_ai::model::default_model;
use selfchain_types::message::{HoldRecord, PolicyState};
use selfchain_types::{AccountId, Amount, AssetId, Hash, Height, KeyId, Operation, Policy};
use serde_json::{Value, json};

pub(super) fn hold(command: &HoldCommand, settings: &Settings, output: Output) -> Result<(), Failure> {
    match command {
        HoldCommand::List { rows, node } => list(*rows, node, settings, output),
        HoldCommand::Explain { hold, anew, node } => explain::explain(*hold, *anew, node, settings, output),
        HoldCommand::Release { hold, sign } => {
            let operation = Operation::post(1, *hold, Amount::MAX);
            act("cannot release the hold", operation, sign, settings, output)
        }
        HoldCommand::Void { hold, sign } => act(
            "cannot void the hold",
            Operation::void(1, *hold),
            sign,
            settings,
            output,
        ),
    }
}

fn act(
    what: &str,
    operation: Operation,
    sign: &SignArguments,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let (_, signer) = access::sign(sign, settings)?;
    commit(what, &signer, operation, None, json!({}), output)
}

fn list(rows: usize, node: &NodeArguments, settings: &Settings, output: Output) -> Result<(), Failure> {
    let client = access::connect(node, settings)?;
    let (mut holds, mut next) = (Vec::new(), Some(0));
    while let Some(from) = next.filter(|_| holds.len() < rows) {
        let (some, more) = client.holds(from).map_err(asked("cannot list the holds"))?;
        holds.extend(some);
        next = more;
    }
    holds.truncate(rows);
    let described = |hold: &HoldRecord| {
        let scale = access::scale(&client, AssetId(hold.asset.get()))?;
        Ok(describe_hold(hold, scale))
    };
    let holds = holds
        .iter()
        .map(described)
        .collect::<Result<Vec<Value>, Failure>>()?;
    let text = if holds.is_empty() {
        "nothing is held".to_owned()
    } else {
        describe::lines(&json!({ "holds": holds }))
    };
    output.result(&text, &json!({ "holds": holds }))
}

pub(super) fn describe_hold(hold: &HoldRecord, scale: u8) -> Value {
    let reasons: Vec<&str> = hold.reasons.iter().filter_map(|code| words(*code)).collect();
    json!({
        "id": hold.id.get().to_string(),
        "debit": hold.debit.get().to_string(),
        "credit": hold.credit.get().to_string(),
        "amount": Amount(hold.amount.get()).at_scale(scale),
        "asset": hold.asset.get(),
        "score": (hold.score != u8::MAX).then_some(hold.score),
        "reasons": reasons,
        "reviewer": hold.reviewer.to_hex(),
        "opened": hold.opened.get(),
        "deadline_ns": (hold.deadline_ns.get() != 0).then(|| hold.deadline_ns.get().to_string()),
        "was_pending": hold.was_pending == 1,
    })
}

pub(super) fn policy(command: &PolicyCommand, settings: &Settings, output: Output) -> Result<(), Failure> {
    match command {
        PolicyCommand::Show { account, node } => {
            let client = access::connect(node, settings)?;
            let value = value_of(&state(&client, *account)?);
            output.result(&describe::lines(&value), &value)
        }
        PolicyCommand::Set {
            account,
            annotate,
            hold,
            reject,
            hold_unscored,
            hold_timeout_s,
            reviewer,
            sign,
        } => {
            let reviewer = match reviewer {
                Some(text) => KeyId(access::parse_hash("--reviewer", text)?),
                None => KeyId::NONE,
            };
            let policy = Policy {
                annotate: *annotate,
                hold: *hold,
                reject: *reject,
                holds_unscored: *hold_unscored,
                hold_timeout_s: *hold_timeout_s,
                reviewer,
            };
            let operation = Operation::set_policy(1, AccountId(account.unwrap_or(0)), &policy);
            act("cannot set the policy", operation, sign, settings, output)
        }
    }
}

fn state(client: &Client, account: Option<u128>) -> Result<PolicyState, Failure> {
    let account = AccountId(account.unwrap_or(0));
    let state = client.policy(account).map_err(asked("cannot show the policy"))?;
    state.ok_or_else(|| Failure::usage(format!("there is no account {account}"), ""))
}

fn value_of(state: &PolicyState) -> Value {
    let policy = &state.policy;
    let threshold = |score: u8| (score != u8::MAX).then_some(score);
    json!({
        "annotate": threshold(policy.annotate),
        "hold": threshold(policy.hold),
        "reject": threshold(policy.reject),
        "hold_unscored": policy.holds_unscored,
        "hold_timeout_s": policy.hold_timeout_s,
        "reviewer": (policy.reviewer != KeyId::NONE).then(|| policy.reviewer.0.to_hex()),
        "version": state.version,
        "model": (state.model != Hash::ZERO).then(|| state.model.to_hex()),
    })
}

pub(super) fn model(command: &ModelCommand, settings: &Settings, output: Output) -> Result<(), Failure> {
    match command {
        ModelCommand::Show { account, node } => {
            let client = access::connect(node, settings)?;
            let model = state(&client, *account)?.model;
            let value = json!({ "model": (model != Hash::ZERO).then(|| model.to_hex()) });
            output.result(&describe::lines(&value), &value)
        }
        ModelCommand::Prefer { model, account, sign } => {
            let operation = Operation::prefer_model(1, AccountId(*account), named(model)?);
            act("cannot prefer the model", operation, sign, settings, output)
        }
        ModelCommand::Activate { model, at, sign } => {
            let hash = named(model)?;
            let (client, signer) = access::sign(sign, settings)?;
            let what = "cannot activate the model";
            let tip = client.status().map_err(asked(what))?.tip;
            let from = at.map_or(Height(tip.0.saturating_add(1 + ACTIVATION_BLOCKS)), Height);
            let operation = Operation::set_model(1, hash, from);
            let value = json!({ "model": hash.to_hex(), "from": from.0 });
            commit(what, &signer, operation, None, value, output)
        }
        ModelCommand::Quality { network, sign } => {
            let network = read_network(network)?;
            let (_, signer) = access::sign(sign, settings)?;
            let file = network.to_bytes();
            let len = u32::try_from(file.len()).unwrap_or(u32::MAX);
            let operation = Operation::set_quality(1, network.id(), (0, len));
            let value = json!({ "network": network.id().to_hex() });
            let what = "cannot let the network decide";
            commit_among(what, &signer, &[], (vec![operation], file), value, output)
        }
    }
}

/// The hash of the model that a word names.
fn named(model: &str) -> Result<Hash, Failure> {
    match model {
        "default" => Ok(default_model().hash()),
        "none" => Ok(Hash::ZERO),
        hex => access::parse_hash("the model", hex),
    }
}

/// Blocks from now on before a model decides, unless said otherwise: time for its operation to be committed.
const ACTIVATION_BLOCKS: u64 = 10;
