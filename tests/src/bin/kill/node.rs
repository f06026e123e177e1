//! The node that is killed, in a process of its own.

use crate::Checked;
use selfchain::client::{Client, ClientOptions};
use selfchain::drive::PipelineConfig;
use selfchain::node::{Node, NodeConfig, ScoringConfig};
use selfchain::storage::{FileDisk, IndexConfig, LogConfig, SnapshotConfig};
use selfchain::store::StoreConfig;
use selfchain::telemetry::Metrics;
use selfchain::types::crypto::SigningKey;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

/// Small segments, runs and snapshots, so that kills fall into sealing, merging and snapshotting too.
fn config() -> NodeConfig {
    let reserve_bytes = 16 << 20;
    NodeConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        limits: selfchain_transport::Limits::default(),
        pipeline: PipelineConfig {
            block_interval: Duration::from_millis(1),
            snapshot_every: 37,
            ..PipelineConfig::default()
        },
        store: StoreConfig {
            log: LogConfig {
                segment_bytes: 256 << 10,
                reserve_bytes,
                ..LogConfig::default()
            },
            index: IndexConfig {
                buffer_heights_max: 32,
                reserve_bytes,
                ..IndexConfig::default()
            },
            snapshots: SnapshotConfig {
                reserve_bytes,
                ..SnapshotConfig::default()
            },
        },
        scoring: ScoringConfig::default(),
        validator: Default::default(),
        vault: None,
        keep_for: Vec::new(),
        key_log_path: None,
    }
}

pub(crate) fn node_key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

/// Runs a node on a directory until standard input ends, then drains it.
pub(crate) fn serve(directory: &Path) -> Checked<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let disk = Arc::new(FileDisk::open(directory)?);
    let metrics = Arc::new(Metrics::default());
    let node = Node::start(
        disk,
        &node_key(),
        &config(),
        metrics,
        runtime.handle(),
        &mut |_| {},
    )?;
    writeln!(std::io::stdout(), "{}", node.address())?;
    let ended = std::io::stdin().lines().next();
    if let Some(said) = ended {
        return Err(format!("nothing is to be said to a node: {said:?}").into());
    }
    Ok(runtime.block_on(node.stop())?)
}

/// A node in a process of its own. Dropping it kills it.
pub(crate) struct NodeProcess {
    pub(crate) child: Child,
    /// Closed, it asks the node to stop.
    stdin: Option<ChildStdin>,
    pub(crate) address: Receiver<SocketAddr>,
}

impl NodeProcess {
    pub(crate) fn spawn(directory: &Path) -> Checked<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--node")
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (to, address) = sync_channel(1);
        let stdout = child.stdout.take().ok_or("no standard output")?;
        std::thread::spawn(move || {
            let line = BufReader::new(stdout).lines().next().and_then(Result::ok);
            if let Some(found) = line.and_then(|line| line.parse().ok()) {
                // Whoever spawned it may have killed it meanwhile, and wait no more.
                to.try_send(found).unwrap_or_default();
            }
        });
        Ok(Self {
            stdin: child.stdin.take(),
            child,
            address,
        })
    }

    pub(crate) fn address(&self) -> Checked<SocketAddr> {
        Ok(self
            .address
            .recv_timeout(START_MAX)
            .map_err(|_| "the node did not start")?)
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) -> Checked<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    pub(crate) fn stop(mut self) -> Checked<()> {
        drop(self.stdin.take());
        let status = self.child.wait()?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("the node stopped with {status}").into())
        }
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("kill: the node is not gone: {error}");
        }
    }
}

pub(crate) fn connect(address: SocketAddr) -> Checked<Client> {
    let deadline = Duration::from_secs(60);
    Ok(Client::connect(&ClientOptions {
        deadline,
        ..ClientOptions::new(address, server_key()?)
    })?)
}

pub(crate) fn server_key() -> Checked<[u8; 32]> {
    Ok(node_key().public().as_bytes().try_into()?)
}

const START_MAX: Duration = Duration::from_secs(120);
