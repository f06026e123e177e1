//! How long a validator with nothing takes to join a chain of so many blocks, by its blocks and by a snapshot.
//!
//! `cargo run --release -p selfchain-tests --bin joins -- 10000 100000` prints one JSON line for each way and length.
//! Both nodes are in this process, on files, with PQ TLS between them, and every block is synced on both.

use selfchain::storage::{Disk, FileDisk};
use selfchain::store::{Store, StoreConfig};
use selfchain::types::Height;
use selfchain::verify::verify;
use selfchain_tests::joins::{Checked, addresses, genesis, grow, join, start};
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Blocks after the snapshot, which are fetched one by one either way.
const AFTER: u64 = 100;
/// Where one that fetches blocks was killed: the height that it begins again at.
const KILLED: u64 = 100;
const PATIENCE: Duration = Duration::from_secs(1_200);

fn main() -> ExitCode {
    let lengths: Vec<u64> = std::env::args()
        .skip(1)
        .filter_map(|word| word.parse().ok())
        .collect();
    if lengths.is_empty() || lengths.iter().any(|blocks| *blocks < 10 * AFTER) {
        eprintln!("joins BLOCKS...: at least {} each", 10 * AFTER);
        return ExitCode::from(2);
    }
    match lengths.iter().try_for_each(|blocks| measure(*blocks)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("joins: {error}");
            ExitCode::FAILURE
        }
    }
}

fn open(path: &Path) -> Checked<Arc<dyn Disk>> {
    std::fs::create_dir_all(path)?;
    Ok(Arc::new(FileDisk::open(path)?))
}

fn measure(blocks: u64) -> Checked<()> {
    let place = tempfile::tempdir()?;
    let config = StoreConfig::default();
    let began = Instant::now();
    let long = open(&place.path().join("long"))?;
    grow(&long, blocks, blocks - AFTER, &config)?;
    drop(long);
    let made_s = began.elapsed().as_secs_f64();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    for (way, behind_blocks) in [("snapshot", 5 * AFTER), ("blocks", 0)] {
        let addresses = addresses()?;
        let long = open(&place.path().join("long"))?;
        let first = start(0, long, &addresses, 0, &config, runtime.handle())?;
        let to = first.tip().height;
        let path = place.path().join(way);
        let disk = open(&path)?;
        if way == "blocks" {
            grow(&disk, KILLED, 0, &config)?;
        } else {
            Store::create(&*disk, &genesis())?;
        }
        let joined = join(
            &disk,
            &addresses,
            (to, behind_blocks),
            &config,
            runtime.handle(),
            PATIENCE,
        )?;
        let root = first.view().tip;
        runtime.block_on(first.stop())?;
        drop(disk);
        let report = verify(open(&path)?, &mut |_, _| {})?;
        let seconds = joined.took.as_secs_f64();
        let rate = u32::try_from(joined.blocks).map_or(f64::NAN, f64::from) / seconds;
        println!(
            "{}",
            json!({
                "blocks": to.0,
                "way": way,
                "seconds": seconds,
                "snapshot": joined.snapshot.map(|height| height.0),
                "blocks_fetched": joined.blocks,
                "blocks_per_s": rate,
                "verified": report.height == to && root >= Height(blocks),
                "log_made_s": made_s,
            })
        );
    }
    Ok(())
}
