//! Snapshots on disks that fail.
#![allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]

use super::*;
use crate::disk::{Faults, FaultyDisk, MemoryDisk};

fn config() -> SnapshotConfig {
    SnapshotConfig {
        keep: 2,
        chunk_bytes_max: 10_000,
        chunks_max: 20,
        manifest_bytes_max: 1_000,
        reserve_bytes: 0,
    }
}

fn open(disk: &FaultyDisk) -> Result<Snapshots, SnapshotError> {
    Snapshots::open_with(Arc::new(disk.clone()), config())
}

fn chunk(height: u64, table: u16, number: usize) -> Vec<u8> {
    vec![(height as u8) ^ (table as u8) ^ (number as u8); 100 + 2_000 * number]
}

fn take(store: &Snapshots, height: u64) -> Result<(), SnapshotError> {
    let mut writer = store.begin(height)?;
    for number in 0..4 {
        writer.put(1, &chunk(height, 1, number))?;
        writer.put(7, &chunk(height, 7, number))?;
    }
    writer.put(9, b"")?;
    writer.finish(format!("manifest of {height}").as_bytes())
}

fn check(store: &Snapshots, height: u64) -> Result<(), SnapshotError> {
    assert_eq!(
        store.manifest(height)?,
        format!("manifest of {height}").as_bytes()
    );
    for table in [1, 7] {
        for (number, found) in store.read(height, table)?.enumerate() {
            assert_eq!(
                found?,
                chunk(height, table, number),
                "height {height} table {table}"
            );
        }
        assert_eq!(store.read(height, table)?.count(), 4);
    }
    assert_eq!(
        store.read(height, 9)?.collect::<Result<Vec<_>, _>>()?,
        vec![Vec::<u8>::new()]
    );
    assert_eq!(store.read(height, 2)?.count(), 0);
    Ok(())
}

#[test]
fn keeps_the_newest_and_reads_them_back() {
    let store = Snapshots::open_with(Arc::new(MemoryDisk::new()), config()).unwrap();
    assert_eq!(store.latest().unwrap(), None);
    for height in [10, 20, 30, 30] {
        take(&store, height).unwrap();
        check(&store, height).unwrap();
    }
    assert_eq!(
        (store.list().unwrap(), store.latest().unwrap()),
        (vec![20, 30], Some(30))
    );
    assert!(matches!(
        store.manifest(10),
        Err(SnapshotError::NotFound { height: 10 })
    ));
    store.remove(20).unwrap();
    store.remove(20).unwrap();
    assert_eq!(store.list().unwrap(), [30]);
}

#[test]
fn an_unfinished_one_leaves_nothing() {
    let disk = MemoryDisk::new();
    let store = Snapshots::open_with(Arc::new(disk.clone()), config()).unwrap();
    let mut writer = store.begin(5).unwrap();
    writer.put(1, b"x").unwrap();
    assert_eq!(store.list().unwrap(), Vec::<u64>::new());
    drop(writer);
    assert_eq!(disk.list(SNAPSHOTS_DIR).unwrap(), Vec::<String>::new());
}

#[test]
fn a_crash_at_any_operation_leaves_whole_snapshots_only() {
    let run = |disk: &FaultyDisk, finished: &mut u64| -> Result<(), SnapshotError> {
        let store = open(disk)?;
        for height in 1..=4 {
            take(&store, height)?;
            *finished = height;
        }
        Ok(())
    };
    let clean = FaultyDisk::new(0);
    run(&clean, &mut 0).unwrap();
    for seed in 0..4 {
        for at in 0..clean.ops() {
            let disk = FaultyDisk::new(at + 1000 * seed);
            disk.set_faults(Faults {
                crash_at: Some(at),
                ..Faults::default()
            });
            let mut finished = 0;
            // Dropping what is surplus comes after the snapshot is whole: that may be cut too.
            run(&disk, &mut finished).unwrap_err();
            let disk = disk.restart();
            let store = open(&disk).unwrap();
            let heights = store.list().unwrap();
            assert!(
                heights.last().copied().unwrap_or(0) >= finished,
                "crash at {at}: {heights:?}"
            );
            for height in &heights {
                check(&store, *height).unwrap();
            }
            assert!(
                disk.list(SNAPSHOTS_DIR)
                    .unwrap()
                    .iter()
                    .all(|name| !name.ends_with(UNPUBLISHED_SUFFIX))
            );
            take(&store, 9).unwrap();
            assert_eq!(store.list().unwrap().len(), 2.min(heights.len() + 1));
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_reported() {
    let disk = FaultyDisk::new(1);
    take(&open(&disk).unwrap(), 3).unwrap();
    let path = path_of(SNAPSHOTS_DIR, 3);
    for offset in (0..disk.file_len(&path).unwrap()).step_by(7) {
        let disk = disk.duplicate();
        disk.flip_bit(&path, offset, (offset % 8) as u8).unwrap();
        match check(&open(&disk).unwrap(), 3) {
            Err(SnapshotError::Corrupt { height: 3, .. }) => {}
            other => panic!("byte {offset}: {other:?}"),
        }
    }
}

#[test]
fn refuses_more_than_its_limits() {
    let disk = FaultyDisk::new(1);
    let store = open(&disk).unwrap();
    let mut writer = store.begin(1).unwrap();
    assert!(matches!(
        writer.put(1, &[0; 10_001]),
        Err(SnapshotError::TooLarge { got: 10_001, .. })
    ));
    for _ in 0..20 {
        writer.put(1, b"x").unwrap();
    }
    assert!(matches!(
        writer.put(1, b"x"),
        Err(SnapshotError::TooLarge {
            got: 21,
            max: 20,
            unit: "chunks"
        })
    ));
    disk.set_faults(Faults {
        capacity_bytes: Some(100),
        ..Faults::default()
    });
    assert!(matches!(
        writer.finish(&[0; 900]),
        Err(SnapshotError::DiskFull { .. })
    ));
}
