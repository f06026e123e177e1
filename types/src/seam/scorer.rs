//! The scorer seam: how risky a transfer is.
//!
//! A scorer is a projection of the log. The contract:
//! - It is told every decided block, in order and once: by [`keep`](Scorer::keep) when the block is the candidate
//!   that it scored last, else by [`observe`](Scorer::observe); both leave the same behind.
//! - [`score`](Scorer::score) sets exactly one `u8` an operation: 0 (safe) to 254 (risky), 255 for what is not
//!   scored: other kinds than transfers, transfers of an issuance account, and what is left when the budget is used
//!   up. Scoring another candidate takes the one before it back.
//! - It never fails and never blocks past its budget. What fails inside is a neutral score and is counted.
//! - With the same blocks told and the same candidate, a model that [is exact](Scorer::is_exact) gives the same
//!   bytes on every machine, whatever the batches and threads. Any other scores only candidates that are [decided for
//!   certain](Terms::is_decided): validators cannot hold one another to it.
//! - [`freeze`](Scorer::freeze) and [`sweep`](Scorer::sweep) write its memory down between blocks;
//!   [`restore`](Scorer::restore) reads it, and then it goes on as if it had been told everything.

use crate::{Hash, Operation, Risk, TimeNs};
use std::boxed::Box;
use std::error::Error;

/// An operation with its ledger time.
#[derive(Clone, Copy, Debug)]
pub struct Timed<'a> {
    /// The operation.
    pub operation: &'a Operation,
    /// Its ledger time.
    pub time: TimeNs,
}

/// What a candidate is scored by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms<'a> {
    /// The model that decides.
    pub model: Hash,
    /// Operations, by position and ascending, about which another model is asked too: the higher score stands.
    pub preferred: &'a [(u32, Hash)],
    /// Scores from which on reasons are wanted; 255 for none.
    pub reasons_from: u8,
    /// Wall time that scoring may take.
    pub budget_ns: u64,
    /// Whether the candidate is decided for certain, as where one validator orders: it is never taken back.
    pub is_decided: bool,
}

/// A scorer.
pub trait Scorer: Send {
    /// Whether it has this model.
    fn knows(&self, model: &Hash) -> bool;

    /// Whether it has this model and that is bit-exact, so that validators may hold one another to its scores.
    fn is_exact(&self, model: &Hash) -> bool;

    /// Folds a decided block that it did not score last: its operations in order, as attempted, without reports and
    /// new assets that were refused.
    fn observe(&mut self, operations: &[Timed<'_>]);

    /// Scores a candidate's operations. `risk` gets one score an operation, and the reasons of those that are asked
    /// for, by position.
    fn score(&mut self, operations: &[Timed<'_>], terms: &Terms<'_>, risk: &mut Risk);

    /// The candidate that was scored last is decided. `learnt` are its reports and new assets that took effect.
    fn keep(&mut self, learnt: &[Timed<'_>]);

    /// Freezes its memory as it is, for [`Scorer::sweep`] to hand on while it goes on.
    fn freeze(&mut self);

    /// Hands on about `count` records more of what is frozen; whether that was the last.
    fn sweep(&mut self, count: u32, sink: &mut dyn FnMut(&[u8])) -> bool;

    /// Reads the next part of what was written. After an error the scorer is of no use.
    ///
    /// # Errors
    /// What is wrong with the part.
    fn restore(&mut self, chunk: &[u8]) -> Result<(), Box<dyn Error + Send + Sync>>;

    /// Hash of its memory: equal for equal pasts.
    fn memory_hash(&self) -> Hash;

    /// Bytes of memory that it takes.
    fn memory_bytes(&self) -> usize;

    /// Scores so far that are neutral because something inside failed.
    fn failed(&self) -> u64;

    /// Processor time that scoring has taken so far, of all threads together.
    fn cpu_ns(&self) -> u64;
}
