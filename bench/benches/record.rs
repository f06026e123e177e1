//! The stage `record`: a row is appended to the log and synced, on the disk of the temporary folder.

use criterion::{BenchmarkId, Criterion, Throughput};
use selfchain_storage::{FileDisk, LogConfig, SegmentLog, StorageMetrics};
use selfchain_types::seam::log::Log;
use std::sync::Arc;

pub(crate) fn bench(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let disk = Arc::new(FileDisk::open(folder.path()).unwrap());
    let metrics = Arc::new(StorageMetrics::default());
    let mut log = SegmentLog::open(disk, LogConfig::default(), metrics).unwrap();
    let mut height = 0;
    let mut group = criterion.benchmark_group("record");
    for kib in [64, 1_024] {
        let row = vec![0xa5; kib << 10];
        group.throughput(Throughput::Bytes(row.len().try_into().unwrap_or(u64::MAX)));
        group.bench_function(BenchmarkId::from_parameter(format!("row_kib={kib}")), |bencher| {
            bencher.iter(|| {
                height += 1;
                log.append(height, &row).unwrap();
                log.sync().unwrap()
            });
        });
    }
    group.finish();
}
