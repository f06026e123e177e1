//! What needs more than one plane to be tested: the tests themselves are in `it/`, the programs in `src/bin/`.

pub mod joins;
pub mod relay;
pub mod random;
pub mod targets;
pub mod simulator;
pub mod proofs;
#[allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a part of the tests, where a chain that cannot be made is a failed one"
)]
#[path = "../it/members/world.rs"]
pub mod world;
