//! The log on disks that fail: power cuts at every operation, bad syncs, full disks, flipped bits.
#![allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]

use std::sync::Arc;

use selfchain_types::seam::log::{Log, LogError, LogReader};

use super::{LogConfig, Sealing, SegmentLog};
use crate::disk::{Disk, Faults, FaultyDisk, MemoryDisk};
use crate::metrics::StorageMetrics;

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 200_000,
        row_bytes_max: 1 << 20,
        pending_bytes_max: 1 << 20,
        tail_bytes_max: 0,
        write_cache_bytes: 1 << 20,
        read_cache_bytes: 1 << 16,
        segments_open_max: 2,
        reserve_bytes: 0,
        sealing: Sealing::Inline,
        ..LogConfig::default()
    }
}

fn open_with(disk: &FaultyDisk, config: LogConfig) -> Result<SegmentLog, LogError> {
    SegmentLog::open(
        Arc::new(disk.clone()),
        config,
        Arc::new(StorageMetrics::default()),
    )
}

fn open(disk: &FaultyDisk) -> Result<SegmentLog, LogError> {
    open_with(disk, config())
}

/// Rows of many sizes: empty, small, just over a chunk, several chunks.
fn row(height: u64) -> Vec<u8> {
    let len = [0, 1, 300, 5_000, 40_000, 64_960, 65_100, 140_000][(height % 8) as usize];
    (0..len)
        .map(|i| (i as u64).wrapping_mul(height + 1).to_le_bytes()[0])
        .collect()
}

/// What a run was told: the tip of its last sync, the last row appended, the first height still held.
#[derive(Debug, Default, Clone, Copy)]
struct Told {
    synced: u64,
    appended: u64,
    first: u64,
}

/// Appends through height 40 in groups of three, forgetting old segments on the way.
fn run(disk: &FaultyDisk, config: LogConfig, told: &mut Told) -> Result<(), LogError> {
    let mut log = open_with(disk, config)?;
    for height in 1..=40 {
        told.appended = height;
        log.append(height, &row(height))?;
        if height % 3 == 0 {
            told.synced = log.sync()?;
            assert_eq!(told.synced, height);
        }
        if height % 16 == 0 {
            // What is forgotten may be gone from here on, even when the call fails.
            told.first = height - 8;
            let first = log.retain_from(height - 8)?;
            assert!(first <= height - 8);
        }
    }
    told.synced = log.sync()?;
    Ok(())
}

/// Opens what survived and holds it against what was told; then the log must go on as if new.
fn check_recovered(disk: &FaultyDisk, told: Told, context: &str) {
    let mut log = open(disk).unwrap_or_else(|error| panic!("{context}: {error}: {told:?}"));
    let reader = log.reader();
    let tip = reader.tip().unwrap_or(0);
    assert!(tip >= told.synced, "{context}: tip {tip}, {told:?}");
    assert!(tip <= told.appended, "{context}: tip {tip}, {told:?}");
    let first = reader.first().unwrap_or(1);
    assert!(first <= told.first.max(1), "{context}: first {first}, {told:?}");
    for height in first..=tip {
        assert_eq!(
            &reader.read(height).unwrap()[..],
            row(height),
            "{context}: height {height}"
        );
    }
    for height in tip + 1..=tip + 4 {
        log.append(height, &row(height)).unwrap();
    }
    assert_eq!(log.sync().unwrap(), tip + 4, "{context}");
    drop((log, reader));
    let log = open(disk).unwrap();
    let reader = log.reader();
    assert_eq!(reader.tip(), Some(tip + 4), "{context}");
    for height in first..=tip + 4 {
        assert_eq!(
            &reader.read(height).unwrap()[..],
            row(height),
            "{context}: height {height}"
        );
    }
}

fn crash_everywhere(config: &LogConfig) {
    let clean = FaultyDisk::new(0);
    let mut told = Told::default();
    run(&clean, config.clone(), &mut told).unwrap();
    assert_eq!(told.synced, 40);
    let ops = clean.ops();
    assert!(ops > 200, "a workload worth crashing: {ops} operations");
    check_recovered(&clean.restart(), told, "no crash");
    for at in 0..ops {
        let disk = FaultyDisk::new(at);
        disk.set_faults(Faults {
            crash_at: Some(at),
            ..Faults::default()
        });
        let mut told = Told::default();
        let ended = run(&disk, config.clone(), &mut told);
        assert!(disk.crashed(), "crash at {at} of {ops}: {ended:?}");
        check_recovered(
            &disk.restart(),
            told,
            &format!("seed {at}, crash at operation {at} of {ops}"),
        );
    }
}

#[test]
fn recovers_from_a_crash_at_every_write_and_every_sync() {
    crash_everywhere(&config());
}

#[test]
fn recovers_with_quick_repair_from_a_crash_at_every_write_and_every_sync() {
    crash_everywhere(&LogConfig {
        quick_repair: true,
        check_on_open: false,
        ..config()
    });
}

#[test]
fn recovers_from_a_crash_during_recovery() {
    let mut crashes = 0;
    for at in (40..360).step_by(16) {
        let disk = FaultyDisk::new(at);
        disk.set_faults(Faults {
            crash_at: Some(at),
            ..Faults::default()
        });
        let mut told = Told::default();
        run(&disk, config(), &mut told).unwrap_err();
        let mut disk = disk.restart();
        for again in 0..6 {
            disk.set_faults(Faults {
                crash_at: Some(disk.ops() + again),
                ..Faults::default()
            });
            if open(&disk).is_err() {
                crashes += 1;
                assert!(disk.crashed());
            }
            disk = disk.restart();
        }
        check_recovered(&disk, told, &format!("seed {at}"));
    }
    assert!(crashes > 20, "{crashes} crashes during recovery");
}

#[test]
fn any_failed_operation_poisons_and_a_restart_recovers() {
    let clean = FaultyDisk::new(0);
    let mut told = Told::default();
    run(&clean, config(), &mut told).unwrap();
    let opening = {
        let disk = FaultyDisk::new(0);
        drop(open(&disk).unwrap());
        disk.ops()
    };
    for at in opening..clean.ops() {
        let disk = FaultyDisk::new(at);
        disk.set_faults(Faults {
            fail_at: Some(at),
            ..Faults::default()
        });
        let mut log = open(&disk).unwrap();
        let mut told = Told::default();
        let mut failed = false;
        for height in 1..=40 {
            let ended = log.append(height, &row(height)).and_then(|()| {
                told.appended = height;
                log.sync()
            });
            match ended {
                Ok(tip) => told.synced = tip,
                Err(error) => {
                    assert!(!matches!(error, LogError::DiskFull { .. }), "{error}");
                    failed = true;
                    break;
                }
            }
        }
        if failed {
            assert!(
                matches!(log.append(99, b"x"), Err(LogError::Poisoned)),
                "operation {at}"
            );
            assert!(matches!(log.sync(), Err(LogError::Poisoned)), "operation {at}");
            assert!(
                matches!(log.retain_from(1), Err(LogError::Poisoned)),
                "operation {at}"
            );
        }
        drop(log);
        check_recovered(
            &disk.restart(),
            told,
            &format!("seed {at}, failure of operation {at}"),
        );
    }
}

#[test]
fn a_nearly_full_disk_refuses_appends_and_serves_reads() {
    let disk = FaultyDisk::new(3);
    let config = LogConfig {
        reserve_bytes: 1_000_000,
        ..config()
    };
    disk.set_faults(Faults {
        capacity_bytes: Some(6_000_000),
        ..Faults::default()
    });
    let mut log = open_with(&disk, config).unwrap();
    let mut height = 0;
    let error = loop {
        height += 1;
        if let Err(error) = log.append(height, &[7; 60_000]) {
            break error;
        }
        log.sync().unwrap();
    };
    let LogError::DiskFull {
        free_bytes,
        needed_bytes,
    } = error
    else {
        panic!("{error}")
    };
    assert!(
        free_bytes < needed_bytes && free_bytes > 1_000_000,
        "{free_bytes} {needed_bytes}"
    );
    assert!(height > 20);
    let reader = log.reader();
    assert!(matches!(reader.headroom(60_000), Err(LogError::DiskFull { .. })));
    assert_eq!(reader.read(height - 1).unwrap().len(), 60_000);
    assert_eq!(log.sync().unwrap(), height - 1, "not poisoned");
    disk.set_faults(Faults {
        capacity_bytes: Some(12_000_000),
        ..Faults::default()
    });
    log.append(height, &[7; 60_000]).unwrap();
    assert_eq!(log.sync().unwrap(), height);
}

#[test]
fn a_disk_that_fills_in_a_commit_poisons_and_loses_nothing_durable() {
    let disk = FaultyDisk::new(3);
    let mut log = open_with(
        &disk,
        LogConfig {
            reserve_bytes: 0,
            ..config()
        },
    )
    .unwrap();
    for height in 1..=5 {
        log.append(height, &row(height)).unwrap();
    }
    log.sync().unwrap();
    log.append(6, &[1; 900_000]).unwrap();
    disk.set_faults(Faults {
        capacity_bytes: Some(300_000),
        ..Faults::default()
    });
    assert!(matches!(log.sync(), Err(LogError::Io { .. })));
    assert!(matches!(log.append(7, b"x"), Err(LogError::Poisoned)));
    drop(log);
    check_recovered(
        &disk.restart(),
        Told {
            synced: 5,
            appended: 6,
            first: 1,
        },
        "full",
    );
}

/// Reads everything; damage must come out as an error that names a height, or not matter at all.
fn read_all(disk: &FaultyDisk, tip: u64) -> Result<(), LogError> {
    let log = open(disk)?;
    let reader = log.reader();
    if reader.tip() != Some(tip) {
        return Err(LogError::Corrupt {
            height: 0,
            what: format!("served a wrong tip {:?}", reader.tip()),
        });
    }
    for height in 1..=tip {
        assert_eq!(&reader.read(height)?[..], row(height), "served wrong bytes");
    }
    let reader = log.segment_reader();
    for summary in reader.segments()? {
        reader.verify_segment(&summary)?;
    }
    Ok(())
}

#[test]
fn a_flipped_bit_anywhere_is_reported_or_harmless() {
    std::panic::set_hook(Box::new(|info| {
        // redb may panic on a damaged file, which the log catches: keep those out of the output.
        if !info.location().is_some_and(|at| at.file().contains("redb")) {
            eprintln!("{info}");
        }
    }));
    let (mut flips, mut reported) = (0, 0);
    let filled = FaultyDisk::new(1);
    fill(&filled);
    let names = filled.list("log").unwrap();
    assert_eq!(
        names.iter().filter(|name| name.ends_with(".redb")).count(),
        3,
        "{names:?}"
    );
    for name in names.iter().filter(|name| name.as_str() != "tip") {
        let path = format!("log/{name}");
        let mut offset = 3;
        while offset < filled.file_len(&path).unwrap() {
            let disk = filled.duplicate();
            disk.flip_bit(&path, offset, (offset % 8) as u8).unwrap();
            flips += 1;
            match read_all(&disk, 17) {
                Ok(()) => {}
                Err(LogError::Corrupt { height, what }) if !what.contains("wrong tip") => {
                    assert!(
                        (1..=18).contains(&height),
                        "{path} byte {offset}: height {height}, {what}"
                    );
                    reported += 1;
                }
                Err(error) => panic!("{path} byte {offset}: {error:?}"),
            }
            offset += if offset < 8192 { 37 } else { 6151 };
        }
    }
    assert!(reported * 2 > flips, "{reported} of {flips} reported");
    drop(std::panic::take_hook());
}

fn fill(disk: &FaultyDisk) {
    let mut log = open(disk).unwrap();
    for height in 1..=17 {
        log.append(height, &row(height)).unwrap();
        log.sync().unwrap();
    }
}

#[test]
fn a_lost_write_is_never_served() {
    let mut reported = 0;
    for at in 0..300 {
        let disk = FaultyDisk::new(at);
        disk.set_faults(Faults {
            lose_at: Some(at),
            ..Faults::default()
        });
        let ended = std::panic::catch_unwind(|| {
            let mut told = Told::default();
            let ended = run(&disk, config(), &mut told);
            (told, ended)
        });
        let Ok((_, ended)) = ended else {
            panic!("operation {at} lost: panicked")
        };
        let served = ended.and_then(|()| {
            let log = open(&disk)?;
            let reader = log.reader();
            for height in reader.first().unwrap_or(1)..=reader.tip().unwrap_or(0) {
                assert_eq!(
                    &reader.read(height)?[..],
                    row(height),
                    "operation {at} lost, height {height}"
                );
            }
            Ok(())
        });
        if served.is_err() {
            reported += 1;
        }
    }
    assert!(reported > 10, "{reported}");
}

#[test]
fn a_missing_segment_and_a_lost_tail_are_damage() {
    let check = |remove: &[&str]| {
        let disk = FaultyDisk::new(1);
        fill(&disk);
        for name in remove {
            disk.remove(&format!("log/{name}")).unwrap();
        }
        match open(&disk) {
            Err(LogError::Corrupt { height, what }) => format!("{height}: {what}"),
            other => format!("{:?}", other.map(|log| log.reader().tip())),
        }
    };
    let disk = FaultyDisk::new(1);
    fill(&disk);
    let names = disk.list("log").unwrap();
    let databases: Vec<_> = names
        .iter()
        .filter(|name| name.ends_with(".redb"))
        .map(String::as_str)
        .collect();
    let seals: Vec<_> = names
        .iter()
        .filter(|name| name.ends_with(".seal"))
        .map(String::as_str)
        .collect();
    assert_eq!((databases.len(), seals.len()), (3, 2), "{names:?}");
    assert!(check(&[databases[1]]).contains("seal is not"));
    assert!(check(&[databases[1], seals[1]]).contains("missing"));
    assert!(check(&[databases[2]]).contains("were durable and are gone"));
    assert_eq!(
        check(&[databases[0], seals[0]]),
        "Ok(Some(17))",
        "what retention leaves"
    );
    assert_eq!(
        check(&[databases[0]]),
        "Ok(Some(17))",
        "what retention leaves when cut"
    );
    assert_eq!(check(&[seals[0]]), "Ok(Some(17))", "sealed again");
    for len in [0, 1, 100_000] {
        let disk = disk.duplicate();
        disk.open(&format!("log/{}", databases[0]))
            .unwrap()
            .set_len(len)
            .unwrap();
        assert!(
            matches!(open(&disk), Err(LogError::Corrupt { height: 1, .. })),
            "a sealed file of {len} bytes"
        );
    }
}

#[test]
fn refuses_what_it_cannot_take_and_goes_on() {
    let small = LogConfig {
        pending_bytes_max: 1000,
        row_bytes_max: 2000,
        ..config()
    };
    let disk = Arc::new(MemoryDisk::new());
    let metrics = Arc::new(StorageMetrics::default());
    let mut log = SegmentLog::open(disk, small, Arc::clone(&metrics)).unwrap();
    assert!(matches!(log.append(u64::MAX, b""), Err(LogError::Gap { .. })));
    assert_eq!(log.sync().unwrap(), 0);
    log.append(10, &[0; 1500]).unwrap();
    assert!(matches!(
        log.append(12, b""),
        Err(LogError::Gap {
            expected: 11,
            got: 12
        })
    ));
    assert!(matches!(
        log.append(11, &[0; 2001]),
        Err(LogError::TooLarge { len: 2001, max: 2000 })
    ));
    assert!(matches!(
        log.append(11, b"x"),
        Err(LogError::PendingFull {
            pending_bytes: 1500,
            max_bytes: 1000
        })
    ));
    let reader = log.reader();
    assert!(matches!(
        reader.read(10),
        Err(LogError::NotFound {
            height: 10,
            tip: None
        })
    ));
    assert_eq!(log.sync().unwrap(), 10);
    log.append(11, b"x").unwrap();
    assert_eq!(
        (reader.first(), reader.tip()),
        (Some(10), Some(10)),
        "appended is not durable"
    );
    assert_eq!(log.sync().unwrap(), 11);
    assert!(matches!(reader.read(9), Err(LogError::Pruned { first: 10 })));
    assert_eq!(&reader.read(11).unwrap()[..], b"x");
    assert_eq!((metrics.log_rows.get(), metrics.log_syncs.get()), (2, 2));
}

#[test]
fn retention_by_bytes_keeps_the_newest_segments() {
    let disk = FaultyDisk::new(1);
    let mut log = open(&disk).unwrap();
    for height in 1..=40 {
        log.append(height, &row(height)).unwrap();
        log.sync().unwrap();
    }
    let reader = log.segment_reader();
    let before = reader.segments().unwrap();
    let first = log.retain_bytes(500_000).unwrap();
    let after = reader.segments().unwrap();
    assert!(
        after.len() < before.len() && after.len() >= 2,
        "{} {}",
        before.len(),
        after.len()
    );
    assert_eq!((after[0].first, reader.first()), (first, Some(first)));
    assert!(matches!(reader.read(first - 1), Err(LogError::Pruned { .. })));
    assert_eq!(&reader.read(first).unwrap()[..], row(first));
    log.retain_bytes(0).unwrap();
    assert_eq!(reader.segments().unwrap().len(), 1, "the newest stays");
    drop(log);
    assert_eq!(open(&disk).unwrap().reader().tip(), Some(40));
}

#[test]
fn readers_follow_while_segments_are_sealed_behind_them() {
    let config = LogConfig {
        sealing: Sealing::Background,
        ..config()
    };
    let disk = Arc::new(MemoryDisk::new());
    let mut log = SegmentLog::open(disk, config, Arc::new(StorageMetrics::default())).unwrap();
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let reader = log.reader();
            std::thread::spawn(move || {
                let mut next = 1;
                while next <= 120 {
                    match reader.read(next) {
                        Ok(found) => {
                            assert_eq!(&found[..], row(next));
                            next += 1;
                        }
                        Err(LogError::NotFound { .. }) => std::thread::yield_now(),
                        Err(error) => panic!("height {next}: {error}"),
                    }
                }
            })
        })
        .collect();
    for height in 1..=120 {
        log.append(height, &row(height)).unwrap();
        log.sync().unwrap();
    }
    let reader = log.reader();
    drop(log);
    for reader in readers {
        reader.join().unwrap();
    }
    assert_eq!(
        &reader.read(120).unwrap()[..],
        row(120),
        "readers outlive the writing end"
    );
}
