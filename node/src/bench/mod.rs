//! `selfchain bench`: what only the node can give the harness: a real node to measure, and a signed load for it.

mod load;
mod rig;

pub use load::{LoadShape, SignedLoad, prepare};
pub use rig::{NodeRig, RigConfig, RigStartError};
