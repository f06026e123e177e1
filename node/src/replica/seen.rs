//! Seen: how a block compares to what this node would have built, for the extension of its precommit.

use super::acknowledged::INCLUSION_BOUND;
use selfchain_consensus::poai::reference::{self, Comparison, Room, compare};
use selfchain_engine::commit::Candidate;
use selfchain_engine::pool::{Pool, Waiting};
use selfchain_types::genesis::Limits;
use selfchain_types::{Hash, Height};
use std::collections::{BTreeSet, VecDeque};

/// More transactions that wait than this are not compared: it would take longer than it is worth.
const COMPARED_MAX: usize = 1_024;
/// Of those that have waited for too long so many are looked at, the oldest.
const OVERDUE_MAX: usize = 1_024;

/// Which transactions had come by when: admissions to the pool when the last blocks were decided, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    marks: VecDeque<u64>,
}

impl Arrivals {
    /// A block is decided, after so many admissions.
    pub(super) fn decided(&mut self, admissions: u64) {
        self.marks.push_back(admissions);
        while self.marks.len() > usize::from(INCLUSION_BOUND) {
            self.marks.pop_front();
        }
    }

    /// What has waited here while [`INCLUSION_BOUND`] blocks could have held it, oldest first: nothing, where proposers do
    /// their work and blocks have room.
    pub(super) fn overdue<T>(&self, pool: &Pool<T>, tip: Height) -> Vec<Waiting> {
        let is_known = self.marks.len() == usize::from(INCLUSION_BOUND);
        let Some(mark) = self.marks.front().filter(|_| is_known) else {
            return Vec::new();
        };
        let could = |one: &Waiting| one.from.0.saturating_add(u64::from(INCLUSION_BOUND)) <= tip.next().0;
        pool.waiting()
            .take_while(|one| one.arrival <= *mark)
            .take(OVERDUE_MAX)
            .filter(could)
            .collect()
    }

    /// Compares a block with the reference over what waits here since before the last block: what came later, its
    /// proposer may not have had. Where that is too much to look at, nothing is said against the block. Of what its proposer
    /// acknowledged long ago, `overdue` has the numbers of arrival.
    pub(super) fn compare<T>(
        &self,
        pool: &Pool<T>,
        candidate: &Candidate,
        limits: &Limits,
        overdue: &BTreeSet<u64>,
    ) -> Comparison {
        let unseen = Comparison {
            efficiency: selfchain_consensus::poai::extension::WHOLE,
            starved: 0,
        };
        let Some(known) = self.marks.back() else {
            return unseen;
        };
        if !is_compared(pool) {
            return unseen;
        }
        let ids: BTreeSet<Hash> = candidate.envelopes().iter().map(|one| one.tx_id()).collect();
        let mut block = BTreeSet::new();
        let mut waiting = Vec::with_capacity(pool.len());
        for one in pool.waiting().filter(|one| one.arrival <= *known) {
            if ids.contains(&one.tx_id) {
                block.insert(one.arrival);
            }
            waiting.push(reference::Waiting {
                id: one.arrival,
                fee: one.rate,
                arrived: one.arrival,
                bytes: u32::try_from(one.bytes).unwrap_or(u32::MAX),
                effects: u32::try_from(one.effects).unwrap_or(u32::MAX),
                is_overdue: overdue.contains(&one.arrival),
            });
        }
        let room = Room {
            bytes: u64::from(limits.block_bytes_max),
            effects: u64::from(limits.block_effects_max),
        };
        compare(&waiting, room, &block)
    }
}

/// Whether no more waits than a block is compared with.
pub(super) fn is_compared<T>(pool: &Pool<T>) -> bool {
    pool.len() <= COMPARED_MAX
}
