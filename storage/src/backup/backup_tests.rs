//! Backups end to end: what comes back is what was there, whatever byte is flipped and wherever the power fails.

use super::age::{Identity, Recipient};
use super::*;
use crate::disk::{Disk, Faults, FaultyDisk, MemoryDisk, publish};
use crate::log::{LogConfig, Sealing, SegmentLog};
use crate::metrics::StorageMetrics;
use selfchain_types::backup::{BackupItem, Manifest};
use selfchain_types::crypto::SigningKey;
use selfchain_types::crypto::x_wing::KemSecret;
use selfchain_types::seam::log::Log as _;
use selfchain_types::{Hash, Height, TimeNs, hash};
use std::sync::Arc;

const CHAIN: Hash = Hash([7; 32]);

fn owner() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn identity() -> Identity {
    Identity::new(KemSecret::from_seed(&[2; 32]))
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 20_000,
        reserve_bytes: 0,
        sealing: Sealing::Inline,
        ..LogConfig::default()
    }
}

/// A ledger whose rows say their height.
struct Ledger {
    disk: Arc<dyn Disk>,
    log: SegmentLog,
}

impl Ledger {
    fn new() -> Self {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        publish(&*disk, "genesis", b"the genesis of a chain").unwrap();
        disk.create_dir("models").unwrap();
        publish(&*disk, "models/one.scm", &[5; 9_000]).unwrap();
        let log = open(&disk);
        Self { disk, log }
    }

    fn grow(&mut self, rows: u64) {
        let next = self.log.reader().tip().map_or(1, |tip| tip + 1);
        for height in next..next + rows {
            self.log.append(height, &row(height)).unwrap();
        }
        self.log.sync().unwrap();
    }

    fn back_up(&self, depot: &dyn Depot, threads: usize) -> Result<Created, BackupError> {
        self.back_up_to(depot, threads, &[identity().recipient()], false)
    }

    fn back_up_to(
        &self,
        depot: &dyn Depot,
        threads: usize,
        recipients: &[Recipient],
        is_full: bool,
    ) -> Result<Created, BackupError> {
        let log = self.log.reader();
        let source = Source {
            chain_id: CHAIN,
            log: &*log,
            disk: &*self.disk,
            files: vec!["genesis".into(), "models/one.scm".into()],
            tip_of: &|height, row| Ok((hash::HEADER.hash(row), hash::ROOTS.hash(row), height)),
        };
        let options = CreateOptions {
            key: &owner(),
            recipients,
            created: TimeNs(5),
            threads,
            part_bytes: 4_000,
            is_full,
        };
        create(depot, &source, &options, &mut |_| {})
    }
}

fn open(disk: &Arc<dyn Disk>) -> SegmentLog {
    SegmentLog::open(Arc::clone(disk), config(), Arc::new(StorageMetrics::default())).unwrap()
}

fn row(height: u64) -> Vec<u8> {
    let len = 300 + usize::try_from(height % 5).unwrap() * 400;
    hash::ENVELOPE.expand(&height.to_le_bytes(), len)
}

fn directory() -> (Arc<dyn Disk>, DirectoryDepot) {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    let depot = DirectoryDepot::open(Arc::clone(&disk)).unwrap();
    (disk, depot)
}

fn restore_all(depot: &dyn Depot, disk: &Arc<dyn Disk>) -> Result<Restored, BackupError> {
    let history = History::read(depot, &owner().id())?;
    let restored = restore(depot, &history, &identity(), disk, &config(), &mut |_| {})?;
    finish(&**disk)?;
    Ok(restored)
}

fn content(disk: &dyn Disk, path: &str) -> Vec<u8> {
    let file = disk.open_read_only(path).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_at(0, &mut bytes).unwrap();
    bytes
}

fn assert_same(ledger: &Ledger, disk: &Arc<dyn Disk>) {
    let (ours, theirs) = (ledger.log.reader(), open(disk).reader());
    assert_eq!((ours.first(), ours.tip()), (theirs.first(), theirs.tip()));
    for height in ours.first().unwrap()..=ours.tip().unwrap() {
        assert_eq!(
            ours.read(height).unwrap(),
            theirs.read(height).unwrap(),
            "{height}"
        );
    }
    for path in ["genesis", "models/one.scm"] {
        assert_eq!(content(&*ledger.disk, path), content(&**disk, path), "{path}");
    }
}

#[test]
fn what_comes_back_is_what_was_there_and_each_backup_adds_what_is_new() {
    let mut ledger = Ledger::new();
    let (_, depot) = directory();
    let mut reached = 0;
    for (rows, threads) in [(50, 1), (1, 2), (400, 3), (0, 2)] {
        ledger.grow(rows);
        let created = ledger.back_up(&depot, threads).unwrap();
        assert_eq!(created.rows, rows, "only the new rows");
        assert_eq!(created.manifests > 0, rows > 0);
        reached += rows;
        let newest = created.newest.unwrap();
        assert_eq!(newest.body().reach.last, Height(reached));
        assert_eq!(newest.body().reach.block, hash::HEADER.hash(&row(reached)));
        let into: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        restore_all(&depot, &into).unwrap();
        assert_same(&ledger, &into);
    }
    let history = History::read(&depot, &owner().id()).unwrap();
    assert!(
        history.manifests().len() > 3,
        "400 rows are more parts than one manifest has"
    );
    let checked = check(&depot, &history, Some(&identity()), &mut |_| {}).unwrap();
    assert_eq!(checked.parts, len(history.parts().count()));
    assert_eq!(
        check(&depot, &history, None, &mut |_| {}).unwrap().content_bytes,
        0
    );
}

fn len(count: usize) -> u64 {
    u64::try_from(count).unwrap()
}

#[test]
fn files_that_grew_go_on_where_they_ended_and_changed_ones_are_put_in_anew() {
    let mut ledger = Ledger::new();
    let (_, depot) = directory();
    ledger.grow(3);
    ledger.back_up(&depot, 1).unwrap();
    let grown = [vec![5; 9_000], vec![6; 100]].concat();
    publish(&*ledger.disk, "models/one.scm", &grown).unwrap();
    let created = ledger.back_up(&depot, 1).unwrap();
    assert!(created.content_bytes < 200, "{created:?}");
    publish(&*ledger.disk, "models/one.scm", &[8; 50]).unwrap();
    ledger.back_up(&depot, 1).unwrap();
    let into: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    restore_all(&depot, &into).unwrap();
    assert_same(&ledger, &into);
}

#[test]
fn a_full_backup_needs_nothing_before_it_and_what_it_replaces_can_go() {
    let mut ledger = Ledger::new();
    let (_, depot) = directory();
    ledger.grow(30);
    ledger.back_up(&depot, 1).unwrap();
    let other = Identity::new(KemSecret::from_seed(&[9; 32]));
    let both = [identity().recipient(), other.recipient()];
    ledger.back_up_to(&depot, 1, &both, true).unwrap();
    let history = History::read(&depot, &owner().id()).unwrap();
    assert_eq!(history.manifests().len(), 1);
    assert!(prune(&depot, &history).unwrap() > 1);
    assert_eq!(prune(&depot, &history).unwrap(), 0);
    check(&depot, &history, Some(&other), &mut |_| {}).unwrap();
    let into: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    restore_all(&depot, &into).unwrap();
    assert_same(&ledger, &into);
}

#[test]
fn a_ledger_that_lost_rows_begins_anew_and_one_that_went_another_way_is_refused() {
    let mut ledger = Ledger::new();
    let (_, depot) = directory();
    ledger.grow(20);
    ledger.back_up(&depot, 1).unwrap();
    // A segment is sealed when it is synced.
    for _ in 0..20 {
        ledger.grow(10);
    }
    let first = ledger.log.retain_from(150).unwrap();
    assert!(first > 21, "{first}");
    let created = ledger.back_up(&depot, 1).unwrap();
    assert!(created.began_anew);
    assert_eq!(created.newest.unwrap().body().reach.first, Height(first));

    let mut behind = Ledger::new();
    behind.grow(5);
    assert!(matches!(
        behind.back_up(&depot, 1),
        Err(BackupError::Diverged { .. })
    ));
}

#[test]
fn any_flipped_byte_of_any_file_is_refused_by_name_and_makes_no_ledger() {
    let mut ledger = Ledger::new();
    let (disk, depot) = directory();
    ledger.grow(12);
    ledger.back_up(&depot, 1).unwrap();
    ledger.grow(3);
    ledger.back_up(&depot, 1).unwrap();
    let (mut manifests, mut parts) = (0, 0);
    for kept in depot.list().unwrap() {
        let name = kept.item.file_name();
        let whole = content(&*disk, &name);
        // Every byte of manifests; of parts a byte in each stretch, since each costs an opened file.
        let step = match kept.item {
            BackupItem::Manifest(_) => 1,
            BackupItem::Part { .. } => 97,
        };
        for at in (0..whole.len()).step_by(step) {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            publish(&*disk, &name, &flipped).unwrap();
            let into: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
            let error = restore_all(&depot, &into).unwrap_err();
            let BackupError::Piece { item, .. } = error else {
                panic!("{name} byte {at}: {error:?}");
            };
            assert_eq!(item, kept.item, "byte {at}");
            assert!(into.open_read_only("genesis").is_err(), "{name} byte {at}");
            let history = History::read(&depot, &owner().id());
            let found = history.and_then(|history| check(&depot, &history, None, &mut |_| {}));
            assert!(matches!(found, Err(BackupError::Piece { item, .. }) if item == kept.item));
        }
        publish(&*disk, &name, &whole).unwrap();
        match kept.item {
            BackupItem::Manifest(_) => manifests += 1,
            BackupItem::Part { .. } => parts += 1,
        }
    }
    assert!(manifests == 2 && parts > 4, "{manifests} {parts}");
}

#[test]
fn a_missing_piece_is_named_and_pieces_of_two_backups_do_not_mix() {
    let mut ledger = Ledger::new();
    let (disk, depot) = directory();
    ledger.grow(12);
    ledger.back_up(&depot, 1).unwrap();
    ledger.grow(12);
    ledger.back_up(&depot, 1).unwrap();
    for kept in depot.list().unwrap() {
        // Without its newest manifest it is an older backup, and that is for the owner's memory to notice.
        if kept.item == BackupItem::Manifest(2) {
            continue;
        }
        let name = kept.item.file_name();
        let whole = content(&*disk, &name);
        depot.remove(kept.item).unwrap();
        let into: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let error = restore_all(&depot, &into).unwrap_err();
        assert!(
            matches!(error, BackupError::Piece { item, fault: Fault::Missing } if item == kept.item),
            "{error:?}"
        );
        publish(&*disk, &name, &whole).unwrap();
    }
    // The same ledger's first manifest, made a second time elsewhere: signed by the owner, but not the one that follows.
    let (elsewhere, second) = directory();
    ledger
        .back_up_to(&second, 1, &[identity().recipient()], false)
        .unwrap();
    let other = content(&*elsewhere, "0000000001.manifest");
    publish(&*disk, "0000000001.manifest", &other).unwrap();
    let error = History::read(&depot, &owner().id()).unwrap_err();
    assert!(
        matches!(
            error,
            BackupError::Piece {
                item: BackupItem::Manifest(2),
                fault: Fault::Previous
            }
        ),
        "{error:?}"
    );
}

#[test]
fn nobody_else_can_sign_or_open_it() {
    let mut ledger = Ledger::new();
    let (_, depot) = directory();
    ledger.grow(5);
    ledger.back_up(&depot, 1).unwrap();
    let error = History::read(&depot, &SigningKey::from_seed(&[3; 32]).id()).unwrap_err();
    assert!(
        matches!(
            error,
            BackupError::Piece {
                fault: Fault::Manifest(_),
                ..
            }
        ),
        "{error:?}"
    );
    let history = History::read(&depot, &owner().id()).unwrap();
    let stranger = Identity::new(KemSecret::from_seed(&[3; 32]));
    let error = check(&depot, &history, Some(&stranger), &mut |_| {}).unwrap_err();
    assert!(
        matches!(
            error,
            BackupError::Piece {
                fault: Fault::Age(age::AgeError::NoMatch),
                ..
            }
        ),
        "{error:?}"
    );
}

/// The power fails in every operation of two backups, the second on top of the first; the next call goes on.
#[test]
fn a_backup_outlives_a_power_cut_at_any_point() {
    let mut ledger = Ledger::new();
    ledger.grow(5);
    let whole = FaultyDisk::new(1);
    let depot = DirectoryDepot::open(Arc::new(whole.clone())).unwrap();
    ledger.back_up(&depot, 1).unwrap();
    let before = whole.ops();
    ledger.grow(9);
    let first = whole.duplicate();
    ledger.back_up(&depot, 1).unwrap();
    let ops = whole.ops() - before;
    assert!(ops > 10, "{ops}");
    for at in 0..=ops {
        let disk = first.duplicate();
        disk.set_faults(Faults {
            crash_at: Some(disk.ops() + at),
            ..Faults::default()
        });
        let depot = DirectoryDepot::open(Arc::new(disk.clone())).unwrap();
        let cut = ledger.back_up(&depot, 1);
        assert_eq!(cut.is_ok(), at >= ops, "operation {at}");
        let depot = DirectoryDepot::open(Arc::new(disk.restart())).unwrap();
        // What was there is still there, whole.
        let history = History::read(&depot, &owner().id()).unwrap();
        assert!(history.newest().body().reach.last >= Height(5));
        check(&depot, &history, Some(&identity()), &mut |_| {}).unwrap();
        ledger.back_up(&depot, 1).unwrap();
        let into: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        restore_all(&depot, &into).unwrap();
        assert_same(&ledger, &into);
    }
}

/// The power fails in every operation of a restore; before the last of them there is no ledger, and the next call goes on.
#[test]
fn a_restore_goes_on_after_a_power_cut_at_any_point() {
    let mut ledger = Ledger::new();
    ledger.grow(14);
    let (_, depot) = directory();
    ledger.back_up(&depot, 1).unwrap();
    let whole = FaultyDisk::new(1);
    let into: Arc<dyn Disk> = Arc::new(whole.clone());
    restore_all(&depot, &into).unwrap();
    assert_same(&ledger, &into);
    let ops = whole.ops();
    let mut went_on = 0;
    for at in 0..ops {
        for seed in 0..2 {
            let disk = FaultyDisk::new(at * 31 + seed);
            disk.set_faults(Faults {
                crash_at: Some(at),
                ..Faults::default()
            });
            let into: Arc<dyn Disk> = Arc::new(disk.clone());
            let cut = restore_all(&depot, &into);
            let disk: Arc<dyn Disk> = Arc::new(disk.restart());
            let is_ledger = disk.open_read_only("genesis").is_ok();
            if is_ledger {
                assert_same(&ledger, &disk);
            }
            if let Err(BackupError::NotEmpty) = cut {
                panic!("operation {at}");
            }
            if !is_ledger {
                let restored = restore_all(&depot, &disk).unwrap_or_else(|error| {
                    panic!("operation {at}: {error:?}");
                });
                went_on += u64::from(restored.rows < 14);
                assert_same(&ledger, &disk);
            }
        }
    }
    assert!(went_on > 10, "{went_on} of {ops}");
}

#[test]
fn a_directory_with_anything_else_in_it_is_left_alone() {
    let mut ledger = Ledger::new();
    ledger.grow(3);
    let (_, depot) = directory();
    ledger.back_up(&depot, 1).unwrap();
    let error = restore_all(&depot, &ledger.disk).unwrap_err();
    assert!(matches!(error, BackupError::NotEmpty), "{error:?}");
    let other: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    publish(&*other, "restoring", &[9; 32]).unwrap();
    let error = restore_all(&depot, &other).unwrap_err();
    assert!(matches!(error, BackupError::OtherRestore { .. }), "{error:?}");
}

#[test]
fn the_newest_manifest_is_asked_for_by_number_not_by_trust() {
    let mut ledger = Ledger::new();
    ledger.grow(3);
    let (disk, depot) = directory();
    ledger.back_up(&depot, 1).unwrap();
    // The owner's own first manifest under a higher number.
    let first = content(&*disk, "0000000001.manifest");
    Manifest::decode(&first, &owner().id()).unwrap();
    publish(&*disk, "0000000009.manifest", &first).unwrap();
    let error = History::read(&depot, &owner().id()).unwrap_err();
    assert!(
        matches!(
            error,
            BackupError::Piece {
                item: BackupItem::Manifest(9),
                fault: Fault::Number { got: 1 }
            }
        ),
        "{error:?}"
    );
}
