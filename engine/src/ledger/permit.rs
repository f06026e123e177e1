//! The rules: whether a resolved action may be done, by whom, and for how much.

use super::Ledger;
use super::pendings::PendingRecord;
use super::policies::POLICIES_MAX;
use super::resolve::{Action, Grant, Move, Opening};
use super::signed::Signed;
use selfchain_types::account::AccountHot;
use selfchain_types::asset::SCALE_MAX;
use selfchain_types::genesis::AccountIds;
use selfchain_types::key::SessionScope;
use selfchain_types::{
    AccountFlags, AccountId, Amount, AssetId, Hash, KeyId, Operation, OperationFlags, Outcome, Policy, TimeNs,
};

/// Why an operation is refused, and what it wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) outcome: Outcome,
    /// `(needed, available)`.
    pub(super) shortfall: Option<(Amount, Amount)>,
}

impl From<Outcome> for Refused {
    fn from(outcome: Outcome) -> Self {
        Self {
            outcome,
            shortfall: None,
        }
    }
}

pub(super) fn check(is_right: bool, otherwise: Outcome) -> Result<(), Outcome> {
    if is_right { Ok(()) } else { Err(otherwise) }
}

/// Refuses when less is available than needed.
pub(super) fn check_available(
    available: Option<Amount>,
    needed: Amount,
    otherwise: Outcome,
) -> Result<(), Refused> {
    match available {
        Some(available) if available < needed => Err(Refused {
            outcome: otherwise,
            shortfall: Some((needed, available)),
        }),
        _ => Ok(()),
    }
}

impl Ledger {
    /// Decides an action. A balancing transfer's amount is reduced, and a transfer that the owner did not
    /// sign is given the session that covers it.
    ///
    /// # Errors
    /// Why it may not be done; the first rule in the order of `docs/formats/operation.md`.
    pub(super) fn permit(
        &self,
        action: &mut Action,
        operation: &Operation,
        signed: &Signed<'_>,
        now: TimeNs,
    ) -> Result<(), Refused> {
        match action {
            Action::Move(transfer) => {
                self.permit_accounts(transfer, operation)?;
                transfer.session = self.payer(transfer.debit, SessionScope::TRANSFER, signed, now)?;
                self.permit_amount(transfer, operation)
            }
            Action::Reserve(transfer, _) => {
                self.permit_accounts(transfer, operation)?;
                transfer.session = self.payer(transfer.debit, SessionScope::PENDING, signed, now)?;
                self.permit_one_more_pending(transfer.debit)?;
                self.permit_amount(transfer, operation)
            }
            Action::Post(slot, amount) => {
                self.permit_match(*slot, operation)?;
                self.permit_post(*slot, signed, now)?;
                let record = &self.pendings.slab[*slot];
                let pending = record.amount.get();
                let is_whole = amount.0 == pending && record.chain_len.get() <= 1;
                check(is_whole || record.hold == 0, Outcome::HeldForReview)?;
                Ok(check(amount.0 <= pending, Outcome::PendingAmountExceeded)?)
            }
            Action::Void(slot) => {
                self.permit_match(*slot, operation)?;
                Ok(self.permit_void(*slot, signed, now)?)
            }
            Action::PostChain(slots) => {
                let had = self.pendings.slab[slots[0]].chain_len.get();
                let is_whole = u32::try_from(slots.len()) == Ok(had);
                check(is_whole, Outcome::PendingUnknown)?;
                Ok(slots
                    .iter()
                    .try_for_each(|slot| self.permit_post(*slot, signed, now))?)
            }
            Action::VoidChain(slots) => Ok(slots
                .iter()
                .try_for_each(|slot| self.permit_void(*slot, signed, now))?),
            Action::OpenAccount(opening) => Ok(self.permit_opening(opening, signed)?),
            Action::CreateAsset(opening, record) => {
                check(record.scale.get() <= SCALE_MAX, Outcome::ScaleTooLarge)?;
                self.permit_id(opening, signed)?;
                Ok(check(signed.has_id(&opening.owner), Outcome::NotAuthorized)?)
            }
            Action::CloseAccount(index) => Ok(self.permit_closing(*index, signed)?),
            Action::SetLimit(index, _) => Ok(self.permit_limit(*index, signed)?),
            Action::RevokeKey(key) => Ok(check(signed.has(*key), Outcome::NotAuthorized)?),
            Action::SetSession(grant) => Ok(self.permit_session(grant, signed, now)?),
            Action::EndSession(_, account) => Ok(self.permit_owner(*account, signed)?),
            Action::Report(account) => Ok(self.permit_report(*account, signed)?),
            Action::Upgrade(version, height) => {
                check(signed.has_id(&self.rules.authority), Outcome::NotAuthorized)?;
                let is_newer = *version > self.chain.protocol_version;
                Ok(check(
                    is_newer && *height > signed.height,
                    Outcome::UpgradeInvalid,
                )?)
            }
            Action::SetPolicy(account, policy) => Ok(self.permit_policy(*account, policy, signed)?),
            Action::SetModel(_, from) => {
                check(signed.has_id(&self.rules.authority), Outcome::NotAuthorized)?;
                let may = self.models.may_begin(*from, signed.height);
                Ok(check(may, Outcome::ModelInvalid)?)
            }
            Action::PreferModel(account, model) => Ok(self.permit_preference(*account, *model, signed)?),
            Action::Certify(certifying) => Ok(self.permit_certificate(certifying, signed)?),
            // Those who know the validators decide it: `seat`.
            Action::RegisterKey(_) | Action::Record | Action::Seat(_) => Ok(()),
        }
    }

    fn permit_accounts(&self, transfer: &Move, operation: &Operation) -> Result<(), Outcome> {
        let debit = &self.accounts[transfer.debit];
        let credit = &self.accounts[transfer.credit];
        check(!is_closed(debit), Outcome::DebitAccountClosed)?;
        check(!is_closed(credit), Outcome::CreditAccountClosed)?;
        let is_one = debit.asset == operation.asset && credit.asset == operation.asset;
        check(is_one, Outcome::AssetMismatch)
    }

    /// The session by which a signer may debit an account; `None` when its owner signed.
    pub(super) fn payer(
        &self,
        account: u32,
        scope: SessionScope,
        signed: &Signed<'_>,
        now: TimeNs,
    ) -> Result<Option<u32>, Outcome> {
        if signed.has(self.accounts[account].owner.get()) {
            return Ok(None);
        }
        self.session_for(account, scope, signed, now).map(Some)
    }

    /// The first signer's session that covers `scope` for the account; else what the first session lacks.
    fn session_for(
        &self,
        account: u32,
        scope: SessionScope,
        signed: &Signed<'_>,
        now: TimeNs,
    ) -> Result<u32, Outcome> {
        let mut refusal = None;
        for key in signed.keys() {
            let Some(slot) = self.sessions.find(account, *key) else {
                continue;
            };
            let session = &self.sessions.slab[slot];
            let lacks = match () {
                () if !SessionScope(session.scope.get()).has(scope) => Outcome::SessionScope,
                () if session.expires_ns.get() <= now.0 => Outcome::SessionExpired,
                // What a key granted ends with the key: whoever stole it may have granted it.
                () if self.is_revoked(self.accounts[account].owner.get(), signed) => Outcome::SessionExpired,
                () => return Ok(slot),
            };
            refusal = refusal.or(Some(lacks));
        }
        Err(refusal.unwrap_or(Outcome::NotAuthorized))
    }

    /// Whether a key was revoked at an earlier height.
    pub(super) fn is_revoked(&self, key: u32, signed: &Signed<'_>) -> bool {
        let revoked = self.keys.records[key].revoked.get();
        revoked != 0 && revoked < signed.height.0
    }

    /// Reduces a balancing amount, then checks cap, overflow, and both constraints.
    fn permit_amount(&self, transfer: &mut Move, operation: &Operation) -> Result<(), Refused> {
        let debit = &self.accounts[transfer.debit];
        let credit = &self.accounts[transfer.credit];
        transfer.amount = balanced(operation, debit, credit)?;
        let amount = transfer.amount;
        if let Some(slot) = transfer.session {
            let left = Amount(self.sessions.slab[slot].cap_left.get());
            check_available(Some(left), amount, Outcome::SessionCap)?;
        }
        let fits = |posted: u128, pending: u128| {
            let total = posted.checked_add(pending);
            total.and_then(|total| total.checked_add(amount.0)).is_some()
        };
        let both_fit = fits(debit.debits_posted.get(), debit.debits_pending.get())
            && fits(credit.credits_posted.get(), credit.credits_pending.get());
        check(both_fit, Outcome::AmountOverflow)?;
        let too_little = if debit.flags().has(AccountFlags::ISSUANCE) {
            Outcome::SupplyCapExceeded
        } else {
            Outcome::InsufficientFunds
        };
        let available = self.available_to_debit(transfer.debit, debit);
        check_available(available, amount, too_little)?;
        check_available(credit.available_to_credit(), amount, Outcome::CreditExceedsDebits)
    }

    pub(super) fn permit_one_more_pending(&self, debit: u32) -> Result<(), Outcome> {
        let limits = &self.rules.limits;
        let open = self.accounts[debit].pendings_open.get();
        check(
            open < limits.open_pending_account_max,
            Outcome::AccountPendingsFull,
        )?;
        let in_all = self.pendings.slab.used();
        check(in_all < limits.open_pending_chain_max, Outcome::ChainPendingsFull)
    }

    /// Whether the fields that a post or void gives are the pending's.
    fn permit_match(&self, slot: u32, operation: &Operation) -> Result<(), Outcome> {
        let pending = &self.pendings.slab[slot];
        let is_id = |given: u128, index: u32| given == 0 || AccountId(given) == self.accounts.id(index);
        let asset = operation.asset.get();
        let matches = is_id(operation.debit.get(), pending.debit.get())
            && is_id(operation.credit.get(), pending.credit.get())
            && (asset == 0 || asset == pending.asset.get());
        check(matches, Outcome::PendingMismatch)
    }

    fn permit_policy(
        &self,
        account: Option<u32>,
        policy: &Policy,
        signed: &Signed<'_>,
    ) -> Result<(), Outcome> {
        let Some(account) = account else {
            return check(signed.has_id(&self.rules.authority), Outcome::NotAuthorized);
        };
        check(!is_closed(&self.accounts[account]), Outcome::AccountClosed)?;
        self.permit_owner(account, signed)?;
        let policies = &self.policies.accounts;
        let is_known = policies.contains_key(&account) || *policy == Policy::default();
        check(is_known || policies.len() < POLICIES_MAX, Outcome::PoliciesFull)
    }

    /// Who says something about an account's past: its owner, or a reviewer of what it pays.
    fn permit_report(&self, account: u32, signed: &Signed<'_>) -> Result<(), Outcome> {
        let reviewers = [self.policies.chain.reviewer, self.policies.of(account).reviewer];
        let reviews = |key: &KeyId| *key != KeyId::NONE && signed.has_id(key);
        check(
            reviewers.iter().any(reviews) || self.permit_owner(account, signed).is_ok(),
            Outcome::NotAuthorized,
        )
    }

    fn permit_preference(
        &self,
        account: u32,
        model: Option<Hash>,
        signed: &Signed<'_>,
    ) -> Result<(), Outcome> {
        check(!is_closed(&self.accounts[account]), Outcome::AccountClosed)?;
        self.permit_owner(account, signed)?;
        let Some(model) = model else {
            return Ok(());
        };
        check(self.models.has_begun(model, signed.height), Outcome::ModelInvalid)?;
        let preferred = &self.models.preferred;
        let has_room = preferred.contains_key(&account) || preferred.len() < POLICIES_MAX;
        check(has_room, Outcome::PoliciesFull)
    }

    /// What is held waits for its reviewer; what is not, for none.
    fn permit_review(&self, pending: &PendingRecord, signed: &Signed<'_>) -> Result<bool, Outcome> {
        if pending.hold == 0 {
            return Ok(false);
        }
        let reviewer = self.reviewer_of(pending.debit.get(), pending.score);
        check(signed.has_id(&reviewer), Outcome::HeldForReview)?;
        Ok(true)
    }

    /// Either side may post: the payer hands over, or the payee takes what it was promised.
    fn permit_post(&self, slot: u32, signed: &Signed<'_>, now: TimeNs) -> Result<(), Outcome> {
        let pending = &self.pendings.slab[slot];
        check(!pending.is_over(now.0), Outcome::PendingExpired)?;
        if self.permit_review(pending, signed)? {
            return Ok(());
        }
        let settles = |side: u32| self.payer(side, SessionScope::SETTLE, signed, now);
        either(settles(pending.debit.get()), || settles(pending.credit.get()))
    }

    /// Only the payee may void, or whoever is both sides: a payer that could take its promise back alone
    /// would have promised nothing.
    fn permit_void(&self, slot: u32, signed: &Signed<'_>, now: TimeNs) -> Result<(), Outcome> {
        let pending = &self.pendings.slab[slot];
        check(!pending.is_over(now.0), Outcome::PendingExpired)?;
        if self.permit_review(pending, signed)? {
            return Ok(());
        }
        let settles = |side: u32| self.payer(side, SessionScope::SETTLE, signed, now);
        let (debit, credit) = (pending.debit.get(), pending.credit.get());
        let by_payee = settles(credit);
        if self.accounts[debit].owner == self.accounts[credit].owner {
            return either(by_payee, || settles(debit));
        }
        by_payee.map(|_| ())
    }

    fn permit_opening(&self, opening: &Opening, signed: &Signed<'_>) -> Result<(), Outcome> {
        self.permit_id(opening, signed)?;
        let hot = &opening.hot;
        let is_bounded = hot.flags().has(AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS);
        let is_credit = hot.limit.get() != 0 || !is_bounded;
        // Whoever may go below zero makes the asset's units: that is its issuer's to allow.
        check(
            !is_credit || self.issuer_signed(hot.asset.get(), signed),
            Outcome::NotAuthorized,
        )
    }

    /// Whether the account may have this id.
    fn permit_id(&self, opening: &Opening, signed: &Signed<'_>) -> Result<(), Outcome> {
        let id = AccountId(opening.cold.id.get());
        let asset = AssetId(opening.hot.asset.get());
        let derived = || AccountId::derive(&opening.owner, asset, opening.cold.user_data_64.get());
        let is_free = self.rules.account_ids == AccountIds::Free;
        // The collector's id is in genesis, so that no owner derives it.
        let is_collector = self.is_collector(id);
        check(
            is_free || is_collector || id == derived(),
            Outcome::AccountIdNotDerived,
        )?;
        // Whoever opens the collector's account collects the fees.
        check(
            !is_collector || signed.has_id(&self.rules.authority),
            Outcome::NotAuthorized,
        )
    }

    /// Whether it is the account that collects fees, or that bonds are pending towards.
    fn is_collector(&self, id: AccountId) -> bool {
        let (fees, has_bonds) = (&self.rules.fees, self.rules.has_bonds);
        id == fees.collector && (has_bonds || !fees.is_free())
    }

    fn issuer_signed(&self, asset: u32, signed: &Signed<'_>) -> bool {
        self.assets
            .find(AssetId(asset))
            .is_some_and(|asset| signed.has_id(&KeyId(asset.issuer)))
    }

    fn permit_closing(&self, index: u32, signed: &Signed<'_>) -> Result<(), Outcome> {
        let hot = &self.accounts[index];
        check(!is_closed(hot), Outcome::AccountClosed)?;
        let is_collector = self.is_collector(self.accounts.id(index));
        // Without its collector a chain could charge no fee, and so do nothing any more.
        check(!is_collector, Outcome::NotAuthorized)?;
        self.permit_owner(index, signed)?;
        let has_pending =
            hot.pendings_open.get() != 0 || hot.debits_pending.get() != 0 || hot.credits_pending.get() != 0;
        check(!has_pending, Outcome::AccountPending)
    }

    fn permit_limit(&self, index: u32, signed: &Signed<'_>) -> Result<(), Outcome> {
        let hot = &self.accounts[index];
        check(!is_closed(hot), Outcome::AccountClosed)?;
        // The limit of an issuance account is the asset's cap, which is a promise.
        let is_issuance = hot.flags().has(AccountFlags::ISSUANCE);
        let may = !is_issuance && self.issuer_signed(hot.asset.get(), signed);
        check(may, Outcome::NotAuthorized)
    }

    fn permit_session(&self, grant: &Grant, signed: &Signed<'_>, now: TimeNs) -> Result<(), Outcome> {
        check(!is_closed(&self.accounts[grant.account]), Outcome::AccountClosed)?;
        self.permit_owner(grant.account, signed)?;
        check(grant.scope != 0, Outcome::SessionScope)?;
        check(grant.expires_ns > now.0, Outcome::SessionExpired)?;
        let key = self.keys.find(&grant.key);
        let is_new = key.is_none_or(|key| self.sessions.find(grant.account, key).is_none());
        let is_full = self.sessions.slab.used() >= self.rules.limits.sessions_max;
        check(!(is_new && is_full), Outcome::SessionsFull)
    }

    fn permit_owner(&self, account: u32, signed: &Signed<'_>) -> Result<(), Outcome> {
        let owner = self.accounts[account].owner.get();
        check(signed.has(owner), Outcome::NotAuthorized)
    }
}

pub(super) fn is_closed(hot: &AccountHot) -> bool {
    hot.flags().has(AccountFlags::CLOSED)
}

/// Right if either is; else what is wrong with the first, unless that is only "no authority at all".
fn either(
    first: Result<Option<u32>, Outcome>,
    second: impl FnOnce() -> Result<Option<u32>, Outcome>,
) -> Result<(), Outcome> {
    let Err(wrong) = first else { return Ok(()) };
    match second() {
        Ok(_) => Ok(()),
        Err(other) if wrong == Outcome::NotAuthorized => Err(other),
        Err(_) => Err(wrong),
    }
}

/// The amount of a transfer: for a balancing one, what the constraint leaves. One that nothing bounds would
/// move all there can be, and overflows.
fn balanced(operation: &Operation, debit: &AccountHot, credit: &AccountHot) -> Result<Amount, Outcome> {
    let flags = operation.flags();
    let amount = Amount(operation.amount.get());
    let bounds = [
        (OperationFlags::BALANCING_DEBIT, debit.available_to_debit()),
        (OperationFlags::BALANCING_CREDIT, credit.available_to_credit()),
    ];
    let balances = bounds.iter().any(|(flag, _)| flags.has(*flag));
    let bounds = bounds.into_iter().filter(|(flag, _)| flags.has(*flag));
    let bound = bounds.filter_map(|(_, available)| available).min();
    match bound {
        Some(bound) => Ok(amount.min(bound)),
        None if balances && amount == Amount::MAX => Err(Outcome::AmountOverflow),
        None => Ok(amount),
    }
}
