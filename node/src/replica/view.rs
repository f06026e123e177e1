//! View: what a replica shows of itself to whoever operates it.

use super::checkpoints::{Checkpoints, CheckpointsView};
use super::lately::Lately;
use super::replica::{Replica, Ticket};
use crate::joining::JoinView;
use crate::telemetry::AgreementCounts;
use selfchain_engine::commit::Chain;
use selfchain_types::ballot::BallotKind;
use selfchain_types::block::Row;
use selfchain_types::certificate::Certificate;
use selfchain_types::evidence::Evidence;
use selfchain_types::genesis::Validator;
use selfchain_types::seam::log::{LogError, LogReader};
use selfchain_types::seam::view::{PlaneView, StandingView};
use selfchain_types::{Hash, Height, KeyId, TimeNs};
use std::sync::Arc;

/// A replica at one moment.
#[derive(Clone, Debug)]
pub struct ReplicaView {
    /// The key that it signs with; `None` where no node runs.
    pub me: Option<KeyId>,
    /// Its clock then.
    pub now: TimeNs,
    /// The newest block that it decided.
    pub tip: Height,
    /// The height in hand.
    pub plane: Option<PlaneView>,
    /// Its validators, by position.
    pub validators: Arc<[Validator]>,
    /// How all validators stand.
    pub standing: StandingView,
    /// What decided the tip; `None` before the first block.
    pub last: Option<Decision>,
    /// What validators did in the blocks that were looked at.
    pub lately: Lately,
    /// The newest height that each peer, by number, says it decided.
    pub tips: Vec<(u32, Height)>,
    /// How it catches up.
    pub catching_up: CatchingUp,
    /// Bodies of blocks that are not decided.
    pub bodies: usize,
    /// Bodies that it asked for.
    pub bodies_wanted: usize,
    /// Proofs of misbehaviour that wait for a block of this node's.
    pub proofs: Vec<Proof>,
    /// How its checkpoints are, where its chain has some.
    pub checkpoints: Option<CheckpointsView>,
    /// What it has done.
    pub counts: AgreementCounts,
}

/// What decided a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Its height.
    pub height: Height,
    /// The block.
    pub block: Hash,
    /// The round it was decided in.
    pub round: u32,
    /// Power that signed, and in all.
    pub power: (u64, u64),
    /// Validators whose precommit is not in the certificate.
    pub missing: Vec<KeyId>,
}

/// How a replica catches up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CatchingUp {
    /// Heights between its tip and the highest that a peer says it has.
    pub behind: u64,
    /// Whom it has asked for blocks.
    pub asked: Option<u32>,
    /// Who refused, and until when it is asked for nothing.
    pub refusing: Vec<(u32, TimeNs)>,
    /// The snapshot that it fetches, and how far it is.
    pub snapshot: Option<JoinView>,
    /// Up to this height it follows and says nothing.
    pub quiet_through: Option<Height>,
}

/// Proof that a validator misbehaved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Who; `None` where its set is forgotten.
    pub validator: Option<KeyId>,
    /// Its position in the set of that height.
    pub position: u16,
    /// The height that it signed two things of.
    pub height: Height,
    /// The round.
    pub round: u32,
    /// What it signed twice.
    pub kind: BallotKind,
}

impl Proof {
    /// What evidence says about the set of its height, without looking at signatures.
    pub(super) fn of(evidence: &Evidence, set: &[Validator]) -> Self {
        let validator = set.get(usize::from(evidence.validator()));
        Self {
            validator: validator.map(|one| one.key.id()),
            position: evidence.validator(),
            height: evidence.height(),
            round: evidence.round(),
            kind: evidence.kind(),
        }
    }
}

impl Decision {
    /// What a certificate says about the set of its height.
    pub fn of(certificate: &Certificate, set: &[Validator]) -> Self {
        let signed = |at: &u16| certificate.precommits.iter().any(|one| one.validator == *at);
        let all = || (0..).zip(set);
        let power = |of: &dyn Fn(&u16) -> bool| -> u64 {
            all().filter(|(at, _)| of(at)).map(|(_, one)| one.power).sum()
        };
        let absent = all().filter(|(at, _)| !signed(at));
        Self {
            height: certificate.height,
            block: certificate.block,
            round: certificate.round,
            power: (power(&signed), power(&|_| true)),
            missing: absent.map(|(_, one)| one.key.id()).collect(),
        }
    }
}

impl ReplicaView {
    /// What a chain and its log say where no node runs: nothing is in hand, and nobody is there.
    pub fn of_chain(chain: &Chain, log: &dyn LogReader) -> Self {
        let tip = chain.tip().height;
        let row = log.read(tip.0).ok();
        let certificate = row.and_then(|row| Certificate::decode(Row::decode(&row).ok()?.local).ok());
        Self {
            lately: Lately::read(log, tip, &|height| chain.validators_of(height)),
            last: certificate.map(|one| Decision::of(&one, &chain.validators_of(tip).unwrap_or_default())),
            ..Self::of_set(
                chain.validators(),
                chain.standing().map(|standing| standing.view()),
                tip,
            )
        }
    }

    /// Looks at the whole log for what validators did and what was proved; `progress` hears heights.
    ///
    /// # Errors
    /// What the log says.
    pub fn read_all(
        &mut self,
        chain: &Chain,
        log: &dyn LogReader,
        progress: &mut dyn FnMut(Height, Height),
    ) -> Result<(), LogError> {
        let tip = chain.tip().height;
        self.lately = Lately::default();
        for height in log.first().unwrap_or(1)..=tip.0 {
            self.lately
                .take(&log.read(height)?, &|height| chain.validators_of(height));
            progress(Height(height), tip);
        }
        Ok(())
    }

    /// Of a set that nothing is in the hand of.
    pub fn of_set(validators: Arc<[Validator]>, standing: Option<StandingView>, tip: Height) -> Self {
        Self {
            me: None,
            now: TimeNs::ZERO,
            tip,
            plane: None,
            standing: standing.unwrap_or_else(|| StandingView::of_set(&validators)),
            validators,
            last: None,
            lately: Lately::default(),
            tips: Vec::new(),
            catching_up: CatchingUp::default(),
            bodies: 0,
            bodies_wanted: 0,
            proofs: Vec::new(),
            checkpoints: None,
            counts: AgreementCounts::default(),
        }
    }
}

impl<T: Ticket> Replica<T> {
    /// How it is now.
    pub fn view(&self, now: TimeNs) -> ReplicaView {
        let (chain, validators) = (&self.chain, self.chain.validators());
        let tip = chain.tip().height;
        let standing = chain.standing().map(|standing| standing.view());
        let last = Certificate::decode(&self.tip_certificate).ok();
        let set = chain.validators_of(tip).unwrap_or_default();
        let proofs = self.word.proofs().iter().map(|proof| {
            let set = chain.validators_of(proof.height()).unwrap_or_default();
            Proof::of(proof, &set)
        });
        ReplicaView {
            me: Some(self.signer),
            now,
            tip,
            plane: self.plane.view(),
            standing: standing.unwrap_or_else(|| StandingView::of_set(&validators)),
            validators,
            last: last.map(|certificate| Decision::of(&certificate, &set)),
            lately: self.lately.clone(),
            tips: self.catch_up.tips().collect(),
            catching_up: CatchingUp {
                snapshot: self.sharing.as_ref().and_then(|sharing| sharing.joining.view()),
                quiet_through: self.quiet.through().filter(|through| tip < *through),
                ..self.catch_up.view(tip, now)
            },
            bodies: self.bodies.len(),
            bodies_wanted: self.wanted.len(),
            proofs: proofs.collect(),
            checkpoints: self.checkpoints.as_ref().map(Checkpoints::view),
            counts: self.counts,
        }
    }
}
