//! A server with a scripted service, clients for it, and waits that end in a panic instead of never.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use selfchain_types::seam::transport::{CloseReason, Cursor, Overload, Peer, PeerId, Service};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::client::{Client, ClientConfig, Connection};
use crate::limits::Limits;
use crate::quic::{Server, ServerConfig};

/// No event of a test takes this long on a machine that is merely busy.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) const SERVER_SEED: [u8; 32] = [3; 32];

const EVENTS_MAX: usize = 1_000_000;

/// What the service was told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    Received { peer: PeerId, frames: usize },
    Closed(PeerId),
}

type OnReceive = dyn Fn(&Arc<dyn Peer>, Vec<Vec<u8>>) + Send + Sync;
type OnSubscribe = dyn Fn(&[u8]) -> Result<Box<dyn Cursor>, Vec<u8>> + Send + Sync;

pub(super) struct Scripted {
    on_receive: Box<OnReceive>,
    on_subscribe: Box<OnSubscribe>,
    events: mpsc::Sender<Event>,
}

impl Scripted {
    /// Answers nothing.
    pub(super) fn silent(events: mpsc::Sender<Event>) -> Self {
        Self {
            on_receive: Box::new(|_, _| {}),
            on_subscribe: Box::new(|_| Err(Vec::new())),
            events,
        }
    }
}

impl Service for Scripted {
    fn receive(&self, peer: &Arc<dyn Peer>, frames: Vec<Vec<u8>>) {
        let event = Event::Received {
            peer: peer.id(),
            frames: frames.len(),
        };
        (self.on_receive)(peer, frames);
        drop(self.events.try_send(event));
    }

    fn refuse(&self, frame: &[u8], why: Overload) -> Option<Vec<u8>> {
        let start = String::from_utf8_lossy(&frame[..frame.len().min(8)]).into_owned();
        Some(format!("refused {} {} {start}", why.limit, why.retry_after_ms).into_bytes())
    }

    fn closed(&self, peer: PeerId) {
        // Who no longer listens has seen enough.
        drop(self.events.try_send(Event::Closed(peer)));
    }

    fn subscribe(&self, _peer: &Arc<dyn Peer>, request: &[u8]) -> Result<Box<dyn Cursor>, Vec<u8>> {
        (self.on_subscribe)(request)
    }
}

/// Answers every request with itself.
pub(super) fn echo(peer: &Arc<dyn Peer>, frames: Vec<Vec<u8>>) {
    for frame in frames {
        if peer.reply(frame).is_err() {
            // A peer that is gone needs no answer, and the rest would fail the same.
            return;
        }
    }
}

pub(super) struct Stage {
    pub(super) server: Server,
    pub(super) events: mpsc::Receiver<Event>,
}

impl Stage {
    pub(super) fn echoing(limits: Limits) -> Self {
        Self::new(limits, echo)
    }

    pub(super) fn new(
        limits: Limits,
        on_receive: impl Fn(&Arc<dyn Peer>, Vec<Vec<u8>>) + Send + Sync + 'static,
    ) -> Self {
        Self::at(any_port(), limits, on_receive, |_| {
            Err(b"no subscriptions".to_vec())
        })
    }

    pub(super) fn at(
        listen: SocketAddr,
        limits: Limits,
        on_receive: impl Fn(&Arc<dyn Peer>, Vec<Vec<u8>>) + Send + Sync + 'static,
        on_subscribe: impl Fn(&[u8]) -> Result<Box<dyn Cursor>, Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let service = Scripted {
            on_receive: Box::new(on_receive),
            on_subscribe: Box::new(on_subscribe),
            events: sender,
        };
        let config = ServerConfig {
            listen,
            key_seed: SERVER_SEED,
            key_log_path: None,
            limits,
        };
        let server = Server::start(&config, Arc::new(service), &Handle::current()).unwrap();
        Self { server, events }
    }

    pub(super) fn config(&self) -> ClientConfig {
        ClientConfig {
            connect_timeout: PATIENCE,
            ..ClientConfig::new(self.server.address(), self.server.public_key())
        }
    }

    pub(super) async fn connect(&self) -> Connection {
        Client::new(self.config()).unwrap().connect().await.unwrap()
    }

    /// The next end of a connection that the service is told of.
    pub(super) async fn next_closed(&mut self) -> PeerId {
        within(async {
            loop {
                if let Event::Closed(peer) = self.events.recv().await.unwrap() {
                    return peer;
                }
            }
        })
        .await
    }

    /// Waits for a connection's end and says how many ended for `reason` so far.
    pub(super) async fn closed_for(&mut self, reason: CloseReason) -> u64 {
        self.next_closed().await;
        self.server.metrics().closed(reason)
    }
}

pub(super) fn any_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("nothing happened for a minute")
}

/// Waits for a counter or another fact without an event of its own.
pub(super) async fn until(fact: impl Fn() -> bool) {
    within(async {
        while !fact() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Sends one frame and takes one reply.
pub(super) async fn ask(connection: &mut Connection, frame: &[u8]) -> Vec<u8> {
    connection.send(frame.to_vec(), PATIENCE).await.unwrap();
    let mut replies = connection.receive(PATIENCE).await.unwrap();
    assert_eq!(replies.len(), 1);
    replies.swap_remove(0)
}

/// A place where a service leaves the peers it met.
pub(super) type Peers = Arc<Mutex<Vec<Arc<dyn Peer>>>>;
