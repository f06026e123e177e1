//! What this machine's loopback can carry: the figure that every result over the network is compared with.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use selfchain_types::seam::transport::{Cursor, Overload, Peer, PeerId, Service};
use tokio::runtime::Builder;
use tokio::sync::Notify;

use crate::client::{Client, ClientConfig, ConnectError, SendError};
use crate::framing::{FrameError, append_frame};
use crate::limits::{Limits, Rate};
use crate::quic::{Server, ServerConfig, StartError};

/// Content of a small frame, bytes: about one single-signed transfer.
const SMALL_FRAME_BYTES: usize = 256;

/// Content of a large frame, bytes: about one full batch of 8,190 operations.
const LARGE_FRAME_BYTES: usize = 1 << 20;

/// Prepared bytes of small frames that one send hands over.
const SMALL_WRITE_BYTES: usize = 16 << 10;

/// A step of the measurement that takes longer than this has failed.
const STEP_TIMEOUT: Duration = Duration::from_secs(20);

/// One kind of traffic, measured from first to last byte received by the service.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CeilingRate {
    /// Content of a frame, bytes.
    pub frame_bytes: usize,
    /// Frames that arrived.
    pub frames: u64,
    /// Seconds between the start of sending and the arrival of the last.
    pub seconds: f64,
    /// Frames a second.
    pub frames_per_s: f64,
    /// Content a second, in units of 1,000,000 bytes.
    pub mb_per_s: f64,
}

/// What loopback carries with both ends in this process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CeilingReport {
    /// 256-byte frames in 16 KiB writes on one stream.
    pub small: CeilingRate,
    /// 1 MiB frames on one stream.
    pub large: CeilingRate,
    /// Threads that drove both ends.
    pub threads: usize,
}

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub enum CeilingError {
    /// No runtime.
    #[error("no runtime")]
    Runtime(#[source] std::io::Error),
    /// No server.
    #[error(transparent)]
    Start(#[from] StartError),
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection broke.
    #[error(transparent)]
    Send(#[from] SendError),
    /// A frame of ours is not one.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Not everything arrived.
    #[error("{arrived} of {sent} frames arrived in time")]
    Lost {
        /// Frames sent.
        sent: u64,
        /// Frames that arrived.
        arrived: u64,
    },
}

/// Sends for `each` in both kinds of traffic over real QUIC on loopback and counts what arrives. Blocks for
/// about twice `each`; must not be called inside a tokio runtime.
///
/// # Errors
/// [`CeilingError`].
pub fn ceiling(each: Duration) -> Result<CeilingReport, CeilingError> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from).max(2);
    let runtime = Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_io()
        .enable_time()
        .build()
        .map_err(CeilingError::Runtime)?;
    let small_count = SMALL_WRITE_BYTES / SMALL_FRAME_BYTES;
    runtime.block_on(async {
        let small = measure(SMALL_FRAME_BYTES, small_count, each).await?;
        let large = measure(LARGE_FRAME_BYTES, 1, each).await?;
        Ok(CeilingReport {
            small,
            large,
            threads,
        })
    })
}

async fn measure(
    frame_bytes: usize,
    frames_per_write: usize,
    each: Duration,
) -> Result<CeilingRate, CeilingError> {
    let sink = Arc::new(Sink::default());
    let config = ServerConfig {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        key_seed: [1; 32],
        key_log_path: None,
        limits: unlimited(),
    };
    let service: Arc<dyn Service> = sink.clone();
    let server = Server::start(&config, service, &tokio::runtime::Handle::current())?;
    let client = Client::new(ClientConfig::new(server.address(), server.public_key()))?;
    let connection = client.connect().await?;
    let (sender, _receiver) = connection.split();

    let mut piece = Vec::new();
    let frame = vec![0xa5; frame_bytes];
    for _ in 0..frames_per_write {
        append_frame(&mut piece, &frame, usize::MAX)?;
    }
    let piece = Bytes::from(piece);
    let started = Instant::now();
    let mut sent = 0;
    while started.elapsed() < each {
        sender
            .send_raw(piece.clone(), frames_per_write, STEP_TIMEOUT)
            .await?;
        sent += u64::try_from(frames_per_write).unwrap_or(0);
    }
    let all = tokio::time::timeout(STEP_TIMEOUT, sink.wait_for(sent)).await;
    let seconds = started.elapsed().as_secs_f64();
    let arrived = sink.frames.load(Ordering::Acquire);
    if all.is_err() {
        return Err(CeilingError::Lost { sent, arrived });
    }
    sender.close(STEP_TIMEOUT).await;
    server.shutdown(STEP_TIMEOUT).await;
    let frames_per_s = to_f64(arrived) / seconds;
    let mb_per_s = frames_per_s * to_f64(u64::try_from(frame_bytes).unwrap_or(0)) / 1e6;
    Ok(CeilingRate {
        frame_bytes,
        frames: arrived,
        seconds,
        frames_per_s,
        mb_per_s,
    })
}

/// Rates that no machine reaches: the ceiling is of the machine, not of the policy.
fn unlimited() -> Limits {
    let rate = Rate {
        per_s: 1 << 50,
        burst: 1 << 50,
    };
    Limits {
        connection_frames: rate,
        connection_bytes: rate,
        identity_frames: rate,
        identity_bytes: rate,
        ..Limits::default()
    }
}

/// Exact below 2⁵³, which no count here reaches.
#[allow(
    clippy::as_conversions,
    reason = "the standard library has no other way from u64 to f64"
)]
fn to_f64(count: u64) -> f64 {
    count as f64
}

/// Counts frames and answers none.
#[derive(Default)]
struct Sink {
    frames: AtomicU64,
    arrived: Notify,
}

impl Sink {
    async fn wait_for(&self, frames: u64) {
        loop {
            let arrived = self.arrived.notified();
            if self.frames.load(Ordering::Acquire) >= frames {
                return;
            }
            arrived.await;
        }
    }
}

impl Service for Sink {
    fn receive(&self, peer: &Arc<dyn Peer>, frames: Vec<Vec<u8>>) {
        self.frames
            .fetch_add(u64::try_from(frames.len()).unwrap_or(0), Ordering::AcqRel);
        peer.release(frames.len());
        self.arrived.notify_one();
    }

    fn refuse(&self, _frame: &[u8], _why: Overload) -> Option<Vec<u8>> {
        None
    }

    fn closed(&self, _peer: PeerId) {}

    fn subscribe(&self, _peer: &Arc<dyn Peer>, _request: &[u8]) -> Result<Box<dyn Cursor>, Vec<u8>> {
        Err(b"this service only counts".to_vec())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn measures_something() {
        let report = ceiling(Duration::from_millis(50)).unwrap();
        assert!(report.small.frames > 0 && report.large.frames > 0);
        assert!(report.small.frames_per_s > report.large.frames_per_s);
    }
}
