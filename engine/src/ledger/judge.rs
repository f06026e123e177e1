//! What a score does to a transfer: nothing, a hold, or a refusal.

use super::Ledger;
use super::pendings::{HOLD_OF_PENDING, HOLD_OF_PLAIN};
use super::permit::Refused;
use super::resolve::{Action, Hold, Reservation};
use selfchain_types::policy::hold_id;
use selfchain_types::receipt::NOT_SCORED;
use selfchain_types::risk::REASONS;
use selfchain_types::{AccountFlags, Hash, KeyId, Kind, Operation, OperationFlags, Outcome, TimeNs};

/// What the policy says of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Allow,
    /// That it waits for a reviewer.
    Hold,
    /// That it is refused.
    Reject,
}

/// What a hold is marked with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) tx_id: Hash,
    /// Which operation of the transaction.
    pub(super) index: u32,
    pub(super) score: u8,
    pub(super) reasons: [u8; REASONS],
}

/// Whether scores speak of it: a transfer that moves or reserves an amount, and does not settle.
pub(super) fn is_judged(operation: &Operation) -> bool {
    let settles = OperationFlags::POST.with(OperationFlags::VOID).0;
    operation.kind == Kind::Transfer.code() && operation.flags.get() & settles == 0
}

impl Ledger {
    /// Who settles a hold of an account's payment with this score: what the chain's policy holds, the chain's
    /// reviewer, or else whoever has the account's key could let it go; what only the account's own holds, the
    /// account's. Without a reviewer the chain's, without that its authority.
    pub(super) fn reviewer_of(&self, debit: u32, score: u8) -> KeyId {
        let chain = &self.policies.chain;
        let is_the_chains = match score {
            NOT_SCORED => chain.holds_unscored,
            _ => score >= chain.hold,
        };
        let policy = if is_the_chains {
            *chain
        } else {
            self.policies.of(debit)
        };
        if policy.reviewer == KeyId::NONE {
            self.rules.authority
        } else {
            policy.reviewer
        }
    }

    /// What the policy of the account to debit says of an operation with this score. What an issuance account
    /// pays or takes back is nobody's payment; where an account is unknown, that is said first.
    pub(super) fn judge(&self, operation: &Operation, score: u8) -> Verdict {
        if self.policies.is_quiet_about(score) || !is_judged(operation) {
            return Verdict::Allow;
        }
        let parties =
            [operation.debit_account(), operation.credit_account()].map(|id| self.accounts.find(id));
        let [Some(debit), Some(credit)] = parties else {
            return Verdict::Allow;
        };
        let issues = |index: u32| self.accounts[index].flags().has(AccountFlags::ISSUANCE);
        if issues(debit) || issues(credit) {
            return Verdict::Allow;
        }
        let policy = self.policies.of(debit);
        match score {
            NOT_SCORED if policy.holds_unscored => Verdict::Hold,
            NOT_SCORED => Verdict::Allow,
            _ if score >= policy.reject => Verdict::Reject,
            _ if score >= policy.hold => Verdict::Hold,
            _ => Verdict::Allow,
        }
    }

    /// Makes a permitted transfer one that waits for its reviewer.
    ///
    /// # Errors
    /// Why there is no room for it.
    pub(super) fn hold(&self, action: &mut Action, mark: &Mark, now: TimeNs) -> Result<(), Refused> {
        let hold = |way| Hold {
            way,
            score: mark.score,
            reasons: mark.reasons,
        };
        match action {
            Action::Reserve(_, reservation) => reservation.hold = Some(hold(HOLD_OF_PENDING)),
            Action::Move(transfer) => {
                self.permit_one_more_pending(transfer.debit)?;
                let id = hold_id(&mark.tx_id, mark.index);
                if id == 0 || id == u128::MAX || self.pendings.find(id).is_some() {
                    return Err(Outcome::PendingExists.into());
                }
                let deadline_ns = match self.policies.of(transfer.debit).hold_timeout_s {
                    0 => 0,
                    seconds => now.plus_seconds(seconds).ok_or(Outcome::TimeoutOverflow)?.0,
                };
                let reservation = Reservation {
                    id,
                    deadline_ns,
                    hold: Some(hold(HOLD_OF_PLAIN)),
                };
                *action = Action::Reserve(*transfer, reservation);
            }
            _ => return Err(Outcome::ChainUnholdable.into()),
        }
        Ok(())
    }
}
