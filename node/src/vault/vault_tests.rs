//! The desk: chunks that come twice or with gaps, what is denied and written down, limits.

use super::*;
use selfchain_storage::MemoryDisk;
use selfchain_storage::vault::{Vault, VaultLimits};
use selfchain_types::vault::{
    Access, CHUNK_BYTES_MAX, DenialReason, OwnerQuery, Rights, VaultAction, VaultAnswer, VaultQuery, Version,
    VersionState,
};
use selfchain_types::{Hash, KeyId, Refusal, TimeNs};
use std::sync::Arc;

const OWNER: KeyId = KeyId(Hash([1; 32]));
const FRIEND: KeyId = KeyId(Hash([2; 32]));
const S: u64 = 1_000_000_000;

struct Stage {
    desk: Desk,
    now: TimeNs,
}

impl Stage {
    fn new() -> Self {
        let limits = VaultLimits {
            reserve_bytes: 0,
            version_bytes_max: 4 << 20,
            ..VaultLimits::default()
        };
        let vault = Vault::open(Arc::new(MemoryDisk::new()), &[3; 32], limits).unwrap();
        Self {
            desk: Desk::new(vault),
            now: TimeNs(1_000 * S),
        }
    }

    fn ask(&mut self, query: &VaultQuery<'_>) -> Result<VaultAnswer, DeskError> {
        self.desk.answer(&Caller::owner(OWNER), query, self.now)
    }

    fn ask_as(&mut self, key: Option<KeyId>, query: &VaultQuery<'_>) -> Result<VaultAnswer, DeskError> {
        let caller = Caller {
            key,
            is_owner: false,
            address: "127.0.0.1:5".into(),
        };
        self.desk.answer(&caller, query, self.now)
    }

    fn put(&mut self, name: &str, content: &[u8]) -> Version {
        // Each upload has a number of its own.
        self.now.0 += S;
        version(
            self.ask(&part(name, self.now.0.into(), 0, true, content))
                .unwrap(),
        )
    }
}

fn version(answer: VaultAnswer) -> Version {
    match answer {
        VaultAnswer::Version(version) => version,
        other => panic!("{other:?}"),
    }
}

fn part<'a>(name: &'a str, upload: u128, offset: u64, is_last: bool, bytes: &'a [u8]) -> VaultQuery<'a> {
    VaultQuery::Put {
        name,
        upload,
        after: None,
        offset,
        is_last,
        bytes,
    }
}

fn get(name: &str, offset: u64) -> VaultQuery<'_> {
    VaultQuery::Get {
        name,
        number: 0,
        offset,
        len_max: u32::MAX,
    }
}

#[test]
fn chunks_that_come_twice_change_nothing_and_gaps_are_said() {
    let mut stage = Stage::new();
    let taken = |answer: Result<VaultAnswer, DeskError>| match answer.unwrap() {
        VaultAnswer::Taken(have) => have,
        other => panic!("{other:?}"),
    };
    assert_eq!(taken(stage.ask(&part("a", 1, 0, false, b"hello "))), 6);
    assert_eq!(
        taken(stage.ask(&part("a", 1, 0, false, b"hello "))),
        6,
        "once more"
    );
    let gap = stage.ask(&part("a", 1, 7, false, b"orld")).unwrap_err();
    assert!(matches!(gap, DeskError::Gap { have: 6, offset: 7 }), "{gap}");
    let other = stage.ask(&part("b", 1, 6, false, b"x")).unwrap_err();
    assert!(matches!(other, DeskError::OtherName), "{other}");
    let last = part("a", 1, 6, true, b"world");
    let first = version(stage.ask(&last).unwrap());
    assert_eq!(
        version(stage.ask(&last).unwrap()),
        first,
        "the answer came too late the first time"
    );
    assert_eq!(first.number, 1);
    assert_eq!(first.author, OWNER);
    let unknown = stage.ask(&part("a", 2, 6, true, b"world")).unwrap_err();
    assert!(matches!(unknown, DeskError::Gap { have: 0, .. }), "{unknown}");
    let VaultAnswer::Chunk {
        bytes, version: of, ..
    } = stage.ask(&get("a", 2)).unwrap()
    else {
        panic!("no chunk");
    };
    assert_eq!((bytes.as_slice(), of), (&b"llo world"[..], first));
    // Another key's upload of the same number is another one.
    let rights = Rights {
        read: false,
        write: true,
    };
    grant(&mut stage, "", rights, 0);
    let theirs = stage.ask_as(Some(FRIEND), &part("a", 1, 0, true, b"theirs"));
    let theirs = version(theirs.unwrap());
    assert_eq!((theirs.number, theirs.author), (2, FRIEND));
}

fn grant(stage: &mut Stage, prefix: &str, rights: Rights, until_ns: u64) {
    let query = VaultQuery::Access(Access::Grant {
        key: FRIEND,
        prefix,
        rights,
        until_ns: TimeNs(until_ns),
    });
    assert_eq!(stage.ask(&query).unwrap(), VaultAnswer::Done);
}

#[test]
fn no_answer_and_no_version_is_longer_than_its_limit() {
    let mut stage = Stage::new();
    let long = vec![5; CHUNK_BYTES_MAX];
    for at in 0..4 {
        let offset = u64::try_from(at * CHUNK_BYTES_MAX).unwrap();
        stage.ask(&part("a", 1, offset, at == 3, &long)).unwrap();
    }
    let VaultAnswer::Chunk { bytes, .. } = stage.ask(&get("a", 7)).unwrap() else {
        panic!("no chunk");
    };
    assert_eq!(bytes.len(), CHUNK_BYTES_MAX);
    for at in 0..4 {
        let offset = u64::try_from(at * CHUNK_BYTES_MAX).unwrap();
        stage.ask(&part("b", 2, offset, false, &long)).unwrap();
    }
    let over = stage.ask(&part("b", 2, 4 << 20, true, b"1")).unwrap_err();
    assert_eq!(over.refusal(), Refusal::VaultLimit, "{over}");
    let gone = stage.ask(&get("b", 0)).unwrap_err();
    assert_eq!(gone.refusal(), Refusal::NotFound);
    assert_eq!(
        stage.desk.vault().strays().unwrap(),
        Vec::<String>::new(),
        "what had come is cleared away"
    );
}

#[test]
fn a_few_versions_may_be_on_their_way_and_those_that_stand_still_make_room() {
    let mut stage = Stage::new();
    for upload in 0..16 {
        stage.ask(&part("a", upload, 0, false, b"x")).unwrap();
    }
    let full = stage.ask(&part("a", 99, 0, false, b"x")).unwrap_err();
    assert_eq!(full.refusal(), Refusal::IntakeFull, "{full}");
    stage.now.0 += 61 * S;
    stage.ask(&part("a", 99, 0, false, b"x")).unwrap();
    let gone = stage.ask(&part("a", 0, 1, false, b"x")).unwrap_err();
    assert!(matches!(gone, DeskError::Gap { have: 0, .. }), "{gone}");
}

#[test]
fn whoever_may_not_is_turned_away_and_written_down() {
    let mut stage = Stage::new();
    stage.put("notes/a", b"secret");
    let read = Rights {
        read: true,
        write: false,
    };
    grant(&mut stage, "notes/", read, 2_000 * S);
    stage.ask_as(Some(FRIEND), &get("notes/a", 0)).unwrap();
    let denied = |stage: &mut Stage, key, query: &VaultQuery<'_>| match stage.ask_as(key, query) {
        Err(DeskError::Denied(why)) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(denied(&mut stage, None, &get("notes/a", 0)), DenialReason::NoKey);
    let unknown = get("notes/never there", 0);
    assert_eq!(
        denied(&mut stage, None, &unknown),
        DenialReason::NoKey,
        "nothing is told of what is there"
    );
    let write = part("notes/a", 1, 0, true, b"x");
    assert_eq!(denied(&mut stage, Some(FRIEND), &write), DenialReason::NoGrant);
    let standing = VaultQuery::Owner(OwnerQuery::Standing);
    assert_eq!(
        denied(&mut stage, Some(FRIEND), &standing),
        DenialReason::OwnerOnly
    );
    stage.now = TimeNs(2_000 * S);
    assert_eq!(
        denied(&mut stage, Some(FRIEND), &get("notes/a", 0)),
        DenialReason::Expired
    );
    let asked = stage
        .ask(&VaultQuery::Access(Access::Denials { rows_max: 100 }))
        .unwrap();
    let VaultAnswer::Denials(denials, 0) = asked else {
        panic!("{asked:?}");
    };
    let told: Vec<_> = denials
        .iter()
        .map(|denial| (denial.key, denial.action, denial.why))
        .collect();
    let friend = Some(FRIEND);
    let want = [
        (None, VaultAction::Get, DenialReason::NoKey),
        (None, VaultAction::Get, DenialReason::NoKey),
        (friend, VaultAction::Put, DenialReason::NoGrant),
        (friend, VaultAction::Owner, DenialReason::OwnerOnly),
        (friend, VaultAction::Get, DenialReason::Expired),
    ];
    assert_eq!(told, want);
    assert_eq!(
        (denials[0].name.as_str(), denials[0].address.as_str()),
        ("notes/a", "127.0.0.1:5")
    );
}

#[test]
fn a_flood_of_denials_is_counted_whole_and_written_down_in_part() {
    let mut stage = Stage::new();
    for _ in 0..5_000 {
        stage.ask_as(None, &get("a", 0)).unwrap_err();
    }
    let book = stage.desk.vault().totals().book_bytes;
    let told = |stage: &mut Stage| match stage.ask(&VaultQuery::Access(Access::Denials { rows_max: 1_000 })) {
        Ok(VaultAnswer::Denials(denials, more)) => (denials.len(), more),
        other => panic!("{other:?}"),
    };
    assert_eq!(told(&mut stage), (100, 4_900));
    assert!(book < 100 * 300 + 20_000, "{book} bytes");
    stage.now.0 += S;
    for _ in 0..50 {
        stage.ask_as(None, &get("a", 0)).unwrap_err();
    }
    assert_eq!(told(&mut stage), (110, 4_940));
}

#[test]
fn removal_keeps_and_purge_destroys() {
    let mut stage = Stage::new();
    stage.put("a", b"one");
    stage.put("a", b"two");
    let remove = |purge_through| VaultQuery::Remove {
        name: "a",
        purge_through,
    };
    let removed = version(stage.ask(&remove(0)).unwrap());
    assert_eq!((removed.number, removed.state), (3, VersionState::Removed));
    assert_eq!(stage.ask(&get("a", 0)).unwrap_err().refusal(), Refusal::NotFound);
    let list = |with_removed| VaultQuery::List {
        prefix: "",
        after: "",
        with_removed,
        rows_max: 10,
    };
    assert_eq!(
        stage.ask(&list(false)).unwrap(),
        VaultAnswer::Versions(vec![], false)
    );
    assert_eq!(
        stage.ask(&list(true)).unwrap(),
        VaultAnswer::Versions(vec![removed], false)
    );
    let first = VaultQuery::Get {
        name: "a",
        number: 1,
        offset: 0,
        len_max: 9,
    };
    stage.ask(&first).unwrap();
    stage.ask(&remove(1)).unwrap();
    assert_eq!(stage.ask(&first).unwrap_err().refusal(), Refusal::NotFound);
    let history = VaultQuery::History {
        name: "a",
        from: 2,
        rows_max: 1,
    };
    let answer = stage.ask(&history).unwrap();
    let VaultAnswer::Versions(rows, true) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(rows[0].number, 2);
}
