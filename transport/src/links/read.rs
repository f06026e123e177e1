//! One lane in: length, rate, room, and only then the frame.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use quinn::{ReadError, RecvStream};
use tokio::sync::OwnedSemaphorePermit;

use super::connection::Link;
use super::limits::FRAME_COST_BYTES;
use super::meter::Reading;
use super::{Lane, LinkClose};
use crate::framing::{FrameError, PREFIX_LEN, prefix_of};

/// Bytes of a frame that are read at a time.
const READ_BYTES: usize = 64 << 10;

/// Reads what the peer sends on the lane that its first byte names.
pub(super) async fn read_lane(link: Arc<Link>, recv: RecvStream) -> Result<(), LinkClose> {
    let mut stream = Stream { link: &link, recv };
    let mut code = [0];
    if !stream.fill(&mut code).await? {
        return Ok(());
    }
    let lane = Lane::from_code(code[0]).ok_or(LinkClose::StreamUnexpected)?;
    if link.open[lane.index()].swap(true, Ordering::AcqRel) {
        return Err(LinkClose::StreamUnexpected);
    }
    while let Some(len) = stream.length(lane).await? {
        match link.member.judge(lane, len, link.shared.now_ns()) {
            Reading::Read => stream.read(lane, len).await?,
            Reading::Skip(retry_after_ms) => {
                link.shared.metrics.lane(lane).frames_skipped.add(1);
                link.notice(lane, retry_after_ms);
                stream.skip(lane, len).await?;
            }
            Reading::Close => return Err(LinkClose::RateLimited),
        }
    }
    Ok(())
}

struct Stream<'a> {
    link: &'a Link,
    recv: RecvStream,
}

impl Stream<'_> {
    /// The length of the next frame; `None` at the lane's end.
    async fn length(&mut self, lane: Lane) -> Result<Option<usize>, LinkClose> {
        let mut prefix = [0; PREFIX_LEN];
        // Between two frames silence may last.
        let Some((first, rest)) = prefix.split_first_mut() else {
            return Ok(None);
        };
        match self.recv.read(std::slice::from_mut(first)).await {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(None),
            Err(error) => return Err(why(&error)),
        }
        if !self.fill(rest).await? {
            return Err(LinkClose::FrameTruncated);
        }
        let len = usize::try_from(u32::from_le_bytes(prefix)).unwrap_or(usize::MAX);
        match prefix_of(len, self.link.shared.limits.lane(lane).frame_bytes_max) {
            Ok(_) => Ok(Some(len)),
            Err(FrameError::Empty) => Err(LinkClose::FrameEmpty),
            Err(FrameError::TooLarge { .. }) => Err(LinkClose::FrameTooLarge),
        }
    }

    /// Waits for room, so that the peer's flow control stops this lane and no other, then reads the frame.
    async fn read(&mut self, lane: Lane, len: usize) -> Result<(), LinkClose> {
        let permit = self.room(lane, len).await?;
        let mut frame = vec![0; len];
        for part in frame.chunks_mut(READ_BYTES) {
            if !self.fill(part).await? {
                return Err(LinkClose::FrameTruncated);
            }
            self.link
                .shared
                .metrics
                .lane(lane)
                .bytes_received
                .add_len(part.len());
        }
        let inbox = &self.link.shared.inbox;
        inbox.received(&self.link.member, lane, frame.into(), permit);
        Ok(())
    }

    async fn skip(&mut self, lane: Lane, len: usize) -> Result<(), LinkClose> {
        let mut bin = vec![0; len.min(READ_BYTES)];
        let mut left = len;
        while left > 0 {
            let size = left.min(bin.len());
            let part = bin.get_mut(..size).unwrap_or_default();
            if !self.fill(part).await? {
                return Err(LinkClose::FrameTruncated);
            }
            self.link.shared.metrics.lane(lane).bytes_received.add_len(size);
            left -= size;
        }
        Ok(())
    }

    async fn room(&self, lane: Lane, len: usize) -> Result<OwnedSemaphorePermit, LinkClose> {
        let budget = Arc::clone(&self.link.member.budgets[lane.index()]);
        let permits = u32::try_from(len + FRAME_COST_BYTES).map_err(|_| LinkClose::FrameTooLarge)?;
        // Never closed, so that this never fails.
        budget
            .acquire_many_owned(permits)
            .await
            .map_err(|_| LinkClose::ProtocolError)
    }

    /// Fills `part`. `false`: the stream ended before. Some byte must come within the stall timeout.
    async fn fill(&mut self, mut part: &mut [u8]) -> Result<bool, LinkClose> {
        let stall = self.link.shared.limits.frame_stall_timeout;
        while !part.is_empty() {
            let read = match tokio::time::timeout(stall, self.recv.read(part)).await {
                Ok(Ok(Some(read))) => read,
                Ok(Ok(None)) => return Ok(false),
                Ok(Err(error)) => return Err(why(&error)),
                Err(_elapsed) => return Err(LinkClose::FrameTruncated),
            };
            part = part.get_mut(read..).unwrap_or_default();
        }
        Ok(true)
    }
}

fn why(error: &ReadError) -> LinkClose {
    match error {
        // A lane is given up together with its connection.
        ReadError::Reset(_) => LinkClose::StreamUnexpected,
        _ => LinkClose::PeerGone,
    }
}
