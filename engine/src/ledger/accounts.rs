//! The table of accounts: hot and cold halves apart, found by id, and those that the block touched.

use super::dense::Dense;
use super::index::{ABSENT, Index};
use super::leaves::Leaves;
use super::marks::Marks;
use alloc::collections::BTreeMap;
use selfchain_types::account::{AccountCold, AccountHot, leaf};
use selfchain_types::{AccountId, Hash};
use zerocopy::IntoBytes;

/// Every account, by number in the order of opening.
#[derive(Clone, Debug)]
pub(super) struct Accounts {
    pub(super) hot: Dense<AccountHot>,
    pub(super) cold: Dense<AccountCold>,
    ids: Index,
    leaves: Leaves,
    touched: Marks,
    imbalances: Imbalances,
}

impl Accounts {
    pub(super) fn new() -> Self {
        Self {
            hot: Dense::default(),
            cold: Dense::default(),
            ids: Index::new(),
            leaves: Leaves::default(),
            touched: Marks::default(),
            imbalances: Imbalances::default(),
        }
    }

    pub(super) fn len(&self) -> u32 {
        self.hot.len()
    }

    pub(super) fn id(&self, index: u32) -> AccountId {
        AccountId(self.cold[index].id.get())
    }

    /// The number of an account.
    pub(super) fn find(&self, id: AccountId) -> Option<u32> {
        let hash = self.ids.secret().of_u128(id.0);
        self.ids.find(hash, |index| self.cold[index].id.get() == id.0)
    }

    /// Finds many accounts: the reads of each step overlap, where searches one by one would wait for memory
    /// at every step. Those that are not there are [`ABSENT`]. Their hot halves are read too.
    pub(super) fn find_many(&self, ids: &[u128], found: &mut [u32]) {
        let secret = self.ids.secret();
        let mut hashes = [0; FIND_MANY_MAX];
        let mut read = 0;
        for (hash, id) in hashes.iter_mut().zip(ids) {
            *hash = secret.of_u128(*id);
            read ^= self.ids.warm(*hash);
        }
        for (found, hash) in found.iter_mut().zip(&hashes[..ids.len()]) {
            *found = self.ids.guess(*hash);
        }
        for (found, id) in found.iter_mut().zip(ids) {
            let is_right = self.cold.get(*found).is_some_and(|cold| cold.id.get() == *id);
            if !is_right && *found != ABSENT {
                *found = self.find(AccountId(*id)).unwrap_or(ABSENT);
            }
        }
        for found in &found[..ids.len()] {
            if let Some(hot) = self.hot.get(*found) {
                read ^= hot.asset.get() ^ u32::from(hot.debits_posted.as_bytes()[0]);
            }
        }
        core::hint::black_box(read);
    }

    /// Opens an account that [`Self::find`] does not find.
    pub(super) fn open(&mut self, hot: AccountHot, cold: AccountCold) -> u32 {
        let index = self.hot.push(hot);
        self.cold.push(cold);
        let (secret, records) = (self.ids.secret(), &self.cold);
        self.ids.insert(secret.of_u128(cold.id.get()), index, |other| {
            secret.of_u128(records[other].id.get())
        });
        self.touch(index);
        index
    }

    /// Undoes the last opening.
    pub(super) fn undo_open(&mut self) {
        let index = self.len() - 1;
        let (secret, records) = (self.ids.secret(), &self.cold);
        let hash = secret.of_u128(records[index].id.get());
        self.ids
            .remove(hash, index, |other| secret.of_u128(records[other].id.get()));
        self.hot.pop();
        self.cold.pop();
    }

    /// Must come before every change of a hot half: the first one in a block notes what was there.
    #[inline]
    pub(super) fn touch(&mut self, index: u32) {
        if self.touched.set(index) {
            self.imbalances.forget(&self.hot[index]);
        }
    }

    /// Ends a block: whether debits and credits of the touched accounts still balance, by asset; if not, the
    /// first asset's difference.
    pub(super) fn close_block(&mut self) -> Result<(), Imbalance> {
        let (hot, leaves, imbalances) = (&self.hot, &mut self.leaves, &mut self.imbalances);
        self.touched.drain(usize::MAX, |index| {
            leaves.mark(index);
            // What a rolled back chain opened is gone; it had no totals when it was touched first.
            if let Some(hot) = hot.get(index) {
                imbalances.remember(hot);
            }
        });
        imbalances.settle()
    }

    pub(super) fn root(&mut self) -> Option<Hash> {
        let (hot, cold) = (&self.hot, &self.cold);
        self.leaves
            .root(hot.len(), |index| leaf(&hot[index], &cold[index]))
    }

    pub(super) fn path(&self, index: u32) -> Option<(u64, Vec<Hash>)> {
        self.leaves.path(index)
    }

    /// Ends the opening of restored accounts, which is no block: there is nothing to compare with.
    pub(super) fn forget_block(&mut self) {
        let leaves = &mut self.leaves;
        self.touched.drain(usize::MAX, |index| leaves.mark(index));
        self.imbalances = Imbalances::default();
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

/// Sums, by asset, of debits minus credits: those before the block taken away, those after it added.
#[derive(Clone, Debug, Default)]
struct Imbalances {
    /// The asset of the last account, which is nearly always that of the next.
    last: Imbalance,
    others: BTreeMap<u32, (u128, u128)>,
}

impl Imbalances {
    #[inline]
    fn forget(&mut self, hot: &AccountHot) {
        let (posted, pending) = imbalance(hot);
        self.add(hot.asset.get(), posted.wrapping_neg(), pending.wrapping_neg());
    }

    #[inline]
    fn remember(&mut self, hot: &AccountHot) {
        let (posted, pending) = imbalance(hot);
        self.add(hot.asset.get(), posted, pending);
    }

    #[inline]
    fn add(&mut self, asset: u32, posted: u128, pending: u128) {
        if self.last.asset != asset {
            self.turn_to(asset);
        }
        self.last.posted = self.last.posted.wrapping_add(posted);
        self.last.pending = self.last.pending.wrapping_add(pending);
    }

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

fn imbalance(hot: &AccountHot) -> (u128, u128) {
    let posted = hot.debits_posted.get().wrapping_sub(hot.credits_posted.get());
    let pending = hot.debits_pending.get().wrapping_sub(hot.credits_pending.get());
    (posted, pending)
}
