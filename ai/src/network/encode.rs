//! Encodes features piecewise linearly: each becomes a thermometer over the quantiles of its training values.
//!
//! After Gorishniy, Rubachev and Babenko, "On Embeddings for Numerical Features in Tabular Deep Learning" (2022):
//! of a feature's bins, those left of the value are 1, the one around it is the fraction of it that is passed, and
//! the rest are 0. A small network learns steps and bends from that which it cannot learn from the number.

use crate::features::{FEATURE_COUNT, FEATURES, Row};
use thiserror::Error;

/// Most edges of a feature.
pub const EDGES_MAX: usize = 32;
/// Most quantiles to learn edges from: so many and both ends fit [`EDGES_MAX`].
pub const QUANTILES_MAX: usize = EDGES_MAX - 1;

/// Why edges are no encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EncodingError {
    /// Not one list of edges a feature.
    #[error("{got} lists of edges, but a row has {FEATURE_COUNT} features")]
    Features {
        /// How many lists there are.
        got: usize,
    },
    /// A feature with too many edges, or with a single one, which bounds no bin.
    #[error("feature {feature} has {got} edges: none, or 2 to {EDGES_MAX}, are allowed")]
    Edges {
        /// The feature.
        feature: usize,
        /// How many edges it has.
        got: usize,
    },
    /// An edge that is not greater than the one before.
    #[error("the edges of feature {feature} do not ascend")]
    NotAscending {
        /// The feature.
        feature: usize,
    },
    /// An edge outside of what the feature can be.
    #[error("the edges of feature {feature} leave its bounds")]
    OutOfBounds {
        /// The feature.
        feature: usize,
    },
    /// No feature has a bin, so that every row would look the same.
    #[error("no feature has a bin: all are constant")]
    NoColumns,
}

/// The edges of every feature's bins: none where the feature is constant, else at least two that ascend, within
/// the feature's bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoding {
    edges: Vec<Vec<i32>>,
}

impl Encoding {
    /// Checks edges that come from elsewhere, feature by feature.
    pub fn new(edges: Vec<Vec<i32>>) -> Result<Self, EncodingError> {
        if edges.len() != FEATURE_COUNT {
            return Err(EncodingError::Features { got: edges.len() });
        }
        for (feature, edges) in edges.iter().enumerate() {
            check(feature, edges)?;
        }
        if edges.iter().all(Vec::is_empty) {
            return Err(EncodingError::NoColumns);
        }
        Ok(Self { edges })
    }

    /// Puts edges at the quantiles of the rows' features, equal ones merged.
    pub fn learn(rows: &[Row], quantiles: usize) -> Result<Self, EncodingError> {
        let quantiles = quantiles.clamp(1, QUANTILES_MAX);
        let learn = |feature| learnt(&column(rows, feature), quantiles);
        Self::new((0..FEATURE_COUNT).map(learn).collect())
    }

    /// The edges, feature by feature.
    pub fn edges(&self) -> &[Vec<i32>] {
        &self.edges
    }

    /// Columns of an encoded row: a bin each.
    pub fn columns(&self) -> usize {
        self.edges.iter().map(|edges| edges.len().saturating_sub(1)).sum()
    }

    /// Writes the encoded row to the front of `out`, column by column.
    pub fn encode(&self, row: &Row, out: &mut [f32]) {
        let mut columns = out.iter_mut();
        for (edges, value) in self.edges.iter().zip(row.0) {
            for (bin, column) in edges.windows(2).zip(&mut columns) {
                *column = filled(value, bin[0], bin[1]);
            }
        }
    }
}

fn check(feature: usize, edges: &[i32]) -> Result<(), EncodingError> {
    let (Some(first), Some(last)) = (edges.first(), edges.last()) else {
        return Ok(());
    };
    if edges.len() < 2 || edges.len() > EDGES_MAX {
        let got = edges.len();
        return Err(EncodingError::Edges { feature, got });
    }
    if !edges.is_sorted_by(|before, after| before < after) {
        return Err(EncodingError::NotAscending { feature });
    }
    if *first < FEATURES[feature].min || *last > FEATURES[feature].max {
        return Err(EncodingError::OutOfBounds { feature });
    }
    Ok(())
}

/// A feature's values in ascending order, within its bounds.
fn column(rows: &[Row], feature: usize) -> Vec<i32> {
    let bounds = FEATURES[feature];
    let mut column: Vec<i32> = rows
        .iter()
        .map(|row| row.0[feature].clamp(bounds.min, bounds.max))
        .collect();
    column.sort_unstable();
    column
}

/// The edges of a sorted column.
fn learnt(column: &[i32], quantiles: usize) -> Vec<i32> {
    let Some(last) = column.len().checked_sub(1) else {
        return Vec::new();
    };
    // Divided before it is multiplied, so that no number of rows overflows.
    let position = |at: usize| last / quantiles * at + last % quantiles * at / quantiles;
    let mut edges: Vec<i32> = (0..=quantiles).map(|at| column[position(at)]).collect();
    let common = repeated(&edges, column[0], column[last]);
    edges.dedup();
    let with_common = merged(&edges, &common);
    match edges.len() {
        0 | 1 => Vec::new(),
        _ if with_common.len() <= EDGES_MAX => with_common,
        _ => edges,
    }
}

/// The neighbours of values so common that several quantiles fall on them: with edges there, such a value, "never
/// seen" above all, gets a step of its own, in place of a ramp that it shares with what lies next to it.
fn repeated(quantiles: &[i32], least: i32, greatest: i32) -> Vec<i32> {
    quantiles
        .windows(2)
        .filter(|pair| pair[0] == pair[1])
        .flat_map(|pair| [pair[0].saturating_sub(1), pair[0].saturating_add(1)])
        .filter(|edge| (least..=greatest).contains(edge))
        .collect()
}

fn merged(edges: &[i32], more: &[i32]) -> Vec<i32> {
    let mut merged = [edges, more].concat();
    merged.sort_unstable();
    merged.dedup();
    merged
}

/// How much of a bin lies left of the value.
#[allow(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    reason = "a fraction from 0 to 1 loses nothing but digits"
)]
fn filled(value: i32, low: i32, high: i32) -> f32 {
    if value <= low {
        return 0.0;
    }
    if value >= high {
        return 1.0;
    }
    let (value, low, high) = (f64::from(value), f64::from(low), f64::from(high));
    ((value - low) / (high - low)) as f32
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(edges: &[i32]) -> Result<Encoding, EncodingError> {
        let mut all = vec![Vec::new(); FEATURE_COUNT];
        all[0] = edges.to_vec();
        Encoding::new(all)
    }

    fn row(value: i32) -> Row {
        let mut row = Row([7; FEATURE_COUNT]);
        row.0[0] = value;
        row
    }

    fn encoded(edges: &[i32], value: i32) -> Vec<f32> {
        let encoding = of(edges).unwrap();
        let mut out = vec![9.0; encoding.columns()];
        encoding.encode(&row(value), &mut out);
        out
    }

    #[test]
    fn bins_left_of_the_value_are_full_and_those_right_of_it_are_empty() {
        let edges = [0, 10, 20, 40];
        for (value, want) in [
            (i32::MIN, [0.0, 0.0, 0.0]),
            (0, [0.0, 0.0, 0.0]),
            (5, [0.5, 0.0, 0.0]),
            (10, [1.0, 0.0, 0.0]),
            (25, [1.0, 1.0, 0.25]),
            (40, [1.0, 1.0, 1.0]),
            (i32::MAX, [1.0, 1.0, 1.0]),
        ] {
            assert_eq!(encoded(&edges, value), want, "{value}");
        }
    }

    #[test]
    fn edges_are_quantiles_merged_where_equal_and_a_constant_feature_has_none() {
        let rows: Vec<Row> = (0..=100).map(row).collect();
        let encoding = Encoding::learn(&rows, 4).unwrap();
        assert_eq!(encoding.edges()[0], [0, 25, 50, 75, 100]);
        assert!(encoding.edges()[1..].iter().all(Vec::is_empty));
        assert_eq!(encoding.columns(), 4);
    }

    #[test]
    fn a_value_that_many_rows_share_gets_a_step_of_its_own() {
        let rows: Vec<Row> = (0..=100).map(|at| row(if at < 50 { at } else { 200 })).collect();
        assert_eq!(Encoding::learn(&rows, 4).unwrap().edges()[0], [0, 25, 199, 200]);
        let rows: Vec<Row> = (0..=100)
            .map(|at| row(if at < 60 { 3 } else { 300 + at }))
            .collect();
        assert_eq!(Encoding::learn(&rows, 4).unwrap().edges()[0], [3, 4, 375, 400]);
    }

    #[test]
    fn refuses_what_is_no_encoding() {
        let high = FEATURES[0].max + 1;
        assert_eq!(of(&[]), Err(EncodingError::NoColumns));
        assert_eq!(of(&[1]), Err(EncodingError::Edges { feature: 0, got: 1 }));
        assert_eq!(of(&[1, 1]), Err(EncodingError::NotAscending { feature: 0 }));
        assert_eq!(of(&[2, 1]), Err(EncodingError::NotAscending { feature: 0 }));
        assert_eq!(of(&[-1, 1]), Err(EncodingError::OutOfBounds { feature: 0 }));
        assert_eq!(of(&[1, high]), Err(EncodingError::OutOfBounds { feature: 0 }));
        let many: Vec<i32> = (0..=32).collect();
        assert_eq!(of(&many), Err(EncodingError::Edges { feature: 0, got: 33 }));
        assert!(of(&many[1..]).is_ok());
        assert_eq!(Encoding::new(vec![]), Err(EncodingError::Features { got: 0 }));
        assert_eq!(Encoding::learn(&[], 16), Err(EncodingError::NoColumns));
        assert_eq!(Encoding::learn(&[row(1)], 16), Err(EncodingError::NoColumns));
    }

    proptest! {
        #[test]
        fn whatever_is_learnt_is_allowed(values in prop::collection::vec(any::<i32>(), 2..200), quantiles in 0_usize..99) {
            let rows: Vec<Row> = values.iter().map(|value| row(*value)).collect();
            match Encoding::learn(&rows, quantiles) {
                Ok(encoding) => prop_assert!(encoding.columns() > 0),
                Err(error) => prop_assert_eq!(error, EncodingError::NoColumns),
            }
        }
    }
}
