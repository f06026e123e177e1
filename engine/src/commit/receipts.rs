//! Receipt leaves of a block: one a transaction, over the tree of its operations and their outcomes.

use super::chain::Transaction;
use crate::proof;
use rayon::prelude::*;
use selfchain_types::block::{BlockResult, Exception};
use selfchain_types::envelope::EnvelopeView;
use selfchain_types::hash::{self, HASH_LANES};
use selfchain_types::receipt::{self, NOT_SCORED};
use selfchain_types::{Amount, Hash, Height, Operation, Outcome, codec};

/// What an operation's receipt says moved: nothing when it was refused, else what the exception says, else
/// the operation's own amount.
pub fn actual_amount(operation: &Operation, outcome: Outcome, exception: Option<Exception>) -> Amount {
    match exception {
        _ if !outcome.took_effect() => Amount::ZERO,
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
    let operations: Vec<&Operation> = view.operations().iter().collect();
    leaves_of_operations(&operations, first, result, scores)
}

/// Leaves of neighbouring operations of a block, many hashed at once. `first` is the position of the first.
fn leaves_of_operations(
    operations: &[&Operation],
    first: u32,
    result: &BlockResult,
    scores: &[u8],
) -> Vec<Hash> {
    let bytes = |position: usize, operation: &Operation| {
        let outcome = Outcome::from_code(result.outcomes[position]).expect("a result holds known outcomes");
        let exception = result.exception(codec::narrow(position));
        let actual = actual_amount(operation, outcome, exception);
        let score = scores.get(position).copied().unwrap_or(NOT_SCORED);
        receipt::operation_bytes(operation, outcome, actual, score)
    };
    let mut leaves = vec![Hash::ZERO; operations.len()];
    leaves
        .par_chunks_mut(HASH_LANES)
        .zip(operations.par_chunks(HASH_LANES))
        .enumerate()
        .with_min_len(OPERATIONS_MIN / HASH_LANES)
        .for_each(|(group, (leaves, operations))| {
            let from = codec::index(first) + group * HASH_LANES;
            let mut all = [[0; receipt::OPERATION_BYTES]; HASH_LANES];
            for (slot, (position, operation)) in all.iter_mut().zip((from..).zip(operations)) {
                *slot = bytes(position, operation);
            }
            hash::RECEIPT_OPERATION.hash_many(&all, leaves);
        });
    leaves
}

/// Fewer operations than this are not worth another thread.
const OPERATIONS_MIN: usize = 256;

/// One receipt leaf a transaction, computed in parallel.
pub(super) fn leaves(
    height: Height,
    views: &[EnvelopeView<'_>],
    transactions: &[Transaction],
    result: &BlockResult,
    scores: &[u8],
) -> Vec<Hash> {
    let operations: Vec<&Operation> = views.iter().flat_map(|view| view.operations()).collect();
    let of_operations = leaves_of_operations(&operations, 0, result, scores);
    let bytes = |index: usize, transaction: &Transaction| {
        let from = codec::index(transaction.first_operation);
        let its = &of_operations[from..from + codec::index(transaction.operations)];
        let (index, count) = (codec::narrow(index), transaction.operations);
        receipt::transaction_bytes(&transaction.tx_id, &proof::root(its), height, index, count)
    };
    let mut leaves = vec![Hash::ZERO; transactions.len()];
    leaves
        .par_chunks_mut(HASH_LANES)
        .zip(transactions.par_chunks(HASH_LANES))
        .enumerate()
        .for_each(|(group, (leaves, transactions))| {
            let mut all = [[0; receipt::TRANSACTION_BYTES]; HASH_LANES];
            for (slot, (index, transaction)) in all.iter_mut().zip((group * HASH_LANES..).zip(transactions)) {
                *slot = bytes(index, transaction);
            }
            hash::RECEIPT.hash_many(&all, leaves);
        });
    leaves
}
