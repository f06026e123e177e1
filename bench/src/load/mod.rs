//! Load in the order it flows: which transfers, when, how many in flight, what came of them, at which rate it breaks.

pub mod drive;
pub mod flight;
pub mod hlog;
pub mod recorder;
pub mod schedule;
pub mod search;

mod lane;
mod watch;
pub mod workload;
