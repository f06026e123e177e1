//! Outcomes: what the ledger said to each operation. A refusal is an outcome, not an error.

use core::fmt;

macro_rules! codes {
    ($(#[$outer:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $code:literal, $text:literal;)+ }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum $name { $($(#[$doc])* $variant = $code,)+ }

        impl $name {
            /// Every code there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name that logs, metrics and JSON use.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The number on the wire and in the log.
            #[allow(clippy::as_conversions, reason = "a field-less enum with explicit u16 codes")]
            pub const fn code(self) -> u16 {
                self as u16
            }

            /// The one with this number, if there is one.
            pub const fn from_code(code: u16) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}
pub(crate) use codes;

codes! {
    /// What the ledger said to one operation. Numbers never change meaning.
    Outcome {
        /// Done.
        Ok = 0, "ok";
        /// The envelope's fee could not be charged; nothing of it was tried.
        FeeUnpaid = 1, "fee_unpaid";
        /// A signer's key was revoked at an earlier height; nothing of the envelope was tried.
        Revoked = 2, "revoked";
        /// Another member of its linked chain was refused.
        LinkedFailed = 3, "linked_failed";
        /// The envelope ends inside the chain.
        ChainOpen = 4, "chain_open";
        /// The chain has more members than genesis allows.
        ChainTooLong = 5, "chain_too_long";
        /// The block's limit of effects is reached.
        BlockEffectsFull = 6, "block_effects_full";
        /// Not done yet: the amount is reserved until a reviewer releases or voids it, or time ends it.
        Held = 7, "held";
        /// A member is to be held, and another cannot be pending.
        ChainUnholdable = 8, "chain_unholdable";
        /// Its score is one that the policy refuses.
        RiskRejected = 9, "risk_rejected";
        /// No such kind in this protocol version.
        KindUnknown = 10, "kind_unknown";
        /// No such version of the kind.
        VersionUnknown = 11, "version_unknown";
        /// A flag without meaning is set.
        FlagsUnknown = 12, "flags_unknown";
        /// Flags that exclude one another.
        FlagsConflict = 13, "flags_conflict";
        /// A field that this kind does not use is not zero.
        FieldNotZero = 14, "field_not_zero";
        /// The id is zero or the largest.
        IdReserved = 15, "id_reserved";
        /// An open pending transfer has this id.
        PendingExists = 16, "pending_exists";
        /// No account to debit.
        DebitAccountUnknown = 20, "debit_account_unknown";
        /// No account to credit.
        CreditAccountUnknown = 21, "credit_account_unknown";
        /// Debit and credit are one account.
        AccountsSame = 22, "accounts_same";
        /// The account to debit is closed.
        DebitAccountClosed = 23, "debit_account_closed";
        /// The account to credit is closed.
        CreditAccountClosed = 24, "credit_account_closed";
        /// The accounts and the transfer do not name one asset.
        AssetMismatch = 25, "asset_mismatch";
        /// An account has this id.
        AccountExists = 26, "account_exists";
        /// The chain demands derived ids, and this is not the one.
        AccountIdNotDerived = 27, "account_id_not_derived";
        /// No such account.
        AccountUnknown = 28, "account_unknown";
        /// The account has pending transfers.
        AccountPending = 29, "account_pending";
        /// The account is closed already.
        AccountClosed = 30, "account_closed";
        /// No such asset.
        AssetUnknown = 31, "asset_unknown";
        /// An asset has this number.
        AssetExists = 32, "asset_exists";
        /// More decimal digits than 38.
        ScaleTooLarge = 33, "scale_too_large";
        /// A total would overflow.
        AmountOverflow = 40, "amount_overflow";
        /// The account to debit has less available; the result says needed and available.
        InsufficientFunds = 41, "insufficient_funds";
        /// The account to credit may take less; the result says needed and available.
        CreditExceedsDebits = 42, "credit_exceeds_debits";
        /// More than the asset's cap would be out; the result says needed and available.
        SupplyCapExceeded = 43, "supply_cap_exceeded";
        /// No open pending transfer has this id.
        PendingUnknown = 50, "pending_unknown";
        /// The pending transfer's time is over.
        PendingExpired = 51, "pending_expired";
        /// A field that was given differs from the pending transfer's.
        PendingMismatch = 52, "pending_mismatch";
        /// More than is pending.
        PendingAmountExceeded = 53, "pending_amount_exceeded";
        /// The account has as many open pendings as genesis allows.
        AccountPendingsFull = 54, "account_pendings_full";
        /// The chain has as many open pendings as genesis allows.
        ChainPendingsFull = 55, "chain_pendings_full";
        /// It is held for review: only the reviewer settles it, and only whole.
        HeldForReview = 57, "held_for_review";
        /// A deadline past the end of ledger time.
        TimeoutOverflow = 56, "timeout_overflow";
        /// No signer may do this.
        NotAuthorized = 60, "not_authorized";
        /// The session's scope does not cover this.
        SessionScope = 61, "session_scope";
        /// More than the session's cap leaves; the result says needed and available.
        SessionCap = 62, "session_cap";
        /// The session is over.
        SessionExpired = 63, "session_expired";
        /// The chain has as many sessions as genesis allows.
        SessionsFull = 64, "sessions_full";
        /// No such session.
        SessionUnknown = 65, "session_unknown";
        /// The key is registered already.
        KeyExists = 70, "key_exists";
        /// No such key.
        KeyUnknown = 71, "key_unknown";
        /// The attachment is not that key's public key.
        KeyInvalid = 72, "key_invalid";
        /// No such signature scheme.
        SchemeUnknown = 73, "scheme_unknown";
        /// It points outside the envelope's attachments.
        AttachmentRange = 80, "attachment_range";
        /// The attachment is not what the kind demands.
        AttachmentInvalid = 81, "attachment_invalid";
        /// A report that says neither fraud nor cleared.
        ReportInvalid = 82, "report_invalid";
        /// The upgrade's height is not ahead, or its version not newer.
        UpgradeInvalid = 90, "upgrade_invalid";
        /// A policy that is none.
        PolicyInvalid = 91, "policy_invalid";
        /// As many accounts have a policy of their own as may.
        PoliciesFull = 92, "policies_full";
        /// The model's height is not ahead, or not after that of the model before it.
        ModelInvalid = 93, "model_invalid";
        /// One validator decides this chain, and none may join it.
        ValidatorsFixed = 100, "validators_fixed";
        /// The key is a validator's already, or was one's of a set whose offences still count.
        ValidatorTaken = 101, "validator_taken";
        /// The key is no validator's.
        ValidatorUnknown = 102, "validator_unknown";
        /// There are as many validators as may be.
        ValidatorsFull = 103, "validators_full";
        /// A bond of nothing, or one that does not count.
        BondInvalid = 104, "bond_invalid";
        /// No account is named for the bond, or another one than it lies on.
        BondAccount = 105, "bond_account";
        /// The account of the chain's reserve is not open: no money can be bonded.
        ReserveClosed = 106, "reserve_closed";
        /// No chain of reveals to begin with.
        RevealsInvalid = 107, "reveals_invalid";
        /// Nobody would be left.
        LastValidator = 108, "last_validator";
        /// No quality network, or one that this chain's plane does not take.
        NetworkInvalid = 109, "network_invalid";
        /// The attachment is no identity certificate's body, or another node's.
        IdentityInvalid = 110, "identity_invalid";
        /// The identity's certificate has this serial or a higher one.
        IdentitySerial = 111, "identity_serial";
        /// It follows another certificate than the identity's last.
        IdentityPrevious = 112, "identity_previous";
        /// It does not count at this height.
        IdentityHeights = 113, "identity_heights";
        /// The identity was revoked, and stays so.
        IdentityRevoked = 114, "identity_revoked";
        /// Another identity has or had the key, or it is revoked.
        IdentityKey = 115, "identity_key";
        /// The key is an identity's, whose root alone certifies the one to come.
        IdentityBound = 116, "identity_bound";
    }
}

impl Outcome {
    /// Whether the operation was done.
    pub fn is_ok(self) -> bool {
        self == Self::Ok
    }

    /// Whether the operation changed anything: it was done, or it is held.
    pub fn took_effect(self) -> bool {
        matches!(self, Self::Ok | Self::Held)
    }
}
