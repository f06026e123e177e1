//! What the writer and every reader of a log share, and the reading end.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use selfchain_types::seam::log::{LogError, LogReader};

use super::config::LogConfig;
use super::seal::{Seal, hash_segment};
use super::segment::{Segment, SegmentSummary, corrupt, estimate_disk_bytes, segment_path};
use super::tail::Tail;
use crate::disk::Disk;
use crate::guard::{lock, read, write};
use crate::metrics::StorageMetrics;

/// The state behind a log.
#[derive(Debug)]
pub(super) struct Shared {
    pub disk: Arc<dyn Disk>,
    pub config: LogConfig,
    pub metrics: Arc<StorageMetrics>,
    /// Segments by first height.
    pub segments: RwLock<BTreeMap<u64, Arc<Segment>>>,
    pub tail: Mutex<Tail>,
    first: AtomicU64,
    tip: AtomicU64,
    poisoned: AtomicBool,
    /// Sealed segments open for reading, the longest open first.
    open: Mutex<VecDeque<u64>>,
}

impl Shared {
    pub fn new(
        disk: Arc<dyn Disk>,
        config: LogConfig,
        metrics: Arc<StorageMetrics>,
        segments: Vec<Segment>,
    ) -> Self {
        let first = segments.first().map_or(NO_HEIGHT, |segment| segment.first);
        let tip = segments.last().map_or(NO_HEIGHT, Segment::last);
        metrics.log_segments.set_len(segments.len());
        Self {
            disk,
            metrics,
            tail: Mutex::new(Tail::new(config.tail_bytes_max)),
            config,
            segments: RwLock::new(
                segments
                    .into_iter()
                    .map(|segment| (segment.first, Arc::new(segment)))
                    .collect(),
            ),
            first: AtomicU64::new(first),
            tip: AtomicU64::new(tip),
            poisoned: AtomicBool::new(false),
            open: Mutex::new(VecDeque::new()),
        }
    }

    pub fn poison(&self) {
        self.poisoned.store(true, Ordering::Release);
    }

    pub fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    pub fn first(&self) -> Option<u64> {
        Some(self.first.load(Ordering::Acquire)).filter(|height| *height != NO_HEIGHT)
    }

    pub fn set_first(&self, height: u64) {
        self.first.store(height, Ordering::Release);
    }

    pub fn tip(&self) -> Option<u64> {
        Some(self.tip.load(Ordering::Acquire)).filter(|height| *height != NO_HEIGHT)
    }

    /// Shows rows up to `height` to readers.
    pub fn set_tip(&self, height: u64) {
        self.tip.store(height, Ordering::Release);
    }

    /// Whether the disk can take `row_bytes` more and keep its reserve.
    pub fn headroom(&self, row_bytes: u64) -> Result<(), LogError> {
        let free_bytes = self.disk.free_bytes().map_err(|source| LogError::Io {
            action: "ask the disk for its free space".to_owned(),
            source,
        })?;
        self.metrics.disk_free_bytes.set(free_bytes);
        let needed_bytes = estimate_disk_bytes(row_bytes).saturating_add(self.config.reserve_bytes);
        if free_bytes < needed_bytes {
            return Err(LogError::DiskFull {
                free_bytes,
                needed_bytes,
            });
        }
        Ok(())
    }

    pub fn read(&self, height: u64) -> Result<Arc<[u8]>, LogError> {
        let tip = self.tip();
        if tip.is_none_or(|tip| height > tip) {
            return Err(LogError::NotFound { height, tip });
        }
        self.refuse_pruned(height)?;
        if let Some(row) = lock(&self.tail).get(height) {
            self.metrics.log_tail_hits.add(1);
            return Ok(row);
        }
        self.metrics.log_tail_misses.add(1);
        let segment = read(&self.segments)
            .range(..=height)
            .next_back()
            .map(|(_, segment)| Arc::clone(segment));
        let Some(segment) = segment else {
            // Retention may have moved between the two looks.
            self.refuse_pruned(height)?;
            return Err(corrupt(height, "its segment is missing"));
        };
        let was_open = segment.is_open();
        let row = segment.read(&*self.disk, &self.config, height)?;
        if !was_open {
            self.limit_open(segment.first)?;
        }
        Ok(row)
    }

    fn refuse_pruned(&self, height: u64) -> Result<(), LogError> {
        match self.first() {
            Some(first) if height < first => Err(LogError::Pruned { first }),
            _ => Ok(()),
        }
    }

    /// Notes that a segment was opened for reading and closes the one open longest when there are too many.
    fn limit_open(&self, opened: u64) -> Result<(), LogError> {
        let mut open = lock(&self.open);
        open.retain(|first| *first != opened);
        open.push_back(opened);
        while open.len() > self.config.segments_open_max
            && let Some(oldest) = open.pop_front()
        {
            let segment = read(&self.segments).get(&oldest).map(Arc::clone);
            if let Some(segment) = segment.filter(|segment| segment.is_sealed()) {
                segment.close()?;
            }
        }
        Ok(())
    }

    /// Takes the oldest segment out of sight.
    pub fn forget_segment(&self, first: u64) {
        let mut segments = write(&self.segments);
        segments.remove(&first);
        self.metrics.log_segments.set_len(segments.len());
    }
}

/// No height: an empty log. The seam never allows it as one.
pub(super) const NO_HEIGHT: u64 = u64::MAX;

/// The reading end of a [`super::SegmentLog`], and what only storage can say about its segments.
#[derive(Debug, Clone)]
pub struct SegmentReader {
    pub(super) shared: Arc<Shared>,
}

impl LogReader for SegmentReader {
    fn first(&self) -> Option<u64> {
        self.shared.first()
    }

    fn tip(&self) -> Option<u64> {
        self.shared.tip()
    }

    fn read(&self, height: u64) -> Result<Arc<[u8]>, LogError> {
        self.shared.read(height)
    }

    fn headroom(&self, bytes: u64) -> Result<(), LogError> {
        self.shared.headroom(bytes)
    }
}

impl SegmentReader {
    /// Every segment, oldest first. Reads the seals, so damage of one is an error.
    pub fn segments(&self) -> Result<Vec<SegmentSummary>, LogError> {
        let segments: Vec<_> = read(&self.shared.segments).values().map(Arc::clone).collect();
        let mut summaries = Vec::with_capacity(segments.len());
        for segment in segments {
            let sealed = if segment.is_sealed() {
                let seal = Seal::read(&*self.shared.disk, segment.first)?;
                Some((seal.file_len, seal.file_hash))
            } else {
                None
            };
            summaries.push(SegmentSummary {
                first: segment.first,
                last: segment.last(),
                sealed,
                path: segment_path(segment.first),
            });
        }
        Ok(summaries)
    }

    /// Verifies one segment: the file of a sealed one against its seal's hash, then every row. Different
    /// segments may be verified in parallel.
    pub fn verify_segment(&self, summary: &SegmentSummary) -> Result<(), LogError> {
        if let Some(sealed) = summary.sealed
            && hash_segment(&*self.shared.disk, summary.first)? != sealed
        {
            // Name the row if one is hit: a flipped byte may also lie between rows.
            self.verify_rows(summary)?;
            return Err(corrupt(
                summary.first,
                "its segment's file does not match its seal",
            ));
        }
        self.verify_rows(summary)
    }

    fn verify_rows(&self, summary: &SegmentSummary) -> Result<(), LogError> {
        let segment = read(&self.shared.segments).get(&summary.first).map(Arc::clone);
        let Some(segment) = segment else {
            return Err(LogError::Pruned {
                first: self.shared.first().unwrap_or(0),
            });
        };
        for height in summary.first..=summary.last {
            segment.read(&*self.shared.disk, &self.shared.config, height)?;
        }
        self.shared.limit_open(summary.first)
    }
}
