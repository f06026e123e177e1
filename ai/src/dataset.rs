//! Rows with their labels: what models are trained on and judged by.

use crate::features::{FEATURE_COUNT, Row};
use crate::model::Predict;
use crate::score::LogOdds;
use selfchain_types::Operation;

/// Rows of transfers in the order of the log, with what is known of each.
#[derive(Clone, Debug, Default)]
pub struct Dataset {
    /// What models see.
    pub rows: Vec<Row>,
    /// The transfers that they describe: rules look at them too.
    pub operations: Vec<Operation>,
    /// Whether the transfer is fraud.
    pub labels: Vec<bool>,
    /// Ledger time in seconds.
    pub times: Vec<u64>,
    /// The account that makes it fraud, where one is to blame; else 0. Tells whether a bad account was seen in
    /// training.
    pub culprits: Vec<u128>,
}

impl Dataset {
    /// Rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds one.
    pub fn push(&mut self, row: Row, operation: Operation, label: bool, time: u64, culprit: u128) {
        self.rows.push(row);
        self.operations.push(operation);
        self.labels.push(label);
        self.times.push(time);
        self.culprits.push(culprit);
    }

    /// Adds all of another's.
    pub fn append(&mut self, other: &Self) {
        self.rows.extend_from_slice(&other.rows);
        self.operations.extend_from_slice(&other.operations);
        self.labels.extend_from_slice(&other.labels);
        self.times.extend_from_slice(&other.times);
        self.culprits.extend_from_slice(&other.culprits);
    }

    /// What a model says of every row.
    pub fn scored_by(&self, model: &dyn Predict) -> Vec<LogOdds> {
        let operations: Vec<&Operation> = self.operations.iter().collect();
        let mut scores = Vec::with_capacity(self.len());
        model.log_odds(&self.rows, &operations, &mut scores);
        scores
    }

    /// Fraudulent rows.
    pub fn positives(&self) -> usize {
        self.labels.iter().filter(|label| **label).count()
    }

    /// The rows that `keep` says, by position.
    pub fn select(&self, keep: impl Fn(usize) -> bool) -> Self {
        let mut some = Self::default();
        for at in (0..self.len()).filter(|at| keep(*at)) {
            let (label, time, culprit) = (self.labels[at], self.times[at], self.culprits[at]);
            some.push(self.rows[at], self.operations[at], label, time, culprit);
        }
        some
    }

    /// The earlier part, of `share` of the rows, and the rest. The rows keep the order of time, so that nothing is
    /// learnt from what comes after.
    pub fn split(&self, share: f64) -> (Self, Self) {
        let cut = self.cut(share);
        (self.select(|at| at < cut), self.select(|at| at >= cut))
    }

    #[allow(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a count, clamped to it"
    )]
    fn cut(&self, share: f64) -> usize {
        ((self.len() as f64 * share.clamp(0.0, 1.0)) as usize).min(self.len())
    }

    /// The same without the fraud of accounts that `seen` has fraud of: what is left to stop early by, since
    /// accounts that carry over flatter a model.
    pub fn without_known_culprits(&self, seen: &Self) -> Self {
        let known: std::collections::BTreeSet<u128> = seen
            .culprits
            .iter()
            .copied()
            .filter(|culprit| *culprit != 0)
            .collect();
        self.select(|at| !self.labels[at] || !known.contains(&self.culprits[at]))
    }

    /// The median of every feature.
    pub fn typical(&self) -> Row {
        let mut typical = Row([0; FEATURE_COUNT]);
        if self.is_empty() {
            return typical;
        }
        for (feature, value) in typical.0.iter_mut().enumerate() {
            let mut column: Vec<i32> = self.rows.iter().map(|row| row.0[feature]).collect();
            let middle = column.len() / 2;
            *value = *column.select_nth_unstable(middle).1;
        }
        typical
    }
}
