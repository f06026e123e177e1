//! The bounded queue in front of one send stream: many threads put frames in, one task writes them out in
//! large pieces.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, watch};

use crate::framing::{self, FrameError, PREFIX_LEN};

/// Gathered while lingering before the writer is woken: the size at which the cost of a write is spread thin.
pub(crate) const WRITE_BYTES_MIN: usize = 16 << 10;

/// Frames from this size on are queued as they are, smaller ones are copied together.
const COPY_BYTES_MAX: usize = 16 << 10;

/// Why a frame was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PushError {
    /// It would put more into the queue than its limits allow.
    Full,
    /// The outbox takes nothing more.
    Closed,
    /// Its length is not allowed.
    Frame(FrameError),
}

/// Most that the queue holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutboxLimits {
    pub(crate) bytes_max: usize,
    pub(crate) frames_max: usize,
    pub(crate) frame_bytes_max: usize,
}

/// What one write takes: whole frames with their prefixes.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) chunks: Vec<Bytes>,
    pub(crate) bytes: usize,
    pub(crate) frames: usize,
}

#[derive(Debug)]
pub(crate) struct Outbox {
    limits: OutboxLimits,
    queue: Mutex<Queue>,
    /// The writer waits here.
    filled: Notify,
    /// Senders that wait for room wait here.
    emptied: Notify,
    /// Set once, by the writer, when it writes no more: whether everything was delivered.
    written: watch::Sender<Option<bool>>,
}

#[derive(Debug, Default)]
struct Queue {
    batch: Batch,
    /// Small frames, end to end; they come after `batch.chunks`.
    tail: Vec<u8>,
    writer: Writer,
    closed: bool,
}

/// What the writer does, so that a push wakes it only when it must.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Writer {
    /// Writing, or about to look again.
    #[default]
    Awake,
    /// Waiting for the first frame.
    Idle,
    /// Waiting a moment for more.
    Lingering,
}

impl Outbox {
    pub(crate) fn new(limits: OutboxLimits) -> Self {
        Self {
            limits,
            queue: Mutex::default(),
            filled: Notify::new(),
            emptied: Notify::new(),
            written: watch::Sender::new(None),
        }
    }

    /// Queues one frame. Never waits.
    pub(crate) fn push(&self, frame: Bytes) -> Result<(), PushError> {
        let len = frame.len();
        let prefix = framing::prefix_of(len, self.limits.frame_bytes_max).map_err(PushError::Frame)?;
        self.put(PREFIX_LEN + len, 1, |queue| {
            queue.tail.extend_from_slice(&prefix);
            if len < COPY_BYTES_MAX {
                queue.tail.extend_from_slice(&frame);
            } else {
                queue.seal_tail();
                queue.batch.chunks.push(frame);
            }
        })
    }

    /// Queues `bytes` that already are `frames` whole frames with their prefixes.
    pub(crate) fn push_raw(&self, bytes: Bytes, frames: usize) -> Result<(), PushError> {
        self.put(bytes.len(), frames, |queue| {
            if bytes.len() < COPY_BYTES_MAX {
                queue.tail.extend_from_slice(&bytes);
            } else {
                queue.seal_tail();
                queue.batch.chunks.push(bytes);
            }
        })
    }

    /// Waits until a push after [`PushError::Full`] is worth another try.
    pub(crate) async fn wait_for_room(&self, bytes: usize, frames: usize) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            emptied.as_mut().enable();
            {
                let queue = self.lock();
                if queue.closed || self.has_room(&queue, bytes, frames) {
                    return;
                }
            }
            emptied.await;
        }
    }

    /// Takes everything that is queued, waiting for the first frame and, within `linger` after `last_write`,
    /// for 16 KiB. `None`: closed and empty.
    pub(crate) async fn take(&self, last_write: Option<Instant>, linger: Duration) -> Option<Batch> {
        let linger_until = last_write.map(|at| at + linger);
        loop {
            let wait_until = {
                let mut queue = self.lock();
                if queue.batch.bytes > 0 {
                    let wait_until = linger_until.filter(|until| {
                        queue.batch.bytes < WRITE_BYTES_MIN && !queue.closed && *until > Instant::now()
                    });
                    if wait_until.is_none() {
                        queue.writer = Writer::Awake;
                        let batch = queue.take_all();
                        drop(queue);
                        self.emptied.notify_waiters();
                        return Some(batch);
                    }
                    queue.writer = Writer::Lingering;
                    wait_until
                } else if queue.closed {
                    return None;
                } else {
                    queue.writer = Writer::Idle;
                    None
                }
            };
            match wait_until {
                None => self.filled.notified().await,
                Some(until) => {
                    let filled = tokio::time::timeout_at(until.into(), self.filled.notified()).await;
                    // Elapsed or filled: look again either way.
                    drop(filled);
                }
            }
        }
    }

    /// Takes nothing more. What is queued is still handed to the writer.
    pub(crate) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        drop(queue);
        self.filled.notify_one();
        self.emptied.notify_waiters();
    }

    /// Takes nothing more and forgets what is queued. Returns the bytes forgotten.
    pub(crate) fn discard(&self) -> usize {
        let bytes = self.lock().take_all().bytes;
        self.close();
        bytes
    }

    /// The writer says that it writes no more, and whether everything was delivered.
    pub(crate) fn finish_writing(&self, delivered: bool) {
        self.written.send_replace(Some(delivered));
    }

    /// Waits until the writer writes no more; whether everything was delivered.
    pub(crate) async fn wait_until_written(&self) -> bool {
        let mut written = self.written.subscribe();
        written
            .wait_for(Option::is_some)
            .await
            .is_ok_and(|delivered| *delivered == Some(true))
    }

    /// Bytes queued.
    pub(crate) fn bytes(&self) -> usize {
        self.lock().batch.bytes
    }

    fn put(&self, bytes: usize, frames: usize, append: impl FnOnce(&mut Queue)) -> Result<(), PushError> {
        let mut queue = self.lock();
        if queue.closed {
            return Err(PushError::Closed);
        }
        if !self.has_room(&queue, bytes, frames) {
            return Err(PushError::Full);
        }
        append(&mut queue);
        queue.batch.bytes += bytes;
        queue.batch.frames += frames;
        let wake = match queue.writer {
            Writer::Awake => false,
            Writer::Idle => true,
            Writer::Lingering => queue.batch.bytes >= WRITE_BYTES_MIN,
        };
        if wake {
            queue.writer = Writer::Awake;
        }
        drop(queue);
        if wake {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// An empty queue takes anything, or one frame above the limit could never be sent.
    fn has_room(&self, queue: &Queue, bytes: usize, frames: usize) -> bool {
        queue.batch.bytes == 0
            || (queue.batch.bytes + bytes <= self.limits.bytes_max
                && queue.batch.frames + frames <= self.limits.frames_max)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn seal_tail(&mut self) {
        if !self.tail.is_empty() {
            let tail = std::mem::take(&mut self.tail);
            self.batch.chunks.push(Bytes::from(tail));
        }
    }

    fn take_all(&mut self) -> Batch {
        let capacity = self.tail.len();
        self.seal_tail();
        // The next gathering will likely be as large as this one.
        self.tail = Vec::with_capacity(capacity.min(1 << 20));
        std::mem::take(&mut self.batch)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn outbox(bytes_max: usize) -> Outbox {
        Outbox::new(OutboxLimits {
            bytes_max,
            frames_max: 1_000,
            frame_bytes_max: 1 << 20,
        })
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
    }

    async fn take(outbox: &Outbox) -> Option<Batch> {
        outbox.take(None, Duration::ZERO).await
    }

    #[test]
    fn keeps_the_order_of_small_and_large_frames() {
        runtime().block_on(async {
            let outbox = outbox(1 << 20);
            let frames: Vec<Vec<u8>> = [1, 20_000, 2, 3, 70_000, 70_000, 4]
                .iter()
                .map(|len| vec![7; *len])
                .collect();
            let mut wanted = Vec::new();
            for frame in &frames {
                framing::append_frame(&mut wanted, frame, usize::MAX).unwrap();
                outbox.push(frame.clone().into()).unwrap();
            }
            let batch = take(&outbox).await.unwrap();
            assert_eq!(batch.chunks.concat(), wanted);
            assert_eq!((batch.bytes, batch.frames), (wanted.len(), frames.len()));
            assert_eq!(outbox.bytes(), 0);
        });
    }

    #[test]
    fn is_bounded_and_says_when_there_is_room() {
        runtime().block_on(async {
            let outbox = outbox(100);
            outbox.push(vec![1; 60].into()).unwrap();
            assert_eq!(outbox.push(vec![1; 60].into()), Err(PushError::Full));
            assert_eq!(
                outbox.push(Bytes::new()),
                Err(PushError::Frame(FrameError::Empty))
            );
            let (batch, ()) = tokio::join!(take(&outbox), outbox.wait_for_room(64, 1));
            assert_eq!(batch.unwrap().frames, 1);
            outbox.push(vec![1; 500].into()).unwrap();
            assert_eq!(
                outbox.push(vec![1].into()),
                Err(PushError::Full),
                "one oversized frame at a time"
            );
        });
    }

    #[test]
    fn hands_over_what_is_queued_before_it_ends() {
        runtime().block_on(async {
            let outbox = outbox(100);
            outbox.push(vec![1].into()).unwrap();
            outbox.close();
            assert_eq!(outbox.push(vec![1].into()), Err(PushError::Closed));
            assert_eq!(take(&outbox).await.unwrap().bytes, 5);
            assert!(take(&outbox).await.is_none());
        });
    }

    #[test]
    fn gathers_after_a_recent_write_until_there_is_enough() {
        runtime().block_on(async {
            let outbox = outbox(1 << 20);
            let long = Duration::from_secs(3_600);
            outbox.push(vec![1; 100].into()).unwrap();
            let first = outbox.take(Some(Instant::now()), long);
            let push_more = async {
                for _ in 0..16 {
                    tokio::task::yield_now().await;
                    outbox.push(vec![1; 1_024].into()).unwrap();
                }
            };
            let (batch, ()) = tokio::join!(first, push_more);
            assert!(batch.unwrap().bytes >= WRITE_BYTES_MIN);
        });
    }
}
