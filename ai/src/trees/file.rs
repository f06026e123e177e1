//! Trees as tensors of a model file.

use super::asymmetric::{self, Asymmetric, AsymmetricError, Branch, Node};
use super::bins::{Bins, BinsError};
use super::symmetric::{self, DEPTH, LEAVES, Symmetric, SymmetricError};
use crate::features::{FEATURE_COUNT, Row};
use crate::model::{TensorError, TensorsIn, TensorsOut};
use selfchain_types::codec::index;
use thiserror::Error;

/// Why tensors are not trees.
#[derive(Debug, Error)]
pub enum FileError {
    /// A tensor is not as it must be.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The thresholds are not those of bins.
    #[error(transparent)]
    Bins(#[from] BinsError),
    /// The trees are no model.
    #[error(transparent)]
    Symmetric(#[from] SymmetricError),
    /// The trees are no model.
    #[error(transparent)]
    Asymmetric(#[from] AsymmetricError),
    /// Lists that belong together have other lengths.
    #[error("the tensor \"{name}\" does not add up to the lists that it cuts")]
    Lengths {
        /// The tensor.
        name: &'static str,
    },
}

const THRESHOLDS: &str = "thresholds";
const THRESHOLD_COUNTS: &str = "threshold_counts";
const FEATURES: &str = "features";
const BINS: &str = "bins";
const LEAF_VALUES: &str = "leaves";
const LEAF_COUNTS: &str = "leaf_counts";
const NODES: &str = "nodes";
const BASE: &str = "base";
const TYPICAL: &str = "typical";

impl Symmetric {
    /// Its tensors: `thresholds i32 [n]`, cut by `threshold_counts i32 [40]`; for t trees `features u8 [t, 6]`,
    /// `bins u8 [t, 6]`, `leaves i32 [t, 64]`; `base i32 [1]`, `typical i32 [40]`.
    pub fn write(&self, out: &mut TensorsOut) {
        let lists = || (0..FEATURE_COUNT).map(|feature| self.bins().thresholds(feature));
        let all: Vec<i32> = lists().flatten().copied().collect();
        out.put_i32(THRESHOLDS, &[all.len()], all.iter().copied());
        let counts = lists().map(|list| i32::try_from(list.len()).unwrap_or(i32::MAX));
        out.put_i32(THRESHOLD_COUNTS, &[FEATURE_COUNT], counts);
        let trees = self.trees();
        out.put_u8(
            FEATURES,
            &[trees.len(), DEPTH],
            trees.iter().flat_map(|tree| tree.features),
        );
        out.put_u8(
            BINS,
            &[trees.len(), DEPTH],
            trees.iter().flat_map(|tree| tree.bins),
        );
        out.put_i32(
            LEAF_VALUES,
            &[trees.len(), LEAVES],
            trees.iter().flat_map(|tree| tree.leaves),
        );
        out.put_i32(BASE, &[1], [self.base()]);
        out.put_i32(TYPICAL, &[FEATURE_COUNT], crate::model::Predict::typical(self).0);
    }

    /// Reads what [`Self::write`] wrote.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn read(tensors: &TensorsIn<'_>) -> Result<Self, FileError> {
        let thresholds = tensors.i32s(THRESHOLDS, &[None])?;
        let counts = tensors.i32s(THRESHOLD_COUNTS, &[Some(FEATURE_COUNT)])?;
        let bins = Bins::new(cut(&thresholds, &counts, THRESHOLD_COUNTS)?)?;
        let features = tensors.u8s(FEATURES, &[None, Some(DEPTH)])?;
        let count = features.len() / DEPTH;
        let asked = tensors.u8s(BINS, &[Some(count), Some(DEPTH)])?;
        let leaves = tensors.i32s(LEAF_VALUES, &[Some(count), Some(LEAVES)])?;
        let levels = features
            .as_chunks::<DEPTH>()
            .0
            .iter()
            .zip(asked.as_chunks::<DEPTH>().0);
        let trees = levels.zip(leaves.as_chunks::<LEAVES>().0);
        let trees = trees.map(|((features, bins), leaves)| symmetric::Tree {
            features: *features,
            bins: *bins,
            leaves: *leaves,
        });
        let base = tensors.i32s(BASE, &[Some(1)])?;
        Ok(Self::new(bins, trees.collect(), base[0], typical(tensors)?)?)
    }
}

impl Asymmetric {
    /// Its tensors: for n questions in all `nodes i32 [n, 4]` of feature, threshold and two branches (a leaf as the
    /// complement of its number); `leaves i32 [m]`, cut by `leaf_counts i32 [t]`; `typical i32 [40]`.
    pub fn write(&self, out: &mut TensorsOut) {
        let nodes: Vec<&Node> = self.trees().iter().flat_map(|tree| &tree.nodes).collect();
        let numbers = nodes.iter().flat_map(|node| {
            let [low, high] = node.branches.map(number_of);
            [node.feature.into(), node.threshold, low, high]
        });
        out.put_i32(NODES, &[nodes.len(), NODE_NUMBERS], numbers);
        let leaves: Vec<i32> = self.trees().iter().flat_map(|tree| tree.leaves.clone()).collect();
        out.put_i32(LEAF_VALUES, &[leaves.len()], leaves.iter().copied());
        let counts = self
            .trees()
            .iter()
            .map(|tree| i32::try_from(tree.leaves.len()).unwrap_or(i32::MAX));
        out.put_i32(LEAF_COUNTS, &[self.trees().len()], counts);
        out.put_i32(TYPICAL, &[FEATURE_COUNT], crate::model::Predict::typical(self).0);
    }

    /// Reads what [`Self::write`] wrote.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn read(tensors: &TensorsIn<'_>) -> Result<Self, FileError> {
        let nodes = tensors.i32s(NODES, &[None, Some(NODE_NUMBERS)])?;
        let leaves = tensors.i32s(LEAF_VALUES, &[None])?;
        let counts = tensors.i32s(LEAF_COUNTS, &[None])?;
        let mut nodes = nodes.as_chunks::<NODE_NUMBERS>().0;
        let mut trees = Vec::new();
        for leaves in cut(&leaves, &counts, LEAF_COUNTS)? {
            let count = leaves.len().saturating_sub(1);
            let its = nodes.split_at_checked(count);
            let (its, rest) = its.ok_or(FileError::Lengths { name: NODES })?;
            nodes = rest;
            trees.push(asymmetric::Tree {
                nodes: its.iter().map(node).collect(),
                leaves,
            });
        }
        if !nodes.is_empty() {
            return Err(FileError::Lengths { name: NODES });
        }
        Ok(Self::new(trees, typical(tensors)?)?)
    }
}

const NODE_NUMBERS: usize = 4;

fn number_of(branch: Branch) -> i32 {
    let number = |at: u32| i32::try_from(at).unwrap_or(i32::MAX);
    match branch {
        Branch::Node(at) => number(at),
        Branch::Leaf(at) => !number(at),
    }
}

/// What is no number of a feature or branch is none of this tree's either, and is refused with it.
fn node(numbers: &[i32; NODE_NUMBERS]) -> Node {
    let branch = |number: i32| match u32::try_from(number) {
        Ok(at) => Branch::Node(at),
        Err(_) => Branch::Leaf(u32::try_from(!number).unwrap_or(u32::MAX)),
    };
    Node {
        feature: u8::try_from(numbers[0]).unwrap_or(u8::MAX),
        threshold: numbers[1],
        branches: [branch(numbers[2]), branch(numbers[3])],
    }
}

fn typical(tensors: &TensorsIn<'_>) -> Result<Row, TensorError> {
    let values = tensors.i32s(TYPICAL, &[Some(FEATURE_COUNT)])?;
    Ok(Row(core::array::from_fn(|at| values[at])))
}

/// Cuts a list into parts of the given lengths, which must use it up.
fn cut(list: &[i32], lengths: &[i32], name: &'static str) -> Result<Vec<Vec<i32>>, FileError> {
    let mut rest = list;
    let mut parts = Vec::new();
    for length in lengths {
        let length = u32::try_from(*length).map_or(usize::MAX, index);
        let parted = rest.split_at_checked(length);
        let (part, others) = parted.ok_or(FileError::Lengths { name })?;
        parts.push(part.to_vec());
        rest = others;
    }
    if rest.is_empty() {
        Ok(parts)
    } else {
        Err(FileError::Lengths { name })
    }
}
