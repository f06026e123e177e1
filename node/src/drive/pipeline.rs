//! The pipeline: starts the threads, joins them in order, and knows nothing of sockets.

use super::agree::{Agree, Peers};
use super::board::Board;
use super::checkpointing::Checkpointing;
use super::covering::Covering;
use super::fault::Fault;
use super::intake::{Intake, IntakeQueue, Submission};
use super::order::{BLOCK_ENVELOPES_MAX, Order};
use super::past::{PastJob, PastThread};
use super::project::Project;
use super::publish::{DurableTip, Publish};
use super::queue::Queue;
use super::rebuild::Rebuilder;
use super::record::{Executed, Record};
use super::registry::Registry;
use super::scoring::Scoring;
use super::state::{StateAnswers, StateQuery};
use crate::answers::Past;
use crate::joining::{JoinConfig, Joining, Offering};
use crate::keys::Passphrase;
use crate::ledger::now;
use crate::recover::write_snapshot;
use crate::replica::{self, Agreement, Checkpoints, Replica, ReplicaError, Sharing};
use crate::store::Store;
use crate::sweep::{SNAPSHOT_SLICE_MIN, SnapshotFiler, SweepConfig, Sweeper};
use crate::telemetry::{Metrics, Queue as Name};
use core::sync::atomic::AtomicU64;
use core::time::Duration;
use selfchain_engine::builder::Order as BlockOrder;
use selfchain_engine::commit::Chain;
use selfchain_engine::pool::{Pool, PoolLimits, PoolRules};
use selfchain_storage::{HandoverFile, Index, Journal, NodeFile, Snapshots};
use selfchain_types::crypto::BatchVerifier;
use selfchain_types::seam::consensus::Plane;
use selfchain_types::{Height, KeyId, TimeNs};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use thiserror::Error;

/// How the pipeline is cut.
#[derive(Clone, Debug)]
pub struct PipelineConfig {
    /// Submissions that may wait for verification.
    pub intake_len_max: usize,
    /// Bytes of submissions that may wait for verification.
    pub intake_bytes_max: u64,
    /// Verified transactions that may wait for admission.
    pub verified_len_max: usize,
    /// Executed blocks that may wait for the disk.
    pub log_len_max: usize,
    /// Durable blocks that may wait for their replies, and again for the index.
    pub publish_len_max: usize,
    /// Questions that may wait, of each sort.
    pub queries_len_max: usize,
    /// Verifier threads; 0 = one a core.
    pub verify_threads: usize,
    /// Threads for roots, receipts and rows; 0 = one a core.
    pub commit_threads: usize,
    /// Least time between two blocks.
    pub block_interval: Duration,
    /// How blocks are filled.
    pub order: BlockOrder,
    /// The pool.
    pub pool: PoolLimits,
    /// Blocks between two snapshots; 0 = only when the node stops.
    pub snapshot_every: u64,
    /// Records of a snapshot read after a block at least.
    pub snapshot_slice_min: u32,
    /// Bytes of log to keep; 0 = all.
    pub retention_bytes: u64,
}

impl Default for PipelineConfig {
    fn default() -> Self {
        Self {
            intake_len_max: 65_536,
            intake_bytes_max: 64 * 1024 * 1024,
            verified_len_max: 16_384,
            log_len_max: 4,
            publish_len_max: 64,
            queries_len_max: 4_096,
            verify_threads: 0,
            commit_threads: 0,
            block_interval: Duration::from_millis(5),
            order: BlockOrder::Fee,
            pool: PoolLimits::default(),
            snapshot_every: 0,
            snapshot_slice_min: SNAPSHOT_SLICE_MIN,
            retention_bytes: 0,
        }
    }
}

/// Why the pipeline could not start.
#[derive(Debug, Error)]
pub enum PipelineError {
    /// The operating system refused a thread.
    #[error("could not start thread {name}")]
    Thread {
        /// Which.
        name: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The thread pool did not start.
    #[error("could not start the {name} threads")]
    Pool {
        /// Which.
        name: &'static str,
        /// Why.
        #[source]
        source: rayon::ThreadPoolBuildError,
    },
    /// The validator cannot go on from where it stopped.
    #[error("the validator could not start")]
    Replica(#[from] Box<ReplicaError>),
    /// The file of checkpoints is damaged, or could not be read.
    #[error("the checkpoints could not be used")]
    Checkpoints(#[source] io::Error),
    /// The operating system has no random numbers.
    #[error("no random numbers from the operating system")]
    Random,
}

/// Who decides blocks, who proposes them, and who scores them.
pub struct Proposing {
    /// Who decides.
    pub deciding: Deciding,
    /// Who proposes.
    pub proposer: KeyId,
    /// A scorer that remembers the chain, if blocks are to be scored.
    pub scoring: Option<Scoring>,
}

/// Who decides.
pub enum Deciding {
    /// This node.
    Alone(Box<dyn Plane>),
    /// Several validators, of which it is one.
    Among(Box<Validating>),
}

/// What a validator of several needs.
pub struct Validating {
    /// What it agrees by.
    pub agreement: Agreement,
    /// What it must remember across a crash.
    pub journal: Journal,
    /// Whether it puts nothing into its blocks, on purpose.
    pub is_starving: bool,
    /// The others.
    pub peers: Box<dyn Peers>,
    /// When it begins at a snapshot of theirs.
    pub join: JoinConfig,
    /// Where its checkpoint keys are.
    pub checkpoint_keys: Vec<PathBuf>,
    /// What their files are sealed under, if they are.
    pub passphrase: Option<Passphrase>,
}

/// The running threads, and the ends that the service holds.
pub struct Pipeline {
    /// Submissions go in here.
    pub intake: Arc<IntakeQueue>,
    /// Questions about the state go in here.
    pub state_queries: Arc<Queue<StateQuery>>,
    /// Questions about the past go in here.
    pub past_queries: Arc<Queue<PastJob>>,
    /// Wakes the order thread when a question waits.
    pub wake_order: Arc<dyn Fn() + Send + Sync>,
    /// The newest durable block.
    pub tip: Arc<DurableTip>,
    /// How a validator of several is; empty where one decides.
    pub board: Arc<Board>,
    /// What stopped the node, if anything did.
    pub fault: Fault,
    /// The height of a snapshot that was fetched: the node is to be stopped and started, and begins with it.
    pub joined: Arc<OnceLock<Height>>,
    threads: Vec<JoinHandle<()>>,
    order: JoinHandle<(Chain, Option<Scoring>)>,
    project: JoinHandle<Index>,
    snapshots: Arc<Snapshots>,
    receipt_nodes: Arc<NodeFile>,
    handovers: Arc<HandoverFile>,
}

impl Pipeline {
    /// Starts every thread on a recovered chain. `tip_moved` is called after each durable block.
    ///
    /// # Errors
    /// [`PipelineError`].
    pub fn start(
        store: Store,
        chain: Chain,
        proposing: Proposing,
        config: &PipelineConfig,
        metrics: &Arc<Metrics>,
        tip_moved: Box<dyn Fn() + Send>,
    ) -> Result<Self, PipelineError> {
        let fault = Fault::default();
        let queue = |name: Name, len: usize| {
            metrics.queue(name).set_limit(selfchain_types::codec::wide(len));
            (name, len)
        };
        let submissions: Arc<Queue<Submission>> = new(queue(Name::Intake, config.intake_len_max), metrics);
        let verified = new(queue(Name::Verified, config.verified_len_max), metrics);
        let log_queue: Arc<Queue<Executed>> = new(queue(Name::Log, config.log_len_max), metrics);
        let publish_queue: Arc<Queue<Executed>> = new(queue(Name::Publish, config.publish_len_max), metrics);
        let index_queue = new(queue(Name::Index, config.publish_len_max), metrics);
        let state_queries: Arc<Queue<StateQuery>> = new(queue(Name::State, config.queries_len_max), metrics);
        let past_queries: Arc<Queue<PastJob>> = new(queue(Name::Past, config.queries_len_max), metrics);
        let intake = Arc::new(IntakeQueue::new(submissions, config.intake_bytes_max));
        let registry = Arc::new(Registry::default());
        registry.register(chain.ledger().public_keys().cloned());
        let tip = Arc::new(DurableTip::new(chain.tip()));
        let snapshot_height = Arc::new(AtomicU64::new(0));
        let log_reader = store.log_reader();
        let past = Past::of(&store);
        let mut entropy = [0; 32];
        selfchain_types::crypto::fill_random(&mut entropy).map_err(|_| PipelineError::Random)?;

        let mut intake_thread = Intake {
            from: Arc::clone(&intake),
            to: Arc::clone(&verified),
            chain_id: chain.chain_id(),
            registry: Arc::clone(&registry),
            log: Arc::clone(&log_reader),
            pool: rayon_pool("verify", config.verify_threads, VERIFY_NICENESS)?,
            signatures: Arc::new(BatchVerifier::new()),
            known: None,
            entropy,
            metrics: Arc::clone(metrics),
            fault: fault.clone(),
        };
        let project = Project {
            from: Arc::clone(&index_queue),
            index: store.index,
            snapshots: Arc::clone(&store.snapshots),
            filer: SnapshotFiler::default(),
            snapshot_height: Arc::clone(&snapshot_height),
            receipt_nodes: Arc::clone(&store.receipt_nodes),
            handovers: Arc::clone(&store.handovers),
            log: Arc::clone(&log_reader),
            metrics: Arc::clone(metrics),
            fault: fault.clone(),
        };
        let covering = Arc::new(Covering::new(
            Arc::clone(&tip),
            Arc::clone(&past_queries),
            Arc::clone(metrics),
        ));
        let past_thread = PastThread {
            from: Arc::clone(&past_queries),
            past,
            genesis: store.genesis.to_bytes(),
            metrics: Arc::clone(metrics),
            rebuilder: Rebuilder::default(),
        };
        let record = Record {
            from: Arc::clone(&log_queue),
            to: Arc::clone(&publish_queue),
            log: store.log,
            intake: Arc::clone(&intake),
            retention_bytes: config.retention_bytes,
            snapshot_height: Arc::clone(&snapshot_height),
            metrics: Arc::clone(metrics),
            fault: fault.clone(),
        };
        let publish = Publish {
            from: Arc::clone(&publish_queue),
            to: Arc::clone(&index_queue),
            tip: Arc::clone(&tip),
            covering: Arc::clone(&covering),
            tip_moved,
            metrics: Arc::clone(metrics),
        };
        let state = StateAnswers {
            queries: Arc::clone(&state_queries),
            durable: Arc::clone(&tip),
            log: Arc::clone(&log_reader),
            covering,
            metrics: Arc::clone(metrics),
        };
        let pool = Pool::new(
            config.pool,
            PoolRules::of(chain.genesis()),
            chain.tip().height.next(),
        );
        let sweeper = Sweeper::new(
            SweepConfig {
                every: config.snapshot_every,
                slice_min: config.snapshot_slice_min,
                ..SweepConfig::default()
            },
            Arc::clone(metrics),
        );
        let board = Arc::<Board>::default();
        let joined = Arc::<OnceLock<Height>>::default();
        let commit_pool = rayon_pool("commit", config.commit_threads, 0)?;
        let Proposing {
            deciding,
            proposer,
            scoring,
        } = proposing;
        let run: Box<dyn FnOnce() -> (Chain, Option<Scoring>) + Send> = match deciding {
            Deciding::Alone(plane) => {
                let order = Order {
                    verified: Arc::clone(&verified),
                    state,
                    past: Arc::clone(&past_queries),
                    to: log_queue,
                    pool,
                    chain,
                    plane,
                    proposer,
                    registry,
                    commit_pool,
                    interval: config.block_interval,
                    order: config.order,
                    scoring,
                    sweeper,
                    metrics: Arc::clone(metrics),
                    fault: fault.clone(),
                };
                Box::new(move || order.run())
            }
            Deciding::Among(validating) => {
                let validating = *validating;
                let options = replica::Options {
                    order: config.order,
                    envelopes_max: BLOCK_ENVELOPES_MAX,
                    interval_ns: u64::try_from(config.block_interval.as_nanos()).unwrap_or(u64::MAX),
                    tip_every_ns: TIP_EVERY_NS,
                    keeps_bodies: true,
                    starves: validating.is_starving,
                };
                let root_lag = chain.genesis().plane.root_lag();
                let (snapshots, handovers) = (Arc::clone(&store.snapshots), Arc::clone(&store.handovers));
                let sharing = Sharing {
                    offering: Offering::new(
                        snapshots,
                        Arc::clone(&handovers),
                        Arc::clone(&log_reader),
                        root_lag,
                    ),
                    joining: Joining::new(Arc::clone(&store.disk), handovers, validating.join),
                };
                let opened = Replica::open(
                    options,
                    chain,
                    Agreement {
                        scoring,
                        ..validating.agreement
                    },
                    pool,
                    validating.journal,
                    log_reader,
                    now().unwrap_or(TimeNs::ZERO),
                );
                let opened = opened.and_then(|replica| replica.sharing(sharing));
                let checkpoints = Checkpoints::open(&store.genesis, Arc::clone(&store.checkpoints))
                    .map_err(PipelineError::Checkpoints)?;
                let checkpointing = match &checkpoints {
                    None => None,
                    Some(_) => {
                        let wake = Arc::clone(&verified);
                        let started = Checkpointing::start(
                            validating.checkpoint_keys,
                            validating.passphrase,
                            Arc::clone(&store.checkpoints),
                            Arc::new(move || wake.wake()),
                        );
                        let name = "checkpoint";
                        Some(started.map_err(|source| PipelineError::Thread { name, source })?)
                    }
                };
                let replica = opened.map_err(Box::new)?.checkpointing(checkpoints);
                intake_thread.known = Some(replica.verified());
                let agree = Agree {
                    verified: Arc::clone(&verified),
                    intake: Arc::clone(&intake),
                    peers: validating.peers,
                    state,
                    past: Arc::clone(&past_queries),
                    to: log_queue,
                    replica,
                    registry,
                    commit_pool,
                    sweeper,
                    board: Arc::clone(&board),
                    joined: Arc::clone(&joined),
                    checkpointing,
                    metrics: Arc::clone(metrics),
                    fault: fault.clone(),
                };
                Box::new(move || agree.run())
            }
        };
        let wake = Arc::clone(&verified);
        let threads = vec![
            spawn("intake", move || intake_thread.run())?,
            spawn("record", move || drop(record.run()))?,
            spawn("publish", move || publish.run())?,
            spawn("past", move || past_thread.run())?,
        ];
        Ok(Self {
            intake,
            state_queries,
            past_queries,
            wake_order: Arc::new(move || wake.wake()),
            tip,
            board,
            fault,
            joined,
            threads,
            order: spawn("order", run)?,
            project: spawn("project", move || project.run())?,
            snapshots: store.snapshots,
            receipt_nodes: store.receipt_nodes,
            handovers: store.handovers,
        })
    }

    /// Takes no more submissions, lets everything admitted be decided, made durable and answered, writes a
    /// snapshot, and ends. Returns what stopped the node, if anything did.
    pub fn stop(self) -> Option<String> {
        self.intake.close();
        let chain = self.order.join();
        for thread in self.threads {
            let name = thread.thread().name().unwrap_or("unnamed").to_owned();
            if thread.join().is_err() {
                return Some(format!("thread {name} panicked; restart to recover"));
            }
        }
        let (Ok((chain, mut scoring)), Ok(mut index)) = (chain, self.project.join()) else {
            return Some("thread order or project panicked; restart to recover".into());
        };
        if let Some(text) = self.fault.text() {
            return Some(text.to_owned());
        }
        if self.joined.get().is_some() {
            return None;
        }
        let written = write_snapshot(
            chain.ledger(),
            &chain.snapshot(),
            scoring.as_mut().map(|scoring| scoring.scorer()),
            &self.snapshots,
            &mut index,
            &self.receipt_nodes,
            &self.handovers,
        );
        if let Err(error) = written {
            tracing::warn!(error = %error, "snapshot not written: the next start folds more of the log");
        }
        None
    }
}

fn new<T>((name, len): (Name, usize), metrics: &Arc<Metrics>) -> Arc<Queue<T>> {
    Queue::new(name, len, Arc::clone(metrics))
}

fn spawn<T: Send + 'static>(
    name: &'static str,
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, PipelineError> {
    thread::Builder::new()
        .name(name.into())
        .spawn(run)
        .map_err(|source| PipelineError::Thread { name, source })
}

/// How often a validator says where it stands when nothing happens.
const TIP_EVERY_NS: u64 = 500_000_000;

/// Verifiers yield to the threads that commit: with every core busy on signatures, a sync still starts at once.
const VERIFY_NICENESS: i32 = 5;

fn rayon_pool(
    name: &'static str,
    threads: usize,
    niceness: i32,
) -> Result<Arc<rayon::ThreadPool>, PipelineError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(move |at| format!("{name}-{at}"))
        .start_handler(move |_| {
            if niceness > 0
                && let Err(error) = rustix::process::nice(niceness)
            {
                tracing::debug!(error = %error, "thread priority unchanged");
            }
        })
        .build()
        .map(Arc::new)
        .map_err(|source| PipelineError::Pool { name, source })
}
