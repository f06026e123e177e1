//! Power-weighted medians: what half of the power holds to be at most true, and half at least.

/// The lower weighted median: the smallest value such that those who said it or less have at least half of the
/// power. `None` when nobody with power said anything.
///
/// If less than half of the power lies, the median is between two values that were told by honest power: to pull it
/// past all of them takes half.
pub fn weighted_median(told: &[(u32, u64)]) -> Option<u32> {
    let mut sorted: Vec<(u32, u64)> = told.iter().copied().filter(|(_, power)| *power > 0).collect();
    sorted.sort_unstable();
    let total: u128 = sorted.iter().map(|(_, power)| u128::from(*power)).sum();
    let mut below: u128 = 0;
    sorted
        .iter()
        .find(|(_, power)| {
            below += u128::from(*power);
            2 * below >= total
        })
        .map(|(value, _)| *value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_median_is_the_lower_one_by_power() {
        for (told, want) in [
            (vec![], None),
            (vec![(5, 0)], None),
            (vec![(5, 1)], Some(5)),
            (vec![(9, 1), (5, 1)], Some(5)),
            (vec![(9, 2), (5, 1)], Some(9)),
            (vec![(1, 1), (2, 1), (100, 1)], Some(2)),
            (vec![(1, u64::MAX), (2, u64::MAX)], Some(1)),
        ] {
            assert_eq!(weighted_median(&told), want, "{told:?}");
        }
    }

    proptest! {
        #[test]
        fn less_than_half_of_the_power_cannot_move_it_past_the_honest(
            honest in prop::collection::vec((any::<u32>(), 1u64..1 << 40), 1..20),
            lies in prop::collection::vec((any::<u32>(), 1u64..1 << 40), 0..20),
        ) {
            let power = |told: &[(u32, u64)]| told.iter().map(|(_, power)| power).sum::<u64>();
            let mut all = honest.clone();
            for lie in lies {
                if power(&all) + lie.1 < 2 * power(&honest) {
                    all.push(lie);
                }
            }
            let median = weighted_median(&all).unwrap();
            let least = honest.iter().map(|told| told.0).min().unwrap();
            let most = honest.iter().map(|told| told.0).max().unwrap();
            prop_assert!((least..=most).contains(&median));
        }
    }
}
