//! The projection: contexts folded from the log, and the models that look at them, behind the scorer seam.

use crate::features::{Contexts, Row, Rows};
use crate::model::{Model, Predict};
use rayon::prelude::*;
use rustix::time::{ClockId, clock_gettime};
use selfchain_types::codec::index;
use selfchain_types::receipt::NOT_SCORED;
use selfchain_types::risk::{NO_REASON, REASONS};
use selfchain_types::seam::scorer::{Scorer, Terms, Timed};
use selfchain_types::{Hash, Operation, Risk};
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Who looks on as blocks are scored, such as a second model in the shadow of the first. It must not take long.
pub trait Watch: Send {
    /// Some transfers of a candidate were scored: their rows, and every operation with its score.
    fn see(&mut self, rows: &Rows, operations: &[Timed<'_>], scores: &[u8]);
}

/// Scores with any of its models, from one past.
#[derive(Default)]
pub struct Projection {
    contexts: Contexts,
    models: Vec<Arc<Model>>,
    /// Of the round that is folded, and of the one before it, which is scored meanwhile.
    rows: [Rows; 2],
    watch: Option<Box<dyn Watch>>,
    cpu_ns: AtomicU64,
}

/// Operations that are folded while those before them are scored.
const ROUND: usize = 2_048;
/// Rows that one thread scores at a time.
const BATCH: usize = 512;
/// So many rows are scored before another thread is awake.
const ALONE_MAX: usize = 1_024;

impl Projection {
    /// Knows these models, and nothing of the past.
    pub fn new(models: Vec<Arc<Model>>) -> Self {
        Self {
            models,
            ..Self::default()
        }
    }

    /// With somebody who looks on.
    #[must_use]
    pub fn watched(self, watch: Box<dyn Watch>) -> Self {
        Self {
            watch: Some(watch),
            ..self
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
        let mut judge = Judge {
            models: &self.models,
            terms,
            began: Instant::now(),
            watch: self.watch.as_mut(),
            cpu_ns: &self.cpu_ns,
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
            let mut fold = || spend(&self.cpu_ns, || contexts.rows(round.operations, folded));
            match before.take() {
                Some(mut before) => {
                    rayon::join(&mut fold, || judge.score(&mut before, scored, reasons));
                }
                // Nothing to do meanwhile: nobody is woken up.
                None => fold(),
            }
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

    fn failed(&self) -> u64 {
        self.models.iter().map(|model| model.failed()).sum()
    }

    fn cpu_ns(&self) -> u64 {
        self.cpu_ns.load(Ordering::Relaxed)
    }
}

/// Adds the processor time that this thread takes for it.
fn spend<T>(cpu_ns: &AtomicU64, work: impl FnOnce() -> T) -> T {
    let began = clock_gettime(ClockId::ThreadCPUTime);
    let done = work();
    let took = Duration::try_from(clock_gettime(ClockId::ThreadCPUTime) - began).unwrap_or_default();
    cpu_ns.fetch_add(
        u64::try_from(took.as_nanos()).unwrap_or(u64::MAX),
        Ordering::Relaxed,
    );
    done
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
    watch: Option<&'a mut Box<dyn Watch>>,
    cpu_ns: &'a AtomicU64,
}

type Reasons = [u8; REASONS];

/// A score, and its reasons if it is high.
type Scored = (u8, Option<Reasons>);

fn find<'a>(models: &'a [Arc<Model>], hash: &Hash) -> Option<&'a Arc<Model>> {
    models.iter().find(|model| model.hash() == *hash)
}

impl Judge<'_> {
    /// A model that may score this candidate.
    fn model(&self, hash: &Hash) -> Option<&Arc<Model>> {
        find(self.models, hash).filter(|model| self.terms.is_decided || model.is_exact())
    }

    /// Sets the scores of a round, and adds the reasons of the high ones. Without a model or time, none.
    fn score(&mut self, round: &mut Round<'_>, rows: &Rows, reasons: &mut Vec<(u32, Reasons)>) {
        let is_late = self.began.elapsed().as_nanos() > u128::from(self.terms.budget_ns);
        let Some(model) = self.model(&self.terms.model).filter(|_| !is_late) else {
            return;
        };
        let (terms, cpu_ns) = (self.terms, self.cpu_ns);
        let operations = round.operations;
        let score = |rows: &[Row], of: &[u32]| {
            let operations: Vec<&Operation> = of.iter().map(|at| operations[index(*at)].operation).collect();
            spend(cpu_ns, || batch(&**model, rows, &operations, terms.reasons_from))
        };
        let mut scored: Vec<Scored> = if rows.rows().len() <= ALONE_MAX {
            score(rows.rows(), rows.of())
        } else {
            let batches = rows.rows().par_chunks(BATCH).zip(rows.of().par_chunks(BATCH));
            let scored: Vec<Vec<Scored>> = batches.map(|(rows, of)| score(rows, of)).collect();
            scored.into_iter().flatten().collect()
        };
        self.ask_others(round, rows, &mut scored);
        for (at, (score, why)) in rows.of().iter().zip(scored) {
            round.scores[index(*at)] = score;
            reasons.extend(why.map(|why| (round.first + at, why)));
        }
        if let Some(watch) = &mut self.watch {
            watch.see(rows, round.operations, round.scores);
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
            let Some(model) = self.model(&model) else {
                continue;
            };
            let some: Vec<Row> = asked.iter().map(|at| rows.rows()[*at]).collect();
            let operation = |at: &usize| round.operations[index(rows.of()[*at])].operation;
            let operations: Vec<&Operation> = asked.iter().map(operation).collect();
            for (at, other) in asked
                .iter()
                .zip(batch(&**model, &some, &operations, self.terms.reasons_from))
            {
                if other.0 > scored[*at].0 {
                    scored[*at] = other;
                }
            }
        }
    }
}

/// Scores rows, and says why where they are high.
fn batch(model: &dyn Predict, rows: &[Row], operations: &[&Operation], reasons_from: u8) -> Vec<Scored> {
    let mut log_odds = Vec::with_capacity(rows.len());
    model.log_odds(rows, operations, &mut log_odds);
    let each = log_odds.iter().zip(rows).zip(operations);
    each.map(|((one, row), operation)| {
        let score = one.score();
        let is_high = (reasons_from..NOT_SCORED).contains(&score);
        (score, is_high.then(|| reasons_of(model, row, operation)))
    })
    .collect()
}

fn reasons_of(model: &dyn Predict, row: &Row, operation: &Operation) -> Reasons {
    let mut codes = [NO_REASON; REASONS];
    for (code, reason) in codes.iter_mut().zip(model.explain(row, operation)) {
        *code = reason.feature;
    }
    codes
}
