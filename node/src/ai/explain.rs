//! Explaining: why the operations of a transaction got their scores, as the block saw them.

use crate::answers::{AnswerError, Past};
use crate::recover::{Progress, for_each_prepared};
use crate::remember::{Memory, timed};
use crate::standing::standing;
use crate::store::{Store, StoreError};
use selfchain_ai::explain::Reason;
use selfchain_ai::features::{Contexts, Row, Rows};
use selfchain_ai::model::{Model, Predict, Scoring};
use selfchain_ai::rules::Rule;
use selfchain_ai::score::LogOdds;
use selfchain_engine::commit::{Chain, Prepared, Unpacked};
use selfchain_types::policy::hold_id;
use selfchain_types::receipt::NOT_SCORED;
use selfchain_types::risk::REASONS;
use selfchain_types::seam::scorer::Timed;
use selfchain_types::{Hash, Height, Operation, OperationFlags, Outcome, TimeNs, codec};
use std::error::Error;
use std::sync::Arc;
use thiserror::Error;

/// What a block says of a transaction, and why.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The transaction.
    pub tx_id: Hash,
    /// Its block.
    pub height: Height,
    /// The block's ledger time.
    pub time_ns: TimeNs,
    /// The models that the block names: the one that decided, and those that payers preferred to be asked too.
    pub models: Vec<Hash>,
    /// Those of them that are here.
    pub found: Vec<Arc<Model>>,
    /// The first block whose past is known, where the log no longer has those before: rows may differ then from
    /// those that the block saw.
    pub begins: Option<Height>,
    /// Its operations, in order.
    pub operations: Vec<Explained>,
}

/// One operation, what the block keeps of it, and what comes of computing it anew.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The operation.
    pub operation: Operation,
    /// What the ledger said.
    pub outcome: Outcome,
    /// The score that the block keeps; `None` where it has none.
    pub score: Option<u8>,
    /// The reasons that the block keeps.
    pub reasons: [u8; REASONS],
    /// The id of its hold, where it was held.
    pub hold: Option<u128>,
    /// What models see of it; `None` for what they do not see, and where nothing was computed.
    pub row: Option<Row>,
    /// The score of that row by the model that gave it, where it is here.
    pub anew: Option<Anew>,
}

/// A score that was computed anew.
#[derive(Clone, Debug)]
pub struct Anew {
    /// The log-odds behind it.
    pub log_odds: LogOdds,
    /// What raises it, the strongest first.
    pub reasons: Vec<Reason>,
    /// The rules that fired, in the order of their pack, where the model is one.
    pub rules: Vec<Rule>,
}

impl Explained {
    /// Whether the score computed anew is the block's; `None` where there are not both.
    pub fn agrees(&self) -> Option<bool> {
        Some(self.anew.as_ref()?.log_odds.score() == self.score?)
    }
}

/// Why a transaction is not explained.
#[derive(Debug, Error)]
pub enum ExplainError {
    /// It is on the chain nowhere.
    #[error("there is no transaction {tx_id}")]
    Unknown {
        /// The transaction.
        tx_id: Hash,
    },
    /// It is in no block that is kept.
    #[error("there is no transaction {tx_id} from height {first} on, where the log begins")]
    NotKept {
        /// The transaction.
        tx_id: Hash,
        /// First height kept.
        first: Height,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Memory for Contexts {
    fn restore(&mut self, chunk: &[u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(Self::restore(self, chunk)?)
    }

    fn observe(&mut self, operations: &[Timed<'_>]) {
        self.observe_all(operations);
    }
}

/// What a block keeps of its transaction number `index`; `None` where it has no such.
pub fn kept(block: &Unpacked<'_>, index: usize) -> Option<Explanation> {
    let (transaction, view) = (block.transaction(index)?, block.views().get(index)?);
    let header = block.header();
    let operations = (0_u32..).zip(view.operations());
    let operations = operations.map(|(number, operation)| {
        let position = transaction.first_operation + number;
        let code = block.result().outcomes.get(codec::index(position));
        let outcome = code
            .and_then(|code| Outcome::from_code(*code))
            .unwrap_or(Outcome::Ok);
        let score = block.risk().score(position);
        Explained {
            operation: *operation,
            outcome,
            score: (score != NOT_SCORED).then_some(score),
            reasons: block.risk().reasons(position),
            hold: (outcome == Outcome::Held).then(|| hold_of(operation, &transaction.tx_id, number)),
            row: None,
            anew: None,
        }
    });
    Some(Explanation {
        tx_id: transaction.tx_id,
        height: header.height,
        time_ns: header.time_ns,
        models: header.models.clone(),
        found: Vec::new(),
        begins: None,
        operations: operations.collect(),
    })
}

/// The id of a held transfer's hold: a pending one keeps its own.
pub fn hold_of(operation: &Operation, tx_id: &Hash, number: u32) -> u128 {
    if operation.flags().has(OperationFlags::PENDING) {
        operation.id.get()
    } else {
        hold_id(tx_id, number)
    }
}

/// Explains a transaction of a store: tells contexts the past up to its block, makes the rows that the block saw,
/// and scores them with the model that was in force, if it is one of `models`.
///
/// # Errors
/// [`ExplainError`].
pub fn explain(
    store: &Store,
    models: &[Arc<Model>],
    tx_id: Hash,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Explanation, ExplainError> {
    let (height, index) = find(store, tx_id)?;
    let standing = standing(&store.genesis).map_err(StoreError::from)?;
    let chain = Chain::new(store.genesis.clone(), standing);
    let before = Height(height.0.saturating_sub(1));
    let mut past = store.recall(chain.ledger(), before, &Contexts::default, progress)?;
    let mut explanation = None;
    for_each_prepared(&*store.log_reader(), height, height, &mut |block, _| {
        explanation = kept(&block, index);
        if let Some(explanation) = &mut explanation {
            let first = block.transactions()[index].first_operation;
            let rows = rows(&mut past.memory, &chain, &block);
            let rows = rows.into_iter().skip(codec::index(first));
            let named = models
                .iter()
                .filter(|model| explanation.models.contains(&model.hash()));
            explanation.found = named.map(Arc::clone).collect();
            for (explained, row) in explanation.operations.iter_mut().zip(rows) {
                explained.anew = row.and_then(|row| anew(&explanation.found, &row, explained));
                explained.row = row;
            }
        }
        Ok(())
    })?;
    let mut explanation = explanation.ok_or(ExplainError::Unknown { tx_id })?;
    explanation.begins = past.begins;
    Ok(explanation)
}

/// The rows of a block's operations, each after those before it.
fn rows(contexts: &mut Contexts, chain: &Chain, block: &Prepared<'_>) -> Vec<Option<Row>> {
    let times = chain.ledger().times_of(block.header().time_ns, block.views());
    let operations = timed(block.views(), &times);
    let mut rows = Rows::default();
    contexts.begin();
    contexts.rows(&operations, &mut rows);
    (0..rows.operations())
        .map(|position| rows.at(position).copied())
        .collect()
}

/// By the model that gives the block's score, or else by the one that gives the highest.
fn anew(models: &[Arc<Model>], row: &Row, explained: &Explained) -> Option<Anew> {
    let log_odds = |model: &Model| {
        let mut scores = Vec::with_capacity(1);
        model.log_odds(&[*row], &[&explained.operation], &mut scores);
        scores.first().copied().unwrap_or_default()
    };
    let scored = models.iter().map(|model| (log_odds(model), model));
    let is_the_blocks = |one: LogOdds| Some(one.score()) == explained.score;
    let (log_odds, model) = scored.max_by_key(|(one, _)| (is_the_blocks(*one), *one))?;
    Some(Anew {
        log_odds,
        reasons: model.explain(row, &explained.operation),
        rules: fired(model, row, &explained.operation),
    })
}

fn fired(model: &Model, row: &Row, operation: &Operation) -> Vec<Rule> {
    match model.scoring() {
        Scoring::Rules(rules) => rules.fired(row, operation).cloned().collect(),
        _ => Vec::new(),
    }
}

/// Where a transaction is: by the index, and in the blocks that the index has not yet.
fn find(store: &Store, tx_id: Hash) -> Result<(Height, usize), ExplainError> {
    let past = Past::of(store);
    let missing = match past.transaction(&tx_id) {
        Ok(committed) => return Ok((committed.height, codec::index(committed.index))),
        Err(AnswerError::NotKept { first, .. }) => ExplainError::NotKept { tx_id, first },
        Err(AnswerError::Store(error)) => return Err(error.into()),
        Err(_) => ExplainError::Unknown { tx_id },
    };
    let log = past.log();
    let first = past.indexed_through().next().0.max(log.first().unwrap_or(1));
    let tip = Height(log.tip().unwrap_or(0));
    let mut found = None;
    for_each_prepared(&**log, Height(first), tip, &mut |block, height| {
        let index = block.transactions().iter().position(|one| one.tx_id == tx_id);
        found = found.or(index.map(|index| (height, index)));
        Ok(())
    })?;
    found.ok_or(missing)
}
