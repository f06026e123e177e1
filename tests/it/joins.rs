//! A validator with nothing joins a long chain over real links: by its blocks, by a snapshot, and by a snapshot where
//! the chain's beginning is gone.

use selfchain::storage::{Disk, MemoryDisk};
use selfchain::store::Store;
use selfchain::types::Height;
use selfchain::types::seam::log::Log;
use selfchain::verify::verify;
use selfchain_tests::joins::{addresses, genesis, grow, join, start, store_config};
use std::sync::Arc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(240);
const BLOCKS: u64 = 1_500;
const SNAPSHOT: u64 = 1_400;
const ROOT_LAG: u64 = 2;
/// Small, so that a beginning can be dropped.
const SEGMENT_BYTES: u64 = 256 << 10;

#[test]
fn a_validator_with_nothing_joins_by_blocks_or_by_snapshot_and_verifies() {
    let config = store_config(SEGMENT_BYTES);
    let long: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    grow(&long, BLOCKS, SNAPSHOT, &config).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let joined = |behind_blocks| {
        let before = verify(Arc::clone(&long), &mut |_, _| {}).unwrap().height;
        let addresses = addresses().unwrap();
        let first = start(0, Arc::clone(&long), &addresses, 0, &config, runtime.handle()).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        Store::create(&*disk, &genesis()).unwrap();
        // A start has empty blocks decided, so that the newest roots are certified.
        let to = (Height(before.0 + ROOT_LAG), behind_blocks);
        let joined = join(&disk, &addresses, to, &config, runtime.handle(), PATIENCE).unwrap();
        runtime.block_on(first.stop()).unwrap();
        let whole = verify(Arc::clone(&long), &mut |_, _| {}).unwrap();
        let report = verify(disk, &mut |_, _| {}).unwrap();
        assert_eq!(
            (report.height, report.state_root),
            (whole.height, whole.state_root)
        );
        (joined.snapshot, report.first)
    };
    assert_eq!(
        joined(0),
        (None, Height(1)),
        "every block is there, and is fetched"
    );
    let by_snapshot = (Some(Height(SNAPSHOT)), Height(SNAPSHOT + 1));
    assert_eq!(joined(1_000), by_snapshot);
    let mut store = Store::open(Arc::clone(&long), &config).unwrap();
    let first = store.log.retain_from(SNAPSHOT - 7).unwrap();
    assert!(first > 1, "nothing is dropped");
    drop(store);
    // The first validator wrote one more when it stopped.
    let (snapshot, begins) = joined(0);
    let snapshot = snapshot.expect("no peer has block 1 any more");
    assert!(
        snapshot >= Height(SNAPSHOT) && begins == snapshot.next(),
        "{snapshot}, {begins}"
    );
}
