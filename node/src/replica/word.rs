//! Word: what own blocks say of validators. Reveals, late precommits, and proofs of misbehaviour.

use crate::standing::Reveals;
use selfchain_engine::commit::{Chain, Known};
use selfchain_types::ballot::{Ballot, Statement};
use selfchain_types::certificate::{Certificate, Precommit};
use selfchain_types::evidence::{EVIDENCE_PER_BLOCK_MAX, Evidence, encode_evidence};
use selfchain_types::late::{LATE_BLOCKS, LatePrecommit, encode_late};
use selfchain_types::seam::standing::Offence;
use selfchain_types::{Hash, Height, KeyId};
use std::collections::BTreeMap;

/// Rounds of which one validator's precommits of one height are kept.
const ROUNDS_KEPT_MAX: usize = 4;
/// Most proofs that wait for a block of this node's.
const PROOFS_MAX: usize = 256;

/// What this node can say of validators in its next block.
pub(super) struct Word {
    me: KeyId,
    reveals: Box<Reveals>,
    /// By height and position in its set, then by round: each with its block, all of them verified.
    precommits: BTreeMap<(Height, u16), BTreeMap<u32, (Hash, Precommit)>>,
    proofs: Vec<Evidence>,
}

/// What goes into a block.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) reveal: Hash,
    pub(super) late_precommits: Vec<u8>,
    pub(super) evidence: Vec<u8>,
}

impl Word {
    pub(super) fn new(me: KeyId, reveals: Box<Reveals>) -> Self {
        Self {
            me,
            reveals,
            precommits: BTreeMap::new(),
            proofs: Vec::new(),
        }
    }

    /// The key that the next block is proposed with.
    pub(super) fn sign_as(&mut self, me: KeyId) {
        self.me = me;
    }

    /// What it reveals.
    pub(super) fn reveals(&mut self) -> &mut Reveals {
        &mut self.reveals
    }

    /// A precommit came that a decision had to do without.
    pub(super) fn late(&mut self, tip: Height, ballot: Ballot) {
        let is_kept = ballot.height.0.saturating_add(LATE_BLOCKS) >= tip.0;
        if let Statement::Precommit(block, extension) = ballot.statement
            && is_kept
        {
            let precommit = Precommit {
                validator: ballot.validator,
                extension,
                signature: ballot.signature,
            };
            self.keep(ballot.height, ballot.round, block, precommit);
        }
    }

    fn keep(&mut self, height: Height, round: u32, block: Hash, precommit: Precommit) {
        let rounds = self.precommits.entry((height, precommit.validator)).or_default();
        if rounds.len() < ROUNDS_KEPT_MAX {
            rounds.entry(round).or_insert((block, precommit));
        }
    }

    /// Whether this precommit for this block was verified here.
    pub(super) fn vouches(&self, height: Height, round: u32, block: &Hash, precommit: &Precommit) -> bool {
        let rounds = self.precommits.get(&(height, precommit.validator));
        let kept = rounds.and_then(|rounds| rounds.get(&round));
        kept.is_some_and(|(of, kept)| of == block && kept == precommit)
    }

    /// A validator contradicted itself.
    pub(super) fn proof(&mut self, evidence: Evidence) {
        if self.proofs.len() < PROOFS_MAX && !self.proofs.contains(&evidence) {
            self.proofs.push(evidence);
        }
    }

    /// Proofs that wait for a block.
    pub(super) fn proofs(&self) -> &[Evidence] {
        &self.proofs
    }

    /// A block is decided. What the next ones cannot say any more is forgotten.
    pub(super) fn decided(&mut self, chain: &Chain, certificate: &Certificate) {
        for precommit in &certificate.precommits {
            self.keep(
                certificate.height,
                certificate.round,
                certificate.block,
                precommit.clone(),
            );
        }
        let tip = chain.tip().height;
        let first = Height(tip.0.saturating_sub(LATE_BLOCKS));
        self.precommits = self.precommits.split_off(&(first, 0));
        self.proofs.retain(|proof| {
            let counts = || offence(chain, proof).is_some();
            proof.height() > tip || counts()
        });
    }

    /// What the next block says; `None` where this node has no reveal, and cannot propose.
    pub(super) fn say(&mut self, chain: &Chain) -> Option<Said> {
        let Some(standing) = chain.standing() else {
            return Some(Said::default());
        };
        let reveal = match standing.reveals_before(&self.me)? {
            Hash::ZERO => Hash::ZERO,
            head => self.reveals.before(&head)?,
        };
        let mut said = Said {
            reveal,
            ..Said::default()
        };
        let known = Known {
            precommit: &|height, round, block, one| self.vouches(height, round, block, one),
            ..Known::NOTHING
        };
        let late: Vec<LatePrecommit> = self
            .precommits
            .iter()
            .filter_map(|((height, _), rounds)| {
                let round = chain.certified_round(*height)?;
                let (_, precommit) = rounds.get(&round)?;
                let late = LatePrecommit {
                    height: *height,
                    precommit: precommit.clone(),
                };
                chain.lacks(&late, &known).then_some(late)
            })
            .collect();
        encode_late(&late, &mut said.late_precommits);
        // One proof of each validator is enough; of each, the oldest would leave the others to count.
        let mut proofs: BTreeMap<KeyId, (Offence, &Evidence)> = BTreeMap::new();
        for proof in self
            .proofs
            .iter()
            .filter(|proof| proof.height() <= chain.tip().height)
        {
            if let Some(offence) = offence(chain, proof) {
                let newest = proofs.entry(offence.validator).or_insert((offence, proof));
                if offence > newest.0 {
                    *newest = (offence, proof);
                }
            }
        }
        let proofs: Vec<Evidence> = proofs
            .into_values()
            .take(EVIDENCE_PER_BLOCK_MAX)
            .map(|(_, proof)| proof.clone())
            .collect();
        encode_evidence(&proofs, &mut said.evidence);
        Some(said)
    }
}

/// What a proof says, if a next block may bring it.
fn offence(chain: &Chain, proof: &Evidence) -> Option<Offence> {
    let offence = chain.offence(proof)?;
    chain.standing()?.punishes(&offence).then_some(offence)
}
