//! What came in and waits for the node: bounded for each peer and lane, the more important lane first.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::member::Member;
use super::metrics::LinkMetrics;
use super::{Lane, LinkClose};

/// Called after an event was queued, from a thread of the runtime. Must not block: it is for waking a thread
/// that also waits for other things.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// What happens on the links. `from` is the number in the set that was last given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A frame of a peer whose key the handshake proved.
    Received {
        /// Its number.
        from: u32,
        /// The lane that it came on.
        lane: Lane,
        /// The frame.
        bytes: Bytes,
    },
    /// A connection stands. Comes before everything that is received on it.
    Up {
        /// With whom.
        from: u32,
    },
    /// It has ended: what was under way may be lost. What was received before may still come after this.
    Down {
        /// With whom.
        from: u32,
        /// Why.
        why: LinkClose,
    },
}

/// The queues.
pub(super) struct Inbox {
    queues: Mutex<Queues>,
    ready: Condvar,
    wake: Option<Wake>,
    metrics: Arc<LinkMetrics>,
}

#[derive(Default)]
struct Queues {
    /// At most two for each peer.
    status: VecDeque<(Arc<Member>, Status)>,
    /// Bounded by the permits that every frame holds.
    lanes: [VecDeque<Frame>; Lane::ALL.len()],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Up,
    Down(LinkClose),
}

struct Frame {
    from: Arc<Member>,
    bytes: Bytes,
    /// Its part of what may wait of this peer and lane; given back when the node takes it.
    _permit: OwnedSemaphorePermit,
}

impl Inbox {
    pub(super) fn new(wake: Option<Wake>, metrics: Arc<LinkMetrics>) -> Self {
        Self {
            queues: Mutex::default(),
            ready: Condvar::new(),
            wake,
            metrics,
        }
    }

    pub(super) fn received(
        &self,
        from: &Arc<Member>,
        lane: Lane,
        bytes: Bytes,
        permit: OwnedSemaphorePermit,
    ) {
        let metrics = self.metrics.lane(lane);
        metrics.frames_received.add(1);
        metrics.receive_queue_bytes.add_len(bytes.len());
        from.heard();
        self.lock().lanes[lane.index()].push_back(Frame {
            from: Arc::clone(from),
            bytes,
            _permit: permit,
        });
        self.tell();
    }

    /// What of a peer's ups and downs was not taken yet shrinks to what still matters: an up that has ended
    /// again is no news, and of several downs the last stays.
    pub(super) fn status(&self, of: &Arc<Member>, status: Status) {
        let mut queues = self.lock();
        if let Status::Down(_) = status {
            let told =
                |(member, status): &(Arc<Member>, Status)| Arc::ptr_eq(member, of) && *status == Status::Up;
            if let Some(at) = queues.status.iter().rposition(told) {
                queues.status.remove(at);
                let before = |(member, _): &(Arc<Member>, Status)| Arc::ptr_eq(member, of);
                match queues.status.iter().rposition(before) {
                    Some(at) => queues.status[at].1 = status,
                    None => return,
                }
                drop(queues);
                return self.tell();
            }
        }
        queues.status.push_back((Arc::clone(of), status));
        drop(queues);
        self.tell();
    }

    pub(super) fn try_next(&self) -> Option<Event> {
        self.pop(&mut self.lock())
    }

    pub(super) fn next(&self, timeout: Duration) -> Option<Event> {
        let until = Instant::now() + timeout;
        let mut queues = self.lock();
        loop {
            if let Some(event) = self.pop(&mut queues) {
                return Some(event);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let waited = self.ready.wait_timeout(queues, left);
            queues = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Events of peers that have left the set are dropped.
    fn pop(&self, queues: &mut Queues) -> Option<Event> {
        while let Some((member, status)) = queues.status.pop_front() {
            if let Some(from) = member.number() {
                return Some(match status {
                    Status::Up => Event::Up { from },
                    Status::Down(why) => Event::Down { from, why },
                });
            }
        }
        for lane in Lane::ALL {
            while let Some(frame) = queues.lanes[lane.index()].pop_front() {
                let metrics = self.metrics.lane(lane);
                metrics.receive_queue_bytes.subtract_len(frame.bytes.len());
                if let Some(from) = frame.from.number() {
                    return Some(Event::Received {
                        from,
                        lane,
                        bytes: frame.bytes,
                    });
                }
            }
        }
        None
    }

    fn tell(&self) {
        self.ready.notify_one();
        if let Some(wake) = &self.wake {
            wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;
    use crate::links::LinkLimits;
    use selfchain_types::crypto::{PublicKey, Scheme};

    fn inbox() -> (Inbox, Arc<Member>, Arc<Member>) {
        let metrics: Arc<LinkMetrics> = Arc::default();
        let member = |number| {
            let address = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
            let key = |byte| PublicKey::new(Scheme::Ed25519, &[byte; 32]).unwrap();
            let member = Member::new(
                number,
                &[key(0)],
                Some(address),
                &key(1),
                1,
                &LinkLimits::default(),
                &metrics,
            );
            Arc::new(member)
        };
        let (a, b) = (member(1), member(2));
        (Inbox::new(None, metrics), a, b)
    }

    #[test]
    fn hands_out_status_first_and_then_by_lane() {
        let (inbox, a, b) = inbox();
        let budget = Arc::new(Semaphore::new(10));
        for lane in [Lane::Sync, Lane::Transactions, Lane::Votes, Lane::Bodies] {
            let permit = Arc::clone(&budget).try_acquire_many_owned(2).unwrap();
            inbox.received(&a, lane, Bytes::from_static(b"x"), permit);
        }
        inbox.status(&b, Status::Up);
        assert_eq!(budget.available_permits(), 2);
        assert_eq!(inbox.try_next(), Some(Event::Up { from: 2 }));
        for lane in Lane::ALL {
            assert_eq!(inbox.metrics.lane(lane).receive_queue_bytes.get(), 1);
            let want = Event::Received {
                from: 1,
                lane,
                bytes: Bytes::from_static(b"x"),
            };
            assert_eq!(inbox.next(Duration::ZERO), Some(want));
            assert_eq!(inbox.metrics.lane(lane).receive_queue_bytes.get(), 0);
        }
        assert_eq!(budget.available_permits(), 10);
        assert_eq!(inbox.next(Duration::ZERO), None);
    }

    #[test]
    fn a_peer_that_flaps_leaves_at_most_two_events() {
        let down = |why| Status::Down(why);
        let check = |statuses: &[Status], want: &[Event]| {
            let (inbox, a, b) = inbox();
            for status in statuses {
                inbox.status(&a, *status);
                inbox.status(&b, Status::Up);
                assert_eq!(inbox.lock().status.pop_back().unwrap().1, Status::Up);
            }
            let events: Vec<_> = std::iter::from_fn(|| inbox.try_next()).collect();
            assert_eq!(events, want);
        };
        let gone = LinkClose::PeerGone;
        let timed_out = LinkClose::TimedOut;
        let down_event = |why| Event::Down { from: 1, why };
        let up = Event::Up { from: 1 };
        check(&[Status::Up], std::slice::from_ref(&up));
        check(&[Status::Up, down(gone)], &[]);
        check(&[Status::Up, down(gone), Status::Up], std::slice::from_ref(&up));
        check(&[down(gone), Status::Up], &[down_event(gone), up.clone()]);
        check(
            &[down(gone), Status::Up, down(timed_out)],
            &[down_event(timed_out)],
        );
        check(
            &[down(gone), Status::Up, down(timed_out), Status::Up],
            &[down_event(timed_out), up],
        );
    }

    #[test]
    fn a_peer_that_left_is_heard_no_more() {
        let (inbox, a, b) = inbox();
        inbox.status(&a, Status::Up);
        inbox.status(&b, Status::Up);
        a.leave();
        assert_eq!(inbox.try_next(), Some(Event::Up { from: 2 }));
        assert_eq!(inbox.try_next(), None);
    }
}
