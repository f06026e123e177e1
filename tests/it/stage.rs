//! A real node on any disk, with real sockets on loopback, for the tests that talk to one.

use selfchain::client::{Client, ClientOptions};
use selfchain::drive::PipelineConfig;
use selfchain::node::{Node, NodeConfig, NodeError, ScoringConfig};
use selfchain::storage::{Disk, IndexConfig, LogConfig, Sealing, SnapshotConfig};
use selfchain::store::{Store, StoreConfig};
use selfchain::telemetry::Metrics;
use selfchain::types::crypto::SigningKey;
use selfchain::types::message::{Committed, Detail, Refused, Reply, Request};
use selfchain::types::{Amount, AssetId, EnvelopeBuilder, Genesis, Hash, Height, KeyId, Refusal};
use selfchain::{AccountFlags, AccountId, Operation};
use selfchain_transport::Limits;
use selfchain_transport::client::{ClientConfig, ReceiveError, blocking};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

pub const MONEY: AssetId = AssetId(1);
pub const ISSUANCE: AccountId = AccountId(1 << 64);
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running node.
pub struct Stage {
    pub runtime: Runtime,
    pub node: Node,
    pub metrics: Arc<Metrics>,
    pub chain_id: Hash,
}

/// Small, and without room to spare on the disk.
pub fn config() -> NodeConfig {
    NodeConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        limits: Limits::default(),
        pipeline: PipelineConfig {
            block_interval: Duration::from_millis(1),
            ..PipelineConfig::default()
        },
        store: StoreConfig {
            log: LogConfig {
                reserve_bytes: 0,
                sealing: Sealing::Inline,
                ..LogConfig::default()
            },
            index: IndexConfig {
                reserve_bytes: 0,
                ..IndexConfig::default()
            },
            snapshots: SnapshotConfig {
                reserve_bytes: 0,
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

/// The issuer of [`MONEY`], who owns every account that [`Stage::open`] opens.
pub fn operator() -> SigningKey {
    SigningKey::from_seed(&[9; 32])
}

impl Stage {
    /// Starts a node, making its chain first where there is none.
    pub fn start(disk: Arc<dyn Disk>, config: &NodeConfig) -> Result<Self, NodeError> {
        let key = SigningKey::from_seed(&[7; 32]);
        let genesis = Genesis::solo("stage", 1, key.public().clone());
        if !Store::exists(&*disk).unwrap() {
            Store::create(&*disk, &genesis).unwrap();
        }
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let metrics = Arc::new(Metrics::default());
        let node = Node::start(
            disk,
            &key,
            config,
            Arc::clone(&metrics),
            runtime.handle(),
            &mut |_| {},
        )?;
        Ok(Self {
            runtime,
            node,
            metrics,
            chain_id: genesis.chain_id(),
        })
    }

    pub fn stop(self) {
        self.runtime.block_on(self.node.stop()).unwrap();
    }

    pub fn client(&self) -> Client {
        let options = ClientOptions::new(self.node.address(), self.node.public_key());
        Client::connect(&ClientOptions {
            deadline: PATIENCE,
            ..options
        })
        .unwrap()
    }

    pub fn raw(&self) -> Raw {
        self.raw_as(None)
    }

    /// A connection that proves a key, and is counted by it.
    pub fn raw_as(&self, client_seed: Option<[u8; 32]>) -> Raw {
        let config = ClientConfig {
            client_seed,
            ..ClientConfig::new(self.node.address(), self.node.public_key())
        };
        let client = blocking::Client::new(config).unwrap();
        let connection = client.connect_with_retry(PATIENCE).unwrap();
        let (sender, receiver) = connection.split();
        Raw {
            sender,
            receiver,
            last: 0,
            _client: client,
        }
    }

    /// Creates the asset, and opens these accounts with so many units each.
    pub fn open(&self, accounts: &[AccountId], units: u128) -> Committed {
        let mut operations = vec![Operation::create_asset(
            MONEY,
            ISSUANCE,
            KeyId::NONE,
            2,
            Amount::MAX,
        )];
        for account in accounts {
            let flags = AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS.with(AccountFlags::HISTORY);
            operations.push(Operation::open_account(
                *account,
                MONEY,
                KeyId::NONE,
                flags,
                Amount::ZERO,
                0,
            ));
            operations.push(Operation::transfer(1, ISSUANCE, *account, Amount(units), MONEY));
        }
        let opened = self
            .client()
            .signer(operator(), 0)
            .unwrap()
            .commit(operations)
            .unwrap();
        assert!(opened.refused.is_empty(), "{opened:?}");
        opened
    }

    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.metrics.refused_count(refusal)
    }

    pub fn refused_in_all(&self) -> u64 {
        Refusal::ALL.iter().map(|refusal| self.refused(*refusal)).sum()
    }

    /// An envelope of one lane's counter, valid from genesis on.
    pub fn builder(&self, operations: Vec<Operation>) -> EnvelopeBuilder {
        EnvelopeBuilder::new(self.chain_id, Height(1), 4_000, operations)
    }
}

/// A transfer between two accounts.
pub fn pay(from: AccountId, to: AccountId, units: u128) -> Operation {
    Operation::transfer(1, from, to, Amount(units), MONEY)
}

/// A connection with nothing between the test and the frames.
pub struct Raw {
    pub sender: blocking::Sender,
    pub receiver: blocking::Receiver,
    last: u64,
    _client: blocking::Client,
}

impl Raw {
    pub fn send(&mut self, envelope: &[u8]) -> u64 {
        self.last += 1;
        let frame = Request::Submit {
            detail: Detail::Refusals,
            envelope,
        }
        .encode(self.last);
        self.sender.send(frame, PATIENCE).unwrap();
        self.last
    }

    /// The next final replies, at least one: `Accepted` is passed over.
    pub fn replies(&mut self) -> Vec<(u64, Reply)> {
        let until = Instant::now() + PATIENCE;
        loop {
            let frames = self
                .receiver
                .receive(until.saturating_duration_since(Instant::now()))
                .unwrap();
            let replies: Vec<(u64, Reply)> = frames
                .iter()
                .map(|frame| Reply::decode(frame).unwrap())
                .filter(|(_, reply)| *reply != Reply::Accepted)
                .collect();
            if !replies.is_empty() {
                return replies;
            }
        }
    }

    /// Submits one envelope and waits for what becomes of it.
    /// While the index is behind, which it says, a used counter is asked for again.
    pub fn submit(&mut self, envelope: &[u8]) -> Reply {
        let until = Instant::now() + PATIENCE;
        loop {
            let number = self.send(envelope);
            match self.reply_to(number) {
                Reply::Refused(Refused {
                    refusal: Refusal::IndexBehind,
                    retry_after_ms,
                    ..
                }) => {
                    assert!(
                        Instant::now() < until && retry_after_ms > 0,
                        "the index stays behind"
                    );
                }
                reply => return reply,
            }
        }
    }

    pub fn reply_to(&mut self, number: u64) -> Reply {
        let mut replies = self.replies();
        assert_eq!((replies.len(), replies[0].0), (1, number), "{replies:?}");
        replies.remove(0).1
    }

    /// Why the connection ends.
    pub fn closed(&mut self) -> ReceiveError {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Err(error) = self
                .receiver
                .receive(until.saturating_duration_since(Instant::now()))
            {
                return error;
            }
        }
    }
}

pub fn refusal_of(reply: &Reply) -> &Refused {
    match reply {
        Reply::Refused(refused) => refused,
        other => panic!("not refused: {other:?}"),
    }
}
