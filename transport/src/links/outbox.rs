//! What waits to be sent to one peer on one lane: bounded by frames and bytes, filled by any thread.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use super::metrics::LinkMetrics;
use super::{Lane, LaneLimits, WhenFull};

/// Bytes that are gathered for one write: small frames cost little then, and a large one does not wait inside
/// QUIC behind many others.
const WRITE_BYTES: usize = 64 << 10;

/// Frames up to this length are copied together for one write.
const COPY_BYTES_MAX: usize = 4 << 10;

/// The queue. Its writer is the one connection that stands.
pub(super) struct Outbox {
    lane: Lane,
    limits: LaneLimits,
    metrics: Arc<LinkMetrics>,
    waiting: Mutex<Waiting>,
    ready: Notify,
}

#[derive(Default)]
struct Waiting {
    frames: VecDeque<Bytes>,
    bytes: usize,
    /// The peer asked not to be sent to before.
    paused_until: Option<Instant>,
}

/// What one write carries.
pub(super) struct Batch {
    pub(super) chunks: Vec<Bytes>,
    pub(super) frames: usize,
    pub(super) bytes: usize,
}

/// The queue has no room, and its policy is to refuse.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Outbox {
    pub(super) fn new(lane: Lane, limits: LaneLimits, metrics: Arc<LinkMetrics>) -> Self {
        Self {
            lane,
            limits,
            metrics,
            waiting: Mutex::default(),
            ready: Notify::new(),
        }
    }

    /// Queues a frame, whose length the caller has checked.
    pub(super) fn push(&self, frame: Bytes) -> Result<(), Full> {
        let metrics = self.metrics.lane(self.lane);
        let mut waiting = self.lock();
        while !self.has_room(&waiting, frame.len()) {
            match (self.lane.when_full(), waiting.frames.pop_front()) {
                (WhenFull::DropOldest, Some(oldest)) => {
                    waiting.bytes -= oldest.len();
                    metrics.send_queue_bytes.subtract_len(oldest.len());
                    metrics.frames_dropped.add(1);
                }
                (WhenFull::Refuse, Some(first)) => {
                    waiting.frames.push_front(first);
                    metrics.frames_refused.add(1);
                    return Err(Full);
                }
                // Nothing waits: a frame that the lane allows may always be sent alone.
                (_, None) => break,
            }
        }
        metrics.send_queue_bytes.add_len(frame.len());
        waiting.bytes += frame.len();
        waiting.frames.push_back(frame);
        drop(waiting);
        self.ready.notify_one();
        Ok(())
    }

    /// The next frames for one write, with their prefixes.
    pub(super) fn take(&self) -> Option<Batch> {
        let mut waiting = self.lock();
        let (mut chunks, mut small) = (Vec::new(), BytesMut::new());
        let (mut frames, mut bytes) = (0, 0);
        while let Some(frame) = waiting.frames.front() {
            if frames > 0 && bytes + frame.len() > WRITE_BYTES {
                break;
            }
            let Some(frame) = waiting.frames.pop_front() else {
                break;
            };
            waiting.bytes -= frame.len();
            frames += 1;
            bytes += frame.len();
            // Its length was checked against a limit that a `u32` holds.
            small.extend_from_slice(&u32::try_from(frame.len()).unwrap_or(u32::MAX).to_le_bytes());
            if frame.len() <= COPY_BYTES_MAX {
                small.extend_from_slice(&frame);
            } else {
                chunks.push(small.split().freeze());
                chunks.push(frame);
            }
        }
        if !small.is_empty() {
            chunks.push(small.freeze());
        }
        self.metrics.lane(self.lane).send_queue_bytes.subtract_len(bytes);
        (frames > 0).then_some(Batch {
            chunks,
            frames,
            bytes,
        })
    }

    /// Frames that wait, and their bytes.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let waiting = self.lock();
        (waiting.frames.len(), waiting.bytes)
    }

    /// Waits until there may be something to take.
    pub(super) async fn ready(&self) {
        self.ready.notified().await;
    }

    /// For a writer that goes away and may have been woken in place of the next.
    pub(super) fn wake(&self) {
        self.ready.notify_one();
    }

    /// Sends nothing before `until`.
    pub(super) fn pause(&self, until: Instant) {
        let mut waiting = self.lock();
        waiting.paused_until = waiting.paused_until.max(Some(until));
    }

    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.lock().paused_until
    }

    /// Forgets what waits.
    fn clear(&self) {
        let mut waiting = self.lock();
        waiting.frames.clear();
        let bytes = std::mem::take(&mut waiting.bytes);
        self.metrics.lane(self.lane).send_queue_bytes.subtract_len(bytes);
    }

    fn has_room(&self, waiting: &Waiting, len: usize) -> bool {
        waiting.frames.len() < self.limits.send_frames_max
            && waiting.bytes + len <= self.limits.send_bytes_max
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::framing::{Deframer, PREFIX_LEN};
    use crate::links::LinkLimits;

    fn outbox(lane: Lane, send_frames_max: usize, send_bytes_max: usize) -> Outbox {
        let limits = LaneLimits {
            send_frames_max,
            send_bytes_max,
            ..*LinkLimits::default().lane(lane)
        };
        Outbox::new(lane, limits, Arc::default())
    }

    fn frame(fill: u8, len: usize) -> Bytes {
        Bytes::from(vec![fill; len])
    }

    /// First bytes of the frames that wait.
    fn drain(outbox: &Outbox) -> Vec<u8> {
        let (mut deframer, mut frames) = (Deframer::new(usize::MAX), Vec::new());
        while let Some(batch) = outbox.take() {
            let wire: usize = batch.chunks.iter().map(Bytes::len).sum();
            assert_eq!(wire, batch.frames * PREFIX_LEN + batch.bytes);
            for chunk in batch.chunks {
                deframer.push(&chunk, &mut frames).unwrap();
            }
        }
        assert!(!deframer.is_inside_frame());
        assert_eq!(outbox.metrics.lane(outbox.lane).send_queue_bytes.get(), 0);
        frames.iter().map(|frame| frame[0]).collect()
    }

    #[test]
    fn votes_drop_the_oldest_and_the_other_lanes_refuse() {
        for (frames_max, bytes_max) in [(3, 1_000), (1_000, 30)] {
            let votes = outbox(Lane::Votes, frames_max, bytes_max);
            for fill in 1..=5 {
                votes.push(frame(fill, 10)).unwrap();
            }
            assert_eq!(votes.metrics.lane(Lane::Votes).frames_dropped.get(), 2);
            assert_eq!(drain(&votes), [3, 4, 5]);

            for lane in [Lane::Bodies, Lane::Transactions, Lane::Sync] {
                let outbox = outbox(lane, frames_max, bytes_max);
                let results: Vec<_> = (1..=5).map(|fill| outbox.push(frame(fill, 10)).is_ok()).collect();
                assert_eq!(results, [true, true, true, false, false]);
                assert_eq!(outbox.metrics.lane(lane).frames_refused.get(), 2);
                assert_eq!(drain(&outbox), [1, 2, 3]);
                outbox.push(frame(6, 10)).unwrap();
            }
        }
    }

    #[test]
    fn a_large_frame_makes_as_much_room_as_it_needs_and_may_always_go_alone() {
        let votes = outbox(Lane::Votes, 10, 100);
        for fill in 1..=4 {
            votes.push(frame(fill, 25)).unwrap();
        }
        votes.push(frame(5, 60)).unwrap();
        assert_eq!(drain(&votes), [4, 5]);
        votes.push(frame(6, 101)).unwrap();
        assert_eq!(drain(&votes), [6]);
        let bodies = outbox(Lane::Bodies, 0, 0);
        bodies.push(frame(7, 10)).unwrap();
        assert_eq!(bodies.push(frame(8, 10)), Err(Full));
        bodies.clear();
        assert_eq!(drain(&bodies), []);
    }

    #[test]
    fn a_write_carries_many_small_frames_or_one_large_one() {
        let outbox = outbox(Lane::Transactions, 1_000, 10 << 20);
        for fill in 1..=20 {
            outbox.push(frame(fill, 100)).unwrap();
        }
        outbox.push(frame(21, 1 << 20)).unwrap();
        outbox.push(frame(22, 5_000)).unwrap();
        outbox.push(frame(23, 100)).unwrap();
        let sizes: Vec<_> = std::iter::from_fn(|| outbox.take())
            .map(|batch| (batch.frames, batch.chunks.len()))
            .collect();
        assert_eq!(sizes, [(20, 1), (1, 2), (2, 3)]);
    }
}
