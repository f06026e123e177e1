//! Answers: what the log, the index and the receipts' tree say of the past.

use crate::proving::SINCE_GENESIS;
use crate::recover::prefix;
use crate::store::{Store, StoreError};
use selfchain_engine::commit::{Transaction, Unpacked, actual_amount, operation_leaves};
use selfchain_engine::proof::{self, FollowError, Nodes, OperationReceipt, inclusion_path};
use selfchain_storage::index::{self, Position};
use selfchain_storage::{HandoverFile, IndexReader, NodeFile, Snapshots};
use selfchain_types::account::Balances;
use selfchain_types::block::{BlockResult, Header, Row};
use selfchain_types::message::{ChangePosition, Committed, HistoryRow};
use selfchain_types::receipt::NOT_SCORED;
use selfchain_types::seam::log::{LogError, LogReader};
use selfchain_types::{AccountId, Genesis, Hash, Height, Outcome, TimeNs, codec};
use std::io;
use std::sync::Arc;
use thiserror::Error;
use zerocopy::FromBytes;

/// The past, readable from any thread while the chain goes on.
#[derive(Clone)]
pub struct Past {
    reader: Arc<dyn LogReader>,
    index: IndexReader,
    receipt_nodes: Arc<NodeFile>,
    pub(crate) genesis: Arc<Genesis>,
    pub(crate) snapshots: Arc<Snapshots>,
    pub(crate) handovers: Arc<HandoverFile>,
    pub(crate) checkpoints: Arc<HandoverFile>,
    pub(crate) root_lag: u64,
}

impl core::fmt::Debug for Past {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Past(tip {:?})", self.reader.tip())
    }
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum AnswerError {
    /// Nothing by that name.
    #[error("{what} is not on this chain")]
    NotFound {
        /// What was asked for.
        what: &'static str,
    },
    /// Nothing by that name is in what retention has kept.
    #[error("{what} is in no block from height {first} on, the first that is kept")]
    NotKept {
        /// What was asked for.
        what: &'static str,
        /// First height kept.
        first: Height,
    },
    /// The newest blocks are not committed to yet; a moment later they are.
    #[error("height {height} is proved by header {by}, which is not there yet")]
    NotYetProvable {
        /// Where the transaction is.
        height: Height,
        /// The header that will prove it.
        by: Height,
    },
    /// Retention dropped it.
    #[error("pruned: the first height kept is {first}")]
    Pruned {
        /// First height kept.
        first: Height,
    },
    /// The index is further behind than it may be.
    #[error("the index is {by} blocks behind the log")]
    IndexBehind {
        /// Blocks.
        by: u64,
    },
    /// The verifier knows the validators only from a later height on.
    #[error("header {by} is from before height {since}, from which on the verifier knows the validators")]
    BeforeSince {
        /// The header that would prove it.
        by: Height,
        /// From where on they are known.
        since: Height,
    },
    /// The heights come the wrong way round.
    #[error("height {old} is not before height {new}")]
    Order {
        /// The one that should be earlier.
        old: Height,
        /// The one that should be later.
        new: Height,
    },
    /// So many changes of the set of validators fit into no proof.
    #[error(
        "the changes of the set of validators are longer than a proof may be: prove it to whoever knows a later set"
    )]
    TooLong,
    /// The state of that height cannot be rebuilt.
    #[error(
        "accounts of height {height} cannot be proved: the first height that can is {first}, the newest {last}"
    )]
    OutOfReach {
        /// What was asked for.
        height: Height,
        /// The first that can.
        first: Height,
        /// The newest that can.
        last: Height,
    },
    /// Rebuilding the state takes more than a running node does for anybody.
    #[error(
        "the state of height {height} is {blocks} blocks after the nearest snapshot, and a running node folds at most \
         {blocks_max}: ask a stopped one"
    )]
    TooFar {
        /// What was asked for.
        height: Height,
        /// Blocks to fold.
        blocks: u64,
        /// Most of them.
        blocks_max: u64,
    },
    /// There are no checkpoints at all.
    #[error(
        "this chain has no checkpoints: its votes are hybrid, one validator decides, or genesis says none"
    )]
    NoCheckpoints,
    /// No checkpoint is of a header that commits to it yet.
    #[error("no checkpoint from header {by} on is there yet: the newest is of {newest}")]
    NotCheckpointed {
        /// The first header that commits to it.
        by: Height,
        /// The newest checkpoint's header; 0 for none.
        newest: Height,
    },
    /// Accounts can be proved over checkpoints only after the blocks that their headers commit to.
    #[error(
        "no checkpoint is of header {by}, which commits to accounts after {height}: the next such height is {next}"
    )]
    BetweenCheckpoints {
        /// What was asked for.
        height: Height,
        /// The header that would prove it.
        by: Height,
        /// The next height that can be proved so.
        next: Height,
    },
    /// One past state is rebuilt at a time.
    #[error("another past state is being rebuilt")]
    Busy,
    /// The node stops.
    #[error("the node is shutting down")]
    Stopped,
    /// A change of the set of validators does not hold.
    #[error("a change of the set of validators does not hold")]
    Unbelieved(#[from] FollowError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A transaction of a block, and its number there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    index: usize,
    transaction: Transaction,
}

impl Found {
    /// Number `index` of `block`, if there is one.
    pub(crate) fn at(block: &Unpacked<'_>, index: usize) -> Option<Self> {
        let transaction = block.transaction(index)?;
        Some(Self { index, transaction })
    }
}

/// A block has no such transaction.
pub(crate) const NO_TRANSACTION: AnswerError = AnswerError::NotFound {
    what: "the transaction",
};

impl From<LogError> for AnswerError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::NotFound { .. } => Self::NotFound { what: "the block" },
            LogError::Pruned { first } => Self::Pruned { first: Height(first) },
            other => Self::Store(other.into()),
        }
    }
}

impl From<selfchain_storage::IndexError> for AnswerError {
    fn from(error: selfchain_storage::IndexError) -> Self {
        match error {
            selfchain_storage::IndexError::Behind { by } => Self::IndexBehind { by },
            other => Self::Store(other.into()),
        }
    }
}

impl Past {
    /// The past of a store.
    pub fn of(store: &Store) -> Self {
        Self {
            reader: store.log_reader(),
            index: store.index.reader(),
            receipt_nodes: Arc::clone(&store.receipt_nodes),
            genesis: Arc::new(store.genesis.clone()),
            snapshots: Arc::clone(&store.snapshots),
            handovers: Arc::clone(&store.handovers),
            checkpoints: Arc::clone(&store.checkpoints),
            root_lag: store.genesis.plane.root_lag(),
        }
    }

    /// The log.
    pub fn log(&self) -> &Arc<dyn LogReader> {
        &self.reader
    }

    /// The newest height that the index holds.
    pub fn indexed_through(&self) -> Height {
        Height(self.index.indexed_through().unwrap_or(0))
    }

    /// How many blocks the index is behind the log.
    pub fn index_lag(&self) -> u64 {
        self.index.lag(self.reader.tip().unwrap_or(0))
    }

    /// Where a transaction is and what became of it.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn transaction(&self, tx_id: &Hash) -> Result<Committed, AnswerError> {
        self.with_transaction(tx_id, |block, found| {
            Ok(committed(
                block.header().height,
                block.header().time_ns,
                codec::narrow(found.index),
                &found.transaction,
                block.result(),
                Vec::new(),
            ))
        })
    }

    /// A transaction and its block, handed to `use_it`.
    pub(crate) fn with_transaction<T>(
        &self,
        tx_id: &Hash,
        use_it: impl FnOnce(&Unpacked<'_>, &Found) -> Result<T, AnswerError>,
    ) -> Result<T, AnswerError> {
        self.index.refuse_behind(self.reader.tip().unwrap_or(0))?;
        for position in self.index.find_tx(&prefix(tx_id))? {
            let row = self.reader.read(position.height)?;
            let block = Unpacked::new(Height(position.height), &row).map_err(StoreError::from)?;
            let index = codec::index(position.index);
            if let Some(found) = Found::at(&block, index)
                && found.transaction.tx_id == *tx_id
            {
                return use_it(&block, &found);
            }
        }
        let what = "the transaction";
        Err(match self.first_kept() {
            Some(first) => AnswerError::NotKept { what, first },
            None => AnswerError::NotFound { what },
        })
    }

    /// The first height kept, if retention has dropped any.
    fn first_kept(&self) -> Option<Height> {
        self.reader.first().filter(|first| *first > 1).map(Height)
    }

    /// The proof that operation `operation` of a transaction was decided, and how. It needs the header
    /// ROOT_LAG heights later, which follows within a block interval.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn receipt(&self, tx_id: &Hash, operation: u32) -> Result<OperationReceipt, AnswerError> {
        self.with_transaction(tx_id, |block, found| {
            self.prove(block, found, operation, SINCE_GENESIS)
        })
    }

    /// As [`Past::receipt`], for the transaction at a known place.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn receipt_at(
        &self,
        height: Height,
        index: u32,
        operation: u32,
    ) -> Result<OperationReceipt, AnswerError> {
        let row = self.reader.read(height.0)?;
        let block = Unpacked::new(height, &row).map_err(StoreError::from)?;
        let found = Found::at(&block, codec::index(index)).ok_or(NO_TRANSACTION)?;
        self.prove(&block, &found, operation, SINCE_GENESIS)
    }

    /// With the first header from `since` on that commits to it.
    pub(crate) fn prove(
        &self,
        block: &Unpacked<'_>,
        found: &Found,
        operation: u32,
        since: Height,
    ) -> Result<OperationReceipt, AnswerError> {
        let height = block.header().height;
        let by = Height(height.0 + self.root_lag).max(since);
        let proving = self.proving_row(height, by)?;
        let row = Row::decode(&proving).map_err(|source| decode(height, source))?;
        let header = Header::decode(row.header).map_err(|source| decode(height, source))?;
        let Found { index, transaction } = *found;
        let view = &block.views()[index];
        let at = codec::index(operation);
        let taken = view.operations().get(at).ok_or(AnswerError::NotFound {
            what: "the operation",
        })?;
        let leaves = operation_leaves(view, transaction.first_operation, block.result(), block.scores());
        let position = transaction.first_operation + operation;
        let outcome = Outcome::from_code(block.result().outcomes[codec::index(position)])
            .expect("a decoded result holds known outcomes");
        let receipt_index = self.receipts_before(height)? + codec::wide(index);
        let receipt_path =
            inclusion_path(receipt_index, header.receipts_size, &self.nodes()).map_err(|_| {
                AnswerError::NotFound {
                    what: "the receipt's path",
                }
            })?;
        Ok(OperationReceipt {
            operation: *taken,
            outcome,
            actual: actual_amount(taken, outcome, block.result().exception(position)),
            score: block
                .scores()
                .get(codec::index(position))
                .copied()
                .unwrap_or(NOT_SCORED),
            operation_index: operation,
            operation_count: transaction.operations,
            operation_path: proof::tree::path(&leaves, at).expect("the operation was found above"),
            tx_id: transaction.tx_id,
            height,
            transaction_index: codec::narrow(index),
            receipt_index,
            receipt_path,
            header: row.header.to_vec(),
            certificate: row.local.to_vec(),
        })
    }

    /// Nodes of the receipts' tree.
    pub(crate) fn nodes(&self) -> impl Nodes + '_ {
        FileNodes(&self.receipt_nodes)
    }

    /// The row of a header that commits to the receipts of `height`.
    fn proving_row(&self, height: Height, by: Height) -> Result<Arc<[u8]>, AnswerError> {
        self.reader.read(by.0).map_err(|error| match error {
            LogError::NotFound { .. } => AnswerError::NotYetProvable { height, by },
            other => other.into(),
        })
    }

    /// Receipts before the first of `height`: header `height − 1 + ROOT_LAG` says it.
    fn receipts_before(&self, height: Height) -> Result<u64, AnswerError> {
        let row = self.reader.read(height.0 + self.root_lag - 1)?;
        let row = Row::decode(&row).map_err(|source| decode(height, source))?;
        let header = Header::decode(row.header).map_err(|source| decode(height, source))?;
        Ok(header.receipts_size)
    }

    /// Balances of an account with history as they became, oldest first, from `from` on; from height 0, all that is
    /// kept. The next page begins at [`ChangePosition::next`] of the last row.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn history(
        &self,
        account: AccountId,
        from: ChangePosition,
        rows_max: u16,
    ) -> Result<Vec<HistoryRow>, AnswerError> {
        self.index.refuse_behind(self.reader.tip().unwrap_or(0))?;
        if let Some(first) = self
            .first_kept()
            .filter(|first| Height(0) < from.height && from.height < *first)
        {
            return Err(AnswerError::Pruned { first });
        }
        let from = Position {
            height: from.height.0,
            index: from.place,
        };
        let rows = self.index.history(account.0, from, usize::from(rows_max))?;
        Ok(rows.iter().map(history_row).collect())
    }

    /// Balances of an account with history as they were after `height`; `None` before its first change,
    /// where every height is kept.
    ///
    /// # Errors
    /// [`AnswerError`]; [`AnswerError::Pruned`] where its last change up to there is kept no longer.
    pub fn balance_at(&self, account: AccountId, height: Height) -> Result<Option<HistoryRow>, AnswerError> {
        let tip = self.reader.tip().unwrap_or(0);
        self.index.refuse_behind(tip)?;
        let indexed = self.indexed_through();
        if height.0 > tip {
            return Err(AnswerError::NotFound { what: "that height" });
        }
        if height > indexed {
            return Err(AnswerError::IndexBehind {
                by: tip.saturating_sub(indexed.0),
            });
        }
        let found = self.index.balance_at(account.0, height.0)?;
        match (&found, self.first_kept()) {
            // Its last change until then may be one that is kept no longer.
            (None, Some(first)) => Err(AnswerError::Pruned { first }),
            _ => Ok(found.as_ref().map(history_row)),
        }
    }
}

fn history_row(row: &index::HistoryRow) -> HistoryRow {
    HistoryRow {
        position: ChangePosition {
            height: Height(row.position.height),
            place: row.position.index,
        },
        balances: Balances::read_from_bytes(&row.value).expect("four totals of 16 bytes"),
    }
}

pub(crate) fn decode(height: Height, source: codec::DecodeError) -> AnswerError {
    StoreError::Verify(selfchain_engine::commit::VerifyError::Decode {
        height,
        what: "row",
        source,
    })
    .into()
}

/// A committed transaction's result, from its block's.
pub fn committed(
    height: Height,
    time_ns: TimeNs,
    index: u32,
    transaction: &Transaction,
    result: &BlockResult,
    balances: Vec<(Balances, Balances)>,
) -> Committed {
    let first = codec::index(transaction.first_operation);
    let outcomes = &result.outcomes[first..first + codec::index(transaction.operations)];
    let refused = outcomes
        .iter()
        .zip(0u32..)
        .filter(|(code, _)| **code != Outcome::Ok.code())
        .filter_map(|(code, at)| {
            let exception = result.exception(transaction.first_operation + at);
            Outcome::from_code(*code).map(|outcome| (at, outcome, exception))
        })
        .collect();
    Committed {
        duplicate: false,
        height,
        index,
        time_ns,
        operations: transaction.operations,
        refused,
        balances,
    }
}

struct FileNodes<'a>(&'a NodeFile);

impl Nodes for FileNodes<'_> {
    fn node(&self, position: u64) -> Option<Hash> {
        match self.0.node(position) {
            // Where the chain began at a fetched snapshot, what lies below its peaks is not here.
            Ok(node) => node.map(Hash).filter(|node| *node != Hash::ZERO),
            Err(error) => {
                tracing::error!(position, error = %io::Error::to_string(&error), "receipts' node not readable");
                None
            }
        }
    }
}
