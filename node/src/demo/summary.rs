//! The summary: what was streamed, what came of it, and whether it holds; as one JSON object, or for people.

use super::balances::BalanceReport;
use core::fmt;
use core::time::Duration;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a demo did. Field names are those of the JSON, and are kept.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The chain.
    pub chain_id: String,
    /// Transfers that took effect, of every kind: plain ones, reservations, posts and voids.
    pub transfers_committed: u64,
    /// Transfers that the ledger refused, with a reason on the log.
    pub transfers_refused: u64,
    /// Refused ones by reason.
    pub refusals: BTreeMap<&'static str, u64>,
    /// From the first transaction sent to the last answer, in seconds.
    pub seconds: f64,
    /// Transfers that took effect, in a second.
    pub committed_per_s: f64,
    /// From the moment a transaction was due (flat out: was sent) to its answer at the client, in ms, counted
    /// once for every transfer in it.
    pub commit_ms: Latency,
    /// From the start of the demo to the first answer to a transfer, in ms.
    pub first_commit_ms: f64,
    /// Operations that opened and funded accounts before the first transfer.
    pub operations_opening: u64,
    /// Accounts, the issuance account not counted.
    pub accounts: u64,
    /// Whether it was stopped before its end.
    pub stopped_early: bool,
    /// The node's directory, if it is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// What was read from files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<InputReport>,
    /// The ledger against the fold over the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balances: Option<BalanceReport>,
    /// The model that scored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelReport>,
    /// Transfers that were held for review; they are among the committed ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldReport>,
    /// Scores and holds against the file's labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<LabelReport>,
    /// Each validator at the end, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub validators: Vec<ValidatorReport>,
    /// The log, replayed; of several the first that does not hold.
    pub verify: VerifySummary,
}

/// A validator at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ValidatorReport {
    /// Its newest block.
    pub height: u64,
    /// That block's hash.
    pub block: String,
    /// Whether its log holds.
    pub ok: bool,
}

/// The model that scored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelReport {
    /// Its name.
    pub name: String,
    /// The hash of its file.
    pub hash: String,
    /// Transfers with this score or more were held.
    pub hold: u8,
}

/// What was held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeldReport {
    /// How many transfers.
    pub count: u64,
    /// How many of them moved in the end.
    pub released: u64,
    /// How many did not.
    pub voided: u64,
    /// The most frequent reasons, in words, with how often each was among the first three.
    pub reasons: Vec<(String, u64)>,
}

/// Scores and holds against labels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LabelReport {
    /// Rows with a score.
    pub rows: u64,
    /// Those that are labelled as fraud.
    pub bad: u64,
    /// Share of the held that is fraud.
    pub precision: f64,
    /// Share of fraud that was held.
    pub recall: f64,
    /// Area under the ROC curve of the scores.
    pub roc_auc: f64,
    /// Average precision of the scores.
    pub pr_auc: f64,
    /// Share of fraud above the score that 1 % of the others reach.
    pub recall_at_1pct_fpr: f64,
}

/// What was read from files.
#[derive(Clone, Debug, Serialize)]
pub struct InputReport {
    /// The transfers' file.
    pub file: PathBuf,
    /// Rows in it.
    pub rows: u64,
    /// Rows that were sent: all, unless it was stopped early.
    pub rows_sent: u64,
    /// Rows recorded before the row above them.
    pub rows_backwards: u64,
    /// Rows to which the ledger said something else than the fold.
    pub outcomes_mismatched: u64,
    /// How fast.
    #[serde(serialize_with = "as_text")]
    pub speed: super::pace::Speed,
    /// Decimal digits of the amounts' unit.
    pub scale: u16,
    /// Time of the first row, in seconds since the Unix epoch.
    pub first_s: u64,
    /// Time of the last row.
    pub last_s: u64,
    /// Ledger time at the end, in ns since the Unix epoch.
    pub ledger_time_ns: u64,
}

/// Latencies in ms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Half were at most this.
    pub p50: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1,000.
    pub p999: f64,
    /// All.
    pub max: f64,
}

/// What replaying the whole log said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerifySummary {
    /// Whether every hash, root and total holds.
    pub ok: bool,
    /// The newest height; of a log that does not hold, the first height that does not, if it is known.
    pub height: u64,
    /// Operations that took effect, those that opened accounts included.
    pub transfers: u64,
    /// What does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Summary {
    /// Whether everything that was checked holds.
    pub fn holds(&self) -> bool {
        let balances = self.balances.is_none_or(|balances| balances.mismatched == 0);
        let outcomes = self
            .input
            .as_ref()
            .is_none_or(|input| input.outcomes_mismatched == 0);
        self.verify.ok && balances && outcomes && self.validators_agree()
    }

    /// Whether all validators stand at the same block.
    pub fn validators_agree(&self) -> bool {
        let blocks = self.validators.windows(2);
        blocks.into_iter().all(|pair| pair[0].block == pair[1].block)
    }

    /// One line of JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers, texts, and maps whose keys are texts")
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let early = if self.stopped_early { ", stopped early" } else { "" };
        writeln!(
            f,
            "Streamed for {:.1} s{early}, over {} accounts",
            self.seconds,
            grouped(self.accounts)
        )?;
        if let Some(input) = &self.input {
            let backwards = match input.rows_backwards {
                0 => String::new(),
                rows => format!(" ({} recorded before the row above)", grouped(rows)),
            };
            let (sent, rows) = (grouped(input.rows_sent), grouped(input.rows));
            writeln!(
                f,
                "  rows        {sent} of {rows}{backwards}, at speed {}",
                input.speed
            )?;
        }
        let (committed, rate) = (
            grouped(self.transfers_committed),
            grouped(whole(self.committed_per_s)),
        );
        writeln!(
            f,
            "  committed   {committed} transfers, {rate}/s, every one on the disk"
        )?;
        writeln!(f, "  refused     {}", grouped(self.transfers_refused))?;
        for (reason, count) in &self.refusals {
            writeln!(f, "              {} {reason}", grouped(*count))?;
        }
        let Latency { p50, p99, p999, max } = self.commit_ms;
        writeln!(
            f,
            "  commit      p50 {p50:.1} ms, p99 {p99:.1} ms, p99.9 {p999:.1} ms, max {max:.1} ms"
        )?;
        self.fmt_scores(f)?;
        if let Some(balances) = &self.balances {
            let (checked, mismatched) = (grouped(balances.checked), grouped(balances.mismatched));
            writeln!(
                f,
                "  balances    {checked} compared with a fold of the file, {mismatched} differ"
            )?;
        }
        if let Some(wrong) = self
            .input
            .as_ref()
            .map(|input| input.outcomes_mismatched)
            .filter(|wrong| *wrong > 0)
        {
            writeln!(f, "  outcomes    {} differ from the fold", grouped(wrong))?;
        }
        let (height, transfers) = (grouped(self.verify.height), grouped(self.verify.transfers));
        match &self.verify.error {
            None => writeln!(
                f,
                "  verified    {height} blocks, {transfers} operations: every hash, root and total holds"
            )?,
            Some(error) => writeln!(f, "  VERIFICATION FAILED at height {height}: {error}")?,
        }
        if !self.validators.is_empty() {
            let heights: Vec<String> = self.validators.iter().map(|one| grouped(one.height)).collect();
            let agree = if self.validators_agree() {
                "one block and one state"
            } else {
                "DIFFERENT BLOCKS"
            };
            writeln!(f, "  validators  at {}: {agree}", heights.join(", "))?;
        }
        write!(f, "  chain       {}", self.chain_id)?;
        match &self.data {
            Some(data) => write!(f, "\n  kept in     {}", data.display()),
            None => Ok(()),
        }
    }
}

impl Summary {
    fn fmt_scores(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(model) = &self.model {
            writeln!(
                f,
                "  model       {}, holds from score {}\n              {}",
                model.name, model.hold, model.hash
            )?;
        }
        if let Some(held) = &self.held {
            let (count, released, voided) =
                (grouped(held.count), grouped(held.released), grouped(held.voided));
            writeln!(f, "  held        {count}: {released} released, {voided} voided")?;
            for (reason, count) in &held.reasons {
                writeln!(f, "              {} × {reason}", grouped(*count))?;
            }
        }
        match &self.labels {
            None => Ok(()),
            Some(labels) => writeln!(
                f,
                "  labels      of the held {:.1} % are fraud, of the fraud {:.1} % was held\n              \
                 ROC-AUC {:.4}, PR-AUC {:.4}\n              recall {:.1} % at 1 % false positives",
                100.0 * labels.precision,
                100.0 * labels.recall,
                labels.roc_auc,
                labels.pr_auc,
                100.0 * labels.recall_at_1pct_fpr,
            ),
        }
    }
}

fn as_text<S: Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// A number with a comma between thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .filter_map(|group| core::str::from_utf8(group).ok())
        .collect();
    groups.join(",")
}

/// `count` in a second; 0 in no time.
#[allow(
    clippy::as_conversions,
    reason = "exact up to 2^53, rounded above; f64 has no `From<u64>`"
)]
pub(super) fn per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() {
        0.0
    } else {
        count as f64 / time.as_secs_f64()
    }
}

/// `part` of `whole`; 0 of nothing.
#[allow(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "counts of rows, far below 2^53"
)]
pub(super) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// Nanoseconds in ms.
pub(super) fn milliseconds(ns: u64) -> f64 {
    Duration::from_nanos(ns).as_secs_f64() * 1e3
}

#[allow(clippy::as_conversions, reason = "saturates, and the fraction is not shown")]
pub(super) fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        let check = |number, text: &str| assert_eq!(grouped(number), text);
        check(0, "0");
        check(999, "999");
        check(1_000, "1,000");
        check(1_234_567, "1,234,567");
    }

    #[test]
    fn no_time_gives_no_rate() {
        assert!(per_second(5, Duration::ZERO).abs() < f64::EPSILON);
        assert!((per_second(5, Duration::from_millis(500)) - 10.0).abs() < f64::EPSILON);
    }
}
