//! Queues between threads: bounded, lock-free, with a name, a gauge, and a consumer that is woken.

use crate::telemetry::{Metrics, Queue as Name};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use crossbeam::queue::ArrayQueue;
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};

/// A bounded queue with any number of producers and one consumer, which sleeps while it is empty.
///
/// What happens when it is full is the producer's choice: [`Queue::offer`] gives the item back, to be refused
/// with a reason; [`Queue::push`] waits, which slows the producer down and fills the queue before it.
#[derive(Debug)]
pub struct Queue<T> {
    name: Name,
    items: ArrayQueue<T>,
    consumer: OnceLock<Thread>,
    asleep: AtomicBool,
    closed: AtomicBool,
    metrics: Arc<Metrics>,
}

impl<T> Queue<T> {
    /// A queue for `len_max` items.
    pub fn new(name: Name, len_max: usize, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            name,
            items: ArrayQueue::new(len_max.max(1)),
            consumer: OnceLock::new(),
            asleep: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            metrics,
        })
    }

    /// Adds an item, or gives it back when the queue is full or closed.
    ///
    /// # Errors
    /// The item.
    pub fn offer(&self, item: T) -> Result<(), T> {
        self.put(item).inspect_err(|_| self.count_full())
    }

    /// Counts that there was no room; closed it is not full.
    pub fn count_full(&self) {
        if !self.is_closed() {
            self.metrics.queue(self.name).add_full(1);
        }
    }

    fn put(&self, item: T) -> Result<(), T> {
        if self.closed.load(Ordering::Acquire) {
            return Err(item);
        }
        self.items.push(item)?;
        self.wake();
        Ok(())
    }

    /// Adds an item, waiting while the queue is full; gives it back when the queue is closed.
    ///
    /// # Errors
    /// The item.
    pub fn push(&self, mut item: T) -> Result<(), T> {
        let mut has_waited = false;
        loop {
            match self.put(item) {
                Ok(()) => return Ok(()),
                Err(back) if self.closed.load(Ordering::Acquire) => return Err(back),
                Err(back) => item = back,
            }
            if !has_waited {
                self.count_full();
                has_waited = true;
            }
            thread::park_timeout(FULL_WAIT);
        }
    }

    /// The next item, if there is one.
    pub fn pop(&self) -> Option<T> {
        self.items.pop()
    }

    /// Waits for an item for at most `timeout`, possibly less: true when there is one. Only the one consumer
    /// may call this.
    pub fn wait(&self, timeout: Duration) -> bool {
        self.consumer.get_or_init(thread::current);
        if !self.items.is_empty() {
            return true;
        }
        self.asleep.store(true, Ordering::SeqCst);
        if self.items.is_empty() && !self.closed.load(Ordering::SeqCst) {
            thread::park_timeout(timeout);
        }
        self.asleep.store(false, Ordering::SeqCst);
        !self.items.is_empty()
    }

    /// Wakes the consumer, if it sleeps.
    pub fn wake(&self) {
        core::sync::atomic::fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst)
            && let Some(consumer) = self.consumer.get()
        {
            consumer.unpark();
        }
    }

    /// Takes no more items; what is in it can still be taken out.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        if let Some(consumer) = self.consumer.get() {
            consumer.unpark();
        }
    }

    /// Whether it takes no more items.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Whether it is closed and empty: its consumer may end.
    pub fn is_done(&self) -> bool {
        self.closed.load(Ordering::SeqCst) && self.items.is_empty()
    }

    /// Items in it.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether nothing more fits.
    pub fn is_full(&self) -> bool {
        self.items.is_full()
    }

    /// Sets the gauge. The consumer calls this at both ends of a round, not once an item.
    pub fn gauge(&self) {
        self.metrics.queue(self.name).set(self.items.len());
    }
}

/// How long a producer sleeps before it looks again whether a full queue has room.
const FULL_WAIT: Duration = Duration::from_micros(200);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_between_many_producers_and_a_sleeping_consumer() {
        let queue = Queue::new(Name::Intake, 8, Arc::new(Metrics::default()));
        let producers: Vec<_> = (0..4u64)
            .map(|producer| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || (0..1_000u64).for_each(|at| queue.push(producer * 1_000 + at).unwrap()))
            })
            .collect();
        let mut seen = Vec::new();
        // A wake may come late, for an item that is taken already: then the wait ends early and empty.
        for _ in 0..100_000 {
            if seen.len() == 4_000 {
                break;
            }
            queue.wait(Duration::from_secs(10));
            seen.extend(core::iter::from_fn(|| queue.pop()));
        }
        producers
            .into_iter()
            .for_each(|producer| producer.join().unwrap());
        seen.sort_unstable();
        assert_eq!(seen, (0..4_000).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_or_closed_queue_gives_the_item_back() {
        let metrics = Arc::new(Metrics::default());
        let queue = Queue::new(Name::Intake, 1, Arc::clone(&metrics));
        assert_eq!(queue.offer(1), Ok(()));
        assert_eq!(queue.offer(2), Err(2));
        assert_eq!(metrics.queue(Name::Intake).full(), 1);
        queue.close();
        assert_eq!(queue.push(3), Err(3));
        assert_eq!(metrics.queue(Name::Intake).full(), 1, "closed is not full");
        assert!(!queue.is_done());
        assert_eq!(queue.pop(), Some(1));
        assert!(queue.is_done());
    }
}
