//! What anyone can check offline: Merkle trees, the receipts' mountain range, and proofs that carry all they
//! need. Works without the standard library.

pub mod dense;
pub mod mountain;
pub mod tree;

pub use dense::DenseTree;
pub use mountain::{Mountain, Nodes, consistency_path, inclusion_path, verify_consistency};
pub use tree::{PathError, root, verify_inclusion};
