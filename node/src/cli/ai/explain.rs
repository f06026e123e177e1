//! `ai explain`: why a transaction got its scores, from the log of a stopped node or as a running one's block says.

use super::super::access::{self, asked};
use super::super::arguments::NodeArguments;
use super::super::init::{of_store, open_data};
use super::super::output::Output;
use super::super::progress::bar;
use super::super::settings::Settings;
use super::super::{ExitStatus, Failure, describe};
use super::models::{models_in, rule_text, rule_value};
use crate::ai::{ExplainError, Explained, Explanation, explain as explain_in, kept};
use crate::recover::Progress;
use crate::store::Store;
use clap::Args;
use core::fmt::Write;
use selfchain_ai::explain::{Reason, words};
use selfchain_ai::features::{FEATURES, Row};
use selfchain_ai::model::{Model, default_model};
use selfchain_ai::plain;
use selfchain_ai::score::LogOdds;
use selfchain_engine::commit::Unpacked;
use selfchain_types::{Hash, Kind, Outcome, codec};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// The whole explanation is made from the data directory of a stopped node (--data): the log is replayed up to the
/// transaction's block, so that the rows are those which the block saw. With --server a running node is asked, which
/// says what the block keeps: score, outcome, and the three strongest reasons of a high score.
#[derive(Debug, Args)]
pub(in super::super) struct ExplainArguments {
    /// The transaction's id, 64 hexadecimal characters.
    tx_id: String,
    #[command(flatten)]
    node: NodeArguments,
}

const WHAT: &str = "the transaction is not explained";
/// Reasons of an operation that people are shown; JSON has all.
const REASONS_SHOWN: usize = 10;

pub(super) fn explain(
    arguments: &ExplainArguments,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let tx_id = access::parse_hash("the transaction's id", &arguments.tx_id)?;
    let (explanation, mut warnings) = match arguments.node.server {
        Some(_) => (from_node(tx_id, &arguments.node, settings)?, Vec::new()),
        None => from_data(tx_id, &settings.resolve()?.config.data_dir, settings, output)?,
    };
    warnings.extend(warnings_of(&explanation, arguments.node.server.is_none()));
    let text = text_of(&explanation, &warnings);
    output.result(&text, &value_of(&explanation, &warnings))
}

/// What a running node's block keeps.
fn from_node(tx_id: Hash, node: &NodeArguments, settings: &Settings) -> Result<Explanation, Failure> {
    let client = access::connect(node, settings)?;
    let unknown = || unknown(&ExplainError::Unknown { tx_id });
    let committed = client
        .transaction(tx_id)
        .map_err(asked(WHAT))?
        .ok_or_else(unknown)?;
    let row = client
        .block(committed.height)
        .map_err(asked(WHAT))?
        .ok_or_else(unknown)?;
    let block = Unpacked::new(committed.height, &row).map_err(|error| {
        let next = "use a client of the node's version";
        Failure::new(ExitStatus::Corrupt, WHAT, next).because(&error)
    })?;
    kept(&block, codec::index(committed.index)).ok_or_else(unknown)
}

/// The whole of it, from the log of a stopped node; and what was wrong with files of models.
fn from_data(
    tx_id: Hash,
    dir: &Path,
    settings: &Settings,
    output: Output,
) -> Result<(Explanation, Vec<String>), Failure> {
    let disk = open_data(WHAT, dir).map_err(|mut failure| {
        if failure.status == ExitStatus::Failed {
            failure.next += ", or ask it with --server ADDRESS for what the block keeps";
        }
        failure
    })?;
    let mut warnings = Vec::new();
    let mut models = vec![Arc::new(default_model())];
    match models_in(dir) {
        Ok(others) => models.extend(others),
        Err(failure) => warnings.push(format!("{}: {}", failure.what, failure.causes.join(": "))),
    }
    let store = Store::open(Arc::new(disk), &settings.resolve()?.config.store_config())
        .map_err(|error| of_store(WHAT.into(), &error))?;
    let bar = bar("replaying", output.is_json);
    let explained = explain_in(&store, &models, tx_id, &mut |at: Progress| {
        bar.set_length(at.tip.0);
        bar.set_position(at.height.0);
    });
    bar.finish_and_clear();
    match explained {
        Ok(explanation) => Ok((explanation, warnings)),
        Err(ExplainError::Store(error)) => Err(of_store(WHAT.into(), &error)),
        Err(error) => Err(unknown(&error)),
    }
}

fn unknown(error: &ExplainError) -> Failure {
    let next = match error {
        ExplainError::NotKept { .. } => {
            "retention has dropped older blocks: ask a node, or a copy, that keeps them"
        }
        _ => "it may never have been committed, or belong to another chain",
    };
    Failure::new(ExitStatus::Refused, WHAT, next).because(error)
}

fn warnings_of(explanation: &Explanation, is_whole: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    let has_scores = explanation.operations.iter().any(|one| one.score.is_some());
    let is_here = |hash: &&Hash| explanation.found.iter().any(|model| model.hash() == **hash);
    let missing = explanation.models.iter().filter(|hash| !is_here(hash));
    for model in missing.filter(|_| is_whole && has_scores) {
        warnings.push(format!(
            "the model {model} is neither the one that comes with the program nor in the folder `models`: its score \
             is not computed anew, and there are no reasons of it but the block's"
        ));
    }
    if let Some(first) = explanation.begins {
        warnings.push(format!(
            "the log begins at height {first}, and no snapshot remembers what was before: features are of a shorter \
             past than the block saw"
        ));
    }
    for (number, one) in explanation.operations.iter().enumerate() {
        if let (Some(false), Some(score), Some(anew)) = (one.agrees(), one.score, &one.anew) {
            warnings.push(format!(
                "operation {number}: the block says {score}, computed anew it is {}: the score was made from another \
                 past, or by a program with other features",
                anew.log_odds.score()
            ));
        }
    }
    warnings
}

fn text_of(explanation: &Explanation, warnings: &[String]) -> String {
    let name = |hash: &Hash| {
        let found = explanation.found.iter().find(|model| model.hash() == *hash);
        found.map_or_else(|| hash.to_string(), ToString::to_string)
    };
    let models: Vec<String> = explanation.models.iter().map(name).collect();
    let model = match models.as_slice() {
        [] => "none was in force".to_owned(),
        some => some.join(", "),
    };
    let mut text = format!(
        "transaction {} in block {} at {}\nmodel       {model}\n",
        explanation.tx_id,
        explanation.height,
        describe::time(explanation.time_ns)
    );
    for warning in warnings {
        add(&mut text, &format!("WARNING     {warning}"));
    }
    for (number, one) in explanation.operations.iter().enumerate() {
        add_operation(&mut text, number, one, explanation);
    }
    text
}

fn add(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("writing to a string cannot fail");
}

fn add_operation(text: &mut String, number: usize, one: &Explained, explanation: &Explanation) {
    let operation = &one.operation;
    let value = describe::operation(operation);
    let kind = value["kind"].as_str().unwrap_or_default();
    if operation.kind() == Some(Kind::Transfer) {
        add(
            text,
            &format!(
                "\noperation {number}: transfer ({}) from {} to {} of {} units of asset {}",
                value["how"].as_str().unwrap_or_default(),
                operation.debit.get(),
                operation.credit.get(),
                operation.amount.get(),
                operation.asset.get()
            ),
        );
    } else {
        add(text, &format!("\noperation {number}: {kind}"));
    }
    add(text, &format!("  outcome   {}", outcome_text(one)));
    add(text, &format!("  score     {}", score_text(one, explanation)));
    if let (Some(anew), Some(agrees)) = (&one.anew, one.agrees()) {
        let verdict = if agrees {
            "agrees"
        } else {
            "WARNING: differs from the block's"
        };
        add(
            text,
            &format!(
                "  anew      {} (log-odds {:+.3}): {verdict}",
                anew.log_odds.score(),
                anew.log_odds.real()
            ),
        );
    }
    add_reasons(text, one);
    if let Some(row) = &one.row {
        add(text, "  features");
        for (at, value) in row.0.iter().enumerate() {
            add(
                text,
                &format!("    {:<66} {}", plain::label(at), plain::value(at, *value)),
            );
        }
    }
}

fn outcome_text(one: &Explained) -> String {
    match (one.outcome, one.hold) {
        (_, Some(hold)) => format!(
            "held: its amount was reserved for the reviewer to release or void (hold {hold}; `selfchain hold list` \
             says whether it still is)"
        ),
        (Outcome::Ok, _) => "allowed: it took effect".to_owned(),
        (Outcome::RiskRejected, _) => "rejected: its score is one that the policy refuses".to_owned(),
        (outcome, _) => format!("refused, and not for its score: {outcome}"),
    }
}

fn score_text(one: &Explained, explanation: &Explanation) -> String {
    match one.score {
        Some(score) => format!("{score}: {}", odds(LogOdds::of_score(score))),
        None if explanation.models.is_empty() => "none: no model was in force".to_owned(),
        None if one.row.is_some() => "none: it came too late, or the model was not there".to_owned(),
        None => {
            "none: only plain and pending transfers between accounts that do not issue are scored".to_owned()
        }
    }
}

/// Odds and probability, for people.
fn odds(log_odds: LogOdds) -> String {
    let (real, probability) = (log_odds.real(), 100.0 * log_odds.probability());
    let times = real.abs().exp();
    let times = if times < 10.0 {
        format!("{times:.1}")
    } else {
        format!("{times:.0}")
    };
    let odds = if real < 0.0 {
        format!("1 to {times}")
    } else {
        format!("{times} to 1")
    };
    format!("odds of {odds} that it is fraud, {probability:.1} %")
}

fn add_reasons(text: &mut String, one: &Explained) {
    let Some(anew) = &one.anew else {
        for reason in kept_words(one) {
            add(text, &format!("  because   {reason}"));
        }
        return;
    };
    for rule in &anew.rules {
        add(text, &format!("  rule      {}", rule_text(rule)));
    }
    if anew.reasons.is_empty() {
        return;
    }
    add(
        text,
        "  because                                    (by how much it raises the log-odds)",
    );
    for reason in anew.reasons.iter().take(REASONS_SHOWN) {
        let (raises, words) = (reason.raises.real(), reason.words());
        let at = usize::from(reason.feature);
        let value = if at < FEATURES.len() {
            format!(" ({}: {})", plain::label(at), value_text(one.row.as_ref(), at))
        } else {
            String::new()
        };
        add(text, &format!("    {raises:>+7.3}  {words}{value}"));
    }
    if let Some(more) = anew
        .reasons
        .len()
        .checked_sub(REASONS_SHOWN)
        .filter(|more| *more > 0)
    {
        add(text, &format!("             and {more} weaker ones"));
    }
}

fn value_text(row: Option<&Row>, feature: usize) -> String {
    let value = row.and_then(|row| row.0.get(feature));
    value.map_or_else(String::new, |value| plain::value(feature, *value))
}

fn kept_words(one: &Explained) -> Vec<&'static str> {
    one.reasons.iter().filter_map(|code| words(*code)).collect()
}

fn value_of(explanation: &Explanation, warnings: &[String]) -> Value {
    let operations: Vec<Value> = explanation
        .operations
        .iter()
        .enumerate()
        .map(|(number, one)| operation_value(number, one))
        .collect();
    let models = explanation.models.iter().map(|hash| {
        let found = explanation.found.iter().find(|model| model.hash() == *hash);
        let name = found.map(|model: &Arc<Model>| model.card().name.clone());
        json!({ "hash": hash.to_hex(), "found": found.is_some(), "name": name })
    });
    let models: Vec<Value> = models.collect();
    json!({
        "tx_id": explanation.tx_id.to_hex(),
        "height": explanation.height.0,
        "time_ns": explanation.time_ns.0,
        "models": models,
        "warnings": warnings,
        "operations": operations,
    })
}

fn operation_value(number: usize, one: &Explained) -> Value {
    let mut value = describe::operation(&one.operation);
    value["operation"] = number.into();
    value["outcome"] = one.outcome.name().into();
    value["hold"] = one.hold.map(|hold| hold.to_string()).into();
    value["score"] = one.score.into();
    value["reasons_kept"] = kept_words(one).into();
    let anew = one.anew.as_ref();
    value["anew"] = anew.map(|anew| anew.log_odds.score()).into();
    value["agrees"] = one.agrees().into();
    value["log_odds"] = anew.map(|anew| anew.log_odds.real()).into();
    value["probability"] = anew.map(|anew| anew.log_odds.probability()).into();
    let reasons = anew.map(|anew| {
        let reason = |reason: &Reason| reason_value(reason, one.row.as_ref());
        anew.reasons.iter().map(reason).collect::<Vec<Value>>()
    });
    value["reasons"] = reasons.into();
    let rules = anew.map(|anew| anew.rules.iter().map(rule_value).collect::<Vec<Value>>());
    value["rules"] = rules.into();
    value["features"] = one.row.as_ref().map(features_value).into();
    value
}

fn reason_value(reason: &Reason, row: Option<&Row>) -> Value {
    let at = usize::from(reason.feature);
    json!({
        "feature": FEATURES.get(at).map(|feature| feature.name),
        "words": reason.words(),
        "value": value_text(row, at),
        "raises": reason.raises.real(),
    })
}

fn features_value(row: &Row) -> Vec<Value> {
    let named = FEATURES.iter().zip(row.0).enumerate();
    named
        .map(|(at, (feature, value))| {
            json!({
                "name": feature.name,
                "value": value,
                "what": plain::label(at),
                "says": plain::value(at, value),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ai::Anew;
    use selfchain_ai::explain::SENDER_LISTED;
    use selfchain_ai::rules::{Rules, STARTER};
    use selfchain_types::Operation;

    #[test]
    fn rules_that_fired_are_named_before_what_they_ask_for() {
        let rules = Rules::parse(STARTER.as_bytes()).expect("a pack");
        let rule = rules.rules().first().expect("a rule");
        let one = Explained {
            operation: Operation::default(),
            outcome: Outcome::Held,
            score: Some(254),
            reasons: [SENDER_LISTED, 255, 255],
            hold: None,
            row: None,
            anew: Some(Anew {
                log_odds: LogOdds::of_score(254),
                reasons: vec![Reason {
                    feature: SENDER_LISTED,
                    raises: LogOdds::of_score(143),
                }],
                rules: vec![rule.clone()],
            }),
        };
        let mut text = String::new();
        add_reasons(&mut text, &one);
        let lines: Vec<&str> = text.lines().collect();
        let want = "  rule      listed_sender (at least 254): the sender is on a list of parties not to deal with \
                    [from in listed]";
        assert_eq!(lines.first(), Some(&want));
        assert_eq!(
            lines.last(),
            Some(&"     +1.000  a rule has a list for the sender")
        );
        let value = operation_value(0, &one);
        assert_eq!(value["rules"][0]["code"], "listed_sender");
        assert_eq!(value["reasons_kept"][0], "a rule has a list for the sender");
    }
}
