//! Why a certificate of a node's identity does not count.

use super::{KEM_KEY_BYTES, OTHER_KEYS_MAX};
use crate::codec::DecodeError;
use crate::crypto::SignatureError;
use crate::{Hash, Height, KeyId};
use thiserror::Error;

/// Why a certificate of a node's identity does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum IdentityError {
    /// It does not begin as the file of a certificate does.
    #[error("it does not begin as an identity certificate does")]
    Magic,
    /// It is longer than any.
    #[error("it has {got} bytes; {max} is the most")]
    Long {
        /// Bytes there are.
        got: usize,
        /// The limit.
        max: usize,
    },
    /// Its bytes are not of the form.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Its bytes are another way to say the same.
    #[error("its bytes are not the canonical ones")]
    Canonical,
    /// The node's id is not that of the root.
    #[error("the node's id is not the hash of the root's keys and scheme")]
    Node,
    /// The root is of a scheme that no root has.
    #[error("a root signs with ed25519 and slh-dsa, not {scheme}")]
    RootScheme {
        /// The scheme's name.
        scheme: &'static str,
    },
    /// The key for transport is of a scheme that no handshake proves.
    #[error("a key for transport is of the scheme ed25519, not {scheme}")]
    TransportScheme {
        /// The scheme's name.
        scheme: &'static str,
    },
    /// The key that others seal to has another length.
    #[error("a key to seal to has {KEM_KEY_BYTES} bytes, not {got}")]
    KemLength {
        /// Bytes there are.
        got: usize,
    },
    /// More signing keys than may be.
    #[error("{got} other signing keys; {OTHER_KEYS_MAX} is the most")]
    OtherKeys {
        /// How many.
        got: usize,
    },
    /// A key is there twice, out of order, or is the root itself.
    #[error("key {key} is listed twice, out of order, or is the root")]
    KeyTwice {
        /// Its id.
        key: KeyId,
    },
    /// The heights do not follow one another.
    #[error("it counts from height {not_before} to {not_after}, with an overlap until {overlap}")]
    Heights {
        /// First height.
        not_before: Height,
        /// Last height.
        not_after: Height,
        /// Last height of the keys before.
        overlap: Height,
    },
    /// There is nothing to overlap with: it is the first, or a revocation.
    #[error("the first certificate and a revocation have no overlap")]
    Overlap,
    /// Bits without a meaning, or roles of nobody.
    #[error("roles {roles:#x} have a bit without a meaning, or are those of a revocation")]
    Roles {
        /// The bits.
        roles: u32,
    },
    /// The serial is not higher than that of the certificate before.
    #[error("serial {got} is not higher than {after}")]
    Serial {
        /// Its serial.
        got: u64,
        /// That of the one before; 0 before the first.
        after: u64,
    },
    /// It names another certificate as the one before.
    #[error("it follows certificate {got}, not {want}")]
    Previous {
        /// The hash that it names.
        got: Hash,
        /// The hash of the one before.
        want: Hash,
    },
    /// It does not count at this height.
    #[error("it counts from height {not_before} to {not_after}, not at {height}")]
    NotNow {
        /// The height.
        height: Height,
        /// First height.
        not_before: Height,
        /// Last height.
        not_after: Height,
    },
    /// It is of another root.
    #[error("it is of another root")]
    OtherRoot,
    /// The identity was revoked before.
    #[error("the identity was revoked by the certificate before")]
    Revoked,
    /// The root did not sign it.
    #[error("the root's signature: {0}")]
    Signature(#[from] SignatureError),
}

/// Which certificate of a chain does not count, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("certificate {at}: {source}")]
pub struct IdentityChainError {
    /// Its position, from 0.
    pub at: usize,
    /// Why.
    pub source: IdentityError,
}
