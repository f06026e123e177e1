//! How good a model is: figures on rows whose truth is known, plots of them, and a report.
//!
//! ```
//! use selfchain_ai::evaluate::{Evaluation, Ranking, plots};
//! use selfchain_ai::score::LogOdds;
//!
//! let log_odds = [-3.0, -1.0, 0.5, 2.0].map(LogOdds::from_real);
//! let labels = [false, false, true, true];
//! let evaluation = Evaluation::new(&log_odds, &labels, 127)?;
//! assert_eq!(evaluation.roc_auc, 1.0);
//! let svg = plots("a first model", &Ranking::new(&log_odds, &labels)?);
//! assert!(svg.starts_with("<svg"));
//! # Ok::<(), selfchain_ai::evaluate::EvaluateError>(())
//! ```

mod metrics;
mod plots;
mod report;

#[cfg(test)]
mod metrics_tests;

pub use metrics::{
    BINS, CalibrationBin, EvaluateError, Flagged, Ranking, SHARE_FLOOR, Step, calibration_error,
    disagreement, population_stability,
};
pub use plots::plots;
pub use report::Evaluation;
