//! Whole nodes: killed under load, drained, restarted with and without their snapshots, and kept short.

use crate::stage::{MONEY, PATIENCE, Stage, config, operator, pay};
use selfchain::client::ClientError;
use selfchain::node::NodeConfig;
use selfchain::recover::Progress;
use selfchain::storage::{Disk, FileDisk, MemoryDisk};
use selfchain::store::Store;
use selfchain::types::message::Reply;
use selfchain::types::seam::snapshot::SnapshotStore;
use selfchain::types::{Height, Refusal};
use selfchain::verify::verify;
use selfchain::{AccountId, Operation};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const ALICE: AccountId = AccountId(1);
const BOB: AccountId = AccountId(2);

#[test]
fn a_node_killed_under_load_keeps_all_that_it_acknowledged_and_does_nothing_twice() {
    let output = Command::new(env!("CARGO_BIN_EXE_kill"))
        .args(["--cycles", "25"])
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    println!("{}", text(&output.stdout));
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// A recovered chain, as far as it can be told from outside.
#[derive(Debug, PartialEq)]
struct State {
    height: Height,
    root: selfchain::types::Hash,
    alice: u128,
    folded: u64,
}

/// Opens the directory as a node does, and closes it again.
fn recover(disk: Arc<dyn Disk>, config: &NodeConfig) -> State {
    let mut store = Store::open(disk, &config.store).unwrap();
    let mut folded = 0;
    let chain = store.recover(&mut |_: Progress| folded += 1).unwrap();
    State {
        height: chain.tip().height,
        root: chain.roots().state_root(),
        alice: chain.ledger().account(ALICE).unwrap().hot.debits_posted.get(),
        folded,
    }
}

/// Pays from Alice to Bob, one transaction at a time in flight together, so that there are many blocks.
fn work(stage: &Stage, blocks: u32) {
    let client = stage.client();
    let signer = client.signer(operator(), 1).unwrap();
    for _ in 0..blocks {
        assert!(
            signer
                .commit(vec![pay(ALICE, BOB, 1)])
                .unwrap()
                .refused
                .is_empty()
        );
    }
}

/// Drains a node that is busy: whatever was accepted is answered. Returns how much was committed.
fn stop_under_load(stage: Stage) -> u128 {
    let mut raw = stage.raw();
    for counter in 1..=300 {
        raw.send(
            &stage
                .builder(vec![pay(ALICE, BOB, 1)])
                .sign(&[(&operator(), 2, counter)]),
        );
    }
    let mut frames = raw.receiver.receive(PATIENCE).unwrap();
    let heard = std::thread::spawn(move || {
        while let Ok(more) = raw.receiver.receive(PATIENCE) {
            frames.extend(more);
        }
        frames
    });
    stage.stop();
    let (mut accepted, mut answered, mut committed) = (BTreeSet::new(), BTreeSet::new(), 0);
    for frame in heard.join().unwrap() {
        let (number, reply) = Reply::decode(&frame).unwrap();
        match reply {
            Reply::Accepted => assert!(accepted.insert(number)),
            reply => {
                committed += u128::from(matches!(reply, Reply::Committed(_)));
                assert!(answered.insert(number), "{number} is answered twice");
            }
        }
    }
    assert!(
        !accepted.is_empty() && accepted.is_subset(&answered),
        "{accepted:?} accepted, {answered:?} answered"
    );
    committed
}

fn damage(directory: &Path, len_kept: impl Fn(u64) -> u64) {
    let snapshots: Vec<_> = std::fs::read_dir(directory.join("snapshots"))
        .unwrap()
        .flatten()
        .collect();
    assert!(!snapshots.is_empty());
    for file in snapshots {
        let mut bytes = std::fs::read(file.path()).unwrap();
        bytes.truncate(usize::try_from(len_kept(bytes.len() as u64)).unwrap());
        if let Some(byte) = bytes.get_mut(40) {
            *byte ^= 1;
        }
        std::fs::write(file.path(), bytes).unwrap();
    }
}

#[test]
fn a_drained_node_starts_from_its_snapshot_and_without_it_folds_to_the_same_roots() {
    let directory = tempfile::tempdir().unwrap();
    let config = config();
    let stage = Stage::start(Arc::new(FileDisk::open(directory.path()).unwrap()), &config).unwrap();
    stage.open(&[ALICE, BOB], 1_000_000);
    work(&stage, 50);
    let committed = stop_under_load(stage);

    let disk = || Arc::new(FileDisk::open(directory.path()).unwrap());
    let from_snapshot = recover(disk(), &config);
    assert_eq!(from_snapshot.folded, 0, "{from_snapshot:?}");
    assert!(
        from_snapshot.alice >= 50 + committed,
        "{committed} acknowledged of {from_snapshot:?}"
    );
    let expected = |folded| State {
        folded,
        height: from_snapshot.height,
        ..from_snapshot
    };

    let all = from_snapshot.height.0;
    damage(directory.path(), |len| len);
    assert_eq!(
        recover(disk(), &config),
        expected(all),
        "a bit flipped in every snapshot file"
    );
    damage(directory.path(), |len| len / 2);
    assert_eq!(recover(disk(), &config), expected(all), "every snapshot file cut");
    std::fs::remove_dir_all(directory.path().join("snapshots")).unwrap();
    assert_eq!(recover(disk(), &config), expected(all), "no snapshots");

    let report = verify(disk(), &mut |_, _| {}).unwrap();
    assert_eq!(
        (report.height, report.state_root),
        (from_snapshot.height, from_snapshot.root)
    );
}

#[test]
fn what_waits_for_a_later_height_does_not_keep_a_node_from_stopping() {
    let stage = Stage::start(Arc::new(MemoryDisk::new()), &config()).unwrap();
    let opened = stage.open(&[ALICE, BOB], 10);
    let mut raw = stage.raw();
    let mut builder = stage.builder(vec![pay(ALICE, BOB, 1)]);
    builder.valid_from = Height(opened.height.0 + 3);
    raw.send(&builder.sign(&[(&operator(), 3, 1)]));
    // A status after it says that it was taken in: both go by the one order thread.
    let frames = raw.receiver.receive(PATIENCE).unwrap();
    assert_eq!(Reply::decode(&frames[0]).unwrap().1, Reply::Accepted);
    stage.stop();
}

#[test]
fn a_node_that_keeps_little_says_where_its_log_begins_and_restarts_from_its_snapshot() {
    let disk = Arc::new(MemoryDisk::new());
    let mut config = config();
    config.store.log.segment_bytes = 20_000;
    config.pipeline.retention_bytes = 60_000;
    config.pipeline.snapshot_every = 50;
    config.pipeline.snapshot_slice_min = 1;
    let stage = Stage::start(Arc::clone(&disk) as Arc<dyn Disk>, &config).unwrap();
    stage.open(&[ALICE, BOB], 1_000_000);
    // A look at retention is due every 256 syncs.
    let mut rounds = 0;
    while stage.client().status().unwrap().first.0 <= 1 {
        work(&stage, 100);
        rounds += 1;
        assert!(rounds < 30, "nothing was dropped in {rounds} rounds");
    }
    let client = stage.client();
    let first = client.status().unwrap().first;
    assert!(first.0 > 1);
    match client.block(Height(1)) {
        Err(ClientError::Refused(refused)) => {
            assert_eq!(refused.refusal, Refusal::Pruned);
            assert!(
                refused.text.contains(&first.0.to_string()),
                "{first} is not in: {}",
                refused.text
            );
        }
        other => panic!("not pruned: {other:?}"),
    }
    assert!(client.block(first).unwrap().is_some());
    match client.subscribe(Height(1)).next().unwrap() {
        Err(ClientError::Refused(refused)) => assert_eq!(refused.refusal, Refusal::Pruned),
        other => panic!("not pruned: {other:?}"),
    }
    assert!(
        stage.metrics.snapshots_written.get() > 0,
        "the log is cut up to a snapshot"
    );
    let paid = client.account(ALICE).unwrap().unwrap().hot.debits_posted.get();
    drop(client);
    stage.stop();

    let stage = Stage::start(Arc::clone(&disk) as Arc<dyn Disk>, &config).unwrap();
    assert_eq!(
        stage
            .client()
            .account(ALICE)
            .unwrap()
            .unwrap()
            .hot
            .debits_posted
            .get(),
        paid
    );
    work(&stage, 3);
    let linked = vec![Operation::transfer(1, ALICE, BOB, selfchain::Amount(1), MONEY)];
    assert!(
        stage
            .client()
            .signer(operator(), 4)
            .unwrap()
            .commit(linked)
            .is_ok()
    );
    stage.stop();
    let report = verify(disk, &mut |_, _| {}).unwrap();
    assert!(
        report.first > Height(1) && report.from >= report.first,
        "{report:?}"
    );
}

#[test]
fn snapshots_under_load_are_whole_or_not_there_and_a_start_from_one_reaches_the_roots_of_a_replay() {
    let disk = Arc::new(MemoryDisk::new());
    let mut config = config();
    config.pipeline.snapshot_every = 5;
    config.pipeline.snapshot_slice_min = 1;
    config.store.snapshots.keep = 100;
    let stage = Stage::start(Arc::clone(&disk) as Arc<dyn Disk>, &config).unwrap();
    stage.open(&[ALICE, BOB], 1_000_000);
    work(&stage, 150);
    let metrics = Arc::clone(&stage.metrics);
    stage.stop();
    let (written, skipped) = (metrics.snapshots_written.get(), metrics.snapshots_skipped.get());
    assert!(
        written > 3 && skipped > 0,
        "{written} written, {skipped} left out"
    );

    let store =
        |disk: &Arc<MemoryDisk>| Store::open(Arc::clone(disk) as Arc<dyn Disk>, &config.store).unwrap();
    let held = store(&disk).snapshots.list().unwrap();
    assert!(held.len() as u64 >= written, "{held:?}");
    let replayed = verify(Arc::clone(&disk) as Arc<dyn Disk>, &mut |_, _| {}).unwrap();
    for height in held.iter().rev() {
        let state = recover(Arc::clone(&disk) as Arc<dyn Disk>, &config);
        assert_eq!(state.folded, replayed.height.0 - height, "from {height}");
        assert_eq!(state.root, replayed.state_root, "from {height}");
        store(&disk).snapshots.remove(*height).unwrap();
    }
}
