//! Bytes in and out: frames over QUIC, with post-quantum key exchange, and limits that hold.
//!
//! **Owns** the sockets, the handshake, the framing, the limits of a connection, and the queues of replies.
//! **Knows nothing** of what a frame means: the node's [`Service`](selfchain_types::seam::transport::Service)
//! does. **Guarantees**: whole frames in the order of their stream; no peer makes the server hold more than
//! [`Limits`] says; a peer that does not read its replies is closed, and slows nobody; every close has a
//! reason that travels to the other end; no call of the client waits past its deadline.
//! **Does not** retry a request: after a broken connection only the caller knows whether that is safe.
//!
//! The channel: QUIC with TLS 1.3 (RFC 9001), key exchange X25519MLKEM768 and nothing else (so that there is
//! nothing to be talked down to), raw Ed25519 public keys at both ends (RFC 7250), the server's pinned by the
//! client, no tickets and no early data.
//!
//! Validators among themselves use [`links`]: an endpoint of its own, where both ends are pinned.
//!
//! Status: the wire formats (`selfchain-ingest/1`, `selfchain-links/1`) are stable; the Rust API is young.

mod ceiling;
pub mod client;
pub mod framing;
pub mod limits;
pub mod links;
pub mod metrics;
mod outbox;
pub mod quic;
mod tls;

#[cfg(test)]
mod tests;
#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod wiretap;

pub use ceiling::{CeilingError, CeilingRate, CeilingReport, ceiling};
pub use client::{Client, ClientConfig, Connection, Subscription};
pub use limits::Limits;
pub use metrics::Metrics;
pub use quic::{Server, ServerConfig, StartError, Tip};
pub use tls::public_key_of;

/// The application protocol that both ends must name in the handshake (RFC 7301); its number is the version of
/// the framing below it.
pub const ALPN: &[u8] = b"selfchain-ingest/1";

/// First byte of a stream that carries requests one way and replies the other.
pub const STREAM_REQUESTS: u8 = 1;

/// First byte of a stream that carries one subscription request, and rows back.
pub const STREAM_SUBSCRIPTION: u8 = 2;
