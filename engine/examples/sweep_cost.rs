//! Measures a snapshot that is swept while the ledger goes on: `cargo run --profile bench -p selfchain-engine
//! --example sweep_cost`.
//!
//! Plain transfers over uniformly drawn accounts, in blocks of one full envelope; after each block the sweep reads
//! as many records as the block had effects, and hands its chunks on to nobody. Prints what a block takes with and
//! without a sweep, and memory against its budget. Arguments: accounts, and effects a block.
#![allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    clippy::disallowed_methods,
    reason = "a measurement, not the product: it stops at the first surprise"
)]

use selfchain_engine::ledger::Ledger;
use selfchain_types::crypto::SigningKey;
use selfchain_types::envelope::EnvelopeView;
use selfchain_types::{
    AccountFlags, AccountId, Amount, AssetId, EnvelopeBuilder, Genesis, KeyId, Operation, TimeNs,
};

const COIN: AssetId = AssetId(1);
const MINT: AccountId = AccountId(1);
const OPERATIONS_MAX: usize = 8_190;
/// The budget: bytes an account, and MiB beside them.
const BUDGET: (f64, f64) = (340.0, 300.0);

struct Bench {
    ledger: Ledger,
    genesis: Genesis,
    key: SigningKey,
    counter: u64,
    seed: u64,
}

impl Bench {
    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Executes a block with its roots; how long that took, in seconds of this thread.
    fn block(&mut self, operations: Vec<Operation>) -> f64 {
        self.counter += 1;
        let height = self.ledger.height().next();
        let builder = EnvelopeBuilder::new(self.genesis.chain_id(), height, 9, operations);
        let envelope = builder.sign(&[(&self.key, 0, self.counter)]);
        let views = [EnvelopeView::new(&envelope).unwrap()];
        let time = TimeNs(self.ledger.last_op_time().0 + 1);
        let began = thread_seconds();
        let executed = self
            .ledger
            .execute(height, time, &views, &selfchain_types::Risk::default(), &|_| {
                false
            })
            .unwrap();
        self.ledger.roots();
        let took = thread_seconds() - began;
        assert_eq!(executed.refused, 0);
        took
    }

    fn transfers(&mut self, accounts: u64, count: usize) -> Vec<Operation> {
        (0..count)
            .map(|at| {
                let from = self.next() % accounts;
                let to = (from + 1 + self.next() % (accounts - 1)) % accounts;
                Operation::transfer(at as u128 + 1, id(from), id(to), Amount(1), COIN)
            })
            .collect()
    }
}

fn id(at: u64) -> AccountId {
    AccountId(u128::from(at + 2))
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

fn mean_ms(of: &[f64]) -> f64 {
    of.iter().sum::<f64>() * 1e3 / of.len().max(1) as f64
}

fn max_ms(of: &[f64]) -> f64 {
    of.iter().copied().fold(0.0, f64::max) * 1e3
}

fn main() {
    // One thread, this one: what the roots take is then counted whole.
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .use_current_thread();
    pool.build_global().unwrap();
    let mut arguments = std::env::args().skip(1).map(|word| word.parse::<u64>().unwrap());
    let accounts = arguments.next().unwrap_or(1_000_000);
    let effects = arguments.next().unwrap_or(4_096).min(OPERATIONS_MAX as u64) as usize;
    let key = SigningKey::from_seed(&[1; 32]);
    let genesis = Genesis::solo("sweep", 1, key.public().clone());
    let mut bench = Bench {
        ledger: Ledger::new(&genesis),
        genesis,
        key,
        counter: 0,
        seed: 1,
    };
    bench.block(vec![Operation::create_asset(
        COIN,
        MINT,
        KeyId::NONE,
        2,
        Amount::MAX,
    )]);
    let owner = bench.key.id();
    for start in (0..accounts).step_by(OPERATIONS_MAX / 2) {
        let opened = (start..accounts.min(start + OPERATIONS_MAX as u64 / 2)).flat_map(|at| {
            let flags = AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS;
            let open = Operation::open_account(id(at), COIN, owner, flags, Amount::ZERO, 0);
            [open, Operation::transfer(1, MINT, id(at), Amount(1 << 40), COIN)]
        });
        let opened = opened.collect();
        bench.block(opened);
    }
    let budget = BUDGET.0 * accounts as f64 / 1024.0 / 1024.0 + BUDGET.1;
    println!(
        "accounts={accounts} effects={effects}: resident {:.0} MiB, budget {budget:.0} MiB",
        resident_mib()
    );

    let plain: Vec<f64> = (0..200)
        .map(|_| {
            let operations = bench.transfers(accounts, effects);
            bench.block(operations)
        })
        .collect();
    println!(
        "block without a sweep: mean {:.3} ms, worst {:.3} ms",
        mean_ms(&plain),
        max_ms(&plain)
    );

    let began = thread_seconds();
    bench.ledger.freeze();
    println!("freeze: {:.3} ms", (thread_seconds() - began) * 1e3);
    let (mut blocks, mut slices, mut bytes) = (Vec::new(), Vec::new(), 0);
    let (mut frozen, mut resident) = (0, 0f64);
    loop {
        let operations = bench.transfers(accounts, effects);
        blocks.push(bench.block(operations));
        frozen = bench.ledger.frozen_bytes().max(frozen);
        let began = thread_seconds();
        let is_last = bench
            .ledger
            .sweep(effects as u32, &mut |_, chunk| bytes += chunk.len());
        slices.push(thread_seconds() - began);
        if is_last {
            break;
        }
        if blocks.len() % 16 == 0 {
            resident = resident.max(resident_mib());
        }
    }
    println!(
        "block during a sweep:  mean {:.3} ms, worst {:.3} ms",
        mean_ms(&blocks),
        max_ms(&blocks)
    );
    println!(
        "slice after it:        mean {:.3} ms, worst {:.3} ms",
        mean_ms(&slices),
        max_ms(&slices)
    );
    println!(
        "{} blocks, {} MiB of chunks; kept at most {} MiB, {:.1} bytes an account; resident at most {resident:.0} MiB of {budget:.0}",
        blocks.len(),
        bytes >> 20,
        frozen >> 20,
        frozen as f64 / accounts as f64,
    );
}
