//! Out, for as long as the peer listens: a cursor on the log, pulled as fast as the peer reads and no faster.

use std::sync::Arc;

use bytes::Bytes;
use quinn::{RecvStream, SendStream, VarInt};
use selfchain_types::seam::transport::{CloseReason, Cursor, CursorStep, Limit, Overload, Peer};
use tokio::sync::watch;

use super::admission::Gauge;
use super::peer::{AfterRefusal, PeerConnection};
use super::replies::{WriteFailure, write_all};
use crate::framing::{Deframer, PREFIX_LEN, append_frame};

/// When too many subscriptions are open, peers are told to come back after this many milliseconds.
const SUBSCRIPTIONS_RETRY_MS: u32 = 1_000;

/// Bytes taken at once of a subscription request, which is small.
const REQUEST_READ_BYTES: usize = 16 << 10;

/// Serves one subscription stream to its end.
pub(super) async fn serve_subscription(
    peer: Arc<PeerConnection>,
    mut send: SendStream,
    mut recv: RecvStream,
) -> Result<(), CloseReason> {
    let Some(request) = read_request(&peer, &mut recv).await? else {
        return Ok(());
    };
    let metrics = &peer.shared.metrics;
    metrics.frames_in.add(1);
    metrics.bytes_in.add_len(request.len() + PREFIX_LEN);

    let permit = Arc::clone(&peer.shared.subscriptions).try_acquire_owned();
    let place = peer.allow(request.len() + PREFIX_LEN).and_then(|()| {
        permit.map_err(|_| Overload {
            limit: Limit::Subscriptions,
            retry_after_ms: SUBSCRIPTIONS_RETRY_MS,
        })
    });
    let _place = match place {
        Ok(permit) => permit,
        Err(why) => {
            let (answer, after) = peer.refuse(&request, why);
            if let Some(answer) = answer {
                write_last(&peer, &mut send, &answer).await?;
            }
            return if after == AfterRefusal::Close {
                Err(CloseReason::Abuse)
            } else {
                Ok(())
            };
        }
    };
    let _open = Gauge::raise(&peer.shared, |shared| &shared.metrics.subscriptions_open);
    // Watched from before the first look, so that no move of the tip is missed.
    let tip = peer.shared.tip.watch();
    match open_cursor(&peer, request).await? {
        Ok(cursor) => pull(&peer, send, cursor, tip).await,
        Err(refusal) => write_last(&peer, &mut send, &refusal).await,
    }
}

/// The one request of the stream. `None`: the stream or the connection ended before it was there.
async fn read_request(peer: &PeerConnection, recv: &mut RecvStream) -> Result<Option<Vec<u8>>, CloseReason> {
    let mut deframer = Deframer::new(peer.shared.limits.frame_bytes_max.min(REQUEST_READ_BYTES));
    let read = async {
        let mut frames = Vec::new();
        while let Ok(Some(chunk)) = recv.read_chunk(REQUEST_READ_BYTES, true).await {
            deframer
                .push(&chunk.bytes, &mut frames)
                .map_err(|_| CloseReason::FrameTooLarge)?;
            if !frames.is_empty() {
                return Ok(Some(frames.swap_remove(0)));
            }
        }
        Ok(None)
    };
    match tokio::time::timeout(peer.shared.limits.frame_timeout, read).await {
        Ok(request) => request,
        Err(_elapsed) => Err(CloseReason::FrameTruncated),
    }
}

/// Asks the service, where it may block. Awaited to its end even if the connection goes meanwhile.
async fn open_cursor(
    peer: &Arc<PeerConnection>,
    request: Vec<u8>,
) -> Result<Result<Box<dyn Cursor>, Vec<u8>>, CloseReason> {
    let _turn = peer.shared.cursor_reads.acquire().await;
    let as_peer: Arc<dyn Peer> = peer.clone();
    let service = Arc::clone(&peer.shared.service);
    tokio::task::spawn_blocking(move || service.subscribe(&as_peer, &request))
        .await
        .map_err(|error| service_failed(peer, &error))
}

/// Pulls a step, writes it, pulls the next: what the peer does not read is not pulled.
async fn pull(
    peer: &Arc<PeerConnection>,
    mut send: SendStream,
    mut cursor: Box<dyn Cursor>,
    mut tip: watch::Receiver<()>,
) -> Result<(), CloseReason> {
    let gone = send.stopped();
    tokio::pin!(gone);
    loop {
        tip.mark_unchanged();
        let step;
        (cursor, step) = next_step(peer, cursor).await?;
        match step {
            CursorStep::Rows(rows) if !rows.is_empty() => match write_rows(peer, &mut send, &rows).await? {
                true => {}
                false => return Ok(()),
            },
            CursorStep::Rows(_) | CursorStep::Idle => tokio::select! {
                moved = tip.changed() => if moved.is_err() { return Ok(()) },
                _gone = &mut gone => return Ok(()),
            },
            CursorStep::End(Some(last)) => return write_last(peer, &mut send, &last).await,
            CursorStep::End(None) => {
                if send.finish().is_err() {
                    tracing::debug!(peer = peer.id.0, "the subscriber had stopped before the end");
                }
                return Ok(());
            }
        }
    }
}

async fn next_step(
    peer: &PeerConnection,
    mut cursor: Box<dyn Cursor>,
) -> Result<(Box<dyn Cursor>, CursorStep), CloseReason> {
    let _turn = peer.shared.cursor_reads.acquire().await;
    let bytes_max = peer.shared.limits.subscription_write_bytes;
    tokio::task::spawn_blocking(move || {
        let step = cursor.next(bytes_max);
        (cursor, step)
    })
    .await
    .map_err(|error| service_failed(peer, &error))
}

fn service_failed(peer: &PeerConnection, error: &tokio::task::JoinError) -> CloseReason {
    tracing::error!(peer = peer.id.0, %error, "the service failed on a subscription");
    CloseReason::ServiceFailed
}

async fn write_last(
    peer: &PeerConnection,
    send: &mut SendStream,
    frame: &Vec<u8>,
) -> Result<(), CloseReason> {
    if write_rows(peer, send, std::slice::from_ref(frame)).await? && send.finish().is_err() {
        tracing::debug!(peer = peer.id.0, "the subscriber had stopped before the end");
    }
    Ok(())
}

/// Whether the peer still wants more after these.
async fn write_rows(
    peer: &PeerConnection,
    send: &mut SendStream,
    rows: &[Vec<u8>],
) -> Result<bool, CloseReason> {
    let bytes: usize = rows.iter().map(|row| row.len() + PREFIX_LEN).sum();
    let mut buffer = Vec::with_capacity(bytes);
    for row in rows {
        append_frame(&mut buffer, row, peer.shared.limits.frame_bytes_max).map_err(|error| {
            tracing::error!(peer = peer.id.0, %error, "a cursor gave a row that cannot be sent");
            CloseReason::ServiceFailed
        })?;
    }
    let stall_timeout = peer.shared.limits.subscription_stall_timeout;
    match write_all(send, &mut [Bytes::from(buffer)], stall_timeout).await {
        Ok(()) => {
            let metrics = &peer.shared.metrics;
            metrics.frames_out.add_len(rows.len());
            metrics.bytes_out.add_len(bytes);
            metrics.writes_out.add(1);
            Ok(true)
        }
        Err(WriteFailure::Stopped | WriteFailure::Lost) => Ok(false),
        Err(WriteFailure::Stalled) => {
            tracing::debug!(peer = peer.id.0, "a subscriber took nothing for too long");
            let reset = send.reset(VarInt::from_u32(CloseReason::SlowReader.code()));
            if reset.is_err() {
                tracing::debug!(peer = peer.id.0, "and had already stopped");
            }
            Ok(false)
        }
    }
}
