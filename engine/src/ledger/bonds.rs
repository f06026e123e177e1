//! The table of bonds: money that validators have at stake. Small, and hashed whole.

use super::leaves;
use alloc::collections::BTreeMap;
use selfchain_types::{Hash, Height, codec};

/// Most validators with a bond in money: those on a roll, and those of the two sets before that left it.
pub(super) const BONDS_MAX: usize = 3 * 1_024;

/// A validator's money. It lies on an account as debits that are pending towards the reserve, and keeps that account
/// from being closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bond {
    /// Dense index of the account, where rewards go too.
    pub(super) account: u32,
    /// Units that count in the validator's bond.
    pub(super) backing: u64,
    /// Units that did, and wait to be given back.
    pub(super) leaving: u64,
    /// What is leaving waits until offences of this height count no more.
    pub(super) since: Height,
    /// Height of the last offence that cost it a part.
    pub(super) offended: Height,
}

impl Bond {
    /// Nothing yet, on this account.
    pub(super) fn on(account: u32) -> Self {
        Self {
            account,
            backing: 0,
            leaving: 0,
            since: Height::GENESIS,
            offended: Height::GENESIS,
        }
    }

    /// Units that are locked.
    pub(super) fn locked(&self) -> u64 {
        self.backing.saturating_add(self.leaving)
    }
}

/// Bonds by the validators' numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Bonds {
    records: BTreeMap<u32, Bond>,
    root: Option<Hash>,
}

impl Bonds {
    pub(super) fn get(&self, member: u32) -> Option<&Bond> {
        self.records.get(&member)
    }

    pub(super) fn set(&mut self, member: u32, bond: Bond) {
        self.records.insert(member, bond);
        self.root = None;
    }

    pub(super) fn remove(&mut self, member: u32) {
        self.records.remove(&member);
        self.root = None;
    }

    /// By ascending number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Bond)> {
        self.records.iter().map(|(member, bond)| (*member, bond))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// `{member u32 ‖ account index u32 ‖ backing u64 ‖ leaving u64 ‖ since u64 ‖ offended u64}…` in ascending order.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.records.len() * RECORD_BYTES);
        for (member, bond) in &self.records {
            out.extend_from_slice(&member.to_le_bytes());
            out.extend_from_slice(&bond.account.to_le_bytes());
            for number in [bond.backing, bond.leaving, bond.since.0, bond.offended.0] {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        out
    }

    pub(super) fn root(&mut self) -> Option<Hash> {
        if self.records.is_empty() {
            return None;
        }
        if self.root.is_none() {
            self.root = Some(leaves::whole(&self.bytes()));
        }
        self.root
    }

    /// Reads what [`Self::bytes`] wrote, of a ledger with so many accounts.
    pub(super) fn restore(bytes: &[u8], accounts: u32) -> Result<Self, codec::DecodeError> {
        let mut reader = codec::Reader::new("snapshot bonds", bytes);
        let mut bonds = Self::default();
        while reader.left() > 0 {
            let member = reader.u32()?;
            let bond = Bond {
                account: reader.u32()?,
                backing: reader.u64()?,
                leaving: reader.u64()?,
                since: Height(reader.u64()?),
                offended: Height(reader.u64()?),
            };
            let last = bonds.records.last_key_value().map(|(last, _)| *last);
            let is_right = last.is_none_or(|last| last < member)
                && bond.account < accounts
                && bond.backing.checked_add(bond.leaving).is_some()
                && bonds.records.len() < BONDS_MAX;
            if !is_right {
                return Err(codec::DecodeError::Value {
                    what: "number of a validator with a bond",
                    value: member.into(),
                });
            }
            bonds.records.insert(member, bond);
        }
        Ok(bonds)
    }
}

const RECORD_BYTES: usize = 40;
