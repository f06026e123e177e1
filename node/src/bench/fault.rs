//! Faults of one validator of a cluster, and what they cost the others.

use crate::hindrance::Hindrance;
use clap::ValueEnum;
use core::time::Duration;

/// What the last validator does badly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// It is never started.
    Dead,
    /// What it says is under way longer.
    Slow,
    /// It puts nothing into its blocks.
    Starving,
    /// It signs two proposals.
    Byzantine,
}

/// How much longer a slow validator's messages are under way: twice what a block takes at light load, so that its own
/// take three times as long.
const SLOW_BY: Duration = Duration::from_millis(20);

impl Fault {
    /// The name that reports use.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Dead => "dead",
            Self::Slow => "slow",
            Self::Starving => "starving",
            Self::Byzantine => "byzantine",
        }
    }

    /// What the faulty validator does; `None`: it is never started.
    pub(super) fn hindrance(self) -> Option<Hindrance> {
        match self {
            Self::None => Some(Hindrance::None),
            Self::Dead => None,
            Self::Slow => Some(Hindrance::Slow(SLOW_BY)),
            Self::Starving => Some(Hindrance::Starving),
            Self::Byzantine => Some(Hindrance::TwoFaced),
        }
    }
}
