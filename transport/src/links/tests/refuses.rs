//! Who does not get in, and what is no message of a peer.

use std::ffi::OsString;
use std::sync::Arc;

use bytes::Bytes;
use quinn::ConnectionError;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::{AlwaysResolvesClientRawPublicKeys, ResolvesClientCert};
use rustls::crypto::aws_lc_rs as provider;
use selfchain_types::Hash;

use super::stage::*;
use crate::links::control::{Control, Hello, HelloId, Refusal};
use crate::links::{
    Event, LINKS_ALPN, Lane, LinkClose, LinkLimits, Links, Options, PEERS_MAX, Peer, PeersError, StartError,
};
use crate::tls::{Anonymous, PinnedServerKey, TlsError, certified};

/// A client configuration with groups, protocol and key of its own choice.
fn crypto(
    node: &Node,
    groups: Vec<&'static dyn rustls::crypto::SupportedKxGroup>,
    protocol: &[u8],
    own: Arc<dyn ResolvesClientCert>,
) -> QuicClientConfig {
    let provider = rustls::crypto::CryptoProvider {
        kx_groups: groups,
        ..provider::default_provider()
    };
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedServerKey::new(raw_key(node.number))))
        .with_client_cert_resolver(own);
    tls.alpn_protocols = vec![protocol.to_vec()];
    QuicClientConfig::try_from(tls).unwrap()
}

fn own(number: u32) -> Arc<dyn ResolvesClientCert> {
    let seed = key(number).seed();
    Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified(&seed).unwrap()))
}

/// Connects and waits for the end: a client's side of the handshake may be through before it is refused.
fn refused_with(crypto: QuicClientConfig, node: &Node) -> u64 {
    let error = match Raw::connect_with(crypto, node) {
        Ok(raw) => raw.end(),
        Err(error) => error,
    };
    match error {
        ConnectionError::ConnectionClosed(close) => u64::from(close.error_code),
        other => panic!("{other}"),
    }
}

/// Node 0, which has nodes 1 and 2 in its set and reaches neither.
fn lonely(limits: LinkLimits) -> Node {
    let node = Node::start(0, options(limits));
    // A socket of ours that answers nothing.
    let silent = std::net::UdpSocket::bind(any_port()).unwrap();
    let address = silent.local_addr().unwrap();
    node.links
        .set_peers(&[peer(1, address), peer(2, address)])
        .unwrap();
    node
}

#[test]
fn a_peer_without_the_hybrid_group_is_refused() {
    let node = lonely(LinkLimits::default());
    let hybrid = provider::kx_group::X25519MLKEM768;
    for (refused, group) in [provider::kx_group::X25519, provider::kx_group::SECP256R1]
        .into_iter()
        .enumerate()
    {
        let code = refused_with(crypto(&node, vec![group], LINKS_ALPN, own(1)), &node);
        // Alert 40, handshake_failure: no group in common.
        assert_eq!(code, 0x100 + 40);
        until(|| node.links.metrics().refused(LinkClose::NoCommonGroup) == refused as u64 + 1);
    }
    assert!(Raw::connect_with(crypto(&node, vec![hybrid], LINKS_ALPN, own(1)), &node).is_ok());
}

#[test]
fn a_key_that_is_not_in_the_set_and_none_at_all_are_refused() {
    let node = lonely(LinkLimits::default());
    let hybrid = || vec![provider::kx_group::X25519MLKEM768];
    // Alert 49, access_denied.
    assert_eq!(
        refused_with(crypto(&node, hybrid(), LINKS_ALPN, own(3)), &node),
        0x100 + 49
    );
    until(|| node.links.metrics().refused(LinkClose::NotInSet) == 1);
    // Alert 116, certificate_required.
    assert_eq!(
        refused_with(crypto(&node, hybrid(), LINKS_ALPN, Arc::new(Anonymous)), &node),
        0x100 + 116
    );
    // Alert 120, no_application_protocol.
    for protocol in [b"h3".as_slice(), b"selfchain-ingest/1", b"selfchain-links/2"] {
        assert_eq!(
            refused_with(crypto(&node, hybrid(), protocol, own(1)), &node),
            0x100 + 120
        );
    }
    assert_eq!(node.links.try_next(), None);
    assert_eq!(node.links.metrics().connections.get(), 0);
}

#[test]
fn a_peer_with_another_key_than_the_pinned_one_is_not_spoken_to() {
    let a = Node::start(0, options(LinkLimits::default()));
    let b = Node::start(1, options(LinkLimits::default()));
    b.links.set_peers(&[a.peer()]).unwrap();
    // The key of 2 where 1 listens.
    a.links.set_peers(&[peer(2, b.links.address())]).unwrap();
    until(|| a.last(2) == Some(LinkClose::WrongKey));
    until(|| b.last(0) == Some(LinkClose::NotInSet));
    assert_eq!((a.links.try_next(), b.links.try_next()), (None, None));
}

#[test]
fn a_peer_of_another_chain_is_refused_with_that_reason() {
    let a = Node::start(0, options(LinkLimits::default()));
    let other = Options {
        chain: Hash([8; 32]),
        ..options(LinkLimits::default())
    };
    let b = Node::start(1, other);
    a.links.set_peers(&[b.peer()]).unwrap();
    until(|| a.last(1) == Some(LinkClose::NotInSet));
    b.links.set_peers(&[a.peer()]).unwrap();
    until(|| a.last(1) == Some(LinkClose::ChainMismatch));
    until(|| b.last(0) == Some(LinkClose::ChainMismatch));
    assert!(b.links.metrics().refused(LinkClose::ChainMismatch) > 0);
    assert_eq!((a.links.try_next(), b.links.try_next()), (None, None));
    assert_eq!(a.links.metrics().connections.get(), 0);
}

#[test]
fn a_key_log_and_an_impossible_set_keep_the_links_from_starting() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let start = |options: Options, peers: &[Peer]| {
        Links::start(options, &key(0), peers, runtime.handle())
            .err()
            .unwrap()
    };
    let log = Options {
        key_log_path: Some(OsString::from("secrets.txt")),
        ..options(LinkLimits::default())
    };
    assert!(matches!(
        start(log, &[]),
        StartError::Tls(TlsError::KeyLog { .. })
    ));
    let small = LinkLimits {
        datagram_bytes_max: 1_199,
        ..LinkLimits::default()
    };
    assert!(matches!(start(options(small), &[]), StartError::Datagram(_)));

    let check = |peers: &[Peer], want: PeersError| match start(options(LinkLimits::default()), peers) {
        StartError::Peers(error) => assert_eq!(error, want),
        other => panic!("{other}"),
    };
    let [one, two] = [1, 2].map(|number| peer(number, any_port()));
    let same_position = Peer {
        number: 1,
        ..two.clone()
    };
    let same_key = Peer {
        number: 2,
        ..one.clone()
    };
    check(&[one.clone(), same_position], PeersError::Twice { number: 1 });
    check(&[one, same_key], PeersError::Twice { number: 2 });
    for count in [0, 5] {
        let keys = (10..10 + count)
            .map(|number| key(number).public().clone())
            .collect();
        let keyless = Peer { keys, ..two.clone() };
        check(&[keyless], PeersError::Key { number: 2 });
    }
    check(
        &vec![two; PEERS_MAX + 1],
        PeersError::TooMany { peers: PEERS_MAX + 1 },
    );
}

fn hello(chain: [u8; 32], sequence: u64) -> Vec<u8> {
    let id = HelloId { run: 7, sequence };
    let proof = None;
    Control::Hello(Hello { chain, id, proof }).encode()
}

#[test]
fn what_is_no_hello_is_refused() {
    let node = lonely(LinkLimits::default());
    let refusal = Refusal {
        lane: Lane::Votes,
        retry_after_ms: 1,
    };
    let good = hello(CHAIN.0, 1);
    let mut longer = good.clone();
    longer.push(0);
    for (bytes, why) in [
        (framed(&hello([8; 32], 1)), LinkClose::ChainMismatch),
        (
            framed(&Control::Refusal(refusal).encode()),
            LinkClose::ControlInvalid,
        ),
        (framed(&good[1..]), LinkClose::ControlInvalid),
        (framed(&longer), LinkClose::ControlInvalid),
        (vec![255; 4], LinkClose::ControlInvalid),
        (vec![0; 4], LinkClose::ControlInvalid),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), LinkClose::ControlInvalid),
    ] {
        let raw = Raw::connect(1, &node);
        raw.runtime.block_on(async {
            let (mut send, _recv) = raw.quic.open_bi().await.unwrap();
            send.write_all(&bytes).await.unwrap();
            send.finish().unwrap();
        });
        raw.expect_closed(why);
    }
    assert_eq!(node.links.metrics().refused(LinkClose::ControlInvalid), 6);
    assert_eq!(node.links.try_next(), None);
}

#[test]
fn who_says_no_hello_is_not_waited_for() {
    let node = lonely(LinkLimits {
        handshake_timeout: std::time::Duration::from_secs(2),
        ..LinkLimits::default()
    });
    let raw = Raw::connect(1, &node);
    raw.expect_closed(LinkClose::HelloTimeout);
    until(|| node.links.metrics().refused(LinkClose::HelloTimeout) == 1);
}

#[test]
fn an_old_hello_of_the_same_run_is_a_duplicate_and_a_newer_one_replaces() {
    let node = lonely(LinkLimits::default());
    let (first, _send, _recv) = Raw::stand(1, 5, &node);
    node.expect(&Event::Up { from: 1 });
    let late = Raw::connect(1, &node);
    late.runtime.block_on(async {
        let (mut send, _recv) = late.quic.open_bi().await.unwrap();
        send.write_all(&framed(&hello(CHAIN.0, 5))).await.unwrap();
    });
    late.expect_closed(LinkClose::Duplicate);
    let (_second, _send, _recv) = Raw::stand(1, 6, &node);
    first.expect_closed(LinkClose::Replaced);
    let why = LinkClose::Replaced;
    node.expect(&Event::Down { from: 1, why });
    node.expect(&Event::Up { from: 1 });
    assert_eq!(node.links.metrics().connections_up.get(), 1);
}

#[test]
fn what_breaks_the_rules_of_a_lane_closes_the_connection_and_harms_nobody() {
    let limits = LinkLimits {
        frame_stall_timeout: std::time::Duration::from_millis(200),
        ..LinkLimits::default()
    };
    let over = (limits.lane(Lane::Votes).frame_bytes_max as u32 + 1).to_le_bytes();
    let node = lonely(limits);
    let (honest, _honest_send, _honest_recv) = Raw::stand(2, 1, &node);
    node.expect(&Event::Up { from: 2 });
    let mut honest_votes = honest.write_uni(&[Lane::Votes.code()]);
    let votes = Lane::Votes.code();
    let cases: [(&[u8], LinkClose); 7] = [
        (&[0], LinkClose::StreamUnexpected),
        (&[5], LinkClose::StreamUnexpected),
        (&[votes, 0, 0, 0, 0], LinkClose::FrameEmpty),
        (&[votes, 255, 255, 255, 255, 1], LinkClose::FrameTooLarge),
        (
            &[votes, over[0], over[1], over[2], over[3]],
            LinkClose::FrameTooLarge,
        ),
        (&[votes, 10, 0], LinkClose::FrameTruncated),
        (&[votes, 10, 0, 0, 0, 1, 2, 3], LinkClose::FrameTruncated),
    ];
    for (sequence, (bytes, why)) in (1..).zip(cases) {
        let (raw, _send, _recv) = Raw::stand(1, sequence, &node);
        node.expect(&Event::Up { from: 1 });
        // Left open: what is missing never comes.
        let _stream = raw.write_uni(bytes);
        raw.expect_closed(why);
        node.expect(&Event::Down { from: 1, why });
        honest
            .runtime
            .block_on(honest_votes.write_all(&framed(b"vote")))
            .unwrap();
        node.expect_frame(2, Lane::Votes, b"vote");
    }

    // A lane twice, a lane reset, a second hello.
    let (raw, _send, _recv) = Raw::stand(1, 100, &node);
    let _first = raw.write_uni(&[votes]);
    let _second = raw.write_uni(&[votes]);
    raw.expect_closed(LinkClose::StreamUnexpected);
    let (raw, _send, _recv) = Raw::stand(1, 101, &node);
    let mut stream = raw.write_uni(&[&[votes], framed(b"x").as_slice()].concat());
    // Once the frame is there, the lane is being read.
    while !matches!(node.next(), Event::Received { from: 1, .. }) {}
    raw.runtime
        .block_on(async { stream.reset(0_u32.into()).unwrap() });
    raw.expect_closed(LinkClose::StreamUnexpected);
    let (raw, mut send, _recv) = Raw::stand(1, 102, &node);
    raw.runtime
        .block_on(send.write_all(&framed(&hello(CHAIN.0, 103))))
        .unwrap();
    raw.expect_closed(LinkClose::ControlInvalid);
}

#[test]
fn any_bytes_on_streams_and_port_harm_nobody() {
    let node = lonely(LinkLimits::default());
    let (honest, _honest_send, _honest_recv) = Raw::stand(2, 1, &node);
    let mut honest_votes = honest.write_uni(&[Lane::Votes.code()]);
    let socket = std::net::UdpSocket::bind(any_port()).unwrap();
    // A fixed linear congruence: every run sends the same bytes.
    let mut x = 7_u64;
    let mut random = move || {
        x = x
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        x >> 33
    };
    for sequence in 1..=24 {
        let mut garbage = || -> Vec<u8> {
            let len = 1 + random() % 1_400;
            (0..len).map(|_| random() as u8).collect()
        };
        for _ in 0..20 {
            socket.send_to(&garbage(), node.links.address()).unwrap();
        }
        let (raw, mut send, _recv) = Raw::stand(1, sequence, &node);
        if sequence % 2 == 0 {
            drop(raw.runtime.block_on(send.write_all(&garbage())));
        }
        for lane in Lane::ALL {
            let mut bytes = garbage();
            bytes[0] = if sequence % 3 == 0 { bytes[0] } else { lane.code() };
            // Ended in the middle of whatever it says. The stream before may have ended the connection.
            let written = raw.runtime.block_on(async {
                let mut stream = raw.quic.open_uni().await.ok()?;
                stream.write_all(&bytes).await.ok()?;
                stream.finish().ok()
            });
            if written.is_none() {
                break;
            }
        }
        raw.closed();
        honest
            .runtime
            .block_on(honest_votes.write_all(&framed(b"vote")))
            .unwrap();
        let vote = Event::Received {
            from: 2,
            lane: Lane::Votes,
            bytes: Bytes::from_static(b"vote"),
        };
        while node.next() != vote {}
    }
}
