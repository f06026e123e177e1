//! Changes the tables, and takes a linked chain's changes back. Decides nothing: what `permit` allowed and what
//! a block recorded are applied by the same code.

use super::Ledger;
use super::pendings::{HOLD_OF_PENDING, PendingRecord};
use super::permit::is_closed;
use super::resolve::{Action, Grant, Move, Opening, Reservation};
use super::slab::Placed;
use super::validators::Takings;
use selfchain_types::account::{AccountHot, Balances};
use selfchain_types::crypto::PublicKey;
use selfchain_types::key::{KeyRecord, SessionRecord};
use selfchain_types::risk::REASONS;
use selfchain_types::{AccountFlags, AccountId, Amount, Hash, Height, KeyId, Policy};
use thiserror::Error;
use zerocopy::FromZeros;

/// What made an account's totals change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A pending transfer expired: its position in the block's list of them.
    Expiry(u32),
    /// A fee: the envelope's position in the block.
    Fee(u32),
    /// An operation: its position across the block's envelopes.
    Operation(u32),
    /// A bond that was given back or lost: its position among them.
    Bond(u32),
    /// A reward: its position among the block's.
    Reward(u32),
}

/// A change of the totals of an account that keeps its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryChange {
    /// The account.
    pub account: AccountId,
    /// What changed it.
    pub cause: Cause,
    /// Its totals after the change.
    pub balances: Balances,
}

/// A change that a ledger in order cannot make: a record that is not of this chain, or a fault here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Impossible {
    /// A total would pass 2^128.
    #[error("a total would overflow")]
    Overflow,
    /// More would be released than is pending.
    #[error("more would be released than is pending")]
    Underflow,
    /// A session would pay more than its cap leaves.
    #[error("a session would pay more than its cap leaves")]
    SessionCap,
    /// The account has something pending, or is closed already.
    #[error("the account cannot be closed")]
    Closing,
    /// Money is bonded, and the account of the reserve is not open.
    #[error("the reserve's account is not open")]
    Reserve,
}

/// What an applied action says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Applied {
    /// The amount that moved.
    pub(super) moved: Amount,
    /// The accounts whose totals it changed: those to debit and to credit; of a chain the first member's.
    pub(super) accounts: Option<(u32, u32)>,
    /// Whether it waits for its reviewer.
    pub(super) is_held: bool,
}

/// What lives no longer than a block, or than a linked chain in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    pub(super) history: Vec<HistoryChange>,
    pub(super) registered: Vec<PublicKey>,
    pub(super) takings: Takings,
    chain: Option<Chain>,
    /// Makes the next transfer credit one unit too much, to see the check of conservation fire.
    #[cfg(test)]
    pub(super) corrupts: bool,
}

/// A linked chain that is under way.
#[derive(Clone, Debug)]
struct Chain {
    undo: Vec<Undo>,
    /// The slot of its last pending that is open.
    last: Option<u32>,
    history_len: usize,
    registered_len: usize,
}

/// A change to take back.
#[derive(Clone, Debug)]
enum Undo {
    Account(u32, AccountHot),
    AccountOpened,
    KeyAdded,
    Key(u32, KeyRecord),
    Registered(u32),
    AssetAdded,
    PendingAdded(Placed),
    Pending(u32, PendingRecord),
    PendingRemoved(u32, PendingRecord),
    SessionAdded(Placed),
    Session(u32, SessionRecord),
    SessionRemoved(u32, SessionRecord),
    Upgrade(u16, Height),
    Policy(Option<u32>, Policy),
    Models(Vec<(Hash, Height)>),
    /// The model that an account preferred.
    Preference(u32, Option<Hash>),
}

impl Ledger {
    /// Does what was resolved.
    ///
    /// # Errors
    /// [`Impossible`]: the tables may then be changed in part and are of no use any more.
    pub(super) fn apply(
        &mut self,
        action: &Action,
        height: Height,
        cause: Cause,
    ) -> Result<Applied, Impossible> {
        match action {
            Action::Move(transfer) => self.apply_move(transfer, cause),
            Action::Reserve(transfer, reservation) => {
                self.apply_reservation(transfer, reservation, height, cause)
            }
            Action::Post(slot, _) if self.was_pending(*slot) => Ok(self.release(*slot)),
            Action::Post(slot, amount) => self.settle(*slot, *amount, cause),
            Action::Void(slot) => self.settle(*slot, Amount::ZERO, cause),
            Action::PostChain(slots) => self.settle_chain(slots, cause, true),
            Action::VoidChain(slots) => self.settle_chain(slots, cause, false),
            Action::OpenAccount(opening) => {
                self.open(opening);
                Ok(Applied::default())
            }
            Action::CreateAsset(opening, record) => {
                self.open(opening);
                self.assets.add(*record);
                self.note(|| Undo::AssetAdded);
                Ok(Applied::default())
            }
            Action::CloseAccount(index) => self.close(*index),
            Action::SetLimit(index, limit) => {
                self.change(*index, |hot| {
                    hot.limit = limit.0.into();
                    Some(())
                })?;
                Ok(Applied::default())
            }
            Action::RegisterKey(public) => {
                self.register(public, height);
                Ok(Applied::default())
            }
            Action::RevokeKey(key) => {
                let record = self.keys.records[*key];
                self.note(|| Undo::Key(*key, record));
                self.revoke(*key, height);
                Ok(Applied::default())
            }
            Action::SetSession(grant) => {
                self.set_session(grant);
                Ok(Applied::default())
            }
            Action::EndSession(slot, _) => {
                let record = self.sessions.remove(*slot);
                self.note(|| Undo::SessionRemoved(*slot, record));
                Ok(Applied::default())
            }
            Action::Upgrade(version, at) => {
                let (old, old_at) = self.chain.upgrade;
                self.note(|| Undo::Upgrade(old, old_at));
                self.chain.upgrade = (*version, *at);
                Ok(Applied::default())
            }
            Action::SetPolicy(account, policy) => {
                let before = self.policies.set(*account, *policy);
                self.note(|| Undo::Policy(*account, before));
                Ok(Applied::default())
            }
            Action::SetModel(model, from) => {
                let before = self.models.set(*model, *from);
                self.policies.count_change();
                self.note(|| Undo::Models(before));
                Ok(Applied::default())
            }
            Action::PreferModel(account, model) => {
                let before = self.models.prefer(*account, *model);
                self.policies.count_change();
                self.note(|| Undo::Preference(*account, before));
                Ok(Applied::default())
            }
            Action::Seat(seating) => self.apply_seating(seating, height, cause),
            Action::Certify(certifying) => {
                self.certify(certifying, height);
                for seating in certifying.seats() {
                    self.apply_seating(seating, height, cause)?;
                }
                Ok(Applied::default())
            }
            Action::Report(_) | Action::Record => Ok(Applied::default()),
        }
    }

    /// Moves an amount without asking: a plain transfer or a fee.
    pub(super) fn apply_move(&mut self, transfer: &Move, cause: Cause) -> Result<Applied, Impossible> {
        let Move { debit, credit, .. } = *transfer;
        let amount = transfer.amount.0;
        self.charge_session(transfer)?;
        self.change(debit, |hot| {
            hot.debits_posted = hot.debits_posted.get().checked_add(amount)?.into();
            Some(())
        })?;
        let credited = self.credited(amount);
        self.change(credit, |hot| {
            hot.credits_posted = hot.credits_posted.get().checked_add(credited)?.into();
            Some(())
        })?;
        Ok(self.moved(transfer, cause))
    }

    #[cfg(not(test))]
    #[inline]
    pub(super) fn credited(&self, amount: u128) -> u128 {
        amount
    }

    #[cfg(test)]
    pub(super) fn credited(&mut self, amount: u128) -> u128 {
        amount + u128::from(core::mem::take(&mut self.scratch.corrupts))
    }

    fn apply_reservation(
        &mut self,
        transfer: &Move,
        reservation: &Reservation,
        height: Height,
        cause: Cause,
    ) -> Result<Applied, Impossible> {
        let amount = transfer.amount.0;
        self.charge_session(transfer)?;
        self.change(transfer.debit, |hot| {
            hot.debits_pending = hot.debits_pending.get().checked_add(amount)?.into();
            hot.pendings_open = hot.pendings_open.get().checked_add(1)?.into();
            Some(())
        })?;
        self.change(transfer.credit, |hot| {
            hot.credits_pending = hot.credits_pending.get().checked_add(amount)?.into();
            Some(())
        })?;
        let previous = self.scratch.chain.as_ref().and_then(|chain| chain.last);
        let mut record = PendingRecord::new_zeroed();
        record.id = reservation.id.into();
        record.amount = amount.into();
        record.deadline_ns = reservation.deadline_ns.into();
        record.opened = height.0.into();
        record.debit = transfer.debit.into();
        record.credit = transfer.credit.into();
        record.asset = self.accounts[transfer.debit].asset;
        record.chain_previous = previous.map_or(0, |slot| slot + 1).into();
        record.chain_len = 1.into();
        if let Some(hold) = reservation.hold {
            (record.hold, record.score, record.reasons) = (hold.way, hold.score, hold.reasons);
        }
        let placed = self.pendings.insert(record);
        self.note(|| Undo::PendingAdded(placed));
        if let Some(previous) = previous {
            self.link(previous, |record| record.chain_next = (placed.slot + 1).into());
        }
        if let Some(chain) = &mut self.scratch.chain {
            chain.last = Some(placed.slot);
        }
        Ok(Applied {
            is_held: reservation.hold.is_some(),
            ..self.moved(transfer, cause)
        })
    }

    fn charge_session(&mut self, transfer: &Move) -> Result<(), Impossible> {
        let Some(slot) = transfer.session else {
            return Ok(());
        };
        let before = self.sessions.slab[slot];
        let left = before.cap_left.get().checked_sub(transfer.amount.0);
        let mut record = before;
        record.cap_left = left.ok_or(Impossible::SessionCap)?.into();
        self.note(|| Undo::Session(slot, before));
        self.sessions.set(slot, record);
        Ok(())
    }

    fn moved(&mut self, transfer: &Move, cause: Cause) -> Applied {
        self.remember(transfer.debit, cause);
        self.remember(transfer.credit, cause);
        Applied {
            moved: transfer.amount,
            accounts: Some((transfer.debit, transfer.credit)),
            is_held: false,
        }
    }

    /// Ends a pending: `posted` of it moves, the rest is released.
    pub(super) fn settle(&mut self, slot: u32, posted: Amount, cause: Cause) -> Result<Applied, Impossible> {
        let record = self.pendings.slab[slot];
        let (debit, credit) = (record.debit.get(), record.credit.get());
        let (amount, posted) = (record.amount.get(), posted.0);
        if posted > amount {
            return Err(Impossible::Underflow);
        }
        self.change(debit, |hot| {
            hot.debits_pending = hot.debits_pending.get().checked_sub(amount)?.into();
            hot.debits_posted = hot.debits_posted.get().checked_add(posted)?.into();
            hot.pendings_open = hot.pendings_open.get().checked_sub(1)?.into();
            Some(())
        })?;
        self.change(credit, |hot| {
            hot.credits_pending = hot.credits_pending.get().checked_sub(amount)?.into();
            hot.credits_posted = hot.credits_posted.get().checked_add(posted)?.into();
            Some(())
        })?;
        self.unlink(&record, slot);
        let record = self.pendings.remove(slot);
        self.note(|| Undo::PendingRemoved(slot, record));
        self.remember(debit, cause);
        self.remember(credit, cause);
        Ok(Applied {
            moved: Amount(posted),
            accounts: Some((debit, credit)),
            is_held: false,
        })
    }

    fn settle_chain(&mut self, slots: &[u32], cause: Cause, posts: bool) -> Result<Applied, Impossible> {
        let mut all = Applied::default();
        let mut released = Vec::new();
        for slot in slots {
            let one = match posts {
                true if self.was_pending(*slot) => {
                    released.push(*slot);
                    self.release(*slot)
                }
                true => self.settle(*slot, Amount(self.pendings.slab[*slot].amount.get()), cause)?,
                false => self.settle(*slot, Amount::ZERO, cause)?,
            };
            all.moved = Amount(all.moved.0.saturating_add(one.moved.0));
            all.accounts = all.accounts.or(one.accounts);
        }
        // What stays pending is a chain of its own.
        let left = selfchain_types::codec::narrow(released.len());
        for slot in released {
            self.link(slot, |record| record.chain_len = left.into());
        }
        Ok(all)
    }

    /// Whether it is held and was a pending transfer by itself.
    fn was_pending(&self, slot: u32) -> bool {
        self.pendings.slab[slot].hold == HOLD_OF_PENDING
    }

    /// Makes a held pending transfer an ordinary one, which moves nothing.
    fn release(&mut self, slot: u32) -> Applied {
        self.link(slot, |record| {
            (record.hold, record.score, record.reasons) = (0, 0, [0; REASONS]);
        });
        let record = &self.pendings.slab[slot];
        Applied {
            moved: Amount::ZERO,
            accounts: Some((record.debit.get(), record.credit.get())),
            is_held: false,
        }
    }

    /// Takes a pending out of its chain's list.
    fn unlink(&mut self, record: &PendingRecord, slot: u32) {
        let (previous, next) = (record.chain_previous, record.chain_next);
        if let Some(previous) = previous.get().checked_sub(1) {
            self.link(previous, |record| record.chain_next = next);
        }
        if let Some(next) = next.get().checked_sub(1) {
            self.link(next, |record| record.chain_previous = previous);
        }
        if let Some(chain) = self
            .scratch
            .chain
            .as_mut()
            .filter(|chain| chain.last == Some(slot))
        {
            chain.last = previous.get().checked_sub(1);
        }
    }

    /// Changes where a pending lies in its chain.
    fn link(&mut self, slot: u32, change: impl FnOnce(&mut PendingRecord)) {
        let before = self.pendings.slab[slot];
        self.note(|| Undo::Pending(slot, before));
        let mut record = before;
        change(&mut record);
        self.pendings.set(slot, record);
    }

    fn open(&mut self, opening: &Opening) {
        let mut hot = opening.hot;
        hot.owner = self.mention(&opening.owner).into();
        self.accounts.open(hot, &opening.cold);
        self.note(|| Undo::AccountOpened);
    }

    /// The number of a key, which gets a record when it is named for the first time.
    pub(super) fn mention(&mut self, key: &KeyId) -> u32 {
        if let Some(index) = self.keys.find(key) {
            return index;
        }
        let index = self.keys.add(KeyRecord::new(*key));
        self.note(|| Undo::KeyAdded);
        index
    }

    fn close(&mut self, index: u32) -> Result<Applied, Impossible> {
        let hot = &self.accounts[index];
        if is_closed(hot) || hot.pendings_open.get() != 0 {
            return Err(Impossible::Closing);
        }
        self.change(index, |hot| {
            hot.flags = hot.flags().with(AccountFlags::CLOSED).0.into();
            Some(())
        })?;
        Ok(Applied::default())
    }

    fn register(&mut self, public: &PublicKey, height: Height) {
        let index = self.mention(&public.id());
        let before = self.keys.records[index];
        self.note(|| Undo::Key(index, before));
        let record = self.keys.change(index);
        record.registered = height.0.into();
        record.scheme = public.scheme().code().into();
        self.keys.remember(index, public.clone());
        self.note(|| Undo::Registered(index));
        self.scratch.registered.push(public.clone());
    }

    fn set_session(&mut self, grant: &Grant) {
        let key_index = self.mention(&grant.key);
        let mut record = SessionRecord::new_zeroed();
        record.key = grant.key;
        record.account = self.accounts.id(grant.account).0.into();
        record.cap_left = grant.cap.0.into();
        record.expires_ns = grant.expires_ns.into();
        record.scope = grant.scope.into();
        record.account_index = grant.account.into();
        record.key_index = key_index.into();
        match self.sessions.find(grant.account, key_index) {
            Some(slot) => {
                let before = self.sessions.slab[slot];
                self.note(|| Undo::Session(slot, before));
                self.sessions.set(slot, record);
            }
            None => {
                let placed = self.sessions.insert(record);
                self.note(|| Undo::SessionAdded(placed));
            }
        }
    }

    /// Changes an account's hot half.
    pub(super) fn change(
        &mut self,
        index: u32,
        change: impl FnOnce(&mut AccountHot) -> Option<()>,
    ) -> Result<(), Impossible> {
        if let Some(chain) = &mut self.scratch.chain {
            chain.undo.push(Undo::Account(index, self.accounts[index]));
        }
        self.accounts.change(index, change).ok_or(Impossible::Overflow)
    }

    /// Appends to the history of an account that keeps one.
    #[inline]
    pub(super) fn remember(&mut self, index: u32, cause: Cause) {
        let hot = &self.accounts[index];
        if hot.flags().has(AccountFlags::HISTORY) {
            let balances = hot.balances();
            self.scratch.history.push(HistoryChange {
                account: self.accounts.id(index),
                cause,
                balances,
            });
        }
    }

    /// Notes how to take the last change back, inside a linked chain.
    fn note(&mut self, undo: impl FnOnce() -> Undo) {
        if let Some(chain) = &mut self.scratch.chain {
            chain.undo.push(undo());
        }
    }

    /// Starts a linked chain.
    pub(super) fn begin_chain(&mut self) {
        self.scratch.chain = Some(Chain {
            undo: Vec::new(),
            last: None,
            history_len: self.scratch.history.len(),
            registered_len: self.scratch.registered.len(),
        });
    }

    /// Whether a linked chain is under way.
    pub(super) fn is_in_chain(&self) -> bool {
        self.scratch.chain.is_some()
    }

    /// Keeps what the linked chain did. Its pendings learn how many they are.
    pub(super) fn keep_chain(&mut self) {
        let Some(chain) = self.scratch.chain.take() else {
            return;
        };
        let mut slots = Vec::new();
        let mut at = chain.last;
        while let Some(slot) = at {
            slots.push(slot);
            at = self.pendings.slab[slot].chain_previous.get().checked_sub(1);
        }
        let len = selfchain_types::codec::narrow(slots.len());
        for slot in slots {
            self.link(slot, |record| record.chain_len = len.into());
        }
    }

    /// Takes back what the linked chain did, the last first.
    pub(super) fn roll_chain_back(&mut self) {
        let Some(chain) = self.scratch.chain.take() else {
            return;
        };
        self.scratch.history.truncate(chain.history_len);
        self.scratch.registered.truncate(chain.registered_len);
        for undo in chain.undo.into_iter().rev() {
            match undo {
                Undo::Account(index, before) => self.accounts.change(index, |hot| *hot = before),
                Undo::AccountOpened => self.accounts.undo_open(),
                Undo::KeyAdded => self.keys.undo_add(),
                Undo::Key(index, record) => *self.keys.change(index) = record,
                Undo::Registered(index) => self.keys.forget(index),
                Undo::AssetAdded => self.assets.undo_add(),
                Undo::PendingAdded(placed) => self.pendings.undo_insert(placed),
                Undo::Pending(slot, record) => self.pendings.set(slot, record),
                Undo::PendingRemoved(slot, record) => self.pendings.undo_remove(slot, record),
                Undo::SessionAdded(placed) => self.sessions.undo_insert(placed),
                Undo::Session(slot, record) => self.sessions.set(slot, record),
                Undo::SessionRemoved(slot, record) => self.sessions.undo_remove(slot, record),
                Undo::Upgrade(version, height) => self.chain.upgrade = (version, height),
                Undo::Policy(account, before) => self.policies.undo_set(account, before),
                Undo::Preference(account, before) => {
                    self.models.prefer(account, before);
                    self.policies.undo_count();
                }
                Undo::Models(before) => {
                    self.models.records = before;
                    self.policies.undo_count();
                }
            }
        }
    }
}
