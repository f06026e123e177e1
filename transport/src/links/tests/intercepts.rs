//! What somebody on the way sees of the handshake between two validators.

use super::stage::*;
use crate::links::LinkLimits;
use crate::wiretap::{Seen, Wiretap};

#[test]
fn an_intercepted_handshake_of_validators_shows_the_hybrid_group_and_no_other() {
    let a = Node::start(0, options(LinkLimits::default()));
    let b = Node::start(1, options(LinkLimits::default()));
    let tap = Wiretap::before(b.links.address());
    // A socket of ours that answers nothing: only one of them can reach the other, by way of the tap.
    let silent = std::net::UdpSocket::bind(any_port()).unwrap();
    b.links
        .set_peers(&[peer(0, silent.local_addr().unwrap())])
        .unwrap();
    a.links.set_peers(&[peer(1, tap.address())]).unwrap();
    a.wait_up(1);
    b.wait_up(0);
    assert_eq!(tap.seen(), Seen::hybrid_alone());
}
