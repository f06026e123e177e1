//! Writes the feature rows of files of transfers as CSV: `rows --output ROWS.csv [--reports-after DAYS] FILE...`
//!
//! Files are CSV, plain or gzip, with the columns `time` (seconds), `from`, `to`, `amount` or `amount_<unit>`,
//! and perhaps labels: `to_bad`, `from_bad`, `fraud`. They are folded one after the other, as one log. With
//! reports, a bad account's first bad transfer is confirmed as fraud so many days later; where only transfers
//! are labelled (`fraud`), every one of them is.

use csv::{ReaderBuilder, StringRecord, Writer};
use flate2::read::MultiGzDecoder;
use selfchain_ai::features::{Contexts, FEATURES};
use selfchain_types::{AccountId, Amount, AssetId, Hash, Operation, TimeNs};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs::File;
use std::io::Read;

const NS_PER_S: u64 = 1_000_000_000;
const S_PER_DAY: u64 = 86_400;
const LABELS: [&str; 3] = ["to_bad", "from_bad", "fraud"];

struct Arguments {
    output: String,
    reports_after_s: Option<u64>,
    inputs: Vec<String>,
}

/// Reports that are still to arrive, by second.
#[derive(Default)]
struct Reports {
    due: BTreeMap<u64, Vec<Operation>>,
    reported: BTreeSet<u128>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = arguments()?;
    let mut output = Writer::from_path(&arguments.output)?;
    let mut contexts = Contexts::default();
    let mut reports = Reports::default();
    for (at, path) in arguments.inputs.iter().enumerate() {
        write_rows(&arguments, at, path, &mut contexts, &mut reports, &mut output)?;
    }
    output.flush()?;
    Ok(())
}

fn arguments() -> Result<Arguments, Box<dyn Error>> {
    let mut given = std::env::args().skip(1);
    let mut arguments = Arguments {
        output: String::new(),
        reports_after_s: None,
        inputs: Vec::new(),
    };
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--output" => arguments.output = given.next().ok_or("--output needs a file")?,
            "--reports-after" => {
                let days: u64 = given.next().ok_or("--reports-after needs days")?.parse()?;
                arguments.reports_after_s = Some(days.saturating_mul(S_PER_DAY));
            }
            _ => arguments.inputs.push(argument),
        }
    }
    if arguments.output.is_empty() || arguments.inputs.is_empty() {
        return Err("usage: rows --output ROWS.csv [--reports-after DAYS] FILE...".into());
    }
    Ok(arguments)
}

fn write_rows(
    arguments: &Arguments,
    at: usize,
    path: &str,
    contexts: &mut Contexts,
    reports: &mut Reports,
    output: &mut Writer<File>,
) -> Result<(), Box<dyn Error>> {
    let file = File::open(path).map_err(|error| format!("cannot open {path}: {error}"))?;
    let bytes: Box<dyn Read> = if path.ends_with(".gz") {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let mut reader = ReaderBuilder::new().from_reader(bytes);
    let header = reader.headers()?.clone();
    let column = |name: &str| header.iter().position(|cell| cell == name);
    let needed = |name: &str| column(name).ok_or_else(|| format!("{path} has no column `{name}`"));
    let (time, from, to) = (needed("time")?, needed("from")?, needed("to")?);
    let amount = header
        .iter()
        .position(|cell| cell == "amount" || cell.starts_with("amount_"))
        .ok_or_else(|| format!("{path} has no column `amount`"))?;
    let labels: Vec<_> = LABELS
        .iter()
        .filter_map(|name| column(name).map(|at| (*name, at)))
        .collect();
    if at == 0 {
        write_header(&labels, output)?;
    }
    let mut record = StringRecord::new();
    while reader.read_record(&mut record)? {
        let second: u64 = record[time].parse()?;
        let (from, to): (u128, u128) = (record[from].parse()?, record[to].parse()?);
        let bad: Vec<(&str, bool)> = labels
            .iter()
            .map(|(name, at)| (*name, &record[*at] == "1"))
            .collect();
        if let Some(after_s) = arguments.reports_after_s {
            reports.arrive(second, contexts);
            reports.expect(second.saturating_add(after_s), from, to, &bad);
        }
        let operation = Operation::transfer(
            1,
            AccountId(from),
            AccountId(to),
            Amount(record[amount].parse()?),
            AssetId(1),
        );
        let time = TimeNs(second.saturating_mul(NS_PER_S));
        let row = contexts.row(&operation, time).ok_or("a transfer has a row")?;
        contexts.observe(&operation, time);
        let mut cells: Vec<String> = vec![
            at.to_string(),
            second.to_string(),
            from.to_string(),
            to.to_string(),
        ];
        cells.extend(row.0.iter().map(i32::to_string));
        cells.extend(bad.iter().map(|(_, is_bad)| u8::from(*is_bad).to_string()));
        cells.push(u8::from(bad.iter().any(|(_, is_bad)| *is_bad)).to_string());
        output.write_record(&cells)?;
    }
    Ok(())
}

fn write_header(labels: &[(&str, usize)], output: &mut Writer<File>) -> Result<(), csv::Error> {
    let mut header = vec!["file", "time", "from", "to"];
    header.extend(FEATURES.iter().map(|feature| feature.name));
    header.extend(labels.iter().map(|(name, _)| *name));
    header.push("label");
    output.write_record(&header)
}

impl Reports {
    fn arrive(&mut self, second: u64, contexts: &mut Contexts) {
        while let Some(first) = self.due.first_entry() {
            if *first.key() > second {
                return;
            }
            let time = TimeNs(first.key().saturating_mul(NS_PER_S));
            first
                .remove()
                .iter()
                .for_each(|report| contexts.observe(report, time));
        }
    }

    fn expect(&mut self, due: u64, from: u128, to: u128, bad: &[(&str, bool)]) {
        for (name, _) in bad.iter().filter(|(_, is_bad)| *is_bad) {
            match *name {
                "to_bad" => self.expect_once(due, from, to),
                "from_bad" => self.expect_once(due, to, from),
                _ => {
                    let both = [fraud(from, to), fraud(to, from)];
                    self.due.entry(due).or_default().extend(both);
                }
            }
        }
    }

    fn expect_once(&mut self, due: u64, by: u128, accused: u128) {
        if self.reported.insert(accused) {
            self.due.entry(due).or_default().push(fraud(by, accused));
        }
    }
}

fn fraud(by: u128, accused: u128) -> Operation {
    Operation::report(1, Hash::ZERO, 0, AccountId(by), 1).accusing(AccountId(accused))
}
