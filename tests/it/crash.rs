//! The whole ledger on a disk that fails: power cut at every operation, then recovery, verification, and on.

use selfchain::ledger::LedgerError;
use selfchain::storage::disk::{Faults, FaultyDisk};
use selfchain::storage::{Disk, LogConfig, MemoryDisk, Sealing};
use selfchain::store::{Store, StoreConfig};
use selfchain::types::crypto::SigningKey;
use selfchain::types::genesis::OpTime;
use selfchain::types::{Genesis, Hash, Refusal};
use selfchain::verify::{failed_height, verify};
use selfchain::{AccountId, Amount, AssetId, Ledger, Operation};
use std::sync::Arc;

const ALICE: AccountId = AccountId(1);
const BOB: AccountId = AccountId(2);
const MONEY: AssetId = AssetId(1);
const TRANSFERS: u128 = 12;

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
    let mut ledger = open(disk)?;
    ledger.create_asset(MONEY, 0)?;
    ledger.open_account(ALICE, MONEY)?;
    ledger.open_account(BOB, MONEY)?;
    ledger.issue(MONEY, ALICE, Amount(TRANSFERS * 2))?;
    for at in 0..TRANSFERS {
        ledger.transfer(ALICE, BOB, Amount(1))?;
        *acknowledged += 1;
        if at % 5 == 4 {
            ledger.snapshot()?;
        }
    }
    Ok(())
}

/// After a power cut: everything acknowledged is there, nothing twice, the log verifies, and life goes on.
fn check(disk: &FaultyDisk, acknowledged: u128, cut: u64) {
    let disk = disk.restart();
    let mut ledger = open(&disk).unwrap_or_else(|error| panic!("cut {cut}: reopening failed: {error:?}"));
    let received = ledger.account(BOB).map_or(0, |bob| bob.hot.credits_posted.get());
    assert!(
        received == acknowledged || received == acknowledged + 1,
        "cut {cut}: {received} received of {acknowledged} acknowledged"
    );
    if ledger.account(BOB).is_some() && ledger.transfer(ALICE, BOB, Amount(1)).is_ok() {
        assert_eq!(
            ledger.account(BOB).map(|bob| bob.hot.credits_posted.get()),
            Some(received + 1),
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
