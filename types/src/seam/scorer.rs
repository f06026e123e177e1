//! The scorer seam: how risky a transfer is.
//!
//! A scorer is a projection of the log. The contract:
//! - The driver lets it [`observe`](Scorer::observe) block `h − 1` before it lets it
//!   [`score`](Scorer::score) candidates for `h`.
//! - `score` appends exactly one `u8` an operation: 0 (safe) to 254 (risky), 255 for what was not scored:
//!   kinds that are not scored, and what is left when the budget is used up.
//! - It never fails and never blocks past its budget. Scoring candidates leaves no trace: only `observe`
//!   changes what later scores depend on.
//! - With the same blocks observed and the same candidates, a scorer that [decides](Scorer::decides) gives
//!   the same bytes on every machine, whatever the batches and threads.

use crate::{Operation, TimeNs};
use std::vec::Vec;

/// Operations in the order of the block, with their ledger times.
#[derive(Clone, Copy, Debug)]
pub struct Timed<'a> {
    /// The operation.
    pub operation: &'a Operation,
    /// Its ledger time.
    pub time: TimeNs,
}

/// A scorer.
pub trait Scorer: Send {
    /// Hash of the model, or `None` for one that never scores.
    fn model(&self) -> Option<crate::Hash>;

    /// Whether it is bit-exact, so that validators may hold one another to its scores.
    fn decides(&self) -> bool;

    /// Folds the operations of a decided block, as attempted.
    fn observe(&mut self, operations: &mut dyn Iterator<Item = Timed<'_>>);

    /// Appends one score an operation of a candidate block, within `budget_ns` of processor time.
    fn score(
        &mut self,
        operations: &mut dyn Iterator<Item = Timed<'_>>,
        budget_ns: u64,
        scores: &mut Vec<u8>,
    );
}
