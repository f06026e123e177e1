//! The server: admission, connections, request streams, subscriptions.

mod admission;
mod congestion;
mod connection;
mod peer;
mod replies;
mod requests;
mod server;
mod socket;
mod subscription;

pub(crate) use congestion::{close, close_with};
pub use server::{Server, ServerConfig, StartError, Tip};
pub use socket::DatagramError;
pub(crate) use socket::{TransportTuning, bind, endpoint_config, transport_config};
