//! Reads the text models that LightGBM saves (`Booster.save_model`), as its own source prints them: blocks of
//! `key=value` lines, one block a tree.
//!
//! Features are integers, so a threshold becomes the greatest integer that does not exceed it, and leaves become
//! steps of 2^-16: a score differs from LightGBM's by less than one such step a tree.

use super::asymmetric::{Asymmetric, AsymmetricError, Branch, Node, Tree};
use super::symmetric::TREES_MAX;
use crate::features::{FEATURES, Row};
use crate::score::LogOdds;
use std::collections::BTreeMap;
use std::str::FromStr;
use thiserror::Error;

/// Why a text is not a model that can be imported.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ImportError {
    /// It is longer than any model.
    #[error("{got} bytes, at most {MODEL_BYTES_MAX} are allowed")]
    TooLong {
        /// Its length.
        got: usize,
    },
    /// It does not begin as these files do.
    #[error("the text is not a LightGBM model: its first line is not \"tree\"")]
    NotAModel,
    /// A line that must be there is not.
    #[error("{place} has no line \"{key}\"")]
    Missing {
        /// Where: the head, or a tree.
        place: String,
        /// What.
        key: &'static str,
    },
    /// A line does not hold what it must.
    #[error("{place}: \"{key}\" holds \"{value}\", which is not {want}")]
    Value {
        /// Where.
        place: String,
        /// Which line.
        key: &'static str,
        /// What it holds, shortened.
        value: String,
        /// What it should hold.
        want: &'static str,
    },
    /// The model does something that is not supported.
    #[error("{place}: {what} is not supported")]
    Unsupported {
        /// Where.
        place: String,
        /// What.
        what: &'static str,
    },
    /// A feature that rows do not have.
    #[error("the model was trained on a feature \"{name}\", which rows do not have")]
    Feature {
        /// Its name.
        name: String,
    },
    /// A tree's lists do not have the lengths that its leaves ask for.
    #[error("{place}: \"{key}\" has {got} values, {want} are needed")]
    Length {
        /// Where.
        place: String,
        /// Which list.
        key: &'static str,
        /// Its length.
        got: usize,
        /// What is needed.
        want: usize,
    },
    /// The trees are no model.
    #[error(transparent)]
    Model(#[from] AsymmetricError),
}

/// The longest text that is read.
pub const MODEL_BYTES_MAX: usize = 64 << 20;
/// Characters of a wrong value that an error shows.
const SHOWN_MAX: usize = 40;

/// Reads a binary classifier. `typical` is what explanations compare rows with.
///
/// # Errors
/// [`ImportError`].
pub fn import(text: &str, typical: Row) -> Result<Asymmetric, ImportError> {
    if text.len() > MODEL_BYTES_MAX {
        return Err(ImportError::TooLong { got: text.len() });
    }
    let mut blocks = text.split("\nTree=");
    let head = Block::new("the head", blocks.next().unwrap_or_default());
    if head.first != "tree" {
        return Err(ImportError::NotAModel);
    }
    let features = check_head(&head)?;
    let mut trees = Vec::new();
    for (at, text) in blocks.enumerate() {
        if at == TREES_MAX {
            return Err(AsymmetricError::TooMany { got: at + 1 }.into());
        }
        let text = text.split("\nend of trees").next().unwrap_or_default();
        trees.push(tree(&Block::new(&format!("tree {at}"), text), &features)?);
    }
    Ok(Asymmetric::new(trees, typical)?)
}

/// Lines of `key=value`.
struct Block<'a> {
    place: String,
    first: &'a str,
    lines: BTreeMap<&'a str, &'a str>,
}

impl<'a> Block<'a> {
    fn new(place: &str, text: &'a str) -> Self {
        let lines = text.lines().filter_map(|line| line.split_once('='));
        Self {
            place: place.into(),
            first: text.lines().next().unwrap_or_default().trim(),
            lines: lines.map(|(key, value)| (key.trim(), value.trim())).collect(),
        }
    }

    fn line(&self, key: &'static str) -> Result<&'a str, ImportError> {
        self.lines.get(key).copied().ok_or_else(|| ImportError::Missing {
            place: self.place.clone(),
            key,
        })
    }

    fn value<T: FromStr>(&self, key: &'static str, want: &'static str) -> Result<T, ImportError> {
        self.parse(key, self.line(key)?, want)
    }

    fn parse<T: FromStr>(
        &self,
        key: &'static str,
        value: &str,
        want: &'static str,
    ) -> Result<T, ImportError> {
        value.parse().map_err(|_| ImportError::Value {
            place: self.place.clone(),
            key,
            value: value.chars().take(SHOWN_MAX).collect(),
            want,
        })
    }

    /// A list of exactly so many values.
    fn list<T: FromStr>(
        &self,
        key: &'static str,
        count: usize,
        want: &'static str,
    ) -> Result<Vec<T>, ImportError> {
        let values = self.line(key)?.split_ascii_whitespace();
        let values: Vec<T> = values
            .map(|value| self.parse(key, value, want))
            .collect::<Result<_, _>>()?;
        if values.len() != count {
            return Err(ImportError::Length {
                place: self.place.clone(),
                key,
                got: values.len(),
                want: count,
            });
        }
        Ok(values)
    }

    fn unsupported<T>(&self, what: &'static str) -> Result<T, ImportError> {
        Err(ImportError::Unsupported {
            place: self.place.clone(),
            what,
        })
    }
}

/// Checks what the model is for; the numbers of its features in a row.
fn check_head(head: &Block<'_>) -> Result<Vec<u8>, ImportError> {
    if head.value::<usize>("num_class", "a number")? != 1 {
        return head.unsupported("more than one class");
    }
    if !head.line("objective")?.starts_with("binary") {
        return head.unsupported("an objective other than binary");
    }
    let mut words = head.line("objective")?.split_ascii_whitespace();
    let slope = words.find_map(|word| word.strip_prefix("sigmoid:"));
    if slope.is_some_and(|slope| slope.parse() != Ok(1.0)) {
        return head.unsupported("a sigmoid with a slope other than 1");
    }
    if head.lines.contains_key("average_output") || head.first == "average_output" {
        return head.unsupported("averaged trees (a random forest)");
    }
    let names = head.line("feature_names")?.split_ascii_whitespace();
    names.map(number_of).collect()
}

fn number_of(name: &str) -> Result<u8, ImportError> {
    let found = (0..).zip(&FEATURES).find(|(_, feature)| feature.name == name);
    found
        .map(|(number, _)| number)
        .ok_or_else(|| ImportError::Feature {
            name: name.chars().take(SHOWN_MAX).collect(),
        })
}

fn tree(block: &Block<'_>, features: &[u8]) -> Result<Tree, ImportError> {
    let leaf_count: usize = block.value("num_leaves", "a number")?;
    let values: Vec<f64> = block.list("leaf_value", leaf_count, "a number")?;
    if values.iter().any(|value| !value.is_finite()) {
        return block.unsupported("a leaf that is not a finite number");
    }
    if block.lines.get("is_linear").is_some_and(|value| *value != "0") {
        return block.unsupported("a linear model in a leaf");
    }
    let leaves = values.iter().map(|value| LogOdds::from_real(*value).0).collect();
    if leaf_count <= 1 {
        return Ok(Tree {
            nodes: Vec::new(),
            leaves,
        });
    }
    let count = leaf_count - 1;
    let asked: Vec<usize> = block.list("split_feature", count, "a feature's number")?;
    let thresholds: Vec<f64> = block.list("threshold", count, "a number")?;
    let kinds: Vec<u8> = block.list("decision_type", count, "a small number")?;
    let low: Vec<i64> = block.list("left_child", count, "a branch")?;
    let high: Vec<i64> = block.list("right_child", count, "a branch")?;
    let mut nodes = Vec::with_capacity(count);
    for at in 0..count {
        if kinds[at] & CATEGORICAL != 0 {
            return block.unsupported("a question about categories");
        }
        if kinds[at] & MISSING == MISSING_IS_ZERO {
            return block.unsupported("zero as a missing value");
        }
        let feature = features.get(asked[at]).copied();
        nodes.push(Node {
            feature: feature.unwrap_or(u8::MAX),
            threshold: floor(thresholds[at]),
            branches: [branch(low[at]), branch(high[at])],
        });
    }
    Ok(Tree { nodes, leaves })
}

/// Bits of a decision's type, as LightGBM's `tree.h` numbers them.
const CATEGORICAL: u8 = 1;
const MISSING: u8 = 0b1100;
const MISSING_IS_ZERO: u8 = 0b0100;

/// A negative number is a leaf, written as its complement. One that is no number of a node is none here either.
fn branch(number: i64) -> Branch {
    let of = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
    if number < 0 {
        Branch::Leaf(of(!number))
    } else {
        Branch::Node(of(number))
    }
}

/// The greatest integer that does not exceed a threshold; integers above it are above the threshold too.
#[allow(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "a float's cast saturates, and features are far from the ends of an i32"
)]
fn floor(threshold: f64) -> i32 {
    threshold.floor() as i32
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::features::FEATURE_COUNT;
    use crate::model::Predict;
    use proptest::prelude::*;

    const TEXT: &str = "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\n\
        max_feature_idx=1\nobjective=binary sigmoid:1\nfeature_names=to_age amount\nfeature_infos=[0:9] [0:9]\n\
        tree_sizes=300 300\n\nTree=0\nnum_leaves=3\nnum_cat=0\nsplit_feature=1 0\nsplit_gain=9 8\n\
        threshold=10.5 -0.5\ndecision_type=2 2\nleft_child=-1 -2\nright_child=1 -3\nleaf_value=0.5 -1 0.25\n\
        is_linear=0\nshrinkage=1\n\n\nTree=1\nnum_leaves=1\nnum_cat=0\nleaf_value=-0.125\nis_linear=0\n\n\n\
        end of trees\n\nfeature_importances:\namount=3\n\nparameters:\n[boosting: gbdt]\nend of parameters\n";

    fn typical() -> Row {
        Row([0; FEATURE_COUNT])
    }

    #[test]
    fn a_model_scores_as_its_text_says() {
        let model = import(TEXT, typical()).unwrap();
        let row = |age, amount| {
            let mut row = typical();
            (row.0[13], row.0[0]) = (age, amount);
            row
        };
        let mut out = Vec::new();
        model.log_odds(&[row(0, 10), row(-1, 11), row(0, 11)], &[], &mut out);
        let real: Vec<f64> = out.iter().map(|score| score.real()).collect();
        assert_eq!(real, [0.375, -1.125, 0.125]);
    }

    fn refused(from: &str, to: &str) -> String {
        assert!(TEXT.contains(from));
        import(&TEXT.replace(from, to), typical())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn refuses_by_name_what_it_does_not_understand() {
        let check = |from: &str, to: &str, want: &str| assert_eq!(refused(from, to), want);
        check(
            "tree\nversion",
            "forest\nversion",
            "the text is not a LightGBM model: its first line is not \"tree\"",
        );
        check(
            "binary",
            "regression",
            "the head: an objective other than binary is not supported",
        );
        check(
            "num_class=1",
            "num_class=3",
            "the head: more than one class is not supported",
        );
        check(
            "sigmoid:1",
            "sigmoid:2",
            "the head: a sigmoid with a slope other than 1 is not supported",
        );
        check(
            "to_age amount",
            "to_age colour",
            "the model was trained on a feature \"colour\", which rows do not have",
        );
        check(
            "decision_type=2 2",
            "decision_type=2 1",
            "tree 0: a question about categories is not supported",
        );
        check(
            "decision_type=2 2",
            "decision_type=2 4",
            "tree 0: zero as a missing value is not supported",
        );
        check(
            "0.5 -1 0.25",
            "0.5 NaN 0.25",
            "tree 0: a leaf that is not a finite number is not supported",
        );
        check(
            "threshold=10.5 -0.5",
            "threshold=10.5",
            "tree 0: \"threshold\" has 1 values, 2 are needed",
        );
        check(
            "threshold=10.5",
            "threshold=x",
            "tree 0: \"threshold\" holds \"x\", which is not a number",
        );
        check("left_child=-1 -2\n", "", "tree 0 has no line \"left_child\"");
        check(
            "right_child=1 -3",
            "right_child=0 -3",
            "question 0 of tree 0 leads nowhere, or back",
        );
        check(
            "split_feature=1 0",
            "split_feature=1 9",
            "tree 0 asks for feature 255, where a row has 40",
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(at in 0..TEXT.len(), byte in any::<u8>(), cut in 0..TEXT.len()) {
            let mut bytes = TEXT.as_bytes().to_vec();
            bytes[at] = byte;
            drop(import(&String::from_utf8_lossy(&bytes), typical()));
            drop(import(&TEXT[..cut], typical()));
        }
    }
}
