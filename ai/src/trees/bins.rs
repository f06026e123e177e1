//! Bins: where the values of a feature are told apart, and a table that finds a value's bin in one step.

use crate::features::{FEATURE_COUNT, FEATURES, GREATEST, LEAST, Row};
use rayon::prelude::*;
use selfchain_types::codec::{index, narrow, wide};
use thiserror::Error;

/// Ascending thresholds of every feature. A value's bin is how many of them it exceeds.
#[derive(Clone, Debug)]
pub struct Bins {
    thresholds: Vec<Vec<i32>>,
    /// The bin of every value of every feature, from its least to its greatest.
    table: Vec<u8>,
    /// Where a feature's part of the table begins.
    starts: Places,
}

/// Where in the table the bins of a row's values stand.
pub(super) type Places = [u32; FEATURE_COUNT];

/// Most thresholds of a feature: bins are bytes.
pub const THRESHOLDS_MAX: usize = 255;

/// Why thresholds are not those of bins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BinsError {
    /// There is not one list a feature.
    #[error("thresholds of {got} features, where a row has {FEATURE_COUNT}")]
    Features {
        /// How many lists there are.
        got: usize,
    },
    /// A feature has too many.
    #[error("feature {} has {got} thresholds, at most {THRESHOLDS_MAX} are allowed", FEATURES[*.feature].name)]
    TooMany {
        /// The feature.
        feature: usize,
        /// How many.
        got: usize,
    },
    /// They do not ascend.
    #[error("the thresholds of feature {} do not ascend", FEATURES[*.feature].name)]
    Order {
        /// The feature.
        feature: usize,
    },
}

impl Bins {
    /// From one list of thresholds a feature.
    ///
    /// # Errors
    /// [`BinsError`].
    pub fn new(thresholds: Vec<Vec<i32>>) -> Result<Self, BinsError> {
        if thresholds.len() != FEATURE_COUNT {
            return Err(BinsError::Features {
                got: thresholds.len(),
            });
        }
        for (feature, its) in thresholds.iter().enumerate() {
            if its.len() > THRESHOLDS_MAX {
                return Err(BinsError::TooMany {
                    feature,
                    got: its.len(),
                });
            }
            if !its.is_sorted_by(|left, right| left < right) {
                return Err(BinsError::Order { feature });
            }
        }
        let mut bins = Self {
            thresholds,
            table: Vec::new(),
            starts: [0; FEATURE_COUNT],
        };
        bins.fill_table();
        Ok(bins)
    }

    fn fill_table(&mut self) {
        for (feature, its) in self.thresholds.iter().enumerate() {
            // A table has as many bytes as features have values: fewer than a million.
            self.starts[feature] = narrow(self.table.len());
            let mut bin = 0_u8;
            let mut next = its.iter().peekable();
            for value in FEATURES[feature].min..=FEATURES[feature].max {
                while next.next_if(|threshold| **threshold < value).is_some() {
                    bin = bin.saturating_add(1);
                }
                self.table.push(bin);
            }
        }
    }

    /// At most `count` thresholds a feature, between the values of the rows: every two values are told apart where
    /// there are few, else there is as much of the rows in every bin as there can be. Both classes weigh the same, so
    /// that values that only fraud has are told apart, however rare it is.
    pub fn of(rows: &[Row], labels: &[bool], count: usize) -> Self {
        let count = count.clamp(1, THRESHOLDS_MAX);
        let frauds = labels.iter().filter(|label| **label).count();
        let weights = [frauds, labels.len() - frauds].map(|others| wide(others.max(1)));
        let thresholds = |feature: usize| {
            let labelled = rows.iter().zip(labels);
            let column = labelled.map(|(row, label)| (row.0[feature], weights[usize::from(*label)]));
            thresholds_of(&merged(column.collect()), count)
        };
        let thresholds = (0..FEATURE_COUNT).into_par_iter().map(thresholds).collect();
        Self::new(thresholds).expect("thresholds taken from a sorted column ascend")
    }

    /// The thresholds of a feature.
    pub fn thresholds(&self, feature: usize) -> &[i32] {
        &self.thresholds[feature]
    }

    /// The bin of a value; one outside the feature's bounds counts as the bound.
    #[inline]
    pub fn bin(&self, feature: usize, value: i32) -> u8 {
        self.at(self.place(feature, value))
    }

    /// Where the bins of a row stand: the same few operations for every feature, so that a processor can do many of
    /// them at once.
    #[inline(always)]
    #[allow(
        clippy::inline_always,
        reason = "it is compiled anew for every kind of processor"
    )]
    pub(super) fn places(&self, row: &Row) -> Places {
        let mut places = [0; FEATURE_COUNT];
        for (feature, place) in places.iter_mut().enumerate() {
            *place = self.place(feature, row.0[feature]);
        }
        places
    }

    #[inline(always)]
    #[allow(
        clippy::inline_always,
        reason = "it is compiled anew for every kind of processor"
    )]
    fn place(&self, feature: usize, value: i32) -> u32 {
        let least = LEAST[feature];
        let within = value.max(least).min(GREATEST[feature]);
        self.starts[feature].wrapping_add(within.abs_diff(least))
    }

    /// The bin at a place.
    #[inline]
    pub(super) fn at(&self, place: u32) -> u8 {
        self.table.get(index(place)).copied().unwrap_or(0)
    }
}

/// A value, and what the rows that have it weigh. With fewer rows than row numbers, all weigh less than 2^63.
type Weighed = (i32, u64);

/// Every value once, ascending.
fn merged(mut column: Vec<Weighed>) -> Vec<Weighed> {
    column.sort_unstable_by_key(|(value, _)| *value);
    column.dedup_by(|next, kept| {
        let is_same = next.0 == kept.0;
        kept.1 += if is_same { next.1 } else { 0 };
        is_same
    });
    column
}

/// Of ascending values: thresholds half-way between the runs of values that are taken together.
fn thresholds_of(column: &[Weighed], count: usize) -> Vec<i32> {
    let is_last: Vec<bool> = if column.len() <= count + 1 {
        vec![true; column.len()]
    } else {
        runs(column, count)
    };
    let pairs = column.windows(2).zip(is_last).filter(|(_, is_last)| *is_last);
    // Rounded down: the lower value does not exceed it, the higher one does.
    let between = |low: i32, high: i32| low.saturating_add_unsigned(high.abs_diff(low) / 2);
    let thresholds = pairs.map(|(pair, _)| between(pair[0].0, pair[1].0));
    thresholds.take(count).collect()
}

/// Which values end a run. One that weighs as much as a run should is a run by itself, and what is left is shared by
/// the others: else a value that most rows have would leave the rest with few.
fn runs(column: &[Weighed], count: usize) -> Vec<bool> {
    let weights: Vec<u128> = column.iter().map(|(_, weight)| u128::from(*weight)).collect();
    let (mut weight, mut runs) = (weights.iter().sum::<u128>(), u128::from(wide(count)) + 1);
    let mut is_heavy = vec![false; column.len()];
    while let Some(at) = (0..column.len()).find(|at| !is_heavy[*at] && weights[*at] * runs >= weight) {
        is_heavy[at] = true;
        weight -= weights[at];
        runs -= 1;
    }
    let mut is_last = is_heavy.clone();
    let mut filled = 0;
    for at in 0..column.len() {
        if is_heavy[at] {
            // It takes in what was too little for a run before it.
            weight -= filled;
            filled = 0;
            continue;
        }
        filled += weights[at];
        let is_before_heavy = is_heavy.get(at + 1) == Some(&true);
        let enough = if is_before_heavy { 2 * filled } else { filled };
        if enough * runs >= weight {
            is_last[at] = true;
            weight -= filled;
            runs = (runs - 1).max(1);
            filled = 0;
        }
    }
    is_last
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn bins(first: &[i32]) -> Result<Bins, BinsError> {
        let mut thresholds = vec![Vec::new(); FEATURE_COUNT];
        thresholds[0] = first.to_vec();
        Bins::new(thresholds)
    }

    #[test]
    fn a_bin_is_how_many_thresholds_a_value_exceeds() {
        let bins = bins(&[-5, 10, 11, 500_000]).unwrap();
        let check = |value: i32, want: u8| assert_eq!(bins.bin(0, value), want, "bin of {value}");
        check(i32::MIN, 1);
        check(0, 1);
        check(10, 1);
        check(11, 2);
        check(12, 3);
        check(i32::MAX, 3);
        assert_eq!(bins.bin(1, 7), 0, "a feature without thresholds has one bin");
    }

    fn thresholds(values: &[i32], count: usize) -> Vec<i32> {
        thresholds_of(&merged(values.iter().map(|value| (*value, 1)).collect()), count)
    }

    #[test]
    fn few_values_are_all_told_apart_and_many_by_runs_of_equal_weight() {
        assert_eq!(thresholds(&[1, 1, 2, 9], 255), [1, 5]);
        assert_eq!(thresholds(&[-9, -8, -2], 255), [-9, -5]);
        assert_eq!(thresholds(&[4, 4, 4], 255), [0; 0]);
        assert_eq!(thresholds(&[], 255), [0; 0]);
        assert_eq!(thresholds(&[i32::MIN, i32::MAX], 1), [-1]);
        let column: Vec<i32> = (0..1000).rev().map(|value| value * 10).collect();
        assert_eq!(thresholds(&column, 3), [2495, 4995, 7495]);
    }

    #[test]
    fn a_value_that_most_rows_have_leaves_the_others_as_many_thresholds_as_there_are() {
        let mut column = vec![500; 100_000];
        column.extend(0..1000);
        let thresholds = thresholds(&column, 100);
        assert!(thresholds.len() >= 98, "{thresholds:?}");
        let edges = [&[0], &thresholds[..], &[999]].concat();
        let widest = edges.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(widest <= 20, "{thresholds:?}");
    }

    #[test]
    fn values_that_only_fraud_has_are_told_apart_however_rare_it_is() {
        let row = |value: i32| {
            let mut row = Row([0; FEATURE_COUNT]);
            row.0[0] = value;
            row
        };
        let rows: Vec<Row> = (0..10_000).map(row).collect();
        let labels: Vec<bool> = (0..10_000).map(|value| value >= 9_990).collect();
        let bins = Bins::of(&rows, &labels, 20);
        let above = bins.thresholds(0).iter().filter(|threshold| **threshold >= 9_990);
        assert!(above.count() >= 9, "{:?}", bins.thresholds(0));
    }

    proptest! {
        #[test]
        fn thresholds_of_any_rows_ascend_and_are_no_more_than_asked_for(
            values in prop::collection::vec((-40_000..40_000, 0..9_u8), 0..600),
            count in 1_usize..=THRESHOLDS_MAX,
        ) {
            // Every ninth value is one of three.
            let value = |(value, kind): &(i32, u8)| if *kind == 0 { value % 3 } else { *value };
            let rows: Vec<Row> = values.iter().map(|one| Row([value(one); FEATURE_COUNT])).collect();
            let labels: Vec<bool> = values.iter().map(|(value, _)| value % 7 == 0).collect();
            let bins = Bins::of(&rows, &labels, count);
            let distinct: BTreeSet<i32> = values.iter().map(value).collect();
            let found = bins.thresholds(0).len();
            prop_assert!(found <= count && found < distinct.len().max(1));
            // Or all values are told apart.
            prop_assert!(found * 3 >= count.min(distinct.len().saturating_sub(1)), "{found} of {count}");
        }
    }

    #[test]
    fn refuses_thresholds_that_are_none() {
        assert_eq!(bins(&[3, 3]).unwrap_err(), BinsError::Order { feature: 0 });
        let many: Vec<i32> = (0..256).collect();
        assert_eq!(
            bins(&many).unwrap_err(),
            BinsError::TooMany { feature: 0, got: 256 }
        );
        assert_eq!(Bins::new(Vec::new()).unwrap_err(), BinsError::Features { got: 0 });
    }
}
