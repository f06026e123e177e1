//! A snapshot comes in place of a store, however often the power goes.

use super::*;
use crate::recover::Progress;
use crate::store::{Store, StoreConfig};
use crate::sweep::SweepConfig;
use crate::{AccountId, Amount, AssetId, Ledger};
use selfchain_storage::disk::{Faults, FaultyDisk};
use selfchain_storage::{LogConfig, Sealing};
use selfchain_types::Hash;
use selfchain_types::crypto::SigningKey;
use selfchain_types::message::ChangePosition;

const ALICE: AccountId = AccountId(1);
const BOB: AccountId = AccountId(2);
const MONEY: AssetId = AssetId(1);

fn config() -> StoreConfig {
    StoreConfig {
        log: LogConfig {
            segment_bytes: 8_000,
            reserve_bytes: 0,
            sealing: Sealing::Inline,
            ..LogConfig::default()
        },
        snapshots: SnapshotConfig {
            reserve_bytes: 0,
            ..SnapshotConfig::default()
        },
        ..StoreConfig::default()
    }
}

fn open(disk: &FaultyDisk) -> Ledger {
    let key = SigningKey::from_seed(&[1; 32]);
    Ledger::open_on(Arc::new(disk.clone()), key, &config(), &mut |_| {}).unwrap()
}

fn transfers(disk: &FaultyDisk, count: u32) -> Hash {
    let mut ledger = open(disk);
    ledger.snapshot_every(SweepConfig::default());
    if ledger.account(ALICE).is_none() {
        ledger.create_asset(MONEY, 0).unwrap();
        ledger.open_account(ALICE, MONEY).unwrap();
        ledger.open_account(BOB, MONEY).unwrap();
        ledger.issue(MONEY, ALICE, Amount(1_000)).unwrap();
    }
    for _ in 0..count {
        ledger.transfer(ALICE, BOB, Amount(1)).unwrap();
    }
    ledger.snapshot().unwrap();
    ledger.chain().roots().state_root()
}

/// A store with 20 transfers, on which the snapshot of the same chain after 60 is proved and put aside; its height and
/// state root, and those of what was there before.
fn staged() -> (FaultyDisk, (Height, Hash), (Height, Hash)) {
    let ahead = FaultyDisk::new(3);
    transfers(&ahead, 20);
    let behind = ahead.duplicate();
    let before = open(&behind).chain().tip().height;
    let root_before = open(&behind).chain().roots().state_root();
    let root = transfers(&ahead, 40);
    let height = open(&ahead).chain().tip().height;
    let path = path_of(SNAPSHOTS_DIR, height.0);
    let len = usize::try_from(ahead.file_len(&path).unwrap()).unwrap();
    let mut bytes = vec![0; len];
    ahead
        .open_read_only(&path)
        .unwrap()
        .read_at(0, &mut bytes)
        .unwrap();
    behind.create_dir(JOINING_DIR).unwrap();
    publish(&behind, &path_of(JOINING_DIR, height.0), &bytes).unwrap();
    (behind, (height, root), (before, root_before))
}

fn stands(disk: &FaultyDisk) -> (Height, Hash) {
    let mut store = Store::open(Arc::new(disk.clone()), &config()).unwrap();
    let chain = store.recover(&mut |_: Progress| {}).unwrap();
    (chain.tip().height, chain.roots().state_root())
}

#[test]
fn the_chain_goes_on_from_the_snapshot_and_says_what_it_does_not_have() {
    let (disk, after, before) = staged();
    assert_eq!(stands(&disk), before, "without the mark nothing changes");
    mark(&disk, after.0).unwrap();
    assert_eq!(stands(&disk), after);
    let first = after.0.next();
    let mut ledger = open(&disk);
    let paid = ledger.transfer(ALICE, BOB, Amount(1)).unwrap();
    assert_eq!(paid.height, first);
    ledger.transfer(ALICE, BOB, Amount(1)).unwrap();
    assert_eq!(ledger.past().log().first(), Some(first.0));
    // Paths to what was decided before the snapshot need nodes that are not here, and no others do.
    ledger.receipt(&paid, 0).unwrap();
    let error = ledger.past().receipt_at(after.0, 0, 0).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains(&first.to_string()), "{error}");
    let rows = ledger.past().history(ALICE, ChangePosition::from(Height(0)), 10);
    assert!(rows.unwrap().is_empty());
    let root = ledger.chain().roots().state_root();
    drop(ledger);
    assert_eq!(stands(&disk).1, root, "a later start folds the new log");
}

#[test]
fn a_power_cut_at_any_step_leaves_what_was_there_or_the_whole_snapshot() {
    let (whole, after, before) = staged();
    let marks = {
        let disk = whole.duplicate();
        let ops = disk.ops();
        mark(&disk, after.0).unwrap();
        disk.ops() - ops
    };
    let steps = {
        let disk = whole.duplicate();
        mark(&disk, after.0).unwrap();
        let ops = disk.ops();
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        install(&disk).unwrap();
        drop(disk);
        ops
    };
    assert!(marks > 2 && steps > 0);
    let (mut old, mut new) = (0, 0);
    for step in 0..60 {
        let disk = whole.duplicate();
        disk.set_faults(Faults {
            crash_at: Some(disk.ops() + step),
            ..Faults::default()
        });
        let cut = mark(&disk, after.0).is_err() || {
            let disk: Arc<dyn Disk> = Arc::new(disk.clone());
            install(&disk).is_err()
        };
        let disk = disk.restart();
        let found = stands(&disk);
        assert!(found == before || found == after, "step {step}: {found:?}");
        assert!(cut || found == after, "step {step}");
        old += u32::from(found == before);
        new += u32::from(found == after && cut);
        if !cut {
            break;
        }
    }
    assert!(
        old > 1 && new > 5,
        "{old} times what was there, {new} times the snapshot"
    );
}

#[test]
fn a_mark_that_does_not_check_is_an_error_and_not_a_guess() {
    let (disk, after, _) = staged();
    mark(&disk, after.0).unwrap();
    disk.flip_bit(MARKER, 3, 1).unwrap();
    let opened = Store::open(Arc::new(disk.clone()), &config()).map(|_| ());
    let text = opened.unwrap_err().to_string();
    assert!(text.contains("mark"), "{text}");
}
