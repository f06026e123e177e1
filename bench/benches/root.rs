//! The stage `root`: the table of roots after a block, on all cores.

use crate::load::{ACCOUNTS, FULL, Load, execute};
use criterion::{BenchmarkId, Criterion, Throughput};
use std::time::{Duration, Instant};

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut load = Load::new();
    let mut ledger = load.ledger();
    let mut group = criterion.benchmark_group("root");
    for operations in [512, FULL] {
        group.throughput(Throughput::Elements(operations.try_into().unwrap_or(u64::MAX)));
        let name = format!("transfers={operations} accounts={ACCOUNTS}");
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_custom(|blocks| {
                let mut took = Duration::ZERO;
                for _ in 0..blocks {
                    let block = [load.envelope(operations)];
                    execute(&mut ledger, &block);
                    let began = Instant::now();
                    ledger.roots();
                    took += began.elapsed();
                }
                took
            });
        });
    }
    group.finish();
}
