//! The client for threads: the same calls, driven by a small runtime of their own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use selfchain_types::seam::transport::CloseReason;
use tokio::runtime::{Builder, Runtime};

use super::{ClientConfig, ConnectError, ReceiveError, SendError};

/// As [`super::Client`], for a thread that may block. Must not be used inside a tokio runtime.
pub struct Client {
    runtime: Arc<Runtime>,
    client: super::Client,
}

impl Client {
    /// Starts one thread for the sockets and opens the local one.
    ///
    /// # Errors
    /// As [`super::Client::new`].
    pub fn new(config: ClientConfig) -> Result<Self, ConnectError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("transport-client")
            .enable_io()
            .enable_time()
            .build()
            .map_err(|source| ConnectError::Socket {
                server: config.server,
                source,
            })?;
        let client = {
            let _context = runtime.enter();
            super::Client::new(config)?
        };
        Ok(Self {
            runtime: Arc::new(runtime),
            client,
        })
    }

    /// As [`super::Client::connect`].
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect(&self) -> Result<Connection, ConnectError> {
        let connection = self.runtime.block_on(self.client.connect())?;
        Ok(Connection::new(&self.runtime, connection))
    }

    /// As [`super::Client::connect_with_retry`].
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect_with_retry(&self, within: Duration) -> Result<Connection, ConnectError> {
        let connection = self.runtime.block_on(self.client.connect_with_retry(within))?;
        Ok(Connection::new(&self.runtime, connection))
    }

    /// As [`super::Client::wait_idle`].
    #[must_use]
    pub fn wait_idle(&self, within: Duration) -> bool {
        self.runtime.block_on(self.client.wait_idle(within))
    }
}

/// As [`super::Connection`].
pub struct Connection {
    sender: Sender,
    receiver: Receiver,
}

impl Connection {
    fn new(runtime: &Arc<Runtime>, connection: super::Connection) -> Self {
        let (sender, receiver) = connection.split();
        Self {
            sender: Sender {
                sender,
                runtime: Arc::clone(runtime),
            },
            receiver: Receiver {
                receiver,
                runtime: Arc::clone(runtime),
            },
        }
    }

    /// The two halves, for two threads.
    #[must_use]
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }

    /// Another handle to send with.
    #[must_use]
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// As [`super::Sender::send`].
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send(&self, frame: Vec<u8>, within: Duration) -> Result<(), SendError> {
        self.sender.send(frame, within)
    }

    /// As [`super::Receiver::receive`].
    ///
    /// # Errors
    /// [`ReceiveError`].
    pub fn receive(&mut self, within: Duration) -> Result<Vec<Vec<u8>>, ReceiveError> {
        self.receiver.receive(within)
    }

    /// As [`super::Sender::subscribe`].
    ///
    /// # Errors
    /// [`SendError`].
    pub fn subscribe(&self, request: &[u8], within: Duration) -> Result<Subscription, SendError> {
        self.sender.subscribe(request, within)
    }

    /// As [`super::Sender::close`].
    #[must_use]
    pub fn close(self, within: Duration) -> bool {
        self.sender.close(within)
    }
}

/// As [`super::Sender`].
#[derive(Clone)]
pub struct Sender {
    // Before the runtime: what it holds ends while the runtime still runs.
    sender: super::Sender,
    runtime: Arc<Runtime>,
}

impl Sender {
    /// As [`super::Sender::send`].
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send(&self, frame: Vec<u8>, within: Duration) -> Result<(), SendError> {
        self.runtime.block_on(self.sender.send(frame, within))
    }

    /// As [`super::Sender::send_many`].
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send_many(&self, frames: &[&[u8]], within: Duration) -> Result<(), SendError> {
        self.runtime.block_on(self.sender.send_many(frames, within))
    }

    /// As [`super::Sender::send_raw`].
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send_raw(&self, bytes: Bytes, frames: usize, within: Duration) -> Result<(), SendError> {
        self.runtime.block_on(self.sender.send_raw(bytes, frames, within))
    }

    /// As [`super::Sender::subscribe`].
    ///
    /// # Errors
    /// [`SendError`].
    pub fn subscribe(&self, request: &[u8], within: Duration) -> Result<Subscription, SendError> {
        let subscription = self.runtime.block_on(self.sender.subscribe(request, within))?;
        Ok(Subscription {
            subscription,
            runtime: Arc::clone(&self.runtime),
        })
    }

    /// As [`super::Sender::close_reason`].
    #[must_use]
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.sender.close_reason()
    }

    /// As [`super::Sender::close`].
    #[must_use]
    pub fn close(self, within: Duration) -> bool {
        self.runtime.block_on(self.sender.close(within))
    }
}

/// As [`super::Receiver`].
pub struct Receiver {
    receiver: super::Receiver,
    runtime: Arc<Runtime>,
}

impl Receiver {
    /// As [`super::Receiver::receive`].
    ///
    /// # Errors
    /// [`ReceiveError`].
    pub fn receive(&mut self, within: Duration) -> Result<Vec<Vec<u8>>, ReceiveError> {
        self.runtime.block_on(self.receiver.receive(within))
    }
}

/// As [`super::Subscription`].
pub struct Subscription {
    subscription: super::Subscription,
    runtime: Arc<Runtime>,
}

impl Subscription {
    /// As [`super::Subscription::next`].
    ///
    /// # Errors
    /// [`ReceiveError`].
    pub fn next(&mut self, within: Duration) -> Result<Option<Vec<Vec<u8>>>, ReceiveError> {
        self.runtime.block_on(self.subscription.next(within))
    }
}
