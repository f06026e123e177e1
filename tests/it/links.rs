//! Links between validators over a bad network: delay, loss, a partition that heals.

use bytes::Bytes;
use selfchain_tests::relay::{Path, Relay};
use selfchain_transport::links::{Event, Lane, LinkClose, LinkLimits, Links, Options, Peer};
use selfchain_types::Hash;
use selfchain_types::crypto::SigningKey;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::runtime::Runtime;

/// No event of a test takes this long on a machine that is merely busy.
const PATIENCE: Duration = Duration::from_secs(120);

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn key(number: u32) -> SigningKey {
    SigningKey::from_seed(&[u8::try_from(number).unwrap() + 1; 32])
}

fn start(number: u32, limits: &LinkLimits, runtime: &Runtime) -> Links {
    let options = Options {
        listen: any_port(),
        chain: Hash([9; 32]),
        key_log_path: None,
        seed: u64::from(number),
        limits: limits.clone(),
        wake: None,
    };
    Links::start(options, &key(number), &[], runtime.handle()).unwrap()
}

fn peer(number: u32, address: SocketAddr) -> Peer {
    Peer {
        number,
        keys: vec![key(number).public().clone()],
        address: Some(address),
    }
}

fn next(links: &Links) -> Event {
    links.next(PATIENCE).expect("nothing happened in time")
}

#[test]
fn links_carry_over_delay_and_loss_and_come_back_after_a_partition() {
    const BAD: Path = Path {
        delay: Duration::from_millis(25),
        jitter: Duration::from_millis(5),
        loss_per_million: 50_000,
    };
    let limits = LinkLimits {
        idle_timeout: Duration::from_secs(2),
        keep_alive: Duration::from_millis(200),
        ..LinkLimits::default()
    };
    let runtime = Runtime::new().unwrap();
    let (a, b) = (start(0, &limits, &runtime), start(1, &limits, &runtime));
    let to_a = Relay::start(any_port(), a.address(), BAD, 1).unwrap();
    let to_b = Relay::start(any_port(), b.address(), BAD, 2).unwrap();
    a.set_peers(&[peer(1, to_b.address())]).unwrap();
    b.set_peers(&[peer(0, to_a.address())]).unwrap();
    assert_eq!(next(&a), Event::Up { from: 1 });
    assert_eq!(next(&b), Event::Up { from: 0 });

    for round in 0..20_u8 {
        a.send(1, Lane::Bodies, Bytes::from(vec![round; 50_000])).unwrap();
        a.send(1, Lane::Votes, Bytes::from(vec![round])).unwrap();
    }
    let (mut bodies, mut votes) = (0_u8, 0_u8);
    while bodies < 20 || votes < 20 {
        match next(&b) {
            Event::Received {
                lane: Lane::Bodies,
                bytes,
                ..
            } => {
                assert_eq!(bytes, vec![bodies; 50_000]);
                bodies += 1;
            }
            Event::Received { bytes, .. } => {
                assert_eq!(bytes, vec![votes]);
                votes += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(to_a.relayed().lost + to_b.relayed().lost > 0);

    let partition = Path {
        loss_per_million: 1_000_000,
        ..BAD
    };
    for relay in [&to_a, &to_b] {
        relay.set_path(partition);
    }
    let why = LinkClose::TimedOut;
    assert_eq!(next(&a), Event::Down { from: 1, why });
    assert_eq!(next(&b), Event::Down { from: 0, why });
    a.send(1, Lane::Votes, Bytes::from_static(b"waits")).unwrap();
    for relay in [&to_a, &to_b] {
        relay.set_path(BAD);
    }
    assert_eq!(next(&a), Event::Up { from: 1 });
    assert_eq!(next(&b), Event::Up { from: 0 });
    let waits = Event::Received {
        from: 0,
        lane: Lane::Votes,
        bytes: Bytes::from_static(b"waits"),
    };
    assert_eq!(next(&b), waits);
}
