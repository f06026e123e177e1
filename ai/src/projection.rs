//! The projection: contexts folded from the log, and the models that look at them, behind the scorer seam.

use crate::explain::explain;
use crate::features::{Contexts, Row};
use crate::model::{Model, Predict};
use crate::score::LogOdds;
use rayon::prelude::*;
use selfchain_types::receipt::NOT_SCORED;
use selfchain_types::risk::{NO_REASON, REASONS};
use selfchain_types::seam::scorer::{Scorer, Terms, Timed};
use selfchain_types::{Hash, Operation, Risk, codec};
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

/// Scores with any of its models, from one past.
#[derive(Default)]
pub struct Projection {
    contexts: Contexts,
    models: Vec<Arc<Model>>,
    rows: Vec<Option<Row>>,
}

/// Operations whose rows are made before the next look at the clock.
const ROUND: usize = 4_096;
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
        self.models.iter().find(|model| model.hash() == *hash)
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

    fn score(&mut self, operations: &[Timed<'_>], terms: &Terms, risk: &mut Risk) {
        let began = Instant::now();
        let model = self.model(&terms.model).map(Arc::clone);
        risk.scores.clear();
        risk.reasons.clear();
        self.contexts.begin();
        for round in operations.chunks(ROUND) {
            self.rows.clear();
            self.contexts.rows(round, &mut self.rows);
            let is_late = began.elapsed().as_nanos() > u128::from(terms.budget_ns);
            match &model {
                // Contexts go on even where there is no time left for scores.
                Some(model) if !is_late => score_rows(&**model, &self.rows, round, terms.reasons_from, risk),
                _ => risk.scores.extend(round.iter().map(|_| NOT_SCORED)),
            }
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

/// Appends one score a row, and the reasons of the high ones.
fn score_rows(
    model: &dyn Predict,
    rows: &[Option<Row>],
    operations: &[Timed<'_>],
    reasons_from: u8,
    risk: &mut Risk,
) {
    let first = risk.scores.len();
    let parts: Vec<Vec<u8>> = rows
        .par_chunks(BATCH)
        .zip(operations.par_chunks(BATCH))
        .map(|(rows, operations)| scores_of(model, rows, operations))
        .collect();
    parts.iter().for_each(|part| risk.scores.extend_from_slice(part));
    let high = |(_, score): &(usize, &u8)| (reasons_from..NOT_SCORED).contains(score);
    for (at, _) in risk.scores[first..].iter().enumerate().filter(high) {
        if let Some(row) = &rows[at] {
            let reasons = reasons_of(model, row, operations[at].operation);
            risk.reasons.push((codec::narrow(first + at), reasons));
        }
    }
}

fn scores_of(model: &dyn Predict, rows: &[Option<Row>], operations: &[Timed<'_>]) -> Vec<u8> {
    let scored = || rows.iter().zip(operations).filter(|(row, _)| row.is_some());
    let some: Vec<Row> = scored().filter_map(|(row, _)| *row).collect();
    let of: Vec<&Operation> = scored().map(|(_, next)| next.operation).collect();
    let mut log_odds: Vec<LogOdds> = Vec::with_capacity(some.len());
    model.log_odds(&some, &of, &mut log_odds);
    let mut scores = log_odds.iter().map(|one| one.score());
    let score = |row: &Option<Row>| match row {
        Some(_) => scores.next().unwrap_or(NOT_SCORED),
        None => NOT_SCORED,
    };
    rows.iter().map(score).collect()
}

fn reasons_of(model: &dyn Predict, row: &Row, operation: &Operation) -> [u8; REASONS] {
    let mut codes = [NO_REASON; REASONS];
    let reasons = explain(model, row, operation);
    for (code, reason) in codes.iter_mut().zip(reasons) {
        *code = reason.feature;
    }
    codes
}
