//! The figures: how well log-odds tell fraud from the rest, and whether they mean what they say.

use crate::score::LogOdds;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why rows cannot be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EvaluateError {
    /// There are no rows.
    #[error("there are no rows to judge by")]
    Empty,
    /// Two lists that say something of the same rows differ in length.
    #[error("{first} values go with {second}: there must be one for each row")]
    Lengths {
        /// Values in the first.
        first: usize,
        /// Values in the second.
        second: usize,
    },
    /// All rows are fraud, or none is: there is nothing to tell apart.
    #[error("{positives} of {rows} rows are fraud: both kinds are needed")]
    OneClass {
        /// Rows.
        rows: usize,
        /// Those that are fraud.
        positives: usize,
    },
}

/// Rows from the riskiest to the safest; those of the same log-odds are one step.
///
/// Every figure is taken from the steps, so none depends on the order of rows that a model holds for equal.
/// Making one takes O(n log n), each figure O(n).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranking {
    steps: Vec<Step>,
    positives: usize,
    negatives: usize,
}

/// A value of the log-odds, with the rows that have it or more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The log-odds.
    pub log_odds: LogOdds,
    /// Fraud at these log-odds or above.
    pub positives: usize,
    /// Other rows at these log-odds or above.
    pub negatives: usize,
}

/// The rows of one step alone.
#[derive(Clone, Copy)]
struct Group {
    log_odds: LogOdds,
    positives: usize,
    negatives: usize,
    /// Fraud above it.
    positives_above: usize,
    /// Rows below it.
    below: usize,
}

impl Ranking {
    /// Ranks rows by their log-odds; `labels` say which are fraud.
    pub fn new(log_odds: &[LogOdds], labels: &[bool]) -> Result<Self, EvaluateError> {
        same_length(log_odds.len(), labels.len())?;
        let positives = labels.iter().filter(|label| **label).count();
        let negatives = labels.len() - positives;
        if positives == 0 || negatives == 0 {
            let rows = labels.len();
            return Err(EvaluateError::OneClass { rows, positives });
        }
        let mut rows: Vec<(LogOdds, bool)> = log_odds.iter().copied().zip(labels.iter().copied()).collect();
        rows.sort_unstable_by(|one, other| other.cmp(one));
        Ok(Self {
            steps: steps(&rows),
            positives,
            negatives,
        })
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.positives + self.negatives
    }

    /// Rows that are fraud.
    pub fn positives(&self) -> usize {
        self.positives
    }

    /// The steps, the riskiest first.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The receiver operating characteristic: the rate of false positives and the recall, from (0, 0) to (1, 1),
    /// one point a step.
    pub fn roc(&self) -> impl Iterator<Item = (f64, f64)> {
        let points = self.steps.iter().map(|step| {
            let false_positive_rate = share(step.negatives, self.negatives);
            (false_positive_rate, share(step.positives, self.positives))
        });
        std::iter::once((0.0, 0.0)).chain(points)
    }

    /// Recall and precision of each step, by rising recall.
    pub fn precision_recall(&self) -> impl Iterator<Item = (f64, f64)> {
        self.steps.iter().map(|step| {
            let precision = share(step.positives, step.positives + step.negatives);
            (share(step.positives, self.positives), precision)
        })
    }

    /// Area under the ROC curve: how often fraud has higher log-odds than another row, a tie counting half.
    ///
    /// U / (P·N), where U = Σ over pairs of fraud and another of 1, ½ or 0 (Mann and Whitney, 1947; Hanley and
    /// McNeil, 1982, show that it is the area).
    pub fn roc_auc(&self) -> f64 {
        let won: f64 = self
            .groups()
            .map(|group| real(group.negatives) * (real(group.positives_above) + real(group.positives) / 2.0))
            .sum();
        won / (real(self.positives) * real(self.negatives))
    }

    /// Area under the precision–recall curve, as average precision: Σ (Rₖ − Rₖ₋₁) · Pₖ over the steps, without
    /// interpolation, as `average_precision_score` of scikit-learn has it.
    pub fn average_precision(&self) -> f64 {
        let mut before = 0.0;
        let parts = self.precision_recall().map(|(recall, precision)| {
            let part = (recall - before) * precision;
            before = recall;
            part
        });
        parts.sum()
    }

    /// Recall where this share of the other rows is flagged by mistake: between two points of the ROC curve by
    /// a straight line, on a vertical part its upper end, as `numpy.interp` has it.
    pub fn recall_at(&self, false_positive_rate: f64) -> f64 {
        let mut left = (0.0, 0.0);
        for right in self.roc() {
            if right.0 > false_positive_rate {
                let way = (false_positive_rate - left.0) / (right.0 - left.0);
                return left.1 + (right.1 - left.1) * way.max(0.0);
            }
            left = right;
        }
        left.1
    }

    /// Mean squared error of the probabilities: (1/n) Σ (pᵢ − yᵢ)² (Brier, 1950).
    pub fn brier(&self) -> f64 {
        let errors = self.groups().map(|group| {
            let probability = group.log_odds.probability();
            let of_fraud = real(group.positives) * (1.0 - probability).powi(2);
            of_fraud + real(group.negatives) * probability.powi(2)
        });
        errors.sum::<f64>() / real(self.rows())
    }

    /// Mean surprise in nats: −(1/n) Σ yᵢ ln pᵢ + (1 − yᵢ) ln(1 − pᵢ), taken from the log-odds z as
    /// max(z, 0) − z·y + ln(1 + e^−|z|), which does not overflow and needs no clipping.
    pub fn log_loss(&self) -> f64 {
        let losses = self.groups().map(|group| {
            let odds = group.log_odds.real();
            let rest = (-odds.abs()).exp().ln_1p();
            let of_fraud = real(group.positives) * ((-odds).max(0.0) + rest);
            of_fraud + real(group.negatives) * (odds.max(0.0) + rest)
        });
        losses.sum::<f64>() / real(self.rows())
    }

    /// Reliability: the rows in [`BINS`] bins of equal count by rising probability (DeGroot and
    /// Fienberg, 1983). Rows of the same log-odds stay together, in the bin where the first of them falls, so
    /// bins are as equal as ties allow; empty ones are left out.
    pub fn calibration(&self) -> Vec<CalibrationBin> {
        let mut bins = [CalibrationBin::default(); BINS];
        for group in self.groups() {
            let bin = &mut bins[group.below * BINS / self.rows()];
            bin.count += group.rows();
            bin.probability += group.log_odds.probability() * real(group.rows());
            bin.observed += real(group.positives);
        }
        let mut filled: Vec<_> = bins.into_iter().filter(|bin| bin.count > 0).collect();
        filled.iter_mut().for_each(CalibrationBin::divide);
        filled
    }

    /// What is flagged when rows of this score or more are.
    pub fn flagged(&self, score: u8) -> Flagged {
        let at = self.steps.partition_point(|step| step.log_odds.score() >= score);
        let (hits, false_alarms) = self.steps[..at]
            .last()
            .map_or((0, 0), |step| (step.positives, step.negatives));
        Flagged {
            score,
            hits,
            false_alarms,
            missed: self.positives - hits,
        }
    }

    /// Every step alone, the safest first.
    fn groups(&self) -> impl Iterator<Item = Group> {
        (0..self.steps.len()).rev().map(|at| {
            let step = self.steps[at];
            let (positives_above, negatives_above) = match at.checked_sub(1) {
                Some(above) => (self.steps[above].positives, self.steps[above].negatives),
                None => (0, 0),
            };
            Group {
                log_odds: step.log_odds,
                positives: step.positives - positives_above,
                negatives: step.negatives - negatives_above,
                positives_above,
                below: self.rows() - step.positives - step.negatives,
            }
        })
    }
}

impl Group {
    fn rows(&self) -> usize {
        self.positives + self.negatives
    }
}

/// The steps of rows that are in order.
fn steps(rows: &[(LogOdds, bool)]) -> Vec<Step> {
    let (mut positives, mut negatives) = (0, 0);
    let groups = rows.chunk_by(|one, other| one.0 == other.0).map(|group| {
        let fraud = group.iter().filter(|(_, is_fraud)| *is_fraud).count();
        positives += fraud;
        negatives += group.len() - fraud;
        Step {
            log_odds: group[0].0,
            positives,
            negatives,
        }
    });
    groups.collect()
}

/// Bins of a calibration, and of histograms that are compared.
pub const BINS: usize = 10;

/// Rows of about the same probability: whether it is what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Their mean probability of fraud, as the model says.
    pub probability: f64,
    /// The share of them that is fraud.
    pub observed: f64,
    /// How many they are.
    pub count: usize,
}

impl CalibrationBin {
    /// From sums to means.
    fn divide(&mut self) {
        self.probability /= real(self.count);
        self.observed /= real(self.count);
    }
}

/// Expected calibration error: Σ (nₖ/n) · |mean probability − observed rate| over the bins (Naeini, Cooper and
/// Hauskrecht, 2015; theirs are of equal width).
pub fn calibration_error(bins: &[CalibrationBin]) -> f64 {
    let rows: usize = bins.iter().map(|bin| bin.count).sum();
    let gaps = bins
        .iter()
        .map(|bin| share(bin.count, rows) * (bin.probability - bin.observed).abs());
    gaps.sum()
}

/// What came of flagging rows from a score on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flagged {
    /// The score.
    pub score: u8,
    /// Fraud that was flagged.
    pub hits: usize,
    /// Other rows that were flagged.
    pub false_alarms: usize,
    /// Fraud that was not.
    pub missed: usize,
}

impl Flagged {
    /// The share of what was flagged that is fraud; 0 where nothing was flagged.
    pub fn precision(&self) -> f64 {
        share(self.hits, self.hits + self.false_alarms)
    }

    /// The share of fraud that was flagged.
    pub fn recall(&self) -> f64 {
        share(self.hits, self.hits + self.missed)
    }

    /// Their harmonic mean, 2·hits / (2·hits + false alarms + missed) (van Rijsbergen, 1979).
    pub fn f1(&self) -> f64 {
        share(2 * self.hits, 2 * self.hits + self.false_alarms + self.missed)
    }
}

/// The least share of a bin when histograms are compared, so that an empty one has a logarithm.
pub const SHARE_FLOOR: f64 = 1e-4;

/// Population stability index: Σ (aₖ − bₖ) · ln(aₖ / bₖ) over ten bins that the deciles of `before` bound,
/// where a and b are the shares of `before` and `after` in bin k, at least [`SHARE_FLOOR`]. It is the symmetric
/// divergence of Jeffreys; by custom (Siddiqi, 2006) below 0.1 is no change and above 0.25 a great one.
pub fn population_stability(before: &[LogOdds], after: &[LogOdds]) -> Result<f64, EvaluateError> {
    if before.is_empty() || after.is_empty() {
        return Err(EvaluateError::Empty);
    }
    let edges = deciles(before);
    let (before, after) = (shares(before, &edges), shares(after, &edges));
    let parts = before.iter().zip(after).map(|(a, b)| (a - b) * (a / b).ln());
    Ok(parts.sum())
}

/// The greatest value of each tenth but the last.
fn deciles(values: &[LogOdds]) -> [LogOdds; BINS - 1] {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    std::array::from_fn(|at| sorted[((at + 1) * sorted.len()).div_ceil(BINS) - 1])
}

fn shares(values: &[LogOdds], edges: &[LogOdds]) -> [f64; BINS] {
    let mut counts = [0; BINS];
    for value in values {
        counts[edges.partition_point(|edge| edge < value)] += 1;
    }
    counts.map(|count| share(count, values.len()).max(SHARE_FLOOR))
}

/// The share of rows that one of two models flags from this score on and the other does not.
pub fn disagreement(one: &[LogOdds], other: &[LogOdds], score: u8) -> Result<f64, EvaluateError> {
    same_length(one.len(), other.len())?;
    let is_flagged = |log_odds: &LogOdds| log_odds.score() >= score;
    let pairs = one.iter().zip(other);
    let split = pairs.filter(|(one, other)| is_flagged(one) != is_flagged(other));
    Ok(share(split.count(), one.len()))
}

fn same_length(first: usize, second: usize) -> Result<(), EvaluateError> {
    match (first, second) {
        (0, 0) => Err(EvaluateError::Empty),
        _ if first == second => Ok(()),
        _ => Err(EvaluateError::Lengths { first, second }),
    }
}

/// `part` of `whole`; of nothing it is 0.
pub(super) fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { real(part) / real(whole) }
}

#[allow(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "counts of rows are far below 2^53"
)]
pub(super) fn real(count: usize) -> f64 {
    count as f64
}
