//! Chooses what the next block holds, from a pool, in an order that anyone with that pool can repeat.

mod build;
mod room;

pub use build::{MISFITS_MAX, Order, build};
pub use room::BlockLimits;
