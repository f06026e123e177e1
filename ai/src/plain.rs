//! Features in plain words: what each counts, and its values as people write them.

use crate::features::FEATURE_COUNT;
use crate::features::catalogue::{COUNT_MAX, DEVIATION_MAX, GAP_MAX, RATIO_MAX, RATIO_NONE};

/// What a feature counts, for people; empty for what is no feature.
pub fn label(feature: usize) -> &'static str {
    PLAIN.get(feature).map_or("", |(label, _)| label)
}

/// A value of a feature as people write it. Logarithms are turned back, so that most values are about right: to
/// three digits.
pub fn value(feature: usize, value: i32) -> String {
    PLAIN
        .get(feature)
        .map_or_else(|| value.to_string(), |(_, scale)| scale.write(value))
}

/// How people write the values of a feature.
#[derive(Clone, Copy, Debug)]
enum Scale {
    /// A whole number that is not capped.
    Whole,
    /// A whole number that stops at [`COUNT_MAX`].
    Count,
    /// Units of an asset.
    Units,
    /// How many times as much.
    Times,
    /// Standard deviations.
    Deviations,
    /// The time since something, with the word for there having been none.
    Since(&'static str),
    /// Transfers, decayed.
    Transfers,
    /// Reports, decayed.
    Reports,
    /// Accounts.
    Accounts,
    /// Parts of a hundred.
    Share,
    /// Whether two accounts have met.
    Pair,
}

/// Steps of a doubling.
const STEPS: f64 = 256.0;
/// A transfer, in decayed counters.
const TRANSFER: f64 = 1_024.0;
/// A report, in decayed counters.
const REPORT: f64 = 1_048_576.0;
const PAIRS: [&str; 4] = [
    "never before",
    "sender paid receiver before",
    "receiver paid sender before",
    "both paid each other before",
];

impl Scale {
    fn write(self, value: i32) -> String {
        let real = f64::from(value);
        match self {
            Self::Whole => value.to_string(),
            Self::Count if value >= COUNT_MAX => format!("{COUNT_MAX} or more"),
            Self::Count => value.to_string(),
            Self::Units => about(more(value)),
            Self::Times if value == RATIO_NONE => "nothing to compare with".to_owned(),
            Self::Times if value.unsigned_abs() >= RATIO_MAX.unsigned_abs() => {
                let times = format!("{} x", about((real / STEPS).exp2()));
                beyond(value, &times)
            }
            Self::Times => format!("{} x", about((real / STEPS).exp2())),
            Self::Deviations if value.unsigned_abs() >= DEVIATION_MAX.unsigned_abs() => {
                beyond(value, &format!("{:+.1} deviations", real / STEPS))
            }
            Self::Deviations => format!("{:+.1} deviations", real / STEPS),
            Self::Since(none) if value > GAP_MAX => none.to_owned(),
            Self::Since(_) => since(more(value), value == GAP_MAX),
            Self::Transfers => about(more(value) / TRANSFER),
            Self::Reports => about(more(value) / REPORT),
            Self::Accounts => format!("about {}", about((real / 4.0).round())),
            Self::Share => format!("{:.0} %", real * 100.0 / 1_024.0),
            Self::Pair => {
                let at = usize::try_from(value).unwrap_or(PAIRS.len());
                PAIRS.get(at).copied().unwrap_or("").to_owned()
            }
        }
    }
}

/// The middle of what log2 of one more in 1/256 steps, rounded down, stands for.
fn more(log: i32) -> f64 {
    if log <= 0 {
        0.0
    } else {
        ((f64::from(log) + 0.5) / STEPS).exp2() - 1.0
    }
}

/// A value at the end of what its feature can say.
fn beyond(value: i32, text: &str) -> String {
    format!("{text} or {}", if value < 0 { "less" } else { "more" })
}

/// A number to about three digits, with commas between thousands.
fn about(number: f64) -> String {
    let size = number.abs();
    if size < 1e-3 {
        return "0".to_owned();
    }
    if size < 1.0 {
        return format!("{number:.3}");
    }
    if size < 100.0 {
        let text = format!("{number:.1}");
        return text.strip_suffix(".0").map_or(text.clone(), str::to_owned);
    }
    let step = 10_f64.powf((size.log10().floor() - 2.0).max(0.0));
    let digits = format!("{:.0}", (number / step).round() * step);
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Seconds in the unit that gives a short number.
fn since(seconds: f64, is_end: bool) -> String {
    let unit = [
        (2.0 * 86_400.0, 86_400.0, "d"),
        (7_200.0, 3_600.0, "h"),
        (120.0, 60.0, "min"),
    ];
    let (of, name) = unit
        .iter()
        .find(|(from, ..)| seconds >= *from)
        .map_or((1.0, "s"), |(_, of, name)| (*of, *name));
    let text = format!("{} {name}", about(seconds / of));
    if is_end { format!("{text} or more") } else { text }
}

/// Every feature, in the order of a row.
#[rustfmt::skip]
const PLAIN: [(&str, Scale); FEATURE_COUNT] = [
    ("amount, in units", Scale::Units),
    ("significant digits of the amount", Scale::Whole),
    ("amount against what the sender usually pays", Scale::Deviations),
    ("amount over the sender's greatest payment", Scale::Times),
    ("amount over what the sender took in and has not paid out", Scale::Times),
    ("amount against what the receiver usually gets", Scale::Deviations),
    ("amount over the receiver's greatest receipt", Scale::Times),
    ("amount over the receiver's last receipt", Scale::Times),
    ("since the sender last paid", Scale::Since("never paid")),
    ("since the sender was last paid", Scale::Since("never was paid")),
    ("since the receiver was last paid", Scale::Since("never was paid")),
    ("since the receiver last paid", Scale::Since("never paid")),
    ("since the sender was first seen", Scale::Since("new")),
    ("since the receiver was first seen", Scale::Since("new")),
    ("sender's payments of late, half forgotten in an hour", Scale::Transfers),
    ("sender's payments of late, half forgotten in a day", Scale::Transfers),
    ("sender's payments of late, half forgotten in a week", Scale::Transfers),
    ("receiver's receipts of late, half forgotten in an hour", Scale::Transfers),
    ("receiver's receipts of late, half forgotten in a day", Scale::Transfers),
    ("receiver's receipts of late, half forgotten in a week", Scale::Transfers),
    ("sender's payments so far", Scale::Count),
    ("sender's receipts so far", Scale::Count),
    ("receiver's receipts so far", Scale::Count),
    ("receiver's payments so far", Scale::Count),
    ("all that the receiver was paid, in units", Scale::Units),
    ("the receiver's usual receipt, in units", Scale::Units),
    ("spread of the receiver's receipts", Scale::Times),
    ("sender's payments over its receipts", Scale::Times),
    ("receiver's payments over its receipts", Scale::Times),
    ("accounts that the sender has paid", Scale::Accounts),
    ("accounts that have paid the sender", Scale::Accounts),
    ("accounts that have paid the receiver", Scale::Accounts),
    ("accounts that the receiver has paid", Scale::Accounts),
    ("whether the two have met", Scale::Pair),
    ("share of the receiver's receipts from accounts with little past", Scale::Share),
    ("reports against the sender, half forgotten in a week", Scale::Reports),
    ("reports against the receiver, half forgotten in a week", Scale::Reports),
    ("share of the receiver's receipts that were reported", Scale::Share),
    ("reports met at the sender's counterparties", Scale::Reports),
    ("reports met at the receiver's counterparties", Scale::Reports),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::FEATURES;

    fn of(name: &str, number: i32) -> String {
        let at = FEATURES.iter().position(|feature| feature.name == name);
        value(at.expect("a feature"), number)
    }

    #[test]
    fn values_come_back_as_people_write_them() {
        // The values are those that rules have for the same numbers.
        assert_eq!(of("from_count_in", 7), "7");
        assert_eq!(of("from_count_in", COUNT_MAX), "128 or more");
        assert_eq!(of("to_age", 4_197), "24 h");
        assert_eq!(of("to_age", GAP_MAX + 1), "new");
        assert_eq!(of("to_gap_in", GAP_MAX), "97.2 d or more");
        assert_eq!(of("from_gap_out", 256), "1 s");
        assert_eq!(of("from_out_day", 3_154), "5");
        assert_eq!(of("to_reports", 19 * 256), "0.501");
        assert_eq!(of("drain", 256), "2 x");
        assert_eq!(of("to_repeat", -256), "0.500 x");
        assert_eq!(of("to_repeat", RATIO_NONE), "nothing to compare with");
        assert_eq!(of("from_max", RATIO_MAX), "65,500 x or more");
        assert_eq!(of("to_young", 512), "50 %");
        assert_eq!(of("from_deviation", -640), "-2.5 deviations");
        assert_eq!(of("to_deviation", DEVIATION_MAX), "+8.0 deviations or more");
        assert_eq!(of("to_fan_in", 13), "about 3");
        assert_eq!(of("pair", 0), "never before");
        assert_eq!(of("amount", 0), "0");
        assert_eq!(of("amount", 2_560), "1,020");
    }

    #[test]
    fn every_feature_has_words_and_no_value_fails() {
        for (at, feature) in FEATURES.iter().enumerate() {
            assert!(!label(at).is_empty(), "{}", feature.name);
            for number in [i32::MIN, feature.min, 0, 1, feature.max, i32::MAX] {
                assert!(number == i32::MIN || number == i32::MAX || !value(at, number).is_empty());
                value(at, number);
            }
        }
        assert_eq!(
            (label(FEATURE_COUNT), value(FEATURE_COUNT, 3).as_str()),
            ("", "3")
        );
    }

    #[test]
    fn the_words_stand_beside_the_features_that_they_are_of() {
        for (at, feature) in FEATURES.iter().enumerate() {
            let sides = [("from_", "sender"), ("to_", "receiver")];
            for (side, word) in sides.iter().filter(|(side, _)| feature.name.starts_with(side)) {
                assert!(label(at).contains(word), "{side}{at}: {}", label(at));
            }
            let is_time = matches!(PLAIN[at].1, Scale::Since(_));
            assert_eq!(is_time, feature.max == GAP_MAX + 1, "{}", feature.name);
        }
    }
}
