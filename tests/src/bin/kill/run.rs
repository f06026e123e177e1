//! The cycles of a run: start, check, load, kill; and what it has seen.

use crate::Checked;
use crate::check::{ask_all, same};
use crate::load::{ISSUANCE, MONEY, WORKERS, Worker, view};
use crate::model::Model;
use crate::node::{NodeProcess, connect, node_key};
use crate::options::Options;
use selfchain::storage::FileDisk;
use selfchain::store::Store;
use selfchain::types::codec::wide;
use selfchain::types::crypto::SigningKey;
use selfchain::types::message::{Committed, Detail};
use selfchain::types::seam::log::LogError;
use selfchain::types::{Amount, EnvelopeBuilder, Genesis, Hash, Height, KeyId};
use selfchain::verify::verify;
use selfchain::{AccountFlags, Operation};
use selfchain_tests::random::Random;
use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

pub(crate) fn run(options: &Options) -> Checked<()> {
    let began = Instant::now();
    let directory = tempfile::Builder::new()
        .prefix("selfchain-kill-")
        .tempdir()?
        .keep();
    let mut run = Run::new(directory.clone(), options)?;
    println!("seed {}, {} cycles", options.seed, options.cycles);
    let result = run.all(options, began);
    if let Err(error) = result {
        let Options {
            cycles,
            seed,
            verify_every,
            ..
        } = options;
        eprintln!(
            "kill: failed after {} kills; the data is in {}",
            run.tally.kills,
            directory.display()
        );
        eprintln!(
            "kill: repeat with: cargo run --release -p selfchain-tests --bin kill -- \
             --cycles {cycles} --seed {seed} --verify-every {verify_every}"
        );
        return Err(error);
    }
    println!("{}", run.tally.line(began));
    if let Some(file) = &options.json {
        std::fs::write(file, format!("{:#}\n", run.tally.json(options, began)))?;
    }
    Ok(std::fs::remove_dir_all(directory)?)
}

pub(crate) struct Run {
    pub(crate) directory: PathBuf,
    pub(crate) chain_id: Hash,
    pub(crate) random: Random,
    pub(crate) workers: Vec<Worker>,
    /// Submitted since the last check.
    pub(crate) open: Vec<Submitted>,
    /// Everything before: where it is and what became of it.
    pub(crate) settled: Vec<(Hash, Committed)>,
    pub(crate) model: Model,
    pub(crate) tally: Tally,
}

/// A transaction that was handed to a connection.
pub(crate) struct Submitted {
    pub(crate) signer: KeyId,
    pub(crate) lane: (usize, usize),
    pub(crate) tx_id: Hash,
    pub(crate) envelope: Vec<u8>,
    /// What the node said, if it came to say it.
    pub(crate) result: Option<Committed>,
}

/// What a run has seen.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) kills: u64,
    pub(crate) kills_while_starting: u64,
    pub(crate) submitted: u64,
    pub(crate) acknowledged: u64,
    pub(crate) in_flight: u64,
    pub(crate) in_flight_durable: u64,
    pub(crate) duplicates: u64,
    pub(crate) verified: u64,
    pub(crate) height: u64,
}

impl Tally {
    pub(crate) fn line(&self, began: Instant) -> String {
        format!(
            "{} kills ({} while starting), {} submitted, {} acknowledged, {} in flight when killed ({} of them \
             durable), {} duplicates answered, {} verified to height {}, {:.1} s",
            self.kills,
            self.kills_while_starting,
            self.submitted,
            self.acknowledged,
            self.in_flight,
            self.in_flight_durable,
            self.duplicates,
            self.verified,
            self.height,
            began.elapsed().as_secs_f64()
        )
    }

    pub(crate) fn json(&self, options: &Options, began: Instant) -> serde_json::Value {
        serde_json::json!({
            "schema": 1, "ok": true, "cycles": options.cycles, "seed": options.seed,
            "kills": self.kills, "kills_while_starting": self.kills_while_starting,
            "submitted": self.submitted, "acknowledged": self.acknowledged,
            "in_flight": self.in_flight, "in_flight_durable": self.in_flight_durable,
            "duplicates": self.duplicates, "verified": self.verified, "height": self.height,
            "seconds": began.elapsed().as_secs_f64(),
        })
    }
}

impl Run {
    fn new(directory: PathBuf, options: &Options) -> Checked<Self> {
        let genesis = Genesis::solo("kill", options.seed, node_key().public().clone());
        Store::create(&FileDisk::open(&directory)?, &genesis)?;
        let mut random = Random(options.seed);
        let workers = (0..WORKERS)
            .map(|number| Worker::new(number, random.word()))
            .collect();
        Ok(Self {
            directory,
            chain_id: genesis.chain_id(),
            random,
            workers,
            open: Vec::new(),
            settled: Vec::new(),
            model: Model::default(),
            tally: Tally::default(),
        })
    }

    fn all(&mut self, options: &Options, began: Instant) -> Checked<()> {
        self.set_up()?;
        for cycle in 1..=options.cycles {
            self.cycle().map_err(|error| format!("cycle {cycle}: {error}"))?;
            if cycle % options.verify_every == 0 {
                self.verify(false)
                    .map_err(|error| format!("cycle {cycle}: {error}"))?;
            }
            if cycle % 10 == 0 {
                println!("cycle {cycle}: {}", self.tally.line(began));
            }
        }
        let node = NodeProcess::spawn(&self.directory)?;
        let client = connect(node.address()?)?;
        self.check(&client)?;
        let ids: Vec<Hash> = self.settled.iter().map(|(tx_id, _)| *tx_id).collect();
        for (found, (_, expected)) in ask_all(&client, &ids)?.iter().zip(&self.settled) {
            same(found.as_ref(), expected)?;
        }
        drop(client);
        node.stop()?;
        self.verify(true)
    }

    /// Opens the accounts, and a second time the directory.
    fn set_up(&mut self) -> Checked<()> {
        let operator = SigningKey::from_seed(&[9; 32]);
        let mut operations = vec![Operation::create_asset(
            MONEY,
            ISSUANCE,
            operator.id(),
            2,
            Amount::MAX,
        )];
        for worker in &self.workers {
            for account in worker.accounts() {
                let flags = AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS;
                let owner = worker.key.id();
                operations.push(Operation::open_account(
                    account,
                    MONEY,
                    owner,
                    flags,
                    Amount::ZERO,
                    0,
                ));
                operations.push(Operation::transfer(1, ISSUANCE, account, Amount(10_000), MONEY));
            }
        }
        let builder = EnvelopeBuilder::new(self.chain_id, Height(1), 4_000, operations);
        let envelope = builder.sign(&[(&operator, 0, 1)]);
        let node = NodeProcess::spawn(&self.directory)?;
        let client = connect(node.address()?)?;
        let result = client.submit(&envelope, Detail::Refusals)?.wait()?;
        let tx_id = view(&envelope)?.tx_id();
        self.model.commit(operator.id(), &envelope, &result)?;
        self.settled.push((tx_id, result));
        self.check_second_process(node.child.id())?;
        drop(client);
        node.kill()
    }

    /// Another process is told who holds the directory.
    fn check_second_process(&self, holder: u32) -> Checked<()> {
        match FileDisk::open(&self.directory) {
            Err(LogError::Locked { holder: named, .. }) if named == holder => {}
            other => return Err(format!("a second process was told {other:?}, not who holds it").into()),
        }
        let output = Command::new(std::env::current_exe()?)
            .arg("--node")
            .arg(&self.directory)
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() || !said.contains(&format!("in use by process {holder} ")) {
            return Err(format!("a second node ended with {} and said: {said}", output.status).into());
        }
        Ok(())
    }

    /// Starts the node, checks what the last kill left, loads it, and kills it.
    fn cycle(&mut self) -> Checked<()> {
        let node = NodeProcess::spawn(&self.directory)?;
        self.tally.kills += 1;
        if self.random.below(STARTING_ONE_IN) == 0 {
            let wait = Duration::from_micros(self.random.below(STARTING_WAIT_MAX_US));
            // Whether it listens by then or not: it dies.
            self.tally.kills_while_starting += u64::from(node.address.recv_timeout(wait).is_err());
            return node.kill();
        }
        let address = node.address()?;
        let client = connect(address)?;
        self.check(&client)?;
        let tip = client.status()?.tip;
        drop(client);
        self.load(address, tip, node)
    }

    /// Streams transactions from every worker, and kills the node after some acknowledgements and a moment.
    fn load(&mut self, address: SocketAddr, tip: Height, node: NodeProcess) -> Checked<()> {
        let (acknowledgements, moment) = (
            self.random.below(ACKNOWLEDGEMENTS_MAX),
            Duration::from_micros(self.random.below(MOMENT_MAX_US)),
        );
        let is_killed = AtomicBool::new(false);
        let (told, acknowledged) = sync_channel(ACKNOWLEDGED_LEN_MAX);
        let chain_id = self.chain_id;
        let submitted = std::thread::scope(|scope| {
            let threads: Vec<_> = (self.workers.iter_mut())
                .map(|worker| {
                    let (told, is_killed) = (told.clone(), &is_killed);
                    scope.spawn(move || worker.load(address, chain_id, tip, &told, is_killed))
                })
                .collect();
            drop(told);
            let waited = wait_for(&acknowledged, acknowledgements, moment);
            let killed = node.kill();
            is_killed.store(true, Ordering::Release);
            let loaded: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
            killed?;
            let mut submitted = Vec::new();
            for loaded in loaded {
                submitted.extend(loaded.map_err(|_| "a worker panicked")??);
            }
            waited?;
            Ok::<_, Box<dyn Error + Send + Sync>>(submitted)
        })?;
        let count = |is: &dyn Fn(&&Submitted) -> bool| wide(submitted.iter().filter(is).count());
        self.tally.submitted += count(&|_| true);
        self.tally.acknowledged += count(&|one| one.result.is_some());
        self.tally.in_flight += count(&|one| one.result.is_none());
        self.open.extend(submitted);
        Ok(())
    }

    /// Replays the log of the node that is down; `is_settled`: nothing else was ever submitted.
    fn verify(&mut self, is_settled: bool) -> Checked<()> {
        let report = verify(Arc::new(FileDisk::open(&self.directory)?), &mut |_, _| {})?;
        let known = self
            .settled
            .iter()
            .map(|(_, result)| result.height)
            .max()
            .unwrap_or_default();
        let transfers = self.model.applied;
        if report.height < known
            || report.transfers < transfers
            || (is_settled && report.transfers != transfers)
        {
            return Err(
                format!("verified {report:?}, known are height {known} and {transfers} operations").into(),
            );
        }
        self.tally.verified += 1;
        self.tally.height = report.height.0;
        Ok(())
    }
}

/// Waits for so many acknowledgements, and then a moment longer.
fn wait_for(acknowledged: &Receiver<()>, count: u64, moment: Duration) -> Checked<()> {
    for got in 0..count {
        match acknowledged.recv_timeout(ACKNOWLEDGEMENT_WAIT_MAX) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => return Err(format!("{got} acknowledgements, then none").into()),
            // Every worker has ended, with an error that is reported.
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
    let until = Instant::now() + moment;
    while let Some(left) = until
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
    {
        if acknowledged.recv_timeout(left) == Err(RecvTimeoutError::Disconnected) {
            break;
        }
    }
    Ok(())
}

const ACKNOWLEDGEMENTS_MAX: u64 = 200;
const ACKNOWLEDGEMENT_WAIT_MAX: Duration = Duration::from_secs(60);
/// Acknowledgements that the killer has not counted yet; above, they go uncounted.
const ACKNOWLEDGED_LEN_MAX: usize = 1_024;
const MOMENT_MAX_US: u64 = 6_000;
/// One cycle in so many kills the node while it starts.
const STARTING_ONE_IN: u64 = 8;
const STARTING_WAIT_MAX_US: u64 = 120_000;
