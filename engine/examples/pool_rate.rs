//! How fast the pool admits, hands out and lets go of single-signed transfers of one core's time.
//!
//! `cargo run --profile bench -p selfchain-engine --example pool_rate`
#![allow(
    clippy::as_conversions,
    clippy::disallowed_methods,
    reason = "a stopwatch that prints rates"
)]

use selfchain_engine::builder::{BlockLimits, Order, build};
use selfchain_engine::pool::{LaneView, Pool, PoolLimits, PoolRules};
use selfchain_types::crypto::SigningKey;
use selfchain_types::genesis::{Fees, Genesis};
use selfchain_types::{
    AccountId, Amount, AssetId, Envelope, EnvelopeBuilder, Hash, Height, KeyId, Operation, Verified,
};

const TRANSACTIONS: usize = 131_072;
const ROUNDS: usize = 5;

/// A chain on which nothing was ever committed: its answer costs nothing.
struct Fresh;

impl LaneView for Fresh {
    fn lane(&self, _: &KeyId, _: u32) -> u64 {
        0
    }
}

fn main() {
    for keys in [TRANSACTIONS, 1_024] {
        let load = load(keys);
        for is_priced in [false, true] {
            for order in [Order::Fee, Order::Fair] {
                measure(&load, keys, is_priced, order);
            }
        }
    }
}

fn measure(load: &[Verified], keys: usize, is_priced: bool, order: Order) {
    let mut pool = empty(is_priced);
    let mut best = [f64::MAX; 3];
    for _ in 0..ROUNDS {
        let took = round(&mut pool, load, order);
        best = [best[0].min(took[0]), best[1].min(took[1]), best[2].min(took[2])];
    }
    let [admit, take, decided] = best.map(|ns| ns / TRANSACTIONS as f64);
    println!(
        "pool/keys={keys} priced={is_priced} order={order:?} admit={admit:.0} ns build={take:.0} ns decided={decided:.0} ns"
    );
}

/// Unsigned in effect: signatures are not looked at after intake.
fn load(keys: usize) -> Vec<Verified> {
    let signers: Vec<SigningKey> = (0..keys)
        .map(|at| {
            let mut seed = [3; 32];
            seed[..8].copy_from_slice(&at.to_le_bytes());
            SigningKey::from_seed(&seed)
        })
        .collect();
    (0..TRANSACTIONS)
        .filter_map(|at| {
            let operation =
                Operation::transfer(at as u128 + 1, AccountId(1), AccountId(2), Amount(3), AssetId(1));
            let mut builder =
                EnvelopeBuilder::new(Hash([9; 32]), Height(1), 100, vec![operation; 1 + at % 3]);
            builder.fee = (AccountId(1), AssetId(1), Amount::MAX);
            let bytes = builder.sign(&[(&signers[at % keys], 0, (at / keys) as u64 + 1)]);
            Envelope::decode(bytes).ok().map(Verified::from_log)
        })
        .collect()
}

fn empty(is_priced: bool) -> Pool<usize> {
    let mut genesis = Genesis::solo("rate", 1, SigningKey::from_seed(&[1; 32]).public().clone());
    if is_priced {
        genesis.fees = Fees {
            asset: AssetId(1),
            base: 1_000_000,
            ..Fees::default()
        };
    }
    Pool::new(PoolLimits::default(), PoolRules::of(&genesis), Height(1))
}

/// Admits everything, builds blocks of 8,192 until nothing is left, and decides them all; CPU ns of each.
fn round(pool: &mut Pool<usize>, load: &[Verified], order: Order) -> [f64; 3] {
    let copies = load.to_vec();
    let mut refused = Vec::new();
    let start = cpu_ns();
    for (tag, verified) in copies.into_iter().enumerate() {
        assert!(pool.admit(verified, tag, &Fresh, &mut refused).is_ok());
    }
    let admitted = cpu_ns();
    let limits = BlockLimits {
        bytes_max: 16 << 20,
        effects_max: 131_072,
        envelopes_max: 8_192,
    };
    let mut blocks = Vec::new();
    while !pool.is_empty() {
        blocks.push(build(pool, &limits, order));
    }
    let built = cpu_ns();
    for entry in blocks.iter().flatten() {
        let signers = entry.verified.view().signers();
        assert!(
            pool.decided(&entry.verified.tx_id(), signers, &mut refused)
                .is_none()
        );
    }
    let decided = cpu_ns();
    assert!(refused.is_empty() && pool.proposed() == 0);
    [admitted - start, built - admitted, decided - built]
}

/// Nanoseconds that all threads of this process have run: other programs' load does not count.
fn cpu_ns() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let run = threads.filter_map(|thread| {
        let status = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        status.split_whitespace().next()?.parse::<f64>().ok()
    });
    run.sum()
}
