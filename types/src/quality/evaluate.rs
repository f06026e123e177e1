//! What a network says, in integers, the same on every processor; and whether a chain may take it.
//!
//! Each feature (0 to 1,000) becomes 0 to 127. A hidden value is `clamp((bias + Σ weight · value) >> shift, 0, 127)`
//! (a clipped ReLU; the shift rounds down), the last one `clamp(…, 0, 1000)`: the quality. Weights are 8 bits, sums
//! 32 bits and cannot overflow.

use super::features::{CATALOGUE, FEATURES, FEATURES_VERSION, Row, Sense};
use super::{Layer, Network, NetworkError};
use alloc::vec::Vec;

/// The best quality.
pub const QUALITY_MAX: u16 = 1_000;
/// The largest value between layers.
pub const VALUE_MAX: i32 = 127;

impl Network {
    /// The quality of who has these features. Features that the network does not take are left out, and what it lacks
    /// is zero; [`Network::fits`] keeps such networks out.
    pub fn quality(&self, row: &Row) -> u16 {
        let mut values: Vec<i32> = row.iter().map(|value| input(*value)).collect();
        let last = self.layers.len() - 1;
        for (at, layer) in self.layers.iter().enumerate() {
            let max = if at == last {
                i32::from(QUALITY_MAX)
            } else {
                VALUE_MAX
            };
            values = (layer.rows().zip(&layer.biases))
                .map(|(weights, bias)| (sum(*bias, weights, &values) >> layer.shift).clamp(0, max))
                .collect();
        }
        u16::try_from(values[0]).unwrap_or_default()
    }

    /// Whether it takes the features that there are, and no quality rises with a failing or falls with a merit.
    ///
    /// The second is read from the signs of its weights alone, along every way from a feature to the quality. So a
    /// network that passes is monotone for certain, and one may be refused that happens to be.
    ///
    /// # Errors
    /// [`NetworkError::Version`] of the features, [`NetworkError::Shape`] of layer 0, [`NetworkError::Direction`].
    pub fn fits(&self) -> Result<(), NetworkError> {
        if self.features != FEATURES_VERSION {
            return Err(NetworkError::Version { got: self.features });
        }
        if self.inputs() != FEATURES {
            return Err(NetworkError::Shape {
                layer: 0,
                got: self.inputs(),
                want: FEATURES,
            });
        }
        for (at, (feature, sense)) in CATALOGUE.into_iter().enumerate() {
            let moves = self.moves(at);
            let is_wrong = match sense {
                Sense::Failing => moves.up,
                Sense::Merit => moves.down,
                Sense::Free => false,
            };
            if is_wrong {
                return Err(NetworkError::Direction { feature });
            }
        }
        Ok(())
    }

    /// How the quality may move as an input grows. Clamps and shifts never turn a direction round.
    fn moves(&self, input: usize) -> Moves {
        let mut values: Vec<Moves> = (0..self.inputs())
            .map(|at| Moves {
                up: at == input,
                down: false,
            })
            .collect();
        for layer in &self.layers {
            values = layer
                .rows()
                .map(|weights| Moves::through(weights, &values))
                .collect();
        }
        values[0]
    }
}

impl Layer {
    /// The weights of each output.
    fn rows(&self) -> impl Iterator<Item = &[i8]> {
        self.weights.chunks_exact(self.inputs)
    }
}

/// Whether a value may rise, and whether it may fall.
#[derive(Clone, Copy, Debug, Default)]
struct Moves {
    up: bool,
    down: bool,
}

impl Moves {
    fn through(weights: &[i8], values: &[Self]) -> Self {
        (weights.iter().zip(values)).fold(Self::default(), |sum, (weight, value)| match weight.signum() {
            0 => sum,
            1 => Self {
                up: sum.up || value.up,
                down: sum.down || value.down,
            },
            _ => Self {
                up: sum.up || value.down,
                down: sum.down || value.up,
            },
        })
    }
}

/// A feature as a value: `floor(127 · value / 1000)`.
pub fn input(value: u16) -> i32 {
    i32::from(value.min(QUALITY_MAX)) * VALUE_MAX / i32::from(QUALITY_MAX)
}

fn sum(bias: i32, weights: &[i8], values: &[i32]) -> i32 {
    let products = weights
        .iter()
        .zip(values)
        .map(|(weight, value)| i32::from(*weight) * value);
    bias + products.sum::<i32>()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use alloc::vec;

    fn layer(inputs: usize, outputs: usize) -> Layer {
        Layer {
            inputs,
            shift: 0,
            biases: vec![0; outputs],
            weights: vec![0; inputs * outputs],
        }
    }

    /// Two hidden values, whose weights from every feature and to the quality are these.
    fn network(from: [i8; 2], to: [i8; 2], feature: usize) -> Network {
        let (mut hidden, mut last) = (layer(FEATURES, 2), layer(2, 1));
        hidden.weights[feature] = from[0];
        hidden.weights[FEATURES + feature] = from[1];
        last.weights.copy_from_slice(&to);
        Network::new(FEATURES_VERSION, vec![hidden, last]).unwrap()
    }

    #[test]
    fn a_network_that_rewards_a_failing_on_any_way_does_not_fit() {
        for (at, (feature, sense)) in CATALOGUE.into_iter().enumerate() {
            let wrong = |is_wrong| {
                if is_wrong {
                    Err(NetworkError::Direction { feature })
                } else {
                    Ok(())
                }
            };
            let (is_failing, is_merit) = (sense == Sense::Failing, sense == Sense::Merit);
            assert_eq!(network([1, 0], [1, 0], at).fits(), wrong(is_failing));
            assert_eq!(network([-1, 0], [-1, 0], at).fits(), wrong(is_failing));
            assert_eq!(network([1, 0], [-1, 0], at).fits(), wrong(is_merit));
            assert_eq!(network([0, -1], [0, 1], at).fits(), wrong(is_merit));
            assert_eq!(network([1, 1], [1, -1], at).fits(), wrong(is_failing || is_merit));
            assert_eq!(network([1, 1], [0, 0], at).fits(), Ok(()));
        }
    }

    #[test]
    fn sums_are_shifted_down_and_clipped() {
        let mut hidden = layer(FEATURES, 2);
        hidden.shift = 1;
        hidden.weights[1] = 3;
        hidden.weights[FEATURES] = -3;
        hidden.biases = vec![-2, 5];
        let mut last = layer(2, 1);
        last.weights = vec![5, -7];
        last.biases = vec![3];
        let network = Network::new(FEATURES_VERSION, vec![hidden, last]).unwrap();
        let of = |missed, made| {
            let mut row = [0; FEATURES];
            (row[0], row[1]) = (missed, made);
            network.quality(&row)
        };
        // 20 of 1,000 is 2 of 127; (3 · 2 − 2) >> 1 = 2; (5 − 3 · 2) >> 1 = −1, clipped to 0.
        assert_eq!(of(20, 20), 5 * 2 + 3);
        // (5 − 3 · 1) >> 1 = 1, and −2 >> 1 is clipped: 3 − 7 is clipped too.
        assert_eq!(of(10, 0), 0);
        assert_eq!(of(1_000, 1_000), 5 * 127 + 3);
    }
}
