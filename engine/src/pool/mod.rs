//! Verified transactions that wait for a block: bounded, in lane order, each left by exactly one door.
//!
//! One owner, no locks. A transaction enters by [`Pool::admit`] and leaves by [`build`](crate::builder::build)
//! (a proposal holds it), by [`Pool::decided`] (a block holds it), or with a
//! [`Refusal`](selfchain_types::Refusal) that its sender sees: expired, evicted, or its lane broken. What a
//! dead proposal held comes back by [`Pool::give_back`].

mod admit;
mod entry;
mod evict;
mod lanes;
mod lists;
mod pooled;

pub(crate) use entry::Rank;
pub use entry::{Entry, Ticket};
pub use pooled::{LaneView, Pool, PoolLimits, PoolRules, Waiting};
