//! The vault: versions of the user's own documents, encrypted at rest, in files of their own beside the chain.
//!
//! `vault/book` holds what is known of every version, sealed record by sealed record (`book.rs`); `vault/content/` a
//! file of sealed pieces for each version (`pieces.rs`). What is in the book is durable before a call returns, and so
//! is the content that it names. `docs/formats/vault.md`.

mod error;
mod limits;
mod record;
mod pieces;
mod book;
mod state;
mod store;

pub use error::VaultError;
pub use limits::VaultLimits;
pub use pieces::{PIECE_BYTES, Upload};
pub use store::{DENIALS_MAX, Vault, VaultTotals};

/// The directory of a vault.
pub const VAULT_DIR: &str = "vault";

#[cfg(test)]
#[path = "vault_tests.rs"]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod vault_tests;

#[cfg(test)]
#[path = "crash_tests.rs"]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod crash_tests;
