//! The vault in the node: who may ask it what, what it answers, and the thread that does.

mod access;
mod uploads;
mod desk;
mod open;
mod thread;

pub use access::Caller;
pub use desk::{Desk, DeskError};
pub use open::{OpenError, VaultKey, open_vault};
pub use thread::{VaultConfig, VaultJob, VaultThread};

/// The vault's key, in the data directory unless another file is named.
pub const VAULT_KEY_FILE: &str = "vault.key";

#[cfg(test)]
#[path = "vault_tests.rs"]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
