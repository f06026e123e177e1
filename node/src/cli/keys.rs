//! `keys`: makes, seals, shows and exports key files, and certifies them by an identity's root.

mod certify;
mod show;

use super::access::{self, key_failure};
use super::arguments::NodeArguments;
use super::files::write_new;
use super::output::Output;
use super::passphrase;
use super::settings::Settings;
use super::{ExitStatus, Failure, describe};
use crate::bench::SchemeArgument;
use crate::keys::{self, Passphrase, SecretKey};
pub(super) use certify::CertifyArguments;
use certify::{IdentityChange, RevokeArguments, RotateArguments, SubmitArguments};
use clap::{Args, Subcommand, ValueEnum};
use selfchain_types::crypto::Scheme;
use selfchain_types::crypto::passphrase::Cost;
use selfchain_types::identity::is_root_scheme;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What is done with keys.
#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key file, readable by you alone.
    New(NewArguments),
    /// Show a key's public half, or what a certificate of a node's identity says.
    Show {
        /// Which key file or certificate [default: the node's key].
        file: Option<PathBuf>,
    },
    /// Seal a key file under a passphrase, or give it another one.
    Encrypt {
        /// Which key file [default: the node's].
        file: Option<PathBuf>,
        /// The file of the new passphrase [default: that of --passphrase-file; of a sealed file asked for].
        #[arg(long, value_name = "FILE")]
        new_passphrase_file: Option<PathBuf>,
        #[command(flatten)]
        cost: CostArguments,
    },
    /// Ask a node what identity is certified: of a node's id, or of a key that it lists or did.
    Identity {
        /// The id, 64 hexadecimal characters.
        id: String,
        #[command(flatten)]
        node: NodeArguments,
    },
    /// Certify the keys that a node runs with, by the root of its identity.
    Certify(CertifyArguments),
    /// Certify other keys in the place of some, which count on for a while.
    Rotate(RotateArguments),
    /// Revoke an identity for good: its keys count no more from the next height on.
    Revoke(RevokeArguments),
    /// Send a transaction that `--transaction` wrote, or `certify` on another machine.
    Submit(SubmitArguments),
    /// Write a key's public half, or its secret one, for another machine.
    Export(ExportArguments),
}

#[derive(Debug, Args)]
pub(super) struct NewArguments {
    /// Where.
    file: PathBuf,
    /// What it is for.
    #[arg(long, value_enum, default_value_t = KindArgument::Hot)]
    kind: KindArgument,
    /// How it signs [default: ed25519; of a root ed25519+slh-dsa-sha2-128s]. A node's own key is of the first kind.
    #[arg(long, value_enum)]
    scheme: Option<SchemeArgument>,
    /// Seal it under a passphrase.
    #[arg(long)]
    encrypt: bool,
    #[command(flatten)]
    cost: CostArguments,
}

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum KindArgument {
    /// The root of a node's identity, which certifies the others; best kept off the node.
    Root,
    /// A key that a node or a client runs with.
    Hot,
    /// A key that backups and messages are sealed to; it signs nothing.
    Kem,
}

/// What unlocking a sealed file costs; it is written in the file.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct CostArguments {
    /// Memory that unlocking takes.
    #[arg(long, value_name = "KIB", default_value_t = Cost::USUAL.memory_kib, hide = true)]
    memory_kib: u32,
    /// Passes over that memory.
    #[arg(long, default_value_t = Cost::USUAL.passes, hide = true)]
    passes: u32,
}

impl CostArguments {
    fn cost(self) -> Cost {
        Cost {
            memory_kib: self.memory_kib,
            passes: self.passes,
            lanes: Cost::USUAL.lanes,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct ExportArguments {
    /// Which key file [default: the node's].
    file: Option<PathBuf>,
    /// Write the secret half too, and what the node may have signed as a validator: whoever has that file can sign.
    #[arg(long, requires = "to")]
    secret: bool,
    /// Where to. With --secret the file is sealed under a passphrase, unless --plain is given.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Do not seal what is exported.
    #[arg(long, requires = "secret")]
    plain: bool,
    /// The passphrase of the exported file [default: as the key's own].
    #[arg(long, value_name = "FILE", requires = "secret")]
    new_passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    cost: CostArguments,
}

pub(super) fn keys(command: KeysCommand, settings: &Settings, output: Output) -> Result<(), Failure> {
    match command {
        KeysCommand::New(arguments) => new(&arguments, settings, output),
        KeysCommand::Show { file } => show::show(&file_or_node(file, settings)?, output),
        KeysCommand::Identity { id, node } => show::identity(&id, &node, settings, output),
        KeysCommand::Encrypt {
            file,
            new_passphrase_file,
            cost,
        } => {
            let file = file_or_node(file, settings)?;
            encrypt(
                &file,
                new_passphrase_file.as_deref(),
                cost.cost(),
                settings,
                output,
            )
        }
        KeysCommand::Certify(arguments) => {
            certify::certify(&IdentityChange::Certify(arguments), settings, output)
        }
        KeysCommand::Rotate(arguments) => {
            certify::certify(&IdentityChange::Rotate(arguments), settings, output)
        }
        KeysCommand::Revoke(arguments) => {
            certify::certify(&IdentityChange::Revoke(arguments), settings, output)
        }
        KeysCommand::Submit(arguments) => certify::submit(&arguments, settings, output),
        KeysCommand::Export(arguments) => export(&arguments, settings, output),
    }
}

fn file_or_node(file: Option<PathBuf>, settings: &Settings) -> Result<PathBuf, Failure> {
    match file {
        Some(file) => Ok(file),
        None => Ok(settings.resolve()?.config.node_key_path()),
    }
}

fn new(arguments: &NewArguments, settings: &Settings, output: Output) -> Result<(), Failure> {
    let file = &arguments.file;
    let wanted = arguments.scheme.map(Scheme::from);
    let scheme = match arguments.kind {
        KindArgument::Root => Some(wanted.unwrap_or(Scheme::Ed25519SlhDsa128s)),
        KindArgument::Hot => Some(wanted.unwrap_or(Scheme::Ed25519)),
        KindArgument::Kem => None,
    };
    let refused = match (arguments.kind, wanted) {
        (KindArgument::Root, Some(scheme)) if !is_root_scheme(scheme) => Some(("a root", scheme)),
        (KindArgument::Kem, Some(scheme)) => Some(("a key to seal to", scheme)),
        _ => None,
    };
    if let Some((what, scheme)) = refused {
        let what = format!("{what} cannot be of the scheme {}", scheme.name());
        return Err(Failure::usage(what, "leave --scheme out"));
    }
    // Asked for before a key is there: who gives up here leaves nothing behind.
    let passphrase = match arguments.encrypt {
        true => Some(settings.passphrase.for_new(file)?),
        false => None,
    };
    let key = match scheme {
        Some(scheme) => keys::draw(file, scheme).map(SecretKey::Signing),
        None => keys::draw_kem(file).map(SecretKey::Kem),
    };
    let made = key.and_then(|key| match &passphrase {
        None => keys::write(file, key.halves()),
        Some(passphrase) => keys::write_sealed(file, key.halves(), passphrase, arguments.cost.cost(), None),
    });
    made.map_err(|error| {
        let what = format!("cannot make the key {}", file.display());
        Failure::new(ExitStatus::Failed, what, "").because(&error)
    })?;
    show::show(file, output)
}

fn encrypt(
    file: &Path,
    new_passphrase_file: Option<&Path>,
    cost: Cost,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let was_sealed = keys::open(file)
        .map_err(|error| key_failure(file, &error))?
        .is_sealed();
    let key = access::read_secret(file, settings)?;
    let passphrase = match new_passphrase_file {
        Some(new) => passphrase::of_file(new)?,
        None if was_sealed => passphrase::ask_twice(file)?,
        None => settings.passphrase.for_new(file)?,
    };
    keys::seal(file, key.halves(), &passphrase, cost).map_err(|error| key_failure(file, &error))?;
    show::show(file, output)
}

fn export(arguments: &ExportArguments, settings: &Settings, output: Output) -> Result<(), Failure> {
    let file = file_or_node(arguments.file.clone(), settings)?;
    if !arguments.secret {
        let opened = keys::open(&file).map_err(|error| key_failure(&file, &error))?;
        let value = show::of_file(&file, &opened);
        if let Some(to) = &arguments.to {
            write_new(to, value.to_string().as_bytes())?;
        }
        return say(&value, output);
    }
    let to = arguments.to.clone().unwrap_or_default();
    let key = access::read_secret(&file, settings)?;
    let guard = guard_of(&file, settings)?;
    let sealing: Option<Passphrase> = match (arguments.plain, &arguments.new_passphrase_file) {
        (true, _) => None,
        (false, Some(new)) => Some(passphrase::of_file(new)?),
        (false, None) => Some(settings.passphrase.for_new(&to)?),
    };
    let written = match &sealing {
        Some(passphrase) => keys::write_sealed(
            &to,
            key.halves(),
            passphrase,
            arguments.cost.cost(),
            guard.as_deref(),
        ),
        None => keys::write_guarded(&to, key.halves(), guard.as_deref()),
    };
    written.map_err(|error| key_failure(&to, &error))?;
    let written = keys::open(&to).map_err(|error| key_failure(&to, &error))?;
    let mut value = show::of_file(&to, &written);
    value["has_guard"] = guard.is_some().into();
    say(&value, output)
}

/// What a validator may have signed with the node's key: of another key nothing is known here.
fn guard_of(file: &Path, settings: &Settings) -> Result<Option<Vec<u8>>, Failure> {
    let config = settings.resolve()?.config;
    if file != config.node_key_path() {
        return Ok(None);
    }
    crate::guard::export(&config).map_err(|error| {
        let next = "stop the node first: what it signs while its key is copied would not be known there";
        let what = "cannot read what this validator has signed";
        Failure::new(ExitStatus::Failed, what, next).because(&error)
    })
}

fn say(value: &Value, output: Output) -> Result<(), Failure> {
    output.result(&describe::lines(value), value)
}

#[cfg(test)]
#[path = "keys/program_tests.rs"]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
