//! Keys by their ids.

use super::{Setting, parse_list, show_list};
use selfchain_types::{Hash, KeyId};

/// Keys by their ids, in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd)]
pub struct KeyIds(pub Vec<KeyId>);

impl Setting for KeyIds {
    const EXPECTS: &'static str = "key ids of 64 hexadecimal characters, separated by commas";
    const IS_BARE: bool = false;

    fn parse(text: &str) -> Option<Self> {
        parse_list(text, |id| Hash::from_hex(id).map(KeyId)).map(Self)
    }

    fn show(&self) -> String {
        show_list(&self.0, |id| id.0.to_hex())
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
