//! An account's proof: shows offline what an account held after a height, from its leaf to a certificate.

use super::tree::{self, PathError};
use super::vouch::{ProofError, Proved, proof_sections, put_path, read_path, vouch};
use alloc::vec::Vec;
use selfchain_types::account::{self, AccountCold, AccountHot};
use selfchain_types::block::Header;
use selfchain_types::codec::{DecodeError, Reader, put_section};
use selfchain_types::genesis::Validator;
use selfchain_types::roots::{Roots, Table};
use selfchain_types::{Hash, hash};
use zerocopy::{FromBytes, IntoBytes};

/// An account after the height `header − ROOT_LAG`, and all that it takes to believe it. Table:
/// `docs/formats/receipt.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountProof {
    /// Its totals, limit and flags.
    pub hot: AccountHot,
    /// What identifies it.
    pub cold: AccountCold,
    /// On which side the path's hashes stand: bit `i` is set when hash `i` is the left one. See [`path_sides`].
    pub sides: u64,
    /// From the account up to the root of accounts.
    pub path: Vec<Hash>,
    /// Every table's root.
    pub roots: Roots,
    /// The header that commits to them.
    pub header: Vec<u8>,
    /// The certificate of that header.
    pub certificate: Vec<u8>,
}

mod kind {
    pub(super) const ACCOUNT: u16 = 1;
    pub(super) const ROOTS: u16 = 2;
    pub(super) const HEADER: u16 = 3;
    pub(super) const CERTIFICATE: u16 = 4;
}

impl AccountProof {
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
        let got = self.roots.state_root();
        if got != header.state_root {
            return Err(ProofError::Roots {
                got,
                want: header.state_root,
            });
        }
        let want = self.roots.get(Table::Accounts).unwrap_or_else(tree::empty_root);
        let got = self.accounts_root()?;
        if got == want {
            Ok(())
        } else {
            Err(PathError::Root { got, want }.into())
        }
    }

    fn accounts_root(&self) -> Result<Hash, PathError> {
        let length = PathError::Length { got: self.path.len() };
        let mut node = account::leaf(&self.hot, &self.cold);
        let mut sides = self.sides;
        for sibling in &self.path {
            node = if sides & 1 == 1 {
                hash::NODE.node(sibling, &node)
            } else {
                hash::NODE.node(&node, sibling)
            };
            sides >>= 1;
        }
        if sides == 0 { Ok(node) } else { Err(length) }
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1_024 + self.path.len() * Hash::LEN + self.certificate.len());
        put_section(&mut out, kind::ACCOUNT, |out| {
            out.extend_from_slice(self.hot.as_bytes());
            out.extend_from_slice(self.cold.as_bytes());
            out.extend_from_slice(&self.sides.to_le_bytes());
            put_path(out, &self.path);
        });
        put_section(&mut out, kind::ROOTS, |out| self.roots.encode(out));
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
        let kinds = [kind::ACCOUNT, kind::ROOTS, kind::HEADER, kind::CERTIFICATE];
        let [account, roots, header, certificate] = proof_sections(bytes, kinds)?;
        let mut reader = Reader::new("account proof", account);
        let proof = Self {
            hot: AccountHot::read_from_bytes(reader.take(size_of::<AccountHot>())?)
                .expect("any 96 bytes are a hot record"),
            cold: AccountCold::read_from_bytes(reader.take(size_of::<AccountCold>())?)
                .expect("any 96 bytes are a cold record"),
            sides: reader.u64()?,
            path: read_path(&mut reader)?,
            roots: Roots::decode(roots)?,
            header: header.to_vec(),
            certificate: certificate.to_vec(),
        };
        reader.finish()?;
        Ok(proof)
    }
}

/// On which side the hashes of the path of leaf `index` in a tree of `size` leaves stand: what
/// [`AccountProof::sides`] holds.
pub fn path_sides(index: u64, size: u64) -> u64 {
    let (mut at, mut last) = (index, size.saturating_sub(1));
    let (mut sides, mut bit) = (0, 1u64);
    while last > 0 {
        // An odd last node is lifted: no hash, no bit.
        if at & 1 == 1 || at < last {
            if at & 1 == 1 {
                sides |= bit;
            }
            bit <<= 1;
        }
        at >>= 1;
        last >>= 1;
    }
    sides
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod tests {
    use super::*;
    use crate::proof::DenseTree;
    use crate::proof::vouch::solo;
    use selfchain_types::{Height, KeyId};
    use zerocopy::FromZeros;

    fn account(id: u32) -> (AccountHot, AccountCold) {
        let mut hot = AccountHot::new_zeroed();
        hot.debits_posted = u128::from(id * 10).into();
        let mut cold = AccountCold::new_zeroed();
        cold.id = u128::from(id + 1).into();
        cold.owner = KeyId(Hash([id as u8; 32])).0;
        (hot, cold)
    }

    fn proof(index: u32, size: u32) -> AccountProof {
        let leaves: Vec<(u32, Hash)> = (0..size)
            .map(|id| {
                let (hot, cold) = account(id);
                (id, account::leaf(&hot, &cold))
            })
            .collect();
        let mut tree = DenseTree::new();
        tree.update(&leaves);
        let mut roots = Roots::default();
        roots.set(Table::Accounts, tree.root());
        roots.set(Table::Keys, Hash([6; 32]));
        let (header, certificate) = solo::block(roots.state_root(), (Hash::ZERO, 0));
        let (hot, cold) = account(index);
        AccountProof {
            hot,
            cold,
            sides: path_sides(u64::from(index), u64::from(size)),
            path: tree.path(index).unwrap(),
            roots,
            header,
            certificate,
        }
    }

    fn holds(bytes: &[u8]) -> bool {
        AccountProof::decode(bytes).is_ok_and(|proof| proof.verify(&solo::CHAIN, &solo::validators()).is_ok())
    }

    #[test]
    fn every_account_of_every_size_proves_and_reads_back() {
        for size in (1..20).chain([1_030]) {
            for index in (0..size).step_by(1 + size as usize / 20).chain([size - 1]) {
                let proof = proof(index, size);
                let proved = proof.verify(&solo::CHAIN, &solo::validators()).unwrap();
                assert_eq!(proved.height, Height(8), "account {index} of {size}");
                assert_eq!(AccountProof::decode(&proof.to_bytes()).unwrap(), proof);
            }
        }
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_refused() {
        let bytes = proof(4, 11).to_bytes();
        assert!(holds(&bytes));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!holds(&flipped), "bit {bit}");
        }
        assert!((0..bytes.len()).all(|cut| !holds(&bytes[..cut])));
    }

    #[test]
    fn a_header_of_other_roots_is_told_apart() {
        let mut proof = proof(1, 3);
        proof.roots.set(Table::Assets, Hash([1; 32]));
        assert!(matches!(
            proof.verify(&solo::CHAIN, &solo::validators()),
            Err(ProofError::Roots { .. })
        ));
    }
}
