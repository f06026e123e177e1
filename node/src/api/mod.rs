//! The HTTP port: is the node alive, is it ready and if not why, its metrics, its version, and the validators.

mod probe;
mod routes;
mod server;

pub use probe::{Check, Health, Probe, Topic, Version};
pub use server::{HttpError, HttpServer, serve};
