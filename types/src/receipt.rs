//! Receipts: what proves, long after, that an operation was decided and how.
//!
//! A receipt is a leaf of one Merkle tree over all transactions of the chain. The tree has the shape of
//! RFC 9162 §2.1 (a Merkle mountain range whose peaks are bagged from the right), so that inclusion and
//! consistency proofs are that RFC's, with this chain's hashes.

use crate::{Amount, Hash, Height, Operation, Outcome, hash};
use zerocopy::IntoBytes;

/// Score of an operation that no model scored.
pub const NOT_SCORED: u8 = 255;

/// Leaf of a transaction's tree of operations: the hash of its [`operation_bytes`].
pub fn operation_leaf(operation: &Operation, outcome: Outcome, actual: Amount, score: u8) -> Hash {
    hash::RECEIPT_OPERATION.hash(&operation_bytes(operation, outcome, actual, score))
}

/// What an operation's leaf hashes: `operation 128 ‖ outcome u16 ‖ actual u128 ‖ score u8 ‖ zero 45`, whole
/// blocks of BLAKE3 so that many are hashed at once. `actual` is the amount that moved: for balancing and partial
/// posts it is not the operation's.
pub fn operation_bytes(
    operation: &Operation,
    outcome: Outcome,
    actual: Amount,
    score: u8,
) -> [u8; OPERATION_BYTES] {
    let mut bytes = [0; OPERATION_BYTES];
    bytes[..128].copy_from_slice(operation.as_bytes());
    bytes[128..130].copy_from_slice(&outcome.code().to_le_bytes());
    bytes[130..146].copy_from_slice(&actual.0.to_le_bytes());
    bytes[146] = score;
    bytes
}

/// Length of [`operation_bytes`].
pub const OPERATION_BYTES: usize = 192;

/// Leaf of the receipts' tree: the hash of its [`transaction_bytes`].
pub fn leaf(tx_id: &Hash, operations_root: &Hash, height: Height, index: u32, operations: u32) -> Hash {
    hash::RECEIPT.hash(&transaction_bytes(
        tx_id,
        operations_root,
        height,
        index,
        operations,
    ))
}

/// What a leaf of the receipts' tree hashes: `tx_id ‖ operations_root ‖ height u64 ‖ index u32 ‖ operations u32 ‖
/// zero 48`. The count fixes the shape of the transaction's tree, and with it an operation's position.
pub fn transaction_bytes(
    tx_id: &Hash,
    operations_root: &Hash,
    height: Height,
    index: u32,
    operations: u32,
) -> [u8; TRANSACTION_BYTES] {
    let mut bytes = [0; TRANSACTION_BYTES];
    bytes[..32].copy_from_slice(tx_id.as_bytes());
    bytes[32..64].copy_from_slice(operations_root.as_bytes());
    bytes[64..72].copy_from_slice(&height.0.to_le_bytes());
    bytes[72..76].copy_from_slice(&index.to_le_bytes());
    bytes[76..80].copy_from_slice(&operations.to_le_bytes());
    bytes
}

/// Length of [`transaction_bytes`].
pub const TRANSACTION_BYTES: usize = 128;
