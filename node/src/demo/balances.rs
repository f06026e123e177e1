//! Balances: every account of the node is asked for, by many threads at once, and compared with the fold.

use super::error::DemoError;
use super::fold::Fold;
use crate::client::Client;
use crate::input::account_id;
use core::sync::atomic::{AtomicU64, Ordering};
use serde::Serialize;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// How many balances were compared, and how many differed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BalanceReport {
    /// Accounts compared.
    pub checked: u64,
    /// Accounts whose balance is another on the ledger, or that are not on it.
    pub mismatched: u64,
}

/// Questions under way at most: each thread asks one at a time.
const THREADS: usize = 32;

/// Asks the node for every one of `accounts`, numbered as in the file. `checked` is counted up meanwhile.
pub(super) fn compare(
    client: &Client,
    accounts: impl Iterator<Item = u64> + Send,
    fold: &Fold,
    checked: &AtomicU64,
) -> Result<BalanceReport, DemoError> {
    let accounts = Mutex::new(accounts);
    let mismatched = AtomicU64::new(0);
    let ask = || {
        loop {
            let Some(account) = accounts.lock().unwrap_or_else(PoisonError::into_inner).next() else {
                return Ok::<(), DemoError>(());
            };
            let differs = balance(client, account)? != Some(fold.balance(account));
            mismatched.fetch_add(u64::from(differs), Ordering::Relaxed);
            checked.fetch_add(1, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(ask)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| DemoError::Panicked)?)
    })?;
    Ok(BalanceReport {
        checked: checked.load(Ordering::Relaxed),
        mismatched: mismatched.load(Ordering::Relaxed),
    })
}

/// What the account has by the ledger; `None` of one that is not there, or is overdrawn.
fn balance(client: &Client, account: u64) -> Result<Option<u128>, DemoError> {
    let account = client.account(account_id(account))?;
    Ok(account.and_then(|account| {
        account
            .hot
            .credits_posted
            .get()
            .checked_sub(account.hot.debits_posted.get())
    }))
}
