//! A receipt: proves offline that an operation was decided, with which outcome, amount and score.

use super::tree::{root_from, verify_inclusion};
use super::vouch::{ProofError, Proved, proof_sections, put_path, read_path, vouch};
use alloc::vec::Vec;
use selfchain_types::block::Header;
use selfchain_types::codec::{DecodeError, Reader, put_section};
use selfchain_types::genesis::Validator;
use selfchain_types::{Amount, Hash, Height, Operation, Outcome, receipt};
use zerocopy::{FromBytes, IntoBytes};

/// What the ledger said to one operation, and all that it takes to believe it. Table:
/// `docs/formats/receipt.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationReceipt {
    /// The operation.
    pub operation: Operation,
    /// What the ledger said.
    pub outcome: Outcome,
    /// What moved.
    pub actual: Amount,
    /// What the scorer said; [`receipt::NOT_SCORED`] for nothing.
    pub score: u8,
    /// Its position in its transaction.
    pub operation_index: u32,
    /// Operations of its transaction.
    pub operation_count: u32,
    /// From the operation up to the root of the transaction's operations.
    pub operation_path: Vec<Hash>,
    /// The transaction.
    pub tx_id: Hash,
    /// Height of its block.
    pub height: Height,
    /// Its position in that block.
    pub transaction_index: u32,
    /// Its position among all receipts of the chain.
    pub receipt_index: u64,
    /// From the transaction's receipt up to the header's receipts root.
    pub receipt_path: Vec<Hash>,
    /// The header that commits to it, ROOT_LAG or more heights later.
    pub header: Vec<u8>,
    /// The certificate of that header.
    pub certificate: Vec<u8>,
}

mod kind {
    pub(super) const OPERATION: u16 = 1;
    pub(super) const TRANSACTION: u16 = 2;
    pub(super) const HEADER: u16 = 3;
    pub(super) const CERTIFICATE: u16 = 4;
}

impl OperationReceipt {
    /// Checks everything against the validators of the header's height, and nothing but them.
    ///
    /// # Errors
    /// [`ProofError`], naming the first link that does not hold.
    pub fn verify(&self, chain_id: &Hash, validators: &[Validator]) -> Result<Proved, ProofError> {
        let (header, proved) = vouch(&self.header, &self.certificate, chain_id, validators)?;
        self.holds_in(&header)?;
        Ok(proved)
    }

    /// Checks that a header, which is believed, commits to it.
    pub(super) fn holds_in(&self, header: &Header) -> Result<(), ProofError> {
        let operation = receipt::operation_leaf(&self.operation, self.outcome, self.actual, self.score);
        let operations_root = root_from(
            &operation,
            u64::from(self.operation_index),
            u64::from(self.operation_count),
            &self.operation_path,
        )?;
        let (index, operations) = (self.transaction_index, self.operation_count);
        let leaf = receipt::leaf(&self.tx_id, &operations_root, self.height, index, operations);
        verify_inclusion(
            &leaf,
            self.receipt_index,
            header.receipts_size,
            &self.receipt_path,
            &header.receipts_root,
        )?;
        Ok(())
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let hashes = self.operation_path.len() + self.receipt_path.len();
        let fixed = 320 + self.header.len() + self.certificate.len();
        let mut out = Vec::with_capacity(fixed + hashes * Hash::LEN);
        put_section(&mut out, kind::OPERATION, |out| {
            out.extend_from_slice(self.operation.as_bytes());
            out.extend_from_slice(&self.outcome.code().to_le_bytes());
            out.extend_from_slice(&self.actual.0.to_le_bytes());
            out.push(self.score);
            out.extend_from_slice(&self.operation_index.to_le_bytes());
            out.extend_from_slice(&self.operation_count.to_le_bytes());
            put_path(out, &self.operation_path);
        });
        put_section(&mut out, kind::TRANSACTION, |out| {
            out.extend_from_slice(self.tx_id.as_bytes());
            out.extend_from_slice(&self.height.0.to_le_bytes());
            out.extend_from_slice(&self.transaction_index.to_le_bytes());
            out.extend_from_slice(&self.receipt_index.to_le_bytes());
            put_path(out, &self.receipt_path);
        });
        put_section(&mut out, kind::HEADER, |out| out.extend_from_slice(&self.header));
        put_section(&mut out, kind::CERTIFICATE, |out| {
            out.extend_from_slice(&self.certificate);
        });
        out
    }

    /// Reads the canonical bytes. They prove nothing until [`verify`](Self::verify) says so.
    ///
    /// # Errors
    /// [`DecodeError`]; also for more than [`PROOF_BYTES_MAX`](super::PROOF_BYTES_MAX) bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let kinds = [
            kind::OPERATION,
            kind::TRANSACTION,
            kind::HEADER,
            kind::CERTIFICATE,
        ];
        let [operation, transaction, header, certificate] = proof_sections(bytes, kinds)?;
        let mut first = Reader::new("receipt operation", operation);
        let mut second = Reader::new("receipt transaction", transaction);
        let receipt = Self {
            operation: Operation::read_from_bytes(first.take(Operation::LEN)?)
                .expect("any 128 bytes are an operation's frame"),
            outcome: read_outcome(&mut first)?,
            actual: Amount(first.u128()?),
            score: first.u8()?,
            operation_index: first.u32()?,
            operation_count: first.u32()?,
            operation_path: read_path(&mut first)?,
            tx_id: second.hash()?,
            height: Height(second.u64()?),
            transaction_index: second.u32()?,
            receipt_index: second.u64()?,
            receipt_path: read_path(&mut second)?,
            header: header.to_vec(),
            certificate: certificate.to_vec(),
        };
        first.finish()?;
        second.finish()?;
        Ok(receipt)
    }
}

fn read_outcome(reader: &mut Reader<'_>) -> Result<Outcome, DecodeError> {
    let code = reader.u16()?;
    Outcome::from_code(code).ok_or(DecodeError::Value {
        what: "outcome",
        value: u64::from(code),
    })
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod tests {
    use super::*;
    use crate::proof::vouch::solo;
    use crate::proof::{Mountain, inclusion_path, tree};
    use selfchain_types::codec::put_section_versioned;
    use selfchain_types::{AccountId, AssetId};

    /// The receipt of operation `at` of 5 in transaction `index` of 11.
    fn receipt(at: usize, index: usize) -> OperationReceipt {
        let operations: Vec<Operation> = (0..5)
            .map(|id| Operation::transfer(id + 1, AccountId(1), AccountId(2), Amount(3), AssetId(1)))
            .collect();
        let leaves: Vec<Hash> = operations
            .iter()
            .map(|one| receipt::operation_leaf(one, Outcome::Ok, Amount(3), 7))
            .collect();
        let root = tree::root(&leaves);
        let (mut mountain, mut nodes) = (Mountain::new(), Vec::new());
        for other in 0..11 {
            let leaf = receipt::leaf(&Hash([other as u8; 32]), &root, Height(7), other as u32, 5);
            mountain.append(leaf, &mut nodes);
        }
        let (header, certificate) = solo::block(Hash::ZERO, (mountain.root(), mountain.size()));
        OperationReceipt {
            operation: operations[at],
            outcome: Outcome::Ok,
            actual: Amount(3),
            score: 7,
            operation_index: at as u32,
            operation_count: 5,
            operation_path: tree::path(&leaves, at).unwrap(),
            tx_id: Hash([index as u8; 32]),
            height: Height(7),
            transaction_index: index as u32,
            receipt_index: index as u64,
            receipt_path: inclusion_path(index as u64, 11, &nodes).unwrap(),
            header,
            certificate,
        }
    }

    fn holds(bytes: &[u8]) -> bool {
        OperationReceipt::decode(bytes)
            .is_ok_and(|receipt| receipt.verify(&solo::CHAIN, &solo::validators()).is_ok())
    }

    #[test]
    fn every_operation_proves_and_reads_back() {
        for at in 0..5 {
            for index in 0..11 {
                let receipt = receipt(at, index);
                let proved = receipt.verify(&solo::CHAIN, &solo::validators()).unwrap();
                assert_eq!((proved.height, proved.time_ns.0), (Height(8), 99));
                assert_eq!(OperationReceipt::decode(&receipt.to_bytes()).unwrap(), receipt);
            }
        }
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_refused() {
        let bytes = receipt(3, 6).to_bytes();
        assert!(holds(&bytes));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!holds(&flipped), "bit {bit}");
        }
        assert!((0..bytes.len()).all(|cut| !holds(&bytes[..cut])));
        assert!(!holds(&[&bytes[..], &[0]].concat()));
    }

    #[test]
    fn sections_of_later_versions_are_passed_over_only_if_flagged() {
        for (ignorable, want) in [(true, true), (false, false)] {
            let mut bytes = receipt(0, 0).to_bytes();
            put_section_versioned(&mut bytes, 900, 3, ignorable, |out| out.push(1));
            assert_eq!(holds(&bytes), want);
        }
        let too_long = alloc::vec![0; super::super::PROOF_BYTES_MAX + 1];
        assert!(OperationReceipt::decode(&too_long).is_err());
    }

    #[test]
    fn another_chain_or_other_validators_are_told_apart() {
        let receipt = receipt(1, 1);
        assert_eq!(
            receipt.verify(&Hash([9; 32]), &solo::validators()),
            Err(ProofError::Chain { got: solo::CHAIN })
        );
        let mut others = solo::validators();
        others[0].power = 2;
        assert!(matches!(
            receipt.verify(&solo::CHAIN, &others),
            Err(ProofError::Validators { .. })
        ));
    }
}
