//! Rows: files of transfers as rows of features with their labels, as the node would have seen them.

use crate::input::{InputError, Label, Row as Line, Rows, account_id};
use core::ops::Range;
use selfchain_ai::dataset::Dataset;
use selfchain_ai::features::{self, Contexts, Row};
use selfchain_types::seam::scorer::Timed;
use selfchain_types::time::NS_PER_S;
use selfchain_types::{AccountId, Amount, AssetId, Hash, Operation, TimeNs};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Reads files one after the other, as one log.
#[derive(Debug, Default)]
pub struct Reader {
    contexts: Contexts,
    reports: Option<Reports>,
}

/// One transfer of a file.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// As the file has it.
    pub line: &'a Line,
    /// As the ledger would have it.
    pub operation: &'a Operation,
    /// What models see.
    pub row: &'a Row,
}

impl Sample<'_> {
    /// The account that makes it fraud, where one is to blame; else 0.
    pub fn culprit(&self) -> u128 {
        match self.line.label {
            Label { to_bad: true, .. } => self.operation.credit.get(),
            Label { from_bad: true, .. } => self.operation.debit.get(),
            _ => 0,
        }
    }
}

/// Rows of a file with their labels.
#[derive(Debug, Default)]
pub struct Labelled {
    /// The rows.
    pub set: Dataset,
    /// Whether the file has labels; without, every row is taken for good.
    pub has_labels: bool,
}

impl Reader {
    /// A bad account's first bad transfer is reported so many seconds later by the other side; where only
    /// transfers are labelled, every bad one is, by both.
    pub fn with_reports(after_s: u64) -> Self {
        Self {
            contexts: Contexts::default(),
            reports: Some(Reports {
                after_s,
                ..Reports::default()
            }),
        }
    }

    /// Hands every transfer of a file to `each`, and remembers them for those that follow. Whether the file has
    /// labels.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn read(&mut self, path: &Path, each: &mut dyn FnMut(Sample<'_>)) -> Result<bool, InputError> {
        let mut rows = Rows::open(path)?;
        let mut made = features::Rows::default();
        while let Some(line) = rows.next_row()? {
            let operation = operation(&line);
            if let Some(reports) = &mut self.reports {
                reports.arrive(line.time_s, &mut self.contexts);
                reports.expect(&operation, &line);
            }
            let timed = Timed {
                operation: &operation,
                time: TimeNs(line.time_s.saturating_mul(NS_PER_S)),
            };
            made.clear();
            self.contexts.begin();
            self.contexts.rows(&[timed], &mut made);
            self.contexts.keep();
            if let Some(row) = made.rows().first() {
                each(Sample {
                    line: &line,
                    operation: &operation,
                    row,
                });
            }
        }
        Ok(rows.has_labels())
    }

    /// The rows of a file within these unix seconds.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn labelled(&mut self, path: &Path, within_s: &Range<u64>) -> Result<Labelled, InputError> {
        let mut set = Dataset::default();
        let has_labels = self.read(path, &mut |sample| {
            if within_s.contains(&sample.line.time_s) {
                let label = sample.line.label.is_bad();
                let (time_s, culprit) = (sample.line.time_s, sample.culprit());
                set.push(*sample.row, *sample.operation, label, time_s, culprit);
            }
        })?;
        Ok(Labelled { set, has_labels })
    }
}

/// The transfer as the demo sends it.
fn operation(line: &Line) -> Operation {
    let (from, to) = (account_id(line.from), account_id(line.to));
    Operation::transfer(u128::from(line.line), from, to, Amount(line.amount), AssetId(1))
}

/// Reports that are still to arrive, by second.
#[derive(Debug, Default)]
struct Reports {
    after_s: u64,
    due: BTreeMap<u64, Vec<Operation>>,
    reported: BTreeSet<u128>,
}

impl Reports {
    fn arrive(&mut self, now_s: u64, contexts: &mut Contexts) {
        while let Some(first) = self.due.first_entry() {
            let due_s = *first.key();
            if due_s > now_s {
                return;
            }
            let time = TimeNs(due_s.saturating_mul(NS_PER_S));
            let reports = first.remove();
            reports.iter().for_each(|report| contexts.observe(report, time));
        }
    }

    fn expect(&mut self, operation: &Operation, line: &Line) {
        let due_s = line.time_s.saturating_add(self.after_s);
        let (from, to) = (operation.debit_account(), operation.credit_account());
        let Label {
            to_bad,
            from_bad,
            fraud,
        } = line.label;
        if to_bad && self.reported.insert(to.0) {
            self.due.entry(due_s).or_default().push(confirmed(from, to));
        }
        if from_bad && self.reported.insert(from.0) {
            self.due.entry(due_s).or_default().push(confirmed(to, from));
        }
        if fraud {
            let both = [confirmed(from, to), confirmed(to, from)];
            self.due.entry(due_s).or_default().extend(both);
        }
    }
}

fn confirmed(by: AccountId, accused: AccountId) -> Operation {
    Operation::report(1, Hash::ZERO, 0, by, FRAUD).accusing(accused)
}

/// What a report's code says of fraud that is confirmed (docs/formats/operation.md).
const FRAUD: u16 = 1;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use selfchain_ai::features::FEATURES;

    fn read(mut reader: Reader, text: &str) -> Labelled {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        reader.labelled(file.path(), &(0..u64::MAX)).unwrap()
    }

    fn feature(set: &Dataset, row: usize, name: &str) -> i32 {
        let at = FEATURES.iter().position(|feature| feature.name == name);
        set.rows[row].0[at.unwrap()]
    }

    const BAD: &str = "time,from,to,amount,to_bad\n100,1,2,5,1\n150,3,2,5,1\n400,4,2,5,1\n";

    #[test]
    fn labels_and_culprits_come_with_the_rows() {
        let read = read(Reader::default(), BAD);
        assert!(read.has_labels);
        assert_eq!(read.set.labels, [true; 3]);
        assert_eq!(read.set.culprits, [3; 3]);
        assert_eq!(feature(&read.set, 1, "to_count_in"), 1);
    }

    #[test]
    fn a_report_is_seen_once_it_is_due_and_not_before() {
        let read = read(Reader::with_reports(200), BAD);
        let reports: Vec<i32> = (0..3).map(|row| feature(&read.set, row, "to_reports")).collect();
        assert_eq!(reports[..2], [0, 0]);
        assert!(reports[2] > 0);
    }

    #[test]
    fn a_file_without_labels_says_so() {
        assert!(!read(Reader::default(), "time,from,to,amount\n1,2,3,4\n").has_labels);
    }
}
