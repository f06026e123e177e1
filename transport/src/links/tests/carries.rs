//! What peers get: every frame in order, after restarts and changes of the set too.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::stage::*;
use crate::links::{Event, Lane, LinkClose, LinkLimits, Peer, SendError};

#[test]
fn four_nodes_reach_each_other_on_every_lane_in_order() {
    const FRAMES: u32 = 200;
    let nodes = mesh(4, &LinkLimits::default());
    for number in 0..FRAMES {
        for lane in Lane::ALL {
            for node in &nodes {
                let frame = Bytes::copy_from_slice(&number.to_le_bytes());
                assert_eq!(node.links.broadcast(lane, &frame), Ok(3));
            }
        }
    }
    for node in &nodes {
        let mut got: BTreeMap<(u32, Lane), Vec<Bytes>> = BTreeMap::new();
        for _ in 0..3 * Lane::ALL.len() as u32 * FRAMES {
            match node.next() {
                Event::Received { from, lane, bytes } => got.entry((from, lane)).or_default().push(bytes),
                other => panic!("{other:?}"),
            }
        }
        let all: Vec<_> = (0..FRAMES)
            .map(|number| Bytes::copy_from_slice(&number.to_le_bytes()))
            .collect();
        assert_eq!(got.len(), 12);
        assert!(got.keys().all(|(from, _)| *from != node.number));
        assert!(got.values().all(|frames| *frames == all));
        let metrics = node.links.metrics();
        assert_eq!(metrics.connections_up.get(), 3, "one connection for each pair");
        for lane in Lane::ALL {
            assert_eq!(metrics.lane(lane).frames_received.get(), 3 * u64::from(FRAMES));
            assert_eq!(metrics.lane(lane).bytes_received.get(), 12 * u64::from(FRAMES));
            until(|| metrics.lane(lane).frames_sent.get() == 3 * u64::from(FRAMES));
            assert_eq!(metrics.lane(lane).send_queue_bytes.get(), 0);
            assert_eq!(metrics.lane(lane).receive_queue_bytes.get(), 0);
        }
        assert!(node.links.status().iter().all(|peer| peer.round_trip.is_some()));
    }
}

#[test]
fn what_was_queued_before_the_peer_was_there_arrives() {
    let late = Node::start(1, options(LinkLimits::default()));
    let early = Node::start(0, options(LinkLimits::default()));
    early.links.set_peers(&[late.peer()]).unwrap();
    for lane in Lane::ALL {
        early.links.send(1, lane, Bytes::from_static(b"early")).unwrap();
    }
    // Not yet in its set: refused, and dialled again with pauses.
    until(|| early.last(1) == Some(LinkClose::NotInSet));
    late.links.set_peers(&[early.peer()]).unwrap();
    late.wait_up(0);
    let mut lanes: Vec<_> = (0..4)
        .map(|_| match late.next() {
            Event::Received { from: 0, lane, .. } => lane,
            other => panic!("{other:?}"),
        })
        .collect();
    lanes.sort();
    assert_eq!(lanes, Lane::ALL);
}

#[test]
fn a_node_that_closes_sends_what_is_queued() {
    const FRAMES: usize = 1_000;
    let mut nodes = mesh(2, &LinkLimits::default());
    let closing = nodes.pop().unwrap();
    for _ in 0..FRAMES {
        let frame = Bytes::from(vec![1; 10_000]);
        closing.links.send(0, Lane::Transactions, frame).unwrap();
    }
    let Node { links, runtime, .. } = closing;
    let taker = std::thread::spawn(move || {
        let (mut frames, mut down) = (0, None);
        while frames < FRAMES || down.is_none() {
            match nodes[0].next() {
                Event::Received { bytes, .. } => {
                    assert_eq!(bytes.len(), 10_000);
                    frames += 1;
                }
                Event::Down { why, .. } => down = Some(why),
                Event::Up { .. } => panic!("came back"),
            }
        }
        down
    });
    assert!(links.close(PATIENCE));
    assert_eq!(taker.join().unwrap(), Some(LinkClose::ShuttingDown));
    drop(runtime);
}

#[test]
fn a_node_that_is_killed_and_comes_back_is_connected_again() {
    // Long enough that only the restarted node's own hello can tell.
    let limits = LinkLimits {
        idle_timeout: PATIENCE * 10,
        ..LinkLimits::default()
    };
    for killed in [0, 2] {
        let mut nodes = mesh(3, &limits);
        let peers: Vec<Peer> = nodes.iter().map(Node::peer).collect();
        let address = nodes.remove(killed).kill();
        let back = Node::restart(killed as u32, address, &limits, &peers);
        back.expect_ups(2);
        for node in &nodes {
            assert_eq!(node.wait_down(back.number), LinkClose::Replaced);
            node.expect(&Event::Up { from: back.number });
            assert_eq!(node.links.metrics().reconnects.get(), 1);
            assert_eq!(node.links.metrics().closed(LinkClose::Replaced), 1);
            assert_eq!(node.links.metrics().connections_up.get(), 2);
            back.links
                .send(node.number, Lane::Votes, Bytes::from_static(b"back"))
                .unwrap();
            node.expect_frame(back.number, Lane::Votes, b"back");
            node.links
                .send(back.number, Lane::Votes, Bytes::from_static(b"hello"))
                .unwrap();
            back.expect_frame(node.number, Lane::Votes, b"hello");
        }
    }
}

#[test]
fn a_node_that_vanishes_is_missed() {
    let limits = LinkLimits {
        idle_timeout: std::time::Duration::from_secs(1),
        keep_alive: std::time::Duration::from_millis(100),
        ..LinkLimits::default()
    };
    let mut nodes = mesh(3, &limits);
    let gone = nodes.pop().unwrap();
    gone.kill();
    for node in &nodes {
        assert_eq!(node.wait_down(2), LinkClose::TimedOut);
        assert_eq!(node.links.metrics().connections_up.get(), 1);
        assert_eq!(node.links.metrics().closed(LinkClose::TimedOut), 1);
    }
    // Silence between those that live is no reason to part.
    assert_eq!(nodes[0].links.try_next(), None);
}

#[test]
fn the_set_changes_at_run_time() {
    let nodes = mesh(3, &LinkLimits::default());
    let [a, b, c] = &nodes[..] else { panic!() };

    // c leaves, b moves to number 9.
    let moved = Peer {
        number: 9,
        ..b.peer()
    };
    a.links.set_peers(&[moved.clone(), a.peer()]).unwrap();
    assert_eq!(c.wait_down(0), LinkClose::Removed);
    until(|| c.last(0) == Some(LinkClose::NotInSet));
    assert_eq!(
        a.links.send(2, Lane::Votes, Bytes::from_static(b"x")),
        Err(SendError::Unknown { to: 2 })
    );
    assert_eq!(
        a.links.send(1, Lane::Votes, Bytes::from_static(b"x")),
        Err(SendError::Unknown { to: 1 })
    );
    assert_eq!(a.links.send(9, Lane::Votes, Bytes::from_static(b"moved")), Ok(()));
    b.expect_frame(0, Lane::Votes, b"moved");
    b.links
        .send(0, Lane::Sync, Bytes::from_static(b"still here"))
        .unwrap();
    a.expect_frame(9, Lane::Sync, b"still here");
    until(|| a.links.metrics().connections_up.get() == 1);

    // c comes back as 1.
    let back = Peer {
        number: 1,
        ..c.peer()
    };
    a.links.set_peers(&[moved, back]).unwrap();
    a.expect(&Event::Up { from: 1 });
    c.wait_up(0);
    c.links
        .send(0, Lane::Bodies, Bytes::from_static(b"again"))
        .unwrap();
    a.expect_frame(1, Lane::Bodies, b"again");
    assert_eq!(b.links.metrics().connections_up.get(), 2, "b was left alone");
    assert_eq!(b.links.try_next(), None);
}

#[test]
fn a_new_address_is_dialled() {
    let limits = LinkLimits {
        idle_timeout: std::time::Duration::from_secs(1),
        keep_alive: std::time::Duration::from_millis(100),
        ..LinkLimits::default()
    };
    let mut nodes = mesh(2, &limits);
    let b = nodes.pop().unwrap();
    let a = &nodes[0];
    let old = b.kill();
    // b comes up elsewhere and is told of no address where a listens: only a can dial.
    let b = Node::start(1, options(LinkLimits::default()));
    assert_ne!(b.links.address(), old);
    b.links.set_peers(&[peer(0, old)]).unwrap();
    a.links.set_peers(&[b.peer()]).unwrap();
    a.wait_up(1);
    b.wait_up(0);
    assert_eq!(a.links.status()[0].address, Some(b.links.address()));
}

#[test]
fn a_peer_with_two_keys_is_one_peer_and_a_key_that_is_dropped_is_closed() {
    let nodes = mesh(2, &LinkLimits::default());
    let [a, b] = &nodes[..] else { panic!() };
    // b is about to take another key: both get in, and the connection stays.
    let later = key(7);
    let both = Peer {
        keys: vec![key(1).public().clone(), later.public().clone()],
        ..b.peer()
    };
    a.links.set_peers(std::slice::from_ref(&both)).unwrap();
    b.links.set_key(&later).unwrap();
    b.links.send(0, Lane::Votes, Bytes::from_static(b"old")).unwrap();
    a.expect_frame(1, Lane::Votes, b"old");
    assert_eq!(a.links.metrics().connections.get(), 1);

    // The old key answers for nothing any more: what it proved is closed, and b comes back with the other.
    let new = Peer {
        keys: vec![later.public().clone()],
        ..b.peer()
    };
    a.links.set_peers(&[new]).unwrap();
    assert_eq!(a.wait_down(1), LinkClose::Removed);
    a.wait_up(1);
    b.wait_up(0);
    b.links.send(0, Lane::Votes, Bytes::from_static(b"new")).unwrap();
    a.expect_frame(1, Lane::Votes, b"new");
    assert_eq!(a.links.status().len(), 1);
}

#[test]
fn a_peer_without_an_address_is_not_dialled_and_may_dial() {
    let [a, b] = [0, 1].map(|number| Node::start(number, options(LinkLimits::default())));
    let unknown = Peer {
        address: None,
        ..b.peer()
    };
    a.links.set_peers(&[unknown]).unwrap();
    assert_eq!(a.links.status()[0].address, None);
    b.links.set_peers(&[a.peer()]).unwrap();
    a.expect(&Event::Up { from: 1 });
    b.expect(&Event::Up { from: 0 });
    assert_eq!(a.links.metrics().dials.get(), 0);
    a.links.send(1, Lane::Sync, Bytes::from_static(b"heard")).unwrap();
    b.expect_frame(0, Lane::Sync, b"heard");
}

#[test]
fn two_peers_that_were_one_are_told_apart_by_their_keys() {
    let nodes = mesh(3, &LinkLimits::default());
    let [a, b, c] = &nodes[..] else { panic!() };
    let keys = [1, 2].map(|number| key(number).public().clone());
    let one = Peer {
        keys: keys.to_vec(),
        ..b.peer()
    };
    a.links.set_peers(&[one]).unwrap();
    assert_eq!(c.wait_down(0), LinkClose::Removed);
    a.links.set_peers(&[b.peer(), c.peer()]).unwrap();
    a.wait_up(2);
    b.links.send(0, Lane::Votes, Bytes::from_static(b"b")).unwrap();
    a.expect_frame(1, Lane::Votes, b"b");
}
