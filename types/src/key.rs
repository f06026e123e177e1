//! Keys as the ledger knows them: an id, a state, and sixteen lanes of counters.

use crate::{Hash, hash};
use core::fmt;
use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A key's id: `H(key; scheme u16 ‖ public keys)`. It names the scheme and every public key of it.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable,
    Unaligned,
)]
#[repr(transparent)]
pub struct KeyId(pub Hash);

impl KeyId {
    /// No key: an all-zero id, which no key has.
    pub const NONE: Self = Self(Hash::ZERO);

    /// The id of these public keys under this scheme.
    pub fn of(scheme: crate::crypto::Scheme, public: &[u8]) -> Self {
        Self(hash::KEY.hash_parts(&[&scheme.code().to_le_bytes(), public]))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Lanes of a key: independent counters, so that a pipelined client never blocks itself.
pub const LANES: usize = 16;

/// A key as the table of keys holds it: 192 bytes, the leaf of its root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct KeyRecord {
    /// [`KeyId`].
    pub id: KeyId,
    /// Height at which it was registered; 0 if it was not.
    pub registered: U64,
    /// Last height at which what it signs counts, of this block or one to come; 0 if it was not revoked.
    pub revoked: U64,
    /// Scheme code; 0 until registered.
    pub scheme: U16,
    /// Number + 1 of the identity that the key is or was of, as its root or certified by it; 0 for none.
    pub identity: U32,
    /// Zero.
    pub reserved: [u8; 10],
    /// Last counter used on each lane; 0 before the first.
    pub lanes: [U64; LANES],
}

impl KeyRecord {
    /// A key that only its id is known of.
    pub fn new(id: KeyId) -> Self {
        Self {
            id,
            registered: U64::ZERO,
            revoked: U64::ZERO,
            scheme: U16::ZERO,
            identity: U32::ZERO,
            reserved: [0; 10],
            lanes: [U64::ZERO; LANES],
        }
    }
}

/// A session: what a key may do for an account whose owner let it. 96 bytes, the leaf of its root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct SessionRecord {
    /// The session's key.
    pub key: KeyId,
    /// The account's number.
    pub account: U128,
    /// What may still be debited in all.
    pub cap_left: U128,
    /// Ledger time in ns from which it is over.
    pub expires_ns: U64,
    /// [`SessionScope`].
    pub scope: U32,
    /// Dense index of the account.
    pub account_index: U32,
    /// Dense index of the key.
    pub key_index: U32,
    /// Zero.
    pub reserved: [u8; 12],
}

/// What a session may do; a set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionScope(pub u32);

impl SessionScope {
    /// Plain transfers that debit the account.
    pub const TRANSFER: Self = Self(1);
    /// Pending transfers that debit the account.
    pub const PENDING: Self = Self(2);
    /// Posting and voiding as the account's owner may.
    pub const SETTLE: Self = Self(4);
    /// Every bit that has a meaning.
    pub const ALL: Self = Self(7);

    /// Whether every bit of `other` is set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

const _: () = assert!(size_of::<KeyRecord>() == 192 && size_of::<SessionRecord>() == 96);
