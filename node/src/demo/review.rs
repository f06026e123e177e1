//! Review: follows the rows of a file that is scored, and settles those that are held.

use super::fold::Fold;
use super::options::REVIEW_AFTER_S;
use super::source::Batch;
use crate::input::Row;
use selfchain_types::message::Committed;
use selfchain_types::policy::hold_id;
use selfchain_types::time::NS_PER_S;
use selfchain_types::{Amount, Operation, Outcome, codec};
use std::collections::{BTreeMap, VecDeque};

/// Held rows, and what became of them.
#[derive(Debug, Default)]
pub(super) struct Reviews {
    /// What was sent and is not answered, in order.
    sent: VecDeque<Sent>,
    /// What is held and not yet settled, in order.
    waiting: VecDeque<Held>,
    settlements: u64,
    /// Whether ledger time is the blocks', and operations bring none.
    is_clocked: bool,
    last_s: u64,
    /// Rows that are labelled as fraud, by their number from 1.
    labels: Vec<bool>,
    pub(super) held: u64,
    pub(super) held_bad: u64,
    pub(super) released: u64,
    pub(super) voided: u64,
}

#[derive(Clone, Copy, Debug)]
enum Sent {
    Row(Row),
    Settlement(Row, bool),
}

#[derive(Clone, Copy, Debug)]
struct Held {
    id: u128,
    row: Row,
}

/// Operations of a batch from which on no settlement is added.
const BATCH_LEN_MAX: usize = 2_048;
/// Added to the number of a settlement for the id of its operation.
const SETTLEMENT: u128 = 1 << 65;

impl Reviews {
    /// Nothing is sent yet. `keeps_time`: whether settlements have the file's time, as its rows do.
    pub(super) fn new(keeps_time: bool) -> Self {
        Self {
            is_clocked: !keeps_time,
            ..Self::default()
        }
    }

    /// Whether each row is labelled as fraud, in the order of the file.
    pub(super) fn labels(&self) -> &[bool] {
        &self.labels
    }

    /// A row is sent.
    pub(super) fn sent(&mut self, row: Row) {
        self.last_s = self.last_s.max(row.time_s);
        self.labels.push(row.label.is_bad());
        self.sent.push_back(Sent::Row(row));
    }

    /// Puts settlements that are due at a row's time before it.
    pub(super) fn settle_due(&mut self, row: &Row, batch: &mut Batch) {
        while let Some(held) = self.waiting.front().copied() {
            let is_due = row.time_s >= held.row.time_s.saturating_add(REVIEW_AFTER_S);
            if !is_due || batch.operations.len() >= BATCH_LEN_MAX {
                return;
            }
            self.waiting.pop_front();
            self.settle(held, row.time_s, batch);
        }
    }

    fn settle(&mut self, held: Held, time_s: u64, batch: &mut Batch) {
        self.settlements += 1;
        let id = SETTLEMENT | u128::from(self.settlements);
        let is_released = !held.row.label.is_bad();
        let mut operation = if is_released {
            Operation::post(id, held.id, Amount::MAX)
        } else {
            Operation::void(id, held.id)
        };
        if !self.is_clocked {
            operation.effective_ns = (time_s * NS_PER_S).into();
        }
        batch.operations.push(operation);
        batch.reviews += 1;
        self.sent.push_back(Sent::Settlement(held.row, is_released));
    }

    /// Hears what became of a batch; how many answers the fold contradicts.
    pub(super) fn answered(&mut self, batch: &Batch, committed: &Committed, fold: &mut Fold) -> u64 {
        let refused = committed.refused.iter().map(|(at, outcome, _)| (*at, *outcome));
        let refused: BTreeMap<u32, Outcome> = refused.collect();
        let mut mismatched = 0;
        for at in 0..codec::narrow(batch.operations.len()) {
            let outcome = refused.get(&at).copied().unwrap_or(Outcome::Ok);
            let fits = match self.sent.pop_front() {
                Some(Sent::Row(row)) if outcome == Outcome::Held => {
                    let id = hold_id(&batch.tx_id, at);
                    self.waiting.push_back(Held { id, row });
                    self.held += 1;
                    self.held_bad += u64::from(row.label.is_bad());
                    fold.hold(&row)
                }
                Some(Sent::Row(row)) => fold.apply(&row) == outcome,
                Some(Sent::Settlement(row, is_released)) => {
                    fold.settle(&row, is_released);
                    self.released += u64::from(is_released);
                    self.voided += u64::from(!is_released);
                    outcome == Outcome::Ok
                }
                None => false,
            };
            mismatched += u64::from(!fits);
        }
        mismatched
    }

    /// Settlements that are left at the end, at most so many.
    pub(super) fn closing(&mut self, most: usize) -> Option<Batch> {
        let mut batch = Batch::default();
        while batch.operations.len() < most {
            let Some(held) = self.waiting.pop_front() else {
                break;
            };
            self.settle(held, self.last_s, &mut batch);
        }
        (!batch.operations.is_empty()).then_some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::Label;
    use selfchain_types::{Hash, Height, TimeNs};

    fn row(time_s: u64, is_bad: bool) -> Row {
        Row {
            line: 2,
            time_s,
            from: 1,
            to: 2,
            amount: 10,
            label: Label {
                to_bad: is_bad,
                ..Label::default()
            },
        }
    }

    fn committed(operations: u32, outcomes: &[(u32, Outcome)]) -> Committed {
        Committed {
            duplicate: false,
            height: Height(1),
            index: 0,
            time_ns: TimeNs(1),
            operations,
            refused: outcomes
                .iter()
                .map(|(at, outcome)| (*at, *outcome, None))
                .collect(),
            balances: Vec::new(),
        }
    }

    #[test]
    fn held_rows_are_settled_a_day_later_by_their_labels() {
        let (mut reviews, mut fold) = (Reviews::default(), Fold::default());
        fold.open(1, 30);
        let mut batch = Batch {
            tx_id: Hash([4; 32]),
            ..Batch::default()
        };
        for next in [row(100, true), row(100, false), row(100, false)] {
            reviews.settle_due(&next, &mut batch);
            reviews.sent(next);
            batch.operations.push(Operation::default());
        }
        let answer = committed(3, &[(0, Outcome::Held), (1, Outcome::Held)]);
        assert_eq!(reviews.answered(&batch, &answer, &mut fold), 0);
        assert_eq!((fold.balance(1), fold.balance(2)), (0, 10));
        let mut later = Batch::default();
        reviews.settle_due(&row(100 + REVIEW_AFTER_S - 1, false), &mut later);
        assert!(later.operations.is_empty());
        reviews.settle_due(&row(100 + REVIEW_AFTER_S, false), &mut later);
        assert_eq!((later.operations.len(), later.reviews), (2, 2));
        assert_eq!(later.operations[0].pending.get(), hold_id(&Hash([4; 32]), 0));
        assert_eq!(reviews.answered(&later, &committed(2, &[]), &mut fold), 0);
        assert_eq!((fold.balance(1), fold.balance(2)), (10, 20));
        assert_eq!(
            (reviews.held, reviews.held_bad, reviews.released, reviews.voided),
            (2, 1, 1, 1)
        );
        assert!(reviews.closing(9).is_none());
    }

    #[test]
    fn an_answer_that_the_fold_contradicts_is_counted() {
        let (mut reviews, mut fold) = (Reviews::default(), Fold::default());
        let batch = Batch {
            operations: vec![Operation::default(); 2],
            ..Batch::default()
        };
        reviews.sent(row(1, false));
        reviews.sent(row(2, false));
        let answer = committed(2, &[(0, Outcome::Held)]);
        assert_eq!(
            reviews.answered(&batch, &answer, &mut fold),
            2,
            "account 1 has nothing"
        );
    }
}
