//! Refusals: why a transaction was turned away before order. It left no trace on the ledger.

use crate::outcome::codes;
use core::fmt;

codes! {
    /// Why intake turned an envelope away. Numbers never change meaning.
    Refusal {
        /// The bytes are not an envelope.
        Malformed = 1, "malformed";
        /// A version that is not known.
        VersionUnknown = 2, "version_unknown";
        /// A flag without meaning is set.
        FlagsUnknown = 3, "flags_unknown";
        /// No signer, or more than eight, or one twice on one lane.
        SignersInvalid = 4, "signers_invalid";
        /// No operation, or more than 8,190.
        OperationsCount = 5, "operations_count";
        /// More attachment bytes than 64 KiB.
        AttachmentsTooLarge = 6, "attachments_too_large";
        /// Bytes after the end, or more than a block could hold.
        TooLarge = 7, "too_large";
        /// Signed for another chain.
        WrongChain = 8, "wrong_chain";
        /// A lane past the sixteenth.
        LaneUnknown = 9, "lane_unknown";
        /// A signature scheme that is not known or not allowed here.
        SchemeUnknown = 10, "scheme_unknown";
        /// The public key is neither registered nor given.
        KeyUnknown = 11, "key_unknown";
        /// The public key given does not hash to the key's id.
        KeyMismatch = 12, "key_mismatch";
        /// The signature is not that key's over these bytes.
        SignatureInvalid = 13, "signature_invalid";
        /// `valid_until` has passed.
        Expired = 14, "expired";
        /// `valid_from` is still ahead.
        NotYetValid = 15, "not_yet_valid";
        /// The window of validity is empty or longer than genesis allows.
        ValiditySpan = 16, "validity_span";
        /// Another transaction used this counter.
        CounterUsed = 17, "counter_used";
        /// The lane's next counter is lower.
        CounterSkipped = 18, "counter_skipped";
        /// This very transaction is committed; the reply says where.
        Duplicate = 19, "duplicate";
        /// This very transaction is waiting for its block.
        Waiting = 20, "waiting";
        /// A signer's key is revoked.
        Revoked = 21, "revoked";
        /// More in flight on this connection than it may have.
        InFlightFull = 30, "in_flight_full";
        /// More per second than this peer may send.
        RateLimited = 31, "rate_limited";
        /// A queue of intake is full.
        IntakeFull = 32, "intake_full";
        /// The pool is full, and this pays less than what is in it.
        PoolFull = 33, "pool_full";
        /// The lane has as many waiting as it may.
        LaneFull = 34, "lane_full";
        /// Pushed out of the pool by one that pays more.
        Evicted = 35, "evicted";
        /// The disk is nearly full; reads go on.
        DiskFull = 36, "disk_full";
        /// The node is shutting down.
        Draining = 37, "draining";
        /// The log failed; the node must be restarted.
        Poisoned = 38, "poisoned";
        /// Policy rejects it.
        Policy = 39, "policy";
        /// A request that is not understood.
        RequestUnknown = 40, "request_unknown";
        /// Below the first height kept; the reply names it.
        Pruned = 41, "pruned";
        /// Nothing by that name.
        NotFound = 42, "not_found";
        /// The index is further behind the log than it may be; the reply says by how much.
        IndexBehind = 43, "index_behind";
        /// This key may not: the vault's owner has not granted it.
        Denied = 50, "denied";
        /// Another version came first.
        VersionConflict = 51, "version_conflict";
        /// A limit of the vault is reached; the reply names it.
        VaultLimit = 52, "vault_limit";
        /// What is kept does not hold; the reply names the file.
        Damaged = 53, "damaged";
        /// This node has not agreed to do that for this key.
        NotAgreed = 54, "not_agreed";
        /// More than this node has agreed to keep for this key; the reply says how much that is.
        QuotaFull = 55, "quota_full";
    }
}

impl Refusal {
    /// Whether the same bytes may succeed later.
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Self::NotYetValid
                | Self::CounterSkipped
                | Self::InFlightFull
                | Self::RateLimited
                | Self::IntakeFull
                | Self::PoolFull
                | Self::LaneFull
                | Self::Evicted
                | Self::DiskFull
                | Self::Draining
                | Self::IndexBehind
        )
    }
}
