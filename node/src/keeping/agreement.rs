//! Agreements: whose backups this node keeps, and how much of them.

use crate::config::{Setting, parse_list, show_list};
use selfchain_types::Hash;

/// What is kept for one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub struct Agreement {
    /// The Ed25519 public key that the owner connects with.
    pub owner: [u8; 32],
    /// Bytes that are kept at most.
    pub quota_bytes: u64,
}

/// Everything that this node agreed to keep.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd)]
pub struct Agreements(pub Vec<Agreement>);

impl Setting for Agreements {
    const EXPECTS: &'static str = "key:bytes of each owner, separated by commas; no key twice";
    const IS_BARE: bool = false;

    fn parse(text: &str) -> Option<Self> {
        let agreements = parse_list(text, |one| {
            let (key, bytes) = one.split_once(':')?;
            Some(Agreement {
                owner: Hash::from_hex(key)?.0,
                quota_bytes: bytes.parse().ok()?,
            })
        })?;
        let mut owners: Vec<[u8; 32]> = agreements.iter().map(|one| one.owner).collect();
        owners.sort_unstable();
        let is_twice = owners.windows(2).any(|pair| pair[0] == pair[1]);
        (!is_twice).then_some(Self(agreements))
    }

    fn show(&self) -> String {
        show_list(&self.0, |one| {
            format!("{}:{}", Hash(one.owner).to_hex(), one.quota_bytes)
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_back_as_it_is_shown() {
        let text = format!("{}:1000, {}:2", "01".repeat(32), "ab".repeat(32));
        let agreements = Agreements::parse(&text).unwrap();
        assert_eq!(agreements.0.len(), 2);
        assert_eq!(Agreements::parse(&agreements.show()), Some(agreements));
        assert_eq!(Agreements::parse(""), Some(Agreements::default()));
        let twice = format!("{}:1, {}:2", "01".repeat(32), "01".repeat(32));
        for wrong in ["x:1", "0101:1", &"01".repeat(32), &twice] {
            assert_eq!(Agreements::parse(wrong), None, "{wrong}");
        }
    }
}
