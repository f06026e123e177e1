//! The stage `verify`: Ed25519 under ZIP-215, one by one and in batches, distinct keys, from bytes, on one core.

use criterion::{BenchmarkId, Criterion, Throughput};
use selfchain_bench::ceiling::Corpus;

const MESSAGE_BYTES: usize = 256;
const BATCHES: [usize; 3] = [32, 256, 1_024];

pub(crate) fn bench(criterion: &mut Criterion) {
    let corpus = Corpus::new(1_024, MESSAGE_BYTES, None);
    let mut group = criterion.benchmark_group("verify");
    group.throughput(Throughput::Elements(1));
    group.bench_function("batch=1", |bencher| bencher.iter(|| corpus.verify_first()));
    for batch in BATCHES {
        group.throughput(Throughput::Elements(batch.try_into().unwrap_or(u64::MAX)));
        group.bench_function(BenchmarkId::from_parameter(format!("batch={batch}")), |bencher| {
            bencher.iter(|| corpus.verify_batch(batch));
        });
    }
    group.finish();
}
