//! The stage `decode`: an envelope's frame is checked and its body hashed.

use crate::load::{FULL, Load};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use selfchain_types::Envelope;

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut load = Load::new();
    let mut group = criterion.benchmark_group("decode");
    for operations in [1, 64, FULL] {
        let bytes = load.envelope(operations);
        group.throughput(Throughput::Elements(operations.try_into().unwrap_or(u64::MAX)));
        group.bench_function(
            BenchmarkId::from_parameter(format!("ops={operations}")),
            |bencher| {
                bencher.iter_batched(
                    || bytes.clone(),
                    |bytes| Envelope::decode(bytes).unwrap(),
                    BatchSize::SmallInput,
                );
            },
        );
    }
    group.finish();
}
