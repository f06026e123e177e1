//! Bytes become verified transactions: decode, dedupe, verify. Wide and stateless; it may refuse, and says why.
//!
//! [`verify_batch`] is the whole stretch at once. A caller that knows cheap reasons to refuse (a copy, an
//! expired window, a used counter) puts them between the steps: [`Decoded::new`], [`Decoded::refuse`],
//! [`Decoded::verify`].

mod decode;
mod dedupe;
mod verify;

pub use decode::Decoded;
pub use dedupe::Dedupe;
pub use verify::{KnownEnvelopes, VERIFY_BATCH_MAX, VERIFY_BATCH_MIN, verify_batch};
