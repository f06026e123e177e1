//! A validator of several: which of them it is, its plane, its journal, and its links to the others.

use crate::config::PeerAddress;
use crate::drive::{FromPeer, Peers, Validating};
use crate::joining::JoinConfig;
use crate::replica::{Agreement, Outgoing, To};
use crate::standing::{Reveals, says};
use bytes::Bytes;
use core::time::Duration;
use selfchain_consensus::bft::{self, Bft};
use selfchain_storage::{Disk, Journal, JournalConfig, JournalError};
use selfchain_transport::links::{self, Event, LinkLimits, LinkMetrics, Links, PeerStatus};
use selfchain_types::crypto::SigningKey;
use selfchain_types::genesis;
use selfchain_types::peer::Lane;
use selfchain_types::{Genesis, Hash, Height};
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
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
    /// Where they listen.
    pub peers: Vec<PeerAddress>,
    /// How long a proposal is waited for in a first round.
    pub propose_timeout: Duration,
    /// How long votes are waited for in a first round.
    pub vote_timeout: Duration,
    /// When it begins at a snapshot of theirs instead of fetching every block.
    pub join: JoinConfig,
}

impl Default for ValidatorConfig {
    fn default() -> Self {
        Self {
            listen: None,
            peers: Vec::new(),
            propose_timeout: Duration::from_secs(1),
            vote_timeout: Duration::from_millis(500),
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
    /// A validator has no address.
    #[error("validator.peers has no address of the validator with the key {key}")]
    NoAddress {
        /// Its public key.
        key: Hash,
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

/// What a validator with this key agrees by, without a scorer: all planes of several agree alike, and differ in how
/// validators stand.
pub fn agreement(genesis: &Genesis, key: &SigningKey, options: bft::Options) -> Agreement {
    let signing = SigningKey::from_seed(&key.seed());
    let bft = Bft::new(genesis.chain_id(), signing, options).with_extensions(says(genesis.plane));
    Agreement {
        plane: Box::new(bft),
        reveals: Box::new(Reveals::new(genesis, key)),
        scoring: None,
    }
}

/// Opens the journal and starts the links of the validator at position `me`.
///
/// # Errors
/// [`ValidatingError`].
#[allow(clippy::too_many_arguments, reason = "called once, where the node starts")]
pub fn validating(
    genesis: &Genesis,
    me: usize,
    key: &SigningKey,
    disk: Arc<dyn Disk>,
    durable_tip: Height,
    config: &ValidatorConfig,
    key_log_path: Option<OsString>,
    runtime: &Handle,
    waker: &Waker,
) -> Result<(Validating, Reach), ValidatingError> {
    let validators = genesis.validators.len();
    let listen = config.listen.ok_or(ValidatingError::NoListen { validators })?;
    let journal = Journal::open(disk, JournalConfig::default(), durable_tip.0)?;
    let wake = Arc::clone(waker);
    let options = || links::Options {
        listen,
        chain: genesis.chain_id(),
        key_log_path: key_log_path.clone(),
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
    let peers = peers(&genesis.validators, me, &config.peers)?;
    let began = Instant::now();
    let links = loop {
        match Links::start(options(), key, &peers, runtime) {
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
        agreement: agreement(genesis, key, waits(config)),
        me: u16::try_from(me).unwrap_or(u16::MAX),
        journal,
        peers: Box::new(Mesh(links)),
        join: config.join,
    };
    Ok((validating, reach))
}

/// How long an address may be in use before the links do not start.
const LINGER_MAX: Duration = Duration::from_secs(5);
/// How often it is tried meanwhile.
const LINGER_LOOK: Duration = Duration::from_millis(50);

/// The other validators of the set, each with its address.
fn peers(
    set: &[genesis::Validator],
    me: usize,
    addresses: &[PeerAddress],
) -> Result<Vec<links::Peer>, ValidatingError> {
    let others = (0u16..).zip(set).filter(|(at, _)| usize::from(*at) != me);
    others
        .map(|(position, validator)| {
            let known = addresses
                .iter()
                .find(|peer| peer.key[..] == *validator.key.as_bytes());
            let key = validator
                .key
                .as_bytes()
                .first_chunk()
                .copied()
                .unwrap_or_default();
            let known = known.ok_or(ValidatingError::NoAddress { key: Hash(key) })?;
            Ok(links::Peer {
                position,
                key: validator.key.clone(),
                address: known.address,
            })
        })
        .collect()
}

/// The links, as the order thread uses them.
struct Mesh(Arc<Links>);

impl Peers for Mesh {
    fn send(&self, message: Outgoing) {
        let lane = lane(message.lane);
        let bytes = Bytes::from_owner(message.bytes);
        let sent = match message.to {
            To::All => self.0.broadcast(lane, &bytes).map(|_| ()),
            To::One(to) => self.0.send(to, lane, bytes),
        };
        if let Err(error) = sent {
            tracing::debug!(error = %error, "a message to a validator is dropped");
        }
    }

    fn next(&self) -> Option<FromPeer> {
        Some(match self.0.try_next()? {
            Event::Received { from, bytes, .. } => FromPeer::Message {
                from,
                bytes: bytes.into(),
            },
            Event::Up { from } => FromPeer::Link {
                peer: from,
                is_up: true,
            },
            Event::Down { from, why } => {
                tracing::info!(peer = from, why = %why, "a validator cannot be reached");
                FromPeer::Link {
                    peer: from,
                    is_up: false,
                }
            }
        })
    }
}

fn lane(lane: Lane) -> links::Lane {
    match lane {
        Lane::Votes => links::Lane::Votes,
        Lane::Bodies => links::Lane::Bodies,
        Lane::Transactions => links::Lane::Transactions,
        Lane::Sync => links::Lane::Sync,
    }
}
