//! Quality networks of proposers: what is learnt from traces of whole validators, and the file that chains take.
//!
//! In the order of the road: [`traces`] are read, each gives a [`cost`], a network is trained on it with candle
//! and put into integers (`train`), and both it and others are judged by what their draws would have cost (`judge`).

pub mod traces;
pub mod cost;
mod judge;
#[cfg(feature = "candle")]
mod train;

pub use judge::{Figures, judge};
pub use traces::{Traces, TracesError};
#[cfg(feature = "candle")]
pub use train::{Learnt, ProposerOptions, Report, SetReport, TrainError, train};
