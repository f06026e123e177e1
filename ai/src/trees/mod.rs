//! Gradient-boosted trees in integers: bit-exact on every processor, trained here or imported from LightGBM.

mod bins;
mod lanes;
mod symmetric;
mod grow;
mod train;
mod asymmetric;
mod lightgbm;
mod file;

pub use asymmetric::{Asymmetric, AsymmetricError};
pub use bins::{Bins, BinsError};
pub use file::FileError;
pub use lightgbm::{ImportError, import};
pub use symmetric::{Symmetric, SymmetricError};
pub use train::{Progress, TrainError, TreeOptions, train};
