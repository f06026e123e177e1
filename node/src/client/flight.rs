//! What is in flight: every request without a final answer, and what a reply means for it. Pure: no sockets,
//! and time is an argument.

use super::ClientError;
use crossbeam::channel::{Receiver, Sender, bounded};
use selfchain_types::message::{Answer, Committed, Query, Refused, Reply, Request};
use selfchain_types::{Hash, Refusal};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::{Duration, Instant};

/// Shortest pause before something is sent again, where the node names none.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// What a request ended with.
pub(super) type Ending = Result<Reply, ClientError>;

/// Requests without a final answer, by number.
#[derive(Debug, Default)]
pub(super) struct Flight {
    entries: BTreeMap<u64, Entry>,
    last: u64,
    bytes: usize,
    again: BinaryHeap<Reverse<(Instant, u64)>>,
}

#[derive(Debug)]
struct Entry {
    call: Call,
    deadline: Instant,
    given: Duration,
    ending: Sender<Ending>,
    /// The connection it was last sent on.
    link: u64,
}

#[derive(Debug)]
enum Call {
    Query {
        frame: Vec<u8>,
    },
    Submit {
        frame: Vec<u8>,
        tx_id: Hash,
        asking: Asking,
    },
}

/// What the next reply to a submission answers.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asking {
    /// The first submission.
    Submitted,
    /// A submission after the fate of the first was unknown.
    Resubmitted,
    /// The question what became of it.
    Fate,
    /// That question again: its counter is used, by itself or by another, and the index may not know yet.
    Taken(Refused),
}

impl Flight {
    /// Requests in flight.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes that are kept to be sent again.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes up a submission. The frame is the one to send.
    pub(super) fn submit(&mut self, frame: impl FnOnce(u64) -> Vec<u8>, tx_id: Hash, due: Due) -> Departure {
        self.depart(
            |number| Call::Submit {
                frame: frame(number),
                tx_id,
                asking: Asking::Submitted,
            },
            due,
        )
    }

    /// Takes up a query, whose frame it is.
    pub(super) fn query(&mut self, frame: impl FnOnce(u64) -> Vec<u8>, due: Due) -> Departure {
        self.depart(|number| Call::Query { frame: frame(number) }, due)
    }

    fn depart(&mut self, call: impl FnOnce(u64) -> Call, due: Due) -> Departure {
        self.last += 1;
        let (number, (ending, wait)) = (self.last, bounded(1));
        let call = call(number);
        let frame = call.frame().to_vec();
        self.bytes += frame.len();
        let Due {
            deadline,
            given,
            link,
        } = due;
        self.entries.insert(
            number,
            Entry {
                call,
                deadline,
                given,
                ending,
                link,
            },
        );
        Departure { number, frame, wait }
    }

    /// Forgets a request that nobody waits for any more.
    pub(super) fn cancel(&mut self, number: u64) {
        if let Some(entry) = self.entries.remove(&number) {
            self.bytes -= entry.call.frame().len();
        }
    }

    /// Takes a reply. What is to be sent because of it, if anything.
    pub(super) fn land(&mut self, number: u64, reply: Reply, now: Instant) -> Option<Vec<u8>> {
        let entry = self.entries.get_mut(&number)?;
        match entry.react(reply, number, now) {
            Reaction::Wait => None,
            Reaction::Send(frame) => Some(frame),
            Reaction::Again(at) => {
                self.again.push(Reverse((at, number)));
                None
            }
            Reaction::End(ending) => {
                self.end(number, *ending);
                None
            }
        }
    }

    /// When something is to be sent again.
    pub(super) fn next_again(&self) -> Option<Instant> {
        self.again.peek().map(|Reverse((at, _))| *at)
    }

    /// What is to be sent again by now.
    pub(super) fn take_again(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while self.next_again().is_some_and(|at| at <= now) {
            let Some(Reverse((_, number))) = self.again.pop() else {
                break;
            };
            frames.extend(
                self.entries
                    .get(&number)
                    .map(|entry| entry.call.next_frame(number)),
            );
        }
        frames
    }

    /// Ends what is past its deadline.
    pub(super) fn expire(&mut self, now: Instant) {
        let late: Vec<(u64, Duration)> = (self.entries.iter())
            .filter(|(_, entry)| entry.deadline <= now)
            .map(|(number, entry)| (*number, entry.given))
            .collect();
        for (number, after) in late {
            let ending = match self.entries.get(&number).map(|entry| &entry.call) {
                Some(Call::Submit {
                    asking: Asking::Taken(refused),
                    ..
                }) => Err(ClientError::Refused(refused.clone())),
                _ => Err(ClientError::Deadline { after }),
            };
            self.end(number, ending);
        }
    }

    /// After a reconnect: what is to be sent on connection `link` because it was sent on an earlier one or on
    /// none. A submission that had been sent is asked for first.
    pub(super) fn resume(&mut self, link: u64) -> Vec<Vec<u8>> {
        self.again.clear();
        let lost = self.entries.iter_mut().filter(|(_, entry)| entry.link < link);
        lost.map(|(number, entry)| {
            let was_sent = entry.link > 0;
            entry.link = link;
            if was_sent
                && let Call::Submit { asking, .. } = &mut entry.call
                && !matches!(asking, Asking::Taken(_))
            {
                *asking = Asking::Fate;
            }
            entry.call.next_frame(*number)
        })
        .collect()
    }

    /// Ends everything.
    pub(super) fn end_all(&mut self, why: &ClientError) {
        let numbers: Vec<u64> = self.entries.keys().copied().collect();
        for number in numbers {
            self.end(number, Err(why.clone()));
        }
    }

    fn end(&mut self, number: u64, ending: Ending) {
        if let Some(entry) = self.entries.remove(&number) {
            self.bytes -= entry.call.frame().len();
            // Its place for one ending is free until here; nobody may be waiting, which is fine.
            if entry.ending.try_send(ending).is_err() {
                tracing::trace!(number, "nobody waits for this answer");
            }
        }
    }
}

/// By when an answer is wanted, and on which connection it is asked for (0: none yet).
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) deadline: Instant,
    pub(super) given: Duration,
    pub(super) link: u64,
}

/// A request that was taken up.
#[derive(Debug)]
pub(super) struct Departure {
    pub(super) number: u64,
    pub(super) frame: Vec<u8>,
    pub(super) wait: Receiver<Ending>,
}

enum Reaction {
    Wait,
    Send(Vec<u8>),
    Again(Instant),
    End(Box<Ending>),
}

impl Entry {
    fn react(&mut self, reply: Reply, number: u64, now: Instant) -> Reaction {
        match (reply, &mut self.call) {
            (Reply::Accepted, _) => Reaction::Wait,
            (Reply::Answer(Answer::Transaction(committed)), Call::Submit { .. }) => committed_as(committed),
            (Reply::Refused(refused), Call::Submit { .. }) => self.react_to_refusal(refused, number, now),
            (Reply::Refused(refused), Call::Query { .. }) => self.retry_or_end(refused, now),
            (reply, _) => Reaction::End(Box::new(Ok(reply))),
        }
    }

    fn react_to_refusal(&mut self, refused: Refused, number: u64, now: Instant) -> Reaction {
        let Call::Submit { asking, frame, .. } = &mut self.call else {
            return Reaction::End(Box::new(Err(ClientError::Refused(refused))));
        };
        match (asking.clone(), refused.refusal) {
            (Asking::Fate, Refusal::NotFound) => {
                *asking = Asking::Resubmitted;
                Reaction::Send(frame.clone())
            }
            (Asking::Taken(_), Refusal::NotFound) => Reaction::Again(now + PAUSE_MIN),
            (Asking::Resubmitted, Refusal::CounterUsed) => {
                *asking = Asking::Taken(refused);
                Reaction::Send(self.call.next_frame(number))
            }
            (_, Refusal::Duplicate) => {
                *asking = Asking::Fate;
                Reaction::Send(self.call.next_frame(number))
            }
            // Its result went to an earlier connection, or will come on this one: ask until it is there.
            (_, Refusal::Waiting) => {
                *asking = Asking::Fate;
                Reaction::Again(now + pause(&refused))
            }
            _ => self.retry_or_end(refused, now),
        }
    }

    fn retry_or_end(&self, refused: Refused, now: Instant) -> Reaction {
        let at = now + pause(&refused);
        if refused.refusal.is_transient() && at < self.deadline {
            Reaction::Again(at)
        } else {
            Reaction::End(Box::new(Err(ClientError::Refused(refused))))
        }
    }
}

fn committed_as(committed: Committed) -> Reaction {
    Reaction::End(Box::new(Ok(Reply::Committed(committed))))
}

fn pause(refused: &Refused) -> Duration {
    Duration::from_millis(u64::from(refused.retry_after_ms)).max(PAUSE_MIN)
}

impl Call {
    fn frame(&self) -> &[u8] {
        match self {
            Self::Query { frame } | Self::Submit { frame, .. } => frame,
        }
    }

    /// What is to be sent next for it.
    fn next_frame(&self, number: u64) -> Vec<u8> {
        match self {
            Self::Submit {
                tx_id,
                asking: Asking::Fate | Asking::Taken(_),
                ..
            } => Request::Query(Query::Transaction(*tx_id)).encode(number),
            call => call.frame().to_vec(),
        }
    }
}

#[cfg(test)]
#[path = "flight_tests.rs"]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
