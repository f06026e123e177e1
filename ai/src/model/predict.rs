//! What every kind of model can do: say how likely fraud is for rows of features.

use crate::explain::{Reason, occlude};
use crate::features::Row;
use crate::score::LogOdds;
use selfchain_types::Operation;

/// A model. Its conformance suite is `conform_tests.rs`, beside this file.
///
/// For the same rows it gives the same log-odds, whatever the size of the batch and the thread; one that
/// [is exact](Predict::is_exact) gives them bit for bit on every processor. It never panics on any row, and
/// never gives more than [`crate::score::LOG_ODDS_MAX`] either way.
pub trait Predict: Send + Sync {
    /// Appends the log-odds of each row, in order. `operations` are the transfers that the rows describe, one
    /// a row: only rules look at them, for exact amounts and parties.
    fn log_odds(&self, rows: &[Row], operations: &[&Operation], out: &mut Vec<LogOdds>);

    /// Whether it gives the same bits on every processor, so that validators may hold one another to it.
    fn is_exact(&self) -> bool;

    /// A row that says nothing unusual, feature by feature: what an explanation compares with.
    fn typical(&self) -> &Row;

    /// Rows so far of which it could say nothing, since something in it failed: they have even odds.
    fn failed(&self) -> u64 {
        0
    }

    /// What raises the log-odds of a row, the strongest first.
    fn explain(&self, row: &Row, operation: &Operation) -> Vec<Reason> {
        occlude(self, row, operation)
    }
}
