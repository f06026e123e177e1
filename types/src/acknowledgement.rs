//! Acknowledgements: a validator's signed word that transactions wait in its pool.
//!
//! Whoever has said so and leaves them out of its blocks for long starves them, and the others may object. Table:
//! `docs/formats/peer.md`.

use crate::ballot::SIGNATURE_BYTES_MAX;
use crate::codec::{DecodeError, Reader, narrow, put_bytes_u32, wide};
use crate::crypto::SigningKey;
use crate::{Hash, Height, KeyId, hash};
use alloc::vec::Vec;

/// The first eight bytes of a transaction's id. Two that wait at once are taken for one only if somebody made them so,
/// and all that this changes is whom one node objects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortId(pub [u8; ShortId::LEN]);

impl ShortId {
    /// Length in bytes.
    pub const LEN: usize = 8;

    /// Of a transaction's id.
    pub fn of(tx_id: &Hash) -> Self {
        let front = tx_id.as_bytes().first_chunk();
        Self(*front.expect("a hash is longer than eight bytes"))
    }
}

/// Transactions that one validator took into its pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// Since when its pool has kept what it acknowledges, as a number that grows: a later one withdraws all that was
    /// acknowledged under those before.
    pub run: u64,
    /// The newest height that it had decided.
    pub height: Height,
    /// Which, in the order in which they came; none where the run alone is told.
    pub transactions: Vec<ShortId>,
    /// Over [`Acknowledgement::digest`].
    pub signature: Vec<u8>,
}

/// Most transactions of one acknowledgement.
pub const ACKNOWLEDGED_MAX: usize = 2_048;

impl Acknowledgement {
    /// Signs one.
    pub fn sign(
        chain_id: &Hash,
        run: u64,
        height: Height,
        transactions: Vec<ShortId>,
        key: &SigningKey,
    ) -> Self {
        let mut unsigned = Self {
            run,
            height,
            transactions,
            signature: Vec::new(),
        };
        let digest = unsigned.digest(chain_id, &key.id());
        unsigned.signature = key.sign(digest.as_bytes());
        unsigned
    }

    /// What a validator with the key `key` signs: `H(acknowledgement; chain_id ‖ key_id ‖ run u64 ‖ height u64 ‖ ids)`.
    pub fn digest(&self, chain_id: &Hash, key: &KeyId) -> Hash {
        hash::ACKNOWLEDGEMENT.hash_parts(&[
            chain_id.as_bytes(),
            key.0.as_bytes(),
            &self.run.to_le_bytes(),
            &self.height.0.to_le_bytes(),
            &self.ids(),
        ])
    }

    fn ids(&self) -> Vec<u8> {
        self.transactions.iter().flat_map(|id| id.0).collect()
    }

    /// Appends the canonical bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.run.to_le_bytes());
        out.extend_from_slice(&self.height.0.to_le_bytes());
        out.extend_from_slice(&narrow(self.transactions.len()).to_le_bytes());
        out.extend_from_slice(&self.ids());
        put_bytes_u32(out, &self.signature);
    }

    /// Reads one from the front.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (run, height) = (reader.u64()?, Height(reader.u64()?));
        let count = at_most(reader.len_u32()?, ACKNOWLEDGED_MAX, "transactions acknowledged")?;
        let (ids, _) = reader.take(count * ShortId::LEN)?.as_chunks();
        let transactions = ids.iter().copied().map(ShortId).collect();
        let signature = reader.bytes_u32()?;
        at_most(signature.len(), SIGNATURE_BYTES_MAX, "signature length")?;
        Ok(Self {
            run,
            height,
            transactions,
            signature: signature.to_vec(),
        })
    }
}

fn at_most(count: usize, max: usize, what: &'static str) -> Result<usize, DecodeError> {
    if count > max {
        let value = wide(count);
        return Err(DecodeError::Value { what, value });
    }
    Ok(count)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use alloc::vec;

    fn sample() -> Acknowledgement {
        let ids = vec![ShortId([1; 8]), ShortId([2; 8])];
        let key = SigningKey::from_seed(&[5; 32]);
        Acknowledgement::sign(&Hash([1; 32]), 3, Height(4), ids, &key)
    }

    #[test]
    fn a_signature_is_for_one_chain_key_run_height_and_list() {
        let (signed, key) = (sample(), SigningKey::from_seed(&[5; 32]));
        let other = SigningKey::from_seed(&[6; 32]);
        let holds = |chain: u8, key_id: KeyId, said: &Acknowledgement| {
            let (public, digest) = (key.public(), said.digest(&Hash([chain; 32]), &key_id));
            let message = digest.as_bytes();
            public.verify(message, &said.signature).is_ok()
        };
        assert!(holds(1, key.id(), &signed));
        assert!(!holds(2, key.id(), &signed) && !holds(1, other.id(), &signed));
        let (mut run, mut height, mut list) = (signed.clone(), signed.clone(), signed.clone());
        run.run += 1;
        height.height = Height(5);
        list.transactions.swap(0, 1);
        assert!([run, height, list].iter().all(|said| !holds(1, key.id(), said)));
    }

    #[test]
    fn lists_and_signatures_are_bounded() {
        let read = |bytes: &[u8]| Acknowledgement::read(&mut Reader::new("acknowledgement", bytes));
        let with = |count: usize, signature: usize| {
            let said = Acknowledgement {
                transactions: vec![ShortId([7; 8]); count],
                signature: vec![0; signature],
                ..sample()
            };
            let mut bytes = Vec::new();
            said.encode(&mut bytes);
            read(&bytes).map(|read| assert_eq!(read, said))
        };
        assert_eq!(with(ACKNOWLEDGED_MAX, SIGNATURE_BYTES_MAX), Ok(()));
        assert!(with(ACKNOWLEDGED_MAX + 1, 64).is_err());
        assert!(with(0, SIGNATURE_BYTES_MAX + 1).is_err());
    }
}
