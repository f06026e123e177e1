//! The seam to a running node: `node` implements it, tests implement it, the harness knows nothing else.

use std::error::Error;
use std::time::Duration;

use crate::process::Process;
use crate::report::{Stage, Verify};

/// A running node with the load's accounts open, ready to be measured.
///
/// The harness calls [`Rig::connect`] once per connection and load, marks the stages when the measured time
/// begins, reads them when it ends, and verifies last. All calls may come from any thread.
pub trait Rig: Sync {
    /// Opens one connection as a user would. Its halves are used from two threads at once.
    ///
    /// # Errors
    /// When the node does not take the connection.
    fn connect(&self) -> Result<Connection, RigError>;

    /// Begins a new measuring interval for [`Rig::stages`].
    fn mark_stages(&self);

    /// The stages since the last mark, in the order of the road.
    fn stages(&self) -> Vec<Stage>;

    /// The process whose CPU time and memory are the node's.
    fn process(&self) -> Process;

    /// Bytes of log on disk now.
    fn log_bytes(&self) -> u64;

    /// How far the log and the index behind it are.
    fn heights(&self) -> Heights;

    /// What "committed" means here, as the report prints it: none, or synced.
    fn durability(&self) -> &'static str;

    /// Stops the node and replays its whole log: every hash, root and total.
    ///
    /// # Errors
    /// When the log cannot be read at all; a log that reads but does not hold is `Verify { ok: false, .. }`.
    fn verify(self: Box<Self>) -> Result<Verify, RigError>;
}

/// Newest blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heights {
    /// Newest durable block.
    pub durable: u64,
    /// Newest block that the index holds.
    pub indexed: u64,
}

/// The two halves of one connection.
pub struct Connection {
    /// Where envelopes go.
    pub submit: Box<dyn Submit>,
    /// Where answers come from.
    pub answers: Box<dyn Answers>,
}

/// The sending half of a connection. Dropping it ends the sending, not the answers to what was sent.
pub trait Submit: Send {
    /// Hands over one ready envelope; the n-th call on this connection, from 0, is ticket n. May keep bytes back
    /// until [`Submit::flush`], and may block while the road is full: that wait is charged to the latency.
    ///
    /// # Errors
    /// When the connection is gone; no later call will succeed.
    fn submit(&mut self, envelope: &[u8]) -> Result<(), RigError>;

    /// Sends what was kept back. Called whenever nothing more is due.
    ///
    /// # Errors
    /// When the connection is gone.
    fn flush(&mut self) -> Result<(), RigError>;
}

/// The receiving half of a connection.
pub trait Answers: Send {
    /// Appends the answers that are there, in any order; when there are none, waits for the first, at most `wait`.
    ///
    /// # Errors
    /// When the connection is gone.
    fn receive(&mut self, wait: Duration, into: &mut Vec<Answer>) -> Result<(), RigError>;
}

/// What the node said to one envelope. Exactly one of the last two verdicts ends every ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Position of the envelope on its connection, from 0.
    pub ticket: u64,
    /// What became of it.
    pub verdict: Verdict,
}

/// What became of an envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Past intake; a later answer will end it.
    Accepted,
    /// In a durable block.
    Committed {
        /// Operations that took effect.
        applied: u64,
        /// Operations that the ledger refused, by code; empty, and then without allocation, in the usual case.
        refused: Vec<(&'static str, u64)>,
    },
    /// Turned away or thrown out as a whole before the ledger saw it.
    Dropped {
        /// The reason's code.
        code: &'static str,
    },
}

/// Why the node could not be used.
#[derive(Debug, thiserror::Error)]
pub enum RigError {
    /// No connection.
    #[error("the node does not take a connection")]
    Connect(#[source] Box<dyn Error + Send + Sync>),
    /// A connection broke.
    #[error("the connection to the node broke")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
    /// The log could not be read after the run.
    #[error("the node's log cannot be verified")]
    Verify(#[source] Box<dyn Error + Send + Sync>),
}
