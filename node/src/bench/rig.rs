//! The rig: a real node, its real files and sockets, as the harness measures it.

use super::fault::Fault;
use crate::ai::{DecideError, let_model_decide};
use crate::client::{self, ClientOptions};
use crate::cluster::{Cluster, ClusterError, Seat};
use crate::drive::PipelineConfig;
use crate::hindrance::Hindrance;
use crate::node::{NodeConfig, ScoreWhen, ScoringConfig};
use crate::store::{StoreConfig, StoreError};
use crate::telemetry::{DistributionSnapshot, Metrics, Queue, Stage, usage};
use crate::verify::verify;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use selfchain_ai::model::default_model;
use selfchain_bench::process::Process;
use selfchain_bench::report;
use selfchain_bench::rig::{Answer, Answers, Connection, Heights, Rig, RigError, Submit, Verdict};
use selfchain_storage::FileDisk;
use selfchain_transport::client::{ReceiveError, Receiver, Sender};
use selfchain_transport::limits::Rate;
use selfchain_transport::{Client, ClientConfig, Limits};
use selfchain_types::crypto::SigningKey;
use selfchain_types::message::{Detail, Reply, Request};
use selfchain_types::{Genesis, Policy, Refusal, codec};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use thiserror::Error;
use tokio::runtime::Runtime;

/// What a rig starts with.
#[derive(Clone, Debug)]
pub struct RigConfig {
    /// How the pipeline is cut.
    pub pipeline: PipelineConfig,
    /// How the store keeps what it keeps.
    pub store: StoreConfig,
    /// Threads of the socket runtime, shared with the clients.
    pub socket_threads: usize,
    /// Whether the model that comes with the program scores.
    pub scores: bool,
    /// What the last of several validators does badly.
    pub fault: Fault,
}

impl Default for RigConfig {
    fn default() -> Self {
        Self {
            pipeline: PipelineConfig::default(),
            store: StoreConfig::default(),
            socket_threads: 2,
            scores: false,
            fault: Fault::None,
        }
    }
}

/// Why a rig did not start.
#[derive(Debug, Error)]
pub enum RigStartError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The validators.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A directory.
    #[error("a validator's directory cannot be made")]
    Directory(#[source] std::io::Error),
    /// The runtime.
    #[error("the socket runtime did not start")]
    Runtime(#[source] std::io::Error),
}

/// The authority's lane that lets a model decide: the load's set-up has the first.
const SCORING_LANE: u32 = 15;

/// Running validators in `directory`, one or several.
pub struct NodeRig {
    runtime: Arc<Runtime>,
    cluster: Mutex<Option<Cluster>>,
    /// What the first one counts.
    metrics: Arc<Metrics>,
    /// What each one counts.
    all_metrics: Vec<Arc<Metrics>>,
    /// Where each one's data is.
    directories: Vec<PathBuf>,
    /// How each one is reached; connections go to one after the other.
    clients: Vec<ClientConfig>,
    connected: AtomicUsize,
    mark: Mutex<Mark>,
}

/// How long validators may take to stand at one height once nothing more is sent.
const SETTLE_MAX: Duration = Duration::from_secs(10);

/// Where the stages stood when the measured time began.
struct Mark {
    at: Instant,
    cpu_ns: u64,
    score_cpu_ns: u64,
    busy_ns: Vec<u64>,
    lens: Vec<DistributionSnapshot>,
    refused: BTreeMap<&'static str, u64>,
    rounds: report::Rounds,
}

impl NodeRig {
    /// Makes a chain in an empty directory and starts its validators, who have these keys.
    ///
    /// # Errors
    /// [`RigStartError`].
    pub fn start(
        directory: &Path,
        genesis: &Genesis,
        keys: Vec<SigningKey>,
        config: &RigConfig,
    ) -> Result<Self, RigStartError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(config.socket_threads)
            .thread_name("socket")
            .enable_all()
            .build()
            .map_err(RigStartError::Runtime)?;
        let (validators, fault) = (keys.len(), config.fault);
        let mut directories: Vec<PathBuf> = match validators {
            1 => vec![directory.to_owned()],
            several => (0..several)
                .map(|at| directory.join(format!("validator-{at}")))
                .collect(),
        };
        let mut seats = Vec::with_capacity(keys.len());
        for (key, directory) in keys.into_iter().zip(&directories) {
            std::fs::create_dir_all(directory).map_err(RigStartError::Directory)?;
            let disk = Arc::new(FileDisk::open(directory).map_err(StoreError::from)?);
            seats.push(Seat { key, disk });
        }
        let node = NodeConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            limits: limits(),
            pipeline: config.pipeline.clone(),
            store: config.store.clone(),
            scoring: ScoringConfig {
                when: if config.scores {
                    ScoreWhen::On
                } else {
                    ScoreWhen::Off
                },
                ..ScoringConfig::default()
            },
            validator: Default::default(),
            vault: None,
            keep_for: Vec::new(),
            key_log_path: None,
        };
        let hindered = |position| {
            if position + 1 == validators {
                fault.hindrance()
            } else {
                Some(Hindrance::None)
            }
        };
        let cluster = Cluster::start_hindered(seats, genesis, &node, runtime.handle(), &hindered)?;
        directories.truncate(cluster.nodes().len());
        let sound = validators - usize::from(fault != Fault::None);
        let clients = cluster.nodes().iter().take(sound).map(|node| ClientConfig {
            receive_window_bytes: 16 << 20,
            stream_receive_window_bytes: 8 << 20,
            send_window_bytes: 16 << 20,
            ..ClientConfig::new(node.address(), node.public_key())
        });
        let clients = clients.collect();
        let all_metrics: Vec<Arc<Metrics>> = cluster
            .nodes()
            .iter()
            .map(|node| Arc::clone(node.metrics()))
            .collect();
        let metrics = Arc::clone(&all_metrics[0]);
        let mark = Mutex::new(Mark::of(&metrics, report::Rounds::default()));
        Ok(Self {
            runtime: Arc::new(runtime),
            cluster: Mutex::new(Some(cluster)),
            metrics,
            all_metrics,
            directories,
            clients,
            connected: AtomicUsize::new(0),
            mark,
        })
    }

    /// Lets the model that comes with the program decide; it scores, and nothing is held.
    ///
    /// # Errors
    /// [`DecideError`].
    pub fn let_model_decide(&self, authority: &SigningKey) -> Result<(), DecideError> {
        let cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(node) = cluster.as_ref().and_then(|cluster| cluster.nodes().first()) else {
            return Ok(());
        };
        let client = client::Client::connect(&ClientOptions::new(node.address(), node.public_key()))?;
        let authority = authority.copy();
        let model = default_model().hash();
        let_model_decide(&client, authority, SCORING_LANE, &Policy::default(), model, 0)
    }

    /// Rounds that heights took since the last mark, as the first validator counts them; 0 of one alone.
    pub fn rounds(&self) -> report::Rounds {
        let (now, before) = (self.all_rounds(), self.marked().rounds);
        report::Rounds {
            heights: now.heights.saturating_sub(before.heights),
            above_0: now.above_0.saturating_sub(before.above_0),
            above_1: now.above_1.saturating_sub(before.above_1),
        }
    }

    fn all_rounds(&self) -> report::Rounds {
        let cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        let nodes = cluster.as_ref().map_or(&[][..], Cluster::nodes);
        let Some(rounds) = nodes.first().map(|node| node.view().counts.rounds) else {
            return report::Rounds::default();
        };
        let within = |count| rounds.up_to().find(|(bound, _)| *bound == count);
        let above = |count| rounds.count() - within(count).map_or(0, |(_, heights)| heights);
        report::Rounds {
            heights: rounds.count(),
            above_0: above(1),
            above_1: above(2),
        }
    }

    fn marked(&self) -> std::sync::MutexGuard<'_, Mark> {
        self.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// No limit of rate for the harness: it measures the node, not the fences. The fences have their own tests.
fn limits() -> Limits {
    let free = Rate {
        per_s: u64::from(u32::MAX),
        burst: u64::from(u32::MAX),
    };
    let bytes = Rate {
        per_s: 1 << 40,
        burst: 1 << 40,
    };
    Limits {
        connection_frames: free,
        connection_bytes: bytes,
        identity_frames: free,
        identity_bytes: bytes,
        requests_in_flight_max: 1 << 20,
        bytes_in_flight_max: 256 << 20,
        receive_window_bytes: 16 << 20,
        stream_receive_window_bytes: 8 << 20,
        ..Limits::default()
    }
}

impl Mark {
    /// Scoring's share of the processor time since a mark, of node and client together.
    fn share_of_scoring(&self, mark: &Self) -> f64 {
        let scoring = self.score_cpu_ns.saturating_sub(mark.score_cpu_ns);
        seconds(scoring) / seconds(self.cpu_ns.saturating_sub(mark.cpu_ns)).max(f64::MIN_POSITIVE)
    }

    fn of(metrics: &Metrics, rounds: report::Rounds) -> Self {
        Self {
            rounds,
            at: Instant::now(),
            cpu_ns: usage().cpu_ns,
            score_cpu_ns: metrics.score_cpu_ns.get(),
            busy_ns: Stage::ALL
                .iter()
                .map(|stage| metrics.stage(*stage).busy_ns())
                .collect(),
            lens: Queue::ALL
                .iter()
                .map(|queue| metrics.queue(*queue).lens().snapshot())
                .collect(),
            refused: Refusal::ALL
                .iter()
                .map(|one| (one.name(), metrics.refused_count(*one)))
                .collect(),
        }
    }
}

impl Rig for NodeRig {
    fn connect(&self) -> Result<Connection, RigError> {
        let number = self.connected.fetch_add(1, Ordering::Relaxed) % self.clients.len();
        let client = self.clients[number].clone();
        let connect = async { Client::new(client)?.connect().await };
        let connection = self
            .runtime
            .block_on(connect)
            .map_err(|error| RigError::Connect(error.into()))?;
        let (sender, receiver) = connection.split();
        Ok(Connection {
            submit: Box::new(SubmitEnd {
                runtime: Arc::clone(&self.runtime),
                sender,
                gathered: Vec::with_capacity(GATHER_BYTES * 2),
                frames: 0,
                next: 0,
            }),
            answers: Box::new(AnswersEnd {
                runtime: Arc::clone(&self.runtime),
                receiver,
            }),
        })
    }

    fn mark_stages(&self) {
        let rounds = self.all_rounds();
        *self.marked() = Mark::of(&self.metrics, rounds);
    }

    fn stages(&self) -> Vec<report::Stage> {
        let mark = self.marked();
        let elapsed_ns = mark.at.elapsed().as_secs_f64() * 1e9;
        let now = Mark::of(&self.metrics, mark.rounds);
        let dropped = |refusals: &[Refusal]| {
            let count = |one: &Refusal| now.refused[one.name()] - mark.refused[one.name()];
            refusals.iter().map(count).sum()
        };
        Stage::ALL
            .iter()
            .enumerate()
            .map(|(at, stage)| report::Stage {
                name: stage.name().into(),
                cpu_share: (*stage == Stage::Score).then(|| now.share_of_scoring(&mark)),
                busy: seconds(now.busy_ns[at] - mark.busy_ns[at]) * 1e9 / elapsed_ns,
                queue_p99: queue_before(*stage).map_or(0, |queue| {
                    let at = Queue::ALL.iter().position(|one| *one == queue).unwrap_or(0);
                    now.lens[at].since(&mark.lens[at]).quantile(0.99)
                }),
                dropped: match stage {
                    Stage::Verify => {
                        dropped(&[Refusal::IntakeFull, Refusal::SignatureInvalid, Refusal::DiskFull])
                    }
                    Stage::Admit => dropped(&[Refusal::PoolFull, Refusal::LaneFull, Refusal::Evicted]),
                    _ => 0,
                },
            })
            .collect()
    }

    fn process(&self) -> Process {
        Process::Own
    }

    fn log_bytes(&self) -> u64 {
        let logs = self.directories.iter().map(|directory| directory.join("log"));
        logs.map(|log| directory_bytes(&log)).sum()
    }

    fn heights(&self) -> Heights {
        Heights {
            durable: least(&self.all_metrics, |metrics| metrics.tip_height.get()),
            indexed: least(&self.all_metrics, |metrics| metrics.indexed_height.get()),
        }
    }

    fn durability(&self) -> &'static str {
        "synced (fdatasync before every reply)"
    }

    fn verify(self: Box<Self>) -> Result<report::Verify, RigError> {
        let cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut agree = true;
        if let Some(cluster) = cluster {
            let tips = cluster.settle(SETTLE_MAX);
            agree = tips.windows(2).all(|pair| pair[0].hash == pair[1].hash);
            self.runtime
                .block_on(cluster.stop())
                .map_err(|error| RigError::Verify(error.into()))?;
        }
        if !agree {
            tracing::error!("the validators stand at different blocks");
            return Ok(BROKEN);
        }
        let mut first = None;
        for directory in &self.directories {
            let found = verify_one(directory)?;
            if !found.ok {
                return Ok(found);
            }
            first.get_or_insert(found);
        }
        Ok(first.unwrap_or(BROKEN))
    }
}

/// A log that does not hold.
const BROKEN: report::Verify = report::Verify {
    ok: false,
    from: 0,
    height: 0,
    transfers: 0,
};

fn verify_one(directory: &Path) -> Result<report::Verify, RigError> {
    let disk = FileDisk::open(directory).map_err(|error| RigError::Verify(error.into()))?;
    match verify(Arc::new(disk), &mut |_, _| {}) {
        Ok(found) => Ok(report::Verify {
            ok: true,
            from: found.from.0,
            height: found.height.0,
            transfers: found.transfers,
        }),
        Err(error @ (StoreError::Verify(_) | StoreError::Restore { .. })) => {
            tracing::error!(error = %error, "the log does not hold");
            Ok(BROKEN)
        }
        Err(error) => Err(RigError::Verify(error.into())),
    }
}

fn least(all: &[Arc<Metrics>], of: impl Fn(&Metrics) -> u64) -> u64 {
    all.iter().map(|metrics| of(metrics)).min().unwrap_or(0)
}

fn seconds(ns: u64) -> f64 {
    Duration::from_nanos(ns).as_secs_f64()
}

/// The queue that feeds a stage.
fn queue_before(stage: Stage) -> Option<Queue> {
    match stage {
        Stage::Decode | Stage::Verify => Some(Queue::Intake),
        Stage::Admit => Some(Queue::Verified),
        Stage::Record | Stage::Sync => Some(Queue::Log),
        Stage::Publish => Some(Queue::Publish),
        Stage::Index => Some(Queue::Index),
        Stage::Build | Stage::Score | Stage::Execute | Stage::Root => None,
    }
}

/// Bytes that the files of a directory take on the disk: the log's files grow ahead of what is in them, with holes.
fn directory_bytes(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return 0;
    };
    entries
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .map(|file| file.blocks() * BLOCK_BYTES)
        .sum()
}

/// The unit of `st_blocks` (POSIX leaves it open; Linux counts 512 bytes).
pub(super) const BLOCK_BYTES: u64 = 512;

/// Bytes gathered before they are handed to the connection.
const GATHER_BYTES: usize = 64 * 1024;
/// Longest wait for room in the connection.
const SEND_MAX: Duration = Duration::from_secs(60);

struct SubmitEnd {
    runtime: Arc<Runtime>,
    sender: Sender,
    gathered: Vec<u8>,
    frames: usize,
    next: u64,
}

impl Submit for SubmitEnd {
    fn submit(&mut self, envelope: &[u8]) -> Result<(), RigError> {
        let front = Request::Submit {
            detail: Detail::Refusals,
            envelope: &[],
        }
        .encode(self.next);
        self.next += 1;
        self.gathered
            .extend_from_slice(&codec::narrow(front.len() + envelope.len()).to_le_bytes());
        self.gathered.extend_from_slice(&front);
        self.gathered.extend_from_slice(envelope);
        self.frames += 1;
        if self.gathered.len() >= GATHER_BYTES {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<(), RigError> {
        if self.frames == 0 {
            return Ok(());
        }
        let bytes = core::mem::replace(&mut self.gathered, Vec::with_capacity(GATHER_BYTES * 2));
        let frames = core::mem::take(&mut self.frames);
        self.runtime
            .block_on(self.sender.send_raw(bytes.into(), frames, SEND_MAX))
            .map_err(|error| RigError::Broken(error.into()))
    }
}

struct AnswersEnd {
    runtime: Arc<Runtime>,
    receiver: Receiver,
}

impl Answers for AnswersEnd {
    fn receive(&mut self, wait: Duration, into: &mut Vec<Answer>) -> Result<(), RigError> {
        let frames = match self.runtime.block_on(self.receiver.receive(wait)) {
            Ok(frames) => frames,
            Err(ReceiveError::Deadline { .. }) => return Ok(()),
            Err(error) => return Err(RigError::Broken(error.into())),
        };
        for frame in frames {
            let (ticket, reply) = Reply::decode(&frame).map_err(|error| RigError::Broken(error.into()))?;
            let verdict = match reply {
                Reply::Accepted => Verdict::Accepted,
                Reply::Committed(committed) => {
                    let mut refused: BTreeMap<&'static str, u64> = BTreeMap::new();
                    for (_, outcome, _) in &committed.refused {
                        *refused.entry(outcome.name()).or_default() += 1;
                    }
                    Verdict::Committed {
                        applied: u64::from(committed.operations) - codec::wide(committed.refused.len()),
                        refused: refused.into_iter().collect(),
                    }
                }
                Reply::Refused(refused) => Verdict::Dropped {
                    code: refused.refusal.name(),
                },
                Reply::Answer(_) => continue,
            };
            into.push(Answer { ticket, verdict });
        }
        Ok(())
    }
}
