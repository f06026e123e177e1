//! What can be chosen about a node: one struct per plane, every field with its unit, its limits and why.
//!
//! A key has one name everywhere: `ingest.listen` in the file, `--ingest.listen` on the command line,
//! `SELFCHAIN_INGEST__LISTEN` in the environment. A flag wins over the environment, that over the file, that
//! over the default. The table [`KEYS`] holds them all; nothing reads a key that is not in it.

mod value;
mod choice;
mod endpoint;
mod owners;
mod peers;
mod annotated;
mod planes;
mod nearest;
mod layers;

pub use annotated::annotated;
pub use choice::{BlockOrder, LogFormat, LogLevel, Scoring};
pub use endpoint::EndpointUrl;
pub use layers::{ConfigError, ENV_PREFIX, Layers, Resolved, Source, env_name, resolve};
pub use owners::KeyIds;
pub use peers::{PeerAddress, Peers};
pub use value::{Setting, ValueFault};

use crate::joining::JOIN_BEHIND_BLOCKS;
use crate::keeping::Agreements;
use selfchain_types::Hash;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use value::check;
pub(crate) use value::{parse_list, show_list};

/// A key: its name, what it means, and how it is read and shown.
#[derive(Debug)]
pub struct Key {
    /// As in the file: `plane.field`.
    pub name: &'static str,
    /// What it means; one line a sentence.
    pub doc: &'static [&'static str],
    /// What its number counts, or what its text is.
    pub unit: &'static str,
    /// Whether TOML writes it without quotes.
    pub is_bare: bool,
    /// Its value as text.
    pub show: fn(&Config) -> String,
    /// Sets it from text.
    pub set: fn(&mut Config, &str) -> Result<(), ValueFault>,
}

macro_rules! planes {
    ($(
        $(#[doc = $plane_doc:literal])+
        $plane:ident: $Plane:ident {
            $( $(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:expr, $unit:literal $(, $range:expr)?; )+
        }
    )+) => {
        $(
            $(#[doc = $plane_doc])+
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub struct $Plane { $( $(#[doc = $doc])+ #[doc = concat!("\n\nUnit: ", $unit, ".")] pub $field: $type, )+ }

            impl Default for $Plane {
                fn default() -> Self {
                    Self { $( $field: $default, )+ }
                }
            }
        )+

        /// All that can be chosen about a node.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Config {
            /// Folder that holds all of the node: key, genesis, log, index, snapshots.
            pub data_dir: PathBuf,
            /// First port: `ingest.listen` has this one, `http.listen` the next, where they are not set themselves.
            /// Zero: ports that are unused.
            pub port_base: u16,
            $( $(#[doc = $plane_doc])+ pub $plane: $Plane, )+
        }

        impl Default for Config {
            fn default() -> Self {
                Self { data_dir: PathBuf::from("selfchain-data"), port_base: PORT_BASE, $( $plane: $Plane::default(), )+ }
            }
        }

        /// Every key there is, in the order of the file.
        pub static KEYS: &[Key] = &[
            Key {
                name: "data_dir",
                doc: &["Folder that holds all of the node: key, genesis, log, index, snapshots."],
                unit: "path",
                is_bare: PathBuf::IS_BARE,
                show: |config| config.data_dir.show(),
                set: |config, text| { config.data_dir = check(text, None)?; Ok(()) },
            },
            Key {
                name: "port_base",
                doc: &[
                    "First port: ingest.listen has this one, http.listen the next, where they are not set themselves.",
                    "Zero: ports that are unused.",
                ],
                unit: "port",
                is_bare: u16::IS_BARE,
                show: |config| config.port_base.show(),
                set: |config, text| { config.port_base = check(text, Some(&(0..=u16::MAX - 1)))?; Ok(()) },
            },
            $($( Key {
                name: concat!(stringify!($plane), ".", stringify!($field)),
                doc: &[$($doc),+],
                unit: $unit,
                is_bare: <$type as Setting>::IS_BARE,
                show: |config| config.$plane.$field.show(),
                set: |config, text| { config.$plane.$field = check(text, planes!(@range $($range)?))?; Ok(()) },
            }, )+)+
        ];
    };
    (@range) => { None };
    (@range $range:expr) => { Some(&$range) };
}

/// The first port of a node that is not told another.
const PORT_BASE: u16 = 7_400;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// No limit of memory or disk is set above this.
const BYTES_MAX: u64 = 1 << 50;

planes! {
    /// The QUIC port that clients send transactions and queries to, and what each of them may use.
    ingest: IngestConfig {
        /// Address of the QUIC port. Off loopback only with a firewall or a reason.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT_BASE)), "address";
        /// Connections open at once, all peers. Above: refused before the handshake.
        connections_max: u64 = 2_000, "connections", 1..=100_000;
        /// Connections open at once from one address (IPv4 address or IPv6 /64).
        connections_per_ip_max: u64 = 64, "connections", 1..=100_000;
        /// New connections from one address, sustained.
        connections_new_per_ip_per_s: u64 = 16, "connections per second", 1..=100_000;
        /// New connections from one address that may come at once.
        connections_new_per_ip_burst: u64 = 64, "connections", 1..=100_000;
        /// Handshakes in progress at once; each costs about 1 ms of a core.
        handshakes_max: u64 = 256, "handshakes", 1..=100_000;
        /// Handshakes in progress from which strangers must first prove their address.
        handshakes_before_retry: u64 = 32, "handshakes", 0..=100_000;
        /// A handshake that takes longer is dropped.
        handshake_timeout_ms: u64 = 5_000, "milliseconds", 1..=600_000;
        /// A connection from which nothing is heard for this long is closed.
        idle_timeout_ms: u64 = 30_000, "milliseconds", 100..=3_600_000;
        /// Bytes that one connection may have under way to us unread.
        receive_window_bytes: u32 = 2 << 20, "bytes", (16 << 10)..=(1 << 30);
        /// Bytes sent to one peer and not yet acknowledged by it.
        send_window_bytes: u64 = 2 * MIB, "bytes", 16 * KIB..=GIB;
        /// Largest UDP datagram that path probing tries, in bytes.
        datagram_bytes_max: u16 = 6_500, "bytes", 1_200..=65_527;
        /// Bytes of unfinished large frames of all peers.
        assembly_bytes_max: u64 = 512 * MIB, "bytes", 32 * MIB..=BYTES_MAX;
        /// Requests of one connection that are not answered. At the limit the connection is not read.
        in_flight_max: u64 = 65_536, "requests", 1..=10_000_000;
        /// Bytes of those requests. At the limit the connection is not read.
        in_flight_bytes_max: u64 = 64 * MIB, "bytes", MIB..=BYTES_MAX;
        /// Requests of one connection, sustained. Above: refused with retry-after.
        frames_per_s: u64 = 500_000, "requests per second", 1..=1_000_000_000;
        /// Requests of one connection that may come at once after silence.
        frames_burst: u64 = 250_000, "requests", 1..=1_000_000_000;
        /// Bytes of one connection, sustained. Above: refused with retry-after.
        bytes_per_s: u64 = GIB, "bytes per second", KIB..=BYTES_MAX;
        /// Bytes of one connection that may come at once after silence.
        bytes_burst: u64 = 512 * MIB, "bytes", KIB..=BYTES_MAX;
        /// Requests of one identity (client key, else address) over all its connections, sustained.
        identity_frames_per_s: u64 = 1_000_000, "requests per second", 1..=1_000_000_000;
        /// Bytes of one identity over all its connections, sustained.
        identity_bytes_per_s: u64 = 2 * GIB, "bytes per second", KIB..=BYTES_MAX;
        /// Replies queued for one peer. Above: closed as a slow reader.
        reply_queue_bytes_max: u64 = 32 * MIB, "bytes", 64 * KIB..=BYTES_MAX;
        /// Replies queued for all peers.
        reply_queue_total_bytes_max: u64 = 512 * MIB, "bytes", MIB..=BYTES_MAX;
        /// Subscriptions open at once, all peers.
        subscriptions_max: u64 = 1_024, "subscriptions", 0..=100_000;
    }

    /// Transactions that wait for a block.
    pool: PoolConfig {
        /// Transactions that may wait. Above: the cheapest is evicted, or the new one refused.
        transactions_max: u64 = 262_144, "transactions", 1..=100_000_000;
        /// Bytes of those transactions.
        bytes_max: u64 = 256 * MIB, "bytes", 17 * MIB..=BYTES_MAX;
        /// Transactions of one key's lane that may wait.
        lane_max: u64 = 65_536, "transactions", 1..=100_000_000;
    }

    /// The road from socket to disk: its queues, its batches, its pace.
    pipeline: PipelineConfig {
        /// Submissions that may wait for verification. Full: refused as `intake_full`.
        intake_queue_len: u64 = 65_536, "transactions", 1..=10_000_000;
        /// Bytes of those submissions. Full: refused as `intake_full`.
        intake_queue_bytes: u64 = 64 * MIB, "bytes", 2 * MIB..=BYTES_MAX;
        /// Verified transactions that may wait for admission. Full: verification waits.
        verified_queue_len: u64 = 16_384, "transactions", 1..=10_000_000;
        /// Executed blocks that may wait for the disk. Full: execution waits.
        log_queue_len: u64 = 4, "blocks", 1..=4_096;
        /// Durable blocks that may wait for their replies, and again for the index. Full: the log waits.
        publish_queue_len: u64 = 64, "blocks", 1..=4_096;
        /// Questions that may wait for an answer, of each sort. Full: refused as `intake_full`.
        query_queue_len: u64 = 4_096, "questions", 1..=10_000_000;
        /// Threads that decode and verify. Zero: one a core.
        verify_threads: u64 = 0, "threads", 0..=1_024;
        /// Threads that compute roots, receipts and rows. Zero: one a core.
        commit_threads: u64 = 0, "threads", 0..=1_024;
        /// A block is built this long after the one before, or when one is full. Pacing only, never validity.
        block_interval_ms: u64 = 5, "milliseconds", 0..=60_000;
        /// What is taken from the pool first: `fee` the highest fee, `fair` a mix that starves nobody.
        order: BlockOrder = BlockOrder::Fee, "fee | fair";
        /// On SIGTERM, how long what is in flight may take to commit before the node stops all the same.
        drain_timeout_ms: u64 = 10_000, "milliseconds", 0..=600_000;
    }

    /// The links to the other validators of a chain that has several. `selfchain testnet` writes them.
    validator: ValidatorConfig {
        /// Where this validator listens for the others, or `off` where it is the only one.
        listen: Option<SocketAddr> = None, "address | off";
        /// The others: public key and address of each.
        peers: Peers = Peers::default(), "key@address, key@address";
        /// A proposal is waited for so long before a round without it, and longer in each later round.
        propose_timeout_ms: u64 = 1_000, "milliseconds", 1..=600_000;
        /// Votes are waited for so long once enough came that something could be decided.
        vote_timeout_ms: u64 = 500, "milliseconds", 1..=600_000;
        /// So many blocks behind the others, it begins at a snapshot of theirs instead of fetching every block, and
        /// gives up the blocks that it has. Zero: only where nobody has the next block any more.
        join_behind_blocks: u64 = JOIN_BEHIND_BLOCKS, "blocks", 0..=1_000_000_000_000;
        /// Directory of the guard against signing twice, best on another disk: what was signed is known there even when
        /// the data directory is an older one. `off`: beside the journal.
        guard_dir: Option<PathBuf> = None, "directory | off";
    }

    /// What survives power loss, and how much of it is kept.
    storage: StorageConfig {
        /// Bytes of a segment of the log. Restart, retention and backup work in this unit.
        segment_bytes: u64 = 704 * MIB, "bytes", MIB..=BYTES_MAX;
        /// Bytes of log that are kept; older segments are removed. Zero: all.
        retention_bytes: u64 = 0, "bytes", 0..=BYTES_MAX;
        /// What must stay free on the disk. Below: transactions are refused as `disk_full`, reads go on.
        reserve_bytes: u64 = 256 * MIB, "bytes", 0..=BYTES_MAX;
        /// Newest rows kept in memory for subscribers near the tip.
        tail_bytes_max: u64 = 32 * MIB, "bytes", MIB..=BYTES_MAX;
        /// Most that may wait for a sync.
        pending_bytes_max: u64 = 64 * MIB, "bytes", 32 * MIB..=BYTES_MAX;
        /// Sealed segments kept open for reading.
        segments_open_max: u64 = 8, "segments", 1..=1_024;
        /// Reads every page of the newest segment when the log opens.
        check_on_open: bool = true, "true | false";
        /// Heights between snapshots; each copies the state in memory first. Zero: only when the node stops.
        snapshot_interval_blocks: u64 = 0, "blocks", 0..=1_000_000_000_000;
        /// Snapshots that are kept; older ones are removed.
        snapshots_keep: u64 = 2, "snapshots", 1..=1_000;
        /// Heights that the index may be behind the log. Above: queries of it say `index_behind`.
        index_lag_max_blocks: u64 = 1_000, "blocks", 1..=1_000_000_000_000;
    }

    /// Scores of transfers: models are files in the folder `models` of the data directory.
    ai: AiConfig {
        /// Whether accounts' pasts are remembered, 256 bytes each, so that a model can score: `auto` where the chain
        /// has a model on record when the node starts.
        scoring: Scoring = Scoring::Auto, "auto | on | off";
        /// Longest that scoring a block may take; what is left is not scored.
        budget_ms: u64 = 200, "milliseconds", 1..=60_000;
        /// A model that scores everything beside the one that decides, and decides nothing: how far the two are apart
        /// is on the page of metrics.
        shadow: Option<Hash> = None, "hash of a model's file | off";
    }

    /// The owner's own documents, beside the chain: `selfchain data`.
    data: DataConfig {
        /// Whether the node answers for them: its owner anything, other keys what they were granted.
        serve: bool = true, "true | false";
        /// The key file that opens the vault, or `off` for `vault.key` in the data directory. Without it nothing does.
        key_file: Option<PathBuf> = None, "path | off";
        /// Keys that are the owner's, beside the node's own.
        owners: KeyIds = KeyIds::default(), "key ids";
        /// Bytes of one version of a document.
        version_bytes_max: u64 = GIB, "bytes", KIB..=BYTES_MAX;
        /// Bytes of all versions.
        bytes_max: u64 = 64 * GIB, "bytes", KIB..=BYTES_MAX;
        /// Versions of all documents; each takes about 500 bytes of memory.
        versions_max: u64 = 100_000, "versions", 1..=10_000_000;
        /// Grants to other keys.
        grants_max: u64 = 1_000, "grants", 0..=100_000;
    }

    /// The advisor of `hold explain`: a language model that words a hold for its reviewer. No node asks it.
    advisor: AdvisorConfig {
        /// Where it listens, up to `/chat/completions`, or `off`: llama.cpp, Ollama, OpenLLM or what speaks as they do.
        url: Option<EndpointUrl> = None, "address | off";
        /// Which of its models writes.
        model: String = "default".into(), "name";
        /// Longest that an answer may take, and before that, that a request waits for its turn.
        timeout_ms: u64 = 30_000, "milliseconds", 100..=600_000;
        /// Requests sent to it, by all commands that use the data directory; after silence a minute's worth at once.
        per_minute: u64 = 20, "requests per minute", 1..=1_000;
        /// File with the key that it wants, or `off`. Sent with TLS or to this machine alone, and never shown.
        key_file: Option<PathBuf> = None, "path | off";
    }

    /// Backups of others that this node keeps. It cannot read them.
    backup: BackupConfig {
        /// For whom, and how much: the Ed25519 public key that each owner connects with, and bytes.
        keep_for: Agreements = Agreements::default(), "key:bytes, key:bytes";
    }

    /// The HTTP port: health, readiness, metrics, version.
    http: HttpConfig {
        /// Address of the HTTP port, or `off`. It is not encrypted: keep it on loopback.
        listen: Option<SocketAddr> = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, PORT_BASE + 1))), "address | off";
        /// Connections open at once. Above: not accepted until one closes.
        connections_max: u64 = 64, "connections", 1..=10_000;
        /// A request whose head takes longer is dropped.
        head_timeout_ms: u64 = 5_000, "milliseconds", 1..=600_000;
        /// A request whose answer takes longer gets 503.
        request_timeout_ms: u64 = 5_000, "milliseconds", 1..=600_000;
        /// A request whose head or body is larger is refused.
        request_bytes_max: u64 = 16 * KIB, "bytes", 8 * KIB..=16 * MIB;
    }

    /// What the node says about itself.
    telemetry: TelemetryConfig {
        /// The least important lines that are logged.
        log_level: LogLevel = LogLevel::Info, "off | error | warn | info | debug | trace";
        /// How a line looks: `text` for people, `json` for machines. Lines go to standard error.
        log_format: LogFormat = LogFormat::Text, "text | json";
    }
}

impl Config {
    /// Where the node's key is.
    pub fn node_key_path(&self) -> PathBuf {
        self.data_dir.join(crate::keys::NODE_KEY_FILE)
    }

    /// Where the key is that a validator rotates to.
    pub fn next_key_path(&self) -> PathBuf {
        self.data_dir.join(crate::keys::NEXT_KEY_FILE)
    }

    /// Where the keys are that a validator signs checkpoints with: the one in use, and the one to come.
    pub fn checkpoint_key_paths(&self) -> [PathBuf; 2] {
        [
            crate::keys::CHECKPOINT_KEY_FILE,
            crate::keys::NEXT_CHECKPOINT_KEY_FILE,
        ]
        .map(|name| self.data_dir.join(name))
    }

    /// Where the key is that opens the vault.
    pub fn vault_key_path(&self) -> PathBuf {
        let usual = || self.data_dir.join(crate::vault::VAULT_KEY_FILE);
        self.data.key_file.clone().unwrap_or_else(usual)
    }

    /// Where the advisor keeps its paragraphs and counts its requests.
    pub fn advisor_folder(&self) -> PathBuf {
        self.data_dir.join("advisor")
    }

    /// Where the configuration file is, unless another is named.
    pub fn file_path(&self) -> PathBuf {
        self.data_dir.join("selfchain.toml")
    }
}

#[cfg(test)]
#[path = "config/config_tests.rs"]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
