//! Who proposes, for both planes: what an agreement needs to know of a [`Schedule`].

use crate::{poai, stake};
use selfchain_types::seam::consensus::Schedule;
use selfchain_types::{Hash, Height};

/// The position of the proposer of `round` at the schedule's `height`; `None` of an empty set. Any `n` rounds from a
/// multiple of `n` on have `n` different proposers.
pub fn proposer(schedule: &Schedule, height: Height, round: u32) -> Option<usize> {
    if schedule.seed == Hash::ZERO {
        stake::turn(schedule, height, round)
    } else {
        poai::draw::draw(schedule, height, round)
    }
}
