//! Crew: several validators as of now, and how fast each was since the last looks.

use super::events::LiveValidator;
use super::summary::per_second;
use crate::node::Node;
use core::time::Duration;
use selfchain_types::block::{Header, Row};
use selfchain_types::certificate::Certificate;
use selfchain_types::{Hash, Height, KeyId};
use std::collections::VecDeque;

/// What each validator had committed at the last looks.
#[derive(Default)]
pub(super) struct Crew {
    looks: VecDeque<(Duration, Vec<Committed>)>,
}

/// Transactions and operations.
type Committed = (u64, u64);

/// Looks that are kept: a second.
const LOOKS: usize = 4;

impl Crew {
    /// The validators, `elapsed` after the stream's beginning.
    pub(super) fn look(&mut self, nodes: &[Node], elapsed: Duration) -> Vec<LiveValidator> {
        let count = |node: &Node| {
            let metrics = node.metrics();
            (
                metrics.transactions_committed.get(),
                metrics.operations_committed.get(),
            )
        };
        let rates = self.rates(nodes.iter().map(count).collect(), elapsed);
        let live = nodes
            .iter()
            .zip(rates)
            .map(|(node, rates)| glance_at(node, rates));
        live.collect()
    }

    /// What each committed a second since the oldest look that is kept.
    fn rates(&mut self, counts: Vec<Committed>, elapsed: Duration) -> Vec<(f64, f64)> {
        let rates = match self.looks.front() {
            Some((since, before)) => {
                let span = elapsed.saturating_sub(*since);
                let rate = |now: u64, then: u64| per_second(now.saturating_sub(then), span);
                let both = counts.iter().zip(before);
                both.map(|(now, then)| (rate(now.0, then.0), rate(now.1, then.1)))
                    .collect()
            }
            None => vec![(0.0, 0.0); counts.len()],
        };
        self.looks.push_back((elapsed, counts));
        if self.looks.len() > LOOKS {
            self.looks.pop_front();
        }
        rates
    }
}

fn glance_at(node: &Node, (transactions_per_s, operations_per_s): (f64, f64)) -> LiveValidator {
    let newest = newest(node);
    let peers = node.reach().map_or_else(Vec::new, |reach| reach.status());
    let view = node.view();
    let now = view.plane.as_ref().filter(|plane| plane.height > newest.height);
    let founders = &node.genesis().validators;
    LiveValidator {
        height: newest.height.0,
        proposer: founders.iter().position(|one| one.key.id() == newest.proposer),
        round: newest.round,
        round_now: now.map_or(0, |plane| plane.round),
        transactions_per_s,
        operations_per_s,
        peers: (
            peers.iter().filter(|peer| peer.round_trip.is_some()).count(),
            peers.len(),
        ),
        pool_len: node.metrics().pool_transactions.get(),
        fault: node.fault(),
    }
}

/// A block, as it is shown.
struct Newest {
    height: Height,
    proposer: KeyId,
    round: u32,
}

/// The newest durable block: all that is shown of it is from one row of the log, so that validators that show one
/// height show one proposer.
fn newest(node: &Node) -> Newest {
    let height = node.tip().height;
    let row = node.log().read(height.0).ok();
    let read = |row: &[u8]| -> Option<(KeyId, u32)> {
        let row = Row::decode(row).ok()?;
        let header = Header::decode(row.header).ok()?;
        Some((header.proposer, Certificate::decode(row.local).ok()?.round))
    };
    let (proposer, round) = row.and_then(|row| read(&row)).unwrap_or((KeyId(Hash::ZERO), 0));
    Newest {
        height,
        proposer,
        round,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_second() {
        let mut crew = Crew::default();
        let at = Duration::from_secs;
        let mut look = |second, count| crew.rates(vec![(count, 2 * count), (0, 0)], at(second));
        assert_eq!(look(0, 50), [(0.0, 0.0); 2], "from the first look on");
        assert_eq!(look(1, 150), [(100.0, 200.0), (0.0, 0.0)]);
        (2..6).for_each(|second| drop(look(second, 150)));
        let later = look(6, 190);
        assert_eq!(
            later[0],
            (10.0, 20.0),
            "40 in the four seconds since the oldest look kept"
        );
    }
}
