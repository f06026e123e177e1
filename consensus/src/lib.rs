//! Consensus planes: who orders blocks, and how the others agree. Pure: inputs in, effects out.
//!
//! The contract is `selfchain_types::seam::consensus`; what a plane may do is all there. Here are its
//! implementations, side by side: [`solo`], one validator that agrees with itself. `stake` and `poai` follow.

pub mod solo;

pub use solo::Solo;
