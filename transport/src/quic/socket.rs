//! The UDP socket and the QUIC parameters, for both ends.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use quinn::{AckFrequencyConfig, EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};
use socket2::{Domain, Protocol, Socket, Type};

use super::congestion::ClosableConfig;

/// Datagrams that may be tried, in bytes. From the least that every path of QUIC carries (RFC 9000 §14.1) to a
/// tenth of the largest UDP payload (65,507): quinn hands the system ten at once, and more than fits is dropped
/// there without a word, until nothing moves any more.
const DATAGRAM_BYTES: RangeInclusive<u16> = 1_200..=6_550;

/// Unacknowledged packets after which the other end is asked to acknowledge: fewer acknowledgements cost less.
const ACK_THRESHOLD: u32 = 16;

/// A socket at `address` with buffers that survive a descheduled reader. The system may give less than asked.
pub(crate) fn bind(address: SocketAddr, buffer_bytes: usize) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    for result in [
        socket.set_recv_buffer_size(buffer_bytes),
        socket.set_send_buffer_size(buffer_bytes),
    ] {
        if let Err(error) = result {
            tracing::debug!(%error, buffer_bytes, "the system refused the socket buffer size");
        }
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// A datagram size that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("datagrams of {datagram_bytes_max} bytes, where {min} to {max} are possible")]
pub struct DatagramError {
    /// The configured size.
    pub datagram_bytes_max: u16,
    /// The least.
    pub min: u16,
    /// The most.
    pub max: u16,
}

/// An endpoint that takes datagrams of this size.
pub(crate) fn endpoint_config(datagram_bytes_max: u16) -> Result<EndpointConfig, DatagramError> {
    let error = DatagramError {
        datagram_bytes_max,
        min: *DATAGRAM_BYTES.start(),
        max: *DATAGRAM_BYTES.end(),
    };
    if !DATAGRAM_BYTES.contains(&datagram_bytes_max) {
        return Err(error);
    }
    let mut config = EndpointConfig::default();
    config
        .max_udp_payload_size(datagram_bytes_max)
        .map_err(|_| error)?;
    Ok(config)
}

/// What differs between the ends.
pub(crate) struct TransportTuning {
    pub(crate) bidirectional_streams_max: u32,
    pub(crate) unidirectional_streams_max: u32,
    pub(crate) stream_receive_window_bytes: u32,
    pub(crate) receive_window_bytes: u32,
    pub(crate) send_window_bytes: u64,
    pub(crate) datagram_bytes_max: u16,
    pub(crate) idle_timeout: Duration,
    pub(crate) keep_alive: Option<Duration>,
}

/// QUIC with few long streams and no datagrams.
pub(crate) fn transport_config(tuning: &TransportTuning) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(tuning.datagram_bytes_max);
    let mut acknowledgement = AckFrequencyConfig::default();
    acknowledgement.ack_eliciting_threshold(VarInt::from_u32(ACK_THRESHOLD));
    let idle_ms = u32::try_from(tuning.idle_timeout.as_millis()).unwrap_or(u32::MAX);
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(tuning.bidirectional_streams_max))
        .max_concurrent_uni_streams(VarInt::from_u32(tuning.unidirectional_streams_max))
        .stream_receive_window(VarInt::from_u32(tuning.stream_receive_window_bytes))
        .receive_window(VarInt::from_u32(tuning.receive_window_bytes))
        .send_window(tuning.send_window_bytes)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(idle_ms))))
        .keep_alive_interval(tuning.keep_alive)
        .datagram_receive_buffer_size(None)
        .mtu_discovery_config(Some(discovery))
        .ack_frequency_config(Some(acknowledgement))
        .congestion_controller_factory(Arc::new(ClosableConfig::default()));
    Arc::new(config)
}
