//! Every limit of the links in one place, with its unit and what happens when it is reached.

use std::time::Duration;

use selfchain_types::seam::transport::FRAME_BYTES_MAX;
use tokio::sync::Semaphore;

use super::Lane;
use crate::client::backoff::Backoff;
use crate::limits::Rate;

/// Bytes that every waiting frame counts for besides its own: bounds the number of tiny ones.
pub(super) const FRAME_COST_BYTES: usize = 64;

/// What one lane of one peer may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneLimits {
    /// Largest frame, in bytes. Above: not sent; received: closed, `frame_too_large`.
    pub frame_bytes_max: usize,
    /// Frames that wait to be sent to one peer. Above: as [`Lane::when_full`] says.
    pub send_frames_max: usize,
    /// Bytes that wait to be sent to one peer. Above: as [`Lane::when_full`] says.
    pub send_bytes_max: usize,
    /// Bytes received from one peer, or being received, that the node has not taken yet; each frame counts 64
    /// more than its length. Above: the lane of that peer is not read until the node takes some.
    pub receive_bytes_max: usize,
    /// Frames a second that one peer may send. Above: skipped unread, and the peer is told when to try again.
    pub frames: Rate,
    /// Bytes a second that one peer may send. Above: likewise.
    pub bytes: Rate,
}

impl LaneLimits {
    /// Bytes that may wait of one peer: never less than one frame needs, or it would never come.
    pub(super) fn receive_room(&self) -> usize {
        let room = self
            .receive_bytes_max
            .max(self.frame_bytes_max + FRAME_COST_BYTES);
        room.min(Semaphore::MAX_PERMITS)
    }
}

/// What peers may use, and how long things may take.
///
/// The worst case of memory is for each peer the sum of `send_bytes_max` and `receive_bytes_max` over the lanes,
/// and twelve times `stream_window_bytes` inside QUIC. Frames that were broadcast wait only once for all peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkLimits {
    /// By [`Lane::index`].
    pub lanes: [LaneLimits; 4],
    /// Frames over the rates that one peer may send. Above: closed, `rate_limited`.
    pub excess: Rate,
    /// For so long a peer that was closed as `rate_limited` is not let in again.
    pub excess_pause: Duration,

    /// Handshakes and hellos in progress at once that came from addresses of no peer. Above: refused.
    pub strangers_max: usize,
    /// Handshakes and hellos in progress at once that came from addresses of peers. Above: refused.
    pub arrivals_max: usize,
    /// A handshake with hello that takes longer is dropped.
    pub handshake_timeout: Duration,
    /// A connection from which nothing is heard for this long has ended.
    pub idle_timeout: Duration,
    /// After so much silence of our own the peer is told that we live. Well below `idle_timeout`.
    pub keep_alive: Duration,
    /// A frame of which no byte comes for this long: closed, `frame_truncated`.
    pub frame_stall_timeout: Duration,
    /// Pauses between attempts to reach a peer.
    pub backoff: Backoff,

    /// Bytes that one lane may have under way to us unread (QUIC flow control): at least the bandwidth times the
    /// round trip that one lane is to reach.
    pub stream_window_bytes: u32,
    /// Largest UDP datagram that is tried towards a peer, in bytes, by path probing; 1,200 to 6,550.
    pub datagram_bytes_max: u16,
    /// Receive and send buffer asked of the operating system for the socket, in bytes.
    pub socket_buffer_bytes: usize,
}

impl LinkLimits {
    /// Those of one lane.
    #[must_use]
    pub fn lane(&self, lane: Lane) -> &LaneLimits {
        &self.lanes[lane.index()]
    }
}

impl Default for LinkLimits {
    fn default() -> Self {
        Self {
            lanes: [
                LaneLimits {
                    // A list of ballots of everybody that is linked, with hybrid signatures.
                    frame_bytes_max: 1 << 20,
                    send_frames_max: 4_096,
                    send_bytes_max: 4 << 20,
                    receive_bytes_max: 4 << 20,
                    frames: Rate {
                        per_s: 10_000,
                        burst: 20_000,
                    },
                    bytes: Rate {
                        per_s: 16 << 20,
                        burst: 16 << 20,
                    },
                },
                LaneLimits {
                    frame_bytes_max: FRAME_BYTES_MAX,
                    send_frames_max: 256,
                    send_bytes_max: 64 << 20,
                    receive_bytes_max: 32 << 20,
                    frames: Rate {
                        per_s: 1_000,
                        burst: 1_000,
                    },
                    bytes: Rate {
                        per_s: 256 << 20,
                        burst: 256 << 20,
                    },
                },
                LaneLimits {
                    frame_bytes_max: 4 << 20,
                    send_frames_max: 8_192,
                    send_bytes_max: 64 << 20,
                    receive_bytes_max: 32 << 20,
                    frames: Rate {
                        per_s: 50_000,
                        burst: 50_000,
                    },
                    bytes: Rate {
                        per_s: 256 << 20,
                        burst: 256 << 20,
                    },
                },
                LaneLimits {
                    frame_bytes_max: FRAME_BYTES_MAX,
                    send_frames_max: 256,
                    send_bytes_max: 64 << 20,
                    receive_bytes_max: 32 << 20,
                    frames: Rate {
                        per_s: 2_000,
                        burst: 2_000,
                    },
                    bytes: Rate {
                        per_s: 256 << 20,
                        burst: 256 << 20,
                    },
                },
            ],
            excess: Rate {
                per_s: 10,
                burst: 1_000,
            },
            excess_pause: Duration::from_secs(10),

            strangers_max: 16,
            arrivals_max: 256,
            handshake_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(5),
            keep_alive: Duration::from_secs(1),
            frame_stall_timeout: Duration::from_secs(10),
            backoff: Backoff {
                first: Duration::from_millis(50),
                max: Duration::from_secs(2),
            },

            stream_window_bytes: 2 << 20,
            datagram_bytes_max: 6_500,
            socket_buffer_bytes: 4 << 20,
        }
    }
}
