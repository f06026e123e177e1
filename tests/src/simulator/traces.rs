//! Traces: what committed evidence said of each validator at an epoch's end, and what choosing it cost in the epoch
//! after. `selfchain ai train-proposer` learns from them; the columns are in `docs/protocol/poai.md`.

use super::check::Broken;
use super::conduct::Conduct;
use super::plan::Plan;
use super::world::trace;
use crate::random::Random;
use selfchain::types::block::{Body, Header, Row as Logged};
use selfchain::types::certificate::Certificate;
use selfchain::types::genesis::Plane;
use selfchain::types::quality::{CATALOGUE, Row};
use selfchain::types::seam::consensus::Schedule;
use selfchain::types::{Height, KeyId};
use selfchain_consensus::poai::draw::lineup;
use selfchain_consensus::poai::extension::Extension;
use selfchain_consensus::poai::quality::{by_hand, flat};
use selfchain_engine::commit::{Block, Chain};
use std::fmt;
use std::sync::Arc;

const MS: u64 = 1_000_000;
const US: u64 = 1_000;

/// One validator in one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Seed of the run.
    pub run: u64,
    /// Validators in it.
    pub validators: u16,
    /// Blocks of its epochs.
    pub epoch_blocks: u32,
    /// The epoch that the costs are of.
    pub epoch: u64,
    /// The height after which the features were read: two before the epoch begins.
    pub height: Height,
    /// The validator's position in genesis.
    pub validator: u16,
    /// What the evidence said.
    pub features: Row,
    /// Heights of the epoch whose first draw it won.
    pub drawn: u64,
    /// Rounds lost at those heights.
    pub rounds: u64,
    /// Time from the decision before to that of those heights, their sum in µs.
    pub wait_us: u64,
    /// The median of that time over all heights of the epoch that took one round, in µs.
    pub usual_us: u64,
    /// Its blocks that voters said something of.
    pub judged: u64,
    /// Sum of the medians that they said: efficiency, in thousandths.
    pub efficiency: u64,
    /// The same of starvation.
    pub starved: u64,
}

/// The first line of a file of traces.
pub fn header() -> String {
    let features: Vec<&str> = CATALOGUE.iter().map(|(name, _)| *name).collect();
    format!(
        "run,validators,epoch_blocks,epoch,height,validator,{},drawn,rounds,wait_us,usual_us,judged,efficiency,starved",
        features.join(",")
    )
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = [
            self.run,
            u64::from(self.validators),
            u64::from(self.epoch_blocks),
            self.epoch,
            self.height.0,
            u64::from(self.validator),
        ];
        let costs = [
            self.drawn,
            self.rounds,
            self.wait_us,
            self.usual_us,
            self.judged,
            self.efficiency,
            self.starved,
        ];
        let features = self.features.map(u64::from);
        let all = place.iter().chain(&features).chain(&costs);
        let words: Vec<String> = all.map(u64::to_string).collect();
        f.write_str(&words.join(","))
    }
}

/// What a validator cost in an epoch, as far as it is over.
#[derive(Clone, Debug, Default)]
struct Cost {
    drawn: u64,
    rounds: u64,
    wait_us: u64,
    judged: u64,
    efficiency: u64,
    starved: u64,
}

/// What was known of everybody before an epoch, and what came of it.
struct Epoch {
    first: Height,
    height: Height,
    known: Vec<(KeyId, Row)>,
    costs: Vec<Cost>,
    /// Of heights that took one round, in µs.
    usual: Vec<u64>,
}

/// Watches one run.
pub(super) struct Traces {
    plan: Plan,
    keys: Vec<KeyId>,
    current: Option<Epoch>,
    next: Option<Epoch>,
    /// Who may propose at a height.
    schedule: Option<(Height, Schedule, Vec<KeyId>)>,
    /// Who proposed the last block.
    proposer: Option<(Height, KeyId)>,
    done: Vec<Trace>,
}

impl Traces {
    pub(super) fn new(plan: &Plan, keys: Vec<KeyId>) -> Self {
        Self {
            plan: plan.clone(),
            keys,
            current: None,
            next: None,
            schedule: None,
            proposer: None,
            done: Vec::new(),
        }
    }

    pub(super) fn done(self) -> Vec<Trace> {
        self.done
    }

    /// The first honest validator decided a block, in this round, so long after the one before. Its chain may have gone
    /// on further.
    pub(super) fn decided(&mut self, block: &Block, round: u32, wait_ns: u64, chain: &Chain) {
        let height = block.tip.height;
        let Some((header, body)) = read(block) else { return };
        let is_turn = height.0 % u64::from(self.plan.epoch_blocks) == 1;
        if is_turn {
            self.current = self.next.take().filter(|next| next.first == height);
        }
        self.judged(&body, height);
        let drawn = self.schedule.as_ref().filter(|(at, ..)| *at == height);
        let drawn =
            drawn.and_then(|(_, schedule, keys)| keys.get(*lineup(schedule, height, 1).first()?).copied());
        if let (Some(key), Some(epoch)) = (drawn, &mut self.current) {
            let wait_us = wait_ns / US;
            if round == 0 {
                epoch.usual.push(wait_us);
            }
            epoch.of(&key, |cost| {
                cost.drawn += 1;
                cost.rounds += u64::from(round);
                cost.wait_us += wait_us;
            });
        }
        self.proposer = Some((height, header.proposer));
        // With the next block qualities are chosen, and the evidence fades.
        if (height.0 + 2).is_multiple_of(u64::from(self.plan.epoch_blocks)) {
            self.next = self.known(chain, height);
        }
        if height.0.is_multiple_of(u64::from(self.plan.epoch_blocks)) {
            self.close(height);
        }
        let keys = chain.validators().iter().map(|one| one.key.id()).collect();
        self.schedule = Some((chain.tip().height.next(), chain.schedule(), keys));
    }

    /// What the certificate in a block says of the block before it.
    fn judged(&mut self, body: &Body<'_>, height: Height) {
        let Some((parent, proposer)) = self.proposer else {
            return;
        };
        let (Some(epoch), Ok(certificate)) =
            (&mut self.current, Certificate::decode(body.parent_certificate))
        else {
            return;
        };
        if parent.next() != height || parent < epoch.first {
            return;
        }
        let said: Vec<Extension> = (certificate.precommits.iter())
            .filter_map(|precommit| Extension::decode(&precommit.extension).ok())
            .collect();
        let median = |of: fn(&Extension) -> u16| lower_median(said.iter().map(of).map(u64::from).collect());
        if let (Some(efficiency), Some(starved)) = (median(|one| one.efficiency), median(|one| one.starved)) {
            epoch.of(&proposer, |cost| {
                cost.judged += 1;
                cost.efficiency += efficiency;
                cost.starved += starved;
            });
        }
    }

    /// What is known of everybody, where the chain has not gone on.
    fn known(&self, chain: &Chain, height: Height) -> Option<Epoch> {
        let view = chain.standing().filter(|_| chain.tip().height == height)?.view();
        let known = view.members.iter();
        let known: Vec<(KeyId, Row)> = known.filter_map(|one| Some((one.key, one.features?))).collect();
        Some(Epoch {
            first: Height(height.0 + 3),
            height,
            costs: vec![Cost::default(); known.len()],
            known,
            usual: Vec::new(),
        })
    }

    /// An epoch is over.
    fn close(&mut self, height: Height) {
        let Some(epoch) = self.current.take() else { return };
        let usual_us = lower_median(epoch.usual).unwrap_or(0);
        for ((key, features), cost) in epoch.known.into_iter().zip(epoch.costs) {
            let Some(validator) = self.keys.iter().position(|one| *one == key) else {
                continue;
            };
            self.done.push(Trace {
                run: self.plan.seed,
                validators: self.plan.validators,
                epoch_blocks: self.plan.epoch_blocks,
                epoch: height.0 / u64::from(self.plan.epoch_blocks) - 1,
                height: epoch.height,
                validator: u16::try_from(validator).unwrap_or(u16::MAX),
                features,
                drawn: cost.drawn,
                rounds: cost.rounds,
                wait_us: cost.wait_us,
                usual_us,
                judged: cost.judged,
                efficiency: cost.efficiency,
                starved: cost.starved,
            });
        }
    }
}

impl Epoch {
    fn of(&mut self, key: &KeyId, add: impl FnOnce(&mut Cost)) {
        let at = self.known.iter().position(|(known, _)| known == key);
        if let Some(cost) = at.and_then(|at| self.costs.get_mut(at)) {
            add(cost);
        }
    }
}

fn read(block: &Block) -> Option<(Header, Body<'_>)> {
    let row = Logged::decode(&block.row).ok()?;
    Some((Header::decode(row.header).ok()?, Body::decode(row.body).ok()?))
}

fn lower_median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len().saturating_sub(1) / 2).copied()
}

/// The run of a seed that leaves traces: from four to ten validators, some of which do badly, in short or long epochs.
/// Every other run chooses proposers by power alone, so that bad ones are chosen too.
pub fn traced(seed: u64) -> Plan {
    let mut random = Random(seed ^ 0x7ace_5eed);
    let validators = *random.pick(&[4, 5, 7, 7, 10]);
    let epoch_blocks = *random.pick(&[16, 32, 64, 128]);
    let heights = u64::from(epoch_blocks) * HEIGHTS_LEAST.div_ceil(u64::from(epoch_blocks)).max(EPOCHS_LEAST);
    let delay_max = *random.pick(&[3, 9, 9, 30]);
    let network = if seed.is_multiple_of(2) { flat() } else { by_hand() };
    let mut plan = Plan {
        delay_ns: (MS, delay_max * MS),
        epoch_blocks,
        calm_ns_max: (60_000 + 4_000 * heights) * MS,
        network: Some(Arc::new(network)),
        is_one_lying: random.chance(LYING_PER_MILLE),
        ..Plan::calm(seed, Plane::Poai, validators, heights)
    };
    plan.conducts = conducts(&plan, &mut random);
    plan
}

/// Least heights of a run, and least epochs.
const HEIGHTS_LEAST: u64 = 384;
const EPOCHS_LEAST: u64 = 4;
/// In so many of a thousand runs the last validator lies.
const LYING_PER_MILLE: u64 = 150;

/// Somebody does badly, and no more than can be borne: less than a third may be missing.
fn conducts(plan: &Plan, random: &mut Random) -> Vec<Conduct> {
    let all = plan.validators - u16::from(plan.is_one_lying);
    let mut may_miss = (plan.validators - 1) / 3 - u16::from(plan.is_one_lying);
    let mut conducts = vec![Conduct::default(); usize::from(all)];
    let failing = random.below(u64::from(plan.validators - 1) / 2 + 1);
    for _ in 0..failing {
        let at = random.index(conducts.len());
        let mut conduct = Conduct::default();
        match random.below(if may_miss > 0 { 6 } else { 3 }) {
            0 | 1 => conduct.slow_tenths = *random.pick(&[3, 5, 10, 20, 40, 80]),
            2 => conduct.fills = Some(*random.pick(&[0, 0, 1, 2])),
            3 => conduct.is_dead = true,
            4 => {
                let every_ns = random.between(2_000, 20_000) * MS;
                conduct.off = Some((every_ns, every_ns * random.between(1, 6) / 10));
            }
            _ => conduct.lost_per_mille = *random.pick(&[50, 150, 400, 700]),
        }
        let is_missing = conduct.is_dead || conduct.off.is_some() || conduct.lost_per_mille > 0;
        // Who does badly in two ways is counted once, and as what came last.
        if conducts[at] == Conduct::default() {
            may_miss -= u16::from(is_missing);
            conducts[at] = conduct;
        }
    }
    conducts
}

/// The traces of a seed's run.
///
/// # Errors
/// What does not hold.
pub fn traces(seed: u64) -> Result<Vec<Trace>, Broken> {
    trace(&traced(seed)).map(|(_, traces)| traces)
}
