//! The report: every figure of a model on one set of rows, for programs and for people.

use super::metrics::{
    CalibrationBin, EvaluateError, Flagged, Ranking, calibration_error, disagreement, population_stability,
    share,
};
use crate::score::LogOdds;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How good a model is on rows whose truth is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// Rows.
    pub rows: usize,
    /// Those that are fraud.
    pub positives: usize,
    /// Area under the ROC curve.
    pub roc_auc: f64,
    /// Average precision.
    pub average_precision: f64,
    /// Recall where 0.1 % of other rows are flagged.
    pub recall_at_per_mille: f64,
    /// Recall where 1 % of other rows are flagged.
    pub recall_at_percent: f64,
    /// Brier score.
    pub brier: f64,
    /// Log loss in nats.
    pub log_loss: f64,
    /// Expected calibration error.
    pub calibration_error: f64,
    /// Precision of what is flagged from the score in `flagged` on.
    pub precision: f64,
    /// Its recall.
    pub recall: f64,
    /// Its F1.
    pub f1: f64,
    /// Population stability index against other scores of the model, where some were given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stability: Option<f64>,
    /// Share of rows on which another model decides otherwise, where one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disagreement: Option<f64>,
    /// What was flagged, in rows.
    pub flagged: Flagged,
    /// Bins of equal count by rising probability.
    pub calibration: Vec<CalibrationBin>,
}

/// The two rates of false positives at which recall is told.
const PER_MILLE: f64 = 0.001;
const PERCENT: f64 = 0.01;

impl Evaluation {
    /// Judges log-odds by the labels of the same rows, flagging those of `score` or more.
    pub fn new(log_odds: &[LogOdds], labels: &[bool], score: u8) -> Result<Self, EvaluateError> {
        Ok(Self::of(&Ranking::new(log_odds, labels)?, score))
    }

    /// The figures of a ranking, flagging rows of `score` or more.
    pub fn of(ranking: &Ranking, score: u8) -> Self {
        let calibration = ranking.calibration();
        let flagged = ranking.flagged(score);
        Self {
            rows: ranking.rows(),
            positives: ranking.positives(),
            roc_auc: ranking.roc_auc(),
            average_precision: ranking.average_precision(),
            recall_at_per_mille: ranking.recall_at(PER_MILLE),
            recall_at_percent: ranking.recall_at(PERCENT),
            brier: ranking.brier(),
            log_loss: ranking.log_loss(),
            calibration_error: calibration_error(&calibration),
            precision: flagged.precision(),
            recall: flagged.recall(),
            f1: flagged.f1(),
            stability: None,
            disagreement: None,
            flagged,
            calibration,
        }
    }

    /// Adds how far the model's scores have moved from earlier ones, such as those of its training.
    pub fn moved_from(mut self, before: &[LogOdds], now: &[LogOdds]) -> Result<Self, EvaluateError> {
        self.stability = Some(population_stability(before, now)?);
        Ok(self)
    }

    /// Adds how often another model decides otherwise on the same rows, at the same score.
    pub fn beside(mut self, own: &[LogOdds], other: &[LogOdds]) -> Result<Self, EvaluateError> {
        self.disagreement = Some(disagreement(own, other, self.flagged.score)?);
        Ok(self)
    }
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_figures(f)?;
        self.fmt_flagged(f)?;
        self.fmt_comparisons(f)?;
        self.fmt_calibration(f)
    }
}

impl Evaluation {
    fn fmt_figures(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base_rate = 100.0 * share(self.positives, self.rows);
        count(f, "rows", self.rows)?;
        writeln!(f, "{:<36}{:>10}  {base_rate:.3} %", "fraud", self.positives)?;
        figure(f, "ROC-AUC", self.roc_auc)?;
        figure(f, "average precision", self.average_precision)?;
        figure(f, "recall at 0.1 % false positives", self.recall_at_per_mille)?;
        figure(f, "recall at 1 % false positives", self.recall_at_percent)?;
        figure(f, "Brier score", self.brier)?;
        figure(f, "log loss", self.log_loss)?;
        figure(f, "expected calibration error", self.calibration_error)
    }

    fn fmt_flagged(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        count(f, "flagged from score", self.flagged.score.into())?;
        count(f, "  fraud flagged", self.flagged.hits)?;
        count(f, "  others flagged", self.flagged.false_alarms)?;
        count(f, "  fraud missed", self.flagged.missed)?;
        figure(f, "  precision", self.precision)?;
        figure(f, "  recall", self.recall)?;
        figure(f, "  F1", self.f1)
    }

    fn fmt_comparisons(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(stability) = self.stability {
            figure(f, "population stability index", stability)?;
        }
        if let Some(disagreement) = self.disagreement {
            figure(f, "decided otherwise by the other model", disagreement)?;
        }
        Ok(())
    }

    fn fmt_calibration(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>12}{:>12}{:>12}", "probability", "observed", "rows")?;
        for bin in &self.calibration {
            writeln!(
                f,
                "{:>12.4}{:>12.4}{:>12}",
                bin.probability, bin.observed, bin.count
            )?;
        }
        Ok(())
    }
}

fn figure(f: &mut fmt::Formatter<'_>, name: &str, value: f64) -> fmt::Result {
    writeln!(f, "{name:<36}{value:>10.4}")
}

fn count(f: &mut fmt::Formatter<'_>, name: &str, value: usize) -> fmt::Result {
    writeln!(f, "{name:<36}{value:>10}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG_ODDS: [LogOdds; 4] = [LogOdds(2 << 16), LogOdds(1 << 16), LogOdds(0), LogOdds(-1 << 16)];

    fn evaluation() -> Evaluation {
        Evaluation::new(&LOG_ODDS, &[true, false, true, false], 127).expect("both kinds")
    }

    #[test]
    fn a_report_comes_back_as_it_was_written() {
        let whole = evaluation()
            .moved_from(&LOG_ODDS, &LOG_ODDS[1..])
            .and_then(|evaluation| evaluation.beside(&LOG_ODDS, &LOG_ODDS.map(|odds| LogOdds(-odds.0))))
            .expect("rows on both sides");
        for evaluation in [evaluation(), whole] {
            let text = toml::to_string(&evaluation).expect("plain fields");
            assert_eq!(toml::from_str(&text), Ok(evaluation), "{text}");
        }
    }

    #[test]
    fn figures_are_those_of_the_rows() {
        let evaluation = evaluation();
        assert_eq!([evaluation.rows, evaluation.positives], [4, 2]);
        assert_eq!([evaluation.roc_auc, evaluation.recall], [0.75, 1.0]);
        assert_eq!(evaluation.recall_at_per_mille, 0.5);
        assert_eq!(evaluation.stability, None);
        let beside = evaluation.beside(&LOG_ODDS, &[LogOdds(-1 << 16); 4]);
        assert_eq!(
            beside.expect("as many rows").disagreement,
            Some(0.75),
            "three are flagged by one alone"
        );
    }

    #[test]
    fn people_read_an_aligned_table() {
        let text = evaluation().to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "rows                                         4");
        assert_eq!(
            lines[1],
            "fraud                                        2  50.000 %"
        );
        assert_eq!(lines[2], "ROC-AUC                                 0.7500");
        assert_eq!(lines[9], "flagged from score                         127");
        assert_eq!(lines[16], " probability    observed        rows");
        assert_eq!(lines.len(), 17 + 4);
    }
}
