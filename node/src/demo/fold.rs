//! The independent fold: what balances must come to, by rules of its own, against which the ledger is checked.

use crate::input::Row;
use selfchain_types::Outcome;
use std::collections::BTreeMap;

/// Balances as a plain map. It shares no code with the ledger: a row between one account and itself is refused,
/// a row of more than the payer has is refused, any other moves its amount.
#[derive(Clone, Debug, Default)]
pub struct Fold {
    balances: BTreeMap<u64, u128>,
}

impl Fold {
    /// Gives an account, which must not have anything yet, its opening balance.
    pub fn open(&mut self, account: u64, amount: u128) {
        self.balances.insert(account, amount);
    }

    /// Applies a row; what the ledger must say to it.
    pub fn apply(&mut self, row: &Row) -> Outcome {
        if row.from == row.to {
            return Outcome::AccountsSame;
        }
        let has = self.balance(row.from);
        let Some(left) = has.checked_sub(row.amount) else {
            return Outcome::InsufficientFunds;
        };
        let gains = self.balance(row.to);
        self.balances.insert(row.from, left);
        self.balances.insert(row.to, gains + row.amount);
        Outcome::Ok
    }

    /// Takes what is held off its payer, who must have it; whether that is so.
    pub fn hold(&mut self, row: &Row) -> bool {
        let left = self.balance(row.from).checked_sub(row.amount);
        if let Some(left) = left {
            self.balances.insert(row.from, left);
        }
        left.is_some()
    }

    /// Gives what was held to the payee, or back to the payer.
    pub fn settle(&mut self, row: &Row, is_released: bool) {
        let account = if is_released { row.to } else { row.from };
        let has = self.balance(account);
        self.balances.insert(account, has + row.amount);
    }

    /// What an account has.
    pub fn balance(&self, account: u64) -> u128 {
        self.balances.get(&account).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_move_what_is_there_and_nothing_else() {
        let mut fold = Fold::default();
        fold.open(1, 10);
        let mut check = |from, to, amount, outcome| {
            assert_eq!(
                fold.apply(&Row {
                    line: 0,
                    time_s: 0,
                    from,
                    to,
                    amount,
                    label: crate::input::Label::default()
                }),
                outcome
            );
        };
        check(1, 2, 4, Outcome::Ok);
        check(1, 1, 4, Outcome::AccountsSame);
        check(1, 2, 7, Outcome::InsufficientFunds);
        check(3, 1, 0, Outcome::Ok);
        check(2, 3, 4, Outcome::Ok);
        assert_eq!([1, 2, 3, 4].map(|account| fold.balance(account)), [6, 0, 4, 0]);
    }
}
