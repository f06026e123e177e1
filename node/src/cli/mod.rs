//! The command line: arguments in, calls of the library, text or JSON out. Thin: no rule lives here.
//!
//! Exit codes: 0 done; 1 failed; 2 wrong usage or configuration; 3 refused by the ledger; 4 the node cannot be
//! reached in time; 5 the data does not hold; 6 held for review: committed, and nothing has moved yet.

mod arguments;
mod settings;
mod program;
mod failure;
mod output;
mod progress;
mod access;
mod describe;
mod init;
mod testnet;
mod run;
mod keys;
mod passphrase;
mod files;
mod session;
mod account;
mod held;
mod asset;
mod validator;
mod bench;
mod transfer;
mod report;
mod review;
mod explain;
mod transaction;
mod proof;
mod events;
mod verify;
mod look;
mod snapshot;
mod backup;
mod message;
mod config;
mod data;
mod demo;
mod ai;

pub use failure::{ExitStatus, Failure};
pub use program::main;
