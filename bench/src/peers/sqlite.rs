//! SQLite in this process: WAL, synchronous=FULL, prepared statements, one writer, which is its best.

use std::time::Instant;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::{Columns, PeerError, PeerPlan, PeerResult, Sums, Tally};
use crate::load::recorder::empty_histogram;
use crate::load::workload::Workload;
use crate::rate::{count, nanoseconds};

/// Measures `batch` transfers a transaction on a fresh file.
///
/// # Errors
/// When SQLite or its folder refuses, or the workload is impossible.
pub fn measure(plan: &PeerPlan, batch: usize) -> Result<PeerResult, PeerError> {
    let folder = tempfile::tempdir_in(&plan.folder).map_err(|source| PeerError::Folder {
        folder: plan.folder.clone(),
        source,
    })?;
    let mut database = Connection::open(folder.path().join("ledger.sqlite"))?;
    let durability = open_accounts(&mut database, plan.accounts)?;
    let mut workload = Workload::new(plan.accounts, plan.profile, plan.seed)?;
    let mut tally = Tally {
        transfers: 0,
        retries: 0,
        elapsed: std::time::Duration::ZERO,
        commits: empty_histogram(),
    };
    let begin = Instant::now();
    while tally.elapsed < plan.each {
        let columns = Columns::take(&mut workload, batch);
        let commit_begin = Instant::now();
        let transaction = database.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transfer(&transaction, &columns)?;
        transaction.commit()?;
        tally
            .commits
            .saturating_record(nanoseconds(commit_begin.elapsed()));
        tally.transfers += count(columns.amounts.len());
        tally.elapsed = begin.elapsed();
    }
    let result = tally.result("sqlite", 1, batch, &sums(&database)?);
    Ok(PeerResult {
        version: format!("SQLite {}", rusqlite::version()),
        durability,
        ..result
    })
}

/// Returns the durability as SQLite reports it back: it ignores what it does not understand.
fn open_accounts(database: &mut Connection, accounts: u64) -> rusqlite::Result<String> {
    let journal: String = database.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    database.execute_batch(
        "PRAGMA synchronous = FULL;
         PRAGMA cache_size = -262144;
         CREATE TABLE accounts (
             id INTEGER PRIMARY KEY,
             debits INTEGER NOT NULL,
             credits INTEGER NOT NULL
         );
         CREATE TABLE transfers (
             id INTEGER PRIMARY KEY,
             debit INTEGER NOT NULL,
             credit INTEGER NOT NULL,
             amount INTEGER NOT NULL
         );",
    )?;
    let synchronous: i64 = database.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
    let transaction = database.transaction()?;
    {
        let mut open = transaction.prepare("INSERT INTO accounts VALUES (?1, 0, 0)")?;
        for account in 0..accounts {
            open.execute(params![super::integer(account)])?;
        }
    }
    transaction.commit()?;
    Ok(format!(
        "journal_mode={journal} synchronous={synchronous} (2 is FULL)"
    ))
}

fn transfer(transaction: &Transaction<'_>, columns: &Columns) -> rusqlite::Result<()> {
    let mut debit_account =
        transaction.prepare_cached("UPDATE accounts SET debits = debits + ?2 WHERE id = ?1")?;
    let mut credit_account =
        transaction.prepare_cached("UPDATE accounts SET credits = credits + ?2 WHERE id = ?1")?;
    let mut record =
        transaction.prepare_cached("INSERT INTO transfers (debit, credit, amount) VALUES (?1, ?2, ?3)")?;
    for (debit, credit, amount) in columns.rows() {
        debit_account.execute(params![debit, amount])?;
        credit_account.execute(params![credit, amount])?;
        record.execute(params![debit, credit, amount])?;
    }
    Ok(())
}

fn sums(database: &Connection) -> rusqlite::Result<Sums> {
    let (debits, credits) =
        database.query_row("SELECT sum(debits), sum(credits) FROM accounts", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let (amounts, transfers) = database.query_row(
        "SELECT coalesce(sum(amount), 0), count(*) FROM transfers",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok(Sums {
        debits,
        credits,
        amounts,
        transfers,
    })
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn small(folder: &std::path::Path) -> PeerPlan {
        let each = Duration::from_millis(5);
        PeerPlan {
            accounts: 50,
            each,
            folder: folder.to_path_buf(),
            ..PeerPlan::default()
        }
    }

    #[test]
    fn transfers_are_durable_conserved_and_leave_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        for batch in [1, 100] {
            let result = measure(&small(folder.path()), batch).unwrap();
            assert!(result.conserved && result.transfers > 0 && result.transfers_per_s > 0.0);
            assert_eq!(result.durability, "journal_mode=wal synchronous=2 (2 is FULL)");
            assert_eq!(result.transfers % count(batch), 0);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn money_from_nowhere_is_noticed() {
        let mut database = Connection::open_in_memory().unwrap();
        open_accounts(&mut database, 10).unwrap();
        let mut workload = Workload::new(10, crate::load::workload::Profile::Uniform, 1).unwrap();
        let transaction = database.transaction().unwrap();
        transfer(&transaction, &Columns::take(&mut workload, 7)).unwrap();
        transaction.commit().unwrap();
        assert!(sums(&database).unwrap().hold(7));
        database
            .execute("UPDATE accounts SET credits = credits + 1 WHERE id = 3", [])
            .unwrap();
        assert!(!sums(&database).unwrap().hold(7));
    }
}
