//! Watch: work on another thread, a look at it a few times a second, and the rates between two looks.

use super::events::Live;
use super::glance::Glance;
use super::summary::{milliseconds, per_second};
use super::tally::{Counts, Tally};
use crate::telemetry::DistributionSnapshot;
use core::time::Duration;
use std::collections::VecDeque;
use std::thread;

/// How often it is looked.
const TICK: Duration = Duration::from_millis(250);

/// Does the work, and meanwhile calls `tick` every [`TICK`] on this thread.
pub(super) fn watch<T: Send>(work: impl FnOnce() -> T + Send, tick: &mut dyn FnMut()) -> T {
    let watcher = thread::current();
    thread::scope(|scope| {
        let worker = scope.spawn(move || {
            let done = work();
            watcher.unpark();
            done
        });
        while !worker.is_finished() {
            tick();
            thread::park_timeout(TICK);
        }
        worker
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// What the tally said at the last looks: rates and latencies are those of about a second.
#[derive(Default)]
pub(super) struct Meter {
    looks: VecDeque<(Duration, u64, DistributionSnapshot)>,
}

/// Looks that are kept: a second.
const LOOKS: usize = 4;

impl Meter {
    /// The stream as it is `elapsed` after its beginning.
    pub(super) fn look(
        &mut self,
        elapsed: Duration,
        tally: &Tally,
        pool_len: u64,
        rows: Option<u64>,
        glance: Option<&mut Glance>,
    ) -> Live {
        let Counts {
            committed,
            refused,
            held,
            released,
            voided,
            refusals,
            ..
        } = tally.counts();
        let scores = glance.map(|glance| {
            glance.look();
            glance.scores(held, released, voided)
        });
        let latency = tally.latency();
        let (since, before, recent) = match self.looks.front() {
            Some((at, committed, earlier)) => (*at, *committed, latency.since(earlier)),
            None => (Duration::ZERO, 0, latency.clone()),
        };
        self.looks.push_back((elapsed, committed, latency));
        if self.looks.len() > LOOKS {
            self.looks.pop_front();
        }
        Live {
            elapsed,
            committed,
            refused,
            held,
            refusals,
            rows,
            committed_per_s: per_second(committed.saturating_sub(before), elapsed.saturating_sub(since)),
            commit_ms_p50: milliseconds(recent.quantile(0.5)),
            commit_ms_p99: milliseconds(recent.quantile(0.99)),
            pool_len,
            scores,
            validators: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfchain_types::message::Committed;
    use selfchain_types::{Height, TimeNs};

    #[test]
    fn rates_and_latencies_are_those_of_the_last_second() {
        let (mut meter, tally) = (Meter::default(), Tally::default());
        let mut look_after = |second: u64, operations: u32, latency_ms: u64| {
            let answer = Committed {
                duplicate: false,
                height: Height(1),
                index: 0,
                time_ns: TimeNs(1),
                operations,
                refused: Vec::new(),
                balances: Vec::new(),
            };
            let at = Duration::from_secs(second);
            tally.committed(&answer, 0, at, Duration::from_millis(latency_ms));
            meter.look(at, &tally, 7, None, None)
        };
        let first = look_after(1, 100, 1);
        assert!((first.committed_per_s - 100.0).abs() < 1e-9 && first.pool_len == 7);
        (2..6).for_each(|second| drop(look_after(second, 10, 1)));
        let later = look_after(6, 40, 90);
        // 70 in the four seconds since the oldest look kept.
        assert!((later.committed_per_s - 17.5).abs() < 1e-9, "{later:?}");
        assert!((0.9..1.1).contains(&first.commit_ms_p99) && (89.0..91.0).contains(&later.commit_ms_p99));
    }

    #[test]
    fn work_is_looked_at_until_it_is_done() {
        let (go, gone) = crossbeam::channel::bounded(1);
        let mut looks = 0;
        let done = watch(move || gone.recv().is_ok(), &mut || {
            looks += 1;
            assert!(
                go.try_send(()).is_ok() || looks > 1,
                "the work waits for the first look"
            );
        });
        assert!(done && looks >= 1);
    }
}
