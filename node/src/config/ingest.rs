//! From the keys of `ingest` to transport's limits.

use super::IngestConfig;
use selfchain_transport::Limits;
use selfchain_transport::limits::Rate;
use std::time::Duration;

impl IngestConfig {
    /// What transport is told; limits without a key keep transport's default.
    pub fn limits(&self) -> Limits {
        let usual = Limits::default();
        Limits {
            connections_max: count(self.connections_max),
            connections_per_ip_max: count(self.connections_per_ip_max),
            connections_new_per_ip: Rate {
                per_s: self.connections_new_per_ip_per_s,
                burst: self.connections_new_per_ip_burst,
            },
            handshakes_max: count(self.handshakes_max),
            handshakes_before_retry: count(self.handshakes_before_retry),
            handshake_timeout: Duration::from_millis(self.handshake_timeout_ms),
            idle_timeout: Duration::from_millis(self.idle_timeout_ms),
            receive_window_bytes: self.receive_window_bytes,
            stream_receive_window_bytes: usual.stream_receive_window_bytes.min(self.receive_window_bytes),
            send_window_bytes: self.send_window_bytes,
            datagram_bytes_max: self.datagram_bytes_max,
            assembly_bytes_max: count(self.assembly_bytes_max),
            requests_in_flight_max: count(self.in_flight_max),
            bytes_in_flight_max: count(self.in_flight_bytes_max),
            connection_frames: Rate {
                per_s: self.frames_per_s,
                burst: self.frames_burst,
            },
            connection_bytes: Rate {
                per_s: self.bytes_per_s,
                burst: self.bytes_burst,
            },
            identity_frames: sustained(self.identity_frames_per_s, usual.identity_frames),
            identity_bytes: sustained(self.identity_bytes_per_s, usual.identity_bytes),
            reply_queue_bytes_max: count(self.reply_queue_bytes_max),
            reply_queue_total_bytes_max: count(self.reply_queue_total_bytes_max),
            subscriptions_max: count(self.subscriptions_max),
            ..usual
        }
    }
}

fn sustained(per_s: u64, usual: Rate) -> Rate {
    Rate {
        per_s,
        burst: usual.burst.min(per_s),
    }
}

fn count(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_transport() {
        assert_eq!(IngestConfig::default().limits(), Limits::default());
    }
}
