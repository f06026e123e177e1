//! Keys by their ids.

use super::Setting;
use selfchain_types::{Hash, KeyId};

/// Keys by their ids, in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd)]
pub struct KeyIds(pub Vec<KeyId>);

impl Setting for KeyIds {
    const EXPECTS: &'static str = "key ids of 64 hexadecimal characters, separated by commas";
    const IS_BARE: bool = false;

    fn parse(text: &str) -> Option<Self> {
        let each = text.split(',').map(str::trim).filter(|one| !one.is_empty());
        let ids = each.map(|one| Hash::from_hex(one).map(KeyId));
        ids.collect::<Option<_>>().map(Self)
    }

    fn show(&self) -> String {
        let shown = self.0.iter().map(|id| id.0.to_hex());
        shown.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_back_as_it_is_shown() {
        let text = format!("{}, {}", "01".repeat(32), "ab".repeat(32));
        let ids = KeyIds::parse(&text).unwrap();
        assert_eq!(ids.0.len(), 2);
        assert_eq!(KeyIds::parse(&ids.show()), Some(ids));
        assert_eq!(KeyIds::parse(""), Some(KeyIds::default()));
        for wrong in ["x", "0101", &"0g".repeat(32)] {
            assert_eq!(KeyIds::parse(wrong), None, "{wrong}");
        }
    }
}
