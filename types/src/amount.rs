//! Money: a `u128` count of an asset's smallest unit, with checked arithmetic only.

use core::fmt;

/// A count of an asset's smallest unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(pub u128);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest amount; in a post it means "all that is pending", in a balancing transfer "no limit".
    pub const MAX: Self = Self(u128::MAX);

    /// Sum, or `None` on overflow.
    pub fn plus(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// Difference, or `None` below zero.
    pub fn minus(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// Decimal text with `scale` digits after the point, as `12.34` for 1234 at scale 2.
    pub fn at_scale(self, scale: u8) -> alloc::string::String {
        let digits = alloc::format!("{:0>width$}", self.0, width = usize::from(scale) + 1);
        let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
        if fraction.is_empty() {
            whole.into()
        } else {
            alloc::format!("{whole}.{fraction}")
        }
    }

    /// Parses decimal text at `scale`; `None` for anything else, for more digits than the scale has, and for
    /// what does not fit.
    pub fn parse_at_scale(text: &str, scale: u8) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if whole.is_empty() || fraction.len() > usize::from(scale) {
            return None;
        }
        if !whole
            .bytes()
            .chain(fraction.bytes())
            .all(|digit| digit.is_ascii_digit())
        {
            return None;
        }
        let digits = alloc::format!("{whole}{fraction:0<width$}", width = usize::from(scale));
        digits.parse().ok().map(Self)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_text_round_trips_at_every_scale() {
        for (units, scale, text) in [
            (1234, 2, "12.34"),
            (5, 3, "0.005"),
            (7, 0, "7"),
            (0, 9, "0.000000000"),
        ] {
            assert_eq!(Amount(units).at_scale(scale), text);
            assert_eq!(Amount::parse_at_scale(text, scale), Some(Amount(units)));
        }
    }

    #[test]
    fn refuses_text_that_is_not_an_amount() {
        for text in [
            "",
            ".5",
            "-1",
            "1.234",
            "1e3",
            "+1",
            "340282366920938463463374607431768211456",
        ] {
            assert_eq!(Amount::parse_at_scale(text, 2), None, "{text}");
        }
    }

    #[test]
    fn arithmetic_never_wraps() {
        assert_eq!(Amount::MAX.plus(Amount(1)), None);
        assert_eq!(Amount::ZERO.minus(Amount(1)), None);
    }
}
