//! What can be chosen about the log.

/// Sizes and switches of the log. Every length is in bytes.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// A segment holding this many row bytes is sealed and a new one begun. Restart, retention and backup
    /// work in this unit. redb doubles a file that is full, to 784 MiB after 392: one that is sealed a little below
    /// that has next to no empty tail.
    pub segment_bytes: u64,
    /// The longest row accepted.
    pub row_bytes_max: u64,
    /// The most that may wait for a sync.
    pub pending_bytes_max: u64,
    /// Newest rows kept in memory for subscribers near the tip.
    pub tail_bytes_max: u64,
    /// Page cache of the segment being written.
    pub write_cache_bytes: usize,
    /// Page cache of each sealed segment that is open for reading.
    pub read_cache_bytes: usize,
    /// Sealed segments kept open for reading.
    pub segments_open_max: usize,
    /// What must stay free on the disk: an append that would leave less is refused.
    pub reserve_bytes: u64,
    /// Saves the allocator's state in every commit: a crashed segment opens at once, commits are slower.
    /// Without it opening after a crash reads the newest segment once.
    pub quick_repair: bool,
    /// Verifies every page of the newest segment when the log opens.
    pub check_on_open: bool,
    /// Who seals a full segment.
    pub sealing: Sealing,
}

/// Who closes and hashes a full segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sealing {
    /// A thread of the log's own, so that no commit waits for it.
    Background,
    /// The writer itself, between two commits: the same disk operations in the same order every run.
    Inline,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 704 << 20,
            row_bytes_max: 64 << 20,
            pending_bytes_max: 64 << 20,
            tail_bytes_max: 32 << 20,
            write_cache_bytes: 32 << 20,
            read_cache_bytes: 2 << 20,
            segments_open_max: 8,
            reserve_bytes: 256 << 20,
            quick_repair: false,
            check_on_open: true,
            sealing: Sealing::Background,
        }
    }
}
