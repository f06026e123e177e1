//! The running node: a recovered chain, its pipeline, and the QUIC server in front of it.

use crate::drive::queue::Queue;
use crate::drive::shadow::Shadow;
use crate::drive::{Deciding, Pipeline, PipelineConfig, PipelineError, Proposing, Scoring};
use crate::keeping::{Agreement, KEEP_QUEUE_LEN, KeepJob, KeepThread, KeptFiles};
use crate::ledger::LedgerError;
use crate::recover::Progress;
use crate::replica::ReplicaView;
use crate::service::NodeService;
use crate::store::{Store, StoreConfig, StoreError};
use crate::telemetry::{Metrics, Queue as QueueName};
use crate::validating::{Reach, ValidatingError, ValidatorConfig, Waker, validating};
use crate::vault::{VaultConfig, VaultThread};
use core::time::Duration;
use selfchain_ai::Projection;
use selfchain_ai::model::{Model, Predict, default_model};
use selfchain_consensus::Solo;
use selfchain_engine::commit::{Chain, Tip};
use selfchain_storage::{Disk, StorageMetrics};
use selfchain_transport::{Limits, Server, ServerConfig, StartError};
use selfchain_types::crypto::SigningKey;
use selfchain_types::seam::log::LogReader;
use selfchain_types::seam::scorer::Scorer;
use selfchain_types::{Genesis, Hash, Height, KeyId};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use thiserror::Error;
use tokio::runtime::Handle;

/// What a node starts with.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Where to listen for transactions; port 0 takes any free one.
    pub listen: SocketAddr,
    /// What peers may use.
    pub limits: Limits,
    /// How the pipeline is cut.
    pub pipeline: PipelineConfig,
    /// How the store keeps what it keeps.
    pub store: StoreConfig,
    /// Whether and how blocks are scored.
    pub scoring: ScoringConfig,
    /// The other validators, where there are any.
    pub validator: ValidatorConfig,
    /// The owner's documents, where the node serves them.
    pub vault: Option<VaultConfig>,
    /// Whose backups it keeps.
    pub keep_for: Vec<Agreement>,
    /// The value of `SSLKEYLOGFILE`; a node refuses to start when it is set.
    pub key_log_path: Option<OsString>,
}

/// Whether and how blocks are scored.
#[derive(Clone, Debug)]
pub struct ScoringConfig {
    /// When accounts' pasts are remembered.
    pub when: ScoreWhen,
    /// Longest that scoring a block may take; what is left is not scored.
    pub budget: Duration,
    /// Models that may be in force, beside the one that comes with the program.
    pub models: Vec<Arc<Model>>,
    /// A model that scores in the shadow of the one that decides.
    pub shadow: Option<Hash>,
}

impl Default for ScoringConfig {
    fn default() -> Self {
        Self {
            when: ScoreWhen::Auto,
            budget: SCORE_BUDGET,
            models: Vec::new(),
            shadow: None,
        }
    }
}

/// When accounts' pasts are remembered, so that a model can score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScoreWhen {
    /// Where the chain has a model on record when the node starts.
    Auto,
    /// Always: a model may come into force while the node runs.
    On,
    /// Never: nothing is scored.
    Off,
}

/// Longest that scoring a block may take, unless said otherwise.
pub const SCORE_BUDGET: Duration = Duration::from_millis(200);

/// Why a node did not start.
#[derive(Debug, Error)]
pub enum NodeError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The pipeline.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The server.
    #[error(transparent)]
    Server(#[from] StartError),
    /// One validator decides the chain, with another key.
    #[error("this node's key {key} is not the one that decides this chain")]
    NotValidator {
        /// This node's.
        key: Hash,
    },
    /// It cannot be a validator of several.
    #[error(transparent)]
    Validating(#[from] ValidatingError),
    /// The model that is to score in the shadow is not here.
    #[error("there is no model {hash} to score in the shadow: its file belongs into the folder `models`")]
    NoShadow {
        /// Its hash.
        hash: Hash,
    },
    /// A model that is to decide is not the same on every machine, and there are several.
    #[error(
        "the model {hash} decides, and is not exact: {validators} validators cannot hold one another to its scores. \
         Take its file out of the folder `models`, and activate another model"
    )]
    NotExact {
        /// Its hash.
        hash: Hash,
        /// The chain's validators.
        validators: usize,
    },
    /// The vault has no thread.
    #[error("the vault's thread cannot be started")]
    VaultThread(#[source] std::io::Error),
    /// The shadow has no thread.
    #[error("the shadow's thread cannot be started")]
    ShadowThread(#[source] std::io::Error),
    /// The backups that it keeps for others.
    #[error("the backups that this node keeps for others cannot be opened")]
    Keeping(#[source] std::io::Error),
    /// The embedded ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Something stopped a running node.
    #[error("the node stopped: {0}")]
    Stopped(String),
}

/// A running node.
pub struct Node {
    pipeline: Pipeline,
    server: Server,
    log: Arc<dyn LogReader>,
    metrics: Arc<Metrics>,
    storage: Arc<StorageMetrics>,
    genesis: Genesis,
    reach: Option<Reach>,
    keeping: Option<KeepThread>,
    key_id: KeyId,
    vault: Option<VaultThread>,
}

/// How long a drain waits for peers to take their replies.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// Starts the model that scores in the shadow.
fn shadow(models: &[Arc<Model>], hash: Hash, metrics: &Arc<Metrics>) -> Result<Shadow, NodeError> {
    let model = models.iter().find(|model| model.hash() == hash);
    let model = model.ok_or(NodeError::NoShadow { hash })?;
    Shadow::start(Arc::clone(model), Arc::clone(metrics)).map_err(NodeError::ShadowThread)
}

/// The models of the next block, and those that are to decide later.
fn deciding(chain: &Chain) -> Vec<Hash> {
    let (ledger, next) = (chain.ledger(), chain.tip().height.next());
    let later = ledger.models().iter().filter(|(_, from)| *from > next);
    let mut deciding = ledger.models_named_at(next);
    deciding.extend(later.map(|(model, _)| *model));
    deciding
}

/// Among several validators only exact models may be deciding ones.
fn check_exact(validators: usize, deciding: &[Hash], models: &[Arc<Model>]) -> Result<(), NodeError> {
    let is_inexact = |hash: &&Hash| {
        let model = models.iter().find(|model| model.hash() == **hash);
        model.is_some_and(|model| !model.is_exact())
    };
    match deciding.iter().find(is_inexact) {
        Some(hash) if validators > 1 => Err(NodeError::NotExact {
            hash: *hash,
            validators,
        }),
        _ => Ok(()),
    }
}

/// A scorer that remembers the chain, where blocks are to be scored.
fn scoring(
    store: &Store,
    chain: &Chain,
    config: &ScoringConfig,
    metrics: &Arc<Metrics>,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Option<Scoring>, NodeError> {
    let is_on = match config.when {
        ScoreWhen::Auto => !chain.ledger().models().is_empty(),
        ScoreWhen::On => true,
        ScoreWhen::Off => false,
    };
    if !is_on {
        return Ok(None);
    }
    let mut models = vec![Arc::new(default_model())];
    models.extend(config.models.iter().cloned());
    check_exact(chain.genesis().validators.len(), &deciding(chain), &models)?;
    let shadow = match config.shadow {
        Some(hash) => Some(shadow(&models, hash, metrics)?),
        None => None,
    };
    let fresh = || -> Box<dyn Scorer> {
        let projection = Projection::new(models.clone());
        match &shadow {
            Some(shadow) => Box::new(projection.watched(Box::new(shadow.clone()))),
            None => Box::new(projection),
        }
    };
    let remembered = store.remember(chain, &fresh, progress)?;
    if let Some(first) = remembered.begins {
        if chain.genesis().validators.len() > 1 {
            // Its scores would differ from the others', and a snapshot would hand its gap on.
            tracing::error!(
                %first,
                "what was before the log's first block is not remembered: this validator scores nothing, and takes \
                 the others' scores as they are"
            );
            return Ok(None);
        }
        tracing::warn!(%first, "the scorer does not remember what was before the log's first block");
    }
    let scorer = remembered.memory;
    let budget_ns = u64::try_from(config.budget.as_nanos()).unwrap_or(u64::MAX);
    Ok(Some(Scoring::new(scorer, budget_ns, Arc::clone(metrics))))
}

/// The thread that keeps others' backups, and the queue in front of it.
type Keeping = (KeepThread, Arc<Queue<KeepJob>>);

/// What keeps others' backups, where this node agreed to keep any.
fn keeping(store: &Store, config: &NodeConfig, metrics: &Arc<Metrics>) -> Result<Option<Keeping>, NodeError> {
    if config.keep_for.is_empty() {
        return Ok(None);
    }
    let reserve = config.store.log.reserve_bytes;
    let files = KeptFiles::open(Arc::clone(&store.disk), &config.keep_for, reserve);
    let queue = Queue::new(QueueName::Keep, KEEP_QUEUE_LEN, Arc::clone(metrics));
    let thread = KeepThread::start(files.map_err(NodeError::Keeping)?, Arc::clone(&queue));
    Ok(Some((thread.map_err(NodeError::Keeping)?, queue)))
}

impl Node {
    /// Recovers the chain on `disk`, starts the pipeline, and listens. `key` is both the validator's and the
    /// server's: clients pin it.
    ///
    /// # Errors
    /// [`NodeError`]; nothing is listening then.
    pub fn start(
        disk: Arc<dyn Disk>,
        key: &SigningKey,
        config: &NodeConfig,
        metrics: Arc<Metrics>,
        runtime: &Handle,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Self, NodeError> {
        let vault_disk = Arc::clone(&disk);
        let mut store = Store::open(disk, &config.store)?;
        let genesis = store.genesis.clone();
        let validators = genesis.validators.len();
        if validators == 1 && genesis.validators[0].key != *key.public() {
            return Err(NodeError::NotValidator { key: key.id().0 });
        }
        let chain = store.recover(progress)?;
        let (keeping, keep) = keeping(&store, config, &metrics)?.unzip();
        let storage = Arc::clone(&store.metrics);
        let log = store.log_reader();
        let scoring = scoring(&store, &chain, &config.scoring, &metrics, progress)?;
        let waker = Waker::default();
        let mut reach = None;
        let deciding = if validators == 1 {
            let key = key.copy();
            Deciding::Alone(Box::new(Solo::new(chain.chain_id(), key)))
        } else {
            let (validating, links) = validating(
                &chain,
                key,
                Arc::clone(&store.disk),
                &config.validator,
                config.key_log_path.as_ref(),
                runtime,
                &waker,
            )?;
            reach = Some(links);
            Deciding::Among(Box::new(validating))
        };
        let woken: Arc<OnceLock<selfchain_transport::Tip>> = Arc::default();
        let wake = Arc::clone(&woken);
        let tip_moved = Box::new(move || {
            if let Some(tip) = wake.get() {
                tip.moved();
            }
        });
        let pipeline = Pipeline::start(
            store,
            chain,
            Proposing {
                deciding,
                proposer: key.id(),
                scoring,
            },
            &config.pipeline,
            &metrics,
            tip_moved,
        )?;
        waker.get_or_init(|| Arc::clone(&pipeline.wake_order));
        let vault = match &config.vault {
            None => None,
            Some(vault) => match VaultThread::start(vault_disk, vault, key.id(), &metrics) {
                Ok(thread) => Some(thread),
                Err(error) => {
                    pipeline.stop();
                    return Err(NodeError::VaultThread(error));
                }
            },
        };
        let service = NodeService {
            vault: vault.as_ref().map(VaultThread::queue),
            intake: Arc::clone(&pipeline.intake),
            state_queries: Arc::clone(&pipeline.state_queries),
            wake_order: Arc::clone(&pipeline.wake_order),
            past_queries: Arc::clone(&pipeline.past_queries),
            keep,
            log: Arc::clone(&log),
            metrics: Arc::clone(&metrics),
        };
        let server = ServerConfig {
            listen: config.listen,
            key_seed: *key.classical().seed(),
            key_log_path: config.key_log_path.clone(),
            limits: config.limits.clone(),
        };
        match Server::start(&server, Arc::new(service), runtime) {
            Ok(server) => {
                woken.get_or_init(|| server.tip());
                Ok(Self {
                    pipeline,
                    server,
                    log,
                    metrics,
                    storage,
                    genesis,
                    reach,
                    keeping,
                    key_id: key.id(),
                    vault,
                })
            }
            Err(error) => {
                pipeline.stop();
                drop(vault);
                Err(error.into())
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The key that clients pin.
    pub fn public_key(&self) -> [u8; 32] {
        self.server.public_key()
    }

    /// What the chain was born with.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// The newest durable block.
    pub fn tip(&self) -> Tip {
        self.pipeline.tip.get()
    }

    /// A reading end of its log.
    pub fn log(&self) -> Arc<dyn LogReader> {
        Arc::clone(&self.log)
    }

    /// What it counts.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// What its storage counts.
    pub fn storage_metrics(&self) -> &Arc<StorageMetrics> {
        &self.storage
    }

    /// What its server counts.
    pub fn transport_metrics(&self) -> Arc<selfchain_transport::Metrics> {
        self.server.metrics()
    }

    /// How it and the other validators are; of one that decides alone, what genesis says of it.
    pub fn view(&self) -> Arc<ReplicaView> {
        self.pipeline.board.look().unwrap_or_else(|| {
            let set = self.genesis.validators.as_slice().into();
            Arc::new(ReplicaView::of_set(set, None, self.tip().height))
        })
    }

    /// The key that it signs with; one that is no validator's, the one that it started with.
    pub fn key_id(&self) -> KeyId {
        let signer = self.pipeline.board.look().and_then(|view| view.me);
        signer.unwrap_or(self.key_id)
    }

    /// How it reaches the other validators, if there are any.
    pub fn reach(&self) -> Option<&Reach> {
        self.reach.as_ref()
    }

    /// The height of a snapshot that it fetched from the other validators because it was too far behind: once it is
    /// stopped and started again it begins there.
    pub fn joined(&self) -> Option<Height> {
        self.pipeline.joined.get().copied()
    }

    /// What stopped it, if anything did. Then only [`Node::stop`] is of use.
    pub fn fault(&self) -> Option<String> {
        self.pipeline.fault.text().map(str::to_owned)
    }

    /// Drains: takes no more transactions, answers everything admitted, closes the connections, writes a
    /// snapshot.
    ///
    /// # Errors
    /// [`NodeError::Stopped`] when something had stopped it before.
    pub async fn stop(self) -> Result<(), NodeError> {
        self.server.drain();
        let (pipeline, vault, keeping) = (self.pipeline, self.vault, self.keeping);
        let stopped = tokio::task::spawn_blocking(move || {
            drop(vault);
            if let Some(keeping) = keeping {
                keeping.stop();
            }
            pipeline.stop()
        });
        let stopped = stopped.await;
        if !self.server.shutdown(SHUTDOWN_TIMEOUT).await {
            tracing::warn!("some connections did not close in time");
        }
        match stopped {
            Ok(None) => Ok(()),
            Ok(Some(text)) => Err(NodeError::Stopped(text)),
            Err(error) => Err(NodeError::Stopped(error.to_string())),
        }
    }
}

#[cfg(all(test, feature = "candle"))]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::ledger::Ledger;
    use selfchain_ai::features::{FEATURE_COUNT, Row};
    use selfchain_ai::model::{Card, Scoring};
    use selfchain_ai::network::{Encoding, Layer, Member, Network};
    use selfchain_types::{Height, Operation};

    /// Of one unit in each layer.
    fn in_floats() -> Arc<Model> {
        let layer = || Layer {
            inputs: 1,
            outputs: 1,
            weights: vec![1.0],
            biases: vec![0.0],
        };
        let mut edges = vec![Vec::new(); FEATURE_COUNT];
        edges[0] = vec![0, 1024];
        let member = Member {
            first: layer(),
            second: layer(),
            last: layer(),
        };
        let encoding = Encoding::new(edges).unwrap();
        let network = Network::new(encoding, Row([0; FEATURE_COUNT]), vec![member]).unwrap();
        Arc::new(Model::new(Scoring::float(network).unwrap(), Card::default()))
    }

    #[test]
    fn a_model_in_floats_is_refused_where_several_validators_decide() {
        let models = [Arc::new(default_model()), in_floats()];
        let [exact, float] = [models[0].hash(), models[1].hash()];
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path()).unwrap();
        let activate = |model, from| vec![Operation::set_model(1, model, Height(from))];
        let check = |validators, ledger: &Ledger| {
            check_exact(validators, &deciding(ledger.chain()), &models).map_err(|error| error.to_string())
        };
        ledger.commit(activate(exact, 2)).unwrap();
        assert_eq!(check(4, &ledger), Ok(()));
        ledger.commit(activate(float, 9)).unwrap();
        assert_eq!(check(1, &ledger), Ok(()));
        let error = check(4, &ledger).unwrap_err();
        let want = format!("the model {float} decides, and is not exact: 4 validators");
        assert!(error.starts_with(&want), "{error}");
        assert!(
            check_exact(4, &[float], &models[..1]).is_ok(),
            "it scores nothing where its file is not"
        );
    }
}
