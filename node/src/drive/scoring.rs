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
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

/// A scorer, and whether it was told the block under way.
pub struct Scoring {
    scorer: Box<dyn Scorer>,
    budget_ns: u64,
    metrics: Arc<Metrics>,
    is_scored: bool,
    /// Whether every operation of it got a score: then none is a report or a new asset.
    is_all_scored: bool,
    /// Models that blocks name and that score nothing, once said.
    missing: BTreeSet<Hash>,
}

impl Scoring {
    /// A scorer that knows the past up to the chain's tip. Scoring a block takes no longer than the budget.
    pub fn new(scorer: Box<dyn Scorer>, budget_ns: u64, metrics: Arc<Metrics>) -> Self {
        Self {
            scorer,
            budget_ns,
            metrics,
            is_scored: false,
            is_all_scored: false,
            missing: BTreeSet::new(),
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
        let is_decided = chain.genesis().validators.len() == 1;
        chain
            .ledger()
            .models_named_at(chain.tip().height.next())
            .iter()
            .for_each(|model| self.look_for(*model, is_decided));
        let began = Instant::now();
        let views: Vec<EnvelopeView<'_>> = envelopes.iter().map(|envelope| envelope.view()).collect();
        let times = chain.ledger().times_of(chain.next_time(&views, now), &views);
        let operations = timed(&views, &times);
        let terms = Terms {
            model,
            preferred: &preferred(chain, &operations),
            reasons_from: chain.ledger().least_threshold(),
            budget_ns: self.budget_ns,
            is_decided,
        };
        let mut risk = Risk::default();
        self.scorer.score(&operations, &terms, &mut risk);
        self.is_scored = true;
        let scored = risk.scores.iter().filter(|score| **score != NOT_SCORED).count();
        let threshold = chain.ledger().chain_policy();
        self.metrics
            .scores
            .decided(&risk.scores, threshold.hold.min(threshold.reject));
        self.is_all_scored = scored == risk.scores.len();
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

    /// A model that is not here, or not exact where several validators decide, scores nothing: said once, and counted
    /// with every block.
    fn look_for(&mut self, model: Hash, is_decided: bool) {
        let is_here = self.scorer.knows(&model);
        if is_here && (is_decided || self.scorer.is_exact(&model)) {
            return;
        }
        self.metrics.model_missing.add(1);
        if !self.missing.insert(model) {
            return;
        }
        if is_here {
            tracing::error!(%model, "a model in force is not exact, and there are several validators: it scores nothing");
        } else {
            tracing::error!(%model, "a model in force is not in the folder `models`: it scores nothing");
        }
    }

    /// Tells the scorer that a candidate was decided, and what came of it.
    pub fn keep(&mut self, candidate: &Candidate, chain: &Chain, result: &BlockResult) {
        let views = || candidate.envelopes().iter().map(|one| one.view());
        let has_more = || views().any(|view| view.operations().iter().any(is_learnt));
        if self.is_scored && (self.is_all_scored || !has_more()) {
            self.scorer.keep(&[]);
        } else {
            self.tell(chain, candidate, &views().collect::<Vec<_>>(), result);
        }
        self.is_scored = false;
        self.metrics
            .contexts_bytes
            .set(codec::wide(self.scorer.memory_bytes()));
        self.metrics.score_cpu_ns.set(self.scorer.cpu_ns());
        self.metrics.score_failed.set(self.scorer.failed());
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

/// The operations of a next block about which another model is asked too, by position.
fn preferred(chain: &Chain, operations: &[Timed<'_>]) -> Vec<(u32, Hash)> {
    let ledger = chain.ledger();
    if !ledger.has_preferred_models() {
        return Vec::new();
    }
    let height = chain.tip().height.next();
    let asked = (0..).zip(operations).filter_map(|(at, timed)| {
        let model = ledger.preferred_model(timed.operation.debit_account(), height)?;
        Some((at, model))
    });
    asked.collect()
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
