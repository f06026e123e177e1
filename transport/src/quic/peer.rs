//! One connection as the service sees it, and what it has in flight.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use selfchain_types::seam::transport::{CloseReason, Identity, Overload, Peer, PeerId, ReplyError};
use tokio::sync::Notify;

use super::close;
use super::server::Shared;
use crate::framing::FrameError;
use crate::limits::Bucket;
use crate::limits::origin::{Place, Rates};
use crate::outbox::{Outbox, OutboxLimits, PushError};

/// Replies that every peer may have queued, even while all queues together are above their limit. Bytes.
const REPLY_QUEUE_FAIR_BYTES: usize = 1 << 20;

/// The state of one connection. The service holds it as `Arc<dyn Peer>`.
pub(crate) struct PeerConnection {
    pub(super) id: PeerId,
    address: SocketAddr,
    client_key: Option<[u8; 32]>,
    pub(super) quic: quinn::Connection,
    pub(super) shared: Arc<Shared>,
    pub(super) outbox: Outbox,
    pub(super) in_flight: InFlight,
    /// Whether a request stream is open, and with it a way for replies.
    pub(super) has_reply_stream: AtomicBool,
    /// Set once, by whoever ends the connection first.
    closing: OnceLock<CloseReason>,
    allowance: Mutex<Allowance>,
    pub(super) place: Place,
}

/// The rates of this connection alone.
struct Allowance {
    rates: Rates,
    refusals: Bucket,
}

/// Whether a peer may go on after a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterRefusal {
    GoOn,
    Close,
}

impl PeerConnection {
    pub(super) fn new(
        id: PeerId,
        quic: quinn::Connection,
        client_key: Option<[u8; 32]>,
        place: Place,
        shared: Arc<Shared>,
    ) -> Self {
        let limits = &shared.limits;
        let now_ns = shared.now_ns();
        Self {
            id,
            address: quic.remote_address(),
            client_key,
            outbox: Outbox::new(OutboxLimits {
                bytes_max: limits.reply_queue_bytes_max,
                frames_max: limits.reply_queue_frames_max,
                frame_bytes_max: limits.frame_bytes_max,
            }),
            in_flight: InFlight::new(limits.requests_in_flight_max, limits.bytes_in_flight_max),
            has_reply_stream: AtomicBool::new(false),
            closing: OnceLock::new(),
            allowance: Mutex::new(Allowance {
                rates: Rates::new(
                    Bucket::full(limits.connection_frames, now_ns),
                    Bucket::full(limits.connection_bytes, now_ns),
                ),
                refusals: Bucket::full(limits.refusals, now_ns),
            }),
            place,
            quic,
            shared,
        }
    }

    /// Takes a whole read's frames from the rates at once, or nothing: the cheap way while there is enough.
    pub(super) fn allow_all(&self, frames: usize, bytes: usize) -> bool {
        let limits = &self.shared.limits;
        let (frames, bytes) = (u64::try_from(frames), u64::try_from(bytes));
        let (Ok(frames), Ok(bytes)) = (frames, bytes) else {
            return false;
        };
        // Only a single frame may exceed a burst.
        frames <= limits.connection_frames.burst.min(limits.identity_frames.burst)
            && bytes <= limits.connection_bytes.burst.min(limits.identity_bytes.burst)
            && self.take(frames, bytes).is_ok()
    }

    /// Takes one frame of `bytes` from the connection's and the identity's rates, or says what ran out.
    pub(super) fn allow(&self, bytes: usize) -> Result<(), Overload> {
        self.take(1, u64::try_from(bytes).unwrap_or(u64::MAX))
    }

    fn take(&self, frames: u64, bytes: u64) -> Result<(), Overload> {
        let now_ns = self.shared.now_ns();
        let mut own = self.allowance.lock().unwrap_or_else(PoisonError::into_inner);
        own.rates
            .take(frames, bytes, now_ns)
            .map_err(|(resource, retry_after_ms)| Overload {
                limit: resource.of_connection(),
                retry_after_ms,
            })?;
        let mut identity = self.place.rates.lock().unwrap_or_else(PoisonError::into_inner);
        identity
            .take(frames, bytes, now_ns)
            .map_err(|(resource, retry_after_ms)| {
                own.rates.give_back(frames, bytes);
                Overload {
                    limit: resource.of_identity(),
                    retry_after_ms,
                }
            })
    }

    /// Counts one refused frame. Returns what the service has to say about it, and whether the peer may go on.
    pub(super) fn refuse(&self, frame: &[u8], why: Overload) -> (Option<Vec<u8>>, AfterRefusal) {
        self.shared.metrics.count_refusal(why.limit);
        let answer = self.shared.service.refuse(frame, why);
        let now_ns = self.shared.now_ns();
        let mut own = self.allowance.lock().unwrap_or_else(PoisonError::into_inner);
        match own.refusals.take(1, now_ns) {
            Ok(()) => (answer, AfterRefusal::GoOn),
            Err(_) => (answer, AfterRefusal::Close),
        }
    }

    /// Why the connection ends, once somebody has said so.
    pub(super) fn closing(&self) -> Option<CloseReason> {
        self.closing.get().copied()
    }

    /// Ends QUIC now. What was not acknowledged yet is lost.
    pub(super) fn close_now(&self, reason: CloseReason) {
        let reason = *self.closing.get_or_init(|| reason);
        let forgotten = self.outbox.discard();
        self.account_dequeued(forgotten);
        close(&self.quic, reason);
    }

    /// Takes bytes off the gauge of what is queued for all.
    pub(super) fn account_dequeued(&self, bytes: usize) {
        self.shared
            .metrics
            .reply_queue_bytes
            .subtract(u64::try_from(bytes).unwrap_or(0));
    }

    fn queue(&self, frame: Vec<u8>) -> Result<(), ReplyError> {
        if let Some(reason) = self.closing() {
            return Err(ReplyError::Closed { reason });
        }
        if !self.has_reply_stream.load(Ordering::Acquire) {
            return Err(ReplyError::NoRequestStream);
        }
        let total = usize::try_from(self.shared.metrics.reply_queue_bytes.get()).unwrap_or(usize::MAX);
        if total > self.shared.limits.reply_queue_total_bytes_max
            && self.outbox.bytes() > REPLY_QUEUE_FAIR_BYTES
        {
            return Err(self.close_slow_reader());
        }
        // Counted before it is queued: the writer must never take off what is not yet on.
        let bytes = frame.len() + crate::framing::PREFIX_LEN;
        self.shared.metrics.reply_queue_bytes.add_len(bytes);
        self.outbox.push(frame.into()).map_err(|error| {
            self.account_dequeued(bytes);
            match error {
                PushError::Full => self.close_slow_reader(),
                PushError::Closed => ReplyError::Closed {
                    reason: self.closing().unwrap_or(CloseReason::PeerGone),
                },
                PushError::Frame(FrameError::Empty) => ReplyError::Length {
                    len: 0,
                    len_max: self.shared.limits.frame_bytes_max,
                },
                PushError::Frame(FrameError::TooLarge { len, len_max }) => {
                    ReplyError::Length { len, len_max }
                }
            }
        })
    }

    fn close_slow_reader(&self) -> ReplyError {
        self.close_now(CloseReason::SlowReader);
        ReplyError::Closed {
            reason: self.closing().unwrap_or(CloseReason::SlowReader),
        }
    }
}

impl Peer for PeerConnection {
    fn id(&self) -> PeerId {
        self.id
    }

    fn identity(&self) -> Identity {
        Identity {
            address: self.address,
            client_key: self.client_key,
        }
    }

    fn reply(&self, frame: Vec<u8>) -> Result<(), ReplyError> {
        self.in_flight.remove(1);
        self.queue(frame)
    }

    fn notify(&self, frame: Vec<u8>) -> Result<(), ReplyError> {
        self.queue(frame)
    }

    fn release(&self, requests: usize) {
        self.in_flight.remove(requests);
    }

    fn close(&self, reason: CloseReason) {
        if reason == CloseReason::SlowReader || !self.has_reply_stream.load(Ordering::Acquire) {
            self.close_now(reason);
        } else if self.closing.set(reason).is_ok() {
            // The reply writer sends what is queued, then ends QUIC with this reason.
            self.outbox.close();
        }
    }
}

/// Requests that the service has and has not answered: the peer's share of the intake.
#[derive(Debug)]
pub(super) struct InFlight {
    requests_max: usize,
    bytes_max: usize,
    requests: AtomicUsize,
    bytes: AtomicUsize,
    /// Streams that wait for room, so that an answer looks for them only when there are any.
    waiting: AtomicUsize,
    room: Notify,
}

impl InFlight {
    fn new(requests_max: usize, bytes_max: usize) -> Self {
        Self {
            requests_max,
            bytes_max,
            requests: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            room: Notify::new(),
        }
    }

    pub(super) fn add(&self, requests: usize, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::SeqCst);
        self.requests.fetch_add(requests, Ordering::SeqCst);
    }

    /// Answers do not say how large their request was: each frees the mean of what is in flight, and the last
    /// frees the rest.
    fn remove(&self, requests: usize) {
        let subtract = |held: usize| Some(held.saturating_sub(requests));
        let before = match self
            .requests
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, subtract)
        {
            Ok(before) | Err(before) => before,
        };
        let free = |bytes: usize| {
            Some(if requests >= before {
                0
            } else {
                bytes - bytes / before * requests
            })
        };
        if self
            .bytes
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, free)
            .is_err()
        {
            tracing::error!("the bytes in flight could not be updated");
        }
        // Sequentially consistent with `wait_for_room`: either we see its mark, or it sees the room.
        if self.waiting.load(Ordering::SeqCst) > 0 && !self.is_full() {
            self.room.notify_waiters();
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.requests.load(Ordering::SeqCst) >= self.requests_max
            || self.bytes.load(Ordering::SeqCst) >= self.bytes_max
    }

    /// Waits until there is room for another read.
    pub(super) async fn wait_for_room(&self) {
        let _mark = Mark::set(&self.waiting);
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if !self.is_full() {
                return;
            }
            room.await;
        }
    }
}

/// One waiter counted, until it is dropped.
struct Mark<'a>(&'a AtomicUsize);

impl<'a> Mark<'a> {
    fn set(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_free_the_mean_and_the_last_frees_all() {
        let in_flight = InFlight::new(4, 1_000);
        in_flight.add(3, 600);
        assert!(!in_flight.is_full());
        in_flight.add(1, 400);
        assert!(in_flight.is_full());
        in_flight.remove(1);
        assert_eq!(in_flight.bytes.load(Ordering::Relaxed), 750);
        in_flight.remove(2);
        assert_eq!(in_flight.bytes.load(Ordering::Relaxed), 250);
        in_flight.remove(7);
        assert_eq!(in_flight.bytes.load(Ordering::Relaxed), 0);
        assert_eq!(in_flight.requests.load(Ordering::Relaxed), 0);
    }
}
