//! One lane out: what is queued for the peer, in pieces that leave room for more important lanes.

use std::sync::Arc;

use quinn::{SendStream, WriteError};

use super::connection::Link;
use super::endpoint::Phase;
use super::outbox::Batch;
use super::{Lane, LinkClose};

/// Writes until the connection ends, or until the links drain and nothing is queued any more.
pub(super) async fn write_lane(link: Arc<Link>, lane: Lane) -> Result<(), LinkClose> {
    let mut send = link.quic.open_uni().await.map_err(|_| LinkClose::PeerGone)?;
    send.set_priority(lane.priority())
        .map_err(|_| LinkClose::PeerGone)?;
    send.write_all(&[lane.code()])
        .await
        .map_err(|_| LinkClose::PeerGone)?;
    let outbox = link.member.outbox(lane);
    let mut phase = link.shared.phase.subscribe();
    // What is written to a connection that has ended would be lost: the next one may have it.
    while link.quic.close_reason().is_none() {
        if let Some(until) = outbox.paused_until() {
            tokio::time::sleep_until(until.into()).await;
        }
        if let Some(batch) = outbox.take() {
            write(&link, lane, &mut send, batch).await?;
            continue;
        }
        if *phase.borrow_and_update() != Phase::Open {
            return finish(send).await;
        }
        tokio::select! {
            () = outbox.ready() => {}
            changed = phase.changed() => drop(changed),
        }
    }
    Err(LinkClose::PeerGone)
}

async fn write(link: &Link, lane: Lane, send: &mut SendStream, mut batch: Batch) -> Result<(), LinkClose> {
    send.write_all_chunks(&mut batch.chunks)
        .await
        .map_err(|error| match error {
            // The peer wants no more of a lane, which is not its to decide.
            WriteError::Stopped(_) => LinkClose::StreamUnexpected,
            _ => LinkClose::PeerGone,
        })?;
    let metrics = link.shared.metrics.lane(lane);
    metrics.frames_sent.add_len(batch.frames);
    metrics.bytes_sent.add_len(batch.bytes);
    Ok(())
}

/// Ends the lane and waits until the peer has acknowledged all of it.
async fn finish(mut send: SendStream) -> Result<(), LinkClose> {
    send.finish().map_err(|_| LinkClose::PeerGone)?;
    send.stopped().await.map_err(|_| LinkClose::PeerGone)?;
    Ok(())
}
