//! The vault on a disk that behaves: what it keeps, what it refuses, and that no byte of it can be changed unseen.

use std::sync::Arc;

use selfchain_types::vault::{Anchored, Denial, DenialReason, Grant, Rights, VaultAction, VersionState};
use selfchain_types::{Hash, Height, KeyId, TimeNs};

use super::{PIECE_BYTES, Vault, VaultError, VaultLimits};
use crate::disk::{Disk, Faults, FaultyDisk};

const SECRET: [u8; 32] = [7; 32];
const AUTHOR: KeyId = KeyId(Hash([9; 32]));

fn limits() -> VaultLimits {
    VaultLimits {
        reserve_bytes: 0,
        ..VaultLimits::default()
    }
}

fn open(disk: &FaultyDisk) -> Result<Vault, VaultError> {
    Vault::open(Arc::new(disk.clone()), &SECRET, limits())
}

fn bytes(len: usize, seed: u8) -> Vec<u8> {
    (0..len)
        .map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed))
        .collect()
}

fn put(vault: &mut Vault, name: &str, content: &[u8]) -> Result<u64, VaultError> {
    let mut upload = vault.begin(name)?;
    for part in content.chunks(50_000) {
        upload.write(part)?;
    }
    Ok(vault.finish(upload, None, AUTHOR, TimeNs(1))?.number)
}

fn read(vault: &Vault, name: &str, number: u64) -> Vec<u8> {
    vault.read(name, number, 0, usize::MAX >> 1).unwrap()
}

/// A vault with documents of every shape, a removal, a grant, a denial and anchors.
fn filled(disk: &FaultyDisk) -> Vault {
    let mut vault = open(disk).unwrap();
    put(&mut vault, "notes/plan", b"first").unwrap();
    put(&mut vault, "notes/plan", b"second, longer").unwrap();
    put(&mut vault, "empty", b"").unwrap();
    put(&mut vault, "big", &bytes(PIECE_BYTES + 5, 3)).unwrap();
    put(&mut vault, "gone", b"was here").unwrap();
    vault.remove("gone", AUTHOR, TimeNs(2)).unwrap();
    let at = Anchored {
        tx_id: Hash([4; 32]),
        height: Height(8),
    };
    let hash = vault.version("notes/plan", 1).unwrap().hash;
    vault.anchored(&hash, &at).unwrap();
    vault.anchored(&Hash([5; 32]), &at).unwrap();
    vault.grant(&grant("notes/")).unwrap();
    vault.deny(&[denial("notes/plan")]).unwrap();
    vault
}

fn grant(prefix: &str) -> Grant {
    Grant {
        key: KeyId(Hash([2; 32])),
        prefix: prefix.into(),
        rights: Rights {
            read: true,
            write: false,
        },
        until_ns: TimeNs(0),
        time_ns: TimeNs(3),
    }
}

fn denial(name: &str) -> Denial {
    Denial {
        time_ns: TimeNs(4),
        key: None,
        address: "127.0.0.1:9".into(),
        action: VaultAction::Get,
        name: name.into(),
        why: DenialReason::NoKey,
        missed: 0,
    }
}

#[test]
fn what_was_put_reads_back_in_every_version_also_after_a_restart() {
    let disk = FaultyDisk::new(1);
    drop(filled(&disk));
    let vault = open(&disk).unwrap();
    assert_eq!(read(&vault, "notes/plan", 1), b"first");
    assert_eq!(read(&vault, "notes/plan", 0), b"second, longer");
    assert_eq!(read(&vault, "empty", 0), b"");
    let big = bytes(PIECE_BYTES + 5, 3);
    assert_eq!(read(&vault, "big", 0), big);
    for (from, len) in [
        (0, 1),
        (65_530, 10),
        (65_536, 5),
        (65_541, 4),
        (70_000, 9),
        (3, 65_538),
    ] {
        let want: Vec<u8> = big.iter().skip(from).take(len).copied().collect();
        assert_eq!(
            vault.read("big", 0, from as u64, len).unwrap(),
            want,
            "{len} from {from}"
        );
    }
    let names: Vec<_> = vault.list("", "").map(|version| version.name.as_str()).collect();
    assert_eq!(names, ["big", "empty", "gone", "notes/plan"]);
    let names: Vec<_> = vault
        .list("n", "big")
        .map(|version| version.name.as_str())
        .collect();
    assert_eq!(names, ["notes/plan"]);
    assert_eq!(vault.list("", "gone").count(), 1);
    let history: Vec<_> = vault.history("notes/plan", 1).unwrap().collect();
    assert_eq!(history[1].previous, history[0].hash);
    assert_eq!(history[0].anchored.unwrap().height, Height(8));
    assert_eq!(history[0].content.0, *blake3::hash(b"first").as_bytes());
    assert!(matches!(
        vault.read("gone", 0, 0, 9),
        Err(VaultError::Removed { number: 2, .. })
    ));
    assert_eq!(read(&vault, "gone", 1), b"was here");
    assert_eq!(vault.root_anchored().unwrap().0, Hash([5; 32]));
    assert_eq!(vault.grants(), [grant("notes/")]);
    assert_eq!(
        vault.denials().0.cloned().collect::<Vec<_>>(),
        [denial("notes/plan")]
    );
    assert_eq!(vault.totals().versions, 6);
    vault.check_book().unwrap();
    assert_eq!(vault.strays().unwrap(), Vec::<String>::new());
}

#[test]
fn every_changed_byte_of_the_book_is_refused_and_named() {
    let disk = FaultyDisk::new(2);
    drop(filled(&disk));
    let len = disk.file_len("vault/book").unwrap();
    for at in 0..len {
        let changed = disk.duplicate();
        changed.flip_bit("vault/book", at, (at % 8) as u8).unwrap();
        match open(&changed) {
            Err(VaultError::Damaged { file, .. }) => assert_eq!(file, "vault/book", "byte {at}"),
            other => panic!("byte {at} of {len}: {other:?}"),
        }
    }
    let vault = open(&disk).unwrap();
    disk.flip_bit("vault/book", len - 1, 0).unwrap();
    assert!(
        matches!(vault.check_book(), Err(VaultError::Damaged { .. })),
        "seen while open too"
    );
}

#[test]
fn every_changed_byte_of_a_content_is_refused_and_named_and_the_rest_goes_on() {
    let disk = FaultyDisk::new(3);
    drop(filled(&disk));
    let documents = [("notes/plan", 1), ("notes/plan", 2), ("empty", 1), ("big", 1)];
    let files = disk.list("vault/content").unwrap();
    assert_eq!(files.len(), 5);
    for file in &files {
        let path = format!("vault/content/{file}");
        let len = disk.file_len(&path).unwrap();
        // Of the long one, bytes at the edges of pieces and some between.
        let places: Vec<u64> = (0..len)
            .filter(|at| len < 100 || at % 9_973 == 0 || (65_570..65_590).contains(at) || *at == len - 1)
            .collect();
        for at in places {
            let changed = disk.duplicate();
            changed.flip_bit(&path, at, (at % 8) as u8).unwrap();
            let vault = open(&changed).unwrap();
            let mut refused = 0;
            for (name, number) in documents.into_iter().chain([("gone", 1)]) {
                match vault.check(name, number) {
                    Ok(()) => {}
                    Err(VaultError::Damaged { file, .. }) => {
                        assert_eq!(file, path);
                        assert!(vault.read(name, number, 0, 1 << 20).is_err());
                        refused += 1;
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            assert_eq!(refused, 1, "byte {at} of {path}");
        }
        for len in [0, len - 1, len + 1] {
            let changed = disk.duplicate();
            changed.open(&path).unwrap().set_len(len).unwrap();
            let vault = open(&changed).unwrap();
            let checked = documents.into_iter().chain([("gone", 1)]);
            let refused = checked.filter(|(name, number)| vault.check(name, *number).is_err());
            assert_eq!(refused.count(), 1, "cut to {len}");
        }
    }
}

#[test]
fn pieces_and_files_cannot_be_exchanged() {
    let disk = FaultyDisk::new(4);
    let mut vault = open(&disk).unwrap();
    let content = bytes(3 * PIECE_BYTES, 1);
    put(&mut vault, "a", &content).unwrap();
    put(&mut vault, "b", &content).unwrap();
    let files = disk.list("vault/content").unwrap();
    let [a, b] = [0, 1].map(|at| format!("vault/content/{}", files[at]));
    let piece = |path: &str, index: u64| {
        let mut bytes = vec![0; PIECE_BYTES + 40];
        let file = disk.open(path).unwrap();
        file.read_at(index * (PIECE_BYTES as u64 + 40), &mut bytes)
            .unwrap();
        bytes
    };
    let write = |path: &str, index: u64, bytes: &[u8]| {
        let file = disk.open(path).unwrap();
        file.write_at(index * (PIECE_BYTES as u64 + 40), bytes).unwrap();
    };
    let (first, second, other) = (piece(&a, 0), piece(&a, 1), piece(&b, 0));
    write(&a, 0, &second);
    write(&a, 1, &first);
    let refused = ["a", "b"].map(|name| vault.check(name, 1).is_err());
    assert_eq!(
        refused.iter().filter(|is_refused| **is_refused).count(),
        1,
        "two pieces changed places"
    );
    write(&a, 0, &first);
    write(&a, 1, &second);
    vault.check("a", 1).unwrap();
    vault.check("b", 1).unwrap();
    write(&a, 0, &other);
    assert!(
        vault.check("a", 1).is_err() || vault.check("b", 1).is_err(),
        "of another file"
    );
    write(&a, 0, &first);
    disk.rename(&a, "vault/content/x").unwrap();
    disk.rename(&b, &a).unwrap();
    disk.rename("vault/content/x", &b).unwrap();
    for name in ["a", "b"] {
        assert!(
            matches!(vault.check(name, 1), Err(VaultError::Damaged { .. })),
            "files changed places"
        );
    }
}

#[test]
fn another_key_opens_nothing_and_nothing_of_a_document_lies_in_the_open() {
    let disk = FaultyDisk::new(5);
    drop(filled(&disk));
    let opened = Vault::open(Arc::new(disk.clone()), &[8; 32], limits());
    assert!(matches!(opened, Err(VaultError::WrongKey)), "{opened:?}");
    let mut paths = vec!["vault/book".to_owned()];
    let contents = disk.list("vault/content").unwrap();
    paths.extend(contents.iter().map(|name| format!("vault/content/{name}")));
    for path in paths {
        let mut bytes = vec![0; disk.file_len(&path).unwrap() as usize];
        disk.open(&path).unwrap().read_at(0, &mut bytes).unwrap();
        for secret in [
            &b"notes"[..],
            b"plan",
            b"first",
            b"second",
            b"was here",
            &[9; 32],
            &bytes_of_big(),
        ] {
            let is_there = bytes.windows(secret.len()).any(|window| window == secret);
            assert!(!is_there, "{path} shows {secret:?}");
        }
    }
}

fn bytes_of_big() -> Vec<u8> {
    bytes(64, 3)
}

#[test]
fn a_purge_leaves_hashes_and_overwrites_the_book_that_held_the_keys() {
    let disk = FaultyDisk::new(6);
    let mut vault = filled(&disk);
    let hash = vault.version("notes/plan", 1).unwrap().hash;
    let former = disk.open("vault/book").unwrap();
    let len = former.len().unwrap();
    let newest = vault.purge("notes/plan", 1).unwrap();
    assert_eq!(newest.number, 2);
    let mut bytes = vec![1; len as usize];
    former.read_at(0, &mut bytes).unwrap();
    assert!(
        bytes.iter().all(|byte| *byte == 0),
        "the former book is overwritten"
    );
    assert_eq!(disk.list("vault/content").unwrap().len(), 4);
    drop(vault);
    let mut vault = open(&disk).unwrap();
    let purged = vault.version("notes/plan", 1).unwrap();
    assert_eq!((purged.state, purged.hash), (VersionState::Purged, hash));
    assert_eq!(
        (purged.salt, purged.content, purged.len),
        (Hash::ZERO, Hash::ZERO, 0)
    );
    assert!(purged.anchored.is_some());
    assert!(matches!(
        vault.read("notes/plan", 1, 0, 9),
        Err(VaultError::Purged { .. })
    ));
    assert_eq!(read(&vault, "notes/plan", 2), b"second, longer");
    assert_eq!(
        vault.grants().len() + vault.denials().0.count(),
        2,
        "the rest is there"
    );
    assert_eq!(put(&mut vault, "notes/plan", b"third").unwrap(), 3);
    vault.purge("gone", 2).unwrap();
    assert!(matches!(
        vault.read("gone", 1, 0, 9),
        Err(VaultError::Purged { .. })
    ));
    assert_eq!(vault.strays().unwrap(), Vec::<String>::new());
}

#[test]
fn a_version_is_refused_where_another_came_first() {
    let disk = FaultyDisk::new(7);
    let mut vault = open(&disk).unwrap();
    let mut at = |after: Option<u64>| {
        let mut upload = vault.begin("a").unwrap();
        upload.write(b"x").unwrap();
        let put = vault.finish(upload, after, AUTHOR, TimeNs(1));
        put.map(|version| version.number)
    };
    assert!(matches!(
        at(Some(1)),
        Err(VaultError::Conflict { current: 0, .. })
    ));
    assert_eq!(at(Some(0)).unwrap(), 1);
    assert!(matches!(
        at(Some(0)),
        Err(VaultError::Conflict {
            current: 1,
            expected: 0,
            ..
        })
    ));
    assert_eq!(at(Some(1)).unwrap(), 2);
    assert_eq!(at(None).unwrap(), 3);
    assert_eq!(
        disk.list("vault/content").unwrap().len(),
        3,
        "what was refused left nothing"
    );
}

#[test]
fn every_limit_has_its_name_and_leaves_the_vault_as_it_was() {
    let disk = FaultyDisk::new(8);
    let tight = VaultLimits {
        version_bytes_max: 100,
        bytes_max: 150,
        versions_max: 3,
        grants_max: 1,
        reserve_bytes: 0,
    };
    let mut vault = Vault::open(Arc::new(disk.clone()), &SECRET, tight).unwrap();
    let limit = |error: VaultError| match error {
        VaultError::Limit { limit, .. } => limit,
        other => panic!("{other}"),
    };
    assert_eq!(
        limit(put(&mut vault, "a", &[0; 101]).unwrap_err()),
        "version_bytes_max"
    );
    put(&mut vault, "a", &[0; 100]).unwrap();
    assert_eq!(limit(put(&mut vault, "b", &[0; 51]).unwrap_err()), "bytes_max");
    let mut uploads: Vec<_> = [0, 1].map(|_| vault.begin("c").unwrap()).into();
    uploads
        .iter_mut()
        .for_each(|upload| upload.write(&[0; 30]).unwrap());
    let second = uploads.pop().unwrap();
    vault
        .finish(uploads.pop().unwrap(), None, AUTHOR, TimeNs(1))
        .unwrap();
    let error = vault.finish(second, None, AUTHOR, TimeNs(1)).unwrap_err();
    assert_eq!(limit(error), "bytes_max", "two at once");
    put(&mut vault, "d", b"").unwrap();
    assert_eq!(limit(put(&mut vault, "e", b"").unwrap_err()), "versions_max");
    assert_eq!(
        limit(vault.remove("d", AUTHOR, TimeNs(1)).unwrap_err()),
        "versions_max"
    );
    vault.grant(&grant("a")).unwrap();
    assert_eq!(limit(vault.grant(&grant("b")).unwrap_err()), "grants_max");
    drop(vault);
    // What the refused ones had begun is cleared away; what was put is there.
    let vault = open(&disk).unwrap();
    assert_eq!(vault.totals().versions, 3);
    assert_eq!(disk.list("vault/content").unwrap().len(), 3);
}

#[test]
fn a_full_disk_is_said_and_loses_nothing() {
    let disk = FaultyDisk::new(9);
    let mut vault = filled(&disk);
    let used = u64::MAX - disk.free_bytes().unwrap();
    assert_eq!(used, 0, "without a capacity there is room for all");
    let room = |capacity_bytes| {
        disk.set_faults(Faults {
            capacity_bytes: Some(capacity_bytes),
            ..Faults::default()
        });
    };
    let mut said = 0;
    for capacity in (60_000..400_000).step_by(7_000) {
        room(capacity);
        match put(&mut vault, "more", &bytes(30_000, 1)) {
            Ok(_) => {}
            Err(VaultError::DiskFull { .. }) => said += 1,
            Err(other) => panic!("{other}"),
        }
        assert_eq!(read(&vault, "notes/plan", 2), b"second, longer");
    }
    assert!(said > 5, "{said}");
    disk.set_faults(Faults::default());
    put(&mut vault, "more", b"room again").unwrap();
    drop(vault);
    let vault = open(&disk).unwrap();
    assert_eq!(read(&vault, "more", 0), b"room again");
    for version in vault.list("", "") {
        vault.check(&version.name, version.number).unwrap();
    }
}

#[test]
fn denials_are_bounded_and_those_that_go_are_counted() {
    let disk = FaultyDisk::new(10);
    let mut vault = open(&disk).unwrap();
    for round in 0..60 {
        let batch: Vec<_> = (0..100).map(|at| denial(&format!("n{round}/{at}"))).collect();
        vault.deny(&batch).unwrap();
    }
    let check = |vault: &Vault| {
        let (kept, more) = vault.denials();
        let kept: Vec<_> = kept.collect();
        assert_eq!((kept.len(), more), (super::DENIALS_MAX, 5_000));
        assert_eq!(kept[999].name, "n59/99");
    };
    check(&vault);
    let book = vault.totals().book_bytes;
    assert!(
        book < 4_000 * 200,
        "the book was written anew on the way: {book} bytes"
    );
    drop(vault);
    check(&open(&disk).unwrap());
}

#[test]
fn a_book_that_is_missing_beside_contents_is_no_empty_vault() {
    let disk = FaultyDisk::new(11);
    drop(filled(&disk));
    disk.remove("vault/book").unwrap();
    assert!(matches!(open(&disk), Err(VaultError::Damaged { .. })));
}

#[test]
fn a_vault_of_the_first_format_opens() {
    let disk = FaultyDisk::new(12);
    for line in include_str!("format-1.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let [path, offset, hex] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let bytes: Vec<u8> = (0..hex.len() / 2)
            .map(|at| u8::from_str_radix(&hex[2 * at..][..2], 16).unwrap())
            .collect();
        let file = disk.open_or_create(path).unwrap();
        file.write_at(offset.parse().unwrap(), &bytes).unwrap();
    }
    let vault = open(&disk).unwrap();
    vault.check_book().unwrap();
    assert_eq!(read(&vault, "notes/plan", 1), b"first");
    assert_eq!(vault.grants(), [grant("notes/")]);
    let version = vault.version("notes/plan", 1).unwrap();
    assert_eq!(
        (version.author, version.time_ns, version.len),
        (AUTHOR, TimeNs(1), 5)
    );
}
