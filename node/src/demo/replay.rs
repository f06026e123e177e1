//! Replay: the rows of a file as operations, in its order and at its times, and the fold that checks them.

use super::fold::Fold;
use super::options::ReplayOptions;
use super::pace::ReplayPace;
use super::review::Reviews;
use super::source::{Batch, Source, Step};
use crate::input::{InputError, Openings, Row, Rows, account_id};
use core::time::Duration;
use selfchain_types::message::Committed;
use selfchain_types::time::NS_PER_S;
use selfchain_types::{Amount, AssetId, Operation, Outcome, codec};
use std::collections::BTreeMap;

/// Most accounts of a file: the demo keeps the balance of each, about 100 bytes.
pub const ACCOUNTS_MAX: usize = 1 << 26;

/// Rows of one transaction at most.
const BATCH_LEN_MAX: usize = 512;

/// What a first reading of the files found: enough to open every account before the first row.
#[derive(Clone, Debug)]
pub(super) struct Survey {
    /// Accounts with their opening balances, in the order of their numbers.
    pub(super) openings: BTreeMap<u64, u128>,
    pub(super) rows: u64,
    pub(super) first_s: u64,
    pub(super) last_s: u64,
    /// Rows recorded before the row above them: ledger time does not go back for them.
    pub(super) rows_backwards: u64,
    pub(super) scale: u16,
}

impl Survey {
    /// Reads both files whole, and keeps only accounts.
    pub(super) fn read(options: &ReplayOptions) -> Result<Self, InputError> {
        let mut survey = Self {
            openings: BTreeMap::new(),
            rows: 0,
            first_s: 0,
            last_s: 0,
            rows_backwards: 0,
            scale: 0,
        };
        if let Some(path) = &options.openings {
            let mut openings = Openings::open(path)?;
            while let Some(opening) = openings.next_opening()? {
                let account = opening.account;
                if survey.openings.insert(account, opening.amount).is_some() {
                    return Err(InputError::AccountTwice {
                        path: path.clone(),
                        line: opening.line,
                        account,
                    });
                }
                survey.check_len(path)?;
            }
        }
        let path = &options.input;
        let mut rows = Rows::open(path)?;
        survey.scale = rows.scale();
        while let Some(row) = rows.next_row()? {
            survey.add(&row);
            survey.check_len(path)?;
        }
        match survey.rows {
            0 => Err(InputError::Empty { path: path.clone() }),
            _ => Ok(survey),
        }
    }

    fn add(&mut self, row: &Row) {
        if self.rows == 0 {
            (self.first_s, self.last_s) = (row.time_s, row.time_s);
        }
        self.rows += 1;
        self.rows_backwards += u64::from(row.time_s < self.last_s);
        self.last_s = row.time_s;
        self.openings.entry(row.from).or_default();
        self.openings.entry(row.to).or_default();
    }

    fn check_len(&self, path: &std::path::Path) -> Result<(), InputError> {
        if self.openings.len() > ACCOUNTS_MAX {
            return Err(InputError::Accounts {
                path: path.to_owned(),
                max: ACCOUNTS_MAX,
            });
        }
        Ok(())
    }
}

/// The rows of a file.
pub(super) struct Replay {
    rows: Rows,
    /// Read, and not due yet.
    held: Option<Row>,
    asset: AssetId,
    keeps_time: bool,
    pace: ReplayPace,
    fold: Fold,
    rows_sent: u64,
    /// What happens to held rows; `None` where nothing is scored.
    reviews: Option<Reviews>,
    /// Rows to which the ledger said something else than the fold.
    outcomes_mismatched: u64,
}

impl Replay {
    pub(super) fn new(options: &ReplayOptions, survey: &Survey, asset: AssetId) -> Result<Self, InputError> {
        let mut fold = Fold::default();
        for (account, amount) in &survey.openings {
            fold.open(*account, *amount);
        }
        Ok(Self {
            rows: Rows::open(&options.input)?,
            held: None,
            asset,
            keeps_time: options.keeps_time,
            pace: ReplayPace::new(options.speed, survey.first_s),
            fold,
            rows_sent: 0,
            reviews: options.scoring.as_ref().map(|_| Reviews::new(options.keeps_time)),
            outcomes_mismatched: 0,
        })
    }

    /// Rows handed out so far.
    pub(super) fn rows_sent(&self) -> u64 {
        self.rows_sent
    }

    /// Rows to which the ledger said something else than the fold.
    pub(super) fn outcomes_mismatched(&self) -> u64 {
        self.outcomes_mismatched
    }

    /// What became of held rows; `None` where nothing is scored.
    pub(super) fn into_reviews(self) -> Option<Reviews> {
        self.reviews
    }

    /// What balances must be once everything handed out is committed.
    pub(super) fn fold(&self) -> &Fold {
        &self.fold
    }

    fn take_row(&mut self) -> Result<Option<Row>, InputError> {
        match self.held.take() {
            Some(row) => Ok(Some(row)),
            None => self.rows.next_row(),
        }
    }

    fn operation(&mut self, row: &Row) -> Operation {
        self.rows_sent += 1;
        let id = u128::from(self.rows_sent);
        let (from, to) = (account_id(row.from), account_id(row.to));
        let mut operation = Operation::transfer(id, from, to, Amount(row.amount), self.asset);
        if self.keeps_time {
            operation.effective_ns = (row.time_s * NS_PER_S).into();
        }
        operation
    }
}

impl Source for Replay {
    fn next(&mut self, now: Duration) -> Result<Step, InputError> {
        let mut batch = Batch {
            refused: self.reviews.is_none().then(Vec::new),
            ..Batch::default()
        };
        while batch.operations.len() < BATCH_LEN_MAX {
            let Some(row) = self.take_row()? else { break };
            let due = self.pace.due(row.time_s);
            if due > now {
                self.held = Some(row);
                if batch.operations.is_empty() {
                    return Ok(Step::Wait(due));
                }
                break;
            }
            if let Some(reviews) = &mut self.reviews {
                reviews.settle_due(&row, &mut batch);
                reviews.sent(row);
                let operation = self.operation(&row);
                batch.operations.push(operation);
                batch.due = self.pace.is_timed().then_some(due);
                continue;
            }
            let outcome = self.fold.apply(&row);
            if let Some(refused) = batch.refused.as_mut().filter(|_| !outcome.is_ok()) {
                refused.push((codec::narrow(batch.operations.len()), outcome));
            }
            let operation = self.operation(&row);
            batch.operations.push(operation);
            batch.due = self.pace.is_timed().then_some(due);
        }
        Ok(if batch.operations.is_empty() {
            Step::End
        } else {
            Step::Send(batch)
        })
    }

    fn answered(&mut self, batch: &Batch, committed: &Committed) {
        if let Some(reviews) = &mut self.reviews {
            self.outcomes_mismatched += reviews.answered(batch, committed, &mut self.fold);
            return;
        }
        let expected = batch.refused.as_deref().unwrap_or_default();
        let said: Vec<(u32, Outcome)> = committed
            .refused
            .iter()
            .map(|(at, outcome, _)| (*at, *outcome))
            .collect();
        if said != expected {
            self.outcomes_mismatched += differences(&said, expected);
        }
    }

    fn closing(&mut self) -> Option<Batch> {
        self.reviews.as_mut()?.closing(BATCH_LEN_MAX)
    }
}

/// Rows to which the two lists say something different.
fn differences(said: &[(u32, Outcome)], expected: &[(u32, Outcome)]) -> u64 {
    let by_row = |list: &[(u32, Outcome)]| list.iter().copied().collect::<BTreeMap<u32, Outcome>>();
    let (said, expected) = (by_row(said), by_row(expected));
    let rows = said
        .keys()
        .chain(expected.keys().filter(|row| !said.contains_key(row)));
    codec::wide(rows.filter(|row| said.get(row) != expected.get(row)).count())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::demo::Speed;
    use selfchain_types::{Height, TimeNs};

    const AT_ONCE: Duration = Duration::ZERO;

    fn replay(text: &str, speed: Speed) -> (Survey, Replay) {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("rows.csv");
        std::fs::write(&input, text).unwrap();
        let options = ReplayOptions {
            input,
            openings: None,
            speed,
            keeps_time: true,
            scoring: None,
        };
        let survey = Survey::read(&options).unwrap();
        let replay = Replay::new(&options, &survey, AssetId(1)).unwrap();
        (survey, replay)
    }

    fn batch(step: Step) -> Batch {
        match step {
            Step::Send(batch) => batch,
            step => panic!("{step:?} where a batch is due"),
        }
    }

    fn committed(refused: &[(u32, Outcome)]) -> Committed {
        Committed {
            duplicate: false,
            height: Height(1),
            index: 0,
            time_ns: TimeNs(1),
            operations: 3,
            refused: refused
                .iter()
                .map(|(at, outcome)| (*at, *outcome, None))
                .collect(),
            balances: Vec::new(),
        }
    }

    #[test]
    fn flat_out_every_row_is_due_at_once_and_in_order() {
        let rows: String = (0..BATCH_LEN_MAX + 1)
            .map(|row| format!("{},5,{},0\n", 1_000 + row, row + 6))
            .collect();
        let (survey, mut replay) = replay(&format!("time,from,to,amount\n{rows}"), Speed::Max);
        assert_eq!((survey.rows, survey.first_s, survey.last_s), (513, 1_000, 1_512));
        let first = batch(replay.next(AT_ONCE).unwrap());
        assert_eq!(first.operations.len(), BATCH_LEN_MAX);
        assert_eq!(first.due, None);
        assert!(
            (1u128..)
                .zip(&first.operations)
                .all(|(row, operation)| operation.id.get() == row
                    && operation.credit_account() == account_id(u64::try_from(row).unwrap() + 5)
                    && operation.effective_ns.get() == (999 + u64::try_from(row).unwrap()) * NS_PER_S)
        );
        assert_eq!(batch(replay.next(AT_ONCE).unwrap()).operations.len(), 1);
        assert!(matches!(replay.next(AT_ONCE).unwrap(), Step::End));
        assert_eq!(replay.rows_sent(), 513);
    }

    #[test]
    fn at_a_pace_only_what_is_due_is_sent() {
        let text = "time,from,to,amount\n100,1,2,0\n100,1,2,0\n160,1,2,0\n150,1,2,0\n";
        let (survey, mut replay) = replay(text, Speed::Times(10.0));
        assert_eq!(survey.rows_backwards, 1);
        let first = batch(replay.next(Duration::ZERO).unwrap());
        assert_eq!((first.operations.len(), first.due), (2, Some(Duration::ZERO)));
        let wait = Duration::from_secs(6);
        assert!(matches!(replay.next(Duration::from_secs(1)).unwrap(), Step::Wait(until) if until == wait));
        let late = batch(replay.next(Duration::from_secs(7)).unwrap());
        assert_eq!(
            (late.operations.len(), late.due),
            (2, Some(Duration::from_secs(5)))
        );
        assert!(matches!(replay.next(Duration::from_secs(7)).unwrap(), Step::End));
    }

    #[test]
    fn an_outcome_that_the_fold_does_not_foresee_is_counted() {
        let (_, mut replay) = replay("time,from,to,amount\n1,1,2,5\n1,3,3,0\n1,2,1,0\n", Speed::Max);
        let batch = batch(replay.next(AT_ONCE).unwrap());
        let foreseen = [(0, Outcome::InsufficientFunds), (1, Outcome::AccountsSame)];
        assert_eq!(batch.refused.as_deref(), Some(&foreseen[..]));
        replay.answered(&batch, &committed(&foreseen));
        assert_eq!(replay.outcomes_mismatched(), 0);
        replay.answered(
            &batch,
            &committed(&[(0, Outcome::NotAuthorized), (2, Outcome::NotAuthorized)]),
        );
        assert_eq!(replay.outcomes_mismatched(), 3);
    }
}
