//! Fetched: decided blocks that a peer sent and that are not executed yet.
//!
//! A few are executed at a time, so that they go to the log while the next are executed, and the next answer is under
//! way meanwhile.

use super::replica::{Replica, ReplicaError, Ticket};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use selfchain_engine::commit::Proposal;
use selfchain_types::certificate::Certificate;
use selfchain_types::peer::BLOCKS_MAX;
use selfchain_types::seam::consensus::Input;
use selfchain_types::{Height, TimeNs};
use std::collections::VecDeque;
use std::sync::Arc;

/// So many are executed before anything else is looked at.
const AT_ONCE: usize = 32;

/// Blocks of consecutive heights. Less than two answers: another is asked for when they are fewer than one has at most.
#[derive(Debug, Default)]
pub(super) struct Fetched(VecDeque<One>);

#[derive(Debug)]
struct One {
    from: u32,
    block: Proposal,
    certificate: Certificate,
}

impl Fetched {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there are enough for now.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= BLOCKS_MAX
    }

    /// The height of the newest, or the tip's where it is higher.
    pub(super) fn reaches(&self, tip: Height) -> Height {
        self.0
            .back()
            .map_or(tip, |newest| newest.certificate.height.max(tip))
    }

    /// Takes in those of a peer's blocks that follow, up to the first that does not. Says how many.
    pub(super) fn take_in(&mut self, from: u32, blocks: &[(&[u8], &[u8])], tip: Height) -> usize {
        let before = self.0.len();
        for (block, certificate) in blocks {
            let (Ok(block), Ok(certificate)) =
                (Proposal::new(block.to_vec()), Certificate::decode(certificate))
            else {
                tracing::debug!(from, "a peer's decided block cannot be read");
                break;
            };
            let (height, newest) = (block.header().height, self.reaches(tip));
            if height <= newest {
                continue;
            }
            if height != newest.next() || certificate.height != height || certificate.block != block.hash() {
                break;
            }
            self.0.push_back(One {
                from,
                block,
                certificate,
            });
        }
        self.0.len() - before
    }
}

impl<T: Ticket> Replica<T> {
    /// Executes the next few.
    pub(super) fn execute_fetched(&mut self, now: TimeNs) -> Result<(), ReplicaError> {
        if self.fetched.is_empty() {
            return Ok(());
        }
        let count = AT_ONCE.min(self.fetched.0.len());
        let next: Vec<One> = self.fetched.0.drain(..count).collect();
        let (chain_id, set) = (self.chain.chain_id(), self.chain.validators());
        let verified: Vec<bool> = next
            .par_iter()
            .map(|one| one.certificate.verify(&chain_id, &set).is_ok())
            .collect();
        for (one, is_verified) in next.into_iter().zip(verified) {
            let height = one.certificate.height;
            // It may be decided here meanwhile.
            if height <= self.chain.tip().height {
                continue;
            }
            // After an epoch's end the plane looks at it with the set of then.
            let checked = is_verified && Arc::ptr_eq(&set, &self.chain.validators());
            self.offered = Some(one.block);
            let certificate = one.certificate;
            self.input(Input::Synced { certificate, checked }, now)?;
            self.perform(now)?;
            // The plane may have decided it before, without its body.
            self.decide(now)?;
            self.perform(now)?;
            self.offered = None;
            if self.chain.tip().height != height {
                self.fetched = Fetched::default();
                self.catch_up.misled(one.from);
                return Ok(());
            }
            self.counts.blocks_fetched += 1;
        }
        Ok(())
    }
}
