//! Scores on a real node: holds with reasons, reviews, a replay without a model, and what a scorer remembers.

use selfchain::demo::{Options, ReplayOptions, ScoreOptions, SourceOptions, Speed, Summary, run};
use selfchain::node::ScoreWhen;
use selfchain::storage::{Disk, FileDisk};
use selfchain::store::{Store, StoreConfig};
use selfchain::types::receipt::NOT_SCORED;
use selfchain::types::seam::scorer::{Scorer, Terms, Timed};
use selfchain::types::{AccountId, Amount, AssetId, Hash, Operation, Risk, TimeNs};
use selfchain::verify::verify;
use selfchain_ai::model::{Model, default_model};
use selfchain_ai::rules::STARTER;
use selfchain_ai::{Off, Projection};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tempfile::TempDir;

static GO_ON: AtomicBool = AtomicBool::new(false);

/// Payments of a circle of friends, and of many to one that is labelled as bad.
fn rows() -> String {
    let mut text = String::from("time,from,to,amount,to_bad\n");
    for at in 0..600_u64 {
        let time = 1_500_000_000 + at * 3_600;
        let (from, to) = (at % 7, (at * 3 + 1) % 7);
        if from != to {
            text += &format!("{time},{from},{to},{},0\n", 100 + at % 13);
        }
        if at % 5 == 0 {
            text += &format!("{time},{},900,77777,1\n", 100 + at);
        }
    }
    text
}

fn openings() -> String {
    let mut text = String::from("account,opening\n");
    (0..7).for_each(|account| text += &format!("{account},1000000\n"));
    (100..700).for_each(|account| text += &format!("{account},80000\n"));
    text
}

/// A demo of these rows whose chain is kept in `chain`.
pub fn demo(folder: &TempDir, hold: u8) -> Summary {
    demo_by(folder, hold, &Arc::new(default_model()))
}

/// The same with another model.
pub fn demo_by(folder: &TempDir, hold: u8, model: &Arc<Model>) -> Summary {
    demo_among(folder, hold, model, 1)
}

/// The same where so many validators decide: each has a folder in `chain` then.
fn demo_among(folder: &TempDir, hold: u8, model: &Arc<Model>, validators: u16) -> Summary {
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let mut options = Options::of(SourceOptions::Replay(ReplayOptions {
        input: write("rows.csv", rows()),
        openings: Some(write("openings.csv", openings())),
        speed: Speed::Max,
        keeps_time: validators == 1,
        scoring: Some(ScoreOptions {
            model: Arc::clone(model),
            hold,
        }),
    }));
    options.node.scoring.when = ScoreWhen::On;
    options.node.scoring.models = vec![Arc::clone(model)];
    options.data = Some(folder.path().join("chain"));
    options.validators = validators;
    let summary = run(&options, &GO_ON, &mut ()).unwrap();
    println!("{summary}");
    assert!(summary.holds(), "{summary}");
    assert_eq!(summary.model.as_ref().unwrap().hash, model.hash().to_hex());
    summary
}

pub fn disk(folder: &TempDir) -> Arc<dyn Disk> {
    disk_at(&folder.path().join("chain"))
}

fn disk_at(path: &Path) -> Arc<dyn Disk> {
    Arc::new(FileDisk::open(path).unwrap())
}

#[test]
fn risky_rows_are_held_reviewed_by_their_labels_and_the_balances_agree() {
    let folder = tempfile::tempdir().unwrap();
    let summary = demo(&folder, 100);
    let held = summary.held.unwrap();
    assert!(held.count > 0 && held.voided > 0, "{held:?}");
    assert_eq!(held.count, held.released + held.voided);
    assert!(!held.reasons.is_empty(), "{held:?}");
    let labels = summary.labels.unwrap();
    assert_eq!(labels.bad, 120);
    assert!(labels.roc_auc > 0.8 && labels.recall > 0.0, "{labels:?}");
    assert_eq!(summary.balances.unwrap().mismatched, 0);
    let input = summary.input.unwrap();
    assert_eq!(
        summary.transfers_committed + summary.transfers_refused,
        input.rows,
        "every row was committed, held ones too, or refused"
    );
}

#[test]
fn where_the_threshold_is_never_met_nothing_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let summary = demo(&folder, 255);
    assert_eq!(summary.held.unwrap().count, 0);
    assert!(summary.labels.is_some(), "rows are scored all the same");
}

/// What a scorer remembers of the chain on a disk, and the root of the state after it.
fn remembered(disk: Arc<dyn Disk>) -> (Hash, Hash) {
    let mut store = Store::open(disk, &StoreConfig::default()).unwrap();
    let chain = store.recover(&mut |_| {}).unwrap();
    let fresh = || -> Box<dyn Scorer> { Box::new(Projection::new(Vec::new())) };
    let scorer = store.remember(&chain, &fresh, &mut |_| {}).unwrap();
    (scorer.memory.memory_hash(), chain.roots().state_root())
}

#[test]
fn a_replay_needs_no_model_and_a_snapshot_remembers_as_the_whole_log_does() {
    let folder = tempfile::tempdir().unwrap();
    demo(&folder, 100);
    let report = verify(disk(&folder), &mut |_, _| {}).unwrap();
    let from_snapshot = remembered(disk(&folder));
    assert_eq!(report.state_root, from_snapshot.1);
    assert_ne!(from_snapshot.0, Projection::default().memory_hash());
    remove_snapshots(&folder.path().join("chain"));
    assert_eq!(
        remembered(disk(&folder)),
        from_snapshot,
        "folded from the first block"
    );
}

#[test]
fn four_validators_hold_the_same_rows_and_remember_the_same_from_snapshot_and_log() {
    let folder = tempfile::tempdir().unwrap();
    let summary = demo_among(&folder, 60, &Arc::new(default_model()), 4);
    let held = summary.held.unwrap();
    assert!(held.count > 0 && !held.reasons.is_empty(), "{held:?}");
    assert_eq!(held.count, held.released + held.voided);
    assert_eq!(summary.balances.unwrap().mismatched, 0);
    assert_eq!(summary.validators.len(), 4);
    let all = (0..4).map(|at| folder.path().join("chain").join(format!("validator-{at}")));
    let all: Vec<(Hash, Hash)> = all
        .map(|path| {
            let from_snapshot = remembered(disk_at(&path));
            remove_snapshots(&path);
            assert_eq!(remembered(disk_at(&path)), from_snapshot);
            from_snapshot
        })
        .collect();
    assert!(all.iter().all(|one| one.0 == all[0].0), "{all:?}");
    assert_ne!(all[0].0, Projection::default().memory_hash());
}

pub fn remove_snapshots(chain: &Path) {
    let folder = chain.join("snapshots");
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().flatten().collect();
    assert!(!files.is_empty());
    files
        .iter()
        .for_each(|file| std::fs::remove_file(file.path()).unwrap());
}

/// Transfers among a few accounts, and one operation that is none.
fn operations() -> Vec<(Operation, TimeNs)> {
    let transfer = |at: u64| {
        let (from, to) = (u128::from(at % 5 + 1), u128::from(at * 7 % 5 + 1));
        let (from, to) = (AccountId(from), AccountId(to + u128::from(from == to)));
        Operation::transfer(
            u128::from(at + 1),
            from,
            to,
            Amount(u128::from(at * at)),
            AssetId(1),
        )
    };
    let mut all: Vec<_> = (0..3_000_u64)
        .map(|at| (transfer(at), TimeNs(at * 60_000_000_000)))
        .collect();
    all[1_500].0 = Operation::anchor(9, Hash::ZERO);
    all
}

fn scores(scorer: &mut dyn Scorer, model: Hash, blocks: usize, budget_ns: u64) -> Vec<u8> {
    let all = operations();
    let terms = Terms {
        model,
        preferred: &[],
        reasons_from: 120,
        budget_ns,
        is_decided: false,
    };
    let mut scores = Vec::new();
    for block in all.chunks(blocks) {
        let timed: Vec<Timed<'_>> = block
            .iter()
            .map(|(operation, time)| Timed {
                operation,
                time: *time,
            })
            .collect();
        let mut risk = Risk::default();
        // Another candidate first: it leaves no trace.
        scorer.score(&timed[..timed.len() / 2], &terms, &mut risk);
        scorer.score(&timed, &terms, &mut risk);
        assert!(risk.fits(timed.len()));
        assert!(
            risk.reasons
                .iter()
                .all(|(at, _)| risk.score(*at) >= 120 && risk.score(*at) != NOT_SCORED)
        );
        scorer.keep(&[]);
        scores.extend(risk.scores);
    }
    scores
}

const LONG: u64 = u64::MAX;

/// The conformance suite of the scorer seam.
fn conforms(new: &(dyn Fn() -> Box<dyn Scorer> + Sync), model: Hash) -> Vec<u8> {
    let whole = scores(&mut *new(), model, 3_000, LONG);
    assert_eq!(whole.len(), 3_000, "one score an operation");
    assert_eq!(whole[1_500], NOT_SCORED, "what is no transfer is not scored");
    for blocks in [1, 7, 512, 1_000] {
        assert_eq!(
            scores(&mut *new(), model, blocks, LONG),
            whole,
            "in blocks of {blocks}"
        );
    }
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(
        one_thread.install(|| scores(&mut *new(), model, 3_000, LONG)),
        whole
    );
    let late = scores(&mut *new(), model, 3_000, 0);
    assert!(
        late.iter().all(|score| *score == NOT_SCORED),
        "past its budget nothing is scored"
    );
    let unknown = scores(&mut *new(), Hash([9; 32]), 3_000, LONG);
    assert!(
        unknown.iter().all(|score| *score == NOT_SCORED),
        "nor by a model that is not there"
    );
    check_memory(new, model);
    whole
}

/// Scored, observed and restored, it remembers the same.
fn check_memory(new: &(dyn Fn() -> Box<dyn Scorer> + Sync), model: Hash) {
    let (mut scored, mut observed, mut restored) = (new(), new(), new());
    scores(&mut *scored, model, 100, LONG);
    let all = operations();
    let timed = all.iter().map(|(operation, time)| Timed {
        operation,
        time: *time,
    });
    observed.observe(&timed.collect::<Vec<_>>());
    scored.freeze();
    while !scored.sweep(3, &mut |chunk| restored.restore(chunk).unwrap()) {}
    assert_eq!(observed.memory_hash(), scored.memory_hash());
    assert_eq!(restored.memory_hash(), scored.memory_hash());
}

#[test]
fn every_scorer_keeps_the_contract_of_the_seam() {
    conforms(&|| Box::new(Off), Hash::ZERO);
    let rules = STARTER.replace("accounts = []", "accounts = [3]");
    let rules = Model::read(rules.as_bytes()).unwrap();
    for (model, golden) in [(default_model(), SHIPPED_SUM), (rules, RULES_SUM)] {
        let (name, model) = (model.to_string(), Arc::new(model));
        let hash = model.hash();
        let scores = conforms(&|| Box::new(Projection::new(vec![Arc::clone(&model)])), hash);
        assert!(Projection::new(vec![model]).is_exact(&hash));
        let sum: u64 = scores.iter().map(|score| u64::from(*score)).sum();
        assert_eq!(sum, golden, "{name} scores these as it always did");
    }
}

/// Sum of the shipped model's scores of [`operations`]: the same on every processor.
const SHIPPED_SUM: u64 = 294_535;
/// The same of the pack to begin with, where one account is on its list.
const RULES_SUM: u64 = 606_122;

#[test]
fn the_shipped_model_is_whole_and_says_what_made_it() {
    let model = default_model();
    let again = Model::read_named(&model.to_bytes(), model.hash()).unwrap();
    assert_eq!(again.card(), model.card());
    assert!(
        model.card().command.starts_with("selfchain ai train"),
        "{:?}",
        model.card()
    );
    assert!(!model.card().licence.is_empty() && !model.card().data.is_empty());
}
