//! Trees of any shape, as other programs grow them: bit-exact, and slower than symmetric ones.

use super::symmetric::{SUM_MAX, TREES_MAX};
use crate::features::{FEATURE_COUNT, Row};
use crate::model::Predict;
use crate::score::{LOG_ODDS_MAX, LogOdds};
use selfchain_types::Operation;
use selfchain_types::codec::index;
use thiserror::Error;

/// A question of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// The feature that it asks for.
    pub feature: u8,
    /// A value that exceeds this goes to the second branch.
    pub threshold: i32,
    /// Where a row goes on.
    pub branches: [Branch; 2],
}

/// Where a row goes on from a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branch {
    /// Another question of the same tree, which comes after this one.
    Node(u32),
    /// A leaf, by its number in the tree.
    Leaf(u32),
}

/// One tree: its first node is the root; without nodes, its only leaf is what every row gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// The questions.
    pub nodes: Vec<Node>,
    /// What a row in a leaf adds, in steps of [`LogOdds`].
    pub leaves: Vec<i32>,
}

/// Most leaves of a tree.
pub const LEAVES_MAX: usize = 4_096;

/// A sum of trees of any shape. Bit-exact: integers only.
#[derive(Clone, Debug)]
pub struct Asymmetric {
    trees: Vec<Tree>,
    typical: Row,
}

/// Why trees are not a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AsymmetricError {
    /// Too many trees.
    #[error("{got} trees, at most {TREES_MAX} are allowed")]
    TooMany {
        /// How many.
        got: usize,
    },
    /// A tree has no leaf, or too many, or not one more than it has questions.
    #[error("tree {tree} has {leaves} leaves and {nodes} questions")]
    Shape {
        /// The tree.
        tree: usize,
        /// Its leaves.
        leaves: usize,
        /// Its questions.
        nodes: usize,
    },
    /// A question asks for a feature that rows do not have.
    #[error("tree {tree} asks for feature {feature}, where a row has {FEATURE_COUNT}")]
    Feature {
        /// The tree.
        tree: usize,
        /// The feature.
        feature: u8,
    },
    /// A branch leads nowhere, or back.
    #[error("question {node} of tree {tree} leads nowhere, or back")]
    Branch {
        /// The tree.
        tree: usize,
        /// The question.
        node: usize,
    },
    /// The leaves could add up to more than a sum holds.
    #[error("the leaves add up to {sum} steps of log-odds, at most {SUM_MAX} are allowed")]
    Sum {
        /// The greatest sum.
        sum: i64,
    },
}

impl Asymmetric {
    /// Puts a model together. `typical` is what explanations compare rows with.
    ///
    /// # Errors
    /// [`AsymmetricError`].
    pub fn new(trees: Vec<Tree>, typical: Row) -> Result<Self, AsymmetricError> {
        if trees.len() > TREES_MAX {
            return Err(AsymmetricError::TooMany { got: trees.len() });
        }
        let mut sum = 0;
        for (at, tree) in trees.iter().enumerate() {
            check(at, tree)?;
            let greatest = tree.leaves.iter().map(|leaf| i64::from(*leaf).abs()).max();
            sum += greatest.unwrap_or(0);
        }
        if sum > SUM_MAX {
            return Err(AsymmetricError::Sum { sum });
        }
        Ok(Self { trees, typical })
    }

    /// The trees.
    pub fn trees(&self) -> &[Tree] {
        &self.trees
    }
}

/// Branches lead forward only, so that every walk ends.
fn check(at: usize, tree: &Tree) -> Result<(), AsymmetricError> {
    let (nodes, leaves) = (tree.nodes.len(), tree.leaves.len());
    if leaves == 0 || leaves > LEAVES_MAX || leaves != nodes + 1 {
        return Err(AsymmetricError::Shape {
            tree: at,
            leaves,
            nodes,
        });
    }
    for (number, node) in tree.nodes.iter().enumerate() {
        if usize::from(node.feature) >= FEATURE_COUNT {
            return Err(AsymmetricError::Feature {
                tree: at,
                feature: node.feature,
            });
        }
        let leads_on = |branch: &Branch| match branch {
            Branch::Node(next) => index(*next) > number && index(*next) < nodes,
            Branch::Leaf(leaf) => index(*leaf) < leaves,
        };
        if !node.branches.iter().all(leads_on) {
            return Err(AsymmetricError::Branch {
                tree: at,
                node: number,
            });
        }
    }
    Ok(())
}

impl Tree {
    #[inline]
    fn value(&self, row: &Row) -> i32 {
        let mut branch = if self.nodes.is_empty() {
            Branch::Leaf(0)
        } else {
            Branch::Node(0)
        };
        loop {
            match branch {
                Branch::Leaf(leaf) => return self.leaves[index(leaf)],
                Branch::Node(node) => {
                    let node = &self.nodes[index(node)];
                    let is_above = row.0[usize::from(node.feature)] > node.threshold;
                    branch = node.branches[usize::from(is_above)];
                }
            }
        }
    }
}

/// Rows that walk down a tree before the next tree is looked at.
const ROWS_TOGETHER: usize = 256;

impl Predict for Asymmetric {
    fn log_odds(&self, rows: &[Row], _: &[&Operation], out: &mut Vec<LogOdds>) {
        for some in rows.chunks(ROWS_TOGETHER) {
            let mut sums = [0_i32; ROWS_TOGETHER];
            for tree in &self.trees {
                for (sum, row) in sums.iter_mut().zip(some) {
                    // Within an i32: `new` saw to it.
                    *sum = sum.wrapping_add(tree.value(row));
                }
            }
            let few = &sums[..some.len()];
            out.extend(
                few.iter()
                    .map(|sum| LogOdds((*sum).clamp(-LOG_ODDS_MAX, LOG_ODDS_MAX))),
            );
        }
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn typical(&self) -> &Row {
        &self.typical
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn node(feature: u8, threshold: i32, low: Branch, high: Branch) -> Node {
        Node {
            feature,
            threshold,
            branches: [low, high],
        }
    }

    fn tree() -> Tree {
        Tree {
            nodes: vec![
                node(3, 10, Branch::Leaf(0), Branch::Node(1)),
                node(5, -1, Branch::Leaf(1), Branch::Leaf(2)),
            ],
            leaves: vec![1, 20, 300],
        }
    }

    fn refused(change: impl FnOnce(&mut Tree)) -> AsymmetricError {
        let mut tree = tree();
        change(&mut tree);
        Asymmetric::new(vec![tree], Row([0; FEATURE_COUNT])).unwrap_err()
    }

    #[test]
    fn a_row_walks_to_its_leaf() {
        let model = Asymmetric::new(vec![tree(), tree()], Row([0; FEATURE_COUNT])).unwrap();
        let row = |three, five| {
            let mut row = Row([0; FEATURE_COUNT]);
            (row.0[3], row.0[5]) = (three, five);
            row
        };
        let mut out = Vec::new();
        model.log_odds(&[row(10, 9), row(11, -1), row(11, 0)], &[], &mut out);
        assert_eq!(out, [LogOdds(2), LogOdds(40), LogOdds(600)]);
    }

    #[test]
    fn refuses_walks_that_do_not_end_and_leaves_that_are_not_there() {
        let branch = AsymmetricError::Branch { tree: 0, node: 1 };
        assert_eq!(
            refused(|tree| tree.nodes[1].branches[0] = Branch::Node(1)),
            branch
        );
        assert_eq!(
            refused(|tree| tree.nodes[1].branches[1] = Branch::Leaf(3)),
            branch
        );
        let feature = AsymmetricError::Feature { tree: 0, feature: 40 };
        assert_eq!(refused(|tree| tree.nodes[0].feature = 40), feature);
        assert!(matches!(
            refused(|tree| tree.leaves.clear()),
            AsymmetricError::Shape { .. }
        ));
        assert!(matches!(
            refused(|tree| tree.leaves[0] = i32::MAX),
            AsymmetricError::Sum { .. }
        ));
    }
}
