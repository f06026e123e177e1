//! The connection: one thread that receives, reconnects, and sends again what was lost.

use super::ClientError;
use super::flight::{Departure, Due, Flight};
use selfchain_transport::client::ReceiveError;
use selfchain_transport::client::blocking::{self, Receiver, Sender};
use selfchain_types::Hash;
use selfchain_types::message::{Answer, Reply};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The longest that the thread waits for a reply before it looks at deadlines.
const LOOK: Duration = Duration::from_millis(100);
/// What the thread allows itself for sending again; what was not sent then is sent at the next look.
const SEND_AGAIN: Duration = Duration::from_millis(50);
/// One round of connection attempts. Between rounds the deadlines are looked at.
const CONNECT_ROUND: Duration = Duration::from_secs(1);

/// What the last connection's farewell is given to leave this machine; QUIC itself would wait for several round trips.
const FAREWELL: Duration = Duration::from_millis(25);

/// What callers and the connection's thread share.
pub(super) struct Link {
    state: Mutex<State>,
    /// Signalled when a place in flight becomes free.
    room: Condvar,
    in_flight_max: usize,
    in_flight_bytes_max: usize,
    is_closed: AtomicBool,
    /// The newest height that a reply has named.
    tip: AtomicU64,
}

struct State {
    flight: Flight,
    sender: Option<Sender>,
    /// Connections so far.
    links: u64,
}

impl Link {
    pub(super) fn new(in_flight_max: usize, in_flight_bytes_max: usize) -> Self {
        Self {
            state: Mutex::new(State {
                flight: Flight::default(),
                sender: None,
                links: 0,
            }),
            room: Condvar::new(),
            in_flight_max,
            in_flight_bytes_max,
            is_closed: AtomicBool::new(false),
            tip: AtomicU64::new(0),
        }
    }

    /// Submits a frame, once there is room for it in flight.
    pub(super) fn submit(
        &self,
        frame: impl FnOnce(u64) -> Vec<u8>,
        tx_id: Hash,
        deadline: Instant,
        given: Duration,
    ) -> Result<Departure, ClientError> {
        self.depart(deadline, given, |flight, due| flight.submit(frame, tx_id, due))
    }

    /// Asks, once there is room for it in flight.
    pub(super) fn ask(
        &self,
        frame: impl FnOnce(u64) -> Vec<u8>,
        deadline: Instant,
        given: Duration,
    ) -> Result<Departure, ClientError> {
        self.depart(deadline, given, |flight, due| flight.query(frame, due))
    }

    fn depart(
        &self,
        deadline: Instant,
        given: Duration,
        depart: impl FnOnce(&mut Flight, Due) -> Departure,
    ) -> Result<Departure, ClientError> {
        let mut state = self.wait_for_room(deadline, given)?;
        let (link, sender) = match &state.sender {
            Some(sender) => (state.links, Some(sender.clone())),
            None => (0, None),
        };
        let mut departure = depart(
            &mut state.flight,
            Due {
                deadline,
                given,
                link,
            },
        );
        drop(state);
        let frame = std::mem::take(&mut departure.frame);
        // Without a connection the thread sends it as soon as there is one; likewise when this one has broken.
        if let Some(sender) = sender {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Err(selfchain_transport::client::SendError::Deadline { .. }) = sender.send(frame, left) {
                self.cancel(departure.number);
                return Err(ClientError::Deadline { after: given });
            }
        }
        Ok(departure)
    }

    fn wait_for_room(
        &self,
        deadline: Instant,
        given: Duration,
    ) -> Result<MutexGuard<'_, State>, ClientError> {
        let mut state = self.state();
        while state.flight.len() >= self.in_flight_max || state.flight.bytes() >= self.in_flight_bytes_max {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ClientError::Deadline { after: given });
            }
            state = self
                .room
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        Ok(state)
    }

    /// Forgets a request that nobody waits for any more.
    pub(super) fn cancel(&self, number: u64) {
        self.state().flight.cancel(number);
        self.room.notify_one();
    }

    /// The newest height that a reply has named.
    pub(super) fn tip(&self) -> u64 {
        self.tip.load(Ordering::Relaxed)
    }

    /// Ends the thread and all that waits; says goodbye to the node, within `wait`. Whether there was a connection.
    pub(super) fn close(&self, wait: Duration) -> bool {
        self.is_closed.store(true, Ordering::Release);
        let sender = self.state().sender.take();
        sender.is_some_and(|sender| {
            if !sender.close(wait) {
                tracing::debug!("client.closed_early");
            }
            true
        })
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// The current connection, to subscribe on.
    pub(super) fn sender(&self) -> Option<Sender> {
        self.state().sender.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A caller that panicked had changed nothing by halves: every change is one call of `Flight`.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection's thread: serves `connection` and those after it until the link is closed.
pub(super) fn run(link: &Arc<Link>, client: &blocking::Client, connection: blocking::Connection) {
    let mut next = Some(connection);
    while !link.is_closed() {
        if let Some(connection) = next.take() {
            let reason = link.serve(connection);
            tracing::debug!(%reason, "client.disconnected");
        } else {
            next = link.reconnect(client);
        }
    }
    link.state().flight.end_all(&ClientError::Closed);
    link.room.notify_all();
    if !client.wait_idle(FAREWELL) {
        tracing::trace!("client.farewell_cut_short");
    }
}

impl Link {
    fn reconnect(&self, client: &blocking::Client) -> Option<blocking::Connection> {
        match client.connect_with_retry(CONNECT_ROUND) {
            Ok(connection) => Some(connection),
            Err(error) => {
                let mut state = self.state();
                if !error.is_retryable() {
                    state.flight.end_all(&ClientError::Connect(Arc::new(error)));
                }
                state.flight.expire(Instant::now());
                drop(state);
                self.room.notify_all();
                None
            }
        }
    }

    /// Receives until the connection ends.
    fn serve(&self, connection: blocking::Connection) -> ReceiveError {
        let (sender, mut receiver) = connection.split();
        let resumed = {
            let mut state = self.state();
            state.links += 1;
            state.sender = Some(sender.clone());
            let links = state.links;
            state.flight.resume(links)
        };
        let mut unsent = self.send_again(&sender, resumed);
        let ended = loop {
            match self.receive(&mut receiver) {
                Ok(replies) => unsent.extend(replies),
                Err(ReceiveError::Deadline { .. }) => {}
                Err(ended) => break ended,
            }
            let now = Instant::now();
            let mut state = self.state();
            unsent.extend(state.flight.take_again(now));
            state.flight.expire(now);
            drop(state);
            self.room.notify_all();
            unsent = self.send_again(&sender, unsent);
            if self.is_closed() {
                break ReceiveError::Closed {
                    reason: selfchain_types::seam::transport::CloseReason::Done,
                };
            }
        };
        self.state().sender = None;
        ended
    }

    /// Takes the replies that are there; what is to be sent because of them.
    fn receive(&self, receiver: &mut Receiver) -> Result<Vec<Vec<u8>>, ReceiveError> {
        let now = Instant::now();
        let again = self.state().flight.next_again();
        let wait = again.map_or(LOOK, |at| at.saturating_duration_since(now).min(LOOK));
        let frames = receiver.receive(wait)?;
        let now = Instant::now();
        let mut state = self.state();
        let mut to_send = Vec::new();
        for frame in frames {
            match Reply::decode(&frame) {
                Ok((number, reply)) => {
                    self.note_tip(&reply);
                    to_send.extend(state.flight.land(number, reply, now));
                }
                Err(error) => tracing::warn!(%error, "client.reply_unreadable"),
            }
        }
        Ok(to_send)
    }

    fn note_tip(&self, reply: &Reply) {
        let height = match reply {
            Reply::Committed(committed) | Reply::Answer(Answer::Transaction(committed)) => committed.height.0,
            Reply::Answer(Answer::Status(status)) => status.tip.0,
            _ => return,
        };
        self.tip.fetch_max(height, Ordering::Relaxed);
    }

    /// Sends frames; those that found no room are given back. What a broken connection lost is found again by
    /// `Flight::resume`.
    fn send_again(&self, sender: &Sender, frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let until = Instant::now() + SEND_AGAIN;
        let mut unsent = Vec::new();
        for frame in frames {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || sender.send(frame.clone(), left).is_err() {
                unsent.push(frame);
            }
        }
        unsent
    }
}
