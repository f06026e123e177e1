//! Nodes with a runtime each, so that one can be killed without a word, and a raw peer that obeys nothing.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use selfchain_types::Hash;
use selfchain_types::crypto::SigningKey;
use tokio::runtime::{Builder, Runtime};

use crate::links::control::{self, Control, Hello, HelloId};
use crate::links::{Event, Lane, LinkClose, LinkLimits, Links, Options, Peer, tls};
use crate::tls::{PinnedServerKey, certified};

/// No event of a test takes this long on a machine that is merely busy.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) const CHAIN: Hash = Hash([9; 32]);

pub(super) fn any_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

pub(super) fn key(number: u32) -> SigningKey {
    SigningKey::from_seed(&[number as u8 + 1; 32])
}

pub(super) fn raw_key(number: u32) -> [u8; 32] {
    key(number).public().as_bytes().try_into().unwrap()
}

pub(super) fn options(limits: LinkLimits) -> Options {
    Options {
        listen: any_port(),
        chain: CHAIN,
        key_log_path: None,
        seed: 1,
        limits,
        wake: None,
    }
}

pub(super) struct Node {
    pub(super) number: u32,
    pub(super) links: Links,
    pub(super) runtime: Runtime,
}

impl Node {
    /// Knows nobody yet.
    pub(super) fn start(number: u32, options: Options) -> Self {
        Self::start_with(number, &key(number), options)
    }

    /// With a key of its own choice.
    pub(super) fn start_with(number: u32, key: &SigningKey, options: Options) -> Self {
        let runtime = runtime();
        let links = Links::start(options, key, &[], runtime.handle()).unwrap();
        Self {
            number,
            links,
            runtime,
        }
    }

    pub(super) fn peer(&self) -> Peer {
        peer(self.number, self.links.address())
    }

    pub(super) fn next(&self) -> Event {
        self.links.next(PATIENCE).expect("nothing happened for a minute")
    }

    /// The next event must be this one.
    pub(super) fn expect(&self, want: &Event) {
        assert_eq!(self.next(), *want, "at node {}", self.number);
    }

    pub(super) fn expect_frame(&self, from: u32, lane: Lane, bytes: &'static [u8]) {
        self.expect(&Event::Received {
            from,
            lane,
            bytes: Bytes::from_static(bytes),
        });
    }

    /// Passes over events until there is a connection with `from`.
    pub(super) fn wait_up(&self, from: u32) {
        while self.next() != (Event::Up { from }) {}
    }

    /// The next events must be so many connections with different peers.
    pub(super) fn expect_ups(&self, count: usize) {
        let ups: BTreeSet<u32> = (0..count)
            .map(|_| match self.next() {
                Event::Up { from } => from,
                other => panic!("{other:?} at node {}", self.number),
            })
            .collect();
        assert_eq!(ups.len(), count);
    }

    /// Passes over events until the connection with `from` is gone.
    pub(super) fn wait_down(&self, from: u32) -> LinkClose {
        loop {
            match self.next() {
                Event::Down { from: peer, why } if peer == from => return why,
                _ => {}
            }
        }
    }

    pub(super) fn last(&self, number: u32) -> Option<LinkClose> {
        let status = self.links.status();
        status.iter().find(|peer| peer.number == number).unwrap().last
    }

    /// Cuts it off in the middle of whatever it does.
    pub(super) fn kill(self) -> SocketAddr {
        let address = self.links.address();
        // Its threads are gone before the links are dropped, so that nothing says goodbye.
        self.runtime.shutdown_timeout(PATIENCE);
        address
    }

    /// Comes back at the address of one that was killed, once the system has let go of it.
    pub(super) fn restart(number: u32, listen: SocketAddr, limits: &LinkLimits, peers: &[Peer]) -> Self {
        let until = Instant::now() + PATIENCE;
        let runtime = runtime();
        loop {
            let options = Options {
                listen,
                ..options(limits.clone())
            };
            match Links::start(options, &key(number), peers, runtime.handle()) {
                Ok(links) => {
                    return Self {
                        number,
                        links,
                        runtime,
                    };
                }
                Err(error) => assert!(Instant::now() < until, "{error}"),
            }
            std::thread::yield_now();
        }
    }
}

/// One thread: what runs there runs one after the other.
fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

pub(super) fn peer(number: u32, address: SocketAddr) -> Peer {
    Peer {
        number,
        keys: vec![key(number).public().clone()],
        address: Some(address),
    }
}

/// Nodes 0 to `count` − 1 that know each other, and themselves. Returns when all are connected.
pub(super) fn mesh(count: u32, limits: &LinkLimits) -> Vec<Node> {
    let nodes: Vec<Node> = (0..count)
        .map(|number| Node::start(number, options(limits.clone())))
        .collect();
    let peers: Vec<Peer> = nodes.iter().map(Node::peer).collect();
    for node in &nodes {
        node.links.set_peers(&peers).unwrap();
    }
    for node in &nodes {
        node.expect_ups(count as usize - 1);
    }
    nodes
}

/// Waits for a counter or another fact without an event of its own.
pub(super) fn until(fact: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !fact() {
        assert!(Instant::now() < until, "nothing happened for a minute");
        std::thread::yield_now();
    }
}

/// A peer of raw QUIC with the key of `number`, towards `node`.
pub(super) struct Raw {
    pub(super) runtime: Runtime,
    pub(super) quic: Connection,
}

impl Raw {
    pub(super) fn connect(number: u32, node: &Node) -> Self {
        Self::connect_as(&key(number), raw_key(node.number), node)
    }

    /// With a key of its own choice, to a node whose key or half is `pinned`.
    pub(super) fn connect_as(own: &SigningKey, pinned: [u8; 32], node: &Node) -> Self {
        let seed = own.seed();
        let own = Arc::new(AlwaysResolvesClientRawPublicKeys::new(certified(&seed).unwrap()));
        let pinned = Arc::new(PinnedServerKey::new(pinned));
        Self::connect_with(tls::client_config(own, pinned).unwrap(), node).unwrap()
    }

    pub(super) fn connect_with(crypto: QuicClientConfig, node: &Node) -> Result<Self, ConnectionError> {
        let runtime = runtime();
        let quic = runtime.block_on(async {
            let endpoint = Endpoint::client(any_port()).unwrap();
            let config = quinn::ClientConfig::new(Arc::new(crypto));
            endpoint
                .connect_with(config, node.links.address(), "x")
                .unwrap()
                .await
        })?;
        Ok(Self { runtime, quic })
    }

    /// A connection that stands. `sequence` must grow.
    pub(super) fn stand(number: u32, sequence: u64, node: &Node) -> (Self, SendStream, RecvStream) {
        let raw = Self::connect(number, node);
        let id = HelloId { run: 7, sequence };
        let hello = Hello {
            chain: CHAIN.0,
            id,
            proof: None,
        };
        let (send, recv) = raw.runtime.block_on(async {
            let (mut send, mut recv) = raw.quic.open_bi().await.unwrap();
            control::write(&mut send, &Control::Hello(hello)).await.unwrap();
            assert_eq!(control::read_hello(&mut recv).await.unwrap().chain, CHAIN.0);
            (send, recv)
        });
        (raw, send, recv)
    }

    /// Opens a stream of one direction and writes `bytes`; it stays open.
    pub(super) fn write_uni(&self, bytes: &[u8]) -> SendStream {
        self.runtime.block_on(async {
            let mut send = self.quic.open_uni().await.unwrap();
            // The other end may refuse in the middle of it: how the connection ends tells.
            drop(send.write_all(bytes).await);
            send
        })
    }

    /// Waits for its end.
    pub(super) fn end(&self) -> ConnectionError {
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, self.quic.closed()).await.unwrap() })
    }

    /// How the other end closed it: the reason's code and the text.
    pub(super) fn closed(&self) -> (u64, String) {
        match self.end() {
            ConnectionError::ApplicationClosed(close) => (
                close.error_code.into_inner(),
                String::from_utf8(close.reason.to_vec()).unwrap(),
            ),
            other => panic!("{other}"),
        }
    }

    pub(super) fn expect_closed(&self, why: LinkClose) {
        assert_eq!(self.closed(), (u64::from(why.code()), why.name().to_owned()));
    }
}

/// A frame with its prefix.
pub(super) fn framed(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_le_bytes(), bytes].concat()
}
