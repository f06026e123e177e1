//! `run`: starts the node and the HTTP port, says where they listen, and drains when told to stop.

use super::ai::models_in;
use super::init::open_data;
use super::output::Output;
use super::progress::bar;
use super::settings::Settings;
use super::{ExitStatus, Failure, access, init};
use crate::api::{self, Check, Health, HttpServer, Probe, Topic, Version};
use crate::config::Config;
use crate::keys;
use crate::node::{Node, NodeError};
use crate::overview::Overview;
use crate::telemetry::{
    Metrics, encode, encode_agreement, encode_links, encode_storage, encode_transport, start_log,
};
use crate::validating::Reach;
use selfchain_types::block::PROTOCOL_VERSION;
use serde_json::json;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::{Builder, Handle};
use tokio::signal::unix::{SignalKind, signal};

pub(super) fn run(settings: &Settings, output: Output) -> Result<(), Failure> {
    let config = settings.resolve()?.config;
    start_log(&config.telemetry)
        .map_err(|error| Failure::new(ExitStatus::Failed, "cannot start the log", "").because(&error))?;
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .thread_name("selfchain-net")
        .build();
    let runtime = runtime.map_err(|error| cannot_start().because(&error))?;
    let served = runtime.block_on(serve(&config, settings, output, runtime.handle()));
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

async fn serve(
    config: &Config,
    settings: &Settings,
    output: Output,
    runtime: &Handle,
) -> Result<(), Failure> {
    let mut signals = Signals::new().map_err(|error| cannot_start().because(&error))?;
    loop {
        let node = Arc::new(start(config, settings, output, runtime)?);
        let is_draining = Arc::new(AtomicBool::new(false));
        let http = match config.http.listen {
            None => None,
            Some(listen) => {
                let probe = NodeProbe::new(&node, config, Arc::clone(&is_draining));
                let served = api::serve(listen, &config.http, Arc::new(probe)).await;
                Some(served.map_err(|error| cannot_start().because(&error))?)
            }
        };
        announce(&node, http.as_ref(), output)?;
        let end = signals.wait(&node).await;
        tracing::info!(why = end.name(), "draining");
        is_draining.store(true, Ordering::Release);
        stop(node, http, config).await?;
        if end != End::Joined {
            return Ok(());
        }
    }
}

fn start(config: &Config, settings: &Settings, output: Output, runtime: &Handle) -> Result<Node, Failure> {
    let disk = open_data("cannot start the node", &config.data_dir)?;
    let key = access::read_key(&config.node_key_path())?;
    let key_log = settings
        .env
        .iter()
        .find(|(name, _)| name == "SSLKEYLOGFILE")
        .map(|(_, path)| path.clone());
    let mut node_config = config.node_config(key_log);
    node_config.scoring.models = models_in(&config.data_dir)?;
    node_config.validator.next_key = Some(config.next_key_path());
    node_config.validator.checkpoint_keys = config.checkpoint_key_paths().into();
    let bar = bar("recovering", output.is_json);
    let metrics = Arc::new(Metrics::default());
    let node = Node::start(
        Arc::new(disk),
        &key,
        &node_config,
        metrics,
        runtime,
        &mut |progress| {
            bar.set_length(progress.tip.0);
            bar.set_position(progress.height.0);
        },
    );
    bar.finish_and_clear();
    node.map_err(|error| of_node("cannot start the node", &error))
}

/// Says where it listens: the line that scripts wait for.
fn announce(node: &Node, http: Option<&HttpServer>, output: Output) -> Result<(), Failure> {
    let (ingest, http) = (node.address(), http.map(|http| http.address().to_string()));
    let server_key = keys::hex(&node.public_key());
    let value = json!({
        "ingest": ingest.to_string(),
        "http": http,
        "server_key": server_key.as_str(),
        "chain_id": node.genesis().chain_id().to_hex(),
        "height": node.tip().height.0,
    });
    let text = format!(
        "chain {} at height {}\nlistening on {ingest} (QUIC), {} (HTTP)",
        node.genesis().chain_id(),
        node.tip().height,
        http.as_deref().unwrap_or("off"),
    );
    output.result(&text, &value)
}

async fn stop(node: Arc<Node>, http: Option<HttpServer>, config: &Config) -> Result<(), Failure> {
    let drain = Duration::from_millis(config.pipeline.drain_timeout_ms);
    if let Some(http) = http
        && !http.shutdown(Duration::from_secs(1)).await
    {
        tracing::warn!("some HTTP answers were cut off");
    }
    match tokio::time::timeout(drain, async { sole(node).await.stop().await }).await {
        Ok(stopped) => stopped.map_err(|error| of_node("the node had stopped by itself", &error)),
        Err(_) => {
            let what = format!(
                "not everything was drained within {} ms",
                config.pipeline.drain_timeout_ms
            );
            Err(Failure::new(
                ExitStatus::Failed,
                what,
                "nothing committed is lost; raise pipeline.drain_timeout_ms",
            ))
        }
    }
}

/// The node, once no answer of the HTTP port holds it any more.
async fn sole(mut node: Arc<Node>) -> Node {
    loop {
        match Arc::try_unwrap(node) {
            Ok(node) => return node,
            Err(held) => node = held,
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What ends the node: a signal, or a fault of its own.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn wait(&mut self, node: &Node) -> End {
        let mut look = tokio::time::interval(FAULT_LOOK);
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return End::Terminated,
                _ = self.interrupt.recv() => return End::Interrupted,
                _ = look.tick() => match () {
                    () if node.fault().is_some() => return End::Fault,
                    () if node.joined().is_some() => return End::Joined,
                    () => {}
                },
            }
        }
    }
}

/// Why a node ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Terminated,
    Interrupted,
    Fault,
    /// It fetched a snapshot of the other validators, and begins with it when it starts again.
    Joined,
}

impl End {
    fn name(self) -> &'static str {
        match self {
            Self::Terminated => "SIGTERM",
            Self::Interrupted => "SIGINT",
            Self::Fault => "a fault",
            Self::Joined => "a snapshot is fetched, and the node begins with it",
        }
    }
}

/// How often the running node is asked whether it has stopped by itself.
const FAULT_LOOK: Duration = Duration::from_millis(200);

/// The node, as the HTTP port asks for it. Holds the node only while it answers.
struct NodeProbe {
    node: std::sync::Weak<Node>,
    is_draining: Arc<AtomicBool>,
    reserve_bytes: u64,
    index_lag_max: u64,
    version: Version,
}

impl NodeProbe {
    fn new(node: &Arc<Node>, config: &Config, is_draining: Arc<AtomicBool>) -> Self {
        let genesis = node.genesis();
        Self {
            node: Arc::downgrade(node),
            is_draining,
            reserve_bytes: config.storage.reserve_bytes,
            index_lag_max: config.storage.index_lag_max_blocks,
            version: Version {
                program: env!("CARGO_PKG_VERSION"),
                protocol: PROTOCOL_VERSION,
                chain_name: genesis.name.clone(),
                chain_id: genesis.chain_id().to_hex(),
                plane: genesis.plane.name(),
                server_key: keys::hex(&node.public_key()).to_string(),
            },
        }
    }

    fn log(&self, node: &Node) -> Health {
        match node.fault() {
            Some(fault) => Health::Failed(fault),
            None => Health::Ok(format!("height {}", node.tip().height)),
        }
    }

    fn disk(&self, node: &Node) -> Health {
        match node.storage_metrics().disk_free_bytes.get() {
            0 => Health::Ok("free space not looked at yet".into()),
            free if free < self.reserve_bytes => Health::NotReady(format!(
                "{free} bytes free, {} are kept in reserve",
                self.reserve_bytes
            )),
            free => Health::Ok(format!("{free} bytes free")),
        }
    }

    fn index(&self, node: &Node) -> Health {
        let lag = node.metrics().index_lag_blocks.get();
        if lag > self.index_lag_max {
            Health::NotReady(format!(
                "{lag} blocks behind the log, {} are allowed",
                self.index_lag_max
            ))
        } else {
            Health::Ok(format!("{lag} blocks behind the log"))
        }
    }

    fn intake(&self) -> Health {
        if self.is_draining.load(Ordering::Acquire) {
            Health::NotReady("draining".into())
        } else {
            Health::Ok("open".into())
        }
    }
}

impl Probe for NodeProbe {
    fn checks(&self) -> Vec<Check> {
        let Some(node) = self.node.upgrade() else {
            return vec![Check {
                name: "intake",
                health: Health::NotReady("stopping".into()),
            }];
        };
        vec![
            Check {
                name: "log",
                health: self.log(&node),
            },
            Check {
                name: "disk",
                health: self.disk(&node),
            },
            Check {
                name: "index",
                health: self.index(&node),
            },
            Check {
                name: "intake",
                health: self.intake(),
            },
        ]
    }

    fn version(&self) -> Version {
        self.version.clone()
    }

    fn metrics(&self) -> String {
        let Some(node) = self.node.upgrade() else {
            return String::new();
        };
        let mut text = encode(node.metrics());
        text += &encode_transport(&node.transport_metrics());
        text += &encode_storage(node.storage_metrics());
        if let Some(reach) = node.reach() {
            text += &encode_links(reach.metrics(), &reach.status());
            text += &encode_agreement(&node.view());
        }
        text
    }

    fn overview(&self, of: Topic) -> Option<serde_json::Value> {
        let node = self.node.upgrade()?;
        let links = node.reach().map_or_else(Vec::new, Reach::status);
        let overview = Overview {
            genesis: node.genesis(),
            view: &node.view(),
            me: Some(node.key_id()),
            links: Some(&links),
        };
        Some(match of {
            Topic::Validators => overview.validators(),
            Topic::Consensus => overview.consensus(),
            Topic::Evidence => overview.evidence(),
            Topic::Checkpoints => overview.checkpoints(),
        })
    }
}

fn cannot_start() -> Failure {
    Failure::new(ExitStatus::Failed, "cannot start the node", "")
}

fn of_node(what: &str, error: &NodeError) -> Failure {
    match error {
        NodeError::Store(error) => init::of_store(what.into(), error),
        error => Failure::new(ExitStatus::Failed, what, "").because(error),
    }
}
