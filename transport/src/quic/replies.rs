//! Out: one task per connection writes what is queued for the peer, in large pieces.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::{SendStream, WriteError};
use selfchain_types::seam::transport::CloseReason;

use super::peer::PeerConnection;

/// Why a write did not go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteFailure {
    /// The peer took no byte for the stall timeout.
    Stalled,
    /// The peer wants no more of this stream.
    Stopped,
    /// The connection is gone.
    Lost,
}

/// Writes replies until the outbox is closed and empty, then ends the connection with its reason.
pub(super) async fn write_replies(peer: Arc<PeerConnection>, mut send: SendStream) {
    let (linger, stall_timeout) = (
        peer.shared.limits.reply_linger,
        peer.shared.limits.reply_stall_timeout,
    );
    let mut last_write = None;
    while let Some(mut batch) = peer.outbox.take(last_write, linger).await {
        let written = write_all(&mut send, &mut batch.chunks, stall_timeout).await;
        peer.account_dequeued(batch.bytes);
        match written {
            Ok(()) => {}
            Err(WriteFailure::Stalled) => return peer.close_now(CloseReason::SlowReader),
            Err(WriteFailure::Stopped | WriteFailure::Lost) => return peer.close_now(CloseReason::PeerGone),
        }
        let metrics = &peer.shared.metrics;
        metrics.frames_out.add_len(batch.frames);
        metrics.bytes_out.add_len(batch.bytes);
        metrics.writes_out.add(1);
        last_write = Some(Instant::now());
    }
    if send.finish().is_ok() {
        // Closing now would throw away what is sent and not yet acknowledged.
        let acknowledged = tokio::time::timeout(peer.shared.limits.close_timeout, send.stopped()).await;
        if acknowledged.is_err() {
            tracing::debug!(peer = peer.id.0, "the last replies were not read in time");
        }
    }
    peer.close_now(CloseReason::Done);
}

/// Writes every chunk; the timeout runs anew whenever the peer's flow control takes some bytes.
pub(super) async fn write_all(
    send: &mut SendStream,
    mut chunks: &mut [Bytes],
    stall_timeout: Duration,
) -> Result<(), WriteFailure> {
    while !chunks.is_empty() {
        let written = match tokio::time::timeout(stall_timeout, send.write_chunks(chunks)).await {
            Ok(Ok(written)) => written,
            Ok(Err(WriteError::Stopped(_))) => return Err(WriteFailure::Stopped),
            Ok(Err(_)) => return Err(WriteFailure::Lost),
            Err(_elapsed) => return Err(WriteFailure::Stalled),
        };
        chunks = &mut chunks[written.chunks..];
    }
    Ok(())
}
