//! Folds recorded outcomes into the state: changes what they say changed, and decides nothing anew.

use super::Ledger;
use super::accounts::FIND_MANY_MAX;
use super::apply::{Cause, HistoryChange, Impossible};
use super::clock::Clock;
use super::execute::{Broken, chain_from};
use super::index::ABSENT;
use super::judge::Mark;
use super::resolve::{Action, Move};
use super::signed::Signed;
use super::validators::Validators;
use selfchain_types::block::{BlockResult, Exception};
use selfchain_types::crypto::PublicKey;
use selfchain_types::envelope::EnvelopeView;
use selfchain_types::key::SessionScope;
use selfchain_types::{Amount, Hash, Height, Kind, Operation, Outcome, Risk, TimeNs, codec};
use thiserror::Error;

/// What a folded block did.
#[derive(Clone, Debug, Default)]
pub struct Folded {
    /// Every change of an account that keeps its history, in order.
    pub history: Vec<HistoryChange>,
    /// Keys that were registered, in order.
    pub registered: Vec<PublicKey>,
    /// Operations that took effect.
    pub applied: u64,
    /// Operations that were refused.
    pub refused: u64,
}

/// Why recorded outcomes cannot have happened here. The ledger is then not usable any more.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FoldError {
    /// The block cannot follow, or money would be made or lost.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// There is not one outcome for each operation.
    #[error("{got} outcomes for {want} operations")]
    OutcomeCount {
        /// Outcomes.
        got: usize,
        /// Operations.
        want: usize,
    },
    /// The pending cannot have expired.
    #[error("no pending {id} is over")]
    Expired {
        /// Its id.
        id: u128,
    },
    /// The fee cannot have been paid.
    #[error("the fee of envelope {envelope} cannot have been paid")]
    Fee {
        /// Position of the envelope.
        envelope: usize,
    },
    /// The operation cannot have taken effect.
    #[error("operation {operation} cannot have taken effect: {outcome}")]
    Refused {
        /// Its position across the envelopes.
        operation: u32,
        /// What speaks against it.
        outcome: Outcome,
    },
    /// Some members of the linked chain took effect and some did not.
    #[error("the linked chain at operation {operation} took effect in part")]
    ChainInPart {
        /// Position of its first member.
        operation: u32,
    },
    /// The change cannot be made.
    #[error("{cause:?}: {source}")]
    Impossible {
        /// What was to make it.
        cause: Cause,
        /// Why not.
        #[source]
        source: Impossible,
    },
}

/// A block under way.
struct Record<'a> {
    clock: Clock,
    height: Height,
    result: &'a BlockResult,
    risk: &'a Risk,
    validators: Option<Validators<'a>>,
    /// The envelope under way, its id once it was asked for, and the position of its first operation.
    envelope: Option<EnvelopeView<'a>>,
    tx_id: Option<Hash>,
    first: u32,
    /// Position of the next operation.
    at: usize,
    /// Position of the next exception.
    exception: usize,
    applied: u64,
}

impl Record<'_> {
    fn is_ok(&self, at: usize) -> bool {
        self.result.outcomes[at] == Outcome::Ok.code()
    }

    fn is_held(&self, at: usize) -> bool {
        self.result.outcomes[at] == Outcome::Held.code()
    }

    fn took_effect(&self, at: usize) -> bool {
        self.is_ok(at) || self.is_held(at)
    }

    /// What the hold of the next operation is marked with.
    fn mark(&mut self) -> Mark {
        let position = self.position();
        let envelope = self.envelope.as_ref().expect("an operation is in an envelope");
        Mark {
            tx_id: *self.tx_id.get_or_insert_with(|| envelope.tx_id()),
            index: position - self.first,
            score: self.risk.score(position),
            reasons: self.risk.reasons(position),
        }
    }

    fn position(&self) -> u32 {
        codec::narrow(self.at)
    }

    /// The amount that the next operation moved, if that is not its own.
    #[inline]
    fn actual(&mut self) -> Option<Amount> {
        let mut actual = None;
        while let Some((at, exception)) = self.result.exceptions.get(self.exception) {
            if codec::index(*at) > self.at {
                break;
            }
            if let Exception::Actual(amount) = exception {
                actual = (codec::index(*at) == self.at).then_some(*amount);
            }
            self.exception += 1;
        }
        actual
    }
}

impl Ledger {
    /// Folds the next block from what its execution said. Checks that this can have happened, not that it had
    /// to: for that execute it anew and compare.
    ///
    /// # Errors
    /// [`FoldError`]: the ledger is not usable any more.
    pub fn fold(
        &mut self,
        height: Height,
        time_ns: TimeNs,
        envelopes: &[EnvelopeView<'_>],
        risk: &Risk,
        result: &BlockResult,
    ) -> Result<Folded, FoldError> {
        self.fold_among(None, height, time_ns, envelopes, risk, result)
    }

    /// The same where several validators decide: with how they stand.
    ///
    /// # Errors
    /// As [`Self::fold`].
    pub fn fold_among(
        &mut self,
        mut validators: Option<Validators<'_>>,
        height: Height,
        time_ns: TimeNs,
        envelopes: &[EnvelopeView<'_>],
        risk: &Risk,
        result: &BlockResult,
    ) -> Result<Folded, FoldError> {
        let operations = envelopes.iter().map(|view| view.operations().len()).sum();
        if result.outcomes.len() != operations {
            return Err(FoldError::OutcomeCount {
                got: result.outcomes.len(),
                want: operations,
            });
        }
        self.open_block(height)?;
        self.fold_expiries(time_ns, result)?;
        if let Some(validators) = &mut validators {
            self.open_bonds(validators, height)?;
        }
        let mut record = Record {
            clock: Clock::new(self.rules.op_time, time_ns),
            height,
            result,
            risk,
            validators,
            envelope: None,
            tx_id: None,
            first: 0,
            at: 0,
            exception: 0,
            applied: 0,
        };
        for (at, envelope) in envelopes.iter().enumerate() {
            self.fold_envelope(&mut record, at, envelope)?;
        }
        if let Some(validators) = &record.validators {
            self.pay_rewards(validators.standing)?;
        }
        self.close_block(time_ns, record.clock.last(), record.applied)?;
        Ok(Folded {
            history: core::mem::take(&mut self.scratch.history),
            registered: core::mem::take(&mut self.scratch.registered),
            applied: record.applied,
            refused: codec::wide(operations) - record.applied,
        })
    }

    fn fold_expiries(&mut self, time_ns: TimeNs, result: &BlockResult) -> Result<(), FoldError> {
        for (at, id) in result.expired.iter().enumerate() {
            let cause = Cause::Expiry(codec::narrow(at));
            let slot = self.pendings.find(*id);
            let over = slot.filter(|slot| self.pendings.slab[*slot].is_over(time_ns.0));
            let slot = over.ok_or(FoldError::Expired { id: *id })?;
            self.settle(slot, Amount::ZERO, cause)
                .map_err(|source| FoldError::Impossible { cause, source })?;
        }
        Ok(())
    }

    fn fold_envelope<'a>(
        &mut self,
        record: &mut Record<'a>,
        at: usize,
        envelope: &EnvelopeView<'a>,
    ) -> Result<(), FoldError> {
        (record.envelope, record.tx_id, record.first) = (Some(*envelope), None, record.position());
        let signed = self.sign_in(envelope, record.height);
        let first = record.result.outcomes[record.at];
        let was_tried = first != Outcome::Revoked.code() && first != Outcome::FeeUnpaid.code();
        if was_tried {
            let fee = self.fee(envelope, &signed);
            if let Some(fee) = fee.map_err(|_| FoldError::Fee { envelope: at })? {
                let cause = Cause::Fee(codec::narrow(at));
                self.apply_move(&fee, cause)
                    .map_err(|source| FoldError::Impossible { cause, source })?;
                if record.validators.is_some() {
                    self.take_fee(&fee);
                }
            }
        }
        self.fold_operations(record, envelope.operations(), &signed)
    }

    fn fold_operations(
        &mut self,
        record: &mut Record<'_>,
        operations: &[Operation],
        signed: &Signed<'_>,
    ) -> Result<(), FoldError> {
        let mut at = 0;
        while at < operations.len() {
            let few = &operations[at..operations.len().min(at + FIND_MANY_MAX / 2)];
            let plain = few.iter().take_while(|one| is_plain(one)).count();
            if plain > 0 {
                self.fold_plain(record, &few[..plain], signed)?;
                at += plain;
                continue;
            }
            let chain = if operations[at].is_linked() {
                chain_from(operations, at)
            } else {
                at..at + 1
            };
            self.fold_chain(record, &operations[chain.clone()], signed)?;
            at = chain.end;
        }
        Ok(())
    }

    /// Folds unlinked plain transfers, whose accounts are found together.
    fn fold_plain(
        &mut self,
        record: &mut Record<'_>,
        operations: &[Operation],
        signed: &Signed<'_>,
    ) -> Result<(), FoldError> {
        let mut ids = [0; FIND_MANY_MAX];
        let mut found = [ABSENT; FIND_MANY_MAX];
        for (pair, operation) in ids.as_chunks_mut::<2>().0.iter_mut().zip(operations) {
            *pair = [operation.debit.get(), operation.credit.get()];
        }
        self.accounts
            .find_many(&ids[..2 * operations.len()], &mut found[..2 * operations.len()]);
        for (operation, [debit, credit]) in operations.iter().zip(found.as_chunks::<2>().0) {
            let now = record.clock.tick(operation);
            let actual = record.actual();
            if record.is_held(record.at) {
                self.fold_one(record, operation, actual, signed, now)?;
                record.applied += 1;
            } else if record.is_ok(record.at) {
                let unknown = |outcome| FoldError::Refused {
                    operation: record.position(),
                    outcome,
                };
                if *debit == ABSENT {
                    return Err(unknown(Outcome::DebitAccountUnknown));
                }
                if *credit == ABSENT {
                    return Err(unknown(Outcome::CreditAccountUnknown));
                }
                let session = self
                    .payer(*debit, SessionScope::TRANSFER, signed, now)
                    .map_err(unknown)?;
                let transfer = Move {
                    debit: *debit,
                    credit: *credit,
                    amount: actual.unwrap_or(Amount(operation.amount.get())),
                    session,
                };
                let cause = Cause::Operation(record.position());
                self.apply_move(&transfer, cause)
                    .map_err(|source| FoldError::Impossible { cause, source })?;
                record.applied += 1;
            }
            record.at += 1;
        }
        Ok(())
    }

    /// Folds a linked chain, or one operation that is in none.
    fn fold_chain(
        &mut self,
        record: &mut Record<'_>,
        members: &[Operation],
        signed: &Signed<'_>,
    ) -> Result<(), FoldError> {
        let first = record.at;
        let took_effect = (first..first + members.len())
            .filter(|at| record.took_effect(*at))
            .count();
        if took_effect != 0 && took_effect != members.len() {
            return Err(FoldError::ChainInPart {
                operation: record.position(),
            });
        }
        if members.len() > 1 {
            self.begin_chain();
        }
        for operation in members {
            let now = record.clock.tick(operation);
            let actual = record.actual();
            if took_effect != 0 {
                self.fold_one(record, operation, actual, signed, now)?;
                record.applied += 1;
            }
            record.at += 1;
        }
        self.keep_chain();
        Ok(())
    }

    fn fold_one(
        &mut self,
        record: &mut Record<'_>,
        operation: &Operation,
        actual: Option<Amount>,
        signed: &Signed<'_>,
        now: TimeNs,
    ) -> Result<(), FoldError> {
        let position = record.position();
        let refused = |outcome| FoldError::Refused {
            operation: position,
            outcome,
        };
        let kind = operation.kind().ok_or(refused(Outcome::KindUnknown))?;
        let mut action = self.resolve(kind, operation, signed, now).map_err(refused)?;
        let (transfer, scope) = match &mut action {
            Action::Move(transfer) => (Some(transfer), SessionScope::TRANSFER),
            Action::Reserve(transfer, _) => (Some(transfer), SessionScope::PENDING),
            Action::Post(_, amount) => {
                *amount = actual.unwrap_or(*amount);
                (None, SessionScope::SETTLE)
            }
            _ => (None, SessionScope::SETTLE),
        };
        if let Some(transfer) = transfer {
            transfer.amount = actual.unwrap_or(transfer.amount);
            transfer.session = self.payer(transfer.debit, scope, signed, now).map_err(refused)?;
        }
        if record.is_held(record.at) {
            let mark = record.mark();
            self.hold(&mut action, &mark, now)
                .map_err(|one| refused(one.outcome))?;
        }
        if let Action::Seat(seating) = &mut action {
            let validators = record.validators.as_mut();
            let validators = validators.ok_or(refused(Outcome::ValidatorsFixed))?;
            self.seat(seating, validators.standing, signed)
                .map_err(|one| refused(one.outcome))?;
        }
        if let (Action::Certify(certifying), Some(validators)) = (&mut action, &mut record.validators) {
            self.seat_certificate(certifying, validators.standing)
                .map_err(|one| refused(one.outcome))?;
        }
        let cause = Cause::Operation(position);
        self.apply(&action, record.height, cause)
            .map_err(|source| FoldError::Impossible { cause, source })?;
        Ok(())
    }
}

fn is_plain(operation: &Operation) -> bool {
    operation.kind == Kind::Transfer.code() && operation.flags.get() == 0
}
