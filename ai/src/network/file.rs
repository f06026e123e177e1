//! A network as tensors of a safetensors file, and back. Metadata and what else is in the file are the caller's.

use super::encode::{EDGES_MAX, Encoding, EncodingError};
use super::weights::{Layer, MEMBERS_MAX, Member, Network, NetworkError, UNITS_MAX};
use crate::features::{FEATURE_COUNT, Row};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, View};
use std::borrow::Cow;
use thiserror::Error;

/// Why tensors are no network.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FileError {
    /// A tensor that is not there.
    #[error("tensor `{name}` is missing")]
    Missing {
        /// Its name.
        name: &'static str,
    },
    /// A tensor of another type.
    #[error("tensor `{name}` is of type {got:?}, not {want:?}")]
    Type {
        /// Its name.
        name: &'static str,
        /// The type in the file.
        got: Dtype,
        /// The type that it must have.
        want: Dtype,
    },
    /// A tensor of another shape.
    #[error("tensor `{name}` has shape {got:?}, not {want:?}")]
    Shape {
        /// Its name.
        name: &'static str,
        /// The shape in the file.
        got: Vec<usize>,
        /// The shape that it must have.
        want: Vec<usize>,
    },
    /// More members or units than are allowed.
    #[error("tensor `{name}` has shape {got:?}, which is empty or too large")]
    Size {
        /// Its name.
        name: &'static str,
        /// The shape in the file.
        got: Vec<usize>,
    },
    /// A number of edges that no feature has.
    #[error("feature {feature} has {got} edges: none, or 2 to {EDGES_MAX}, are allowed")]
    EdgeCount {
        /// The feature.
        feature: usize,
        /// How many the file says.
        got: i32,
    },
    /// Edges that are no encoding.
    #[error(transparent)]
    Encoding(#[from] EncodingError),
    /// Weights that are no network.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// One tensor, ready to be written with `safetensors::serialize`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTensor {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl View for StoredTensor {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// The median of every feature: `[40]`.
const TYPICAL: &str = "network.typical";
/// How many edges each feature has: `[40]`.
const EDGE_COUNTS: &str = "network.edge_counts";
/// The edges of all features, one after the other.
const EDGES: &str = "network.edges";
/// `[members, columns, first units]`.
const FIRST_WEIGHTS: &str = "network.first.weights";
/// `[members, first units]`.
const FIRST_BIASES: &str = "network.first.biases";
/// `[members, first units, second units]`.
const SECOND_WEIGHTS: &str = "network.second.weights";
/// `[members, second units]`.
const SECOND_BIASES: &str = "network.second.biases";
/// `[members, second units, 1]`.
const LAST_WEIGHTS: &str = "network.last.weights";
/// `[members, 1]`.
const LAST_BIASES: &str = "network.last.biases";

impl Network {
    /// The tensors of a file that holds this network.
    pub fn tensors(&self) -> Vec<(&'static str, StoredTensor)> {
        let edges = self.encoding().edges();
        let counts = edges.iter().map(|edges| i32::try_from(edges.len()));
        let counts: Vec<i32> = counts.map(|count| count.unwrap_or(i32::MAX)).collect();
        let mut tensors = vec![
            (TYPICAL, integers(&self.typical().0)),
            (EDGE_COUNTS, integers(&counts)),
            (EDGES, integers(&edges.concat())),
        ];
        tensors.extend(self.layer((FIRST_WEIGHTS, FIRST_BIASES), |member| &member.first));
        tensors.extend(self.layer((SECOND_WEIGHTS, SECOND_BIASES), |member| &member.second));
        tensors.extend(self.layer((LAST_WEIGHTS, LAST_BIASES), |member| &member.last));
        tensors
    }

    fn layer(
        &self,
        names: (&'static str, &'static str),
        of: impl Fn(&Member) -> &Layer,
    ) -> [(&'static str, StoredTensor); 2] {
        let members = self.members().len();
        let (mut inputs, mut outputs) = (0, 0);
        let (mut weights, mut biases) = (Vec::new(), Vec::new());
        for layer in self.members().iter().map(of) {
            (inputs, outputs) = (layer.inputs, layer.outputs);
            weights.extend_from_slice(&layer.weights);
            biases.extend_from_slice(&layer.biases);
        }
        [
            (names.0, reals(vec![members, inputs, outputs], &weights)),
            (names.1, reals(vec![members, outputs], &biases)),
        ]
    }

    /// The network that a file holds; tensors of other names are not looked at.
    pub fn from_tensors(tensors: &SafeTensors<'_>) -> Result<Self, FileError> {
        let typical = read_integers(tensors, TYPICAL, FEATURE_COUNT)?;
        let encoding = read_encoding(tensors)?;
        let [members, _, first] = sizes(tensors, FIRST_WEIGHTS)?;
        let [_, _, second] = sizes(tensors, SECOND_WEIGHTS)?;
        let columns = encoding.columns();
        let names = [
            (FIRST_WEIGHTS, FIRST_BIASES),
            (SECOND_WEIGHTS, SECOND_BIASES),
            (LAST_WEIGHTS, LAST_BIASES),
        ];
        let first_layers = read_layers(tensors, names[0], [members, columns, first])?;
        let second_layers = read_layers(tensors, names[1], [members, first, second])?;
        let last_layers = read_layers(tensors, names[2], [members, second, 1])?;
        let stacks = first_layers.into_iter().zip(second_layers).zip(last_layers);
        let members = stacks.map(|((first, second), last)| Member { first, second, last });
        let typical = Row(core::array::from_fn(|at| typical[at]));
        Ok(Self::new(encoding, typical, members.collect())?)
    }
}

fn integers(values: &[i32]) -> StoredTensor {
    StoredTensor {
        dtype: Dtype::I32,
        shape: vec![values.len()],
        bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    }
}

fn reals(shape: Vec<usize>, values: &[f32]) -> StoredTensor {
    StoredTensor {
        dtype: Dtype::F32,
        shape,
        bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    }
}

fn read_encoding(tensors: &SafeTensors<'_>) -> Result<Encoding, FileError> {
    let counts = read_integers(tensors, EDGE_COUNTS, FEATURE_COUNT)?;
    let mut lens = Vec::new();
    for (feature, got) in counts.into_iter().enumerate() {
        let len = usize::try_from(got).ok().filter(|len| *len <= EDGES_MAX);
        lens.push(len.ok_or(FileError::EdgeCount { feature, got })?);
    }
    let edges = read_integers(tensors, EDGES, lens.iter().sum())?;
    let mut edges = edges.into_iter();
    let edges = lens.into_iter().map(|len| edges.by_ref().take(len).collect());
    Ok(Encoding::new(edges.collect())?)
}

/// The three sizes of the weights of a layer, each within its limit.
fn sizes(tensors: &SafeTensors<'_>, name: &'static str) -> Result<[usize; 3], FileError> {
    let shape = found(tensors, name)?.shape().to_vec();
    match shape[..] {
        [members, inputs, outputs]
            if (1..=MEMBERS_MAX).contains(&members) && (1..=UNITS_MAX).contains(&outputs) =>
        {
            Ok([members, inputs, outputs])
        }
        _ => Err(FileError::Size { name, got: shape }),
    }
}

fn read_layers(
    tensors: &SafeTensors<'_>,
    names: (&'static str, &'static str),
    [members, inputs, outputs]: [usize; 3],
) -> Result<Vec<Layer>, FileError> {
    let weights = read_reals(tensors, names.0, vec![members, inputs, outputs])?;
    let biases = read_reals(tensors, names.1, vec![members, outputs])?;
    let parts = weights.chunks(inputs.saturating_mul(outputs).max(1));
    let layers = parts.zip(biases.chunks(outputs)).map(|(weights, biases)| Layer {
        inputs,
        outputs,
        weights: weights.to_vec(),
        biases: biases.to_vec(),
    });
    Ok(layers.collect())
}

fn read_integers(tensors: &SafeTensors<'_>, name: &'static str, len: usize) -> Result<Vec<i32>, FileError> {
    let tensor = checked(tensors, name, Dtype::I32, vec![len])?;
    Ok(words(tensor.data()).map(i32::from_le_bytes).collect())
}

fn read_reals(
    tensors: &SafeTensors<'_>,
    name: &'static str,
    shape: Vec<usize>,
) -> Result<Vec<f32>, FileError> {
    let tensor = checked(tensors, name, Dtype::F32, shape)?;
    Ok(words(tensor.data()).map(f32::from_le_bytes).collect())
}

/// The data may lie at any offset, so it is copied word by word.
fn words(data: &[u8]) -> impl Iterator<Item = [u8; 4]> {
    data.as_chunks().0.iter().copied()
}

fn checked<'a>(
    tensors: &SafeTensors<'a>,
    name: &'static str,
    want: Dtype,
    shape: Vec<usize>,
) -> Result<TensorView<'a>, FileError> {
    let tensor = found(tensors, name)?;
    if tensor.dtype() != want {
        let got = tensor.dtype();
        return Err(FileError::Type { name, got, want });
    }
    if tensor.shape() != shape {
        let got = tensor.shape().to_vec();
        return Err(FileError::Shape {
            name,
            got,
            want: shape,
        });
    }
    Ok(tensor)
}

fn found<'a>(tensors: &SafeTensors<'a>, name: &'static str) -> Result<TensorView<'a>, FileError> {
    tensors.tensor(name).map_err(|_| FileError::Missing { name })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::network::{FixedNetwork, samples};
    use proptest::prelude::*;

    fn bytes(tensors: Vec<(&'static str, StoredTensor)>) -> Vec<u8> {
        safetensors::serialize(tensors, None).unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Network, FileError> {
        Network::from_tensors(&SafeTensors::deserialize(bytes).unwrap())
    }

    /// What is said of the tiny network's file after one tensor was changed, or dropped.
    fn spoilt(name: &str, spoil: impl Fn(&mut StoredTensor)) -> FileError {
        let mut tensors = samples::tiny().tensors();
        let (_, tensor) = tensors.iter_mut().find(|(other, _)| *other == name).unwrap();
        spoil(tensor);
        read(&bytes(tensors)).unwrap_err()
    }

    #[test]
    fn a_network_survives_its_file() {
        let networks = [samples::random(1, 9, 4), samples::random(2, 9, 4)];
        let averaged = Network::averaged(&networks).unwrap();
        let all = [samples::tiny(), networks[0].clone(), averaged];
        for network in all {
            assert_eq!(read(&bytes(network.tensors())).unwrap(), network);
        }
    }

    #[test]
    fn tensors_of_other_names_are_not_looked_at() {
        let mut tensors = samples::tiny().tensors();
        tensors.push(("trees.thresholds", integers(&[1, 2])));
        assert_eq!(read(&bytes(tensors)).unwrap(), samples::tiny());
    }

    #[test]
    fn refuses_a_missing_tensor_by_name() {
        for at in 0..samples::tiny().tensors().len() {
            let mut tensors = samples::tiny().tensors();
            let (name, _) = tensors.remove(at);
            assert_eq!(read(&bytes(tensors)).unwrap_err(), FileError::Missing { name });
        }
    }

    #[test]
    fn refuses_another_type_by_name() {
        for (name, tensor) in samples::tiny().tensors() {
            let (got, want) = (Dtype::U32, tensor.dtype);
            let refused = spoilt(name, |tensor| tensor.dtype = got);
            assert_eq!(refused, FileError::Type { name, got, want });
        }
    }

    #[test]
    fn refuses_another_shape_by_name() {
        for (name, tensor) in samples::tiny().tensors() {
            let got = vec![1, 1, 1, tensor.bytes.len() / 4];
            let refused = spoilt(name, |tensor| tensor.shape = got.clone());
            let is_named = matches!(refused, FileError::Shape { name: of, .. } if of == name)
                || refused == (FileError::Size { name, got });
            assert!(is_named, "{refused}");
        }
    }

    #[test]
    fn refuses_sizes_above_the_limits() {
        for shape in [
            vec![MEMBERS_MAX + 1, 3, 1],
            vec![1, 3, UNITS_MAX + 1],
            vec![0, 3, 2],
            vec![1, 3, 0],
        ] {
            let refused = spoilt(FIRST_WEIGHTS, |tensor| {
                tensor.shape.clone_from(&shape);
                tensor.bytes = vec![0; 4 * shape.iter().product::<usize>()];
            });
            let (name, got) = (FIRST_WEIGHTS, shape);
            assert_eq!(refused, FileError::Size { name, got });
        }
    }

    #[test]
    fn refuses_weights_that_are_not_finite_and_edges_that_do_not_ascend() {
        for weight in [f32::NAN, f32::INFINITY] {
            let refused = spoilt(SECOND_BIASES, |tensor| {
                tensor.bytes[..4].copy_from_slice(&weight.to_le_bytes());
            });
            assert_eq!(refused, NetworkError::Weight { layer: "second" }.into());
        }
        let edges = |values: [i32; 5]| spoilt(EDGES, |tensor| *tensor = integers(&values));
        let refused = edges([0, 1024, 0, 1, 1]);
        assert_eq!(refused, EncodingError::NotAscending { feature: 33 }.into());
        let refused = edges([0, i32::MAX, 0, 1, 3]);
        assert_eq!(refused, EncodingError::OutOfBounds { feature: 0 }.into());
        for got in [-1, 33, i32::MAX] {
            let refused = spoilt(EDGE_COUNTS, |tensor| {
                tensor.bytes[..4].copy_from_slice(&got.to_le_bytes());
            });
            assert_eq!(refused, FileError::EdgeCount { feature: 0, got });
        }
    }

    /// Whatever the bytes, they are refused, or are a network that can be put into fixed point or is refused.
    fn open(bytes: &[u8]) {
        if let Ok(tensors) = SafeTensors::deserialize(bytes) {
            let network = Network::from_tensors(&tensors);
            let _fixed = network.map(|network| FixedNetwork::new(&network));
        }
    }

    proptest! {
        #[test]
        fn no_flipped_or_truncated_file_panics(
            flips in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..8), 1..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let whole = bytes(samples::tiny().tensors());
            let mut flipped = whole.clone();
            for (at, bit) in flips {
                flipped[at.index(whole.len())] ^= 1 << bit;
            }
            open(&flipped);
            open(&whole[..cut.index(whole.len())]);
        }
    }
}
