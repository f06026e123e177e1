//! `hold explain`: why a transfer is held, in words of ours, and in an advisor's paragraph where there is one.

use super::access::{self, asked};
use super::arguments::NodeArguments;
use super::output::Output;
use super::review::describe_hold;
use super::settings::Settings;
use super::{ExitStatus, Failure, describe};
use crate::advisor::{Advice, Advisor, AdvisorError, Facts};
use crate::client::Client;
use selfchain_types::message::{AccountState, HoldRecord};
use selfchain_types::{AccountId, AssetId};
use serde_json::{Value, json};
use std::fmt::Write;

pub(super) fn explain(
    hold: u128,
    anew: bool,
    node: &NodeArguments,
    settings: &Settings,
    output: Output,
) -> Result<(), Failure> {
    let config = settings.resolve()?.config;
    let advisor = Advisor::new(&config.advisor, &config.advisor_folder());
    // A configuration that does not work, or gives a key away, is told before anything is asked.
    let advisor =
        advisor.map_err(|error| Failure::usage("the advisor cannot be used", "").because(&error))?;
    let facts = ask_node(&access::connect(node, settings)?, hold)?;
    let advised = advisor.as_ref().map(|advisor| {
        let advice = if anew {
            advisor.advise_anew(&facts)
        } else {
            advisor.advise(&facts)
        };
        (advisor.model(), advice)
    });
    output.result(&text(&facts, &advised), &value(&facts, &advised))
}

/// What the advisor said, or why it did not; with its name. `None` without one.
type Advised<'a> = Option<(&'a str, Result<Advice, AdvisorError>)>;

fn ask_node(client: &Client, id: u128) -> Result<Facts, Failure> {
    let hold = find(client, id)?;
    let account = |id: u128| {
        let state = client.account(AccountId(id));
        state.map_err(asked("cannot show the accounts of the hold"))
    };
    Ok(Facts {
        hold,
        scale: access::scale(client, AssetId(hold.asset.get()))?,
        sender: account(hold.debit.get())?,
        receiver: account(hold.credit.get())?,
    })
}

/// The open hold with this id.
fn find(client: &Client, id: u128) -> Result<HoldRecord, Failure> {
    let mut next = Some(0);
    for _ in 0..PAGES_MAX {
        let Some(from) = next else {
            break;
        };
        let (holds, more) = client.holds(from).map_err(asked("cannot list the holds"))?;
        if let Some(hold) = holds.into_iter().find(|hold| hold.id.get() == id) {
            return Ok(hold);
        }
        next = more;
    }
    let next = "`selfchain hold list` shows those that wait";
    Err(Failure::new(
        ExitStatus::Refused,
        format!("there is no open hold {id}"),
        next,
    ))
}

/// Most pages of holds that are looked through, of a thousand each.
const PAGES_MAX: u32 = 10_000;

fn value(facts: &Facts, advised: &Advised<'_>) -> Value {
    json!({
        "hold": describe_hold(&facts.hold, facts.scale),
        "sender": party(facts, &facts.sender),
        "receiver": party(facts, &facts.receiver),
        "advisor": advised.as_ref().map(|(model, advice)| match advice {
            Ok(advice) => of_advice(advice),
            Err(error) => json!({ "model": model, "paragraph": null, "error": error.to_string() }),
        }),
    })
}

fn party(facts: &Facts, state: &Option<AccountState>) -> Option<Value> {
    let AccountState { hot, cold } = state.as_ref()?;
    Some(json!({
        "account": cold.id.get().to_string(),
        "opened": cold.opened.get(),
        "balances": describe::balances(&hot.balances(), facts.scale),
    }))
}

fn of_advice(advice: &Advice) -> Value {
    let warnings: Vec<String> = advice.warnings.iter().map(ToString::to_string).collect();
    json!({
        "model": advice.kept.model,
        "paragraph": advice.kept.paragraph,
        "note": NOTE,
        "written_s": advice.kept.written_s,
        "is_from_cache": advice.is_from_cache,
        "warnings": warnings,
    })
}

fn text(facts: &Facts, advised: &Advised<'_>) -> String {
    let mut facts_alone = value(facts, &None);
    if let Some(fields) = facts_alone.as_object_mut() {
        fields.remove("advisor");
    }
    let mut text = describe::lines(&facts_alone);
    let mut add = |line: &str| writeln!(text, "{line}").expect("writing to a string cannot fail");
    add(&format!("\n{}", reasons(facts)));
    match advised {
        None => add(&format!("\n{NOT_CONFIGURED}")),
        Some((model, Err(error))) => add(&format!("\nNo paragraph by {model}: {error}")),
        Some((_, Ok(advice))) => {
            let kept = &advice.kept;
            let when = if advice.is_from_cache {
                ", written earlier"
            } else {
                ""
            };
            add(&format!("\n{NOTE} ({}{when}):\n{}", kept.model, kept.paragraph));
            advice
                .warnings
                .iter()
                .for_each(|warning| add(&format!("\nWarning: {warning}")));
        }
    }
    text
}

/// The reasons in words of ours.
fn reasons(facts: &Facts) -> String {
    let Some(score) = facts.score() else {
        return "It is held because it could not be scored.".into();
    };
    let reasons = facts.reasons();
    if reasons.is_empty() {
        return format!("It is held for its score of {score} of 254.");
    }
    format!(
        "It is held for its score of {score} of 254: {}.",
        reasons.join("; ")
    )
}

/// What stands before a paragraph.
const NOTE: &str = "Written by a language model, may be wrong, decides nothing";

const NOT_CONFIGURED: &str = "\
No advisor is configured. For a paragraph by a language model, name an endpoint that speaks OpenAI's chat
completions with advisor.url and a model of its with advisor.model, such as
--advisor.url http://127.0.0.1:11434/v1 --advisor.model NAME";

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::advisor::{EndpointError, Kept};
    use zerocopy::FromZeros;

    fn facts(score: u8, reasons: [u8; 3]) -> Facts {
        let mut hold = HoldRecord::new_zeroed();
        hold.id = 77.into();
        hold.amount = 95_000.into();
        (hold.score, hold.reasons) = (score, reasons);
        Facts {
            hold,
            scale: 2,
            sender: None,
            receiver: None,
        }
    }

    fn advice() -> Advice {
        Advice {
            kept: Kept {
                hold: "77".into(),
                model: "m".into(),
                prompt_version: 1,
                written_s: 7,
                paragraph: "It.".into(),
            },
            is_from_cache: true,
            warnings: Vec::new(),
        }
    }

    #[test]
    fn without_an_advisor_the_reasons_stand_in_words_with_what_to_configure() {
        let facts = facts(171, [13, 4, 255]);
        let text = text(&facts, &None);
        let want =
            "171 of 254: the receiver's account is young; the payment drains what the sender has received.";
        assert!(text.contains(want) && text.contains("--advisor.url"), "{text}");
        assert!(text.contains("950.00"), "{text}");
        assert_eq!(value(&facts, &None)["advisor"], Value::Null);
    }

    #[test]
    fn what_was_not_scored_says_so() {
        assert_eq!(
            reasons(&facts(255, [255; 3])),
            "It is held because it could not be scored."
        );
        assert_eq!(
            reasons(&facts(9, [255; 3])),
            "It is held for its score of 9 of 254."
        );
    }

    #[test]
    fn a_paragraph_is_labelled_and_its_lack_does_not_take_the_reasons_away() {
        let facts = facts(171, [13, 255, 255]);
        let advised = Some(("m", Ok(advice())));
        let text_of = text(&facts, &advised);
        let label = "Written by a language model, may be wrong, decides nothing (m, written earlier):\nIt.";
        assert!(text_of.contains(label), "{text_of}");
        assert_eq!(value(&facts, &advised)["advisor"]["note"], NOTE);
        assert_eq!(value(&facts, &advised)["advisor"]["paragraph"], "It.");

        let url = "http://127.0.0.1:9/v1".into();
        let failed = Some(("m", Err(AdvisorError::Endpoint(EndpointError::Closed { url }))));
        let text_of = text(&facts, &failed);
        assert!(
            text_of.contains("account is young") && text_of.contains("No paragraph by m: nobody listens"),
            "{text_of}"
        );
        assert!(value(&facts, &failed)["advisor"]["error"].is_string());
    }
}
