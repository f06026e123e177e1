//! Why a demo did not come to its end.

use crate::ai::DecideError;
use crate::client::ClientError;
use crate::cluster::ClusterError;
use crate::input::InputError;
use crate::keys::KeyError;
use crate::ledger::LedgerError;
use crate::node::NodeError;
use crate::store::StoreError;
use selfchain_bench::load::workload::WorkloadError;
use selfchain_types::Outcome;
use selfchain_types::seam::log::LogError;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why a demo did not come to its end. What had been committed by then is in the directory, if that was given.
#[derive(Debug, Error)]
pub enum DemoError {
    /// An option is out of its range.
    #[error("{option} is {got}; it must be from {min} to {max}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What was given.
        got: u64,
        /// Least.
        min: u64,
        /// Most.
        max: u64,
    },
    /// An input file is not what it should be; nothing was started.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The transfers cannot be generated; nothing was started.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// The directory cannot be made or removed.
    #[error("cannot {action} the directory {path}: {source}")]
    Folder {
        /// What was tried.
        action: &'static str,
        /// On which.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The directory cannot be used: another process uses it, or it is not writable.
    #[error("the data directory cannot be used")]
    Disk(#[source] LogError),
    /// A chain is in the directory already, or cannot be put there.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The validators.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The keys.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The operating system has no random numbers for keys.
    #[error("no random numbers from the operating system")]
    Random,
    /// The clock.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The operating system refused a thread.
    #[error("cannot start {what}")]
    Thread {
        /// Whose.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The node did not start, or stopped.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A call to the node failed, or it refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No model decides.
    #[error(transparent)]
    Decide(#[from] DecideError),
    /// An account could not be opened.
    #[error("an account could not be opened: {outcome}")]
    Opening {
        /// What the ledger said.
        outcome: Outcome,
    },
    /// A client thread panicked.
    #[error("a client thread panicked")]
    Panicked,
}
