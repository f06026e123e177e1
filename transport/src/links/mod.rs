//! The validators' own links: a full mesh of QUIC connections between the holders of pinned keys.
//!
//! One connection for each pair, post-quantum and mutually authenticated: where keys are hybrids TLS proves one half of
//! each, and the hellos, bound to the connection, the whole. On it four lanes, each a stream of its
//! own with its own limits, so that a large block delays no vote and a peer that floods one lane blocks nothing
//! else. [`Links`] is made for a thread that may not wait: [`Links::send`] queues or refuses at once, and
//! [`Links::next`] hands out what came in, votes first.
//!
//! **What a sender may rely on**: frames of one lane arrive whole, once and in order for as long as a connection
//! lasts. What was under way when it broke may be lost: [`Event::Down`] and [`Event::Up`] say so, and whoever sent
//! repeats what still matters. The bytes are on the page `docs/protocol/links.md`.

mod lane;
mod limits;
mod close;
mod control;
mod tls;
mod proof;
mod standing;
mod meter;
mod outbox;
mod inbox;
mod member;
mod endpoint;
mod dial;
mod accept;
mod connection;
mod read;
mod write;
mod metrics;

#[cfg(test)]
mod tests;

pub use close::LinkClose;
pub use endpoint::{LaneStatus, Links, Options, Peer, PeerStatus, PeersError, SendError, StartError};
pub use inbox::{Event, Wake};
pub use lane::{Lane, WhenFull};
pub use limits::{LaneLimits, LinkLimits};
pub use metrics::{LaneMetrics, LinkMetrics};

/// The application protocol that both ends must name in the handshake; its number is the version of everything
/// on the page `docs/protocol/links.md`.
pub const LINKS_ALPN: &[u8] = b"selfchain-links/1";

/// Peers that one set may have.
pub const PEERS_MAX: usize = 255;
