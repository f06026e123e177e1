//! Proof of AI: what committed evidence says of validators, and what follows from it.
//!
//! Everything here is a pure fold in integers over what blocks carry; `docs/protocol/poai.md` argues why it is safe.
//! In the order of the road: a voter says what it saw ([`extension`]) of a block against its own [`mod@reference`]; the
//! window of [`evidence`] gathers that, takes [`median`]s and enters them into the [`tally`] of each validator; from
//! tallies come [`features`], from features the [`quality`] that weighs in the [`draw`] of proposers, which
//! [`reveal`]s seed; being there moves [`reputation`], and that moves power; work earns [`rewards`]. [`state`] is
//! the fold of it all.

pub mod extension;
pub mod reference;
pub mod median;
pub mod tally;
pub mod evidence;
pub mod features;
pub mod quality;
pub mod reveal;
pub mod draw;
pub mod reputation;
pub mod rewards;
pub mod state;
mod bytes;

pub use state::Poai;
