//! The whole ledger on a disk that fails: power cut at every operation, then recovery, verification, and on.

use selfchain::ledger::LedgerError;
use selfchain::storage::disk::{Faults, FaultyDisk};
use selfchain::storage::{Disk, LogConfig, MemoryDisk, Sealing};
use selfchain::store::{Store, StoreConfig};
use selfchain::sweep::SweepConfig;
use selfchain::types::crypto::SigningKey;
use selfchain::types::genesis::OpTime;
use selfchain::types::seam::snapshot::SnapshotStore;
use selfchain::types::{Genesis, Hash, Refusal};
use selfchain::verify::{failed_height, verify};
use selfchain::{AccountId, Amount, AssetId, Ledger, Operation};
use std::sync::Arc;

const ALICE: AccountId = AccountId(1);
const BOB: AccountId = AccountId(2);
const MONEY: AssetId = AssetId(1);
const TRANSFERS: u128 = 12;
/// Transfers after a cut.
const AFTERWARDS: u128 = 6;

/// Small segments, so that the workload crosses several.
fn config() -> StoreConfig {
    StoreConfig {
        log: LogConfig {
            segment_bytes: 20_000,
            reserve_bytes: 0,
            sealing: Sealing::Inline,
            ..LogConfig::default()
        },
        ..StoreConfig::default()
    }
}

fn open(disk: &FaultyDisk) -> Result<Ledger, LedgerError> {
    Ledger::open_on(
        Arc::new(disk.clone()),
        SigningKey::from_seed(&[1; 32]),
        &config(),
        &mut |_| {},
    )
}

/// Opens two accounts and moves one unit at a time; `acknowledged` counts what was answered for.
fn run(disk: &FaultyDisk, acknowledged: &mut u128) -> Result<(), LedgerError> {
    work(&mut open(disk)?, acknowledged, &mut |ledger, at| {
        if at % 5 == 4 {
            ledger.snapshot()?;
        }
        Ok(())
    })
}

fn work(
    ledger: &mut Ledger,
    acknowledged: &mut u128,
    after_each: &mut dyn FnMut(&mut Ledger, u128) -> Result<(), LedgerError>,
) -> Result<(), LedgerError> {
    ledger.create_asset(MONEY, 0)?;
    ledger.open_account(ALICE, MONEY)?;
    ledger.open_account(BOB, MONEY)?;
    ledger.issue(MONEY, ALICE, Amount(TRANSFERS * 2))?;
    for at in 0..TRANSFERS {
        ledger.transfer(ALICE, BOB, Amount(1))?;
        *acknowledged += 1;
        after_each(ledger, at)?;
    }
    Ok(())
}

/// After a power cut: everything acknowledged is there, nothing twice, the log verifies, and life goes on.
fn check(disk: &FaultyDisk, acknowledged: u128, cut: u64) {
    let disk = disk.restart();
    // A snapshot above the tip would be of a history that did not last.
    if let Ok(store) = Store::open(Arc::new(disk.clone()), &config()) {
        let tip = store.log_reader().tip().unwrap_or(0);
        let snapshots = store.snapshots.list().unwrap();
        assert!(
            snapshots.iter().all(|height| *height <= tip),
            "cut {cut}: snapshots {snapshots:?}, tip {tip}"
        );
    }
    let mut ledger = open(&disk).unwrap_or_else(|error| panic!("cut {cut}: reopening failed: {error:?}"));
    let received = ledger.account(BOB).map_or(0, |bob| bob.hot.credits_posted.get());
    assert!(
        received == acknowledged || received == acknowledged + 1,
        "cut {cut}: {received} received of {acknowledged} acknowledged"
    );
    if ledger.account(BOB).is_some() && ledger.transfer(ALICE, BOB, Amount(1)).is_ok() {
        // On beyond every height that was there.
        for _ in 1..AFTERWARDS {
            ledger.transfer(ALICE, BOB, Amount(1)).unwrap();
        }
        drop(ledger);
        ledger = open(&disk).unwrap_or_else(|error| panic!("cut {cut}: going on failed: {error:?}"));
        assert_eq!(
            ledger.account(BOB).map(|bob| bob.hot.credits_posted.get()),
            Some(received + AFTERWARDS),
            "cut {cut}"
        );
    }
    drop(ledger);
    let report =
        verify(Arc::new(disk), &mut |_, _| {}).unwrap_or_else(|error| panic!("cut {cut}: {error:?}"));
    assert!(report.totals.iter().all(|(_, debits, credits)| debits == credits));
}

#[test]
fn a_power_cut_at_any_write_or_sync_loses_nothing_acknowledged() {
    cut_at_every_operation(&run);
}

#[test]
fn a_power_cut_at_any_write_of_a_snapshot_swept_under_load_loses_nothing_acknowledged() {
    // Over several blocks each, and whole within the block that it is of, before anything else is synced.
    for (every, slice_min) in [(8, 2), (3, 1_000)] {
        let config = SweepConfig {
            every,
            slice_min,
            ..SweepConfig::default()
        };
        let swept = |disk: &FaultyDisk, acknowledged: &mut u128| {
            let mut ledger = open(disk)?;
            ledger.snapshot_every(config);
            work(&mut ledger, acknowledged, &mut |_, _| Ok(()))
        };
        let whole = FaultyDisk::new(0);
        swept(&whole, &mut 0).expect("a disk that behaves");
        let snapshots = whole.list("snapshots").expect("the snapshots' directory");
        assert_eq!(snapshots.len(), 2, "two are kept: {snapshots:?}");
        cut_at_every_operation(&swept);
    }
}

fn cut_at_every_operation(run: &dyn Fn(&FaultyDisk, &mut u128) -> Result<(), LedgerError>) {
    let whole = FaultyDisk::new(0);
    let mut acknowledged = 0;
    run(&whole, &mut acknowledged).expect("a disk that behaves");
    assert_eq!(acknowledged, TRANSFERS);
    let operations = whole.ops();
    assert!(operations > 200, "the workload writes: {operations} operations");
    check(&whole, acknowledged, operations);
    for cut in 0..operations {
        let disk = FaultyDisk::new(cut);
        disk.set_faults(Faults {
            crash_at: Some(cut),
            ..Faults::default()
        });
        let mut acknowledged = 0;
        // The last operations are those of closing: a cut there comes after every answer.
        let finished = run(&disk, &mut acknowledged).is_ok();
        assert!(
            disk.crashed() && (!finished || acknowledged == TRANSFERS),
            "cut {cut}"
        );
        check(&disk, acknowledged, cut);
    }
}

#[test]
fn a_flipped_byte_in_the_log_is_reported_with_its_height_and_nothing_is_served() {
    let whole = FaultyDisk::new(7);
    run(&whole, &mut 0).expect("a disk that behaves");
    let tip = verify(Arc::new(whole.clone()), &mut |_, _| {})
        .expect("a whole log")
        .height;
    let files = whole.list("log").expect("the log's directory");
    let (mut tried, mut caught) = (0, 0);
    for file in files.iter().filter(|file| file.ends_with(".redb")) {
        let path = format!("log/{file}");
        let len = whole.file_len(&path).expect("a file of the log");
        for part in 1..FLIPS {
            let disk = FaultyDisk::new(7);
            run(&disk, &mut 0).expect("a disk that behaves");
            disk.flip_bit(&path, len / FLIPS * part, 3)
                .expect("inside the file");
            tried += 1;
            match verify(Arc::new(disk.clone()), &mut |_, _| {}) {
                // A byte that no row lies on: everything that was written is still there.
                Ok(found) => assert_eq!(found.height, tip, "{path} part {part}"),
                Err(error) => {
                    caught += 1;
                    let height = failed_height(&error).unwrap_or_else(|| panic!("no height in {error:?}"));
                    assert!(height.0 >= 1 && height <= tip, "{path} part {part}: {error:?}");
                    // A start from a later snapshot does not read that row: then whoever asks for it is told.
                    let served = open(&disk).and_then(|ledger| Ok(ledger.past().log().read(height.0)?));
                    assert!(served.is_err(), "{path} part {part}: served all the same");
                }
            }
        }
    }
    // Most of a small redb file is free pages.
    assert!(
        caught * 10 > tried,
        "only {caught} of {tried} flipped bytes were noticed"
    );
}

/// Bytes flipped in each file of the log, evenly spread.
const FLIPS: u64 = 24;

#[test]
fn a_time_of_the_far_future_is_refused_and_the_chain_goes_on() {
    let key = SigningKey::from_seed(&[1; 32]);
    let genesis = Genesis {
        op_time: OpTime::Effective,
        ..Genesis::solo("times", 0, key.public().clone())
    };
    let disk = Arc::new(MemoryDisk::new());
    Store::create(&*disk, &genesis).expect("an empty disk");
    let mut ledger = Ledger::open_on(disk, key, &config(), &mut |_| {}).expect("a new chain");
    let mut anchor = Operation::anchor(1, Hash::ZERO);
    anchor.effective_ns = u64::MAX.into();
    let answers = ledger
        .commit_all(vec![ledger.sign(vec![anchor])])
        .expect("the chain goes on");
    assert!(
        matches!(answers[..], [Err(LedgerError::Intake(Refusal::NotYetValid))]),
        "{answers:?}"
    );
    ledger.create_asset(MONEY, 0).expect("the chain goes on");
}
