//! Why a measurement was not made.

use super::load::PrepareError;
use super::rig::RigStartError;
use selfchain_bench::ceiling::CeilingError;
use selfchain_bench::load::drive::LoadError;
use selfchain_bench::load::workload::WorkloadError;
use selfchain_bench::peers::PeerError;
use selfchain_bench::prepared::PreparedError;
use selfchain_bench::report::ReportError;
use selfchain_bench::rig::RigError;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why a measurement was not made.
#[derive(Debug, Error)]
pub enum BenchError {
    /// No model decides.
    #[error(transparent)]
    Decide(#[from] crate::ai::DecideError),
    /// Too few validators for one of them to fail.
    #[error("--fault takes four validators or more, not {validators}: of fewer none may fail")]
    Fault {
        /// How many there are.
        validators: u16,
    },
    /// `prepare` without a file.
    #[error("name the file of the load with --load")]
    NoLoadFile,
    /// A load file of something else.
    #[error("{path} is a load of {got}, not of {want}")]
    OtherLoad {
        /// Which file.
        path: PathBuf,
        /// Its shape.
        got: String,
        /// The flags'.
        want: String,
    },
    /// A data directory that is in use.
    #[error("{path} is not empty")]
    NotEmpty {
        /// Which.
        path: PathBuf,
    },
    /// The workload is impossible.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// The load was not made.
    #[error("the load was not made")]
    Prepare(#[from] PrepareError),
    /// The load cannot be read.
    #[error("the load cannot be read")]
    Prepared(#[from] PreparedError),
    /// The node did not start.
    #[error("the node did not start")]
    Start(#[from] RigStartError),
    /// The node could not be used.
    #[error(transparent)]
    Rig(#[from] RigError),
    /// The accounts of the load were not opened.
    #[error("set-up transaction {number} was not committed whole: {code}")]
    SetUp {
        /// Its number, from 0.
        number: u64,
        /// What the node said.
        code: &'static str,
    },
    /// The load ended early.
    #[error("the load was not driven to its end")]
    Load(#[from] LoadError),
    /// A trial ran out of load.
    #[error("the load file ended in the middle of the search: raise --load-bytes")]
    Exhausted,
    /// This machine's limits.
    #[error("this machine's limits were not measured")]
    Ceiling(#[from] CeilingError),
    /// The rivals.
    #[error("a rival was not measured")]
    Peer(#[from] PeerError),
    /// The report.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The ledger did not do what the load says.
    #[error("the ledger broke: {0}")]
    Ledger(String),
    /// The disk.
    #[error("cannot {action} {path}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl BenchError {
    /// Whether other arguments would help.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Fault { .. }
                | Self::NoLoadFile
                | Self::OtherLoad { .. }
                | Self::NotEmpty { .. }
                | Self::Workload(_)
                | Self::Exhausted
        )
    }
}

/// What is being done, how much of it is done, and how much there is; both 0 when it begins.
pub type Tell<'a> = dyn FnMut(&str, u64, u64) + 'a;
