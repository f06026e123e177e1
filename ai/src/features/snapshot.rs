//! Writes contexts as chunks, from which the same contexts are restored, and hashes them.
//!
//! A chunk is `{first u32, zero u32}` and then contexts of 256 bytes, from the one with number `first` on.

use super::context::{CONTEXT_BYTES, Context};
use super::contexts::Contexts;
use selfchain_types::Hash;
use selfchain_types::codec::{DecodeError, Reader};
use selfchain_types::hash::CONTEXTS;
use thiserror::Error;
use zerocopy::IntoBytes;

/// Contexts of a chunk at most: 1 MiB with its head.
pub const CHUNK_CONTEXTS_MAX: usize = (1 << 20) / CONTEXT_BYTES - 1;

/// Why chunks are not contexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RestoreError {
    /// A chunk ends early.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A chunk does not begin where the one before it ended.
    #[error("a chunk of contexts begins at {first}, but {expected} comes next")]
    Order {
        /// Where it begins.
        first: u32,
        /// Where it should.
        expected: u32,
    },
    /// A context that no fold leaves.
    #[error("the context of account {account} holds what no past leaves")]
    Unsound {
        /// The account.
        account: u128,
    },
    /// An account has two contexts.
    #[error("account {account} has two contexts")]
    Twice {
        /// The account.
        account: u128,
    },
}

impl Contexts {
    /// Hands all contexts to `sink` in chunks. Equal pasts give equal chunks.
    pub fn snapshot(&self, sink: &mut dyn FnMut(&[u8])) {
        let mut bytes = Vec::new();
        for (number, context) in (0_u32..).zip(self.iter()) {
            if bytes.len() > CHUNK_CONTEXTS_MAX * CONTEXT_BYTES {
                sink(&bytes);
                bytes.clear();
            }
            if bytes.is_empty() {
                bytes.extend_from_slice(&u64::from(number).to_le_bytes());
            }
            bytes.extend_from_slice(context.as_bytes());
        }
        if !bytes.is_empty() {
            sink(&bytes);
        }
    }

    /// Adds the next chunk of a snapshot. After an error the contexts are of no use.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn restore(&mut self, chunk: &[u8]) -> Result<(), RestoreError> {
        let mut reader = Reader::new("contexts", chunk);
        let (first, zero) = (reader.u32()?, reader.u32()?);
        if zero != 0 {
            return Err(RestoreError::Decode(DecodeError::Value {
                what: "contexts",
                value: zero.into(),
            }));
        }
        if first != self.len() {
            return Err(RestoreError::Order {
                first,
                expected: self.len(),
            });
        }
        while reader.left() > 0 {
            let bytes = reader.array::<CONTEXT_BYTES>()?;
            let context: Context = zerocopy::transmute!(bytes);
            let account = context.id();
            if !context.is_sound() {
                return Err(RestoreError::Unsound { account });
            }
            self.put(context).ok_or(RestoreError::Twice { account })?;
        }
        Ok(())
    }

    /// Hash of all contexts: of the hashes of their chunks.
    pub fn hash(&self) -> Hash {
        let mut hashes = Vec::new();
        self.snapshot(&mut |chunk| hashes.extend_from_slice(CONTEXTS.hash(chunk).as_bytes()));
        CONTEXTS.hash(&hashes)
    }
}
