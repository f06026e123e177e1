//! The screen: how far a demo is, in a few lines that change, or in lines that stay, once a second, where nobody can
//! watch them change.

use super::events::{Event, Events, Live, LiveScores, LiveValidator};
use super::summary::{grouped, share, whole};
use core::time::Duration;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal, Write};
use std::time::Instant;

/// Shows events on standard error.
pub struct Screen {
    /// Lines that change; without a terminal, lines that stay.
    lines: Option<Lines>,
    last: Option<Instant>,
    /// What the last line was about.
    about: &'static str,
}

/// Where nobody watches, a line as often as this.
const LINE_EVERY: Duration = Duration::from_secs(1);
/// Refusals by reason that fit a line.
const REASONS_MAX: usize = 3;

impl Screen {
    /// A screen for standard error as it is.
    pub fn new() -> Self {
        Self {
            lines: io::stderr().is_terminal().then(Lines::default),
            last: None,
            about: "",
        }
    }

    /// Leaves no line behind that changes.
    pub fn clear(&self) {
        if let Some(lines) = &self.lines {
            lines.clear();
        }
    }

    /// Whether a line is due that stays: of something new at once, else now and then.
    fn is_due(&mut self, event: &Event<'_>) -> bool {
        let is_new = core::mem::replace(&mut self.about, about(event)) != about(event);
        let is_due = is_new || self.last.is_none_or(|last| last.elapsed() >= LINE_EVERY);
        if is_due {
            self.last = Some(Instant::now());
        }
        is_due
    }
}

/// Lines of a terminal that change in place: all at once, so that none is older than another.
struct Lines(ProgressBar);

impl Default for Lines {
    fn default() -> Self {
        let bar = ProgressBar::new_spinner();
        Self(match ProgressStyle::with_template("{msg}") {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        })
    }
}

impl Lines {
    /// Shows these lines instead of those before. What does not fit is cut off: a line that the terminal breaks could
    /// not be taken back.
    fn show(&self, lines: &[String], columns: usize) {
        let cut = |line: &String| line.chars().take(columns).collect::<String>();
        let all: Vec<String> = lines.iter().map(cut).collect();
        self.0.set_message(all.join("\n"));
    }

    fn clear(&self) {
        self.0.finish_and_clear();
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

impl Events for Screen {
    fn event(&mut self, event: &Event<'_>) {
        if let Some(lines) = &self.lines {
            let columns = columns();
            lines.show(&lines_of(event, columns), columns);
        } else if self.is_due(event)
            && let Err(error) = writeln!(io::stderr(), "{}", lines_of(event, usize::MAX).join("\n"))
        {
            // Nobody reads it any more: the summary still goes to standard output.
            tracing::debug!(error = %error, "progress not shown");
        }
    }
}

/// How wide the terminal is now; it may be made wider or narrower at any time.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok();
    let columns = size.map(|size| usize::from(size.ws_col));
    columns.filter(|columns| *columns > 0).unwrap_or(COLUMNS)
}

/// How wide a terminal is that does not say.
const COLUMNS: usize = 80;

/// What an event is about.
fn about(event: &Event<'_>) -> &'static str {
    match event {
        Event::Reading { .. } => "reading",
        Event::Opening { .. } => "opening accounts: operation",
        Event::Streaming(_) => "streaming",
        Event::Comparing { .. } => "comparing balances:",
        Event::Stopping => "stopping the node",
        Event::Verifying { .. } => "verifying: block",
    }
}

/// What is shown of an event on a screen of so many columns: a few lines, more where transfers are scored, and a table
/// of several validators.
fn lines_of(event: &Event<'_>, columns: usize) -> Vec<String> {
    let Event::Streaming(live) = event else {
        return vec![line(event)];
    };
    let mut lines = wrap(&live_pieces(live), GAP, columns);
    if let Some(scores) = &live.scores {
        lines.extend(wrap(&scores_pieces(scores), GAP, columns));
        lines.extend(wrap(&reasons_pieces(scores), " | ", columns));
    }
    if !live.validators.is_empty() {
        lines.push(VALIDATORS_HEAD.to_owned());
        lines.extend((0..).zip(&live.validators).map(validator_line));
    }
    lines
}

/// Between two things that a line says.
const GAP: &str = "  ";
/// How far a line goes in that continues the one above.
const INDENT: &str = "         ";

/// Puts pieces on as many lines as they need, whole. The first piece begins a line; only one that is longer than a
/// line alone is cut off by the terminal.
fn wrap(pieces: &[String], gap: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut len = 0;
    for piece in pieces {
        let piece_len = piece.chars().count();
        match lines.last_mut() {
            Some(line) if len + gap.len() + piece_len <= columns => {
                *line += gap;
                *line += piece;
                len += gap.len() + piece_len;
            }
            Some(_) => {
                lines.push(format!("{INDENT}{piece}"));
                len = INDENT.len() + piece_len;
            }
            None => {
                lines.push(piece.clone());
                len = piece_len;
            }
        }
    }
    lines
}

fn line(event: &Event<'_>) -> String {
    let about = about(event);
    match event {
        Event::Reading { file } => format!("{about} {}", file.display()),
        Event::Streaming(_) | Event::Stopping => about.to_owned(),
        Event::Opening { done, of } | Event::Comparing { done, of } | Event::Verifying { done, of } => {
            format!("{about} {} of {}", grouped(*done), grouped(*of))
        }
    }
}

/// Numbers keep their places while they grow, so that lines do not jump.
fn live_pieces(live: &Live) -> Vec<String> {
    let committed = match live.rows {
        Some(rows) => {
            let rows = grouped(rows);
            format!(
                "{:>width$} of {rows} rows committed",
                grouped(live.committed),
                width = rows.len()
            )
        }
        None => format!("{:>9} committed", grouped(live.committed)),
    };
    let mut pieces = vec![
        format!("{:5.1} s", live.elapsed.as_secs_f64()),
        committed,
        format!("{:>7}/s", grouped(whole(live.committed_per_s))),
        format!(
            "commit p50 {:5.1} ms p99 {:6.1} ms",
            live.commit_ms_p50, live.commit_ms_p99
        ),
        format!("pool {:>5}", grouped(live.pool_len)),
    ];
    if live.held > 0 {
        pieces.push(format!("held {}", grouped(live.held)));
    }
    let mut reasons: Vec<_> = live.refusals.iter().collect();
    reasons.sort_by_key(|(_, count)| core::cmp::Reverse(**count));
    let reasons: Vec<String> = reasons
        .iter()
        .take(REASONS_MAX)
        .map(|(reason, count)| format!("{reason} {}", grouped(**count)))
        .collect();
    let refused = format!("refused {}", grouped(live.refused));
    pieces.push(if reasons.is_empty() {
        refused
    } else {
        format!("{refused} ({})", reasons.join(", "))
    });
    pieces
}

/// Above the lines of validators: each one's newest block, who proposed it, and in which round it was decided.
const VALIDATORS_HEAD: &str = "validator      block  proposer  round    tx/s  operations/s  peers  waiting";

fn validator_line((position, validator): (usize, &LiveValidator)) -> String {
    if let Some(fault) = &validator.fault {
        return format!("{position:>9}  stopped: {fault}");
    }
    let proposer = validator
        .proposer
        .map_or_else(|| "-".into(), |proposer| proposer.to_string());
    let (up, all) = validator.peers;
    let line = format!(
        "{position:>9}  {:>9}  {proposer:>8}  {:>5}  {:>6}  {:>12}  {:>5}  {:>7}",
        grouped(validator.height),
        validator.round,
        grouped(whole(validator.transactions_per_s)),
        grouped(whole(validator.operations_per_s)),
        format!("{up}/{all}"),
        grouped(validator.pool_len),
    );
    match validator.round_now {
        0 => line,
        round => format!("{line}  now in round {round}"),
    }
}

fn scores_pieces(scores: &LiveScores) -> Vec<String> {
    let mean = match scores.sum.checked_div(scores.scored) {
        Some(mean) => format!("mean {mean:>3}"),
        None => "no scores yet".to_owned(),
    };
    let share = 100.0 * share(scores.scored, scores.transfers);
    vec![
        format!("scores   {share:5.1} % scored, {mean}"),
        format!("0 {} 254", bars(&scores.spread)),
        format!(
            "holds {} open, {} released, {} voided",
            grouped(scores.open),
            grouped(scores.released),
            grouped(scores.voided),
        ),
    ]
}

fn reasons_pieces(scores: &LiveScores) -> Vec<String> {
    if scores.reasons.is_empty() {
        return vec!["reasons  nothing was held so far".to_owned()];
    }
    let reasons = scores.reasons.iter();
    let reasons = reasons.map(|(reason, count)| format!("{} × {reason}", grouped(*count)));
    let mut pieces: Vec<String> = reasons.collect();
    if let Some(first) = pieces.first_mut() {
        first.insert_str(0, "reasons  ");
    }
    pieces
}

/// One character a count, as high as its logarithm: what is rare is seen beside what is not.
fn bars(counts: &[u64]) -> String {
    const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let height = |count: u64| count.checked_ilog2().map_or(0, |log| u64::from(log) + 1);
    let most = counts.iter().copied().map(height).max().unwrap_or(0).max(1);
    let bar = |count: &u64| match height(*count) {
        0 => ' ',
        height => {
            let at = (height * 8).div_ceil(most) - 1;
            let at = usize::try_from(at).unwrap_or(HEIGHTS.len());
            HEIGHTS.get(at).copied().unwrap_or('█')
        }
    };
    counts.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn live() -> Live {
        Live {
            elapsed: Duration::from_millis(4_250),
            committed: 81_234,
            refused: 17,
            refusals: BTreeMap::from([("accounts_same", 2), ("insufficient_funds", 15)]),
            committed_per_s: 19_876.5,
            commit_ms_p50: 6.25,
            commit_ms_p99: 12.0,
            pool_len: 3,
            ..Live::default()
        }
    }

    #[test]
    fn the_live_lines_say_rate_latency_pool_and_reasons_on_any_width() {
        let live = live();
        let of = |columns| lines_of(&Event::Streaming(&live), columns);
        assert_eq!(
            of(200),
            [
                "  4.2 s     81,234 committed   19,876/s  commit p50   6.2 ms p99   12.0 ms  pool     3  \
              refused 17 (insufficient_funds 15, accounts_same 2)"
            ]
        );
        assert_eq!(
            of(80),
            [
                "  4.2 s     81,234 committed   19,876/s  commit p50   6.2 ms p99   12.0 ms",
                "         pool     3  refused 17 (insufficient_funds 15, accounts_same 2)",
            ]
        );
        for columns in [60, 80, 100, 120] {
            assert!(
                of(columns).iter().all(|line| line.chars().count() <= columns),
                "{columns}"
            );
        }
    }

    #[test]
    fn validators_are_a_table_whose_columns_stay_in_place() {
        let one = LiveValidator {
            height: 1_234,
            proposer: Some(2),
            round: 1,
            round_now: 0,
            transactions_per_s: 41.0,
            operations_per_s: 81_812.0,
            peers: (2, 3),
            pool_len: 5,
            fault: None,
        };
        let live = Live {
            validators: vec![
                one.clone(),
                LiveValidator {
                    height: 1_234_567,
                    round_now: 3,
                    ..one.clone()
                },
                LiveValidator {
                    fault: Some("the disk is full".into()),
                    ..one
                },
            ],
            ..live()
        };
        let lines = lines_of(&Event::Streaming(&live), 80);
        assert_eq!(
            lines[2..],
            [
                "validator      block  proposer  round    tx/s  operations/s  peers  waiting",
                "        0      1,234         2      1      41        81,812    2/3        5",
                "        1  1,234,567         2      1      41        81,812    2/3        5  now in round 3",
                "        2  stopped: the disk is full",
            ]
        );
    }

    #[test]
    fn the_lines_on_scores_say_share_spread_holds_and_reasons() {
        let mut scores = LiveScores {
            transfers: 2_000,
            scored: 1_990,
            sum: 1_990 * 41,
            open: 12,
            released: 3,
            voided: 1_300,
            ..LiveScores::default()
        };
        (scores.spread[0], scores.spread[1], scores.spread[15]) = (1, 1_024, 65_536);
        let of = |scores: &LiveScores, columns| {
            let live = Live {
                scores: Some(scores.clone()),
                ..Live::default()
            };
            let lines = lines_of(&Event::Streaming(&live), columns);
            let first = lines.iter().position(|line| line.starts_with("scores"));
            lines.into_iter().skip(first.unwrap_or(0)).collect::<Vec<_>>()
        };
        assert_eq!(
            of(&scores, 120),
            [
                "scores    99.5 % scored, mean  41  0 ▁▆             █ 254  holds 12 open, 3 released, 1,300 voided",
                "reasons  nothing was held so far",
            ]
        );
        scores.reasons = vec![
            ("the receiver was reported for fraud", 1_200),
            ("the amount is unusual", 7),
        ];
        assert_eq!(
            of(&scores, 80),
            [
                "scores    99.5 % scored, mean  41  0 ▁▆             █ 254",
                "         holds 12 open, 3 released, 1,300 voided",
                "reasons  1,200 × the receiver was reported for fraud | 7 × the amount is unusual",
            ]
        );
        assert_eq!(of(&scores, 60).len(), 4, "a reason is not cut in two");
        assert!(of(&LiveScores::default(), 120)[0].contains("0.0 % scored, no scores yet"));
        assert_eq!(lines_of(&Event::Stopping, 120).len(), 1);
    }
}
