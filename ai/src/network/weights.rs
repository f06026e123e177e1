//! What training leaves: an encoding, and layers of float weights, one stack a member.

use super::encode::Encoding;
use crate::features::{FEATURES, Row};
use thiserror::Error;

/// Most members of a network.
pub const MEMBERS_MAX: usize = 8;
/// Most units of a hidden layer.
pub const UNITS_MAX: usize = 512;
/// Weights and biases stay within ± this.
pub const WEIGHT_MAX: f32 = 65_536.0;

/// Why layers are no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NetworkError {
    /// No member, or too many.
    #[error("{got} members: 1 to {MEMBERS_MAX} are allowed")]
    Members {
        /// How many there are.
        got: usize,
    },
    /// A hidden layer that is empty or too wide.
    #[error("the {layer} layer has {got} units: 1 to {UNITS_MAX} are allowed")]
    Units {
        /// Which layer.
        layer: &'static str,
        /// How many units it has.
        got: usize,
    },
    /// A layer that does not fit the one before, or members of different sizes.
    #[error("the {layer} layer does not fit what is around it")]
    Shape {
        /// Which layer.
        layer: &'static str,
    },
    /// A weight that is not a number, infinite, or beyond [`WEIGHT_MAX`].
    #[error("the {layer} layer has a weight that is not finite or exceeds {WEIGHT_MAX}")]
    Weight {
        /// Which layer.
        layer: &'static str,
    },
    /// A typical row that no transfer can have.
    #[error("feature {feature} of the typical row leaves its bounds")]
    Typical {
        /// The feature.
        feature: usize,
    },
    /// Networks over different encodings cannot be averaged.
    #[error("the networks encode features differently")]
    Encodings,
}

/// A dense layer: what comes in, times the weights, plus the biases.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// How many values come in.
    pub inputs: usize,
    /// How many come out.
    pub outputs: usize,
    /// A row of `outputs` weights for every input.
    pub weights: Vec<f32>,
    /// One for every output.
    pub biases: Vec<f32>,
}

/// One stack of layers; between them what is negative becomes 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Encoded columns to the first hidden units.
    pub first: Layer,
    /// Those to the second.
    pub second: Layer,
    /// Those to the log-odds.
    pub last: Layer,
}

/// A trained network: its log-odds are the mean of its members'. All members are of the same sizes, and every
/// weight is finite and within [`WEIGHT_MAX`].
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    encoding: Encoding,
    typical: Row,
    members: Vec<Member>,
}

impl Network {
    /// Checks that the parts fit each other.
    pub fn new(encoding: Encoding, typical: Row, members: Vec<Member>) -> Result<Self, NetworkError> {
        if members.is_empty() || members.len() > MEMBERS_MAX {
            return Err(NetworkError::Members { got: members.len() });
        }
        let (first, second) = (members[0].first.outputs, members[0].second.outputs);
        check_units("first", first)?;
        check_units("second", second)?;
        for member in &members {
            member.first.check("first", encoding.columns(), first)?;
            member.second.check("second", first, second)?;
            member.last.check("last", second, 1)?;
        }
        check_typical(&typical)?;
        Ok(Self {
            encoding,
            typical,
            members,
        })
    }

    /// One network of the members of several, which were trained over the same rows from different seeds: where
    /// they err differently, their mean errs less than each.
    pub fn averaged(networks: &[Self]) -> Result<Self, NetworkError> {
        let Some(first) = networks.first() else {
            return Err(NetworkError::Members { got: 0 });
        };
        if networks.iter().any(|network| network.encoding != first.encoding) {
            return Err(NetworkError::Encodings);
        }
        let members = networks.iter().flat_map(|network| network.members.clone());
        Self::new(first.encoding.clone(), first.typical, members.collect())
    }

    /// How rows are encoded.
    pub fn encoding(&self) -> &Encoding {
        &self.encoding
    }

    /// The median of every feature in training.
    pub fn typical(&self) -> &Row {
        &self.typical
    }

    /// The stacks of layers; at least one.
    pub fn members(&self) -> &[Member] {
        &self.members
    }
}

impl Layer {
    fn check(&self, layer: &'static str, inputs: usize, outputs: usize) -> Result<(), NetworkError> {
        let fits = (self.inputs, self.outputs) == (inputs, outputs)
            && self.weights.len() == inputs.saturating_mul(outputs)
            && self.biases.len() == outputs;
        if !fits {
            return Err(NetworkError::Shape { layer });
        }
        // What is not a number is within nothing.
        let is_within = |weight: &f32| (-WEIGHT_MAX..=WEIGHT_MAX).contains(weight);
        if !self.weights.iter().chain(&self.biases).all(is_within) {
            return Err(NetworkError::Weight { layer });
        }
        Ok(())
    }

    /// The weights from one input to every output.
    pub(super) fn row(&self, input: usize) -> &[f32] {
        &self.weights[input * self.outputs..][..self.outputs]
    }
}

fn check_units(layer: &'static str, got: usize) -> Result<(), NetworkError> {
    if got == 0 || got > UNITS_MAX {
        return Err(NetworkError::Units { layer, got });
    }
    Ok(())
}

fn check_typical(typical: &Row) -> Result<(), NetworkError> {
    let leaves = |(feature, value): (usize, &i32)| {
        let bounds = FEATURES[feature];
        (*value < bounds.min || *value > bounds.max).then_some(NetworkError::Typical { feature })
    };
    typical.0.iter().enumerate().find_map(leaves).map_or(Ok(()), Err)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::network::samples;

    fn spoilt(spoil: impl FnOnce(&mut Member)) -> Result<Network, NetworkError> {
        let network = samples::random(1, 8, 4);
        let mut members = network.members.clone();
        spoil(&mut members[0]);
        Network::new(network.encoding, network.typical, members)
    }

    #[test]
    fn refuses_parts_that_do_not_fit() {
        assert!(spoilt(|_| ()).is_ok());
        let shape = |layer| Err(NetworkError::Shape { layer });
        assert_eq!(spoilt(|member| member.first.inputs -= 1), shape("first"));
        assert_eq!(
            spoilt(|member| member.second.weights.truncate(31)),
            shape("second")
        );
        assert_eq!(spoilt(|member| member.last.biases.push(0.0)), shape("last"));
        for (layer, got) in [("first", 0), ("first", UNITS_MAX + 1)] {
            let want = Err(NetworkError::Units { layer, got });
            assert_eq!(spoilt(|member| member.first.outputs = got), want);
        }
    }

    #[test]
    fn refuses_weights_that_are_not_finite() {
        for weight in [f32::NAN, f32::INFINITY, -f32::INFINITY, 65_537.0] {
            let want = |layer| Err(NetworkError::Weight { layer });
            assert_eq!(spoilt(|member| member.first.weights[3] = weight), want("first"));
            assert_eq!(spoilt(|member| member.second.biases[3] = weight), want("second"));
            assert_eq!(spoilt(|member| member.last.weights[3] = weight), want("last"));
        }
    }

    #[test]
    fn refuses_a_typical_row_out_of_bounds() {
        let network = samples::random(1, 8, 4);
        let mut typical = network.typical;
        typical.0[1] = FEATURES[1].max + 1;
        let refused = Network::new(network.encoding, typical, network.members);
        assert_eq!(refused, Err(NetworkError::Typical { feature: 1 }));
    }

    #[test]
    fn averages_networks_over_one_encoding_only() {
        let network = samples::random(1, 8, 4);
        let both = Network::averaged(&[network.clone(), network.clone()]).unwrap();
        assert_eq!(both.members().len(), 2);
        let other = samples::tiny();
        assert_eq!(
            Network::averaged(&[network.clone(), other]),
            Err(NetworkError::Encodings)
        );
        assert_eq!(Network::averaged(&[]), Err(NetworkError::Members { got: 0 }));
        let many = vec![network; MEMBERS_MAX + 1];
        let got = MEMBERS_MAX + 1;
        assert_eq!(Network::averaged(&many), Err(NetworkError::Members { got }));
    }
}
