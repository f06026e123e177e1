//! `account`: opens, shows, limits and closes accounts.

use super::access::{self, asked};
use super::arguments::{AccountCommand, AccountOpenArguments, SignArguments};
use super::held::{held, score_of};
use super::output::Output;
use super::settings::Settings;
use super::{ExitStatus, Failure, describe};
use crate::client::{Client, Ticket};
use selfchain_types::account::Balances;
use selfchain_types::crypto::SigningKey;
use selfchain_types::genesis::AccountIds;
use selfchain_types::message::{AccountState, ChangePosition, Committed, Detail};
use selfchain_types::{AccountFlags, AccountId, AssetId, Hash, Height, KeyId, Kind, Operation, Outcome};
use serde_json::{Value, json};
use zerocopy::FromZeros;

pub(super) fn account(command: AccountCommand, settings: &Settings, output: Output) -> Result<(), Failure> {
    match command {
        AccountCommand::Open(arguments) => open(&arguments, settings, output),
        AccountCommand::Show { account, at, node } => {
            let client = access::connect(&node, settings)?;
            let account = access::account(&client, AccountId(account))?;
            let scale = access::scale(&client, AssetId(account.hot.asset.get()))?;
            let value = match at {
                None => describe::account(&account, scale),
                Some(height) => balance_at(&client, &account, Height(height), scale)?,
            };
            output.result(&describe::lines(&value), &value)
        }
        AccountCommand::History {
            account,
            from,
            place,
            rows: rows_max,
            node,
        } => {
            let client = access::connect(&node, settings)?;
            let account = AccountId(account);
            let state = access::account(&client, account)?;
            must_keep_history("cannot show the history", &state)?;
            let scale = access::scale(&client, AssetId(state.hot.asset.get()))?;
            let from = ChangePosition {
                height: Height(from),
                place,
            };
            let history = client.history(account, from, rows_max);
            let history = history.map_err(asked("cannot show the history"))?;
            let rows: Vec<Value> = (history.iter())
                .map(|row| {
                    let balances = describe::balances(&row.balances, scale);
                    let at = row.position;
                    json!({ "height": at.height.0, "operation": at.operation(), "balances": balances })
                })
                .collect();
            // A page that is not full is the last.
            let next = (history.last())
                .filter(|_| history.len() == usize::from(rows_max))
                .map(|row| row.position.next())
                .map(|next| json!({ "from": next.height.0, "place": next.place }));
            let value = json!({ "account": account.to_string(), "history": rows, "next": next });
            output.result(&describe::lines(&value), &value)
        }
        AccountCommand::Limit { account, limit, sign } => {
            limit_account(AccountId(account), &limit, &sign, settings, output)
        }
        AccountCommand::Close { account, sign } => {
            let (_, signer) = access::sign(&sign, settings)?;
            let what = format!("cannot close account {account}");
            commit(
                &what,
                &signer,
                Operation::close_account(AccountId(account)),
                None,
                json!({}),
                output,
            )
        }
    }
}

/// What an account with history was after a block.
fn balance_at(client: &Client, account: &AccountState, height: Height, scale: u8) -> Result<Value, Failure> {
    let what = "cannot show the balances of the past";
    must_keep_history(what, account)?;
    let id = AccountId(account.cold.id.get());
    let row = client.balance_at(id, height).map_err(asked(what))?;
    let balances = row.map_or_else(Balances::new_zeroed, |row| row.balances);
    Ok(json!({
        "account": id.to_string(),
        "height": height.0,
        "changed_at": row.map(|row| row.position.height.0),
        "balances": describe::balances(&balances, scale),
    }))
}

/// Of an account without history an empty answer would read as if nothing had ever changed.
fn must_keep_history(what: &str, account: &AccountState) -> Result<(), Failure> {
    if AccountFlags(account.hot.flags.get()).has(AccountFlags::HISTORY) {
        return Ok(());
    }
    let next = "open the account with --history to have its balances kept";
    Err(Failure::new(ExitStatus::Refused, what, next))
}

fn open(arguments: &AccountOpenArguments, settings: &Settings, output: Output) -> Result<(), Failure> {
    let (client, signer) = access::sign(&arguments.sign, settings)?;
    let asset = AssetId(arguments.asset);
    let owner = match &arguments.owner {
        Some(text) => KeyId(access::parse_hash("--owner", text)?),
        None => signer.id(),
    };
    let genesis = client
        .genesis()
        .map_err(asked("cannot ask which account ids may be opened"))?;
    let account = match (genesis.account_ids, arguments.account) {
        (_, Some(account)) => AccountId(account),
        (AccountIds::Derived, None) => AccountId::derive(&owner, asset, arguments.salt),
        (AccountIds::Free, None) => {
            return Err(Failure::usage(
                "the account's number is missing",
                "selfchain account open NUMBER --asset NUMBER",
            ));
        }
    };
    let scale = access::scale(&client, asset)?;
    let limit = access::amount(&arguments.limit, scale)?;
    let mut flags = AccountFlags::default();
    if !arguments.unconstrained {
        flags = flags.with(AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS);
    }
    if arguments.history {
        flags = flags.with(AccountFlags::HISTORY);
    }
    let operation = Operation::open_account(account, asset, owner, flags, limit, arguments.salt);
    let what = format!("cannot open account {account}");
    commit(
        &what,
        &signer,
        operation,
        Some(scale),
        json!({ "account": account.to_string() }),
        output,
    )
}

fn limit_account(
    account: AccountId,
    limit: &str,
    sign: &SignArguments,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let (client, signer) = access::sign(sign, settings)?;
    let asset = access::account(&client, account)?.hot.asset.get();
    let scale = access::scale(&client, AssetId(asset))?;
    let operation = Operation::set_limit(account, access::amount(limit, scale)?);
    let what = format!("cannot set the limit of account {account}");
    commit(
        &what,
        &signer,
        operation,
        Some(scale),
        json!({ "account": account.to_string() }),
        output,
    )
}

/// Commits one operation and says where it is, with the fields of `also`; of a transfer whose scale is known also the
/// resulting balances. A held one is said so, and ends with an exit code of its own.
pub(super) fn commit(
    what: &str,
    signer: &crate::client::Signer,
    operation: Operation,
    scale: Option<u8>,
    also: Value,
    output: Output,
) -> Result<(), Failure> {
    let ticket = signer
        .submit(vec![operation], Detail::Balances)
        .map_err(asked(what))?;
    conclude(what, signer, ticket, operation, scale, also, output)
}

/// The same of an operation with attachments that other keys sign too.
pub(super) fn commit_among(
    what: &str,
    signer: &crate::client::Signer,
    others: &[SigningKey],
    (operations, attachments): (Vec<Operation>, Vec<u8>),
    also: Value,
    output: Output,
) -> Result<(), Failure> {
    let operation = operations[0];
    let ticket = signer
        .submit_among(others, operations, attachments, Detail::Balances)
        .map_err(asked(what))?;
    conclude(what, signer, ticket, operation, None, also, output)
}

fn conclude(
    what: &str,
    signer: &crate::client::Signer,
    ticket: Ticket,
    operation: Operation,
    scale: Option<u8>,
    also: Value,
    output: Output,
) -> Result<(), Failure> {
    let is_transfer = operation.kind() == Some(Kind::Transfer);
    let tx_id = ticket.tx_id();
    let committed = ticket.wait().map_err(asked(what))?;
    describe::all_applied(what, &committed, scale.unwrap_or(0))
        .map_err(|failure| refused(failure, signer.client(), tx_id, &committed))?;
    let mut value = describe::committed(tx_id, &committed);
    if let (Value::Object(fields), Value::Object(also)) = (&mut value, also) {
        fields.extend(also);
    }
    if let ([(debit, credit)], Some(scale)) = (committed.balances.as_slice(), scale)
        && is_transfer
    {
        value["debit_balances"] = describe::balances(debit, scale);
        value["credit_balances"] = describe::balances(credit, scale);
    }
    let Some(held) = held(signer.client(), &tx_id, &operation, &committed) else {
        return output.result(&describe::lines(&value), &value);
    };
    let text = format!("{}\n\n{}", held.text(), describe::lines(&value));
    value["held"] = held.value();
    output.result(&text, &value)?;
    Err(Failure::new(ExitStatus::Held, what, ""))
}

/// What to do about a refusal that has to do with scores.
fn refused(mut failure: Failure, client: &Client, tx_id: Hash, committed: &Committed) -> Failure {
    let refusal = committed
        .refused
        .iter()
        .find(|(_, outcome, _)| !outcome.took_effect());
    match refusal {
        Some((number, Outcome::RiskRejected, _)) => {
            failure.causes.extend(score_of(client, committed, *number));
            failure.next = format!(
                "the policy refuses such scores (`selfchain policy show`); `selfchain ai explain {tx_id}` on the data \
                 directory of a stopped node says all of why"
            );
        }
        Some((_, Outcome::HeldForReview, _)) => {
            failure.next =
                "`selfchain hold list` says who its reviewer is: that key settles it, and only whole".into();
        }
        _ => {}
    }
    failure
}
