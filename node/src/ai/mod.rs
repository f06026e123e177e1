//! The AI plane at the command line: rows of features from files, training, judging, scoring.

mod decide;
mod rows;
mod reports;
mod ledger;
mod export;
mod train;
mod judge;
mod score;
mod explain;
#[cfg(feature = "candle")]
mod proposer;

pub use decide::{DecideError, let_model_decide};
pub use explain::{Anew, ExplainError, Explained, Explanation, explain, hold_of, kept};
pub use export::{ExportError, Exported, export, export_ledger};
pub use judge::{Compared, JudgeOptions, Judged, compare, judge, rows};
pub use ledger::{LedgerRows, LedgerSample};
#[cfg(feature = "candle")]
pub use proposer::{ProposerError, train_proposer};
pub use reports::{REPORTS_MAX, ReportsError, Verdicts};
pub use rows::{Labelled, Reader, Sample};
pub use score::{ScoreError, ScoreOptions, Scored, score};
#[cfg(feature = "candle")]
pub use train::Numbers;
pub use train::{ALWAYS, Inputs, Learner, Step, TrainError, TrainOptions, ledger_set, train};
