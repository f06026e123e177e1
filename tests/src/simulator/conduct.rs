//! How single validators behave in a run that leaves traces: dead, slow, off now and then, losing messages, or stingy
//! with what they put into blocks.

use super::plan::Plan;

/// How one validator behaves; the default is as everybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conduct {
    /// It has no power, ever.
    pub is_dead: bool,
    /// Its messages are under way so much longer, in tenths of what others' take.
    pub slow_tenths: u64,
    /// Most transactions that it puts into a block; `None`: as others.
    pub fills: Option<usize>,
    /// Of so many ns it is cut off for the last so many, again and again.
    pub off: Option<(u64, u64)>,
    /// Of a thousand of its messages so many are lost.
    pub lost_per_mille: u64,
}

impl Plan {
    /// How the validator at a position behaves.
    pub(super) fn conduct(&self, position: u16) -> Conduct {
        let conduct = self.conducts.get(usize::from(position));
        conduct.copied().unwrap_or_default()
    }

    /// Who has no power, ever: a bit for each position.
    pub(super) fn dead(&self) -> u64 {
        let is_dead =
            |position: &u16| self.conduct(*position).is_dead || self.failing.dead == Some(*position);
        let dead = (0..self.validators).filter(is_dead);
        dead.fold(0, |bits, position| bits | 1 << position)
    }

    /// Whether a validator is cut off at a time.
    pub(super) fn is_off(&self, position: u16, now: u64) -> bool {
        let off = self.conduct(position).off;
        off.is_some_and(|(every_ns, for_ns)| now % every_ns >= every_ns - for_ns)
    }
}
