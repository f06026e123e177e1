//! Neural networks: encoded features through two hidden layers, trained in floats and run in fixed point.
//!
//! Training and float evaluation need the feature `candle`; the file format and [`FixedNetwork`] do not.

mod encode;
mod weights;
mod file;
mod fixed;
#[cfg(feature = "candle")]
mod float;
#[cfg(feature = "candle")]
mod precision;
#[cfg(feature = "candle")]
mod random;
#[cfg(feature = "candle")]
mod train;

#[cfg(test)]
pub(crate) mod samples;

pub use encode::{EDGES_MAX, Encoding, EncodingError, QUANTILES_MAX};
pub use file::{FileError, StoredTensor};
pub use fixed::{FixedError, FixedNetwork};
#[cfg(feature = "candle")]
pub use float::FloatNetwork;
#[cfg(feature = "candle")]
pub use train::{NetworkOptions, Progress, TrainError, train};
pub use weights::{Layer, MEMBERS_MAX, Member, Network, NetworkError, UNITS_MAX, WEIGHT_MAX};
