//! Counters of the links, readable at any time by whoever holds them.

use super::{Lane, LinkClose};
use crate::metrics::Counter;

/// What the links have done since they started.
#[derive(Debug, Default)]
pub struct LinkMetrics {
    lanes: [LaneMetrics; Lane::ALL.len()],
    /// Peers with a connection (gauge).
    pub connections_up: Counter,
    /// Connections that came to stand.
    pub connections: Counter,
    /// Those of them with a peer that had one before.
    pub reconnects: Counter,
    /// Attempts to dial a peer.
    pub dials: Counter,
    /// Those of them that came to nothing.
    pub dials_failed: Counter,
    /// Attempts of others that were refused before the handshake.
    pub arrivals_refused: Counter,
    refused: [Counter; LinkClose::ALL.len()],
    closed: [Counter; LinkClose::ALL.len()],
}

/// One lane's part, over all peers. Bytes are those of frames, without their prefixes.
#[derive(Debug, Default)]
pub struct LaneMetrics {
    /// Frames handed to QUIC.
    pub frames_sent: Counter,
    /// Bytes of those.
    pub bytes_sent: Counter,
    /// Frames that were dropped for newer ones of the same peer.
    pub frames_dropped: Counter,
    /// Frames that were refused because the peer's queue was full.
    pub frames_refused: Counter,
    /// Frames that were not queued because of their length: bugs of this node.
    pub frames_unfit: Counter,
    /// Frames for a number that no peer has.
    pub frames_unaddressed: Counter,
    /// Frames received whole.
    pub frames_received: Counter,
    /// Bytes received, also of frames that are not whole yet.
    pub bytes_received: Counter,
    /// Frames of peers that were skipped because of their rate.
    pub frames_skipped: Counter,
    /// Notices of peers that skipped frames of ours.
    pub refusals_heard: Counter,
    /// Bytes that wait to be sent, all peers (gauge).
    pub send_queue_bytes: Counter,
    /// Bytes that the node has not taken yet, all peers (gauge).
    pub receive_queue_bytes: Counter,
}

impl LinkMetrics {
    /// Those of one lane.
    #[must_use]
    pub fn lane(&self, lane: Lane) -> &LaneMetrics {
        &self.lanes[lane.index()]
    }

    /// Attempts, of either end, that came to nothing for this reason.
    #[must_use]
    pub fn refused(&self, why: LinkClose) -> u64 {
        count(&self.refused, why).map_or(0, Counter::get)
    }

    /// Connections that ended for this reason after they had stood.
    #[must_use]
    pub fn closed(&self, why: LinkClose) -> u64 {
        count(&self.closed, why).map_or(0, Counter::get)
    }

    pub(super) fn count_refused(&self, why: LinkClose) {
        if let Some(counter) = count(&self.refused, why) {
            counter.add(1);
        }
    }

    pub(super) fn count_closed(&self, why: LinkClose) {
        if let Some(counter) = count(&self.closed, why) {
            counter.add(1);
        }
    }
}

fn count(counters: &[Counter; LinkClose::ALL.len()], why: LinkClose) -> Option<&Counter> {
    counters.get(usize::try_from(why.code()).ok()?)
}
