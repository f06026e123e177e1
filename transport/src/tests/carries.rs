//! What goes in comes out: small, many, large, from threads, across a restart, to the last reply.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use selfchain_types::seam::transport::{CloseReason, FRAME_BYTES_MAX};

use super::stage::*;
use crate::client::backoff::Backoff;
use crate::client::{Client, ClientConfig, ConnectError, ReceiveError, SendError, blocking};
use crate::limits::Limits;
use crate::public_key_of;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_answered_and_the_peer_is_known() {
    let met: Peers = Arc::default();
    let seen = Arc::clone(&met);
    let mut stage = Stage::new(Limits::default(), move |peer, frames| {
        seen.lock().unwrap().push(Arc::clone(peer));
        echo(peer, frames);
    });
    let mut anonymous = stage.connect().await;
    assert_eq!(ask(&mut anonymous, b"hello").await, b"hello");
    let config = ClientConfig {
        client_seed: Some([9; 32]),
        ..stage.config()
    };
    let mut known = Client::new(config).unwrap().connect().await.unwrap();
    assert_eq!(ask(&mut known, b"it is me").await, b"it is me");

    let identities: Vec<_> = met.lock().unwrap().iter().map(|peer| peer.identity()).collect();
    assert_eq!(identities[0].client_key, None);
    assert_eq!(identities[1].client_key, Some(public_key_of(&[9; 32]).unwrap()));
    assert!(identities[0].address.ip().is_loopback());
    assert_eq!(stage.server.metrics().connections_open.get(), 2);

    assert!(known.close(PATIENCE).await);
    assert_eq!(stage.closed_for(CloseReason::Done).await, 1);
    drop(anonymous);
    stage.next_closed().await;
    until(|| stage.server.metrics().connections_open.get() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_small_frames_come_back_in_order() {
    const COUNT: u32 = 100_000;
    let stage = Stage::echoing(Limits::default());
    let (sender, mut receiver) = stage.connect().await.split();
    let sending = tokio::spawn(async move {
        let frames: Vec<[u8; 40]> = (0..COUNT)
            .map(|n| std::array::from_fn(|at| n.to_le_bytes()[at % 4]))
            .collect();
        let frames: Vec<&[u8]> = frames.iter().map(<[u8; 40]>::as_slice).collect();
        sender.send_many(&frames, PATIENCE).await.unwrap();
        sender
    });
    let mut next = 0;
    while next < COUNT {
        for frame in receiver.receive(PATIENCE).await.unwrap() {
            assert_eq!(frame.len(), 40);
            assert_eq!(frame[..4], next.to_le_bytes());
            next += 1;
        }
    }
    drop(sending.await.unwrap());
    let metrics = stage.server.metrics();
    assert_eq!(metrics.frames_in.get(), u64::from(COUNT));
    assert!(
        metrics.writes_out.get() < u64::from(COUNT) / 20,
        "replies are gathered into large writes"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_frames_and_the_largest_come_back_whole() {
    let stage = Stage::echoing(Limits::default());
    let mut connection = stage.connect().await;
    for len in [1, 16 << 10, 1 << 20, 1 << 20, FRAME_BYTES_MAX] {
        let frame: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        assert!(
            ask(&mut connection, &frame).await == frame,
            "a frame of {len} bytes"
        );
    }
    let refused = connection.send(vec![0; FRAME_BYTES_MAX + 1], PATIENCE).await;
    assert!(matches!(refused, Err(SendError::Frame(_))));
    assert_eq!(
        stage.server.metrics().assembly_bytes.get(),
        0,
        "what large frames held is given back"
    );
}

#[test]
fn a_thread_without_a_runtime_can_ask() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let stage = {
        let _context = runtime.enter();
        Stage::echoing(Limits::default())
    };
    let client = blocking::Client::new(stage.config()).unwrap();
    let mut connection = client.connect().unwrap();
    connection.send(b"one".to_vec(), PATIENCE).unwrap();
    assert_eq!(connection.receive(PATIENCE).unwrap(), [b"one".to_vec()]);
    let (sender, mut receiver) = connection.split();
    let thread = std::thread::spawn(move || {
        sender.send_many(&[b"two", b"three"], PATIENCE).unwrap();
        sender
    });
    let mut replies = Vec::new();
    while replies.len() < 2 {
        replies.extend(receiver.receive(PATIENCE).unwrap());
    }
    assert_eq!(replies, [b"two".to_vec(), b"three".to_vec()]);
    assert_eq!(
        receiver.receive(Duration::from_millis(1)),
        Err(ReceiveError::Deadline { after_ms: 1 })
    );
    assert!(thread.join().unwrap().close(PATIENCE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_comes_back_after_the_server_restarts() {
    let stage = Stage::echoing(Limits::default());
    let config = ClientConfig {
        backoff: Backoff {
            first: Duration::from_millis(5),
            max: Duration::from_millis(20),
        },
        connect_timeout: Duration::from_millis(500),
        ..stage.config()
    };
    let client = Client::new(config).unwrap();
    let mut connection = client.connect_with_retry(PATIENCE).await.unwrap();
    assert_eq!(ask(&mut connection, b"before").await, b"before");

    let address = stage.server.address();
    assert!(stage.server.shutdown(PATIENCE).await);
    let lost = connection.receive(PATIENCE).await;
    assert_eq!(
        lost,
        Err(ReceiveError::Closed {
            reason: CloseReason::ShuttingDown
        })
    );
    let lost = connection.send(b"into the void".to_vec(), PATIENCE).await;
    assert!(
        matches!(lost, Ok(()) | Err(SendError::Closed { .. })),
        "queued at most, never stuck"
    );

    let back = tokio::spawn(async move { client.connect_with_retry(PATIENCE).await });
    // The old socket goes with the last task that used it.
    until(|| std::net::UdpSocket::bind(address).is_ok()).await;
    let stage = Stage::at(address, Limits::default(), echo, |_| Err(Vec::new()));
    let mut connection = within(back).await.unwrap().unwrap();
    assert_eq!(ask(&mut connection, b"after").await, b"after");
    drop(stage);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_waits_past_its_deadline() {
    let silent = std::net::UdpSocket::bind(any_port()).unwrap();
    let config = ClientConfig {
        connect_timeout: Duration::from_millis(20),
        ..ClientConfig::new(silent.local_addr().unwrap(), [1; 32])
    };
    let client = Client::new(config).unwrap();
    assert!(matches!(
        within(client.connect()).await,
        Err(ConnectError::Deadline { after_ms: 20 })
    ));
    let retried = within(client.connect_with_retry(Duration::from_millis(100))).await;
    assert!(matches!(retried, Err(ConnectError::Deadline { .. })));

    // A service that never answers: after some queues are full, sending says so.
    let stage = Stage::new(
        Limits {
            requests_in_flight_max: 1,
            ..Limits::default()
        },
        |_, _| {},
    );
    let mut connection = stage.connect().await;
    let frame = vec![0; 1 << 20];
    let stuck = within(async {
        loop {
            if let Err(error) = connection.send(frame.clone(), Duration::from_millis(20)).await {
                return error;
            }
        }
    })
    .await;
    assert_eq!(stuck, SendError::Deadline { after_ms: 20 });
    let nothing = connection.receive(Duration::from_millis(1)).await;
    assert_eq!(nothing, Err(ReceiveError::Deadline { after_ms: 1 }));
    assert!(
        !connection.close(Duration::from_millis(20)).await,
        "not all of it was delivered"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_sends_every_queued_reply_first() {
    const COUNT: usize = 2_000;
    let held = Arc::new(Mutex::new(Vec::new()));
    let holder = Arc::clone(&held);
    let mut stage = Stage::new(Limits::default(), move |peer, frames| {
        holder
            .lock()
            .unwrap()
            .extend(frames.into_iter().map(|frame| (Arc::clone(peer), frame)));
    });
    let connection = stage.connect().await;
    let frames = vec![[7; 1_000].as_slice(); COUNT];
    connection.sender().send_many(&frames, PATIENCE).await.unwrap();
    until(|| held.lock().unwrap().len() == COUNT).await;

    stage.server.drain();
    let refused = Client::new(stage.config()).unwrap().connect().await;
    assert!(matches!(refused, Err(ConnectError::Refused)));
    for (peer, frame) in held.lock().unwrap().drain(..) {
        peer.reply(frame).unwrap();
    }
    let reading = tokio::spawn(async move {
        let (_sender, mut receiver) = connection.split();
        let mut count = 0;
        loop {
            match receiver.receive(PATIENCE).await {
                Ok(frames) => count += frames.len(),
                Err(error) => return (count, error),
            }
        }
    });
    assert!(stage.server.shutdown(PATIENCE).await);
    let (count, error) = within(reading).await.unwrap();
    assert_eq!(count, COUNT);
    assert_eq!(
        error,
        ReceiveError::Closed {
            reason: CloseReason::ShuttingDown
        }
    );
    while !matches!(stage.events.recv().await, Some(Event::Closed(_)) | None) {}
}
