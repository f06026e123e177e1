//! The stage `execute`: the ledger decides decoded operations, without roots.

use crate::load::{ACCOUNTS, FULL, Load, execute};
use criterion::{BenchmarkId, Criterion, Throughput};
use std::time::{Duration, Instant};

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut load = Load::new();
    let mut ledger = load.ledger();
    let mut group = criterion.benchmark_group("execute");
    for (operations, envelopes) in [(1, 512), (64, 128), (FULL, 2)] {
        let transfers = operations * envelopes;
        group.throughput(Throughput::Elements(transfers.try_into().unwrap_or(u64::MAX)));
        let name = format!("ops={operations} envelopes={envelopes} accounts={ACCOUNTS}");
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_custom(|blocks| {
                let mut took = Duration::ZERO;
                for _ in 0..blocks {
                    let block: Vec<Vec<u8>> = (0..envelopes).map(|_| load.envelope(operations)).collect();
                    let began = Instant::now();
                    execute(&mut ledger, &block);
                    took += began.elapsed();
                    ledger.roots();
                }
                took
            });
        });
    }
    group.finish();
}
