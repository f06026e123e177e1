//! The projection: contexts folded from the log, and the models that look at them, behind the scorer seam.

use crate::explain::explain;
use crate::features::{Contexts, Row, Rows};
use crate::model::{Model, Predict};
use rayon::prelude::*;
use selfchain_types::receipt::NOT_SCORED;
use selfchain_types::risk::{NO_REASON, REASONS};
use selfchain_types::seam::scorer::{Scorer, Terms, Timed};
use selfchain_types::codec::index;
use selfchain_types::{Hash, Operation, Risk};
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

/// Scores with any of its models, from one past.
#[derive(Default)]
pub struct Projection {
    contexts: Contexts,
    models: Vec<Arc<Model>>,
    /// Of the round that is folded, and of the one before it, which is scored meanwhile.
    rows: [Rows; 2],
}

/// Operations that are folded while those before them are scored.
const ROUND: usize = 2_048;
/// Rows that one thread scores at a time.
const BATCH: usize = 512;

impl Projection {
    /// Knows these models, and nothing of the past.
    pub fn new(models: Vec<Arc<Model>>) -> Self {
        Self {
            models,
            ..Self::default()
        }
    }

    fn model(&self, hash: &Hash) -> Option<&Arc<Model>> {
        find(&self.models, hash)
    }
}

impl Scorer for Projection {
    fn knows(&self, model: &Hash) -> bool {
        self.model(model).is_some()
    }

    fn is_exact(&self, model: &Hash) -> bool {
        self.model(model).is_some_and(|model| model.is_exact())
    }

    fn observe(&mut self, operations: &[Timed<'_>]) {
        self.contexts.observe_all(operations);
    }

    fn score(&mut self, operations: &[Timed<'_>], terms: &Terms<'_>, risk: &mut Risk) {
        let judge = Judge {
            models: &self.models,
            terms,
            began: Instant::now(),
        };
        risk.scores.clear();
        risk.scores.resize(operations.len(), NOT_SCORED);
        risk.reasons.clear();
        if terms.is_decided {
            self.contexts.begin_decided();
        } else {
            self.contexts.begin();
        }
        let (contexts, [folded, scored]) = (&mut self.contexts, &mut self.rows);
        let mut before: Option<Round<'_>> = None;
        for round in rounds(operations, &mut risk.scores) {
            let reasons = &mut risk.reasons;
            folded.clear();
            rayon::join(
                || contexts.rows(round.operations, folded),
                || before.take().map(|mut round| judge.score(&mut round, scored, reasons)),
            );
            core::mem::swap(folded, scored);
            before = Some(round);
        }
        if let Some(mut last) = before {
            judge.score(&mut last, scored, &mut risk.reasons);
        }
    }

    fn keep(&mut self, learnt: &[Timed<'_>]) {
        self.contexts.keep();
        learnt
            .iter()
            .for_each(|learnt| self.contexts.observe(learnt.operation, learnt.time));
    }

    fn freeze(&mut self) {
        self.contexts.freeze();
    }

    fn sweep(&mut self, count: u32, sink: &mut dyn FnMut(&[u8])) -> bool {
        self.contexts.sweep(count, sink)
    }

    fn restore(&mut self, chunk: &[u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.contexts.restore(chunk)?)
    }

    fn memory_hash(&self) -> Hash {
        self.contexts.hash()
    }

    fn memory_bytes(&self) -> usize {
        self.contexts.memory_bytes()
    }
}

/// Some operations of a candidate, and where their scores go.
struct Round<'a> {
    /// The position of the first one in the candidate.
    first: u32,
    operations: &'a [Timed<'a>],
    scores: &'a mut [u8],
}

fn rounds<'a>(operations: &'a [Timed<'a>], scores: &'a mut [u8]) -> impl Iterator<Item = Round<'a>> {
    let firsts = (0..).step_by(ROUND);
    let rounds = operations.chunks(ROUND).zip(scores.chunks_mut(ROUND));
    rounds.zip(firsts).map(|((operations, scores), first)| Round {
        first,
        operations,
        scores,
    })
}

/// Who scores rounds.
struct Judge<'a> {
    models: &'a [Arc<Model>],
    terms: &'a Terms<'a>,
    began: Instant,
}

type Reasons = [u8; REASONS];

/// A score, and its reasons if it is high.
type Scored = (u8, Option<Reasons>);

fn find<'a>(models: &'a [Arc<Model>], hash: &Hash) -> Option<&'a Arc<Model>> {
    models.iter().find(|model| model.hash() == *hash)
}

impl Judge<'_> {
    /// Sets the scores of a round, and adds the reasons of the high ones. Without a model or time, none.
    fn score(&self, round: &mut Round<'_>, rows: &Rows, reasons: &mut Vec<(u32, Reasons)>) {
        let is_late = self.began.elapsed().as_nanos() > u128::from(self.terms.budget_ns);
        let Some(model) = find(self.models, &self.terms.model).filter(|_| !is_late) else {
            return;
        };
        let batches = rows.rows().par_chunks(BATCH).zip(rows.of().par_chunks(BATCH));
        let scored = batches.map(|(rows, of)| {
            let operations = of.iter().map(|at| round.operations[index(*at)].operation);
            self.batch(&**model, rows, &operations.collect::<Vec<_>>())
        });
        let scored: Vec<Vec<Scored>> = scored.collect();
        let mut scored: Vec<Scored> = scored.into_iter().flatten().collect();
        self.ask_others(round, rows, &mut scored);
        for (at, (score, why)) in rows.of().iter().zip(scored) {
            round.scores[index(*at)] = score;
            reasons.extend(why.map(|why| (round.first + at, why)));
        }
    }

    /// Asks the models that payers prefer: the higher score stands, and the deciding model's reasons where both are
    /// the same.
    fn ask_others(&self, round: &Round<'_>, rows: &Rows, scored: &mut [Scored]) {
        let mut by_model: BTreeMap<Hash, Vec<usize>> = BTreeMap::new();
        for (position, model) in self.terms.preferred {
            let at = position.checked_sub(round.first);
            if let Some(at) = at.and_then(|at| rows.of().binary_search(&at).ok()) {
                by_model.entry(*model).or_default().push(at);
            }
        }
        for (model, asked) in by_model {
            let Some(model) = find(self.models, &model) else {
                continue;
            };
            let some: Vec<Row> = asked.iter().map(|at| rows.rows()[*at]).collect();
            let operation = |at: &usize| round.operations[index(rows.of()[*at])].operation;
            let operations: Vec<&Operation> = asked.iter().map(operation).collect();
            for (at, other) in asked.iter().zip(self.batch(&**model, &some, &operations)) {
                if other.0 > scored[*at].0 {
                    scored[*at] = other;
                }
            }
        }
    }

    fn batch(
        &self,
        model: &dyn Predict,
        rows: &[Row],
        operations: &[&Operation],
    ) -> Vec<Scored> {
        let mut log_odds = Vec::with_capacity(rows.len());
        model.log_odds(rows, operations, &mut log_odds);
        let each = log_odds.iter().zip(rows).zip(operations);
        each.map(|((one, row), operation)| {
            let score = one.score();
            let is_high = (self.terms.reasons_from..NOT_SCORED).contains(&score);
            (score, is_high.then(|| reasons_of(model, row, operation)))
        })
        .collect()
    }
}

fn reasons_of(model: &dyn Predict, row: &Row, operation: &Operation) -> Reasons {
    let mut codes = [NO_REASON; REASONS];
    let reasons = explain(model, row, operation);
    for (code, reason) in codes.iter_mut().zip(reasons) {
        *code = reason.feature;
    }
    codes
}
