//! Ledger time of a block's operations: a function of the block alone, never of a clock.

use selfchain_types::genesis::OpTime;
use selfchain_types::{Kind, Operation, TimeNs};

/// Gives each operation of a block its time, in order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    mode: OpTime,
    last: u64,
}

impl Clock {
    /// The clock of a block of this time, which is at least 1.
    pub(super) fn new(mode: OpTime, time_ns: TimeNs) -> Self {
        Self {
            mode,
            last: time_ns.0.saturating_sub(1),
        }
    }

    /// The next operation's time: one after the last, or, where operations bring their own time, that if it
    /// is later.
    #[inline]
    pub(super) fn tick(&mut self, operation: &Operation) -> TimeNs {
        self.last = self.last.saturating_add(1);
        if self.mode == OpTime::Effective {
            self.last = self.last.max(own_time(operation));
        }
        TimeNs(self.last)
    }

    /// The last operation's time.
    pub(super) fn last(&self) -> TimeNs {
        TimeNs(self.last)
    }
}

/// The time that an operation brings: `effective_ns`, except in kinds for which that field means something
/// else.
pub(super) fn own_time(operation: &Operation) -> u64 {
    let others = [Kind::SetSession, Kind::Upgrade, Kind::SetModel];
    if others.iter().any(|other| other.code() == operation.kind) {
        0
    } else {
        operation.effective_ns.get()
    }
}

/// The last instant of ledger time, in the year 2554: a block with a later operation is invalid.
pub(super) const TIME_MAX: TimeNs = TimeNs(u64::MAX - 1);
