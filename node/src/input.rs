//! Input: real transfers and opening balances from CSV files, plain or gzip, one row at a time.

use csv::{ByteRecord, Reader, ReaderBuilder, Trim};
use flate2::read::MultiGzDecoder;
use selfchain_types::AccountId;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// One transfer of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Line of the file, from 1; the header is line 1.
    pub line: u64,
    /// When it took place, in seconds since the Unix epoch.
    pub time_s: u64,
    /// The file's number of the account that pays.
    pub from: u64,
    /// The file's number of the account that is paid.
    pub to: u64,
    /// In the smallest unit that the file counts.
    pub amount: u128,
    /// What is known of it, where the file says.
    pub label: Label,
}

/// What is known of a transfer: nothing, where a file has no such columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// The account that is paid belongs to a fraudster (column `to_bad`).
    pub to_bad: bool,
    /// The account that pays does (column `from_bad`).
    pub from_bad: bool,
    /// The transfer is fraud, whoever is to blame (column `fraud`).
    pub fraud: bool,
}

impl Label {
    /// Whether the transfer is fraud in any of the three ways.
    pub fn is_bad(self) -> bool {
        self.to_bad || self.from_bad || self.fraud
    }
}

/// The ledger's number of a file's account: one more, because the ledger reserves 0.
pub fn account_id(account: u64) -> AccountId {
    AccountId(u128::from(account) + 1)
}

/// One opening balance of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Line of the file, from 1.
    pub line: u64,
    /// The file's number of the account.
    pub account: u64,
    /// In the smallest unit that the file counts.
    pub amount: u128,
}

/// Why a file is not what it should be. Names the file, and the line and column where there is one.
#[derive(Debug, Error)]
pub enum InputError {
    /// It cannot be opened.
    #[error("cannot open {path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It cannot be read as CSV: damaged compression, or a row with more or fewer columns than the header.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        source: csv::Error,
    },
    /// The header does not name a column that must be there.
    #[error("{path} has no column `{column}`; its header is `{header}`")]
    ColumnMissing {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        column: &'static str,
        /// What is there.
        header: String,
    },
    /// The header names a column twice, or two columns that could both be meant.
    #[error("{path} has more than one column that could be `{column}`; its header is `{header}`")]
    ColumnTwice {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        column: &'static str,
        /// What is there.
        header: String,
    },
    /// A value is not what its column holds.
    #[error("{path}, line {line}, column `{column}`: `{value}` is not {want}")]
    Cell {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The column as the header names it.
        column: String,
        /// The value, cut to [`VALUE_SHOWN_MAX`] characters.
        value: String,
        /// What it should be.
        want: &'static str,
    },
    /// It has a header and nothing else.
    #[error("{path} has no rows")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// One account has two opening balances.
    #[error("{path}, line {line}: account {account} has an opening balance already")]
    AccountTwice {
        /// The file.
        path: PathBuf,
        /// The line of the second.
        line: u64,
        /// The account.
        account: u64,
    },
    /// More accounts than the demo keeps balances of.
    #[error("{path} names more than {max} accounts")]
    Accounts {
        /// The file.
        path: PathBuf,
        /// [`crate::demo::ACCOUNTS_MAX`].
        max: usize,
    },
}

/// Amounts are below 2^96, so that the sum of 2^32 of them fits 128 bits.
pub const AMOUNT_BITS_MAX: u32 = 96;

/// The last second whose nanoseconds are ledger time (2^63 ns, in the year 2262), less a day of room.
pub const TIME_S_MAX: u64 = i64::MAX.unsigned_abs() / 1_000_000_000 - 86_400;

/// Characters of a wrong value that a message shows.
pub const VALUE_SHOWN_MAX: usize = 40;

const TIME_WANT: &str = "a whole number of seconds since 1970 before the year 2262";
const ACCOUNT_WANT: &str = "an account's number, 0 to 18446744073709551614";
const AMOUNT_WANT: &str = "a whole number of units below 2^96";
const LABEL_WANT: &str = "0 or 1";

/// The transfers of a file, in its order.
pub struct Rows {
    table: Table,
    time: usize,
    from: usize,
    to: usize,
    amount: usize,
    /// Where `to_bad`, `from_bad` and `fraud` are, if anywhere.
    labels: [Option<usize>; 3],
}

impl Rows {
    /// Opens a file with the columns `time`, `from`, `to`, and `amount` or `amount_<unit>`, and perhaps labels
    /// ([`Label`]), which are 0 or 1; others are ignored.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn open(path: &Path) -> Result<Self, InputError> {
        let table = Table::open(path)?;
        Ok(Self {
            time: table.column("time", Name::Exact)?,
            from: table.column("from", Name::Exact)?,
            to: table.column("to", Name::Exact)?,
            amount: table.column("amount", Name::WithUnit)?,
            labels: ["to_bad", "from_bad", "fraud"].map(|name| table.find(name)),
            table,
        })
    }

    /// Whether the file says which transfers are bad.
    pub fn has_labels(&self) -> bool {
        self.labels.iter().any(Option::is_some)
    }

    /// Decimal digits of the amounts' unit, from the name of their column: `amount_gwei` has 9.
    pub fn scale(&self) -> u16 {
        let header = &self.table.header[self.amount];
        header.split_once('_').map_or(0, |(_, unit)| scale_of(unit))
    }

    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn next_row(&mut self) -> Result<Option<Row>, InputError> {
        let Some(line) = self.table.advance()? else {
            return Ok(None);
        };
        let table = &self.table;
        Ok(Some(Row {
            line,
            time_s: table.whole(line, self.time, TIME_S_MAX, TIME_WANT)?,
            from: table.whole(line, self.from, ACCOUNT_MAX, ACCOUNT_WANT)?,
            to: table.whole(line, self.to, ACCOUNT_MAX, ACCOUNT_WANT)?,
            amount: table.amount(line, self.amount)?,
            label: self.label(line)?,
        }))
    }

    fn label(&self, line: u64) -> Result<Label, InputError> {
        let is_set = |column: Option<usize>| match column {
            None => Ok(false),
            Some(column) => Ok(self.table.whole(line, column, 1, LABEL_WANT)? == 1),
        };
        let [to_bad, from_bad, fraud] = self.labels;
        Ok(Label {
            to_bad: is_set(to_bad)?,
            from_bad: is_set(from_bad)?,
            fraud: is_set(fraud)?,
        })
    }
}

/// Largest account number of a file: the ledger's is one more, because it reserves 0.
const ACCOUNT_MAX: u64 = u64::MAX - 1;

/// The opening balances of a file, in its order.
pub struct Openings {
    table: Table,
    account: usize,
    opening: usize,
}

impl Openings {
    /// Opens a file with the columns `account`, and `opening` or `opening_<unit>`; others are ignored.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn open(path: &Path) -> Result<Self, InputError> {
        let table = Table::open(path)?;
        Ok(Self {
            account: table.column("account", Name::Exact)?,
            opening: table.column("opening", Name::WithUnit)?,
            table,
        })
    }

    /// The next opening balance; `None` at the end.
    ///
    /// # Errors
    /// [`InputError`].
    pub fn next_opening(&mut self) -> Result<Option<Opening>, InputError> {
        let Some(line) = self.table.advance()? else {
            return Ok(None);
        };
        Ok(Some(Opening {
            line,
            account: self.table.whole(line, self.account, ACCOUNT_MAX, ACCOUNT_WANT)?,
            amount: self.table.amount(line, self.opening)?,
        }))
    }
}

/// A CSV file whose columns are found by name.
struct Table {
    path: PathBuf,
    header: Vec<String>,
    reader: Reader<Box<dyn Read + Send>>,
    record: ByteRecord,
}

#[derive(Clone, Copy)]
enum Name {
    Exact,
    /// The name alone, or with `_` and a unit.
    WithUnit,
}

impl Table {
    fn open(path: &Path) -> Result<Self, InputError> {
        let bytes = open_plain_or_gzip(path).map_err(|source| InputError::Open {
            path: path.to_owned(),
            source,
        })?;
        let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(bytes);
        let header = reader.byte_headers().map_err(|source| InputError::Read {
            path: path.to_owned(),
            source,
        })?;
        let header = header.iter().map(name_of).collect();
        Ok(Self {
            path: path.to_owned(),
            header,
            reader,
            record: ByteRecord::new(),
        })
    }

    /// The first column of exactly this name.
    fn find(&self, column: &str) -> Option<usize> {
        self.header.iter().position(|header| header == column)
    }

    fn column(&self, column: &'static str, name: Name) -> Result<usize, InputError> {
        let is_it = |header: &&str| match name {
            Name::Exact => *header == column,
            Name::WithUnit => header.split_once('_').map_or(*header, |(front, _)| front) == column,
        };
        let mut found = (0..)
            .zip(&self.header)
            .filter(|(_, header)| is_it(&header.as_str()));
        let header = || self.header.join(",");
        match (found.next(), found.next()) {
            (Some((at, _)), None) => Ok(at),
            (None, _) => Err(InputError::ColumnMissing {
                path: self.path.clone(),
                column,
                header: header(),
            }),
            _ => Err(InputError::ColumnTwice {
                path: self.path.clone(),
                column,
                header: header(),
            }),
        }
    }

    /// Reads the next record; its line, or `None` at the end.
    fn advance(&mut self) -> Result<Option<u64>, InputError> {
        let read = self.reader.read_byte_record(&mut self.record);
        let is_there = read.map_err(|source| InputError::Read {
            path: self.path.clone(),
            source,
        })?;
        // Where lines end with a carriage return too, the reader is one line behind; where some are empty, the
        // count of records is.
        let line = self
            .record
            .position()
            .map_or(0, |position| position.line().max(position.record() + 1));
        Ok(is_there.then_some(line))
    }

    fn text(&self, column: usize) -> Option<&str> {
        self.record
            .get(column)
            .and_then(|bytes| core::str::from_utf8(bytes).ok())
    }

    fn whole(&self, line: u64, column: usize, max: u64, want: &'static str) -> Result<u64, InputError> {
        let number = self
            .text(column)
            .and_then(digits::<u64>)
            .filter(|number| *number <= max);
        number.ok_or_else(|| self.wrong(line, column, want))
    }

    fn amount(&self, line: u64, column: usize) -> Result<u128, InputError> {
        let number = self
            .text(column)
            .and_then(digits::<u128>)
            .filter(|number| number >> AMOUNT_BITS_MAX == 0);
        number.ok_or_else(|| self.wrong(line, column, AMOUNT_WANT))
    }

    fn wrong(&self, line: u64, column: usize, want: &'static str) -> InputError {
        let value = String::from_utf8_lossy(self.record.get(column).unwrap_or_default());
        InputError::Cell {
            path: self.path.clone(),
            line,
            column: self.header[column].clone(),
            value: value.chars().take(VALUE_SHOWN_MAX).collect(),
            want,
        }
    }
}

/// Digits and nothing else: no sign, no point, no exponent, which `parse` would partly take.
fn digits<T: core::str::FromStr>(text: &str) -> Option<T> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

/// A column's name as it is compared: lower case, without a byte order mark.
fn name_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .trim_start_matches('\u{feff}')
        .trim()
        .to_ascii_lowercase()
}

/// Decimal digits of a unit below the coin it is a part of; 0 of a unit that is not known.
fn scale_of(unit: &str) -> u16 {
    match unit {
        "wei" => 18,
        "gwei" => 9,
        "sat" | "satoshi" => 8,
        "cent" | "cents" => 2,
        _ => 0,
    }
}

fn open_plain_or_gzip(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    let mut file = BufReader::with_capacity(READ_BYTES, File::open(path)?);
    if file.fill_buf()?.starts_with(&GZIP_MAGIC) {
        return Ok(Box::new(BufReader::with_capacity(
            READ_BYTES,
            MultiGzDecoder::new(file),
        )));
    }
    Ok(Box::new(file))
}

/// The first bytes of a gzip member (RFC 1952 §2.3.1).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const READ_BYTES: usize = 128 * 1024;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(text: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text).unwrap();
        file
    }

    fn rows(text: &[u8]) -> Result<(u16, Vec<Row>), InputError> {
        let file = file(text);
        let mut rows = Rows::open(file.path())?;
        let scale = rows.scale();
        let mut all = Vec::new();
        while let Some(row) = rows.next_row()? {
            all.push(row);
        }
        Ok((scale, all))
    }

    #[track_caller]
    fn refuses(text: &str, want: &str) {
        let error = rows(text.as_bytes()).unwrap_err().to_string();
        let (_, after_path) = error.split_once(".tmp").unwrap();
        let (_, after_name) = after_path.split_at(6);
        assert_eq!(after_name, want);
    }

    #[test]
    fn columns_are_found_by_name_whatever_their_order() {
        let (scale, rows) =
            rows(b"\xef\xbb\xbfto, Amount_GWei ,label,time,from\r\n7,5,x,100,3\r\n8,0,y,100,7\r\n").unwrap();
        assert_eq!(scale, 9);
        assert_eq!(
            rows[0],
            Row {
                line: 2,
                time_s: 100,
                from: 3,
                to: 7,
                amount: 5,
                label: Label::default()
            }
        );
        assert_eq!(
            rows[1],
            Row {
                line: 3,
                time_s: 100,
                from: 7,
                to: 8,
                amount: 0,
                label: Label::default()
            }
        );
    }

    #[test]
    fn gzip_is_known_by_its_first_bytes() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"time,from,to,amount\n1,2,3,4\n").unwrap();
        let mut bytes = gzip.finish().unwrap();
        assert_eq!(
            rows(&bytes).unwrap().1,
            [Row {
                line: 2,
                time_s: 1,
                from: 2,
                to: 3,
                amount: 4,
                label: Label::default()
            }]
        );
        bytes.truncate(bytes.len() - 9);
        assert!(matches!(rows(&bytes), Err(InputError::Read { .. })));
    }

    #[test]
    fn a_wrong_header_is_named() {
        refuses(
            "time,from,amount\n",
            " has no column `to`; its header is `time,from,amount`",
        );
        refuses(
            "time,from,to,amount,amount_wei\n",
            " has more than one column that could be `amount`; its header is `time,from,to,amount,amount_wei`",
        );
        refuses("", " has no column `time`; its header is ``");
    }

    #[test]
    fn a_wrong_value_is_named_with_line_and_column() {
        let row = |row: &str| format!("time,from,to,amount\n1,2,3,4\n{row}\n");
        refuses(
            &row("1.5,2,3,4"),
            ", line 3, column `time`: `1.5` is not a whole number of seconds since 1970 before the year 2262",
        );
        refuses(
            &row("1,-2,3,4"),
            ", line 3, column `from`: `-2` is not an account's number, 0 to 18446744073709551614",
        );
        refuses(
            &row("1,2,18446744073709551615,4"),
            ", line 3, column `to`: `18446744073709551615` is not an account's number, 0 to 18446744073709551614",
        );
        refuses(
            &row("1,2,3,"),
            ", line 3, column `amount`: `` is not a whole number of units below 2^96",
        );
        refuses(
            &row("1,2,3,+4"),
            ", line 3, column `amount`: `+4` is not a whole number of units below 2^96",
        );
        refuses(
            &row("1,2,3,79228162514264337593543950336"),
            ", line 3, column `amount`: `79228162514264337593543950336` is not a whole number of units below 2^96",
        );
        let error = rows(row("1,2,3").as_bytes()).unwrap_err().to_string();
        assert!(error.contains("line: 3") && error.contains("3 fields"), "{error}");
    }

    #[test]
    fn labels_are_read_where_there_are_any() {
        let (_, labelled) = rows(b"time,from,to,amount,to_bad,from_bad\n1,2,3,4,1,0\n1,2,3,4,0,0\n").unwrap();
        assert!(labelled[0].label.to_bad && labelled[0].label.is_bad() && !labelled[0].label.from_bad);
        assert!(!labelled[1].label.is_bad());
        let refused = rows(b"time,from,to,amount,fraud\n1,2,3,4,yes\n")
            .unwrap_err()
            .to_string();
        assert!(
            refused.ends_with(", line 2, column `fraud`: `yes` is not 0 or 1"),
            "{refused}"
        );
    }

    #[test]
    fn openings_are_read_by_name() {
        let file = file(b"account,opening_gwei\n0,5\n3,0\n");
        let mut openings = Openings::open(file.path()).unwrap();
        assert_eq!(
            openings.next_opening().unwrap(),
            Some(Opening {
                line: 2,
                account: 0,
                amount: 5
            })
        );
        assert_eq!(
            openings.next_opening().unwrap(),
            Some(Opening {
                line: 3,
                account: 3,
                amount: 0
            })
        );
        assert_eq!(openings.next_opening().unwrap(), None);
    }
}
