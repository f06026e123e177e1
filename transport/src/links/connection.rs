//! One connection that stands, from its hellos to its end: lanes out, lanes in, notices both ways.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use quinn::{Connection, RecvStream, SendStream};
use selfchain_types::KeyId;
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};

use super::close::{close, reason_of};
use super::control::{self, Control, Hello, HelloId, Refusal};
use super::endpoint::Shared;
use super::inbox::Status;
use super::lane::CONTROL_PRIORITY;
use super::member::{Member, Stood};
use super::{Lane, LinkClose, read, write};

/// A connection must last so many of the longest pauses for the next pause to be the shortest again.
const LASTING_PAUSES: u32 = 2;

/// What the tasks of one connection share.
pub(super) struct Link {
    pub(super) shared: Arc<Shared>,
    pub(super) member: Arc<Member>,
    pub(super) quic: Connection,
    /// The key that the peer proved on it.
    proved: KeyId,
    /// Lanes that the peer has opened.
    pub(super) open: [AtomicBool; Lane::ALL.len()],
    /// For each lane after how many milliseconds the peer may go on; 0: nothing to say.
    notices: [AtomicU32; Lane::ALL.len()],
    noticed: Notify,
    /// Set once, by whoever ends the connection first.
    ending: OnceLock<LinkClose>,
}

/// What the hellos leave: the peer's number, the answer to it if it is due, and the control stream.
pub(super) struct Hellos {
    pub(super) heard: HelloId,
    pub(super) answer: Option<Hello>,
    pub(super) send: SendStream,
    pub(super) recv: RecvStream,
}

impl Link {
    pub(super) fn new(shared: Arc<Shared>, member: Arc<Member>, quic: Connection, proved: KeyId) -> Arc<Self> {
        Arc::new(Self {
            shared,
            member,
            quic,
            proved,
            open: [const { AtomicBool::new(false) }; 4],
            notices: [const { AtomicU32::new(0) }; 4],
            noticed: Notify::new(),
            ending: OnceLock::new(),
        })
    }

    /// Ends it. The first reason wins.
    pub(super) fn end(&self, why: LinkClose, retry_after: Duration) {
        if self.ending.set(why).is_ok() {
            close(&self.quic, why, retry_after);
        }
    }

    /// Tells the peer that a frame of `lane` was skipped. Notices that were not sent yet melt into one.
    pub(super) fn notice(&self, lane: Lane, retry_after_ms: u32) {
        self.notices[lane.index()].store(retry_after_ms.max(1), Ordering::Release);
        self.noticed.notify_one();
    }

    fn take_notice(&self) -> Option<Refusal> {
        Lane::ALL.into_iter().find_map(|lane| {
            let retry_after_ms = self.notices[lane.index()].swap(0, Ordering::AcqRel);
            (retry_after_ms > 0).then_some(Refusal { lane, retry_after_ms })
        })
    }
}

/// Serves until the connection ends.
pub(super) async fn serve(link: Arc<Link>, hellos: Hellos, stood: Stood) {
    let (shared, member) = (&link.shared, &link.member);
    begin(&link, &stood);
    let (mut writers, mut readers) = (JoinSet::new(), JoinSet::new());
    for lane in Lane::ALL {
        writers.spawn(write::write_lane(Arc::clone(&link), lane));
    }
    let mut control_writer = JoinSet::new();
    control_writer.spawn(write_control(Arc::clone(&link), hellos.answer, hellos.send));
    readers.spawn(read_control(Arc::clone(&link), hellos.recv));
    let error = loop {
        tokio::select! {
            stream = link.quic.accept_uni() => match stream {
                Ok(recv) => drop(readers.spawn(read::read_lane(Arc::clone(&link), recv))),
                Err(error) => break error,
            },
            Some(ended) = writers.join_next() => match ended {
                // All that was queued is sent and acknowledged.
                Ok(Ok(())) if writers.is_empty() => link.end(LinkClose::ShuttingDown, Duration::ZERO),
                ended => conclude(&link, ended),
            },
            Some(ended) = readers.join_next() => conclude(&link, ended),
        }
    };
    writers.shutdown().await;
    control_writer.shutdown().await;
    for lane in Lane::ALL {
        member.outbox(lane).wake();
    }
    let (why, retry_after) = match link.ending.get() {
        Some(why) => (*why, Duration::ZERO),
        None if member.number().is_none() || !member.holds(&link.proved) => {
            (LinkClose::Removed, Duration::ZERO)
        }
        None => reason_of(&error),
    };
    let lasting = shared.limits.backoff.max * LASTING_PAUSES;
    let pause = |failures| shared.pause(failures, retry_after);
    if member.ended(hellos.heard, why, lasting, pause) {
        shared.metrics.connections_up.subtract(1);
        shared.metrics.count_closed(why);
        tracing::info!(peer = member.number(), %why, "links.down");
        shared.inbox.status(member, Status::Down(why));
    }
    if !shared.is_open() {
        return;
    }
    // What the peer sent before the end is still read, as far as the node takes it in time.
    let read = tokio::time::timeout(shared.limits.frame_stall_timeout, async {
        while readers.join_next().await.is_some() {}
    });
    if read.await.is_err() {
        tracing::debug!(peer = member.number(), "what came in last was not taken in time");
    }
}

fn begin(link: &Link, stood: &Stood) {
    let (shared, member) = (&link.shared, &link.member);
    shared.metrics.connections.add(1);
    if stood.again {
        shared.metrics.reconnects.add(1);
    }
    match &stood.replaced {
        Some(replaced) => {
            // The gauge stays: this one is up in its place.
            close(replaced, LinkClose::Replaced, Duration::ZERO);
            shared.metrics.count_closed(LinkClose::Replaced);
            shared.inbox.status(member, Status::Down(LinkClose::Replaced));
        }
        None => shared.metrics.connections_up.add(1),
    }
    tracing::info!(peer = member.number(), again = stood.again, "links.up");
    shared.inbox.status(member, Status::Up);
}

fn conclude(link: &Link, ended: Result<Result<(), LinkClose>, JoinError>) {
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(LinkClose::RateLimited)) => {
            let pause = link.shared.limits.excess_pause;
            link.member.bar(pause);
            link.end(LinkClose::RateLimited, pause);
        }
        // The connection is ending, and `accept_uni` says why.
        Ok(Err(LinkClose::PeerGone)) => {}
        Ok(Err(why)) => link.end(why, Duration::ZERO),
        Err(error) => {
            tracing::error!(%error, "a task of a link failed");
            link.end(LinkClose::ProtocolError, Duration::ZERO);
        }
    }
}

async fn write_control(
    link: Arc<Link>,
    answer: Option<Hello>,
    mut send: SendStream,
) -> Result<(), LinkClose> {
    send.set_priority(CONTROL_PRIORITY)
        .map_err(|_| LinkClose::PeerGone)?;
    if let Some(answer) = answer {
        control::write(&mut send, &Control::Hello(answer)).await?;
    }
    loop {
        match link.take_notice() {
            Some(refusal) => control::write(&mut send, &Control::Refusal(refusal)).await?,
            None => link.noticed.notified().await,
        }
    }
}

async fn read_control(link: Arc<Link>, mut recv: RecvStream) -> Result<(), LinkClose> {
    loop {
        match control::read(&mut recv).await? {
            Some(Control::Refusal(refusal)) => {
                let metrics = link.shared.metrics.lane(refusal.lane);
                metrics.refusals_heard.add(1);
                // No longer than a peer may keep us out altogether.
                let pause = Duration::from_millis(u64::from(refusal.retry_after_ms));
                let pause = pause.min(link.shared.limits.excess_pause);
                link.member.outbox(refusal.lane).pause(Instant::now() + pause);
            }
            Some(Control::Hello(_)) => return Err(LinkClose::ControlInvalid),
            None => return Ok(()),
        }
    }
}
