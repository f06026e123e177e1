//! The lanes of a link: what travels apart from what.

use std::fmt;

/// A stream of its own in each direction of a connection. The order is that of importance: of what waits to be
/// sent, and of what waits to be read, the more important lane goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Proposals, votes and the other short messages of agreement.
    Votes,
    /// Bodies of proposed blocks.
    Bodies,
    /// Batches of transactions and their acknowledgements.
    Transactions,
    /// Decided blocks and snapshots for those who catch up, and their requests.
    Sync,
}

/// What becomes of a frame for which the peer's queue has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The oldest frames of the same peer and lane make room: an old vote is worth less than a new one.
    DropOldest,
    /// It is refused, and the sender decides.
    Refuse,
}

impl Lane {
    /// Every lane, in the order of [`Lane::index`].
    pub const ALL: [Self; 4] = [Self::Votes, Self::Bodies, Self::Transactions, Self::Sync];

    /// Position in [`Lane::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Votes => 0,
            Self::Bodies => 1,
            Self::Transactions => 2,
            Self::Sync => 3,
        }
    }

    /// First byte of the lane's stream.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Votes => 1,
            Self::Bodies => 2,
            Self::Transactions => 3,
            Self::Sync => 4,
        }
    }

    /// The lane of this first byte.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|lane| lane.code() == code)
    }

    /// The name used in metrics, logs and close frames.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Votes => "votes",
            Self::Bodies => "bodies",
            Self::Transactions => "transactions",
            Self::Sync => "sync",
        }
    }

    /// What happens when the send queue is full.
    #[must_use]
    pub const fn when_full(self) -> WhenFull {
        match self {
            Self::Votes => WhenFull::DropOldest,
            Self::Bodies | Self::Transactions | Self::Sync => WhenFull::Refuse,
        }
    }

    /// Of the lane's QUIC stream: a packet is filled from the highest that has something to send.
    pub(super) const fn priority(self) -> i32 {
        match self {
            Self::Votes => 3,
            Self::Bodies => 2,
            Self::Transactions => 1,
            Self::Sync => 0,
        }
    }
}

/// Of the stream of control frames.
pub(super) const CONTROL_PRIORITY: i32 = 4;

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
