//! Who does not get in, and what is no frame.

use std::ffi::OsString;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ConnectionError, Endpoint};
use rustls::crypto::aws_lc_rs as provider;
use selfchain_types::seam::transport::{CloseReason, Service};
use tokio::runtime::Handle;

use super::stage::*;
use crate::client::{Client, ClientConfig, ConnectError, ReceiveError};
use crate::limits::{Limits, Rate};
use crate::quic::{Server, ServerConfig, StartError};
use crate::tls::{PinnedServerKey, TlsError, client_config};
use crate::{ALPN, STREAM_REQUESTS};

/// A client of raw QUIC, with groups and protocol of its own choice.
async fn raw(
    stage: &Stage,
    groups: Vec<&'static dyn rustls::crypto::SupportedKxGroup>,
    protocol: &[u8],
) -> Result<quinn::Connection, ConnectionError> {
    let pinned = Arc::new(PinnedServerKey::new(stage.server.public_key()));
    let provider = rustls::crypto::CryptoProvider {
        kx_groups: groups,
        ..provider::default_provider()
    };
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(pinned)
        .with_no_client_auth();
    tls.client_auth_cert_resolver = Arc::new(crate::tls::Anonymous);
    tls.alpn_protocols = vec![protocol.to_vec()];
    let crypto = Arc::new(QuicClientConfig::try_from(tls).unwrap());
    let endpoint = Endpoint::client(any_port()).unwrap();
    within(
        endpoint
            .connect_with(quinn::ClientConfig::new(crypto), stage.server.address(), "x")
            .unwrap(),
    )
    .await
}

async fn hybrid(stage: &Stage) -> quinn::Connection {
    raw(stage, vec![provider::kx_group::X25519MLKEM768], ALPN)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_the_hybrid_group_is_refused() {
    let stage = Stage::echoing(Limits::default());
    for groups in [
        vec![provider::kx_group::X25519],
        vec![provider::kx_group::SECP256R1],
    ] {
        let refused = raw(&stage, groups, ALPN).await;
        // Alert 40, handshake_failure: no group in common.
        assert!(
            matches!(
                &refused,
                Err(ConnectionError::ConnectionClosed(close)) if u64::from(close.error_code) == 0x100 + 40
            ),
            "{refused:?}"
        );
    }
    // One that offers the classical group first is led to the hybrid one.
    let groups = vec![provider::kx_group::X25519, provider::kx_group::X25519MLKEM768];
    assert!(raw(&stage, groups, ALPN).await.is_ok());
    until(|| stage.server.metrics().handshakes_failed.get() == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_protocol_or_version_is_refused() {
    let stage = Stage::echoing(Limits::default());
    for protocol in [b"h3".as_slice(), b"selfchain-ingest/2", b"selfchain-ingest/"] {
        let refused = raw(&stage, vec![provider::kx_group::X25519MLKEM768], protocol).await;
        // Alert 120, no_application_protocol.
        assert!(
            matches!(
                &refused,
                Err(ConnectionError::ConnectionClosed(close)) if u64::from(close.error_code) == 0x100 + 120
            ),
            "{refused:?}"
        );
    }
    until(|| stage.server.metrics().handshakes_failed.get() == 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_another_key_is_refused() {
    let stage = Stage::echoing(Limits::default());
    let config = ClientConfig {
        server_key: [5; 32],
        ..stage.config()
    };
    let refused = Client::new(config).unwrap().connect_with_retry(PATIENCE).await;
    match refused.err().unwrap() {
        ConnectError::WrongServerKey { pinned, shown } => {
            assert_eq!((pinned, shown), ([5; 32], stage.server.public_key()));
        }
        other => panic!("{other}"),
    }
    until(|| stage.server.metrics().handshakes_failed.get() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_log_keeps_both_ends_from_starting() {
    let path = Some(OsString::from("secrets.txt"));
    let stage = Stage::echoing(Limits::default());
    let client = Client::new(ClientConfig {
        key_log_path: path.clone(),
        ..stage.config()
    });
    assert!(matches!(
        client.err(),
        Some(ConnectError::Tls(TlsError::KeyLog { .. }))
    ));
    let config = ServerConfig {
        listen: any_port(),
        key_seed: SERVER_SEED,
        key_log_path: path,
        limits: Limits::default(),
    };
    let (events, _) = tokio::sync::mpsc::channel(1);
    let service: Arc<dyn Service> = Arc::new(Scripted::silent(events));
    let refused = Server::start(&config, service, &Handle::current());
    assert!(matches!(
        refused.err(),
        Some(StartError::Tls(TlsError::KeyLog { .. }))
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_datagram_size_that_would_stall_is_refused() {
    let stage = Stage::echoing(Limits::default());
    for datagram_bytes_max in [0, 1_199, 6_551, 9_000, u16::MAX] {
        let client = Client::new(ClientConfig {
            datagram_bytes_max,
            ..stage.config()
        });
        assert!(matches!(client.err(), Some(ConnectError::Datagram(_))));
    }
}

/// Writes `bytes` on a new stream and ends it; checks why the server closes the connection.
async fn check_close(bytes: &[u8], reason: CloseReason) {
    let limits = Limits {
        frame_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let mut stage = Stage::echoing(limits);
    let mut honest = stage.connect().await;
    assert_eq!(ask(&mut honest, b"before").await, b"before");

    let quic = hybrid(&stage).await;
    let (mut send, _recv) = quic.open_bi().await.unwrap();
    send.write_all(bytes).await.unwrap();
    drop(send.finish());
    let closed = within(quic.closed()).await;
    match &closed {
        ConnectionError::ApplicationClosed(close) => {
            assert_eq!(
                close.error_code.into_inner(),
                u64::from(reason.code()),
                "{closed}"
            );
            assert_eq!(close.reason, reason.name().as_bytes());
        }
        _ => panic!("{closed}"),
    }
    assert_eq!(stage.closed_for(reason).await, 1);
    assert_eq!(ask(&mut honest, b"after").await, b"after");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_frame_closes_its_connection_with_the_reason() {
    let kind = STREAM_REQUESTS;
    check_close(&[0], CloseReason::StreamKindUnknown).await;
    check_close(b"GET / HTTP/1.1\r\n\r\n", CloseReason::StreamKindUnknown).await;
    check_close(&[kind, 0, 0, 0, 0], CloseReason::FrameEmpty).await;
    check_close(
        &[kind, 1, 0, 0, 0, 42, 255, 255, 255, 255, 1],
        CloseReason::FrameTooLarge,
    )
    .await;
    check_close(&[kind, 10, 0], CloseReason::FrameTruncated).await;
    check_close(&[kind, 10, 0, 0, 0, 1, 2, 3], CloseReason::FrameTruncated).await;
    check_close(&[2, 255, 255, 255, 255], CloseReason::FrameTooLarge).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_never_ends_is_cut_off() {
    let limits = Limits {
        frame_timeout: Duration::from_millis(50),
        ..Limits::default()
    };
    let mut stage = Stage::echoing(limits);
    let quic = hybrid(&stage).await;
    let (mut send, _recv) = quic.open_bi().await.unwrap();
    send.write_all(&[STREAM_REQUESTS, 10, 0, 0, 0, 1]).await.unwrap();
    assert_eq!(stage.closed_for(CloseReason::FrameTruncated).await, 1);
    assert_eq!(stage.server.metrics().frames_truncated.get(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_bytes_on_the_port_harm_nobody() {
    let mut stage = Stage::echoing(Limits::default());
    let mut honest = stage.connect().await;
    let socket = UdpSocket::bind(any_port()).unwrap();
    // A fixed linear congruence: every run sends the same bytes.
    let mut x = 7_u64;
    let mut random = move || {
        x = x
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        x >> 33
    };
    for round in 0..500_u64 {
        let len = 1 + random() % 1_400;
        let datagram: Vec<u8> = (0..len).map(|_| random() as u8).collect();
        socket.send_to(&datagram, stage.server.address()).unwrap();
        if round % 50 == 0 {
            let quic = hybrid(&stage).await;
            let (mut send, _recv) = quic.open_bi().await.unwrap();
            let garbage: Vec<u8> = (0..len).map(|_| random() as u8).collect();
            drop(send.write_all(&garbage).await);
            drop(send.finish());
            within(quic.closed()).await;
            stage.next_closed().await;
            assert_eq!(ask(&mut honest, &datagram).await, datagram);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_has_so_many_connections_and_so_many_new_ones() {
    let stage = Stage::echoing(Limits {
        connections_per_ip_max: 2,
        ..Limits::default()
    });
    let mut first = stage.connect().await;
    let second = stage.connect().await;
    until(|| stage.server.metrics().connections_open.get() == 2).await;
    // A stranger who comes when the places of an address are used up must prove that the address is his, and
    // is then refused before the handshake costs anything.
    assert!(matches!(
        Client::new(stage.config()).unwrap().connect().await,
        Err(ConnectError::Refused)
    ));
    assert_eq!(stage.server.metrics().connections_retried.get(), 1);
    assert_eq!(stage.server.metrics().connections_refused.get(), 1);
    assert_eq!(ask(&mut first, b"still here").await, b"still here");
    drop(second);
    // The place is given back a moment after the connection is gone.
    let mut third = Client::new(stage.config())
        .unwrap()
        .connect_with_retry(PATIENCE)
        .await
        .unwrap();
    assert_eq!(ask(&mut third, b"now me").await, b"now me");

    // A key comes to light only in the handshake, so who has no place for it is closed after.
    let stage = Stage::echoing(Limits {
        identities_max: 1,
        ..Limits::default()
    });
    let config = ClientConfig {
        client_seed: Some([9; 32]),
        ..stage.config()
    };
    // The client's side of the handshake may be through before the server has looked for a place.
    let reason = match Client::new(config).unwrap().connect().await {
        Ok(mut known) => match known.receive(PATIENCE).await {
            Err(ReceiveError::Closed { reason }) => reason,
            other => panic!("{other:?}"),
        },
        Err(ConnectError::Closed { reason }) => reason,
        Err(other) => panic!("{other}"),
    };
    assert_eq!(reason, CloseReason::ConnectionLimit);
    assert_eq!(stage.server.metrics().closed(CloseReason::ConnectionLimit), 1);

    let rate = Rate { per_s: 0, burst: 1 };
    let stage = Stage::echoing(Limits {
        connections_new_per_ip: rate,
        ..Limits::default()
    });
    let mut first = stage.connect().await;
    until(|| stage.server.metrics().connections_open.get() == 1).await;
    assert!(matches!(
        Client::new(stage.config()).unwrap().connect().await,
        Err(ConnectError::Refused)
    ));
    assert_eq!(ask(&mut first, b"still here").await, b"still here");
    assert_eq!(stage.server.metrics().connections_refused.get(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_server_asks_strangers_to_prove_their_address() {
    let stage = Stage::echoing(Limits {
        handshakes_before_retry: 0,
        ..Limits::default()
    });
    let mut connection = stage.connect().await;
    assert_eq!(ask(&mut connection, b"proved").await, b"proved");
    assert_eq!(stage.server.metrics().connections_retried.get(), 1);
    let stage = Stage::echoing(Limits {
        connections_max: 0,
        ..Limits::default()
    });
    assert!(matches!(
        Client::new(stage.config()).unwrap().connect().await,
        Err(ConnectError::Refused)
    ));
}

/// The client's own configuration and the raw one of these tests agree on what is offered.
#[test]
fn the_client_configuration_is_accepted_by_quic() {
    let pinned = Arc::new(PinnedServerKey::new([1; 32]));
    assert!(client_config(Arc::clone(&pinned), None).is_ok());
    assert!(client_config(pinned, Some(&[2; 32])).is_ok());
}
