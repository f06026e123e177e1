//! The server as the node holds it: start, address, tip, drain, shut down.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quinn::{Endpoint, TokioRuntime, VarInt};
use selfchain_types::seam::transport::{CloseReason, PeerId, Service};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use super::{DatagramError, TransportTuning, admission, bind, endpoint_config, transport_config};
use crate::limits::Limits;
use crate::limits::origin::Origins;
use crate::metrics::Metrics;
use crate::tls::{self, TlsError};

/// What the server needs to start.
#[derive(Clone)]
pub struct ServerConfig {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Secret seed of the server's Ed25519 key (RFC 8032). Clients pin [`Server::public_key`].
    pub key_seed: [u8; 32],
    /// The value of the environment variable `SSLKEYLOGFILE`, which this crate does not read itself.
    pub key_log_path: Option<OsString>,
    /// What peers may use.
    pub limits: Limits,
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The key or the TLS configuration was refused, or a key log is asked for.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address could not be listened on.
    #[error("cannot listen on {listen}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The datagram size is not possible.
    #[error(transparent)]
    Datagram(#[from] DatagramError),
}

/// Serving, or on the way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Serving,
    /// No new connections, no more requests; replies and subscriptions go on.
    Draining,
    Closing,
}

/// What all tasks of a server share.
pub(crate) struct Shared {
    pub(super) limits: Arc<Limits>,
    pub(super) service: Arc<dyn Service>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) origins: Arc<Origins>,
    pub(super) assembly: Arc<Semaphore>,
    pub(super) subscriptions: Arc<Semaphore>,
    pub(super) cursor_reads: Arc<Semaphore>,
    pub(super) tip: Tip,
    pub(super) phase: watch::Sender<Phase>,
    started_at: Instant,
    peers: AtomicU64,
}

impl Shared {
    /// Nanoseconds since the start.
    pub(super) fn now_ns(&self) -> u64 {
        u64::try_from(self.started_at.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(super) fn next_peer_id(&self) -> PeerId {
        PeerId(self.peers.fetch_add(1, Ordering::Relaxed))
    }
}

/// Wakes every idle subscription. Cheap to clone, callable from any thread.
#[derive(Debug, Clone)]
pub struct Tip(watch::Sender<()>);

impl Tip {
    /// There is more to read than before.
    pub fn moved(&self) {
        self.0.send_replace(());
    }

    pub(super) fn watch(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}

/// A running server. Dropping it closes every connection at once; [`Server::shutdown`] is the polite way.
pub struct Server {
    endpoint: Endpoint,
    address: SocketAddr,
    public_key: [u8; 32],
    shared: Arc<Shared>,
    admission: JoinHandle<()>,
}

impl Server {
    /// Listens and serves on `runtime`, which must have I/O and time enabled.
    ///
    /// # Errors
    /// [`StartError`]; nothing is listening then.
    pub fn start(
        config: &ServerConfig,
        service: Arc<dyn Service>,
        runtime: &Handle,
    ) -> Result<Self, StartError> {
        tls::refuse_key_log(config.key_log_path.as_ref())?;
        let limits = Arc::new(config.limits.clone());
        let mut quic = quinn::ServerConfig::with_crypto(Arc::new(tls::server_config(&config.key_seed)?));
        quic.transport_config(transport_config(&TransportTuning {
            bidirectional_streams_max: limits.streams_per_connection_max,
            unidirectional_streams_max: 0,
            stream_receive_window_bytes: limits.stream_receive_window_bytes,
            receive_window_bytes: limits.receive_window_bytes,
            send_window_bytes: limits.send_window_bytes,
            datagram_bytes_max: limits.datagram_bytes_max,
            idle_timeout: limits.idle_timeout,
            keep_alive: None,
        }))
        .max_incoming(limits.incoming_max);

        let endpoint_config = endpoint_config(limits.datagram_bytes_max)?;
        let listen = |source| StartError::Listen {
            listen: config.listen,
            source,
        };
        let socket = bind(config.listen, limits.socket_buffer_bytes).map_err(listen)?;
        let address = socket.local_addr().map_err(listen)?;
        let _context = runtime.enter();
        let endpoint =
            Endpoint::new(endpoint_config, Some(quic), socket, Arc::new(TokioRuntime)).map_err(listen)?;

        let shared = Arc::new(Shared {
            service,
            metrics: Arc::default(),
            origins: Arc::new(Origins::new(Arc::clone(&limits))),
            assembly: semaphore(limits.assembly_permits()),
            subscriptions: semaphore(limits.subscriptions_max),
            cursor_reads: semaphore(limits.cursor_reads_max),
            tip: Tip(watch::Sender::new(())),
            phase: watch::Sender::new(Phase::Serving),
            started_at: Instant::now(),
            peers: AtomicU64::new(0),
            limits,
        });
        let admission = runtime.spawn(admission::admit(endpoint.clone(), Arc::clone(&shared)));
        let public_key = tls::public_key_of(&config.key_seed)?;
        tracing::info!(%address, "transport.listening");
        Ok(Self {
            endpoint,
            address,
            public_key,
            shared,
            admission,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The Ed25519 public key that clients pin.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.public_key
    }

    /// What it has done. The counters stay readable after the server is gone.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.shared.metrics)
    }

    /// The handle that wakes idle subscriptions, for the thread that moves the tip.
    #[must_use]
    pub fn tip(&self) -> Tip {
        self.shared.tip.clone()
    }

    /// Wakes every idle subscription: there is more to read than before.
    pub fn tip_moved(&self) {
        self.shared.tip.moved();
    }

    /// Refuses new connections and reads no more requests. Replies and subscriptions go on.
    pub fn drain(&self) {
        self.shared.phase.send_if_modified(|phase| {
            let serving = *phase == Phase::Serving;
            if serving {
                *phase = Phase::Draining;
            }
            serving
        });
    }

    /// Drains, sends what is queued, closes every connection as `shutting_down`, and waits for all of it, at
    /// most for `timeout`. Returns whether every connection ended by then; the rest is cut.
    pub async fn shutdown(mut self, timeout: Duration) -> bool {
        self.shared.phase.send_replace(Phase::Closing);
        let ended = tokio::time::timeout(timeout, async {
            let joined = (&mut self.admission).await;
            self.endpoint.wait_idle().await;
            joined.is_ok()
        })
        .await;
        tracing::info!(address = %self.address, "transport.stopped");
        ended.unwrap_or(false)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let reason = CloseReason::ShuttingDown;
        self.shared.phase.send_replace(Phase::Closing);
        self.endpoint
            .close(VarInt::from_u32(reason.code()), reason.name().as_bytes());
    }
}

fn semaphore(permits: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)))
}
