//! Trains networks on rows that the example `rows` wrote, and reports how well they tell fraud:
//! `network_eth ROWS.csv [--seeds N] [OPTION VALUE]...`, where an option is `--quantiles`, `--first`, `--second`,
//! `--rate`, `--decay`, `--dropout`, `--batch`, `--epochs` or `--patience`.
//!
//! Rows of the first file (column `file` = 0) from 2017-06-01 on are learnt from, but for the latest fifth: that
//! one, without the fraud of accounts that were seen before, says when to stop. Rows of the second file are judged.

use csv::{ReaderBuilder, StringRecord};
use selfchain_ai::dataset::Dataset;
use selfchain_ai::features::{FEATURE_COUNT, FEATURES, Row};
use selfchain_ai::model::Predict;
use selfchain_ai::network::{FixedNetwork, FloatNetwork, Network, NetworkOptions, train};
use selfchain_ai::score::LogOdds;
use std::error::Error;
use std::time::Instant;

/// 2017-06-01: there is hardly any fraud in the data before.
const BEGIN_S: u64 = 1_496_275_200;
const FIT_SHARE: f64 = 0.8;
const SEEDS: u64 = 3;

struct Arguments {
    rows: String,
    seeds: u64,
    options: NetworkOptions,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = arguments()?;
    let (known, judged) = read(&arguments.rows)?;
    let (fit, rest) = known.select(|at| known.times[at] >= BEGIN_S).split(FIT_SHARE);
    let stop = rest.without_known_culprits(&fit);
    for (name, set) in [("fit", &fit), ("stop", &stop), ("judged", &judged)] {
        println!("{name}: {} rows, {} fraud", set.len(), set.positives());
    }
    let mut networks = Vec::new();
    for seed in 1..=arguments.seeds {
        let options = NetworkOptions {
            seed,
            ..arguments.options
        };
        let begun = Instant::now();
        let mut passes = Vec::new();
        let network = train(&fit, &stop, &options, &mut |progress| {
            passes.push(format!("{:.4}", progress.precision));
        })?;
        println!(
            "seed {seed}: {:.0?}; stop set {}",
            begun.elapsed(),
            passes.join(" ")
        );
        report(&network, &stop, &judged)?;
        networks.push(network);
    }
    if networks.len() > 1 {
        println!("mean of {} seeds", networks.len());
        report(&Network::averaged(&networks)?, &stop, &judged)?;
    }
    Ok(())
}

fn report(network: &Network, stop: &Dataset, judged: &Dataset) -> Result<(), Box<dyn Error>> {
    let models: [(&str, &dyn Predict); 2] = [
        ("float", &FloatNetwork::new(network)?),
        ("fixed", &FixedNetwork::new(network)?),
    ];
    for (name, model) in models {
        let (stop_precision, _) = quality(model, stop);
        let (precision, roc) = quality(model, judged);
        println!("  {name}: stop PR-AUC {stop_precision:.4}; judged PR-AUC {precision:.4}, ROC-AUC {roc:.4}");
    }
    Ok(())
}

fn arguments() -> Result<Arguments, Box<dyn Error>> {
    let mut given = std::env::args().skip(1);
    let rows = given
        .next()
        .ok_or("usage: network_eth ROWS.csv [OPTION VALUE]...")?;
    let (mut seeds, mut options) = (SEEDS, NetworkOptions::default());
    while let Some(option) = given.next() {
        let value = given.next().ok_or("an option needs a value")?;
        match option.as_str() {
            "--seeds" => seeds = value.parse()?,
            "--quantiles" => options.quantiles = value.parse()?,
            "--first" => options.first_units = value.parse()?,
            "--second" => options.second_units = value.parse()?,
            "--rate" => options.learning_rate = value.parse()?,
            "--decay" => options.weight_decay = value.parse()?,
            "--dropout" => options.dropout = value.parse()?,
            "--batch" => options.batch = value.parse()?,
            "--epochs" => options.epochs_max = value.parse()?,
            "--patience" => options.patience = value.parse()?,
            _ => return Err(format!("there is no option {option}").into()),
        }
    }
    Ok(Arguments { rows, seeds, options })
}

/// The rows of the first file, and those of the second.
fn read(path: &str) -> Result<(Dataset, Dataset), Box<dyn Error>> {
    let mut reader = ReaderBuilder::new().from_path(path)?;
    let header = reader.headers()?.clone();
    let column = |name: &str| {
        let position = header.iter().position(|cell| cell == name);
        position.ok_or_else(|| format!("{path} has no column `{name}`"))
    };
    let [file, time, from, to] = [column("file")?, column("time")?, column("from")?, column("to")?];
    let [to_bad, from_bad, first] = [column("to_bad")?, column("from_bad")?, column(FEATURES[0].name)?];
    let (mut known, mut judged) = (Dataset::default(), Dataset::default());
    let mut record = StringRecord::new();
    while reader.read_record(&mut record)? {
        let mut row = Row([0; FEATURE_COUNT]);
        for (value, cell) in row.0.iter_mut().zip(record.iter().skip(first)) {
            *value = cell.parse()?;
        }
        let culprit = match (&record[to_bad], &record[from_bad]) {
            ("1", _) => Some(record[to].parse()?),
            (_, "1") => Some(record[from].parse()?),
            _ => None,
        };
        let set = if &record[file] == "0" {
            &mut known
        } else {
            &mut judged
        };
        set.push(
            row,
            culprit.is_some(),
            record[time].parse()?,
            culprit.unwrap_or(0),
        );
    }
    Ok((known, judged))
}

/// PR-AUC (average precision) and ROC-AUC.
fn quality(model: &dyn Predict, set: &Dataset) -> (f64, f64) {
    let mut scores = Vec::new();
    model.log_odds(&set.rows, &[], &mut scores);
    let mut ranked: Vec<(LogOdds, bool)> = scores.into_iter().zip(set.labels.iter().copied()).collect();
    ranked.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    let (mut good, mut fraud, mut precision, mut pairs) = (0.0, 0.0, 0.0, 0.0);
    for place in ranked.chunk_by(|left, right| left.0 == right.0) {
        let (mut good_here, mut fraud_here) = (0.0, 0.0);
        for (_, label) in place {
            *(if *label { &mut fraud_here } else { &mut good_here }) += 1.0;
        }
        pairs += good_here * (fraud + fraud_here / 2.0);
        fraud += fraud_here;
        good += good_here;
        precision += fraud_here * fraud / (fraud + good);
    }
    (precision / fraud, pairs / (fraud * good))
}
