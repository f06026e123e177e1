//! The height in hand: the core's state, and what is done for each thing that the core asks for.

use super::context::{
    Agreement, At, Block, CoreBallot, NO_SEAT, Seat, Set, Signed, SignedVote, core_ballot, number,
};
use super::journal::{Entry, Finding, Judged, Record, Wait};
use super::message::{Message, core_polka, core_round};
use super::timers::{Options, Timers};
use super::watch::Watch;
use arc_malachitebft_core_consensus::{
    ConsensusMsg, Effect as CoreEffect, Error, Input as CoreInput, LivenessMsg, LocallyProposedValue, Params,
    ProposedValue, Resumable, Resume, SignedConsensusMsg, State, ThresholdParams, ValuePayload, process,
};
use arc_malachitebft_core_types::{
    CertificateError, CommitCertificate, Round, RoundCertificate, RoundCertificateType, SignedMessage,
    ThresholdParam, Timeout, TimeoutKind, Validity, ValueOrigin, VoteExtensionPolicy,
};
use selfchain_types::certificate::{Certificate, Precommit};
use selfchain_types::crypto::SigningKey;
use selfchain_types::seam::consensus::{Effect, PlaneError};
use selfchain_types::seam::view::{PlaneCounts, PlaneView, Step};
use selfchain_types::{Hash, Height, KeyId, TimeNs};
use std::collections::btree_map;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

/// What of the plane outlives a height, and what of the caller's is in reach.
pub(super) struct Tools<'a> {
    pub(super) chain_id: &'a Hash,
    pub(super) key: &'a SigningKey,
    pub(super) options: &'a Options,
    pub(super) watch: &'a mut Watch,
    pub(super) unreachable: &'a BTreeSet<KeyId>,
    pub(super) counts: &'a mut PlaneCounts,
    pub(super) now: TimeNs,
    pub(super) effects: &'a mut Vec<Effect>,
}

/// The height in hand.
pub(super) struct Sitting {
    state: State<Agreement>,
    desk: Desk,
    has_begun: bool,
}

/// All of it but the core's own state.
struct Desk {
    height: Height,
    set: Set,
    seat: Seat,
    round: u32,
    /// When the round began.
    since: TimeNs,
    proposer: Option<u16>,
    timers: Timers,
    questions: BTreeMap<Hash, Question>,
    /// The round for which a block is wanted of this node.
    build: Option<u32>,
    /// This node's latest proposal, to repeat.
    proposal: Option<(u32, Vec<u8>)>,
    is_decided: bool,
    certificate: Option<Certificate>,
    /// While the journal is read: nothing leaves, and only what is new is written.
    replay: Option<Replay>,
}

/// What the node was asked of a block, or said.
enum Question {
    Asked(Judged),
    Found(Judged),
}

#[derive(Default)]
struct Replay {
    records: BTreeSet<Vec<u8>>,
    held: Vec<(u32, Vec<u8>)>,
}

impl Sitting {
    pub(super) fn new(height: Height, set: Set, key: &SigningKey, quorum: ThresholdParams) -> Self {
        let seat = set.seat_of(key.public()).unwrap_or(NO_SEAT);
        let params = Params {
            address: seat,
            threshold_params: quorum,
            value_payload: ValuePayload::ProposalAndParts,
            enabled: true,
        };
        // The core's own queue is for other heights: those wait in `Later`.
        let state = State::new(Agreement, At(height.0), set.clone(), params, 0, 0);
        Self {
            state,
            desk: Desk {
                height,
                set,
                seat,
                round: 0,
                since: TimeNs::ZERO,
                proposer: None,
                timers: Timers::default(),
                questions: BTreeMap::new(),
                build: None,
                proposal: None,
                is_decided: false,
                certificate: None,
                replay: None,
            },
            has_begun: false,
        }
    }

    pub(super) fn height(&self) -> Height {
        self.desk.height
    }

    pub(super) fn set(&self) -> &Set {
        &self.desk.set
    }

    /// Whether this node is in the height's set.
    pub(super) fn has_seat(&self) -> bool {
        self.desk.seat != NO_SEAT
    }

    pub(super) fn is_decided(&self) -> bool {
        self.desk.is_decided
    }

    /// The round in hand; 0 before the first.
    pub(super) fn round(&self) -> u32 {
        number(self.state.round())
    }

    /// What is shown of the height, with what the plane has counted.
    pub(super) fn view(&self, watch: &Watch, counts: PlaneCounts) -> PlaneView {
        let (height, round) = (self.desk.height, self.round());
        let driver = &self.state.driver;
        let step = match driver {
            _ if self.desk.is_decided => Step::Decided,
            driver if driver.step_is_propose() => Step::Propose,
            driver if driver.step_is_prevote() => Step::Prevote,
            driver if driver.step_is_precommit() => Step::Precommit,
            driver if driver.step_is_commit() => Step::Decided,
            _ => Step::Idle,
        };
        let locked = driver.round_state().locked.as_ref();
        let seats = self.desk.set.members().iter().map(|member| member.seat.0);
        PlaneView {
            height,
            round,
            step,
            since: self.desk.since,
            proposers: self.desk.set.proposers(round, PROPOSERS_SHOWN),
            locked: locked.map(|locked| (number(locked.round), locked.value.0)),
            heard: seats.map(|seat| watch.heard(height, round, seat)).collect(),
            counts,
        }
    }

    /// The certificate, once, when the height is decided.
    pub(super) fn take_certificate(&mut self) -> Option<Certificate> {
        self.desk.certificate.take()
    }

    /// Begins the first round, if it has not begun.
    pub(super) fn begin(&mut self, tools: &mut Tools<'_>) -> Result<(), PlaneError> {
        if self.has_begun {
            return Ok(());
        }
        self.has_begun = true;
        let is_restart = self.desk.replay.is_some();
        let (height, set) = (At(self.desk.height.0), self.desk.set.clone());
        let start = CoreInput::StartHeight(height, set, is_restart, None, VoteExtensionPolicy::Disabled);
        self.feed(start, tools)
    }

    /// Reads what an earlier run of this height left, so that this one says nothing else.
    pub(super) fn replay(&mut self, records: &[Record], tools: &mut Tools<'_>) -> Result<(), PlaneError> {
        self.desk.replay = Some(Replay {
            records: records.iter().map(Record::to_bytes).collect(),
            held: Vec::new(),
        });
        for record in records {
            match &record.entry {
                Entry::Message(message) => keep_all(message, tools),
                Entry::Block(judged) => self.desk.found(judged.clone()),
                Entry::Timeout(..) => {}
            }
        }
        let inputs: Vec<CoreInput<Agreement>> = records.iter().filter_map(core_input).collect();
        self.state.index_wal_entries(&inputs);
        self.begin(tools)?;
        for (record, input) in records.iter().zip(inputs) {
            match &record.entry {
                Entry::Block(judged) => self.desk.found(judged.clone()),
                Entry::Timeout(wait, round) => {
                    let timeout = Timeout::new(Round::new(*round), wait.core());
                    self.desk.timers.cancel(timeout);
                }
                Entry::Message(_) => {}
            }
            self.feed(input, tools)?;
        }
        self.state.reset_entries_index();
        let replay = self.desk.replay.take().unwrap_or_default();
        self.resume(replay, tools)
    }

    /// Does what the run before was stopped from doing.
    fn resume(&mut self, replay: Replay, tools: &mut Tools<'_>) -> Result<(), PlaneError> {
        let objected = self
            .desk
            .questions
            .values()
            .filter_map(|question| match question {
                Question::Found(judged) if judged.finding == Finding::Objection => Some(judged.clone()),
                _ => None,
            });
        for judged in objected.collect::<Vec<Judged>>() {
            self.judge(
                Judged {
                    finding: Finding::Valid,
                    ..judged
                },
                tools,
            )?;
        }
        if self.desk.is_decided {
            return Ok(());
        }
        let round = self.round();
        for (_, bytes) in replay.held.into_iter().filter(|(of, _)| *of == round) {
            tools.effects.push(Effect::Broadcast(bytes));
        }
        let has_proposed = self.desk.proposal.as_ref().is_some_and(|(of, _)| *of == round);
        if self.desk.build == Some(round) && !has_proposed && self.state.driver.step_is_propose() {
            let height = self.desk.height;
            tools.effects.push(Effect::Build { height, round });
        }
        Ok(())
    }

    /// Takes a message whose ballots are good.
    pub(super) fn message(&mut self, message: &Message, tools: &mut Tools<'_>) -> Result<(), PlaneError> {
        self.begin(tools)?;
        match core_message(message) {
            Some(input) => self.feed(input, tools),
            None => Ok(()),
        }
    }

    /// Takes a block that was built for a round of this height.
    pub(super) fn built(
        &mut self,
        round: u32,
        block: Hash,
        extension: Vec<u8>,
        tools: &mut Tools<'_>,
    ) -> Result<(), PlaneError> {
        if self.desk.build != Some(round) {
            return Ok(());
        }
        self.desk.build = None;
        self.desk.found(Judged {
            block,
            round,
            polka: None,
            proposer: self.desk.seat.0,
            finding: Finding::Valid,
            extension,
        });
        let value = LocallyProposedValue::new(At(self.desk.height.0), Round::new(round), Block(block));
        self.feed(CoreInput::Propose(value), tools)
    }

    /// Takes the node's judgement of a block it was asked about. An objection counts as invalid until the
    /// prevote is cast, where it may be made, and as valid from then on.
    pub(super) fn verdict(
        &mut self,
        block: Hash,
        finding: Finding,
        extension: Vec<u8>,
        tools: &mut Tools<'_>,
    ) -> Result<(), PlaneError> {
        let Some(Question::Asked(asked)) = self.desk.questions.get(&block) else {
            return Ok(());
        };
        let may_object = asked.polka.is_none() && asked.round <= OBJECTION_ROUND_MAX;
        let judged = Judged {
            finding: match finding {
                Finding::Objection if !may_object => Finding::Valid,
                finding => finding,
            },
            extension,
            ..asked.clone()
        };
        let finding = judged.finding;
        self.judge(judged.clone(), tools)?;
        if finding == Finding::Objection {
            let finding = Finding::Valid;
            self.judge(Judged { finding, ..judged }, tools)?;
        }
        Ok(())
    }

    fn judge(&mut self, judged: Judged, tools: &mut Tools<'_>) -> Result<(), PlaneError> {
        let value = core_value(self.desk.height, &judged);
        self.desk.found(judged);
        self.feed(value, tools)
    }

    /// Ends the wait that a timer stands for, if it is on and over.
    pub(super) fn timer(&mut self, timer: u64, tools: &mut Tools<'_>) -> Result<(), PlaneError> {
        let Some(timeout) = self.desk.timers.take_due(timer, tools.now) else {
            return Ok(());
        };
        match timeout.kind {
            TimeoutKind::Propose => tools.counts.timeouts_propose += 1,
            TimeoutKind::Prevote => tools.counts.timeouts_prevote += 1,
            TimeoutKind::Precommit => tools.counts.timeouts_precommit += 1,
            TimeoutKind::Rebroadcast | TimeoutKind::FinalizeHeight(_) => {}
        }
        if timeout.kind == TimeoutKind::Rebroadcast
            && let Some((round, bytes)) = &self.desk.proposal
            && *round == self.round()
        {
            tools.effects.push(Effect::Broadcast(bytes.clone()));
        }
        self.feed(CoreInput::TimeoutElapsed(timeout), tools)
    }

    /// Cuts the wait for this proposer short, if it is the one waited for.
    pub(super) fn unreachable(&mut self, validator: u16, tools: &mut Tools<'_>) {
        if self.desk.proposer == Some(validator) {
            self.desk.hurry(tools);
        }
    }

    /// Decides by a certificate that others made.
    pub(super) fn decide(&mut self, certificate: Certificate) {
        self.desk.timers.cancel_all();
        self.desk.is_decided = true;
        self.desk.certificate = Some(certificate);
    }

    fn feed(&mut self, input: CoreInput<Agreement>, tools: &mut Tools<'_>) -> Result<(), PlaneError> {
        if self.desk.is_decided {
            return Ok(());
        }
        let desk = &mut self.desk;
        let result: Result<(), Error<Agreement>> = process!(
            input: input,
            state: &mut self.state,
            metrics: &(),
            with: effect => Ok::<_, Infallible>(desk.perform(effect, tools))
        );
        result.map_err(|error| plane_error(self.desk.height, &error))
    }
}

/// Rounds of which a view names the proposer: the one in hand, and those after it.
const PROPOSERS_SHOWN: u32 = 4;

/// The last round in which a node's own view may cost a proposal a prevote.
pub const OBJECTION_ROUND_MAX: u32 = 1;

impl Desk {
    fn perform(&mut self, effect: CoreEffect<Agreement>, tools: &mut Tools<'_>) -> Resume<Agreement> {
        match effect {
            CoreEffect::CancelAllTimeouts(resume) => {
                self.timers.cancel_all();
                resume.resume_with(())
            }
            CoreEffect::CancelTimeout(timeout, resume) => {
                self.timers.cancel(timeout);
                resume.resume_with(())
            }
            CoreEffect::ScheduleTimeout(timeout, resume) => {
                self.wait(timeout, tools);
                resume.resume_with(())
            }
            CoreEffect::StartRound(_, round, proposer, _, resume) => {
                self.round = number(round);
                self.since = tools.now;
                self.proposer = Some(proposer.0);
                self.build = None;
                tools.counts.rounds += 1;
                resume.resume_with(())
            }
            CoreEffect::GetValue(_, round, _, resume) => {
                self.want(number(round), tools);
                resume.resume_with(())
            }
            CoreEffect::PublishConsensusMsg(message, resume) => {
                self.publish(message, tools);
                resume.resume_with(())
            }
            CoreEffect::PublishLivenessMsg(message, resume) => {
                let message = match message {
                    LivenessMsg::Vote(vote) => Message::of_vote(&vote),
                    LivenessMsg::PolkaCertificate(polka) => Message::of_polka(&polka),
                    LivenessMsg::SkipRoundCertificate(round) => Message::of_round(&round),
                };
                self.broadcast(message.to_bytes(), tools);
                resume.resume_with(())
            }
            CoreEffect::RepublishVote(vote, resume) => {
                self.broadcast(Message::of_vote(&vote).to_bytes(), tools);
                resume.resume_with(())
            }
            CoreEffect::RepublishRoundCertificate(certificate, resume) => {
                self.broadcast(Message::of_round(&certificate).to_bytes(), tools);
                resume.resume_with(())
            }
            // Who lacks the body of a block that is proposed again asks for it when it is told to judge it.
            CoreEffect::RestreamProposal(.., resume) => resume.resume_with(()),
            CoreEffect::Decide(certificate, _, resume) => {
                self.decide(&certificate);
                resume.resume_with(())
            }
            // Conflicting ballots are found by the watch, which sees those after the decision too.
            CoreEffect::Finalize(.., resume) => resume.resume_with(()),
            CoreEffect::WalAppend(_, input, resume) => {
                self.journal(&input, tools);
                resume.resume_with(())
            }
            CoreEffect::SignVote(vote, resume) => {
                let extension = match &vote.value {
                    arc_malachitebft_core_types::NilOrVal::Val(block)
                        if vote.kind == arc_malachitebft_core_types::VoteType::Precommit =>
                    {
                        self.extension(&block.0)
                    }
                    _ => Vec::new(),
                };
                let signed = self.sign(&vote.statement(&extension), number(vote.round), extension, tools);
                keep_all(&Message::Ballot(vote.ballot(&signed)), tools);
                resume.resume_with(SignedMessage::new(vote, signed))
            }
            CoreEffect::SignProposal(proposal, resume) => {
                let signed = self.sign(&proposal.statement(), number(proposal.round), Vec::new(), tools);
                keep_all(&Message::Ballot(proposal.ballot(&signed)), tools);
                resume.resume_with(SignedMessage::new(proposal, signed))
            }
            CoreEffect::VerifySignature(message, _, resume) => {
                let ballot = match &message.message {
                    ConsensusMsg::Vote(vote) => vote.ballot(&message.signature),
                    ConsensusMsg::Proposal(proposal) => proposal.ballot(&message.signature),
                };
                resume.resume_with(tools.watch.is_good(&ballot))
            }
            CoreEffect::VerifyCommitCertificate(certificate, set, quorum, resume) => {
                let votes = commit_votes(&certificate);
                resume.resume_with(verify(votes, &set, quorum.quorum, tools.watch))
            }
            CoreEffect::VerifyPolkaCertificate(polka, set, quorum, resume) => {
                let votes = polka.votes(&Agreement).collect();
                resume.resume_with(verify(votes, &set, quorum.quorum, tools.watch))
            }
            CoreEffect::VerifyRoundCertificate(certificate, set, quorum, resume) => {
                let votes = certificate.votes(&Agreement).collect();
                let threshold = match certificate.cert_type {
                    RoundCertificateType::Skip => quorum.honest,
                    RoundCertificateType::Precommit => quorum.quorum,
                };
                resume.resume_with(verify(votes, &set, threshold, tools.watch))
            }
            // The rest belongs to the core's extensions and its sync, which are off.
            CoreEffect::VerifyExtendedCommitCertificate(.., resume) => {
                resume.resume_with(Err(CertificateError::VerificationError(None)))
            }
            CoreEffect::ExtendVote(.., resume) => resume.resume_with(None),
            CoreEffect::VerifyVoteExtension(.., resume) => resume.resume_with(Ok(())),
            CoreEffect::CertVerifiedSyncValue(.., resume) => resume.resume_with(()),
            CoreEffect::CertRejectedSyncValue(.., resume) => resume.resume_with(()),
        }
    }

    fn wait(&mut self, timeout: Timeout, tools: &mut Tools<'_>) {
        self.timers.set(timeout, tools.now, tools.options, tools.effects);
        if timeout.kind != TimeoutKind::Propose || tools.unreachable.is_empty() {
            return;
        }
        let proposer = self.proposer.and_then(|seat| self.set.member(seat));
        if proposer.is_some_and(|member| tools.unreachable.contains(&member.key.id())) {
            self.hurry(tools);
        }
    }

    fn hurry(&mut self, tools: &mut Tools<'_>) {
        if let Some(wait_ns) = tools.options.unreachable_ns {
            self.timers.hurry_propose(tools.now, wait_ns, tools.effects);
        }
    }

    fn want(&mut self, round: u32, tools: &mut Tools<'_>) {
        self.build = Some(round);
        if self.replay.is_none() {
            let height = self.height;
            tools.effects.push(Effect::Build { height, round });
        }
    }

    fn publish(&mut self, message: SignedConsensusMsg<Agreement>, tools: &mut Tools<'_>) {
        let bytes = match message {
            SignedConsensusMsg::Vote(vote) => Message::of_vote(&vote).to_bytes(),
            SignedConsensusMsg::Proposal(proposal) => {
                let bytes = Message::of_proposal(&proposal).to_bytes();
                if proposal.message.proposer == self.seat {
                    self.proposal = Some((number(proposal.message.round), bytes.clone()));
                }
                bytes
            }
        };
        self.broadcast(bytes, tools);
    }

    fn broadcast(&mut self, bytes: Vec<u8>, tools: &mut Tools<'_>) {
        match &mut self.replay {
            Some(replay) => replay.held.push((self.round, bytes)),
            None => tools.effects.push(Effect::Broadcast(bytes)),
        }
    }

    /// Writes what the core took, and asks the node about a block that is new here.
    fn journal(&mut self, input: &CoreInput<Agreement>, tools: &mut Tools<'_>) {
        let Some(entry) = self.entry(input) else {
            return;
        };
        let height = self.height;
        let record = Record { height, entry }.to_bytes();
        let is_there = (self.replay.as_ref()).is_some_and(|replay| replay.records.contains(&record));
        if !is_there {
            tools.effects.push(Effect::Persist { height, record });
        }
        if let CoreInput::Proposal(proposal) = input {
            let block = proposal.message.block.0;
            let round = number(proposal.message.round);
            if let btree_map::Entry::Vacant(place) = self.questions.entry(block) {
                place.insert(Question::Asked(Judged {
                    block,
                    round,
                    polka: proposal.message.polka.as_u32(),
                    proposer: proposal.message.proposer.0,
                    finding: Finding::Valid,
                    extension: Vec::new(),
                }));
                let since = self.since;
                tools.effects.push(Effect::Judge { block, round, since });
            }
        }
    }

    fn entry(&self, input: &CoreInput<Agreement>) -> Option<Entry> {
        Some(match input {
            CoreInput::Vote(vote) => Entry::Message(Message::of_vote(vote)),
            CoreInput::Proposal(proposal) => Entry::Message(Message::of_proposal(proposal)),
            CoreInput::PolkaCertificate(polka) => Entry::Message(Message::of_polka(polka)),
            CoreInput::TimeoutElapsed(timeout) => {
                Entry::Timeout(Wait::of_core(timeout.kind)?, number(timeout.round))
            }
            CoreInput::ProposedValue(value, _) => Entry::Block(Judged {
                block: value.value.0,
                round: number(value.round),
                polka: value.valid_round.as_u32(),
                proposer: value.proposer.0,
                finding: match (value.validity, self.questions.get(&value.value.0)) {
                    (Validity::Valid, _) => Finding::Valid,
                    (Validity::Invalid, Some(Question::Found(judged))) => judged.finding,
                    (Validity::Invalid, _) => Finding::Invalid,
                },
                extension: self.extension(&value.value.0),
            }),
            CoreInput::StartHeight(..)
            | CoreInput::RoundCertificate(_)
            | CoreInput::Propose(_)
            | CoreInput::SyncValueResponse(_) => return None,
        })
    }

    /// Keeps what was found of a block. The first extension stands: it may be signed already.
    fn found(&mut self, mut judged: Judged) {
        if let Some(Question::Found(first)) = self.questions.get(&judged.block) {
            judged.extension.clone_from(&first.extension);
        }
        self.questions.insert(judged.block, Question::Found(judged));
    }

    fn extension(&self, block: &Hash) -> Vec<u8> {
        match self.questions.get(block) {
            Some(Question::Found(judged)) => judged.extension.clone(),
            _ => Vec::new(),
        }
    }

    fn sign(
        &self,
        statement: &selfchain_types::ballot::Statement,
        round: u32,
        extension: Vec<u8>,
        tools: &Tools<'_>,
    ) -> Signed {
        let digest = statement.digest(tools.chain_id, self.height, round);
        Signed::new(extension, tools.key.sign(digest.as_bytes()))
    }

    fn decide(&mut self, certificate: &CommitCertificate<Agreement>) {
        let mut precommits: Vec<Precommit> = certificate
            .commit_signatures
            .iter()
            .map(|commit| Precommit {
                validator: commit.address.0,
                extension: commit.signature.extension().to_vec(),
                signature: commit.signature.signature().to_vec(),
            })
            .collect();
        precommits.sort_by_key(|precommit| precommit.validator);
        self.timers.cancel_all();
        self.is_decided = true;
        self.certificate = Some(Certificate {
            height: self.height,
            round: number(certificate.round),
            block: certificate.value_id.0,
            precommits,
        });
    }
}

/// Keeps the ballots of a good message; tells of what they prove.
pub(super) fn keep_all(message: &Message, tools: &mut Tools<'_>) {
    for ballot in message.ballots() {
        if let Some(evidence) = tools.watch.keep(ballot) {
            tools.effects.push(Effect::Evidence(evidence.to_bytes()));
        }
    }
}

fn commit_votes(certificate: &CommitCertificate<Agreement>) -> Vec<SignedVote> {
    // The same votes as a round certificate would hold, which the core knows how to take apart.
    let round = RoundCertificate {
        height: certificate.height,
        round: certificate.round,
        cert_type: RoundCertificateType::Precommit,
        round_signatures: certificate
            .commit_signatures
            .iter()
            .map(|commit| {
                arc_malachitebft_core_types::RoundSignature::new(
                    arc_malachitebft_core_types::VoteType::Precommit,
                    arc_malachitebft_core_types::NilOrVal::Val(certificate.value_id),
                    commit.address,
                    commit.signature.clone(),
                )
            })
            .collect(),
    };
    round.votes(&Agreement).collect()
}

/// Checks that different members of the set cast these votes, of enough power.
fn verify(
    votes: Vec<SignedVote>,
    set: &Set,
    threshold: ThresholdParam,
    watch: &Watch,
) -> Result<(), CertificateError<Agreement>> {
    let mut seats = BTreeSet::new();
    let mut signed = 0u64;
    for vote in votes {
        let seat = vote.message.voter;
        let Some(member) = set.member(seat.0) else {
            return Err(CertificateError::UnknownValidator(seat));
        };
        if !seats.insert(seat) {
            return Err(CertificateError::DuplicateVote(seat));
        }
        if !watch.is_good(&vote.message.ballot(&vote.signature)) {
            return Err(CertificateError::VerificationError(None));
        }
        signed += member.power;
    }
    let total = arc_malachitebft_core_types::ValidatorSet::total_voting_power(set);
    if threshold.is_met(signed, total) {
        return Ok(());
    }
    let expected = threshold.min_expected(total);
    Err(CertificateError::NotEnoughVotingPower {
        signed,
        total,
        expected,
    })
}

fn core_input(record: &Record) -> Option<CoreInput<Agreement>> {
    match &record.entry {
        Entry::Message(message) => core_message(message),
        Entry::Timeout(wait, round) => {
            let timeout = Timeout::new(Round::new(*round), wait.core());
            Some(CoreInput::TimeoutElapsed(timeout))
        }
        Entry::Block(judged) => Some(core_value(record.height, judged)),
    }
}

fn core_message(message: &Message) -> Option<CoreInput<Agreement>> {
    Some(match message {
        Message::Ballot(ballot) => match core_ballot(ballot) {
            CoreBallot::Vote(vote) => CoreInput::Vote(vote),
            CoreBallot::Proposal(proposal) => CoreInput::Proposal(proposal),
        },
        Message::Polka(ballots) => CoreInput::PolkaCertificate(core_polka(ballots)?),
        Message::Skip(ballots) => {
            CoreInput::RoundCertificate(core_round(ballots, RoundCertificateType::Skip)?)
        }
        Message::Precommits(ballots) => {
            CoreInput::RoundCertificate(core_round(ballots, RoundCertificateType::Precommit)?)
        }
    })
}

fn core_value(height: Height, judged: &Judged) -> CoreInput<Agreement> {
    let value = ProposedValue {
        height: At(height.0),
        round: Round::new(judged.round),
        valid_round: Round::from(judged.polka),
        proposer: Seat(judged.proposer),
        value: Block(judged.block),
        validity: Validity::from_bool(judged.finding == Finding::Valid),
    };
    CoreInput::ProposedValue(value, ValueOrigin::Consensus)
}

fn plane_error(height: Height, error: &Error<Agreement>) -> PlaneError {
    let reason = match error {
        Error::ReplayDivergence(..) => return PlaneError::ReplayDivergence { height },
        Error::UnexpectedResume(..) => "the core was answered something else than it asked",
        Error::DecisionNotFound(..) => "the core decided without a block",
        Error::DriverProcess(_) => "the core refused an input that was checked",
        Error::MissingPolkaCertificate(..) => "the core lacks a polka that it saw",
        Error::InvalidCommitCertificate(..) | Error::VoteExtensionRequired(..) | Error::WalCorrupted(_) => {
            "the core did what is off"
        }
    };
    PlaneError::Broken { height, reason }
}
