//! Training: from files with labels to a model file with its card.

use super::ledger::LedgerRows;
use super::reports::ReportsError;
use super::rows::Reader;
use crate::input::InputError;
use crate::recover;
use crate::store::StoreError;
use core::ops::Range;
use selfchain_ai::dataset::Dataset;
use selfchain_ai::evaluate::{EvaluateError, Evaluation};
use selfchain_ai::model::{Card, Model, Predict, Scoring};
use selfchain_ai::network;
#[cfg(feature = "candle")]
use selfchain_ai::network::{Network, NetworkOptions};
use selfchain_ai::score::SCORE_EVEN;
use selfchain_ai::trees::{self, Progress, Symmetric, SymmetricError, TreeOptions};
use selfchain_storage::Disk;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// What to learn from, and how.
#[derive(Clone, Debug)]
pub struct TrainOptions {
    /// Where the rows are from.
    pub inputs: Inputs,
    /// Rows of other seconds than these are remembered and not learnt from.
    pub within_s: Range<u64>,
    /// Learn also from the same rows as they are when reports arrive so many seconds late.
    pub reports_after_s: Option<u64>,
    /// Learn from those alone: for chains where reports always come.
    pub only_reported: bool,
    /// Share of the rows, the last in time, that tells when to stop.
    pub stop_share: f64,
    /// What is trained.
    pub learner: Learner,
    /// What the card says: name, data, licence, notes.
    pub card: Card,
    /// A later file with labels, to judge the model by.
    pub valid: Option<PathBuf>,
}

/// Where rows with labels are from.
#[derive(Clone, Debug)]
pub enum Inputs {
    /// Files, in the order of time; they are one log.
    Files(Vec<PathBuf>),
    /// The log of a stopped node, with the reports that it has.
    Ledger(Arc<dyn Disk>),
}

/// What is trained, and how.
#[derive(Clone, Debug)]
pub enum Learner {
    /// The mean of so many forests, of as many seeds from the options' on.
    Trees(TreeOptions, u64),
    /// The mean of so many networks, of as many seeds from the options' on.
    #[cfg(feature = "candle")]
    Networks(NetworkOptions, u64, Numbers),
}

/// What a trained network is computed in.
#[cfg(feature = "candle")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Fixed point: the same bits on every processor.
    Fixed,
    /// Floats, by candle.
    Float,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// Reading the files.
    Reading,
    /// Growing trees, to find how many are best.
    Stopping(Progress),
    /// Growing so many trees on all rows.
    Growing(Progress),
    /// Passes over the rows by a network: how many, of how many at most.
    Passing(usize, usize),
}

/// Why there is no model.
#[derive(Debug, Error)]
pub enum TrainError {
    /// A file is not what it should be.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A file does not say which transfers are bad.
    #[error("{path} has no labels: a column `to_bad`, `from_bad` or `fraud` of 0 and 1")]
    Labels {
        /// The file.
        path: PathBuf,
    },
    /// Nothing says which transfers of a ledger are bad.
    #[error("the ledger has {reports} reports, and none of them makes a transfer of these rows fraud")]
    NoReports {
        /// Reports that took effect.
        reports: u64,
    },
    /// A log's reports are not known.
    #[error(transparent)]
    Reports(#[from] ReportsError),
    /// A log failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The rows teach nothing.
    #[error(transparent)]
    Trees(#[from] trees::TrainError),
    /// The rows teach a network nothing.
    #[cfg(feature = "candle")]
    #[error(transparent)]
    Network(#[from] network::TrainError),
    /// The forests do not average.
    #[error(transparent)]
    Forests(#[from] SymmetricError),
    /// The networks do not average.
    #[error(transparent)]
    Average(#[from] network::NetworkError),
    /// The network does not fit fixed point.
    #[error(transparent)]
    Fixed(#[from] network::FixedError),
    /// The model cannot be judged.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
}

/// Trains a model: first on the earlier rows, to find the number of trees that tells the later ones best without
/// bad accounts that were seen before; then on all rows with that many.
///
/// # Errors
/// [`TrainError`].
pub fn train(options: &TrainOptions, progress: &mut dyn FnMut(Step)) -> Result<Model, TrainError> {
    progress(Step::Reading);
    let plain = read(options, Reader::default())?;
    let reported = match options.reports_after_s {
        Some(after_s) => Some(read(options, Reader::with_reports(after_s))?),
        None => None,
    };
    let (mut fit, mut stop, mut all) = (Dataset::default(), Dataset::default(), Dataset::default());
    let plain = Some(&plain).filter(|_| !options.only_reported || reported.is_none());
    for set in [plain, reported.as_ref()].into_iter().flatten() {
        let (early, late) = set.split(1.0 - options.stop_share);
        fit.append(&early);
        stop.append(&late.without_known_culprits(&early));
        all.append(set);
    }
    let mut card = options.card.clone();
    let sets = Sets { fit, stop, all };
    let grown = match &options.learner {
        Learner::Trees(trees, forests) => grow(&sets, trees, *forests, &mut card, progress)?,
        #[cfg(feature = "candle")]
        Learner::Networks(network, seeds, numbers) => {
            let network = learn(&sets, network, *seeds, &mut card, progress)?;
            computed_in(*numbers, network, &sets, &mut card)?
        }
    };
    let grown = Model::new(grown, card.clone());
    if let Some(valid) = &options.valid {
        let mut figures = |set: &str, reader| -> Result<(), TrainError> {
            let evaluation = evaluate(&grown, &read_valid(options, valid, reader)?)?;
            note(&mut card, set, &evaluation);
            Ok(())
        };
        figures("valid", Reader::default())?;
        if let Some(after_s) = options.reports_after_s {
            figures("valid_reported", Reader::with_reports(after_s))?;
        }
    }
    Ok(Model::new(grown.scoring().clone(), card))
}

/// The rows: those to learn from, those to stop by, and all.
struct Sets {
    fit: Dataset,
    stop: Dataset,
    all: Dataset,
}

impl Sets {
    fn split(&self, then: &str) -> String {
        format!(
            "in the order of time: {} rows to learn from, then {} to stop by, without bad accounts that were bad \
             before{then}",
            self.fit.len(),
            self.stop.len()
        )
    }
}

/// The mean of forests of several seeds. The card has the first one's figures.
fn grow(
    sets: &Sets,
    options: &TreeOptions,
    forests: u64,
    card: &mut Card,
    progress: &mut dyn FnMut(Step),
) -> Result<Scoring, TrainError> {
    let mut grown = Vec::new();
    for seed in options.seed..options.seed.saturating_add(forests.max(1)) {
        let options = TreeOptions { seed, ..*options };
        let (found, whole) = grow_one(sets, &options, progress)?;
        if grown.is_empty() {
            note(card, "stop", &evaluate(&found, &sets.stop)?);
        }
        grown.push(whole);
    }
    card.seed = options.seed;
    card.split = sets.split("; then as many trees on all of them");
    Ok(Scoring::Symmetric(Symmetric::averaged(&grown)?))
}

/// Finds the number of trees, then grows that many on all rows; both.
fn grow_one(
    sets: &Sets,
    options: &TreeOptions,
    progress: &mut dyn FnMut(Step),
) -> Result<(Symmetric, Symmetric), TrainError> {
    let found = trees::train(&sets.fit, Some(&sets.stop), options, &mut |at| {
        progress(Step::Stopping(at));
    })?;
    let whole = TreeOptions {
        trees: found.trees().len().max(1),
        ..*options
    };
    let grown = trees::train(&sets.all, None, &whole, &mut |at| progress(Step::Growing(at)))?;
    Ok((found, grown))
}

/// The mean of networks of several seeds.
#[cfg(feature = "candle")]
fn learn(
    sets: &Sets,
    options: &NetworkOptions,
    seeds: u64,
    card: &mut Card,
    progress: &mut dyn FnMut(Step),
) -> Result<Network, TrainError> {
    let mut networks = Vec::new();
    for seed in options.seed..options.seed.saturating_add(seeds.max(1)) {
        let options = NetworkOptions { seed, ..*options };
        networks.push(network::train(&sets.fit, &sets.stop, &options, &mut |at| {
            progress(Step::Passing(at.epoch, at.epochs_max));
        })?);
    }
    card.seed = options.seed;
    card.split = sets.split("");
    Ok(Network::averaged(&networks)?)
}

/// The network as it will be computed. The card has its figures on the rows to stop by.
#[cfg(feature = "candle")]
fn computed_in(
    numbers: Numbers,
    network: Network,
    sets: &Sets,
    card: &mut Card,
) -> Result<Scoring, TrainError> {
    let scoring = match numbers {
        Numbers::Fixed => Scoring::network(network)?,
        Numbers::Float => Scoring::float(network).map_err(network::TrainError::from)?,
    };
    note(card, "stop", &evaluate(scoring.predict(), &sets.stop)?);
    Ok(scoring)
}

/// The rows of a later file, after the past that it has.
fn read_valid(options: &TrainOptions, valid: &Path, mut reader: Reader) -> Result<Dataset, TrainError> {
    if let Inputs::Files(paths) = &options.inputs {
        for path in paths {
            reader.read(path, &mut |_| ())?;
        }
    }
    labelled(&mut reader, valid, &ALWAYS)
}

/// All seconds.
pub const ALWAYS: Range<u64> = 0..u64::MAX;

/// The rows of a file that must have labels.
pub(super) fn labelled(
    reader: &mut Reader,
    path: &Path,
    within_s: &Range<u64>,
) -> Result<Dataset, TrainError> {
    let labelled = reader.labelled(path, within_s)?;
    if labelled.has_labels {
        Ok(labelled.set)
    } else {
        Err(TrainError::Labels { path: path.into() })
    }
}

/// Puts the figures of a set into the card.
fn note(card: &mut Card, set: &str, evaluation: &Evaluation) {
    for (name, value) in [
        ("pr_auc", evaluation.average_precision),
        ("roc_auc", evaluation.roc_auc),
        ("recall_at_1pct_fpr", evaluation.recall_at_percent),
    ] {
        // Six digits: what is written is read back as it was.
        let rounded = (value * 1e6).round() / 1e6;
        card.metrics.insert(format!("{set}/{name}"), rounded);
    }
}

fn read(options: &TrainOptions, mut reader: Reader) -> Result<Dataset, TrainError> {
    let paths = match &options.inputs {
        Inputs::Files(paths) => paths,
        Inputs::Ledger(disk) => return ledger_set(disk, &options.within_s, &mut |_| ()),
    };
    let mut all = Dataset::default();
    for path in paths {
        all.append(&labelled(&mut reader, path, &options.within_s)?);
    }
    Ok(all)
}

/// The rows of a ledger within these unix seconds, labelled by its reports.
///
/// # Errors
/// [`TrainError`]; there must be fraud among them.
pub fn ledger_set(
    disk: &Arc<dyn Disk>,
    within_s: &Range<u64>,
    progress: &mut (dyn FnMut(recover::Progress) + Send),
) -> Result<Dataset, TrainError> {
    let ledger = LedgerRows::open(Arc::clone(disk), progress)?;
    let set = ledger.labelled(within_s, progress)?;
    match set.positives() {
        0 => Err(TrainError::NoReports {
            reports: ledger.verdicts().reports,
        }),
        _ => Ok(set),
    }
}

fn evaluate(model: &dyn Predict, set: &Dataset) -> Result<Evaluation, EvaluateError> {
    Evaluation::new(&set.scored_by(model), &set.labels, SCORE_EVEN)
}
