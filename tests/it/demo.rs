//! The demo on a real node, real files and real QUIC: what it streams, what it reports, and what it refuses.

use selfchain::client::{Client, ClientOptions};
use selfchain::config::Config;
use selfchain::demo::{
    DemoError, Event, Events, Options, ReplayOptions, SourceOptions, Speed, Summary, TrafficOptions, run,
};
use selfchain::input::InputError;
use selfchain::ledger::issuance_account;
use selfchain::node::Node;
use selfchain::storage::{Disk, FileDisk, MemoryDisk};
use selfchain::store::{Store, StoreError};
use selfchain::types::crypto::SigningKey;
use selfchain::types::genesis::{OpTime, Plane};
use selfchain::types::{AccountFlags, AccountId, Amount, AssetId, Genesis, KeyId, Operation};
use selfchain::verify::verify;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tempfile::TempDir;

static GO_ON: AtomicBool = AtomicBool::new(false);

fn generated(traffic: TrafficOptions) -> Options {
    Options::of(SourceOptions::Traffic(traffic))
}

fn replayed(input: PathBuf, openings: Option<PathBuf>) -> Options {
    Options::of(SourceOptions::Replay(ReplayOptions {
        input,
        openings,
        speed: Speed::Max,
        keeps_time: true,
        scoring: None,
    }))
}

fn file(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn gzip(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    let file = std::fs::File::create(&path).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    gzip.finish().unwrap();
    path
}

/// What must be true of every demo that ends.
fn check_sums(summary: &Summary) {
    assert!(summary.holds(), "{summary}");
    assert_eq!(
        summary.refusals.values().sum::<u64>(),
        summary.transfers_refused,
        "{summary}"
    );
    assert_eq!(
        summary.verify.transfers,
        summary.transfers_committed + summary.operations_opening,
        "{summary}"
    );
    let ms = &summary.commit_ms;
    assert!(
        0.0 < ms.p50 && ms.p50 <= ms.p99 && ms.p99 <= ms.p999 && ms.p999 <= ms.max,
        "{ms:?}"
    );
}

#[test]
fn four_validators_decide_one_chain_under_both_planes() {
    for plane in [Plane::Stake, Plane::Poai] {
        let traffic = TrafficOptions {
            duration: Duration::from_millis(1_000),
            rate_per_s: 2_000,
            accounts: 200,
            ..TrafficOptions::default()
        };
        let options = Options {
            validators: 4,
            plane,
            ..generated(traffic)
        };
        let summary = run(&options, &GO_ON, &mut ()).unwrap();
        println!("{summary}");
        assert!(summary.holds(), "{summary}");
        assert_eq!(summary.validators.len(), 4);
        assert!(
            summary.validators.iter().all(|one| one.ok && one.height > 2),
            "{summary}"
        );
        assert!(summary.transfers_committed > 500, "{summary}");
    }
}

#[test]
fn generated_transfers_go_through_and_the_log_holds() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("chain");
    let traffic = TrafficOptions {
        duration: Duration::from_millis(1_500),
        rate_per_s: 8_000,
        accounts: 500,
        ..TrafficOptions::default()
    };
    let options = Options {
        data: Some(data.clone()),
        ..generated(traffic)
    };
    let mut seen = Seen::default();
    let summary = run(&options, &GO_ON, &mut seen).unwrap();
    println!("{summary}");
    check_sums(&summary);
    assert!(summary.transfers_committed > 1_000, "{summary}");
    assert!(!summary.stopped_early && summary.input.is_none() && summary.balances.is_none());
    // The busiest of so few accounts run short; a payment that fails takes its fee with it.
    let known = ["insufficient_funds", "linked_failed"];
    assert!(
        summary.refusals.keys().all(|reason| known.contains(reason)),
        "{:?}",
        summary.refusals
    );
    assert!(
        summary.refusals.contains_key("insufficient_funds"),
        "{:?}",
        summary.refusals
    );
    assert!(
        ["opening", "streaming", "stopping", "verifying"]
            .iter()
            .all(|about| seen.0.contains_key(about))
    );
    // What the demo leaves behind verifies without it, with as many debits as credits.
    let report = verify(Arc::new(FileDisk::open(&data).unwrap()), &mut |_, _| {}).unwrap();
    assert_eq!(
        (report.height.0, report.transfers),
        (summary.verify.height, summary.verify.transfers)
    );
    assert!(
        report
            .totals
            .iter()
            .all(|(_, debits, credits)| debits == credits && debits.0 > 0)
    );
    // And is never written over.
    let again = run(&options, &GO_ON, &mut ()).unwrap_err();
    assert!(
        matches!(again, DemoError::Store(StoreError::Initialised)),
        "{again}"
    );
}

#[test]
fn a_demo_that_is_stopped_still_drains_and_verifies() {
    let stop = AtomicBool::new(false);
    let hour = TrafficOptions {
        duration: Duration::from_secs(3_600),
        accounts: 100,
        ..TrafficOptions::default()
    };
    let summary = run(&generated(hour), &stop, &mut StopOnceCommitted(&stop)).unwrap();
    check_sums(&summary);
    assert!(
        summary.stopped_early && summary.transfers_committed > 0,
        "{summary}"
    );
}

/// Stops a demo at the first transfer that it commits.
struct StopOnceCommitted<'a>(&'a AtomicBool);

impl Events for StopOnceCommitted<'_> {
    fn event(&mut self, event: &Event<'_>) {
        if let Event::Streaming(live) = event
            && live.committed > 0
        {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// How often what was heard of.
#[derive(Default)]
struct Seen(BTreeMap<&'static str, u64>);

impl Events for Seen {
    fn event(&mut self, event: &Event<'_>) {
        let about = match event {
            Event::Reading { .. } => "reading",
            Event::Opening { .. } => "opening",
            Event::Streaming(_) => "streaming",
            Event::Comparing { .. } => "comparing",
            Event::Stopping => "stopping",
            Event::Verifying { .. } => "verifying",
        };
        *self.0.entry(about).or_default() += 1;
    }
}

/// Two payments at one instant, a zero amount, a payment to oneself, an overdraft, one that empties an account,
/// one from an account that never had anything, and one recorded earlier than the row above it.
const ROWS: &str = "\
time,from,to,amount_gwei,label
1500000000,0,1,60,a
1500000000,1,2,60,b
1500000000,2,0,0,c
1500000007,2,2,10,d
1500000009,0,1,41,e
1500000009,0,1,40,f
1500000010,9,0,1,g
1500000005,1,7,39,h
";
const OPENINGS: &str = "account,opening_gwei\n0,100\n5,77\n";

fn check_hand_made(input: PathBuf, openings: PathBuf, speed: Speed) {
    let mut options = replayed(input, Some(openings));
    if let SourceOptions::Replay(replay) = &mut options.source {
        replay.speed = speed;
    }
    let mut seen = Seen::default();
    let summary = run(&options, &GO_ON, &mut seen).unwrap();
    check_sums(&summary);
    assert_eq!(
        (summary.transfers_committed, summary.transfers_refused),
        (5, 3),
        "{summary}"
    );
    assert_eq!(
        summary.refusals,
        BTreeMap::from([("accounts_same", 1), ("insufficient_funds", 2)])
    );
    let balances = summary.balances.unwrap();
    // Accounts 0, 1, 2, 5, 7 and 9.
    assert_eq!(
        (balances.checked, balances.mismatched, summary.accounts),
        (6, 0, 6)
    );
    let input = summary.input.as_ref().unwrap();
    assert_eq!((input.rows, input.rows_sent, input.rows_backwards), (8, 8, 1));
    assert_eq!((input.outcomes_mismatched, input.scale), (0, 9));
    // Ledger time is the file's, to the ns that tell equal times apart.
    let (low, high) = (1_500_000_000_000_000_000, 1_500_000_010_000_001_000);
    assert!(
        (low..high).contains(&input.ledger_time_ns),
        "{}",
        input.ledger_time_ns
    );
    assert!(
        ["reading", "comparing"]
            .iter()
            .all(|about| seen.0.contains_key(about))
    );
    let json: serde_json::Value = serde_json::from_str(&summary.to_json()).unwrap();
    assert_eq!(json["refusals"]["insufficient_funds"], 2);
    assert_eq!(
        json["balances"],
        serde_json::json!({ "checked": 6, "mismatched": 0 })
    );
    assert_eq!(json["verify"]["ok"], true);
    for key in [
        "transfers_committed",
        "transfers_refused",
        "seconds",
        "committed_per_s",
        "chain_id",
        "input",
    ] {
        assert!(!json[key].is_null(), "{key} is missing from {json}");
    }
    assert!(
        ["p50", "p99", "p999", "max"]
            .iter()
            .all(|key| json["commit_ms"][key].is_f64()),
        "{json}"
    );
}

#[test]
fn every_row_of_a_file_ends_as_its_fold_says() {
    let folder = tempfile::tempdir().unwrap();
    check_hand_made(
        file(&folder, "rows.csv", ROWS),
        file(&folder, "open.csv", OPENINGS),
        Speed::Max,
    );
    check_hand_made(
        gzip(&folder, "rows.gz", ROWS),
        gzip(&folder, "open.gz", OPENINGS),
        Speed::Times(50.0),
    );
}

#[test]
fn a_wrong_file_is_named_before_anything_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("never");
    let check = |rows: &str, openings: &str| {
        let openings = file(&folder, "open.csv", openings);
        let mut options = replayed(file(&folder, "rows.csv", rows), Some(openings));
        options.data = Some(data.clone());
        match run(&options, &GO_ON, &mut ()) {
            Err(DemoError::Input(error)) => error,
            other => panic!("{other:?}"),
        }
    };
    let error = check("time,from,amount\n1,2,3\n", OPENINGS);
    assert!(
        matches!(error, InputError::ColumnMissing { column: "to", .. }),
        "{error}"
    );
    let error = check("time,from,to,amount\n1,2,3,4\n1,2,3,x\n", OPENINGS);
    assert!(
        matches!(&error, InputError::Cell { line: 3, column, .. } if column == "amount"),
        "{error}"
    );
    let error = check("time,from,to,amount\n1,2,3\n", OPENINGS);
    assert!(matches!(error, InputError::Read { .. }), "{error}");
    let error = check("time,from,to,amount\n", OPENINGS);
    assert!(matches!(error, InputError::Empty { .. }), "{error}");
    let error = check(ROWS, "account,opening\n4,1\n4,1\n");
    assert!(
        matches!(
            error,
            InputError::AccountTwice {
                line: 3,
                account: 4,
                ..
            }
        ),
        "{error}"
    );
    let error = check(ROWS, "account\n4\n");
    assert!(
        matches!(
            error,
            InputError::ColumnMissing {
                column: "opening",
                ..
            }
        ),
        "{error}"
    );
    let missing = run(&replayed(folder.path().join("none.csv"), None), &GO_ON, &mut ()).unwrap_err();
    assert!(
        matches!(missing, DemoError::Input(InputError::Open { .. })),
        "{missing}"
    );
    assert!(!data.exists());
}

/// Rows of the real data set that a test replays.
const REAL_ROWS: usize = 20_000;

#[test]
fn real_transfers_replay_without_a_difference() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/eth_phish");
    let (rows, openings) = (data.join("train.csv.gz"), data.join("genesis_dev.csv.gz"));
    if !rows.exists() || !openings.exists() {
        println!(
            "skipped: the data set is not beside this checkout ({} is missing)",
            rows.display()
        );
        return;
    }
    let mut text = String::new();
    let mut gzip = flate2::read::MultiGzDecoder::new(std::fs::File::open(rows).unwrap());
    gzip.read_to_string(&mut text).unwrap();
    let first: String = text
        .lines()
        .take(REAL_ROWS + 1)
        .flat_map(|line| [line, "\n"])
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let summary = run(
        &replayed(file(&folder, "rows.csv", &first), Some(openings)),
        &GO_ON,
        &mut (),
    )
    .unwrap();
    check_sums(&summary);
    assert_eq!(
        summary.transfers_committed + summary.transfers_refused,
        20_000,
        "{summary}"
    );
    assert_eq!(summary.balances.unwrap().mismatched, 0, "{summary}");
    // The opening balances are such that nobody is overdrawn.
    assert!(
        summary.refusals.keys().all(|reason| *reason == "accounts_same"),
        "{:?}",
        summary.refusals
    );
}

/// On a chain whose operations bring their own time, a clock says nothing of what is overdue.
#[test]
fn a_reservation_of_long_ago_keeps_no_node_from_stopping() {
    let key = SigningKey::from_seed(&[1; 32]);
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::default());
    let mut genesis = Genesis::solo("recorded", 1, key.public().clone());
    genesis.op_time = OpTime::Effective;
    Store::create(&*disk, &genesis).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut config = Config::default().node_config(None);
    config.listen = "127.0.0.1:0".parse().unwrap();
    let node = Node::start(disk, &key, &config, Arc::default(), runtime.handle(), &mut |_| {}).unwrap();
    let client = Client::connect(&ClientOptions::new(node.address(), node.public_key())).unwrap();
    let signer = client.signer(key, 0).unwrap();
    let (asset, flags) = (AssetId(1), AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS);
    let issuance = issuance_account(asset);
    let open = |id| Operation::open_account(AccountId(id), asset, KeyId::NONE, flags, Amount::ZERO, 0);
    let mut operations = vec![
        Operation::create_asset(asset, issuance, KeyId::NONE, 0, Amount::MAX),
        open(1),
        open(2),
        Operation::transfer(1, issuance, AccountId(1), Amount(5), asset),
        Operation::reserve(2, AccountId(1), AccountId(2), Amount(5), asset, 1),
    ];
    operations
        .iter_mut()
        .for_each(|operation| operation.effective_ns = 1_500_000_000_000_000_000.into());
    assert_eq!(signer.commit(operations).unwrap().refused, []);
    drop((signer, client));
    let stop = async { tokio::time::timeout(Duration::from_secs(20), node.stop()).await };
    runtime.block_on(stop).expect("it stops").unwrap();
}
