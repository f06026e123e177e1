//! Offering: the snapshot that this node can send to one that joins.

use super::index::{INDEX_BYTES_MAX, Index};
use selfchain_engine::commit::{Anchor, ChainSnapshot};
use selfchain_storage::{HandoverFile, SnapshotFile, Snapshots};
use selfchain_types::peer::{HANDOVERS_MAX, SnapshotOffer};
use selfchain_types::seam::log::LogReader;
use selfchain_types::seam::snapshot::{SnapshotError, SnapshotStore};
use selfchain_types::{Hash, Height, codec};
use std::sync::Arc;

/// Snapshots whose parts are sent at once: the newest, and the one before it for whoever is in the middle of it.
const OFFERS_MAX: usize = 2;
/// Bytes of handovers that one message brings.
const HANDOVERS_BYTES_MAX: usize = 4 << 20;

/// What this node sends of its snapshots.
pub struct Offering {
    snapshots: Arc<Snapshots>,
    handovers: Arc<HandoverFile>,
    log: Arc<dyn LogReader>,
    root_lag: u64,
    /// The newest last.
    offers: Vec<Offered>,
    /// The newest height that could not be offered, so that it is not tried again and again.
    passed_over: Option<(u64, Height)>,
}

struct Offered {
    offer: SnapshotOffer,
    index: Vec<u8>,
    file: SnapshotFile,
}

impl Offering {
    /// Of these snapshots, proved from this log.
    pub fn new(
        snapshots: Arc<Snapshots>,
        handovers: Arc<HandoverFile>,
        log: Arc<dyn LogReader>,
        root_lag: u64,
    ) -> Self {
        Self {
            snapshots,
            handovers,
            log,
            root_lag,
            offers: Vec::new(),
            passed_over: None,
        }
    }

    /// The newest snapshot that can be proved, if any.
    pub fn newest(&mut self) -> Option<SnapshotOffer> {
        let tip = Height(self.log.tip()?);
        let mut heights = self.snapshots.list().unwrap_or_default();
        while let Some(height) = heights.pop() {
            if let Some(known) = self.offers.iter().find(|one| one.offer.height.0 == height) {
                return Some(known.offer);
            }
            if self.passed_over == Some((height, tip)) {
                continue;
            }
            match self.make(Height(height), tip) {
                Ok(Some(offered)) => {
                    let offer = offered.offer;
                    self.offers.push(offered);
                    if self.offers.len() > OFFERS_MAX {
                        self.offers.remove(0);
                    }
                    return Some(offer);
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(height, error = %error, "a snapshot cannot be offered"),
            }
            self.passed_over = Some((height, tip));
        }
        None
    }

    /// Makes an offer, once the blocks that prove the snapshot are in the log and as long as they are.
    fn make(&self, height: Height, tip: Height) -> Result<Option<Offered>, SnapshotError> {
        let (first, last) = Anchor::heights(height, self.root_lag);
        if height == Height::GENESIS || last > tip || self.log.first().is_none_or(|begin| begin > first.0) {
            return Ok(None);
        }
        let rows: Result<Vec<_>, _> = (first.0..=last.0).map(|at| self.log.read(at)).collect();
        let anchor = rows
            .ok()
            .and_then(|rows| Anchor::of_rows(height, self.root_lag, &rows).ok());
        let manifest = self.snapshots.manifest(height.0)?;
        let own = ChainSnapshot::decode(&manifest).ok();
        let own = own.filter(|one| one.tip.height == height);
        let (Some(anchor), Some(mut own)) = (anchor, own) else {
            return Ok(None);
        };
        // Nothing proves them to another, who can do without.
        own.past_roots.clear();
        let manifest = own.to_bytes();
        let file = self.snapshots.file(height.0)?;
        let index = Index {
            manifest,
            anchor: anchor.to_bytes(),
            chunks: file.entries().collect(),
        };
        let (bytes, chunks) = (index.bytes(), codec::narrow(index.chunks.len()));
        let index = index.to_bytes();
        if index.len() > INDEX_BYTES_MAX {
            return Ok(None);
        }
        let offer = SnapshotOffer {
            height,
            id: Index::id(&index),
            chunks,
            bytes,
        };
        Ok(Some(Offered { offer, index, file }))
    }

    /// A part of a snapshot that was offered: the index, or a chunk.
    pub fn part(&self, id: &Hash, part: u32) -> Option<Vec<u8>> {
        let offered = self.offers.iter().find(|one| one.offer.id == *id)?;
        let Some(chunk) = part.checked_sub(1) else {
            return Some(offered.index.clone());
        };
        match offered.file.chunk(codec::index(chunk)) {
            Ok(chunk) => chunk,
            Err(error) => {
                tracing::warn!(height = offered.offer.height.0, part, error = %error, "a part of a snapshot cannot be read");
                None
            }
        }
    }

    /// Changes of the set of validators from a height on, as far as one message carries them.
    pub fn handovers(&self, from: Height) -> Vec<Vec<u8>> {
        let read = self
            .handovers
            .read_from(from.0, HANDOVERS_MAX, HANDOVERS_BYTES_MAX);
        read.unwrap_or_else(|error| {
            tracing::warn!(%from, error = %error, "changes of the set of validators cannot be read");
            Vec::new()
        })
    }
}
