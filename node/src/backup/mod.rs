//! Backups of this node: what of a ledger is put into one, where it is kept, and how it becomes a ledger again.

mod known;
mod peer;
mod recipients;
mod restore;
mod source;

pub use known::{Known, KnownError, KnownFile};
pub use peer::{PeerDepot, PeerDepotError, PeerPlace};
pub use recipients::{IdentityError, new_identity, read_identity};
pub use restore::{RestoreError, RestoreOptions, RestoreReport, restore, tip_of};
pub use source::{LiveLog, SourceError, files_of, left_out};
