//! The model: what is committed, applied one operation at a time.

use crate::Checked;
use crate::load::view;
use selfchain::Operation;
use selfchain::types::message::Committed;
use selfchain::types::operation::Kind;
use selfchain::types::{KeyId, OperationFlags, Outcome};
use std::collections::BTreeMap;

/// What is committed, applied one operation at a time: slow and obvious.
#[derive(Clone, Default)]
pub(crate) struct Model {
    pub(crate) accounts: BTreeMap<u128, Account>,
    pub(crate) pendings: BTreeMap<u128, Pending>,
    /// Operations that took effect.
    pub(crate) applied: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    owner: KeyId,
    is_bounded: bool,
    debits: u128,
    credits: u128,
    debits_pending: u128,
    credits_pending: u128,
}

#[derive(Clone, Copy)]
pub(crate) struct Pending {
    debit: u128,
    credit: u128,
    amount: u128,
}

impl Account {
    fn new(owner: KeyId, is_bounded: bool) -> Self {
        Self {
            owner,
            is_bounded,
            debits: 0,
            credits: 0,
            debits_pending: 0,
            credits_pending: 0,
        }
    }

    pub(crate) fn totals(&self) -> [u128; 4] {
        [
            self.debits,
            self.credits,
            self.debits_pending,
            self.credits_pending,
        ]
    }
}

impl Model {
    /// Applies a transaction, and compares what it makes of each operation with what the node said.
    pub(crate) fn commit(&mut self, signer: KeyId, envelope: &[u8], result: &Committed) -> Checked<()> {
        let view = view(envelope)?;
        let expected = self.transaction(signer, view.operations());
        let refused: BTreeMap<u32, Outcome> = result
            .refused
            .iter()
            .map(|(at, outcome, _)| (*at, *outcome))
            .collect();
        for (at, expected) in (0u32..).zip(&expected) {
            let got = refused.get(&at).copied().unwrap_or(Outcome::Ok);
            if got != *expected {
                return Err(format!("{} operation {at} is {got}, not {expected}", view.tx_id()).into());
            }
        }
        Ok(())
    }

    fn transaction(&mut self, signer: KeyId, operations: &[Operation]) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for chain in operations.split_inclusive(|operation| !operation.is_linked()) {
            let before = (chain.len() > 1).then(|| self.clone());
            let its: Vec<Outcome> = chain
                .iter()
                .map(|operation| self.operation(signer, operation))
                .collect();
            match (before, its.iter().position(|outcome| !outcome.is_ok())) {
                (Some(before), Some(failed)) => {
                    *self = before;
                    let of = |at| {
                        if at == failed {
                            its[failed]
                        } else {
                            Outcome::LinkedFailed
                        }
                    };
                    outcomes.extend((0..its.len()).map(of));
                }
                _ => outcomes.extend(its),
            }
        }
        outcomes
    }

    fn operation(&mut self, signer: KeyId, operation: &Operation) -> Outcome {
        let outcome = match operation.kind() {
            Some(Kind::CreateAsset) => self.open(operation, false),
            Some(Kind::OpenAccount) => self.open(operation, true),
            _ if operation.flags().has(OperationFlags::POST) => self.settle(signer, operation, true),
            _ if operation.flags().has(OperationFlags::VOID) => self.settle(signer, operation, false),
            _ => self.transfer(signer, operation),
        };
        self.applied += u64::from(outcome.is_ok());
        outcome
    }

    fn open(&mut self, operation: &Operation, is_bounded: bool) -> Outcome {
        self.accounts.insert(
            operation.id.get(),
            Account::new(KeyId(operation.named()), is_bounded),
        );
        Outcome::Ok
    }

    fn transfer(&mut self, signer: KeyId, operation: &Operation) -> Outcome {
        let (from, to, amount) = (
            operation.debit.get(),
            operation.credit.get(),
            operation.amount.get(),
        );
        if from == to {
            return Outcome::AccountsSame;
        }
        let payer = self.accounts[&from];
        if payer.owner != signer {
            return Outcome::NotAuthorized;
        }
        if payer.is_bounded && payer.debits + payer.debits_pending + amount > payer.credits {
            return Outcome::InsufficientFunds;
        }
        if operation.flags().has(OperationFlags::PENDING) {
            self.pendings.insert(
                operation.id.get(),
                Pending {
                    debit: from,
                    credit: to,
                    amount,
                },
            );
            self.account(from).debits_pending += amount;
            self.account(to).credits_pending += amount;
        } else {
            self.account(from).debits += amount;
            self.account(to).credits += amount;
        }
        Outcome::Ok
    }

    fn settle(&mut self, signer: KeyId, operation: &Operation, is_post: bool) -> Outcome {
        let id = operation.pending.get();
        let Some(pending) = self.pendings.get(&id).copied() else {
            return Outcome::PendingUnknown;
        };
        let (is_payer, is_payee) = (
            self.accounts[&pending.debit].owner == signer,
            self.accounts[&pending.credit].owner == signer,
        );
        // The payer cannot take its promise back.
        if !(is_payee || is_post && is_payer) {
            return Outcome::NotAuthorized;
        }
        self.pendings.remove(&id);
        self.account(pending.debit).debits_pending -= pending.amount;
        self.account(pending.credit).credits_pending -= pending.amount;
        if is_post {
            let amount = operation.amount.get().min(pending.amount);
            self.account(pending.debit).debits += amount;
            self.account(pending.credit).credits += amount;
        }
        Outcome::Ok
    }

    fn account(&mut self, id: u128) -> &mut Account {
        self.accounts
            .get_mut(&id)
            .expect("accounts are opened before they are used")
    }
}
