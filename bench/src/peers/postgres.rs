//! PostgreSQL over its local socket: synchronous_commit=on, one round trip a transaction, N clients or set-based batches.

use std::sync::{Barrier, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use postgres::error::SqlState;
use postgres::{Client, NoTls, Statement};

use super::{Columns, PeerError, PeerPlan, PeerResult, Sums, Tally};
use crate::load::recorder::{add, empty_histogram};
use crate::load::workload::Workload;
use crate::rate::{count, nanoseconds};

/// Measures `batch` transfers a transaction from `clients` connections at once, in fresh tables of the schema
/// `selfchain_bench`, which is dropped if it is there.
///
/// # Errors
/// When PostgreSQL refuses or its commits are not durable, or the workload is impossible.
pub fn measure(
    plan: &PeerPlan,
    connection: &str,
    batch: usize,
    clients: usize,
) -> Result<PeerResult, PeerError> {
    let mut owner = Client::connect(connection, NoTls)?;
    let durability = durability(&mut owner)?;
    open_accounts(&mut owner, plan.accounts)?;
    let workers = (0..clients.max(1))
        .map(|number| Worker::connect(plan, connection, batch, count(number)))
        .collect::<Result<Vec<_>, _>>()?;
    let tally = race(workers, plan.each)?;
    let sums = sums(&mut owner)?;
    let version: String = owner.query_one("SHOW server_version", &[])?.get(0);
    let result = tally.result("postgres", clients.max(1), batch, &sums);
    Ok(PeerResult {
        version: format!("PostgreSQL {version}"),
        durability,
        ..result
    })
}

fn durability(owner: &mut Client) -> Result<String, PeerError> {
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        let got: String = owner.query_one(&format!("SHOW {setting}"), &[])?.get(0);
        if got != "on" {
            return Err(PeerError::NotDurable { setting, got });
        }
    }
    Ok("fsync=on synchronous_commit=on full_page_writes=on".to_owned())
}

/// Rows of accounts leave room on their page, so that an update need not touch the index (HOT); ids of transfers
/// are taken a thousand at a time, so that the sequence is no bottleneck.
fn open_accounts(owner: &mut Client, accounts: u64) -> Result<(), PeerError> {
    owner.batch_execute(
        "DROP SCHEMA IF EXISTS selfchain_bench CASCADE;
         CREATE SCHEMA selfchain_bench;
         SET search_path TO selfchain_bench;
         CREATE TABLE accounts (
             id bigint PRIMARY KEY,
             debits bigint NOT NULL,
             credits bigint NOT NULL
         ) WITH (fillfactor = 50);
         CREATE TABLE transfers (
             id bigint GENERATED ALWAYS AS IDENTITY (CACHE 1000) PRIMARY KEY,
             debit bigint NOT NULL,
             credit bigint NOT NULL,
             amount bigint NOT NULL
         );",
    )?;
    let last = super::integer(accounts) - 1;
    owner.execute(
        "INSERT INTO accounts SELECT id, 0, 0 FROM generate_series(0, $1::bigint) AS id",
        &[&last],
    )?;
    owner.batch_execute(TRANSFER_FUNCTION)?;
    // So that no measurement pays for the one before it.
    owner.batch_execute("VACUUM ANALYZE accounts")?;
    owner.batch_execute("CHECKPOINT")?;
    Ok(())
}

struct Worker {
    client: Client,
    statement: Statement,
    workload: Workload,
    batch: usize,
    transfers: u64,
    retries: u64,
    commits: Histogram<u64>,
}

impl Worker {
    fn connect(plan: &PeerPlan, connection: &str, batch: usize, number: u64) -> Result<Self, PeerError> {
        let mut client = Client::connect(connection, NoTls)?;
        client.batch_execute("SET search_path TO selfchain_bench")?;
        let statement = client.prepare(if batch == 1 { TRANSFER_ONE } else { TRANSFER_SET })?;
        let workload = Workload::new(plan.accounts, plan.profile, plan.seed.wrapping_add(number))?;
        Ok(Self {
            client,
            statement,
            workload,
            batch,
            transfers: 0,
            retries: 0,
            commits: empty_histogram(),
        })
    }

    fn run(&mut self, time: Duration) -> Result<(), PeerError> {
        let begin = Instant::now();
        while begin.elapsed() < time {
            let columns = Columns::take(&mut self.workload, self.batch);
            let commit_begin = Instant::now();
            self.commit(&columns)?;
            self.commits
                .saturating_record(nanoseconds(commit_begin.elapsed()));
            self.transfers += count(columns.amounts.len());
        }
        Ok(())
    }

    /// One statement outside an explicit transaction is one transaction: when it returns, the commit is durable.
    fn commit(&mut self, columns: &Columns) -> Result<(), postgres::Error> {
        let mut attempt = 0;
        loop {
            let done = match (self.batch, columns.rows().next()) {
                (1, Some((debit, credit, amount))) => {
                    self.client.execute(&self.statement, &[&debit, &credit, &amount])
                }
                _ => {
                    let Columns {
                        debits,
                        credits,
                        amounts,
                    } = columns;
                    self.client.execute(&self.statement, &[debits, credits, amounts])
                }
            };
            match done {
                Err(error)
                    if error.code() == Some(&SqlState::T_R_DEADLOCK_DETECTED) && attempt < RETRIES_MAX =>
                {
                    attempt += 1;
                    self.retries += 1;
                }
                done => return done.map(|_rows| ()),
            }
        }
    }
}

/// Starts all workers at one signal and adds up what they did until the last one stopped.
fn race(workers: Vec<Worker>, time: Duration) -> Result<Tally, PeerError> {
    let start = Barrier::new(workers.len() + 1);
    let tally = Mutex::new(Tally {
        transfers: 0,
        retries: 0,
        elapsed: Duration::ZERO,
        commits: empty_histogram(),
    });
    let mut elapsed = Duration::ZERO;
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for mut worker in workers {
            let (start, tally) = (&start, &tally);
            threads.push(scope.spawn(move || {
                start.wait();
                worker.run(time)?;
                let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                tally.transfers += worker.transfers;
                tally.retries += worker.retries;
                add(&mut tally.commits, &worker.commits);
                Ok::<(), PeerError>(())
            }));
        }
        start.wait();
        let begin = Instant::now();
        let ended = threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })
            .collect::<Vec<_>>();
        elapsed = begin.elapsed();
        ended.into_iter().collect::<Result<(), _>>()
    })?;
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Tally { elapsed, ..tally })
}

fn sums(owner: &mut Client) -> Result<Sums, PeerError> {
    let accounts = owner.query_one(
        "SELECT sum(debits)::bigint, sum(credits)::bigint FROM accounts",
        &[],
    )?;
    let transfers = owner.query_one(
        "SELECT coalesce(sum(amount), 0)::bigint, count(*) FROM transfers",
        &[],
    )?;
    Ok(Sums {
        debits: accounts.get(0),
        credits: accounts.get(1),
        amounts: transfers.get(0),
        transfers: transfers.get(1),
    })
}

/// Locks the two rows in the order of their ids, so that clients cannot deadlock.
const TRANSFER_FUNCTION: &str = "
CREATE FUNCTION transfer(debit_id bigint, credit_id bigint, amount bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF debit_id < credit_id THEN
        UPDATE accounts SET debits = debits + amount WHERE id = debit_id;
        UPDATE accounts SET credits = credits + amount WHERE id = credit_id;
    ELSE
        UPDATE accounts SET credits = credits + amount WHERE id = credit_id;
        UPDATE accounts SET debits = debits + amount WHERE id = debit_id;
    END IF;
    INSERT INTO transfers (debit, credit, amount) VALUES (debit_id, credit_id, amount);
END $$";

const TRANSFER_ONE: &str = "SELECT transfer($1, $2, $3)";

/// A whole batch in one statement: rows are inserted together and each account is updated once.
const TRANSFER_SET: &str = "
WITH batch AS (
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS t (debit, credit, amount)
), recorded AS (
    INSERT INTO transfers (debit, credit, amount) SELECT debit, credit, amount FROM batch
), side AS (
    SELECT debit AS id, amount AS debits, 0::bigint AS credits FROM batch
    UNION ALL
    SELECT credit, 0, amount FROM batch
), delta AS (
    SELECT id, sum(debits)::bigint AS debits, sum(credits)::bigint AS credits FROM side GROUP BY id
)
UPDATE accounts SET debits = accounts.debits + delta.debits, credits = accounts.credits + delta.credits
FROM delta WHERE accounts.id = delta.id";

/// A transaction that loses this many deadlocks in a row is a defect of the statement, not bad luck.
const RETRIES_MAX: u32 = 100;
