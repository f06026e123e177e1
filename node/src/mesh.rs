//! The links to the other validators, as the order thread uses them: whom the chain names, by number, at the address
//! that the chain or else the configuration has, and with the key that the chain names of this node.

use crate::config::PeerAddress;
use crate::drive::{FromPeer, Peers};
use crate::keys::{self, KeyError};
use crate::replica::{GUEST_FIRST, Outgoing, To};
use crate::validating::ValidatorConfig;
use bytes::Bytes;
use core::time::Duration;
use selfchain_transport::links::{self, Event, Links, PEERS_MAX};
use selfchain_types::crypto::{PublicKey, SigningKey};
use selfchain_types::peer::Lane;
use selfchain_types::seam::standing::Held;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Most validators that are linked with one another, this one among them. Of more those in the set come first, then
/// those with a lower number; the others are let in nowhere, and heard by nobody.
pub const LINKED_MAX: usize = PEERS_MAX + 1;

/// Most keys of its own that a node knows: the oldest gives way.
const OWN_KEYS_MAX: usize = 4;

/// The links of one node.
pub(crate) struct Mesh {
    links: Arc<Links>,
    /// Never empty.
    keys: Vec<SigningKey>,
    /// The key that the chain names of this node for the next height, if it names one.
    named: Option<PublicKey>,
    next_key: Option<PathBuf>,
    book: Book,
    /// Who is not there, for whoever has to know: guests that are none any more, and those below.
    gone: RefCell<VecDeque<u32>>,
    /// Peers whose first link is waited for, and until when: one that is down from the beginning breaks no link.
    awaited: RefCell<BTreeMap<u32, Instant>>,
    /// Peers that it was told of.
    seen: BTreeSet<u32>,
}

/// How long a new peer's link may take before it counts as one that cannot be reached.
const FIRST_LINK_MAX: Duration = Duration::from_secs(2);

/// The key to come, if its file is there and holds one.
pub(crate) fn read_next_key(path: &Path) -> Option<SigningKey> {
    match keys::read(path) {
        Ok(key) if key.public().scheme().can_vote() => Some(key),
        Ok(key) => {
            let scheme = key.public().scheme().name();
            tracing::warn!(scheme, "a validator cannot rotate to a key of this scheme");
            None
        }
        Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!(error = %error, "the key that this validator rotates to cannot be read");
            None
        }
    }
}

impl Mesh {
    /// Links that reach nobody until [`Peers::follow`].
    pub(crate) fn new(links: Arc<Links>, keys: Vec<SigningKey>, config: &ValidatorConfig) -> Self {
        Self {
            links,
            keys,
            named: None,
            next_key: config.next_key.clone(),
            book: Book::new(config.peers.clone()),
            gone: RefCell::default(),
            awaited: RefCell::default(),
            seen: BTreeSet::new(),
        }
    }

    /// Moves those whose time is over to those that are not there.
    fn give_up(&self) {
        let mut awaited = self.awaited.borrow_mut();
        if awaited.is_empty() {
            return;
        }
        let now = Instant::now();
        let (over, left) = core::mem::take(&mut *awaited)
            .into_iter()
            .partition(|(_, until)| *until <= now);
        *awaited = left;
        let over: BTreeMap<u32, Instant> = over;
        if over.is_empty() {
            return;
        }
        let status = self.links.status();
        let is_away = |peer: &u32| {
            let there = status.iter().find(|one| one.number == *peer);
            there.is_none_or(|one| one.round_trip.is_none())
        };
        self.gone.borrow_mut().extend(over.into_keys().filter(is_away));
    }

    /// Proves the key that the chain names, once it is here.
    fn identify(&mut self) {
        let Some(named) = &self.named else { return };
        let Some(key) = self.keys.iter().find(|key| key.public() == named) else {
            return;
        };
        if let Err(error) = self.links.set_key(key) {
            tracing::error!(error = %error, "the links go on with another key than the chain's");
        }
    }
}

/// Whom a node reaches, and where.
struct Book {
    addresses: Vec<PeerAddress>,
    /// Those of the configuration that no standing held since the start: who left is none again.
    guests: Vec<(u32, PeerAddress)>,
}

impl Book {
    fn new(addresses: Vec<PeerAddress>) -> Self {
        Self {
            guests: (GUEST_FIRST..).zip(addresses.iter().cloned()).collect(),
            addresses,
        }
    }

    /// The numbers of guests that the chain names by now: they have others from here on.
    fn known(&mut self, held: &[Held]) -> Vec<u32> {
        let is_held = |guest: &PeerAddress| held.iter().any(|one| names(one, guest));
        let gone = self.guests.iter().filter(|(_, guest)| is_held(guest));
        let gone = gone.map(|(number, _)| *number).collect();
        self.guests.retain(|(_, guest)| !is_held(guest));
        gone
    }

    /// Those that a node with these keys is to reach.
    fn peers(&self, held: &[Held], own: &[PublicKey]) -> Vec<links::Peer> {
        let mut chosen: Vec<&Held> = held.iter().collect();
        chosen.sort_by_key(|one| !one.is_in_set);
        if chosen.len() > LINKED_MAX {
            tracing::warn!(
                validators = chosen.len(),
                linked = LINKED_MAX,
                "not all validators are linked"
            );
            chosen.truncate(LINKED_MAX);
        }
        let is_own = |one: &&Held| own.iter().any(|key| one.keys.contains(key));
        let others = chosen
            .into_iter()
            .filter(|one| !is_own(one))
            .map(|one| links::Peer {
                number: one.number,
                keys: one.keys.clone(),
                address: one.address.or_else(|| self.address_of(one)),
            });
        let guests = self.guests.iter().filter_map(|(number, guest)| {
            let key = guest.public_key()?;
            (!own.contains(&key)).then(|| links::Peer {
                number: *number,
                keys: vec![key],
                address: Some(guest.address),
            })
        });
        others.chain(guests).take(PEERS_MAX).collect()
    }

    /// Where the configuration says that a validator listens.
    fn address_of(&self, held: &Held) -> Option<SocketAddr> {
        let known = self.addresses.iter().find(|known| names(held, known));
        known.map(|known| known.address)
    }
}

fn names(held: &Held, known: &PeerAddress) -> bool {
    held.keys.iter().any(|key| known.names(key))
}

impl Peers for Mesh {
    fn send(&self, message: Outgoing) {
        let lane = lane(message.lane);
        let bytes = Bytes::from_owner(message.bytes);
        let sent = match message.to {
            To::All => self.links.broadcast(lane, &bytes).map(|_| ()),
            To::One(to) => self.links.send(to, lane, bytes),
        };
        if let Err(error) = sent {
            tracing::debug!(error = %error, "a message to a validator is dropped");
        }
    }

    fn next(&self) -> Option<FromPeer> {
        self.give_up();
        if let Some(peer) = self.gone.borrow_mut().pop_front() {
            return Some(FromPeer::Link { peer, is_up: false });
        }
        Some(match self.links.try_next()? {
            Event::Received { from, bytes, .. } => FromPeer::Message {
                from,
                bytes: bytes.into(),
            },
            Event::Up { from } => {
                self.awaited.borrow_mut().remove(&from);
                FromPeer::Link {
                    peer: from,
                    is_up: true,
                }
            }
            Event::Down { from, why } => {
                tracing::info!(peer = from, why = %why, "a validator cannot be reached");
                FromPeer::Link {
                    peer: from,
                    is_up: false,
                }
            }
        })
    }

    fn follow(&mut self, held: &[Held]) {
        let is_own = |one: &&Held| self.keys.iter().any(|key| one.keys.contains(key.public()));
        let me = held.iter().find(is_own);
        if me.is_none() {
            tracing::info!(
                key = %self.keys[0].id(),
                "this key is no validator's on the chain so far: the node follows the others, where they let it"
            );
        }
        self.named = me.and_then(|me| me.keys.first().cloned());
        self.identify();
        self.gone.get_mut().extend(self.book.known(held));
        let own: Vec<PublicKey> = self.keys.iter().map(|key| key.public().clone()).collect();
        let peers = self.book.peers(held, &own);
        let until = Instant::now() + FIRST_LINK_MAX;
        let numbers: BTreeSet<u32> = peers.iter().map(|peer| peer.number).collect();
        let new = numbers.difference(&self.seen).map(|peer| (*peer, until));
        self.awaited.get_mut().extend(new);
        self.awaited.get_mut().retain(|peer, _| numbers.contains(peer));
        self.seen = numbers;
        if let Err(error) = self.links.set_peers(&peers) {
            tracing::error!(error = %error, "the validators of the chain cannot be linked");
        }
    }

    fn next_key(&mut self, missing: &[PublicKey]) -> Option<SigningKey> {
        let key = read_next_key(self.next_key.as_deref()?)?;
        if !missing.contains(key.public()) {
            return None;
        }
        let held = key.copy();
        if self.keys.len() >= OWN_KEYS_MAX {
            let is_other = |key: &SigningKey| Some(key.public()) != self.named.as_ref();
            if let Some(oldest) = self.keys.iter().position(is_other) {
                self.keys.remove(oldest);
            }
        }
        self.keys.push(held);
        self.identify();
        Some(key)
    }
}

fn lane(lane: Lane) -> links::Lane {
    match lane {
        Lane::Votes => links::Lane::Votes,
        Lane::Bodies => links::Lane::Bodies,
        Lane::Transactions => links::Lane::Transactions,
        Lane::Sync => links::Lane::Sync,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn key(seed: u16) -> PublicKey {
        let mut bytes = [3; 32];
        bytes[..2].copy_from_slice(&seed.to_le_bytes());
        SigningKey::from_seed(&bytes).public().clone()
    }

    fn at(port: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, port).into()
    }

    fn held(number: u16, keys: &[u16], is_in_set: bool, port: Option<u16>) -> Held {
        Held {
            number: u32::from(number),
            keys: keys.iter().map(|seed| key(*seed)).collect(),
            is_in_set,
            address: port.map(at),
        }
    }

    fn configured(seeds: &[u16]) -> Book {
        let peer = |seed: &u16| PeerAddress::of(&key(*seed), at(*seed));
        Book::new(seeds.iter().map(peer).collect())
    }

    fn shown(book: &Book, all: &[Held]) -> Vec<(u32, Option<u16>)> {
        let peers = book.peers(all, &[key(1), key(10)]);
        let shown = |peer: &links::Peer| (peer.number, peer.address.map(|address| address.port()));
        peers.iter().map(shown).collect()
    }

    #[test]
    fn the_chain_says_where_before_the_configuration_and_who_is_unknown_is_a_guest() {
        let mut book = configured(&[1, 2, 3, 4]);
        let mut all = vec![
            held(0, &[10, 1], true, Some(900)),
            held(1, &[20, 2], true, None),
            held(2, &[3], true, Some(903)),
        ];
        assert!(book.known(&all).len() == 3, "three of the four are on the chain");
        let guest = (GUEST_FIRST + 3, Some(4));
        assert_eq!(shown(&book, &all), [(1, Some(2)), (2, Some(903)), guest]);
        // It joins: it is a validator, and when it has left it is nobody's guest again.
        all.push(held(3, &[4], false, None));
        assert_eq!(book.known(&all), [GUEST_FIRST + 3]);
        assert_eq!(shown(&book, &all), [(1, Some(2)), (2, Some(903)), (3, Some(4))]);
        all.pop();
        assert!(book.known(&all).is_empty());
        assert_eq!(shown(&book, &all), [(1, Some(2)), (2, Some(903))]);
    }

    #[test]
    fn of_too_many_those_in_the_set_are_linked() {
        let book = configured(&[]);
        let count = u16::try_from(LINKED_MAX).unwrap_or(u16::MAX) + 20;
        let all: Vec<Held> = (0..count)
            .map(|number| held(number, &[number + 500], number >= 30, None))
            .collect();
        let linked = shown(&book, &all);
        assert_eq!(linked.len(), PEERS_MAX);
        assert_eq!(linked.first(), Some(&(30, None)));
        assert_eq!(
            linked.last(),
            Some(&(8, None)),
            "the others by number, as far as there is room"
        );
    }
}
