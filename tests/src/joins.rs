//! A chain with a long log, and a validator that has nothing and joins it: real nodes, real links, one process.

use selfchain::config::PeerAddress;
use selfchain::drive::PipelineConfig;
use selfchain::engine::commit::{Candidate, Chain, Folded, Proposing};
use selfchain::joining::JoinConfig;
use selfchain::node::{Node, NodeConfig, ScoringConfig};
use selfchain::standing::found;
use selfchain::storage::{Disk, LogConfig};
use selfchain::store::{Store, StoreConfig};
use selfchain::telemetry::Metrics;
use selfchain::types::account::AccountFlags;
use selfchain::types::certificate::{Certificate, Precommit, precommit_digest};
use selfchain::types::crypto::SigningKey;
use selfchain::types::genesis::Plane;
use selfchain::types::seam::log::Log;
use selfchain::types::{
    AccountId, Amount, AssetId, Envelope, EnvelopeBuilder, Genesis, Height, Operation, Risk, TimeNs, Verified,
};
use selfchain::validating::ValidatorConfig;
use selfchain_consensus::schedule;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Whatever may go wrong.
pub type Checked<T> = Result<T, Box<dyn Error + Send + Sync>>;

const MS: u64 = 1_000_000;
/// Validators of the chain, all of which sign every block.
const VALIDATORS: u8 = 4;
const MONEY: AssetId = AssetId(1);
const ISSUANCE: AccountId = AccountId(7);
/// Accounts that the chain has, however long it is.
const ACCOUNTS: u64 = 100;
/// Blocks that one sync makes durable while the log is made.
const GROUP: u64 = 64;
/// Heights for which a transaction is valid.
const SPAN: u64 = 60;
/// How often the nodes are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// The key of a validator.
pub fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number + 1; 32])
}

/// Four validators, the first of which has enough power to decide alone. Only the first two ever run.
pub fn genesis() -> Genesis {
    let keys: Vec<SigningKey> = (0..VALIDATORS).map(key).collect();
    let genesis = Genesis::solo("joins", 1, keys[0].public().clone());
    let mut genesis = found(genesis, Plane::Stake, &keys, 1_024, 1);
    genesis.validators[0].power = 1_000_000;
    genesis
}

/// Segments of so many bytes.
pub fn store_config(segment_bytes: u64) -> StoreConfig {
    StoreConfig {
        log: LogConfig {
            segment_bytes,
            ..LogConfig::default()
        },
        ..StoreConfig::default()
    }
}

/// Makes a chain of `blocks` blocks on an empty disk, each with one transfer once the accounts are open and decided by
/// all its validators, and writes a snapshot of `snapshot`. All that lasts is the same for any number of blocks but
/// counters and totals.
///
/// # Errors
/// Whatever goes wrong.
pub fn grow(disk: &Arc<dyn Disk>, blocks: u64, snapshot: u64, config: &StoreConfig) -> Checked<()> {
    let genesis = genesis();
    Store::create(&**disk, &genesis)?;
    let mut store = Store::open(Arc::clone(disk), config)?;
    let mut chain = store.recover(&mut |_| {})?;
    let keys: Vec<SigningKey> = (0..VALIDATORS).map(key).collect();
    let mut parent_certificate = Vec::new();
    for height in (1..=blocks).map(Height) {
        let set = chain.validators();
        let proposer = schedule::proposer(&chain.schedule(), height, 0).and_then(|at| set.get(at));
        let proposing = Proposing {
            parent_certificate: &parent_certificate,
            ..Proposing::solo(proposer.ok_or("nobody proposes")?.key.id())
        };
        let now = TimeNs((1_700_000_000_000 + 2 * height.0) * MS);
        let transfer = transfer(&genesis, height)?;
        let candidate = chain.propose(vec![transfer], Risk::default(), now, proposing);
        let certificate = certify(&chain, &keys, &candidate);
        parent_certificate.clear();
        certificate.encode(&mut parent_certificate);
        let block = chain.commit(&candidate, &certificate, &|_| false)?;
        store.log.append(height.0, &block.row)?;
        if height.0.is_multiple_of(GROUP) || height.0 >= blocks {
            store.log.sync()?;
        }
        store.project(&Folded {
            tip: block.tip,
            transactions: block.transactions,
            history: block.history,
            receipt_nodes: block.receipt_nodes,
            handover: block.handover,
        })?;
        if height.0 == snapshot {
            store.write_snapshot(&chain)?;
        }
    }
    Ok(())
}

/// The only transaction of the block at this height: it creates the asset, opens an account, or moves a little money.
fn transfer(genesis: &Genesis, height: Height) -> Checked<Verified> {
    let operation = match height.0 {
        1 => Operation::create_asset(MONEY, ISSUANCE, key(0).id(), 2, Amount(1 << 60)),
        at if at <= ACCOUNTS + 1 => {
            let (flags, owner) = (AccountFlags::default(), key(0).id());
            Operation::open_account(AccountId(98 + u128::from(at)), MONEY, owner, flags, Amount(0), 0)
        }
        at => {
            let to = AccountId(100 + u128::from(at % ACCOUNTS));
            Operation::transfer(u128::from(at), ISSUANCE, to, Amount(1), MONEY)
        }
    };
    let builder = EnvelopeBuilder::new(genesis.chain_id(), height, SPAN, vec![operation]);
    let envelope = Envelope::decode(builder.sign(&[(&key(0), 0, height.0)]));
    let verified = envelope.ok().and_then(|one| Verified::check(one, &()).ok());
    Ok(verified.ok_or("a transaction of this program is refused")?)
}

/// What all validators' precommits of a block make.
fn certify(chain: &Chain, keys: &[SigningKey], candidate: &Candidate) -> Certificate {
    let (height, block) = (candidate.header().height, candidate.hash());
    let digest = precommit_digest(&chain.chain_id(), height, 0, &block, &[]);
    let set = chain.validators();
    let precommits = (0..).zip(set.iter()).filter_map(|(validator, one)| {
        let key = keys.iter().find(|key| *key.public() == one.key)?;
        Some(Precommit {
            validator,
            extension: Vec::new(),
            signature: key.sign(digest.as_bytes()),
        })
    });
    Certificate {
        height,
        round: 0,
        block,
        precommits: precommits.collect(),
    }
}

/// Two addresses of this machine that nobody uses now.
///
/// # Errors
/// None is free.
pub fn addresses() -> Checked<[SocketAddr; 2]> {
    let sockets = [(); 2].map(|()| std::net::UdpSocket::bind(("127.0.0.1", 0)));
    let [first, second] = sockets;
    Ok([first?.local_addr()?, second?.local_addr()?])
}

/// Starts a validator of the chain.
///
/// # Errors
/// Whatever goes wrong.
pub fn start(
    number: u8,
    disk: Arc<dyn Disk>,
    addresses: &[SocketAddr; 2],
    behind_blocks: u64,
    store: &StoreConfig,
    runtime: &Handle,
) -> Checked<Node> {
    let peers = (0u8..).zip(addresses).map(|(at, address)| PeerAddress::of(key(at).public(), *address));
    let config = NodeConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        limits: selfchain_transport::Limits::default(),
        pipeline: PipelineConfig::default(),
        store: store.clone(),
        scoring: ScoringConfig::default(),
        validator: ValidatorConfig {
            listen: addresses.get(usize::from(number)).copied(),
            peers: peers.collect(),
            join: JoinConfig { behind_blocks },
            ..ValidatorConfig::default()
        },
        key_log_path: None,
    };
    Ok(Node::start(
        disk,
        &key(number),
        &config,
        Arc::<Metrics>::default(),
        runtime,
        &mut |_| {},
    )?)
}

/// How one that had nothing came to the others' height.
#[derive(Clone, Copy, Debug)]
pub struct Joined {
    /// From its first start until its log was durable at that height.
    pub took: Duration,
    /// The snapshot that it began at, if it did.
    pub snapshot: Option<Height>,
    /// Blocks that it fetched.
    pub blocks: u64,
}

/// Lets the second validator, which has nothing, come to height `to`, at most for `patience`. It begins again when it
/// has a snapshot, as `selfchain run` does, and is stopped in the end.
///
/// # Errors
/// Whatever goes wrong.
pub fn join(
    disk: &Arc<dyn Disk>,
    addresses: &[SocketAddr; 2],
    (to, behind_blocks): (Height, u64),
    store: &StoreConfig,
    runtime: &Handle,
    patience: Duration,
) -> Checked<Joined> {
    let began = Instant::now();
    let mut snapshot = None;
    loop {
        let node = start(1, Arc::clone(disk), addresses, behind_blocks, store, runtime)?;
        let first = node.tip().height;
        let (mut is_there, mut has_joined) = (false, None);
        while !is_there && has_joined.is_none() {
            if let Some(fault) = node.fault() {
                return Err(fault.into());
            }
            if began.elapsed() > patience {
                return Err(format!("at height {} after {patience:?}", node.tip().height).into());
            }
            has_joined = node.joined();
            is_there = node.tip().height >= to;
            std::thread::park_timeout(LOOK_EVERY);
        }
        let took = began.elapsed();
        let blocks = node.tip().height.0 - first.0;
        runtime.block_on(node.stop())?;
        if is_there {
            return Ok(Joined {
                took,
                snapshot,
                blocks,
            });
        }
        snapshot = has_joined;
    }
}
