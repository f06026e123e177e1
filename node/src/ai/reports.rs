//! Reports: which transfers of a ledger are fraud, by what its own accounts reported.
//!
//! A report counts where it took effect and names a transfer of the log one of whose two accounts is the
//! reporter's. The last word of each reporter counts: on the transfer that it names, and on the account that it
//! accuses, where that is the transfer's other account. A transfer is fraud where a party's last word on it says
//! so, or where it is to or from an account of which somebody's last word says so.

use crate::recover::try_each_prepared;
use crate::store::StoreError;
use selfchain_engine::commit::Prepared;
use selfchain_types::seam::log::LogReader;
use selfchain_types::{Hash, Height, Kind, Operation, OperationFlags, Outcome, codec};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// Most reports of a log: 100 bytes of memory each.
pub const REPORTS_MAX: usize = 1 << 21;

/// Why the reports of a log are not known.
#[derive(Debug, Error)]
pub enum ReportsError {
    /// There are too many.
    #[error("the log has more than {REPORTS_MAX} reports; by height {height} that many are read")]
    TooMany {
        /// How far it was read.
        height: Height,
    },
    /// The log failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the reports of a log come to.
#[derive(Clone, Debug, Default)]
pub struct Verdicts {
    transfers: BTreeSet<(Hash, u32)>,
    accounts: BTreeSet<u128>,
    /// Reports that took effect.
    pub reports: u64,
    /// Those of them that count.
    pub counted: u64,
}

/// One report that took effect.
#[derive(Clone, Copy, Debug)]
struct Report {
    transfer: (Hash, u32),
    by: u128,
    accused: u128,
    is_fraud: bool,
    /// Whether the transfer is in the log and the reporter is a party of it.
    counts: bool,
}

impl Report {
    fn of(operation: &Operation) -> Self {
        Self {
            transfer: (operation.named(), operation.timeout_s.get()),
            by: operation.pending.get(),
            accused: operation.user_data_128.get(),
            is_fraud: operation.code.get() == FRAUD,
            counts: false,
        }
    }

    /// Takes note of the transfer that it names.
    fn check(&mut self, named: &Operation) {
        let (debit, credit) = (named.debit.get(), named.credit.get());
        let other = match self.by {
            by if by == debit => credit,
            by if by == credit => debit,
            _ => return,
        };
        self.counts = is_transfer(named);
        if self.accused != other || other == self.by {
            self.accused = 0;
        }
    }
}

/// What a report's code says of fraud that is confirmed (docs/formats/operation.md).
const FRAUD: u16 = 1;

/// Whether it moves or reserves an amount, and does not settle.
fn is_transfer(operation: &Operation) -> bool {
    let settles = OperationFlags::POST.with(OperationFlags::VOID).0;
    operation.kind == Kind::Transfer.code() && operation.flags.get() & settles == 0
}

impl Verdicts {
    /// Reads a log twice: for its reports, and, if there are any, for the transfers that they name.
    ///
    /// # Errors
    /// [`ReportsError`].
    pub fn read(
        log: &dyn LogReader,
        (first, tip): (Height, Height),
        progress: &mut (dyn FnMut(Height) + Send),
    ) -> Result<Self, ReportsError> {
        let mut reports: Vec<Report> = Vec::new();
        try_each_prepared(log, first, tip, &mut |block, height| {
            collect(&block, &mut reports);
            progress(height);
            if reports.len() > REPORTS_MAX {
                return Err(ReportsError::TooMany { height });
            }
            Ok(())
        })?;
        if reports.is_empty() {
            return Ok(Self::default());
        }
        let mut named: BTreeMap<Hash, Vec<usize>> = BTreeMap::new();
        for (at, report) in reports.iter().enumerate() {
            named.entry(report.transfer.0).or_default().push(at);
        }
        try_each_prepared(log, first, tip, &mut |block, height| {
            check(&block, &named, &mut reports);
            progress(height);
            Ok::<(), ReportsError>(())
        })?;
        Ok(Self::of(&reports))
    }

    fn of(reports: &[Report]) -> Self {
        let mut on_transfers: BTreeMap<((Hash, u32), u128), bool> = BTreeMap::new();
        let mut on_accounts: BTreeMap<(u128, u128), bool> = BTreeMap::new();
        for report in reports.iter().filter(|report| report.counts) {
            on_transfers.insert((report.transfer, report.by), report.is_fraud);
            if report.accused != 0 {
                on_accounts.insert((report.accused, report.by), report.is_fraud);
            }
        }
        let transfers = on_transfers.into_iter().filter(|(_, is_fraud)| *is_fraud);
        let accounts = on_accounts.into_iter().filter(|(_, is_fraud)| *is_fraud);
        Self {
            transfers: transfers.map(|((transfer, _), _)| transfer).collect(),
            accounts: accounts.map(|((account, _), _)| account).collect(),
            reports: codec::wide(reports.len()),
            counted: codec::wide(reports.iter().filter(|report| report.counts).count()),
        }
    }

    /// Whether a transfer is fraud.
    pub fn is_fraud(&self, tx_id: &Hash, number: u32, operation: &Operation) -> bool {
        self.culprit(operation) != 0 || self.transfers.contains(&(*tx_id, number))
    }

    /// The account that makes a transfer fraud, where one is to blame; else 0.
    pub fn culprit(&self, operation: &Operation) -> u128 {
        let parties = [operation.credit.get(), operation.debit.get()];
        let culprit = parties
            .into_iter()
            .find(|account| self.accounts.contains(account));
        culprit.unwrap_or(0)
    }
}

fn collect(block: &Prepared<'_>, reports: &mut Vec<Report>) {
    let operations = block.views().iter().flat_map(|view| view.operations());
    let took_effect = operations
        .zip(&block.result().outcomes)
        .filter(|(operation, outcome)| {
            operation.kind == Kind::Report.code() && **outcome == Outcome::Ok.code()
        });
    reports.extend(took_effect.map(|(operation, _)| Report::of(operation)));
}

fn check(block: &Prepared<'_>, named: &BTreeMap<Hash, Vec<usize>>, reports: &mut [Report]) {
    for (transaction, view) in block.transactions().iter().zip(block.views()) {
        for at in named.get(&transaction.tx_id).into_iter().flatten() {
            let report = &mut reports[*at];
            if let Some(operation) = view.operations().get(codec::index(report.transfer.1)) {
                report.check(operation);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfchain_types::{AccountId, Amount, AssetId};

    const TX: Hash = Hash([7; 32]);

    fn transfer(from: u128, to: u128) -> Operation {
        Operation::transfer(1, AccountId(from), AccountId(to), Amount(5), AssetId(1))
    }

    /// What reports come to on a log whose transaction [`TX`] is `transfer(1, 2)`, `transfer(3, 2)`:
    /// `(operation, by, accused, code)` each.
    fn verdicts(said: &[(u32, u128, u128, u16)]) -> Verdicts {
        let log = [transfer(1, 2), transfer(3, 2)];
        let mut reports: Vec<Report> = said
            .iter()
            .map(|(number, by, accused, code)| {
                let report = Operation::report(1, TX, *number, AccountId(*by), *code);
                Report::of(&report.accusing(AccountId(*accused)))
            })
            .collect();
        for report in &mut reports {
            if let Some(named) = log.get(codec::index(report.transfer.1)) {
                report.check(named);
            }
        }
        Verdicts::of(&reports)
    }

    fn check(said: &[(u32, u128, u128, u16)], named: bool, other: bool, later: bool) {
        let verdicts = verdicts(said);
        let got = [
            verdicts.is_fraud(&TX, 0, &transfer(1, 2)),
            verdicts.is_fraud(&TX, 1, &transfer(3, 2)),
            verdicts.is_fraud(&Hash::ZERO, 0, &transfer(2, 9)),
        ];
        assert_eq!(got, [named, other, later], "{said:?}");
    }

    #[test]
    fn a_partys_last_word_on_its_transfer_is_the_label() {
        check(&[(0, 1, 0, 1)], true, false, false);
        check(&[(0, 1, 0, 1), (0, 1, 0, 2)], false, false, false);
        check(&[(0, 1, 0, 2), (0, 1, 0, 1)], true, false, false);
    }

    #[test]
    fn an_accused_account_taints_all_that_it_pays_or_is_paid() {
        check(&[(0, 1, 2, 1)], true, true, true);
        // The account is cleared, and so is the transfer that both reports name.
        check(&[(0, 1, 2, 1), (0, 1, 2, 2)], false, false, false);
        // Another's word does not take the first's back.
        check(&[(0, 1, 2, 1), (1, 3, 2, 2)], true, true, true);
        assert_eq!(verdicts(&[(0, 1, 2, 1)]).culprit(&transfer(2, 9)), 2);
    }

    #[test]
    fn strangers_and_transfers_that_are_not_there_do_not_count() {
        check(&[(0, 3, 2, 1)], false, false, false);
        check(&[(9, 1, 2, 1)], false, false, false);
        // An account that is no party of the transfer is not accused by it; the transfer is reported all the same.
        check(&[(0, 1, 3, 1)], true, false, false);
        let counted = verdicts(&[(0, 3, 2, 1), (0, 1, 2, 1)]);
        assert_eq!((counted.reports, counted.counted), (2, 1));
    }
}
