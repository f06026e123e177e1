//! Keeping files: for their owner alone, within the quota, whole or not at all.

use super::*;
use selfchain_storage::MemoryDisk;
use selfchain_storage::disk::{Faults, FaultyDisk};

const ALICE: [u8; 32] = [1; 32];
const BOB: [u8; 32] = [2; 32];
const ITEM: BackupItem = BackupItem::Part {
    sequence: 1,
    number: 0,
};

fn agreements() -> Vec<Agreement> {
    [ALICE, BOB]
        .map(|owner| Agreement {
            owner,
            quota_bytes: 20_000,
        })
        .into()
}

fn open(disk: &Arc<dyn Disk>) -> KeptFiles {
    KeptFiles::open(Arc::clone(disk), &agreements(), 0).unwrap()
}

fn memory() -> Arc<dyn Disk> {
    Arc::new(MemoryDisk::new())
}

fn hash(bytes: &[u8]) -> Hash {
    Hash(*blake3::hash(bytes).as_bytes())
}

fn put(
    kept: &mut KeptFiles,
    item: BackupItem,
    whole: &[u8],
    offset: usize,
    len: usize,
) -> Result<u64, KeepError> {
    let keep = Keep::Put {
        item,
        len: wide(whole.len()),
        hash: hash(whole),
        offset: wide(offset),
        bytes: &whole[offset..offset + len],
    };
    kept.answer(Some(ALICE), &keep).map(|kept| match kept {
        Kept::Received { received } => received,
        other => panic!("{other:?}"),
    })
}

fn get(kept: &mut KeptFiles, owner: [u8; 32], offset: u64, len: u32) -> Result<Vec<u8>, KeepError> {
    let keep = Keep::Get {
        item: ITEM,
        offset,
        len,
    };
    kept.answer(Some(owner), &keep).map(|kept| match kept {
        Kept::Piece { bytes, .. } => bytes,
        other => panic!("{other:?}"),
    })
}

#[test]
fn a_file_comes_in_pieces_and_goes_back_to_its_owner_alone() {
    let mut kept = open(&memory());
    let whole: Vec<u8> = (0..5_000_u32).map(|at| at as u8).collect();
    assert_eq!(put(&mut kept, ITEM, &whole, 0, 2_000).unwrap(), 2_000);
    // What is not whole is not there.
    assert!(matches!(
        get(&mut kept, ALICE, 0, 10),
        Err(KeepError::NotFound { .. })
    ));
    // Not the next bytes: the answer says which those are.
    assert_eq!(put(&mut kept, ITEM, &whole, 3_000, 10).unwrap(), 2_000);
    assert_eq!(put(&mut kept, ITEM, &whole, 2_000, 3_000).unwrap(), 5_000);
    // The last answer was lost, and the owner asks again.
    assert_eq!(put(&mut kept, ITEM, &whole, 2_000, 3_000).unwrap(), 5_000);
    assert_eq!(get(&mut kept, ALICE, 1_000, 9_000).unwrap(), whole[1_000..]);
    assert_eq!(get(&mut kept, ALICE, 9_000, 9_000).unwrap(), b"");
    assert!(matches!(
        get(&mut kept, BOB, 0, 10),
        Err(KeepError::NotFound { .. })
    ));
    for stranger in [None, Some([3; 32])] {
        let error = kept.answer(stranger, &Keep::Terms).unwrap_err();
        assert_eq!(error.refusal(), Refusal::NotAgreed);
    }
    let terms = kept.answer(Some(ALICE), &Keep::Terms).unwrap();
    let want = Kept::Terms {
        quota_bytes: 20_000,
        used_bytes: 5_000 + 4_096,
        files: 1,
    };
    assert_eq!(terms, want);
    let remove = Keep::Remove(ITEM);
    assert_eq!(
        kept.answer(Some(BOB), &remove).unwrap(),
        Kept::Removed { was_kept: false }
    );
    assert_eq!(
        kept.answer(Some(ALICE), &remove).unwrap(),
        Kept::Removed { was_kept: true }
    );
    assert_eq!(
        kept.answer(Some(ALICE), &Keep::List { after: None }).unwrap(),
        Kept::List(Vec::new())
    );
}

#[test]
fn the_quota_holds_and_what_is_replaced_does_not_count_twice() {
    let mut kept = open(&memory());
    let (first, second) = (vec![1; 9_000], vec![2; 9_000]);
    put(&mut kept, ITEM, &first, 0, 9_000).unwrap();
    let other = BackupItem::Manifest(1);
    let error = put(&mut kept, other, &second, 0, 9_000).unwrap_err();
    assert_eq!(error.refusal(), Refusal::QuotaFull);
    put(&mut kept, ITEM, &second, 0, 9_000).unwrap();
    assert_eq!(get(&mut kept, ALICE, 0, 9_000).unwrap(), second);
    // Many small files fill it too.
    let mut files = 1;
    while put(&mut kept, BackupItem::Manifest(files), &[files as u8], 0, 1).is_ok() {
        files += 1;
        assert!(files < 10);
    }
    assert_eq!(files, 2);
}

#[test]
fn nonsense_is_refused_by_name() {
    let mut kept = open(&memory());
    let error = |kept: &mut KeptFiles, keep: &Keep<'_>| kept.answer(Some(ALICE), keep).unwrap_err();
    for (len, refusal) in [(0, Refusal::TooLarge), (KEEP_FILE_MAX + 1, Refusal::TooLarge)] {
        let keep = Keep::Put {
            item: ITEM,
            len,
            hash: Hash::ZERO,
            offset: 0,
            bytes: b"",
        };
        assert_eq!(error(&mut kept, &keep).refusal(), refusal);
    }
    let beyond = Keep::Put {
        item: ITEM,
        len: 3,
        hash: Hash::ZERO,
        offset: 0,
        bytes: b"four",
    };
    assert!(matches!(error(&mut kept, &beyond), KeepError::Beyond { .. }));
    let another = Keep::Put {
        item: ITEM,
        len: 4,
        hash: Hash::ZERO,
        offset: 0,
        bytes: b"four",
    };
    assert!(matches!(error(&mut kept, &another), KeepError::Hash { .. }));
    assert!(matches!(
        get(&mut kept, ALICE, 0, 1),
        Err(KeepError::NotFound { .. })
    ));
}

#[test]
fn after_a_power_cut_a_file_is_whole_or_not_there() {
    let whole = vec![7; 3_000];
    let (mut there, mut gone) = (0, 0);
    for at in 0..20 {
        for seed in 0..8 {
            let faulty = FaultyDisk::new(at * 31 + seed);
            let disk: Arc<dyn Disk> = Arc::new(faulty.clone());
            let mut kept = open(&disk);
            faulty.set_faults(Faults {
                crash_at: Some(faulty.ops() + at),
                ..Faults::default()
            });
            let done = put(&mut kept, ITEM, &whole, 0, 1_000)
                .and_then(|_| put(&mut kept, ITEM, &whole, 1_000, 2_000))
                .is_ok_and(|received| received == 3_000);
            let disk: Arc<dyn Disk> = Arc::new(faulty.restart());
            let mut kept = open(&disk);
            match get(&mut kept, ALICE, 0, 5_000) {
                Ok(bytes) => {
                    assert_eq!(bytes, whole, "operation {at} seed {seed}");
                    there += 1;
                }
                Err(_) => {
                    assert!(!done, "operation {at} seed {seed}: it was said to be kept");
                    gone += 1;
                }
            }
        }
    }
    assert!(there > 10 && gone > 10, "{there} {gone}");
}
