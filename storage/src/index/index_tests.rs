//! The index against an obviously right model, on disks that fail.
#![allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]

use std::collections::BTreeMap;

use super::super::entry::HistoryRow;
use super::*;
use crate::disk::{Faults, FaultyDisk, MemoryDisk};

fn config() -> IndexConfig {
    IndexConfig {
        buffer_bytes_max: 20_000,
        buffer_heights_max: 40,
        run_bytes_max: 400_000,
        runs_max: 6,
        reserve_bytes: 0,
        lag_max: 10,
    }
}

fn random(seed: u64) -> u64 {
    u64::from_le_bytes(
        *blake3::hash(&seed.to_le_bytes())
            .as_bytes()
            .first_chunk()
            .unwrap(),
    )
}

fn prefix(number: u64) -> [u8; 16] {
    *blake3::hash(&number.to_le_bytes())
        .as_bytes()
        .first_chunk()
        .unwrap()
}

/// What block `height` holds: some transactions, some history of a few accounts.
fn block(height: u64) -> (Vec<TxEntry>, Vec<HistoryEntry>) {
    let txs = (0..random(height) % 30)
        .map(|number| TxEntry {
            prefix: prefix(height * 100 + number),
            index: number as u32,
        })
        .collect();
    let history = (0..random(height + 1_000_000) % 12)
        .map(|number| HistoryEntry {
            account: u128::from(random(height * 100 + number) % 9),
            index: number as u32,
            value: [(height * 31 + number) as u8; 64],
        })
        .collect();
    (txs, history)
}

fn open_on(disk: Arc<dyn Disk>, log: Option<RangeInclusive<u64>>) -> Index {
    Index::open(disk, config(), Arc::new(StorageMetrics::default()), log).unwrap()
}

fn feed(index: &mut Index, heights: RangeInclusive<u64>) -> Result<(), IndexError> {
    for height in heights {
        let (txs, history) = block(height);
        index.insert_block(height, &txs, &history)?;
    }
    Ok(())
}

/// Holds every answer for heights `floor..=tip` against a scan of the blocks.
fn check(reader: &IndexReader, floor: u64, tip: u64, context: &str) {
    assert_eq!(reader.indexed_through(), Some(tip), "{context}");
    let mut accounts: BTreeMap<u128, Vec<HistoryRow>> = BTreeMap::new();
    for height in 1..=tip {
        let (txs, history) = block(height);
        for tx in txs.iter().step_by(7) {
            let expected = if height >= floor {
                vec![Position {
                    height,
                    index: tx.index,
                }]
            } else {
                vec![]
            };
            assert_eq!(
                reader.find_tx(&tx.prefix).unwrap(),
                expected,
                "{context}: height {height}"
            );
        }
        for entry in history.iter().filter(|_| height >= floor) {
            let position = Position {
                height,
                index: entry.index,
            };
            accounts.entry(entry.account).or_default().push(HistoryRow {
                position,
                value: entry.value,
            });
        }
    }
    for missing in 0..50 {
        assert_eq!(
            reader.find_tx(&prefix(u64::MAX - missing)).unwrap(),
            vec![],
            "{context}"
        );
    }
    for (account, rows) in &accounts {
        assert_eq!(
            &reader.history(*account, Position::FIRST, usize::MAX).unwrap(),
            rows,
            "{context}"
        );
        let from = rows[rows.len() / 2].position;
        let page = reader.history(*account, from, 5).unwrap();
        assert_eq!(
            page,
            rows[rows.len() / 2..].iter().take(5).copied().collect::<Vec<_>>(),
            "{context}"
        );
        for height in (floor..=tip).step_by(13) {
            let expected = rows
                .iter()
                .rev()
                .find(|row| row.position.height <= height)
                .copied();
            assert_eq!(
                reader.balance_at(*account, height).unwrap(),
                expected,
                "{context}: {account} {height}"
            );
        }
    }
    assert_eq!(
        reader.history(77, Position::FIRST, 10).unwrap(),
        vec![],
        "{context}"
    );
    assert_eq!(reader.balance_at(77, tip).unwrap(), None, "{context}");
}

#[test]
fn answers_as_a_scan_of_the_blocks_would() {
    let disk = Arc::new(MemoryDisk::new());
    let mut index = open_on(disk.clone(), None);
    let mut most_runs = 0;
    for tip in 1..=600 {
        feed(&mut index, tip..=tip).unwrap();
        most_runs = most_runs.max(index.shared.metrics.index_runs.get());
        if tip % 97 == 0 {
            check(&index.reader(), 1, tip, &format!("tip {tip}"));
        }
    }
    assert!((3..=8).contains(&most_runs), "{most_runs} runs");
    index.flush().unwrap();
    check(&index.reader(), 1, 600, "flushed");
    drop(index);
    let mut index = open_on(disk, Some(1..=600));
    check(&index.reader(), 1, 600, "reopened");
    assert_eq!(index.expected(), Some(601));
    assert!(matches!(
        index.insert_block(600, &[], &[]),
        Err(IndexError::Gap {
            expected: 601,
            got: 600
        })
    ));
    feed(&mut index, 601..=640).unwrap();
    check(&index.reader(), 1, 640, "went on");
}

#[test]
fn two_transactions_with_one_prefix_are_both_found() {
    let mut index = open_on(Arc::new(MemoryDisk::new()), None);
    let tx = |index| TxEntry {
        prefix: [9; 16],
        index,
    };
    index.insert_block(5, &[tx(1)], &[]).unwrap();
    index.flush().unwrap();
    index.insert_block(6, &[tx(0), tx(3)], &[]).unwrap();
    let found = index.reader().find_tx(&[9; 16]).unwrap();
    assert_eq!(
        found,
        [(6, 3), (6, 0), (5, 1)].map(|(height, index)| Position { height, index })
    );
}

#[test]
fn recovers_from_a_crash_at_every_operation() {
    let run = |disk: &FaultyDisk, fed: &mut u64| -> Result<(), IndexError> {
        let metrics = Arc::new(StorageMetrics::default());
        let mut index = Index::open(Arc::new(disk.clone()), config(), metrics, None)?;
        for height in 1..=400 {
            *fed = height;
            feed(&mut index, height..=height)?;
            if height == 250 {
                index.retain_from(120)?;
            }
        }
        Ok(())
    };
    let clean = FaultyDisk::new(0);
    run(&clean, &mut 0).unwrap();
    assert!(clean.ops() > 200, "{}", clean.ops());
    for at in 0..clean.ops() {
        let disk = FaultyDisk::new(at);
        disk.set_faults(Faults {
            crash_at: Some(at),
            ..Faults::default()
        });
        let mut fed = 0;
        run(&disk, &mut fed).unwrap_err();
        let floor = if fed > 250 { 120 } else { 1 };
        let mut index = open_on(Arc::new(disk.restart()), Some(floor..=fed));
        let from = index.expected().unwrap();
        assert!(from <= fed + 1, "crash at {at}");
        feed(&mut index, from..=fed.max(from)).unwrap();
        check(
            &index.reader(),
            floor,
            fed.max(from),
            &format!("seed {at}, crash at operation {at}"),
        );
    }
}

#[test]
fn retention_drops_whole_runs_and_hides_the_rest_at_once() {
    let disk = Arc::new(MemoryDisk::new());
    let mut index = open_on(disk.clone(), None);
    feed(&mut index, 1..=400).unwrap();
    let before = disk.list(INDEX_DIR).unwrap();
    index.retain_from(333).unwrap();
    check(&index.reader(), 333, 400, "retained");
    let after = disk.list(INDEX_DIR).unwrap();
    assert!(after.len() < before.len(), "{before:?} {after:?}");
    feed(&mut index, 401..=700).unwrap();
    check(&index.reader(), 333, 700, "went on");
    index.flush().unwrap();
    drop(index);
    let index = open_on(disk, Some(333..=700));
    check(&index.reader(), 333, 700, "reopened");
}

#[test]
fn a_flipped_bit_is_dropped_with_its_run_and_fed_again() {
    let disk = FaultyDisk::new(1);
    let mut index = open_on(Arc::new(disk.clone()), None);
    feed(&mut index, 1..=170).unwrap();
    index.flush().unwrap();
    drop(index);
    let blocks: Vec<_> = (0..=170).map(|height| block(height).0).collect();
    let names = disk.list(INDEX_DIR).unwrap();
    assert!(names.len() >= 2, "{names:?}");
    let mut dropped = 0;
    for name in &names {
        let path = format!("{INDEX_DIR}/{name}");
        let len = disk.file_len(&path).unwrap();
        for offset in (0..len).step_by(1_499).chain((len - FOOTER..len).step_by(3)) {
            let disk = disk.duplicate();
            disk.flip_bit(&path, offset, (offset % 8) as u8).unwrap();
            let mut index = open_on(Arc::new(disk), Some(1..=170));
            let reader = index.reader();
            // Any answer is right or an error; an error is enough for the writer to drop the run.
            for height in (1..=170).step_by(3) {
                for tx in &blocks[height as usize] {
                    match reader.find_tx(&tx.prefix) {
                        Ok(found) if index.indexed_through() >= Some(height) => {
                            assert_eq!(
                                found,
                                [Position {
                                    height,
                                    index: tx.index
                                }],
                                "{path} {offset}"
                            );
                        }
                        Ok(_) | Err(IndexError::Corrupt { .. }) => {}
                        Err(error) => panic!("{path} {offset}: {error}"),
                    }
                }
            }
            let mut expected = index.expected().unwrap();
            if expected == 171 {
                let (txs, history) = block(171);
                match index.insert_block(171, &txs, &history) {
                    Ok(()) => expected = 172,
                    Err(IndexError::Dropped { expected: from }) => expected = from,
                    Err(error) => panic!("{path} {offset}: {error}"),
                }
            }
            dropped += u64::from(expected < 171);
            feed(&mut index, expected..=171).unwrap();
            let ended = reader.indexed_through();
            assert_eq!(ended, Some(171), "{path} {offset}");
        }
    }
    assert!(dropped > 100, "{dropped}");
}

const FOOTER: u64 = 128;

#[test]
fn an_index_that_does_not_reach_back_or_is_ahead_is_rebuilt() {
    let disk = Arc::new(MemoryDisk::new());
    let mut index = open_on(disk.clone(), None);
    feed(&mut index, 50..=200).unwrap();
    index.flush().unwrap();
    drop(index);
    assert_eq!(open_on(disk.clone(), Some(50..=200)).expected(), Some(201));
    let ahead = open_on(disk.clone(), Some(50..=120)).expected().unwrap();
    assert!(ahead <= 121, "{ahead}");
    assert_eq!(open_on(disk, Some(20..=200)).expected(), Some(20));
}

#[test]
fn says_how_far_it_is_behind() {
    let mut index = open_on(Arc::new(MemoryDisk::new()), None);
    feed(&mut index, 1..=5).unwrap();
    let reader = index.reader();
    assert_eq!((reader.lag(5), reader.lag(15)), (0, 10));
    reader.refuse_behind(15).unwrap();
    assert!(matches!(
        reader.refuse_behind(16),
        Err(IndexError::Behind { by: 11 })
    ));
}

#[test]
fn answers_while_one_thread_inserts() {
    let mut index = open_on(Arc::new(MemoryDisk::new()), None);
    feed(&mut index, 1..=1).unwrap();
    let readers: Vec<_> = (0..2)
        .map(|seed| {
            let reader = index.reader();
            std::thread::spawn(move || {
                let mut asked = 0;
                while reader.indexed_through() < Some(500) {
                    let through = reader.indexed_through().unwrap();
                    let height = 1 + random(seed + asked) % through;
                    for tx in block(height).0 {
                        let found = reader.find_tx(&tx.prefix).unwrap();
                        assert_eq!(
                            found,
                            [Position {
                                height,
                                index: tx.index
                            }]
                        );
                    }
                    asked += 1;
                }
            })
        })
        .collect();
    feed(&mut index, 2..=500).unwrap();
    readers.into_iter().for_each(|reader| reader.join().unwrap());
}

#[test]
fn a_nearly_full_disk_refuses_blocks_and_answers() {
    let disk = FaultyDisk::new(1);
    let config = IndexConfig {
        reserve_bytes: 50_000,
        ..config()
    };
    let metrics = Arc::new(StorageMetrics::default());
    let mut index = Index::open(Arc::new(disk.clone()), config, metrics, None).unwrap();
    disk.set_faults(Faults {
        capacity_bytes: Some(150_000),
        ..Faults::default()
    });
    let error = (1..1_000)
        .find_map(|height| feed(&mut index, height..=height).err())
        .unwrap();
    let IndexError::DiskFull {
        free_bytes,
        needed_bytes,
    } = error
    else {
        panic!("{error}")
    };
    assert!(
        free_bytes < needed_bytes && free_bytes >= 30_000,
        "{free_bytes} {needed_bytes}"
    );
    let tip = index.indexed_through().unwrap();
    check(&index.reader(), 1, tip, "full");
    disk.set_faults(Faults::default());
    feed(&mut index, tip + 1..=tip + 50).unwrap();
    check(&index.reader(), 1, tip + 50, "room again");
}
