//! Hybrid keys: TLS proves a half, the hello the whole, for one connection.

use bytes::Bytes;
use quinn::SendStream;
use selfchain_types::crypto::{Scheme, SigningKey};

use super::stage::*;
use crate::links::control::{self, Control, Hello, HelloId, Proof};
use crate::links::proof::{Channel, Ends};
use crate::links::{Event, Lane, LinkClose, LinkLimits, Peer};

fn hybrid(number: u32) -> SigningKey {
    let scheme = if number.is_multiple_of(2) {
        Scheme::Ed25519MlDsa65
    } else {
        Scheme::Ed25519MlDsa44
    };
    SigningKey::of_scheme(scheme, &[number as u8 + 1; 32]).unwrap()
}

fn start(number: u32, key: &SigningKey) -> Node {
    Node::start_with(number, key, options(LinkLimits::default()))
}

fn known(number: u32, key: &SigningKey, node: &Node) -> Peer {
    Peer {
        keys: vec![key.public().clone()],
        ..peer(number, node.links.address())
    }
}

/// Node 0, which knows 1 and 2 by their hybrid keys, at an address where nobody answers.
fn waiting() -> Node {
    let node = start(0, &hybrid(0));
    let silent = std::net::UdpSocket::bind(any_port()).unwrap();
    let address = silent.local_addr().unwrap();
    let peers = [1, 2].map(|number| Peer {
        keys: vec![hybrid(number).public().clone()],
        ..peer(number, address)
    });
    node.links.set_peers(&peers).unwrap();
    node
}

/// A connection whose handshake proved the half of 1's key.
struct Half {
    raw: Raw,
    channel: Channel,
}

impl Half {
    fn connect(node: &Node) -> Self {
        let own = hybrid(1).classical();
        let pinned = hybrid(0).public().classical();
        let raw = Raw::connect_as(&own, pinned, node);
        let ends = Ends {
            dialling: own.public().classical(),
            dialled: pinned,
        };
        let channel = Channel::of(&raw.quic, ends).unwrap();
        Self { raw, channel }
    }

    fn hello(&self, key: &SigningKey) -> Hello {
        self.channel.hello(CHAIN.0, ID, key)
    }

    fn say(&self, hello: Hello) -> SendStream {
        self.raw.runtime.block_on(async {
            let (mut send, _) = self.raw.quic.open_bi().await.unwrap();
            control::write(&mut send, &Control::Hello(hello)).await.unwrap();
            send
        })
    }
}

const ID: HelloId = HelloId { run: 7, sequence: 1 };

/// Says a hello that may follow from another connection's. How the node refuses it.
fn check(want: LinkClose, hello: impl FnOnce(&Half, &Half) -> Hello) {
    let node = waiting();
    let (other, half) = (Half::connect(&node), Half::connect(&node));
    let said = half.say(hello(&half, &other));
    half.raw.expect_closed(want);
    until(|| node.links.metrics().refused(want) == 1);
    assert_eq!(node.links.metrics().connections.get(), 0);
    assert_eq!(node.links.try_next(), None);
    drop(said);
}

#[test]
fn holders_of_hybrid_keys_connect_and_are_heard() {
    let keys = [0, 1, 2].map(hybrid);
    let nodes: Vec<Node> = (0..3).zip(&keys).map(|(number, key)| start(number, key)).collect();
    let all = nodes.iter().zip(&keys);
    let peers: Vec<Peer> = all.map(|(node, key)| known(node.number, key, node)).collect();
    for node in &nodes {
        node.links.set_peers(&peers).unwrap();
    }
    for node in &nodes {
        node.expect_ups(2);
    }
    let frame = Bytes::from_static(b"vote");
    nodes[0].links.send(2, Lane::Votes, frame).unwrap();
    nodes[2].expect_frame(0, Lane::Votes, b"vote");
}

#[test]
fn whoever_holds_the_half_and_proves_the_whole_is_let_in() {
    let node = waiting();
    let half = Half::connect(&node);
    let said = half.say(half.hello(&hybrid(1)));
    node.expect(&Event::Up { from: 1 });
    drop(said);
}

#[test]
fn a_hello_without_its_proof_is_refused() {
    check(LinkClose::ProofMissing, |half, _| Hello {
        proof: None,
        ..half.hello(&hybrid(1))
    });
}

#[test]
fn a_proof_of_another_connection_is_refused() {
    check(LinkClose::ProofInvalid, |_, other| other.hello(&hybrid(1)));
}

#[test]
fn a_proof_of_another_hello_is_refused() {
    check(LinkClose::ProofInvalid, |half, _| Hello {
        id: HelloId { run: 7, sequence: 2 },
        ..half.hello(&hybrid(1))
    });
}

#[test]
fn a_whole_key_of_another_peer_is_refused() {
    check(LinkClose::ProofInvalid, |half, _| half.hello(&hybrid(2)));
}

#[test]
fn a_key_that_nobody_has_is_refused() {
    check(LinkClose::ProofInvalid, |half, _| half.hello(&hybrid(3)));
}

#[test]
fn either_half_of_a_proof_alone_is_refused() {
    let mixed = |first: bool| {
        move |half: &Half, other: &Half| {
            let [good, bad] = [half, other].map(|one| one.hello(&hybrid(1)).proof.unwrap());
            let (front, back) = if first { (&good, &bad) } else { (&bad, &good) };
            let signature = [&front.signature[..64], &back.signature[64..]].concat();
            let key = good.key;
            Hello {
                proof: Some(Proof { key, signature }),
                ..half.hello(&hybrid(1))
            }
        }
    };
    check(LinkClose::ProofInvalid, mixed(true));
    check(LinkClose::ProofInvalid, mixed(false));
}

#[test]
fn the_end_that_dials_asks_for_the_whole_key_too() {
    let (whole, other) = (hybrid(0), hybrid(1));
    let a = start(0, &whole);
    // It has the half of its key only.
    let b = start(1, &other.classical());
    b.links
        .set_peers(&[Peer {
            address: None,
            ..known(0, &whole, &a)
        }])
        .unwrap();
    a.links.set_peers(&[known(1, &other, &b)]).unwrap();
    until(|| a.last(1) == Some(LinkClose::ProofMissing));
    assert_eq!(a.links.try_next(), None);
}

#[test]
fn who_knows_but_the_half_of_a_key_takes_no_other_proof() {
    let (whole, other) = (hybrid(0), hybrid(1));
    let (a, b) = (start(0, &whole), start(1, &other));
    let half = whole.classical();
    b.links
        .set_peers(&[Peer {
            address: None,
            ..known(0, &half, &a)
        }])
        .unwrap();
    a.links.set_peers(&[known(1, &other, &b)]).unwrap();
    until(|| a.last(1) == Some(LinkClose::ProofInvalid));
    assert_eq!((a.links.try_next(), b.links.try_next()), (None, None));
}

#[test]
fn two_peers_with_one_half_are_told_apart_by_the_whole() {
    let node = waiting();
    let address = node.links.address();
    // Somebody who forged a signature of 1's half may have registered it with a key of its own.
    let mut forged = hybrid(3).public().as_bytes().to_vec();
    forged[..32].copy_from_slice(&hybrid(1).public().classical());
    let forged = selfchain_types::crypto::PublicKey::new(Scheme::Ed25519MlDsa44, &forged).unwrap();
    let peers = [
        Peer {
            keys: vec![hybrid(1).public().clone()],
            address: None,
            ..peer(1, address)
        },
        Peer {
            keys: vec![forged],
            address: None,
            ..peer(3, address)
        },
    ];
    node.links.set_peers(&peers).unwrap();
    let half = Half::connect(&node);
    let said = half.say(half.hello(&hybrid(1)));
    node.expect(&Event::Up { from: 1 });
    drop(said);
}

#[test]
fn another_hybrid_key_is_proved_from_the_next_handshake_on() {
    let (old, new, other) = (hybrid(0), hybrid(4), hybrid(1));
    let (a, b) = (start(0, &old), start(1, &other));
    a.links.set_peers(&[known(1, &other, &b)]).unwrap();
    b.links.set_peers(&[known(0, &old, &a)]).unwrap();
    a.wait_up(1);
    b.wait_up(0);
    let of = |keys: &[&SigningKey]| Peer {
        keys: keys.iter().map(|key| key.public().clone()).collect(),
        ..known(0, &old, &a)
    };
    a.links.set_key(&new).unwrap();
    b.links.set_peers(&[of(&[&new, &old])]).unwrap();
    b.links.send(0, Lane::Votes, Bytes::from_static(b"still")).unwrap();
    a.expect_frame(1, Lane::Votes, b"still");
    b.links.set_peers(&[of(&[&new])]).unwrap();
    assert_eq!(b.wait_down(0), LinkClose::Removed);
    b.wait_up(0);
    a.wait_up(1);
}
