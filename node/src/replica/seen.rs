//! Seen: how a block compares to what this node would have built, for the extension of its precommit.

use selfchain_consensus::poai::reference::{Comparison, Room, Waiting, compare};
use selfchain_engine::commit::Candidate;
use selfchain_engine::pool::Pool;
use selfchain_types::Hash;
use selfchain_types::genesis::Limits;
use std::collections::{BTreeSet, VecDeque};

/// Blocks that a transaction may wait for before it is overdue.
const OVERDUE_BLOCKS: usize = 8;
/// More transactions that wait than this are not compared: it would take longer than it is worth.
const COMPARED_MAX: usize = 1_024;

/// Which transactions had come by when: admissions to the pool when the last blocks were decided, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    marks: VecDeque<u64>,
}

impl Arrivals {
    /// A block is decided, after so many admissions.
    pub(super) fn decided(&mut self, admissions: u64) {
        self.marks.push_back(admissions);
        while self.marks.len() > OVERDUE_BLOCKS {
            self.marks.pop_front();
        }
    }

    /// Compares a block with the reference over what waits here since before the last block: what came later, its
    /// proposer may not have had. Where that is too much to look at, nothing is said against the block.
    pub(super) fn compare<T>(&self, pool: &Pool<T>, candidate: &Candidate, limits: &Limits) -> Comparison {
        let unseen = Comparison {
            efficiency: selfchain_consensus::poai::extension::WHOLE,
            starved: 0,
        };
        let Some(known) = self.marks.back() else {
            return unseen;
        };
        let overdue = self.marks.front().filter(|_| self.marks.len() == OVERDUE_BLOCKS);
        if pool.len() > COMPARED_MAX {
            return unseen;
        }
        let ids: BTreeSet<Hash> = candidate.envelopes().iter().map(|one| one.tx_id()).collect();
        let mut block = BTreeSet::new();
        let mut waiting = Vec::with_capacity(pool.len());
        for one in pool.waiting().filter(|one| one.arrival <= *known) {
            if ids.contains(&one.tx_id) {
                block.insert(one.arrival);
            }
            waiting.push(Waiting {
                id: one.arrival,
                fee: one.rate,
                arrived: one.arrival,
                bytes: u32::try_from(one.bytes).unwrap_or(u32::MAX),
                effects: u32::try_from(one.effects).unwrap_or(u32::MAX),
                is_overdue: overdue.is_some_and(|overdue| one.arrival <= *overdue),
            });
        }
        let room = Room {
            bytes: u64::from(limits.block_bytes_max),
            effects: u64::from(limits.block_effects_max),
        };
        compare(&waiting, room, &block)
    }
}
