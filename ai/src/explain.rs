//! Why a score is what it is: the features without which it would be lower.
//!
//! Each feature in turn is set to what is typical, and the score computed anew ("occlusion"): it works the same
//! for every kind of model that learns, in integers where the model is exact. Rules say themselves why they fired.

use crate::features::{FEATURE_COUNT, FEATURES, Row};
use crate::model::Predict;
use crate::score::LogOdds;
use selfchain_types::Operation;

/// A feature that raises a score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The feature's number in a row, or [`SENDER_LISTED`] or [`RECEIVER_LISTED`].
    pub feature: u8,
    /// By how much the score is higher than with a typical value; of rules, by how much the strongest that asks for
    /// the feature raises it.
    pub raises: LogOdds,
}

impl Reason {
    /// What a reviewer reads.
    pub fn words(&self) -> &'static str {
        words(self.feature).unwrap_or("")
    }
}

/// The reason's code where a rule asks for the sender in a list.
pub const SENDER_LISTED: u8 = 254;
/// The same of the receiver.
pub const RECEIVER_LISTED: u8 = 253;

/// What a reason's code says; `None` for one that is no reason's.
pub fn words(code: u8) -> Option<&'static str> {
    match code {
        SENDER_LISTED => Some("a rule has a list for the sender"),
        RECEIVER_LISTED => Some("a rule has a list for the receiver"),
        feature => FEATURES.get(usize::from(feature)).map(|feature| feature.reason),
    }
}

/// Every feature that raises the score, the strongest first; of equals, the first of the row.
pub fn occlude<M: Predict + ?Sized>(model: &M, row: &Row, operation: &Operation) -> Vec<Reason> {
    let typical = model.typical();
    let mut rows = vec![*row; FEATURE_COUNT + 1];
    for (feature, other) in rows[1..].iter_mut().enumerate() {
        other.0[feature] = typical.0[feature];
    }
    let mut scores = Vec::with_capacity(rows.len());
    model.log_odds(&rows, &vec![operation; rows.len()], &mut scores);
    let whole = scores[0].0;
    let mut reasons: Vec<Reason> = (0..)
        .zip(&scores[1..])
        .map(|(feature, without)| Reason {
            feature,
            raises: LogOdds(whole - without.0),
        })
        .filter(|reason| reason.raises.0 > 0)
        .collect();
    reasons.sort_by_key(|reason| core::cmp::Reverse(reason.raises));
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds up the first features.
    struct Adds(Row);

    impl Predict for Adds {
        fn log_odds(&self, rows: &[Row], _: &[&Operation], out: &mut Vec<LogOdds>) {
            out.extend(rows.iter().map(|row| LogOdds(row.0[0] + 2 * row.0[1] - row.0[2])));
        }

        fn is_exact(&self) -> bool {
            true
        }

        fn typical(&self) -> &Row {
            &self.0
        }
    }

    #[test]
    fn the_strongest_reason_comes_first_and_what_lowers_the_score_is_none() {
        let mut row = Row([5; FEATURE_COUNT]);
        row.0[1] = 4;
        let reasons = Adds(Row([1; FEATURE_COUNT])).explain(&row, &Operation::default());
        let codes: Vec<(u8, i32)> = reasons
            .iter()
            .map(|reason| (reason.feature, reason.raises.0))
            .collect();
        assert_eq!(codes, [(1, 6), (0, 4)]);
        assert_eq!(reasons[1].words(), "the amount is unusual");
        assert_eq!(words(200), None);
    }
}
