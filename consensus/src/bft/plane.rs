//! The plane: takes the seam's inputs one by one to the height in hand.

use super::context::Set;
use super::core::{Sitting, Tools, keep_all};
use super::journal::{Finding, Record};
use super::later::Later;
use super::message::Message;
use super::timers::Options;
use super::watch::{Known, Watch};
use arc_malachitebft_core_types::ThresholdParams;
use selfchain_types::ballot::{Ballot, EXTENSION_BYTES_MAX, Statement};
use selfchain_types::certificate::Certificate;
use selfchain_types::crypto::SigningKey;
use selfchain_types::genesis::Validator;
use selfchain_types::seam::consensus::{Effect, Input, Plane, PlaneError, Schedule, Verdict};
use selfchain_types::seam::view::{PlaneCounts, PlaneView};
use selfchain_types::{Hash, Height, KeyId, TimeNs};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Rounds ahead of the one in hand of which single ballots are taken, as in the core.
const ROUNDS_AHEAD_MAX: u32 = 10;

/// Most keys that a plane holds: the oldest that does not sign gives way. A validator has four at once at most.
const KEYS_MAX: usize = 4;

/// Agreement of many validators.
///
/// A height begins its first round at [`Input::Wanted`] or with the first good message of it, so that an idle
/// chain is silent. What a validator may not forget is in its journal before anything follows from it; after a
/// crash it says again what it said, or nothing.
pub struct Bft {
    chain_id: Hash,
    /// Never empty.
    keys: Vec<SigningKey>,
    /// Which of them the height's set names; the first where it names none.
    signer: usize,
    options: Options,
    quorum: ThresholdParams,
    recovered: BTreeMap<Height, Vec<Record>>,
    sitting: Option<Sitting>,
    /// Whether an earlier run left records of the height in hand.
    is_replayed: bool,
    validators: Arc<[Validator]>,
    later: Later,
    watch: Watch,
    says: fn(&[u8]) -> bool,
    unreachable: BTreeSet<KeyId>,
    counts: PlaneCounts,
}

impl Bft {
    /// A plane for the chain `chain_id` that signs with `key`, and what [`Plane::hold`] adds, wherever that is in a height's set.
    pub fn new(chain_id: Hash, key: SigningKey, options: Options) -> Self {
        Self {
            watch: Watch::new(chain_id),
            chain_id,
            keys: vec![key],
            signer: 0,
            options,
            quorum: ThresholdParams::default(),
            recovered: BTreeMap::new(),
            sitting: None,
            is_replayed: false,
            validators: Arc::new([]),
            later: Later::default(),
            says: |_| true,
            unreachable: BTreeSet::new(),
            counts: PlaneCounts::default(),
        }
    }

    /// Counts only precommits of which this holds: a block that carries another would be invalid.
    #[must_use]
    pub fn with_extensions(self, says: fn(&[u8]) -> bool) -> Self {
        Self { says, ..self }
    }

    /// Counts more than `numerator / denominator` of the power as a quorum: a plane that forks, for a simulation
    /// to find out.
    #[cfg(any(test, feature = "controls"))]
    pub fn break_quorum(&mut self, numerator: u64, denominator: u64) {
        self.quorum.quorum = arc_malachitebft_core_types::ThresholdParam::new(numerator, denominator);
    }

    /// Takes every ballot of a validator of its height for signed by it: a plane for a simulation that measures all but
    /// signatures.
    #[cfg(any(test, feature = "controls"))]
    pub fn trust_signatures(&mut self) {
        self.watch.trust();
    }

    /// The height and round in hand; `None` before the first.
    pub fn round(&self) -> Option<(Height, u32)> {
        let sitting = self.sitting.as_ref()?;
        Some((sitting.height(), sitting.round()))
    }

    fn contract(&self, input: &'static str) -> PlaneError {
        let height = self.sitting.as_ref().map_or(Height::GENESIS, Sitting::height);
        PlaneError::Contract { input, height }
    }

    /// The height in hand, and what is needed to go on with it.
    fn at_work<'a>(
        &'a mut self,
        input: &'static str,
        now: TimeNs,
        effects: &'a mut Vec<Effect>,
    ) -> Result<(&'a mut Sitting, Tools<'a>), PlaneError> {
        let error = self.contract(input);
        let tools = Tools {
            chain_id: &self.chain_id,
            key: &self.keys[self.signer],
            options: &self.options,
            watch: &mut self.watch,
            unreachable: &self.unreachable,
            counts: &mut self.counts,
            now,
            effects,
        };
        Ok((self.sitting.as_mut().ok_or(error)?, tools))
    }

    fn recovered(&mut self, bytes: &[u8]) -> Result<(), PlaneError> {
        if self.sitting.is_some() {
            return Err(self.contract("recovered"));
        }
        let record = Record::decode(bytes)?;
        self.recovered.entry(record.height).or_default().push(record);
        Ok(())
    }

    fn start(
        &mut self,
        height: Height,
        validators: Arc<[Validator]>,
        schedule: &Schedule,
        now: TimeNs,
        effects: &mut Vec<Effect>,
    ) -> Result<(), PlaneError> {
        let set = Set::new(&validators, height, schedule);
        let before = self.sitting.as_ref();
        let follows = before.is_none_or(|sitting| sitting.height() < height);
        let Some(set) = set.filter(|_| follows) else {
            return Err(self.contract("start"));
        };
        self.validators = validators;
        // The set says which key signs, so that every run of this height, also after a restart, signs with the same.
        let is_in_set = |key: &SigningKey| set.seat_of(key.public()).is_some();
        self.signer = self.keys.iter().position(is_in_set).unwrap_or(0);
        if !self.unreachable.is_empty() {
            let members: BTreeSet<KeyId> = set.members().iter().map(|member| member.key.id()).collect();
            self.unreachable.retain(|key| members.contains(key));
        }
        self.watch.begin(height, set.clone());
        self.sitting = Some(Sitting::new(height, set, &self.keys[self.signer], self.quorum));
        self.recovered = self.recovered.split_off(&height);
        let records = self.recovered.remove(&height);
        self.is_replayed = records.is_some();
        if let Some(records) = records {
            let (sitting, mut tools) = self.at_work("start", now, effects)?;
            sitting.replay(&records, &mut tools)?;
        }
        for (from, bytes) in self.later.take(height) {
            self.message(from, bytes, false, now, effects)?;
        }
        Ok(())
    }

    fn message(
        &mut self,
        from: u16,
        bytes: Vec<u8>,
        checked: bool,
        now: TimeNs,
        effects: &mut Vec<Effect>,
    ) -> Result<(), PlaneError> {
        let Ok(message) = Message::decode(&bytes) else {
            return Ok(());
        };
        let says = self.says;
        let (sitting, mut tools) = self.at_work("message", now, effects)?;
        let (height, of) = (sitting.height(), message.height());
        if of > height {
            self.later.keep(height, of, from, bytes);
            return Ok(());
        }
        let is_for_now = of == height && !sitting.is_decided();
        let is_far_ahead = |ballot: &Ballot| ballot.round > sitting.round().saturating_add(ROUNDS_AHEAD_MAX);
        if matches!(&message, Message::Ballot(ballot) if of == height && is_far_ahead(ballot)) {
            return Ok(());
        }
        if !is_good(&message, checked && of == height, says, tools.watch) {
            return Ok(());
        }
        keep_all(&message, &mut tools);
        if is_for_now {
            return sitting.message(&message, &mut tools);
        }
        for ballot in message.ballots() {
            if matches!(ballot.statement, Statement::Precommit(..)) {
                tools.effects.push(Effect::Late(ballot.clone()));
            }
        }
        Ok(())
    }

    fn synced(
        &mut self,
        certificate: Certificate,
        checked: bool,
        now: TimeNs,
        effects: &mut Vec<Effect>,
    ) -> Result<(), PlaneError> {
        let validators = Arc::clone(&self.validators);
        let says = self.says;
        let (sitting, mut tools) = self.at_work("synced", now, effects)?;
        if sitting.height() != certificate.height
            || sitting.is_decided()
            || !certificate.precommits.iter().all(|one| says(&one.extension))
            || (!checked && certificate.verify(tools.chain_id, &validators).is_err())
        {
            return Ok(());
        }
        for precommit in &certificate.precommits {
            let ballot = Ballot {
                height: certificate.height,
                round: certificate.round,
                validator: precommit.validator,
                statement: Statement::Precommit(certificate.block, precommit.extension.clone()),
                signature: precommit.signature.clone(),
            };
            keep_all(&Message::Ballot(ballot), &mut tools);
        }
        sitting.decide(certificate);
        Ok(())
    }

    fn peer(
        &mut self,
        validator: u16,
        alive: bool,
        now: TimeNs,
        effects: &mut Vec<Effect>,
    ) -> Result<(), PlaneError> {
        let error = self.contract("peer");
        let Some(member) = self
            .sitting
            .as_ref()
            .and_then(|sitting| sitting.set().member(validator))
        else {
            return Err(error);
        };
        let key = member.key.id();
        if alive {
            self.unreachable.remove(&key);
            return Ok(());
        }
        self.unreachable.insert(key);
        let (sitting, mut tools) = self.at_work("peer", now, effects)?;
        sitting.unreachable(validator, &mut tools);
        Ok(())
    }
}

impl Plane for Bft {
    fn handle(&mut self, input: Input, now: TimeNs, effects: &mut Vec<Effect>) -> Result<(), PlaneError> {
        match input {
            Input::Recovered(bytes) => self.recovered(&bytes)?,
            Input::Start {
                height,
                validators,
                schedule,
            } => self.start(height, validators, &schedule, now, effects)?,
            Input::Wanted => {
                let (sitting, mut tools) = self.at_work("wanted", now, effects)?;
                sitting.begin(&mut tools)?;
            }
            Input::Built { extension, .. } | Input::Verdict { extension, .. }
                if extension.len() > EXTENSION_BYTES_MAX =>
            {
                return Err(self.contract("an extension that is too long"));
            }
            Input::Built {
                height,
                round,
                block,
                extension,
            } => {
                let (sitting, mut tools) = self.at_work("built", now, effects)?;
                if sitting.height() == height {
                    sitting.built(round, block, extension, &mut tools)?;
                }
            }
            Input::Message { from, bytes, checked } => self.message(from, bytes, checked, now, effects)?,
            Input::Peer { validator, alive } => self.peer(validator, alive, now, effects)?,
            Input::Timer(timer) => {
                let (sitting, mut tools) = self.at_work("timer", now, effects)?;
                sitting.timer(timer, &mut tools)?;
            }
            Input::Verdict {
                block,
                verdict,
                extension,
            } => {
                let finding = match verdict {
                    Verdict::Valid => Finding::Valid,
                    Verdict::Invalid => Finding::Invalid,
                    Verdict::Objection => Finding::Objection,
                };
                let (sitting, mut tools) = self.at_work("verdict", now, effects)?;
                sitting.verdict(block, finding, extension, &mut tools)?;
            }
            Input::Synced { certificate, checked } => self.synced(certificate, checked, now, effects)?,
        }
        // Last, so that what others still need of this height is not sent after its block is executed.
        let certificate = self.sitting.as_mut().and_then(Sitting::take_certificate);
        effects.extend(certificate.map(Effect::Decided));
        Ok(())
    }

    fn hold(&mut self, key: SigningKey) {
        if self.keys.iter().any(|held| held.public() == key.public()) {
            return;
        }
        if self.keys.len() >= KEYS_MAX {
            let oldest = usize::from(self.signer == 0);
            self.keys.remove(oldest);
            self.signer -= usize::from(self.signer > oldest);
        }
        self.keys.push(key);
        // A height that waits for this very key would wait for ever: it begins anew, and the others repeat themselves.
        // Nothing of it was signed here, unless an earlier run had the key.
        let is_new = !self.is_replayed;
        let waits = |sitting: &&Sitting| is_new && !sitting.has_seat() && !sitting.is_decided();
        if let (Some(sitting), Some(key)) = (self.sitting.as_ref().filter(waits), self.keys.last())
            && sitting.set().seat_of(key.public()).is_some()
        {
            let (height, set) = (sitting.height(), sitting.set().clone());
            self.sitting = Some(Sitting::new(height, set, key, self.quorum));
            self.signer = self.keys.len() - 1;
        }
    }

    fn view(&self) -> Option<PlaneView> {
        let counts = PlaneCounts {
            votes_verified: self.watch.verified(),
            ..self.counts
        };
        Some(self.sitting.as_ref()?.view(&self.watch, counts))
    }
}

/// Whether every ballot is its validator's, and says what it may. Of a validator that was found out, single ballots more are dropped
/// unread; in a list they still count.
fn is_good(message: &Message, checked: bool, says: fn(&[u8]) -> bool, watch: &Watch) -> bool {
    let is_allowed = |ballot: &Ballot| match &ballot.statement {
        Statement::Precommit(_, extension) => says(extension),
        _ => true,
    };
    let mut ballots = message.ballots().iter();
    ballots.all(|ballot| {
        is_allowed(ballot)
            && match watch.known(ballot) {
                Known::Good => true,
                Known::Stranger => false,
                Known::Surplus if matches!(message, Message::Ballot(_)) => false,
                Known::Surplus | Known::New => checked || watch.is_good(ballot),
            }
    })
}
