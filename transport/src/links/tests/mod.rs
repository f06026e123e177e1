//! The links over loopback with real QUIC: what peers get, who is not let in, and what one cannot do to others.
#![allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]

mod stage;

mod carries;
mod lanes;
mod limits;
mod proves;
mod refuses;
