//! What a quality network sees of a proposer: thirteen numbers from 0 to 1,000, and which way each may move a quality.

/// The version of these features: a network names the one that it takes.
pub const FEATURES_VERSION: u16 = 1;
/// How many there are.
pub const FEATURES: usize = 13;

/// A proposer's features, each from 0 to 1,000.
pub type Row = [u16; FEATURES];

/// Which way a quality may move as a feature grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sense {
    /// A failing: never up.
    Failing,
    /// A merit: never down.
    Merit,
    /// Either way.
    Free,
}

/// The features in order: the name that files use, and the sense. What each means: `docs/protocol/poai.md`.
pub const CATALOGUE: [(&str, Sense); FEATURES] = [
    ("missed", Sense::Failing),
    ("made", Sense::Merit),
    ("rounds", Sense::Failing),
    ("lateness", Sense::Failing),
    ("late_votes", Sense::Failing),
    ("absent", Sense::Failing),
    ("disagreement", Sense::Failing),
    ("equivocation", Sense::Failing),
    ("fill", Sense::Merit),
    ("waste", Sense::Failing),
    ("starved", Sense::Failing),
    ("won", Sense::Free),
    ("newness", Sense::Free),
];
