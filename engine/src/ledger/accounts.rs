//! The table of accounts: hot and cold halves apart, found by id, with the books' balance kept at every write.

use super::dense::Dense;
use super::index::{ABSENT, Index, Place};
use super::keys::Keys;
use super::leaves::Leaves;
use super::snapshot::Moment;
use alloc::collections::BTreeMap;
use selfchain_types::account::{AccountCold, AccountHot, leaf_bytes};
use selfchain_types::{AccountId, Hash, hash};
use zerocopy::little_endian::{U16, U64, U128};
use zerocopy::{FromZeros, IntoBytes};

/// Every account, by number in the order of opening; as an index gives its hot half.
#[derive(Clone, Debug)]
pub(super) struct Accounts {
    rows: Dense<Row>,
    rests: Dense<Rest>,
    by_id: Index,
    leaves: Leaves,
    imbalances: Imbalances,
}

/// What a transfer reads, in two cache lines: the hot half, and of the cold one the id, to know it by.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Row {
    hot: AccountHot,
    id: U128,
    user_data_64: U64,
    opened: U64,
}

const _: () = assert!(size_of::<Row>() == 128);

/// What is left of the cold half: the owner is in the table of keys, and the rest of it is zero.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Rest {
    user_data_128: U128,
    code: U16,
}

impl core::ops::Index<u32> for Accounts {
    type Output = AccountHot;
    #[inline]
    fn index(&self, index: u32) -> &AccountHot {
        &self.rows[index].hot
    }
}

impl Accounts {
    pub(super) fn new() -> Self {
        Self {
            rows: Dense::default(),
            rests: Dense::default(),
            by_id: Index::new(),
            leaves: Leaves::default(),
            imbalances: Imbalances::default(),
        }
    }

    pub(super) fn len(&self) -> u32 {
        self.rows.len()
    }

    /// The hot half of an account, if there is one of this number.
    #[inline]
    pub(super) fn get(&self, index: u32) -> Option<&AccountHot> {
        self.rows.get(index).map(|row| &row.hot)
    }

    /// Every hot half, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &AccountHot> {
        self.rows.iter().map(|row| &row.hot)
    }

    /// The cold half of an account.
    pub(super) fn cold(&self, index: u32, keys: &Keys) -> AccountCold {
        cold(&self.rows[index], &self.rests[index], keys)
    }

    /// Both halves of an account: as they were at the freeze if that is asked for, else as they are.
    pub(super) fn halves(&self, index: u32, keys: &Keys, moment: Moment) -> (AccountHot, AccountCold) {
        let (row, rest) = (moment.of(&self.rows, index), moment.of(&self.rests, index));
        (row.hot, cold(row, rest, keys))
    }

    pub(super) fn freeze(&mut self) {
        self.rows.freeze();
        self.rests.freeze();
    }

    pub(super) fn release(&mut self, passed: u32) {
        self.rows.release(passed);
        self.rests.release(passed);
    }

    pub(super) fn thaw(&mut self) {
        self.rows.thaw();
        self.rests.thaw();
    }

    pub(super) fn frozen_bytes(&self) -> usize {
        self.rows.frozen_bytes() + self.rests.frozen_bytes()
    }

    pub(super) fn id(&self, index: u32) -> AccountId {
        AccountId(self.rows[index].id.get())
    }

    /// The number of an account.
    pub(super) fn find(&self, id: AccountId) -> Option<u32> {
        let hash = self.by_id.secret().of_u128(id.0);
        self.by_id.find(hash, |index| self.rows[index].id.get() == id.0)
    }

    /// Finds many accounts: the reads of each step overlap, where searches one by one would wait for memory
    /// at every step. Those that are not there are [`ABSENT`]. Their rows are in the cache afterwards.
    pub(super) fn find_many(&self, ids: &[u128], found: &mut [u32]) {
        let secret = self.by_id.secret();
        let mut hashes = [0; FIND_MANY_MAX];
        let mut places = [Place::default(); FIND_MANY_MAX];
        for ((hash, place), id) in hashes.iter_mut().zip(&mut places).zip(ids) {
            *hash = secret.of_u128(*id);
            *place = self.by_id.place(*hash);
        }
        for (slot, place) in found.iter_mut().zip(&places[..ids.len()]) {
            *slot = self.by_id.read(*place);
        }
        for (found, hash) in found.iter_mut().zip(&hashes[..ids.len()]) {
            *found = self.by_id.guess(*hash, *found);
        }
        let mut read = 0;
        let mut are_right = true;
        for (found, id) in found.iter().zip(ids) {
            if let Some(row) = self.rows.get(*found) {
                are_right &= row.id.get() == *id;
                read ^= row.hot.debits_posted.as_bytes()[0];
            }
        }
        core::hint::black_box(read);
        if !are_right {
            for (found, id) in found.iter_mut().zip(ids) {
                *found = self.find(AccountId(*id)).unwrap_or(ABSENT);
            }
        }
    }

    /// Opens an account that [`Self::find`] does not find, and whose owner has this number.
    pub(super) fn open(&mut self, hot: AccountHot, cold: &AccountCold) -> u32 {
        let index = self.rows.push(Row {
            hot,
            id: cold.id,
            user_data_64: cold.user_data_64,
            opened: cold.opened,
        });
        self.rests.push(Rest {
            user_data_128: cold.user_data_128,
            code: cold.code,
        });
        let (secret, rows) = (self.by_id.secret(), &self.rows);
        let hash = secret.of_u128(cold.id.get());
        self.by_id
            .insert(hash, index, |other| secret.of_u128(rows[other].id.get()));
        self.leaves.mark(index);
        index
    }

    /// Undoes the last opening.
    pub(super) fn undo_open(&mut self) {
        let index = self.len() - 1;
        let (secret, rows) = (self.by_id.secret(), &self.rows);
        let hash = secret.of_u128(rows[index].id.get());
        self.by_id
            .remove(hash, index, |other| secret.of_u128(rows[other].id.get()));
        self.rows.pop();
        self.rests.pop();
    }

    /// Changes a hot half: the only way to. What the totals were before and are after, as they lie in memory,
    /// goes into the balance of the block.
    #[inline]
    pub(super) fn change<T>(&mut self, index: u32, change: impl FnOnce(&mut AccountHot) -> T) -> T {
        let hot = &mut self.rows[index].hot;
        let before = debits_less_credits(hot);
        let answer = change(hot);
        let after = debits_less_credits(hot);
        let posted = after.0.wrapping_sub(before.0);
        let pending = after.1.wrapping_sub(before.1);
        self.imbalances.add(hot.asset.get(), posted, pending);
        self.leaves.mark(index);
        answer
    }

    /// Ends a block: whether debits and credits still balance, by asset; if not, the first asset's
    /// difference.
    pub(super) fn close_block(&mut self) -> Result<(), Imbalance> {
        self.imbalances.settle()
    }

    /// The root, after hashing what changed.
    pub(super) fn root(&mut self, keys: &Keys) -> Option<Hash> {
        let mut leaves = core::mem::take(&mut self.leaves);
        let root = leaves.root_of_blocks(self.len(), &hash::ACCOUNT, |index| {
            leaf_bytes(&self[index], &self.cold(index, keys))
        });
        self.leaves = leaves;
        root
    }

    pub(super) fn path(&self, index: u32) -> Option<(u64, Vec<Hash>)> {
        self.leaves.path(index)
    }
}

/// Most accounts that [`Accounts::find_many`] finds at once.
pub(super) const FIND_MANY_MAX: usize = 64;

/// By how much an asset's debits exceed its credits, modulo 2^128; zero unless the ledger is broken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imbalance {
    /// The asset's number.
    pub asset: u32,
    /// Of the posted totals.
    pub posted: u128,
    /// Of the pending totals.
    pub pending: u128,
}

/// What a block's changes add to debits minus credits, by asset.
#[derive(Clone, Debug, Default)]
struct Imbalances {
    /// The asset of the last account, which is nearly always that of the next.
    last: Imbalance,
    others: BTreeMap<u32, (u128, u128)>,
}

impl Imbalances {
    #[inline]
    fn add(&mut self, asset: u32, posted: u128, pending: u128) {
        if self.last.asset != asset {
            self.turn_to(asset);
        }
        self.last.posted = self.last.posted.wrapping_add(posted);
        self.last.pending = self.last.pending.wrapping_add(pending);
    }

    #[cold]
    fn turn_to(&mut self, asset: u32) {
        let last = self.last;
        self.others.insert(last.asset, (last.posted, last.pending));
        let (posted, pending) = self.others.get(&asset).copied().unwrap_or_default();
        self.last = Imbalance {
            asset,
            posted,
            pending,
        };
    }

    fn settle(&mut self) -> Result<(), Imbalance> {
        let asset = self.last.asset;
        self.turn_to(asset);
        let sums = core::mem::take(&mut self.others);
        self.last = Imbalance::default();
        let broken = sums.into_iter().find(|(_, sums)| *sums != (0, 0));
        broken.map_or(Ok(()), |(asset, (posted, pending))| {
            Err(Imbalance {
                asset,
                posted,
                pending,
            })
        })
    }
}

/// What of the cold half is not with it is with its owner, whose number and id never change.
fn cold(row: &Row, rest: &Rest, keys: &Keys) -> AccountCold {
    let mut cold = AccountCold::new_zeroed();
    cold.id = row.id;
    cold.owner = keys.records[row.hot.owner.get()].id.0;
    cold.user_data_128 = rest.user_data_128;
    cold.user_data_64 = row.user_data_64;
    cold.opened = row.opened;
    cold.code = rest.code;
    cold
}

fn debits_less_credits(hot: &AccountHot) -> (u128, u128) {
    let posted = hot.debits_posted.get().wrapping_sub(hot.credits_posted.get());
    let pending = hot.debits_pending.get().wrapping_sub(hot.credits_pending.get());
    (posted, pending)
}
