//! The writing end: collects rows, commits them together, begins and seals segments, forgets old ones.

use std::sync::Arc;
use std::time::Instant;

use selfchain_types::seam::log::{Log, LogError, LogReader};

use super::config::{LogConfig, Sealing};
use super::reader::{NO_HEIGHT, SegmentReader, Shared};
use super::recover::recover_segments;
use super::seal::{Sealer, seal, seal_path};
use super::segment::{LOG_DIR, Segment, io_error, segment_path};
use super::tip::TipWitness;
use crate::disk::Disk;
use crate::guard::{lock, read, write};
use crate::metrics::{StorageMetrics, len_u64};

/// The log of one ledger.
#[derive(Debug)]
pub struct SegmentLog {
    shared: Arc<Shared>,
    /// Appended and not durable, by height.
    pending: Vec<(u64, Arc<[u8]>)>,
    pending_bytes: u64,
    /// The segment being written; `None` before the first row and after one was sealed.
    active: Option<Arc<Segment>>,
    witness: TipWitness,
    sealer: Option<Sealer>,
}

impl SegmentLog {
    /// Opens the log of a disk and recovers its last durable row. The disk's lock, held by the caller's
    /// `disk`, keeps other processes out.
    ///
    /// Errors: [`LogError::Corrupt`] when what was durable is not there or not whole, [`LogError::Io`].
    pub fn open(
        disk: Arc<dyn Disk>,
        config: LogConfig,
        metrics: Arc<StorageMetrics>,
    ) -> Result<Self, LogError> {
        let segments = recover_segments(&*disk, &config)?;
        let path = format!("{LOG_DIR}/tip");
        let (witness, witnessed) =
            TipWitness::open(&*disk, &path).map_err(|source| io_error("open", &path, source))?;
        let sealing = config.sealing;
        let shared = Arc::new(Shared::new(disk, config, metrics, segments));
        if let Some(witnessed) = witnessed
            && shared.tip().is_none_or(|tip| tip < witnessed)
        {
            let lost = shared.tip().map_or(0, |tip| tip + 1);
            let what = format!("rows through {witnessed} were durable and are gone");
            return Err(LogError::Corrupt { height: lost, what });
        }
        let newest = read(&shared.segments).values().next_back().map(Arc::clone);
        let sealer = match sealing {
            Sealing::Background => Some(Sealer::start(Arc::clone(&shared))?),
            Sealing::Inline => None,
        };
        let active = newest.filter(|segment| !segment.is_sealed());
        Ok(Self {
            shared,
            pending: Vec::new(),
            pending_bytes: 0,
            active,
            witness,
            sealer,
        })
    }

    /// The reading end with what only storage knows: segments and their verification.
    pub fn segment_reader(&self) -> SegmentReader {
        SegmentReader {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Forgets the oldest segments until at most `limit_bytes` of rows are held, or only one segment is.
    /// Returns the first height still held (0 while the log is empty).
    pub fn retain_bytes(&mut self, limit_bytes: u64) -> Result<u64, LogError> {
        self.retain_from(self.first_within(limit_bytes))
    }

    /// First height of the oldest segment that, with all newer ones, fits `limit_bytes`: at least the newest
    /// one's, 0 while the log is empty.
    pub fn first_within(&self, limit_bytes: u64) -> u64 {
        let segments = read(&self.shared.segments);
        let mut held = 0_u64;
        let mut first_kept = segments.keys().next_back().copied().unwrap_or(0);
        for (first, segment) in segments.iter().rev() {
            held = held.saturating_add(segment.bytes());
            if held > limit_bytes {
                break;
            }
            first_kept = *first;
        }
        first_kept
    }

    fn expected(&self) -> Option<u64> {
        let last = self
            .pending
            .last()
            .map(|(height, _)| *height)
            .or_else(|| self.shared.tip());
        last.map(|last| last.saturating_add(1))
    }

    fn alive(&self) -> Result<(), LogError> {
        if self.shared.is_poisoned() {
            Err(LogError::Poisoned)
        } else {
            Ok(())
        }
    }

    /// Poisons the log on a failure and passes it on.
    fn fatal<T>(&self, result: Result<T, LogError>) -> Result<T, LogError> {
        if result.is_err() {
            self.shared.poison();
        }
        result
    }

    fn commit(&mut self, first: u64, tip: u64) -> Result<(), LogError> {
        let segment = match &self.active {
            Some(segment) => Arc::clone(segment),
            None => self.begin_segment(first)?,
        };
        segment.append(&self.shared.config, &self.pending)?;
        self.publish(tip);
        self.witness
            .write(tip)
            .map_err(|source| io_error("write", "the tip witness", source))?;
        if segment.bytes() >= self.shared.config.segment_bytes {
            self.seal_active()?;
        }
        Ok(())
    }

    fn begin_segment(&mut self, first: u64) -> Result<Arc<Segment>, LogError> {
        let segment = Arc::new(Segment::create(&*self.shared.disk, &self.shared.config, first)?);
        let mut segments = write(&self.shared.segments);
        segments.insert(first, Arc::clone(&segment));
        self.shared.metrics.log_segments.set_len(segments.len());
        self.active = Some(Arc::clone(&segment));
        Ok(segment)
    }

    /// Shows the committed rows to readers: memory first, so that whoever sees the tip finds its row there.
    fn publish(&mut self, tip: u64) {
        let metrics = &self.shared.metrics;
        metrics.log_rows.add(len_u64(self.pending.len()));
        metrics.log_bytes.add(self.pending_bytes);
        metrics.log_pending_bytes.set(0);
        let mut tail = lock(&self.shared.tail);
        let first = self.pending.first().map(|(height, _)| *height);
        for (height, row) in self.pending.drain(..) {
            tail.push(height, row);
        }
        metrics.log_tail_bytes.set(tail.bytes());
        drop(tail);
        self.pending_bytes = 0;
        if let (None, Some(first)) = (self.shared.first(), first) {
            self.shared.set_first(first);
        }
        self.shared.set_tip(tip);
    }

    fn seal_active(&mut self) -> Result<(), LogError> {
        let Some(segment) = self.active.take() else {
            return Ok(());
        };
        match &self.sealer {
            Some(sealer) => sealer.seal(segment),
            None => {
                seal(&*self.shared.disk, &segment)?;
                self.shared.metrics.log_seals.add(1);
                Ok(())
            }
        }
    }

    /// The oldest segment if it is sealed, lies below `height` and is not the newest.
    fn droppable(&self, height: u64) -> Option<(u64, u64)> {
        let segments = read(&self.shared.segments);
        let mut oldest = segments.values();
        let segment = oldest
            .next()
            .filter(|segment| segment.is_sealed() && segment.last() < height)?;
        oldest.next().map(|next| (segment.first, next.first))
    }

    /// Removes one segment, durably before the next is touched, so that a crash never leaves a hole.
    fn drop_segment(&self, first: u64, next: u64) -> Result<(), LogError> {
        self.shared.set_first(next);
        self.shared.forget_segment(first);
        for path in [segment_path(first), seal_path(first)] {
            self.shared
                .disk
                .remove(&path)
                .map_err(|source| io_error("remove", &path, source))?;
        }
        self.shared
            .disk
            .sync_dir(LOG_DIR)
            .map_err(|source| io_error("sync", LOG_DIR, source))
    }
}

impl Log for SegmentLog {
    fn append(&mut self, height: u64, row: &[u8]) -> Result<(), LogError> {
        self.alive()?;
        if let Some(expected) = self.expected().or((height == NO_HEIGHT).then_some(0))
            && height != expected
        {
            return Err(LogError::Gap {
                expected,
                got: height,
            });
        }
        let len = len_u64(row.len());
        let config = &self.shared.config;
        if len > config.row_bytes_max {
            return Err(LogError::TooLarge {
                len,
                max: config.row_bytes_max,
            });
        }
        let pending_bytes = self.pending_bytes.saturating_add(len);
        if pending_bytes > config.pending_bytes_max && !self.pending.is_empty() {
            return Err(LogError::PendingFull {
                pending_bytes: self.pending_bytes,
                max_bytes: config.pending_bytes_max,
            });
        }
        self.shared.headroom(pending_bytes)?;
        self.pending.push((height, Arc::from(row)));
        self.pending_bytes = pending_bytes;
        self.shared.metrics.log_pending_bytes.set(pending_bytes);
        Ok(())
    }

    fn sync(&mut self) -> Result<u64, LogError> {
        self.alive()?;
        if let (Some((first, _)), Some((tip, _))) = (self.pending.first(), self.pending.last()) {
            let (first, tip) = (*first, *tip);
            let began = Instant::now();
            let committed = self.commit(first, tip);
            self.fatal(committed)?;
            self.shared.metrics.record_sync(began.elapsed());
        }
        Ok(self.shared.tip().unwrap_or(0))
    }

    fn retain_from(&mut self, height: u64) -> Result<u64, LogError> {
        self.alive()?;
        while let Some((first, next)) = self.droppable(height) {
            let dropped = self.drop_segment(first, next);
            self.fatal(dropped)?;
        }
        Ok(self.shared.first().unwrap_or(0))
    }

    fn reader(&self) -> Arc<dyn LogReader> {
        Arc::new(self.segment_reader())
    }
}

impl Drop for SegmentLog {
    /// Closes the newest segment cleanly, so that the next open need not repair it. Readers go on: they
    /// open it read-only.
    fn drop(&mut self) {
        self.sealer = None;
        if let Some(segment) = self.active.take()
            && let Err(_unclean) = segment.close()
        {
            self.shared.poison();
        }
    }
}
