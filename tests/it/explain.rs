//! Scores explained and exported from a real ledger: the recorded bits come back, and its reports are its labels.

use super::scores::{demo, disk, remove_snapshots};
use selfchain::Ledger;
use selfchain::ai::{
    ALWAYS, Explanation, Inputs, Learner, LedgerRows, LedgerSample, TrainError, TrainOptions, explain,
    export_ledger, ledger_set, train,
};
use selfchain::cli::{ExitStatus, main};
use selfchain::store::{Store, StoreConfig, StoreError};
use selfchain::types::risk::NO_REASON;
use selfchain::types::{AccountId, Hash, Operation, Outcome};
use selfchain_ai::model::{Card, Model, Predict, default_model};
use selfchain_ai::trees::TreeOptions;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// From this score on the ledger of these tests holds.
const HOLD: u8 = 100;
/// The account that many pay, by the ledger's number.
const RECEIVER: u128 = 901;
/// How many pay it.
const PAYMENTS: usize = 120;

/// One exported row.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub tx_id: Hash,
    pub number: u32,
    pub from: u128,
    pub to: u128,
    pub score: Option<u8>,
    pub outcome: Outcome,
    pub is_bad: bool,
}

pub fn seen(folder: &TempDir) -> Vec<Seen> {
    let mut all = Vec::new();
    let mut each = |sample: LedgerSample<'_>| -> Result<(), StoreError> {
        all.push(Seen {
            tx_id: sample.tx_id,
            number: sample.number,
            from: sample.operation.debit.get(),
            to: sample.operation.credit.get(),
            score: sample.score,
            outcome: sample.outcome,
            is_bad: sample.is_bad,
        });
        Ok(())
    };
    let ledger = LedgerRows::open(disk(folder), &mut |_| {}).unwrap();
    ledger.read(&mut each, &mut |_| {}).unwrap();
    all
}

pub fn explained(folder: &TempDir, models: &[Arc<Model>], tx_id: Hash) -> Explanation {
    let store = Store::open(disk(folder), &StoreConfig::default()).unwrap();
    explain(&store, models, tx_id, &mut |_| {}).unwrap()
}

#[test]
fn a_held_transaction_is_explained_and_gets_its_recorded_score_back_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    demo(&folder, HOLD);
    let rows = seen(&folder);
    let held: Vec<&Seen> = rows.iter().filter(|row| row.outcome == Outcome::Held).collect();
    // The first, whose past is short, and the last, whose past is nearly the whole log.
    let models = [Arc::new(default_model())];
    for row in [held.first().unwrap(), held.last().unwrap()] {
        check_held(&explained(&folder, &models, row.tx_id), row);
    }
    remove_snapshots(&folder.path().join("chain"));
    let last = held.last().unwrap();
    let whole = explained(&folder, &models, last.tx_id);
    check_held(&whole, last);
    without_its_model(&folder, &whole);
    the_program_explains_and_exports(&folder, last.tx_id);
}

fn check_held(explanation: &Explanation, row: &Seen) {
    assert_eq!(explanation.models, [default_model().hash()]);
    assert!(explanation.found.len() == 1 && explanation.begins.is_none());
    let scored = explanation.operations.iter().filter(|one| one.score.is_some());
    assert!(scored.clone().count() > 1, "a batch of many rows");
    for one in scored {
        let anew = one.anew.as_ref().unwrap();
        assert_eq!(Some(anew.log_odds.score()), one.score);
        assert_eq!(one.agrees(), Some(true));
        assert!(
            anew.reasons
                .is_sorted_by(|left, right| left.raises >= right.raises)
        );
        if one.outcome == Outcome::Held {
            let kept = one.reasons.iter().filter(|code| **code != NO_REASON);
            let anew = anew.reasons.iter().map(|reason| &reason.feature);
            assert!(kept.eq(anew.take(3)), "{one:?}");
            assert!(one.hold.is_some() && one.score >= Some(HOLD));
        }
    }
    let one = &explanation.operations[usize::try_from(row.number).unwrap()];
    assert_eq!((one.outcome, one.score), (row.outcome, row.score));
}

/// What the block keeps is told, and the row is made, where the model's file is gone.
fn without_its_model(folder: &TempDir, whole: &Explanation) {
    let without = explained(folder, &[], whole.tx_id);
    assert!(without.found.is_empty() && without.models == whole.models);
    for (without, whole) in without.operations.iter().zip(&whole.operations) {
        assert!(without.anew.is_none());
        assert_eq!(
            (without.row, without.score, without.outcome),
            (whole.row, whole.score, whole.outcome)
        );
    }
    let store = Store::open(disk(folder), &StoreConfig::default()).unwrap();
    let error = explain(&store, &[], Hash([3; 32]), &mut |_| {}).unwrap_err();
    assert!(
        error.to_string().starts_with("there is no transaction"),
        "{error}"
    );
}

fn program(line: &str, path: &Path) -> ExitStatus {
    let words = ["selfchain"].into_iter().chain(line.split_whitespace());
    let mut arguments: Vec<OsString> = words.map(OsString::from).collect();
    arguments.extend(["--data".into(), path.into()]);
    main(arguments, [])
}

fn the_program_explains_and_exports(folder: &TempDir, tx_id: Hash) {
    let chain = folder.path().join("chain");
    assert_eq!(program(&format!("ai explain {tx_id}"), &chain), ExitStatus::Done);
    assert_eq!(
        program(&format!("ai explain {tx_id} --json"), &chain),
        ExitStatus::Done
    );
    let unknown = format!("ai explain {}", Hash([3; 32]));
    assert_eq!(program(&unknown, &chain), ExitStatus::Refused);
    let csv = folder.path().join("rows.csv").display().to_string();
    assert_eq!(
        program(&format!("ai export --output {csv}"), &chain),
        ExitStatus::Done
    );
    assert_eq!(
        program("ai eval", &chain),
        ExitStatus::Usage,
        "nothing was reported"
    );
}

#[test]
fn the_rows_of_a_ledger_are_those_its_blocks_saw_and_its_reports_are_their_labels() {
    let folder = tempfile::tempdir().unwrap();
    demo(&folder, HOLD);
    every_row_has_its_recorded_score(&folder);
    let rows = seen(&folder);
    assert!(rows.iter().all(|row| !row.is_bad));
    let paid: Vec<Seen> = rows.into_iter().filter(|row| row.to == RECEIVER).collect();
    assert_eq!(paid.len(), PAYMENTS);
    let report =
        |row: &Seen, by: u128, code: u16| Operation::report(1, row.tx_id, row.number, AccountId(by), code);
    let bad_after = |reports: Vec<Operation>| {
        let mut ledger = Ledger::open(folder.path().join("chain")).unwrap();
        ledger.commit(reports).unwrap();
        drop(ledger);
        let bad = seen(&folder).into_iter().filter(|row| row.is_bad);
        bad.map(|row| (row.tx_id, row.number)).collect::<Vec<_>>()
    };
    let (first, second) = (&paid[0], &paid[1]);
    let named = vec![(first.tx_id, first.number)];
    assert_eq!(
        bad_after(vec![report(first, first.from, 1)]),
        named,
        "the transfer alone"
    );
    assert_eq!(
        bad_after(vec![report(second, first.from, 1)]),
        named,
        "of another's transfer"
    );
    assert_eq!(bad_after(vec![report(first, first.from, 2)]), [], "cleared again");
    let accused = report(second, second.from, 1).accusing(AccountId(RECEIVER));
    assert_eq!(bad_after(vec![accused]).len(), PAYMENTS, "all that it was paid");
    the_export_is_what_the_log_says(&folder);
    a_model_is_trained_on_it(&folder);
    let cleared = report(second, second.from, 2).accusing(AccountId(RECEIVER));
    assert_eq!(bad_after(vec![cleared]), []);
    let nothing = ledger_set(&disk(&folder), &ALWAYS, &mut |_| {});
    assert!(matches!(nothing, Err(TrainError::NoReports { reports: 5 })));
}

fn every_row_has_its_recorded_score(folder: &TempDir) {
    let model = default_model();
    let mut scored = 0;
    let mut each = |sample: LedgerSample<'_>| -> Result<(), StoreError> {
        let mut anew = Vec::new();
        model.log_odds(&[*sample.row], &[sample.operation], &mut anew);
        // The first block was made before any model was in force.
        if let Some(score) = sample.score {
            assert_eq!(anew[0].score(), score, "height {}", sample.height);
            scored += 1;
        }
        Ok(())
    };
    let ledger = LedgerRows::open(disk(folder), &mut |_| {}).unwrap();
    ledger.read(&mut each, &mut |_| {}).unwrap();
    assert!(scored > PAYMENTS);
}

fn the_export_is_what_the_log_says(folder: &TempDir) {
    let path = folder.path().join("rows.csv");
    let ledger = LedgerRows::open(disk(folder), &mut |_| {}).unwrap();
    let exported = export_ledger(&ledger, &path, &mut |_| {}).unwrap();
    assert_eq!(exported.bad, u64::try_from(PAYMENTS).unwrap());
    drop(ledger);
    let text = std::fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    assert_eq!(header[..6], ["file", "line", "time", "from", "to", "amount"]);
    assert_eq!(
        header[45..],
        ["label", "height", "tx_id", "operation", "score", "outcome"]
    );
    let rows = seen(folder);
    assert_eq!(exported.rows, u64::try_from(rows.len()).unwrap());
    for (line, row) in lines.zip(&rows) {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells[4], row.to.to_string());
        assert_eq!(cells[45], u8::from(row.is_bad).to_string());
        assert_eq!(
            (cells[47], cells[48]),
            (&*row.tx_id.to_hex(), &*row.number.to_string())
        );
        assert_eq!(
            cells[49],
            row.score.map_or(String::new(), |score| score.to_string())
        );
        assert_eq!(cells[50], row.outcome.name());
    }
}

fn a_model_is_trained_on_it(folder: &TempDir) {
    let options = TrainOptions {
        inputs: Inputs::Ledger(disk(folder)),
        within_s: ALWAYS,
        reports_after_s: None,
        only_reported: false,
        stop_share: 0.2,
        learner: Learner::Trees(
            TreeOptions {
                trees: 3,
                ..TreeOptions::default()
            },
            1,
        ),
        card: Card::default(),
        valid: None,
    };
    match train(&options, &mut |_| {}) {
        Ok(model) => assert!(model.is_exact()),
        // One account makes all of it fraud: the later rows have no fraud of an account that was not seen.
        Err(error) => assert!(
            matches!(error, TrainError::Trees(_) | TrainError::Evaluate(_)),
            "{error}"
        ),
    }
}
