//! How commands reach the node: its address and key, and the key that signs.

use super::arguments::{NodeArguments, SignArguments};
use super::settings::Settings;
use super::{ExitStatus, Failure};
use crate::client::{Client, ClientError, ClientOptions, Signer};
use crate::config::Config;
use crate::keys::{self, KeyError, KeyFault, KeyFile, SecretKey};
use selfchain_storage::backup::age::Identity;
use selfchain_types::asset::AssetRecord;
use selfchain_types::crypto::SigningKey;
use selfchain_types::message::AccountState;
use selfchain_types::{AccountId, Amount, AssetId, Hash};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Connects as the arguments say.
pub(super) fn connect(arguments: &NodeArguments, settings: &Settings) -> Result<Client, Failure> {
    connect_as(arguments, settings, None)
}

/// The same, proving a key in the handshake.
pub(super) fn connect_as(
    arguments: &NodeArguments,
    settings: &Settings,
    identity: Option<Arc<SigningKey>>,
) -> Result<Client, Failure> {
    let config = settings.resolve()?.config;
    let mut address = arguments.server.unwrap_or(config.ingest.listen);
    if address.ip().is_unspecified() {
        // Listening everywhere includes here.
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    let server_key = match &arguments.server_key {
        Some(hex) => parse_key(hex)?,
        None => server_key(&config)?,
    };
    let deadline = Duration::from_millis(arguments.deadline_ms.max(1));
    let options = ClientOptions {
        deadline,
        identity,
        ..ClientOptions::new(address, server_key)
    };
    Client::connect(&options)
        .map_err(|error| Failure::of_client(format!("cannot reach the node at {address}"), &error))
}

/// Connects, and signs as the arguments say.
pub(super) fn sign(arguments: &SignArguments, settings: &Settings) -> Result<(Client, Signer), Failure> {
    let key = match &arguments.key {
        Some(file) => read_key(file, settings)?,
        None => read_key(&settings.resolve()?.config.node_key_path(), settings)?,
    };
    let client = connect(&arguments.node, settings)?;
    let signer = client.signer(key, arguments.lane);
    let signer = signer.map_err(|error| Failure::of_client("cannot ask for the key's counters", &error))?;
    Ok((client, signer))
}

/// Reads a key file, and unlocks it with the passphrase if it is sealed.
pub(super) fn read_key(path: &Path, settings: &Settings) -> Result<SigningKey, Failure> {
    match read_secret(path, settings)? {
        SecretKey::Signing(key) => Ok(key),
        SecretKey::Kem(_) => Err(format_failure(path, KeyFault::Kem)),
    }
}

/// The key of either kind at `path`, with its passphrase if it is sealed.
pub(super) fn read_secret(path: &Path, settings: &Settings) -> Result<SecretKey, Failure> {
    let file = keys::open(path).map_err(|error| key_failure(path, &error))?;
    unlock(path, &file, settings)
}

/// The key that opens backups and messages: a key file's, or an identity's of age.
pub(super) fn read_identity(path: &Path, settings: &Settings) -> Result<Identity, Failure> {
    // A line of age's is none of a key file.
    let file = match keys::open(path) {
        Ok(file) => file,
        Err(KeyError::Format {
            fault: KeyFault::Line { .. },
            ..
        }) => {
            return crate::backup::read_identity(path).map_err(|error| {
                let next = "make one with `selfchain keys new FILE --kind kem`";
                let what = format!("cannot use the identity {}", path.display());
                Failure::new(ExitStatus::Failed, what, next).because(&error)
            });
        }
        Err(error) => return Err(key_failure(path, &error)),
    };
    // Before a passphrase is asked for.
    if file.kem().is_none() {
        return Err(format_failure(path, KeyFault::Signs));
    }
    match unlock(path, &file, settings)? {
        SecretKey::Kem(key) => Ok(Identity::new(key)),
        SecretKey::Signing(_) => Err(format_failure(path, KeyFault::Signs)),
    }
}

fn unlock(path: &Path, file: &KeyFile, settings: &Settings) -> Result<SecretKey, Failure> {
    let key = match file.is_sealed() {
        true => file.unlock_secret(&settings.passphrase.of(path)?),
        false => file.secret(),
    };
    key.map_err(|fault| format_failure(path, fault))
}

fn format_failure(path: &Path, fault: KeyFault) -> Failure {
    let path = path.to_owned();
    key_failure(&path.clone(), &KeyError::Format { path, fault })
}

/// Why a key file cannot be used, and what to do.
pub(super) fn key_failure(path: &Path, error: &KeyError) -> Failure {
    let (status, next) = match error {
        KeyError::Format {
            fault: KeyFault::Passphrase,
            ..
        } => (
            ExitStatus::Failed,
            "try again with the passphrase that it was sealed under",
        ),
        KeyError::Format {
            fault:
                KeyFault::Node { .. } | KeyFault::NotBuilt | KeyFault::Kem | KeyFault::Signs | KeyFault::Cost(_),
            ..
        } => (ExitStatus::Failed, ""),
        KeyError::Format { .. } => (ExitStatus::Corrupt, "restore the file from a backup"),
        KeyError::Permissions { .. } | KeyError::Exists { .. } => (ExitStatus::Failed, ""),
        KeyError::Io { .. } if !error.is_absent() => (ExitStatus::Failed, ""),
        KeyError::Io { .. } => (
            ExitStatus::Failed,
            "make one with `selfchain keys new FILE`, or name one with --key",
        ),
    };
    Failure::new(status, format!("cannot use the key {}", path.display()), next).because(error)
}

fn server_key(config: &Config) -> Result<[u8; 32], Failure> {
    let path = config.node_key_path();
    // The public half, which no passphrase is needed for.
    let file = keys::open(&path).map_err(|error| {
        let next = "pass --server-key HEX; on the node, `selfchain keys show` prints it";
        Failure::usage("the node's key is not known", next).because(&error)
    })?;
    // Of a hybrid, what TLS proves is the first half.
    let key = file.public_bytes().first_chunk().copied();
    key.ok_or_else(|| Failure::usage("the node's key is shorter than any", ""))
}

fn parse_key(hex: &str) -> Result<[u8; 32], Failure> {
    let key = Hash::from_hex(hex).map(|bytes| bytes.0);
    key.ok_or_else(|| {
        Failure::usage(
            format!("--server-key takes 64 hexadecimal characters, not {}", hex.len()),
            "",
        )
    })
}

/// Parses a hash in hexadecimal.
pub(super) fn parse_hash(what: &str, text: &str) -> Result<Hash, Failure> {
    Hash::from_hex(text)
        .ok_or_else(|| Failure::usage(format!("{what} takes 64 hexadecimal characters: {text}"), ""))
}

/// The account, which must be there.
pub(super) fn account(client: &Client, id: AccountId) -> Result<AccountState, Failure> {
    let asked = format!("cannot show account {id}");
    let account = client
        .account(id)
        .map_err(|error| Failure::of_client(asked, &error))?;
    let next = "open it with `selfchain account open`";
    account.ok_or_else(|| Failure::new(ExitStatus::Refused, format!("there is no account {id}"), next))
}

/// The asset, which must be there.
pub(super) fn asset(client: &Client, id: AssetId) -> Result<AssetRecord, Failure> {
    let asked = format!("cannot show asset {id}");
    let asset = client
        .asset(id)
        .map_err(|error| Failure::of_client(asked, &error))?;
    let next = "create it with `selfchain asset create`";
    asset.ok_or_else(|| Failure::new(ExitStatus::Refused, format!("there is no asset {id}"), next))
}

/// Decimal digits of an asset.
pub(super) fn scale(client: &Client, id: AssetId) -> Result<u8, Failure> {
    Ok(u8::try_from(asset(client, id)?.scale.get()).unwrap_or(u8::MAX))
}

/// An amount at a scale.
pub(super) fn amount(text: &str, scale: u8) -> Result<Amount, Failure> {
    Amount::parse_at_scale(text, scale).ok_or_else(|| {
        let what = format!("`{text}` is not an amount with at most {scale} digits after the point");
        Failure::usage(
            what,
            "write it as 12.50, without sign, exponent or thousands separator",
        )
    })
}

/// A failed question.
pub(super) fn asked(what: &str) -> impl FnOnce(ClientError) -> Failure + use<'_> {
    move |error| Failure::of_client(what, &error)
}
