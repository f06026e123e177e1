//! The screen: how far a demo is, in a few lines that change, or in lines that stay, once a second, where nobody can
//! watch them change.

use super::events::{Event, Events, Live, LiveScores, LiveValidator};
use super::summary::{grouped, share, whole};
use core::time::Duration;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
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

/// Lines of a terminal that change in place.
#[derive(Default)]
struct Lines {
    all: MultiProgress,
    bars: Vec<ProgressBar>,
}

impl Lines {
    /// Shows these lines instead of those before.
    fn show(&mut self, lines: Vec<String>) {
        while self.bars.len() < lines.len() {
            let bar = self.all.add(ProgressBar::new_spinner());
            self.bars.push(match ProgressStyle::with_template("{wide_msg}") {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            });
        }
        for gone in self.bars.drain(lines.len()..) {
            gone.finish_and_clear();
            self.all.remove(&gone);
        }
        for (bar, line) in self.bars.iter().zip(lines) {
            bar.set_message(line);
        }
    }

    fn clear(&self) {
        self.bars.iter().for_each(ProgressBar::finish_and_clear);
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

impl Events for Screen {
    fn event(&mut self, event: &Event<'_>) {
        if let Some(lines) = &mut self.lines {
            lines.show(lines_of(event));
        } else if self.is_due(event)
            && let Err(error) = writeln!(io::stderr(), "{}", lines_of(event).join("\n"))
        {
            // Nobody reads it any more: the summary still goes to standard output.
            tracing::debug!(error = %error, "progress not shown");
        }
    }
}

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

/// What is shown of an event: one line, two more where transfers are scored, and one for each of several validators.
fn lines_of(event: &Event<'_>) -> Vec<String> {
    let mut lines = vec![line(event)];
    if let Event::Streaming(Live {
        scores: Some(scores), ..
    }) = event
    {
        lines.extend([scores_line(scores), reasons_line(scores)]);
    }
    if let Event::Streaming(live) = event {
        lines.extend((0..).zip(&live.validators).map(validator_line));
    }
    lines
}

fn line(event: &Event<'_>) -> String {
    let about = about(event);
    match event {
        Event::Reading { file } => format!("{about} {}", file.display()),
        Event::Streaming(live) => live_line(live),
        Event::Stopping => about.to_owned(),
        Event::Opening { done, of } | Event::Comparing { done, of } | Event::Verifying { done, of } => {
            format!("{about} {} of {}", grouped(*done), grouped(*of))
        }
    }
}

fn live_line(live: &Live) -> String {
    let mut line = format!(
        "{:5.1} s  {}",
        live.elapsed.as_secs_f64(),
        grouped(live.committed)
    );
    if let Some(rows) = live.rows {
        line += &format!(" of {} rows", grouped(rows));
    }
    line += &format!(
        " committed, {}/s  commit p50 {:.1} ms p99 {:.1} ms  pool {}  refused {}",
        grouped(whole(live.committed_per_s)),
        live.commit_ms_p50,
        live.commit_ms_p99,
        grouped(live.pool_len),
        grouped(live.refused),
    );
    if live.held > 0 {
        line += &format!("  held {}", grouped(live.held));
    }
    let mut reasons: Vec<_> = live.refusals.iter().collect();
    reasons.sort_by_key(|(_, count)| core::cmp::Reverse(**count));
    let reasons: Vec<String> = reasons
        .iter()
        .take(REASONS_MAX)
        .map(|(reason, count)| format!("{reason} {}", grouped(**count)))
        .collect();
    if reasons.is_empty() {
        line
    } else {
        format!("{line} ({})", reasons.join(", "))
    }
}

fn validator_line((position, validator): (usize, &LiveValidator)) -> String {
    let state = match &validator.fault {
        None => format!("pool {}", grouped(validator.pool_len)),
        Some(fault) => format!("stopped: {fault}"),
    };
    format!(
        "validator {position}  block {}  {state}",
        grouped(validator.height)
    )
}

fn scores_line(scores: &LiveScores) -> String {
    let mean = match scores.sum.checked_div(scores.scored) {
        Some(mean) => format!("mean {mean}"),
        None => "no scores yet".to_owned(),
    };
    format!(
        "scores   {:.1} % scored, {mean}  0 {} 254  holds {} open, {} released, {} voided",
        100.0 * share(scores.scored, scores.transfers),
        bars(&scores.spread),
        grouped(scores.open),
        grouped(scores.released),
        grouped(scores.voided),
    )
}

fn reasons_line(scores: &LiveScores) -> String {
    if scores.reasons.is_empty() {
        return "reasons  nothing was held so far".to_owned();
    }
    let reasons: Vec<String> = scores
        .reasons
        .iter()
        .map(|(reason, count)| format!("{} × {reason}", grouped(*count)))
        .collect();
    format!("reasons  {}", reasons.join(" | "))
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

    #[test]
    fn the_live_line_says_rate_latency_pool_and_reasons() {
        let live = Live {
            elapsed: Duration::from_millis(4_250),
            committed: 81_234,
            refused: 17,
            held: 0,
            refusals: BTreeMap::from([("accounts_same", 2), ("insufficient_funds", 15)]),
            rows: None,
            committed_per_s: 19_876.5,
            commit_ms_p50: 6.25,
            commit_ms_p99: 12.0,
            pool_len: 3,
            scores: None,
            validators: vec![LiveValidator {
                height: 1_234,
                pool_len: 5,
                fault: None,
            }],
        };
        let lines = lines_of(&Event::Streaming(&live));
        assert_eq!(lines[1..], ["validator 0  block 1,234  pool 5"]);
        assert_eq!(
            line(&Event::Streaming(&live)),
            "  4.2 s  81,234 committed, 19,876/s  commit p50 6.2 ms p99 12.0 ms  pool 3  refused 17 \
             (insufficient_funds 15, accounts_same 2)"
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
        let of = |scores: &LiveScores| {
            let live = Live {
                scores: Some(scores.clone()),
                ..Live::default()
            };
            lines_of(&Event::Streaming(&live))[1..].to_vec()
        };
        assert_eq!(
            of(&scores),
            [
                "scores   99.5 % scored, mean 41  0 ▁▆             █ 254  holds 12 open, 3 released, 1,300 voided",
                "reasons  nothing was held so far",
            ]
        );
        scores.reasons = vec![
            ("the receiver was reported for fraud", 1_200),
            ("the amount is unusual", 7),
        ];
        assert_eq!(
            of(&scores)[1],
            "reasons  1,200 × the receiver was reported for fraud | 7 × the amount is unusual"
        );
        assert!(of(&LiveScores::default())[0].contains("0.0 % scored, no scores yet"));
        assert_eq!(lines_of(&Event::Stopping).len(), 1);
    }
}
