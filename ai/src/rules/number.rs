//! Numbers as people write them, exactly: no float lies between the text and the rule.

/// A decimal number of at most [`DECIMALS_MAX`] decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    is_negative: bool,
    whole: u128,
    millionths: u32,
}

const DECIMALS_MAX: usize = 6;
const MILLION: u32 = 1_000_000;

impl Decimal {
    /// `-1_000.25`, and nothing around it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (is_negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        Some(Self {
            is_negative,
            whole: grouped(whole)?,
            millionths: millionths(fraction)?,
        })
    }

    /// The number, if it is a whole one and not below zero.
    pub(super) fn whole(self) -> Option<u128> {
        (!self.is_below_zero() && self.millionths == 0).then_some(self.whole)
    }

    /// So many times the number, rounded down; nothing below zero or past 2^128.
    pub(super) fn times(self, factor: u128) -> Option<u128> {
        if self.is_below_zero() {
            return None;
        }
        let part = u128::from(self.millionths).checked_mul(factor)? / u128::from(MILLION);
        self.whole.checked_mul(factor)?.checked_add(part)
    }

    /// So many times the number, rounded towards zero.
    pub(super) fn times_signed(self, factor: u128) -> Option<i128> {
        let size = Self {
            is_negative: false,
            ..self
        };
        let size = i128::try_from(size.times(factor)?).ok()?;
        Some(if self.is_negative { -size } else { size })
    }

    fn is_below_zero(self) -> bool {
        self.is_negative && (self.whole, self.millionths) != (0, 0)
    }
}

/// Digits, of which groups may be set apart by `_`.
fn grouped(text: &str) -> Option<u128> {
    let mut value = 0_u128;
    for group in text.split('_') {
        if group.is_empty() {
            return None;
        }
        for character in group.chars() {
            value = value
                .checked_mul(10)?
                .checked_add(character.to_digit(10)?.into())?;
        }
    }
    Some(value)
}

fn millionths(text: &str) -> Option<u32> {
    if text.is_empty() || text.len() > DECIMALS_MAX {
        return None;
    }
    let mut value = 0;
    for character in text.chars() {
        value = value * 10 + character.to_digit(10)?;
    }
    let missing = (text.len()..DECIMALS_MAX).fold(1, |power, _| power * 10);
    Some(value * missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_exactly() {
        let read = |text: &str| Decimal::parse(text).map(|number| number.times_signed(1_000_000));
        assert_eq!(read("0"), Some(Some(0)));
        assert_eq!(read("1_000.25"), Some(Some(1_000_250_000)));
        assert_eq!(read("-0.000001"), Some(Some(-1)));
        assert_eq!(read("007"), Some(Some(7_000_000)));
        let greatest = Decimal::parse("340282366920938463463374607431768211455").expect("2^128 - 1");
        assert_eq!(greatest.whole(), Some(u128::MAX));
        assert_eq!(greatest.times(2), None);
        assert_eq!(greatest.times_signed(1), None);
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [
            "",
            "-",
            ".",
            "1.",
            ".5",
            "1e3",
            "+1",
            "--1",
            "_1",
            "1_",
            "1__0",
            "1.1_0",
            "1.0000001",
            "٣",
            " 1",
            "340282366920938463463374607431768211456",
        ] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn fractions_and_signs_are_no_whole_numbers() {
        let whole = |text: &str| Decimal::parse(text).expect("a number").whole();
        assert_eq!(
            [
                whole("12"),
                whole("12.000"),
                whole("-0"),
                whole("12.5"),
                whole("-1")
            ],
            [Some(12), Some(12), Some(0), None, None]
        );
    }

    #[test]
    fn multiples_are_rounded_down() {
        let times = |text: &str, factor| Decimal::parse(text).expect("a number").times(factor);
        assert_eq!(
            [times("0.3", 4), times("2.5", 1024), times("-1", 4)],
            [Some(1), Some(2_560), None]
        );
    }
}
