//! The journal on disks that fail.
#![allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]

use super::*;
use crate::disk::{Faults, FaultyDisk, MemoryDisk};

fn config() -> JournalConfig {
    JournalConfig {
        bytes_max: 60_000,
        record_bytes_max: 20_000,
        rotate_bytes: 20_000,
        reserve_bytes: 0,
    }
}

fn open(disk: &FaultyDisk, tip: u64) -> Result<Journal, JournalError> {
    Journal::open(Arc::new(disk.clone()), config(), tip)
}

fn record(number: u64) -> Vec<u8> {
    let len = [0, 1, 47, 700, 4_000][(number % 5) as usize];
    (0..len)
        .map(|i: u64| (i.wrapping_mul(number + 7)).to_le_bytes()[0])
        .collect()
}

fn replayed(journal: &Journal) -> Vec<(u64, Vec<u8>)> {
    journal.replay().map(Result::unwrap).collect()
}

/// Three records a height; the tip follows five heights behind.
#[derive(Debug, Default, Clone, Copy)]
struct Told {
    appended: u64,
    synced: u64,
    tip: u64,
}

fn height_of(number: u64) -> u64 {
    1 + number / 3
}

fn run(disk: &FaultyDisk, told: &mut Told) -> Result<(), JournalError> {
    let mut journal = open(disk, 0)?;
    for number in 0..150 {
        told.appended = number + 1;
        journal.append(height_of(number), &record(number))?;
        if number % 2 == 0 {
            journal.sync()?;
            told.synced = number + 1;
        }
        if number % 3 == 2 && height_of(number) > 5 {
            told.tip = height_of(number) - 5;
            journal.truncate_through(told.tip)?;
        }
    }
    Ok(())
}

fn check_recovered(disk: &FaultyDisk, told: Told, context: &str) {
    let mut journal = open(disk, told.tip).unwrap_or_else(|error| panic!("{context}: {error}: {told:?}"));
    let found = replayed(&journal);
    let from = told.tip * 3;
    assert!(
        from + found.len() as u64 >= told.synced,
        "{context}: {} from {from}, {told:?}",
        found.len()
    );
    assert!(
        from + found.len() as u64 <= told.appended.max(from),
        "{context}: {told:?}"
    );
    for (number, (height, body)) in (from..).zip(&found) {
        assert_eq!(
            (*height, body),
            (height_of(number), &record(number)),
            "{context}: record {number}"
        );
    }
    journal.append(1000, b"more").unwrap();
    journal.sync().unwrap();
    drop(journal);
    let journal = open(disk, told.tip).unwrap();
    assert_eq!(replayed(&journal).len(), found.len() + 1, "{context}");
}

#[test]
fn recovers_from_a_crash_at_every_write_and_every_sync() {
    let clean = FaultyDisk::new(0);
    let mut told = Told::default();
    run(&clean, &mut told).unwrap();
    let ops = clean.ops();
    check_recovered(&clean, told, "no crash");
    for seed in 0..3 {
        for at in 0..ops {
            let disk = FaultyDisk::new(at + seed * 10_000);
            disk.set_faults(Faults {
                crash_at: Some(at),
                ..Faults::default()
            });
            let mut told = Told::default();
            run(&disk, &mut told).unwrap_err();
            check_recovered(
                &disk.restart(),
                told,
                &format!("seed {seed}, crash at operation {at}"),
            );
        }
    }
}

#[test]
fn any_failed_operation_poisons() {
    let opening = {
        let disk = FaultyDisk::new(0);
        open(&disk, 0).unwrap();
        disk.ops()
    };
    for at in opening..opening + 3 * 50 {
        let disk = FaultyDisk::new(at);
        disk.set_faults(Faults {
            fail_at: Some(at),
            ..Faults::default()
        });
        let mut told = Told::default();
        let mut journal = open(&disk, 0).unwrap();
        for number in 0..50 {
            told.appended = number + 1;
            let ended = journal
                .append(height_of(number), &record(number))
                .and_then(|()| journal.sync());
            if ended.is_err() {
                assert!(
                    matches!(journal.append(99, b""), Err(JournalError::Poisoned)),
                    "operation {at}"
                );
                assert!(
                    matches!(journal.sync(), Err(JournalError::Poisoned)),
                    "operation {at}"
                );
                break;
            }
            told.synced = number + 1;
        }
        drop(journal);
        check_recovered(&disk.restart(), told, &format!("failure of operation {at}"));
    }
}

#[test]
fn a_flipped_bit_in_what_was_durable_is_damage_with_its_offset() {
    let fill = || {
        let disk = FaultyDisk::new(5);
        let mut journal = open(&disk, 0).unwrap();
        for number in 0..12 {
            journal.append(height_of(number), &record(number)).unwrap();
            journal.sync().unwrap();
        }
        disk
    };
    let len = fill().file_len(PATH).unwrap();
    let mut reported = 0;
    for offset in (0..20).chain((HEAD_LEN..len).step_by(5)) {
        let disk = fill();
        disk.flip_bit(PATH, offset, (offset % 8) as u8).unwrap();
        match open(&disk, 0) {
            Err(JournalError::Damaged { offset: at, .. }) => {
                assert!(at <= offset, "byte {offset}: reported at {at}");
                reported += 1;
            }
            Ok(journal) => {
                // The only bytes that say nothing are the zeros that align the next record.
                let found = replayed(&journal);
                assert_eq!(found.len(), 12, "byte {offset}");
                assert!(
                    (0..12).all(|number| found[number as usize].1 == record(number)),
                    "byte {offset}"
                );
            }
            Err(error) => panic!("byte {offset}: {error}"),
        }
    }
    assert!(reported > 1000, "{reported}");
}

#[test]
fn an_unsynced_record_torn_before_a_whole_one_is_a_torn_tail() {
    let (mut whole, mut cut) = (0, 0);
    for seed in 0..200 {
        let disk = FaultyDisk::new(seed);
        let mut journal = open(&disk, 0).unwrap();
        journal.append(1, b"durable").unwrap();
        journal.sync().unwrap();
        journal.append(2, &[1; 3000]).unwrap();
        journal.append(2, &[2; 3000]).unwrap();
        let journal = open(&disk.restart(), 0).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        match replayed(&journal).len() {
            1 => cut += 1,
            3 => whole += 1,
            _ => {}
        }
        assert_eq!(replayed(&journal)[0].1, b"durable");
    }
    assert!(whole > 10 && cut > 10, "{whole} {cut}");
}

#[test]
fn refuses_more_than_its_limits_and_goes_on() {
    let disk = Arc::new(MemoryDisk::new());
    let mut journal = Journal::open(disk, config(), 0).unwrap();
    assert!(matches!(
        journal.append(1, &[0; 20_001]),
        Err(JournalError::TooLarge { len: 20_001, .. })
    ));
    journal.append(1, &[1; 20_000]).unwrap();
    journal.append(2, &[2; 20_000]).unwrap();
    assert!(matches!(
        journal.append(3, &[3; 20_000]),
        Err(JournalError::Full { .. })
    ));
    journal.truncate_through(1).unwrap();
    journal.append(3, &[3; 20_000]).unwrap();
    assert!(journal.bytes() <= 60_000);
    let heights: Vec<_> = replayed(&journal).iter().map(|(height, _)| *height).collect();
    assert_eq!(heights, [2, 3]);
}
