//! Two runs side by side with ratios, and a warning wherever they measured unlike things.

use std::fmt::{self, Display, Formatter};

use crate::rate::{float, ratio};
use crate::report::Report;

/// The comparison of a run with an earlier one, printed by `Display`.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Each measured quantity, in the order of the report.
    pub lines: Vec<Line>,
    /// What differs between the runs besides the code: each makes the ratios mean less.
    pub unlike: Vec<String>,
}

/// One quantity in both runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its name in the JSON.
    pub name: &'static str,
    /// In the first run.
    pub first: f64,
    /// In the second run.
    pub second: f64,
    /// `second / first`; 0 when the first is 0.
    pub ratio: f64,
    /// Which direction is an improvement.
    pub better: Better,
}

/// Which direction of a quantity is an improvement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Rates.
    Higher,
    /// Times, bytes, losses.
    Lower,
}

/// Puts two runs side by side.
#[must_use]
pub fn compare(first: &Report, second: &Report) -> Comparison {
    let line = |name, better, of: &dyn Fn(&Report) -> f64| {
        let (a, b) = (of(first), of(second));
        Line {
            name,
            first: a,
            second: b,
            ratio: ratio(b, a),
            better,
        }
    };
    let lines = vec![
        line("offered_per_s", Better::Higher, &|run| run.offered_per_s),
        line("accepted_per_s", Better::Higher, &|run| run.accepted_per_s),
        line("committed_per_s", Better::Higher, &|run| run.committed_per_s),
        line("ratio_to_verify_ceiling", Better::Higher, &|run| {
            run.ratio_to_verify_ceiling
        }),
        line("latency_ms.p50", Better::Lower, &|run| run.latency_ms.p50),
        line("latency_ms.p99", Better::Lower, &|run| run.latency_ms.p99),
        line("latency_ms.p999", Better::Lower, &|run| run.latency_ms.p999),
        line("latency_ms.max", Better::Lower, &|run| run.latency_ms.max),
        line("cpu_seconds_per_1k", Better::Lower, &|run| run.cpu_seconds_per_1k),
        line("rss_bytes", Better::Lower, &|run| float(run.rss_bytes)),
        line("log_bytes_per_op_byte", Better::Lower, &|run| {
            run.log_bytes_per_op_byte
        }),
        line("ceiling.verify_per_s", Better::Higher, &|run| {
            run.ceiling.verify_per_s
        }),
        line("ceiling.append_per_s", Better::Higher, &|run| {
            run.ceiling.append_per_s
        }),
        line("ceiling.sync_ms_p99", Better::Lower, &|run| {
            run.ceiling.sync_ms_p99
        }),
        line("ceiling.quic_per_s", Better::Higher, &|run| {
            run.ceiling.quic_per_s
        }),
    ];
    Comparison {
        lines,
        unlike: unlike(first, second),
    }
}

/// One property of a run that should be the same in both.
type Text = fn(&Report) -> String;

fn unlike(first: &Report, second: &Report) -> Vec<String> {
    let texts: [(&str, Text); 16] = [
        ("tier", |run| run.tier.clone()),
        ("scheme", |run| run.scheme.clone()),
        ("registered", |run| run.registered.to_string()),
        ("ops_per_tx", |run| run.ops_per_tx.to_string()),
        ("accounts", |run| run.accounts.to_string()),
        ("profile", |run| run.profile.clone()),
        ("arrivals", |run| run.arrivals.clone()),
        ("durability", |run| run.durability.clone()),
        ("seed", |run| run.seed.to_string()),
        ("validators", |run| run.validators.to_string()),
        ("plane", |run| run.plane.clone()),
        ("fault", |run| run.fault.clone()),
        ("cpu_model", |run| run.machine.cpu_model.clone()),
        ("cores", |run| run.machine.cores.to_string()),
        ("filesystem", |run| run.machine.filesystem.clone()),
        ("flags", |run| run.flags.clone()),
    ];
    texts
        .iter()
        .filter(|(_, of)| of(first) != of(second))
        .map(|(name, of)| format!("{name}: {} against {}", of(first), of(second)))
        .collect()
}

impl Display for Comparison {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "{:<26} {:>14} {:>14} {:>8}", "", "A", "B", "B / A")?;
        for Line {
            name,
            first,
            second,
            ratio,
            better,
        } in &self.lines
        {
            let verdict = match better {
                Better::Higher if *ratio > NOTABLE => "better",
                Better::Higher if *ratio != 0.0 && *ratio < 1.0 / NOTABLE => "worse",
                Better::Lower if *ratio > NOTABLE => "worse",
                Better::Lower if *ratio != 0.0 && *ratio < 1.0 / NOTABLE => "better",
                _ => "",
            };
            writeln!(
                out,
                "{name:<26} {first:>14.3} {second:>14.3} {ratio:>8.3}  {verdict}"
            )?;
        }
        for difference in &self.unlike {
            writeln!(out, "not alike: {difference}")?;
        }
        Ok(())
    }
}

/// Ratios closer to 1 than this are left without a word: single runs on one machine differ by as much.
const NOTABLE: f64 = 1.1;

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]
mod tests {
    use super::*;
    use crate::report::Latency;

    fn run(committed_per_s: f64, p99: f64) -> Report {
        Report {
            committed_per_s,
            latency_ms: Latency {
                p99,
                ..Latency::default()
            },
            ..Report::default()
        }
    }

    fn line<'a>(comparison: &'a Comparison, name: &str) -> &'a Line {
        comparison.lines.iter().find(|line| line.name == name).unwrap()
    }

    #[test]
    fn a_faster_run_with_a_worse_tail_is_told_as_both() {
        let comparison = compare(&run(1_000.0, 2.0), &run(1_500.0, 6.0));
        assert_eq!(line(&comparison, "committed_per_s").ratio, 1.5);
        assert_eq!(line(&comparison, "latency_ms.p99").ratio, 3.0);
        let table = comparison.to_string();
        assert!(
            table
                .lines()
                .any(|row| row.starts_with("committed_per_s") && row.ends_with("better"))
        );
        assert!(
            table
                .lines()
                .any(|row| row.starts_with("latency_ms.p99 ") && row.ends_with("worse"))
        );
    }

    #[test]
    fn a_missing_figure_is_neither_better_nor_worse() {
        let table = compare(&run(0.0, 0.0), &run(5.0, 0.0)).to_string();
        assert!(!table.contains("better") && !table.contains("worse"));
    }

    #[test]
    fn runs_over_different_numbers_of_accounts_are_not_alike() {
        let other = Report {
            accounts: 10,
            ..Report::default()
        };
        assert_eq!(
            compare(&Report::default(), &other).unlike,
            ["accounts: 0 against 10"]
        );
        assert!(compare(&other, &other).unlike.is_empty());
    }
}
