//! Options: what a demo streams, how fast, for how long, and where its node keeps its data.

use super::pace::Speed;
use crate::config::Config;
use crate::node::NodeConfig;
use core::time::Duration;
use selfchain_ai::model::Model;
use selfchain_types::genesis::Plane;
use std::path::PathBuf;
use std::sync::Arc;

/// What to demonstrate.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the transfers come from.
    pub source: SourceOptions,
    /// How long to stream at most; `None` for as long as the source lasts.
    pub time_max: Option<Duration>,
    /// The node's directory, which is kept and must hold no chain yet; `None` for a temporary one, removed at
    /// the end.
    pub data: Option<PathBuf>,
    /// The node; but for its address, which is any free one of this machine's own.
    pub node: NodeConfig,
    /// How many validators agree, all in this process; where there are several, ledger time is the clock's.
    pub validators: u16,
    /// How several agree.
    pub plane: Plane,
    /// Whether they sign with Ed25519 and ML-DSA-65.
    pub pq_votes: bool,
}

impl Options {
    /// Streams all of `source` through a node with the default configuration, in a temporary directory.
    pub fn of(source: SourceOptions) -> Self {
        Self {
            source,
            time_max: None,
            data: None,
            node: Config::default().node_config(None),
            validators: 1,
            plane: Plane::Stake,
            pq_votes: false,
        }
    }
}

/// Where the transfers come from.
#[derive(Clone, Debug)]
pub enum SourceOptions {
    /// They are generated.
    Traffic(TrafficOptions),
    /// They are read from a file.
    Replay(ReplayOptions),
}

/// Generated transfers. Equal options give equal transfers.
#[derive(Clone, Debug)]
pub struct TrafficOptions {
    /// How long, by the schedule.
    pub duration: Duration,
    /// Mean of transfers a second; half of each second's come in its first fifth.
    pub rate_per_s: u64,
    /// Accounts between which they go.
    pub accounts: u64,
    /// Keys that own the accounts and sign, each on a connection and thread of its own.
    pub signers: u64,
    /// Most operations of a transaction.
    pub batch_len_max: usize,
    /// Decides everything.
    pub seed: u64,
}

impl Default for TrafficOptions {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(10),
            rate_per_s: 20_000,
            accounts: 10_000,
            signers: 4,
            batch_len_max: 64,
            seed: 1,
        }
    }
}

/// Transfers from a file.
#[derive(Clone, Debug)]
pub struct ReplayOptions {
    /// The transfers: [`crate::input::Rows`].
    pub input: PathBuf,
    /// Opening balances: [`crate::input::Openings`]; without it every account opens with nothing.
    pub openings: Option<PathBuf>,
    /// How fast.
    pub speed: Speed,
    /// Whether the file's times are the ledger's: not where several validators agree.
    pub keeps_time: bool,
    /// By which model transfers are scored, and from which score on they are held; `None` for no scores.
    pub scoring: Option<ScoreOptions>,
}

/// How a demo scores and holds transfers.
#[derive(Clone, Debug)]
pub struct ScoreOptions {
    /// The model.
    pub model: Arc<Model>,
    /// Transfers with this score or more are held.
    pub hold: u8,
}

/// From this score on a demo holds: odds of about three to one.
pub const HOLD_DEFAULT: u8 = 145;

/// A held transfer is settled when the stream's ledger time is so many seconds past it: voided if it is labelled as
/// fraud, else released.
pub const REVIEW_AFTER_S: u64 = 86_400;
