//! Measures the ledger alone on one core: `cargo run --profile bench -p selfchain-engine --example apply_rate`.
//!
//! Plain transfers over many accounts, uniform and Zipf, executed and folded, in blocks of full envelopes that
//! are decoded beforehand; roots are hashed after every block, and timed apart. Time is this thread's own. Arguments:
//! accounts, transfers, full envelopes a block.
#![allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    clippy::disallowed_methods,
    reason = "a measurement, not the product: it stops at the first surprise"
)]

use selfchain_engine::ledger::Ledger;
use selfchain_types::block::BlockResult;
use selfchain_types::crypto::SigningKey;
use selfchain_types::envelope::EnvelopeView;
use selfchain_types::{
    AccountFlags, AccountId, Amount, AssetId, EnvelopeBuilder, Genesis, Height, KeyId, Operation, TimeNs,
};

const OPERATIONS: usize = 8_190;
const COIN: AssetId = AssetId(1);
const MINT: AccountId = AccountId(1);

/// A generator of 64-bit numbers: SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// Nearly Zipf with exponent 1: the logarithm of the rank is uniform.
    fn skewed(&mut self, bound: u64) -> u64 {
        let unit = self.next() as f64 / u64::MAX as f64;
        ((bound as f64).powf(unit) as u64 - 1).min(bound - 1)
    }
}

struct Chain {
    genesis: Genesis,
    key: SigningKey,
    counter: u64,
}

impl Chain {
    fn envelopes(&mut self, height: Height, operations: &[Operation]) -> Vec<Vec<u8>> {
        let chunks = operations.chunks(OPERATIONS);
        chunks
            .map(|chunk| {
                self.counter += 1;
                EnvelopeBuilder::new(self.genesis.chain_id(), height, 9, chunk.to_vec()).sign(&[(
                    &self.key,
                    0,
                    self.counter,
                )])
            })
            .collect()
    }
}

fn id(at: u64) -> AccountId {
    AccountId((u128::from(Random(at).next()) << 32) | u128::from(at + 2))
}

fn views(envelopes: &[Vec<u8>]) -> Vec<EnvelopeView<'_>> {
    envelopes
        .iter()
        .map(|bytes| EnvelopeView::new(bytes).unwrap())
        .collect()
}

fn execute(ledger: &mut Ledger, envelopes: &[Vec<u8>]) -> (BlockResult, f64) {
    let views = views(envelopes);
    let (height, time) = (ledger.height().next(), TimeNs(ledger.last_op_time().0 + 1));
    let started = thread_seconds();
    let executed = ledger
        .execute(height, time, &views, &selfchain_types::Risk::default(), &|_| {
            false
        })
        .unwrap();
    let seconds = thread_seconds() - started;
    assert_eq!(executed.refused, 0, "{:?}", executed.result.exceptions.first());
    (executed.result, seconds)
}

/// Seconds that this thread has run: other work on the machine does not count.
fn thread_seconds() -> f64 {
    let schedule = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let ns: f64 = schedule.split_whitespace().next().unwrap().parse().unwrap();
    ns / 1e9
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

fn main() {
    // One thread, this one: what the roots take is then counted whole.
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .use_current_thread();
    pool.build_global().unwrap();
    let mut arguments = std::env::args().skip(1).map(|word| word.parse::<u64>().unwrap());
    let accounts = arguments.next().unwrap_or(1_000_000);
    let transfers = arguments.next().unwrap_or(5_000_000) as usize;
    let block = arguments.next().unwrap_or(15) as usize * OPERATIONS;
    let key = SigningKey::from_seed(&[1; 32]);
    let genesis = Genesis::solo("apply", 1, key.public().clone());
    let mut ledger = Ledger::new(&genesis);
    let mut chain = Chain {
        genesis,
        key,
        counter: 0,
    };
    println!("one transfer between known places: {:.0} ns", ceiling(accounts));
    let before = resident_mib();
    let opened = thread_seconds();
    open_accounts(&mut ledger, &mut chain, accounts, block);
    let seconds = thread_seconds() - opened;
    println!("accounts={accounts} opened in {seconds:.2} s");
    let rooted = thread_seconds();
    ledger.roots();
    println!("all roots in {:.2} s", thread_seconds() - rooted);
    let bytes = (resident_mib() - before) * 1024.0 * 1024.0 / accounts as f64;
    println!("resident {:.0} MiB: {bytes:.0} bytes an account", resident_mib());
    for profile in ["uniform", "zipf"] {
        measure(&mut ledger, &mut chain, accounts, (transfers, block), profile);
    }
    println!("resident {:.0} MiB at the end", resident_mib());
}

/// What this machine needs, now, to move an amount between two of so many records of 96 bytes, in ns.
fn ceiling(accounts: u64) -> f64 {
    let mut records = vec![[1u128; 6]; accounts as usize];
    let mut random = Random(3);
    let places: Vec<(u32, u32)> = (0..2_000_000)
        .map(|_| (random.below(accounts) as u32, random.below(accounts) as u32))
        .collect();
    let started = thread_seconds();
    for (from, to) in &places {
        let from = &mut records[*from as usize];
        from[0] += 1;
        from[5] += 1;
        let to = &mut records[*to as usize];
        to[1] += 1;
        to[5] += 1;
    }
    let seconds = thread_seconds() - started;
    core::hint::black_box(&records);
    seconds * 1e9 / places.len() as f64
}

fn open_accounts(ledger: &mut Ledger, chain: &mut Chain, accounts: u64, block: usize) {
    let issuer = chain.key.id();
    let first = [Operation::create_asset(COIN, MINT, KeyId::NONE, 2, Amount::MAX)];
    let envelopes = chain.envelopes(ledger.height().next(), &first);
    execute(ledger, &envelopes);
    let block = block as u64 / 2;
    for start in (0..accounts).step_by(block as usize) {
        let mut operations = Vec::new();
        for at in start..accounts.min(start + block) {
            let flags = AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS;
            operations.push(Operation::open_account(
                id(at),
                COIN,
                issuer,
                flags,
                Amount::ZERO,
                0,
            ));
            operations.push(Operation::transfer(1, MINT, id(at), Amount(1 << 40), COIN));
        }
        let envelopes = chain.envelopes(ledger.height().next(), &operations);
        execute(ledger, &envelopes);
        ledger.roots();
    }
}

/// Executes blocks, then restores the state before them and folds them; prints the rates.
fn measure(
    ledger: &mut Ledger,
    chain: &mut Chain,
    accounts: u64,
    (transfers, block): (usize, usize),
    profile: &str,
) {
    let mut random = Random(7);
    let mut log: Vec<(Vec<Vec<u8>>, BlockResult)> = Vec::new();
    let mut chunks = Vec::new();
    let can_restore = accounts <= 2_000_000;
    if can_restore {
        ledger.snapshot(&mut |table, bytes| chunks.push((table, bytes.to_vec())));
    }
    let (mut executing, mut rooting, mut done) = (0.0, 0.0, 0);
    while done < transfers {
        let operations: Vec<Operation> = (0..block)
            .map(|at| {
                let mut pick = || match profile {
                    "zipf" => random.skewed(accounts),
                    _ => random.below(accounts),
                };
                let debit = pick();
                let credit = (pick() + accounts / 2) % accounts;
                let credit = if credit == debit {
                    (debit + 1) % accounts
                } else {
                    credit
                };
                Operation::transfer(at as u128 + 1, id(debit), id(credit), Amount(3), COIN)
            })
            .collect();
        let envelopes = chain.envelopes(ledger.height().next(), &operations);
        let (result, seconds) = execute(ledger, &envelopes);
        executing += seconds;
        let started = thread_seconds();
        ledger.roots();
        rooting += thread_seconds() - started;
        done += operations.len();
        if can_restore {
            log.push((envelopes, result));
        }
    }
    let rate = |seconds: f64| done as f64 / seconds / 1e6;
    println!(
        "execute/profile={profile} accounts={accounts} {:.2} M transfers/s ({:.0} ns)",
        rate(executing),
        executing * 1e9 / done as f64
    );
    println!(
        "roots/profile={profile} blocks of {block}: {:.0} ns a transfer",
        rooting * 1e9 / done as f64
    );
    if can_restore {
        let chunks = &mut chunks.into_iter().map(Ok::<_, std::io::Error>);
        let mut folded = Ledger::restore(&chain.genesis, chunks).unwrap();
        folded.roots();
        let started = thread_seconds();
        for (envelopes, result) in &log {
            let views = views(envelopes);
            let (height, time) = (folded.height().next(), TimeNs(folded.last_op_time().0 + 1));
            folded
                .fold(height, time, &views, &selfchain_types::Risk::default(), result)
                .unwrap();
        }
        let seconds = thread_seconds() - started;
        println!("fold/profile={profile} {:.2} M transfers/s", rate(seconds));
        assert_eq!(folded.roots(), ledger.roots());
    }
}
