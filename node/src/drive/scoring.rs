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

/// Which candidate is scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The only validator's own, which is decided for certain.
    Decided,
    /// One of this validator's own, of several: within the budget all of it is scored, else nothing.
    Own,
    /// Another validator's, to be judged.
    Others,
}

/// What of a next block a validator of several can score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// All that any other can.
    Whole,
    /// All but the opinions of some models that accounts prefer.
    Part,
    /// The model in force is here and not exact: nobody's scores count.
    Inexact,
    /// The model in force is not here.
    Blind,
}

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
        metrics.score_budget_ns.set(budget_ns);
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

    /// Scores of a next block of these transactions, where a model is in force; `now` is the proposer's clock. The
    /// block is decided for certain: one validator orders.
    pub fn score(&mut self, chain: &Chain, envelopes: &[Verified], now: TimeNs) -> Risk {
        let ledger = chain.ledger();
        let models = ledger.models_named_at(chain.tip().height.next());
        if !envelopes.is_empty() {
            models.iter().for_each(|model| self.look_for(*model, true));
        }
        let views: Vec<EnvelopeView<'_>> = envelopes.iter().map(|envelope| envelope.view()).collect();
        let time = chain.next_time(&views, now);
        let risk = self.score_views(chain, &views, time, Asked::Decided, true);
        self.count(chain, &risk);
        risk
    }

    /// Scores a next block of these transactions and this time; models that accounts prefer are heard if they are
    /// asked. Without a model in force, or transactions, nothing is scored, and [`Self::is_scored`] says so.
    pub(crate) fn score_views(
        &mut self,
        chain: &Chain,
        views: &[EnvelopeView<'_>],
        time: TimeNs,
        asked: Asked,
        asks_preferred: bool,
    ) -> Risk {
        self.is_scored = false;
        let mut risk = Risk::default();
        let ledger = chain.ledger();
        let Some(model) = ledger.model_at(chain.tip().height.next()) else {
            return risk;
        };
        if views.is_empty() {
            return risk;
        }
        let began = Instant::now();
        let times = ledger.times_of(time, views);
        let operations = timed(views, &times);
        let preferred = if asks_preferred {
            preferred(chain, &operations)
        } else {
            Vec::new()
        };
        let terms = Terms {
            model,
            preferred: &preferred,
            reasons_from: ledger.least_threshold(),
            budget_ns: match asked {
                Asked::Decided | Asked::Own => self.budget_ns,
                // Whoever judges takes its time: a slow machine must not find invalid what a fast one made.
                Asked::Others => u64::MAX,
            },
            is_decided: asked == Asked::Decided,
        };
        self.scorer.score(&operations, &terms, &mut risk);
        self.is_scored = true;
        self.is_all_scored = !risk.scores.contains(&NOT_SCORED);
        let took = elapsed_ns(began);
        self.metrics.stage(Stage::Score).add_busy(took);
        self.metrics
            .stage(Stage::Score)
            .add_items(codec::wide(operations.len()));
        self.metrics.score_blocks.add(1);
        // The scorer began after this did: within the budget here, nothing was left out there.
        let is_late = asked != Asked::Others && took > self.budget_ns;
        self.metrics.score_late.add(u64::from(is_late));
        if is_late && asked == Asked::Own {
            return Risk::default();
        }
        risk
    }

    /// Whether the candidate last asked about was scored, and may be kept.
    pub(crate) fn is_scored(&self) -> bool {
        self.is_scored
    }

    /// Another block is decided than the one that was scored last.
    pub(crate) fn pass_over(&mut self) {
        self.is_scored = false;
    }

    /// What of a next block can be scored here, where several validators decide: by the exact model in force, and
    /// whether with every other model that accounts prefer. What is missing is said once, and counted each time.
    pub(crate) fn sight(&mut self, chain: &Chain) -> Sight {
        let next = chain.tip().height.next();
        let Some(model) = chain.ledger().model_at(next) else {
            return Sight::Whole;
        };
        let named = chain.ledger().models_named_at(next);
        named.iter().for_each(|model| self.look_for(*model, false));
        if !self.scorer.knows(&model) {
            Sight::Blind
        } else if !self.scorer.is_exact(&model) {
            Sight::Inexact
        } else if named.iter().all(|model| self.scorer.knows(model)) {
            Sight::Whole
        } else {
            Sight::Part
        }
    }

    /// The operations of a candidate about which another model is asked too, by position.
    pub(crate) fn preferred(chain: &Chain, views: &[EnvelopeView<'_>], time: TimeNs) -> Vec<u32> {
        let times = chain.ledger().times_of(time, views);
        let preferred = preferred(chain, &timed(views, &times));
        preferred.into_iter().map(|(at, _)| at).collect()
    }

    /// Counts a decided block's scores.
    pub(crate) fn count(&self, chain: &Chain, risk: &Risk) {
        if risk.scores.is_empty() {
            return;
        }
        let scored = risk.scores.iter().filter(|score| **score != NOT_SCORED).count();
        let threshold = chain.ledger().chain_policy();
        self.metrics
            .scores
            .decided(&risk.scores, threshold.hold.min(threshold.reject));
        self.metrics.scored.add(codec::wide(scored));
        self.metrics
            .not_scored
            .add(codec::wide(risk.scores.len() - scored));
    }

    /// What it counts.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
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
