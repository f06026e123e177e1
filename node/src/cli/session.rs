//! `session`: lets another key act for an account, and ends that.

use super::Failure;
use super::access::{self, parse_hash};
use super::account::commit;
use super::arguments::SignArguments;
use super::output::Output;
use super::settings::Settings;
use clap::{Subcommand, ValueEnum};
use selfchain_types::key::SessionScope;
use selfchain_types::time::NS_PER_S;
use selfchain_types::{AccountId, Amount, AssetId, KeyId, Operation, TimeNs};
use serde_json::json;

/// What is done with sessions. The owner of the account signs.
#[derive(Debug, Subcommand)]
pub(super) enum SessionCommand {
    /// Let a key act for an account; a session that it has is replaced.
    Set {
        /// The account's number.
        account: u128,
        /// The key's id, 64 hexadecimal characters; `selfchain keys show` prints it.
        session_key: String,
        /// What it may do.
        #[arg(long = "scope", value_enum, required = true)]
        scopes: Vec<ScopeArgument>,
        /// The most that it may pay in all, at the asset's scale.
        #[arg(long, value_name = "AMOUNT")]
        cap: String,
        /// When it ends, in seconds of ledger time since 1970.
        #[arg(long, value_name = "SECONDS")]
        expires: u64,
        #[command(flatten)]
        sign: SignArguments,
    },
    /// End a key's session for an account.
    End {
        /// The account's number.
        account: u128,
        /// The key's id.
        session_key: String,
        #[command(flatten)]
        sign: SignArguments,
    },
}

/// What a session may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ScopeArgument {
    /// Plain transfers that debit the account.
    Transfer,
    /// Pending transfers that debit it.
    Pending,
    /// Posting and voiding as its owner may.
    Settle,
}

pub(super) fn session(command: &SessionCommand, settings: &Settings, output: Output) -> Result<(), Failure> {
    match command {
        SessionCommand::Set {
            account,
            session_key,
            scopes,
            cap,
            expires,
            sign,
        } => {
            let (account, key) = (
                AccountId(*account),
                KeyId(parse_hash("the key's id", session_key)?),
            );
            let (client, signer) = access::sign(sign, settings)?;
            let asset = access::account(&client, account)?.hot.asset.get();
            let cap = access::amount(cap, access::scale(&client, AssetId(asset))?)?;
            if cap == Amount::ZERO {
                return Err(Failure::usage(
                    "a session with a cap of zero is none",
                    "`session end` ends one",
                ));
            }
            let scope = scopes.iter().fold(0, |bits, scope| {
                bits | match scope {
                    ScopeArgument::Transfer => SessionScope::TRANSFER.0,
                    ScopeArgument::Pending => SessionScope::PENDING.0,
                    ScopeArgument::Settle => SessionScope::SETTLE.0,
                }
            });
            let expires = TimeNs(expires.saturating_mul(NS_PER_S));
            let operation = Operation::set_session(1, account, key, SessionScope(scope), cap, expires);
            let also = json!({ "account": account.to_string(), "session_key": key.to_string() });
            commit("cannot set the session", &signer, operation, None, also, output)
        }
        SessionCommand::End {
            account,
            session_key,
            sign,
        } => {
            let (account, key) = (
                AccountId(*account),
                KeyId(parse_hash("the key's id", session_key)?),
            );
            let (_, signer) = access::sign(sign, settings)?;
            let (none, zero) = (SessionScope(0), TimeNs::ZERO);
            let operation = Operation::set_session(1, account, key, none, Amount::ZERO, zero);
            let also = json!({ "account": account.to_string(), "session_key": key.to_string() });
            commit("cannot end the session", &signer, operation, None, also, output)
        }
    }
}
