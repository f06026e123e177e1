//! The tally: what came of the transfers, counted by every client thread and read by whoever shows it.

use super::source::Batch;
use crate::telemetry::{Distribution, DistributionSnapshot};
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use selfchain_types::message::Committed;
use selfchain_types::{OperationFlags, Outcome, codec};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// What came of the transfers so far. Locked once a transaction, never once a transfer.
#[derive(Debug, Default)]
pub(super) struct Tally {
    committed: AtomicU64,
    refused: AtomicU64,
    held: AtomicU64,
    released: AtomicU64,
    voided: AtomicU64,
    /// From the moment a transaction was due, or sent where nothing is timed, to its answer, in ns; each counts
    /// once for every operation.
    latency: Distribution,
    refusals: Mutex<BTreeMap<&'static str, u64>>,
    first_commit_ns: AtomicU64,
    last_commit_ns: AtomicU64,
}

impl Tally {
    /// A transaction was committed, so long after the stream began, so long after it was due. So many of its
    /// operations settle what is held, and are not counted.
    pub(super) fn committed(&self, answer: &Committed, reviews: u32, at: Duration, latency: Duration) {
        let is_refused = |(_, outcome, _): &&(u32, Outcome, _)| !outcome.took_effect();
        let refused = codec::wide(answer.refused.iter().filter(is_refused).count());
        let held = codec::wide(answer.refused.len()) - refused;
        self.held.fetch_add(held, Ordering::Relaxed);
        self.committed.fetch_add(
            u64::from(answer.operations.saturating_sub(reviews)).saturating_sub(refused),
            Ordering::Relaxed,
        );
        self.refused.fetch_add(refused, Ordering::Relaxed);
        self.latency
            .record_n(nanoseconds(latency), u64::from(answer.operations));
        // 0 says "none yet".
        let at = nanoseconds(at).max(1);
        self.last_commit_ns.fetch_max(at, Ordering::Relaxed);
        let unset = self
            .first_commit_ns
            .compare_exchange(0, at, Ordering::Relaxed, Ordering::Relaxed);
        if let Err(first) = unset
            && at < first
        {
            self.first_commit_ns.fetch_min(at, Ordering::Relaxed);
        }
        if refused > 0 {
            let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
            for (_, outcome, _) in answer.refused.iter().filter(is_refused) {
                *refusals.entry(outcome.name()).or_default() += 1;
            }
        }
    }

    /// A transaction that settles what is held was committed.
    pub(super) fn settled(&self, batch: &Batch, answer: &Committed) {
        if batch.reviews == 0 {
            return;
        }
        let refused = answer.refused.iter();
        let refused: BTreeSet<u32> = refused
            .filter(|(_, outcome, _)| !outcome.took_effect())
            .map(|(at, ..)| *at)
            .collect();
        let done = (0..)
            .zip(&batch.operations)
            .filter(|(at, _)| !refused.contains(at));
        for (_, operation) in done {
            let settles = |flag| u64::from(operation.flags().has(flag));
            self.released
                .fetch_add(settles(OperationFlags::POST), Ordering::Relaxed);
            self.voided
                .fetch_add(settles(OperationFlags::VOID), Ordering::Relaxed);
        }
    }

    /// The counts as of now.
    pub(super) fn counts(&self) -> Counts {
        let when = |ns: &AtomicU64| match ns.load(Ordering::Relaxed) {
            0 => None,
            ns => Some(Duration::from_nanos(ns)),
        };
        Counts {
            committed: self.committed.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            held: self.held.load(Ordering::Relaxed),
            released: self.released.load(Ordering::Relaxed),
            voided: self.voided.load(Ordering::Relaxed),
            refusals: self
                .refusals
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            first_commit: when(&self.first_commit_ns),
            last_commit: when(&self.last_commit_ns),
        }
    }

    /// The latencies as of now.
    pub(super) fn latency(&self) -> DistributionSnapshot {
        self.latency.snapshot()
    }
}

/// What came of the transfers until one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) committed: u64,
    pub(super) refused: u64,
    /// Those of the committed that were held.
    pub(super) held: u64,
    /// Those of the held that were released.
    pub(super) released: u64,
    /// Those of the held that were voided.
    pub(super) voided: u64,
    /// Refused ones by reason.
    pub(super) refusals: BTreeMap<&'static str, u64>,
    /// When the first answer came, from the beginning of the stream.
    pub(super) first_commit: Option<Duration>,
    /// When the last answer came.
    pub(super) last_commit: Option<Duration>,
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfchain_types::{Amount, Height, Operation, TimeNs};

    #[test]
    fn every_operation_is_counted_once_and_refusals_by_reason() {
        let tally = Tally::default();
        let answer = |refused: &[Outcome]| Committed {
            duplicate: false,
            height: Height(1),
            index: 0,
            time_ns: TimeNs(1),
            operations: 4,
            refused: (0..)
                .zip(refused)
                .map(|(at, outcome)| (at, *outcome, None))
                .collect(),
            balances: Vec::new(),
        };
        let ms = Duration::from_millis;
        tally.committed(&answer(&[Outcome::InsufficientFunds]), 0, ms(20), ms(2));
        tally.committed(
            &answer(&[Outcome::AccountsSame, Outcome::InsufficientFunds, Outcome::Held]),
            1,
            ms(10),
            ms(1),
        );
        let counts = tally.counts();
        assert_eq!((counts.committed, counts.refused, counts.held), (4, 3, 1));
        assert_eq!(
            counts.refusals,
            BTreeMap::from([("accounts_same", 1), ("insufficient_funds", 2)])
        );
        assert_eq!(
            (counts.first_commit, counts.last_commit),
            (Some(ms(10)), Some(ms(20)))
        );
        assert_eq!(tally.latency().count(), 8);
    }

    #[test]
    fn what_settles_holds_is_counted_once_it_took_effect() {
        let tally = Tally::default();
        let batch = Batch {
            operations: vec![
                Operation::post(1, 7, Amount::MAX),
                Operation::void(2, 8),
                Operation::void(3, 9),
                Operation::default(),
            ],
            reviews: 3,
            ..Batch::default()
        };
        let answer = Committed {
            duplicate: false,
            height: Height(1),
            index: 0,
            time_ns: TimeNs(1),
            operations: 4,
            refused: vec![(1, Outcome::PendingUnknown, None)],
            balances: Vec::new(),
        };
        tally.settled(&batch, &answer);
        tally.settled(&Batch { reviews: 0, ..batch }, &answer);
        let counts = tally.counts();
        assert_eq!((counts.released, counts.voided), (1, 1));
    }
}
