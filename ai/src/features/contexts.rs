//! The contexts of all accounts: dense, found by id, folded in the order of the log.

use super::candidate::Candidate;
use super::catalogue::{FEATURE_COUNT, Row};
use super::context::{self, Context, Event, Report};
use super::row;
use super::snapshot::Frozen;
use selfchain_types::codec::index;
use selfchain_types::operation::{Kind, OperationFlags};
use selfchain_types::seam::scorer::Timed;
use selfchain_types::{Operation, TimeNs};
use std::hash::{BuildHasher, RandomState};
use std::hint::black_box;

/// The past of every account that has taken part in a transfer, numbered in the order of appearance.
#[derive(Clone, Debug)]
pub struct Contexts {
    rows: Vec<Vec<Context>>,
    len: u32,
    /// Number + 1 at the place of an id's hash or after it; 0 is free.
    slots: Vec<u32>,
    /// So that nobody can choose ids which all fall on one place. Numbers do not depend on it.
    secret: u64,
    /// The block that is scored and not decided.
    pub(super) candidate: Candidate,
    /// A snapshot that is being taken while folds go on.
    pub(super) frozen: Option<Frozen>,
}

const CHUNK_BITS: u32 = 12;
/// Contexts that are allocated at a time.
const CHUNK: usize = 1 << CHUNK_BITS;
const SLOTS_MIN: usize = 1 << 10;
/// Operations whose accounts' contexts are read ahead at a time: what the first cache holds.
pub(super) const GROUP: usize = 16;

/// Where the search for an operation's two accounts begins. They hold until the index grows, which it does not
/// between a group's reading ahead and its end.
pub(super) type Homes = [usize; 2];

impl Default for Contexts {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            len: 0,
            slots: vec![0; SLOTS_MIN],
            secret: RandomState::new().hash_one(0_u8),
            candidate: Candidate::default(),
            frozen: None,
        }
    }
}

impl Contexts {
    /// Accounts with a past.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether nothing was folded yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of memory that contexts and their index take.
    pub fn memory_bytes(&self) -> usize {
        self.rows.len() * CHUNK * size_of::<Context>()
            + self.slots.len() * size_of::<u32>()
            + self.candidate.memory_bytes()
            + self.frozen.as_ref().map_or(0, Frozen::memory_bytes)
    }

    /// Folds an operation as attempted: a plain or pending transfer, a report, or the creation of an asset, whose
    /// issuance account is then none that is judged: what it pays out or takes back is no payment between
    /// parties. Others leave no trace.
    ///
    /// A report counts where it names the accused account ([`Operation::accusing`]) and the two accounts have
    /// dealt with one another. Whether the reporter owns its account is for the ledger: whoever calls leaves
    /// out a report that was refused, and an asset that was not created.
    pub fn observe(&mut self, operation: &Operation, time: TimeNs) {
        self.observe_all(&[Timed { operation, time }]);
    }

    fn fold(&mut self, operation: &Operation, time: TimeNs, homes: &Homes) {
        match Attempt::of(operation, time) {
            Some(Attempt::Transfer(event)) => {
                if let Some((from, to)) = self.parties(&event, homes) {
                    self.keep_before(from);
                    self.keep_before(to);
                    self.fold_transfer(from, to, &event);
                }
            }
            Some(Attempt::Report(report)) => {
                if let (Some(by), Some(accused)) = (self.find(report.by), self.find(report.accused)) {
                    self.keep_before(accused);
                    self.fold_report(by, accused, &report);
                }
            }
            Some(Attempt::Issuance(id)) => {
                let number = self.find_or_open(id);
                self.keep_before(number);
                self.at_mut(number).is_issuance = 1;
            }
            None => (),
        }
    }

    /// The two accounts of a transfer, opened if they have no past; `None` where one is an issuance account.
    #[inline]
    pub(super) fn parties(&mut self, event: &Event, homes: &Homes) -> Option<(u32, u32)> {
        let from = self.search(event.debit, homes[0]).ok();
        let to = self.search(event.credit, homes[1]).ok();
        let issues = |number: &u32| self.at(*number).is_issuance != 0;
        if from.iter().chain(&to).any(issues) {
            return None;
        }
        let from = from.unwrap_or_else(|| self.find_or_open(event.debit));
        Some((from, to.unwrap_or_else(|| self.find_or_open(event.credit))))
    }

    /// [`Self::observe`]s operations in order, faster than one by one.
    pub fn observe_all(&mut self, operations: &[Timed<'_>]) {
        self.begin_decided();
        for group in operations.chunks(GROUP) {
            let homes = self.touch_group(group);
            for (next, homes) in group.iter().zip(&homes) {
                self.fold(next.operation, next.time, homes);
            }
        }
        self.keep();
    }

    /// Reads the contexts of a group's accounts ahead of their use: reads overlap here, where folds wait for one
    /// another.
    #[inline]
    pub(super) fn touch_group(&mut self, group: &[Timed<'_>]) -> [Homes; GROUP] {
        // Room for all of them, and for the accounts of assets, so that no home changes before the group's end.
        while (index(self.len) + 2 * GROUP) * 2 > self.slots.len() {
            self.grow();
        }
        let mut homes = [[0; 2]; GROUP];
        for (homes, next) in homes.iter_mut().zip(group) {
            let Operation { debit, credit, .. } = next.operation;
            *homes = [self.home(debit.get()), self.home(credit.get())];
        }
        let slots = homes[..group.len()]
            .as_flattened()
            .iter()
            .map(|home| self.slots[*home]);
        let touched = slots.filter_map(|slot| slot.checked_sub(1));
        black_box(touched.fold(0, |all, number| all ^ self.at(number).of_each_line()));
        homes
    }

    #[inline]
    pub(super) fn fold_transfer(&mut self, from: u32, to: u32, event: &Event) {
        if from == to {
            return context::fold_own(self.at_mut(from), event);
        }
        let [from, to] = self.pair_mut(from, to);
        context::fold(from, to, event);
    }

    pub(super) fn fold_report(&mut self, by: u32, accused: u32, report: &Report) {
        if by != accused && self.at(accused).is_seen() && self.at(by).has_met(report.accused) {
            self.at_mut(accused).learn_of(report);
        }
    }

    /// The row of a transfer, from what was folded so far; `None` for what is not scored.
    pub fn row(&self, operation: &Operation, time: TimeNs) -> Option<Row> {
        let Some(Attempt::Transfer(event)) = Attempt::of(operation, time) else {
            return None;
        };
        let mut from = self.copy(event.debit);
        let mut to = self.copy(event.credit);
        if from.is_issuance != 0 || to.is_issuance != 0 {
            return None;
        }
        from.decay_to(&event);
        to.decay_to(&event);
        let mut row = Row([0; FEATURE_COUNT]);
        row::write(&from, &to, &event, &mut row);
        Some(row)
    }

    /// What is known of an account.
    pub(super) fn copy(&self, id: u128) -> Context {
        match self.find(id) {
            Some(number) => *self.at(number),
            None => Context::new(id),
        }
    }

    #[inline]
    pub(super) fn find(&self, id: u128) -> Option<u32> {
        self.search(id, self.home(id)).ok()
    }

    /// The number of an account, or the free slot where it would stand; `home` is its home.
    #[inline]
    pub(super) fn search(&self, id: u128, home: usize) -> Result<u32, usize> {
        let mask = self.slots.len() - 1;
        let mut at = home;
        loop {
            match self.slots[at].checked_sub(1) {
                None => return Err(at),
                Some(number) if self.at(number).is(id) => return Ok(number),
                Some(_) => at = (at + 1) & mask,
            }
        }
    }

    #[inline]
    fn home(&self, id: u128) -> usize {
        let low = u64::try_from(id & u128::from(u64::MAX)).unwrap_or(0) ^ self.secret;
        let high = u64::try_from(id >> 64).unwrap_or(0) ^ self.secret.rotate_left(29);
        let product = u128::from(low | 1) * u128::from(high.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let folded = (product ^ product >> 64 ^ u128::from(low)) & u128::from(u64::MAX);
        let mixed = u64::try_from(folded)
            .unwrap_or(0)
            .wrapping_mul(0xd6e8_feb8_6659_fd93);
        let shift = 64 - self.slots.len().trailing_zeros();
        usize::try_from(mixed >> shift).unwrap_or(0)
    }

    pub(super) fn find_or_open(&mut self, id: u128) -> u32 {
        match self.search(id, self.home(id)) {
            Ok(number) => number,
            Err(at) => self.push(at, Context::new(id)),
        }
    }

    /// Puts a context that [`Self::find`] does not find.
    pub(super) fn put(&mut self, context: Context) -> Option<u32> {
        let at = self.search(context.id(), self.home(context.id())).err()?;
        Some(self.push(at, context))
    }

    /// Appends a context that [`Self::search`] did not find, at the slot that it gave.
    pub(super) fn push(&mut self, at: usize, context: Context) -> u32 {
        let number = self.len;
        let chunk = index(number >> CHUNK_BITS);
        if chunk == self.rows.len() {
            self.rows.push(Vec::with_capacity(CHUNK));
        }
        self.rows[chunk].push(context);
        self.len += 1;
        self.slots[at] = self.len;
        if index(self.len) * 2 > self.slots.len() {
            self.grow();
        }
        number
    }

    fn grow(&mut self) {
        self.slots = vec![0; self.slots.len() * 2];
        let mask = self.slots.len() - 1;
        for number in 0..self.len {
            let mut at = self.home(self.at(number).id());
            while self.slots[at] != 0 {
                at = (at + 1) & mask;
            }
            self.slots[at] = number + 1;
        }
    }

    /// Forgets the accounts from this number on: those that came last.
    pub(super) fn forget_from(&mut self, number: u32) {
        let mask = self.slots.len() - 1;
        // Backwards, so that none which is left was placed after one that goes.
        for last in (number..self.len).rev() {
            let mut at = self.home(self.at(last).id());
            while self.slots[at] != last + 1 {
                at = (at + 1) & mask;
            }
            self.slots[at] = 0;
            self.rows[index(last >> CHUNK_BITS)].pop();
        }
        self.len = self.len.min(number);
        let chunks = index(self.len).div_ceil(CHUNK);
        self.rows.truncate(chunks);
    }

    #[inline]
    pub(super) fn at(&self, number: u32) -> &Context {
        let (chunk, at) = place(number);
        &self.rows[chunk][at]
    }

    #[inline]
    pub(super) fn at_mut(&mut self, number: u32) -> &mut Context {
        let (chunk, at) = place(number);
        &mut self.rows[chunk][at]
    }

    /// Two different contexts.
    #[inline]
    fn pair_mut(&mut self, one: u32, other: u32) -> [&mut Context; 2] {
        let ((one_chunk, one), (other_chunk, other)) = (place(one), place(other));
        if one_chunk == other_chunk {
            let chunk = &mut self.rows[one_chunk];
            return chunk
                .get_disjoint_mut([one, other])
                .expect("two numbers that differ");
        }
        let chunks = self.rows.get_disjoint_mut([one_chunk, other_chunk]);
        let [one_chunk, other_chunk] = chunks.expect("two chunks that differ");
        [&mut one_chunk[one], &mut other_chunk[other]]
    }

    /// Every context, in the order of numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Context> {
        self.rows.iter().flatten()
    }
}

/// The chunk of a number, and its place there.
#[inline]
fn place(number: u32) -> (usize, usize) {
    let number = index(number);
    (number >> CHUNK_BITS, number & (CHUNK - 1))
}

/// What an operation attempts, as far as contexts remember it.
pub(super) enum Attempt {
    /// A transfer, plain or pending.
    Transfer(Event),
    /// A report that names the account it accuses or clears.
    Report(Report),
    /// An asset with this issuance account.
    Issuance(u128),
}

impl Attempt {
    #[inline]
    pub(super) fn of(operation: &Operation, time: TimeNs) -> Option<Self> {
        match operation.kind {
            TRANSFER => Self::transfer(operation, time),
            REPORT => Self::report(operation, time),
            CREATE_ASSET => Some(Self::Issuance(operation.id.get())),
            _ => None,
        }
    }

    #[inline]
    fn transfer(operation: &Operation, time: TimeNs) -> Option<Self> {
        let settles = OperationFlags::POST.0 | OperationFlags::VOID.0;
        let event = || {
            Event::new(
                operation.debit.get(),
                operation.credit.get(),
                operation.amount.get(),
                time,
            )
        };
        (operation.flags.get() & settles == 0).then(|| Self::Transfer(event()))
    }

    fn report(operation: &Operation, time: TimeNs) -> Option<Self> {
        let is_fraud = match operation.code.get() {
            FRAUD => true,
            CLEARED => false,
            _ => return None,
        };
        let (by, accused) = (operation.pending.get(), operation.user_data_128.get());
        Some(Self::Report(Report::new(by, accused, is_fraud, time)))
    }
}

const TRANSFER: u8 = Kind::Transfer.code();
const REPORT: u8 = Kind::Report.code();
const CREATE_ASSET: u8 = Kind::CreateAsset.code();
/// What a report's code says (docs/formats/operation.md).
const FRAUD: u16 = 1;
const CLEARED: u16 = 2;
