//! The stages of the road, one group each: `cargo bench -p selfchain-bench -- execute`.
#![allow(missing_docs, reason = "criterion's macros make items without documentation")]
#![allow(
    clippy::unwrap_used,
    reason = "a measurement, not the product: it stops at the first surprise"
)]

mod load;

mod quic;

mod decode;
mod verify;

mod admit;
mod build;

mod execute;
mod root;

mod record;

use criterion::{Criterion, criterion_group, criterion_main};
use std::time::Duration;

/// Short: long enough to tell 5 % apart on a quiet machine.
fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20)
}

criterion_group!(
    name = stages;
    config = short();
    targets = quic::bench, decode::bench, verify::bench, admit::bench, build::bench, execute::bench, root::bench, record::bench
);
criterion_main!(stages);
