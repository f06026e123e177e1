//! Remembering: a scorer is told the past, from the newest snapshot that has its memory and the log after it.

use crate::recover::{Progress, for_each_prepared};
use crate::store::{Store, StoreError};
use selfchain_engine::commit::Chain;
use selfchain_engine::ledger::Ledger;
use selfchain_types::envelope::EnvelopeView;
use selfchain_types::roots::Table;
use selfchain_types::seam::scorer::{Scorer, Timed};
use selfchain_types::seam::snapshot::SnapshotStore;
use selfchain_types::{Height, Kind, Operation, Outcome, TimeNs};
use std::error::Error;

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

/// Operations of a block with their times.
pub(crate) fn timed<'a>(views: &[EnvelopeView<'a>], times: &[TimeNs]) -> Vec<Timed<'a>> {
    let operations = views.iter().flat_map(|view| view.operations());
    let timed = operations.zip(times);
    timed
        .map(|(operation, time)| Timed {
            operation,
            time: *time,
        })
        .collect()
}

/// What can be told the past: a scorer, or the contexts alone that rows of features are made from.
pub(crate) trait Memory: Send {
    /// Takes a part of what a snapshot holds of it.
    fn restore(&mut self, chunk: &[u8]) -> Result<(), Box<dyn Error + Send + Sync>>;

    /// Is told a block, as [`without_refused`] has it.
    fn observe(&mut self, operations: &[Timed<'_>]);
}

impl Memory for Box<dyn Scorer> {
    fn restore(&mut self, chunk: &[u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        (**self).restore(chunk)
    }

    fn observe(&mut self, operations: &[Timed<'_>]) {
        (**self).observe(operations);
    }
}

/// A memory that was told the past.
pub struct Recalled<M> {
    /// What remembers.
    pub memory: M,
    /// The first block that it was told of, where those before are in neither the log nor a snapshot.
    pub begins: Option<Height>,
}

impl Store {
    /// Tells a scorer everything up to the chain's tip. Where the log no longer begins at the first block and no
    /// snapshot has a scorer's memory, it begins at the log's first block.
    ///
    /// # Errors
    /// [`StoreError`]; a damaged row is named by its height.
    pub fn remember(
        &self,
        chain: &Chain,
        fresh: &dyn Fn() -> Box<dyn Scorer>,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Recalled<Box<dyn Scorer>>, StoreError> {
        self.recall(chain.ledger(), chain.tip().height, fresh, progress)
    }

    /// Tells a memory everything up to a height. Of the ledger only its clock is asked, which any state of the
    /// chain has.
    ///
    /// # Errors
    /// [`StoreError`]; a damaged row is named by its height.
    pub(crate) fn recall<M: Memory>(
        &self,
        ledger: &Ledger,
        through: Height,
        fresh: &dyn Fn() -> M,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Recalled<M>, StoreError> {
        let reader = self.log_reader();
        let (mut memory, height) = match self.newest_memory(through, fresh) {
            Some(found) => found,
            None => (fresh(), Height::GENESIS),
        };
        let mut next = height.next();
        // An empty log begins after the snapshot that the chain began at.
        let first = reader.first().map_or(through.next(), Height);
        let begins = Some(first).filter(|first| *first > next);
        next = begins.unwrap_or(next);
        for_each_prepared(&*reader, next, through, &mut |block, height| {
            let times = ledger.times_of(block.header().time_ns, block.views());
            memory.observe(&without_refused(
                &timed(block.views(), &times),
                &block.result().outcomes,
            ));
            let tip = through;
            progress(Progress { height, tip });
            Ok(())
        })?;
        Ok(Recalled { memory, begins })
    }

    fn newest_memory<M: Memory>(&self, through: Height, fresh: &dyn Fn() -> M) -> Option<(M, Height)> {
        let mut heights = self.snapshots.list().ok()?;
        heights.retain(|height| *height <= through.0);
        while let Some(height) = heights.pop() {
            match self.memory_at(height, fresh) {
                Ok(Some(memory)) => return Some((memory, Height(height))),
                Ok(None) => {}
                Err(error) => tracing::warn!(height, error = %error, "a scorer's memory is passed over"),
            }
        }
        None
    }

    fn memory_at<M: Memory>(
        &self,
        height: u64,
        fresh: &dyn Fn() -> M,
    ) -> Result<Option<M>, Box<dyn Error + Send + Sync>> {
        let mut memory = None;
        for chunk in self.snapshots.read(height, Table::Contexts.code())? {
            memory.get_or_insert_with(fresh).restore(&chunk?)?;
        }
        Ok(memory)
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
