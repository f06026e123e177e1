//! Accounts: four checked totals, what they may do, and whose they are.

use crate::{Amount, AssetId, Hash, KeyId, hash};
use core::fmt;
use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// An account's number. Zero and the largest are reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub u128);

impl AccountId {
    /// "None": the fee account of an envelope that pays no fee.
    pub const NONE: Self = Self(0);

    /// The id that the `derived` policy demands: the first 16 bytes of
    /// `H(account-id; owner ‖ asset u32 ‖ salt u64)`.
    pub fn derive(owner: &KeyId, asset: AssetId, salt: u64) -> Self {
        let hash =
            hash::ACCOUNT_ID.hash_parts(&[owner.0.as_bytes(), &asset.0.to_le_bytes(), &salt.to_le_bytes()]);
        let mut id = [0; 16];
        id.copy_from_slice(&hash.0[..16]);
        Self(u128::from_le_bytes(id))
    }

    /// Whether an account may have this id.
    pub fn is_valid(self) -> bool {
        self.0 != 0 && self.0 != u128::MAX
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an account may do; a set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountFlags(pub u16);

impl AccountFlags {
    /// Posted and pending debits may not exceed posted credits plus the limit.
    pub const DEBITS_MUST_NOT_EXCEED_CREDITS: Self = Self(1);
    /// Posted and pending credits may not exceed posted debits plus the limit.
    pub const CREDITS_MUST_NOT_EXCEED_DEBITS: Self = Self(2);
    /// Every change is kept in the history index.
    pub const HISTORY: Self = Self(4);
    /// No new transfer touches it; what is pending can still be posted or voided.
    pub const CLOSED: Self = Self(8);
    /// The issuance account of an asset; set by creating the asset, never by opening an account.
    pub const ISSUANCE: Self = Self(16);
    /// The bits that opening an account may set.
    pub const OPENABLE: Self = Self(1 | 2 | 4);

    /// Whether every bit of `other` is set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets.
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The hot half of an account: all that a transfer reads and writes, 96 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct AccountHot {
    /// Sum of posted debits.
    pub debits_posted: U128,
    /// Sum of posted credits.
    pub credits_posted: U128,
    /// Sum of debits that are pending.
    pub debits_pending: U128,
    /// Sum of credits that are pending.
    pub credits_pending: U128,
    /// Credit limit: how far the constrained side may exceed the other.
    pub limit: U128,
    /// What amounts count.
    pub asset: U32,
    /// Dense index of the owner in the table of keys.
    pub owner: U32,
    /// Open pendings that debit it.
    pub pendings_open: U32,
    /// [`AccountFlags`].
    pub flags: U16,
    /// Zero.
    pub reserved: U16,
}

/// The cold half of an account: what identifies it, 96 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct AccountCold {
    /// [`AccountId`].
    pub id: U128,
    /// The owner's [`KeyId`].
    pub owner: Hash,
    /// The user's own.
    pub user_data_128: U128,
    /// The user's own.
    pub user_data_64: U64,
    /// Height of the block that opened it.
    pub opened: U64,
    /// The user's own classification.
    pub code: U16,
    /// Zero.
    pub reserved: [u8; 14],
}

/// Leaf of the account tree: `H(account; hot ‖ cold)`, 192 bytes.
pub fn leaf(hot: &AccountHot, cold: &AccountCold) -> Hash {
    hash::ACCOUNT.hash(&leaf_bytes(hot, cold))
}

/// What an account's leaf hashes: `hot ‖ cold`.
pub fn leaf_bytes(hot: &AccountHot, cold: &AccountCold) -> [u8; 192] {
    let mut bytes = [0; 192];
    bytes[..96].copy_from_slice(hot.as_bytes());
    bytes[96..].copy_from_slice(cold.as_bytes());
    bytes
}

/// The four totals of an account, as results and history carry them.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Balances {
    /// Sum of posted debits.
    pub debits_posted: U128,
    /// Sum of posted credits.
    pub credits_posted: U128,
    /// Sum of debits that are pending.
    pub debits_pending: U128,
    /// Sum of credits that are pending.
    pub credits_pending: U128,
}

impl AccountHot {
    /// The four totals.
    pub fn balances(&self) -> Balances {
        Balances {
            debits_posted: self.debits_posted,
            credits_posted: self.credits_posted,
            debits_pending: self.debits_pending,
            credits_pending: self.credits_pending,
        }
    }

    /// The flags.
    pub fn flags(&self) -> AccountFlags {
        AccountFlags(self.flags.get())
    }

    /// How much more may be debited: `None` where nothing limits it.
    pub fn available_to_debit(&self) -> Option<Amount> {
        self.flags()
            .has(AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS)
            .then(|| {
                let used = self.debits_posted.get().saturating_add(self.debits_pending.get());
                Amount(
                    self.credits_posted
                        .get()
                        .saturating_add(self.limit.get())
                        .saturating_sub(used),
                )
            })
    }

    /// How much more may be credited: `None` where nothing limits it.
    pub fn available_to_credit(&self) -> Option<Amount> {
        self.flags()
            .has(AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS)
            .then(|| {
                let used = self
                    .credits_posted
                    .get()
                    .saturating_add(self.credits_pending.get());
                Amount(
                    self.debits_posted
                        .get()
                        .saturating_add(self.limit.get())
                        .saturating_sub(used),
                )
            })
    }
}

const _: () = assert!(size_of::<AccountHot>() == 96 && size_of::<AccountCold>() == 96);
