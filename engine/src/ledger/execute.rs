//! Executes a block: activations, expiries, then each envelope's fee and operations, in order.

use super::Ledger;
use super::accounts::{FIND_MANY_MAX, Imbalance};
use super::apply::{Applied, Cause, HistoryChange, Impossible};
use super::clock::Clock;
use super::frame;
use super::index::ABSENT;
use super::judge::{Mark, Verdict, is_judged};
use super::permit::{Refused, is_closed};
use super::resolve::{Action, Move};
use super::signed::Signed;
use super::validators::Validators;
use core::ops::Range;
use selfchain_types::account::Balances;
use selfchain_types::block::{BlockResult, Exception, PROTOCOL_VERSION};
use selfchain_types::crypto::PublicKey;
use selfchain_types::envelope::EnvelopeView;
use selfchain_types::genesis::OpTime;
use selfchain_types::{
    AccountId, Amount, AssetId, Hash, Height, Kind, Operation, Outcome, Risk, TimeNs, codec,
};
use thiserror::Error;

/// What a block did.
#[derive(Clone, Debug, Default)]
pub struct Executed {
    /// What the log keeps.
    pub result: BlockResult,
    /// For each envelope that asked: its position, and a pair of totals for each of its operations, those of
    /// the account it debited and of the one it credited, right after it; zeros for an operation that was
    /// refused or moves nothing.
    pub balances: Vec<(u32, Vec<(Balances, Balances)>)>,
    /// Every change of an account that keeps its history, in order.
    pub history: Vec<HistoryChange>,
    /// Keys that were registered, in order.
    pub registered: Vec<PublicKey>,
    /// Operations that took effect.
    pub applied: u64,
    /// Operations that were refused.
    pub refused: u64,
}

/// The ledger is wrong: nothing of the block may be kept, and the node must stop. It cannot go on from here.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Broken {
    /// Money was made or lost.
    #[error(
        "asset {}: debits exceed credits by {} posted and {} pending, modulo 2^128",
        .0.asset, .0.posted, .0.pending
    )]
    Conservation(Imbalance),
    /// A block that is not the next one.
    #[error("height {got}, where {want} is next")]
    Height {
        /// Its height.
        got: Height,
        /// The height after the last.
        want: Height,
    },
    /// From this height on a protocol version is in force that this program does not know.
    #[error(
        "protocol version {version} is in force from height {height} on; this program knows {PROTOCOL_VERSION}"
    )]
    Version {
        /// The version.
        version: u16,
        /// The height.
        height: Height,
    },
    /// A change that was permitted cannot be made.
    #[error("{cause:?} was permitted: {source}")]
    Impossible {
        /// What was to make it.
        cause: Cause,
        /// Why not.
        #[source]
        source: Impossible,
    },
}

/// Why an operation did not happen.
enum Stop {
    Refused(Refused),
    Broken(Broken),
}

impl From<Outcome> for Stop {
    fn from(outcome: Outcome) -> Self {
        Self::Refused(outcome.into())
    }
}

/// A block under way.
struct Block<'a> {
    clock: Clock,
    /// What a scorer said of its operations.
    risk: &'a Risk,
    validators: Option<Validators<'a>>,
    /// The envelope under way, and the position of its first operation.
    envelope: Option<EnvelopeView<'a>>,
    first: u32,
    /// The envelope's id, once it was asked for.
    tx_id: Option<Hash>,
    /// Whether the linked chain under way is held.
    is_chain_held: bool,
    height: Height,
    /// Expiries, operations and members of chain-wide operations up to here.
    effects: usize,
    result: BlockResult,
    balances: Vec<(u32, Vec<(Balances, Balances)>)>,
    /// Whether the envelope under way asked for balances.
    wants_balances: bool,
    refused: u64,
}

impl Block<'_> {
    /// The score of an operation, if the block has scores.
    fn score(&self, position: u32) -> Option<u8> {
        (!self.risk.scores.is_empty()).then(|| self.risk.score(position))
    }

    /// What a hold of the next operation is marked with.
    fn mark(&mut self) -> Mark {
        let position = self.next_position();
        let envelope = self.envelope.as_ref().expect("an operation is in an envelope");
        Mark {
            tx_id: *self.tx_id.get_or_insert_with(|| envelope.tx_id()),
            index: position - self.first,
            score: self.risk.score(position),
            reasons: self.risk.reasons(position),
        }
    }

    fn next_position(&self) -> u32 {
        codec::narrow(self.result.outcomes.len())
    }

    fn push_balances(&mut self, pair: (Balances, Balances)) {
        if let Some((_, pairs)) = self.balances.last_mut().filter(|_| self.wants_balances) {
            pairs.push(pair);
        }
    }

    fn push_done(&mut self, operation: &Operation, applied: &Applied) {
        let moved = applied.moved;
        if moved.0 != operation.amount.get() && is_transfer(operation) {
            let at = self.next_position();
            self.result.exceptions.push((at, Exception::Actual(moved)));
        }
        let outcome = if applied.is_held {
            Outcome::Held
        } else {
            Outcome::Ok
        };
        self.result.outcomes.push(outcome.code());
    }

    fn push_refused(&mut self, refused: Refused) {
        if let Some((needed, available)) = refused.shortfall {
            let at = self.next_position();
            let exception = Exception::Shortfall { needed, available };
            self.result.exceptions.push((at, exception));
        }
        self.result.outcomes.push(refused.outcome.code());
        self.refused += 1;
        self.push_balances(Default::default());
    }
}

/// Only a transfer has an amount that moves.
fn is_transfer(operation: &Operation) -> bool {
    operation.kind == Kind::Transfer.code()
}

impl Ledger {
    /// Executes the next block, which [`Ledger::validate`] found valid. `risk` is what a scorer said of its
    /// operations: one score each, or nothing. `wants_balances` says of which
    /// envelopes, by position, the resulting balances are wanted.
    ///
    /// # Errors
    /// [`Broken`]: the ledger is not usable any more.
    pub fn execute(
        &mut self,
        height: Height,
        time_ns: TimeNs,
        envelopes: &[EnvelopeView<'_>],
        risk: &Risk,
        wants_balances: &dyn Fn(usize) -> bool,
    ) -> Result<Executed, Broken> {
        self.execute_among(None, height, time_ns, envelopes, risk, wants_balances)
    }

    /// The same where several validators decide: with how they stand.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub fn execute_among(
        &mut self,
        mut validators: Option<Validators<'_>>,
        height: Height,
        time_ns: TimeNs,
        envelopes: &[EnvelopeView<'_>],
        risk: &Risk,
        wants_balances: &dyn Fn(usize) -> bool,
    ) -> Result<Executed, Broken> {
        self.open_block(height)?;
        let expired = self.expire(time_ns)?;
        if let Some(validators) = &mut validators {
            self.open_bonds(validators, height)?;
        }
        let operations: usize = envelopes.iter().map(|view| view.operations().len()).sum();
        let mut block = Block {
            clock: Clock::new(self.rules.op_time, time_ns),
            risk,
            validators,
            envelope: None,
            first: 0,
            tx_id: None,
            is_chain_held: false,
            height,
            effects: expired.len(),
            result: BlockResult {
                outcomes: Vec::with_capacity(operations),
                exceptions: Vec::new(),
                expired,
            },
            balances: Vec::new(),
            wants_balances: false,
            refused: 0,
        };
        for (at, envelope) in envelopes.iter().enumerate() {
            (block.envelope, block.first, block.tx_id) = (Some(*envelope), block.next_position(), None);
            block.wants_balances = wants_balances(at);
            if block.wants_balances {
                block.balances.push((codec::narrow(at), Vec::new()));
            }
            self.execute_envelope(&mut block, codec::narrow(at), envelope)?;
        }
        if let Some(validators) = &block.validators {
            self.pay_rewards(validators.standing)?;
        }
        let applied = codec::wide(operations) - block.refused;
        self.close_block(time_ns, block.clock.last(), applied)?;
        Ok(Executed {
            result: block.result,
            balances: block.balances,
            history: core::mem::take(&mut self.scratch.history),
            registered: core::mem::take(&mut self.scratch.registered),
            applied,
            refused: block.refused,
        })
    }

    /// Starts a block: an upgrade that is due comes into force.
    pub(super) fn open_block(&mut self, height: Height) -> Result<(), Broken> {
        let want = self.chain.height.next();
        if height != want {
            return Err(Broken::Height { got: height, want });
        }
        let (version, at) = self.chain.upgrade;
        if version != 0 && at <= height {
            self.chain.protocol_version = version;
            self.chain.upgrade = (0, Height::GENESIS);
        }
        let version = self.chain.protocol_version;
        if version > PROTOCOL_VERSION {
            return Err(Broken::Version { version, height });
        }
        self.chain.height = height;
        Ok(())
    }

    /// Ends a block: time and counts go on, and what it touched must balance.
    pub(super) fn close_block(
        &mut self,
        time_ns: TimeNs,
        last_op_time: TimeNs,
        applied: u64,
    ) -> Result<(), Broken> {
        self.chain.last_op_time = last_op_time.max(time_ns);
        self.chain.operations_applied += applied;
        self.accounts.close_block().map_err(Broken::Conservation)
    }

    /// Lets pendings expire that are over at the block's time, as many as a block may.
    fn expire(&mut self, time_ns: TimeNs) -> Result<Vec<u128>, Broken> {
        let mut expired = Vec::new();
        let expired_max = codec::index(self.rules.limits.expire_per_block_max);
        while let Some((_, slot)) = self.pendings.first_due().filter(|due| due.0 <= time_ns.0) {
            if expired.len() == expired_max {
                break;
            }
            let cause = Cause::Expiry(codec::narrow(expired.len()));
            expired.push(self.pendings.slab[slot].id.get());
            self.settle(slot, Amount::ZERO, cause)
                .map_err(|source| Broken::Impossible { cause, source })?;
        }
        Ok(expired)
    }

    /// Uses up the signers' counters.
    pub(super) fn sign_in<'a>(&mut self, envelope: &EnvelopeView<'a>, height: Height) -> Signed<'a> {
        Signed::new(envelope, height, |signer| {
            let key = self.mention(&signer.key);
            self.keys
                .use_counter(key, signer.lane.get(), signer.counter.get());
            key
        })
    }

    fn execute_envelope(
        &mut self,
        block: &mut Block<'_>,
        at: u32,
        envelope: &EnvelopeView<'_>,
    ) -> Result<(), Broken> {
        let signed = self.sign_in(envelope, block.height);
        let is_revoked = signed.keys().iter().any(|key| self.is_revoked(*key, &signed));
        let refusal = if is_revoked {
            Some(Outcome::Revoked)
        } else {
            match self.fee(envelope, &signed) {
                Ok(None) => None,
                Ok(Some(fee)) => {
                    let cause = Cause::Fee(at);
                    self.apply_move(&fee, cause)
                        .map_err(|source| Broken::Impossible { cause, source })?;
                    if block.validators.is_some() {
                        self.take_fee(&fee);
                    }
                    None
                }
                Err(outcome) => Some(outcome),
            }
        };
        let operations = envelope.operations();
        match refusal {
            None => self.execute_operations(block, operations, &signed),
            Some(outcome) => {
                refuse_all(block, operations, outcome);
                Ok(())
            }
        }
    }

    /// What an envelope has to pay. Before the collector's account is open there is nothing to pay: so a
    /// chain with fees begins.
    pub(super) fn fee(
        &self,
        envelope: &EnvelopeView<'_>,
        signed: &Signed<'_>,
    ) -> Result<Option<Move>, Outcome> {
        let fees = &self.rules.fees;
        let collector = if fees.is_free() {
            None
        } else {
            self.accounts.find(fees.collector)
        };
        let Some(collector) = collector else {
            return Ok(None);
        };
        let header = envelope.header();
        let fee = fees.of(envelope.operations().len(), envelope.as_bytes().len());
        let payer = self.accounts.find(AccountId(header.fee_account.get()));
        let payer = payer
            .filter(|payer| *payer != collector)
            .ok_or(Outcome::FeeUnpaid)?;
        let (debit, credit) = (&self.accounts[payer], &self.accounts[collector]);
        let is_in_asset = |asset: u32| AssetId(asset) == fees.asset;
        let fits = |posted: u128, pending: u128| {
            let total = posted.checked_add(pending);
            total.and_then(|total| total.checked_add(fee.0)).is_some()
        };
        let may = fee.0 <= header.fee_max.get()
            && is_in_asset(header.fee_asset.get())
            && is_in_asset(debit.asset.get())
            && is_in_asset(credit.asset.get())
            && signed.has(debit.owner.get())
            && !is_closed(debit)
            && !is_closed(credit)
            && fits(debit.debits_posted.get(), debit.debits_pending.get())
            && fits(credit.credits_posted.get(), credit.credits_pending.get())
            && debit.available_to_debit().is_none_or(|left| fee <= left)
            && credit.available_to_credit().is_none_or(|left| fee <= left);
        if !may {
            return Err(Outcome::FeeUnpaid);
        }
        Ok(Some(Move {
            debit: payer,
            credit: collector,
            amount: fee,
            session: None,
        }))
    }

    fn execute_operations(
        &mut self,
        block: &mut Block<'_>,
        operations: &[Operation],
        signed: &Signed<'_>,
    ) -> Result<(), Broken> {
        let mut at = 0;
        while at < operations.len() {
            let plain = plain_run(&operations[at..]);
            if plain > 0 {
                self.execute_plain(block, &operations[at..at + plain], signed)?;
                at += plain;
            } else if operations[at].is_linked() {
                let chain = chain_from(operations, at);
                self.execute_chain(block, &operations[chain.clone()], signed)?;
                at = chain.end;
            } else {
                self.execute_one(block, &operations[at], signed)?;
                at += 1;
            }
        }
        Ok(())
    }

    /// Executes unlinked plain transfers: their accounts are found together, and one that nothing speaks
    /// against is done at once. Whatever is not that simple is decided as any other operation.
    fn execute_plain(
        &mut self,
        block: &mut Block<'_>,
        operations: &[Operation],
        signed: &Signed<'_>,
    ) -> Result<(), Broken> {
        let mut ids = [0; FIND_MANY_MAX];
        let mut found = [ABSENT; FIND_MANY_MAX];
        for (pair, operation) in ids.as_chunks_mut::<2>().0.iter_mut().zip(operations) {
            *pair = [operation.debit.get(), operation.credit.get()];
        }
        self.accounts
            .find_many(&ids[..2 * operations.len()], &mut found[..2 * operations.len()]);
        for (operation, [debit, credit]) in operations.iter().zip(found.as_chunks::<2>().0) {
            let has_room = block.effects < codec::index(self.rules.limits.block_effects_max);
            let score = block.score(block.next_position());
            let is_quiet = score.is_none_or(|score| self.policies.is_quiet_about(score));
            if !has_room || !is_quiet || !self.transfer_simply(operation, *debit, *credit, signed) {
                self.execute_one(block, operation, signed)?;
                continue;
            }
            block.clock.tick(operation);
            block.effects += 1;
            let cause = Cause::Operation(block.next_position());
            self.remember(*debit, cause);
            self.remember(*credit, cause);
            block.result.outcomes.push(Outcome::Ok.code());
            if block.wants_balances {
                let pair = self.balances_of((*debit, *credit));
                block.push_balances(pair);
            }
        }
        Ok(())
    }

    /// Does a plain transfer if every rule is met in the simplest way; else does nothing and says so.
    #[inline]
    fn transfer_simply(
        &mut self,
        operation: &Operation,
        debit: u32,
        credit: u32,
        signed: &Signed<'_>,
    ) -> bool {
        let id = operation.id.get();
        let has_own_time = operation.effective_ns.get() != 0 && self.rules.op_time == OpTime::Block;
        let is_in_order = operation.version == Operation::VERSION
            && operation.reserved == [0; 2]
            && id.wrapping_add(1) > 1
            && operation.pending.get() == 0
            && operation.timeout_s.get() == 0
            && !has_own_time
            && debit != credit
            && debit != self.scratch.takings.collector;
        let (Some(from), Some(to)) = (self.accounts.get(debit), self.accounts.get(credit)) else {
            return false;
        };
        let is_permitted = from.asset == operation.asset
            && to.asset == operation.asset
            && !is_closed(from)
            && !is_closed(to)
            && signed.has(from.owner.get());
        if !is_in_order || !is_permitted {
            return false;
        }
        let amount = operation.amount.get();
        let sum = |posted: u128, pending: u128| posted.checked_add(pending)?.checked_add(amount);
        let fits = sum(from.debits_posted.get(), from.debits_pending.get()).is_some()
            && sum(to.credits_posted.get(), to.credits_pending.get()).is_some()
            && from.available_to_debit().is_none_or(|left| amount <= left.0)
            && to.available_to_credit().is_none_or(|left| amount <= left.0);
        if !fits {
            return false;
        }
        let credited = self.credited(amount);
        self.accounts.change(debit, |hot| {
            hot.debits_posted = hot.debits_posted.get().wrapping_add(amount).into();
        });
        self.accounts.change(credit, |hot| {
            hot.credits_posted = hot.credits_posted.get().wrapping_add(credited).into();
        });
        true
    }

    /// Executes an operation that is in no chain.
    fn execute_one(
        &mut self,
        block: &mut Block<'_>,
        operation: &Operation,
        signed: &Signed<'_>,
    ) -> Result<(), Broken> {
        match self.attempt(block, operation, signed) {
            Ok(applied) => {
                self.record_ok(block, operation, &applied);
                Ok(())
            }
            Err(Stop::Refused(refused)) => {
                block.push_refused(refused);
                Ok(())
            }
            Err(Stop::Broken(broken)) => Err(broken),
        }
    }

    /// Executes a linked chain: every member takes effect, or none.
    fn execute_chain(
        &mut self,
        block: &mut Block<'_>,
        members: &[Operation],
        signed: &Signed<'_>,
    ) -> Result<(), Broken> {
        let members_max = codec::index(self.rules.limits.chain_max);
        let last = members.len() - 1;
        if members[last].is_linked() {
            refuse_chain(block, members, 0, last, Outcome::ChainOpen.into());
            return Ok(());
        }
        if members.len() > members_max {
            refuse_chain(block, members, 0, members_max, Outcome::ChainTooLong.into());
            return Ok(());
        }
        match self.judge_chain(block, members) {
            Err((culprit, outcome)) => {
                refuse_chain(block, members, 0, culprit, outcome.into());
                return Ok(());
            }
            Ok(is_held) => block.is_chain_held = is_held,
        }
        let done = self.execute_members(block, members, signed);
        block.is_chain_held = false;
        done
    }

    /// Whether a linked chain is held: if one of its members is.
    ///
    /// # Errors
    /// The member that cannot be, and why.
    fn judge_chain(&self, block: &Block<'_>, members: &[Operation]) -> Result<bool, (usize, Outcome)> {
        let from = block.next_position();
        let verdict = |(position, member): (u32, &Operation)| match block.score(position) {
            Some(score) => self.judge(member, score),
            None => Verdict::Allow,
        };
        let mut held = None;
        for (at, next) in (from..).zip(members).enumerate() {
            match verdict(next) {
                Verdict::Allow => {}
                Verdict::Reject => return Err((at, Outcome::RiskRejected)),
                Verdict::Hold => held = held.or(Some(at)),
            }
        }
        match held {
            Some(at) if !members.iter().all(is_judged) => Err((at, Outcome::ChainUnholdable)),
            held => Ok(held.is_some()),
        }
    }

    fn execute_members(
        &mut self,
        block: &mut Block<'_>,
        members: &[Operation],
        signed: &Signed<'_>,
    ) -> Result<(), Broken> {
        let (outcomes, exceptions) = (block.result.outcomes.len(), block.result.exceptions.len());
        let pairs = block.balances.last().map_or(0, |(_, pairs)| pairs.len());
        self.begin_chain();
        for (at, operation) in members.iter().enumerate() {
            match self.attempt(block, operation, signed) {
                Ok(applied) => self.record_ok(block, operation, &applied),
                Err(Stop::Broken(broken)) => return Err(broken),
                Err(Stop::Refused(refused)) => {
                    self.roll_chain_back();
                    block.result.outcomes.truncate(outcomes);
                    block.result.exceptions.truncate(exceptions);
                    if let Some((_, kept)) = block.balances.last_mut().filter(|_| block.wants_balances) {
                        kept.truncate(pairs);
                    }
                    refuse_chain(block, members, at + 1, at, refused);
                    return Ok(());
                }
            }
        }
        self.keep_chain();
        Ok(())
    }

    fn record_ok(&mut self, block: &mut Block<'_>, operation: &Operation, applied: &Applied) {
        block.push_done(operation, applied);
        if block.wants_balances {
            let pair = applied.accounts.map(|pair| self.balances_of(pair));
            block.push_balances(pair.unwrap_or_default());
        }
    }

    fn balances_of(&self, (debit, credit): (u32, u32)) -> (Balances, Balances) {
        (self.accounts[debit].balances(), self.accounts[credit].balances())
    }

    /// Decides an operation and does it.
    fn attempt(
        &mut self,
        block: &mut Block<'_>,
        operation: &Operation,
        signed: &Signed<'_>,
    ) -> Result<Applied, Stop> {
        let now = block.clock.tick(operation);
        let effects_max = codec::index(self.rules.limits.block_effects_max);
        if block.effects >= effects_max {
            return Err(Outcome::BlockEffectsFull.into());
        }
        block.effects += 1;
        let kind = frame::check(operation, self.rules.op_time)?;
        if kind.is_of_validators() && block.validators.is_none() {
            return Err(Outcome::ValidatorsFixed.into());
        }
        let mut action = self.resolve(kind, operation, signed, now)?;
        let more = action.effects() - 1;
        if block.effects + more > effects_max {
            return Err(Outcome::BlockEffectsFull.into());
        }
        block.effects += more;
        let verdict = match block.score(block.next_position()) {
            _ if block.is_chain_held => Verdict::Hold,
            Some(score) => self.judge(operation, score),
            None => Verdict::Allow,
        };
        if verdict == Verdict::Reject {
            return Err(Outcome::RiskRejected.into());
        }
        // A member before it changed what holds for it: the others have been done.
        if verdict == Verdict::Hold && self.is_in_chain() && !block.is_chain_held {
            return Err(Outcome::ChainUnholdable.into());
        }
        self.permit(&mut action, operation, signed, now)
            .map_err(Stop::Refused)?;
        if verdict == Verdict::Hold {
            let mark = block.mark();
            self.hold(&mut action, &mark, now).map_err(Stop::Refused)?;
        }
        if let Some(validators) = &mut block.validators {
            match &mut action {
                Action::Seat(seating) => self.seat(seating, validators.standing, signed),
                Action::Certify(certifying) => self.seat_certificate(certifying, validators.standing),
                _ => Ok(()),
            }
            .map_err(Stop::Refused)?;
        }
        let cause = Cause::Operation(block.next_position());
        self.apply(&action, block.height, cause)
            .map_err(|source| Stop::Broken(Broken::Impossible { cause, source }))
    }
}

/// How many operations from the first on are unlinked plain transfers, up to as many as are found together.
fn plain_run(operations: &[Operation]) -> usize {
    let is_plain = |operation: &&Operation| is_transfer(operation) && operation.flags.get() == 0;
    let few = operations.iter().take(FIND_MANY_MAX / 2);
    few.take_while(is_plain).count()
}

/// The linked chain that starts at `at`: up to the first member that is not linked, or the envelope's end.
pub(super) fn chain_from(operations: &[Operation], at: usize) -> Range<usize> {
    let linked = operations[at..]
        .iter()
        .take_while(|member| member.is_linked())
        .count();
    at..operations.len().min(at + linked + 1)
}

/// Refuses a chain for what its member `culprit` did; the first `ticked` have had their time.
fn refuse_chain(
    block: &mut Block<'_>,
    members: &[Operation],
    ticked: usize,
    culprit: usize,
    refused: Refused,
) {
    for (at, operation) in members.iter().enumerate() {
        if at >= ticked {
            block.clock.tick(operation);
            block.effects += 1;
        }
        block.push_refused(if at == culprit {
            refused
        } else {
            Outcome::LinkedFailed.into()
        });
    }
}

/// Refuses every operation of an envelope.
fn refuse_all(block: &mut Block<'_>, operations: &[Operation], outcome: Outcome) {
    for operation in operations {
        block.clock.tick(operation);
        block.effects += 1;
        block.push_refused(outcome.into());
    }
}
