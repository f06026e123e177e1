//! Networks and rows that the tests of this folder share.

use super::encode::Encoding;
use super::weights::{Layer, Member, Network};
use crate::features::{FEATURE_COUNT, FEATURES, Row};

/// Two features with edges by hand, two units in each layer, and weights that are exact in binary.
///
/// First layer: `left` = relu(2·a − 1), `right` = relu(b₁ + ½·b₂), where a is feature 0 over 0…1024, b₁ feature
/// 33 over 0…1 and b₂ over 1…3. Second: relu(left + right), relu(left − right). Log-odds: first − 2·second − ½.
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
pub(crate) fn tiny() -> Network {
    let mut edges = vec![Vec::new(); FEATURE_COUNT];
    edges[0] = vec![0, 1024];
    edges[33] = vec![0, 1, 3];
    let first = layer(2, &[2.0, 0.0, 0.0, 1.0, 0.0, 0.5], &[-1.0, 0.0]);
    let second = layer(2, &[1.0, 1.0, 1.0, -1.0], &[0.0, 0.0]);
    let last = layer(1, &[1.0, -2.0], &[-0.5]);
    let member = Member { first, second, last };
    let typical = Row(FEATURES.map(|feature| feature.min));
    Network::new(Encoding::new(edges).unwrap(), typical, vec![member]).unwrap()
}

fn layer(outputs: usize, weights: &[f32], biases: &[f32]) -> Layer {
    Layer {
        inputs: weights.len() / outputs,
        outputs,
        weights: weights.to_vec(),
        biases: biases.to_vec(),
    }
}

/// A network over sixteen bins a feature with random weights of about the size that training gives.
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
pub(crate) fn random(seed: u64, first: usize, second: usize) -> Network {
    let mut state = seed;
    let encoding = Encoding::learn(&rows(1, 500), 16).unwrap();
    let member = Member {
        first: random_layer(&mut state, encoding.columns(), first, 0.4),
        second: random_layer(&mut state, first, second, 0.5),
        last: random_layer(&mut state, second, 1, 1.0),
    };
    let typical = Row(FEATURES.map(|feature| feature.min));
    Network::new(encoding, typical, vec![member]).unwrap()
}

/// A random network whose log-odds pass what is allowed.
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
pub(crate) fn loud() -> Network {
    let network = random(1, 64, 32);
    let mut members = network.members().to_vec();
    for weight in &mut members[0].last.weights {
        *weight *= 60_000.0;
    }
    Network::new(network.encoding().clone(), *network.typical(), members).unwrap()
}

fn random_layer(state: &mut u64, inputs: usize, outputs: usize, size: f32) -> Layer {
    let mut draw = || size * (f32::from(low16(next(state))) / 32_768.0 - 1.0);
    Layer {
        inputs,
        outputs,
        weights: (0..inputs * outputs).map(|_| draw()).collect(),
        biases: (0..outputs).map(|_| draw()).collect(),
    }
}

/// Rows within the bounds of every feature.
pub(crate) fn rows(seed: u64, count: usize) -> Vec<Row> {
    let mut state = seed;
    let mut draw = |feature: usize| {
        let (min, max) = (i64::from(FEATURES[feature].min), i64::from(FEATURES[feature].max));
        let width = (max - min).unsigned_abs() + 1;
        i32::try_from(min + i64::try_from(next(&mut state) % width).unwrap_or(0)).unwrap_or(0)
    };
    (0..count).map(|_| Row(core::array::from_fn(&mut draw))).collect()
}

fn low16(value: u64) -> u16 {
    u16::try_from(value & 0xffff).unwrap_or(0)
}

/// A linear congruential step, its low bits dropped.
fn next(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(0x5851_f42d_4c95_7f2d)
        .wrapping_add(0x1405_7b7e_f767_814f);
    *state >> 24
}
