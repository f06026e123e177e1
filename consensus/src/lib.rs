//! Consensus planes: who orders blocks, and how the others agree. Pure: inputs in, effects out.
//!
//! The contract is `selfchain_types::seam::consensus`; what a plane may do is all there. Here are its
//! implementations, side by side: [`solo`], one validator that agrees with itself. What makes `stake` and `poai`
//! different is not how they agree but who the validators are, what they weigh and who proposes: each is a
//! `selfchain_types::seam::standing::Standing`, [`Stake`] and [`Poai`], over one [`roll`] of validators.

pub mod solo;
pub mod roll;
pub mod stake;
pub mod poai;
pub mod schedule;
#[cfg(feature = "bft")]
pub mod bft;

#[cfg(all(test, feature = "bft"))]
mod simulation;

#[cfg(feature = "bft")]
pub use bft::Bft;
pub use poai::Poai;
pub use solo::Solo;
pub use stake::Stake;
