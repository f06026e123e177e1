//! What one peer does is borne by that peer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use selfchain_types::seam::transport::{CloseReason, Limit, ReplyError};

use super::stage::*;
use crate::client::ReceiveError;
use crate::limits::{Limits, Rate};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_read_is_closed_and_others_go_on() {
    let outcome = Arc::new(Mutex::new(None));
    let told = Arc::clone(&outcome);
    let limits = Limits {
        reply_queue_bytes_max: 1 << 20,
        ..Limits::default()
    };
    let mut stage = Stage::new(limits, move |peer, frames| {
        if frames[0] != b"pour" {
            return echo(peer, frames);
        }
        // As the commit thread would: replies as fast as it can, from another thread.
        let (peer, told) = (Arc::clone(peer), Arc::clone(&told));
        std::thread::spawn(move || {
            loop {
                if let Err(error) = peer.notify(vec![0; 10_000]) {
                    *told.lock().unwrap() = Some(error);
                    return;
                }
            }
        });
    });
    let mut honest = stage.connect().await;
    let slow = stage.connect().await;
    slow.send(b"pour".to_vec(), PATIENCE).await.unwrap();
    for n in 0..100_u32 {
        assert_eq!(ask(&mut honest, &n.to_le_bytes()).await, n.to_le_bytes());
    }
    assert_eq!(stage.closed_for(CloseReason::SlowReader).await, 1);
    until(|| outcome.lock().unwrap().is_some()).await;
    let reason = CloseReason::SlowReader;
    assert_eq!(*outcome.lock().unwrap(), Some(ReplyError::Closed { reason }));
    assert_eq!(ask(&mut honest, b"after").await, b"after");

    let (_sender, mut receiver) = slow.split();
    let end = within(async {
        loop {
            if let Err(error) = receiver.receive(PATIENCE).await {
                return error;
            }
        }
    })
    .await;
    assert_eq!(end, ReceiveError::Closed { reason });
    until(|| stage.server.metrics().reply_queue_bytes.get() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_refused_with_retry_after_and_an_honest_peer_is_served() {
    const FLOOD: usize = 20_000;
    let limits = Limits {
        connection_frames: Rate {
            per_s: 1_000,
            burst: 1_000,
        },
        ..Limits::default()
    };
    let stage = Stage::echoing(limits);
    let mut honest = stage.connect().await;
    let flood = stage.connect().await;
    let (sender, mut receiver) = flood.split();
    let frames = vec![b"flood".as_slice(); FLOOD];
    sender.send_many(&frames, PATIENCE).await.unwrap();
    for n in 0..200_u32 {
        assert_eq!(ask(&mut honest, &n.to_le_bytes()).await, n.to_le_bytes());
    }
    let (mut served, mut refused) = (0, 0);
    while served + refused < FLOOD {
        for reply in receiver.receive(PATIENCE).await.unwrap() {
            if reply == b"flood" {
                served += 1;
                continue;
            }
            let words = String::from_utf8(reply).unwrap();
            let words: Vec<&str> = words.split(' ').collect();
            assert_eq!(
                (words[0], words[1], words[3]),
                ("refused", "connection_frames", "flood")
            );
            let retry_after_ms: u32 = words[2].parse().unwrap();
            assert!((1..=1_000).contains(&retry_after_ms), "{retry_after_ms} ms");
            refused += 1;
        }
    }
    assert!(served >= 1_000, "the burst is served: {served}");
    assert!(refused > 0);
    assert_eq!(
        stage.server.metrics().refusals(Limit::ConnectionFrames),
        refused as u64
    );
    assert_eq!(stage.server.metrics().refusals(Limit::IdentityFrames), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_connections_of_one_identity_share_its_rates() {
    let limits = Limits {
        identity_bytes: Rate {
            per_s: 1,
            burst: 1_000,
        },
        ..Limits::default()
    };
    let stage = Stage::echoing(limits);
    let mut first = stage.connect().await;
    let mut second = stage.connect().await;
    assert_eq!(ask(&mut first, &[7; 900]).await, [7; 900]);
    let refused = ask(&mut second, &[7; 900]).await;
    assert!(refused.starts_with(b"refused identity_bytes "));
    assert_eq!(stage.server.metrics().refusals(Limit::IdentityBytes), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_goes_on_after_too_many_refusals_is_closed() {
    let limits = Limits {
        connection_frames: Rate { per_s: 1, burst: 1 },
        refusals: Rate { per_s: 1, burst: 100 },
        ..Limits::default()
    };
    let mut stage = Stage::echoing(limits);
    let (sender, mut receiver) = stage.connect().await.split();
    sender
        .send_many(&vec![b"flood".as_slice(); 1_000], PATIENCE)
        .await
        .unwrap();
    assert_eq!(stage.closed_for(CloseReason::Abuse).await, 1);
    let (mut replies, end) = (0, loop_until_end(&mut receiver).await);
    replies += end.0;
    assert!(
        replies >= 100,
        "what was refused before the close is still told: {replies}"
    );
    assert_eq!(
        end.1,
        ReceiveError::Closed {
            reason: CloseReason::Abuse
        }
    );
}

async fn loop_until_end(receiver: &mut crate::client::Receiver) -> (usize, ReceiveError) {
    let mut count = 0;
    loop {
        match receiver.receive(PATIENCE).await {
            Ok(frames) => count += frames.len(),
            Err(error) => return (count, error),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_with_its_share_in_flight_is_not_read_and_others_are() {
    const COUNT: usize = 20_000;
    let held: Peers = Arc::default();
    let holder = Arc::clone(&held);
    let received = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&received);
    let limits = Limits {
        requests_in_flight_max: 100,
        ..Limits::default()
    };
    let stage = Stage::new(limits, move |peer, frames| {
        if frames[0].len() < 100 {
            return echo(peer, frames);
        }
        *counter.lock().unwrap() += frames.len();
        holder.lock().unwrap().push(Arc::clone(peer));
    });
    let flood = stage.connect().await;
    let frame = [1; 1_000];
    let sender = flood.sender();
    let sending = tokio::spawn(async move {
        sender
            .send_many(&vec![frame.as_slice(); COUNT], PATIENCE)
            .await
            .unwrap();
    });
    until(|| stage.server.metrics().reads_paused.get() > 0).await;
    let mut honest = stage.connect().await;
    for n in 0..100_u32 {
        assert_eq!(ask(&mut honest, &n.to_le_bytes()).await, n.to_le_bytes());
    }
    let paused_at = *received.lock().unwrap();
    // At most one read over the limit: 64 segments of a datagram each.
    assert!(paused_at <= 100 + 64 * 9, "{paused_at} in flight");
    assert!(
        !sending.is_finished(),
        "20 MB are more than all queues on the way hold"
    );

    // Answers let it go on, to the last frame.
    let peer = Arc::clone(&held.lock().unwrap()[0]);
    let mut released = 0;
    within(async {
        while released < COUNT {
            let arrived = *received.lock().unwrap();
            peer.release(arrived - released);
            released = arrived;
            tokio::task::yield_now().await;
        }
    })
    .await;
    within(sending).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_service_harms_only_the_peer_it_failed_on() {
    let mut stage = Stage::new(Limits::default(), |peer, frames| {
        assert!(frames[0] != b"poison", "this panic is part of the test");
        echo(peer, frames);
    });
    let mut honest = stage.connect().await;
    let mut poisoner = stage.connect().await;
    poisoner.send(b"poison".to_vec(), PATIENCE).await.unwrap();
    let end = poisoner.receive(PATIENCE).await;
    assert_eq!(
        end,
        Err(ReceiveError::Closed {
            reason: CloseReason::ServiceFailed
        })
    );
    assert_eq!(stage.closed_for(CloseReason::ServiceFailed).await, 1);
    assert_eq!(ask(&mut honest, b"fine").await, b"fine");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_may_close_a_peer_after_its_last_word() {
    let mut stage = Stage::new(Limits::default(), |peer, mut frames| {
        peer.reply(frames.swap_remove(0)).unwrap();
        peer.close(CloseReason::ServiceRefused);
        peer.close(CloseReason::Done);
        let late = peer.notify(b"too late".to_vec());
        assert_eq!(
            late,
            Err(ReplyError::Closed {
                reason: CloseReason::ServiceRefused
            })
        );
    });
    let mut connection = stage.connect().await;
    assert_eq!(ask(&mut connection, b"bye").await, b"bye");
    let end = connection.receive(PATIENCE).await;
    assert_eq!(
        end,
        Err(ReceiveError::Closed {
            reason: CloseReason::ServiceRefused
        })
    );
    assert_eq!(stage.closed_for(CloseReason::ServiceRefused).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_large_frames_share_a_budget_and_still_finish() {
    // Room for one large frame at a time, and four that want to grow.
    let limits = Limits {
        assembly_bytes_max: 1 << 20,
        frame_timeout: PATIENCE,
        ..Limits::default()
    };
    let stage = Stage::echoing(limits);
    let mut tasks = tokio::task::JoinSet::new();
    for fill in 0..4_u8 {
        let mut connection = stage.connect().await;
        tasks.spawn(async move {
            let frame = vec![fill; 400_000];
            for _ in 0..3 {
                assert!(ask(&mut connection, &frame).await == frame);
            }
        });
    }
    within(async {
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    })
    .await;
    assert_eq!(stage.server.metrics().assembly_bytes.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_reader_is_closed_even_when_its_queue_has_room() {
    let limits = Limits {
        reply_stall_timeout: Duration::from_millis(100),
        ..Limits::default()
    };
    let mut stage = Stage::new(limits, |peer, _frames| {
        // More than QUIC's windows, less than the queue.
        for _ in 0..300 {
            if peer.notify(vec![0; 64 << 10]).is_err() {
                return;
            }
        }
    });
    let slow = stage.connect().await;
    slow.send(b"pour".to_vec(), PATIENCE).await.unwrap();
    assert_eq!(stage.closed_for(CloseReason::SlowReader).await, 1);
}
