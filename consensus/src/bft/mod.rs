//! Byzantine agreement: Tendermint, by the core of `arc-malachitebft`, behind our seam.
//!
//! The core is a state machine without network, clock, disk or keys; [`Bft`] is what it lacks: messages and
//! their signatures, the set, the journal and its replay, timers, and evidence.

mod context;
mod message;
mod watch;
mod journal;
mod timers;
mod later;
mod core;
mod plane;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod plane_tests;

pub use self::core::OBJECTION_ROUND_MAX;
pub use journal::journaled;
pub use message::{check, said};
pub use plane::Bft;
pub use timers::Options;
