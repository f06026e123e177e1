//! The other validators: their keys, and where they listen.

use super::Setting;
use selfchain_types::Hash;
use std::net::SocketAddr;

/// One other validator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub struct PeerAddress {
    /// Its Ed25519 public key.
    pub key: [u8; 32],
    /// Where it listens for validators.
    pub address: SocketAddr,
}

/// The other validators, in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd)]
pub struct Peers(pub Vec<PeerAddress>);

impl Setting for Peers {
    const EXPECTS: &'static str = "key@address of each other validator, separated by commas";
    const IS_BARE: bool = false;

    fn parse(text: &str) -> Option<Self> {
        let each = text.split(',').map(str::trim).filter(|one| !one.is_empty());
        let peers = each.map(|one| {
            let (key, address) = one.split_once('@')?;
            Some(PeerAddress {
                key: Hash::from_hex(key)?.0,
                address: address.parse().ok()?,
            })
        });
        peers.collect::<Option<_>>().map(Self)
    }

    fn show(&self) -> String {
        let each = self.0.iter();
        let shown = each.map(|peer| format!("{}@{}", Hash(peer.key).to_hex(), peer.address));
        shown.collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_back_as_it_is_shown() {
        let text = format!("{}@127.0.0.1:1, {}@[::1]:2", "01".repeat(32), "ab".repeat(32));
        let peers = Peers::parse(&text).unwrap();
        assert_eq!(peers.0.len(), 2);
        assert_eq!(Peers::parse(&peers.show()), Some(peers));
        assert_eq!(Peers::parse(""), Some(Peers::default()));
        for wrong in ["x@127.0.0.1:1", "0101@127.0.0.1:1", &"01".repeat(32), "a,b"] {
            assert_eq!(Peers::parse(wrong), None, "{wrong}");
        }
    }
}
