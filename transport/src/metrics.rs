//! Counters of the transport plane, readable at any time by whoever holds the server.

use std::sync::atomic::{AtomicU64, Ordering};

use selfchain_types::seam::transport::{CloseReason, Limit};

/// A number that only grows, or a gauge that also falls. Relaxed: each is exact by itself, not against others.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn add_len(&self, by: usize) {
        self.add(u64::try_from(by).unwrap_or(u64::MAX));
    }

    pub(crate) fn subtract(&self, by: u64) {
        self.0.fetch_sub(by, Ordering::Relaxed);
    }

    pub(crate) fn subtract_len(&self, by: usize) {
        self.subtract(u64::try_from(by).unwrap_or(u64::MAX));
    }
}

/// What the server has done since it started.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Connections open (gauge).
    pub connections_open: Counter,
    /// Connections whose handshake completed and that were given a place.
    pub connections_accepted: Counter,
    /// Connection attempts refused before the handshake.
    pub connections_refused: Counter,
    /// Connection attempts told to prove their address first.
    pub connections_retried: Counter,
    /// Handshakes in progress (gauge).
    pub handshakes_open: Counter,
    /// Handshakes that failed: no common group, protocol or key, or too slow.
    pub handshakes_failed: Counter,
    /// Whole request frames read, refused ones included.
    pub frames_in: Counter,
    /// Bytes of those frames, with their length prefixes.
    pub bytes_in: Counter,
    /// Frames sent: replies, notices and rows.
    pub frames_out: Counter,
    /// Bytes of those frames, with their length prefixes.
    pub bytes_out: Counter,
    /// Writes in which those bytes were handed to QUIC.
    pub writes_out: Counter,
    /// Times that a connection was not read because its requests in flight were at the limit.
    pub reads_paused: Counter,
    /// Streams that ended inside a frame.
    pub frames_truncated: Counter,
    /// Subscriptions open (gauge).
    pub subscriptions_open: Counter,
    /// Replies queued for all peers, in bytes (gauge).
    pub reply_queue_bytes: Counter,
    /// Bytes of unfinished large frames (gauge).
    pub assembly_bytes: Counter,
    refusals: [Counter; Limit::ALL.len()],
    closed: [Counter; CloseReason::ALL.len()],
}

impl Metrics {
    /// Frames refused because of `limit`.
    #[must_use]
    pub fn refusals(&self, limit: Limit) -> u64 {
        self.refusals[limit.index()].get()
    }

    /// Connections closed for `reason`.
    #[must_use]
    pub fn closed(&self, reason: CloseReason) -> u64 {
        CloseReason::ALL
            .iter()
            .zip(&self.closed)
            .find(|(known, _)| **known == reason)
            .map_or(0, |(_, n)| n.get())
    }

    pub(crate) fn count_refusal(&self, limit: Limit) {
        self.refusals[limit.index()].add(1);
    }

    pub(crate) fn count_close(&self, reason: CloseReason) {
        if let Some((_, counter)) = CloseReason::ALL
            .iter()
            .zip(&self.closed)
            .find(|(known, _)| **known == reason)
        {
            counter.add(1);
        }
    }
}
