//! Commit: after order, one block at a time, in order, nothing dropped. Execute, record, root.

mod candidate;
mod chain;
mod council;
mod receipts;
mod judge;
mod replay;
mod snapshot;
mod account_path;
mod anchor;
mod verify;

pub use crate::ledger::Executed;
pub use account_path::AccountPath;
pub use anchor::{Anchor, AnchorError};
pub use candidate::Candidate;
pub use chain::{Block, Chain, ChainError, ChainSnapshot, Proposing, RestoreError, Tip, Transaction};
pub use judge::{Known, Proposal};
pub use receipts::{actual_amount, operation_leaves};
pub use replay::{Folded, Prepared, Unpacked};
pub use verify::VerifyError;
