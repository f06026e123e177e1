//! Keeping backups for others: a node that agreed to keeps sealed files for an owner, within a quota, and gives them back
//! to that owner alone. It can read none of them.

mod agreement;
mod kept;
mod thread;

pub use agreement::{Agreement, Agreements};
pub use kept::{KeepError, KeptFiles};
pub use thread::{KEEP_QUEUE_LEN, KeepJob, KeepThread};
