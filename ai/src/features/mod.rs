//! What a transfer looks like to a model: integers folded from the past of its two accounts.
//!
//! Operations are folded as attempted, whatever came of them, in the order of the log; nothing here reads a
//! clock, a float, or the order of a hash table, so that every processor gets the same rows.

pub mod catalogue;
mod fixed;
mod context;
mod row;
mod rows;
mod contexts;
mod candidate;
mod snapshot;

#[cfg(test)]
mod tests;

pub use catalogue::{FEATURE_COUNT, FEATURE_VERSION, FEATURES, Feature, Row};
pub(crate) use catalogue::{GREATEST, LEAST};
pub use context::{CONTEXT_BYTES, Context};
pub use contexts::Contexts;
pub(crate) use fixed::{log2, log2_of_more};
pub use rows::Rows;
pub use snapshot::{CHUNK_CONTEXTS_MAX, RestoreError};
