//! What a replica and its peers ask of one another: bodies, decided blocks, transactions.

use super::bodies::{BODY_LEAD_MAX, Body};
use super::replica::{Replica, ReplicaError, Ticket, To};
use selfchain_engine::commit::Proposal;
use selfchain_types::block::{Proposed, Row};
use selfchain_types::peer::{AskRefusal, Asked, BLOCKS_MAX, PeerMessage};
use selfchain_types::seam::log::LogError;
use selfchain_types::{Hash, Height, TimeNs, codec};

/// How long a body that the plane asked about may be under way before it is asked for, in ns.
pub(super) const BODY_WAIT_NS: u64 = 50_000_000;
/// Bytes of blocks that one message brings to a validator that is behind.
const BLOCKS_BYTES_MAX: usize = 4 << 20;
/// Bytes of transactions in one message, unless one alone has more: a quarter of what the lane carries.
const GOSSIP_BYTES_MAX: usize = 1 << 20;

impl<T: Ticket> Replica<T> {
    pub(super) fn flush_gossip(&mut self) {
        let gossip = core::mem::take(&mut self.gossip);
        for part in parts(&gossip, GOSSIP_BYTES_MAX, Vec::len) {
            let envelopes = part.iter().map(Vec::as_slice).collect();
            self.send(To::All, &PeerMessage::Transactions(envelopes));
        }
    }

    pub(super) fn ask_again(&mut self, now: TimeNs) {
        let height = self.chain.tip().height.next();
        let due: Vec<Hash> = self
            .wanted
            .iter()
            .filter(|(_, (at, _))| *at <= now)
            .map(|(block, _)| *block)
            .collect();
        for block in due {
            let Some((at, tries)) = self.wanted.get_mut(&block) else {
                continue;
            };
            // Each other validator in turn, but for those that just refused.
            let others = &self.others;
            let in_turn = others.iter().cycle().skip(*tries % others.len().max(1));
            let to = in_turn
                .take(others.len())
                .find(|peer| !self.catch_up.is_refusing(**peer, now))
                .copied();
            *tries += 1;
            *at = TimeNs(now.0.saturating_add(BODY_WAIT_NS));
            if let Some(to) = to {
                self.send(To::One(to), &PeerMessage::WantBody { height, block });
            }
        }
    }

    /// A body arrived, asked for or not.
    pub(super) fn body(&mut self, from: u32, bytes: &[u8], now: TimeNs) -> Result<(), ReplicaError> {
        let proposal = match Proposal::new(bytes.to_vec()) {
            Ok(proposal) => proposal,
            Err(error) => {
                tracing::debug!(from, error = %error, "a peer's block cannot be read");
                return Ok(());
            }
        };
        let (tip, height, hash) = (self.chain.tip().height, proposal.header().height, proposal.hash());
        if height <= tip || height.0 > tip.0 + BODY_LEAD_MAX {
            return Ok(());
        }
        let is_wanted = self.wanted.contains_key(&hash);
        if self.bodies.receive(from, proposal, is_wanted) {
            self.wanted.remove(&hash);
            self.decide(now)?;
            self.judge(now)?;
        }
        Ok(())
    }

    /// Decided blocks arrived, asked for or not. While some wait, those that nobody asked for are dropped: they could
    /// be in the place of good ones.
    pub(super) fn blocks(&mut self, from: u32, blocks: &[(&[u8], &[u8])]) {
        let is_welcome = self.fetched.is_empty() || (self.catch_up.is_asked(from) && !self.fetched.is_full());
        let tip = self.chain.tip().height;
        let is_new = is_welcome && self.fetched.take_in(from, blocks, tip) > 0;
        self.catch_up.answered(from, is_new);
        if let Some(sharing) = self.sharing.as_mut().filter(|_| blocks.is_empty()) {
            sharing.joining.starved_by(from);
        }
    }

    /// Whether a peer may be sent what it asks for; it is told when not.
    pub(super) fn may_serve(&mut self, to: u32, asked: Asked, now: TimeNs) -> bool {
        let Err(retry_after_ms) = self.allowance.ask(to, now) else {
            return true;
        };
        let why = AskRefusal::RateLimited;
        self.counts.refused_to_serve(asked);
        self.send(
            To::One(to),
            &PeerMessage::Refused {
                asked,
                why,
                retry_after_ms,
            },
        );
        false
    }

    pub(super) fn serve_body(
        &mut self,
        from: u32,
        height: Height,
        block: &Hash,
        now: TimeNs,
    ) -> Result<(), ReplicaError> {
        if !self.may_serve(from, Asked::Body, now) {
            return Ok(());
        }
        let bytes = match self.bodies.get(block) {
            Some(Body::Judged(candidate)) => candidate.to_bytes(),
            Some(Body::Received(proposal)) => proposal.as_bytes().to_vec(),
            // What this node does not vote for it does not hand on either.
            Some(Body::Disputed(_) | Body::Invalid) => return Ok(()),
            None if height <= self.chain.tip().height => return self.send_blocks(from, height, now),
            None => return Ok(()),
        };
        self.allowance.sent(from, bytes.len(), now);
        self.counts.bodies_served += 1;
        self.send(To::One(from), &PeerMessage::Body(&bytes));
        Ok(())
    }

    pub(super) fn serve_blocks(&mut self, to: u32, from: Height, now: TimeNs) -> Result<(), ReplicaError> {
        if !self.may_serve(to, Asked::Blocks, now) {
            return Ok(());
        }
        self.send_blocks(to, from, now)
    }

    fn send_blocks(&mut self, to: u32, from: Height, now: TimeNs) -> Result<(), ReplicaError> {
        let mut rows: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut bytes = 0;
        let mut height = from.max(Height(1));
        while height <= self.chain.tip().height && rows.len() < BLOCKS_MAX && bytes < BLOCKS_BYTES_MAX {
            let pair = match self.recent.get(&height) {
                Some(decided) => (decided.block.clone(), decided.certificate.clone()),
                None => match self.log.read(height.0) {
                    Ok(row) => {
                        let row = Row::decode(&row).map_err(ReplicaError::Row)?;
                        (Proposed::from(row).to_bytes(), row.local.to_vec())
                    }
                    // Retention has dropped it: another validator may have it.
                    Err(LogError::Pruned { .. } | LogError::NotFound { .. }) => break,
                    Err(error) => return Err(error.into()),
                },
            };
            let len = pair.0.len() + pair.1.len();
            // A block of any size goes alone; with others it could be more than a link carries.
            if !rows.is_empty() && bytes + len > BLOCKS_BYTES_MAX {
                break;
            }
            bytes += len;
            rows.push(pair);
            height = height.next();
        }
        self.allowance.sent(to, bytes, now);
        self.counts.blocks_served += codec::wide(rows.len());
        let blocks = rows
            .iter()
            .map(|(block, certificate)| (block.as_slice(), certificate.as_slice()));
        self.send(To::One(to), &PeerMessage::Blocks(blocks.collect()));
        Ok(())
    }
}

/// Cuts `all`, in order, into parts of at most `len_max` together, or of one alone that is longer.
fn parts<I>(all: &[I], len_max: usize, len: impl Fn(&I) -> usize) -> impl Iterator<Item = &[I]> {
    let mut left = all;
    core::iter::from_fn(move || {
        let mut total = 0;
        let fitting = left.iter().take_while(|item| {
            total += len(item);
            total <= len_max
        });
        let count = fitting.count().max(1).min(left.len());
        let (part, rest) = left.split_at(count);
        left = rest;
        (!part.is_empty()).then_some(part)
    })
}

#[cfg(test)]
mod parts_tests {
    use super::*;

    #[test]
    fn parts_keep_order_and_fit_but_for_one_that_is_longer_alone() {
        let check = |lens: &[usize], want: &[&[usize]]| {
            let got: Vec<&[usize]> = parts(lens, 10, |len| *len).collect();
            assert_eq!(got, want);
        };
        check(&[], &[]);
        check(&[3, 3, 3, 3], &[&[3, 3, 3], &[3]]);
        check(&[12, 10, 1, 40, 40], &[&[12], &[10], &[1], &[40], &[40]]);
    }
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests;
