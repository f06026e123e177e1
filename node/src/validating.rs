//! A validator of several: its keys, its plane, its journal, and its links to the others.

use crate::config::PeerAddress;
use crate::drive::Validating;
use crate::hindrance::Hindrance;
use crate::joining::JoinConfig;
use crate::mesh::{Mesh, read_next_key};
use crate::replica::Agreement;
use crate::standing::{Reveals, says};
use core::time::Duration;
use selfchain_consensus::bft::{self, Bft};
use selfchain_engine::commit::Chain;
use selfchain_storage::{Disk, Journal, JournalConfig, JournalError};
use selfchain_transport::links::{self, LinkLimits, LinkMetrics, Links, PeerStatus};
use selfchain_types::Genesis;
use selfchain_types::crypto::SigningKey;
use selfchain_types::seam::consensus::Plane;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::Instant;
use thiserror::Error;
use tokio::runtime::Handle;

/// How a validator of several reaches the others, and how long it waits for them.
#[derive(Clone, Debug)]
pub struct ValidatorConfig {
    /// Where it listens for them.
    pub listen: Option<SocketAddr>,
    /// Where they listen, where the chain does not say. Those that the chain does not know yet are reached too.
    pub peers: Vec<PeerAddress>,
    /// The file of the key that this one rotates to. It may come while the node runs.
    pub next_key: Option<PathBuf>,
    /// The files of its checkpoint key, and of the one to come. They may come while the node runs.
    pub checkpoint_keys: Vec<PathBuf>,
    /// How long a proposal is waited for in a first round.
    pub propose_timeout: Duration,
    /// How long votes are waited for in a first round.
    pub vote_timeout: Duration,
    /// What it does badly on purpose: only a program that starts validators of its own sets it.
    pub hindrance: Hindrance,
    /// When it begins at a snapshot of theirs instead of fetching every block.
    pub join: JoinConfig,
}

impl Default for ValidatorConfig {
    fn default() -> Self {
        Self {
            listen: None,
            peers: Vec::new(),
            next_key: None,
            checkpoint_keys: Vec::new(),
            propose_timeout: Duration::from_secs(1),
            vote_timeout: Duration::from_millis(500),
            hindrance: Hindrance::None,
            join: JoinConfig::default(),
        }
    }
}

/// Why a node cannot be a validator of several.
#[derive(Debug, Error)]
pub enum ValidatingError {
    /// The links have nowhere to listen.
    #[error(
        "this chain has {validators} validators, and validator.listen is off: the others could not reach this one"
    )]
    NoListen {
        /// How many there are.
        validators: usize,
    },
    /// The journal.
    #[error("the journal of votes could not be opened")]
    Journal(#[from] JournalError),
    /// The links.
    #[error("the links to the other validators could not be started")]
    Links(#[from] links::StartError),
}

/// The links, for whoever operates the node. The order thread has them, and they end with it.
#[derive(Clone)]
pub struct Reach {
    links: Weak<Links>,
    metrics: Arc<LinkMetrics>,
}

impl Reach {
    /// How it stands with every peer; nobody's when the links have ended.
    pub fn status(&self) -> Vec<PeerStatus> {
        self.links.upgrade().map_or_else(Vec::new, |links| links.status())
    }

    /// What the links count.
    pub fn metrics(&self) -> &LinkMetrics {
        &self.metrics
    }
}

/// Wakes the thread that takes what the links bring, once there is one.
pub type Waker = Arc<OnceLock<Arc<dyn Fn() + Send + Sync>>>;

/// How a validator of several waits for the others.
fn waits(config: &ValidatorConfig) -> bft::Options {
    let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    bft::Options {
        propose_ns: ns(config.propose_timeout),
        prevote_ns: ns(config.vote_timeout),
        precommit_ns: ns(config.vote_timeout),
        ..bft::Options::default()
    }
}

/// What a validator with this key agrees by, and with the one that it rotates to, if there is one; without a scorer. All
/// planes of several agree alike, and differ in how validators stand.
pub fn agreement(
    genesis: &Genesis,
    key: &SigningKey,
    next: Option<&SigningKey>,
    options: bft::Options,
) -> Agreement {
    let mut bft = Bft::new(genesis.chain_id(), key.copy(), options).with_extensions(says(genesis.plane));
    let mut reveals = Reveals::new(genesis, key);
    if let Some(next) = next {
        bft.hold(next.copy());
        reveals.hold(genesis, next);
    }
    Agreement {
        plane: Box::new(bft),
        keys: core::iter::once(key).chain(next).map(SigningKey::copy).collect(),
        reveals: Box::new(reveals),
        scoring: None,
    }
}

/// Opens the journal and starts the links of a validator of several.
///
/// # Errors
/// [`ValidatingError`].
pub fn validating(
    chain: &Chain,
    key: &SigningKey,
    disk: Arc<dyn Disk>,
    config: &ValidatorConfig,
    key_log_path: Option<&OsString>,
    runtime: &Handle,
    waker: &Waker,
) -> Result<(Validating, Reach), ValidatingError> {
    let genesis = chain.genesis();
    let validators = genesis.validators.len();
    let listen = config.listen.ok_or(ValidatingError::NoListen { validators })?;
    let journal = Journal::open(disk, JournalConfig::default(), chain.tip().height.0)?;
    let next = config.next_key.as_deref().and_then(read_next_key);
    // The set says which of them counts, also after a restart in the middle of a rotation.
    let set = chain.validators();
    let is_in_set = |key: &&SigningKey| set.iter().any(|one| one.key == *key.public());
    let shown = core::iter::once(key).chain(&next).find(is_in_set).unwrap_or(key);
    let wake = Arc::clone(waker);
    let options = || links::Options {
        listen,
        chain: genesis.chain_id(),
        key_log_path: key_log_path.cloned(),
        seed: u64::from_le_bytes(key.id().0.0.first_chunk().copied().unwrap_or_default()),
        limits: LinkLimits::default(),
        wake: Some(Arc::new({
            let wake = Arc::clone(&wake);
            move || {
                if let Some(wake) = wake.get() {
                    wake();
                }
            }
        })),
    };
    // Whom it reaches is told before the first look at what they say.
    let began = Instant::now();
    let links = loop {
        match Links::start(options(), shown, &[], runtime) {
            // A node that begins anew in this process: its links have told the others that they end, and linger.
            Err(links::StartError::Listen { source, .. })
                if source.kind() == io::ErrorKind::AddrInUse && began.elapsed() < LINGER_MAX =>
            {
                thread::park_timeout(LINGER_LOOK);
            }
            started => break Arc::new(started?),
        }
    };
    let reach = Reach {
        links: Arc::downgrade(&links),
        metrics: links.metrics(),
    };
    let validating = Validating {
        agreement: agreement(genesis, key, next.as_ref(), waits(config)),
        journal,
        is_starving: config.hindrance == Hindrance::Starving,
        peers: config.hindrance.hinder(
            Mesh::new(links, core::iter::once(key.copy()).chain(next).collect(), config),
            genesis.chain_id(),
            key,
        ),
        join: config.join,
        checkpoint_keys: config.checkpoint_keys.clone(),
    };
    Ok((validating, reach))
}

/// How long an address may be in use before the links do not start.
const LINGER_MAX: Duration = Duration::from_secs(5);
/// How often it is tried meanwhile.
const LINGER_LOOK: Duration = Duration::from_millis(50);
