//! The contexts of all accounts: dense, found by id, folded in the order of the log.

use super::catalogue::Row;
use super::context::{self, Context, Event};
use super::row;
use selfchain_types::operation::{Kind, OperationFlags};
use selfchain_types::{AccountId, Amount, Operation, TimeNs};
use std::hash::{BuildHasher, RandomState};

/// The past of every account that has taken part in a transfer, numbered in the order of appearance.
#[derive(Clone, Debug)]
pub struct Contexts {
    rows: Vec<Vec<Context>>,
    len: u32,
    /// Number + 1 at the place of an id's hash or after it; 0 is free.
    slots: Vec<u32>,
    /// So that nobody can choose ids which all fall on one place. Numbers do not depend on it.
    secret: u64,
}

const CHUNK_BITS: u32 = 12;
/// Contexts that are allocated at a time.
const CHUNK: usize = 1 << CHUNK_BITS;
const SLOTS_MIN: usize = 1 << 10;

impl Default for Contexts {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            len: 0,
            slots: vec![0; SLOTS_MIN],
            secret: RandomState::new().hash_one(0_u8),
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
        self.rows.len() * CHUNK * size_of::<Context>() + self.slots.len() * size_of::<u32>()
    }

    /// Folds an operation as attempted. What moves nothing by itself leaves no trace.
    pub fn observe(&mut self, operation: &Operation, time: TimeNs) {
        let Some(event) = event(operation, time) else {
            return;
        };
        let from = self.find_or_open(event.debit);
        if event.debit == event.credit {
            context::fold_own(self.at_mut(from), &event);
            return;
        }
        let to = self.find_or_open(event.credit);
        let mut changed = *self.at(from);
        context::fold(&mut changed, self.at_mut(to), &event);
        *self.at_mut(from) = changed;
    }

    /// Folds the verdict of a reviewer on a transfer of `accused`, whose authority the caller has checked:
    /// confirmed fraud, or cleared.
    pub fn report(&mut self, accused: AccountId, is_fraud: bool, time: TimeNs) {
        let number = self.find_or_open(accused.0);
        self.at_mut(number).report(is_fraud, time);
    }

    /// The row of a transfer, from what was folded so far; `None` for what is not scored.
    pub fn row(&self, operation: &Operation, time: TimeNs) -> Option<Row> {
        let event = event(operation, time)?;
        let mut from = self.copy(event.debit);
        let mut to = self.copy(event.credit);
        from.decay_to(&event);
        to.decay_to(&event);
        Some(row::row(&from, &to, &event))
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
        self.search(id).ok()
    }

    /// The number of an account, or the free slot where it would stand.
    #[inline]
    fn search(&self, id: u128) -> Result<u32, usize> {
        let mask = self.slots.len() - 1;
        let mut at = self.home(id);
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
        match self.search(id) {
            Ok(number) => number,
            Err(at) => self.push(at, Context::new(id)),
        }
    }

    /// Puts a context that [`Self::find`] does not find.
    pub(super) fn put(&mut self, context: Context) -> Option<u32> {
        let at = self.search(context.id()).err()?;
        Some(self.push(at, context))
    }

    fn push(&mut self, at: usize, context: Context) -> u32 {
        let number = self.len;
        let chunk = selfchain_types::codec::index(number >> CHUNK_BITS);
        if chunk == self.rows.len() {
            self.rows.push(Vec::with_capacity(CHUNK));
        }
        self.rows[chunk].push(context);
        self.len += 1;
        self.slots[at] = self.len;
        if selfchain_types::codec::index(self.len) * 2 > self.slots.len() {
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

    /// Forgets everything and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.slots.fill(0);
        self.rows.iter_mut().for_each(Vec::clear);
        self.len = 0;
    }

    #[inline]
    pub(super) fn at(&self, number: u32) -> &Context {
        let number = selfchain_types::codec::index(number);
        &self.rows[number >> CHUNK_BITS][number & (CHUNK - 1)]
    }

    #[inline]
    pub(super) fn at_mut(&mut self, number: u32) -> &mut Context {
        let number = selfchain_types::codec::index(number);
        &mut self.rows[number >> CHUNK_BITS][number & (CHUNK - 1)]
    }

    /// Every context, in the order of numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Context> {
        self.rows.iter().flatten()
    }
}

/// The transfer that an operation attempts, plain or pending.
#[inline]
pub(super) fn event(operation: &Operation, time: TimeNs) -> Option<Event> {
    let settles = OperationFlags::POST.0 | OperationFlags::VOID.0;
    if operation.kind != Kind::Transfer.code() || operation.flags.get() & settles != 0 {
        return None;
    }
    Some(Event::new(
        operation.debit.get(),
        operation.credit.get(),
        Amount(operation.amount.get()),
        time,
    ))
}
