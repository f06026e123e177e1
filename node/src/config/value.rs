//! How a value is written: one text form, the same in the file, on the command line and in the environment.

use selfchain_types::Hash;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use thiserror::Error;

/// A type that a key can have.
pub trait Setting: Sized {
    /// What a value looks like, for the message that refuses one.
    const EXPECTS: &'static str;
    /// Whether TOML writes it without quotes.
    const IS_BARE: bool;
    /// Reads a value; `None` if this is none.
    fn parse(text: &str) -> Option<Self>;
    /// The text that reads back as this value.
    fn show(&self) -> String;
}

/// The items of a list that commas separate; `None` if one of them is none.
pub(crate) fn parse_list<'a, T>(text: &'a str, item: impl Fn(&'a str) -> Option<T>) -> Option<Vec<T>> {
    let each = text.split(',').map(str::trim).filter(|one| !one.is_empty());
    each.map(item).collect()
}

/// The text that reads back as this list.
pub(crate) fn show_list<T>(items: &[T], item: impl Fn(&T) -> String) -> String {
    items.iter().map(item).collect::<Vec<_>>().join(", ")
}

/// Why a value was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ValueFault {
    /// It does not read as one.
    #[error("expected {expects}")]
    Syntax {
        /// What one looks like.
        expects: &'static str,
    },
    /// It lies outside the limits.
    #[error("must be from {least} to {most}")]
    Range {
        /// The least that is allowed.
        least: String,
        /// The most that is allowed.
        most: String,
    },
}

/// Reads a value and holds it to its limits.
pub(super) fn check<T: Setting + PartialOrd>(
    text: &str,
    range: Option<&RangeInclusive<T>>,
) -> Result<T, ValueFault> {
    let value = T::parse(text).ok_or(ValueFault::Syntax { expects: T::EXPECTS })?;
    match range {
        Some(range) if !range.contains(&value) => Err(ValueFault::Range {
            least: range.start().show(),
            most: range.end().show(),
        }),
        _ => Ok(value),
    }
}

macro_rules! numbers {
    ($($number:ty),+) => { $(
        impl Setting for $number {
            const EXPECTS: &'static str = "a whole number, such as 1000, 1_000 or 64MiB";
            const IS_BARE: bool = true;

            fn parse(text: &str) -> Option<Self> {
                number(text)?.try_into().ok()
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )+ };
}
numbers!(u16, u32, u64);

/// A number with `_` between digits and, behind it, a power of 1,024.
fn number(text: &str) -> Option<u64> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let with_unit = units
        .iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?.trim_end(), 1u64 << shift)));
    let (digits, factor) = with_unit.unwrap_or((text, 1));
    let is_number = digits.starts_with(|first: char| first.is_ascii_digit())
        && digits.chars().all(|c| c.is_ascii_digit() || c == '_');
    let number: u64 = is_number.then(|| digits.replace('_', ""))?.parse().ok()?;
    number.checked_mul(factor)
}

impl Setting for bool {
    const EXPECTS: &'static str = "true or false";
    const IS_BARE: bool = true;

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for SocketAddr {
    const EXPECTS: &'static str = "an address with a port, such as 127.0.0.1:7400 or [::1]:7400";
    const IS_BARE: bool = false;

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for Option<Hash> {
    const EXPECTS: &'static str = "64 hexadecimal characters, or `off`";
    const IS_BARE: bool = false;

    fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "off" => Some(None),
            hex => Hash::from_hex(hex).map(Some),
        }
    }

    fn show(&self) -> String {
        self.map_or_else(|| "off".to_owned(), |hash| hash.to_hex())
    }
}

impl Setting for Option<SocketAddr> {
    const EXPECTS: &'static str = "an address with a port, such as 127.0.0.1:7401, or `off`";
    const IS_BARE: bool = false;

    fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "off" => Some(None),
            address => SocketAddr::parse(address).map(Some),
        }
    }

    fn show(&self) -> String {
        self.map_or_else(|| "off".into(), |address| address.show())
    }
}

impl Setting for PathBuf {
    const EXPECTS: &'static str = "a path";
    const IS_BARE: bool = false;

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.into())
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Setting for Option<PathBuf> {
    const EXPECTS: &'static str = "a path, or `off`";
    const IS_BARE: bool = false;

    fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "off" => Some(None),
            path => PathBuf::parse(path).map(Some),
        }
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "off".into(), Setting::show)
    }
}

impl Setting for String {
    const EXPECTS: &'static str = "a name of 1 to 200 visible ASCII characters";
    const IS_BARE: bool = false;

    fn parse(text: &str) -> Option<Self> {
        let is_name = (1..=NAME_LEN_MAX).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic());
        is_name.then(|| text.into())
    }

    fn show(&self) -> String {
        self.clone()
    }
}

/// Most characters of a name.
const NAME_LEN_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_with_separators_and_binary_units() {
        let check = |text, want: Option<u64>| assert_eq!(u64::parse(text), want, "{text}");
        check("1000", Some(1_000));
        check("1_000", Some(1_000));
        check("64MiB", Some(64 << 20));
        check("8 GiB", Some(8 << 30));
        check("18446744073709551615", Some(u64::MAX));
        for text in [
            "",
            "-1",
            "+1",
            "1.5",
            "1e3",
            "0x10",
            "_1",
            "MiB",
            "1MB",
            "18446744073709551616",
            "20000000TiB",
        ] {
            check(text, None);
        }
        assert_eq!(u16::parse("65536"), None);
    }

    #[test]
    fn names_are_visible_and_paths_may_be_off() {
        let name = |text: &str| String::parse(text);
        assert_eq!(name("smollm2:135m"), Some("smollm2:135m".into()));
        for text in ["", "two words", "\u{1b}[2J", "ü", &"x".repeat(201)] {
            assert_eq!(name(text), None, "{text}");
        }
        let path = <Option<PathBuf>>::parse;
        assert_eq!(path("off"), Some(None));
        assert_eq!(path("a/key").map(|path| path.show()), Some("a/key".into()));
    }
}
