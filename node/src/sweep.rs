//! Sweep: a snapshot is read little by little, each part after a block, and written behind it.

use crate::recover::settle;
use crate::remember::sweep_memory;
use crate::store::Store;
use crate::store::StoreError;
use crate::telemetry::Metrics;
use core::sync::atomic::{AtomicU64, Ordering};
use selfchain_engine::commit::Chain;
use selfchain_storage::{HandoverFile, Index, NodeFile, Snapshots};
use selfchain_types::roots::Table;
use selfchain_types::seam::scorer::Scorer;
use selfchain_types::seam::snapshot::{SnapshotStore, SnapshotWriter};
use selfchain_types::{Height, codec};
use std::sync::Arc;

/// When snapshots are taken, and how fast they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweepConfig {
    /// Blocks between two snapshots; 0 = none.
    pub every: u64,
    /// Records read after a block at least; as many as it had effects, if those are more.
    pub slice_min: u32,
    /// Bytes that have been read and wait to be written, at most but for one slice: then no more are read, and
    /// commits go on.
    pub waiting_bytes_max: u64,
}

/// Records read after a block at least: a tenth of a millisecond, and a million accounts in 250 blocks.
pub const SNAPSHOT_SLICE_MIN: u32 = 4_096;
/// Bytes that have been read and wait to be written, unless said otherwise.
pub const SNAPSHOT_WAITING_BYTES_MAX: u64 = 64 * 1024 * 1024;

impl Default for SweepConfig {
    fn default() -> Self {
        Self {
            every: 0,
            slice_min: SNAPSHOT_SLICE_MIN,
            waiting_bytes_max: SNAPSHOT_WAITING_BYTES_MAX,
        }
    }
}

/// What was read of a frozen state after one block. It rides with that block, so that it is written when all
/// that the snapshot will be opened with is on the disk.
#[derive(Debug)]
pub struct Slice {
    /// Height of the state.
    height: Height,
    /// Whether the snapshot begins here.
    is_first: bool,
    chunks: Vec<(Table, Vec<u8>)>,
    /// The chain's own part, with the last slice.
    manifest: Option<Vec<u8>>,
    /// Bytes of the chunks, taken off again when the slice is gone.
    bytes: u64,
    waiting: Arc<AtomicU64>,
}

impl Slice {
    /// Height of the state that it is of.
    pub fn height(&self) -> Height {
        self.height
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// Reads snapshots between blocks: the executor's end.
#[derive(Debug)]
pub struct Sweeper {
    config: SweepConfig,
    /// Height and manifest of the snapshot that is being read.
    reading: Option<(Height, Vec<u8>)>,
    waiting: Arc<AtomicU64>,
    metrics: Arc<Metrics>,
}

impl Sweeper {
    /// Nothing is read yet.
    pub fn new(config: SweepConfig, metrics: Arc<Metrics>) -> Self {
        Self {
            config,
            reading: None,
            waiting: Arc::default(),
            metrics,
        }
    }

    /// Whether [`Self::after_block`] has anything to do after the chain's tip.
    pub fn is_at_work(&self, chain: &Chain) -> bool {
        self.reading.is_some() || self.is_due(chain.tip().height)
    }

    fn is_due(&self, height: Height) -> bool {
        self.config.every != 0 && height.0.is_multiple_of(self.config.every)
    }

    /// To be called after each block, with the number of its effects and with the scorer if there is one: begins a snapshot when one is due, and
    /// reads on of the one that is under way.
    pub fn after_block(
        &mut self,
        chain: &mut Chain,
        mut scorer: Option<&mut dyn Scorer>,
        effects: usize,
    ) -> Option<Slice> {
        let is_first = self.begin(chain);
        if let Some(scorer) = scorer.as_deref_mut().filter(|_| is_first) {
            scorer.freeze();
        }
        let (height, _) = self.reading.as_ref()?;
        let height = *height;
        if !is_first && self.waiting.load(Ordering::Acquire) >= self.config.waiting_bytes_max {
            return None;
        }
        let count = u32::try_from(effects).unwrap_or(u32::MAX);
        let count = count.max(self.config.slice_min);
        let mut chunks = Vec::new();
        let mut is_last = chain.sweep(count, &mut |table, chunk| {
            chunks.push((table, chunk.to_vec()));
        });
        if let Some(scorer) = scorer.filter(|_| is_last) {
            is_last = sweep_memory(scorer, count, &mut chunks);
        }
        self.metrics
            .snapshot_frozen_bytes
            .set(codec::wide(chain.ledger().frozen_bytes()));
        let manifest = if is_last { self.reading.take() } else { None }.map(|(_, manifest)| manifest);
        if chunks.is_empty() && !is_first && !is_last {
            return None;
        }
        let bytes = chunks.iter().map(|(_, chunk)| codec::wide(chunk.len())).sum();
        self.waiting.fetch_add(bytes, Ordering::AcqRel);
        Some(Slice {
            height,
            is_first,
            chunks,
            manifest,
            bytes,
            waiting: Arc::clone(&self.waiting),
        })
    }

    /// Freezes the state if a snapshot is due and none is under way.
    fn begin(&mut self, chain: &mut Chain) -> bool {
        let height = chain.tip().height;
        if !self.is_due(height) {
            return false;
        }
        if self.reading.is_some() {
            self.metrics.snapshots_skipped.add(1);
            return false;
        }
        self.reading = Some((height, chain.freeze().to_bytes()));
        true
    }
}

/// Writes snapshots slice by slice: the end behind the log. One that is not finished leaves nothing behind.
#[derive(Default)]
pub struct SnapshotFiler {
    writing: Option<(Height, Box<dyn SnapshotWriter>)>,
}

impl SnapshotFiler {
    /// As [`Self::write`], where one thread has the whole store.
    ///
    /// # Errors
    /// [`StoreError`]: this snapshot is given up, and its further slices are passed over.
    pub fn write_to(&mut self, slice: &Slice, store: &mut Store) -> Result<Option<Height>, StoreError> {
        let (snapshots, index) = (&store.snapshots, &mut store.index);
        self.write(slice, snapshots, index, &store.receipt_nodes, &store.handovers)
    }

    /// Writes a slice. Returns the snapshot's height when that was the last one and the snapshot is whole.
    ///
    /// # Errors
    /// [`StoreError`]: this snapshot is given up, and its further slices are passed over.
    pub fn write(
        &mut self,
        slice: &Slice,
        snapshots: &Snapshots,
        index: &mut Index,
        receipt_nodes: &NodeFile,
        handovers: &HandoverFile,
    ) -> Result<Option<Height>, StoreError> {
        if slice.is_first {
            self.writing = None;
            self.writing = Some((slice.height, snapshots.begin(slice.height.0)?));
        }
        let Some((_, mut writer)) = self.writing.take().filter(|(height, _)| *height == slice.height) else {
            return Ok(None);
        };
        for (table, chunk) in &slice.chunks {
            writer.put(table.code(), chunk)?;
        }
        let Some(manifest) = &slice.manifest else {
            self.writing = Some((slice.height, writer));
            return Ok(None);
        };
        settle(index, receipt_nodes, handovers)?;
        writer.finish(manifest)?;
        Ok(Some(slice.height))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfchain_types::Genesis;
    use selfchain_types::crypto::SigningKey;

    /// Parts of a snapshot, each read after a block of its own.
    const PARTS: u64 = 12;

    /// A chain before its first block, at a height where a snapshot is always due, read part by part.
    fn sweeper() -> (Chain, Sweeper, Arc<Metrics>) {
        let key = SigningKey::from_seed(&[1; 32]);
        let metrics = Arc::<Metrics>::default();
        let config = SweepConfig {
            every: 1,
            slice_min: 1,
            waiting_bytes_max: 1,
        };
        let chain = Chain::new(Genesis::solo("sweep", 0, key.public().clone()), None);
        (chain, Sweeper::new(config, Arc::clone(&metrics)), metrics)
    }

    #[test]
    fn a_snapshot_that_is_due_while_another_is_read_is_left_out_and_counted() {
        let (mut chain, mut sweeper, metrics) = sweeper();
        let slices: Vec<_> = (0..PARTS)
            .map(|_| sweeper.after_block(&mut chain, None, 0))
            .collect();
        let [Some(first), middle @ .., Some(last)] = &slices[..] else {
            panic!("{slices:?}");
        };
        assert!(first.is_first && first.manifest.is_none() && middle.iter().all(Option::is_none));
        assert!(!last.is_first && last.manifest.is_some() && last.chunks.len() == 1);
        assert_eq!(metrics.snapshots_skipped.get(), PARTS - 1);
    }

    #[test]
    fn nothing_is_read_while_too_much_waits_to_be_written() {
        let (mut chain, mut sweeper, _) = sweeper();
        let waiting: Vec<_> = (0..PARTS)
            .filter_map(|_| sweeper.after_block(&mut chain, None, 0))
            .collect();
        assert!(waiting.iter().any(|slice| slice.bytes > 0));
        assert!(
            sweeper
                .after_block(&mut chain, None, 0)
                .is_some_and(|slice| slice.is_first)
        );
        assert!((0..20).all(|_| sweeper.after_block(&mut chain, None, 0).is_none()));
        drop(waiting);
        assert!((1..PARTS).any(|_| sweeper.after_block(&mut chain, None, 0).is_some()));
    }
}
