//! Where the documents are: at a node that runs, or in the data directory of one that does not. Both are asked the
//! same questions.

use super::SiteArguments;
use crate::cli::settings::Settings;
use crate::cli::{ExitStatus, Failure, access};
use crate::client::Client;
use crate::config::Config;
use crate::vault::{Caller, Desk, DeskError, OpenError, VaultKey, open_vault};
use selfchain_storage::FileDisk;
use selfchain_types::crypto::{Scheme, SigningKey};
use selfchain_types::seam::log::LogError;
use selfchain_types::vault::{VaultAnswer, VaultQuery, Version};
use selfchain_types::{Refusal, TimeNs};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Where the documents are.
pub(super) enum Site {
    /// At a node that runs.
    Node(Client),
    /// In a directory, for its owner.
    Here(Box<Desk>, Caller),
}

impl Site {
    /// The node that is named; else the data directory, or the node that has it open.
    pub(super) fn open(at: &SiteArguments, settings: &Settings) -> Result<Self, Failure> {
        let config = settings.resolve()?.config;
        let key = match &at.key {
            Some(file) => access::read_key(file, settings)?,
            None => access::read_key(&config.node_key_path(), settings)?,
        };
        if at.node.server.is_none() {
            match FileDisk::open(&existing(&config)?) {
                Ok(disk) => return Self::here(disk, &config, &key, settings),
                // Whoever has it open answers.
                Err(LogError::Locked { .. }) => {}
                Err(error) => {
                    let what = format!("cannot open {}", config.data_dir.display());
                    return Err(Failure::new(ExitStatus::Failed, what, "").because(&error));
                }
            }
        }
        if key.public().scheme() != Scheme::Ed25519 {
            let next = "name another with --key: the handshake proves keys of the scheme ed25519 alone";
            return Err(Failure::usage("a node cannot be asked with this key", next));
        }
        Ok(Self::Node(access::connect_as(
            &at.node,
            settings,
            Some(Arc::new(key)),
        )?))
    }

    fn here(disk: FileDisk, config: &Config, key: &SigningKey, settings: &Settings) -> Result<Self, Failure> {
        let vault = open_vault(
            Arc::new(disk),
            &vault_key(config, settings)?,
            config.vault_limits(),
        );
        let what = "cannot open the vault";
        let (vault, _) = vault.map_err(|error| match error {
            OpenError::Vault(error) => of_desk(what, &error.into()),
            OpenError::KeyLost { .. } => {
                Failure::new(ExitStatus::Corrupt, what, "data.key_file says where it is").because(&error)
            }
            OpenError::Key(_) => Failure::new(ExitStatus::Failed, what, "").because(&error),
        })?;
        Ok(Self::Here(Box::new(Desk::new(vault)), Caller::owner(key.id())))
    }

    /// Asks, and says what was asked for where it fails.
    pub(super) fn ask(&mut self, what: &str, query: &VaultQuery<'_>) -> Result<VaultAnswer, Failure> {
        match self {
            Self::Node(client) => client
                .ask_vault(query)
                .map_err(|error| Failure::of_client(what, &error)),
            Self::Here(desk, caller) => desk
                .answer(caller, query, now())
                .map_err(|error| of_desk(what, &error)),
        }
    }

    /// Asks for a version.
    pub(super) fn version(&mut self, what: &str, query: &VaultQuery<'_>) -> Result<Version, Failure> {
        match self.ask(what, query)? {
            VaultAnswer::Version(version) => Ok(version),
            _ => Err(not_understood(what)),
        }
    }
}

/// The data directory, which must be there.
fn existing(config: &Config) -> Result<std::path::PathBuf, Failure> {
    let dir = &config.data_dir;
    if dir.is_dir() {
        return Ok(dir.clone());
    }
    let next = "name the directory with --data, make one with `selfchain init`, or name a node with --server";
    Err(Failure::usage(
        format!("there is no directory {}", dir.display()),
        next,
    ))
}

/// What opens the vault: the key that is there, or where it is to be made.
pub(in crate::cli) fn vault_key(config: &Config, settings: &Settings) -> Result<VaultKey, Failure> {
    let path = config.vault_key_path();
    match path.exists() {
        true => Ok(VaultKey::Read(Arc::new(access::read_key(&path, settings)?))),
        false => Ok(VaultKey::Make(path)),
    }
}

fn of_desk(what: &str, error: &DeskError) -> Failure {
    let (status, next) = match error.refusal() {
        Refusal::Damaged => (ExitStatus::Corrupt, DAMAGED_NEXT),
        Refusal::NotFound
        | Refusal::Denied
        | Refusal::VersionConflict
        | Refusal::VaultLimit
        | Refusal::Malformed => (ExitStatus::Refused, ""),
        _ => (ExitStatus::Failed, ""),
    };
    Failure::new(status, what, next).because(error)
}

/// What to do about documents that do not hold.
pub(super) const DAMAGED_NEXT: &str =
    "nothing of it was used; restore the file that is named from a backup, or purge the version";

/// An answer that another version of the program may have meant.
pub(super) fn not_understood(what: &str) -> Failure {
    let next = "use a client of the node's version";
    Failure::new(
        ExitStatus::Failed,
        format!("{what}: the answer is not understood"),
        next,
    )
}

fn now() -> TimeNs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimeNs(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
