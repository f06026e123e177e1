//! One connection from its first stream to its last: what streams it opens, why it ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use quinn::{ConnectionError, RecvStream, SendStream};
use selfchain_types::seam::transport::{CloseReason, Peer};
use tokio::task::{JoinError, JoinSet};

use super::peer::PeerConnection;
use super::server::Phase;
use super::{replies, requests, subscription};
use crate::{STREAM_REQUESTS, STREAM_SUBSCRIPTION};

/// Serves until the connection ends, then tells the service, once.
pub(super) async fn serve(peer: Arc<PeerConnection>) {
    let mut streams = JoinSet::new();
    let mut phase = peer.shared.phase.subscribe();
    let mut told_to_close = false;
    let error = loop {
        tokio::select! {
            stream = peer.quic.accept_bi() => match stream {
                Ok((send, recv)) => drop(streams.spawn(serve_stream(Arc::clone(&peer), send, recv))),
                Err(error) => break error,
            },
            Some(ended) = streams.join_next() => conclude(&peer, ended),
            closing = phase.wait_for(|phase| *phase == Phase::Closing), if !told_to_close => {
                drop(closing);
                told_to_close = true;
                peer.close(CloseReason::ShuttingDown);
            }
        }
    };
    // Every stream sees the end of the connection and ends by itself; none is cut inside a call of the service.
    while let Some(ended) = streams.join_next().await {
        conclude(&peer, ended);
    }
    let reason = peer.closing().unwrap_or_else(|| reason_of(&error));
    peer.close_now(reason);
    peer.shared.metrics.count_close(reason);
    tracing::debug!(peer = peer.id.0, %reason, "transport.closed");
    let service = Arc::clone(&peer.shared.service);
    service.closed(peer.id);
}

fn conclude(peer: &PeerConnection, ended: Result<Result<(), CloseReason>, JoinError>) {
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(reason)) => peer.close(reason),
        Err(error) => {
            tracing::error!(peer = peer.id.0, %error, "the service failed on a peer's frames");
            peer.close_now(CloseReason::ServiceFailed);
        }
    }
}

async fn serve_stream(
    peer: Arc<PeerConnection>,
    send: SendStream,
    mut recv: RecvStream,
) -> Result<(), CloseReason> {
    let mut kind = [0];
    let read = tokio::time::timeout(peer.shared.limits.frame_timeout, recv.read_exact(&mut kind)).await;
    match read {
        Ok(Ok(())) => {}
        // Opened and closed again without a word.
        Ok(Err(_)) => return Ok(()),
        Err(_elapsed) => return Err(CloseReason::FrameTruncated),
    }
    match kind {
        [STREAM_REQUESTS] => {
            if !peer.has_reply_stream.swap(true, Ordering::AcqRel) {
                tokio::spawn(replies::write_replies(Arc::clone(&peer), send));
            } else {
                // Replies travel on the first; this one has nothing to say.
                drop(send);
            }
            requests::read_requests(peer, recv).await
        }
        [STREAM_SUBSCRIPTION] => subscription::serve_subscription(peer, send, recv).await,
        _ => Err(CloseReason::StreamKindUnknown),
    }
}

fn reason_of(error: &ConnectionError) -> CloseReason {
    match error {
        ConnectionError::ApplicationClosed(close) if close.error_code.into_inner() == 0 => CloseReason::Done,
        ConnectionError::ApplicationClosed(_) | ConnectionError::Reset | ConnectionError::LocallyClosed => {
            CloseReason::PeerGone
        }
        ConnectionError::TimedOut => CloseReason::IdleTimeout,
        ConnectionError::VersionMismatch
        | ConnectionError::TransportError(_)
        | ConnectionError::ConnectionClosed(_)
        | ConnectionError::CidsExhausted => CloseReason::ProtocolError,
    }
}
