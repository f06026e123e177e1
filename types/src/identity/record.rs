//! An identity as the ledger's table of identities holds it.

use super::OTHER_KEYS_MAX;
use crate::{Hash, KeyId};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Signing keys of an identity at most: for consensus, for transport, and others.
pub const IDENTITY_KEYS_MAX: usize = 2 + OTHER_KEYS_MAX;

/// What a signing key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum KeyUse {
    /// It signs what validators say.
    Consensus = 1,
    /// It proves the node in handshakes.
    Transport = 2,
    /// Whatever else.
    Other = 3,
}

impl KeyUse {
    /// Its number.
    #[allow(clippy::as_conversions, reason = "a field-less enum with explicit u8 codes")]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The use with this number, if there is one.
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Consensus, Self::Transport, Self::Other]
            .into_iter()
            .find(|one| one.code() == code)
    }

    /// The name that JSON uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Consensus => "consensus",
            Self::Transport => "transport",
            Self::Other => "other",
        }
    }
}

/// An identity as of its last certificate: 384 bytes, the leaf of its root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IdentityRecord {
    /// The node's id.
    pub node: Hash,
    /// The root's id as a key.
    pub root: KeyId,
    /// The hash of the last certificate's body.
    pub certificate: Hash,
    /// Its serial.
    pub serial: U64,
    /// Height of the block that took it.
    pub certified: U64,
    /// First height at which it counts.
    pub not_before: U64,
    /// Last height at which it counts.
    pub not_after: U64,
    /// Height at which the identity was revoked; 0 if it was not.
    pub revoked: U64,
    /// [`Roles`](super::Roles).
    pub roles: U32,
    /// [`KeyUse`] of each key; 0 from the first that is not there on.
    pub uses: [u8; IDENTITY_KEYS_MAX],
    /// Zero.
    pub reserved: [u8; 46],
    /// Ids of signing keys; zero where there is none.
    pub keys: [KeyId; IDENTITY_KEYS_MAX],
}

impl IdentityRecord {
    /// The signing keys with their uses.
    pub fn signing(&self) -> impl Iterator<Item = (KeyUse, KeyId)> + '_ {
        let pairs = self.uses.iter().zip(&self.keys);
        pairs.map_while(|(code, id)| Some((KeyUse::from_code(*code)?, *id)))
    }

    /// Whether it lists a key.
    pub fn lists(&self, key: &KeyId) -> bool {
        self.signing().any(|(_, id)| id == *key)
    }

    /// The key that signs what validators say.
    pub fn consensus(&self) -> Option<KeyId> {
        self.signing()
            .find(|(key_use, _)| *key_use == KeyUse::Consensus)
            .map(|(_, id)| id)
    }
}

const _: () = assert!(size_of::<IdentityRecord>() == 384);
