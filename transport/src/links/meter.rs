//! What one peer may still send: token buckets for each lane, asked before a frame is read.

use super::{Lane, LinkLimits};
use crate::limits::Bucket;

/// The buckets of one peer. They outlive its connections: coming back does not fill them.
#[derive(Debug)]
pub(super) struct Meter {
    lanes: [LaneMeter; 4],
    /// Frames over the rates.
    excess: Bucket,
}

#[derive(Debug)]
struct LaneMeter {
    frames: Bucket,
    bytes: Bucket,
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    Read,
    /// Skipped: after these milliseconds it would have been read.
    Skip(u32),
    /// Too many were skipped.
    Close,
}

impl Meter {
    pub(super) fn new(limits: &LinkLimits, now_ns: u64) -> Self {
        Self {
            lanes: limits.lanes.map(|lane| LaneMeter {
                frames: Bucket::full(lane.frames, now_ns),
                bytes: Bucket::full(lane.bytes, now_ns),
            }),
            excess: Bucket::full(limits.excess, now_ns),
        }
    }

    /// Takes one frame of `bytes` from the rates of its lane, or from what may exceed them.
    pub(super) fn judge(&mut self, lane: Lane, bytes: u64, now_ns: u64) -> Reading {
        let meter = &mut self.lanes[lane.index()];
        let taken = meter.frames.take(1, now_ns).and_then(|()| {
            meter
                .bytes
                .take(bytes, now_ns)
                .inspect_err(|_| meter.frames.give_back(1))
        });
        match taken {
            Ok(()) => Reading::Read,
            Err(retry_after_ms) => match self.excess.take(1, now_ns) {
                Ok(()) => Reading::Skip(retry_after_ms),
                Err(_) => Reading::Close,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Rate;

    #[test]
    fn a_lane_over_its_rate_is_skipped_then_closed_and_the_others_are_read() {
        let mut limits = LinkLimits::default();
        limits.lanes[0].frames = Rate { per_s: 10, burst: 2 };
        limits.lanes[0].bytes = Rate {
            per_s: 100,
            burst: 50,
        };
        limits.excess = Rate { per_s: 0, burst: 2 };
        let mut meter = Meter::new(&limits, 0);
        assert_eq!(meter.judge(Lane::Votes, 40, 0), Reading::Read);
        assert_eq!(meter.judge(Lane::Votes, 40, 0), Reading::Skip(300), "bytes");
        assert_eq!(
            meter.judge(Lane::Votes, 10, 0),
            Reading::Read,
            "the skipped frame was given back"
        );
        assert_eq!(meter.judge(Lane::Votes, 1, 0), Reading::Skip(100), "frames");
        assert_eq!(meter.judge(Lane::Votes, 1, 0), Reading::Close);
        assert_eq!(meter.judge(Lane::Bodies, 1 << 20, 0), Reading::Read);
        assert_eq!(meter.judge(Lane::Votes, 1, 1_000_000_000), Reading::Read);
    }
}
