//! The stage `build`: a block is taken from the pool.

use crate::admit::{Fresh, TRANSACTIONS};
use crate::load::Load;
use criterion::{BatchSize, Criterion, Throughput};
use selfchain_engine::builder::{BlockLimits, Order, build};

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut load = Load::new();
    let transactions = load.verified(TRANSACTIONS);
    let limits = BlockLimits {
        bytes_max: 16 << 20,
        effects_max: 131_072,
        envelopes_max: TRANSACTIONS,
    };
    let filled = || {
        let mut pool = load.pool();
        for verified in transactions.clone() {
            assert!(pool.admit(verified, (), &Fresh, &mut Vec::new()).is_ok());
        }
        pool
    };
    let mut group = criterion.benchmark_group("build");
    group.throughput(Throughput::Elements(TRANSACTIONS.try_into().unwrap_or(u64::MAX)));
    for (name, order) in [("fee", Order::Fee), ("fair", Order::Fair)] {
        group.bench_function(format!("order={name} transactions={TRANSACTIONS}"), |bencher| {
            bencher.iter_batched(
                &filled,
                |mut pool| {
                    let entries = build(&mut pool, &limits, order);
                    assert_eq!(entries.len(), TRANSACTIONS);
                    (pool, entries)
                },
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}
