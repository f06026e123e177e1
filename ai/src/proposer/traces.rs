//! Traces: lines of CSV, each what evidence said of a validator at an epoch's end and what choosing it cost in the epoch
//! after. `simulate --traces` writes them; the columns are in `docs/protocol/poai.md`.

use selfchain_types::quality::{CATALOGUE, FEATURES, Row};
use std::io::{self, BufRead, Read};
use thiserror::Error;

/// Most lines of a file: a million.
pub const LINES_MAX: usize = 1 << 20;
/// Most bytes of a line.
const LINE_BYTES_MAX: u64 = 1_024;
/// Columns before the features.
const PLACES: [&str; 6] = [
    "run",
    "validators",
    "epoch_blocks",
    "epoch",
    "height",
    "validator",
];
/// Columns after them.
const COSTS: [&str; 7] = [
    "drawn",
    "rounds",
    "wait_us",
    "usual_us",
    "judged",
    "efficiency",
    "starved",
];
/// How many there are.
const COLUMNS: usize = PLACES.len() + FEATURES + COSTS.len();

/// One validator in one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Which run of the simulator.
    pub run: u64,
    /// Which epoch of it.
    pub epoch: u64,
    /// What the evidence said.
    pub features: Row,
    /// Heights whose first draw it won.
    pub drawn: u64,
    /// Time that they took, their sum in µs.
    pub wait_us: u64,
    /// The median of the time of heights that took one round, in µs.
    pub usual_us: u64,
    /// Its blocks that voters said something of.
    pub judged: u64,
    /// Sum of what they said: efficiency, in thousandths.
    pub efficiency: u64,
    /// The same of starvation.
    pub starved: u64,
}

/// All of a file, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// The lines.
    pub rows: Vec<Trace>,
}

/// Why a file is no file of traces.
#[derive(Debug, Error)]
pub enum TracesError {
    /// It cannot be read.
    #[error("line {line} cannot be read")]
    Read {
        /// Which line.
        line: usize,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line is too long, or is not text.
    #[error("line {line} is no line of at most {LINE_BYTES_MAX} bytes of text")]
    Line {
        /// Which line.
        line: usize,
    },
    /// The first line names other columns.
    #[error("column {column} is called {got:?}, not {want:?}")]
    Header {
        /// Which column, from 1.
        column: usize,
        /// Its name.
        got: String,
        /// What it would have to be.
        want: &'static str,
    },
    /// A line has more or fewer columns.
    #[error("line {line} has {got} columns, not {COLUMNS}")]
    Columns {
        /// Which line.
        line: usize,
        /// How many.
        got: usize,
    },
    /// A value is not a whole number.
    #[error("line {line}: {column} is {got:?}, no whole number")]
    Number {
        /// Which line.
        line: usize,
        /// Which column.
        column: &'static str,
        /// What it is.
        got: String,
    },
    /// A value is larger than it can be.
    #[error("line {line}: {column} is {got}, more than {max}")]
    Value {
        /// Which line.
        line: usize,
        /// Which column.
        column: &'static str,
        /// What it is.
        got: u64,
        /// The most.
        max: u64,
    },
    /// It has too many lines.
    #[error("more than {LINES_MAX} lines")]
    TooMany,
}

impl Traces {
    /// Reads a file's text.
    ///
    /// # Errors
    /// [`TracesError`], naming the first line that is wrong.
    pub fn read(mut text: impl BufRead) -> Result<Self, TracesError> {
        let mut traces = Self::default();
        let mut words = next_line(&mut text, 1)?.unwrap_or_default();
        check_header(&words)?;
        for line in 2.. {
            match next_line(&mut text, line)? {
                None => break,
                Some(_) if traces.rows.len() == LINES_MAX => return Err(TracesError::TooMany),
                Some(read) => words = read,
            }
            traces.rows.push(parse(&words, line)?);
        }
        Ok(traces)
    }

    /// The rows of runs whose number leaves one of these remainders when divided by `parts`.
    #[must_use]
    pub fn of_runs(&self, parts: u64, remainders: &[u64]) -> Self {
        let is_in = |row: &&Trace| remainders.contains(&row.run.checked_rem(parts).unwrap_or_default());
        Self {
            rows: self.rows.iter().filter(is_in).copied().collect(),
        }
    }
}

fn next_line(text: &mut impl BufRead, line: usize) -> Result<Option<Vec<String>>, TracesError> {
    let mut bytes = Vec::new();
    let read = text.take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes);
    let read = read.map_err(|source| TracesError::Read { line, source })?;
    if read == 0 {
        return Ok(None);
    }
    let words = str::from_utf8(&bytes).map_err(|_| TracesError::Line { line })?;
    let words = words.strip_suffix('\n').ok_or(TracesError::Line { line })?;
    let words = words.strip_suffix('\r').unwrap_or(words);
    Ok(Some(words.split(',').map(str::to_owned).collect()))
}

/// The names of all columns.
fn columns() -> impl Iterator<Item = &'static str> {
    let features = CATALOGUE.iter().map(|(name, _)| *name);
    PLACES.into_iter().chain(features).chain(COSTS)
}

fn check_header(words: &[String]) -> Result<(), TracesError> {
    for (at, want) in columns().enumerate() {
        let got = words.get(at).cloned().unwrap_or_default();
        if got != want {
            return Err(TracesError::Header {
                column: at + 1,
                got,
                want,
            });
        }
    }
    check_count(words, 1)
}

fn check_count(words: &[String], line: usize) -> Result<(), TracesError> {
    if words.len() == COLUMNS {
        return Ok(());
    }
    Err(TracesError::Columns {
        line,
        got: words.len(),
    })
}

fn parse(words: &[String], line: usize) -> Result<Trace, TracesError> {
    check_count(words, line)?;
    let mut values = [0; COLUMNS];
    for ((value, word), column) in values.iter_mut().zip(words).zip(columns()) {
        *value = word.parse::<u64>().map_err(|_| TracesError::Number {
            line,
            column,
            got: word.clone(),
        })?;
    }
    let (places, rest) = values.split_at(PLACES.len());
    let (features, costs) = rest.split_at(FEATURES);
    let blocks = places[2];
    let most = |column: &'static str, got: u64, max: u64| {
        if got <= max {
            Ok(got)
        } else {
            Err(TracesError::Value {
                line,
                column,
                got,
                max,
            })
        }
    };
    most("epoch_blocks", blocks, BLOCKS_MAX)?;
    let mut row = [0; FEATURES];
    for ((feature, value), (name, _)) in row.iter_mut().zip(features).zip(CATALOGUE) {
        *feature = u16::try_from(most(name, *value, 1_000)?).unwrap_or_default();
    }
    let judged = most("judged", costs[4], blocks)?;
    Ok(Trace {
        run: places[0],
        epoch: places[3],
        features: row,
        drawn: most("drawn", costs[0], blocks)?,
        wait_us: most("wait_us", costs[2], WAIT_US_MAX)?,
        usual_us: most("usual_us", costs[3], WAIT_US_MAX)?,
        judged,
        efficiency: most("efficiency", costs[5], 1_000 * judged)?,
        starved: most("starved", costs[6], 1_000 * judged)?,
    })
}

/// Most blocks of an epoch.
const BLOCKS_MAX: u64 = 65_536;
/// Longest wait: a year.
const WAIT_US_MAX: u64 = 366 * 86_400 * 1_000_000;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    fn header() -> String {
        columns().collect::<Vec<_>>().join(",")
    }

    const GOOD: &str = "3,7,16,2,30,4,0,500,0,500,0,0,0,0,500,10,20,500,333,5,1,90000,30000,5,4500,100";

    fn read(lines: &[&str]) -> Result<Traces, TracesError> {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        Traces::read(text.as_bytes())
    }

    fn refused(line: &str) -> String {
        read(&[&header(), GOOD, line]).unwrap_err().to_string()
    }

    #[test]
    fn a_line_is_read_by_column() {
        let traces = read(&[&header(), GOOD]).unwrap();
        let row = traces.rows[0];
        assert_eq!(
            (row.run, row.epoch, row.drawn, row.wait_us, row.usual_us),
            (3, 2, 5, 90_000, 30_000)
        );
        assert_eq!((row.judged, row.efficiency, row.starved), (5, 4_500, 100));
        assert_eq!(row.features, [0, 500, 0, 500, 0, 0, 0, 0, 500, 10, 20, 500, 333]);
        assert_eq!(traces.of_runs(5, &[3]), traces);
        assert_eq!(traces.of_runs(5, &[0, 1, 2, 4]).rows, []);
        assert_eq!(read(&[&header()]).unwrap().rows, []);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        assert_eq!(refused("1,2"), "line 3 has 2 columns, not 26");
        assert_eq!(refused(&format!("{GOOD},1")), "line 3 has 27 columns, not 26");
        let with = |from: &str, to: &str| refused(&GOOD.replacen(from, to, 1));
        assert_eq!(
            with(",0,500,0,500", ",x,500,0,500"),
            "line 3: missed is \"x\", no whole number"
        );
        assert_eq!(
            with(",0,500,0,500", ",-1,500,0,500"),
            "line 3: missed is \"-1\", no whole number"
        );
        assert_eq!(
            with(",10,20,", ",1001,20,"),
            "line 3: waste is 1001, more than 1000"
        );
        assert_eq!(with(",5,1,9", ",17,1,9"), "line 3: drawn is 17, more than 16");
        assert_eq!(with("4500", "5001"), "line 3: efficiency is 5001, more than 5000");
        assert_eq!(
            with(",16,", ",65537,"),
            "line 3: epoch_blocks is 65537, more than 65536"
        );
        let other = header().replace("lateness", "late");
        assert_eq!(
            read(&[&other]).unwrap_err().to_string(),
            "column 10 is called \"late\", not \"lateness\""
        );
        assert!(read(&[]).unwrap_err().to_string().contains("column 1 "));
        assert_eq!(
            read(&[&format!("{},more", header())]).unwrap_err().to_string(),
            "line 1 has 27 columns, not 26"
        );
        let long = "1".repeat(2_000);
        assert!(refused(&long).starts_with("line 3 is no line"));
        let cut = format!("{}\n{GOOD}", header());
        assert!(
            Traces::read(cut.as_bytes())
                .unwrap_err()
                .to_string()
                .starts_with("line 2 is no line")
        );
    }
}
