//! The rows of a candidate block: each sees the block's earlier transfers. They are folded in place, and taken
//! back when another block is decided.

use super::context::Context;
use super::contexts::{Attempt, Contexts, GROUP, Homes};
use super::row;
use super::rows::Rows;
use selfchain_types::seam::scorer::Timed;

/// What a candidate block has changed.
#[derive(Clone, Debug, Default)]
pub(super) struct Candidate {
    /// Its number among candidates; contexts are marked with it once they are kept in `before`. 0 is none.
    number: u64,
    is_open: bool,
    /// Whether contexts are kept as they were before it.
    keeps_before: bool,
    /// Accounts that there were before it.
    accounts: u32,
    /// Contexts as they were before it, by number, each once.
    before: Vec<(u32, Context)>,
}

/// Contexts whose memory is kept for the next candidate: 16 MiB.
const BEFORE_KEPT_MAX: usize = 1 << 16;

impl Candidate {
    pub(super) fn memory_bytes(&self) -> usize {
        self.before.capacity() * size_of::<(u32, Context)>()
    }
}

impl Contexts {
    /// Begins a candidate block that may be taken back; one that was begun so and not kept is taken back now.
    pub fn begin(&mut self) {
        self.start(true);
    }

    /// Begins a block that is decided for certain: it cannot be taken back, which saves a copy of every context that
    /// it touches.
    pub fn begin_decided(&mut self) {
        self.start(self.frozen.is_some());
    }

    fn start(&mut self, keeps_before: bool) {
        self.take_back();
        self.candidate.number += 1;
        self.candidate.is_open = keeps_before;
        self.candidate.keeps_before = keeps_before;
        self.candidate.accounts = self.len();
    }

    /// Appends the rows of the candidate's next operations, in order; folds each for those that follow. Reports and
    /// new assets are for [`Self::observe`] once the block is decided, when it is known which were refused: they
    /// tell from the next block on.
    pub fn rows(&mut self, next: &[Timed<'_>], rows: &mut Rows) {
        rows.reserve(next.len());
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = pulp::x86::V4::try_new() {
            // The same code, compiled for a processor that counts zeros and divides many at once.
            return simd.vectorize(
                #[inline(always)]
                || self.rows_here(next, rows),
            );
        }
        self.rows_here(next, rows);
    }

    /// Inlined into the code for either kind of processor.
    #[inline(always)]
    #[allow(clippy::inline_always, reason = "else it is compiled for the least processor")]
    fn rows_here(&mut self, next: &[Timed<'_>], rows: &mut Rows) {
        for group in next.chunks(GROUP) {
            let homes = self.touch_group(group);
            for (next, homes) in group.iter().zip(&homes) {
                self.next_row(*next, homes, rows);
            }
        }
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "else it is compiled for the least processor")]
    fn next_row(&mut self, next: Timed<'_>, homes: &Homes, rows: &mut Rows) {
        let Some(Attempt::Transfer(event)) = Attempt::of(next.operation, next.time) else {
            return rows.pass();
        };
        let Some((from, to)) = self.parties(&event, homes) else {
            return rows.pass();
        };
        self.keep_before(from);
        self.keep_before(to);
        self.at_mut(from).decay_to(&event);
        self.at_mut(to).decay_to(&event);
        row::write(self.at(from), self.at(to), &event, rows.next());
        self.fold_transfer(from, to, &event);
    }

    #[inline]
    pub(super) fn keep_before(&mut self, number: u32) {
        if !self.candidate.keeps_before {
            return;
        }
        let candidate = self.candidate.number;
        let context = self.at_mut(number);
        if context.candidate == candidate {
            return;
        }
        context.candidate = candidate;
        let context = *context;
        if number < self.candidate.accounts {
            self.candidate.before.push((number, context));
        }
    }

    /// Keeps what the candidate folded: it was decided.
    pub fn keep(&mut self) {
        self.candidate.is_open = false;
        if let Some(frozen) = &mut self.frozen {
            frozen.keep(&self.candidate.before);
        }
        self.candidate.before.clear();
        self.candidate.before.shrink_to(BEFORE_KEPT_MAX);
    }

    /// Takes back what the candidate folded, if one was begun and not kept.
    pub fn take_back(&mut self) {
        if !core::mem::take(&mut self.candidate.is_open) {
            return;
        }
        self.forget_from(self.candidate.accounts);
        for (number, context) in core::mem::take(&mut self.candidate.before) {
            *self.at_mut(number) = context;
        }
    }
}
