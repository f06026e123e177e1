//! Scorers: how risky a transfer looks. What happens after a score is nobody's business here.
//!
//! The contract is `selfchain_types::seam::scorer`. Today there is one implementation, [`Off`], which scores
//! nothing; rules, networks and trees follow behind the same seam. [`features`] holds what they look at: integers
//! folded from the past of a transfer's two accounts, the same on every processor.

pub mod features;
pub mod score;
pub mod dataset;
pub mod model;
pub mod network;
pub mod off;

pub use off::Off;
