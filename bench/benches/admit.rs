//! The stage `admit`: verified transactions enter the pool.

use crate::load::Load;
use criterion::{BatchSize, Criterion, Throughput};
use selfchain_engine::pool::LaneView;
use selfchain_types::KeyId;

pub(crate) const TRANSACTIONS: usize = 4_096;

/// A chain on which nothing was committed.
pub(crate) struct Fresh;

impl LaneView for Fresh {
    fn lane(&self, _: &KeyId, _: u32) -> u64 {
        0
    }
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut load = Load::new();
    let transactions = load.verified(TRANSACTIONS);
    let mut group = criterion.benchmark_group("admit");
    group.throughput(Throughput::Elements(TRANSACTIONS.try_into().unwrap_or(u64::MAX)));
    group.bench_function(format!("transactions={TRANSACTIONS}"), |bencher| {
        bencher.iter_batched(
            || (load.pool(), transactions.clone()),
            |(mut pool, transactions)| {
                let mut evicted = Vec::new();
                for verified in transactions {
                    assert!(pool.admit(verified, (), &Fresh, &mut evicted).is_ok());
                }
                pool
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}
