//! Scores: what the log says of every row of a file, against its labels.

use super::review::Reviews;
use super::summary::{HeldReport, LabelReport};
use crate::recover::for_each_prepared;
use crate::store::StoreError;
use selfchain_ai::evaluate::{Evaluation, Ranking};
use selfchain_ai::explain::words;
use selfchain_ai::score::LogOdds;
use selfchain_storage::{Disk, LogConfig, SegmentLog, StorageMetrics};
use selfchain_types::receipt::NOT_SCORED;
use selfchain_types::seam::log::Log;
use selfchain_types::{Height, Outcome};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the log says of the rows.
#[derive(Debug, Default)]
pub(super) struct Scores {
    log_odds: Vec<LogOdds>,
    labels: Vec<bool>,
    reasons: BTreeMap<u8, u64>,
}

impl Scores {
    /// Reads the log of a stopped node. Rows are known by the ids of their operations: their numbers from 1.
    pub(super) fn read(disk: Arc<dyn Disk>, labels: &[bool]) -> Result<Self, StoreError> {
        let log = SegmentLog::open(disk, LogConfig::default(), Arc::new(StorageMetrics::default()))?;
        let reader = log.reader();
        let tip = Height(reader.tip().unwrap_or(0));
        let mut scores = Self::default();
        for_each_prepared(&*reader, Height(1), tip, &mut |block, _| {
            let operations = block.views().iter().flat_map(|view| view.operations());
            for ((position, operation), outcome) in (0_u32..).zip(operations).zip(&block.result().outcomes) {
                let score = block.risk().score(position);
                let row = usize::try_from(operation.id.get())
                    .ok()
                    .and_then(|id| id.checked_sub(1));
                let label = row.and_then(|row| labels.get(row));
                if let Some(label) = label.filter(|_| score != NOT_SCORED) {
                    scores.log_odds.push(LogOdds::of_score(score));
                    scores.labels.push(*label);
                }
                if *outcome == Outcome::Held.code() {
                    for reason in block.risk().reasons(position) {
                        *scores.reasons.entry(reason).or_default() += 1;
                    }
                }
            }
            Ok(())
        })?;
        Ok(scores)
    }

    /// What was held, and why most often.
    pub(super) fn held(&self, reviews: &Reviews) -> HeldReport {
        let mut reasons: Vec<(u64, &'static str)> = self
            .reasons
            .iter()
            .filter_map(|(code, count)| Some((*count, words(*code)?)))
            .collect();
        reasons.sort_by(|left, right| right.cmp(left));
        HeldReport {
            count: reviews.held,
            released: reviews.released,
            voided: reviews.voided,
            reasons: reasons
                .iter()
                .take(REASONS_SHOWN)
                .map(|(count, words)| ((*words).to_owned(), *count))
                .collect(),
        }
    }

    /// How well scores and holds tell the labels; `None` where all labels are the same.
    pub(super) fn labels(&self, reviews: &Reviews, hold: u8) -> Option<LabelReport> {
        let ranking = Ranking::new(&self.log_odds, &self.labels).ok()?;
        let evaluation = Evaluation::of(&ranking, hold);
        let bad = self.labels.iter().filter(|label| **label).count();
        let share = |part: u64, whole: u64| super::summary::share(part, whole);
        Some(LabelReport {
            rows: selfchain_types::codec::wide(self.labels.len()),
            bad: selfchain_types::codec::wide(bad),
            precision: share(reviews.held_bad, reviews.held),
            recall: share(reviews.held_bad, selfchain_types::codec::wide(bad)),
            roc_auc: evaluation.roc_auc,
            pr_auc: evaluation.average_precision,
            recall_at_1pct_fpr: evaluation.recall_at_percent,
        })
    }
}

/// Reasons that a summary shows at most.
const REASONS_SHOWN: usize = 5;
