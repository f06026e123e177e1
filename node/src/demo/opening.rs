//! Opening: the operations that create the asset, open the accounts and pay their opening balances.

use crate::ledger::issuance_account;
use selfchain_types::{AccountFlags, AccountId, Amount, AssetId, KeyId, Operation};

/// The demo's one asset.
pub(super) const ASSET: AssetId = AssetId(1);

/// Operations of one transaction at most: a few of them fill a block.
const BATCH_LEN_MAX: usize = 4_096;

/// An account to be opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    pub(super) id: AccountId,
    pub(super) owner: KeyId,
    pub(super) opening: Amount,
}

/// The transactions that open `accounts`, to be signed by whoever is to issue the asset. `effective_ns` is the
/// operations' own time, on a chain where they have one; else 0.
pub(super) fn transactions(
    scale: u16,
    accounts: impl Iterator<Item = Account>,
    effective_ns: u64,
) -> impl Iterator<Item = Vec<Operation>> {
    let issuance = issuance_account(ASSET);
    let asset = Operation::create_asset(ASSET, issuance, KeyId::NONE, scale, Amount::MAX);
    let mut operations = core::iter::once(asset).chain(accounts.flat_map(move |account| {
        let flags = AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS;
        let open = Operation::open_account(account.id, ASSET, account.owner, flags, Amount::ZERO, 0);
        let id = account.id.0 | FUNDING;
        let fund = Operation::transfer(id, issuance, account.id, account.opening, ASSET);
        [Some(open), (account.opening != Amount::ZERO).then_some(fund)]
            .into_iter()
            .flatten()
    }));
    core::iter::from_fn(move || {
        let mut batch: Vec<Operation> = operations.by_ref().take(BATCH_LEN_MAX).collect();
        batch
            .iter_mut()
            .for_each(|operation| operation.effective_ns = effective_ns.into());
        (!batch.is_empty()).then_some(batch)
    })
}

/// Added to an account's number for the id of the transfer that pays its opening balance.
const FUNDING: u128 = 1 << 66;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_account_is_opened_before_it_is_paid() {
        let accounts = (1..=5_000u128).map(|id| Account {
            id: AccountId(id),
            owner: KeyId::NONE,
            opening: Amount(id % 2),
        });
        let transactions: Vec<_> = transactions(9, accounts, 77).collect();
        assert_eq!(
            transactions.iter().map(Vec::len).collect::<Vec<_>>(),
            [4_096, 3_405]
        );
        let operations = transactions.concat();
        assert_eq!(operations.len(), 1 + 5_000 + 2_500);
        assert!(
            operations
                .iter()
                .all(|operation| operation.effective_ns.get() == 77)
        );
        let opened = operations
            .iter()
            .position(|operation| operation.id.get() == 4_999);
        let paid = operations
            .iter()
            .position(|operation| operation.id.get() == 4_999 | FUNDING);
        assert!(opened < paid);
    }
}
