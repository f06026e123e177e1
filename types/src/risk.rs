//! What a scorer said of a block.

use alloc::vec::Vec;

/// Reasons that a block keeps of a high score.
pub const REASONS: usize = 3;
/// No reason: fewer features raised the score.
pub const NO_REASON: u8 = 255;

/// Scores of a block's operations, and why the high ones are high. Nothing, where no model scores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Risk {
    /// One score an operation, or none at all.
    pub scores: Vec<u8>,
    /// By position of the operation, ascending: the features that raise its score most.
    pub reasons: Vec<(u32, [u8; REASONS])>,
}
