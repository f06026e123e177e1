//! Joining: a validator that is too far behind to fetch every block begins at a snapshot of its peers' instead.
//!
//! ```text
//! offers ─▶ the index: manifest, anchor, chunks ─▶ handovers ─▶ chunks, into a place aside ─▶ every root recomputed
//!           believed by its id                     believed by   believed by the index         believed by the header
//!                                                  certificates                                that a quorum decided
//! ```
//!
//! Nothing of the running validator changes until all of it is proved; then a marker is published, and the next start
//! puts the snapshot in place of what was there. Why so: [decision 0019](docs/decisions/0019-joining-by-snapshot.md).

mod index;
mod offering;
mod fetch;
mod install;

pub use fetch::{
    CHUNKS_IN_FLIGHT, JOIN_BEHIND_BLOCKS, JoinConfig, JoinView, Joining, Question, Refused,
    SNAPSHOT_BYTES_MAX, Standpoint,
};
pub use index::{INDEX_BYTES_MAX, Index};
pub use install::{JOINING_DIR, install};
pub use offering::Offering;
