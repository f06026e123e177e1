//! The screen: how far a demo is, in one line that changes, or in a line a second where nobody can watch one.

use super::events::{Event, Events, Live};
use super::summary::{grouped, whole};
use core::time::Duration;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal, Write};
use std::time::Instant;

/// Shows events on standard error.
pub struct Screen {
    /// One line that changes; without a terminal, lines that stay.
    bar: Option<ProgressBar>,
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
        let bar = io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{wide_msg}");
            let bar = ProgressBar::new_spinner();
            match style {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        Self {
            bar,
            last: None,
            about: "",
        }
    }

    /// Leaves no line behind that changes.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
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

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

impl Events for Screen {
    fn event(&mut self, event: &Event<'_>) {
        if let Some(bar) = &self.bar {
            bar.set_message(line(event));
        } else if self.is_due(event)
            && let Err(error) = writeln!(io::stderr(), "{}", line(event))
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
        };
        assert_eq!(
            line(&Event::Streaming(&live)),
            "  4.2 s  81,234 committed, 19,876/s  commit p50 6.2 ms p99 12.0 ms  pool 3  refused 17 \
             (insufficient_funds 15, accounts_same 2)"
        );
    }
}
