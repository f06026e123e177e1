//! Selfchain: an event-sourced double-entry ledger with a pluggable consensus plane.
//!
//! This is the facade: the one crate to add. [`Ledger`] is a chain of one in a directory of yours, without
//! network; [`Node`](node::Node) is the validator; [`client`] talks to one. The planes themselves are
//! re-exported under their own names.
//!
//! Without default features there is only the embedded ledger: no network, no async runtime, no C compiler.
//!
//! Status: formats are version 1; the Rust API is young.

pub mod standing;
pub mod store;
pub mod recover;
pub mod joining;
pub mod remember;
pub mod sweep;
pub mod answers;
pub mod proving;
mod folder;
pub mod keys;
pub mod ledger;
pub mod verify;
pub mod telemetry;
#[cfg(feature = "network")]
pub mod config;
#[cfg(feature = "network")]
pub mod replica;
#[cfg(feature = "network")]
pub mod drive;
#[cfg(feature = "network")]
pub mod hindrance;
#[cfg(feature = "network")]
pub mod guard;
#[cfg(feature = "network")]
mod mesh;
#[cfg(feature = "network")]
pub mod validating;
#[cfg(feature = "network")]
pub mod vault;
#[cfg(feature = "network")]
pub mod keeping;
#[cfg(feature = "network")]
pub mod backup;
#[cfg(feature = "network")]
pub mod service;
#[cfg(feature = "network")]
pub mod node;
#[cfg(feature = "network")]
pub mod cluster;
#[cfg(feature = "network")]
pub mod overview;
#[cfg(feature = "network")]
pub mod api;
#[cfg(feature = "network")]
pub mod client;
#[cfg(feature = "cli")]
pub mod input;
#[cfg(feature = "cli")]
pub mod ai;
#[cfg(feature = "cli")]
pub mod advisor;
#[cfg(feature = "cli")]
pub mod demo;
#[cfg(feature = "cli")]
pub mod bench;
#[cfg(feature = "cli")]
pub mod cli;

pub use ledger::{Ledger, LedgerError};
pub use selfchain_engine as engine;
pub use selfchain_storage as storage;
pub use selfchain_types as types;
pub use selfchain_types::{AccountFlags, AccountId, Amount, AssetId, Operation, Outcome};
