//! A cluster: every validator of one new chain in this process, on ports of this machine alone. For demos and
//! benchmarks; each is the node that `selfchain run` starts.

use crate::config::PeerAddress;
use crate::hindrance::Hindrance;
use crate::node::{Node, NodeConfig, NodeError};
use crate::standing::{EPOCH_BLOCKS, found};
use crate::store::Store;
use crate::telemetry::Metrics;
use core::time::Duration;
use selfchain_engine::commit::Tip;
use selfchain_storage::Disk;
use selfchain_types::Genesis;
use selfchain_types::crypto::SigningKey;
use selfchain_types::genesis::Plane;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Instant;
use thiserror::Error;
use tokio::runtime::Handle;

/// A validator to be: its key, and where it keeps its data.
pub struct Seat {
    /// Its key.
    pub key: SigningKey,
    /// An empty directory.
    pub disk: Arc<dyn Disk>,
}

/// Why a cluster did not start.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// No port is free.
    #[error("no port of this machine is free")]
    Port(#[source] io::Error),
    /// A node.
    #[error("validator {position} did not start")]
    Node {
        /// Which.
        position: usize,
        /// Why.
        #[source]
        source: Box<NodeError>,
    },
}

/// The running validators, in the order of their positions.
pub struct Cluster {
    nodes: Vec<Node>,
}

/// Own blocks that each validator of a cluster has reveals for: more than a demo or a benchmark decides.
const REVEALS: u32 = 1 << 18;

/// Lets these keys, all of one power, decide by `plane` instead of the one key that a chain begins with; one alone
/// orders alone.
pub fn among(genesis: Genesis, plane: Plane, keys: &[SigningKey]) -> Genesis {
    if keys.len() < 2 {
        return genesis;
    }
    found(genesis, plane, keys, EPOCH_BLOCKS, REVEALS)
}

/// How often the validators are asked whether they stand at one height.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Cluster {
    /// Makes `genesis`, which names these validators, on every disk, and starts a node on each.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn start(
        seats: Vec<Seat>,
        genesis: &Genesis,
        config: &NodeConfig,
        runtime: &Handle,
    ) -> Result<Self, ClusterError> {
        Self::start_hindered(seats, genesis, config, runtime, &|_| Some(Hindrance::None))
    }

    /// As [`Self::start`], with what each validator does badly, by position; `None`: it is never started.
    ///
    /// # Errors
    /// [`ClusterError`].
    pub fn start_hindered(
        seats: Vec<Seat>,
        genesis: &Genesis,
        config: &NodeConfig,
        runtime: &Handle,
        hindered: &dyn Fn(usize) -> Option<Hindrance>,
    ) -> Result<Self, ClusterError> {
        let addresses = free_addresses(seats.len()).map_err(ClusterError::Port)?;
        let all: Vec<PeerAddress> = seats
            .iter()
            .zip(&addresses)
            .map(|(seat, address)| PeerAddress::of(seat.key.public(), *address))
            .collect();
        let mut nodes = Vec::with_capacity(seats.len());
        for (position, (seat, address)) in seats.into_iter().zip(addresses).enumerate() {
            let failed = |source: NodeError| ClusterError::Node {
                position,
                source: Box::new(source),
            };
            Store::create(&*seat.disk, genesis).map_err(|error| failed(error.into()))?;
            let mut config = NodeConfig {
                listen: (Ipv4Addr::LOCALHOST, 0).into(),
                ..config.clone()
            };
            config.validator.listen = Some(address);
            config.validator.peers.clone_from(&all);
            let Some(hindrance) = hindered(position) else {
                continue;
            };
            config.validator.hindrance = hindrance;
            let metrics = Arc::new(Metrics::default());
            let node = Node::start(seat.disk, &seat.key, &config, metrics, runtime, &mut |_| {});
            nodes.push(node.map_err(failed)?);
        }
        Ok(Self { nodes })
    }

    /// The validators that run, in the order of their positions.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Waits until all stand at one height, at most for `timeout`. Returns their newest durable blocks.
    pub fn settle(&self, timeout: Duration) -> Vec<Tip> {
        let began = Instant::now();
        loop {
            let tips: Vec<Tip> = self.nodes.iter().map(Node::tip).collect();
            let is_settled = tips.windows(2).all(|pair| pair[0].hash == pair[1].hash);
            let is_stopped = self.nodes.iter().any(|node| node.fault().is_some());
            if is_settled || is_stopped || began.elapsed() > timeout {
                return tips;
            }
            thread::park_timeout(LOOK_EVERY);
        }
    }

    /// Stops every one.
    ///
    /// # Errors
    /// What had stopped one before.
    pub async fn stop(self) -> Result<(), NodeError> {
        let mut ended = Ok(());
        for node in self.nodes {
            ended = ended.and(node.stop().await);
        }
        ended
    }
}

/// Addresses that nobody listens on now.
fn free_addresses(count: usize) -> io::Result<Vec<SocketAddr>> {
    // All are held until each has one, so that no two are the same.
    let sockets: Vec<UdpSocket> = (0..count)
        .map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<io::Result<_>>()?;
    sockets.iter().map(UdpSocket::local_addr).collect()
}
