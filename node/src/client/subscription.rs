//! Block rows as they become durable, from any height on; a lost connection is taken up where it broke.

use super::{Client, ClientError};
use selfchain_transport::client::blocking;
use selfchain_types::Height;
use selfchain_types::message::{Reply, Request};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Pause before a lost subscription is opened again.
const REOPEN_PAUSE: Duration = Duration::from_millis(100);

/// Rows in order of height, without end and without gaps.
pub struct Subscription {
    client: Client,
    /// The height of the row after those in `ready`.
    next: Height,
    ready: VecDeque<Vec<u8>>,
    open: Option<blocking::Subscription>,
}

impl Subscription {
    pub(super) fn new(client: Client, from: Height) -> Self {
        Self {
            client,
            next: from.max(Height(1)),
            ready: VecDeque::new(),
            open: None,
        }
    }

    /// The next row ([`selfchain_types::block::Row::decode`]); `None` when none came within `wait`.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the node ends it, as for a pruned height. A lost connection is no error
    /// here: the subscription waits for the next one.
    pub fn next_within(&mut self, wait: Duration) -> Result<Option<Vec<u8>>, ClientError> {
        let until = Instant::now() + wait;
        loop {
            if let Some(row) = self.ready.pop_front() {
                return Ok(Some(row));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.pull(left)?;
        }
    }

    fn pull(&mut self, left: Duration) -> Result<(), ClientError> {
        let Some(open) = &mut self.open else {
            self.reopen(left);
            return Ok(());
        };
        match open.next(left) {
            Ok(Some(frames)) => self.take(frames),
            Err(selfchain_transport::client::ReceiveError::Deadline { .. }) => Ok(()),
            Ok(None) | Err(_) => {
                self.open = None;
                Ok(())
            }
        }
    }

    fn take(&mut self, frames: Vec<Vec<u8>>) -> Result<(), ClientError> {
        for frame in frames {
            // A row begins with its first section's kind, 1; only a refusal reads as one.
            if let Ok((_, Reply::Refused(refused))) = Reply::decode(&frame) {
                self.open = None;
                return Err(ClientError::Refused(refused));
            }
            self.ready.push_back(frame);
            self.next = self.next.next();
        }
        Ok(())
    }

    fn reopen(&mut self, left: Duration) {
        let request = Request::Subscribe { from: self.next }.encode(0);
        self.open = self
            .client
            .link()
            .sender()
            .and_then(|sender| sender.subscribe(&request, left).ok());
        if self.open.is_none() {
            // The link's own thread is reconnecting; there is nothing to wait on but time.
            std::thread::park_timeout(left.min(REOPEN_PAUSE));
        }
    }
}

impl Iterator for Subscription {
    type Item = Result<Vec<u8>, ClientError>;

    /// Waits for the next row as long as it takes.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.next_within(self.client.deadline()) {
                Ok(None) => {}
                Ok(Some(row)) => return Some(Ok(row)),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
