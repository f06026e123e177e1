//! Scoring: between the choice of a block and its proposal, by the model that the chain lets decide.

use super::intake::elapsed_ns;
use crate::remember::{is_learnt, learnt, without_refused};
use crate::telemetry::{Metrics, Stage};
use selfchain_engine::commit::{Candidate, Chain};
use selfchain_types::block::BlockResult;
use selfchain_types::envelope::EnvelopeView;
use selfchain_types::receipt::NOT_SCORED;
use selfchain_types::seam::scorer::{Scorer, Terms, Timed};
use selfchain_types::{Hash, Risk, TimeNs, Verified, codec};
use std::sync::Arc;
use std::time::Instant;

/// A scorer, and whether it was told the block under way.
pub struct Scoring {
    scorer: Box<dyn Scorer>,
    budget_ns: u64,
    metrics: Arc<Metrics>,
    is_scored: bool,
    /// A model that is in force and not here, once said.
    missing: Option<Hash>,
}

impl Scoring {
    /// A scorer that knows the past up to the chain's tip. Scoring a block takes no longer than the budget.
    pub fn new(scorer: Box<dyn Scorer>, budget_ns: u64, metrics: Arc<Metrics>) -> Self {
        Self {
            scorer,
            budget_ns,
            metrics,
            is_scored: false,
            missing: None,
        }
    }

    /// The scorer, for snapshots of its memory.
    pub fn scorer(&mut self) -> &mut dyn Scorer {
        &mut *self.scorer
    }

    /// Scores of a next block of these transactions, where a model is in force; `now` is the proposer's clock.
    pub fn score(&mut self, chain: &Chain, envelopes: &[Verified], now: TimeNs) -> Risk {
        self.is_scored = false;
        let Some(model) = chain.ledger().model_at(chain.tip().height.next()) else {
            return Risk::default();
        };
        if envelopes.is_empty() {
            return Risk::default();
        }
        self.look_for(model);
        let began = Instant::now();
        let views: Vec<EnvelopeView<'_>> = envelopes.iter().map(|envelope| envelope.view()).collect();
        let times = chain.ledger().times_of(chain.next_time(&views, now), &views);
        let operations = timed(&views, &times);
        let terms = Terms {
            model,
            reasons_from: chain.ledger().least_threshold(),
            budget_ns: self.budget_ns,
        };
        let mut risk = Risk::default();
        self.scorer.score(&operations, &terms, &mut risk);
        self.is_scored = true;
        let scored = risk.scores.iter().filter(|score| **score != NOT_SCORED).count();
        self.metrics.scored.add(codec::wide(scored));
        self.metrics
            .not_scored
            .add(codec::wide(risk.scores.len() - scored));
        self.metrics.stage(Stage::Score).add_busy(elapsed_ns(began));
        self.metrics
            .stage(Stage::Score)
            .add_items(codec::wide(operations.len()));
        risk
    }

    /// A model that is not here scores nothing: said once, and counted with every block.
    fn look_for(&mut self, model: Hash) {
        if self.scorer.knows(&model) {
            return;
        }
        self.metrics.model_missing.add(1);
        if self.missing != Some(model) {
            self.missing = Some(model);
            tracing::error!(%model, "the model in force is not in the folder `models`: nothing is scored");
        }
    }

    /// Tells the scorer that a candidate was decided, and what came of it.
    pub fn keep(&mut self, candidate: &Candidate, chain: &Chain, result: &BlockResult) {
        let views: Vec<EnvelopeView<'_>> = candidate.envelopes().iter().map(|one| one.view()).collect();
        let has_more = || views.iter().flat_map(|view| view.operations()).any(is_learnt);
        if self.is_scored && !has_more() {
            self.scorer.keep(&[]);
        } else {
            self.tell(chain, candidate, &views, result);
        }
        self.is_scored = false;
        self.metrics
            .contexts_bytes
            .set(codec::wide(self.scorer.memory_bytes()));
    }

    fn tell(
        &mut self,
        chain: &Chain,
        candidate: &Candidate,
        views: &[EnvelopeView<'_>],
        result: &BlockResult,
    ) {
        let times = chain.ledger().times_of(candidate.header().time_ns, views);
        let operations = timed(views, &times);
        if self.is_scored {
            self.scorer.keep(&learnt(&operations, &result.outcomes));
        } else {
            self.scorer
                .observe(&without_refused(&operations, &result.outcomes));
        }
    }
}

/// Operations of a block with their times.
fn timed<'a>(views: &[EnvelopeView<'a>], times: &[TimeNs]) -> Vec<Timed<'a>> {
    let operations = views.iter().flat_map(|view| view.operations());
    let timed = operations.zip(times);
    timed
        .map(|(operation, time)| Timed {
            operation,
            time: *time,
        })
        .collect()
}
