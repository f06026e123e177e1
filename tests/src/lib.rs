//! What needs more than one plane to be tested: the tests themselves are in `it/`, the programs in `src/bin/`.

pub mod joins;
pub mod relay;
pub mod random;
pub mod targets;
pub mod simulator;
