//! Ledger time: nanoseconds and heights that blocks carry; never a clock.

use core::fmt;

/// Nanoseconds since the Unix epoch, as a block's proposer set them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeNs(pub u64);

impl TimeNs {
    /// The start of time; also "not set".
    pub const ZERO: Self = Self(0);

    /// `self` and `seconds` later; `None` past the year 2554.
    pub fn plus_seconds(self, seconds: u32) -> Option<Self> {
        self.0.checked_add(u64::from(seconds) * NS_PER_S).map(Self)
    }
}

/// Nanoseconds in a second.
pub const NS_PER_S: u64 = 1_000_000_000;

/// A block's position: genesis is 0, the first block 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Height(pub u64);

impl Height {
    /// The state before the first block.
    pub const GENESIS: Self = Self(0);

    /// The height after this one.
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("a chain has fewer than 2^64 blocks"))
    }

    /// `self − count`, not below genesis.
    pub fn back(self, count: u64) -> Self {
        Self(self.0.saturating_sub(count))
    }
}

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
