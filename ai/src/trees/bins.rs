//! Bins: where the values of a feature are told apart, and a table that finds a value's bin in one step.

use crate::features::{FEATURE_COUNT, FEATURES, GREATEST, LEAST, Row};
use selfchain_types::codec::{index, narrow};
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

    /// Thresholds at the quantiles of the rows' values, at most `count` a feature; every distinct value is told
    /// apart where there are few.
    pub fn of(rows: &[Row], count: usize) -> Self {
        let count = count.clamp(1, THRESHOLDS_MAX);
        let thresholds = (0..FEATURE_COUNT)
            .map(|feature| {
                let mut column: Vec<i32> = rows.iter().map(|row| row.0[feature]).collect();
                column.sort_unstable();
                thresholds_of(&column, count)
            })
            .collect();
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

/// Of a sorted column: the last values of runs of about equal length, but for the greatest value.
fn thresholds_of(column: &[i32], count: usize) -> Vec<i32> {
    let Some(greatest) = column.last().copied() else {
        return Vec::new();
    };
    let mut distinct: Vec<i32> = column.to_vec();
    distinct.dedup();
    if distinct.len() <= count + 1 {
        distinct.pop();
        return distinct;
    }
    let mut thresholds: Vec<i32> = (1..=count)
        .map(|at| column[at * (column.len() - 1) / (count + 1)])
        .filter(|value| *value < greatest)
        .collect();
    thresholds.dedup();
    thresholds
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

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

    #[test]
    fn few_values_are_all_told_apart_and_many_by_quantiles() {
        assert_eq!(thresholds_of(&[1, 1, 2, 9], 255), [1, 2]);
        assert_eq!(thresholds_of(&[4, 4, 4], 255), [0; 0]);
        assert_eq!(thresholds_of(&[], 255), [0; 0]);
        let column: Vec<i32> = (0..1000).collect();
        assert_eq!(thresholds_of(&column, 3), [249, 499, 749]);
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
