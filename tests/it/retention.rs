//! A log whose beginning is dropped: what is left is verified from a snapshot, and starts do not read the rest.

use selfchain::answers::AnswerError;
use selfchain::recover::Progress;
use selfchain::storage::disk::FaultyDisk;
use selfchain::storage::{Disk, LogConfig, Sealing, SnapshotConfig};
use selfchain::store::{Store, StoreConfig, StoreError};
use selfchain::sweep::SweepConfig;
use selfchain::types::crypto::SigningKey;
use selfchain::types::seam::log::Log;
use selfchain::types::seam::snapshot::SnapshotStore;
use selfchain::types::{Hash, Height};
use selfchain::verify::{VerifyReport, failed_height, verify};
use selfchain::{AccountId, Amount, AssetId, Ledger};
use std::error::Error;
use std::sync::Arc;

const ALICE: AccountId = AccountId(1);
const BOB: AccountId = AccountId(2);
const MONEY: AssetId = AssetId(1);
/// Heights between two snapshots; each is read over several blocks.
const EVERY: u64 = 31;

/// Segments of a few blocks, and every snapshot kept.
fn config() -> StoreConfig {
    StoreConfig {
        log: LogConfig {
            segment_bytes: 8_000,
            reserve_bytes: 0,
            sealing: Sealing::Inline,
            ..LogConfig::default()
        },
        snapshots: SnapshotConfig {
            keep: 3,
            reserve_bytes: 0,
            ..SnapshotConfig::default()
        },
        ..StoreConfig::default()
    }
}

fn open(disk: &FaultyDisk) -> Ledger {
    let key = SigningKey::from_seed(&[1; 32]);
    let mut ledger = Ledger::open_on(Arc::new(disk.clone()), key, &config(), &mut |_| {}).unwrap();
    ledger.snapshot_every(SweepConfig {
        every: EVERY,
        slice_min: 1,
        ..SweepConfig::default()
    });
    ledger
}

fn store(disk: &FaultyDisk) -> Store {
    Store::open(Arc::new(disk.clone()), &config()).unwrap()
}

/// A ledger of so many transfers, with snapshots that were swept between them.
fn ledger_of(disk: &FaultyDisk, transfers: u128) -> Hash {
    let mut ledger = open(disk);
    ledger.create_asset(MONEY, 0).unwrap();
    ledger.open_account(ALICE, MONEY).unwrap();
    ledger.open_account(BOB, MONEY).unwrap();
    ledger.issue(MONEY, ALICE, Amount(transfers)).unwrap();
    for _ in 0..transfers {
        ledger.transfer(ALICE, BOB, Amount(1)).unwrap();
    }
    ledger.chain().roots().state_root()
}

/// Drops the log's beginning, as far as whole segments lie below `height`. Returns its first height.
fn drop_below(disk: &FaultyDisk, height: u64) -> u64 {
    let mut store = store(disk);
    store.log.retain_from(height).unwrap();
    let first = store.log_reader().first().unwrap();
    store.index.retain_from(first).unwrap();
    first
}

fn verified(disk: &FaultyDisk) -> Result<VerifyReport, StoreError> {
    verify(Arc::new(disk.clone()), &mut |_, _| {})
}

fn in_words(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

#[test]
fn a_log_without_its_beginning_is_verified_from_the_oldest_snapshot_that_fits() {
    let disk = FaultyDisk::new(1);
    let root = ledger_of(&disk, 80);
    let whole = verified(&disk).unwrap();
    assert_eq!(
        (whole.first, whole.from, whole.state_root),
        (Height(1), Height(1), root)
    );

    let snapshots = store(&disk).snapshots.list().unwrap();
    assert_eq!(snapshots.len(), 3, "{snapshots:?}");
    assert!(
        snapshots.iter().all(|height| height % EVERY == 0),
        "{snapshots:?}"
    );
    let first = drop_below(&disk, snapshots[0] - 5);
    assert!(1 < first && first < snapshots[0], "{first} of {snapshots:?}");
    let report = verified(&disk).unwrap();
    assert_eq!(report.first, Height(first));
    assert_eq!(report.from, Height(snapshots[0] + 1));
    assert_eq!((report.height, report.state_root), (whole.height, root));
    assert!(0 < report.transfers && report.transfers < whole.transfers);
    assert_eq!(report.totals, whole.totals);

    // One block further, and the next snapshot is the oldest that fits.
    let first = drop_below(&disk, snapshots[1]);
    assert!(first > snapshots[0] + 1, "{first} of {snapshots:?}");
    assert_eq!(verified(&disk).unwrap().from, Height(snapshots[1] + 1));

    for height in &snapshots {
        store(&disk).snapshots.remove(*height).unwrap();
    }
    let error = verified(&disk).unwrap_err();
    assert!(
        matches!(error, StoreError::Unverifiable { first: named, .. } if named == first),
        "{error:?}"
    );
    assert!(error.to_string().contains(&first.to_string()), "{error}");
}

#[test]
fn a_snapshot_that_no_header_commits_to_yet_verifies_nothing() {
    let disk = FaultyDisk::new(2);
    ledger_of(&disk, 60);
    let tip = open(&disk).snapshot().unwrap().0;
    let snapshots = store(&disk).snapshots.list().unwrap();
    let first = drop_below(&disk, snapshots[1] + 1);
    for height in snapshots.iter().filter(|height| **height != tip) {
        store(&disk).snapshots.remove(*height).unwrap();
    }
    let error = verified(&disk).unwrap_err();
    assert!(
        matches!(error, StoreError::Unverifiable { first: named, last } if named == first && last == tip - 1),
        "{error:?}"
    );
}

#[test]
fn damage_in_what_is_kept_is_named_by_height_or_by_table() {
    let whole = FaultyDisk::new(3);
    ledger_of(&whole, 40);
    let snapshot = store(&whole).snapshots.list().unwrap()[0];
    let first = drop_below(&whole, snapshot - 5);
    let tip = verified(&whole).unwrap().height;

    let path = format!("snapshots/{snapshot:020}.snapshot");
    let len = whole.file_len(&path).unwrap();
    let mut tables = 0;
    for offset in (0..len).step_by(13) {
        let disk = whole.duplicate();
        disk.flip_bit(&path, offset, 5).unwrap();
        let error = verified(&disk).expect_err(&format!("byte {offset}"));
        let text = in_words(&error);
        assert!(
            matches!(error, StoreError::Restore { height, .. } if height == snapshot),
            "byte {offset}: {text}"
        );
        assert!(text.contains(&snapshot.to_string()), "{text}");
        tables += u64::from(text.contains(" table cannot be read"));
    }
    assert!(
        tables * 13 * 4 > len,
        "tables are named {tables} times in {len} bytes"
    );

    let (mut caught, mut sealed) = (0, 0);
    for file in whole
        .list("log")
        .unwrap()
        .iter()
        .filter(|file| file.ends_with(".redb"))
    {
        let path = format!("log/{file}");
        let len = whole.file_len(&path).unwrap();
        for part in 1..FLIPS {
            let disk = whole.duplicate();
            disk.flip_bit(&path, len / FLIPS * part, 3).unwrap();
            match verified(&disk) {
                // A byte that no row lies on.
                Ok(report) => assert_eq!(report.height, tip, "{path} part {part}"),
                Err(error) => {
                    let height = failed_height(&error).unwrap_or_else(|| panic!("{error:?}"));
                    assert!(
                        Height(first) <= height && height <= tip,
                        "{path} part {part}: {height}"
                    );
                    caught += 1;
                    sealed += u32::from(height <= Height(snapshot));
                }
            }
        }
    }
    assert!(
        caught > 10 && sealed > 0,
        "{caught} caught, {sealed} of them below the snapshot"
    );
}

/// Bytes flipped in each file of the log, evenly spread.
const FLIPS: u64 = 40;

#[test]
fn a_start_folds_only_what_follows_the_newest_snapshot_however_long_the_log() {
    let folded = |transfers| {
        let disk = FaultyDisk::new(4);
        let root = ledger_of(&disk, transfers);
        // No row up to the snapshot can be read: whoever needs one fails.
        let newest = store(&disk).snapshots.latest().unwrap().unwrap();
        drop_below(&disk, newest + 1);
        let (mut heights, mut tip) = (Vec::new(), Height(0));
        let chain = store(&disk)
            .recover(&mut |progress: Progress| {
                heights.push(progress.height.0);
                tip = progress.tip;
            })
            .unwrap();
        assert_eq!(chain.roots().state_root(), root);
        assert!(heights.iter().copied().eq(newest + 1..=tip.0), "{heights:?}");
        heights.len()
    };
    let most = usize::try_from(2 * EVERY).unwrap();
    for transfers in [40, 80, 160] {
        assert!(folded(transfers) < most);
    }
}

#[test]
fn a_start_from_a_swept_snapshot_reaches_the_roots_of_a_replay_from_genesis() {
    let disk = FaultyDisk::new(5);
    let root = ledger_of(&disk, 70);
    let recover = |disk: &FaultyDisk| {
        let mut folded = 0;
        let chain = store(disk).recover(&mut |_: Progress| folded += 1).unwrap();
        assert_eq!(chain.roots().state_root(), root);
        (chain.tip(), folded)
    };
    let snapshots = store(&disk).snapshots.list().unwrap();
    for height in snapshots.iter().rev() {
        let (tip, folded) = recover(&disk);
        assert_eq!(folded, tip.height.0 - height, "from the snapshot of {height}");
        store(&disk).snapshots.remove(*height).unwrap();
    }
    let (tip, folded) = recover(&disk);
    assert_eq!(folded, tip.height.0, "from genesis");
}

#[test]
fn what_lies_below_the_first_height_is_pruned_by_name() {
    let disk = FaultyDisk::new(6);
    ledger_of(&disk, 60);
    let snapshots = store(&disk).snapshots.list().unwrap();
    let first = drop_below(&disk, snapshots[1]);
    assert!(first > 10);
    let ledger = open(&disk);
    let past = ledger.past();
    let pruned = |error: AnswerError| {
        assert!(
            matches!(error, AnswerError::Pruned { first: named } if named == Height(first)),
            "{error:?}"
        );
    };
    pruned(past.receipt_at(Height(first - 1), 0, 0).unwrap_err());
    pruned(past.history(ALICE, Height(first - 1).into(), 10).unwrap_err());
    pruned(past.balance_at(ALICE, Height(first - 1)).unwrap_err());
    past.history(ALICE, Height(0).into(), 10).unwrap();
    past.history(ALICE, Height(first).into(), 10).unwrap();
    let unknown = past.transaction(&Hash([7; 32])).unwrap_err();
    assert!(
        unknown.to_string().contains(&format!("height {first}")),
        "{unknown}"
    );
}
