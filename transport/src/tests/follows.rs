//! Subscriptions: all rows, in order, at the reader's pace.

use std::sync::{Arc, Mutex};

use selfchain_types::seam::transport::{Cursor, CursorStep, Limit};

use super::stage::*;
use crate::client::Subscription;
use crate::limits::Limits;

/// Bytes of one row of the test's log.
const ROW_BYTES: usize = 1_000;

/// A log that grows, and how far each cursor has got.
#[derive(Clone, Default)]
struct Log {
    rows: Arc<Mutex<u32>>,
    pulled: Arc<Mutex<u32>>,
    last: u32,
}

struct LogCursor {
    log: Log,
    next: u32,
}

impl Cursor for LogCursor {
    fn next(&mut self, bytes_max: usize) -> CursorStep {
        let tip = *self.log.rows.lock().unwrap();
        if self.next == self.log.last {
            return CursorStep::End(Some(b"the end".to_vec()));
        }
        if self.next == tip {
            return CursorStep::Idle;
        }
        let count = u32::try_from((bytes_max / ROW_BYTES).max(1)).unwrap();
        let end = tip.min(self.next + count);
        let rows = (self.next..end).map(row).collect();
        self.next = end;
        *self.log.pulled.lock().unwrap() = end;
        CursorStep::Rows(rows)
    }
}

fn row(n: u32) -> Vec<u8> {
    n.to_le_bytes().repeat(ROW_BYTES / 4)
}

fn stage_of(log: &Log, limits: Limits) -> Stage {
    let log = log.clone();
    Stage::at(any_port(), limits, echo, move |request| match request {
        b"from 0" => Ok(Box::new(LogCursor {
            log: log.clone(),
            next: 0,
        })),
        _ => Err([b"what is ", request].concat()),
    })
}

async fn read_to_end(mut subscription: Subscription, mut next: u32, last: u32) {
    loop {
        let rows = subscription.next(PATIENCE).await.unwrap().unwrap();
        for bytes in rows {
            if next == last {
                assert_eq!(bytes, b"the end");
                assert_eq!(subscription.next(PATIENCE).await.unwrap(), None);
                return;
            }
            assert!(bytes == row(next), "row {next}");
            next += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_arrives_in_order_from_the_past_and_live() {
    const LAST: u32 = 20_000;
    let log = Log {
        last: LAST,
        ..Log::default()
    };
    *log.rows.lock().unwrap() = 5_000;
    let stage = stage_of(&log, Limits::default());
    let connection = stage.connect().await;
    let subscription = connection.subscribe(b"from 0", PATIENCE).await.unwrap();
    let reading = tokio::spawn(read_to_end(subscription, 0, LAST));
    let tip = stage.server.tip();
    let growing = std::thread::spawn(move || {
        for rows in 5_000..=LAST {
            *log.rows.lock().unwrap() = rows;
            tip.moved();
        }
    });
    within(reading).await.unwrap();
    growing.join().unwrap();
    until(|| stage.server.metrics().subscriptions_open.get() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_subscriber_is_not_pulled_for_and_slows_nobody() {
    const LAST: u32 = 50_000;
    let log = Log {
        last: LAST,
        ..Log::default()
    };
    *log.rows.lock().unwrap() = LAST;
    let stage = stage_of(&log, Limits::default());
    let slow = stage.connect().await;
    let mut paused = slow.subscribe(b"from 0", PATIENCE).await.unwrap();
    let first = paused.next(PATIENCE).await.unwrap().unwrap();

    let mut other = stage.connect().await;
    for n in 0..100_u32 {
        assert_eq!(ask(&mut other, &n.to_le_bytes()).await, n.to_le_bytes());
    }
    // 50 MB are there; the reader's and our window and one write are what may be under way.
    let windows = (1 << 20) + (2 << 20) + (256 << 10) + (1 << 20);
    let pulled = *log.pulled.lock().unwrap() as usize * ROW_BYTES;
    assert!(
        pulled < windows,
        "{pulled} bytes pulled for a reader that does not read"
    );

    let fast = other.subscribe(b"from 0", PATIENCE).await.unwrap();
    within(read_to_end(fast, 0, LAST)).await;
    for (at, bytes) in first.iter().enumerate() {
        assert!(*bytes == row(u32::try_from(at).unwrap()));
    }
    within(read_to_end(paused, u32::try_from(first.len()).unwrap(), LAST)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_subscription_says_why_and_ends() {
    let log = Log {
        last: 10,
        ..Log::default()
    };
    let stage = stage_of(
        &log,
        Limits {
            subscriptions_max: 1,
            ..Limits::default()
        },
    );
    let connection = stage.connect().await;
    let mut unknown = connection.subscribe(b"nonsense", PATIENCE).await.unwrap();
    assert_eq!(
        unknown.next(PATIENCE).await.unwrap().unwrap(),
        [b"what is nonsense".to_vec()]
    );
    assert_eq!(unknown.next(PATIENCE).await.unwrap(), None);

    until(|| stage.server.metrics().subscriptions_open.get() == 0).await;
    let open = connection.subscribe(b"from 0", PATIENCE).await.unwrap();
    until(|| stage.server.metrics().subscriptions_open.get() == 1).await;
    let mut refused = connection.subscribe(b"from 0", PATIENCE).await.unwrap();
    assert_eq!(
        refused.next(PATIENCE).await.unwrap().unwrap(),
        [b"refused subscriptions 1000 from 0".to_vec()]
    );
    assert_eq!(refused.next(PATIENCE).await.unwrap(), None);
    assert_eq!(stage.server.metrics().refusals(Limit::Subscriptions), 1);
    // Letting go of an idle subscription frees its place without a row being written.
    drop(open);
    until(|| stage.server.metrics().subscriptions_open.get() == 0).await;
}
