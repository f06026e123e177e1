//! A lane: one key's transactions in order, many under way at once, each followed to its answer.

use super::error::DemoError;
use super::source::{Batch, Source, Step};
use super::tally::Tally;
use crate::client::{Signer, Ticket};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use selfchain_types::message::{Committed, Detail};
use std::thread;
use std::time::Instant;

/// Transactions of one lane under way at most.
const WINDOW: usize = 32;

/// How long a thread waits at most before it looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(50);

/// What the lanes of one stream share.
pub(super) struct Stream<'a> {
    /// The beginning, from which every duration counts.
    pub(super) began: Instant,
    /// When it ends at the latest.
    pub(super) time_max: Option<Duration>,
    /// Set by whoever wants it to end early.
    pub(super) stop: &'a AtomicBool,
    /// Set when a lane failed, so that the others end too.
    pub(super) failed: &'a AtomicBool,
    pub(super) tally: &'a Tally,
}

impl Stream<'_> {
    fn is_over(&self) -> bool {
        let is_late = self
            .time_max
            .is_some_and(|time_max| self.began.elapsed() >= time_max);
        is_late || self.stop.load(Ordering::Relaxed) || self.failed.load(Ordering::Relaxed)
    }
}

/// Sends what the source has, when it is due, until the source or the stream ends and everything is answered.
pub(super) fn run(source: &mut dyn Source, signer: &Signer, stream: &Stream<'_>) -> Result<(), DemoError> {
    let (sent, to_follow) = bounded(WINDOW);
    // The sender empties this before every send; while it waits for room in the window, no more than the window
    // can be answered: neither ever waits for the other.
    let (answers, answered) = bounded(WINDOW + 2);
    let ended = thread::scope(|scope| {
        let follower = scope.spawn(move || follow(&to_follow, &answers, stream));
        let mut lane = Lane {
            source,
            signer,
            stream,
            sent,
            answered,
            under_way: 0,
        };
        let sending = lane.run();
        drop(lane);
        let following = follower.join().map_err(|_| DemoError::Panicked)?;
        following.and(sending)
    });
    if ended.is_err() {
        stream.failed.store(true, Ordering::Relaxed);
    }
    ended
}

/// A transaction on its way.
struct Sent {
    batch: Batch,
    ticket: Ticket,
    /// When it was due; where nothing is timed, when it was sent.
    latency_from: Duration,
}

/// Waits for every transaction in the order of sending, which is the order in which a lane commits.
fn follow(
    sent: &Receiver<Sent>,
    answers: &Sender<(Batch, Committed)>,
    stream: &Stream<'_>,
) -> Result<(), DemoError> {
    for Sent {
        batch,
        ticket,
        latency_from,
    } in sent
    {
        let committed = ticket.wait()?;
        let at = stream.began.elapsed();
        stream
            .tally
            .committed(&committed, batch.reviews, at, at.saturating_sub(latency_from));
        stream.tally.settled(&batch, &committed);
        if answers.send((batch, committed)).is_err() {
            break;
        }
    }
    Ok(())
}

/// The sending side.
struct Lane<'a, 'b> {
    source: &'a mut dyn Source,
    signer: &'a Signer,
    stream: &'a Stream<'b>,
    sent: Sender<Sent>,
    answered: Receiver<(Batch, Committed)>,
    under_way: usize,
}

/// The follower has ended: its error says why.
struct Ended;

impl Lane<'_, '_> {
    fn run(&mut self) -> Result<(), DemoError> {
        while !self.stream.is_over() {
            self.take_answers();
            match self.source.next(self.stream.began.elapsed())? {
                Step::Send(batch) => {
                    if self.send(batch)?.is_err() {
                        return Ok(());
                    }
                }
                Step::Wait(until) => {
                    let wait = until.saturating_sub(self.stream.began.elapsed()).min(LOOK);
                    if self.wait(wait).is_err() {
                        return Ok(());
                    }
                }
                Step::End => break,
            }
        }
        self.close()
    }

    /// Waits for every answer, and sends what the source has left to do then.
    fn close(&mut self) -> Result<(), DemoError> {
        loop {
            while self.under_way > 0 {
                if self.wait(LOOK).is_err() {
                    return Ok(());
                }
            }
            match self.source.closing() {
                Some(batch) => {
                    if self.send(batch)?.is_err() {
                        return Ok(());
                    }
                }
                None => return Ok(()),
            }
        }
    }

    fn send(&mut self, mut batch: Batch) -> Result<Result<(), Ended>, DemoError> {
        let operations = batch.operations.clone();
        let due = batch.due.take();
        let latency_from = due.unwrap_or_else(|| self.stream.began.elapsed());
        let ticket = self.signer.submit(operations, Detail::Refusals)?;
        batch.tx_id = ticket.tx_id();
        self.under_way += 1;
        Ok(self
            .sent
            .send(Sent {
                batch,
                ticket,
                latency_from,
            })
            .map_err(|_| Ended))
    }

    fn take_answers(&mut self) {
        while let Ok((batch, committed)) = self.answered.try_recv() {
            self.take(&batch, &committed);
        }
    }

    fn wait(&mut self, wait: Duration) -> Result<(), Ended> {
        match self.answered.recv_timeout(wait) {
            Ok((batch, committed)) => {
                self.take(&batch, &committed);
                Ok(())
            }
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => Err(Ended),
        }
    }

    fn take(&mut self, batch: &Batch, committed: &Committed) {
        self.under_way -= 1;
        self.source.answered(batch, committed);
    }
}
