//! What one flooding peer costs an honest one: commit latencies before and during a flood at ten times its rate.
//!
//! `cargo run --release -p selfchain-tests --bin flood`. Prints the medians over several rounds, which alternate
//! between calm and flood, and exits with 0 when the honest client's p99 less than doubles.

use selfchain::client::{Client, ClientOptions, Signer};
use selfchain::drive::PipelineConfig;
use selfchain::node::{Node, NodeConfig, ScoringConfig};
use selfchain::storage::FileDisk;
use selfchain::store::{Store, StoreConfig};
use selfchain::telemetry::Metrics;
use selfchain::types::crypto::SigningKey;
use selfchain::types::message::{Detail, Request};
use selfchain::types::{Amount, AssetId, EnvelopeBuilder, Genesis, Height, KeyId, Refusal};
use selfchain::{AccountFlags, AccountId, Operation};
use selfchain_transport::Limits;
use selfchain_transport::client::{ClientConfig, ReceiveError, blocking};
use selfchain_transport::limits::Rate;
use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

type Checked<T> = Result<T, Box<dyn Error + Send + Sync>>;

const MONEY: AssetId = AssetId(1);
const ISSUANCE: AccountId = AccountId(1 << 64);
const ALICE: AccountId = AccountId(1);
const BOB: AccountId = AccountId(2);
/// What the honest client sends, transactions a second, and what each identity is allowed.
const HONEST_PER_S: u64 = 200;
const ALLOWED: Rate = Rate {
    per_s: 400,
    burst: 400,
};
/// The flooder's rate, as a multiple of the honest one's.
const FLOOD_TIMES: u64 = 10;
const ROUNDS: usize = 7;
const ROUND_TRANSACTIONS: u64 = 600;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("flood: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Checked<bool> {
    let directory = tempfile::tempdir()?;
    let key = SigningKey::from_seed(&[7; 32]);
    let genesis = Genesis::solo("flood", 1, key.public().clone());
    let disk = Arc::new(FileDisk::open(directory.path())?);
    Store::create(&*disk, &genesis)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let config = NodeConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        // By address, which both share: the flooder shows a key, and is counted by that.
        limits: Limits {
            identity_frames: ALLOWED,
            ..Limits::default()
        },
        pipeline: PipelineConfig::default(),
        store: StoreConfig::default(),
        scoring: ScoringConfig::default(),
        validator: Default::default(),
        vault: None,
        keep_for: Vec::new(),
        key_log_path: None,
    };
    let metrics = Arc::new(Metrics::default());
    let node = Node::start(
        disk,
        &key,
        &config,
        Arc::clone(&metrics),
        runtime.handle(),
        &mut |_| {},
    )?;
    let client = Client::connect(&ClientOptions::new(node.address(), node.public_key()))?;
    let signer = client.signer(SigningKey::from_seed(&[9; 32]), 0)?;
    open(&signer)?;
    let garbage = EnvelopeBuilder::new(genesis.chain_id(), Height(1), 4_000, vec![pay()]).sign(&[(
        &SigningKey::from_seed(&[8; 32]),
        0,
        1_000_000,
    )]);
    let config = ClientConfig {
        client_seed: Some([1; 32]),
        ..ClientConfig::new(node.address(), node.public_key())
    };
    let (mut calm, mut flooded) = (Vec::new(), Vec::new());
    let sent = AtomicU64::new(0);
    for _ in 0..ROUNDS {
        calm.push(latencies(&signer)?);
        let is_over = AtomicBool::new(false);
        flooded.push(std::thread::scope(|scope| {
            let flooder = scope.spawn(|| flood(&config, &garbage, &is_over, &sent));
            let measured = latencies(&signer);
            is_over.store(true, Ordering::Release);
            flooder.join().map_err(|_| "the flooder panicked")??;
            measured
        })?);
    }
    let (calm, flooded) = (medians(&mut calm), medians(&mut flooded));
    println!(
        "honest {HONEST_PER_S}/s, flooder {}/s for {ROUNDS} rounds of {ROUND_TRANSACTIONS}: {} sent, {} refused",
        HONEST_PER_S * FLOOD_TIMES,
        sent.load(Ordering::Relaxed),
        metrics.refused_count(Refusal::RateLimited),
    );
    for (name, (p50, p99)) in [("calm", calm), ("flood", flooded)] {
        println!(
            "{name:>5}: p50 {:.2} ms, p99 {:.2} ms",
            p50.as_secs_f64() * 1e3,
            p99.as_secs_f64() * 1e3
        );
    }
    let times = flooded.1.as_secs_f64() / calm.1.as_secs_f64();
    println!("p99 during the flood is {times:.2} times the calm one");
    drop((signer, client));
    runtime.block_on(node.stop())?;
    Ok(times < 2.0)
}

fn pay() -> Operation {
    Operation::transfer(1, ALICE, BOB, Amount(1), MONEY)
}

fn open(signer: &Signer) -> Checked<()> {
    let flags = AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS;
    let account = |id| Operation::open_account(id, MONEY, KeyId::NONE, flags, Amount::ZERO, 0);
    signer.commit(vec![
        Operation::create_asset(MONEY, ISSUANCE, KeyId::NONE, 2, Amount::MAX),
        account(ALICE),
        account(BOB),
        Operation::transfer(1, ISSUANCE, ALICE, Amount(1_000_000_000), MONEY),
    ])?;
    Ok(())
}

/// The median round's p50 and p99.
fn medians(rounds: &mut [(Duration, Duration)]) -> (Duration, Duration) {
    let middle = rounds.len() / 2;
    rounds.sort_by_key(|round| round.0);
    let p50 = rounds[middle].0;
    rounds.sort_by_key(|round| round.1);
    (p50, rounds[middle].1)
}

/// One round at the honest rate, each latency counted from when its turn was: p50 and p99.
fn latencies(signer: &Signer) -> Checked<(Duration, Duration)> {
    let (tickets, waiting) = std::sync::mpsc::sync_channel(IN_FLIGHT_MAX);
    let mut taken = std::thread::scope(|scope| {
        let waiter = scope.spawn(move || {
            let mut taken = Vec::new();
            for (turn, ticket) in waiting {
                let (turn, ticket): (Instant, selfchain::client::Ticket) = (turn, ticket);
                ticket.wait()?;
                taken.push(turn.elapsed());
            }
            Ok::<_, Box<dyn Error + Send + Sync>>(taken)
        });
        let began = Instant::now();
        for at in 0..ROUND_TRANSACTIONS {
            let turn = began + Duration::from_micros(at * 1_000_000 / HONEST_PER_S);
            pause_until(turn);
            tickets.send((turn, signer.submit(vec![pay()], Detail::Refusals)?))?;
        }
        drop(tickets);
        waiter.join().map_err(|_| "the waiter panicked")?
    })?;
    taken.sort_unstable();
    Ok((taken[taken.len() / 2], taken[taken.len() * 99 / 100]))
}

/// Transactions of the honest client without an answer.
const IN_FLIGHT_MAX: usize = 1_024;

fn pause_until(turn: Instant) {
    while let Some(left) = turn
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
    {
        std::thread::park_timeout(left);
    }
}

/// Sends the same envelope at ten times the honest rate until it is over; what is refused stays refused.
fn flood(config: &ClientConfig, envelope: &[u8], is_over: &AtomicBool, sent: &AtomicU64) -> Checked<()> {
    let client = blocking::Client::new(config.clone())?;
    let (sender, mut receiver) = client.connect()?.split();
    let frame = Request::Submit {
        detail: Detail::Refusals,
        envelope,
    }
    .encode(1);
    std::thread::scope(|scope| {
        // Its answers are taken, or it would be closed as a slow reader.
        scope.spawn(move || {
            while !is_over.load(Ordering::Acquire) {
                match receiver.receive(Duration::from_millis(50)) {
                    Ok(_) | Err(ReceiveError::Deadline { .. }) => {}
                    Err(_) => return,
                }
            }
        });
        let began = Instant::now();
        let mut at = 0;
        while !is_over.load(Ordering::Acquire) {
            pause_until(began + Duration::from_micros(at * 1_000_000 / (HONEST_PER_S * FLOOD_TIMES)));
            sender.send(frame.clone(), Duration::from_secs(10))?;
            at += 1;
        }
        sent.fetch_add(at, Ordering::Relaxed);
        Ok(())
    })
}
