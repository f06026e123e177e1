//! What is said of a transfer that is held for review: that nothing moved yet, why, and whose turn it is; and why one
//! is refused for its score.

use super::describe;
use crate::ai::hold_of;
use crate::client::{Client, ClientError};
use selfchain_ai::explain::words;
use selfchain_engine::commit::Unpacked;
use selfchain_types::message::{Committed, HoldRecord};
use selfchain_types::receipt::NOT_SCORED;
use selfchain_types::risk::REASONS;
use selfchain_types::{Hash, Operation, Outcome, TimeNs, codec};
use serde_json::{Value, json};

/// A transfer that is held.
pub(super) struct Held {
    id: u128,
    /// What the node says of it; `None` where it has been settled already, or is far down the list.
    record: Option<HoldRecord>,
}

/// Pages of open holds that are looked through for the one that was made: 16,000 holds.
const PAGES_MAX: usize = 16;

/// The hold that a transaction of one operation made, if it made one.
pub(super) fn held(
    client: &Client,
    tx_id: &Hash,
    operation: &Operation,
    committed: &Committed,
) -> Option<Held> {
    let is_held = |(_, outcome, _): &(u32, Outcome, _)| *outcome == Outcome::Held;
    let (number, ..) = committed.refused.iter().find(|one| is_held(one))?;
    let id = hold_of(operation, tx_id, *number);
    // The transfer is committed: what more cannot be asked is left out.
    let record = find(client, id).unwrap_or_else(|error| {
        tracing::debug!(error = %error, "the hold is not described");
        None
    });
    Some(Held { id, record })
}

fn find(client: &Client, id: u128) -> Result<Option<HoldRecord>, ClientError> {
    let mut next = Some(0);
    for _ in 0..PAGES_MAX {
        let Some(from) = next else { break };
        let (holds, more) = client.holds(from)?;
        if let Some(hold) = holds.into_iter().find(|hold| hold.id.get() == id) {
            return Ok(Some(hold));
        }
        next = more;
    }
    Ok(None)
}

impl Held {
    /// The object `held` of the command's JSON.
    pub(super) fn value(&self) -> Value {
        let record = self.record.as_ref();
        let deadline_ns = record.map(|hold| hold.deadline_ns.get()).filter(|ns| *ns != 0);
        json!({
            "id": self.id.to_string(),
            "score": record.map(|hold| hold.score).filter(|score| *score != NOT_SCORED),
            "reasons": record.map(|hold| names(&hold.reasons)),
            "reviewer": record.map(|hold| hold.reviewer.to_hex()),
            "deadline_ns": deadline_ns.map(|ns| ns.to_string()),
            "next": self.next(),
        })
    }

    /// For people, before everything else.
    pub(super) fn text(&self) -> String {
        let mut lines = vec![format!(
            "HELD FOR REVIEW: the amount is reserved and has not moved (hold {})",
            self.id
        )];
        if let Some(hold) = &self.record {
            let score = match hold.score {
                NOT_SCORED => "none: it could not be scored in time".to_owned(),
                score => score.to_string(),
            };
            lines.push(format!("score       {score}"));
            let reasons = names(&hold.reasons);
            lines.extend(reasons.iter().map(|reason| format!("because     {reason}")));
            lines.push(format!("reviewer    {}", hold.reviewer.to_hex()));
            let ends = match hold.deadline_ns.get() {
                0 => "never by itself".to_owned(),
                ns => format!("voided at {}", describe::time(TimeNs(ns))),
            };
            lines.push(format!("ends        {ends}"));
        }
        lines.push(format!("next        {}", self.next()));
        lines.join("\n")
    }

    fn next(&self) -> String {
        format!(
            "the reviewer settles it with `selfchain hold release {id}` or `selfchain hold void {id}`; `selfchain hold \
             list` shows what waits",
            id = self.id
        )
    }
}

fn names(reasons: &[u8]) -> Vec<&'static str> {
    reasons.iter().filter_map(|code| words(*code)).collect()
}

/// The score of an operation that was refused for it, and the reasons that the block keeps.
pub(super) fn score_of(client: &Client, committed: &Committed, number: u32) -> Option<String> {
    let row = client.block(committed.height).ok()??;
    let block = Unpacked::new(committed.height, &row).ok()?;
    let first = block.transaction(codec::index(committed.index))?.first_operation;
    let (score, reasons): (u8, [u8; REASONS]) = (
        block.risk().score(first + number),
        block.risk().reasons(first + number),
    );
    let names = names(&reasons);
    let because = if names.is_empty() { "" } else { ": " };
    (score != NOT_SCORED).then(|| format!("its score is {score}{because}{}", names.join("; ")))
}
