//! The honest harness: signed load at a schedule, this machine's ceilings in the same run, rivals, one report.
//!
//! It owns load generation, latency accounting and the report; it reaches a running node only
//! through [`rig::Rig`], which `node` implements. It guarantees that latency is counted from the
//! *intended* send time, that a run that could not keep up says so, and that the same seed gives
//! the same transfers. It does not know what an envelope means: load is bytes that somebody signed.
//!
//! Status: the JSON of a run ([`report::Report`]) is versioned by its `schema` field; the Rust API
//! is not stable.
//!
//! ```
//! use selfchain_bench::load::workload::{Profile, Workload};
//!
//! let transfers = Workload::new(1_000, Profile::ZIPF, 7)?;
//! assert!(transfers.take(100).all(|t| t.debit != t.credit && t.amount > 0));
//! # Ok::<(), selfchain_bench::load::workload::WorkloadError>(())
//! ```

pub mod prepared;

pub mod load;

pub mod rig;

pub mod ceiling;

pub mod peers;

pub mod process;

pub mod machine;

pub mod report;

pub mod compare;

mod rate;
