//! The index: where a transaction is, and what a flagged account held when. Behind the log, never needed
//! to commit, and thrown away and rebuilt whenever it is in doubt.
//!
//! New entries are collected in memory and written as *runs*: immutable files of sorted records that cover
//! a range of heights. Adjacent runs of like size are merged a little with every block. A query asks the
//! memory and then each run, whose filter turns most misses away after one small read.

mod build;
mod entry;
mod filter;
mod merge;
mod query;
mod run;
mod writer;

pub use entry::{HistoryEntry, HistoryRow, IndexConfig, IndexError, Position, TxEntry};
pub use query::{CANDIDATES_MAX, IndexReader};
pub use writer::Index;
