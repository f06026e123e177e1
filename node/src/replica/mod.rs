//! A replica: one validator of several, as one thread sees it. Events in; messages, decided blocks and refusals out.
//!
//! ```text
//! peers' messages ─┐                    ┌─▶ messages, by lane
//! transactions ────┼─▶ Replica::handle ─┼─▶ decided blocks, for the log
//! the clock ───────┘   plane · chain ·  └─▶ transactions to verify, refusals
//!                      pool · journal
//! ```
//!
//! It performs a plane's effects as the seam asks: in order, and nothing that others see before the journal is
//! durable. It does no network I/O, starts no thread and reads no clock but for the budget of scoring its own blocks, so
//! that the simulator runs the same code under a virtual one. Only its journal and the log's reading end touch a disk.

mod seats;
mod bodies;
mod catch_up;
mod remembered;
mod acknowledging;
mod acknowledged;
mod seen;
mod starving;
mod word;
mod allowance;
mod lately;
mod view;
mod scores;
#[allow(clippy::module_inception, reason = "the struct and its folder have one name")]
mod replica;
mod exchange;
mod deciding;
mod following;
mod fetched;
mod quiet;
mod sharing;
mod checkpoints;

pub use acknowledged::INCLUSION_BOUND;
pub use allowance::{SERVED_BURST_BYTES, SERVED_BYTES_MIN, SERVED_BYTES_PER_S};
pub use checkpoints::{CheckpointJob, CheckpointMark, Checkpoints, CheckpointsView};
pub use lately::{Did, Lately, PROVED_MAX};
pub use remembered::Remembered;
pub use replica::{
    Agreement, Committed, Event, GUEST_FIRST, Options, Outgoing, Replica, ReplicaError, Ticket, To,
};
pub use sharing::Sharing;
pub use view::{CatchingUp, Decision, Proof, ReplicaView};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod scores_tests;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod starving_tests;
