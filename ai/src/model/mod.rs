//! Models: what they can do, the file they come in, and the card that says where they are from.

mod predict;

pub use predict::Predict;
