//! Units: what people write for a feature, and the integers that a row holds for it.

use super::number::Decimal;
use crate::features::catalogue::{FAN_MAX, FEATURES, GAP_MAX, RATIO_MAX, SHARE_ONE};
use crate::features::{log2, log2_of_more};

/// How people write the values of a feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// A whole number, as it is.
    Whole,
    /// The time since something, in log2 of seconds; greatest: never.
    Gap,
    /// The same of the time since the first thing of all: new is the least, not the greatest.
    Age,
    /// Transfers, in log2 of 1/1024.
    Transfers,
    /// Accounts, estimated in 1/4.
    Accounts,
    /// Parts of a hundred, in 1/1024.
    Share,
    /// How many times as much, in log2.
    Ratio,
    /// The same; least: nothing to compare with.
    RatioOrNone,
    /// How many times as much, one or more, in log2.
    Spread,
    /// Standard deviations, in 1/256.
    Deviations,
    /// Units of an asset, in log2.
    Units,
    /// Reports, in log2 of 2^-20.
    Reports,
}

/// The position of a feature in a row, and its scale.
pub(super) fn of(name: &str) -> Option<(usize, Scale)> {
    let at = FEATURES.iter().position(|feature| feature.name == name)?;
    let scale = match name {
        "digits" | "pair" | "from_count_out" | "from_count_in" | "to_count_in" | "to_count_out" => {
            Scale::Whole
        }
        "from_gap_out" | "from_gap_in" | "to_gap_in" | "to_gap_out" => Scale::Gap,
        "from_age" | "to_age" => Scale::Age,
        "from_out_hour" | "from_out_day" | "from_out_week" => Scale::Transfers,
        "to_in_hour" | "to_in_day" | "to_in_week" => Scale::Transfers,
        "from_fan_out" | "from_fan_in" | "to_fan_in" | "to_fan_out" => Scale::Accounts,
        "to_young" | "to_report_share" => Scale::Share,
        "drain" | "from_flow" | "to_flow" => Scale::Ratio,
        "from_max" | "to_max" | "to_repeat" => Scale::RatioOrNone,
        "to_spread_in" => Scale::Spread,
        "from_deviation" | "to_deviation" => Scale::Deviations,
        "to_sum_in" | "to_mean_in" => Scale::Units,
        "from_reports" | "to_reports" | "from_met" | "to_met" => Scale::Reports,
        _ => return None,
    };
    Some((at, scale))
}

/// Whether a unit is the scale's: `None` stands for no unit.
pub(super) enum Unit {
    /// It is, and a number of it is so many of the scale's own.
    Of(u128),
    /// It is not; these are.
    Wrong(&'static str),
}

impl Scale {
    /// What a unit means here.
    pub(super) fn unit(self, unit: &str) -> Unit {
        let (wanted, known): (_, &[(&str, u128)]) = match self {
            Self::Gap | Self::Age => (
                "s, m, h or d",
                &[("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)],
            ),
            Self::Share => ("%", &[("%", 1)]),
            Self::Ratio | Self::RatioOrNone | Self::Spread => ("x", &[("x", 1)]),
            _ => ("no unit", &[("", 1)]),
        };
        match known.iter().find(|(name, _)| *name == unit) {
            Some((_, factor)) => Unit::Of(*factor),
            None => Unit::Wrong(wanted),
        }
    }

    /// The word for there being no value.
    pub(super) fn word(self) -> Option<&'static str> {
        match self {
            Self::Gap => Some("never"),
            Self::Age => Some("new"),
            Self::RatioOrNone => Some("none"),
            _ => None,
        }
    }

    /// The least and the greatest value of a row that stand for a number; nothing where there is no such number.
    pub(super) fn values(self, number: Decimal, factor: u128) -> Option<(i32, i32)> {
        let value = match self {
            Self::Whole => i32::try_from(number.whole()?).ok()?,
            Self::Gap | Self::Age => log2_of_more(number.times(factor)?),
            Self::Transfers => log2_of_more(number.times(1 << 10)?),
            Self::Reports => log2_of_more(number.times(1 << 20)?),
            Self::Units => log2_of_more(number.whole()?),
            Self::Ratio | Self::RatioOrNone | Self::Spread => ratio(number)?,
            Self::Share => share(number)?,
            Self::Deviations => i32::try_from(number.times_signed(256)?).ok()?,
            Self::Accounts => return accounts(number),
        };
        Some((value, value))
    }

    /// The values that are more or less than others, of all that the feature takes from `min` to `max`.
    pub(super) fn ordered(self, min: i32, max: i32) -> (i32, i32) {
        match self {
            Self::Age => (min, GAP_MAX),
            Self::RatioOrNone => (-RATIO_MAX, max),
            _ => (min, max),
        }
    }

    /// The greatest value that a number may stand for: what is past it is a word's.
    pub(super) fn greatest(self, max: i32) -> i32 {
        match self {
            Self::Gap | Self::Age => GAP_MAX,
            _ => max,
        }
    }
}

/// Estimates are in quarters and lie a little high, so a number stands for the quarter below it to the half above.
fn accounts(number: Decimal) -> Option<(i32, i32)> {
    let quarters = i32::try_from(number.whole()?.checked_mul(4)?).ok()?;
    (quarters <= FAN_MAX).then(|| ((quarters - 1).max(0), quarters + 2))
}

fn share(number: Decimal) -> Option<i32> {
    let parts = number.times(SHARE_ONE.unsigned_abs().into())? / 100;
    i32::try_from(parts).ok()
}

/// Log2 of a number above zero: of its 2^64-fold, less 64.
fn ratio(number: Decimal) -> Option<i32> {
    match number.times(1 << 64)? {
        0 => None,
        more => Some(log2(more) - 64 * STEPS),
    }
}

/// Steps of a doubling.
const STEPS: i32 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_but_the_amount_has_a_scale_within_its_bounds() {
        for feature in FEATURES.iter().filter(|feature| feature.name != "amount") {
            let (at, scale) = of(feature.name).expect(feature.name);
            assert_eq!(FEATURES[at].name, feature.name);
            let (min, max) = scale.ordered(feature.min, feature.max);
            assert!(feature.min <= min && max <= feature.max, "{}", feature.name);
            let is_of_a_kind = match scale {
                Scale::Gap | Scale::Age => feature.max == GAP_MAX + 1,
                Scale::RatioOrNone => feature.min == -RATIO_MAX - 1,
                Scale::Share => feature.max == SHARE_ONE,
                Scale::Accounts => feature.max == FAN_MAX,
                _ => true,
            };
            assert!(is_of_a_kind, "{}", feature.name);
        }
        assert_eq!(of("amount"), None, "the operation itself says it exactly");
        assert_eq!(of("colour"), None);
    }

    #[test]
    fn numbers_come_to_the_scale_of_the_row() {
        let value = |name: &str, text: &str, unit: &str| {
            let (_, scale) = of(name).expect("a feature");
            let Unit::Of(factor) = scale.unit(unit) else {
                panic!("{unit} is no unit of {name}")
            };
            scale.values(Decimal::parse(text).expect("a number"), factor)
        };
        let one = |value| Some((value, value));
        assert_eq!(value("from_count_in", "7", ""), one(7));
        // 86,400 and one: 16 doublings and 101/256.
        assert_eq!(value("to_age", "1", "d"), one(4197));
        assert_eq!(value("to_gap_in", "24", "h"), value("to_age", "86_400", "s"));
        // 5 · 1024 and one.
        assert_eq!(value("from_out_day", "5", ""), one(3154));
        assert_eq!(value("to_reports", "0.5", ""), one(19 * 256));
        assert_eq!(value("drain", "2", "x"), one(256));
        assert_eq!(value("to_repeat", "0.5", "x"), one(-256));
        assert_eq!(value("to_repeat", "1", "x"), one(0));
        assert_eq!(value("to_repeat", "0", "x"), None);
        assert_eq!(value("to_young", "50", "%"), one(512));
        assert_eq!(value("from_deviation", "-2.5", ""), one(-640));
        assert_eq!(value("to_fan_in", "3", ""), Some((11, 14)));
        assert_eq!(value("to_fan_in", "0", ""), Some((0, 2)));
        assert_eq!(value("to_fan_in", "1.5", ""), None);
        assert_eq!(value("to_sum_in", "1023", ""), one(2560));
        assert_eq!(value("to_age", "-1", "d"), None);
    }
}
