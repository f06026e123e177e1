//! The seam between transport and the node: opaque frames in, bounded replies and cursors out.
//!
//! A *frame* is the bytes of one message without its length prefix; what they mean is nobody's business here.
//! Transport implements [`Peer`]; the node implements [`Service`] and [`Cursor`].

use core::fmt;
use std::boxed::Box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::vec::Vec;

/// The largest frame that transport carries by default, in bytes: the envelopes of a full block (16 MiB) and what else it
/// may have: scores and reasons, certificates and late precommits of hundreds of validators with hybrid keys, outcomes.
pub const FRAME_BYTES_MAX: usize = 24 << 20;

/// One connection of one run of a server. Never reused while the server runs; means nothing after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub u64);

/// Who is at the other end, as far as the handshake proved it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The remote address. Validated: the peer has answered from it.
    pub address: SocketAddr,
    /// The Ed25519 public key whose possession the client proved in the handshake (RFC 7250), if it showed one.
    pub client_key: Option<[u8; 32]>,
}

/// The limit that a refused frame ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Frames a second of one connection.
    ConnectionFrames,
    /// Bytes a second of one connection.
    ConnectionBytes,
    /// Frames a second of one identity (client key, else network address) over all its connections.
    IdentityFrames,
    /// Bytes a second of one identity over all its connections.
    IdentityBytes,
    /// Subscriptions open on the whole server.
    Subscriptions,
}

impl Limit {
    /// Every limit, in the order of [`Limit::index`].
    pub const ALL: [Self; 5] = [
        Self::ConnectionFrames,
        Self::ConnectionBytes,
        Self::IdentityFrames,
        Self::IdentityBytes,
        Self::Subscriptions,
    ];

    /// Position in [`Limit::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::ConnectionFrames => 0,
            Self::ConnectionBytes => 1,
            Self::IdentityFrames => 2,
            Self::IdentityBytes => 3,
            Self::Subscriptions => 4,
        }
    }

    /// The name used in metrics, logs and refusals.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConnectionFrames => "connection_frames",
            Self::ConnectionBytes => "connection_bytes",
            Self::IdentityFrames => "identity_frames",
            Self::IdentityBytes => "identity_bytes",
            Self::Subscriptions => "subscriptions",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why transport refused a frame before the service saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overload {
    /// The limit that was reached.
    pub limit: Limit,
    /// After this many milliseconds the same frame would have been let in. At least 1.
    pub retry_after_ms: u32,
}

/// Why a connection ended. The code travels in the QUIC application close frame (RFC 9000 §10.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// Nothing is wrong: one side had no more to say.
    Done,
    /// The server is stopping; come back later.
    ShuttingDown,
    /// A frame's length is above the limit.
    FrameTooLarge,
    /// A frame's length is zero.
    FrameEmpty,
    /// A stream ended, or stood still for too long, in the middle of a frame.
    FrameTruncated,
    /// The first byte of a stream names no kind of stream.
    StreamKindUnknown,
    /// The peer does not read its replies.
    SlowReader,
    /// The peer went on after too many refusals.
    Abuse,
    /// Too many connections, or too many new ones, from this address or key.
    ConnectionLimit,
    /// The service asked for it: the peer broke the rules of the messages.
    ServiceRefused,
    /// The service failed while it handled this peer's frames.
    ServiceFailed,
    /// The peer closed or vanished without a reason of ours (local only: never sent).
    PeerGone,
    /// Nothing was heard for the idle timeout (local only: never sent).
    IdleTimeout,
    /// QUIC itself failed (local only: never sent).
    ProtocolError,
}

impl CloseReason {
    /// Every reason, in the order of [`CloseReason::code`].
    pub const ALL: [Self; 14] = [
        Self::Done,
        Self::ShuttingDown,
        Self::FrameTooLarge,
        Self::FrameEmpty,
        Self::FrameTruncated,
        Self::StreamKindUnknown,
        Self::SlowReader,
        Self::Abuse,
        Self::ConnectionLimit,
        Self::ServiceRefused,
        Self::ServiceFailed,
        Self::PeerGone,
        Self::IdleTimeout,
        Self::ProtocolError,
    ];

    /// The application error code on the wire, and the position in [`CloseReason::ALL`].
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::Done => 0,
            Self::ShuttingDown => 1,
            Self::FrameTooLarge => 2,
            Self::FrameEmpty => 3,
            Self::FrameTruncated => 4,
            Self::StreamKindUnknown => 5,
            Self::SlowReader => 6,
            Self::Abuse => 7,
            Self::ConnectionLimit => 8,
            Self::ServiceRefused => 9,
            Self::ServiceFailed => 10,
            Self::PeerGone => 11,
            Self::IdleTimeout => 12,
            Self::ProtocolError => 13,
        }
    }

    /// The reason behind a code of the wire, `None` for a code that this version does not know.
    #[must_use]
    pub fn from_code(code: u64) -> Option<Self> {
        usize::try_from(code)
            .ok()
            .and_then(|at| Self::ALL.get(at))
            .copied()
    }

    /// The name used in metrics, logs and close frames.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::ShuttingDown => "shutting_down",
            Self::FrameTooLarge => "frame_too_large",
            Self::FrameEmpty => "frame_empty",
            Self::FrameTruncated => "frame_truncated",
            Self::StreamKindUnknown => "stream_kind_unknown",
            Self::SlowReader => "slow_reader",
            Self::Abuse => "abuse",
            Self::ConnectionLimit => "connection_limit",
            Self::ServiceRefused => "service_refused",
            Self::ServiceFailed => "service_failed",
            Self::PeerGone => "peer_gone",
            Self::IdleTimeout => "idle_timeout",
            Self::ProtocolError => "protocol_error",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a reply was not taken. The caller drops it: there is nobody to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// The connection has ended, or ends because of this reply: its queue was full (`slow_reader`).
    #[error("the connection is closed: {reason}")]
    Closed {
        /// Why it ended.
        reason: CloseReason,
    },
    /// The peer has opened no stream that replies could travel on.
    #[error("the peer has opened no request stream")]
    NoRequestStream,
    /// The frame is empty or above the limit; a bug of the caller.
    #[error("a reply of {len} bytes, where 1 to {len_max} are allowed")]
    Length {
        /// Bytes in the frame.
        len: usize,
        /// The limit.
        len_max: usize,
    },
}

/// One connection, as the service sees it. Every method may be called from any thread and never waits for the
/// network. Keeping a `Peer` after it closed is harmless.
pub trait Peer: Send + Sync {
    /// Which connection this is.
    fn id(&self) -> PeerId;

    /// Who is at the other end.
    fn identity(&self) -> Identity;

    /// Queues the final answer to **one** request and frees that request's place among those in flight.
    ///
    /// The queue is bounded; a peer whose queue is full does not read, and is closed as `slow_reader`.
    ///
    /// # Errors
    /// [`ReplyError`]; the request's place is freed in every case.
    fn reply(&self, frame: Vec<u8>) -> Result<(), ReplyError>;

    /// Queues a frame that finishes no request: progress, a warning, one more part of an answer.
    ///
    /// # Errors
    /// As [`Peer::reply`].
    fn notify(&self, frame: Vec<u8>) -> Result<(), ReplyError>;

    /// Frees the places of `requests` requests without sending anything: for requests that get no answer of
    /// their own, or whose answers travelled together in one [`Peer::notify`].
    ///
    /// A request whose place is never freed counts against the peer's in-flight limit until it disconnects, and
    /// at that limit transport stops reading from the peer.
    fn release(&self, requests: usize);

    /// Ends the connection. What is queued is still sent where the reason allows it and the peer reads it
    /// within the close timeout. The first reason wins; later calls do nothing.
    fn close(&self, reason: CloseReason);
}

/// What the node offers to the network. Called from the threads of the runtime that drives the sockets.
pub trait Service: Send + Sync + 'static {
    /// Takes every whole request frame that one read produced, in the order of the stream.
    ///
    /// Must not block: a service whose queues are full answers with refusals itself. Each frame is answered by
    /// one [`Peer::reply`] or given back with [`Peer::release`], at any time, from any thread. Frames of one
    /// stream arrive in order; frames of different streams of one peer may arrive at the same time.
    /// A panic closes that peer as `service_failed` and harms no other.
    fn receive(&self, peer: &Arc<dyn Peer>, frames: Vec<Vec<u8>>);

    /// The frame that tells a peer that transport refused its `frame` because of `why`; `None` sends nothing.
    /// Must not block. The refused frame is never passed to [`Service::receive`] and needs no answer.
    fn refuse(&self, frame: &[u8], why: Overload) -> Option<Vec<u8>>;

    /// The peer is gone. Called exactly once for each peer, after every `receive` and `subscribe` of it returned.
    fn closed(&self, peer: PeerId);

    /// Opens a cursor for a subscription request. May read from the disk: it runs where blocking is allowed.
    ///
    /// # Errors
    /// The frame to send instead of rows; the stream ends after it.
    fn subscribe(&self, peer: &Arc<dyn Peer>, request: &[u8]) -> Result<Box<dyn Cursor>, Vec<u8>>;
}

/// One step of a cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CursorStep {
    /// The next rows, one frame each, in order. At least one; an empty list is taken as [`CursorStep::Idle`].
    Rows(Vec<Vec<u8>>),
    /// Nothing more for now; ask again when the tip has moved.
    Idle,
    /// Nothing more ever. The frame, if any, is sent last and says why.
    End(Option<Vec<u8>>),
}

/// A subscription: a position in the log and the way onward. Pulled, never pushed: transport asks for more when
/// the peer's flow control lets it write, so a slow reader holds one step's rows and slows nobody.
pub trait Cursor: Send + 'static {
    /// The next step, of about `bytes_max` bytes (at least one row when there is one, even if it is larger).
    /// May read from the disk: it runs where blocking is allowed. Not called again after `End`.
    fn next(&mut self, bytes_max: usize) -> CursorStep;
}
