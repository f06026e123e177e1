//! What a block does to validators, where several decide: who joins, leaves, bonds, signs with another key; what
//! offences cost; and who earns the fees.
//!
//! The standing knows who they are and what each has at stake. Here is the money behind it. A bond lies on its owner's
//! account as debits that are pending towards the reserve, which is the account that collects the fees: it is there,
//! cannot be paid twice, goes back by releasing it, and is lost by posting it.

use super::Ledger;
use super::apply::{Applied, Cause, Impossible};
use super::bonds::Bond;
use super::execute::Broken;
use super::index::ABSENT;
use super::permit::{Refused, check, check_available, is_closed};
use super::resolve::{Move, REVEALS_BYTES};
use super::signed::Signed;
use selfchain_types::account::AccountHot;
use selfchain_types::address::decode_address;
use selfchain_types::crypto::{PublicKey, Scheme};
use selfchain_types::quality::Network;
use selfchain_types::seam::standing::{Change, ChangeRefusal, Earner, Offence, Standing};
use selfchain_types::{AccountId, Amount, AssetId, Hash, Height, KeyId, Kind, Operation, Outcome, codec};
use std::sync::Arc;

/// What a block of several validators needs beside its envelopes.
pub struct Validators<'a> {
    /// How they stand. It has observed the block.
    pub standing: &'a mut (dyn Standing + 'static),
    /// Who the block proves to have misbehaved.
    pub offences: &'a [Offence],
}

/// A validator's bond in money, as the ledger holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BondState {
    /// Where it lies, and where rewards go.
    pub account: AccountId,
    /// Units that count.
    pub backing: u64,
    /// Units that wait to be given back.
    pub leaving: u64,
}

/// A change of the validators.
#[derive(Clone, Debug)]
pub(super) struct Seating {
    change: Change,
    /// The account that the operation names.
    account: Option<u32>,
    /// What it does to a bond, once it is permitted.
    money: Option<Money>,
    /// The checkpoint key that a validator gets, once it is permitted.
    checkpoint: Option<(u32, PublicKey)>,
}

/// What a change does to a bond.
#[derive(Clone, Copy, Debug)]
struct Money {
    member: u32,
    account: u32,
    /// Units to be locked.
    lock: u64,
    /// Units that count no more.
    release: u64,
}

/// What of the fees of the block under way is not its collector's alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Takings {
    /// The collector's dense index; [`ABSENT`] before the first fee.
    pub(super) collector: u32,
    pub(super) sum: u128,
}

impl Default for Takings {
    fn default() -> Self {
        Self {
            collector: ABSENT,
            sum: 0,
        }
    }
}

/// An offence costs one of so many parts of a bond, rounded up.
const PARTS_OF_A_BOND: u64 = 5;

/// The salt of the account, derived from its key, that earns for a validator without a bond in money.
const EARNINGS_SALT: u64 = 0;

impl From<ChangeRefusal> for Refused {
    fn from(refusal: ChangeRefusal) -> Self {
        let outcome = match refusal {
            ChangeRefusal::Taken => Outcome::ValidatorTaken,
            ChangeRefusal::Unknown => Outcome::ValidatorUnknown,
            ChangeRefusal::Full { .. } => Outcome::ValidatorsFull,
            ChangeRefusal::Bond { .. } => Outcome::BondInvalid,
            ChangeRefusal::Reveals => Outcome::RevealsInvalid,
            ChangeRefusal::Network => Outcome::NetworkInvalid,
            ChangeRefusal::Last => Outcome::LastValidator,
        };
        outcome.into()
    }
}

impl Ledger {
    /// The bond in money of the validator with this number.
    pub fn bond(&self, member: u32) -> Option<BondState> {
        self.bonds.get(member).map(|bond| BondState {
            account: self.accounts.id(bond.account),
            backing: bond.backing,
            leaving: bond.leaving,
        })
    }

    /// What an operation of validators would do.
    pub(super) fn resolve_seating(
        &self,
        kind: Kind,
        operation: &Operation,
        signed: &Signed<'_>,
    ) -> Result<Seating, Outcome> {
        let named = KeyId(operation.named());
        let account = match operation.pending.get() {
            0 => None,
            id => Some(self.known(id)?),
        };
        let bond = || u64::try_from(operation.amount.get()).map_err(|_| Outcome::BondInvalid);
        let attached = || {
            let bytes = operation.attachment(signed.attachments);
            let bytes = bytes.ok_or(Outcome::AttachmentRange)?;
            let (first, rest) = bytes
                .split_first_chunk::<REVEALS_BYTES>()
                .ok_or(Outcome::AttachmentInvalid)?;
            Ok((Hash(*first), rest))
        };
        let change = match kind {
            Kind::Join => {
                let (reveals, bytes) = attached()?;
                Change::Join {
                    key: self.key_of(operation.code.get(), &named, bytes)?,
                    bond: bond()?,
                    reveals,
                }
            }
            Kind::Rotate => {
                let (id, bytes) = attached()?;
                Change::Rotate {
                    validator: named,
                    key: self.key_of(operation.code.get(), &KeyId(id), bytes)?,
                }
            }
            Kind::Reveals => {
                let (reveals, rest) = attached()?;
                check(rest.is_empty(), Outcome::AttachmentInvalid)?;
                Change::Reveals {
                    validator: named,
                    reveals,
                }
            }
            Kind::Address => {
                let bytes = operation.attachment(signed.attachments);
                let bytes = bytes.ok_or(Outcome::AttachmentRange)?;
                Change::Address {
                    validator: named,
                    address: decode_address(bytes).map_err(|_| Outcome::AttachmentInvalid)?,
                }
            }
            Kind::CheckpointKey => {
                let bytes = operation.attachment(signed.attachments);
                let bytes = bytes.ok_or(Outcome::AttachmentRange)?;
                let scheme = Scheme::from_code(operation.code.get()).filter(|scheme| scheme.is_hybrid());
                let scheme = scheme.ok_or(Outcome::SchemeUnknown)?;
                Change::CheckpointKey {
                    validator: named,
                    key: PublicKey::new(scheme, bytes).map_err(|_| Outcome::KeyInvalid)?,
                }
            }
            Kind::SetQuality => {
                let bytes = operation.attachment(signed.attachments);
                let bytes = bytes.ok_or(Outcome::AttachmentRange)?;
                let network = Network::decode(bytes).map_err(|_| Outcome::NetworkInvalid)?;
                check(network.id() == operation.named(), Outcome::AttachmentInvalid)?;
                Change::Network {
                    network: Arc::new(network),
                }
            }
            _ => Change::Bond {
                validator: named,
                bond: bond()?,
            },
        };
        Ok(Seating {
            change,
            account,
            money: None,
            checkpoint: None,
        })
    }

    /// The public key of a validator with this id: these bytes, or without a scheme the registered one.
    fn key_of(&self, scheme: u16, id: &KeyId, bytes: &[u8]) -> Result<PublicKey, Outcome> {
        let key = if scheme == 0 {
            check(bytes.is_empty(), Outcome::AttachmentInvalid)?;
            self.public_key(id).cloned().ok_or(Outcome::KeyUnknown)?
        } else {
            let scheme = Scheme::from_code(scheme).ok_or(Outcome::SchemeUnknown)?;
            PublicKey::new(scheme, bytes).map_err(|_| Outcome::KeyInvalid)?
        };
        let is_for_votes = key.scheme().can_vote() && key.scheme().is_hybrid() == self.rules.pq_votes;
        check(is_for_votes, Outcome::SchemeUnknown)?;
        check(key.id() == *id, Outcome::KeyInvalid)?;
        Ok(key)
    }

    /// Decides a change of the validators, and makes it where they stand; the money follows when it is applied, and
    /// nothing may come between.
    ///
    /// # Errors
    /// Why it may not be made, and nothing has changed.
    pub(super) fn seat(
        &self,
        seating: &mut Seating,
        standing: &mut dyn Standing,
        signed: &Signed<'_>,
    ) -> Result<(), Refused> {
        match &seating.change {
            Change::Join { key, bond, .. } => {
                let (id, bond) = (key.id(), *bond);
                check(signed.has_id(&id), Outcome::NotAuthorized)?;
                let account = seating.account.ok_or(Outcome::BondAccount)?;
                self.permit_lock(account, bond, true, signed)?;
                standing.change(&seating.change)?;
                let member = standing.member(&id).ok_or(Outcome::ValidatorUnknown)?;
                seating.money = Some(Money {
                    member,
                    account,
                    lock: bond,
                    release: 0,
                });
            }
            Change::Bond { validator, bond } => {
                let member = standing.member(validator).ok_or(Outcome::ValidatorUnknown)?;
                let before = standing.holds(member).unwrap_or(0);
                let mut money =
                    self.permit_bond(seating.account, member, validator, (before, *bond), signed)?;
                standing.change(&seating.change)?;
                core::mem::swap(&mut seating.money, &mut money);
            }
            Change::Rotate { validator, key } => {
                let both = signed.has_id(validator) && signed.has_id(&key.id());
                check(both, Outcome::NotAuthorized)?;
                standing.change(&seating.change)?;
            }
            Change::Reveals { validator, .. } | Change::Address { validator, .. } => {
                check(signed.has_id(validator), Outcome::NotAuthorized)?;
                standing.change(&seating.change)?;
            }
            Change::CheckpointKey { validator, key } => {
                let both = signed.has_id(validator) && signed.has_id(&key.id());
                check(both, Outcome::NotAuthorized)?;
                standing.change(&seating.change)?;
                let member = standing.member(validator).ok_or(Outcome::ValidatorUnknown)?;
                check(self.checkpoints.takes(member, key), Outcome::KeyExists)?;
                seating.checkpoint = Some((member, key.clone()));
            }
            Change::Network { .. } => {
                check(signed.has_id(&self.rules.authority), Outcome::NotAuthorized)?;
                standing.change(&seating.change)?;
            }
            // No operation says this.
            Change::Forfeit { .. } => return Err(Outcome::NotAuthorized.into()),
        }
        Ok(())
    }

    /// More takes the validator and the owner of the money; less, either of them.
    fn permit_bond(
        &self,
        given: Option<u32>,
        member: u32,
        validator: &KeyId,
        (before, after): (u64, u64),
        signed: &Signed<'_>,
    ) -> Result<Option<Money>, Refused> {
        let record = self.bonds.get(member);
        let lies_on = record.map(|record| record.account);
        let is_there = given.is_none() || lies_on.is_none() || given == lies_on;
        check(is_there, Outcome::BondAccount)?;
        let account = lies_on.or(given);
        let lock = after.saturating_sub(before);
        let by_validator = signed.has_id(validator);
        let is_new = lies_on.is_none() && account.is_some();
        if lock > 0 || is_new {
            check(by_validator, Outcome::NotAuthorized)?;
            let account = account.ok_or(Outcome::BondAccount)?;
            self.permit_lock(account, lock, is_new, signed)?;
        } else {
            let by_owner = lies_on.is_some_and(|account| signed.has(self.accounts[account].owner.get()));
            check(by_validator || by_owner, Outcome::NotAuthorized)?;
        }
        // Money goes first, before what genesis gave.
        let less = before.saturating_sub(after);
        let release = record.map_or(0, |record| record.backing.min(less));
        Ok(account.map(|account| Money {
            member,
            account,
            lock,
            release,
        }))
    }

    /// Whether so many units of an account may be locked, by who signed.
    fn permit_lock(
        &self,
        account: u32,
        units: u64,
        is_new: bool,
        signed: &Signed<'_>,
    ) -> Result<(), Refused> {
        let (hot, amount) = (&self.accounts[account], Amount(u128::from(units)));
        check(!is_closed(hot), Outcome::AccountClosed)?;
        let asset = self.rules.fees.asset;
        check(AssetId(hot.asset.get()) == asset, Outcome::AssetMismatch)?;
        let reserve = self.reserve().filter(|reserve| *reserve != account);
        let reserve = &self.accounts[reserve.ok_or(Outcome::ReserveClosed)?];
        check(signed.has(hot.owner.get()), Outcome::NotAuthorized)?;
        if is_new {
            self.permit_one_more_pending(account)?;
        }
        let fits = fits(hot.debits_posted.get(), hot.debits_pending.get(), amount.0)
            && fits(
                reserve.credits_posted.get(),
                reserve.credits_pending.get(),
                amount.0,
            );
        check(fits, Outcome::AmountOverflow)?;
        check_available(hot.available_to_debit(), amount, Outcome::InsufficientFunds)?;
        check_available(
            reserve.available_to_credit(),
            amount,
            Outcome::CreditExceedsDebits,
        )
    }

    /// The account of the reserve: the collector's, once it is open in the fees' asset.
    fn reserve(&self) -> Option<u32> {
        let fees = &self.rules.fees;
        let reserve = self.accounts.find(fees.collector)?;
        let hot = &self.accounts[reserve];
        (AssetId(hot.asset.get()) == fees.asset && !is_closed(hot)).then_some(reserve)
    }

    /// Does to a bond what a change of the validators does.
    pub(super) fn apply_seating(
        &mut self,
        seating: &Seating,
        height: Height,
        cause: Cause,
    ) -> Result<Applied, Impossible> {
        if let Some((member, key)) = &seating.checkpoint {
            self.checkpoints.set(*member, key.clone());
        }
        let Some(money) = seating.money else {
            return Ok(Applied::default());
        };
        let known = self.bonds.get(money.member).copied();
        let mut bond = known.unwrap_or(Bond::on(money.account));
        bond.backing = bond
            .backing
            .checked_add(money.lock)
            .and_then(|backing| backing.checked_sub(money.release))
            .ok_or(Impossible::Overflow)?;
        if money.release > 0 {
            bond.leaving = bond.leaving.saturating_add(money.release);
            bond.since = height.next();
        }
        let accounts = if money.lock > 0 || known.is_none() {
            let reserve = self.reserve().ok_or(Impossible::Reserve)?;
            let (units, opens) = (u128::from(money.lock), u32::from(known.is_none()));
            self.change(money.account, |hot| {
                hot.debits_pending = hot.debits_pending.get().checked_add(units)?.into();
                hot.pendings_open = hot.pendings_open.get().checked_add(opens)?.into();
                Some(())
            })?;
            self.change(reserve, |hot| {
                hot.credits_pending = hot.credits_pending.get().checked_add(units)?.into();
                Some(())
            })?;
            self.remember(money.account, cause);
            self.remember(reserve, cause);
            Some((money.account, reserve))
        } else {
            None
        };
        self.bonds.set(money.member, bond);
        Ok(Applied {
            moved: Amount(u128::from(money.lock)),
            accounts,
            is_held: false,
        })
    }

    /// The checkpoint key of the validator with this number.
    pub fn checkpoint_key(&self, member: u32) -> Option<&PublicKey> {
        self.checkpoints.get(member)
    }

    /// Starts a block for validators: offences cost what they cost, then bonds that may go are given back.
    pub(super) fn open_bonds(
        &mut self,
        validators: &mut Validators<'_>,
        height: Height,
    ) -> Result<(), Broken> {
        let mut at = 0;
        let mut unlock =
            |ledger: &mut Self, member: u32, bond: Bond, posted: u64, released: u64, ends: bool| {
                let cause = Cause::Bond(at);
                at += 1;
                ledger
                    .unlock(bond.account, posted, released, ends, cause)
                    .map_err(|source| Broken::Impossible { cause, source })?;
                if ends {
                    ledger.bonds.remove(member);
                } else {
                    ledger.bonds.set(member, bond);
                }
                Ok(())
            };
        for offence in validators.offences {
            let Some(member) = validators.standing.member(&offence.validator) else {
                continue;
            };
            // Refused where it has left already, or is the last one: then there is nothing to take.
            let _refused = validators.standing.change(&Change::Forfeit { member });
            let is_last = validators.standing.holds(member).is_some_and(|bond| bond > 0);
            let known = self.bonds.get(member).copied();
            let counts = |bond: &Bond| !is_last && offence.height > bond.offended;
            if let Some(mut bond) = known.filter(counts) {
                let lost = bond.locked().div_ceil(PARTS_OF_A_BOND);
                if bond.backing > 0 {
                    bond.since = height.next();
                }
                (bond.leaving, bond.backing) = (bond.locked() - lost, 0);
                bond.offended = offence.height;
                unlock(self, member, bond, lost, 0, false)?;
            }
        }
        self.checkpoints
            .retain(|member| validators.standing.holds(member).is_some());
        let due: Vec<(u32, Bond, bool)> = self
            .bonds
            .iter()
            .filter_map(|(member, bond)| {
                let is_over = |height| validators.standing.validators_of(height).is_none();
                match validators.standing.holds(member) {
                    None => Some((member, *bond, true)),
                    Some(0) => None,
                    Some(_) => (bond.leaving > 0 && is_over(bond.since)).then_some((member, *bond, false)),
                }
            })
            .collect();
        for (member, mut bond, ends) in due {
            let released = if ends { bond.locked() } else { bond.leaving };
            bond.leaving = 0;
            unlock(self, member, bond, 0, released, ends)?;
        }
        Ok(())
    }

    /// Posts and releases units that are locked on an account.
    fn unlock(
        &mut self,
        account: u32,
        posted: u64,
        released: u64,
        ends: bool,
        cause: Cause,
    ) -> Result<(), Impossible> {
        let reserve = self.reserve().ok_or(Impossible::Reserve)?;
        let (posted, closes) = (u128::from(posted), u32::from(ends));
        let units = posted + u128::from(released);
        self.change(account, |hot| {
            hot.debits_pending = hot.debits_pending.get().checked_sub(units)?.into();
            hot.debits_posted = hot.debits_posted.get().checked_add(posted)?.into();
            hot.pendings_open = hot.pendings_open.get().checked_sub(closes)?.into();
            Some(())
        })?;
        self.change(reserve, |hot| {
            hot.credits_pending = hot.credits_pending.get().checked_sub(units)?.into();
            hot.credits_posted = hot.credits_posted.get().checked_add(posted)?.into();
            Some(())
        })?;
        self.remember(account, cause);
        self.remember(reserve, cause);
        Ok(())
    }

    /// Notes a fee: until the block ends it is not for its collector to spend.
    pub(super) fn take_fee(&mut self, fee: &Move) {
        let takings = &mut self.scratch.takings;
        takings.collector = fee.credit;
        takings.sum = takings.sum.saturating_add(fee.amount.0);
    }

    /// Ends a block for validators: pays its fees out as the standing says. What cannot be paid stays with the
    /// reserve, as does the reserve's own part.
    pub(super) fn pay_rewards(&mut self, standing: &dyn Standing) -> Result<(), Broken> {
        let Takings { collector, sum } = core::mem::take(&mut self.scratch.takings);
        if sum == 0 {
            return Ok(());
        }
        let mut left = sum;
        for (at, reward) in standing.rewards(Amount(sum)).into_iter().enumerate() {
            let Earner::Validator(validator) = reward.to else {
                continue;
            };
            // Rewards that sum to more than the fees would be a standing's mistake; the fees stay what they are.
            let Some(rest) = left.checked_sub(reward.amount.0) else {
                break;
            };
            left = rest;
            let payee = self.earns(standing, &validator);
            if let Some(payee) = payee.filter(|payee| self.may_earn(*payee, collector, reward.amount)) {
                let cause = Cause::Reward(codec::narrow(at));
                let posting = Move {
                    debit: collector,
                    credit: payee,
                    amount: reward.amount,
                    session: None,
                };
                self.apply_move(&posting, cause)
                    .map_err(|source| Broken::Impossible { cause, source })?;
            }
        }
        Ok(())
    }

    /// The account that earns for a validator: where its bond lies; without one the account that its key owns under
    /// the id derived from that key.
    fn earns(&self, standing: &dyn Standing, validator: &KeyId) -> Option<u32> {
        let bond = standing
            .member(validator)
            .and_then(|member| self.bonds.get(member));
        if let Some(bond) = bond {
            return Some(bond.account);
        }
        let id = AccountId::derive(validator, self.rules.fees.asset, EARNINGS_SALT);
        let account = self.accounts.find(id)?;
        let owner = self.keys.records[self.accounts[account].owner.get()].id;
        (owner == *validator).then_some(account)
    }

    fn may_earn(&self, payee: u32, collector: u32, amount: Amount) -> bool {
        let (from, to) = (&self.accounts[collector], &self.accounts[payee]);
        let has = |available: Option<Amount>| available.is_none_or(|available| amount <= available);
        payee != collector
            && to.asset == from.asset
            && !is_closed(to)
            && fits(from.debits_posted.get(), from.debits_pending.get(), amount.0)
            && fits(to.credits_posted.get(), to.credits_pending.get(), amount.0)
            && has(from.available_to_debit())
            && has(to.available_to_credit())
    }

    /// What a transfer may take from an account: not what this block's fees brought to it.
    pub(super) fn available_to_debit(&self, index: u32, hot: &AccountHot) -> Option<Amount> {
        let Takings { collector, sum } = self.scratch.takings;
        let available = hot.available_to_debit()?;
        Some(if index == collector {
            Amount(available.0.saturating_sub(sum))
        } else {
            available
        })
    }
}

fn fits(posted: u128, pending: u128, more: u128) -> bool {
    let total = posted.checked_add(pending);
    total.and_then(|total| total.checked_add(more)).is_some()
}
