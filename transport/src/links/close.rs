//! Why a link ends: one code on the wire, one name everywhere, and when it makes sense to come back.

use std::fmt;
use std::time::Duration;

use quinn::{Connection, ConnectionError, VarInt};

use crate::quic::close_with;

/// Longest pause that a peer's close frame can ask us for: it may be wrong, or worse.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// What precedes the milliseconds in a close frame's text.
const RETRY_AFTER_TEXT: &str = " retry_after_ms=";

/// TLS alert `access_denied` (RFC 8446 §6.2) as QUIC carries it (RFC 9001 §4.8): our key is in nobody's set there.
const ALERT_ACCESS_DENIED: u64 = 0x100 + 49;

/// TLS alert `handshake_failure`: no group in common.
const ALERT_HANDSHAKE_FAILURE: u64 = 0x100 + 40;

/// TLS alert `no_application_protocol` (RFC 7301): another protocol, or another version of it.
const ALERT_NO_APPLICATION_PROTOCOL: u64 = 0x100 + 120;

/// Why a connection between two validators ended, or did not come about. The first thirteen and the last two travel in
/// the QUIC application close frame (RFC 9000 §10.2); the rest is told by TLS, or what one end finds by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinkClose {
    /// The peer vanished, or closed without a reason of ours.
    PeerGone,
    /// The node is stopping.
    ShuttingDown,
    /// Both ends dialled at the same time, and the other connection stays.
    Duplicate,
    /// A newer connection of the same peer took its place.
    Replaced,
    /// The peer is no longer in the set.
    Removed,
    /// The peer is of another chain.
    ChainMismatch,
    /// What stands on the control stream is no control frame, or not the one that is due.
    ControlInvalid,
    /// A stream that is not part of the protocol: an unknown lane, one that is open already, or one that was cut off
    /// while its connection lasts.
    StreamUnexpected,
    /// A frame of no bytes.
    FrameEmpty,
    /// A frame above its lane's limit.
    FrameTooLarge,
    /// A lane ended, or stood still for too long, in the middle of a frame.
    FrameTruncated,
    /// The peer went on above its rates after it was told.
    RateLimited,
    /// Handshake and hello took too long.
    HelloTimeout,
    /// The key of the end that dialled is not in the set of the other (told by TLS).
    NotInSet,
    /// The peer showed another key than that of the set (local only: never sent).
    WrongKey,
    /// The end that dialled does not offer X25519MLKEM768 (told by TLS).
    NoCommonGroup,
    /// The ends do not speak the same version of the protocol (told by TLS).
    NoCommonProtocol,
    /// Nothing was heard for the idle timeout, or nobody answered (local only: never sent).
    TimedOut,
    /// QUIC or TLS failed otherwise (local only: never sent).
    ProtocolError,
    /// The peer's key is a hybrid, and its hello proves no more than the half that TLS proves.
    ProofMissing,
    /// The peer's hello does not prove the whole of a key of its on this connection.
    ProofInvalid,
}

impl LinkClose {
    /// Every reason, in the order of [`LinkClose::code`].
    pub const ALL: [Self; 21] = [
        Self::PeerGone,
        Self::ShuttingDown,
        Self::Duplicate,
        Self::Replaced,
        Self::Removed,
        Self::ChainMismatch,
        Self::ControlInvalid,
        Self::StreamUnexpected,
        Self::FrameEmpty,
        Self::FrameTooLarge,
        Self::FrameTruncated,
        Self::RateLimited,
        Self::HelloTimeout,
        Self::NotInSet,
        Self::WrongKey,
        Self::NoCommonGroup,
        Self::NoCommonProtocol,
        Self::TimedOut,
        Self::ProtocolError,
        Self::ProofMissing,
        Self::ProofInvalid,
    ];

    /// The application error code on the wire, and the position in [`LinkClose::ALL`].
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::PeerGone => 0,
            Self::ShuttingDown => 1,
            Self::Duplicate => 2,
            Self::Replaced => 3,
            Self::Removed => 4,
            Self::ChainMismatch => 5,
            Self::ControlInvalid => 6,
            Self::StreamUnexpected => 7,
            Self::FrameEmpty => 8,
            Self::FrameTooLarge => 9,
            Self::FrameTruncated => 10,
            Self::RateLimited => 11,
            Self::HelloTimeout => 12,
            Self::NotInSet => 13,
            Self::WrongKey => 14,
            Self::NoCommonGroup => 15,
            Self::NoCommonProtocol => 16,
            Self::TimedOut => 17,
            Self::ProtocolError => 18,
            Self::ProofMissing => 19,
            Self::ProofInvalid => 20,
        }
    }

    /// The reason behind a code of the wire, `None` for a code that nobody sends.
    #[must_use]
    pub fn from_code(code: u64) -> Option<Self> {
        let known = Self::ALL
            .into_iter()
            .find(|close| u64::from(close.code()) == code)?;
        known.is_sent().then_some(known)
    }

    /// The name used in metrics, logs and close frames.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PeerGone => "peer_gone",
            Self::ShuttingDown => "shutting_down",
            Self::Duplicate => "duplicate",
            Self::Replaced => "replaced",
            Self::Removed => "removed",
            Self::ChainMismatch => "chain_mismatch",
            Self::ControlInvalid => "control_invalid",
            Self::StreamUnexpected => "stream_unexpected",
            Self::FrameEmpty => "frame_empty",
            Self::FrameTooLarge => "frame_too_large",
            Self::FrameTruncated => "frame_truncated",
            Self::RateLimited => "rate_limited",
            Self::HelloTimeout => "hello_timeout",
            Self::NotInSet => "not_in_set",
            Self::WrongKey => "wrong_key",
            Self::NoCommonGroup => "no_common_group",
            Self::NoCommonProtocol => "no_common_protocol",
            Self::TimedOut => "timed_out",
            Self::ProtocolError => "protocol_error",
            Self::ProofMissing => "proof_missing",
            Self::ProofInvalid => "proof_invalid",
        }
    }

    const fn is_sent(self) -> bool {
        self.code() <= Self::HelloTimeout.code() || self.code() >= Self::ProofMissing.code()
    }
}

impl fmt::Display for LinkClose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Ends `connection` and says why, and after how long it may be tried again if that is not at once.
pub(super) fn close(connection: &Connection, why: LinkClose, retry_after: Duration) {
    let code = VarInt::from_u32(why.code());
    if retry_after.is_zero() {
        return close_with(connection, code, why.name().as_bytes());
    }
    let text = format!("{}{RETRY_AFTER_TEXT}{}", why.name(), retry_after.as_millis());
    close_with(connection, code, text.as_bytes());
}

/// Why a connection ended, in our words, and the pause that the other end asked for.
pub(super) fn reason_of(error: &ConnectionError) -> (LinkClose, Duration) {
    match error {
        ConnectionError::ApplicationClosed(frame) => {
            let why = LinkClose::from_code(frame.error_code.into_inner()).unwrap_or(LinkClose::PeerGone);
            (why, retry_after_of(&frame.reason))
        }
        ConnectionError::ConnectionClosed(frame) => (of_alert(u64::from(frame.error_code)), Duration::ZERO),
        ConnectionError::TransportError(error) => (of_alert(u64::from(error.code)), Duration::ZERO),
        ConnectionError::TimedOut => (LinkClose::TimedOut, Duration::ZERO),
        ConnectionError::Reset | ConnectionError::LocallyClosed => (LinkClose::PeerGone, Duration::ZERO),
        ConnectionError::VersionMismatch | ConnectionError::CidsExhausted => {
            (LinkClose::ProtocolError, Duration::ZERO)
        }
    }
}

fn of_alert(code: u64) -> LinkClose {
    match code {
        ALERT_ACCESS_DENIED => LinkClose::NotInSet,
        ALERT_HANDSHAKE_FAILURE => LinkClose::NoCommonGroup,
        ALERT_NO_APPLICATION_PROTOCOL => LinkClose::NoCommonProtocol,
        _ => LinkClose::ProtocolError,
    }
}

fn retry_after_of(text: &[u8]) -> Duration {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.split_once(RETRY_AFTER_TEXT))
        .and_then(|(_, ms)| ms.parse().ok())
        .map_or(Duration::ZERO, Duration::from_millis)
        .min(RETRY_AFTER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_positions_and_local_reasons_are_never_believed() {
        for (position, close) in (0_u32..).zip(LinkClose::ALL) {
            assert_eq!(close.code(), position);
            let sent = position <= LinkClose::HelloTimeout.code() || position >= 19;
            assert_eq!(
                LinkClose::from_code(u64::from(position)),
                sent.then_some(close),
                "{close}"
            );
        }
        assert_eq!(LinkClose::from_code(u64::MAX), None);
    }

    #[test]
    fn a_pause_is_read_and_bounded_and_garbage_is_none() {
        let check = |text: &[u8], ms: u64| assert_eq!(retry_after_of(text), Duration::from_millis(ms));
        check(b"rate_limited retry_after_ms=250", 250);
        check(b"rate_limited retry_after_ms=99999999999", 60_000);
        for garbage in [
            b"".as_slice(),
            b"rate_limited",
            b" retry_after_ms=",
            b" retry_after_ms=-1",
            b" retry_after_ms=184467440737095516160",
            b"\xff retry_after_ms=1",
        ] {
            check(garbage, 0);
        }
    }
}
