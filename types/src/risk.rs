//! What a scorer said of a block.

use crate::codec::{self, DecodeError, Reader};
use crate::receipt::NOT_SCORED;
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

impl Risk {
    /// The score of the operation at a position of the block.
    #[inline]
    pub fn score(&self, position: u32) -> u8 {
        let score = self.scores.get(codec::index(position));
        score.copied().unwrap_or(NOT_SCORED)
    }

    /// The reasons that the block keeps of an operation.
    pub fn reasons(&self, position: u32) -> [u8; REASONS] {
        match self.reasons.binary_search_by_key(&position, |entry| entry.0) {
            Ok(at) => self.reasons[at].1,
            Err(_) => [NO_REASON; REASONS],
        }
    }

    /// Whether it can be that of a block of so many operations.
    pub fn fits(&self, operations: usize) -> bool {
        let has_scores = self.scores.is_empty() || self.scores.len() == operations;
        let is_ordered = self.reasons.is_sorted_by(|left, right| left.0 < right.0);
        let last = self.reasons.last().map_or(0, |entry| codec::index(entry.0) + 1);
        has_scores && is_ordered && last <= self.scores.len()
    }

    /// Appends `{position u32, reasons 3}` for each operation that has any.
    pub fn encode_reasons(&self, out: &mut Vec<u8>) {
        for (position, reasons) in &self.reasons {
            out.extend_from_slice(&position.to_le_bytes());
            out.extend_from_slice(reasons);
        }
    }

    /// From a body's two sections.
    ///
    /// # Errors
    /// [`DecodeError`]; positions must ascend.
    pub fn decode(scores: &[u8], reasons: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("reasons", reasons);
        let mut risk = Self {
            scores: scores.to_vec(),
            reasons: Vec::new(),
        };
        while reader.left() > 0 {
            let position = reader.u32()?;
            if risk.reasons.last().is_some_and(|(last, _)| *last >= position) {
                return Err(DecodeError::Value {
                    what: "position of reasons",
                    value: position.into(),
                });
            }
            risk.reasons.push((position, reader.array()?));
        }
        Ok(risk)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn scores_and_reasons_survive_their_bytes() {
        let risk = Risk {
            scores: alloc::vec![1, 255, 200],
            reasons: alloc::vec![(0, [1, 2, 3]), (2, [9, NO_REASON, NO_REASON])],
        };
        let mut bytes = Vec::new();
        risk.encode_reasons(&mut bytes);
        assert_eq!(Risk::decode(&risk.scores, &bytes).unwrap(), risk);
        assert_eq!((risk.score(2), risk.score(3)), (200, NOT_SCORED));
        assert_eq!((risk.reasons(2)[0], risk.reasons(1)[0]), (9, NO_REASON));
        assert!(risk.fits(3) && !risk.fits(2));
        bytes[0] = 3;
        assert!(Risk::decode(&risk.scores, &bytes).is_err(), "positions ascend");
        assert!(Risk::decode(&risk.scores, &bytes[..5]).is_err());
    }
}
