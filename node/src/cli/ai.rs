//! `ai`: trains, judges, imports and compares models, scores files, and explains scores.

mod models;
mod explain;
mod ledger;
mod proposer;

pub(super) use models::{MODELS_FOLDER, is_model_file, models_in, read_model};
pub(super) use proposer::read_network;

use super::init::of_store;
use super::output::Output;
use super::progress::bar;
use super::settings::Settings;
use super::{ExitStatus, Failure};
#[cfg(feature = "candle")]
use crate::ai::Numbers;
use crate::ai::{
    Inputs, JudgeOptions, Learner, Reader, ReportsError, ScoreError, ScoreOptions, Step, TrainError,
    TrainOptions, compare, export, judge, rows, score, train,
};
use clap::{Args, Subcommand, value_parser};
use explain::ExplainArguments;
use models::{describe, value_of};
use selfchain_ai::dataset::Dataset;
use selfchain_ai::evaluate::plots;
use selfchain_ai::model::{Card, Model, Predict, Scoring, default_model};
use selfchain_ai::trees::{TreeOptions, import};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const S_PER_DAY: u64 = 86_400;

#[derive(Debug, Subcommand)]
pub(super) enum AiCommand {
    /// Train a model on files of transfers with labels, or on a ledger with reports.
    Train(TrainArguments),
    /// Train the network that says how often which validator is asked to propose, on traces of the simulator.
    TrainProposer(proposer::TrainProposerArguments),
    /// Judge a model by a file with labels, or by a ledger with reports.
    Eval(EvalArguments),
    /// Score every transfer of a file.
    Score(ScoreArguments),
    /// Write the rows of features that models see, with labels, as CSV.
    Export(ExportArguments),
    /// Turn a LightGBM text model, trained on exported rows, into a model file.
    Import(ImportArguments),
    /// Compare two models on a file with labels, or on a ledger with reports.
    Compare(CompareArguments),
    /// Say why a transaction of a ledger got its scores.
    Explain(ExplainArguments),
    /// Show a model's card and hash, and the rules of a pack.
    Show {
        /// The model file [default: the model that comes with the program].
        file: Option<PathBuf>,
    },
}

/// A file of transfers with its past.
#[derive(Debug, Args)]
pub(super) struct FileArguments {
    /// Transfers: CSV, plain or gzip, with columns time (unix seconds), from, to, amount or amount_<unit>, and
    /// labels to_bad, from_bad or fraud (0 or 1) [default: the log in the data directory of a stopped node, with its
    /// reports; not for `score`].
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Files that come before it in time, oldest first: remembered, not judged.
    #[arg(long, value_name = "FILE", requires = "input")]
    history: Vec<PathBuf>,
    /// Let a bad account be reported so many days after its first bad transfer.
    #[arg(long, value_name = "DAYS", requires = "input", value_parser = value_parser!(u64).range(0..=3_650))]
    reports_after: Option<u64>,
    /// Judge rows of this unix second on; those before are remembered. `score` writes all the same.
    #[arg(long, value_name = "SECOND", default_value_t = 0)]
    since: u64,
}

#[derive(Debug, Args)]
pub(super) struct TrainArguments {
    /// Transfers with labels, oldest first: CSV, plain or gzip, with columns time (unix seconds), from, to, amount
    /// or amount_<unit>, and to_bad, from_bad or fraud (0 or 1) [default: the log in the data directory of a stopped
    /// node, with its reports].
    #[arg(long, value_name = "FILE")]
    input: Vec<PathBuf>,
    /// Where the model goes.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Learn from rows of this unix second on; those before are remembered.
    #[arg(long, value_name = "SECOND", default_value_t = 0)]
    since: u64,
    /// Learn from rows before this unix second; those from then on are for `ai eval --since`.
    #[arg(long, value_name = "SECOND", default_value_t = u64::MAX, hide_default_value = true)]
    until: u64,
    /// Learn also from the rows as they are when a bad account is reported so many days after its first bad
    /// transfer.
    #[arg(long, value_name = "DAYS", requires = "input", value_parser = value_parser!(u64).range(0..=3_650))]
    reports_after: Option<u64>,
    /// Learn from those rows alone: for chains where reports always come.
    #[arg(long, requires = "reports_after")]
    only_reported: bool,
    /// Share of the rows, the last in time, that tells when to stop.
    #[arg(long, default_value_t = 0.2)]
    stop_share: f64,
    /// What to train.
    #[arg(long, value_enum, default_value_t = Kind::Trees)]
    kind: Kind,
    /// Leave the networks in floats, as candle computes them: for one validator, or a shadow.
    #[arg(long)]
    float: bool,
    /// Networks that are averaged, of as many seeds.
    #[arg(long, default_value_t = 3)]
    networks: u64,
    /// Forests that are averaged, of as many seeds: better, and as much slower.
    #[arg(long, default_value_t = 1)]
    forests: u64,
    /// Most trees.
    #[arg(long, default_value_t = TreeOptions::default().trees)]
    trees: usize,
    /// What each tree's step is multiplied with.
    #[arg(long, default_value_t = TreeOptions::default().rate)]
    rate: f64,
    /// What keeps small leaves near zero.
    #[arg(long, default_value_t = TreeOptions::default().ridge)]
    ridge: f64,
    /// Most thresholds of a feature, 1 to 255.
    #[arg(long, default_value_t = TreeOptions::default().thresholds)]
    thresholds: usize,
    /// Share of the rows that a tree looks at.
    #[arg(long, default_value_t = TreeOptions::default().row_share)]
    row_share: f64,
    /// Share of the features that a tree may ask for.
    #[arg(long, default_value_t = TreeOptions::default().feature_share)]
    feature_share: f64,
    /// Trees without a gain on the last rows before it stops.
    #[arg(long, default_value_t = TreeOptions::default().patience)]
    patience: usize,
    /// Where random choices begin: the same seed and files give the same model.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The card: a name for people.
    #[arg(long, default_value = "unnamed")]
    name: String,
    /// The card: what it learnt from, and where that is from.
    #[arg(long, default_value = "")]
    source: String,
    /// The card: under which licence it is.
    #[arg(long, default_value = "")]
    licence: String,
    /// The card: what it is for, and where it fails.
    #[arg(long, default_value = "")]
    notes: String,
    /// Judge the model by this file too, and put the figures into the card.
    #[arg(long, value_name = "FILE", requires = "input")]
    valid: Option<PathBuf>,
}

/// What is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// Gradient-boosted symmetric trees.
    Trees,
    /// Neural networks, trained by candle and put into fixed point; the flags of trees do not apply.
    Network,
}

#[derive(Debug, Args)]
pub(super) struct EvalArguments {
    #[command(flatten)]
    file: FileArguments,
    /// The model file [default: the model that comes with the program].
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Count precision and recall of what has at least this score.
    #[arg(long, default_value_t = 127)]
    flag: u8,
    /// Write the curves as an SVG picture.
    #[arg(long, value_name = "FILE")]
    plots: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ScoreArguments {
    #[command(flatten)]
    file: FileArguments,
    /// Opening balances; accepted so that the same flags do for `demo`, and not read: what an account is opened
    /// with is no payment, and models do not see it.
    #[arg(long, value_name = "FILE")]
    openings: Option<PathBuf>,
    /// Where the scores go: CSV of line, score (0 to 254), log_odds, probability, reasons.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// The model file [default: the model that comes with the program].
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Write the reasons of what has at least this score.
    #[arg(long, default_value_t = 127)]
    reasons_from: u8,
}

#[derive(Debug, Args)]
pub(super) struct ExportArguments {
    /// Transfers, oldest first: CSV, plain or gzip [default: the log in the data directory of a stopped node, with
    /// its scores and with labels by its reports].
    #[arg(long, value_name = "FILE")]
    input: Vec<PathBuf>,
    /// Where the rows go.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Let a bad account be reported so many days after its first bad transfer.
    #[arg(long, value_name = "DAYS", requires = "input", value_parser = value_parser!(u64).range(0..=3_650))]
    reports_after: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct ImportArguments {
    /// The text model: `Booster.save_model`.
    text: PathBuf,
    /// Where the model goes.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// The card: a name for people.
    #[arg(long, default_value = "imported")]
    name: String,
    /// The card: what it learnt from.
    #[arg(long, default_value = "")]
    source: String,
    /// The card: under which licence it is.
    #[arg(long, default_value = "")]
    licence: String,
}

#[derive(Debug, Args)]
pub(super) struct CompareArguments {
    /// A model file.
    first: PathBuf,
    /// Another one.
    second: PathBuf,
    #[command(flatten)]
    file: FileArguments,
    /// Compare what has at least this score.
    #[arg(long, default_value_t = 127)]
    flag: u8,
}

pub(super) fn ai(command: AiCommand, settings: &Settings, output: Output) -> Result<(), Failure> {
    match command {
        AiCommand::Train(arguments) => train_model(arguments, settings, output),
        AiCommand::TrainProposer(arguments) => proposer::train(&arguments, output),
        AiCommand::Eval(arguments) => evaluate(&arguments, settings, output),
        AiCommand::Score(arguments) => score_file(arguments, output),
        AiCommand::Export(arguments) if arguments.input.is_empty() => {
            ledger::export_rows(&arguments.output, settings, output)
        }
        AiCommand::Export(arguments) => export_rows(&arguments, output),
        AiCommand::Import(arguments) => import_model(arguments, output),
        AiCommand::Compare(arguments) => compare_models(&arguments, settings, output),
        AiCommand::Explain(arguments) => explain::explain(&arguments, settings, output),
        AiCommand::Show { file } => {
            let model = read_model(file.as_deref())?;
            output.result(&describe(&model), &value_of(&model))
        }
    }
}

/// The command that makes the same model again, with the names of files and not where they lie.
fn command_of(arguments: &TrainArguments) -> String {
    let name = |path: &PathBuf| {
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    let mut words = vec!["selfchain ai train".to_owned()];
    words.extend(
        arguments
            .input
            .iter()
            .map(|path| format!("--input {}", name(path))),
    );
    words.extend(arguments.input.is_empty().then(|| "--data DIRECTORY".to_owned()));
    words.extend((arguments.until < u64::MAX).then(|| format!("--until {}", arguments.until)));
    words.extend(
        arguments
            .reports_after
            .map(|days| format!("--reports-after {days}")),
    );
    words.extend(arguments.only_reported.then(|| "--only-reported".to_owned()));
    words.extend(
        arguments
            .valid
            .iter()
            .map(|path| format!("--valid {}", name(path))),
    );
    if arguments.kind == Kind::Network {
        let (since, share) = (arguments.since, arguments.stop_share);
        let (networks, seed) = (arguments.networks, arguments.seed);
        let float = if arguments.float { " --float" } else { "" };
        words.push(format!(
            "--kind network{float} --since {since} --stop-share {share} --networks {networks} --seed {seed}"
        ));
        return words.join(" ");
    }
    words.push(format!(
        "--since {} --stop-share {} --trees {} --rate {} --ridge {} --thresholds {} --row-share {} \
         --feature-share {} --patience {} --seed {}",
        arguments.since,
        arguments.stop_share,
        arguments.trees,
        arguments.rate,
        arguments.ridge,
        arguments.thresholds,
        arguments.row_share,
        arguments.feature_share,
        arguments.patience,
        arguments.seed,
    ));
    if arguments.forests != 1 {
        words.push(format!("--forests {}", arguments.forests));
    }
    words.join(" ")
}

fn train_model(arguments: TrainArguments, settings: &Settings, output: Output) -> Result<(), Failure> {
    let command = command_of(&arguments);
    let inputs = if arguments.input.is_empty() {
        Inputs::Ledger(ledger::disk("no model was trained", settings)?)
    } else {
        Inputs::Files(arguments.input.clone())
    };
    let options = TrainOptions {
        within_s: arguments.since..arguments.until,
        reports_after_s: arguments.reports_after.map(|days| days * S_PER_DAY),
        only_reported: arguments.only_reported,
        stop_share: arguments.stop_share,
        learner: learner(&arguments)?,
        card: Card {
            name: arguments.name,
            data: arguments.source,
            licence: arguments.licence,
            notes: arguments.notes,
            command,
            ..Card::default()
        },
        inputs,
        valid: arguments.valid,
    };
    let bar = bar("training", output.is_json);
    let trained = train(&options, &mut |step| match step {
        Step::Reading => (),
        Step::Stopping(at) | Step::Growing(at) => {
            bar.set_length(selfchain_types::codec::wide(at.trees_max));
            bar.set_position(selfchain_types::codec::wide(at.trees));
        }
        Step::Passing(pass, of) => {
            bar.set_length(selfchain_types::codec::wide(of));
            bar.set_position(selfchain_types::codec::wide(pass));
        }
    });
    bar.finish_and_clear();
    let model = trained.map_err(|error| of_training("no model was trained", &error))?;
    write(&arguments.output, &model.to_bytes())?;
    output.result(&describe(&model), &value_of(&model))
}

fn learner(arguments: &TrainArguments) -> Result<Learner, Failure> {
    match arguments.kind {
        Kind::Trees if arguments.float => Err(Failure::usage(
            "trees have no floats to stay in",
            "--float goes with --kind network",
        )),
        Kind::Trees => {
            let options = TreeOptions {
                trees: arguments.trees,
                rate: arguments.rate,
                ridge: arguments.ridge,
                thresholds: arguments.thresholds,
                row_share: arguments.row_share,
                feature_share: arguments.feature_share,
                patience: arguments.patience,
                seed: arguments.seed,
            };
            Ok(Learner::Trees(options, arguments.forests))
        }
        #[cfg(feature = "candle")]
        Kind::Network => {
            let options = selfchain_ai::network::NetworkOptions {
                seed: arguments.seed,
                ..Default::default()
            };
            let numbers = if arguments.float {
                Numbers::Float
            } else {
                Numbers::Fixed
            };
            Ok(Learner::Networks(options, arguments.networks, numbers))
        }
        #[cfg(not(feature = "candle"))]
        Kind::Network => Err(Failure::usage(
            "this program was built without candle, which trains networks",
            "build it with the feature `candle`",
        )),
    }
}

fn evaluate(arguments: &EvalArguments, settings: &Settings, output: Output) -> Result<(), Failure> {
    let what = "the model was not judged";
    let model = read_model(arguments.model.as_deref())?;
    let set = arguments.file.rows(what, settings, output)?;
    let judged = judge(&model, &set, arguments.flag).map_err(|error| of_training(what, &error))?;
    if let Some(path) = &arguments.plots {
        write(path, plots(&model.card().name, &judged.ranking).as_bytes())?;
    }
    let value = to_value(&judged.evaluation)?;
    let text = format!("{model}\n{}", judged.evaluation);
    output.result(&text, &json!({ "model": value_of(&model), "evaluation": value }))
}

fn score_file(arguments: ScoreArguments, output: Output) -> Result<(), Failure> {
    let model = read_model(arguments.model.as_deref())?;
    let Some(input) = arguments.file.input else {
        let next = "--input FILE; what a ledger's blocks scored is in `selfchain ai export --data DIR`";
        return Err(Failure::usage("there is no file to score", next));
    };
    let options = ScoreOptions {
        history: arguments.file.history,
        input,
        reports_after_s: arguments.file.reports_after.map(|days| days * S_PER_DAY),
        output: arguments.output,
        reasons_from: arguments.reasons_from,
    };
    let bar = bar("scoring", output.is_json);
    let scored = score(&model, &options, &mut |rows| bar.set_position(rows));
    bar.finish_and_clear();
    let scored = scored.map_err(|error| of_scoring("the file was not scored", &error))?;
    let evaluation = scored.evaluation.as_ref().map(to_value).transpose()?;
    let mut text = format!("{} rows scored by {model}", scored.rows);
    if let Some(evaluation) = &scored.evaluation {
        text = format!("{text}\n{evaluation}");
    }
    let value = json!({
        "rows": scored.rows,
        "model": { "name": model.card().name, "hash": model.hash().to_hex() },
        "evaluation": evaluation,
    });
    output.result(&text, &value)
}

fn export_rows(arguments: &ExportArguments, output: Output) -> Result<(), Failure> {
    let reader = match arguments.reports_after {
        Some(days) => Reader::with_reports(days * S_PER_DAY),
        None => Reader::default(),
    };
    let exported = export(reader, &arguments.input, &arguments.output);
    let rows = exported.map_err(|error| of_scoring("the rows were not written", &error))?;
    output.result(&format!("{rows} rows written"), &json!({ "rows": rows }))
}

fn import_model(arguments: ImportArguments, output: Output) -> Result<(), Failure> {
    let what = "the model was not imported";
    let text = fs::read_to_string(&arguments.text).map_err(|error| {
        Failure::usage(format!("cannot read {}", arguments.text.display()), "").because(&error)
    })?;
    let typical = *default_model().typical();
    let trees = import(&text, typical).map_err(|error| Failure::usage(what, "").because(&error))?;
    let card = Card {
        name: arguments.name,
        data: arguments.source,
        licence: arguments.licence,
        ..Card::default()
    };
    let model = Model::new(Scoring::Asymmetric(trees), card);
    write(&arguments.output, &model.to_bytes())?;
    output.result(&describe(&model), &value_of(&model))
}

fn compare_models(arguments: &CompareArguments, settings: &Settings, output: Output) -> Result<(), Failure> {
    let what = "the models were not compared";
    let (first, second) = (
        read_model(Some(&arguments.first))?,
        read_model(Some(&arguments.second))?,
    );
    let set = arguments.file.rows(what, settings, output)?;
    let compared =
        compare(&first, &second, &set, arguments.flag).map_err(|error| of_training(what, &error))?;
    let text = format!("{first}\n{}\n{second}\n{}", compared.first, compared.second);
    let value = json!({ "first": to_value(&compared.first)?, "second": to_value(&compared.second)? });
    output.result(&text, &value)
}

impl FileArguments {
    /// The rows of the file, or of the ledger where none is named.
    fn rows(&self, what: &str, settings: &Settings, output: Output) -> Result<Dataset, Failure> {
        let within_s = self.since..u64::MAX;
        let Some(input) = &self.input else {
            return ledger::rows(what, &within_s, settings, output);
        };
        let options = JudgeOptions {
            history: self.history.clone(),
            input: input.clone(),
            within_s,
            reports_after_s: self.reports_after.map(|days| days * S_PER_DAY),
        };
        rows(&options).map_err(|error| of_training(what, &error))
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    fs::write(path, bytes).map_err(|error| {
        let what = format!("cannot write {}", path.display());
        Failure::new(ExitStatus::Failed, what, "").because(&error)
    })
}

fn to_value(value: &impl serde::Serialize) -> Result<Value, Failure> {
    serde_json::to_value(value)
        .map_err(|error| Failure::new(ExitStatus::Failed, "cannot write the figures", "").because(&error))
}

fn of_training(what: &str, error: &TrainError) -> Failure {
    match error {
        TrainError::Store(error) | TrainError::Reports(ReportsError::Store(error)) => {
            of_store(what.into(), error)
        }
        TrainError::NoReports { .. } => {
            let next = "accounts' owners report fraud with operations of the kind \"report\" (docs/ai.md)";
            Failure::usage(what, next).because(error)
        }
        _ => Failure::usage(what, "").because(error),
    }
}

fn of_scoring(what: &str, error: &ScoreError) -> Failure {
    match error {
        ScoreError::Output { .. } => Failure::new(ExitStatus::Failed, what, "").because(error),
        _ => Failure::usage(what, "").because(error),
    }
}
