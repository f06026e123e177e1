//! Receipts: what proves, long after, that an operation was decided and how.
//!
//! A receipt is a leaf of one Merkle tree over all transactions of the chain. The tree has the shape of
//! RFC 9162 §2.1 (a Merkle mountain range whose peaks are bagged from the right), so that inclusion and
//! consistency proofs are that RFC's, with this chain's hashes.

use crate::{Amount, Hash, Height, Operation, Outcome, hash};
use zerocopy::IntoBytes;

/// Score of an operation that no model scored.
pub const NOT_SCORED: u8 = 255;

/// Leaf of a transaction's tree of operations: `H(receipt-op; operation 128 ‖ outcome u16 ‖ actual u128 ‖
/// score u8)`. `actual` is the amount that moved: for balancing and partial posts it is not the operation's.
pub fn operation_leaf(operation: &Operation, outcome: Outcome, actual: Amount, score: u8) -> Hash {
    let mut bytes = [0; Operation::LEN + 19];
    bytes[..128].copy_from_slice(operation.as_bytes());
    bytes[128..130].copy_from_slice(&outcome.code().to_le_bytes());
    bytes[130..146].copy_from_slice(&actual.0.to_le_bytes());
    bytes[146] = score;
    hash::RECEIPT_OPERATION.hash(&bytes)
}

/// Leaf of the receipts' tree: `H(receipt; tx_id ‖ operations_root ‖ height u64 ‖ index u32 ‖ operations u32)`.
/// The count fixes the shape of the transaction's tree, and with it an operation's position.
pub fn leaf(tx_id: &Hash, operations_root: &Hash, height: Height, index: u32, operations: u32) -> Hash {
    hash::RECEIPT.hash_parts(&[
        tx_id.as_bytes(),
        operations_root.as_bytes(),
        &height.0.to_le_bytes(),
        &index.to_le_bytes(),
        &operations.to_le_bytes(),
    ])
}
