//! The stage: a directory, a runtime and a real node on them, set up and struck.

use super::error::DemoError;
use super::options::Options;
use super::plan::Plan;
use crate::client::{Client, ClientOptions};
use crate::cluster::{Cluster, Seat, among};
use crate::keys;
use crate::ledger::now;
use crate::node::{Node, NodeError};
use crate::store::{Store, StoreError};
use core::time::Duration;
use selfchain_engine::commit::Tip;
use selfchain_storage::{Disk, FileDisk};
use selfchain_types::Genesis;
use selfchain_types::crypto::{Scheme, SigningKey};
use std::fs;
use std::io;
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

    /// A disk for each of so many validators, locked for this process: folders in it, or itself for the only one.
    pub(super) fn disks(&self, validators: u16) -> Result<Vec<Arc<dyn Disk>>, DemoError> {
        self.paths(validators)
            .iter()
            .map(|path| {
                fs::create_dir_all(path).map_err(failed("make", path))?;
                let disk: Arc<dyn Disk> = Arc::new(FileDisk::open(path).map_err(DemoError::Disk)?);
                Ok(disk)
            })
            .collect()
    }

    fn paths(&self, validators: u16) -> Vec<PathBuf> {
        if validators == 1 {
            return vec![self.path.clone()];
        }
        (0..validators)
            .map(|at| self.path.join(format!("validator-{at}")))
            .collect()
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

/// The running validators, one or several, and the key of the first, which made the chain.
pub(super) struct Stage {
    cluster: Cluster,
    key: SigningKey,
    runtime: Runtime,
}

/// The longest that a client waits for an answer.
const DEADLINE: Duration = Duration::from_secs(30);
/// The longest that validators may take to stand at one height at the end.
const SETTLE_MAX: Duration = Duration::from_secs(10);

impl Stage {
    /// Makes a chain in directories that have none, and starts a validator on each, listening on this machine only.
    pub(super) fn start(
        folder: &Folder,
        disks: &[Arc<dyn Disk>],
        plan: &Plan<'_>,
        options: &Options,
    ) -> Result<Self, DemoError> {
        let scheme = if options.pq_votes {
            Scheme::Ed25519MlDsa65
        } else {
            Scheme::Ed25519
        };
        let mut seats = Vec::with_capacity(disks.len());
        let paths = folder.paths(u16::try_from(disks.len()).unwrap_or(u16::MAX));
        for (disk, path) in disks.iter().zip(&paths) {
            if Store::exists(&**disk)? {
                return Err(StoreError::Initialised.into());
            }
            let key = keys::open_or_create_of(&path.join(keys::NODE_KEY_FILE), scheme)?;
            let disk = Arc::clone(disk);
            seats.push(Seat { key, disk });
        }
        let first = seats.first().map(|seat| seat.key.copy());
        let key = first.ok_or(DemoError::Random)?;
        let mut genesis = Genesis::solo("demo", now()?.0, key.public().clone());
        genesis.op_time = plan.op_time();
        let keys: Vec<SigningKey> = seats.iter().map(|seat| seat.key.copy()).collect();
        let genesis = among(genesis, options.plane, &keys);
        let thread = |source| DemoError::Thread {
            what: "the node's runtime",
            source,
        };
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .thread_name("node")
            .build()
            .map_err(thread)?;
        let cluster = Cluster::start(seats, &genesis, &options.node, runtime.handle())?;
        Ok(Self {
            cluster,
            key,
            runtime,
        })
    }

    /// The first validator.
    pub(super) fn node(&self) -> &Node {
        &self.cluster.nodes()[0]
    }

    /// All of them.
    pub(super) fn nodes(&self) -> &[Node] {
        self.cluster.nodes()
    }

    /// The first validator's key: it issues the asset, and signs what one key signs.
    pub(super) fn key(&self) -> SigningKey {
        self.key.copy()
    }

    /// A connection of its own to the first validator.
    pub(super) fn connect(&self) -> Result<Client, DemoError> {
        self.connect_to(0)
    }

    /// A connection of its own to one of the validators, counted round.
    pub(super) fn connect_to(&self, number: usize) -> Result<Client, DemoError> {
        let node = &self.nodes()[number % self.nodes().len()];
        let mut options = ClientOptions::new(node.address(), node.public_key());
        options.deadline = DEADLINE;
        Ok(Client::connect(&options)?)
    }

    /// Lets all come to one height, drains and stops them. Returns where each stood.
    pub(super) fn stop(self) -> Result<Vec<Tip>, NodeError> {
        let tips = self.cluster.settle(SETTLE_MAX);
        self.runtime.block_on(self.cluster.stop())?;
        Ok(tips)
    }
}
