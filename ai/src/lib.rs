//! Scorers: how risky a transfer looks. What happens after a score is nobody's business here.
//!
//! The contract is `selfchain_types::seam::scorer`. [`Projection`] keeps it: [`features`] folds integers from the past of a
//! transfer's two accounts, a [`model`] turns a row of them into log-odds of fraud, and [`mod@explain`] says which
//! features raised them. [`Off`] never scores. Kinds of models: [`trees`], grown here or imported; [`network`]s;
//! [`rules`] that people write. [`evaluate`] judges them. Apart from all that, [`proposer`] trains the network that says
//! how often which validator is asked to propose.

pub mod features;
pub mod score;
pub mod dataset;
pub mod model;
pub mod trees;
pub mod network;
pub mod proposer;
pub mod rules;
pub mod evaluate;
pub mod explain;
pub mod drift;
pub mod plain;
mod projection;
mod random;
pub mod off;

pub use off::Off;
pub use projection::{Projection, Watch};
