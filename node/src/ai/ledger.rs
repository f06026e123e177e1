//! A ledger as rows: every transfer of its log as models saw it, with what its own reports say of it.

use super::reports::{ReportsError, Verdicts};
use crate::recover::{Progress, try_each_prepared};
use crate::remember::{learnt, timed};
use crate::standing::standing;
use crate::store::{StoreError, read_genesis};
use core::ops::Range;
use selfchain_ai::dataset::Dataset;
use selfchain_ai::features::{Contexts, Row, Rows};
use selfchain_engine::commit::{Chain, Prepared};
use selfchain_storage::{Disk, LogConfig, SegmentLog, StorageMetrics};
use selfchain_types::receipt::NOT_SCORED;
use selfchain_types::seam::log::{Log, LogReader};
use selfchain_types::time::NS_PER_S;
use selfchain_types::{Hash, Height, Operation, Outcome};
use std::sync::Arc;

/// The log of a stopped node, and what its reports come to.
pub struct LedgerRows {
    log: Arc<dyn LogReader>,
    chain: Chain,
    verdicts: Verdicts,
    first: Height,
    tip: Height,
}

/// One transfer of a ledger.
#[derive(Clone, Copy, Debug)]
pub struct LedgerSample<'a> {
    /// Its block.
    pub height: Height,
    /// Its transaction.
    pub tx_id: Hash,
    /// Which operation of that it is.
    pub number: u32,
    /// As the log has it.
    pub operation: &'a Operation,
    /// Its ledger time, in seconds.
    pub time_s: u64,
    /// What the ledger said.
    pub outcome: Outcome,
    /// The score that the block keeps; `None` where it has none.
    pub score: Option<u8>,
    /// What models see.
    pub row: &'a Row,
    /// Whether reports say that it is fraud.
    pub is_bad: bool,
    /// The account that makes it fraud, where one is to blame; else 0.
    pub culprit: u128,
}

impl LedgerRows {
    /// Opens the log on a disk, and reads its reports.
    ///
    /// # Errors
    /// [`ReportsError`].
    pub fn open(
        disk: Arc<dyn Disk>,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Self, ReportsError> {
        let genesis = read_genesis(&*disk)?;
        let metrics = Arc::new(StorageMetrics::default());
        let log = SegmentLog::open(disk, LogConfig::default(), metrics).map_err(StoreError::from)?;
        let log = log.reader();
        let first = Height(log.first().unwrap_or(1));
        let tip = Height(log.tip().unwrap_or(0));
        let standing = standing(&genesis).map_err(StoreError::from)?;
        let verdicts = Verdicts::read(&*log, (first, tip), &mut |height| {
            progress(Progress { height, tip });
        })?;
        Ok(Self {
            log,
            chain: Chain::new(genesis, standing),
            verdicts,
            first,
            tip,
        })
    }

    /// What its reports come to.
    pub fn verdicts(&self) -> &Verdicts {
        &self.verdicts
    }

    /// The chain.
    pub fn chain_id(&self) -> Hash {
        self.chain.chain_id()
    }

    /// First and last height. Where the first is not 1, retention has dropped what was before, and nothing of it
    /// is remembered.
    pub fn heights(&self) -> (Height, Height) {
        (self.first, self.tip)
    }

    /// Hands on every transfer that models see, in the order of the log, until `each` fails.
    ///
    /// # Errors
    /// [`StoreError`], or what `each` says.
    pub fn read<E: From<StoreError> + Send>(
        &self,
        each: &mut (dyn FnMut(LedgerSample<'_>) -> Result<(), E> + Send),
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(), E> {
        let (mut contexts, tip) = (Contexts::default(), self.tip);
        try_each_prepared(&*self.log, self.first, tip, &mut |block, height| {
            self.read_block(&block, &mut contexts, each)?;
            progress(Progress { height, tip });
            Ok(())
        })
    }

    fn read_block<E>(
        &self,
        block: &Prepared<'_>,
        contexts: &mut Contexts,
        each: &mut dyn FnMut(LedgerSample<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let times = self
            .chain
            .ledger()
            .times_of(block.header().time_ns, block.views());
        let operations = timed(block.views(), &times);
        let outcomes = &block.result().outcomes;
        let mut rows = Rows::default();
        contexts.begin_decided();
        contexts.rows(&operations, &mut rows);
        contexts.keep();
        for one in learnt(&operations, outcomes) {
            contexts.observe(one.operation, one.time);
        }
        let numbered = block.transactions().iter().flat_map(|transaction| {
            (0..transaction.operations).map(move |number| (transaction.tx_id, number))
        });
        let each_one = (0_u32..).zip(numbered).zip(operations.iter().zip(outcomes));
        for ((position, (tx_id, number)), (one, outcome)) in each_one {
            let Some(row) = rows.at(position) else { continue };
            let score = block.risk().score(position);
            each(LedgerSample {
                height: block.header().height,
                tx_id,
                number,
                operation: one.operation,
                time_s: one.time.0 / NS_PER_S,
                outcome: Outcome::from_code(*outcome).unwrap_or(Outcome::Ok),
                score: (score != NOT_SCORED).then_some(score),
                row,
                is_bad: self.verdicts.is_fraud(&tx_id, number, one.operation),
                culprit: self.verdicts.culprit(one.operation),
            })?;
        }
        Ok(())
    }

    /// The rows within these unix seconds, to learn from or to judge by: 320 bytes of memory a row.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn labelled(
        &self,
        within_s: &Range<u64>,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Dataset, StoreError> {
        let mut set = Dataset::default();
        let mut each = |sample: LedgerSample<'_>| -> Result<(), StoreError> {
            if within_s.contains(&sample.time_s) {
                let (is_bad, culprit) = (sample.is_bad, sample.culprit);
                set.push(*sample.row, *sample.operation, is_bad, sample.time_s, culprit);
            }
            Ok(())
        };
        self.read(&mut each, progress)?;
        Ok(set)
    }
}
