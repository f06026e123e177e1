//! Trains a network with candle: AdamW over shuffled batches, until a set that it does not learn from says stop.
//!
//! Initial weights, shuffles and dropped units come from one seed, so that the same data and the same seed give the
//! same weights, bit for bit, on the same kind of processor.

use super::encode::{Encoding, EncodingError};
use super::precision::average_precision;
use super::random::Random;
use super::weights::{Layer, Member, Network, NetworkError};
use crate::dataset::Dataset;
use candle_core::{Device, Tensor, Var};
use candle_nn::optim::{AdamW, Optimizer, ParamsAdamW};
use selfchain_types::codec::narrow;
use thiserror::Error;

/// How to train.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NetworkOptions {
    /// Quantiles to encode each feature by.
    pub quantiles: usize,
    /// Units of the first hidden layer.
    pub first_units: usize,
    /// Units of the second.
    pub second_units: usize,
    /// Rows a step.
    pub batch: usize,
    /// Most passes over the rows.
    pub epochs_max: usize,
    /// Passes without a better score on the stop set before training ends.
    pub patience: usize,
    /// The size of a step at the start; it falls to nothing along the passes.
    pub learning_rate: f64,
    /// By how much of itself, times the learning rate, a weight shrinks in a step. Far more than is usual for
    /// AdamW did better on months that follow those learnt from, though slightly worse on the stop set.
    pub weight_decay: f64,
    /// The share of hidden units that a step leaves out, so that none relies on another.
    pub dropout: f32,
    /// Where all randomness starts from.
    pub seed: u64,
}

impl Default for NetworkOptions {
    fn default() -> Self {
        Self {
            quantiles: 16,
            first_units: 64,
            second_units: 32,
            batch: 512,
            epochs_max: 20,
            patience: 5,
            learning_rate: 1e-3,
            weight_decay: 3.0,
            dropout: 0.1,
            seed: 1,
        }
    }
}

/// How far training is, after each pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Passes so far.
    pub epoch: usize,
    /// Most passes.
    pub epochs_max: usize,
    /// The mean loss over the pass.
    pub loss: f64,
    /// Average precision on the stop set.
    pub precision: f64,
    /// The best so far, whose weights are kept.
    pub best: f64,
}

/// Why there is no network.
#[derive(Debug, Error)]
pub enum TrainError {
    /// A set without rows.
    #[error("the {set} set is empty")]
    Empty {
        /// Which set.
        set: &'static str,
    },
    /// A set with nothing to tell apart.
    #[error("the rows of the {set} set are all fraud, or none is")]
    OneClass {
        /// Which set.
        set: &'static str,
    },
    /// An option outside of what makes sense.
    #[error("option {option} is out of range")]
    Option {
        /// Which option.
        option: &'static str,
    },
    /// The features cannot be encoded.
    #[error(transparent)]
    Encoding(#[from] EncodingError),
    /// The loss or a score is not a number any more: a smaller learning rate may help.
    #[error("training diverged in pass {epoch}")]
    Diverged {
        /// In which pass.
        epoch: usize,
    },
    /// The weights are no network: one is not finite, or too large.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The tensor library failed.
    #[error("candle failed")]
    Tensor(#[from] candle_core::Error),
}

/// Trains on `fit`, stops by `stop`, and tells `progress` after each pass.
///
/// The network is the one of the pass that was best on the stop set. Average several seeds with
/// [`Network::averaged`].
pub fn train(
    fit: &Dataset,
    stop: &Dataset,
    options: &NetworkOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Network, TrainError> {
    check_set("fit", fit)?;
    check_set("stop", stop)?;
    check_options(options)?;
    let encoding = Encoding::learn(&fit.rows, options.quantiles)?;
    let mut training = Training::new(fit, &encoding, options)?;
    let mut best: Option<(f64, Member)> = None;
    let mut since_best = 0;
    for epoch in 1..=options.epochs_max {
        let loss = training.pass(epoch)?;
        let precision = training.precision(stop, epoch)?;
        since_best += 1;
        if best.as_ref().is_none_or(|(best, _)| precision > *best) {
            best = Some((precision, training.weights.member()?));
            since_best = 0;
        }
        progress(Progress {
            epoch,
            epochs_max: options.epochs_max,
            loss,
            precision,
            best: best.as_ref().map_or(precision, |(best, _)| *best),
        });
        if since_best >= options.patience {
            break;
        }
    }
    let (_, member) = best.ok_or(TrainError::Option { option: "epochs_max" })?;
    Ok(Network::new(encoding, fit.typical(), vec![member])?)
}

fn check_set(set: &'static str, rows: &Dataset) -> Result<(), TrainError> {
    if rows.is_empty() {
        return Err(TrainError::Empty { set });
    }
    if rows.positives() == 0 || rows.positives() == rows.len() {
        return Err(TrainError::OneClass { set });
    }
    Ok(())
}

fn check_options(options: &NetworkOptions) -> Result<(), TrainError> {
    let allowed = [
        ("quantiles", options.quantiles >= 1),
        (
            "first_units",
            (1..=super::UNITS_MAX).contains(&options.first_units),
        ),
        (
            "second_units",
            (1..=super::UNITS_MAX).contains(&options.second_units),
        ),
        ("batch", (1..=BATCH_MAX).contains(&options.batch)),
        ("epochs_max", (1..=EPOCHS_MAX).contains(&options.epochs_max)),
        ("patience", options.patience >= 1),
        ("learning_rate", (0.0..=1.0).contains(&options.learning_rate)),
        ("weight_decay", (0.0..=DECAY_MAX).contains(&options.weight_decay)),
        ("dropout", (0.0..=DROPOUT_MAX).contains(&options.dropout)),
    ];
    match allowed.into_iter().find(|(_, is_allowed)| !is_allowed) {
        Some((option, _)) => Err(TrainError::Option { option }),
        None => Ok(()),
    }
}

/// Most rows a step: what they are encoded into stays a small part of the memory.
const BATCH_MAX: usize = 65_536;
/// Most passes.
const EPOCHS_MAX: usize = 10_000;
/// The greatest weight decay.
const DECAY_MAX: f64 = 100.0;
/// The greatest share of units to leave out.
const DROPOUT_MAX: f32 = 0.9;
/// Rows of the stop set that are scored at once.
const STOP_BATCH: usize = 4_096;

/// A network in training.
struct Training<'a> {
    fit: &'a Dataset,
    encoding: &'a Encoding,
    options: &'a NetworkOptions,
    random: Random,
    order: Vec<usize>,
    weights: Weights,
    optimizer: AdamW,
}

impl<'a> Training<'a> {
    fn new(
        fit: &'a Dataset,
        encoding: &'a Encoding,
        options: &'a NetworkOptions,
    ) -> Result<Self, TrainError> {
        let mut random = Random::new(options.seed);
        let weights = Weights::new(fit, encoding, options, &mut random)?;
        let parameters = ParamsAdamW {
            lr: options.learning_rate,
            weight_decay: options.weight_decay,
            ..ParamsAdamW::default()
        };
        Ok(Self {
            order: (0..fit.len()).collect(),
            optimizer: AdamW::new(weights.variables(), parameters)?,
            fit,
            encoding,
            options,
            random,
            weights,
        })
    }

    /// One pass over the rows in a new order; returns the mean loss.
    fn pass(&mut self, epoch: usize) -> Result<f64, TrainError> {
        let mut order = std::mem::take(&mut self.order);
        self.random.shuffle(&mut order);
        let mut sum = 0.0;
        for (at, batch) in order.chunks(self.options.batch).enumerate() {
            let done = real(epoch - 1) + real(at * self.options.batch) / real(order.len());
            self.slow_down(done / real(self.options.epochs_max));
            sum += self.step(batch)? * real(batch.len());
        }
        self.order = order;
        let loss = sum / real(self.fit.len());
        if loss.is_finite() {
            Ok(loss)
        } else {
            Err(TrainError::Diverged { epoch })
        }
    }

    /// The steps become smaller along half a cosine: large ones find the valley, small ones its bottom.
    fn slow_down(&mut self, done: f64) {
        let share = f64::midpoint(1.0, (done * std::f64::consts::PI).cos());
        self.optimizer
            .set_learning_rate(self.options.learning_rate * share);
    }

    fn step(&mut self, batch: &[usize]) -> Result<f64, TrainError> {
        let rows = self.encoded(self.fit, batch.iter().copied())?;
        let labels: Vec<f32> = batch
            .iter()
            .map(|at| if self.fit.labels[*at] { 1.0 } else { 0.0 })
            .collect();
        let labels = Tensor::from_vec(labels, batch.len(), &Device::Cpu)?;
        let masks = self.masks(batch.len())?;
        let logits = self.weights.logits(&rows, masks.as_ref())?;
        let loss = loss(&logits, &labels)?;
        self.optimizer.backward_step(&loss)?;
        Ok(f64::from(loss.to_scalar::<f32>()?))
    }

    /// Average precision on the stop set.
    fn precision(&self, stop: &Dataset, epoch: usize) -> Result<f64, TrainError> {
        let mut scores = Vec::new();
        for start in (0..stop.len()).step_by(STOP_BATCH) {
            let end = start.saturating_add(STOP_BATCH).min(stop.len());
            let rows = self.encoded(stop, start..end)?;
            scores.extend(self.weights.logits(&rows, None)?.to_vec1::<f32>()?);
        }
        if scores.iter().any(|score| !score.is_finite()) {
            return Err(TrainError::Diverged { epoch });
        }
        Ok(average_precision(&scores, &stop.labels))
    }

    fn encoded(
        &self,
        set: &Dataset,
        positions: impl ExactSizeIterator<Item = usize>,
    ) -> candle_core::Result<Tensor> {
        let (count, columns) = (positions.len(), self.encoding.columns());
        let mut encoded = vec![0.0; count * columns];
        for (at, out) in positions.zip(encoded.chunks_mut(columns)) {
            self.encoding.encode(&set.rows[at], out);
        }
        Tensor::from_vec(encoded, (count, columns), &Device::Cpu)
    }

    /// What to multiply both hidden layers by: 0 for units that are left out, and for the rest a little more than
    /// 1, so that their sum stays the same in the mean.
    fn masks(&mut self, rows: usize) -> candle_core::Result<Option<[Tensor; 2]>> {
        let dropout = self.options.dropout;
        if dropout == 0.0 {
            return Ok(None);
        }
        let mut mask = |units: usize| {
            let kept = 1.0 / (1.0 - dropout);
            let draw = |_| if self.random.unit() < dropout { 0.0 } else { kept };
            let mask: Vec<f32> = (0..rows * units).map(draw).collect();
            Tensor::from_vec(mask, (rows, units), &Device::Cpu)
        };
        let masks = [mask(self.options.first_units)?, mask(self.options.second_units)?];
        Ok(Some(masks))
    }
}

/// The mean logistic loss, max(z, 0) − z·y + ln(1 + e^−|z|): log(sigmoid(z)) would be infinite for a log-odds that
/// a float's sigmoid rounds to 0 or 1, and its gradient not a number.
fn loss(logits: &Tensor, labels: &Tensor) -> candle_core::Result<Tensor> {
    let tail = (logits.abs()?.neg()?.exp()? + 1.0)?.log()?;
    ((logits.relu()? - (logits * labels)?)? + tail)?.mean_all()
}

/// The weights that are learnt.
struct Weights {
    layers: [Variables; 3],
}

/// A layer's weights and biases.
struct Variables {
    weights: Var,
    biases: Var,
}

impl Weights {
    fn new(
        fit: &Dataset,
        encoding: &Encoding,
        options: &NetworkOptions,
        random: &mut Random,
    ) -> candle_core::Result<Self> {
        let (first, second) = (options.first_units, options.second_units);
        let layers = [
            Variables::new(encoding.columns(), first, random)?,
            Variables::new(first, second, random)?,
            Variables::new(second, 1, random)?,
        ];
        let odds = real(fit.positives()) / real(fit.len() - fit.positives());
        let even = Tensor::full(narrowed(odds.ln()), 1, &Device::Cpu)?;
        layers[2].biases.set(&even)?;
        Ok(Self { layers })
    }

    fn variables(&self) -> Vec<Var> {
        let layers = self.layers.iter();
        layers
            .flat_map(|layer| [layer.weights.clone(), layer.biases.clone()])
            .collect()
    }

    /// The log-odds of encoded rows, with some hidden units left out where there are masks.
    fn logits(&self, rows: &Tensor, masks: Option<&[Tensor; 2]>) -> candle_core::Result<Tensor> {
        let [first, second, last] = &self.layers;
        let mut hidden = first.apply(rows)?.relu()?;
        if let Some([mask, _]) = masks {
            hidden = (hidden * mask)?;
        }
        hidden = second.apply(&hidden)?.relu()?;
        if let Some([_, mask]) = masks {
            hidden = (hidden * mask)?;
        }
        last.apply(&hidden)?.squeeze(1)
    }

    fn member(&self) -> candle_core::Result<Member> {
        let [first, second, last] = &self.layers;
        Ok(Member {
            first: first.layer()?,
            second: second.layer()?,
            last: last.layer()?,
        })
    }
}

impl Variables {
    /// Small weights around 0, the smaller the more inputs there are, so that sums start at about the same size.
    fn new(inputs: usize, outputs: usize, random: &mut Random) -> candle_core::Result<Self> {
        let reach = narrowed(1.0 / real(inputs).sqrt());
        let weights = random.around_zero(inputs * outputs, reach);
        let biases = random.around_zero(outputs, reach);
        Ok(Self {
            weights: Var::from_vec(weights, (inputs, outputs), &Device::Cpu)?,
            biases: Var::from_vec(biases, outputs, &Device::Cpu)?,
        })
    }

    fn apply(&self, inputs: &Tensor) -> candle_core::Result<Tensor> {
        inputs.matmul(&self.weights)?.broadcast_add(&self.biases)
    }

    fn layer(&self) -> candle_core::Result<Layer> {
        let (inputs, outputs) = self.weights.dims2()?;
        Ok(Layer {
            inputs,
            outputs,
            weights: self.weights.flatten_all()?.to_vec1()?,
            biases: self.biases.to_vec1()?,
        })
    }
}

fn real(count: usize) -> f64 {
    f64::from(narrow(count))
}

#[allow(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "a starting value needs no more digits than a float has"
)]
fn narrowed(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::features::{FEATURE_COUNT, Row};
    use crate::model::Predict;
    use crate::network::{FixedNetwork, FloatNetwork};
    use selfchain_types::Operation;

    const OPTIONS: NetworkOptions = NetworkOptions {
        quantiles: 8,
        first_units: 16,
        second_units: 8,
        batch: 64,
        epochs_max: 12,
        patience: 12,
        learning_rate: 1e-2,
        weight_decay: 1e-3,
        dropout: 0.05,
        seed: 7,
    };

    /// Fraud is where one of two features is high, and not both: no sum of the two tells it.
    fn either(seed: u64, count: usize) -> Dataset {
        let mut random = Random::new(seed);
        let mut set = Dataset::default();
        for at in 0..count {
            let mut row = Row([0; FEATURE_COUNT]);
            let (left, right) = (random.next() % 1_000, random.next() % 30);
            row.0[0] = i32::try_from(left).unwrap();
            row.0[1] = i32::try_from(right).unwrap();
            set.push(
                row,
                Operation::default(),
                (left >= 500) != (right >= 15),
                selfchain_types::codec::wide(at),
                0,
            );
        }
        set
    }

    fn trained(options: &NetworkOptions) -> Network {
        train(&either(1, 2_000), &either(2, 500), options, &mut |_| ()).unwrap()
    }

    fn precision(model: &dyn Predict, set: &Dataset) -> f64 {
        let scores = set.scored_by(model);
        let scores: Vec<f32> = scores.iter().map(|score| narrowed(score.real())).collect();
        average_precision(&scores, &set.labels)
    }

    #[test]
    fn learns_what_no_sum_of_features_tells() {
        let (network, unseen) = (trained(&OPTIONS), either(3, 500));
        let float = precision(&FloatNetwork::new(&network).unwrap(), &unseen);
        let fixed = precision(&FixedNetwork::new(&network).unwrap(), &unseen);
        assert!(float > 0.97, "{float}");
        assert!(
            (float - fixed).abs() < 0.002,
            "{float}, but {fixed} in fixed point"
        );
    }

    #[test]
    fn one_seed_and_the_same_data_give_the_same_bytes() {
        let options = NetworkOptions {
            epochs_max: 2,
            ..OPTIONS
        };
        assert_eq!(trained(&options).tensors(), trained(&options).tensors());
        let other = NetworkOptions { seed: 8, ..options };
        assert_ne!(trained(&options).tensors(), trained(&other).tensors());
    }

    #[test]
    fn tells_of_every_pass_and_keeps_the_best() {
        let mut told = Vec::new();
        let (fit, stop) = (either(1, 1_000), either(2, 500));
        let network = train(&fit, &stop, &OPTIONS, &mut |progress| told.push(progress)).unwrap();
        assert!((1..=12).eq(told.iter().map(|progress| progress.epoch)));
        let best = told.iter().map(|progress| progress.precision).fold(0.0, f64::max);
        let kept = precision(&FloatNetwork::new(&network).unwrap(), &stop);
        assert!((best - kept).abs() < 1e-3, "{best}, but {kept} was kept");
        assert!(told[11].loss < told[0].loss);
    }

    #[test]
    fn stops_early_when_nothing_gets_better() {
        let mut passes = 0;
        let (fit, stop) = (either(1, 500), either(2, 100));
        let options = NetworkOptions {
            learning_rate: 0.0,
            patience: 2,
            ..OPTIONS
        };
        train(&fit, &stop, &options, &mut |_| passes += 1).unwrap();
        assert_eq!(passes, 3);
    }

    #[test]
    fn the_loss_of_extreme_log_odds_is_finite_and_so_is_its_gradient() {
        let logits = Var::new(&[-1e30_f32, -100.0, 0.0, 100.0, 1e30], &Device::Cpu).unwrap();
        let labels = Tensor::new(&[1.0_f32, 0.0, 1.0, 1.0, 0.0], &Device::Cpu).unwrap();
        let loss = loss(&logits, &labels).unwrap();
        let gradients = loss.backward().unwrap();
        let gradient: Vec<f32> = gradients.get(&logits).unwrap().to_vec1().unwrap();
        assert!(loss.to_scalar::<f32>().unwrap().is_finite());
        assert!(gradient.iter().all(|slope| slope.is_finite()), "{gradient:?}");
    }

    fn refused(fit: &Dataset, stop: &Dataset, options: &NetworkOptions) -> String {
        train(fit, stop, options, &mut |_| ()).unwrap_err().to_string()
    }

    #[test]
    fn refuses_sets_that_teach_nothing() {
        let (set, none) = (either(1, 100), Dataset::default());
        let good = set.select(|at| !set.labels[at]);
        assert_eq!(refused(&none, &set, &OPTIONS), "the fit set is empty");
        assert_eq!(refused(&set, &none, &OPTIONS), "the stop set is empty");
        let one_class = "the rows of the fit set are all fraud, or none is";
        assert_eq!(refused(&good, &set, &OPTIONS), one_class);
        assert!(refused(&set, &good, &OPTIONS).contains("stop set"));
        let mut constant = set.clone();
        constant.rows.fill(Row([0; FEATURE_COUNT]));
        assert!(refused(&constant, &set, &OPTIONS).contains("constant"));
    }

    #[test]
    fn refuses_options_by_name() {
        let set = either(1, 100);
        let options = |change: fn(&mut NetworkOptions)| {
            let mut options = OPTIONS;
            change(&mut options);
            refused(&set, &set, &options)
        };
        assert!(options(|options| options.batch = 0).contains("batch"));
        assert!(options(|options| options.first_units = 513).contains("first_units"));
        assert!(options(|options| options.dropout = 1.0).contains("dropout"));
        assert!(options(|options| options.learning_rate = f64::NAN).contains("learning_rate"));
        assert!(options(|options| options.epochs_max = 0).contains("epochs_max"));
    }
}
