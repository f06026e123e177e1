//! Models: what they can do, the file they come in, and the card that says where they are from.

mod predict;
mod tensors;
mod card;
mod file;

#[cfg(test)]
mod conform_tests;

pub use card::{CARD_FORMAT, Card};
pub use file::{Model, ModelError, Scoring, default_model};
pub use predict::Predict;
pub use tensors::{FILE_BYTES_MAX, TensorError, TensorsIn, TensorsOut};
