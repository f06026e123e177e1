//! A pack of rules as the model that decides: what it holds, and why, from the log.

use super::explain::{Seen, explained, seen};
use super::scores::{demo_by, disk};
use selfchain::types::Outcome;
use selfchain::types::risk::{NO_REASON, REASONS};
use selfchain::verify::verify;
use selfchain_ai::model::Model;
use selfchain_ai::rules::STARTER;
use std::sync::Arc;

#[test]
fn a_pack_holds_what_its_rules_say_and_the_log_tells_which_and_why() {
    let folder = tempfile::tempdir().unwrap();
    let pack = STARTER.replace("\"amount >= 100_000\"", "\"amount >= 50_000\"");
    let model = Arc::new(Model::read(pack.as_bytes()).unwrap());
    let summary = demo_by(&folder, 127, &model);
    let held = summary.held.unwrap();
    assert!(held.count > 0 && held.voided == held.count, "{held:?}");
    let is_told = |words: &str| held.reasons.iter().any(|(reason, _)| reason == words);
    assert!(is_told("the receiver's account is young"), "{held:?}");
    assert!(is_told("the sender has never paid this receiver"), "{held:?}");
    let rows = seen(&folder);
    let held: Vec<&Seen> = rows.iter().filter(|row| row.outcome == Outcome::Held).collect();
    held.iter().for_each(|row| check_held(&folder, &model, row));
    assert!(
        held.iter().any(|row| row.score == Some(200)),
        "by that rule alone"
    );
    // A replay needs no pack.
    verify(disk(&folder), &mut |_, _| {}).unwrap();
}

fn check_held(folder: &tempfile::TempDir, model: &Arc<Model>, row: &Seen) {
    let explanation = explained(folder, &[Arc::clone(model)], row.tx_id);
    let one = &explanation.operations[usize::try_from(row.number).unwrap()];
    assert_eq!((one.score, one.agrees()), (row.score, Some(true)));
    let anew = one.anew.as_ref().unwrap();
    let kept = one.reasons.iter().filter(|code| **code != NO_REASON);
    let asked = anew.reasons.iter().map(|reason| &reason.feature);
    assert!(kept.eq(asked.take(REASONS)), "{one:?}");
    let says: Vec<&str> = anew.rules.iter().map(|rule| &*rule.says).collect();
    assert!(!says.is_empty(), "{one:?}");
    if row.score == Some(200) {
        assert_eq!(says, ["a large first payment to an account that is new"]);
    }
}
