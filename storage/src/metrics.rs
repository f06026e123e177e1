//! Counters and gauges of this crate, plain atomics that the node reads and names.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A number that only its owner changes and anybody may read.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// The value now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn set_len(&self, value: usize) {
        self.set(len_u64(value));
    }

    pub(crate) fn add(&self, value: u64) {
        self.0.fetch_add(value, Ordering::Relaxed);
    }

    fn raise(&self, value: u64) {
        self.0.fetch_max(value, Ordering::Relaxed);
    }
}

/// Everything storage can say about itself. Counters grow from 0 at start.
#[derive(Debug, Default)]
pub struct StorageMetrics {
    /// Rows made durable.
    pub log_rows: Gauge,
    /// Bytes of those rows.
    pub log_bytes: Gauge,
    /// Bytes appended and waiting for a sync.
    pub log_pending_bytes: Gauge,
    /// Commits of the log.
    pub log_syncs: Gauge,
    /// Duration of the newest commit, in nanoseconds.
    pub log_sync_last_ns: Gauge,
    /// Longest commit, in nanoseconds.
    pub log_sync_max_ns: Gauge,
    /// All commits together, in nanoseconds.
    pub log_sync_total_ns: Gauge,
    /// Segments held, the newest included.
    pub log_segments: Gauge,
    /// Segments sealed since start.
    pub log_seals: Gauge,
    /// Bytes of newest rows kept in memory.
    pub log_tail_bytes: Gauge,
    /// Reads answered from memory.
    pub log_tail_hits: Gauge,
    /// Reads that went to a segment.
    pub log_tail_misses: Gauge,
    /// Heights the index is behind the log, at the newest look.
    pub index_lag_heights: Gauge,
    /// Memory of index entries that are in no run, in bytes.
    pub index_buffer_bytes: Gauge,
    /// Runs of the index.
    pub index_runs: Gauge,
    /// Bytes of those runs.
    pub index_bytes: Gauge,
    /// Runs dropped as damaged since start.
    pub index_runs_dropped: Gauge,
    /// Free space at the newest look, in bytes.
    pub disk_free_bytes: Gauge,
}

impl StorageMetrics {
    pub(crate) fn record_sync(&self, took: Duration) {
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.log_syncs.add(1);
        self.log_sync_last_ns.set(took_ns);
        self.log_sync_max_ns.raise(took_ns);
        self.log_sync_total_ns.add(took_ns);
    }
}

/// A length as a number to store. `usize` has at most 64 bits wherever this crate builds.
pub(crate) fn len_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
