//! A model's card: where it is from, what it was judged by, and under which licence.
//!
//! After Mitchell et al. 2019, "Model Cards for Model Reporting".

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a model says of itself. It is part of the file, and so of the model's hash.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Version of the card: 1.
    pub format: u16,
    /// `symmetric`, `asymmetric`, `network`, `network-float` or `rules`.
    pub kind: String,
    /// A name for people.
    pub name: String,
    /// [`crate::features::FEATURE_VERSION`] of the rows that it reads.
    pub feature_version: u16,
    /// The command that made it.
    pub command: String,
    /// What it learnt from, and where that is from.
    pub data: String,
    /// How the rows were split.
    pub split: String,
    /// The licence of the file.
    pub licence: String,
    /// Where random choices began.
    pub seed: u64,
    /// What it is for, and where it fails.
    pub notes: String,
    /// Figures by set: `valid/pr_auc` and so on.
    pub metrics: BTreeMap<String, f64>,
}

/// The version of cards.
pub const CARD_FORMAT: u16 = 1;
