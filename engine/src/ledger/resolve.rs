//! Finds what an operation names and says what it would do; whether it may is for `permit`.

use super::Ledger;
use super::signed::Signed;
use super::validators::Seating;
use selfchain_types::account::{AccountCold, AccountHot};
use selfchain_types::asset::AssetRecord;
use selfchain_types::crypto::{PublicKey, Scheme};
use selfchain_types::risk::REASONS;
use selfchain_types::{
    AccountFlags, AccountId, Amount, AssetId, Hash, Height, KeyId, Kind, Operation, OperationFlags, Outcome,
    Policy, TimeNs,
};
use zerocopy::FromZeros;

/// What an operation does, with everything found that it names.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// Moves an amount.
    Move(Move),
    /// Reserves an amount.
    Reserve(Move, Reservation),
    /// Posts so much of the pending in a slot.
    Post(u32, Amount),
    /// Voids the pending in a slot.
    Void(u32),
    /// Posts all of every pending of a chain.
    PostChain(Vec<u32>),
    /// Voids every pending of a chain that is still open.
    VoidChain(Vec<u32>),
    /// Opens an account.
    OpenAccount(Opening),
    /// Creates an asset and opens its issuance account.
    CreateAsset(Opening, AssetRecord),
    /// Closes an account.
    CloseAccount(u32),
    /// Sets an account's limit.
    SetLimit(u32, Amount),
    /// Registers a public key.
    RegisterKey(PublicKey),
    /// Revokes a key.
    RevokeKey(u32),
    /// Gives a key a session, or changes it.
    SetSession(Grant),
    /// Ends the session in a slot, which is for an account.
    EndSession(u32, u32),
    /// Schedules a protocol version.
    Upgrade(u16, Height),
    /// Sets the chain's policy, or an account's.
    SetPolicy(Option<u32>, Policy),
    /// Lets a model decide from a height on.
    SetModel(Hash, Height),
    /// Lets an account prefer a model, or none.
    PreferModel(u32, Option<Hash>),
    /// Changes who the validators are, or what they have.
    Seat(Seating),
    /// Says something about an account's past.
    Report(u32),
    /// Says something that only the log keeps.
    Record,
}

/// An amount, from where, to where, and by which session if not by the owner.
#[derive(Clone, Copy, Debug)]
pub(super) struct Move {
    pub(super) debit: u32,
    pub(super) credit: u32,
    pub(super) amount: Amount,
    pub(super) session: Option<u32>,
}

/// What a pending transfer has beside its move.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reservation {
    pub(super) id: u128,
    pub(super) deadline_ns: u64,
    pub(super) hold: Option<Hold>,
}

/// That a reservation waits for its reviewer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    /// [`super::pendings::HOLD_OF_PLAIN`] or the other.
    pub(super) way: u8,
    pub(super) score: u8,
    pub(super) reasons: [u8; REASONS],
}

/// An account to be opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opening {
    pub(super) owner: KeyId,
    pub(super) hot: AccountHot,
    pub(super) cold: AccountCold,
}

/// A session to be set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    pub(super) account: u32,
    pub(super) key: KeyId,
    pub(super) cap: Amount,
    pub(super) scope: u32,
    pub(super) expires_ns: u64,
}

impl Action {
    /// How many of a block's effects it takes.
    pub(super) fn effects(&self) -> usize {
        match self {
            Self::PostChain(slots) | Self::VoidChain(slots) => slots.len(),
            _ => 1,
        }
    }
}

impl Ledger {
    /// What an operation whose record is in order would do.
    ///
    /// # Errors
    /// The outcome, when something that it names is not there, or is where it should not be.
    pub(super) fn resolve(
        &self,
        kind: Kind,
        operation: &Operation,
        signed: &Signed<'_>,
        now: TimeNs,
    ) -> Result<Action, Outcome> {
        match kind {
            Kind::Transfer => self.resolve_transfer(operation, now),
            Kind::OpenAccount => self.resolve_opening(operation, signed),
            Kind::CreateAsset => self.resolve_asset(operation, signed),
            Kind::CloseAccount => Ok(Action::CloseAccount(self.known(operation.id.get())?)),
            Kind::SetLimit => {
                let limit = Amount(operation.amount.get());
                Ok(Action::SetLimit(self.known(operation.id.get())?, limit))
            }
            Kind::RegisterKey => self.resolve_key(operation, signed),
            Kind::RevokeKey => {
                let key = self.keys.find(&KeyId(operation.named()));
                key.map(Action::RevokeKey).ok_or(Outcome::KeyUnknown)
            }
            Kind::SetSession => self.resolve_session(operation),
            Kind::AnnounceNode => {
                let bytes = operation.attachment(signed.attachments);
                let len = bytes.ok_or(Outcome::AttachmentRange)?.len();
                let is_right = (1..=ANNOUNCEMENT_BYTES_MAX).contains(&len);
                is_right
                    .then_some(Action::Record)
                    .ok_or(Outcome::AttachmentInvalid)
            }
            Kind::Anchor => Ok(Action::Record),
            Kind::Report if !matches!(operation.code.get(), 1 | 2) => Err(Outcome::ReportInvalid),
            Kind::Report => Ok(Action::Report(self.known(operation.pending.get())?)),
            Kind::Upgrade => Ok(Action::Upgrade(
                operation.code.get(),
                Height(operation.effective_ns.get()),
            )),
            Kind::SetPolicy => {
                let policy = Policy::of(operation).ok_or(Outcome::PolicyInvalid)?;
                let account = match operation.pending.get() {
                    0 => None,
                    id => Some(self.known(id)?),
                };
                Ok(Action::SetPolicy(account, policy))
            }
            Kind::SetModel if operation.pending.get() != 0 => {
                let account = self.known(operation.pending.get())?;
                let model = Some(operation.named()).filter(|model| *model != Hash::ZERO);
                Ok(Action::PreferModel(account, model))
            }
            Kind::SetModel => {
                let from = Height(operation.effective_ns.get());
                Ok(Action::SetModel(operation.named(), from))
            }
            Kind::CheckpointKey if !self.rules.has_checkpoints => Err(Outcome::KindUnknown),
            Kind::Join
            | Kind::Bond
            | Kind::Rotate
            | Kind::Reveals
            | Kind::Address
            | Kind::SetQuality
            | Kind::CheckpointKey => {
                self.resolve_seating(kind, operation, signed).map(Action::Seat)
            }
        }
    }

    pub(super) fn known(&self, id: u128) -> Result<u32, Outcome> {
        self.accounts.find(AccountId(id)).ok_or(Outcome::AccountUnknown)
    }

    fn resolve_transfer(&self, operation: &Operation, now: TimeNs) -> Result<Action, Outcome> {
        let flags = operation.flags();
        let amount = Amount(operation.amount.get());
        if flags.has(OperationFlags::CHAIN) {
            let slots = self.chain_of(operation.pending.get())?;
            let posts = flags.has(OperationFlags::POST);
            return Ok(if posts {
                Action::PostChain(slots)
            } else {
                Action::VoidChain(slots)
            });
        }
        if flags.has(OperationFlags::POST) {
            let slot = self.open_pending(operation.pending.get())?;
            let pending = Amount(self.pendings.slab[slot].amount.get());
            return Ok(Action::Post(
                slot,
                if amount == Amount::MAX { pending } else { amount },
            ));
        }
        if flags.has(OperationFlags::VOID) {
            return self.open_pending(operation.pending.get()).map(Action::Void);
        }
        let reserves = flags.has(OperationFlags::PENDING);
        if reserves && self.pendings.find(operation.id.get()).is_some() {
            return Err(Outcome::PendingExists);
        }
        let found = |id: AccountId, unknown: Outcome| self.accounts.find(id).ok_or(unknown);
        let transfer = Move {
            debit: found(operation.debit_account(), Outcome::DebitAccountUnknown)?,
            credit: found(operation.credit_account(), Outcome::CreditAccountUnknown)?,
            amount,
            session: None,
        };
        if !reserves {
            return Ok(Action::Move(transfer));
        }
        let reservation = Reservation {
            id: operation.id.get(),
            deadline_ns: match operation.timeout_s.get() {
                0 => 0,
                seconds => now.plus_seconds(seconds).ok_or(Outcome::TimeoutOverflow)?.0,
            },
            hold: None,
        };
        Ok(Action::Reserve(transfer, reservation))
    }

    fn open_pending(&self, id: u128) -> Result<u32, Outcome> {
        self.pendings.find(id).ok_or(Outcome::PendingUnknown)
    }

    /// The slots of the open members of the chain whose first open member this is, in order.
    fn chain_of(&self, id: u128) -> Result<Vec<u32>, Outcome> {
        let first = self.open_pending(id)?;
        if self.pendings.slab[first].chain_previous.get() != 0 {
            return Err(Outcome::PendingMismatch);
        }
        let mut slots = vec![first];
        let mut next = self.pendings.slab[first].chain_next.get();
        while let Some(slot) = next.checked_sub(1) {
            slots.push(slot);
            next = self.pendings.slab[slot].chain_next.get();
        }
        Ok(slots)
    }

    fn resolve_opening(&self, operation: &Operation, signed: &Signed<'_>) -> Result<Action, Outcome> {
        if self.accounts.find(AccountId(operation.id.get())).is_some() {
            return Err(Outcome::AccountExists);
        }
        let asset = AssetId(operation.asset.get());
        if self.assets.find(asset).is_none() {
            return Err(Outcome::AssetUnknown);
        }
        let flags = u16::try_from(operation.timeout_s.get()).map_err(|_| Outcome::FlagsUnknown)?;
        let mut opening = opening(operation, signed, AccountFlags(flags));
        opening.cold.code = operation.code;
        Ok(Action::OpenAccount(opening))
    }

    fn resolve_asset(&self, operation: &Operation, signed: &Signed<'_>) -> Result<Action, Outcome> {
        if self.accounts.find(AccountId(operation.id.get())).is_some() {
            return Err(Outcome::AccountExists);
        }
        if self.assets.find(AssetId(operation.asset.get())).is_some() {
            return Err(Outcome::AssetExists);
        }
        let flags = AccountFlags::ISSUANCE.with(AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS);
        let opening = opening(operation, signed, flags);
        let mut record = AssetRecord::new_zeroed();
        record.id = operation.asset;
        record.scale = operation.code;
        record.issuance = self.accounts.len().into();
        record.issuer = opening.owner.0;
        Ok(Action::CreateAsset(opening, record))
    }

    fn resolve_key(&self, operation: &Operation, signed: &Signed<'_>) -> Result<Action, Outcome> {
        let scheme = Scheme::from_code(operation.code.get()).ok_or(Outcome::SchemeUnknown)?;
        let bytes = operation
            .attachment(signed.attachments)
            .ok_or(Outcome::AttachmentRange)?;
        let public = PublicKey::new(scheme, bytes).map_err(|_| Outcome::KeyInvalid)?;
        if public.id().0 != operation.named() {
            return Err(Outcome::KeyInvalid);
        }
        let index = self.keys.find(&public.id());
        if index.is_some_and(|index| self.keys.records[index].registered.get() != 0) {
            return Err(Outcome::KeyExists);
        }
        Ok(Action::RegisterKey(public))
    }

    fn resolve_session(&self, operation: &Operation) -> Result<Action, Outcome> {
        let account = self.known(operation.pending.get())?;
        let key = KeyId(operation.named());
        if operation.amount.get() == 0 {
            let index = self.keys.find(&key);
            let slot = index.and_then(|index| self.sessions.find(account, index));
            let slot = slot.ok_or(Outcome::SessionUnknown)?;
            return Ok(Action::EndSession(slot, account));
        }
        Ok(Action::SetSession(Grant {
            account,
            key,
            cap: Amount(operation.amount.get()),
            scope: operation.timeout_s.get(),
            expires_ns: operation.effective_ns.get(),
        }))
    }
}

/// The account that an operation opens: its id is the operation's, its owner the named key or else the first
/// signer. The owner's number is known once it is opened.
fn opening(operation: &Operation, signed: &Signed<'_>, flags: AccountFlags) -> Opening {
    let named = KeyId(operation.named());
    let owner = if named == KeyId::NONE {
        signed.first()
    } else {
        named
    };
    let mut hot = AccountHot::new_zeroed();
    hot.limit = operation.amount;
    hot.asset = operation.asset;
    hot.flags = flags.0.into();
    let mut cold = AccountCold::new_zeroed();
    cold.id = operation.id;
    cold.owner = owner.0;
    cold.user_data_128 = operation.user_data_128;
    cold.user_data_64 = operation.user_data_64;
    cold.opened = signed.height.0.into();
    Opening { owner, hot, cold }
}

/// Most bytes of a node's announcement.
pub(super) const ANNOUNCEMENT_BYTES_MAX: usize = 4_096;
/// Bytes of what operations of validators attach first: a chain's last link, or a key's id.
pub(super) const REVEALS_BYTES: usize = 32;
