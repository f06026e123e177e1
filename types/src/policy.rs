//! Policies: from which scores on a transfer is annotated, held or refused, and who reviews what is held.

use crate::codec::{DecodeError, Reader};
use crate::{AccountId, Hash, Height, KeyId, Kind, Operation};
use alloc::vec::Vec;

/// A threshold that no score reaches.
pub const NEVER: u8 = 255;

/// What a chain, or one account for what it pays, does about scores. A threshold is met by that score (0 to 254) and
/// every higher one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// From this score on the block keeps the reasons.
    pub annotate: u8,
    /// From this score on a transfer is held.
    pub hold: u8,
    /// From this score on a transfer is refused.
    pub reject: u8,
    /// Whether a transfer that could not be scored in time is held.
    pub holds_unscored: bool,
    /// Seconds of ledger time after which a hold ends, voided; 0 = never.
    pub hold_timeout_s: u32,
    /// Who releases or voids a hold; zeros for none.
    pub reviewer: KeyId,
}

impl Default for Policy {
    /// Does nothing about any score.
    fn default() -> Self {
        Self {
            annotate: NEVER,
            hold: NEVER,
            reject: NEVER,
            holds_unscored: false,
            hold_timeout_s: 0,
            reviewer: KeyId::NONE,
        }
    }
}

/// The id of the hold of a plain transfer: the first 16 bytes of `H(hold; transaction id 32 ‖ operation u32)`, as a
/// little-endian number. A pending transfer that is held keeps its own id.
pub fn hold_id(tx_id: &Hash, operation: u32) -> u128 {
    let hash = crate::hash::HOLD.hash_parts(&[tx_id.as_bytes(), &operation.to_le_bytes()]);
    let mut id = [0; 16];
    id.copy_from_slice(&hash.0[..16]);
    u128::from_le_bytes(id)
}

/// Bytes of a policy.
pub const POLICY_BYTES: usize = 40;

impl Policy {
    /// The least threshold: below it nothing happens to a score.
    pub fn least(&self) -> u8 {
        self.annotate.min(self.hold).min(self.reject)
    }

    /// What holds for an account with a policy of its own, on a chain with this one: the stricter of each.
    pub fn with(&self, own: &Self) -> Self {
        let chosen = |own, other| if own == KeyId::NONE { other } else { own };
        Self {
            annotate: self.annotate.min(own.annotate),
            hold: self.hold.min(own.hold),
            reject: self.reject.min(own.reject),
            holds_unscored: self.holds_unscored || own.holds_unscored,
            hold_timeout_s: if own.hold_timeout_s == 0 {
                self.hold_timeout_s
            } else {
                own.hold_timeout_s
            },
            reviewer: chosen(own.reviewer, self.reviewer),
        }
    }

    /// Appends `annotate u8, hold u8, reject u8, holds_unscored u8, hold_timeout_s u32, reviewer 32`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[
            self.annotate,
            self.hold,
            self.reject,
            u8::from(self.holds_unscored),
        ]);
        out.extend_from_slice(&self.hold_timeout_s.to_le_bytes());
        out.extend_from_slice(self.reviewer.0.as_bytes());
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let [annotate, hold, reject, unscored] = reader.array::<4>()?;
        if unscored > 1 {
            return Err(DecodeError::Value {
                what: "policy on what is not scored",
                value: unscored.into(),
            });
        }
        Ok(Self {
            annotate,
            hold,
            reject,
            holds_unscored: unscored == 1,
            hold_timeout_s: reader.u32()?,
            reviewer: KeyId(reader.hash()?),
        })
    }

    /// What an operation of the kind "set policy" sets; `None` where its amount is none.
    pub fn of(operation: &Operation) -> Option<Self> {
        let [annotate, hold] = operation.code.get().to_le_bytes();
        let low = u16::try_from(operation.amount.get()).ok()?;
        let [reject, unscored] = low.to_le_bytes();
        (unscored <= 1).then(|| Self {
            annotate,
            hold,
            reject,
            holds_unscored: unscored == 1,
            hold_timeout_s: operation.timeout_s.get(),
            reviewer: KeyId(operation.named()),
        })
    }
}

impl Operation {
    /// Sets the chain's policy ([`AccountId::NONE`]; by its authority), or that of what one account pays (by its
    /// owner). For an account [`Policy::default`] takes it away.
    pub fn set_policy(id: u128, account: AccountId, policy: &Policy) -> Self {
        let unscored = u16::from(policy.holds_unscored) << 8;
        Self {
            pending: account.0.into(),
            code: u16::from_le_bytes([policy.annotate, policy.hold]).into(),
            amount: u128::from(unscored | u16::from(policy.reject)).into(),
            timeout_s: policy.hold_timeout_s.into(),
            ..Self::of(Kind::SetPolicy, id)
        }
        .naming(policy.reviewer.0)
    }

    /// Lets an account prefer a model that decides or has decided to be asked too about what it pays; zeros for none.
    /// By its owner.
    pub fn prefer_model(id: u128, account: AccountId, model: Hash) -> Self {
        Self {
            pending: account.0.into(),
            ..Self::of(Kind::SetModel, id)
        }
        .naming(model)
    }

    /// Lets a model, by the hash of its file, decide from a height on; zeros for none. By the chain's authority.
    pub fn set_model(id: u128, model: Hash, from: Height) -> Self {
        Self {
            effective_ns: from.0.into(),
            ..Self::of(Kind::SetModel, id)
        }
        .naming(model)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy {
            annotate: 1,
            hold: 160,
            reject: 250,
            holds_unscored: true,
            hold_timeout_s: 77,
            reviewer: KeyId(Hash([3; 32])),
        }
    }

    #[test]
    fn a_policy_survives_its_bytes_and_its_operation() {
        let mut bytes = Vec::new();
        policy().encode(&mut bytes);
        assert_eq!(bytes.len(), POLICY_BYTES);
        assert_eq!(
            Policy::read(&mut Reader::new("policy", &bytes)).unwrap(),
            policy()
        );
        let operation = Operation::set_policy(1, AccountId(5), &policy());
        assert_eq!(Policy::of(&operation), Some(policy()));
        assert_eq!(
            Policy::of(&Operation::set_policy(1, AccountId(5), &Policy::default())),
            Some(Policy::default())
        );
        let wrong = Operation {
            amount: 512.into(),
            ..operation
        };
        assert_eq!(Policy::of(&wrong), None);
    }

    #[test]
    fn an_account_can_only_be_stricter_than_its_chain() {
        let chain = Policy {
            hold: 170,
            reviewer: KeyId(Hash([9; 32])),
            ..Policy::default()
        };
        assert_eq!(chain.with(&Policy::default()), chain);
        let both = chain.with(&policy());
        assert_eq!(
            (both.hold, both.reject, both.reviewer),
            (160, 250, policy().reviewer)
        );
        let lax = Policy {
            hold: 200,
            ..Policy::default()
        };
        assert_eq!(chain.with(&lax), chain);
    }
}
