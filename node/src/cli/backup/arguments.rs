//! What can be typed after `backup`.

use super::super::arguments::NodeArguments;
use clap::{Args, Subcommand};
use std::num::NonZeroUsize;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(in super::super) enum BackupCommand {
    /// Put what is new since the last backup into it. Of a stopped node, or of one that runs, next to its data directory.
    Create(CreateArguments),
    /// List what is in a backup.
    List(FromArguments),
    /// Check a backup: signatures, and every part; with --identity also what is in the parts.
    Verify {
        #[command(flatten)]
        from: FromArguments,
        /// The file that opens the parts: an identity of age, or a key file of the kind kem.
        #[arg(long, value_name = "FILE")]
        identity: Option<PathBuf>,
    },
    /// Make a data directory from a backup: every hash, root and total is checked before it is put in place.
    Restore(RestoreArguments),
    /// Remove what no restore needs any more: everything before the newest full backup.
    Prune(FromArguments),
    /// Open one part of a backup by hand, as any program for age files can: what comes out is a Zstandard file.
    Open {
        /// The part.
        file: PathBuf,
        /// The file that opens it: an identity of age, or a key file of the kind kem.
        #[arg(long, value_name = "FILE")]
        identity: PathBuf,
        /// Where what it holds goes.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Make and show the keys that backups and messages are sealed to.
    #[command(subcommand)]
    Recipient(RecipientCommand),
}

#[derive(Debug, Subcommand)]
pub(in super::super) enum RecipientCommand {
    /// Make an identity file, readable by you alone, and show its public half. Keep it away from this machine.
    New {
        /// Where.
        file: PathBuf,
    },
    /// Show the public half of an identity file, or of a key file of the kind kem.
    Show {
        /// Which.
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(in super::super) struct CreateArguments {
    /// Where it is kept: a directory, or node://KEY@HOST:PORT.
    #[arg(long, value_name = "PLACE")]
    pub(super) to: String,
    /// The owner's root key file, which signs the manifest; of any scheme (`selfchain keys new --scheme`).
    #[arg(long, value_name = "FILE")]
    pub(super) key: PathBuf,
    /// Whom it is sealed to, age1pq1…; several times for several.
    #[arg(long, value_name = "RECIPIENT", required_unless_present = "recipients")]
    pub(super) recipient: Vec<String>,
    /// A file of such recipients, one a line.
    #[arg(long, value_name = "FILE")]
    pub(super) recipients: Option<PathBuf>,
    /// Begin anew with everything, so that nothing from before is needed.
    #[arg(long)]
    pub(super) full: bool,
    /// Put the node's secret keys in too. Whoever can open the backup can then sign as the node.
    #[arg(long)]
    pub(super) with_keys: bool,
    /// Where the newest backup is remembered [default: beside --key, ending in .known].
    #[arg(long, value_name = "FILE")]
    pub(super) known: Option<PathBuf>,
    /// The Ed25519 key file to connect with where a node keeps the backup [default: the node's].
    #[arg(long, value_name = "FILE")]
    pub(super) peer_key: Option<PathBuf>,
    /// Threads that compress and seal [default: one a core].
    #[arg(long, value_name = "COUNT")]
    pub(super) threads: Option<NonZeroUsize>,
    #[command(flatten)]
    pub(super) node: NodeArguments,
}

/// Which backup, and whose.
#[derive(Debug, Args)]
pub(in super::super) struct FromArguments {
    /// Where it is kept: a directory, or node://KEY@HOST:PORT.
    #[arg(long, value_name = "PLACE")]
    pub(super) from: String,
    /// Who must have signed it: the id of the owner's root key, or the key file.
    #[arg(long, value_name = "KEY_ID|FILE")]
    pub(super) owner: String,
    /// Where the newest backup is remembered [default: beside the owner's key file, or else beside --identity].
    #[arg(long, value_name = "FILE")]
    pub(super) known: Option<PathBuf>,
    /// Take a backup that is older than the newest that is known.
    #[arg(long)]
    pub(super) accept_older: bool,
    /// The Ed25519 key file to connect with where a node keeps the backup [default: the node's].
    #[arg(long, value_name = "FILE")]
    pub(super) peer_key: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in super::super) struct RestoreArguments {
    #[command(flatten)]
    pub(super) from: FromArguments,
    /// The file that opens the parts: an identity of age, or a key file of the kind kem.
    #[arg(long, value_name = "FILE")]
    pub(super) identity: PathBuf,
    /// The data directory to make: empty, or not there.
    #[arg(long, value_name = "DIR")]
    pub(super) into: PathBuf,
    /// Every other validator of the chain is lost or restored from this backup too: this one may vote at once. Never say
    /// so while another knows more.
    #[arg(long)]
    pub(super) others_are_lost: bool,
}
