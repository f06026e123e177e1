//! The rows of a candidate block: each sees the block's earlier operations, and nothing of it stays.

use super::catalogue::Row;
use super::context::Event;
use super::contexts::{Attempt, Contexts, GROUP};
use super::row;
use selfchain_types::seam::scorer::Timed;

/// The accounts that a candidate block changes, as it leaves them; its memory is kept between blocks.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    changed: Contexts,
}

impl Scratch {
    /// Begins a candidate block.
    pub fn begin(&mut self) {
        self.changed.clear();
    }

    /// The row of the block's next operation, `None` for what is not scored; folds it for those that follow.
    pub fn row(&mut self, past: &Contexts, next: Timed<'_>) -> Option<Row> {
        match Attempt::of(next.operation, next.time)? {
            Attempt::Transfer(event) => Some(self.transfer(past, &event)),
            Attempt::Report(report) => {
                let (by, accused) = (self.bring(past, report.by), self.bring(past, report.accused));
                self.changed.fold_report(by, accused, &report);
                None
            }
        }
    }

    /// Appends the rows of the block's next operations, in order: as [`Self::row`], and faster.
    pub fn rows(&mut self, past: &Contexts, next: &[Timed<'_>], rows: &mut Vec<Option<Row>>) {
        for group in next.chunks(GROUP) {
            past.touch_group(group);
            rows.extend(group.iter().map(|next| self.row(past, *next)));
        }
    }

    #[inline]
    fn transfer(&mut self, past: &Contexts, event: &Event) -> Row {
        let from = self.bring(past, event.debit);
        let to = self.bring(past, event.credit);
        self.changed.at_mut(from).decay_to(event);
        self.changed.at_mut(to).decay_to(event);
        let row = row::row(self.changed.at(from), self.changed.at(to), event);
        self.changed.fold_transfer(from, to, event);
        row
    }

    #[inline]
    fn bring(&mut self, past: &Contexts, id: u128) -> u32 {
        match self.changed.search(id) {
            Ok(number) => number,
            Err(at) => self.changed.push(at, past.copy(id)),
        }
    }
}
