//! The one integration binary: every test that needs more than one plane, or the whole checkout, is a module here.
#![allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]

mod crash;
mod demo;
mod ed25519;
mod explain;
mod hybrid;
mod joins;
mod light;
mod links;
mod live;
mod members;
mod network;
mod opinions;
mod packs;
mod parsers;
mod past;
mod pq_votes;
mod process;
mod retention;
mod scores;
mod simulator;
mod stage;
mod tidy;
mod vectors;
