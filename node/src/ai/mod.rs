//! The AI plane at the command line: rows of features from files, training, judging, scoring.

mod decide;
mod rows;
mod export;
mod train;
mod judge;
mod score;

pub use decide::{DecideError, let_model_decide};
pub use export::export;
pub use judge::{Compared, JudgeOptions, Judged, compare, judge, rows};
pub use rows::{Labelled, Reader, Sample};
pub use score::{ScoreError, ScoreOptions, Scored, score};
pub use train::{Learner, Step, TrainError, TrainOptions, train};
