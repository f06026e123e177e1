//! Events: what a demo tells whoever watches it.

use core::time::Duration;
use std::collections::BTreeMap;
use std::path::Path;

/// Hears how far a demo is, a few times a second.
pub trait Events {
    /// Something went on.
    fn event(&mut self, event: &Event<'_>);
}

/// Nobody watches.
impl Events for () {
    fn event(&mut self, _: &Event<'_>) {}
}

/// How far a demo is, in the order in which it goes.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// The file is read a first time, to find its accounts.
    Reading {
        /// The file.
        file: &'a Path,
    },
    /// Accounts are opened and funded.
    Opening {
        /// Operations committed.
        done: u64,
        /// Operations in all, as far as is known.
        of: u64,
    },
    /// Transfers are streamed.
    Streaming(&'a Live),
    /// Balances are compared with the fold.
    Comparing {
        /// Accounts compared.
        done: u64,
        /// Accounts in all.
        of: u64,
    },
    /// The node drains and stops.
    Stopping,
    /// The log is replayed.
    Verifying {
        /// Heights that hold.
        done: u64,
        /// Heights in all.
        of: u64,
    },
}

/// The stream as of now.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// Since its beginning.
    pub elapsed: Duration,
    /// Transfers that took effect so far.
    pub committed: u64,
    /// Transfers refused so far.
    pub refused: u64,
    /// Transfers held so far, settled ones included.
    pub held: u64,
    /// Refused ones by reason.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Rows of the file, where there is one.
    pub rows: Option<u64>,
    /// Transfers that took effect a second, lately.
    pub committed_per_s: f64,
    /// Median from due to answered, lately, in ms.
    pub commit_ms_p50: f64,
    /// 99 of 100 were at most this, lately, in ms.
    pub commit_ms_p99: f64,
    /// Transactions that wait for a block.
    pub pool_len: u64,
}
