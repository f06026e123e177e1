//! The whole plane over loopback with real QUIC: what peers get, and what they cannot do to each other.
#![allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]

mod stage;

mod carries;
mod follows;
mod intercepts;
mod refuses;
mod shields;
