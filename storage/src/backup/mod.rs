//! Backups: what a ledger holds, in parts that only their recipients can read, under manifests that its owner signs.

pub mod age;
mod check;
mod create;
mod depot;
mod error;
mod history;
mod part;
mod restore;

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod backup_tests;

pub use check::{Checked, check};
pub use create::{CreateOptions, Created, Source, TipOf, create};
pub use depot::{Depot, DepotError, DirectoryDepot};
pub use error::{BackupError, Fault};
pub use history::{History, prune};
pub use part::PART_BYTES;
pub use restore::{RESTORING_GENESIS, RESTORING_MARK, Restored, finish, restore};
