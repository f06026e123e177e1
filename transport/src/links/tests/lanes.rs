//! Lanes apart: a large body delays no vote, and what the node does not take stops only its own lane.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;

use super::stage::*;
use crate::links::{Event, Lane, LaneStatus, LinkLimits, LinkMetrics, Links, Options, SendError};

/// The largest body of a block.
const BODY_BYTES: usize = 16 << 20;

/// Bodies received in part when a vote was received: whole frames, bytes.
type Snapshot = Arc<Mutex<Option<(u64, u64)>>>;

/// A body fits into QUIC's buffers as a whole: only the order of streams lets a vote overtake it there.
fn wide() -> LinkLimits {
    LinkLimits {
        stream_window_bytes: 32 << 20,
        ..LinkLimits::default()
    }
}

fn body() -> Bytes {
    Bytes::from(vec![1; BODY_BYTES])
}

fn snapshot(metrics: &LinkMetrics, into: &Snapshot) {
    if metrics.lane(Lane::Votes).frames_received.get() == 1 {
        let bodies = metrics.lane(Lane::Bodies);
        let seen = (bodies.frames_received.get(), bodies.bytes_received.get());
        into.lock().unwrap().get_or_insert(seen);
    }
}

/// The wake comes a moment after the event can be taken.
fn take(from: &Snapshot) -> (u64, u64) {
    until(|| from.lock().unwrap().is_some());
    from.lock().unwrap().unwrap()
}

#[test]
fn a_vote_overtakes_the_body_that_was_queued_before_it() {
    // Everything of the receiver runs on one thread, the wake too: nothing is read between the vote and it.
    let (seen, metrics) = (Snapshot::default(), Arc::new(OnceLock::<Arc<LinkMetrics>>::new()));
    let wake = {
        let (seen, metrics) = (Arc::clone(&seen), Arc::clone(&metrics));
        move || {
            if let Some(metrics) = metrics.get() {
                snapshot(metrics, &seen);
            }
        }
    };
    let receiver = Node::start(
        1,
        Options {
            wake: Some(Arc::new(wake)),
            ..options(wide())
        },
    );
    metrics.set(receiver.links.metrics()).unwrap();
    let sender = Node::start(0, options(wide()));
    sender.links.set_peers(&[receiver.peer()]).unwrap();
    sender.links.send(1, Lane::Bodies, body()).unwrap();
    sender
        .links
        .send(1, Lane::Votes, Bytes::from_static(b"vote"))
        .unwrap();
    receiver.links.set_peers(&[sender.peer()]).unwrap();
    receiver.wait_up(0);
    receiver.expect_frame(0, Lane::Votes, b"vote");
    let (whole, bytes) = take(&seen);
    assert_eq!(whole, 0);
    assert!(bytes <= 1 << 20, "{bytes} bytes of the body before the vote");
    match receiver.next() {
        Event::Received { lane, bytes, .. } => assert_eq!((lane, bytes), (Lane::Bodies, body())),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_vote_overtakes_bodies_that_are_streaming() {
    const BODIES: usize = 4;
    let (seen, metrics) = (Snapshot::default(), Arc::new(OnceLock::<Arc<LinkMetrics>>::new()));
    let sender = Arc::new(OnceLock::<Links>::new());
    let wake = {
        let (seen, metrics, sender) = (Arc::clone(&seen), Arc::clone(&metrics), Arc::clone(&sender));
        let voted = OnceLock::new();
        move || {
            let (Some(metrics), Some(sender)) = (metrics.get(), sender.get()) else {
                return;
            };
            // The first body is whole, and the others are on their way: now comes the vote.
            if metrics.lane(Lane::Bodies).frames_received.get() == 1 && voted.set(()).is_ok() {
                sender.send(1, Lane::Votes, Bytes::from_static(b"vote")).unwrap();
            }
            snapshot(metrics, &seen);
        }
    };
    let receiver = Node::start(
        1,
        Options {
            wake: Some(Arc::new(wake)),
            ..options(wide())
        },
    );
    metrics.set(receiver.links.metrics()).unwrap();
    let Node {
        links: sending,
        runtime: _runtime,
        ..
    } = Node::start(0, options(wide()));
    sending.set_peers(&[receiver.peer()]).unwrap();
    receiver.links.set_peers(&[peer(0, sending.address())]).unwrap();
    assert!(sender.set(sending).is_ok());
    receiver.wait_up(0);
    for _ in 0..BODIES {
        sender.get().unwrap().send(1, Lane::Bodies, body()).unwrap();
    }
    let (mut votes, mut bodies) = (0, 0);
    while votes == 0 || bodies < BODIES {
        match receiver.next() {
            Event::Received {
                lane: Lane::Votes, ..
            } => votes += 1,
            Event::Received {
                lane: Lane::Bodies, ..
            } => bodies += 1,
            other => panic!("{other:?}"),
        }
    }
    let (whole, bytes) = take(&seen);
    assert!(whole < 3, "{whole} bodies, {bytes} bytes of them before the vote");
}

#[test]
fn what_the_node_does_not_take_stops_its_lane_and_no_other() {
    let mut limits = LinkLimits::default();
    // Room for one body.
    limits.lanes[Lane::Bodies.index()].receive_bytes_max = 0;
    let nodes = mesh(2, &limits);
    let [a, b] = &nodes[..] else { panic!() };
    for _ in 0..3 {
        a.links.send(1, Lane::Bodies, body()).unwrap();
    }
    let metrics = b.links.metrics();
    until(|| metrics.lane(Lane::Bodies).frames_received.get() == 1);
    // The second can only come when the first is taken. All else goes on meanwhile.
    for lane in [Lane::Sync, Lane::Transactions, Lane::Votes] {
        a.links.send(1, lane, Bytes::from_static(b"past")).unwrap();
        until(|| metrics.lane(lane).frames_received.get() == 1);
    }
    assert_eq!(metrics.lane(Lane::Bodies).frames_received.get(), 1);
    assert_eq!(metrics.lane(Lane::Bodies).bytes_received.get(), BODY_BYTES as u64);
    b.expect_frame(0, Lane::Votes, b"past");
    for taken in 1..=3 {
        assert_eq!(metrics.lane(Lane::Bodies).frames_received.get(), taken);
        match b.next() {
            Event::Received { lane, bytes, .. } => assert_eq!((lane, bytes), (Lane::Bodies, body())),
            other => panic!("{other:?}"),
        }
        until(|| metrics.lane(Lane::Bodies).frames_received.get() == (taken + 1).min(3));
    }
    b.expect_frame(0, Lane::Transactions, b"past");
    b.expect_frame(0, Lane::Sync, b"past");
}

#[test]
fn queues_hold_what_their_lane_says_and_no_more() {
    let mut limits = LinkLimits::default();
    for lane in &mut limits.lanes {
        lane.send_frames_max = 3;
    }
    let late = Node::start(1, options(limits.clone()));
    let sender = Node::start(0, options(limits));
    sender.links.set_peers(&[late.peer()]).unwrap();
    // Nobody there yet: everything waits.
    for number in 0..5_u8 {
        let frame = Bytes::from(vec![number]);
        assert_eq!(sender.links.send(1, Lane::Votes, frame.clone()), Ok(()));
        let full = SendError::Full {
            to: 1,
            lane: Lane::Transactions,
        };
        let want = if number < 3 { Ok(()) } else { Err(full) };
        assert_eq!(sender.links.send(1, Lane::Transactions, frame.clone()), want);
        assert_eq!(
            sender.links.broadcast(Lane::Sync, &frame),
            Ok(usize::from(number < 3))
        );
    }
    let metrics = sender.links.metrics();
    assert_eq!(metrics.lane(Lane::Votes).frames_dropped.get(), 2);
    assert_eq!(metrics.lane(Lane::Transactions).frames_refused.get(), 2);
    assert_eq!(metrics.lane(Lane::Votes).send_queue_bytes.get(), 3);
    late.links.set_peers(&[sender.peer()]).unwrap();
    late.wait_up(0);
    let mut got = [const { Vec::new() }; 4];
    for _ in 0..9 {
        match late.next() {
            Event::Received { lane, bytes, .. } => got[lane.index()].push(bytes[0]),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(got, [vec![2, 3, 4], vec![], vec![0, 1, 2], vec![0, 1, 2]]);

    for (lane, len) in [(Lane::Votes, 0), (Lane::Votes, (1 << 20) + 1)] {
        let len_max = 1 << 20;
        let refused = SendError::Length { lane, len, len_max };
        let frame = Bytes::from(vec![0; len]);
        assert_eq!(sender.links.broadcast(lane, &frame), Err(refused));
        assert_eq!(sender.links.send(1, lane, frame), Err(refused));
    }
}

#[test]
fn a_status_says_what_waits_in_each_lane_and_when_the_peer_was_heard() {
    let receiver = Node::start(1, options(LinkLimits::default()));
    let sender = Node::start(
        0,
        options(LinkLimits {
            handshake_timeout: Duration::from_secs(1),
            ..LinkLimits::default()
        }),
    );
    // Nobody listens at port 1: it is dialled in vain, and what is sent there waits.
    let nowhere = peer(2, ([127, 0, 0, 1], 1).into());
    sender.links.set_peers(&[receiver.peer(), nowhere]).unwrap();
    receiver.links.set_peers(&[sender.peer()]).unwrap();
    (sender.links)
        .send(2, Lane::Sync, Bytes::from_static(b"waits"))
        .unwrap();
    let waits = sender.links.status()[1].clone();
    assert_eq!((waits.number, waits.heard_ago, waits.sent_bytes), (2, None, 0));
    let sync = waits.lanes[Lane::Sync.index()];
    assert_eq!((sync.send_frames, sync.send_bytes), (1, 5));
    assert_eq!(waits.lanes[Lane::Votes.index()], LaneStatus::default());

    receiver.wait_up(0);
    assert_eq!(receiver.links.status()[0].heard_ago, None, "no frame came yet");
    (sender.links)
        .send(1, Lane::Bodies, Bytes::from_static(b"body"))
        .unwrap();
    let is_here = || receiver.links.status()[0].heard_ago.is_some();
    until(is_here);
    let heard = receiver.links.status()[0].clone();
    assert!(heard.received_bytes > 4, "{heard:?}");
    assert!(
        heard.lanes[Lane::Bodies.index()].receive_bytes >= 4,
        "the node has not taken it"
    );
    receiver.expect_frame(0, Lane::Bodies, b"body");
    until(|| receiver.links.status()[0].lanes[Lane::Bodies.index()].receive_bytes == 0);

    let metrics = sender.links.metrics();
    let frame = Bytes::from_static(b"x");
    assert!(sender.links.send(9, Lane::Votes, frame).is_err());
    assert!(sender.links.send(1, Lane::Votes, Bytes::new()).is_err());
    let votes = metrics.lane(Lane::Votes);
    assert_eq!((votes.frames_unaddressed.get(), votes.frames_unfit.get()), (1, 1));
    until(|| metrics.dials_failed.get() > 0);
    assert!(metrics.dials_failed.get() <= metrics.dials.get());
}
