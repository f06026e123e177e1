//! The world of a run: the clock, the network, the faults, and the order in which everything happens.

use super::check::{Broken, Checks};
use super::client::{Lane, MONEY, RESERVE};
use super::medium::Medium;
use super::plan::{Plan, SLOW_FACTOR, STEP_NS};
use super::scorer::MODEL;
use super::traces::{Trace, Traces};
use super::validator::{Failed, Identity, Running, Step, create};
use crate::random::Random;
use selfchain::replica::{Event, To};
use selfchain::standing::{found, with_network};
use selfchain::telemetry::Metrics;
use selfchain::types::block::{Body, Row};
use selfchain::types::crypto::{Scheme, SigningKey};
use selfchain::types::peer::Lane as LinkLane;
use selfchain::types::{Genesis, Hash, Height, Outcome as Ledgered, TimeNs};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const MS: u64 = 1_000_000;
/// When a run begins: validators' clocks show this.
const EPOCH_NS: u64 = 1_700_000_000_000_000_000;
/// Blocks that each validator may propose.
const REVEALS: u32 = 1 << 14;
/// How often clients look.
const CLIENT_EVERY_NS: u64 = 20 * MS;
/// How long a client waits before it asks another validator.
const CLIENT_PATIENCE_NS: u64 = 500 * MS;
/// Messages that the liar keeps to say again.
const REPLAYS_MAX: usize = 256;
/// Every other validator.
const HALVES: u64 = u64::MAX / 3;
/// How long the last transactions may take once no more are sent.
const DRAIN_NS: u64 = 60_000 * MS;

/// What a run that held came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The highest block.
    pub height: u64,
    /// Virtual time that it took, in ns.
    pub virtual_ns: u64,
    /// Power cuts that happened.
    pub crashes: u64,
    /// The highest round that a block was decided in.
    pub round_max: u32,
    /// Blocks that were decided in a later round than the first.
    pub later_rounds: u64,
    /// The same, after the first epoch.
    pub later_rounds_settled: u64,
    /// Operations in blocks after the first epoch, and how long those blocks took together, in ns.
    pub operations_settled: u64,
    /// See above.
    pub settled_ns: u64,
    /// From one decision to the next, in ns, after the first epoch: half of them, and 99 of a hundred, took no longer.
    pub finality_ns: (u64, u64),
    /// Blocks with proofs of misbehaviour.
    pub proofs: u64,
    /// The first height whose set is without the lying validator.
    pub liar_left: Option<u64>,
    /// Different sets of validators: keys and powers.
    pub sets: usize,
    /// Transactions in blocks.
    pub transactions: usize,
    /// Blocks with scores.
    pub scored: u64,
    /// Transfers that were held.
    pub held: u64,
    /// How often some validator found that a block's scores are not the model's.
    pub disputed: u64,
    /// The most blocks that followed on a transaction's making until one held it, or it was over.
    pub waited_max: u64,
    /// How often an honest validator objected to a block that was ahead of its clock.
    pub ahead: u64,
    /// How often an honest validator objected to a block because of what it leaves out.
    pub starved: u64,
    /// How often one found an acknowledgement that its sender did not sign.
    pub forged: u64,
    /// How often a validator began at a snapshot of the others.
    pub joins: u64,
    /// The most chunks of the snapshots that a validator fetched in one life, and how often what it was sent did not
    /// hold.
    pub fetched: (u64, u64),
    /// Messages sent.
    pub messages: u64,
    /// Hash of all that was decided: equal for equal seeds.
    pub trace: Hash,
}

/// What is to happen.
enum Happening {
    Deliver {
        instance: usize,
        from: u16,
        bytes: Arc<[u8]>,
    },
    Wake {
        instance: usize,
        life: u64,
    },
    Sync {
        instance: usize,
        life: u64,
    },
    Cut {
        instance: usize,
        after_ops: u64,
    },
    CutNow {
        instance: usize,
    },
    PowerOn {
        instance: usize,
    },
    Lose {
        instance: usize,
        off_ns: u64,
    },
    Return {
        instance: usize,
    },
    ClockBack {
        instance: usize,
    },
    ClockRight {
        instance: usize,
    },
    Divide {
        groups: u64,
    },
    Heal,
    Sides,
    Clients,
    Calm,
}

/// A validator, or one twin of the lying one.
struct Instance {
    position: u16,
    medium: Medium,
    running: Option<Running>,
    /// Counts its starts: what was meant for an earlier one is nobody's.
    life: u64,
    /// Its clock is ahead by so much, less what it went back.
    skew_ns: u64,
    back_ns: u64,
    tip: Height,
    wakes_at: Option<u64>,
    syncs: bool,
}

impl Instance {
    fn ahead_ns(&self) -> u64 {
        self.skew_ns - self.back_ns
    }
}

struct World {
    plan: Plan,
    random: Random,
    now: u64,
    sequence: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    genesis: Genesis,
    chain_id: Hash,
    keys: Vec<SigningKey>,
    instances: Vec<Instance>,
    checks: Checks,
    metrics: Arc<Metrics>,
    lanes: Vec<(Lane, u64)>,
    is_calm: bool,
    is_draining: bool,
    groups: Option<u64>,
    /// Whether somebody's disk is lost, and it has no power.
    is_lost: bool,
    /// Which honest validators the first twin talks to.
    sides: u64,
    replays: Vec<Arc<[u8]>>,
    /// When the last block was decided, and from each after the first epoch to the next.
    decided_at: u64,
    waits: Vec<u64>,
    sets: BTreeSet<Hash>,
    traces: Option<Traces>,
    outcome: Outcome,
}

/// Runs a plan.
///
/// # Errors
/// What does not hold.
pub fn run(plan: &Plan) -> Result<Outcome, Broken> {
    World::new(plan)?.run().map(|(outcome, _)| outcome)
}

/// Runs a plan and watches what choosing each proposer costs.
///
/// # Errors
/// What does not hold.
pub(super) fn trace(plan: &Plan) -> Result<(Outcome, Vec<Trace>), Broken> {
    let mut world = World::new(plan)?;
    let keys = world.keys.iter().map(|key| key.public().id()).collect();
    world.traces = Some(Traces::new(plan, keys));
    world.run()
}

/// Runs a plan with threads of its own, of which there is one: what a validator would do on several cores at once it
/// does in order, so that processor time is what the work costs.
///
/// # Errors
/// What does not hold.
///
/// # Panics
/// If the operating system gives no thread.
pub fn run_alone(plan: &Plan) -> Result<Outcome, Broken> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    pool.expect("a thread").install(|| run(plan))
}

impl World {
    fn new(plan: &Plan) -> Result<Self, Broken> {
        let mut random = Random(plan.seed);
        let keys: Vec<SigningKey> = (0..plan.validators)
            .map(|position| {
                let hollow = u8::try_from(position).ok().and_then(SigningKey::hollow);
                if let Some(key) = hollow.filter(|_| plan.is_signing_free) {
                    return key;
                }
                let mut seed = [7; 32];
                seed[..2].copy_from_slice(&position.to_le_bytes());
                let scheme = match (plan.pq_votes, position % 2) {
                    (false, _) => Scheme::Ed25519,
                    (true, 0) => Scheme::Ed25519MlDsa65,
                    (true, _) => Scheme::Ed25519MlDsa44,
                };
                SigningKey::of_scheme(scheme, &seed).expect("a simulation is built with every scheme")
            })
            .collect();
        let mut genesis = Genesis::solo("simulated", plan.seed, keys[0].public().clone());
        (genesis.fees.asset, genesis.fees.collector) = (MONEY, RESERVE);
        genesis = found(genesis, plan.plane, &keys, plan.epoch_blocks, REVEALS);
        if let Some(network) = &plan.network {
            genesis = with_network(genesis, network);
        }
        let count = usize::from(plan.validators) + usize::from(plan.is_one_lying);
        let mut instances = Vec::new();
        for number in 0..count {
            let position = u16::try_from(number).unwrap_or(u16::MAX).min(plan.validators - 1);
            let medium = Medium::new(plan.is_on_memory, random.word());
            create(&medium, &genesis).map_err(|error| stopped(position, &*error))?;
            instances.push(Instance {
                position,
                medium,
                running: None,
                life: 0,
                skew_ns: random.below(plan.skew_ns + 1) + if plan.clock_steps > 0 { STEP_NS } else { 0 },
                back_ns: 0,
                tip: Height::GENESIS,
                wakes_at: None,
                syncs: false,
            });
        }
        Ok(Self {
            plan: plan.clone(),
            now: EPOCH_NS,
            sequence: 0,
            queue: BTreeMap::new(),
            chain_id: genesis.chain_id(),
            genesis,
            keys,
            instances,
            checks: Checks::default(),
            metrics: Arc::default(),
            lanes: lanes(plan),
            is_calm: false,
            is_draining: false,
            groups: None,
            is_lost: false,
            sides: random.word(),
            replays: Vec::new(),
            decided_at: EPOCH_NS,
            waits: Vec::new(),
            sets: BTreeSet::new(),
            traces: None,
            outcome: Outcome {
                height: 0,
                virtual_ns: 0,
                crashes: 0,
                round_max: 0,
                later_rounds: 0,
                later_rounds_settled: 0,
                operations_settled: 0,
                settled_ns: 0,
                finality_ns: (0, 0),
                proofs: 0,
                liar_left: None,
                sets: 0,
                transactions: 0,
                scored: 0,
                held: 0,
                disputed: 0,
                waited_max: 0,
                ahead: 0,
                starved: 0,
                forged: 0,
                joins: 0,
                fetched: (0, 0),
                messages: 0,
                trace: Hash::ZERO,
            },
            random,
        })
    }

    fn run(mut self) -> Result<(Outcome, Vec<Trace>), Broken> {
        for instance in 0..self.instances.len() {
            self.power_on(instance)?;
        }
        self.schedule_faults();
        self.after(0, Happening::Clients);
        let end = EPOCH_NS + self.plan.faults_end_ns + self.plan.calm_ns_max;
        let mut drained_by = end;
        while let Some(((at, _), happening)) = self.queue.pop_first() {
            self.now = at;
            if at > drained_by {
                return Err(self.unfinished());
            }
            self.happen(happening)?;
            if self.is_calm && !self.is_draining && self.reached() {
                self.is_draining = true;
                drained_by = self.now + DRAIN_NS;
            }
            if self.is_draining && self.lanes.iter().all(|(lane, _)| lane.sent.is_none()) {
                return Ok(self.close());
            }
        }
        Err(self.unfinished())
    }

    fn close(mut self) -> (Outcome, Vec<Trace>) {
        self.outcome.height = self.checks.tip().0;
        self.outcome.virtual_ns = self.now - EPOCH_NS;
        self.outcome.sets = self.sets.len();
        self.outcome.transactions = self.checks.transactions();
        self.outcome.disputed = self.metrics.scores_disputed.get();
        self.outcome.trace = self.checks.trace();
        self.outcome.settled_ns = self.waits.iter().sum();
        self.waits.sort_unstable();
        let part = |hundredths: usize| {
            let at = self.waits.len() * hundredths / 100;
            self.waits
                .get(at)
                .or(self.waits.last())
                .copied()
                .unwrap_or_default()
        };
        self.outcome.finality_ns = (part(50), part(99));
        (self.outcome, self.traces.map(Traces::done).unwrap_or_default())
    }

    fn unfinished(&self) -> Broken {
        let left = self.lanes.iter().find_map(|(lane, _)| lane.sent.as_ref());
        match left.filter(|_| self.is_draining) {
            Some(sent) => Broken::Forgotten { tx_id: sent.tx_id },
            None => Broken::Stalled {
                tips: self.honest().map(|one| self.instances[one].tip.0).collect(),
                want: self.plan.heights,
            },
        }
    }

    fn is_lying(&self, position: u16) -> bool {
        self.plan.is_one_lying && position == self.plan.validators - 1
    }

    /// The honest validators that are not dead: their instances have their positions.
    fn honest(&self) -> impl Iterator<Item = usize> + use<> {
        let dead = self.plan.dead();
        let all = 0..usize::from(self.plan.validators) - usize::from(self.plan.is_one_lying);
        all.filter(move |position| dead >> position & 1 == 0)
    }

    fn reached(&self) -> bool {
        let want = Height(self.plan.heights);
        self.honest().all(|one| self.instances[one].tip >= want)
    }

    fn after(&mut self, delay_ns: u64, happening: Happening) {
        self.at(self.now.saturating_add(delay_ns), happening);
    }

    fn at(&mut self, at: u64, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((at.max(self.now), self.sequence), happening);
    }

    fn schedule_faults(&mut self) {
        let window = self.plan.faults_end_ns;
        if self.plan.is_one_lying {
            self.after(500 * MS, Happening::Sides);
        }
        if window == 0 {
            self.is_calm = true;
            return;
        }
        if self.plan.halved_ns > 0 {
            self.groups = Some(HALVES);
            self.after(self.plan.halved_ns, Happening::Heal);
        }
        let honest = self.honest().count();
        for _ in 0..self.plan.crashes {
            let chosen = usize::try_from(self.random.below(wide(honest))).unwrap_or_default();
            let Some(instance) = self.honest().nth(chosen) else {
                continue;
            };
            let after_ops = self.random.below(24);
            let at = self.random.below(window);
            self.after(at, Happening::Cut { instance, after_ops });
        }
        for _ in 0..self.plan.blackouts {
            let at = self.random.below(window);
            for instance in 0..self.instances.len() {
                // Each stops at a write or sync of its own; whoever makes none soon, in the middle of nothing.
                let after_ops = self.random.below(8);
                self.after(at, Happening::Cut { instance, after_ops });
                self.after(at + 5 * MS, Happening::CutNow { instance });
            }
        }
        for _ in 0..self.plan.partitions {
            let at = self.random.below(window);
            let groups = self.random.word();
            self.after(at, Happening::Divide { groups });
            let lasts = self.random.between(200, 2_000) * MS;
            self.after(at + lasts, Happening::Heal);
        }
        for _ in 0..self.plan.clock_steps {
            let chosen = usize::try_from(self.random.below(wide(honest))).unwrap_or_default();
            let Some(instance) = self.honest().nth(chosen) else {
                continue;
            };
            let at = self.random.below(window);
            self.after(at, Happening::ClockBack { instance });
            let lasts = self.random.between(200, 2_000) * MS;
            self.after(at + lasts, Happening::ClockRight { instance });
        }
        if let Some(losing) = self.plan.losing {
            let instance = usize::from(losing.who);
            let off_ns = losing.off_ns;
            self.after(losing.at_ns, Happening::Lose { instance, off_ns });
            let back = losing.at_ns + losing.off_ns;
            for _ in 0..losing.cuts {
                let at = self.random.between(back, back.max(window) + 1);
                let after_ops = self.random.below(60);
                self.after(at, Happening::Cut { instance, after_ops });
            }
        }
        self.after(window, Happening::Calm);
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Broken> {
        match happening {
            Happening::Deliver {
                instance,
                from,
                bytes,
            } => {
                let (bytes, from) = (bytes.to_vec(), u32::from(from));
                self.step(instance, |running, now| {
                    Ok(running.handle(Event::Peer { from, bytes }, now)?)
                })
            }
            // One that a sooner one took the place of is over: that one plans the next.
            Happening::Wake { instance, life }
                if self.instances[instance].life == life
                    && self.instances[instance].wakes_at == Some(self.now) =>
            {
                self.instances[instance].wakes_at = None;
                self.step(instance, |running, now| Ok(running.handle(Event::Clock, now)?))
            }
            Happening::Sync { instance, life } if self.instances[instance].life == life => {
                self.instances[instance].syncs = false;
                self.step(instance, Running::sync)
            }
            Happening::Wake { .. } | Happening::Sync { .. } => Ok(()),
            Happening::Cut { instance, after_ops } => {
                self.instances[instance].medium.crash_after(Some(after_ops));
                Ok(())
            }
            Happening::CutNow { instance } => {
                if self.instances[instance].running.is_some() {
                    self.cut(instance);
                }
                Ok(())
            }
            Happening::PowerOn { instance } => self.power_on(instance),
            Happening::Lose { instance, off_ns } => {
                let medium = Medium::new(self.plan.is_on_memory, self.random.word());
                let position = self.instances[instance].position;
                create(&medium, &self.genesis).map_err(|error| stopped(position, &*error))?;
                let one = &mut self.instances[instance];
                (one.medium, one.running, one.tip) = (medium, None, Height::GENESIS);
                one.life += 1;
                self.is_lost = true;
                self.after(off_ns, Happening::Return { instance });
                Ok(())
            }
            Happening::Return { instance } => {
                self.is_lost = false;
                self.power_on(instance)
            }
            Happening::ClockBack { instance } => {
                self.instances[instance].back_ns = STEP_NS;
                Ok(())
            }
            Happening::ClockRight { instance } => {
                self.instances[instance].back_ns = 0;
                self.schedule(instance);
                Ok(())
            }
            Happening::Divide { groups } => {
                self.groups = Some(groups).filter(|_| !self.is_calm);
                Ok(())
            }
            Happening::Heal => {
                self.groups = None;
                Ok(())
            }
            Happening::Sides => {
                self.sides = self.random.word();
                self.after(500 * MS, Happening::Sides);
                Ok(())
            }
            Happening::Clients => self.clients(),
            Happening::Calm => {
                self.is_calm = true;
                self.groups = None;
                for instance in &self.instances {
                    instance.medium.crash_after(None);
                }
                Ok(())
            }
        }
    }

    /// The power of one instance goes, and comes back later.
    fn cut(&mut self, instance: usize) {
        let one = &mut self.instances[instance];
        one.running = None;
        one.life += 1;
        one.medium = one.medium.restart();
        self.outcome.crashes += 1;
        let off = self.random.between(10, 1_500) * MS;
        self.after(off, Happening::PowerOn { instance });
    }

    fn power_on(&mut self, instance: usize) -> Result<(), Broken> {
        let one = &self.instances[instance];
        let is_lost = self.is_lost && self.plan.losing.map(|losing| losing.who) == Some(one.position);
        if one.running.is_some() || self.plan.dead() >> one.position & 1 == 1 || is_lost {
            return Ok(());
        }
        let (position, now) = (one.position, TimeNs(self.now + one.ahead_ns()));
        let key = &self.keys[usize::from(position)];
        let lies = self.is_lying(position).then(|| Random(self.random.word()));
        let one = &self.instances[instance];
        let identity = Identity {
            key,
            me: position,
            lies,
            metrics: &self.metrics,
        };
        let opened = Running::open(&one.medium, &self.genesis, identity, &self.plan, now);
        match opened {
            Ok(running) => {
                if let Some((height, memory)) = running.recalled.filter(|_| !self.is_lying(position)) {
                    self.checks.remembers(position, height, memory)?;
                }
                let one = &mut self.instances[instance];
                one.running = Some(running);
                (one.wakes_at, one.syncs) = (None, false);
                self.stands(instance)?;
                let dead = self.plan.failing.dead.filter(|_| self.plan.failing.is_known);
                self.step(instance, |running, now| {
                    if let Some(peer) = dead.map(u32::from) {
                        running.handle(Event::Link { peer, is_up: false }, now)?;
                    }
                    Ok(running.handle(Event::Clock, now)?)
                })
            }
            Err(_) if one.medium.crashed() => {
                self.cut(instance);
                Ok(())
            }
            // A twin's journal may hold what the other signed, which it would not have said itself: it stays down.
            Err(_) if self.is_lying(position) => Ok(()),
            Err(error) => Err(stopped(position, &*error)),
        }
    }

    /// Lets an instance do something, and carries out what it wants.
    fn step(
        &mut self,
        instance: usize,
        act: impl FnOnce(&mut Running, TimeNs) -> Result<(), Failed>,
    ) -> Result<(), Broken> {
        let one = &mut self.instances[instance];
        let now = TimeNs(self.now + one.ahead_ns());
        let Some(running) = &mut one.running else {
            return Ok(());
        };
        let acted = act(running, now);
        // What it had said by then is under way, whatever happened after.
        let outgoing_before = if acted.is_err() {
            running.replica.take_outgoing()
        } else {
            Vec::new()
        };
        let taken = acted.and_then(|()| running.take());
        let (position, is_lying) = (one.position, self.is_lying(self.instances[instance].position));
        let step = match taken {
            Ok(step) => step,
            Err(_) if self.instances[instance].medium.crashed() => {
                let said = self.random.below(wide(outgoing_before.len()) + 1);
                let said = usize::try_from(said).unwrap_or_default();
                for message in outgoing_before.into_iter().take(said) {
                    self.send(instance, message.to, message.lane, &message.bytes)?;
                }
                self.cut(instance);
                return Ok(());
            }
            // A liar may meet itself.
            Err(_) if is_lying => {
                self.cut(instance);
                return Ok(());
            }
            Err(error) => return Err(stopped(position, &*error)),
        };
        self.carry_out(instance, step)?;
        self.begin_anew(instance);
        self.schedule(instance);
        Ok(())
    }

    /// Lets a validator that fetched a snapshot begin with it.
    fn begin_anew(&mut self, instance: usize) {
        let one = &mut self.instances[instance];
        let Some(running) = one.running.as_ref().filter(|_| self.plan.losing.is_some()) else {
            return;
        };
        let counts = running.replica.view(TimeNs::ZERO).counts;
        let (chunks, refusals) = &mut self.outcome.fetched;
        *chunks = (*chunks).max(counts.snapshot_chunks_fetched);
        *refusals = (*refusals).max(counts.snapshot_refusals);
        if running.replica.joined().is_some() {
            one.running = None;
            one.life += 1;
            self.outcome.joins += 1;
            self.after(MS, Happening::PowerOn { instance });
        }
    }

    fn carry_out(&mut self, instance: usize, step: Step) -> Result<(), Broken> {
        let position = self.instances[instance].position;
        let is_lying = self.is_lying(position);
        if !is_lying {
            self.outcome.ahead += step.counted.ahead;
            self.outcome.starved += step.counted.starved;
            self.outcome.forged += step.counted.forged;
        }
        let has_decided = !step.committed.is_empty();
        let remembers = self.instances[instance]
            .running
            .as_ref()
            .is_some_and(|running| running.remembers);
        if remembers && !is_lying {
            for (at, committed) in step.committed.iter().enumerate() {
                let height = committed.block.tip.height;
                let memory = step.memories.get(at).copied();
                let memory = memory.ok_or(Broken::Memory {
                    height,
                    validator: position,
                })?;
                self.checks.remembers(position, height, memory)?;
            }
        }
        for committed in step.committed {
            let block = &committed.block;
            let tip = block.tip;
            if !is_lying {
                let ids: Vec<Hash> = block.transactions.iter().map(|one| one.tx_id).collect();
                let row = Row::decode(&block.row).ok();
                let result = row.as_ref().map_or(&[][..], |row| row.result);
                let state = Hash(*blake3::hash(result).as_bytes());
                let body = row
                    .and_then(|row| Body::decode(row.body).ok())
                    .unwrap_or_default();
                let is_first = tip.height > self.checks.tip();
                self.checks.decided(position, tip.height, tip.hash, state, &ids)?;
                if is_first {
                    self.outcome.round_max = self.outcome.round_max.max(committed.round);
                    self.outcome.later_rounds += u64::from(committed.round > 0);
                    self.outcome.proofs += u64::from(!body.evidence.is_empty());
                    self.outcome.scored += u64::from(!body.scores.is_empty());
                    let outcomes = block.result.outcomes.iter();
                    let held = outcomes.filter(|code| **code == Ledgered::Held.code());
                    self.outcome.held += wide(held.count());
                    if tip.height.0 > u64::from(self.plan.epoch_blocks) {
                        self.outcome.later_rounds_settled += u64::from(committed.round > 0);
                        self.waits.push(self.now.saturating_sub(self.decided_at));
                        self.outcome.operations_settled += wide(block.result.outcomes.len());
                    }
                    let chain = self.instances[instance].running.as_ref();
                    let chain = chain.map(|running| running.replica.chain());
                    if let (Some(traces), Some(chain)) = (&mut self.traces, chain) {
                        let wait_ns = self.now.saturating_sub(self.decided_at);
                        traces.decided(block, committed.round, wait_ns, chain);
                    }
                    self.decided_at = self.now;
                }
            }
            self.instances[instance].tip = tip.height;
        }
        if has_decided {
            self.stands(instance)?;
        }
        if has_decided && !self.instances[instance].syncs {
            self.instances[instance].syncs = true;
            let life = self.instances[instance].life;
            let after = self.random.below(self.plan.sync_within_ns);
            self.after(after, Happening::Sync { instance, life });
        }
        for message in step.outgoing {
            self.send(instance, message.to, message.lane, &message.bytes)?;
        }
        Ok(())
    }

    /// Compares how validators stand after an honest one's tip with the others'.
    fn stands(&mut self, instance: usize) -> Result<(), Broken> {
        let one = &self.instances[instance];
        let Some(running) = one.running.as_ref().filter(|_| !self.is_lying(one.position)) else {
            return Ok(());
        };
        let chain = running.replica.chain();
        let set = self.checks.stands(one.position, chain)?;
        self.sets.insert(set);
        let liar = self.keys.last().filter(|_| self.plan.is_one_lying);
        let has_left = |liar: &SigningKey| chain.validators().iter().all(|one| one.key != *liar.public());
        if self.outcome.liar_left.is_none() && liar.is_some_and(has_left) {
            self.outcome.liar_left = Some(chain.tip().height.next().0);
        }
        Ok(())
    }

    /// Sees to it that an instance is woken when it wants to be.
    fn schedule(&mut self, instance: usize) {
        let one = &self.instances[instance];
        let Some(running) = &one.running else { return };
        let at = running.replica.next_wake().0.saturating_sub(one.ahead_ns());
        let at = at.max(self.now + MS / 10);
        if one.wakes_at.is_none_or(|planned| at < planned) {
            let life = one.life;
            self.instances[instance].wakes_at = Some(at);
            self.at(at, Happening::Wake { instance, life });
        }
    }

    fn send(&mut self, instance: usize, to: To, lane: LinkLane, bytes: &Arc<[u8]>) -> Result<(), Broken> {
        let from = self.instances[instance].position;
        if !self.is_lying(from) {
            self.checks.said(from, bytes)?;
        }
        let everyone = 0..self.plan.validators;
        let receivers: Vec<u16> = match to {
            To::All => everyone.filter(|position| *position != from).collect(),
            // Founders' numbers are their positions.
            To::One(number) => u16::try_from(number).ok().into_iter().collect(),
        };
        for receiver in receivers {
            if self.is_lying(from) {
                self.lie(instance, receiver, lane, bytes);
            } else {
                self.deliver_to(from, receiver, bytes);
            }
        }
        Ok(())
    }

    /// A message of a twin: to its own side, now and then to the other too, spoilt, withheld or an old one.
    fn lie(&mut self, instance: usize, receiver: u16, lane: LinkLane, bytes: &Arc<[u8]>) {
        let from = self.instances[instance].position;
        let is_first = instance < usize::from(self.plan.validators);
        let is_its_side = (self.sides >> receiver & 1 == 0) == is_first;
        let is_withheld = lane == LinkLane::Bodies && self.random.chance(200);
        if (!is_its_side && !self.random.chance(100)) || is_withheld {
            return;
        }
        let mut said = Arc::clone(bytes);
        if self.random.chance(20) && !bytes.is_empty() {
            let mut spoilt = bytes.to_vec();
            let at = usize::try_from(self.random.below(wide(spoilt.len()))).unwrap_or_default();
            spoilt[at] ^= 1 << self.random.below(8);
            said = spoilt.into();
        } else if self.replays.len() < REPLAYS_MAX {
            self.replays.push(Arc::clone(bytes));
        }
        self.deliver_to(from, receiver, &said);
        if self.random.chance(20) && !self.replays.is_empty() {
            let old = self.random.below(wide(self.replays.len()));
            let old = Arc::clone(&self.replays[usize::try_from(old).unwrap_or_default()]);
            self.deliver_to(from, receiver, &old);
        }
    }

    fn deliver_to(&mut self, from: u16, receiver: u16, bytes: &Arc<[u8]>) {
        self.outcome.messages += 1;
        let is_cut = self
            .groups
            .is_some_and(|groups| (groups >> from & 1) != (groups >> receiver & 1));
        let is_lost = !self.is_calm && self.random.chance(self.plan.lost_per_mille);
        let is_off = [from, receiver]
            .iter()
            .any(|one| self.plan.is_off(*one, self.now));
        let lost_per_mille = self.plan.conduct(from).lost_per_mille;
        let is_dropped = lost_per_mille > 0 && self.random.chance(lost_per_mille);
        if is_cut || is_lost || is_off || is_dropped {
            return;
        }
        let first = usize::from(receiver);
        let mut instances = vec![first];
        if self.is_lying(receiver) {
            let second = first + 1;
            instances = if self.random.chance(200) {
                vec![first, second]
            } else if self.sides >> from & 1 == 0 {
                vec![first]
            } else {
                vec![second]
            };
        }
        let times = 1 + u64::from(!self.is_calm && self.random.chance(self.plan.doubled_per_mille));
        for instance in instances {
            for _ in 0..times {
                let (least, most) = self.plan.delay_ns;
                let factor = if self.plan.failing.slow == Some(from) {
                    SLOW_FACTOR
                } else {
                    1
                };
                let slow_tenths = self.plan.conduct(from).slow_tenths;
                let delay = factor * self.random.between(least, most) * (10 + slow_tenths) / 10;
                let bytes = Arc::clone(bytes);
                self.after(
                    delay,
                    Happening::Deliver {
                        instance,
                        from,
                        bytes,
                    },
                );
            }
        }
    }

    fn clients(&mut self) -> Result<(), Broken> {
        let tip = self.checks.tip();
        for number in 0..self.lanes.len() {
            let (lane, asked_at) = &mut self.lanes[number];
            if let Some(sent) = &lane.sent {
                let block = self.checks.block_of(&sent.tx_id);
                let over = Some(tip).filter(|tip| *tip > sent.valid_until);
                if let Some(end) = block.or(over) {
                    let waited = end.0.saturating_sub(sent.since.0);
                    self.outcome.waited_max = self.outcome.waited_max.max(waited);
                }
                if block.is_some() {
                    lane.settled();
                } else if over.is_some() {
                    lane.expired();
                }
            }
            // The others' accounts are opened by the first lane's first transaction.
            let is_first = number == 0 || self.checks.transactions() > 0;
            let is_due = lane.due_ns <= self.now && is_first;
            if lane.sent.is_none() && !self.is_draining && is_due {
                lane.due_ns = lane.due_ns.saturating_add(self.plan.load.every_ns).max(self.now);
                lane.next(&self.keys[0], self.chain_id, tip.next(), &mut self.random);
                *asked_at = 0;
            }
            let Some(sent) = &lane.sent else { continue };
            if self.now.saturating_sub(*asked_at) < CLIENT_PATIENCE_NS {
                continue;
            }
            *asked_at = self.now;
            let bytes = sent.bytes.clone();
            let honest = wide(self.honest().count());
            let chosen = usize::try_from(self.random.below(honest)).unwrap_or_default();
            let Some(instance) = self.honest().nth(chosen) else {
                continue;
            };
            // Now and then it gets only there: its client sees to it that nobody else is told.
            let is_passed_on = self.is_calm || !self.random.chance(100);
            self.step(instance, |running, now| {
                running.submit(bytes, is_passed_on);
                Ok(running.handle(Event::Clock, now)?)
            })?;
        }
        self.after(CLIENT_EVERY_NS, Happening::Clients);
        Ok(())
    }
}

/// The clients' lanes, which begin one after the other.
fn lanes(plan: &Plan) -> Vec<(Lane, u64)> {
    let (load, model) = (plan.load, plan.is_scored.then(|| MODEL.hash()));
    let due = |number: u32| EPOCH_NS + load.every_ns * u64::from(number) / u64::from(load.lanes);
    let lane = |number| (Lane::new(number, model, load.validity, due(number)), 0);
    (0..load.lanes).map(lane).collect()
}

fn stopped(validator: u16, error: &(dyn std::error::Error + Send + Sync)) -> Broken {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    Broken::Stopped {
        validator,
        error: text,
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
