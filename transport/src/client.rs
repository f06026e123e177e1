//! The client: connect with a pinned key, send frames in large pieces, read replies, follow subscriptions; every
//! call has a deadline.

pub mod backoff;
pub mod blocking;

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::{ConnectionError, Endpoint, ReadError, RecvStream, SendStream, TokioRuntime};
use selfchain_types::seam::transport::{CloseReason, FRAME_BYTES_MAX};
use tokio::time::timeout_at;

use crate::framing::{self, Deframer, FrameError, PREFIX_LEN};
use crate::outbox::{Outbox, OutboxLimits, PushError};
use crate::quic::{DatagramError, TransportTuning, bind, close, endpoint_config, transport_config};
use crate::tls::{self, PinnedServerKey, TlsError};
use crate::{STREAM_REQUESTS, STREAM_SUBSCRIPTION};
use backoff::Backoff;

/// Segments of a stream taken in one read.
const READ_SEGMENTS_MAX: usize = 64;

/// Frames that [`Sender::send_many`] gathers before it hands them on, bytes.
const GATHER_BYTES: usize = 64 << 10;

/// Where to connect, as whom, and within what limits.
#[derive(Clone)]
pub struct ClientConfig {
    /// The server's address.
    pub server: SocketAddr,
    /// The server's Ed25519 public key; any other is refused in the handshake.
    pub server_key: [u8; 32],
    /// Secret seed of this client's own key, to be counted by it instead of by address.
    pub client_seed: Option<[u8; 32]>,
    /// The value of the environment variable `SSLKEYLOGFILE`, which this crate does not read itself.
    pub key_log_path: Option<OsString>,
    /// One connection attempt, handshake included.
    pub connect_timeout: Duration,
    /// Pauses between attempts of [`Client::connect_with_retry`].
    pub backoff: Backoff,
    /// A connection from which nothing is heard for this long is lost.
    pub idle_timeout: Duration,
    /// A sign of life at this interval keeps an idle connection open.
    pub keep_alive: Duration,
    /// Largest frame in either direction, bytes.
    pub frame_bytes_max: usize,
    /// Bytes queued to be sent; above it a send waits, up to its deadline.
    pub send_queue_bytes_max: usize,
    /// Bytes that one stream of the server may have under way to us unread.
    pub stream_receive_window_bytes: u32,
    /// Bytes that the server may have under way to us unread.
    pub receive_window_bytes: u32,
    /// Bytes sent and not yet acknowledged.
    pub send_window_bytes: u64,
    /// Largest UDP datagram that is tried, bytes.
    pub datagram_bytes_max: u16,
    /// Receive and send buffer asked of the operating system, bytes.
    pub socket_buffer_bytes: usize,
}

impl ClientConfig {
    /// The defaults for a server and its key.
    #[must_use]
    pub fn new(server: SocketAddr, server_key: [u8; 32]) -> Self {
        Self {
            server,
            server_key,
            client_seed: None,
            key_log_path: None,
            connect_timeout: Duration::from_secs(5),
            backoff: Backoff::default(),
            idle_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(5),
            frame_bytes_max: FRAME_BYTES_MAX,
            send_queue_bytes_max: 4 << 20,
            stream_receive_window_bytes: 1 << 20,
            receive_window_bytes: 4 << 20,
            send_window_bytes: 4 << 20,
            datagram_bytes_max: 6_500,
            socket_buffer_bytes: 4 << 20,
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The keys or the TLS configuration were refused, or a key log is asked for. Trying again is useless.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The server showed another key than the pinned one: wrong server, or somebody in between. Trying again
    /// is useless.
    #[error("the server's key is {shown:02x?}, pinned is {pinned:02x?}")]
    WrongServerKey {
        /// The key that was asked for.
        pinned: [u8; 32],
        /// The key that was shown.
        shown: [u8; 32],
    },
    /// No socket, or no such address.
    #[error("no socket towards {server}")]
    Socket {
        /// The server's address.
        server: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The datagram size is not possible. Trying again is useless.
    #[error(transparent)]
    Datagram(#[from] DatagramError),
    /// The address is not one that QUIC can reach, or the endpoint is closed. Trying again is useless.
    #[error("cannot begin a connection")]
    Begin(#[from] quinn::ConnectError),
    /// The server is there and takes no more connections now.
    #[error("the server takes no more connections now")]
    Refused,
    /// The server ended the connection at once: too many from this address or key, or it is stopping.
    #[error("the server closed the connection at once: {reason}")]
    Closed {
        /// Why.
        reason: CloseReason,
    },
    /// The handshake failed: no common group, protocol or version, or the server is gone.
    #[error("the handshake failed")]
    Handshake(#[source] ConnectionError),
    /// No answer in time.
    #[error("no connection within {after_ms} ms")]
    Deadline {
        /// The time given.
        after_ms: u128,
    },
}

impl ConnectError {
    /// Whether a later attempt may succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Socket { .. }
                | Self::Refused
                | Self::Closed { .. }
                | Self::Handshake(_)
                | Self::Deadline { .. }
        )
    }
}

/// Why a frame was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The queue stayed full: the server does not read that fast. The frame was not queued.
    #[error("not sent within {after_ms} ms")]
    Deadline {
        /// The time given.
        after_ms: u128,
    },
    /// The connection is gone; what was queued may or may not have arrived.
    #[error("the connection is closed: {reason}")]
    Closed {
        /// Why.
        reason: CloseReason,
    },
    /// The frame is empty or too large.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// Why nothing was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// Nothing came in time. The connection is as good as before.
    #[error("nothing received within {after_ms} ms")]
    Deadline {
        /// The time given.
        after_ms: u128,
    },
    /// The connection, or the subscription alone, was ended.
    #[error("closed: {reason}")]
    Closed {
        /// Why.
        reason: CloseReason,
    },
    /// The server sent what is no frame.
    #[error("the server broke the framing")]
    Frame(#[from] FrameError),
}

/// A local endpoint from which connections to one server are made. Needs a tokio runtime around it.
pub struct Client {
    config: ClientConfig,
    endpoint: Endpoint,
}

impl Client {
    /// Opens the local socket. Must be called inside a tokio runtime with I/O and time enabled.
    ///
    /// # Errors
    /// [`ConnectError::Tls`] when a key log is asked for, [`ConnectError::Socket`].
    pub fn new(config: ClientConfig) -> Result<Self, ConnectError> {
        tls::refuse_key_log(config.key_log_path.as_ref())?;
        let socket_error = |source| ConnectError::Socket {
            server: config.server,
            source,
        };
        let local: SocketAddr = match config.server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = bind(local, config.socket_buffer_bytes).map_err(socket_error)?;
        let endpoint_config = endpoint_config(config.datagram_bytes_max)?;
        let endpoint =
            Endpoint::new(endpoint_config, None, socket, Arc::new(TokioRuntime)).map_err(socket_error)?;
        Ok(Self { config, endpoint })
    }

    /// One attempt, within `connect_timeout`.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(&self) -> Result<Connection, ConnectError> {
        let pinned = Arc::new(PinnedServerKey::new(self.config.server_key));
        let crypto = tls::client_config(Arc::clone(&pinned), self.config.client_seed.as_ref())?;
        let quic = self.shake_hands(quinn::ClientConfig::new(Arc::new(crypto))).await;
        let quic = quic.map_err(|error| match pinned.wrong_key() {
            Some(shown) => ConnectError::WrongServerKey {
                pinned: self.config.server_key,
                shown,
            },
            None => error,
        })?;
        Connection::begin(quic, &self.config).await
    }

    /// Attempts with growing, jittered pauses until one succeeds, fails for good, or `within` has passed.
    ///
    /// # Errors
    /// The last attempt's [`ConnectError`].
    pub async fn connect_with_retry(&self, within: Duration) -> Result<Connection, ConnectError> {
        let until = Instant::now() + within;
        let mut attempt = 0;
        loop {
            let error = match timeout_at(until.into(), self.connect()).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => error,
                Err(_elapsed) => ConnectError::Deadline {
                    after_ms: within.as_millis(),
                },
            };
            let pause = self.config.backoff.pause(attempt, backoff::random_u32());
            if !error.is_retryable() || Instant::now() + pause >= until {
                return Err(error);
            }
            tracing::debug!(server = %self.config.server, attempt, %error, "client.reconnect");
            tokio::time::sleep(pause).await;
            attempt = attempt.saturating_add(1);
        }
    }

    /// Waits until no connection is open or closing, at most for `within`: without it a process that exits after
    /// [`Sender::close`] may take the farewell with it, and the server waits for its idle timeout. Returns
    /// whether none is.
    pub async fn wait_idle(&self, within: Duration) -> bool {
        tokio::time::timeout(within, self.endpoint.wait_idle())
            .await
            .is_ok()
    }

    async fn shake_hands(&self, mut config: quinn::ClientConfig) -> Result<quinn::Connection, ConnectError> {
        config.transport_config(transport_config(&TransportTuning {
            bidirectional_streams_max: 0,
            unidirectional_streams_max: 0,
            stream_receive_window_bytes: self.config.stream_receive_window_bytes,
            receive_window_bytes: self.config.receive_window_bytes,
            send_window_bytes: self.config.send_window_bytes,
            datagram_bytes_max: self.config.datagram_bytes_max,
            idle_timeout: self.config.idle_timeout,
            keep_alive: Some(self.config.keep_alive),
        }));
        // The name is not looked at: the key is the identity.
        let connecting = self
            .endpoint
            .connect_with(config, self.config.server, "selfchain")?;
        match tokio::time::timeout(self.config.connect_timeout, connecting).await {
            Ok(Ok(quic)) => Ok(quic),
            Ok(Err(ConnectionError::ConnectionClosed(close)))
                if close.error_code == quinn::TransportErrorCode::CONNECTION_REFUSED =>
            {
                Err(ConnectError::Refused)
            }
            Ok(Err(error)) => Err(failed(error)),
            Err(_elapsed) => Err(ConnectError::Deadline {
                after_ms: self.config.connect_timeout.as_millis(),
            }),
        }
    }
}

/// A connection: a sender that may be cloned and shared, and a receiver.
pub struct Connection {
    sender: Sender,
    receiver: Receiver,
}

impl Connection {
    async fn begin(quic: quinn::Connection, config: &ClientConfig) -> Result<Self, ConnectError> {
        let open = async {
            let (mut send, recv) = quic.open_bi().await?;
            // The server learns of the stream, and with it of the way for replies, from its first byte.
            send.write_all(&[STREAM_REQUESTS])
                .await
                .map_err(|error| match error {
                    quinn::WriteError::ConnectionLost(lost) => lost,
                    _ => ConnectionError::LocallyClosed,
                })?;
            Ok((send, recv))
        };
        let (send, recv) = match tokio::time::timeout(config.connect_timeout, open).await {
            Ok(opened) => opened.map_err(failed)?,
            Err(_elapsed) => {
                return Err(ConnectError::Deadline {
                    after_ms: config.connect_timeout.as_millis(),
                });
            }
        };
        let outbox = Arc::new(Outbox::new(OutboxLimits {
            bytes_max: config.send_queue_bytes_max,
            frames_max: usize::MAX,
            frame_bytes_max: config.frame_bytes_max,
        }));
        tokio::spawn(write_requests(Arc::clone(&outbox), send));
        let open = Arc::new(Open {
            quic: quic.clone(),
            outbox,
            frame_bytes_max: config.frame_bytes_max,
        });
        let receiver = Receiver {
            frames: FrameReader::new(recv, config.frame_bytes_max),
            quic,
        };
        Ok(Self {
            sender: Sender { open },
            receiver,
        })
    }

    /// The two halves, for two tasks.
    #[must_use]
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }

    /// Another handle to send with.
    #[must_use]
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// As [`Sender::send`].
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(&self, frame: Vec<u8>, within: Duration) -> Result<(), SendError> {
        self.sender.send(frame, within).await
    }

    /// As [`Receiver::receive`].
    ///
    /// # Errors
    /// [`ReceiveError`].
    pub async fn receive(&mut self, within: Duration) -> Result<Vec<Vec<u8>>, ReceiveError> {
        self.receiver.receive(within).await
    }

    /// As [`Sender::subscribe`].
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn subscribe(&self, request: &[u8], within: Duration) -> Result<Subscription, SendError> {
        self.sender.subscribe(request, within).await
    }

    /// As [`Sender::close`].
    pub async fn close(self, within: Duration) -> bool {
        self.sender.close(within).await
    }
}

/// What the clones of a sender share. When the last is gone, what is queued is still sent, then the request
/// stream ends; the connection ends with the last receiver and subscription.
struct Open {
    quic: quinn::Connection,
    outbox: Arc<Outbox>,
    frame_bytes_max: usize,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.outbox.close();
    }
}

/// The sending half. Frames of all clones travel on one stream, in the order in which they were queued.
#[derive(Clone)]
pub struct Sender {
    open: Arc<Open>,
}

impl Sender {
    /// Queues one frame; waits while the queue is full.
    ///
    /// # Errors
    /// [`SendError`]; the frame is then not queued.
    pub async fn send(&self, frame: Vec<u8>, within: Duration) -> Result<(), SendError> {
        let until = Instant::now() + within;
        let bytes = frame.len() + PREFIX_LEN;
        let frame = Bytes::from(frame);
        loop {
            match self.open.outbox.push(frame.clone()) {
                Ok(()) => return Ok(()),
                Err(error) => self.wait(error, bytes, 1, until, within).await?,
            }
        }
    }

    /// Queues many frames, gathered into pieces of 64 KiB: a tenth of the cost of one call each.
    ///
    /// # Errors
    /// [`SendError`]; how many of the frames were queued before it is not told.
    pub async fn send_many(&self, frames: &[&[u8]], within: Duration) -> Result<(), SendError> {
        let until = Instant::now() + within;
        let (mut gathered, mut count) = (Vec::with_capacity(GATHER_BYTES), 0);
        for frame in frames {
            framing::append_frame(&mut gathered, frame, self.open.frame_bytes_max)?;
            count += 1;
            if gathered.len() >= GATHER_BYTES {
                let piece = std::mem::replace(&mut gathered, Vec::with_capacity(GATHER_BYTES));
                self.queue_until(Bytes::from(piece), count, until, within).await?;
                count = 0;
            }
        }
        if count > 0 {
            self.queue_until(Bytes::from(gathered), count, until, within)
                .await?;
        }
        Ok(())
    }

    /// Queues bytes that already are `frames` whole frames with their prefixes, as a prepared load file holds
    /// them. Not looked at: nonsense makes the server close the connection.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send_raw(&self, bytes: Bytes, frames: usize, within: Duration) -> Result<(), SendError> {
        self.queue(bytes, frames, within).await
    }

    /// Opens a subscription on a stream of its own.
    ///
    /// # Errors
    /// [`SendError`]. A refusal by the server comes as the subscription's first frame.
    pub async fn subscribe(&self, request: &[u8], within: Duration) -> Result<Subscription, SendError> {
        let mut first = vec![STREAM_SUBSCRIPTION];
        framing::append_frame(&mut first, request, self.open.frame_bytes_max)?;
        let open = async {
            let (mut send, recv) = self.open.quic.open_bi().await.map_err(|lost| reason_of(&lost))?;
            send.write_all(&first).await.map_err(|_| self.closed_reason())?;
            Ok((send, recv))
        };
        let (mut send, recv) = match tokio::time::timeout(within, open).await {
            Ok(Ok(streams)) => streams,
            Ok(Err(reason)) => return Err(SendError::Closed { reason }),
            Err(_elapsed) => {
                return Err(SendError::Deadline {
                    after_ms: within.as_millis(),
                });
            }
        };
        if send.finish().is_err() {
            return Err(SendError::Closed {
                reason: self.closed_reason(),
            });
        }
        let frames = FrameReader::new(recv, self.open.frame_bytes_max);
        Ok(Subscription {
            frames,
            quic: self.open.quic.clone(),
        })
    }

    /// Why the connection is closed, if it is.
    #[must_use]
    pub fn close_reason(&self) -> Option<CloseReason> {
        self.open.quic.close_reason().map(|error| reason_of(&error))
    }

    /// Sends what is queued, waits until the server has it, at most for `within`, and closes the connection for
    /// every handle. Returns whether everything was delivered to the server's QUIC.
    pub async fn close(self, within: Duration) -> bool {
        self.open.outbox.close();
        let flushed = tokio::time::timeout(within, self.open.outbox.wait_until_written()).await;
        let delivered = flushed.unwrap_or(false);
        close(&self.open.quic, CloseReason::Done);
        delivered
    }

    async fn queue(&self, bytes: Bytes, frames: usize, within: Duration) -> Result<(), SendError> {
        self.queue_until(bytes, frames, Instant::now() + within, within)
            .await
    }

    async fn queue_until(
        &self,
        bytes: Bytes,
        frames: usize,
        until: Instant,
        within: Duration,
    ) -> Result<(), SendError> {
        loop {
            match self.open.outbox.push_raw(bytes.clone(), frames) {
                Ok(()) => return Ok(()),
                Err(error) => self.wait(error, bytes.len(), frames, until, within).await?,
            }
        }
    }

    /// After a push that failed: waits for room, or says why there will be none.
    async fn wait(
        &self,
        error: PushError,
        bytes: usize,
        frames: usize,
        until: Instant,
        within: Duration,
    ) -> Result<(), SendError> {
        match error {
            PushError::Frame(error) => Err(error.into()),
            PushError::Closed => Err(SendError::Closed {
                reason: self.closed_reason(),
            }),
            PushError::Full => timeout_at(until.into(), self.open.outbox.wait_for_room(bytes, frames))
                .await
                .map_err(|_elapsed| SendError::Deadline {
                    after_ms: within.as_millis(),
                }),
        }
    }

    fn closed_reason(&self) -> CloseReason {
        self.close_reason().unwrap_or(CloseReason::PeerGone)
    }
}

/// The receiving half: replies, in the order in which the server queued them.
pub struct Receiver {
    frames: FrameReader,
    quic: quinn::Connection,
}

impl Receiver {
    /// Every frame of one read, at least one. May be dropped and called again without losing any.
    ///
    /// # Errors
    /// [`ReceiveError`].
    pub async fn receive(&mut self, within: Duration) -> Result<Vec<Vec<u8>>, ReceiveError> {
        match tokio::time::timeout(within, self.frames.read(&self.quic)).await {
            Ok(Ok(Some(frames))) => Ok(frames),
            // Replies never end by themselves: the reason is on its way.
            Ok(Ok(None)) => match tokio::time::timeout(within, self.quic.closed()).await {
                Ok(error) => Err(ReceiveError::Closed {
                    reason: reason_of(&error),
                }),
                Err(_elapsed) => Err(ReceiveError::Closed {
                    reason: CloseReason::PeerGone,
                }),
            },
            Ok(Err(error)) => Err(error),
            Err(_elapsed) => Err(ReceiveError::Deadline {
                after_ms: within.as_millis(),
            }),
        }
    }
}

/// Rows of one subscription, in order. Dropping it ends the subscription; not reading it slows only itself.
pub struct Subscription {
    frames: FrameReader,
    quic: quinn::Connection,
}

impl Subscription {
    /// Every row of one read, at least one; `None` when the server ended the subscription. May be dropped and
    /// called again without losing any.
    ///
    /// # Errors
    /// [`ReceiveError`].
    pub async fn next(&mut self, within: Duration) -> Result<Option<Vec<Vec<u8>>>, ReceiveError> {
        match tokio::time::timeout(within, self.frames.read(&self.quic)).await {
            Ok(read) => read,
            Err(_elapsed) => Err(ReceiveError::Deadline {
                after_ms: within.as_millis(),
            }),
        }
    }
}

/// Reads whole frames from a stream. Cancel-safe: what is read and not yet returned is kept.
struct FrameReader {
    recv: RecvStream,
    deframer: Deframer,
    segments: [Bytes; READ_SEGMENTS_MAX],
}

impl FrameReader {
    fn new(recv: RecvStream, frame_bytes_max: usize) -> Self {
        Self {
            recv,
            deframer: Deframer::new(frame_bytes_max),
            segments: std::array::from_fn(|_| Bytes::new()),
        }
    }

    async fn read(&mut self, quic: &quinn::Connection) -> Result<Option<Vec<Vec<u8>>>, ReceiveError> {
        let mut frames = Vec::new();
        while frames.is_empty() {
            let count = match self.recv.read_chunks(&mut self.segments).await {
                Ok(Some(count)) => count,
                Ok(None) => return Ok(None),
                Err(error) => {
                    return Err(ReceiveError::Closed {
                        reason: read_reason(&error, quic),
                    });
                }
            };
            for segment in &mut self.segments[..count] {
                self.deframer.push(&std::mem::take(segment), &mut frames)?;
            }
        }
        Ok(Some(frames))
    }
}

/// Writes what is queued until the outbox is closed and empty or the connection is gone.
async fn write_requests(outbox: Arc<Outbox>, mut send: SendStream) {
    while let Some(mut batch) = outbox.take(None, Duration::ZERO).await {
        if send.write_all_chunks(&mut batch.chunks).await.is_err() {
            outbox.discard();
            return outbox.finish_writing(false);
        }
    }
    // Stopped without an error code means: every byte was acknowledged.
    let delivered = send.finish().is_ok() && matches!(send.stopped().await, Ok(None));
    outbox.finish_writing(delivered);
}

fn read_reason(error: &ReadError, quic: &quinn::Connection) -> CloseReason {
    match error {
        ReadError::Reset(code) => CloseReason::from_code(code.into_inner()).unwrap_or(CloseReason::PeerGone),
        ReadError::ConnectionLost(error) => reason_of(error),
        _ => quic
            .close_reason()
            .map_or(CloseReason::PeerGone, |error| reason_of(&error)),
    }
}

/// Why an attempt failed.
fn failed(error: ConnectionError) -> ConnectError {
    match error {
        ConnectionError::ApplicationClosed(_) => ConnectError::Closed {
            reason: reason_of(&error),
        },
        other => ConnectError::Handshake(other),
    }
}

fn reason_of(error: &ConnectionError) -> CloseReason {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            CloseReason::from_code(close.error_code.into_inner()).unwrap_or(CloseReason::PeerGone)
        }
        ConnectionError::LocallyClosed => CloseReason::Done,
        ConnectionError::TimedOut => CloseReason::IdleTimeout,
        ConnectionError::Reset => CloseReason::PeerGone,
        ConnectionError::VersionMismatch
        | ConnectionError::TransportError(_)
        | ConnectionError::ConnectionClosed(_)
        | ConnectionError::CidsExhausted => CloseReason::ProtocolError,
    }
}
