//! A tag: whom to answer, and since when they wait.

use selfchain_types::Refusal;
use selfchain_types::message::{Detail, Refused, Reply};
use selfchain_types::seam::transport::{Peer, ReplyError};
use std::sync::Arc;
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

/// What a client is told to wait before it tries again: a few block intervals.
pub const RETRY_AFTER_MS: u32 = 20;
