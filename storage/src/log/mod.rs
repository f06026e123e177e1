//! The log: block rows in redb segments, one commit for many rows, durable before visible.

mod backend;
mod config;
mod frame;
mod recover;
mod seal;
mod segment;
mod reader;
mod tail;
mod tip;
mod writer;

#[cfg(test)]
mod crash_tests;

pub use config::{LogConfig, Sealing};
pub use reader::SegmentReader;
pub use segment::SegmentSummary;
pub use writer::SegmentLog;
