//! Prints what loopback QUIC carries on this machine: `cargo run --profile bench -p selfchain-transport --example ceiling`.

use std::time::Duration;

fn main() -> Result<(), selfchain_transport::CeilingError> {
    let report = selfchain_transport::ceiling(Duration::from_secs(3))?;
    for rate in [report.small, report.large] {
        println!(
            "ceiling/frame_bytes={} threads={}   {:.0} frames/s   {:.0} MB/s   ({} frames in {:.2} s)",
            rate.frame_bytes, report.threads, rate.frames_per_s, rate.mb_per_s, rate.frames, rate.seconds,
        );
    }
    Ok(())
}
