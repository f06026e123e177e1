//! The other validators: their keys, and where they listen.

use super::{Setting, parse_list, show_list};
use crate::keys::{hex, unhex};
use selfchain_types::crypto::{PublicKey, Scheme};
use std::net::SocketAddr;

/// One other validator.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd)]
pub struct PeerAddress {
    /// Its public key; of a hybrid the first half is enough where the chain has the whole.
    pub key: Vec<u8>,
    /// Where it listens for validators.
    pub address: SocketAddr,
}

impl PeerAddress {
    /// By this key.
    pub fn of(key: &PublicKey, address: SocketAddr) -> Self {
        let key = key.as_bytes().to_vec();
        Self { key, address }
    }

    /// The whole key that it names, by its length; one that is but the half of a hybrid is taken for one of Ed25519.
    pub fn public_key(&self) -> Option<PublicKey> {
        let schemes = Scheme::ALL.into_iter().filter(|scheme| scheme.can_vote());
        let mut fitting = schemes.filter(|scheme| scheme.public_len() == self.key.len());
        PublicKey::new(fitting.next()?, &self.key).ok()
    }

    /// Whether it names this key, by the whole of it or by its Ed25519 half.
    pub fn names(&self, key: &PublicKey) -> bool {
        self.key == key.as_bytes() || self.key == key.classical()
    }
}

/// The other validators, in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd)]
pub struct Peers(pub Vec<PeerAddress>);

impl Setting for Peers {
    const EXPECTS: &'static str = "key@address of each other validator, separated by commas";
    const IS_BARE: bool = false;

    fn parse(text: &str) -> Option<Self> {
        let peers = parse_list(text, |one| {
            let (key, address) = one.split_once('@')?;
            let peer = PeerAddress {
                key: unhex(key)?.to_vec(),
                address: address.parse().ok()?,
            };
            peer.public_key().is_some().then_some(peer)
        });
        peers.map(Self)
    }

    fn show(&self) -> String {
        show_list(&self.0, |peer| {
            format!("{}@{}", hex(&peer.key).as_str(), peer.address)
        })
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
        let hybrid = format!("{}@127.0.0.1:1", "01".repeat(1_984));
        let peer = Peers::parse(&hybrid).unwrap().0.remove(0);
        assert_eq!(
            peer.public_key().unwrap().scheme(),
            Scheme::Ed25519MlDsa65,
            "by its length"
        );
        let half = Peers::parse(&text).unwrap().0.remove(0);
        let whole = peer.public_key().unwrap();
        assert!(peer.names(&whole) && half.names(&whole));
        assert!(
            !peer.names(&half.public_key().unwrap()),
            "a half is not the whole"
        );
        for wrong in ["x@127.0.0.1:1", "0101@127.0.0.1:1", &"01".repeat(32), "a,b"] {
            assert_eq!(Peers::parse(wrong), None, "{wrong}");
        }
    }
}
