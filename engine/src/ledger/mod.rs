//! The ledger state machine: double-entry accounts, deterministic, integers only, no clock, no I/O.
//!
//! In reading order: [`Ledger`] holds the tables and what may be asked of them; `validate` says what no block
//! may contain; `execute` walks a block; for each operation `frame` checks the record alone, `resolve` finds
//! what it names, `permit` applies the rules, `apply` changes the tables; `fold` does the same from recorded
//! outcomes. The rules in words, with the order of the checks: `docs/formats/operation.md`.

mod state;

mod validate;

mod execute;
mod frame;
mod signed;

mod resolve;

mod permit;

mod apply;

mod fold;
mod snapshot;

mod restore;

mod clock;

mod accounts;
mod assets;
mod keys;
mod pendings;
mod sessions;
mod policies;
mod judge;
mod bonds;
mod checkpoints;
mod validators;

mod dense;
mod frozen;
mod index;
mod leaves;
mod marks;
mod slab;

#[cfg(test)]
mod chain_tests;
#[cfg(test)]
mod hold_tests;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod rule_tests;
#[cfg(test)]
mod snapshot_tests;
#[cfg(test)]
mod world;

pub use accounts::Imbalance;
pub use apply::{Cause, HistoryChange, Impossible};
pub use execute::{Broken, Executed};
pub use fold::{FoldError, Folded};
pub use pendings::PendingRecord;
pub use policies::POLICIES_MAX;
pub use restore::RestoreError;
pub use snapshot::CHUNK_BYTES_MAX;
pub use state::{AccountState, HoldState, Ledger, PendingState};
pub use validate::InvalidBlock;
pub use validators::{BondState, Validators};
