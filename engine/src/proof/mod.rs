//! What anyone can check offline: Merkle trees, the receipts' mountain range, and proofs that carry all they
//! need. Works without the standard library.

pub mod tree;

pub mod dense;
pub mod mountain;

mod vouch;

mod account;
mod receipt;
mod handover;
mod checkpoint;

pub use account::{AccountProof, path_sides};
pub use checkpoint::{
    Checkpoint, CheckpointError, TrustedSigners, decode_checkpoints, encode_checkpoints,
};
pub use dense::DenseTree;
pub use handover::{FollowError, Handover, TrustedSet};
pub use mountain::{Mountain, Nodes, consistency_path, inclusion_path, verify_consistency};
pub use receipt::OperationReceipt;
pub use tree::{PathError, root, verify_inclusion};
pub use vouch::{PROOF_BYTES_MAX, ProofError, Proved};
