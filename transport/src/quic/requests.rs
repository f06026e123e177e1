//! In: reads a request stream in large pieces, cuts it into frames, and hands the service what the limits let
//! through.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use quinn::{ReadError, RecvStream};
use selfchain_types::seam::transport::{CloseReason, Peer};
use tokio::sync::OwnedSemaphorePermit;

use super::peer::{AfterRefusal, PeerConnection};
use super::server::{Phase, Shared};
use crate::framing::{Deframer, FrameError, PREFIX_LEN};
use crate::limits::ASSEMBLY_PERMIT_BYTES;

/// Segments of the stream taken in one read: with those of a jumbo frame about half a MiB.
const READ_SEGMENTS_MAX: usize = 64;

/// An unfinished frame up to this size needs nobody's permission, bytes.
const ASSEMBLY_FREE_BYTES: usize = 64 << 10;

/// Reads requests until the stream, the connection or the serving ends.
pub(super) async fn read_requests(peer: Arc<PeerConnection>, recv: RecvStream) -> Result<(), CloseReason> {
    let mut phase = peer.shared.phase.subscribe();
    tokio::select! {
        ended = Requests::new(Arc::clone(&peer), recv).read_all() => ended,
        _closed = peer.quic.closed() => Ok(()),
        _draining = phase.wait_for(|phase| *phase != Phase::Serving) => Ok(()),
    }
}

/// What one read brought.
enum Read {
    Segments(usize),
    End,
}

struct Requests {
    peer: Arc<PeerConnection>,
    as_peer: Arc<dyn Peer>,
    recv: RecvStream,
    deframer: Deframer,
    segments: [Bytes; READ_SEGMENTS_MAX],
    /// When the frame under way began.
    began_at: Instant,
    /// The permission of the large frame under way.
    assembly: Option<Assembly>,
}

impl Requests {
    fn new(peer: Arc<PeerConnection>, recv: RecvStream) -> Self {
        let as_peer: Arc<dyn Peer> = peer.clone();
        Self {
            as_peer,
            deframer: Deframer::new(peer.shared.limits.frame_bytes_max),
            segments: std::array::from_fn(|_| Bytes::new()),
            began_at: Instant::now(),
            assembly: None,
            recv,
            peer,
        }
    }

    async fn read_all(mut self) -> Result<(), CloseReason> {
        loop {
            if self.peer.in_flight.is_full() {
                // Not reading is what stops the sender: its window stays used up.
                self.peer.shared.metrics.reads_paused.add(1);
                self.peer.in_flight.wait_for_room().await;
            }
            let Read::Segments(count) = self.read().await? else {
                return Ok(());
            };
            let frames = self.cut(count)?;
            if !frames.is_empty() {
                self.began_at = Instant::now();
                self.pass_on(frames)?;
            }
            if self.peer.closing().is_some() {
                return Ok(());
            }
            self.make_room().await?;
            // With bytes always at hand this task would otherwise never let another peer's run.
            tokio::task::yield_now().await;
        }
    }

    async fn read(&mut self) -> Result<Read, CloseReason> {
        let inside_frame = self.deframer.is_inside_frame();
        let read = if inside_frame {
            let until = self.began_at + self.peer.shared.limits.frame_timeout;
            match tokio::time::timeout_at(until.into(), self.recv.read_chunks(&mut self.segments)).await {
                Ok(read) => read,
                Err(_elapsed) => return Err(self.truncated()),
            }
        } else {
            let read = self.recv.read_chunks(&mut self.segments).await;
            self.began_at = Instant::now();
            read
        };
        match read {
            Ok(Some(count)) => Ok(Read::Segments(count)),
            Ok(None) if inside_frame => Err(self.truncated()),
            Ok(None) => Ok(Read::End),
            Err(ReadError::Reset(_) | ReadError::ConnectionLost(_)) => {
                if inside_frame {
                    self.peer.shared.metrics.frames_truncated.add(1);
                }
                Ok(Read::End)
            }
            Err(_) => Err(CloseReason::ProtocolError),
        }
    }

    fn truncated(&self) -> CloseReason {
        self.peer.shared.metrics.frames_truncated.add(1);
        CloseReason::FrameTruncated
    }

    fn cut(&mut self, count: usize) -> Result<Vec<Vec<u8>>, CloseReason> {
        let mut frames = Vec::new();
        for segment in &mut self.segments[..count] {
            let segment = std::mem::take(segment);
            self.deframer.push(&segment, &mut frames).map_err(|error| {
                tracing::debug!(peer = self.peer.id.0, %error, "a stream of frames is broken");
                match error {
                    FrameError::Empty => CloseReason::FrameEmpty,
                    FrameError::TooLarge { .. } => CloseReason::FrameTooLarge,
                }
            })?;
        }
        Ok(frames)
    }

    /// Hands the service what the rates allow; the rest is refused frame by frame.
    fn pass_on(&self, frames: Vec<Vec<u8>>) -> Result<(), CloseReason> {
        let bytes: usize = frames.iter().map(|frame| frame.len() + PREFIX_LEN).sum();
        self.peer.shared.metrics.frames_in.add_len(frames.len());
        self.peer.shared.metrics.bytes_in.add_len(bytes);
        if self.peer.allow_all(frames.len(), bytes) {
            self.deliver(frames, bytes);
            return Ok(());
        }
        let (mut allowed, mut allowed_bytes) = (Vec::new(), 0);
        let mut verdict = Ok(());
        for frame in frames {
            let bytes = frame.len() + PREFIX_LEN;
            match self.peer.allow(bytes) {
                Ok(()) => {
                    allowed_bytes += bytes;
                    allowed.push(frame);
                }
                Err(why) => {
                    let (answer, after) = self.peer.refuse(&frame, why);
                    if let Some(answer) = answer
                        && let Err(error) = self.peer.notify(answer)
                    {
                        tracing::debug!(peer = self.peer.id.0, %error, "a refusal could not be queued");
                    }
                    if after == AfterRefusal::Close {
                        verdict = Err(CloseReason::Abuse);
                        break;
                    }
                }
            }
        }
        if !allowed.is_empty() {
            self.deliver(allowed, allowed_bytes);
        }
        verdict
    }

    fn deliver(&self, frames: Vec<Vec<u8>>, bytes: usize) {
        self.peer.in_flight.add(frames.len(), bytes);
        self.peer.shared.service.receive(&self.as_peer, frames);
    }

    /// A large frame goes on only with the permission to become whole, so that those under way can all end.
    async fn make_room(&mut self) -> Result<(), CloseReason> {
        if self.deframer.held_bytes() <= ASSEMBLY_FREE_BYTES {
            self.assembly = None;
            return Ok(());
        }
        if self.assembly.is_some() {
            return Ok(());
        }
        let until = self.began_at + self.peer.shared.limits.frame_timeout;
        let granted = Assembly::grant(&self.peer, self.deframer.announced_bytes());
        match tokio::time::timeout_at(until.into(), granted).await {
            Ok(granted) => {
                self.assembly = granted;
                Ok(())
            }
            Err(_elapsed) => Err(self.truncated()),
        }
    }
}

/// One large frame's part of the bytes that all unfinished large frames may come to hold.
struct Assembly {
    shared: Arc<Shared>,
    bytes: u64,
    _of_identity: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Assembly {
    /// Waits for `bytes`: first for the identity's share, so that only as much of one identity ever stands in
    /// the common queue as it may hold. `None`: never, the semaphores are never closed.
    async fn grant(peer: &PeerConnection, bytes: usize) -> Option<Self> {
        let permits = u32::try_from(bytes.div_ceil(ASSEMBLY_PERMIT_BYTES)).ok()?;
        let of_identity = Arc::clone(&peer.place.assembly)
            .acquire_many_owned(permits)
            .await
            .ok()?;
        let of_all = Arc::clone(&peer.shared.assembly)
            .acquire_many_owned(permits)
            .await
            .ok()?;
        let shared = Arc::clone(&peer.shared);
        let bytes = u64::try_from(bytes).ok()?;
        shared.metrics.assembly_bytes.add(bytes);
        Some(Self {
            shared,
            bytes,
            _of_identity: of_identity,
            _of_all: of_all,
        })
    }
}

impl Drop for Assembly {
    fn drop(&mut self) {
        self.shared.metrics.assembly_bytes.subtract(self.bytes);
    }
}
