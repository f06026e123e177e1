//! Remembering: a scorer is told the past, from the newest snapshot that has its memory and the log after it.

use crate::recover::{Progress, for_each_prepared};
use crate::store::{Store, StoreError};
use selfchain_engine::commit::Chain;
use selfchain_types::roots::Table;
use selfchain_types::seam::scorer::{Scorer, Timed};
use selfchain_types::seam::snapshot::SnapshotStore;
use selfchain_types::{Height, Kind, Operation, Outcome};

/// Whether what a scorer makes of it depends on what the ledger said: reports and new assets.
pub(crate) fn is_learnt(operation: &Operation) -> bool {
    let kind = operation.kind;
    kind == Kind::Report.code() || kind == Kind::CreateAsset.code()
}

fn is_ok(outcomes: &[u16], at: usize) -> bool {
    outcomes.get(at) == Some(&Outcome::Ok.code())
}

/// Reports and new assets that took effect.
pub(crate) fn learnt<'a>(operations: &[Timed<'a>], outcomes: &[u16]) -> Vec<Timed<'a>> {
    let numbered = operations.iter().enumerate();
    let learnt = numbered.filter(|(at, one)| is_learnt(one.operation) && is_ok(outcomes, *at));
    learnt.map(|(_, one)| *one).collect()
}

/// Every operation but the reports and new assets that were refused. Transfers come before the reports and assets
/// of the same block, as where the block is scored.
pub(crate) fn without_refused<'a>(operations: &[Timed<'a>], outcomes: &[u16]) -> Vec<Timed<'a>> {
    let mut all: Vec<Timed<'a>> = operations
        .iter()
        .filter(|one| !is_learnt(one.operation))
        .copied()
        .collect();
    all.extend(learnt(operations, outcomes));
    all
}

impl Store {
    /// Tells a scorer everything up to the chain's tip. Where the log no longer begins at the first block and no
    /// snapshot has a scorer's memory, it begins at the log's first block, and a warning says so.
    ///
    /// # Errors
    /// [`StoreError`]; a damaged row is named by its height.
    pub fn remember(
        &self,
        chain: &Chain,
        fresh: &dyn Fn() -> Box<dyn Scorer>,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Box<dyn Scorer>, StoreError> {
        let tip = chain.tip().height;
        let reader = self.log_reader();
        let (mut scorer, height) = match self.newest_memory(tip, fresh) {
            Some(found) => found,
            None => (fresh(), Height::GENESIS),
        };
        let mut next = height.next();
        if let Some(first) = reader.first().filter(|first| *first > next.0) {
            tracing::warn!(
                first,
                "the scorer does not remember what was before the log's first block"
            );
            next = Height(first);
        }
        for_each_prepared(&*reader, next, tip, &mut |block, height| {
            let times = chain.ledger().times_of(block.header().time_ns, block.views());
            let operations = block.views().iter().flat_map(|view| view.operations());
            let timed: Vec<Timed<'_>> = operations
                .zip(times)
                .map(|(operation, time)| Timed { operation, time })
                .collect();
            scorer.observe(&without_refused(&timed, &block.result().outcomes));
            progress(Progress { height, tip });
            Ok(())
        })?;
        Ok(scorer)
    }

    fn newest_memory(
        &self,
        tip: Height,
        fresh: &dyn Fn() -> Box<dyn Scorer>,
    ) -> Option<(Box<dyn Scorer>, Height)> {
        let mut heights = self.snapshots.list().ok()?;
        heights.retain(|height| *height <= tip.0);
        while let Some(height) = heights.pop() {
            match self.memory_at(height, fresh) {
                Ok(Some(scorer)) => return Some((scorer, Height(height))),
                Ok(None) => {}
                Err(error) => tracing::warn!(height, error = %error, "a scorer's memory is passed over"),
            }
        }
        None
    }

    fn memory_at(
        &self,
        height: u64,
        fresh: &dyn Fn() -> Box<dyn Scorer>,
    ) -> Result<Option<Box<dyn Scorer>>, Box<dyn std::error::Error + Send + Sync>> {
        let mut scorer = None;
        for chunk in self.snapshots.read(height, Table::Contexts.code())? {
            scorer.get_or_insert_with(fresh).restore(&chunk?)?;
        }
        Ok(scorer)
    }
}

/// Hands all of a scorer's memory on at once.
pub(crate) fn write_memory(scorer: &mut dyn Scorer, sink: &mut dyn FnMut(&[u8])) {
    scorer.freeze();
    while !scorer.sweep(MEMORY_STEP, sink) {}
}

/// Records that are handed on at a time: chunks of a megabyte.
const MEMORY_STEP: u32 = 4_095;

/// Hands on about `count` records of a scorer's frozen memory; whether that was the last.
pub(crate) fn sweep_memory(scorer: &mut dyn Scorer, count: u32, chunks: &mut Vec<(Table, Vec<u8>)>) -> bool {
    scorer.sweep(count, &mut |chunk| chunks.push((Table::Contexts, chunk.to_vec())))
}
