//! Every limit of the server in one place, with its unit and what happens when it is reached.

mod bucket;
pub(crate) mod origin;

use std::time::Duration;

use selfchain_types::seam::transport::FRAME_BYTES_MAX;

pub(crate) use bucket::Bucket;

/// A sustained rate and the burst above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Units a second, sustained.
    pub per_s: u64,
    /// Units that may come at once after silence. A single frame larger than the burst is let in when the
    /// bucket is full.
    pub burst: u64,
}

/// What a peer, an address and all of them together may use.
///
/// The defaults suit a public port on a machine with a few GiB to spare. The worst case of memory is
/// `connections_max × (receive_window_bytes + send_window_bytes)` for QUIC, plus `assembly_bytes_max`, plus
/// `reply_queue_total_bytes_max` and 1 MiB of replies for each connection; lower `connections_max` on small ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections open at once, all peers. Above: refused before the handshake.
    pub connections_max: usize,
    /// Connections open at once from one address (IPv4 address or IPv6 /64). Above: closed, `connection_limit`.
    /// Generous against the 8 that Solana's ingest gives, because a per-address limit punishes everyone behind
    /// one NAT.
    pub connections_per_ip_max: usize,
    /// New connections from one address, connections a second. Above: closed, or refused before the
    /// handshake once the address is proved.
    pub connections_new_per_ip: Rate,
    /// Handshakes in progress at once. Above: refused. Bounds the CPU that strangers can claim (about 1 ms each).
    pub handshakes_max: usize,
    /// Handshakes in progress from which strangers must first prove their address (QUIC Retry, RFC 9000 §8.1).
    pub handshakes_before_retry: usize,
    /// Connection attempts waiting to be looked at. Above: refused by QUIC itself.
    pub incoming_max: usize,
    /// A handshake that takes longer is dropped.
    pub handshake_timeout: Duration,
    /// A connection from which nothing is heard for this long is closed. Clients keep theirs alive.
    pub idle_timeout: Duration,

    /// Streams open at once on one connection, of both kinds. Above: the client's open waits.
    pub streams_per_connection_max: u32,
    /// Bytes that one stream may have under way to us unread (QUIC flow control).
    pub stream_receive_window_bytes: u32,
    /// Bytes that one connection may have under way to us unread.
    pub receive_window_bytes: u32,
    /// Bytes sent to one peer and not yet acknowledged by it.
    pub send_window_bytes: u64,
    /// Largest UDP datagram that is tried towards a peer, in bytes, by path probing (RFC 8899); 1,200 to 6,550.
    /// Loopback and jumbo-frame networks take several times more bytes a second with 6,500 than with 1,452.
    pub datagram_bytes_max: u16,
    /// Receive and send buffer asked of the operating system for the socket, in bytes.
    pub socket_buffer_bytes: usize,

    /// Largest frame, in bytes. Above: closed, `frame_too_large`.
    pub frame_bytes_max: usize,
    /// A frame of which this long after its first byte the last is missing: closed, `frame_truncated`.
    pub frame_timeout: Duration,
    /// Bytes that unfinished large frames (above 64 KiB) of all peers may come to hold; one identity gets an
    /// eighth, and either is at least one largest frame. Above: their streams are not read until others finish.
    pub assembly_bytes_max: usize,
    /// Requests of one connection that the service has not answered. At the limit the connection is not read,
    /// and QUIC's flow control stops the sender; exceeded by at most one read.
    pub requests_in_flight_max: usize,
    /// Bytes of those requests (estimated: an answer frees their mean size). At the limit likewise not read.
    pub bytes_in_flight_max: usize,

    /// Frames a second of one connection. Above: refused with retry-after.
    pub connection_frames: Rate,
    /// Bytes a second of one connection. Above: refused with retry-after.
    pub connection_bytes: Rate,
    /// Frames a second of one identity (client key, else address) over all its connections. Above: refused.
    pub identity_frames: Rate,
    /// Bytes a second of one identity over all its connections. Above: refused.
    pub identity_bytes: Rate,
    /// Refusals that one connection may provoke. Above: closed, `abuse`.
    pub refusals: Rate,
    /// Identities and addresses remembered. Above: those at rest are forgotten; if none is, new ones are
    /// refused.
    pub identities_max: usize,

    /// Replies queued for one peer, in bytes. Above: closed, `slow_reader`.
    pub reply_queue_bytes_max: usize,
    /// Replies queued for one peer, in frames. Above: closed, `slow_reader`.
    pub reply_queue_frames_max: usize,
    /// Replies queued for all peers, in bytes. Above: a peer with more than 1 MiB queued is closed when it is
    /// given more, `slow_reader`.
    pub reply_queue_total_bytes_max: usize,
    /// Within this long after a write, replies are gathered up to 16 KiB before the next. Zero: never.
    pub reply_linger: Duration,
    /// A peer that takes no byte of its replies for this long is closed, `slow_reader`.
    pub reply_stall_timeout: Duration,

    /// Subscriptions open at once, all peers. Above: refused with retry-after.
    pub subscriptions_max: usize,
    /// Bytes asked of a cursor for one write; all that is held for a subscriber.
    pub subscription_write_bytes: usize,
    /// Cursors that may be reading the disk at once.
    pub cursor_reads_max: usize,
    /// A subscriber that takes no byte for this long loses its subscription. Long: slowness alone is no fault.
    pub subscription_stall_timeout: Duration,

    /// After a close with something still queued, how long the peer has to read it.
    pub close_timeout: Duration,
}

/// A permit of the assembly budget stands for this many bytes.
pub(crate) const ASSEMBLY_PERMIT_BYTES: usize = 1 << 10;

/// What one identity gets of the assembly budget.
const ASSEMBLY_IDENTITY_SHARE: usize = 8;

impl Limits {
    /// Permits that all unfinished large frames share. Never less than one frame needs, or it would never end.
    pub(crate) fn assembly_permits(&self) -> usize {
        self.assembly_bytes_max
            .max(self.frame_bytes_max)
            .div_ceil(ASSEMBLY_PERMIT_BYTES)
    }

    /// Permits that those of one identity share.
    pub(crate) fn assembly_permits_of_identity(&self) -> usize {
        (self.assembly_bytes_max / ASSEMBLY_IDENTITY_SHARE)
            .max(self.frame_bytes_max)
            .div_ceil(ASSEMBLY_PERMIT_BYTES)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 2_000,
            connections_per_ip_max: 64,
            connections_new_per_ip: Rate { per_s: 16, burst: 64 },
            handshakes_max: 256,
            handshakes_before_retry: 32,
            incoming_max: 1_024,
            handshake_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(30),

            streams_per_connection_max: 16,
            stream_receive_window_bytes: 2 << 20,
            receive_window_bytes: 2 << 20,
            send_window_bytes: 2 << 20,
            datagram_bytes_max: 6_500,
            socket_buffer_bytes: 4 << 20,

            frame_bytes_max: FRAME_BYTES_MAX,
            frame_timeout: Duration::from_secs(30),
            assembly_bytes_max: 512 << 20,
            requests_in_flight_max: 65_536,
            bytes_in_flight_max: 64 << 20,

            connection_frames: Rate {
                per_s: 500_000,
                burst: 250_000,
            },
            connection_bytes: Rate {
                per_s: 1 << 30,
                burst: 512 << 20,
            },
            identity_frames: Rate {
                per_s: 1_000_000,
                burst: 500_000,
            },
            identity_bytes: Rate {
                per_s: 2 << 30,
                burst: 1 << 30,
            },
            refusals: Rate {
                per_s: 10_000,
                burst: 100_000,
            },
            identities_max: 65_536,

            reply_queue_bytes_max: 32 << 20,
            reply_queue_frames_max: 262_144,
            reply_queue_total_bytes_max: 512 << 20,
            reply_linger: Duration::from_millis(1),
            reply_stall_timeout: Duration::from_secs(10),

            subscriptions_max: 1_024,
            subscription_write_bytes: 256 << 10,
            cursor_reads_max: 8,
            subscription_stall_timeout: Duration::from_secs(600),

            close_timeout: Duration::from_secs(2),
        }
    }
}
