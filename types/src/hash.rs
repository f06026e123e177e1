//! BLAKE3 hashes, kept apart by domain: the hash key is the domain's name.
//!
//! `H(domain; bytes)` is BLAKE3 in keyed mode whose 32-byte key is the ASCII name of the domain padded with
//! zero bytes (BLAKE3 paper §2.3). Two domains can never collide, and a 64-byte Merkle node still costs one
//! compression, which a prefixed domain would double.

use alloc::vec::Vec;
use blake3::IncrementCounter;
use blake3::platform::{Platform, words_from_le_bytes_32};
use core::fmt;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A 32-byte BLAKE3 hash.
#[derive(
    Clone,
    Copy,
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
pub struct Hash(pub [u8; Hash::LEN]);

impl Hash {
    /// Length in bytes.
    pub const LEN: usize = 32;
    /// All zero: "no hash", as for the parent of the first block.
    pub const ZERO: Self = Self([0; Self::LEN]);

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Lower-case hexadecimal, 64 characters.
    pub fn to_hex(&self) -> alloc::string::String {
        alloc::format!("{self}")
    }

    /// Parses 64 hexadecimal characters; `None` for anything else.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 2 * Self::LEN {
            return None;
        }
        let mut bytes = [0; Self::LEN];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(Self(bytes))
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

/// What is being hashed; its name is the BLAKE3 key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain([u8; 32]);

impl Domain {
    const fn named(name: &str) -> Self {
        let name = name.as_bytes();
        assert!(name.len() <= 32, "a domain's name fits the BLAKE3 key");
        let mut key = [0; 32];
        let mut at = 0;
        while at < name.len() {
            key[at] = name[at];
            at += 1;
        }
        Self(key)
    }

    /// Hash of `bytes` in this domain.
    pub fn hash(&self, bytes: &[u8]) -> Hash {
        Hash(*blake3::keyed_hash(&self.0, bytes).as_bytes())
    }

    /// Hash of the parts one after another, without copying them together.
    pub fn hash_parts(&self, parts: &[&[u8]]) -> Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in parts {
            hasher.update(part);
        }
        Hash(*hasher.finalize().as_bytes())
    }

    /// Hashes many inputs of one length side by side, as many at once as the processor has lanes: several times
    /// faster than [`Domain::hash`] on each, with the same answers. `N` is a multiple of 64, at most 1,024 bytes
    /// (one chunk of BLAKE3). Each place of `hashes` gets the next input's hash.
    ///
    /// # Panics
    /// When there are fewer inputs than places.
    pub fn hash_many<'a, const N: usize>(
        &self,
        inputs: impl IntoIterator<Item = &'a [u8; N]>,
        hashes: &mut [Hash],
    ) {
        const {
            assert!(
                N > 0 && N.is_multiple_of(64) && N <= 1_024,
                "whole blocks of one chunk"
            )
        };
        let (platform, key) = (Platform::detect(), words_from_le_bytes_32(&self.0));
        let mut inputs = inputs.into_iter();
        let mut group = [const { &[0; N] }; HASH_LANES];
        for hashes in hashes.chunks_mut(HASH_LANES) {
            let group = &mut group[..hashes.len()];
            group
                .iter_mut()
                .for_each(|slot| *slot = inputs.next().expect("there is an input for every hash"));
            platform.hash_many(
                group,
                &key,
                0,
                IncrementCounter::No,
                flag::KEYED_HASH,
                flag::CHUNK_START,
                flag::CHUNK_END | flag::ROOT,
                hashes.as_mut_bytes(),
            );
        }
    }

    /// Hash of two hashes: a Merkle node, one compression.
    pub fn node(&self, left: &Hash, right: &Hash) -> Hash {
        let mut both = [0; 64];
        both[..32].copy_from_slice(&left.0);
        both[32..].copy_from_slice(&right.0);
        self.hash(&both)
    }

    /// Expands `seed` to `len` bytes with the BLAKE3 extendable output.
    pub fn expand(&self, seed: &[u8], len: usize) -> Vec<u8> {
        let mut bytes = alloc::vec![0; len];
        blake3::Hasher::new_keyed(&self.0)
            .update(seed)
            .finalize_xof()
            .fill(&mut bytes);
        bytes
    }
}

/// Inputs that [`Domain::hash_many`] hashes at once: what the widest registers hold.
pub const HASH_LANES: usize = 16;

/// Flags of a BLAKE3 compression (BLAKE3 paper §2.2, table 3).
mod flag {
    pub(super) const CHUNK_START: u8 = 1;
    pub(super) const CHUNK_END: u8 = 1 << 1;
    pub(super) const ROOT: u8 = 1 << 3;
    pub(super) const KEYED_HASH: u8 = 1 << 4;
}

/// What both halves of a hybrid signature sign: over `key_id ‖ message`.
pub const HYBRID: Domain = Domain::named("selfchain/hybrid/v1");
/// The seeds of a hybrid's two keys: over `scheme u16 ‖ seed`.
pub const HYBRID_SEED: Domain = Domain::named("selfchain/hybrid-seed/v1");
/// What an end of a link signs with a hybrid key: over a secret of the connection, the keys that TLS proved, the hello.
pub const LINK: Domain = Domain::named("selfchain/link/v1");
/// What a validator signs with its checkpoint key.
pub const CHECKPOINT: Domain = Domain::named("selfchain/checkpoint/v1");
/// Who signs the checkpoints after one.
pub const CHECKPOINT_SET: Domain = Domain::named("selfchain/checkpoint-set/v1");
/// A transaction's id: over the envelope without its signature block.
pub const TX: Domain = Domain::named("selfchain/tx/v1");
/// What a signer of an envelope signs: over `key_id ‖ tx_id`.
pub const SIGN: Domain = Domain::named("selfchain/sign/v1");
/// A key's id: over `scheme u16 ‖ public keys`.
pub const KEY: Domain = Domain::named("selfchain/key/v1");
/// A whole envelope, signature block included: leaf of `transactions_root`.
pub const ENVELOPE: Domain = Domain::named("selfchain/envelope/v1");
/// A block header: the block's hash.
pub const HEADER: Domain = Domain::named("selfchain/header/v1");
/// What of the body `transactions_root` does not cover.
pub const BODY: Domain = Domain::named("selfchain/body/v1");
/// What a validator signs to precommit a block.
pub const PRECOMMIT: Domain = Domain::named("selfchain/precommit/v1");
/// What a validator signs to precommit nothing in a round.
pub const PRECOMMIT_NIL: Domain = Domain::named("selfchain/precommit-nil/v1");
/// What a validator signs to prevote a block.
pub const PREVOTE: Domain = Domain::named("selfchain/prevote/v1");
/// What a validator signs to prevote nothing in a round.
pub const PREVOTE_NIL: Domain = Domain::named("selfchain/prevote-nil/v1");
/// What a validator signs to propose a block.
pub const PROPOSAL: Domain = Domain::named("selfchain/proposal/v1");
/// What a validator signs to acknowledge transactions.
pub const ACKNOWLEDGEMENT: Domain = Domain::named("selfchain/acknowledgement/v1");
/// A validator set's `(key, power)` pairs.
pub const VALIDATORS: Domain = Domain::named("selfchain/validators/v1");
/// The sorted table of roots: `state_root`.
pub const ROOTS: Domain = Domain::named("selfchain/roots/v1");
/// Inner node of every Merkle tree.
pub const NODE: Domain = Domain::named("selfchain/node/v1");
/// Root of a Merkle tree without leaves.
pub const EMPTY: Domain = Domain::named("selfchain/empty/v1");
/// Leaf of the account tree.
pub const ACCOUNT: Domain = Domain::named("selfchain/account/v1");
/// Leaf of the table of pendings and holds.
pub const PENDING: Domain = Domain::named("selfchain/pending/v1");
/// Leaf of the table of keys and lanes.
pub const KEY_RECORD: Domain = Domain::named("selfchain/key-record/v1");
/// Leaf of the table of assets.
pub const ASSET: Domain = Domain::named("selfchain/asset/v1");
/// Leaf of the table of sessions.
pub const SESSION: Domain = Domain::named("selfchain/session/v1");
/// A small table hashed whole.
pub const TABLE: Domain = Domain::named("selfchain/table/v1");
/// Leaf of the tree over a transaction's operations in a receipt.
pub const RECEIPT_OPERATION: Domain = Domain::named("selfchain/receipt-op/v1");
/// Leaf of the receipts' Merkle mountain range.
pub const RECEIPT: Domain = Domain::named("selfchain/receipt/v1");
/// The genesis document: the chain's id.
pub const GENESIS: Domain = Domain::named("selfchain/genesis/v1");
/// A derived account id: over `owner ‖ asset u32 ‖ salt u64`.
pub const ACCOUNT_ID: Domain = Domain::named("selfchain/account-id/v1");
/// Blinding factors of batch verification.
pub const BATCH: Domain = Domain::named("selfchain/batch/v1");
/// Contexts of accounts, from which features come.
pub const CONTEXTS: Domain = Domain::named("selfchain/contexts/v1");
/// Ids of holds: over `transaction id 32 ‖ operation u32`.
pub const HOLD: Domain = Domain::named("selfchain/hold/v1");
/// Models, by the bytes of their files.
pub const MODEL: Domain = Domain::named("selfchain/model/v1");
/// A link of the chain whose preimages a proposer reveals: over `preimage 32`.
pub const REVEAL: Domain = Domain::named("selfchain/reveal/v1");
/// An epoch's seed, and the mix of reveals that becomes the next one's.
pub const EPOCH: Domain = Domain::named("selfchain/epoch/v1");
/// The seed of one draw of a proposer: over `epoch seed 32 ‖ height u64 ‖ round u32`.
pub const DRAW: Domain = Domain::named("selfchain/draw/v1");
/// A snapshot that one validator sends another, by its index.
pub const SNAPSHOT: Domain = Domain::named("selfchain/snapshot/v1");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_keep_equal_bytes_apart() {
        assert_ne!(TX.hash(b"same"), ENVELOPE.hash(b"same"));
        assert_eq!(TX.hash(b"same"), TX.hash_parts(&[b"sa", b"me"]));
    }

    #[test]
    fn many_at_once_are_the_same_as_one_by_one() {
        fn check<const N: usize>(count: u8) {
            let inputs: Vec<[u8; N]> = (0..count)
                .map(|seed| core::array::from_fn(|at| filler(at, seed)))
                .collect();
            let mut hashes = alloc::vec![Hash::ZERO; inputs.len()];
            NODE.hash_many(&inputs, &mut hashes);
            let one_by_one: Vec<Hash> = inputs.iter().map(|input| NODE.hash(input)).collect();
            assert_eq!(hashes, one_by_one, "{count} of {N} bytes");
        }
        fn filler(at: usize, seed: u8) -> u8 {
            at.to_le_bytes()[0].wrapping_mul(31).wrapping_add(seed)
        }
        for count in 0..=35 {
            check::<64>(count);
            check::<192>(count);
            check::<1_024>(count);
        }
    }

    #[test]
    fn hexadecimal_round_trips_and_refuses_the_rest() {
        let hash = TX.hash(b"x");
        assert_eq!(Hash::from_hex(&hash.to_hex()), Some(hash));
        assert_eq!(Hash::from_hex("zz"), None);
        assert_eq!(Hash::from_hex(&"g".repeat(64)), None);
    }
}
