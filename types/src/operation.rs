//! An operation: one fixed 128-byte little-endian record, read in place from the bytes that arrived.
//!
//! Every kind uses the same frame; `docs/formats/operation.md` has the table of which field each kind uses.
//! A field that a kind does not use is zero, or the operation is refused.

use crate::{AccountFlags, AccountId, Amount, AssetId, Hash, KeyId, TimeNs};
use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// One operation, 128 bytes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Operation {
    /// Chosen by the client; unique among open pendings, else a searchable reference.
    pub id: U128,
    /// Account to debit. For kinds that name a key or hash: its first 16 bytes.
    pub debit: U128,
    /// Account to credit. For kinds that name a key or hash: its last 16 bytes.
    pub credit: U128,
    /// Units to move; a limit, cap or serial for other kinds.
    pub amount: U128,
    /// The pending transfer that is posted or voided; an account for other kinds.
    pub pending: U128,
    /// The user's own; the account that a report accuses, for scorers.
    pub user_data_128: U128,
    /// The user's own; `offset u32 | len u32 << 32` into the attachments for kinds that point there.
    pub user_data_64: U64,
    /// When it takes effect, in ns (genesis `effective`); an expiry for session keys.
    pub effective_ns: U64,
    /// Seconds after which a pending transfer expires; 0 = never. [`AccountFlags`] when opening an account, a
    /// session's scope, a report's operation index.
    pub timeout_s: U32,
    /// What the amount counts.
    pub asset: U32,
    /// The user's own classification; a small number for other kinds.
    pub code: U16,
    /// [`OperationFlags`]; of these only "linked" in kinds other than transfers.
    pub flags: U16,
    /// [`Kind`].
    pub kind: u8,
    /// Version of the kind: [`Operation::VERSION`].
    pub version: u8,
    /// Zero.
    pub reserved: [u8; 2],
}

const _: () = assert!(size_of::<Operation>() == Operation::LEN);

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Moves an amount, or reserves, posts or voids one, as the flags say.
    Transfer = 1,
    /// Opens an account.
    OpenAccount = 2,
    /// Creates an asset and its issuance account.
    CreateAsset = 3,
    /// Closes an account.
    CloseAccount = 4,
    /// Sets an account's credit limit; by the asset's issuer.
    SetLimit = 5,
    /// Puts a public key into the registry.
    RegisterKey = 6,
    /// Revokes a key, effective at the next height.
    RevokeKey = 7,
    /// Lets a key act for an account, within scope, cap and expiry; a cap of zero ends it.
    SetSession = 8,
    /// Announces a node's addresses.
    AnnounceNode = 9,
    /// Anchors the hash of data that lives elsewhere.
    Anchor = 10,
    /// Reports a past operation as fraud, or clears it.
    Report = 11,
    /// Schedules a protocol version at a height; by the chain's authority.
    Upgrade = 12,
    /// Sets what a chain or an account does about scores.
    SetPolicy = 13,
    /// Lets a model decide from a height on; by the chain's authority.
    SetModel = 14,
    /// Makes a key a validator, with a bond.
    Join = 15,
    /// Sets a validator's bond; zero: it leaves.
    Bond = 16,
    /// Lets a validator sign with another key.
    Rotate = 17,
    /// Lets a validator begin another chain of reveals.
    Reveals = 18,
    /// Says where a validator listens for the others.
    Address = 19,
    /// Lets another network decide how often who is asked to propose; by the chain's authority.
    SetQuality = 20,
    /// Lets a validator sign checkpoints with another key.
    CheckpointKey = 22,
}

impl Kind {
    /// The kind with this code, if there is one.
    pub fn from_code(code: u8) -> Option<Self> {
        use Kind::*;
        [
            Transfer,
            OpenAccount,
            CreateAsset,
            CloseAccount,
            SetLimit,
            RegisterKey,
            RevokeKey,
            SetSession,
            AnnounceNode,
            Anchor,
            Report,
            Upgrade,
            SetPolicy,
            SetModel,
            Join,
            Bond,
            Rotate,
            Reveals,
            Address,
            SetQuality,
            CheckpointKey,
        ]
        .into_iter()
        .find(|kind| kind.code() == code)
    }

    /// Whether it changes who the validators are, what they have, or how they are judged.
    pub const fn is_of_validators(self) -> bool {
        matches!(
            self,
            Self::Join
                | Self::Bond
                | Self::Rotate
                | Self::Reveals
                | Self::Address
                | Self::SetQuality
                | Self::CheckpointKey
        )
    }

    /// Its code on the wire.
    #[allow(clippy::as_conversions, reason = "a field-less enum with explicit u8 codes")]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

/// How a transfer moves its amount; a set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OperationFlags(pub u16);

impl OperationFlags {
    /// Commits or fails together with the next operation. Any kind may carry it but those of validators.
    pub const LINKED: Self = Self(1);
    /// Reserves the amount until posted, voided or expired.
    pub const PENDING: Self = Self(2);
    /// Posts the pending transfer named in `pending`: all of it for `Amount::MAX`, else that much.
    pub const POST: Self = Self(4);
    /// Voids the pending transfer named in `pending`.
    pub const VOID: Self = Self(8);
    /// Moves at most `amount`: as much as the debit account's constraint allows.
    pub const BALANCING_DEBIT: Self = Self(16);
    /// Moves at most `amount`: as much as the credit account's constraint allows.
    pub const BALANCING_CREDIT: Self = Self(32);
    /// Post or void every pending transfer of the linked chain whose first member `pending` names.
    pub const CHAIN: Self = Self(64);
    /// The bits a transfer may set.
    pub const TRANSFER: Self = Self(127);

    /// Whether every bit of `other` is set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets.
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Bit of `flags` that says "linked" in every kind that may.
pub const LINKED_BIT: u16 = 1;

impl Operation {
    /// Bytes of an operation.
    pub const LEN: usize = 128;
    /// The version of every kind today.
    pub const VERSION: u8 = 1;

    pub(crate) fn of(kind: Kind, id: u128) -> Self {
        Self {
            id: id.into(),
            kind: kind.code(),
            version: Self::VERSION,
            ..Self::default()
        }
    }

    /// A plain transfer; set `flags` and `timeout_s` for the other ways.
    pub fn transfer(id: u128, debit: AccountId, credit: AccountId, amount: Amount, asset: AssetId) -> Self {
        Self {
            debit: debit.0.into(),
            credit: credit.0.into(),
            amount: amount.0.into(),
            asset: asset.0.into(),
            ..Self::of(Kind::Transfer, id)
        }
    }

    /// A pending transfer that expires after `timeout_s` seconds of ledger time (0 = never).
    pub fn reserve(
        id: u128,
        debit: AccountId,
        credit: AccountId,
        amount: Amount,
        asset: AssetId,
        timeout_s: u32,
    ) -> Self {
        Self {
            timeout_s: timeout_s.into(),
            ..Self::transfer(id, debit, credit, amount, asset)
        }
        .flagged(OperationFlags::PENDING)
    }

    /// Posts `amount` of a pending transfer (`Amount::MAX`: all of it) and releases the rest.
    pub fn post(id: u128, pending: u128, amount: Amount) -> Self {
        Self {
            pending: pending.into(),
            amount: amount.0.into(),
            ..Self::of(Kind::Transfer, id)
        }
        .flagged(OperationFlags::POST)
    }

    /// Voids a pending transfer.
    pub fn void(id: u128, pending: u128) -> Self {
        Self {
            pending: pending.into(),
            ..Self::of(Kind::Transfer, id)
        }
        .flagged(OperationFlags::VOID)
    }

    /// Opens account `account`, owned by `owner` ([`KeyId::NONE`]: the envelope's first signer). `salt` goes
    /// to `user_data_64` and matters where the chain demands derived ids.
    pub fn open_account(
        account: AccountId,
        asset: AssetId,
        owner: KeyId,
        flags: AccountFlags,
        limit: Amount,
        salt: u64,
    ) -> Self {
        Self {
            asset: asset.0.into(),
            amount: limit.0.into(),
            timeout_s: u32::from(flags.0).into(),
            user_data_64: salt.into(),
            ..Self::of(Kind::OpenAccount, account.0)
        }
        .naming(owner.0)
    }

    /// Creates `asset` with its issuance account `issuance`; `cap` is the most units that may be out at once.
    pub fn create_asset(asset: AssetId, issuance: AccountId, issuer: KeyId, scale: u16, cap: Amount) -> Self {
        Self {
            asset: asset.0.into(),
            amount: cap.0.into(),
            code: scale.into(),
            ..Self::of(Kind::CreateAsset, issuance.0)
        }
        .naming(issuer.0)
    }

    /// Closes `account`, which must have nothing pending.
    pub fn close_account(account: AccountId) -> Self {
        Self::of(Kind::CloseAccount, account.0)
    }

    /// Sets the credit limit of `account`; by the issuer of its asset.
    pub fn set_limit(account: AccountId, limit: Amount) -> Self {
        Self {
            amount: limit.0.into(),
            ..Self::of(Kind::SetLimit, account.0)
        }
    }

    /// Registers the public key that lies in the attachments at `offset`, `len` bytes, of scheme `code`.
    pub fn register_key(id: u128, key: KeyId, scheme: u16, offset: u32, len: u32) -> Self {
        Self {
            code: scheme.into(),
            ..Self::of(Kind::RegisterKey, id)
        }
        .naming(key.0)
        .pointing(offset, len)
    }

    /// Revokes `key`; by that key.
    pub fn revoke_key(id: u128, key: KeyId) -> Self {
        Self::of(Kind::RevokeKey, id).naming(key.0)
    }

    /// Lets `key` act for `account` until `expires`, within `scope`, up to `cap` units in all.
    pub fn set_session(
        id: u128,
        account: AccountId,
        key: KeyId,
        scope: crate::key::SessionScope,
        cap: Amount,
        expires: TimeNs,
    ) -> Self {
        Self {
            pending: account.0.into(),
            amount: cap.0.into(),
            timeout_s: scope.0.into(),
            effective_ns: expires.0.into(),
            ..Self::of(Kind::SetSession, id)
        }
        .naming(key.0)
    }

    /// Announces a node: `record` is its id, its signed addresses lie in the attachments.
    pub fn announce_node(id: u128, node: Hash, offset: u32, len: u32) -> Self {
        Self::of(Kind::AnnounceNode, id)
            .naming(node)
            .pointing(offset, len)
    }

    /// Anchors the hash of data that lives elsewhere.
    pub fn anchor(id: u128, data: Hash) -> Self {
        Self::of(Kind::Anchor, id).naming(data)
    }

    /// Reports operation `index` of transaction `tx_id`: `code` 1 = confirmed fraud, 2 = cleared. `account`
    /// is the account that the reporter owns in it.
    pub fn report(id: u128, tx_id: Hash, index: u32, account: AccountId, code: u16) -> Self {
        Self {
            pending: account.0.into(),
            timeout_s: index.into(),
            code: code.into(),
            ..Self::of(Kind::Report, id)
        }
        .naming(tx_id)
    }

    /// The same report, naming the account that it accuses or clears, which scorers learn from.
    pub fn accusing(mut self, account: AccountId) -> Self {
        self.user_data_128 = account.0.into();
        self
    }

    /// Schedules protocol `version` to be in force from `height` on.
    pub fn upgrade(id: u128, version: u16, height: crate::Height) -> Self {
        Self {
            code: version.into(),
            effective_ns: height.0.into(),
            ..Self::of(Kind::Upgrade, id)
        }
    }

    /// Makes `key` a validator with a bond of `bond` units, which lie on `account`. At `offset` lie `len` bytes of
    /// attachments: the last link of its chain of reveals (32), then the public key of scheme `scheme`, or nothing
    /// more where `scheme` is 0 and the key is registered.
    pub fn join(
        id: u128,
        key: KeyId,
        bond: u64,
        account: AccountId,
        scheme: u16,
        (offset, len): (u32, u32),
    ) -> Self {
        Self {
            amount: u128::from(bond).into(),
            pending: account.0.into(),
            code: scheme.into(),
            ..Self::of(Kind::Join, id)
        }
        .naming(key.0)
        .pointing(offset, len)
    }

    /// Sets the bond of the validator `key`; zero: it leaves. `account` is where more of it comes from, and where the
    /// validator's rewards go; [`AccountId::NONE`] where it is known or none is needed.
    pub fn bond(id: u128, key: KeyId, bond: u64, account: AccountId) -> Self {
        Self {
            amount: u128::from(bond).into(),
            pending: account.0.into(),
            ..Self::of(Kind::Bond, id)
        }
        .naming(key.0)
    }

    /// Lets the validator `key` sign with another key: at `offset` lie `len` bytes of attachments, the other key's id
    /// (32), then its public key of scheme `scheme`, or nothing more where `scheme` is 0 and it is registered.
    pub fn rotate(id: u128, key: KeyId, scheme: u16, (offset, len): (u32, u32)) -> Self {
        Self {
            code: scheme.into(),
            ..Self::of(Kind::Rotate, id)
        }
        .naming(key.0)
        .pointing(offset, len)
    }

    /// Lets the validator `key` begin another chain of reveals, whose last link lies at `offset` of the attachments.
    pub fn reveals(id: u128, key: KeyId, offset: u32) -> Self {
        Self::of(Kind::Reveals, id)
            .naming(key.0)
            .pointing(offset, REVEALS_LEN)
    }

    /// Says where the validator `key` listens for the others: the bytes of
    /// [`encode_address`](crate::address::encode_address) lie at `offset` of the attachments.
    pub fn address(id: u128, key: KeyId, offset: u32) -> Self {
        Self::of(Kind::Address, id)
            .naming(key.0)
            .pointing(offset, ADDRESS_LEN)
    }

    /// Lets the validator `key` sign checkpoints with another key of this scheme, whose bytes lie at `offset` of the
    /// attachments.
    pub fn checkpoint_key(id: u128, key: KeyId, scheme: u16, (offset, len): (u32, u32)) -> Self {
        Self {
            code: scheme.into(),
            ..Self::of(Kind::CheckpointKey, id)
        }
        .naming(key.0)
        .pointing(offset, len)
    }

    /// Lets the quality network `network`, whose file of `len` bytes lies at `offset` of the attachments, decide from
    /// the next epoch on how often who is asked to propose.
    pub fn set_quality(id: u128, network: Hash, (offset, len): (u32, u32)) -> Self {
        Self::of(Kind::SetQuality, id)
            .naming(network)
            .pointing(offset, len)
    }

    /// The same with these flags set too.
    pub fn flagged(mut self, flags: OperationFlags) -> Self {
        self.flags = (self.flags.get() | flags.0).into();
        self
    }

    /// The same, committing or failing with the next operation.
    pub fn linked(self) -> Self {
        self.flagged(OperationFlags::LINKED)
    }

    pub(crate) fn naming(mut self, hash: Hash) -> Self {
        self.debit = U128::from_bytes(half(&hash.0[..16]));
        self.credit = U128::from_bytes(half(&hash.0[16..]));
        self
    }

    fn pointing(mut self, offset: u32, len: u32) -> Self {
        self.user_data_64 = (u64::from(offset) | u64::from(len) << 32).into();
        self
    }

    /// The 32 bytes at offset 16: a key's id or a hash, for the kinds that name one.
    pub fn named(&self) -> Hash {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(self.debit.as_bytes());
        bytes[16..].copy_from_slice(self.credit.as_bytes());
        Hash(bytes)
    }

    /// The part of the attachments it points to; `None` if that is not inside.
    pub fn attachment<'a>(&self, attachments: &'a [u8]) -> Option<&'a [u8]> {
        let pointer = self.user_data_64.get();
        let offset = usize::try_from(pointer & u64::from(u32::MAX)).ok()?;
        let len = usize::try_from(pointer >> 32).ok()?;
        attachments.get(offset..offset.checked_add(len)?)
    }

    /// What it does, if its kind is known.
    pub fn kind(&self) -> Option<Kind> {
        Kind::from_code(self.kind)
    }

    /// The flags.
    pub fn flags(&self) -> OperationFlags {
        OperationFlags(self.flags.get())
    }

    /// Whether it commits or fails with the next one.
    pub fn is_linked(&self) -> bool {
        self.flags.get() & LINKED_BIT != 0
    }

    /// The account to debit.
    pub fn debit_account(&self) -> AccountId {
        AccountId(self.debit.get())
    }

    /// The account to credit.
    pub fn credit_account(&self) -> AccountId {
        AccountId(self.credit.get())
    }
}

/// Bytes of a chain's last link.
const REVEALS_LEN: u32 = 32;
/// Bytes of an address.
const ADDRESS_LEN: u32 = 18;
const _: () = assert!(crate::address::ADDRESS_BYTES == 18);

fn half(bytes: &[u8]) -> [u8; 16] {
    bytes.try_into().expect("half of 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_hash_survives_the_frame() {
        let hash = Hash(core::array::from_fn(|at| u8::try_from(at).unwrap_or(0)));
        assert_eq!(Operation::anchor(1, hash).named(), hash);
    }

    #[test]
    fn attachments_outside_the_envelope_are_not_there() {
        let operation = Operation::announce_node(1, Hash::ZERO, 4, 3);
        assert_eq!(operation.attachment(b"0123abc"), Some(&b"abc"[..]));
        assert_eq!(operation.attachment(b"0123ab"), None);
        assert_eq!(
            Operation::announce_node(1, Hash::ZERO, u32::MAX, u32::MAX).attachment(b""),
            None
        );
    }

    #[test]
    fn every_kind_has_its_code_back() {
        for code in 0..=u8::MAX {
            assert!(Kind::from_code(code).is_none_or(|kind| kind.code() == code));
        }
        assert_eq!(Kind::from_code(18), Some(Kind::Reveals));
        assert_eq!(Kind::from_code(19), Some(Kind::Address));
        assert_eq!(Kind::from_code(20), Some(Kind::SetQuality));
        assert_eq!(Kind::from_code(22), Some(Kind::CheckpointKey));
        assert_eq!(Kind::from_code(23), None);
    }
}
