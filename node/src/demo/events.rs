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
    /// What models say of the transfers; `None` where nothing is scored.
    pub scores: Option<LiveScores>,
    /// Each validator, where there are several.
    pub validators: Vec<LiveValidator>,
}

/// A validator as of now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LiveValidator {
    /// Its newest durable block.
    pub height: u64,
    /// Who proposed it, by its number among the validators; `None` before the first.
    pub proposer: Option<usize>,
    /// The round it was decided in.
    pub round: u32,
    /// The round of the height after it, as of a moment ago.
    pub round_now: u32,
    /// Transactions a second in its durable blocks, lately.
    pub transactions_per_s: f64,
    /// And operations.
    pub operations_per_s: f64,
    /// Other validators that it has a connection with, and how many there are.
    pub peers: (usize, usize),
    /// Transactions that wait in its pool.
    pub pool_len: u64,
    /// What stopped it, if anything did.
    pub fault: Option<String>,
}

/// Scores as of now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveScores {
    /// Transfers that could be scored so far.
    pub transfers: u64,
    /// Those that were.
    pub scored: u64,
    /// Sum of their scores.
    pub sum: u64,
    /// How many of them have scores of 0 to 15, 16 to 31, and so on.
    pub spread: [u64; SPREAD],
    /// Holds that wait for their reviewer.
    pub open: u64,
    /// Holds that were released.
    pub released: u64,
    /// Holds that were voided.
    pub voided: u64,
    /// The most frequent reasons of holds so far, with how often each was among the first three.
    pub reasons: Vec<(&'static str, u64)>,
}

/// Bars of a spread of scores: one for every log-odds of one.
pub const SPREAD: usize = 16;
