//! Glance: what the log says of scores so far, read a little at a time beside the stream.

use super::events::{LiveScores, SPREAD};
use selfchain_ai::explain::words;
use selfchain_types::block::{BlockResult, Body, Row};
use selfchain_types::codec::DecodeError;
use selfchain_types::envelope::EnvelopeView;
use selfchain_types::receipt::NOT_SCORED;
use selfchain_types::seam::log::LogReader;
use selfchain_types::{Kind, Operation, OperationFlags, Outcome, Risk};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Follows the log, and adds scores up.
pub(super) struct Glance {
    log: Arc<dyn LogReader>,
    next: u64,
    seen: Seen,
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Seen {
    transfers: u64,
    scored: u64,
    sum: u64,
    spread: [u64; SPREAD],
    /// How often a reason was among those of a held transfer.
    reasons: BTreeMap<u8, u64>,
}

/// Blocks that are read at one look: what is left is for the next.
const BLOCKS_MAX: u64 = 1_024;
/// Scores of one bar of the spread: log-odds of one.
const BAR: u8 = 16;
/// Reasons that are told.
const REASONS_TOLD: usize = 3;

impl Glance {
    /// From the block after the newest on.
    pub(super) fn new(log: Arc<dyn LogReader>) -> Self {
        Self {
            next: log.tip().unwrap_or(0) + 1,
            log,
            seen: Seen::default(),
        }
    }

    /// Reads on. A block that cannot be read now is tried at the next look: the check at the end reads all.
    pub(super) fn look(&mut self) {
        let tip = self.log.tip().unwrap_or(0);
        for height in self.next..=tip.min(self.next + BLOCKS_MAX) {
            let Ok(row) = self.log.read(height) else { return };
            if let Err(error) = self.seen.add(&row) {
                tracing::debug!(height, error = %error, "a block's scores are not shown");
            }
            self.next = height + 1;
        }
    }

    /// What was seen, with so many released and voided.
    pub(super) fn scores(&self, held: u64, released: u64, voided: u64) -> LiveScores {
        let mut reasons: Vec<(u64, u8)> = self
            .seen
            .reasons
            .iter()
            .map(|(code, count)| (*count, *code))
            .collect();
        reasons.sort_by(|left, right| right.0.cmp(&left.0).then(left.1.cmp(&right.1)));
        let named = reasons
            .iter()
            .filter_map(|(count, code)| Some((words(*code)?, *count)));
        LiveScores {
            transfers: self.seen.transfers,
            scored: self.seen.scored,
            sum: self.seen.sum,
            spread: self.seen.spread,
            open: held.saturating_sub(released + voided),
            released,
            voided,
            reasons: named.take(REASONS_TOLD).collect(),
        }
    }
}

impl Seen {
    fn add(&mut self, row: &[u8]) -> Result<(), DecodeError> {
        let row = Row::decode(row)?;
        let body = Body::decode(row.body)?;
        let (result, risk) = (
            BlockResult::decode(row.result)?,
            Risk::decode(body.scores, body.reasons)?,
        );
        let views = body
            .envelopes
            .iter()
            .filter_map(|bytes| EnvelopeView::new(bytes).ok());
        self.add_operations(views.flat_map(|view| view.operations()), &result.outcomes, &risk);
        Ok(())
    }

    fn add_operations<'a>(
        &mut self,
        operations: impl Iterator<Item = &'a Operation>,
        outcomes: &[u16],
        risk: &Risk,
    ) {
        for ((position, operation), outcome) in (0_u32..).zip(operations).zip(outcomes) {
            if !is_judged(operation) {
                continue;
            }
            self.transfers += 1;
            self.count(risk.score(position));
            if *outcome == Outcome::Held.code() {
                for reason in risk.reasons(position) {
                    *self.reasons.entry(reason).or_default() += 1;
                }
            }
        }
    }

    fn count(&mut self, score: u8) {
        if score == NOT_SCORED {
            return;
        }
        self.scored += 1;
        self.sum += u64::from(score);
        self.spread[usize::from(score / BAR)] += 1;
    }
}

/// Whether scores speak of it: a transfer that moves or reserves an amount, and does not settle.
fn is_judged(operation: &Operation) -> bool {
    let settles = OperationFlags::POST.with(OperationFlags::VOID).0;
    operation.kind == Kind::Transfer.code() && operation.flags.get() & settles == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfchain_types::{AccountId, Amount, AssetId};

    #[test]
    fn scores_are_counted_for_transfers_and_reasons_for_what_is_held() {
        let transfer = |id| Operation::transfer(id, AccountId(1), AccountId(2), Amount(1), AssetId(1));
        let operations = [
            transfer(1),
            transfer(2),
            Operation::post(3, 9, Amount::MAX),
            transfer(4),
        ];
        let outcomes = [Outcome::Ok, Outcome::Held, Outcome::Ok, Outcome::Ok].map(Outcome::code);
        let risk = Risk {
            scores: vec![10, 250, NOT_SCORED, NOT_SCORED],
            reasons: vec![(0, [7, 8, 255]), (1, [7, 9, 255])],
        };
        let mut seen = Seen::default();
        seen.add_operations(operations.iter(), &outcomes, &risk);
        assert_eq!((seen.transfers, seen.scored, seen.sum), (3, 2, 260));
        assert_eq!((seen.spread[0], seen.spread[15]), (1, 1));
        assert_eq!(seen.reasons, BTreeMap::from([(7, 1), (9, 1), (255, 1)]));
    }
}
