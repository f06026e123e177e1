//! Kills a real node at random instants under load, and checks after every restart that nothing acknowledged is
//! lost, nothing is applied twice, every counter goes on, and the log verifies.
//!
//! `cargo run --release -p selfchain-tests --bin kill -- --cycles 1000 [--seed S] [--verify-every K] [--json FILE]`.
//! Exits with 0 only when all of it holds; else it names the data directory, which it keeps, and the command that
//! repeats the run. The instants come from the seed; how far the node is at each is the machine's.

use selfchain::client::{Client, ClientOptions};
use selfchain::drive::PipelineConfig;
use selfchain::node::{Node, NodeConfig};
use selfchain::storage::{FileDisk, IndexConfig, LogConfig, SnapshotConfig};
use selfchain::store::{Store, StoreConfig};
use selfchain::telemetry::Metrics;
use selfchain::types::codec::wide;
use selfchain::types::crypto::SigningKey;
use selfchain::types::envelope::EnvelopeView;
use selfchain::types::message::{Committed, Detail, Reply, Request};
use selfchain::types::operation::Kind;
use selfchain::types::seam::log::LogError;
use selfchain::types::{
    Amount, AssetId, EnvelopeBuilder, Genesis, Hash, Height, KeyId, OperationFlags, Outcome,
};
use selfchain::verify::verify;
use selfchain::{AccountFlags, AccountId, Operation};
use selfchain_transport::client::{ClientConfig, ReceiveError, blocking};
use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

type Checked<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, directory] = &arguments[..]
        && flag == "--node"
    {
        return ended(serve(Path::new(directory)));
    }
    ended(Options::read(&arguments).and_then(|options| run(&options)))
}

fn ended(result: Checked<()>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    let mut cause: Option<&dyn Error> = Some(&*error);
    while let Some(one) = cause {
        eprintln!("kill: {one}");
        cause = one.source();
    }
    ExitCode::FAILURE
}

// --- The node that is killed ---------------------------------------------------------------------------------

/// Small segments, runs and snapshots, so that kills fall into sealing, merging and snapshotting too.
fn config() -> NodeConfig {
    let reserve_bytes = 16 << 20;
    NodeConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        limits: selfchain_transport::Limits::default(),
        pipeline: PipelineConfig {
            block_interval: Duration::from_millis(1),
            snapshot_every: 37,
            ..PipelineConfig::default()
        },
        store: StoreConfig {
            log: LogConfig {
                segment_bytes: 256 << 10,
                reserve_bytes,
                ..LogConfig::default()
            },
            index: IndexConfig {
                buffer_heights_max: 32,
                reserve_bytes,
                ..IndexConfig::default()
            },
            snapshots: SnapshotConfig {
                reserve_bytes,
                ..SnapshotConfig::default()
            },
        },
        key_log_path: None,
    }
}

fn node_key() -> SigningKey {
    SigningKey::from_seed(&[7; 32])
}

/// Runs a node on a directory until standard input ends, then drains it.
fn serve(directory: &Path) -> Checked<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let disk = Arc::new(FileDisk::open(directory)?);
    let metrics = Arc::new(Metrics::default());
    let node = Node::start(
        disk,
        &node_key(),
        &config(),
        metrics,
        runtime.handle(),
        &mut |_| {},
    )?;
    writeln!(std::io::stdout(), "{}", node.address())?;
    let ended = std::io::stdin().lines().next();
    if let Some(said) = ended {
        return Err(format!("nothing is to be said to a node: {said:?}").into());
    }
    Ok(runtime.block_on(node.stop())?)
}

/// A node in a process of its own. Dropping it kills it.
struct NodeProcess {
    child: Child,
    /// Closed, it asks the node to stop.
    stdin: Option<ChildStdin>,
    address: Receiver<SocketAddr>,
}

impl NodeProcess {
    fn spawn(directory: &Path) -> Checked<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--node")
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (to, address) = sync_channel(1);
        let stdout = child.stdout.take().ok_or("no standard output")?;
        std::thread::spawn(move || {
            let line = BufReader::new(stdout).lines().next().and_then(Result::ok);
            if let Some(found) = line.and_then(|line| line.parse().ok()) {
                // Whoever spawned it may have killed it meanwhile, and wait no more.
                to.try_send(found).unwrap_or_default();
            }
        });
        Ok(Self {
            stdin: child.stdin.take(),
            child,
            address,
        })
    }

    fn address(&self) -> Checked<SocketAddr> {
        Ok(self
            .address
            .recv_timeout(START_MAX)
            .map_err(|_| "the node did not start")?)
    }

    /// SIGKILL.
    fn kill(mut self) -> Checked<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn stop(mut self) -> Checked<()> {
        drop(self.stdin.take());
        let status = self.child.wait()?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("the node stopped with {status}").into())
        }
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("kill: the node is not gone: {error}");
        }
    }
}

const START_MAX: Duration = Duration::from_secs(120);

// --- The cycles ----------------------------------------------------------------------------------------------

struct Options {
    cycles: u64,
    seed: u64,
    verify_every: u64,
    json: Option<PathBuf>,
}

impl Options {
    fn read(arguments: &[String]) -> Checked<Self> {
        let mut options = Self {
            cycles: 25,
            seed: 1,
            verify_every: 0,
            json: None,
        };
        let mut rest = arguments.iter();
        while let Some(flag) = rest.next() {
            let value = rest.next().ok_or_else(|| format!("{flag} needs a value"))?;
            match flag.as_str() {
                "--cycles" => options.cycles = value.parse()?,
                "--seed" => options.seed = value.parse()?,
                "--verify-every" => options.verify_every = value.parse()?,
                "--json" => options.json = Some(value.into()),
                _ => return Err(format!("there is no flag {flag}").into()),
            }
        }
        if options.verify_every == 0 {
            // Verifying opens the log and so recovers it: the cycles between leave that to the node.
            options.verify_every = (options.cycles / 40).max(3);
        }
        Ok(options)
    }
}

/// What a run has seen.
#[derive(Default)]
struct Tally {
    kills: u64,
    kills_while_starting: u64,
    submitted: u64,
    acknowledged: u64,
    in_flight: u64,
    in_flight_durable: u64,
    duplicates: u64,
    verified: u64,
    height: u64,
}

fn run(options: &Options) -> Checked<()> {
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

impl Tally {
    fn line(&self, began: Instant) -> String {
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

    fn json(&self, options: &Options, began: Instant) -> serde_json::Value {
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

struct Run {
    directory: PathBuf,
    chain_id: Hash,
    random: Random,
    workers: Vec<Worker>,
    /// Submitted since the last check.
    open: Vec<Submitted>,
    /// Everything before: where it is and what became of it.
    settled: Vec<(Hash, Committed)>,
    model: Model,
    tally: Tally,
}

/// A transaction that was handed to a connection.
struct Submitted {
    signer: KeyId,
    lane: (usize, usize),
    tx_id: Hash,
    envelope: Vec<u8>,
    /// What the node said, if it came to say it.
    result: Option<Committed>,
}

impl Run {
    fn new(directory: PathBuf, options: &Options) -> Checked<Self> {
        let genesis = Genesis::solo("kill", options.seed, node_key().public().clone());
        Store::create(&FileDisk::open(&directory)?, &genesis)?;
        let mut random = Random(options.seed);
        let workers = (0..WORKERS)
            .map(|number| Worker::new(number, random.next()))
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

    /// Everything that may be said of a restarted node before it is loaded again.
    fn check(&mut self, client: &Client) -> Checked<()> {
        let restarted = client.status()?.tip;
        let mut open = std::mem::take(&mut self.open);
        // The acknowledged are there; of the rest, each lane's first ones are.
        let mut durable: BTreeMap<(usize, usize), u64> = BTreeMap::new();
        let mut ended: BTreeMap<(usize, usize), bool> = BTreeMap::new();
        let mut is_durable = Vec::with_capacity(open.len());
        let ids: Vec<Hash> = open.iter().map(|one| one.tx_id).collect();
        for (one, found) in open.iter_mut().zip(ask_all(client, &ids)?) {
            if let Some(expected) = &one.result {
                same(found.as_ref(), expected)?;
            } else if found.is_some() {
                self.tally.in_flight_durable += 1;
            }
            let has_ended = ended.entry(one.lane).or_default();
            match &found {
                Some(found) if *has_ended || found.height > restarted => {
                    return Err(
                        format!("{} is there without the one before it on its lane", one.tx_id).into(),
                    );
                }
                Some(_) => *durable.entry(one.lane).or_default() += 1,
                None => *has_ended = true,
            }
            is_durable.push(found.is_some());
            one.result = found;
        }
        self.check_counters(client, &durable)?;
        self.resubmit(client, &mut open, &is_durable, restarted)?;
        for one in &open {
            *self.worker_lane(one.lane) += 1;
        }
        self.check_counters(client, &BTreeMap::new())?;
        open.sort_by_key(|one| one.result.as_ref().map(|result| (result.height, result.index)));
        for one in open {
            let result = one.result.ok_or("resubmitted without a result")?;
            self.model.commit(one.signer, &one.envelope, &result)?;
            self.settled.push((one.tx_id, result));
        }
        self.check_balances(client)?;
        for _ in 0..SETTLED_SAMPLE.min(self.settled.len()) {
            let (tx_id, expected) =
                &self.settled[usize::try_from(self.random.below(wide(self.settled.len())))?];
            same(client.transaction(*tx_id)?.as_ref(), expected)?;
        }
        Ok(())
    }

    /// Every transaction a second time, in the order of its lane: what is there is a duplicate with its first
    /// result, the rest commits; and a third time, when all are duplicates.
    fn resubmit(
        &mut self,
        client: &Client,
        open: &mut [Submitted],
        is_durable: &[bool],
        restarted: Height,
    ) -> Checked<()> {
        for is_third in [false, true] {
            let tickets: Vec<_> = open
                .iter()
                .map(|one| client.submit(&one.envelope, Detail::Refusals))
                .collect::<Result<_, _>>()?;
            for ((one, ticket), was_there) in open.iter_mut().zip(tickets).zip(is_durable) {
                let result = ticket
                    .wait()
                    .map_err(|error| format!("{} resubmitted: {error}", one.tx_id))?;
                let must_be_duplicate = is_third || *was_there;
                if result.duplicate != must_be_duplicate {
                    return Err(
                        format!("{}: duplicate is {}: {result:?}", one.tx_id, result.duplicate).into(),
                    );
                }
                match &one.result {
                    Some(first) => {
                        self.tally.duplicates += 1;
                        same(
                            Some(&Committed {
                                duplicate: false,
                                ..result
                            }),
                            first,
                        )?;
                    }
                    None if result.height > restarted => one.result = Some(result),
                    None => return Err(format!("{} commits in an old block: {result:?}", one.tx_id).into()),
                }
            }
        }
        Ok(())
    }

    /// The ledger's counters are those of what is known to be settled and of `more`.
    fn check_counters(&self, client: &Client, more: &BTreeMap<(usize, usize), u64>) -> Checked<()> {
        for (number, worker) in self.workers.iter().enumerate() {
            let record = client.key(worker.key.id())?;
            for (lane, next) in worker.settled.iter().enumerate() {
                let got = record.as_ref().map_or(0, |record| record.lanes[lane].get());
                let want = next + more.get(&(number, lane)).copied().unwrap_or(0);
                if got != want {
                    return Err(format!("worker {number}, lane {lane}: counter {got}, not {want}").into());
                }
            }
        }
        Ok(())
    }

    fn worker_lane(&mut self, (worker, lane): (usize, usize)) -> &mut u64 {
        &mut self.workers[worker].settled[lane]
    }

    fn check_balances(&self, client: &Client) -> Checked<()> {
        for (id, expected) in &self.model.accounts {
            let found = client
                .account(AccountId(*id))?
                .ok_or("an account is missing")?
                .hot;
            let got = [
                found.debits_posted,
                found.credits_posted,
                found.debits_pending,
                found.credits_pending,
            ];
            if got.map(|total| total.get()) != expected.totals() {
                return Err(format!("account {id} is {found:?}, not {expected:?}").into());
            }
        }
        let status = client.status()?;
        if status.operations != self.model.applied {
            return Err(format!(
                "{} operations applied, not {}",
                status.operations, self.model.applied
            )
            .into());
        }
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

/// Where each transaction is, if it is anywhere.
fn ask_all(client: &Client, ids: &[Hash]) -> Checked<Vec<Option<Committed>>> {
    let share = ids.len().div_ceil(ASKING_THREADS).max(1);
    std::thread::scope(|scope| {
        let ask = |ids: &[Hash]| {
            ids.iter()
                .map(|tx_id| client.transaction(*tx_id))
                .collect::<Result<Vec<_>, _>>()
        };
        let threads: Vec<_> = ids
            .chunks(share)
            .map(|ids| scope.spawn(move || ask(ids)))
            .collect();
        let mut answers = Vec::with_capacity(ids.len());
        for thread in threads {
            answers.extend(thread.join().map_err(|_| "a thread that asks panicked")??);
        }
        Ok(answers)
    })
}

fn view(envelope: &[u8]) -> Checked<EnvelopeView<'_>> {
    Ok(EnvelopeView::new(envelope).map_err(|refusal| format!("not an envelope: {refusal}"))?)
}

fn connect(address: SocketAddr) -> Checked<Client> {
    let deadline = Duration::from_secs(60);
    Ok(Client::connect(&ClientOptions {
        deadline,
        ..ClientOptions::new(address, server_key()?)
    })?)
}

fn server_key() -> Checked<[u8; 32]> {
    Ok(node_key().public().as_bytes().try_into()?)
}

fn same(found: Option<&Committed>, expected: &Committed) -> Checked<()> {
    if found == Some(expected) {
        Ok(())
    } else {
        Err(format!("found {found:?}, not {expected:?}").into())
    }
}

/// Questions that are asked at once.
const ASKING_THREADS: usize = 8;
const WORKERS: usize = 3;
const ACKNOWLEDGEMENTS_MAX: u64 = 200;
const ACKNOWLEDGEMENT_WAIT_MAX: Duration = Duration::from_secs(60);
/// Acknowledgements that the killer has not counted yet; above, they go uncounted.
const ACKNOWLEDGED_LEN_MAX: usize = 1_024;
const MOMENT_MAX_US: u64 = 6_000;
/// One cycle in so many kills the node while it starts.
const STARTING_ONE_IN: u64 = 8;
const STARTING_WAIT_MAX_US: u64 = 120_000;
/// Earlier transactions asked for after each restart.
const SETTLED_SAMPLE: usize = 16;

// --- The load ------------------------------------------------------------------------------------------------

const MONEY: AssetId = AssetId(1);
const ISSUANCE: AccountId = AccountId(1 << 64);
const ACCOUNTS: u64 = 5;
const LANES: usize = 3;
const WINDOW: usize = 48;
/// Submissions of one worker in one cycle.
const SUBMITTED_MAX: usize = 2_000;
const BATCH_MAX: u64 = 40;
const REPLY_WAIT: Duration = Duration::from_millis(20);
const SEND_WAIT: Duration = Duration::from_secs(10);

/// A key with accounts of its own, which sends on several lanes at once.
struct Worker {
    number: usize,
    key: SigningKey,
    random: Random,
    /// Last counter of each lane that is known to be used.
    settled: [u64; LANES],
    /// Operations made so far: their ids.
    made: u128,
    /// Reservations that may be open: id and amount.
    reserved: VecDeque<(u128, u64)>,
}

impl Worker {
    fn new(number: usize, seed: u64) -> Self {
        let mut bytes = [3; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self {
            number,
            key: SigningKey::from_seed(&bytes),
            random: Random(seed),
            settled: [0; LANES],
            made: 0,
            reserved: VecDeque::new(),
        }
    }

    fn accounts(&self) -> impl Iterator<Item = AccountId> + use<> {
        let first = account_of(self.number, 0).0;
        (first..first + u128::from(ACCOUNTS)).map(AccountId)
    }

    /// Keeps a window of transactions in flight until the node is killed. Gives back all that it handed over.
    fn load(
        &mut self,
        address: SocketAddr,
        chain_id: Hash,
        tip: Height,
        acknowledged: &SyncSender<()>,
        is_killed: &AtomicBool,
    ) -> Checked<Vec<Submitted>> {
        let mut submitted: Vec<Submitted> = Vec::new();
        let client = blocking::Client::new(ClientConfig::new(address, server_key()?))?;
        let Ok(connection) = client.connect() else {
            // Killed before it was connected to, or else nobody will be acknowledged.
            return Ok(submitted);
        };
        let (sender, mut receiver) = connection.split();
        let mut counters = self.settled;
        let mut answered = 0;
        loop {
            let was_killed = is_killed.load(Ordering::Acquire);
            while !was_killed && submitted.len() - answered < WINDOW && submitted.len() < SUBMITTED_MAX {
                let lane = usize::try_from(self.random.below(3))? % LANES;
                let builder = EnvelopeBuilder::new(chain_id, tip, 4_000, self.operations());
                counters[lane] += 1;
                let envelope = builder.sign(&[(&self.key, u32::try_from(lane)?, counters[lane])]);
                let request = Request::Submit {
                    detail: Detail::Refusals,
                    envelope: &envelope,
                };
                let frame = request.encode(wide(submitted.len()));
                let tx_id = view(&envelope)?.tx_id();
                let (signer, lane) = (self.key.id(), (self.number, lane));
                submitted.push(Submitted {
                    signer,
                    lane,
                    tx_id,
                    envelope,
                    result: None,
                });
                if let Err(error) = sender.send(frame, SEND_WAIT)
                    && !is_killed.load(Ordering::Acquire)
                {
                    return Err(format!("not sent: {error}").into());
                }
            }
            match receiver.receive(REPLY_WAIT) {
                Ok(frames) => {
                    for frame in frames {
                        answered += usize::from(take(&frame, &mut submitted, acknowledged)?);
                    }
                }
                Err(ReceiveError::Deadline { .. }) if !was_killed => {}
                Err(error) if !was_killed && !is_killed.load(Ordering::Acquire) => {
                    return Err(format!("the connection broke before the kill: {error}").into());
                }
                // All that had arrived is taken.
                Err(_) => return Ok(submitted),
            }
        }
    }

    /// A plain transfer, a batch, a chain, a reservation, or what becomes of one.
    fn operations(&mut self) -> Vec<Operation> {
        match self.random.below(20) {
            0..=9 => vec![self.transfer()],
            10..=12 => (0..self.random.below(BATCH_MAX) + 2)
                .map(|_| self.transfer())
                .collect(),
            13 => vec![
                self.transfer().linked(),
                self.transfer().linked(),
                self.transfer(),
            ],
            14..=16 => {
                let amount = self.random.below(40) + 1;
                let (id, from, to) = (self.id(), self.own(), self.any());
                self.reserved.push_back((id, amount));
                if self.reserved.len() > RESERVED_MAX {
                    self.reserved.pop_front();
                }
                vec![Operation::reserve(
                    id,
                    from,
                    to,
                    Amount(u128::from(amount)),
                    MONEY,
                    0,
                )]
            }
            _ => self.settle(),
        }
    }

    fn settle(&mut self) -> Vec<Operation> {
        let Some((pending, amount)) = self.reserved.pop_front() else {
            return vec![self.transfer()];
        };
        let id = self.id();
        let part = Amount(u128::from(self.random.below(amount) + 1));
        vec![match self.random.below(4) {
            0 => Operation::post(id, pending, Amount::MAX),
            1 => Operation::post(id, pending, part),
            _ => Operation::void(id, pending),
        }]
    }

    fn transfer(&mut self) -> Operation {
        // One in eight is more than anybody has.
        let amount = if self.random.below(8) == 0 {
            1_000_000
        } else {
            self.random.below(50) + 1
        };
        Operation::transfer(
            self.id(),
            self.own(),
            self.any(),
            Amount(u128::from(amount)),
            MONEY,
        )
    }

    fn id(&mut self) -> u128 {
        self.made += 1;
        self.made << 8 | account_of(self.number, 0).0
    }

    fn own(&mut self) -> AccountId {
        account_of(self.number, self.random.below(ACCOUNTS))
    }

    fn any(&mut self) -> AccountId {
        let worker = usize::try_from(self.random.below(3)).unwrap_or(0) % WORKERS;
        account_of(worker, self.random.below(ACCOUNTS))
    }
}

/// Reservations that a worker remembers; those it forgets stay open.
const RESERVED_MAX: usize = 64;

fn account_of(worker: usize, at: u64) -> AccountId {
    let worker = wide(worker);
    AccountId(u128::from((worker + 1) * 16 + at))
}

/// Takes a reply; whether it was the last one for its transaction.
fn take(frame: &[u8], submitted: &mut [Submitted], acknowledged: &SyncSender<()>) -> Checked<bool> {
    let (number, reply) = Reply::decode(frame)?;
    let one = submitted
        .get_mut(usize::try_from(number)?)
        .ok_or("a reply to nothing")?;
    match reply {
        Reply::Accepted => Ok(false),
        Reply::Committed(committed) if !committed.duplicate && one.result.is_none() => {
            one.result = Some(committed);
            // A killer that has heard enough listens no more.
            acknowledged.try_send(()).unwrap_or_default();
            Ok(true)
        }
        other => Err(format!("{} was answered {other:?}", one.tx_id).into()),
    }
}

// --- The model -----------------------------------------------------------------------------------------------

/// What is committed, applied one operation at a time: slow and obvious.
#[derive(Clone, Default)]
struct Model {
    accounts: BTreeMap<u128, Account>,
    pendings: BTreeMap<u128, Pending>,
    /// Operations that took effect.
    applied: u64,
}

#[derive(Clone, Copy, Debug)]
struct Account {
    owner: KeyId,
    is_bounded: bool,
    debits: u128,
    credits: u128,
    debits_pending: u128,
    credits_pending: u128,
}

#[derive(Clone, Copy)]
struct Pending {
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

    fn totals(&self) -> [u128; 4] {
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
    fn commit(&mut self, signer: KeyId, envelope: &[u8], result: &Committed) -> Checked<()> {
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

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`, which is not zero.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
