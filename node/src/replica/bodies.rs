//! Bodies of blocks that are not decided: bounded, a few for each peer and height.

use selfchain_engine::commit::{Candidate, Proposal};
use selfchain_types::{Hash, Height};
use std::collections::BTreeMap;

/// Most undecided bodies kept from one validator for one height: one for each of its first rounds.
pub(super) const BODIES_PER_PEER_MAX: usize = 4;
/// Most heights above the tip that bodies are kept for.
pub(super) const BODY_LEAD_MAX: u64 = 2;

/// Stands for this node among those that bodies came from: no validator's number.
pub(super) const OWN: u32 = u32::MAX;

/// How far a body is.
#[derive(Debug)]
pub(super) enum Body {
    /// It arrived.
    Received(Box<Proposal>),
    /// It is a block that may follow the tip.
    Judged(Box<Candidate>),
    /// It is, but for its scores, which are not the model's: this node never votes for it. The others may decide it
    /// all the same, if more than a third of them lack the model.
    Disputed(Box<Candidate>),
    /// It is not.
    Invalid,
}

#[derive(Debug)]
struct Kept {
    height: Height,
    from: u32,
    body: Body,
}

/// Bodies by hash.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    kept: BTreeMap<Hash, Kept>,
}

impl Bodies {
    /// Keeps what arrived from a peer, if there is room for it. One that was asked for always has room.
    pub(super) fn receive(&mut self, from: u32, proposal: Proposal, is_wanted: bool) -> bool {
        let (height, hash) = (proposal.header().height, proposal.hash());
        if self.kept.contains_key(&hash) {
            return false;
        }
        let of_peer = |kept: &&Kept| kept.from == from && kept.height == height;
        if !is_wanted && self.kept.values().filter(of_peer).count() >= BODIES_PER_PEER_MAX {
            return false;
        }
        let body = Body::Received(Box::new(proposal));
        self.kept.insert(hash, Kept { height, from, body });
        true
    }

    /// Keeps one of the node's own.
    pub(super) fn own(&mut self, candidate: Candidate) {
        let (height, hash) = (candidate.header().height, candidate.hash());
        let body = Body::Judged(Box::new(candidate));
        let from = OWN;
        self.kept.insert(hash, Kept { height, from, body });
    }

    /// Replaces what arrived by what was found of it.
    pub(super) fn judged(&mut self, hash: &Hash, candidate: Candidate) {
        if let Some(kept) = self.kept.get_mut(hash) {
            kept.body = Body::Judged(Box::new(candidate));
        }
    }

    /// Replaces what arrived by what may follow the tip if the others decide that its scores do.
    pub(super) fn disputed(&mut self, hash: &Hash, candidate: Candidate) {
        if let Some(kept) = self.kept.get_mut(hash) {
            kept.body = Body::Disputed(Box::new(candidate));
        }
    }

    /// Marks one that may never be decided.
    pub(super) fn invalid(&mut self, hash: &Hash) {
        if let Some(kept) = self.kept.get_mut(hash) {
            kept.body = Body::Invalid;
        }
    }

    pub(super) fn get(&self, hash: &Hash) -> Option<&Body> {
        self.kept.get(hash).map(|kept| &kept.body)
    }

    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Takes one out.
    pub(super) fn take(&mut self, hash: &Hash) -> Option<Body> {
        self.kept.remove(hash).map(|kept| kept.body)
    }

    /// Lets go of what is decided or overtaken.
    pub(super) fn advance(&mut self, tip: Height) {
        self.kept.retain(|_, kept| kept.height > tip);
    }
}
