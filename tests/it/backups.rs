//! Backups of real ledgers: made and restored by the program, kept by another node, and never older than what is known.

use crate::stage::{Stage, config, refusal_of};
use selfchain::backup::{PeerDepot, PeerDepotError, PeerPlace};
use selfchain::cli::{self, ExitStatus};
use selfchain::keeping::Agreement;
use selfchain::storage::backup::{Depot, DepotError};
use selfchain::storage::{FileDisk, MemoryDisk};
use selfchain::types::Refusal;
use selfchain::types::backup::BackupItem;
use selfchain::types::codec::wide;
use selfchain::types::crypto::SigningKey;
use selfchain::types::keep::Keep;
use selfchain::types::message::Request;
use selfchain::{AccountId, Amount, AssetId, Ledger};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const ALICE: AccountId = AccountId(1);
const BOB: AccountId = AccountId(2);
const MONEY: AssetId = AssetId(1);

/// A folder with a ledger, the owner's root key and an identity, and the program over them.
struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let home = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        home.run("keys new {root} --scheme ed25519+ml-dsa-65", ExitStatus::Done);
        home.run("backup recipient new {identity}", ExitStatus::Done);
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the program; `{name}` in its line is a path in the folder, and `{to}` the recipient.
    fn run(&self, line: &str, want: ExitStatus) {
        let identity = self.path("identity");
        let mut words: Vec<String> = vec!["selfchain".into()];
        for word in line.split_whitespace() {
            let word = match word {
                "{to}" => {
                    let text = fs::read_to_string(&identity).unwrap();
                    let line = text.lines().find(|line| line.starts_with("# public key: "));
                    line.unwrap().trim_start_matches("# public key: ").to_owned()
                }
                word => match word.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
                    Some(name) => self.path(name).display().to_string(),
                    None => word.to_owned(),
                },
            };
            words.push(word);
        }
        let arguments = words.iter().map(OsString::from);
        assert_eq!(cli::main(arguments, []), want, "{line}");
    }

    fn pay(&self, data: &str, units: u128) {
        let mut ledger = Ledger::open(self.path(data)).unwrap();
        if ledger.account(ALICE).is_none() {
            ledger.create_asset(MONEY, 0).unwrap();
            ledger.open_account(ALICE, MONEY).unwrap();
            ledger.open_account(BOB, MONEY).unwrap();
            ledger.issue(MONEY, ALICE, Amount(1_000)).unwrap();
        }
        ledger.transfer(ALICE, BOB, Amount(units)).unwrap();
    }

    fn credits_of_bob(&self, data: &str) -> u128 {
        let ledger = Ledger::open(self.path(data)).unwrap();
        ledger.account(BOB).unwrap().hot.balances().credits_posted.get()
    }
}

const CREATE: &str = "backup create --data {data} --to {depot} --key {root} --recipient {to} --json";
const RESTORE: &str =
    "backup restore --from {depot} --owner {root} --identity {identity} --into {back} --data {data} --json";

#[test]
fn a_ledger_comes_back_with_its_balances_and_goes_on() {
    let home = Home::new();
    home.pay("data", 5);
    home.run(CREATE, ExitStatus::Done);
    home.pay("data", 7);
    home.run(CREATE, ExitStatus::Done);
    home.run(CREATE, ExitStatus::Done);
    assert_eq!(
        fs::read_dir(home.path("depot"))
            .unwrap()
            .filter(|entry| {
                let name = entry.as_ref().unwrap().file_name();
                name.to_string_lossy().ends_with(".manifest")
            })
            .count(),
        2,
        "nothing new is no new manifest"
    );
    for line in [
        "backup verify --from {depot} --owner {root} --data {data} --json",
        "backup verify --from {depot} --owner {root} --identity {identity} --data {data}",
        "backup list --from {depot} --owner {root} --data {data}",
        RESTORE,
    ] {
        home.run(line, ExitStatus::Done);
    }
    assert!(!home.path("back/node.key").exists(), "secret keys are not in it");
    fs::copy(home.path("data/node.key"), home.path("back/node.key")).unwrap();
    assert_eq!(home.credits_of_bob("back"), 12);
    home.pay("back", 1);
    assert_eq!(home.credits_of_bob("back"), 13);
    home.run("verify --data {back} --json", ExitStatus::Done);
    // Nothing is restored over something, and one directory has one owner.
    home.run(RESTORE, ExitStatus::Usage);
    home.run("keys new {other}", ExitStatus::Done);
    home.run(
        "backup verify --from {depot} --owner {other} --data {data}",
        ExitStatus::Corrupt,
    );
}

#[test]
fn keys_are_in_a_backup_only_when_asked_for() {
    let home = Home::new();
    home.pay("data", 5);
    home.run(&format!("{CREATE} --with-keys"), ExitStatus::Done);
    home.run(RESTORE, ExitStatus::Done);
    assert_eq!(home.credits_of_bob("back"), 5);
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(home.path("back/node.key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn a_flipped_byte_is_refused_and_nothing_is_put_in_place() {
    let home = Home::new();
    home.pay("data", 5);
    home.run(CREATE, ExitStatus::Done);
    for entry in fs::read_dir(home.path("depot")).unwrap() {
        let path = entry.unwrap().path();
        let whole = fs::read(&path).unwrap();
        if BackupItem::of_file_name(&path.file_name().unwrap().to_string_lossy()).is_none() {
            continue;
        }
        for at in [0, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            fs::write(&path, &flipped).unwrap();
            home.run(RESTORE, ExitStatus::Corrupt);
            assert!(!home.path("back").exists(), "{} byte {at}", path.display());
            // Else the next restore takes up what was whole this time, and does not look at it again.
            fs::remove_dir_all(home.path("back.restoring")).unwrap_or_default();
        }
        fs::write(&path, &whole).unwrap();
    }
    // What was begun beside it is taken up.
    home.run(RESTORE, ExitStatus::Done);
    assert_eq!(home.credits_of_bob("data"), 5);
}

#[test]
fn an_older_backup_than_the_known_one_is_refused() {
    let home = Home::new();
    home.pay("data", 5);
    home.run(CREATE, ExitStatus::Done);
    let older = copy_of(&home.path("depot"), &home.path("older"));
    home.pay("data", 7);
    home.run(CREATE, ExitStatus::Done);
    assert!(home.path("root.known").exists());
    let restore = RESTORE.replace("{depot}", "{older}");
    home.run(&restore, ExitStatus::Corrupt);
    assert!(!home.path("back").exists() && older > 1);
    // Somebody with another memory does not know better.
    home.run(&format!("{restore} --known {{elsewhere}}"), ExitStatus::Done);
    home.run(
        &format!("{} --accept-older", restore.replace("{back}", "{again}")),
        ExitStatus::Done,
    );
    // A ledger that went on from the older state is not put into the newer backup.
    fs::copy(home.path("data/node.key"), home.path("again/node.key")).unwrap();
    home.pay("again", 1);
    home.pay("again", 1);
    home.pay("again", 1);
    home.run(
        &CREATE.replace("--data {data}", "--data {again}"),
        ExitStatus::Failed,
    );
}

fn copy_of(from: &Path, to: &Path) -> usize {
    fs::create_dir(to).unwrap();
    let files = fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|path| fs::copy(&path, to.join(path.file_name().unwrap())).unwrap())
        .collect::<Vec<_>>()
        .len()
}

#[test]
fn messages_open_for_their_reader_and_say_who_sent_them() {
    let home = Home::new();
    fs::write(home.path("offer"), b"12.50 for the lot").unwrap();
    home.run(
        "message seal --key {root} --to {to} --context trade-7 --in {offer} --out {sealed} --json",
        ExitStatus::Done,
    );
    let open = "message open {sealed} --identity {identity} --context trade-7 --out {opened} --json";
    home.run(open, ExitStatus::Done);
    assert_eq!(fs::read(home.path("opened")).unwrap(), b"12.50 for the lot");
    home.run(&open.replace("trade-7", "trade-8"), ExitStatus::Corrupt);
    home.run("backup recipient new {stranger}", ExitStatus::Done);
    home.run(&open.replace("{identity}", "{stranger}"), ExitStatus::Usage);
    let other = format!("{open} --from {}", "00".repeat(32));
    home.run(&other, ExitStatus::Failed);
    let mut sealed = fs::read(home.path("sealed")).unwrap();
    let last = sealed.len() - 1;
    sealed[last] ^= 1;
    fs::write(home.path("sealed"), &sealed).unwrap();
    home.run(open, ExitStatus::Corrupt);
}

fn owner(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

/// A node that keeps so many bytes for the first owner, and its place.
fn keeper(quota_bytes: u64) -> (Stage, PeerPlace) {
    let mut config = config();
    config.keep_for = vec![Agreement {
        owner: owner(21).public().as_bytes().try_into().unwrap(),
        quota_bytes,
    }];
    let stage = Stage::start(Arc::new(MemoryDisk::new()), &config).unwrap();
    let place = PeerPlace {
        server_key: stage.node.public_key(),
        address: stage.node.address(),
    };
    (stage, place)
}

fn connect(place: &PeerPlace, seed: u8) -> PeerDepot {
    PeerDepot::connect(place, &owner(seed), Duration::from_secs(20)).unwrap()
}

fn refusal(error: &DepotError) -> Option<Refusal> {
    match error {
        DepotError::Peer(source) => source.downcast_ref::<PeerDepotError>()?.refusal(),
        _ => None,
    }
}

#[test]
fn a_node_keeps_files_for_the_owner_it_agreed_with_and_nobody_else() {
    let (stage, place) = keeper(8 << 20);
    let depot = connect(&place, 21);
    let part = |number| BackupItem::Part { sequence: 1, number };
    // More than one message's worth.
    let large: Vec<u8> = (0..3_000_000_u32).map(|at| (at / 7).to_le_bytes()[0]).collect();
    depot.put(part(0), &large).unwrap();
    depot.put(part(0), &large).unwrap();
    depot
        .put(BackupItem::Manifest(1), b"stands for a manifest")
        .unwrap();
    assert_eq!(depot.get(part(0), 1 << 30).unwrap(), large);
    let kept: Vec<BackupItem> = depot.list().unwrap().iter().map(|kept| kept.item).collect();
    assert_eq!(kept, [BackupItem::Manifest(1), part(0)]);
    assert!(matches!(
        depot.get(part(0), 10),
        Err(DepotError::TooLong { len: 3_000_000, .. })
    ));
    assert!(matches!(depot.get(part(9), 10), Err(DepotError::NotFound { .. })));
    let full = depot.put(part(1), &vec![0; 6 << 20]).unwrap_err();
    assert_eq!(refusal(&full), Some(Refusal::QuotaFull));
    let (quota, used, files) = depot.terms().unwrap();
    assert_eq!((quota, files), (8 << 20, 2));
    assert!(used > wide(large.len()) && used < quota);

    // Another key, and a client without one: refused by name, and nothing is told.
    let stranger = connect(&place, 22);
    for error in [
        stranger.list().map(|_| ()).unwrap_err(),
        stranger.get(part(0), 1 << 30).map(|_| ()).unwrap_err(),
        stranger.remove(part(0)).unwrap_err(),
        stranger.put(part(0), b"x").unwrap_err(),
    ] {
        assert_eq!(refusal(&error), Some(Refusal::NotAgreed), "{error}");
    }
    let mut raw = stage.raw();
    let ask = Request::Keep(Keep::Terms).encode(1);
    raw.sender.send(ask, Duration::from_secs(20)).unwrap();
    assert_eq!(refusal_of(&raw.reply_to(1)).refusal, Refusal::NotAgreed);

    depot.remove(part(0)).unwrap();
    depot.remove(part(0)).unwrap();
    assert_eq!(depot.list().unwrap().len(), 1);
    drop((depot, stranger, raw));
    stage.stop();
}

#[test]
fn a_node_that_agreed_to_nothing_keeps_nothing() {
    let stage = Stage::start(Arc::new(MemoryDisk::new()), &config()).unwrap();
    let place = PeerPlace {
        server_key: stage.node.public_key(),
        address: stage.node.address(),
    };
    let error = connect(&place, 21).list().map(|_| ()).unwrap_err();
    assert_eq!(refusal(&error), Some(Refusal::NotAgreed));
    assert_eq!(stage.refused(Refusal::NotAgreed), 1);
    stage.stop();
}

/// The keeper is stopped in the middle and started again elsewhere: what is whole is still there, the rest is sent anew.
#[test]
fn a_backup_at_a_node_outlives_the_nodes_restart() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let mut config = config();
        config.keep_for = vec![Agreement {
            owner: owner(21).public().as_bytes().try_into().unwrap(),
            quota_bytes: 8 << 20,
        }];
        let stage = Stage::start(Arc::new(FileDisk::open(folder.path()).unwrap()), &config).unwrap();
        let place = PeerPlace {
            server_key: stage.node.public_key(),
            address: stage.node.address(),
        };
        (stage, place)
    };
    let (stage, place) = start();
    let depot = connect(&place, 21);
    depot.put(BackupItem::Manifest(1), b"one").unwrap();
    // Half of another file, on a connection of its own.
    let mut raw = stage.raw_as(Some([21; 32]));
    let half = Keep::Put {
        item: BackupItem::Manifest(2),
        len: 6,
        hash: selfchain::types::Hash(*blake3::hash(b"second").as_bytes()),
        offset: 0,
        bytes: b"sec",
    };
    raw.sender
        .send(Request::Keep(half).encode(1), Duration::from_secs(20))
        .unwrap();
    raw.reply_to(1);
    drop((raw, depot));
    stage.stop();
    let (stage, place) = start();
    let depot = connect(&place, 21);
    assert_eq!(depot.list().unwrap().len(), 1);
    depot.put(BackupItem::Manifest(2), b"second").unwrap();
    assert_eq!(depot.get(BackupItem::Manifest(1), 10).unwrap(), b"one");
    assert_eq!(depot.get(BackupItem::Manifest(2), 10).unwrap(), b"second");
    drop(depot);
    stage.stop();
}

#[test]
fn the_program_backs_up_to_a_node_and_restores_from_it() {
    let home = Home::new();
    home.pay("data", 5);
    home.run("keys new {peer}", ExitStatus::Done);
    let key = selfchain::keys::read(&home.path("peer")).unwrap();
    let mut config = config();
    config.keep_for = vec![Agreement {
        owner: key.public().as_bytes().try_into().unwrap(),
        quota_bytes: 8 << 20,
    }];
    let stage = Stage::start(Arc::new(MemoryDisk::new()), &config).unwrap();
    let place = format!(
        "node://{}@{}",
        selfchain::keys::hex(&stage.node.public_key()).as_str(),
        stage.node.address()
    );
    let at_peer = |line: &str| format!("{} --peer-key {{peer}}", line.replace("{depot}", &place));
    home.run(&at_peer(CREATE), ExitStatus::Done);
    home.pay("data", 7);
    home.run(&at_peer(CREATE), ExitStatus::Done);
    home.run(&at_peer(&format!("{CREATE} --full")), ExitStatus::Done);
    home.run(
        &at_peer("backup prune --from {depot} --owner {root} --data {data}"),
        ExitStatus::Done,
    );
    home.run(&at_peer(RESTORE), ExitStatus::Done);
    fs::copy(home.path("data/node.key"), home.path("back/node.key")).unwrap();
    assert_eq!(home.credits_of_bob("back"), 12);
    stage.stop();
}
