//! Crew: several validators as of now, and how fast each was since the last looks.

use super::events::LiveValidator;
use super::summary::per_second;
use crate::node::Node;
use core::time::Duration;
use std::collections::VecDeque;

/// What each validator had committed at the last looks.
#[derive(Default)]
pub(super) struct Crew {
    looks: VecDeque<(Duration, Vec<u64>)>,
}

/// Looks that are kept: a second.
const LOOKS: usize = 4;

impl Crew {
    /// The validators, `elapsed` after the stream's beginning.
    pub(super) fn look(&mut self, nodes: &[Node], elapsed: Duration) -> Vec<LiveValidator> {
        let counts = nodes
            .iter()
            .map(|node| node.metrics().transactions_committed.get());
        let rates = self.rates(counts.collect(), elapsed);
        let live = nodes.iter().zip(rates).map(|(node, rate)| glance_at(node, rate));
        live.collect()
    }

    /// What each committed a second since the oldest look that is kept.
    fn rates(&mut self, counts: Vec<u64>, elapsed: Duration) -> Vec<f64> {
        let rates = match self.looks.front() {
            Some((since, before)) => {
                let of = |(now, then): (&u64, &u64)| {
                    per_second(now.saturating_sub(*then), elapsed.saturating_sub(*since))
                };
                counts.iter().zip(before).map(of).collect()
            }
            None => vec![0.0; counts.len()],
        };
        self.looks.push_back((elapsed, counts));
        if self.looks.len() > LOOKS {
            self.looks.pop_front();
        }
        rates
    }
}

fn glance_at(node: &Node, committed_per_s: f64) -> LiveValidator {
    let view = node.view();
    let plane = view.plane.as_ref();
    let peers = node.reach().map_or_else(Vec::new, |reach| reach.status());
    LiveValidator {
        height: node.tip().height.0,
        round: plane.map_or(0, |plane| plane.round),
        proposer: plane.and_then(|plane| plane.proposers.first().copied()),
        committed_per_s,
        peers: (
            peers.iter().filter(|peer| peer.round_trip.is_some()).count(),
            peers.len(),
        ),
        pool_len: node.metrics().pool_transactions.get(),
        fault: node.fault(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_second() {
        let mut crew = Crew::default();
        let at = Duration::from_secs;
        let mut look = |second, count| crew.rates(vec![count, 0], at(second));
        assert_eq!(look(0, 50), [0.0, 0.0], "from the first look on");
        assert_eq!(look(1, 150), [100.0, 0.0]);
        (2..6).for_each(|second| drop(look(second, 150)));
        assert_eq!(
            look(6, 190),
            [10.0, 0.0],
            "40 in the four seconds since the oldest look kept"
        );
    }
}
