//! Networks of proposers' quality on the command line: their files, and training one.

use super::super::Failure;
use super::super::output::Output;
use clap::Args;
use selfchain_types::quality::Network;
use std::fs;
use std::path::{Path, PathBuf};

/// The defaults are those of `ProposerOptions`.
#[derive(Debug, Args)]
pub(in super::super) struct TrainProposerArguments {
    /// What the simulator saw of whole validators: CSV, plain or gzip, of `simulate --traces`.
    #[arg(long, value_name = "FILE")]
    traces: PathBuf,
    /// Where the network goes.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Hidden values, 1 to 64.
    #[arg(long, default_value_t = 12)]
    hidden: usize,
    /// Passes over the rows.
    #[arg(long, default_value_t = 60)]
    passes: usize,
    /// Rows a step.
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// The size of a step at the start.
    #[arg(long, default_value_t = 0.01)]
    rate: f64,
    /// What choosing a validator costs, in blocks, at which its quality falls to 37 %.
    #[arg(long, default_value_t = 0.1)]
    temperature: f64,
    /// Networks from other starting weights, of which the best one is kept.
    #[arg(long, default_value_t = 3)]
    starts: u64,
    /// Where random choices begin: the same seed and file give the same network.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Compare with this network too.
    #[arg(long, value_name = "FILE")]
    compare: Vec<PathBuf>,
}

/// The quality network of a file, if a chain takes it.
pub(in super::super) fn read_network(path: &Path) -> Result<Network, Failure> {
    let cannot = || format!("cannot take the quality network {}", path.display());
    let bytes = fs::read(path).map_err(|error| Failure::usage(cannot(), "").because(&error))?;
    let network = Network::decode(&bytes).and_then(|network| network.fits().map(|()| network));
    network.map_err(|error| Failure::usage(cannot(), NETWORK_NEXT).because(&error))
}

const NETWORK_NEXT: &str = "make one with `selfchain ai train-proposer`";

#[cfg(not(feature = "candle"))]
pub(super) fn train(_: &TrainProposerArguments, _: Output) -> Result<(), Failure> {
    Err(Failure::usage(
        "this program was built without candle, which trains networks",
        "build it with the feature `candle`",
    ))
}

#[cfg(feature = "candle")]
pub(super) use with_candle::train;

#[cfg(feature = "candle")]
mod with_candle {
    use super::super::super::progress::bar;
    use super::super::{to_value, write};
    use super::{Failure, Output, TrainProposerArguments, read_network};
    use crate::ai::train_proposer;
    use selfchain_ai::proposer::{Learnt, ProposerOptions};
    use selfchain_types::codec::wide;
    use serde_json::json;

    pub(in super::super) fn train(arguments: &TrainProposerArguments, output: Output) -> Result<(), Failure> {
        let options = ProposerOptions {
            hidden: arguments.hidden,
            passes: arguments.passes,
            batch: arguments.batch,
            learning_rate: arguments.rate,
            temperature: arguments.temperature,
            starts: arguments.starts,
            seed: arguments.seed,
        };
        let names: Vec<String> = arguments
            .compare
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let mut others = Vec::new();
        for (path, name) in arguments.compare.iter().zip(&names) {
            others.push((name.as_str(), read_network(path)?));
        }
        let bar = bar("training", output.is_json);
        let learnt = train_proposer(&arguments.traces, others, &options, &mut |pass, of| {
            bar.set_length(wide(of));
            bar.set_position(wide(pass));
        });
        bar.finish_and_clear();
        let next = "traces are written by `simulate --traces FILE` (docs/ai.md)";
        let learnt =
            learnt.map_err(|error| Failure::usage("no network was trained", next).because(&error))?;
        write(&arguments.output, &learnt.network.to_bytes())?;
        let value = json!({ "network": learnt.network.id().to_hex(), "report": to_value(&learnt.report)? });
        output.result(&text(&learnt), &value)
    }

    fn text(learnt: &Learnt) -> String {
        let (network, report) = (&learnt.network, &learnt.report);
        let mut text = format!(
            "network {}, {} bytes, {} hidden values\n",
            network.id(),
            network.to_bytes().len(),
            network.layers()[0].biases.len()
        );
        for set in &report.sets {
            text += &format!("\n{}: {} rows, {} draws\n", set.name, set.rows, set.draws);
            text += &format!(
                "  {:<28} {:>10} {:>22}\n",
                "network", "loss", "cost of a draw, blocks"
            );
            for (name, figures) in &set.figures {
                text += &format!(
                    "  {name:<28} {:>10.5} {:>22.4}\n",
                    figures.loss, figures.draw_cost
                );
            }
        }
        text + &format!(
            "\nintegers differ from unrounded floats by {:.4} at most, {:.4} in the mean, of a quality from 0 to 1\n",
            report.rounding_max, report.rounding_mean
        )
    }
}
