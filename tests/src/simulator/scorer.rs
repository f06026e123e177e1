//! The scorer of a simulated validator: the node's own, watched, and the liar's with lies.

use crate::random::Random;
use selfchain::types::receipt::NOT_SCORED;
use selfchain::types::seam::scorer::{Scorer, Terms, Timed};
use selfchain::types::{Hash, Risk};
use selfchain_ai::Projection;
use selfchain_ai::model::{Model, default_model};
use std::error::Error;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// The model that scores.
pub(super) static MODEL: LazyLock<Arc<Model>> = LazyLock::new(|| Arc::new(default_model()));

/// The budget of own blocks, in ns: no clock decides in a simulation. It is not that of judging, which tells them apart.
pub(super) const BUDGET_NS: u64 = u64::MAX - 1;
/// Of a thousand own blocks that the liar scores so many lie.
const LIES_PER_MILLE: u64 = 300;

/// Hashes of a scorer's memory after each decided block that it was told of, since they were last taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Memories(Arc<Mutex<Vec<Hash>>>);

impl Memories {
    pub(super) fn take(&self) -> Vec<Hash> {
        core::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, memory: Hash) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
    }
}

/// See the module.
pub(super) struct Witness {
    scorer: Projection,
    memories: Memories,
    /// Where a liar's choices come from.
    lies: Option<Random>,
}

impl Witness {
    pub(super) fn new(has_model: bool, memories: Memories, lies: Option<Random>) -> Self {
        let models = has_model.then(|| Arc::clone(&MODEL)).into_iter().collect();
        Self {
            scorer: Projection::new(models),
            memories,
            lies,
        }
    }
}

/// Another score than the model's, none for one operation, or reasons of its own.
fn lie(random: &mut Random, risk: &mut Risk) {
    let places: Vec<usize> = (0..risk.scores.len())
        .filter(|at| risk.scores[*at] != NOT_SCORED)
        .collect();
    if places.is_empty() || !random.chance(LIES_PER_MILLE) {
        return;
    }
    let at = *random.pick(&places);
    match random.below(3) {
        0 => risk.scores[at] = NOT_SCORED,
        1 if !risk.reasons.is_empty() => {
            risk.reasons.pop();
        }
        _ => risk.scores[at] = (risk.scores[at] + 1) % NOT_SCORED,
    }
}

impl Scorer for Witness {
    fn knows(&self, model: &Hash) -> bool {
        self.scorer.knows(model)
    }

    fn is_exact(&self, model: &Hash) -> bool {
        self.scorer.is_exact(model)
    }

    fn observe(&mut self, operations: &[Timed<'_>]) {
        self.scorer.observe(operations);
        self.memories.add(self.scorer.memory_hash());
    }

    fn score(&mut self, operations: &[Timed<'_>], terms: &Terms<'_>, risk: &mut Risk) {
        self.scorer.score(operations, terms, risk);
        if let Some(random) = self.lies.as_mut().filter(|_| terms.budget_ns == BUDGET_NS) {
            lie(random, risk);
        }
    }

    fn keep(&mut self, learnt: &[Timed<'_>]) {
        self.scorer.keep(learnt);
        self.memories.add(self.scorer.memory_hash());
    }

    fn freeze(&mut self) {
        self.scorer.freeze();
    }

    fn sweep(&mut self, count: u32, sink: &mut dyn FnMut(&[u8])) -> bool {
        self.scorer.sweep(count, sink)
    }

    fn restore(&mut self, chunk: &[u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.scorer.restore(chunk)
    }

    fn memory_hash(&self) -> Hash {
        self.scorer.memory_hash()
    }

    fn memory_bytes(&self) -> usize {
        self.scorer.memory_bytes()
    }

    fn failed(&self) -> u64 {
        self.scorer.failed()
    }

    fn cpu_ns(&self) -> u64 {
        self.scorer.cpu_ns()
    }
}
