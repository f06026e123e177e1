//! The stage: a directory, a runtime and a real node on them, set up and struck.

use super::error::DemoError;
use super::plan::Plan;
use crate::client::{Client, ClientOptions};
use crate::keys;
use crate::ledger::now;
use crate::node::{Node, NodeConfig, NodeError};
use crate::store::{Store, StoreError};
use crate::telemetry::Metrics;
use core::time::Duration;
use selfchain_storage::{Disk, FileDisk};
use selfchain_types::Genesis;
use selfchain_types::crypto::SigningKey;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// A directory to keep, or a temporary one that goes with this.
pub(super) struct Folder {
    path: PathBuf,
    temporary: Option<TempDir>,
}

impl Folder {
    /// The directory `data`, made if it is not there; without it a temporary one.
    pub(super) fn open(data: Option<&Path>) -> Result<Self, DemoError> {
        match data {
            Some(path) => {
                fs::create_dir_all(path).map_err(failed("make", path))?;
                Ok(Self {
                    path: path.to_owned(),
                    temporary: None,
                })
            }
            None => {
                let folder = tempfile::Builder::new().prefix("selfchain-demo-").tempdir();
                let folder = folder.map_err(failed("make", &std::env::temp_dir()))?;
                Ok(Self {
                    path: folder.path().to_owned(),
                    temporary: Some(folder),
                })
            }
        }
    }

    /// Its disk, locked for this process.
    pub(super) fn disk(&self) -> Result<Arc<dyn Disk>, DemoError> {
        Ok(Arc::new(FileDisk::open(&self.path).map_err(DemoError::Disk)?))
    }

    /// Removes a temporary directory; says where a kept one is.
    pub(super) fn close(self) -> Result<Option<PathBuf>, DemoError> {
        let path = self.path;
        match self.temporary {
            Some(folder) => {
                folder.close().map_err(failed("remove", &path))?;
                Ok(None)
            }
            None => Ok(Some(path)),
        }
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DemoError {
    let path = path.to_owned();
    move |source| DemoError::Folder { action, path, source }
}

/// A running node, and the key that made its chain.
pub(super) struct Stage {
    node: Node,
    key: SigningKey,
    runtime: Runtime,
}

/// The longest that a client waits for an answer.
const DEADLINE: Duration = Duration::from_secs(30);

impl Stage {
    /// Makes a chain in a directory that has none, and starts a node on it, listening on this machine only.
    pub(super) fn start(
        folder: &Folder,
        disk: Arc<dyn Disk>,
        plan: &Plan<'_>,
        config: &NodeConfig,
    ) -> Result<Self, DemoError> {
        if Store::exists(&*disk)? {
            return Err(StoreError::Initialised.into());
        }
        let key = keys::open_or_create(&folder.path.join(keys::NODE_KEY_FILE))?;
        let mut genesis = Genesis::solo("demo", now()?.0, key.public().clone());
        genesis.op_time = plan.op_time();
        Store::create(&*disk, &genesis)?;
        let thread = |source| DemoError::Thread {
            what: "the node's runtime",
            source,
        };
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .thread_name("node")
            .build()
            .map_err(thread)?;
        let config = NodeConfig {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            ..config.clone()
        };
        let metrics = Arc::new(Metrics::default());
        let node = Node::start(disk, &key, &config, metrics, runtime.handle(), &mut |_| {})?;
        Ok(Self { node, key, runtime })
    }

    /// The node.
    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    /// The node's key: it issues the asset, and signs what one key signs.
    pub(super) fn key(&self) -> SigningKey {
        SigningKey::from_seed(&self.key.seed())
    }

    /// A connection of its own.
    pub(super) fn connect(&self) -> Result<Client, DemoError> {
        let mut options = ClientOptions::new(self.node.address(), self.node.public_key());
        options.deadline = DEADLINE;
        Ok(Client::connect(&options)?)
    }

    /// Drains and stops the node.
    pub(super) fn stop(self) -> Result<(), NodeError> {
        self.runtime.block_on(self.node.stop())
    }
}
