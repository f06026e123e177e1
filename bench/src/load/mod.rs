//! Load in the order it flows: which transfers, when, how many in flight, what came of them, at which rate it breaks.

pub mod workload;

pub mod schedule;

pub mod flight;

pub mod recorder;

pub mod hlog;

pub mod drive;
mod lane;
mod watch;

pub mod search;
