//! Writes contexts as chunks, from which the same contexts are restored, and hashes them.
//!
//! A chunk is `{first u32, zero u32}` and then contexts of 256 bytes, from the one with number `first` on.

use super::context::{CONTEXT_BYTES, Context};
use super::contexts::Contexts;
use selfchain_types::Hash;
use selfchain_types::codec::{DecodeError, Reader};
use selfchain_types::hash::CONTEXTS;
use std::collections::BTreeMap;
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

/// The contexts at a moment, while folds go on: those that were changed since and are still to be handed on.
#[derive(Clone, Debug)]
pub(super) struct Frozen {
    /// Accounts that there were.
    len: u32,
    /// The next to be handed on.
    next: u32,
    /// As they were, by number; from `next` on.
    before: BTreeMap<u32, Context>,
}

impl Frozen {
    /// Remembers what a decided block changed, as it was before.
    pub(super) fn keep(&mut self, before: &[(u32, Context)]) {
        for (number, context) in before {
            if (self.next..self.len).contains(number) {
                self.before.entry(*number).or_insert(*context);
            }
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.before.len() * size_of::<(u32, Context)>()
    }
}

impl Contexts {
    /// Freezes the contexts as they are: [`Self::sweep`] hands them on while folds go on. A snapshot that was
    /// under way is given up.
    pub fn freeze(&mut self) {
        self.take_back();
        self.frozen = Some(Frozen {
            len: self.len(),
            next: 0,
            before: BTreeMap::new(),
        });
    }

    /// Hands on about `count` frozen contexts more, in chunks; whether that was the last of them. A candidate that
    /// was begun and not kept is taken back.
    pub fn sweep(&mut self, count: u32, sink: &mut dyn FnMut(&[u8])) -> bool {
        self.take_back();
        let Some(mut frozen) = self.frozen.take() else {
            return true;
        };
        let end = frozen.next.saturating_add(count).min(frozen.len);
        let mut chunk = Chunk::default();
        for number in frozen.next..end {
            let before = frozen.before.remove(&number);
            let context = before.unwrap_or_else(|| *self.at(number));
            chunk.put(number, &context, sink);
        }
        chunk.end(sink);
        frozen.next = end;
        let is_last = end == frozen.len;
        if !is_last {
            self.frozen = Some(frozen);
        }
        is_last
    }

    /// Hands all contexts to `sink` in chunks. Equal pasts give equal chunks.
    pub fn snapshot(&self, sink: &mut dyn FnMut(&[u8])) {
        let mut chunk = Chunk::default();
        for (number, context) in (0_u32..).zip(self.iter()) {
            chunk.put(number, context, sink);
        }
        chunk.end(sink);
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

/// A chunk under way.
#[derive(Default)]
struct Chunk(Vec<u8>);

impl Chunk {
    fn put(&mut self, number: u32, context: &Context, sink: &mut dyn FnMut(&[u8])) {
        if self.0.len() > CHUNK_CONTEXTS_MAX * CONTEXT_BYTES {
            self.end(sink);
        }
        if self.0.is_empty() {
            self.0.extend_from_slice(&u64::from(number).to_le_bytes());
        }
        self.0.extend_from_slice(context.of_no_candidate().as_bytes());
    }

    fn end(&mut self, sink: &mut dyn FnMut(&[u8])) {
        if !self.0.is_empty() {
            sink(&self.0);
            self.0.clear();
        }
    }
}
