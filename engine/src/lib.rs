//! The ledger engine: intake before order, commit after order, and the proofs of both. Pure: no I/O, no
//! clock, no thread of its own.
//!
//! In the order of the road: [`intake`] turns bytes into verified transactions, wide; [`pool`] keeps them per
//! lane; [`builder`] chooses a block; [`commit`] executes, records and roots it, in order; [`ledger`] is the
//! double-entry state machine that `commit` drives; [`proof`] is what anyone can check offline.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

#[cfg(feature = "std")]
pub mod builder;
#[cfg(feature = "std")]
pub mod commit;
#[cfg(feature = "std")]
pub mod intake;
#[cfg(feature = "std")]
pub mod ledger;
#[cfg(feature = "std")]
pub mod pool;
pub mod proof;
