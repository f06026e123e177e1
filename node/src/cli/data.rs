//! `data`: the owner's own documents beside the chain, on a running node or in the directory of a stopped one.

mod site;
mod content;
mod show;
mod difference;
mod grants;
mod anchor;

pub(super) use site::vault_key;

use super::Failure;
use super::arguments::{NodeArguments, SignArguments};
use super::output::Output;
use super::settings::Settings;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Where the documents are: of the node whose data directory it is, running or not, unless another is named.
#[derive(Clone, Debug, Args)]
pub(super) struct SiteArguments {
    #[command(flatten)]
    pub(super) node: NodeArguments,
    /// The key file that asks: an owner's, or one with a grant [default: the node's].
    #[arg(long, value_name = "FILE")]
    pub(super) key: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum DataCommand {
    /// Put a file, or standard input, as a new version of a document.
    Put {
        /// The document's name: UTF-8, with `/` between its parts.
        name: String,
        /// The file; `-` or nothing for standard input.
        file: Option<PathBuf>,
        /// Refuse unless this is the newest version; 0 for none yet.
        #[arg(long, value_name = "VERSION")]
        if_version: Option<u64>,
        #[command(flatten)]
        at: SiteArguments,
    },
    /// Read a document, checked from its first byte to its last before any of it is put in place.
    Get {
        /// Its name.
        name: String,
        /// Which version [default: the newest].
        #[arg(long, default_value_t = 0, hide_default_value = true, value_name = "VERSION")]
        version: u64,
        /// The file to write; what an interrupted call has fetched is not fetched again. Without it: standard output.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Also write why the ledger vouches for this version, checked with the node.
        #[arg(long, value_name = "FILE")]
        prove: Option<PathBuf>,
        #[command(flatten)]
        at: SiteArguments,
    },
    /// List documents.
    List {
        /// How their names begin.
        #[arg(default_value = "")]
        prefix: String,
        /// Also those that were removed.
        #[arg(long)]
        removed: bool,
        #[command(flatten)]
        at: SiteArguments,
    },
    /// Show the versions of a document, and where they are anchored.
    History {
        /// Its name.
        name: String,
        #[command(flatten)]
        at: SiteArguments,
    },
    /// Show what changed between two versions, line by line where they are text.
    Diff {
        /// The document's name.
        name: String,
        /// The older one [default: the one before the other].
        #[arg(long, value_name = "VERSION")]
        from: Option<u64>,
        /// The other [default: the newest].
        #[arg(long, value_name = "VERSION")]
        to: Option<u64>,
        #[command(flatten)]
        at: SiteArguments,
    },
    /// Remove a document: its versions stay. With --purge their content is destroyed for good.
    Rm {
        /// Its name.
        name: String,
        /// Destroy the content of all its versions; nobody gets it back.
        #[arg(long)]
        purge: bool,
        /// Destroy only versions up to this one, and do not remove the document.
        #[arg(long, value_name = "VERSION", requires = "purge", value_parser = clap::value_parser!(u64).range(1..))]
        through: Option<u64>,
        #[command(flatten)]
        at: SiteArguments,
    },
    /// Read every byte of every version, and check it.
    Verify {
        #[command(flatten)]
        at: SiteArguments,
    },
    /// Put the hash of a version, or of all documents together, on the ledger.
    Anchor {
        /// The document; without it the root over all of them.
        name: Option<String>,
        /// Which version [default: the newest].
        #[arg(
            long,
            default_value_t = 0,
            hide_default_value = true,
            value_name = "VERSION",
            requires = "name"
        )]
        version: u64,
        #[command(flatten)]
        sign: SignArguments,
    },
    /// Let another key read or write documents whose names begin so.
    Grant {
        /// The key's id.
        key_id: String,
        /// How the names begin, such as `notes/`; empty for all.
        prefix: String,
        /// List, read, and see the history.
        #[arg(long)]
        read: bool,
        /// Put new versions, and remove.
        #[arg(long)]
        write: bool,
        /// How long, such as 90s, 15m, 12h or 30d [default: until it is revoked].
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
        #[command(flatten)]
        at: SiteArguments,
    },
    /// Show who may what.
    Grants {
        #[command(flatten)]
        at: SiteArguments,
    },
    /// Take a grant back.
    Revoke {
        /// The key's id.
        key_id: String,
        /// The beginning of names that was granted.
        prefix: String,
        #[command(flatten)]
        at: SiteArguments,
    },
    /// Show who was turned away, newest last.
    Denials {
        /// Most rows.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
        rows: u16,
        #[command(flatten)]
        at: SiteArguments,
    },
}

pub(super) fn data(command: &DataCommand, settings: &Settings, output: Output) -> Result<(), Failure> {
    match command {
        DataCommand::Put {
            name,
            file,
            if_version,
            at,
        } => content::put(name, file.as_deref(), *if_version, at, settings, output),
        DataCommand::Get {
            name,
            version,
            out,
            prove,
            at,
        } => content::get(
            (name, *version),
            out.as_deref(),
            prove.as_deref(),
            at,
            settings,
            output,
        ),
        DataCommand::List { prefix, removed, at } => show::list(prefix, *removed, at, settings, output),
        DataCommand::History { name, at } => show::history(name, at, settings, output),
        DataCommand::Diff { name, from, to, at } => {
            difference::diff(name, (*from, *to), at, settings, output)
        }
        DataCommand::Rm {
            name,
            purge,
            through,
            at,
        } => show::remove(name, *purge, *through, at, settings, output),
        DataCommand::Verify { at } => show::verify(at, settings, output),
        DataCommand::Anchor { name, version, sign } => {
            anchor::anchor(name.as_deref(), *version, sign, settings, output)
        }
        DataCommand::Grant {
            key_id,
            prefix,
            read,
            write,
            expires,
            at,
        } => {
            let rights = selfchain_types::vault::Rights {
                read: *read,
                write: *write,
            };
            grants::grant((key_id, prefix), rights, expires.as_deref(), at, settings, output)
        }
        DataCommand::Grants { at } => grants::grants(at, settings, output),
        DataCommand::Revoke { key_id, prefix, at } => grants::revoke(key_id, prefix, at, settings, output),
        DataCommand::Denials { rows, at } => grants::denials(*rows, at, settings, output),
    }
}

#[cfg(test)]
#[path = "data/data_tests.rs"]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
