//! Off: no model, no memory; no operation is scored.

use selfchain_types::hash::CONTEXTS;
use selfchain_types::receipt::NOT_SCORED;
use selfchain_types::seam::scorer::{Scorer, Terms, Timed};
use selfchain_types::{Hash, Risk};
use std::error::Error;

/// The scorer that never scores and remembers nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Off;

impl Scorer for Off {
    fn knows(&self, _: &Hash) -> bool {
        false
    }

    fn is_exact(&self, _: &Hash) -> bool {
        false
    }

    fn observe(&mut self, _: &[Timed<'_>]) {}

    fn score(&mut self, operations: &[Timed<'_>], _: &Terms, risk: &mut Risk) {
        risk.reasons.clear();
        risk.scores.clear();
        risk.scores.resize(operations.len(), NOT_SCORED);
    }

    fn keep(&mut self, _: &[Timed<'_>]) {}

    fn freeze(&mut self) {}

    fn sweep(&mut self, _: u32, _: &mut dyn FnMut(&[u8])) -> bool {
        true
    }

    fn restore(&mut self, _: &[u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }

    fn memory_hash(&self) -> Hash {
        CONTEXTS.hash(&[])
    }

    fn memory_bytes(&self) -> usize {
        0
    }

    fn failed(&self) -> u64 {
        0
    }

    fn cpu_ns(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfchain_types::{Operation, TimeNs};

    #[test]
    fn says_not_scored_once_an_operation() {
        let operation = Operation::default();
        let timed = [Timed {
            operation: &operation,
            time: TimeNs(1),
        }; 3];
        let terms = Terms {
            model: Hash::ZERO,
            preferred: &[],
            reasons_from: 0,
            budget_ns: 0,
            is_decided: false,
        };
        let mut risk = Risk::default();
        Off.score(&timed, &terms, &mut risk);
        assert_eq!((risk.scores, risk.reasons), (vec![NOT_SCORED; 3], Vec::new()));
    }
}
