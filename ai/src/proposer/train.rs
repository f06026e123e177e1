//! Trains a quality network with candle, in doubles, on what traces say that choosing a validator costs.
//!
//! The target of a row is the quality that its cost deserves ([`super::cost::deserved`]), the loss how far it is from that
//! ([`super::cost::distance`]), each row weighing as much as it was drawn. Weights are rounded to what the file can hold in every forward pass, and the
//! gradient passes as if they were not (a straight-through estimator); after every step they are put back within the
//! file's range and on the side of zero that makes quality fall with a failing and rise with merit. So what is
//! written is monotone by construction, and differs from what was trained by the rounding down of shifts alone.
//!
//! Not learnt, their weights are zero: *made* and *won*, because a quality that rises with draws feeds itself, and
//! *newness*, because everybody in a trace is equally new.

use super::cost::{cost, real};
use super::judge::{Figures, judge, judge_by};
use super::traces::Traces;
use crate::random::Random;
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::optim::{AdamW, Optimizer, ParamsAdamW};
use selfchain_types::quality::{
    CATALOGUE, FEATURES, FEATURES_VERSION, Layer, Network, NetworkError, QUALITY_MAX, Row, Sense, VALUE_MAX,
    input,
};
use serde::Serialize;
use thiserror::Error;

/// How to train.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProposerOptions {
    /// Hidden values.
    pub hidden: usize,
    /// Passes over the rows.
    pub passes: usize,
    /// Rows a step.
    pub batch: usize,
    /// The size of a step at the start; it falls to nothing along the passes.
    pub learning_rate: f64,
    /// The cost, in blocks, at which quality falls to 1/e.
    pub temperature: f64,
    /// Networks that are trained from other starting weights; the one that costs least on the stop set is kept.
    pub starts: u64,
    /// Where all randomness starts from.
    pub seed: u64,
}

impl Default for ProposerOptions {
    fn default() -> Self {
        Self {
            hidden: 12,
            passes: 60,
            batch: 128,
            learning_rate: 0.01,
            temperature: 0.1,
            starts: 3,
            seed: 1,
        }
    }
}

/// Why there is no network.
#[derive(Debug, Error)]
pub enum TrainError {
    /// A set in which nobody was drawn.
    #[error(
        "the {set} set has no row of a validator that was drawn: runs number {runs} modulo {PARTS} are in it"
    )]
    Empty {
        /// Which set.
        set: &'static str,
        /// The runs that are in it.
        runs: &'static str,
    },
    /// An option outside of what makes sense.
    #[error("option {option} is out of range")]
    Option {
        /// Which option.
        option: &'static str,
    },
    /// The loss is not a number any more: a smaller learning rate may help.
    #[error("training diverged in pass {pass}")]
    Diverged {
        /// In which pass.
        pass: usize,
    },
    /// The layers are no network, or none that a chain takes.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The tensor library failed.
    #[error("candle failed")]
    Tensor(#[from] candle_core::Error),
}

/// A network and how good it is.
#[derive(Clone, Debug)]
pub struct Learnt {
    /// The network.
    pub network: Network,
    /// What it and others come to.
    pub report: Report,
}

/// What was learnt, for people.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Name of the set, rows, draws, and the figures of each network by name, the trained one first.
    pub sets: Vec<SetReport>,
    /// Most that the integers' quality differs from that of unrounded weights, from 0 to 1, over all rows.
    pub rounding_max: f64,
    /// The mean of it.
    pub rounding_mean: f64,
}

/// One set of rows.
#[derive(Clone, Debug, Serialize)]
pub struct SetReport {
    /// Its name.
    pub name: &'static str,
    /// Its rows.
    pub rows: usize,
    /// Heights whose first draw they won.
    pub draws: u64,
    /// By the name of a network.
    pub figures: Vec<(String, Figures)>,
}

/// Runs are dealt out by their number, so that no run is in two sets.
const PARTS: u64 = 5;
/// The sets: learnt from, chosen among starts by, and judged by.
const SETS: [(&str, &str, &[u64]); 3] = [
    ("fit", "0 to 2", &[0, 1, 2]),
    ("stop", "3", &[3]),
    ("judge", "4", &[4]),
];

/// Trains on traces, compares with `others` by name, and tells `progress` how many passes of how many are done.
///
/// # Errors
/// [`TrainError`].
pub fn train(
    traces: &Traces,
    others: &[(&str, Network)],
    options: &ProposerOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Learnt, TrainError> {
    check_options(options)?;
    let mut sets = Vec::new();
    for (set, runs, remainders) in SETS {
        let part = traces.of_runs(PARTS, remainders);
        if part.rows.iter().all(|row| cost(row).is_none()) {
            return Err(TrainError::Empty { set, runs });
        }
        sets.push((set, part));
    }
    let starts = usize::try_from(options.starts).unwrap_or(usize::MAX);
    let of = options.passes.saturating_mul(starts);
    let mut best: Option<(f64, Network, Weights)> = None;
    for start in 0..options.starts {
        let seed = options.seed.wrapping_add(start);
        let mut training = Training::new(&sets[0].1, options, seed)?;
        for pass in 1..=options.passes {
            training.pass(pass)?;
            let before = usize::try_from(start).unwrap_or(starts) * options.passes;
            progress(before + pass, of);
        }
        let network = training.weights.network()?;
        let costs = judge(&network, &sets[1].1, options.temperature).draw_cost;
        if best.as_ref().is_none_or(|(least, ..)| costs < *least) {
            best = Some((costs, network, training.weights));
        }
    }
    let (_, network, weights) = best.ok_or(TrainError::Option { option: "starts" })?;
    network.fits()?;
    let float = weights.plain()?;
    let named = [("trained", &network)].into_iter();
    let named: Vec<(&str, &Network)> = named
        .chain(others.iter().map(|(name, network)| (*name, network)))
        .collect();
    let sets = sets.iter().map(|(name, part)| SetReport {
        name,
        rows: part.rows.len(),
        draws: part.rows.iter().map(|row| row.drawn).sum(),
        figures: (named.iter())
            .map(|(name, network)| ((*name).to_owned(), judge(network, part, options.temperature)))
            .chain([(
                "trained, in floats".to_owned(),
                judge_by(part, options.temperature, |trace| float.quality(&trace.features)),
            )])
            .collect(),
    });
    let (rounding_max, rounding_mean) = rounding(&network, &float, traces);
    let report = Report {
        sets: sets.collect(),
        rounding_max,
        rounding_mean,
    };
    Ok(Learnt { network, report })
}

fn check_options(options: &ProposerOptions) -> Result<(), TrainError> {
    let allowed = [
        (
            "hidden",
            (1..=selfchain_types::quality::WIDTH_MAX).contains(&options.hidden),
        ),
        ("passes", (1..=PASSES_MAX).contains(&options.passes)),
        ("batch", (1..=BATCH_MAX).contains(&options.batch)),
        ("learning_rate", (0.0..=1.0).contains(&options.learning_rate)),
        ("temperature", (0.01..=100.0).contains(&options.temperature)),
        ("starts", (1..=STARTS_MAX).contains(&options.starts)),
    ];
    match allowed.into_iter().find(|(_, is_allowed)| !is_allowed) {
        Some((option, _)) => Err(TrainError::Option { option }),
        None => Ok(()),
    }
}

/// Most passes.
const PASSES_MAX: usize = 10_000;
/// Most rows a step.
const BATCH_MAX: usize = 65_536;
/// Most starts.
const STARTS_MAX: u64 = 100;

/// The largest and the mean difference of the integers' quality from the floats'.
fn rounding(network: &Network, float: &Plain, traces: &Traces) -> (f64, f64) {
    let differences = traces.rows.iter().map(|row| {
        let exact = f64::from(network.quality(&row.features)) / f64::from(QUALITY_MAX);
        (exact - float.quality(&row.features)).abs()
    });
    let (most, sum) = differences.fold((0.0_f64, 0.0), |(most, sum), one| (most.max(one), sum + one));
    (
        most,
        sum / real(selfchain_types::codec::wide(traces.rows.len().max(1))),
    )
}

/// Bits that a hidden sum is shifted by: weights are in 32nds, within almost ± 4.
const HIDDEN_SHIFT: u8 = 5;
/// Bits that the last sum is shifted by: a hidden value can take all quality away.
const LAST_SHIFT: u8 = 4;
/// What a hidden weight of 1 is in the file, and the largest there.
const HIDDEN_ONE: f64 = 32.0;
const WEIGHT_MAX: f64 = 127.0;
/// What a last weight of 1, all of the quality for all of a hidden value, would be in the file.
const LAST_ONE: f64 = 1_000.0 / 127.0 * 16.0;
/// Added to a quality before its logarithm is taken: a thousandth, the file's own step.
const SMALL: f64 = 0.001;
/// Biases stay within ± this: what all inputs together can reach.
const BIAS_MAX: f64 = 64.0;

/// What may be learnt of a feature: the sign of its weights in hidden values that take quality away.
fn sign(name: &str, sense: Sense) -> f64 {
    match sense {
        _ if NOT_LEARNT.contains(&name) => 0.0,
        Sense::Failing => 1.0,
        Sense::Merit => -1.0,
        Sense::Free => 0.0,
    }
}

const NOT_LEARNT: [&str; 3] = ["made", "won", "newness"];

/// A network in training.
struct Training<'a> {
    options: &'a ProposerOptions,
    random: Random,
    inputs: Vec<f64>,
    /// In units of the temperature.
    costs: Vec<f64>,
    draws: Vec<f64>,
    order: Vec<usize>,
    weights: Weights,
    optimizer: AdamW,
}

impl<'a> Training<'a> {
    fn new(fit: &Traces, options: &'a ProposerOptions, seed: u64) -> Result<Self, TrainError> {
        let mut random = Random::new(seed);
        let weights = Weights::new(options.hidden, &mut random)?;
        let parameters = ParamsAdamW {
            lr: options.learning_rate,
            weight_decay: 0.0,
            ..ParamsAdamW::default()
        };
        let (mut inputs, mut costs, mut draws) = (Vec::new(), Vec::new(), Vec::new());
        for (row, cost) in fit.rows.iter().filter_map(|row| Some((row, cost(row)?))) {
            inputs.extend(scaled(&row.features));
            costs.push(cost / options.temperature);
            draws.push(real(row.drawn));
        }
        Ok(Self {
            order: (0..costs.len()).collect(),
            optimizer: AdamW::new(weights.variables(), parameters)?,
            options,
            random,
            inputs,
            costs,
            draws,
            weights,
        })
    }

    /// One pass over the rows in a new order.
    fn pass(&mut self, pass: usize) -> Result<(), TrainError> {
        let mut order = std::mem::take(&mut self.order);
        shuffle(&mut order, &mut self.random);
        let done = real(selfchain_types::codec::wide(pass - 1))
            / real(selfchain_types::codec::wide(self.options.passes));
        let share = f64::midpoint(1.0, (done * std::f64::consts::PI).cos());
        self.optimizer
            .set_learning_rate(self.options.learning_rate * share);
        for batch in order.chunks(self.options.batch) {
            if !self.step(batch)?.is_finite() {
                return Err(TrainError::Diverged { pass });
            }
        }
        self.order = order;
        Ok(())
    }

    fn step(&mut self, batch: &[usize]) -> Result<f64, TrainError> {
        let of = |values: &[f64]| {
            let picked: Vec<f64> = batch.iter().map(|at| values[*at]).collect();
            Tensor::from_vec(picked, batch.len(), &Device::Cpu)
        };
        let inputs: Vec<f64> = (batch.iter())
            .flat_map(|at| &self.inputs[at * FEATURES..][..FEATURES])
            .copied()
            .collect();
        let inputs = Tensor::from_vec(inputs, (batch.len(), FEATURES), &Device::Cpu)?;
        let (costs, draws) = (of(&self.costs)?, of(&self.draws)?);
        let is_hopeless: Vec<f64> = (batch.iter())
            .map(|at| {
                if self.costs[*at] + SMALL.ln() > 0.0 {
                    1.0
                } else {
                    0.0
                }
            })
            .collect();
        let is_hopeless = Tensor::from_vec(is_hopeless, batch.len(), &Device::Cpu)?;
        let quality = self.weights.quality(&inputs, &is_hopeless)?;
        let more = (&quality + SMALL)?;
        let distance = (((&quality * costs)? + (&more * more.log()?)?)? - quality)?;
        let loss = ((distance * &draws)?.sum_all()? / draws.sum_all()?.to_scalar::<f64>()?)?;
        self.optimizer.backward_step(&loss)?;
        self.weights.project()?;
        Ok(loss.to_scalar::<f64>()?)
    }
}

/// Every order is about as likely: each item changes places with one of those up to itself.
fn shuffle(items: &mut [usize], random: &mut Random) {
    for last in (1..items.len()).rev() {
        let bound = selfchain_types::codec::wide(last).saturating_add(1);
        let product = u128::from(random.next()) * u128::from(bound);
        items.swap(last, usize::try_from(product >> 64).unwrap_or(0));
    }
}

/// Features as the network has them: 0 to 127, here from 0 to 1.
fn scaled(row: &Row) -> [f64; FEATURES] {
    row.map(|value| f64::from(input(value)) / f64::from(VALUE_MAX))
}

/// The weights that are learnt. A hidden value is `clip(inputs · hidden + hidden_biases, 0, 1)`, the quality
/// `clip(hidden values · last + best, 0, 1)`.
struct Weights {
    hidden: Var,
    hidden_biases: Var,
    last: Var,
    best: Var,
    /// Of the hidden weights: least and most.
    bounds: (Tensor, Tensor),
}

impl Weights {
    /// The first hidden values look at one failing each, the others at several.
    fn new(hidden: usize, random: &mut Random) -> candle_core::Result<Self> {
        let signs: Vec<f64> = CATALOGUE.iter().map(|(name, sense)| sign(name, *sense)).collect();
        let failings: Vec<usize> = (0..FEATURES).filter(|at| signs[*at] > 0.0).collect();
        let mut weights = vec![0.0; FEATURES * hidden];
        let mut biases = vec![0.0; hidden];
        for (unit, bias) in biases.iter_mut().enumerate() {
            for (at, sign) in signs.iter().enumerate() {
                weights[at * hidden + unit] = sign * 0.25 * random.unit();
            }
            if let Some(own) = failings.get(unit) {
                weights[own * hidden + unit] = 2.0 + random.unit();
            }
            // A feature that compares with others is 500 for who is as they are.
            let usual: f64 = COMPARED.iter().map(|at| 0.5 * weights[at * hidden + unit]).sum();
            *bias = -usual - 0.1 * random.unit();
        }
        let last: Vec<f64> = (0..hidden).map(|_| -0.3 - 0.3 * random.unit()).collect();
        let range = WEIGHT_MAX / HIDDEN_ONE;
        let bound = |is_least: bool| {
            let of = |sign: &f64| if is_least { sign.min(0.0) } else { sign.max(0.0) } * range;
            let column: Vec<f64> = signs.iter().flat_map(|sign| vec![of(sign); hidden]).collect();
            Tensor::from_vec(column, (FEATURES, hidden), &Device::Cpu)
        };
        Ok(Self {
            hidden: Var::from_vec(weights, (FEATURES, hidden), &Device::Cpu)?,
            hidden_biases: Var::from_vec(biases, hidden, &Device::Cpu)?,
            last: Var::from_vec(last, (hidden, 1), &Device::Cpu)?,
            best: Var::from_vec(vec![1.0], 1, &Device::Cpu)?,
            bounds: (bound(true)?, bound(false)?),
        })
    }

    fn variables(&self) -> Vec<Var> {
        vec![
            self.hidden.clone(),
            self.hidden_biases.clone(),
            self.last.clone(),
            self.best.clone(),
        ]
    }

    /// Qualities of rows, by weights as the file will have them. They are clipped, and the gradient passes, so that who
    /// is beyond an end and ought not to be can come back; not below zero for those who are hopeless, and stay there.
    fn quality(&self, inputs: &Tensor, is_hopeless: &Tensor) -> candle_core::Result<Tensor> {
        let hidden = rounded(&self.hidden, HIDDEN_ONE)?;
        let values = inputs.matmul(&hidden)?.broadcast_add(&self.hidden_biases)?;
        let values = (values.relu()? - (values - 1.0)?.relu()?)?;
        let last = rounded(&self.last, LAST_ONE)?;
        let sum = values.matmul(&last)?.broadcast_add(&self.best)?.squeeze(1)?;
        let clipped = sum.relu()?;
        let passes = (&sum + (&clipped - &sum)?.detach())?;
        let hopes = (1.0 - is_hopeless)?;
        let low = ((clipped * is_hopeless)? + (passes * hopes)?)?;
        let beyond = (low.clamp(0.0, 1.0)? - &low)?.detach();
        low + beyond
    }

    /// Puts weights back within the file's range, and on their side of zero.
    fn project(&self) -> candle_core::Result<()> {
        let (least, most) = &self.bounds;
        self.hidden
            .set(&self.hidden.as_tensor().maximum(least)?.minimum(most)?)?;
        let bounded = self.hidden_biases.as_tensor().clamp(-BIAS_MAX, BIAS_MAX)?;
        self.hidden_biases.set(&bounded)?;
        self.last
            .set(&self.last.as_tensor().clamp(-WEIGHT_MAX / LAST_ONE, 0.0)?)?;
        self.best.set(&self.best.as_tensor().clamp(-BIAS_MAX, BIAS_MAX)?)
    }

    fn plain(&self) -> candle_core::Result<Plain> {
        let hidden = self.hidden.as_tensor().t()?.contiguous()?;
        Ok(Plain {
            hidden: hidden.to_dtype(DType::F64)?.to_vec2()?,
            hidden_biases: self.hidden_biases.as_tensor().to_vec1()?,
            last: self.last.as_tensor().flatten_all()?.to_vec1()?,
            best: self
                .best
                .as_tensor()
                .to_vec1::<f64>()?
                .first()
                .copied()
                .unwrap_or_default(),
        })
    }

    /// The weights in the file's integers. Half a unit in each bias makes rounding down rounding to the nearest.
    fn network(&self) -> Result<Network, TrainError> {
        let plain = self.plain()?;
        let value = f64::from(VALUE_MAX);
        let half = |shift: u8| 1 << (shift - 1);
        let hidden = Layer {
            inputs: FEATURES,
            shift: HIDDEN_SHIFT,
            biases: (plain.hidden_biases.iter())
                .map(|bias| whole(bias * value * HIDDEN_ONE) + half(HIDDEN_SHIFT))
                .collect(),
            weights: (plain.hidden.iter().flatten())
                .map(|weight| small(weight * HIDDEN_ONE))
                .collect(),
        };
        let last = Layer {
            inputs: plain.last.len(),
            shift: LAST_SHIFT,
            biases: vec![whole(plain.best * f64::from(QUALITY_MAX) * 16.0) + half(LAST_SHIFT)],
            weights: plain.last.iter().map(|weight| small(weight * LAST_ONE)).collect(),
        };
        Ok(Network::new(FEATURES_VERSION, vec![hidden, last])?)
    }
}

/// The features that compare with others.
const COMPARED: [usize; 2] = [3, 8];

/// Weights as multiples of a step; the gradient passes as if they were as they are.
fn rounded(weights: &Var, one: f64) -> candle_core::Result<Tensor> {
    let weights = weights.as_tensor();
    let step = ((weights * one)?.round()? / one)?;
    let off = (step - weights)?.detach();
    weights + off
}

/// The same network in floats, without rounding.
struct Plain {
    hidden: Vec<Vec<f64>>,
    hidden_biases: Vec<f64>,
    last: Vec<f64>,
    best: f64,
}

impl Plain {
    fn quality(&self, row: &Row) -> f64 {
        let inputs = row.map(|value| f64::from(value) / f64::from(QUALITY_MAX));
        let values = self
            .hidden
            .iter()
            .zip(&self.hidden_biases)
            .map(|(weights, bias)| {
                let sum: f64 = weights
                    .iter()
                    .zip(inputs)
                    .map(|(weight, value)| weight * value)
                    .sum();
                (sum + bias).clamp(0.0, 1.0)
            });
        let sum: f64 = values.zip(&self.last).map(|(value, weight)| value * weight).sum();
        (sum + self.best).clamp(0.0, 1.0)
    }
}

/// The nearest integer of what is within ± 2^24.
#[allow(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "biases are bounded before"
)]
fn whole(value: f64) -> i32 {
    value.round() as i32
}

/// The nearest 8-bit weight.
#[allow(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "clamped to the type's range"
)]
fn small(value: f64) -> i8 {
    value.round().clamp(-WEIGHT_MAX, WEIGHT_MAX) as i8
}

#[cfg(test)]
#[path = "train_tests.rs"]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
