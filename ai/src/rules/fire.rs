//! The model: rules that fire raise the score, and give the reasons.

use super::condition::Condition;
use crate::explain::Reason;
use crate::features::{FEATURE_COUNT, Row};
use crate::model::Predict;
use crate::score::{LOG_ODDS_ONE, LogOdds, SCORE_MAX, SCORE_STEPS};
use selfchain_types::Operation;
use std::cmp::Reverse;
use std::sync::Arc;

/// A pack of rules, ready to score: only integers from here on.
///
/// ```
/// use selfchain_ai::rules::{Rules, STARTER};
///
/// let rules = Rules::parse(STARTER.as_bytes())?;
/// assert_eq!(rules.name(), "starter");
/// # Ok::<(), selfchain_ai::rules::RulesError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Rules {
    pub(super) text: Arc<str>,
    pub(super) name: String,
    pub(super) version: u32,
    pub(super) base: u8,
    pub(super) rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What programs know it by; unique in its pack.
    pub code: String,
    /// What a reviewer reads.
    pub says: String,
    /// What it does to the score.
    pub effect: Effect,
    /// What must hold for it to fire: all of them.
    pub when: Vec<Condition>,
}

/// What a rule that fires does to the score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is at least this.
    AtLeast(u8),
    /// It is so much more.
    Add(u8),
}

impl Rules {
    /// The pack's file, byte for byte.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The pack's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The pack's version.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The score when nothing fires.
    pub fn base(&self) -> u8 {
        self.base
    }

    /// The rules, in the order of the pack.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rules that fire, in the order of the pack.
    pub fn fired(&self, row: &Row, operation: &Operation) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| rule.fires(row, operation))
    }

    /// By how much a rule that fires raises the score, were it alone.
    fn points(&self, rule: &Rule) -> u8 {
        match rule.effect {
            Effect::AtLeast(score) => score.saturating_sub(self.base),
            Effect::Add(more) => more,
        }
    }

    /// The score: the greatest that a rule demands, and what others add.
    pub fn score(&self, row: &Row, operation: &Operation) -> u8 {
        let (mut least, mut added) = (self.base, 0_u8);
        for rule in self.fired(row, operation) {
            match rule.effect {
                Effect::AtLeast(score) => least = least.max(score),
                Effect::Add(more) => added = added.saturating_add(more),
            }
        }
        least.saturating_add(added).min(SCORE_MAX)
    }
}

impl Rule {
    fn fires(&self, row: &Row, operation: &Operation) -> bool {
        self.when.iter().all(|condition| condition.holds(row, operation))
    }
}

impl Predict for Rules {
    fn log_odds(&self, rows: &[Row], operations: &[&Operation], out: &mut Vec<LogOdds>) {
        assert_eq!(rows.len(), operations.len(), "a row describes one operation");
        let scores = rows
            .iter()
            .zip(operations)
            .map(|(row, operation)| LogOdds::of_score(self.score(row, operation)));
        out.extend(scores);
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn typical(&self) -> &Row {
        &TYPICAL
    }

    /// What the rules that fired ask for: those of the strongest rule first, in the order in which it asks.
    fn explain(&self, row: &Row, operation: &Operation) -> Vec<Reason> {
        let mut fired: Vec<&Rule> = self.fired(row, operation).collect();
        fired.retain(|rule| self.points(rule) > 0);
        fired.sort_by_key(|rule| Reverse(self.points(rule)));
        let mut reasons: Vec<Reason> = Vec::new();
        for rule in fired {
            let raises = LogOdds(i32::from(self.points(rule)) * (LOG_ODDS_ONE / SCORE_STEPS));
            for feature in rule.when.iter().map(Condition::reason) {
                if reasons.iter().all(|reason| reason.feature != feature) {
                    reasons.push(Reason { feature, raises });
                }
            }
        }
        reasons
    }
}

/// An ordinary payment between two accounts that have long been used, in the order of the catalogue: rules learn
/// nothing from data, so nothing better is known.
#[rustfmt::skip]
const TYPICAL: Row = Row({
    let typical: [i32; FEATURE_COUNT] = [
        // An amount of about 10,000, below what the two are used to, and a small part of what the sender holds.
        3401, 2, 0, -256, -1024, 0, -256, -512,
        // Both paid and were paid about a day and a half ago, and were first seen long ago.
        4352, 4352, 4352, 4352, 5888, 5888,
        // A third of a transfer within an hour, two thirds within a day, four within a week.
        2150, 2405, 3072, 2150, 2405, 3072,
        // Some sixty transfers each way; about 600,000 received in all, in receipts of 10,000 give or
        // take a factor of two.
        60, 60, 60, 60, 4915, 3401, 256, 0, 0,
        // A dozen counterparties; the two have paid one another before.
        48, 48, 48, 48, 3,
        // No receipts from accounts with little past, no reports.
        0, 0, 0, 0, 0, 0,
    ];
    typical
});
