//! The targets of `tests/src/targets.rs` without the rest of that package, which would bring in every plane.

#[path = "../../src/targets.rs"]
pub mod targets;
