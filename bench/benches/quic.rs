//! The stage `quic`: frames over one stream on loopback, both ends in this process, as `bench ceiling` measures it.

use criterion::{BenchmarkId, Criterion, Throughput};
use selfchain_transport::{CeilingRate, CeilingReport, ceiling};
use std::time::Duration;

/// How long each kind of traffic is sent for a sample.
const EACH: Duration = Duration::from_millis(100);

pub(crate) fn bench(criterion: &mut Criterion) {
    let kinds: [fn(&CeilingReport) -> CeilingRate; 2] = [|report| report.small, |report| report.large];
    let first = ceiling(EACH).unwrap();
    let mut group = criterion.benchmark_group("quic");
    for kind in kinds {
        let frame_bytes = kind(&first).frame_bytes;
        group.throughput(Throughput::Bytes(frame_bytes.try_into().unwrap_or(u64::MAX)));
        let name = format!("frame_bytes={frame_bytes}");
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            // A connection carries what it can in a given time: the time of so many frames follows from its rate.
            bencher.iter_custom(|frames| {
                let rate = kind(&ceiling(EACH).unwrap()).frames_per_s;
                Duration::from_secs_f64(1.0 / rate) * u32::try_from(frames).unwrap_or(u32::MAX)
            });
        });
    }
    group.finish();
}
