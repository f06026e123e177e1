//! A model in the shadow of the one that decides: it scores the same transfers on a thread of its own, and what it says
//! is only counted. Where it cannot keep up, transfers are left out and counted.

use crate::telemetry::Metrics;
use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use selfchain_ai::Watch;
use selfchain_ai::features::{Row, Rows};
use selfchain_ai::model::{Model, Predict};
use selfchain_types::Operation;
use selfchain_types::codec::{index, wide};
use selfchain_types::seam::scorer::Timed;
use std::io;
use std::sync::Arc;
use std::thread;

/// Hands what was scored to the shadow's thread.
#[derive(Clone)]
pub struct Shadow {
    to: Sender<Batch>,
    metrics: Arc<Metrics>,
}

/// Transfers with the scores of the model that decides.
struct Batch {
    rows: Vec<Row>,
    operations: Vec<Operation>,
    scores: Vec<u8>,
}

/// Batches that may wait: about ten megabytes.
const WAITING_MAX: usize = 8;
/// The shadow yields to everybody.
const NICENESS: i32 = 10;

impl Shadow {
    /// Starts the thread; it ends when this and its clones are dropped.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(model: Arc<Model>, metrics: Arc<Metrics>) -> io::Result<Self> {
        let (to, from) = bounded(WAITING_MAX);
        let counts = Arc::clone(&metrics);
        thread::Builder::new()
            .name("shadow".into())
            .spawn(move || follow(&model, &from, &counts))?;
        Ok(Self { to, metrics })
    }
}

impl Watch for Shadow {
    fn see(&mut self, rows: &Rows, operations: &[Timed<'_>], scores: &[u8]) {
        let skip = || self.metrics.scores.shadow_skipped.add(wide(rows.rows().len()));
        if self.to.is_full() {
            return skip();
        }
        let batch = Batch {
            rows: rows.rows().to_vec(),
            operations: rows
                .of()
                .iter()
                .map(|at| *operations[index(*at)].operation)
                .collect(),
            scores: rows.of().iter().map(|at| scores[index(*at)]).collect(),
        };
        match self.to.try_send(batch) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => skip(),
        }
    }
}

fn follow(model: &Model, from: &Receiver<Batch>, metrics: &Metrics) {
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(error = %error, "thread priority unchanged");
    }
    let mut log_odds = Vec::new();
    for batch in from {
        let operations: Vec<&Operation> = batch.operations.iter().collect();
        log_odds.clear();
        model.log_odds(&batch.rows, &operations, &mut log_odds);
        let scores: Vec<u8> = log_odds.iter().map(|one| one.score()).collect();
        metrics.scores.shadowed(&batch.scores, &scores);
    }
}
