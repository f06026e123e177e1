//! The file of a proposer's quality network: small layers of 8-bit weights.
//!
//! `magic 4 ‖ version u16 ‖ features u16 ‖ layers u8`, then for each layer `inputs u16 ‖ outputs u16 ‖ shift u8 ‖
//! biases i32 × outputs ‖ weights i8 × outputs × inputs` (row by row, a row an output), then `id 32`, which is
//! `H(model; all bytes before it)`. Table: `docs/formats/quality.md`.

mod features;
mod evaluate;

pub use evaluate::{QUALITY_MAX, VALUE_MAX, input};
pub use features::{CATALOGUE, FEATURES, FEATURES_VERSION, Row, Sense};

use crate::codec::{DecodeError, Reader};
use crate::{Hash, hash};
use alloc::vec::Vec;
use thiserror::Error;

/// The first four bytes.
pub const MAGIC: [u8; 4] = *b"SCQN";
/// The version of the format.
pub const VERSION: u16 = 1;
/// Most layers.
pub const LAYERS_MAX: usize = 4;
/// Most inputs or outputs of a layer.
pub const WIDTH_MAX: usize = 64;
/// A bias lies within ± this, so that a sum fits 32 bits: `64 · 127 · 128 + 2^24 < 2^25`.
pub const BIAS_MAX: i32 = 1 << 24;
/// Most bits that a sum is shifted right by.
pub const SHIFT_MAX: u8 = 24;

/// One layer: `outputs` rows of `inputs` weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Values that it takes.
    pub inputs: usize,
    /// Bits that each sum is shifted right by, rounding down.
    pub shift: u8,
    /// One an output.
    pub biases: Vec<i32>,
    /// `biases.len()` rows of `inputs`.
    pub weights: Vec<i8>,
}

/// A network whose shapes fit: [`Network::new`] and [`Network::decode`] are its only doors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    features: u16,
    layers: Vec<Layer>,
    id: Hash,
}

/// Why bytes or layers are no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NetworkError {
    /// The file is not of this kind.
    #[error("the file does not begin with SCQN")]
    Magic,
    /// The file is of another version.
    #[error("version {got} of the format; this code reads {VERSION}")]
    Version {
        /// Its version.
        got: u16,
    },
    /// The file ends early.
    #[error("truncated: {0}")]
    Truncated(DecodeError),
    /// Bytes follow the network.
    #[error("{extra} bytes after the end")]
    Overlong {
        /// How many.
        extra: usize,
    },
    /// None, or too many.
    #[error("{got} layers; 1 to {LAYERS_MAX} are allowed")]
    Layers {
        /// How many.
        got: usize,
    },
    /// A layer has no inputs or outputs, or too many.
    #[error("layer {layer} has {got} inputs or outputs; 1 to {WIDTH_MAX} are allowed")]
    Width {
        /// Which layer.
        layer: usize,
        /// How many.
        got: usize,
    },
    /// A layer does not take what the one before gives, the last does not give one value, or weights are missing.
    #[error("layer {layer} takes or gives {got} values, not {want}")]
    Shape {
        /// Which layer.
        layer: usize,
        /// How many.
        got: usize,
        /// How many it would have to be.
        want: usize,
    },
    /// A bias is too large.
    #[error("layer {layer} has a bias of {got}; ± {BIAS_MAX} is the most")]
    Bias {
        /// Which layer.
        layer: usize,
        /// The bias.
        got: i32,
    },
    /// A shift is too large.
    #[error("layer {layer} shifts by {got} bits; {SHIFT_MAX} is the most")]
    Shift {
        /// Which layer.
        layer: usize,
        /// The shift.
        got: u8,
    },
    /// By its weights' signs its quality may rise with a failing, or fall with a merit.
    #[error("the feature {feature} may move the quality the wrong way")]
    Direction {
        /// Which feature.
        feature: &'static str,
    },
    /// The bytes are not those that the id names.
    #[error("the file's hash is {got}, its id says {want}")]
    Id {
        /// Hash of its bytes.
        got: Hash,
        /// What it says.
        want: Hash,
    },
}

impl Network {
    /// A network of these layers over features of version `features`.
    ///
    /// # Errors
    /// [`NetworkError`], naming the first layer that does not fit.
    pub fn new(features: u16, layers: Vec<Layer>) -> Result<Self, NetworkError> {
        check_layers(&layers)?;
        let mut network = Self {
            features,
            layers,
            id: Hash::ZERO,
        };
        network.id = hash::MODEL.hash(&network.unsealed());
        Ok(network)
    }

    /// The version of the features that it takes.
    pub fn features(&self) -> u16 {
        self.features
    }

    /// From the features' layer to the one that gives the quality.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// How many features it takes.
    pub fn inputs(&self) -> usize {
        self.layers[0].inputs
    }

    /// Its name on the chain.
    pub fn id(&self) -> Hash {
        self.id
    }

    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.unsealed();
        out.extend_from_slice(self.id.as_bytes());
        out
    }

    fn unsealed(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.features.to_le_bytes());
        out.push(u8::try_from(self.layers.len()).expect("at most LAYERS_MAX layers"));
        for layer in &self.layers {
            put_width(layer.inputs, &mut out);
            put_width(layer.biases.len(), &mut out);
            out.push(layer.shift);
            layer
                .biases
                .iter()
                .for_each(|bias| out.extend_from_slice(&bias.to_le_bytes()));
            layer
                .weights
                .iter()
                .for_each(|weight| out.extend_from_slice(&weight.to_le_bytes()));
        }
        out
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`NetworkError`], naming what is wrong; nothing larger than the limits is ever allocated.
    pub fn decode(bytes: &[u8]) -> Result<Self, NetworkError> {
        let mut reader = Reader::new("quality network", bytes);
        if reader.array::<4>().map_err(NetworkError::Truncated)? != MAGIC {
            return Err(NetworkError::Magic);
        }
        let version = reader.u16().map_err(NetworkError::Truncated)?;
        if version != VERSION {
            return Err(NetworkError::Version { got: version });
        }
        let features = reader.u16().map_err(NetworkError::Truncated)?;
        let count = usize::from(reader.u8().map_err(NetworkError::Truncated)?);
        if count == 0 || count > LAYERS_MAX {
            return Err(NetworkError::Layers { got: count });
        }
        let mut layers = Vec::with_capacity(count);
        for layer in 0..count {
            layers.push(decode_layer(&mut reader, layer)?);
        }
        let want = reader.hash().map_err(NetworkError::Truncated)?;
        if reader.left() > 0 {
            return Err(NetworkError::Overlong { extra: reader.left() });
        }
        let network = Self::new(features, layers)?;
        if network.id == want {
            Ok(network)
        } else {
            Err(NetworkError::Id {
                got: network.id,
                want,
            })
        }
    }
}

fn put_width(width: usize, out: &mut Vec<u8>) {
    let width = u16::try_from(width).expect("at most WIDTH_MAX values");
    out.extend_from_slice(&width.to_le_bytes());
}

fn decode_layer(reader: &mut Reader<'_>, layer: usize) -> Result<Layer, NetworkError> {
    let inputs = width(reader, layer)?;
    let outputs = width(reader, layer)?;
    let shift = reader.u8().map_err(NetworkError::Truncated)?;
    let biases = reader.take(4 * outputs).map_err(NetworkError::Truncated)?;
    let (biases, _) = biases.as_chunks::<4>();
    let weights = reader.take(outputs * inputs).map_err(NetworkError::Truncated)?;
    Ok(Layer {
        inputs,
        shift,
        biases: biases.iter().map(|bias| i32::from_le_bytes(*bias)).collect(),
        weights: weights
            .iter()
            .map(|weight| i8::from_le_bytes([*weight]))
            .collect(),
    })
}

fn width(reader: &mut Reader<'_>, layer: usize) -> Result<usize, NetworkError> {
    let got = usize::from(reader.u16().map_err(NetworkError::Truncated)?);
    check_width(layer, got)?;
    Ok(got)
}

fn check_width(layer: usize, got: usize) -> Result<(), NetworkError> {
    if got == 0 || got > WIDTH_MAX {
        return Err(NetworkError::Width { layer, got });
    }
    Ok(())
}

fn check_layers(layers: &[Layer]) -> Result<(), NetworkError> {
    if layers.is_empty() || layers.len() > LAYERS_MAX {
        return Err(NetworkError::Layers { got: layers.len() });
    }
    let mut given = None;
    for (at, layer) in layers.iter().enumerate() {
        let outputs = layer.biases.len();
        check_width(at, layer.inputs)?;
        check_width(at, outputs)?;
        check_shape(at, layer.inputs, given.unwrap_or(layer.inputs))?;
        check_shape(at, layer.weights.len(), outputs * layer.inputs)?;
        if let Some(got) = layer
            .biases
            .iter()
            .find(|bias| bias.unsigned_abs() > BIAS_MAX.unsigned_abs())
        {
            return Err(NetworkError::Bias { layer: at, got: *got });
        }
        if layer.shift > SHIFT_MAX {
            return Err(NetworkError::Shift {
                layer: at,
                got: layer.shift,
            });
        }
        given = Some(outputs);
    }
    check_shape(layers.len() - 1, given.unwrap_or_default(), 1)
}

fn check_shape(layer: usize, got: usize, want: usize) -> Result<(), NetworkError> {
    if got == want {
        Ok(())
    } else {
        Err(NetworkError::Shape { layer, got, want })
    }
}

/// Bytes of the largest file.
pub const NETWORK_BYTES_MAX: usize = 9 + LAYERS_MAX * (5 + WIDTH_MAX * (4 + WIDTH_MAX)) + Hash::LEN;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use alloc::vec;

    fn layer(inputs: usize, outputs: usize) -> Layer {
        Layer {
            inputs,
            shift: 3,
            biases: vec![-5; outputs],
            weights: vec![-7; inputs * outputs],
        }
    }

    fn network() -> Network {
        Network::new(1, vec![layer(3, 2), layer(2, 1)]).unwrap()
    }

    /// The file with `change` made to it and an id that fits again.
    fn resealed(change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
        let mut bytes = network().unsealed();
        change(&mut bytes);
        let id = hash::MODEL.hash(&bytes);
        bytes.extend_from_slice(id.as_bytes());
        bytes
    }

    #[test]
    fn a_network_round_trips_and_every_cut_is_refused_by_name() {
        let bytes = network().to_bytes();
        assert!(bytes.len() <= NETWORK_BYTES_MAX);
        assert_eq!(Network::decode(&bytes).unwrap(), network());
        for cut in 0..bytes.len() {
            let refusal = Network::decode(&bytes[..cut]);
            assert!(
                matches!(refusal, Err(NetworkError::Truncated(_))),
                "{cut}: {refusal:?}"
            );
        }
        let long = [bytes.as_slice(), &[0]].concat();
        assert_eq!(Network::decode(&long), Err(NetworkError::Overlong { extra: 1 }));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_named() {
        let check = |change: fn(&mut Vec<u8>), want: NetworkError| {
            assert_eq!(Network::decode(&resealed(change)), Err(want));
        };
        check(|bytes| bytes[0] = b'X', NetworkError::Magic);
        check(|bytes| bytes[4] = 2, NetworkError::Version { got: 2 });
        check(|bytes| bytes[8] = 0, NetworkError::Layers { got: 0 });
        check(|bytes| bytes[8] = 5, NetworkError::Layers { got: 5 });
        check(|bytes| bytes[9] = 0, NetworkError::Width { layer: 0, got: 0 });
        check(|bytes| bytes[9] = 65, NetworkError::Width { layer: 0, got: 65 });
        check(|bytes| bytes[13] = 25, NetworkError::Shift { layer: 0, got: 25 });
        check(
            |bytes| bytes[14..18].copy_from_slice(&(BIAS_MAX + 1).to_le_bytes()),
            NetworkError::Bias {
                layer: 0,
                got: BIAS_MAX + 1,
            },
        );
        check(
            |bytes| bytes[14..18].copy_from_slice(&i32::MIN.to_le_bytes()),
            NetworkError::Bias {
                layer: 0,
                got: i32::MIN,
            },
        );
        let mut flipped = network().to_bytes();
        flipped[20] ^= 1;
        assert!(matches!(Network::decode(&flipped), Err(NetworkError::Id { .. })));
    }

    #[test]
    fn shapes_that_do_not_meet_are_refused() {
        let shape = |layer, got, want| Err(NetworkError::Shape { layer, got, want });
        assert_eq!(Network::new(1, vec![layer(3, 2), layer(3, 1)]), shape(1, 3, 2));
        assert_eq!(Network::new(1, vec![layer(3, 2)]), shape(0, 2, 1));
        let mut short = layer(3, 1);
        short.weights.pop();
        assert_eq!(Network::new(1, vec![short]), shape(0, 2, 3));
        assert_eq!(
            Network::new(1, vec![layer(65, 1)]),
            Err(NetworkError::Width { layer: 0, got: 65 })
        );
        assert_eq!(Network::new(1, vec![]), Err(NetworkError::Layers { got: 0 }));
    }
}
