//! Deciding: what becomes of a block, from being built or judged to being committed.

use super::bodies::Body;
use super::exchange::BODY_WAIT_NS;
use super::replica::{Committed, Decided, Judging, RECORD_BODY, Replica, ReplicaError, Ticket, To};
use super::seen::is_compared;
use super::starving::Judge;
use crate::standing::{Seen, extension};
use crate::telemetry::agreement::InvalidBlock;
use selfchain_consensus::bft::OBJECTION_ROUND_MAX;
use selfchain_engine::builder::{BlockLimits, build};
use selfchain_engine::commit::{Candidate, Chain, Known, Proposal, Proposing, VerifyError};
use selfchain_engine::pool::LaneView;
use selfchain_types::certificate::Certificate;
use selfchain_types::codec;
use selfchain_types::peer::PeerMessage;
use selfchain_types::seam::consensus::{Input, Verdict};
use selfchain_types::{Height, KeyId, TimeNs, Verified};

/// A block may be so far ahead of a voter's clock before it objects, in ns; twice that in the second round, and so on.
const CLOCK_LEAD_MAX_NS: u64 = 2_000_000_000;

impl<T: Ticket> Replica<T> {
    pub(super) fn build(&mut self, height: Height, round: u32, now: TimeNs) -> Result<(), ReplicaError> {
        self.give_back();
        let Some(said) = self.word.say(&self.chain) else {
            tracing::warn!(%height, "no reveal is left of this validator's chain: it cannot propose");
            return Ok(());
        };
        let ledger = self.chain.ledger();
        let limits = self.chain.genesis().limits;
        let expiries = ledger.expiries_at(ledger.next_time(&[], now));
        let limits = BlockLimits {
            bytes_max: bytes_max(limits.block_bytes_max, round),
            // Expiries come first and count as effects.
            effects_max: u64::from(limits.block_effects_max).saturating_sub(codec::wide(expiries)),
            envelopes_max: if self.options.starves {
                0
            } else {
                self.options.envelopes_max
            },
        };
        let entries = build(&mut self.pool, &limits, self.options.order);
        let envelopes: Vec<Verified> = entries.iter().map(|entry| entry.verified.clone()).collect();
        self.proposed = entries;
        let risk = self.scores.propose(&self.chain, &envelopes, now);
        let proposing = Proposing {
            proposer: self.signer,
            round,
            reveal: said.reveal,
            parent_certificate: &self.tip_certificate,
            late_precommits: &said.late_precommits,
            evidence: &said.evidence,
        };
        let candidate = self.chain.propose(envelopes, risk, now, proposing);
        let block = candidate.hash();
        self.scores.proposed(block);
        let bytes = candidate.to_bytes();
        self.keep_body(height, &bytes)?;
        self.send(To::All, &PeerMessage::Body(&bytes));
        self.bodies.own(candidate);
        self.counts.proposed += 1;
        self.proposal_seen.get_or_insert(now);
        self.last_block = now;
        let seen = Seen::own();
        let extension = extension(self.chain.genesis().plane, &seen);
        let built = Input::Built {
            height,
            round,
            block,
            extension,
        };
        self.input(built, now)
    }

    fn keep_body(&mut self, height: Height, bytes: &[u8]) -> Result<(), ReplicaError> {
        if !self.options.keeps_bodies {
            return Ok(());
        }
        self.journal.append(height.0, &[&[RECORD_BODY], bytes].concat())?;
        self.is_journal_behind = true;
        Ok(())
    }

    /// Puts what the own proposal of this height took out of the pool back into it.
    pub(super) fn give_back(&mut self) {
        let entries = core::mem::take(&mut self.proposed);
        if !entries.is_empty() {
            let lanes = Lanes(&self.chain);
            self.pool.give_back(entries, &lanes, &mut self.refused);
        }
    }

    /// Judges what the plane asked about, as far as bodies are here.
    pub(super) fn judge(&mut self, now: TimeNs) -> Result<(), ReplicaError> {
        if self.deciding.is_some() {
            return Ok(());
        }
        for judging in core::mem::take(&mut self.judging) {
            let block = judging.block;
            match self.bodies.get(&block) {
                None => {
                    let at = TimeNs(now.0.saturating_add(BODY_WAIT_NS));
                    self.wanted.entry(block).or_insert((at, 0));
                    self.judging.push(judging);
                }
                Some(_) => {
                    let (verdict, extension) = self.verdict(&judging, now)?;
                    let verdict = Input::Verdict {
                        block,
                        verdict,
                        extension,
                    };
                    self.input(verdict, now)?;
                }
            }
        }
        Ok(())
    }

    /// What this node finds of a block whose body is here, and what it would say of it beside yes; a body that is not
    /// invalid is in the journal then.
    fn verdict(&mut self, judging: &Judging, now: TimeNs) -> Result<(Verdict, Vec<u8>), ReplicaError> {
        let (block, round) = (&judging.block, judging.round);
        // What an own proposal of this height holds waits for others' blocks too.
        self.give_back();
        if let Some(Body::Received(proposal)) = self.bodies.get(block) {
            match self.may_follow(proposal) {
                Ok(candidate) if !self.scores.judge(&self.chain, &candidate) => {
                    tracing::warn!(%block, "a proposed block is invalid: its scores are not the model's");
                    self.counts.found_invalid(InvalidBlock::Scores);
                    self.bodies.disputed(block, candidate);
                }
                Ok(candidate) => {
                    let (height, bytes) = (proposal.header().height, proposal.as_bytes().to_vec());
                    self.keep_body(height, &bytes)?;
                    self.bodies.judged(block, candidate);
                }
                Err(error) => {
                    tracing::warn!(%block, error = %error, "a proposed block is invalid");
                    self.bodies.invalid(block);
                    self.counts.found_invalid(InvalidBlock::Content);
                }
            }
        }
        let Some(Body::Judged(candidate)) = self.bodies.get(block) else {
            return Ok((Verdict::Invalid, Vec::new()));
        };
        let header = candidate.header();
        let bytes = candidate
            .envelopes()
            .iter()
            .map(|one| codec::wide(one.as_bytes().len()));
        let is_too_large =
            bytes.sum::<u64>() > bytes_max(self.chain.genesis().limits.block_bytes_max, header.round);
        if header.round > round || is_too_large {
            self.counts.found_invalid(if is_too_large {
                InvalidBlock::Size
            } else {
                InvalidBlock::Round
            });
            return Ok((Verdict::Invalid, Vec::new()));
        }
        let lead = CLOCK_LEAD_MAX_NS.saturating_mul(u64::from(round).saturating_add(1));
        let is_ahead = header.time_ns.0 > now.0.saturating_add(lead);
        let genesis = self.chain.genesis();
        let judge = Judge {
            chain: &self.chain,
            seats: &self.seats,
            signatures: &self.signatures,
            bytes_max: bytes_max(genesis.limits.block_bytes_max, header.round),
            envelopes_max: self.options.envelopes_max,
            is_compared: is_compared(&self.pool),
        };
        let overdue = self.arrivals.overdue(&self.pool, self.chain.tip().height);
        let starved = judge.starved(overdue, &mut self.acknowledged, candidate);
        self.counts.acknowledgements_forged += starved.forged;
        let compared = (self.arrivals).compare(&self.pool, candidate, &genesis.limits, &starved.overdue);
        let seen = Seen {
            efficiency: compared.efficiency,
            starved: compared.starved,
            is_starved: starved.is_gross && round <= OBJECTION_ROUND_MAX,
            is_ahead,
            is_unscored: self.scores.leaves_out(block),
            received_ns: now.0.saturating_sub(judging.since.0),
        };
        let verdict = if seen.is_ahead || seen.is_unscored || seen.is_starved {
            self.counts.objected_clock += u64::from(seen.is_ahead);
            self.counts.objected_unscored += u64::from(seen.is_unscored);
            self.counts.objected_starved += u64::from(seen.is_starved);
            Verdict::Objection
        } else {
            self.counts.valid += 1;
            Verdict::Valid
        };
        Ok((verdict, extension(genesis.plane, &seen)))
    }

    /// Commits the block that is decided, once its body is here.
    pub(super) fn decide(&mut self, now: TimeNs) -> Result<(), ReplicaError> {
        let Some(certificate) = self.deciding.take() else {
            return Ok(());
        };
        let candidate = match self.bodies.take(&certificate.block) {
            Some(Body::Judged(candidate)) => *candidate,
            Some(Body::Disputed(candidate)) => {
                let (block, height) = (certificate.block, certificate.height);
                tracing::error!(%block, %height, "the others decided a block whose scores are not the model's");
                *candidate
            }
            Some(Body::Received(proposal)) => self.may_follow(&proposal).map_err(ReplicaError::Disagrees)?,
            Some(Body::Invalid) => {
                let height = certificate.height;
                let what = "block that was found invalid before";
                return Err(ReplicaError::Disagrees(VerifyError::Mismatch { height, what }));
            }
            None => {
                let offered = self.offered.take();
                match offered.filter(|offered| offered.hash() == certificate.block) {
                    Some(offered) => self.may_follow(&offered).map_err(ReplicaError::Disagrees)?,
                    None => {
                        self.wanted.entry(certificate.block).or_insert((now, 0));
                        self.deciding = Some(certificate);
                        return Ok(());
                    }
                }
            }
        };
        self.commit(&candidate, &certificate)?;
        self.last_block = now;
        self.start(now)
    }

    /// Whether a block may follow the tip. What was decided must be valid here; its scores were judged by those who
    /// decided it: a block keeps them, so that nobody needs the model later.
    fn may_follow(&self, proposal: &Proposal) -> Result<Candidate, VerifyError> {
        let (verified, word) = (&self.verified, &self.word);
        let known = Known {
            envelopes: Some(&**verified),
            precommit: &|height, round, block, one| word.vouches(height, round, block, one),
        };
        self.chain.judge(proposal, &self.signatures, &known)
    }

    fn commit(&mut self, candidate: &Candidate, certificate: &Certificate) -> Result<(), ReplicaError> {
        self.give_back();
        let mut tickets = Vec::with_capacity(candidate.envelopes().len());
        for envelope in candidate.envelopes() {
            let signers = envelope.view().signers();
            let ticket = self.pool.decided(&envelope.tx_id(), signers, &mut self.refused);
            tickets.push(ticket);
        }
        let wants = |at: usize| {
            let ticket = tickets.get(at).and_then(Option::as_ref);
            ticket.is_some_and(Ticket::wants_balances)
        };
        let block = self.chain.commit(candidate, certificate, &wants)?;
        self.scores.keep(candidate, &self.chain, &block);
        let height = block.tip.height;
        self.pool.advance(height.next(), &mut self.refused);
        self.arrivals.decided(self.pool.admissions());
        let validity_max = self.chain.genesis().limits.validity_max;
        let sits = |peer| self.seats.of_peer(peer).is_some();
        self.acknowledged.decided(height, validity_max, sits);
        self.acknowledging.remind();
        self.word.decided(&self.chain, certificate);
        self.note(candidate, certificate);
        let mut bytes = Vec::new();
        certificate.encode(&mut bytes);
        self.tip_certificate.clone_from(&bytes);
        let decided = Decided {
            block: candidate.to_bytes(),
            certificate: bytes,
        };
        self.recent.insert(height, decided);
        self.bodies.advance(height);
        self.judging.clear();
        self.wanted.clear();
        self.timers.clear();
        self.catch_up.moved();
        self.empties_due = if candidate.envelopes().is_empty() && block.result.expired.is_empty() {
            self.empties_due.saturating_sub(1)
        } else {
            self.chain.genesis().plane.root_lag()
        };
        self.committed.push(Committed {
            block,
            round: certificate.round,
            tickets,
        });
        self.checkpoint_decided(&candidate.header().to_bytes())
    }
}

impl<T> Replica<T> {
    /// Notes who did what in a block, for whoever operates the node.
    fn note(&mut self, candidate: &Candidate, certificate: &Certificate) {
        let (chain, header) = (&self.chain, candidate.header());
        let set_of = |height| chain.validators_of(height);
        if let Err(error) = self
            .lately
            .block(header, candidate.evidence(), certificate, &set_of)
        {
            // It was checked before it was decided.
            tracing::debug!(error = %error, "what a block proves is not shown");
        }
    }
}

/// Bytes of envelopes that a block may have which is first proposed in a round: half as many in each round as in the
/// one before. Every body that may be decided stays in the journal until its height is; so, however long a height
/// takes, they have two full blocks' bytes together.
fn bytes_max(block_bytes_max: u32, round: u32) -> u64 {
    u64::from(block_bytes_max).checked_shr(round).unwrap_or(0)
}

/// The lanes as the newest executed block left them.
pub(super) struct Lanes<'a>(pub(super) &'a Chain);

impl LaneView for Lanes<'_> {
    fn lane(&self, key: &KeyId, lane: u32) -> u64 {
        self.0.ledger().lane(key, lane)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_of_all_rounds_together_have_two_full_blocks() {
        let all: u64 = (0..1_000).map(|round| bytes_max(16 << 20, round)).sum();
        assert!(all < 2 * (16 << 20));
        assert_eq!((bytes_max(16 << 20, 0), bytes_max(16 << 20, 40)), (16 << 20, 0));
    }
}
