//! The rows of a block's transfers, and which operation each describes.

use super::catalogue::{FEATURE_COUNT, Row};

/// Rows in the order of their operations. What is not scored has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    rows: Vec<Row>,
    of: Vec<u32>,
    operations: u32,
}

impl Rows {
    /// The rows.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The position of every row's operation, ascending.
    pub fn of(&self) -> &[u32] {
        &self.of
    }

    /// Operations that were looked at.
    pub fn operations(&self) -> u32 {
        self.operations
    }

    /// The row of the operation at a position.
    pub fn at(&self, position: u32) -> Option<&Row> {
        let at = self.of.binary_search(&position).ok()?;
        self.rows.get(at)
    }

    /// Forgets all, and keeps the memory.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.of.clear();
        self.operations = 0;
    }

    pub(super) fn reserve(&mut self, operations: usize) {
        self.rows.reserve(operations);
        self.of.reserve(operations);
    }

    /// An operation without a row.
    #[inline]
    pub(super) fn pass(&mut self) {
        self.operations += 1;
    }

    /// A place for the next operation's row, to be written at once: rows are too large to be handed around.
    #[inline]
    pub(super) fn next(&mut self) -> &mut Row {
        self.of.push(self.operations);
        self.operations += 1;
        self.rows.push(Row([0; FEATURE_COUNT]));
        let last = self.rows.len() - 1;
        &mut self.rows[last]
    }
}
