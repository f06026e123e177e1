//! The words of Selfchain: what flows through the road, its canonical bytes, its signatures, and the seams.
//!
//! Every other crate depends on this one and on no sibling. It owns the formats of `docs/formats/`, it does
//! no I/O, reads no clock and starts no thread. Without the `std` feature it needs only `alloc`, so that a
//! proof can be checked anywhere.
//!
//! Status: formats are version 1 and pinned by golden vectors in `tests/vectors/`.
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub mod codec;
pub mod hash;
pub mod crypto;
pub mod amount;
pub mod time;
pub mod asset;
pub mod account;
pub mod key;
pub mod address;
pub mod operation;
pub mod envelope;
pub mod refusal;
pub mod block;
pub mod outcome;
pub mod certificate;
pub mod ballot;
pub mod evidence;
pub mod late;
pub mod acknowledgement;
pub mod checkpoint;
pub mod roots;
pub mod policy;
pub mod risk;
pub mod quality;
pub mod receipt;
pub mod genesis;
pub mod message;
pub mod peer;
#[cfg(feature = "std")]
pub mod seam;

pub use account::{AccountFlags, AccountId};
pub use amount::Amount;
pub use asset::AssetId;
pub use envelope::{Envelope, EnvelopeBuilder, Verified};
pub use genesis::Genesis;
pub use hash::Hash;
pub use key::KeyId;
pub use operation::{Kind, Operation, OperationFlags};
pub use outcome::Outcome;
pub use policy::Policy;
pub use refusal::Refusal;
pub use risk::Risk;
pub use time::{Height, TimeNs};
