//! A tag: whom to answer, and since when they wait.

use crate::replica::Ticket;
use selfchain_types::Refusal;
use selfchain_types::message::{Detail, Refused, Reply};
use selfchain_types::seam::transport::{CloseReason, Identity, Peer, PeerId, ReplyError};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Whom to answer, and since when they wait. Travels beside a transaction from intake to publish.
#[derive(Clone)]
pub struct Tag {
    /// The connection.
    pub peer: Arc<dyn Peer>,
    /// The client's own number.
    pub request: u64,
    /// How much of the result it wants.
    pub detail: Detail,
    /// When its bytes had arrived.
    pub received: Instant,
}

impl core::fmt::Debug for Tag {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Tag({:?}, {})", self.peer.id(), self.request)
    }
}

impl Tag {
    /// Of a transaction that no client of this node waits for.
    pub fn nobody() -> Self {
        static NOBODY: OnceLock<Arc<dyn Peer>> = OnceLock::new();
        Self {
            peer: Arc::clone(NOBODY.get_or_init(|| Arc::new(Nobody))),
            request: 0,
            detail: Detail::default(),
            received: Instant::now(),
        }
    }

    /// Whether no client waits.
    pub fn is_nobody(&self) -> bool {
        self.peer.id() == NOBODY_ID
    }

    /// Sends the final answer. A peer that is gone needs none.
    pub fn answer(&self, reply: &Reply) {
        self.sent(self.peer.reply(reply.encode(self.request)));
    }

    /// Says that it waits for its block; the answer follows.
    pub fn accept(&self) {
        self.sent(self.peer.notify(Reply::Accepted.encode(self.request)));
    }

    /// Sends a refusal as the final answer.
    pub fn refuse(&self, refusal: Refusal, text: impl Into<String>) {
        let retry_after_ms = if refusal.is_transient() { RETRY_AFTER_MS } else { 0 };
        self.answer(&Reply::Refused(Refused {
            refusal,
            retry_after_ms,
            text: text.into(),
        }));
    }

    fn sent(&self, sent: Result<(), ReplyError>) {
        if let Err(error) = sent {
            tracing::debug!(peer = ?self.peer.id(), request = self.request, error = %error, "reply dropped");
        }
    }
}

/// Takes no answers: of transactions that other validators sent.
struct Nobody;

/// No connection has this number.
const NOBODY_ID: PeerId = PeerId(u64::MAX);

impl Peer for Nobody {
    fn id(&self) -> PeerId {
        NOBODY_ID
    }

    fn identity(&self) -> Identity {
        Identity {
            address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            client_key: None,
        }
    }

    fn reply(&self, _: Vec<u8>) -> Result<(), ReplyError> {
        Ok(())
    }

    fn notify(&self, _: Vec<u8>) -> Result<(), ReplyError> {
        Ok(())
    }

    fn release(&self, _: usize) {}

    fn close(&self, _: CloseReason) {}
}

impl Ticket for Tag {
    fn wants_balances(&self) -> bool {
        self.detail == Detail::Balances
    }
}

/// What a client is told to wait before it tries again: a few block intervals.
pub const RETRY_AFTER_MS: u32 = 20;
