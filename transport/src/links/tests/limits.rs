//! Rates: who exceeds them is skipped, told, and in the end kept out, while others are served.

use std::time::Duration;

use bytes::Bytes;

use super::stage::*;
use crate::limits::Rate;
use crate::links::control::{self, Control, Refusal};
use crate::links::{Event, Lane, LinkClose, LinkLimits};

/// Ten votes at once, then none for a long time; of those above a few are only skipped.
fn strict(excess: u64) -> LinkLimits {
    let mut limits = LinkLimits::default();
    limits.lanes[Lane::Votes.index()].frames = Rate { per_s: 0, burst: 10 };
    limits.excess = Rate {
        per_s: 0,
        burst: excess,
    };
    limits.excess_pause = PATIENCE * 10;
    limits
}

#[test]
fn a_flooding_peer_is_skipped_and_then_kept_out_while_others_are_served() {
    let node = Node::start(0, options(strict(5)));
    let silent = std::net::UdpSocket::bind(any_port()).unwrap();
    let nowhere = silent.local_addr().unwrap();
    node.links
        .set_peers(&[peer(1, nowhere), peer(2, nowhere)])
        .unwrap();
    let (honest, _send, _recv) = Raw::stand(2, 1, &node);
    let mut votes = honest.write_uni(&[Lane::Votes.code()]);
    node.expect(&Event::Up { from: 2 });

    let (flooding, _flood_send, _flood_recv) = Raw::stand(1, 1, &node);
    node.expect(&Event::Up { from: 1 });
    let flood = [vec![Lane::Votes.code()], framed(b"flood").repeat(1_000)].concat();
    let _stream = flooding.write_uni(&flood);
    let (code, text) = flooding.closed();
    assert_eq!(code, u64::from(LinkClose::RateLimited.code()));
    assert_eq!(
        text,
        format!("rate_limited retry_after_ms={}", PATIENCE.as_millis() * 10)
    );
    let why = LinkClose::RateLimited;
    let (mut taken, mut down) = (0, false);
    while taken < 10 || !down {
        match node.next() {
            Event::Received { from: 1, .. } => taken += 1,
            Event::Down { from: 1, why: told } => down = told == why,
            other => panic!("{other:?}"),
        }
    }
    let metrics = node.links.metrics();
    assert_eq!(metrics.lane(Lane::Votes).frames_skipped.get(), 5);
    assert_eq!(metrics.closed(why), 1);

    // Coming back changes nothing: neither the pause nor what was used up.
    let again = Raw::connect(1, &node);
    again.runtime.block_on(async {
        let (mut send, _recv) = again.quic.open_bi().await.unwrap();
        let id = control::HelloId { run: 8, sequence: 1 };
        let hello = control::Hello {
            chain: CHAIN.0,
            id,
            proof: None,
        };
        control::write(&mut send, &Control::Hello(hello)).await.unwrap();
    });
    let (code, text) = again.closed();
    assert_eq!(code, u64::from(why.code()));
    let ms: u128 = text
        .strip_prefix("rate_limited retry_after_ms=")
        .unwrap()
        .parse()
        .unwrap();
    assert!(ms > 0 && ms <= PATIENCE.as_millis() * 10);
    assert_eq!(metrics.refused(why), 1);

    honest
        .runtime
        .block_on(votes.write_all(&framed(b"vote")))
        .unwrap();
    node.expect_frame(2, Lane::Votes, b"vote");
    assert_eq!(node.links.try_next(), None);
}

#[test]
fn a_peer_is_told_when_to_go_on() {
    let node = Node::start(0, options(strict(1_000)));
    let silent = std::net::UdpSocket::bind(any_port()).unwrap();
    node.links
        .set_peers(&[peer(1, silent.local_addr().unwrap())])
        .unwrap();
    let (raw, _send, mut recv) = Raw::stand(1, 1, &node);
    let _votes = raw.write_uni(&[vec![Lane::Votes.code()], framed(b"vote").repeat(11)].concat());
    let told = raw.runtime.block_on(control::read(&mut recv)).unwrap();
    match told {
        Some(Control::Refusal(refusal)) => {
            assert_eq!(refusal.lane, Lane::Votes);
            assert_eq!(refusal.retry_after_ms, 1_000, "one missing at a rate of none");
        }
        other => panic!("{other:?}"),
    }
    // The other lanes go on.
    let _bodies = raw.write_uni(&[vec![Lane::Bodies.code()], framed(b"body")].concat());
    node.wait_up(1);
    for _ in 0..10 {
        node.expect_frame(1, Lane::Votes, b"vote");
    }
    node.expect_frame(1, Lane::Bodies, b"body");
    assert_eq!(node.links.metrics().lane(Lane::Votes).frames_skipped.get(), 1);
}

/// Node 0 is told to send no votes for ten minutes. Whether one goes out when it believes no more than `at_most`.
fn check_told_to_wait(at_most: Duration, sends: bool) {
    let limits = LinkLimits {
        excess_pause: at_most,
        ..LinkLimits::default()
    };
    let node = Node::start(0, options(limits));
    let silent = std::net::UdpSocket::bind(any_port()).unwrap();
    node.links
        .set_peers(&[peer(1, silent.local_addr().unwrap())])
        .unwrap();
    let (raw, mut send, _recv) = Raw::stand(1, 1, &node);
    let refusal = Refusal {
        lane: Lane::Votes,
        retry_after_ms: 600_000,
    };
    raw.runtime
        .block_on(control::write(&mut send, &Control::Refusal(refusal)))
        .unwrap();
    let metrics = node.links.metrics();
    until(|| metrics.lane(Lane::Votes).refusals_heard.get() == 1);
    for lane in [Lane::Votes, Lane::Sync] {
        node.links.send(1, lane, Bytes::from_static(b"x")).unwrap();
    }
    // All lanes are written by one thread, in the order in which they became ready.
    until(|| metrics.lane(Lane::Sync).frames_sent.get() == 1);
    if sends {
        until(|| metrics.lane(Lane::Votes).frames_sent.get() == 1);
    } else {
        assert_eq!(metrics.lane(Lane::Votes).frames_sent.get(), 0);
        assert_eq!(metrics.lane(Lane::Votes).send_queue_bytes.get(), 1);
    }
}

#[test]
fn a_link_that_is_told_to_wait_waits_but_not_for_ever() {
    check_told_to_wait(PATIENCE * 10, false);
    check_told_to_wait(Duration::from_millis(1), true);
}

#[test]
fn a_link_that_is_kept_out_comes_back_when_it_was_told_to() {
    let mut nodes = mesh(2, &strict(5));
    let b = nodes.pop().unwrap();
    let a = &nodes[0];
    for _ in 0..100 {
        a.links.send(1, Lane::Votes, Bytes::from_static(b"vote")).unwrap();
    }
    assert_eq!(a.wait_down(1), LinkClose::RateLimited);
    assert_eq!(b.wait_down(0), LinkClose::RateLimited);
    let dial_in = |node: &Node| node.links.status()[0].dial_in.unwrap();
    assert!(dial_in(&b) > PATIENCE * 9, "b keeps its own word");
    // a believes no more than a minute.
    assert!(dial_in(a) > PATIENCE / 2 && dial_in(a) <= PATIENCE);
    let down = |node: &Node| node.links.metrics().connections_up.get() == 0;
    assert!(down(a) && down(&b));
}
