//! Off: no model; no operation is scored.

use selfchain_types::Hash;
use selfchain_types::receipt::NOT_SCORED;
use selfchain_types::seam::scorer::{Scorer, Timed};

/// The scorer that never scores. It decides, since it says the same everywhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Off;

impl Scorer for Off {
    fn model(&self) -> Option<Hash> {
        None
    }

    fn decides(&self) -> bool {
        true
    }

    fn observe(&mut self, _: &mut dyn Iterator<Item = Timed<'_>>) {}

    fn score(&mut self, operations: &mut dyn Iterator<Item = Timed<'_>>, _: u64, scores: &mut Vec<u8>) {
        scores.extend(operations.map(|_| NOT_SCORED));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfchain_types::{Operation, TimeNs};

    #[test]
    fn says_not_scored_once_an_operation() {
        let operation = Operation::default();
        let mut timed = [Timed {
            operation: &operation,
            time: TimeNs(1),
        }; 3]
            .into_iter();
        let mut scores = Vec::new();
        Off.score(&mut timed, 0, &mut scores);
        assert_eq!(scores, [NOT_SCORED; 3]);
    }
}
