//! Receipt leaves of a block: one a transaction, over the tree of its operations and their outcomes.

use super::candidate::LEAVES_MIN;
use super::chain::Transaction;
use crate::proof;
use rayon::prelude::*;
use selfchain_types::block::{BlockResult, Exception};
use selfchain_types::envelope::EnvelopeView;
use selfchain_types::receipt::{self, NOT_SCORED};
use selfchain_types::{Amount, Hash, Height, Operation, Outcome, codec};

/// What an operation's receipt says moved: nothing when it was refused, else what the exception says, else
/// the operation's own amount.
pub fn actual_amount(operation: &Operation, outcome: Outcome, exception: Option<Exception>) -> Amount {
    match exception {
        _ if !outcome.is_ok() => Amount::ZERO,
        Some(Exception::Actual(amount)) => amount,
        _ => Amount(operation.amount.get()),
    }
}

/// Leaves of the operations of one transaction, in order. `first` is its first operation's position in the
/// block's outcomes.
pub fn operation_leaves(
    view: &EnvelopeView<'_>,
    first: u32,
    result: &BlockResult,
    scores: &[u8],
) -> Vec<Hash> {
    let from = codec::index(first);
    let operations = view.operations();
    let leaf = |(at, operation): (usize, &Operation)| {
        let position = from + at;
        let outcome = Outcome::from_code(result.outcomes[position]).expect("a result holds known outcomes");
        let exception = result.exception(codec::narrow(position));
        let actual = actual_amount(operation, outcome, exception);
        receipt::operation_leaf(
            operation,
            outcome,
            actual,
            scores.get(position).copied().unwrap_or(NOT_SCORED),
        )
    };
    operations
        .par_iter()
        .enumerate()
        .with_min_len(LEAVES_MIN * 4)
        .map(leaf)
        .collect()
}

/// One receipt leaf a transaction, computed in parallel.
pub(super) fn leaves(
    height: Height,
    views: &[EnvelopeView<'_>],
    transactions: &[Transaction],
    result: &BlockResult,
    scores: &[u8],
) -> Vec<Hash> {
    let both = views
        .par_iter()
        .zip(transactions)
        .enumerate()
        .with_min_len(LEAVES_MIN / 4);
    both.map(|(index, (view, transaction))| {
        let root = proof::root(&operation_leaves(
            view,
            transaction.first_operation,
            result,
            scores,
        ));
        receipt::leaf(
            &transaction.tx_id,
            &root,
            height,
            codec::narrow(index),
            transaction.operations,
        )
    })
    .collect()
}
