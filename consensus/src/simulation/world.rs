//! The world: nodes that each drive a plane as the seam says, and a network and a power supply that fail.

use super::random::Random;
use selfchain_types::ballot::{Ballot, BallotKind, Statement};
use selfchain_types::certificate::Certificate;
use selfchain_types::crypto::SigningKey;
use selfchain_types::evidence::Evidence;
use selfchain_types::genesis::Validator;
use selfchain_types::hash::TABLE;
use selfchain_types::seam::consensus::{Effect, Input, Plane, Schedule, Verdict};
use selfchain_types::{Hash, Height, TimeNs};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub(super) const CHAIN: Hash = Hash([0xc4; 32]);
pub(super) const MS: u64 = 1_000_000;

/// Makes the plane of one node.
pub(super) type Factory = dyn Fn(SigningKey) -> Box<dyn Plane>;

/// What happens in a run.
#[derive(Clone)]
pub(super) struct Scenario {
    pub(super) seed: u64,
    pub(super) nodes: usize,
    /// Heights that every honest node reaches after the faults end.
    pub(super) heights_after: usize,
    /// Until when anything fails.
    pub(super) faults_until_ns: u64,
    pub(super) delay_ns_max: u64,
    pub(super) loss_permille: u64,
    pub(super) duplicate_permille: u64,
    /// Before each effect.
    pub(super) crash_permille: u64,
    pub(super) partition_permille: u64,
    pub(super) objection_permille: u64,
    /// Node that signs twice, and proposes invalid blocks.
    pub(super) byzantine: Option<usize>,
    /// Node that never runs, which the others are told.
    pub(super) dead: Option<usize>,
    /// Node 0 crashes once after it persisted this many records.
    pub(super) crash_after_record: Option<u64>,
    pub(super) keeps_journal: bool,
    /// Whether certificates must hold two thirds.
    pub(super) has_quorum: bool,
    /// What proposers are drawn from; zero: they take turns.
    pub(super) draws_from: Hash,
}

impl Scenario {
    /// Nothing fails.
    pub(super) fn calm(seed: u64, nodes: usize) -> Self {
        Self {
            seed,
            nodes,
            heights_after: 10,
            faults_until_ns: 0,
            delay_ns_max: 40 * MS,
            loss_permille: 0,
            duplicate_permille: 0,
            crash_permille: 0,
            partition_permille: 0,
            objection_permille: 0,
            byzantine: None,
            dead: None,
            crash_after_record: None,
            keeps_journal: true,
            has_quorum: true,
            draws_from: Hash::ZERO,
        }
    }

    /// Everything fails for a while.
    pub(super) fn rough(seed: u64, nodes: usize) -> Self {
        Self {
            faults_until_ns: 4_000 * MS,
            loss_permille: 80,
            duplicate_permille: 50,
            crash_permille: 15,
            partition_permille: 250,
            objection_permille: 150,
            byzantine: (nodes > 3 && seed.is_multiple_of(2)).then_some(1),
            ..Self::calm(seed, nodes)
        }
    }
}

/// What a run came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Hash of every effect of every node, in order.
    pub(super) trace: Hash,
    pub(super) heights: u64,
    pub(super) ended_ns: u64,
    pub(super) later_rounds: u64,
    pub(super) crashes: u64,
    /// Persisted by node 0.
    pub(super) records: u64,
    pub(super) evidence: Vec<Evidence>,
    pub(super) forks: Vec<Height>,
    pub(super) double_signs: Vec<(usize, BallotKind, Height, u32)>,
    /// Whether all honest nodes got as far as they had to.
    pub(super) has_progressed: bool,
}

/// Virtual time after the faults within which the heights must come.
const PROGRESS_NS_MAX: u64 = 120_000 * MS;
/// A node asks another how far it is.
const POLL_NS: u64 = 300 * MS;
/// Partitions last this long.
const PARTITION_NS: u64 = 1_500 * MS;

#[derive(Debug)]
enum Event {
    Deliver {
        to: usize,
        from: usize,
        bytes: Vec<u8>,
    },
    Input {
        node: usize,
        life: u64,
        input: Input,
    },
    Timer {
        node: usize,
        life: u64,
        timer: u64,
        at: u64,
        stale: bool,
    },
    Reachable {
        node: usize,
        other: usize,
        alive: bool,
    },
    Start {
        node: usize,
        life: u64,
    },
    Restart {
        node: usize,
    },
    Poll {
        node: usize,
    },
}

struct Node {
    key: SigningKey,
    plane: Option<Box<dyn Plane>>,
    /// Lives before this one.
    life: u64,
    skew_ns: u64,
    journal: Vec<(Height, Vec<u8>)>,
    log: Vec<Certificate>,
    /// Blocks of the log that a crash leaves.
    durable: usize,
    timers: BTreeMap<u64, u64>,
    /// Persisted in all lives.
    records: u64,
}

pub(super) struct World<'a> {
    scenario: Scenario,
    factory: &'a Factory,
    random: Random,
    now: u64,
    sequence: u64,
    events: BTreeMap<(u64, u64), Event>,
    nodes: Vec<Node>,
    /// Blocks by hash, and whether they may be decided.
    blocks: BTreeMap<Hash, bool>,
    /// One side of the partition of each time slot.
    sides: BTreeMap<u64, u64>,
    /// By honest nodes.
    decided: BTreeMap<Height, Hash>,
    signed: BTreeMap<(usize, BallotKind, Height, u32), Statement>,
    checked: BTreeMap<(Height, Hash), bool>,
    outcome: Outcome,
}

/// Decided blocks that are durable with all before them as soon as they are in the log.
const SYNC_PERMILLE: u64 = 600;
/// Messages whose signatures no pool looked at.
const LEFT_TO_PLANE_PERMILLE: u64 = 50;

/// Nodes of a height, with their power: it differs from height to height, and every fifth height one sits out.
fn members(nodes: usize, height: Height) -> Vec<(usize, u64)> {
    let all = u64::try_from(nodes).expect("few");
    let epoch = height.0 / 5;
    let idle = (epoch % 2 == 1 && nodes > 4).then_some(epoch % all);
    (0..all)
        .filter(|node| Some(*node) != idle)
        .map(|node| (usize::try_from(node).expect("few"), 20 + (node * 7 + epoch) % 5))
        .collect()
}

fn bytes_of(certificate: &Certificate) -> Vec<u8> {
    let mut bytes = Vec::new();
    certificate.encode(&mut bytes);
    bytes
}

fn seed(node: usize) -> [u8; 32] {
    let mut seed = [7; 32];
    seed[0] = u8::try_from(node).expect("few");
    seed
}

fn seat(nodes: usize, height: Height, node: usize) -> Option<u16> {
    let at = members(nodes, height)
        .iter()
        .position(|(member, _)| *member == node)?;
    u16::try_from(at).ok()
}

impl<'a> World<'a> {
    pub(super) fn run(scenario: &Scenario, factory: &'a Factory) -> Outcome {
        let mut world = Self {
            scenario: scenario.clone(),
            factory,
            random: Random::new(scenario.seed),
            now: 0,
            sequence: 0,
            events: BTreeMap::new(),
            nodes: Vec::new(),
            blocks: BTreeMap::new(),
            sides: BTreeMap::new(),
            decided: BTreeMap::new(),
            signed: BTreeMap::new(),
            checked: BTreeMap::new(),
            outcome: Outcome::default(),
        };
        for number in 0..scenario.nodes {
            let skew_ns = world.random.between(0, 3_000 * MS);
            world.nodes.push(Node {
                key: SigningKey::from_seed(&seed(number)),
                plane: None,
                life: 0,
                skew_ns,
                journal: Vec::new(),
                log: Vec::new(),
                durable: 0,
                timers: BTreeMap::new(),
                records: 0,
            });
            if scenario.dead == Some(number) {
                continue;
            }
            world.at(0, Event::Restart { node: number });
            world.at(POLL_NS, Event::Poll { node: number });
        }
        world.go();
        world.outcome
    }

    fn go(&mut self) {
        let mut goal = None;
        while let Some(((at, _), event)) = self.events.pop_first() {
            self.now = at;
            self.event(event);
            if self.now >= self.scenario.faults_until_ns {
                let goal = *goal.get_or_insert_with(|| self.highest() + self.scenario.heights_after);
                if self.honest().all(|node| self.nodes[node].log.len() >= goal) {
                    self.outcome.has_progressed = true;
                    break;
                }
            }
            if self.now > self.scenario.faults_until_ns + PROGRESS_NS_MAX {
                break;
            }
        }
        self.outcome.ended_ns = self.now;
        self.outcome.heights = u64::try_from(self.highest()).expect("few");
    }

    fn highest(&self) -> usize {
        self.nodes.iter().map(|node| node.log.len()).max().unwrap_or(0)
    }

    fn honest(&self) -> impl Iterator<Item = usize> {
        let (byzantine, dead) = (self.scenario.byzantine, self.scenario.dead);
        (0..self.nodes.len()).filter(move |node| Some(*node) != byzantine && Some(*node) != dead)
    }

    fn is_faulty_time(&self) -> bool {
        self.now < self.scenario.faults_until_ns
    }

    fn at(&mut self, delay_ns: u64, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + delay_ns, self.sequence), event);
    }

    fn soon(&mut self, event: Event) {
        let delay_ns = self.random.between(0, self.scenario.delay_ns_max);
        self.at(delay_ns, event);
    }

    fn input(&mut self, node: usize, input: Input) {
        let life = self.nodes[node].life;
        self.soon(Event::Input { node, life, input });
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Deliver { to, from, bytes } => {
                let of = self.height(to);
                let from = seat(self.nodes.len(), of, from).unwrap_or(u16::MAX);
                let checked = self.check(to, &bytes);
                self.step(to, Input::Message { from, bytes, checked });
            }
            Event::Input { node, life, input } if self.is_life(node, life) => self.step(node, input),
            Event::Timer {
                node,
                life,
                timer,
                at,
                stale,
            } if self.is_life(node, life) => {
                if self.nodes[node].timers.get(&timer) == Some(&at) {
                    self.nodes[node].timers.remove(&timer);
                    self.step(node, Input::Timer(timer));
                } else if stale {
                    self.step(node, Input::Timer(timer));
                }
            }
            Event::Start { node, life } if self.is_life(node, life) => self.start(node),
            Event::Reachable { node, other, alive } if self.nodes[node].plane.is_some() => {
                if let Some(validator) = seat(self.nodes.len(), self.height(node), other) {
                    self.step(node, Input::Peer { validator, alive });
                }
            }
            Event::Restart { node } => self.restart(node),
            Event::Poll { node } => self.poll(node),
            Event::Input { .. } | Event::Timer { .. } | Event::Start { .. } | Event::Reachable { .. } => {}
        }
    }

    fn is_life(&self, node: usize, life: u64) -> bool {
        self.nodes[node].life == life && self.nodes[node].plane.is_some()
    }

    /// The height that a node is at.
    fn height(&self, node: usize) -> Height {
        Height(u64::try_from(self.nodes[node].log.len()).expect("few") + 1)
    }

    fn set(&self, height: Height) -> Vec<Validator> {
        members(self.nodes.len(), height)
            .into_iter()
            .map(|(node, power)| Validator {
                key: self.nodes[node].key.public().clone(),
                power,
            })
            .collect()
    }

    /// What a driver's pool says of a message. One pool for all nodes: a signature is verified once, unless a
    /// node is left to do it.
    fn check(&mut self, node: usize, bytes: &[u8]) -> bool {
        if self.random.chance(LEFT_TO_PLANE_PERMILLE) {
            return false;
        }
        let height = self.height(node);
        let key = (height, TABLE.hash(bytes));
        if let Some(is_good) = self.checked.get(&key) {
            return *is_good;
        }
        let is_good = crate::bft::check(bytes, &CHAIN, height, &self.set(height));
        self.checked.insert(key, is_good);
        is_good
    }

    fn restart(&mut self, node: usize) {
        let plane = (self.factory)(SigningKey::from_seed(&seed(node)));
        self.nodes[node].plane = Some(plane);
        if !self.scenario.keeps_journal {
            self.nodes[node].journal.clear();
        }
        for (_, record) in self.nodes[node].journal.clone() {
            self.step(node, Input::Recovered(record));
        }
        self.start(node);
        self.tell(node, true);
        if let Some(other) = self.scenario.dead {
            let alive = false;
            self.soon(Event::Reachable { node, other, alive });
        }
    }

    fn start(&mut self, node: usize) {
        let height = self.height(node);
        let validators: Arc<[Validator]> = self.set(height).into();
        let epoch = height.0 / 5 * 5;
        let schedule = Schedule {
            seed: self.scenario.draws_from,
            since: Height(epoch),
            weights: validators.iter().map(|validator| validator.power).collect(),
        };
        self.step(
            node,
            Input::Start {
                height,
                validators,
                schedule,
            },
        );
        if self.nodes[node].plane.is_some() {
            self.input(node, Input::Wanted);
        }
    }

    /// Tells the others whether a node can be reached; now and then nobody notices.
    fn tell(&mut self, other: usize, alive: bool) {
        for node in 0..self.nodes.len() {
            if node != other && (alive || self.random.chance(700)) {
                self.soon(Event::Reachable { node, other, alive });
            }
        }
    }

    /// Fetches the next block from somebody who has it.
    fn poll(&mut self, node: usize) {
        self.at(POLL_NS, Event::Poll { node });
        let count = u64::try_from(self.nodes.len()).expect("few");
        let other = usize::try_from(self.random.next() % count).expect("few");
        let mine = self.nodes[node].log.len();
        let has_more = self.nodes[other].plane.is_some() && self.nodes[other].log.len() > mine;
        if has_more && self.nodes[node].plane.is_some() && !self.is_cut(node, other) {
            let certificate = self.nodes[other].log[mine].clone();
            let checked = false;
            self.step(node, Input::Synced { certificate, checked });
        }
    }

    fn step(&mut self, node: usize, input: Input) {
        let now = TimeNs(self.now + self.nodes[node].skew_ns);
        let Some(plane) = &mut self.nodes[node].plane else {
            return;
        };
        let mut effects = Vec::new();
        let seed = self.scenario.seed;
        if let Err(error) = plane.handle(input, now, &mut effects) {
            panic!("seed {seed}: node {node} at {}: {error}", self.now);
        }
        for effect in VecDeque::from(effects) {
            if self.is_faulty_time() && self.random.chance(self.scenario.crash_permille) {
                return self.crash(node);
            }
            self.trace(node, &effect);
            let is_record = matches!(effect, Effect::Persist { .. });
            self.perform(node, effect);
            if is_record && node == 0 && self.scenario.crash_after_record == Some(self.nodes[0].records) {
                return self.crash(node);
            }
        }
    }

    fn crash(&mut self, node: usize) {
        self.outcome.crashes += 1;
        let node_state = &mut self.nodes[node];
        node_state.plane = None;
        node_state.log.truncate(node_state.durable);
        node_state.life += 1;
        node_state.timers.clear();
        let down_ns = self.random.between(MS, 2_500 * MS);
        self.at(down_ns, Event::Restart { node });
        self.tell(node, false);
    }

    fn trace(&mut self, node: usize, effect: &Effect) {
        let head = format!("{} {node} {:?}", self.now, core::mem::discriminant(effect));
        let text;
        let bytes = match effect {
            Effect::Broadcast(bytes) | Effect::Persist { record: bytes, .. } | Effect::Evidence(bytes) => {
                bytes
            }
            effect => {
                text = format!("{effect:?}").into_bytes();
                &text
            }
        };
        self.outcome.trace = TABLE.hash_parts(&[self.outcome.trace.as_bytes(), head.as_bytes(), bytes]);
    }

    fn perform(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::Broadcast(bytes) => self.broadcast(node, &bytes),
            Effect::Send { .. } => panic!("no plane sends to one yet"),
            Effect::SetTimer { timer, at } => self.set_timer(node, timer, at),
            Effect::Persist { height, record } => {
                self.nodes[node].records += 1;
                self.outcome.records += u64::from(node == 0);
                self.nodes[node].journal.push((height, record));
            }
            Effect::Build { height, round } => self.build(node, height, round),
            Effect::Judge { block, .. } => {
                let verdict = self.judge(node, &block);
                self.input(node, verdict);
            }
            Effect::Decided(certificate) => self.decided(node, certificate),
            Effect::Evidence(bytes) => self.evidence(&bytes),
            Effect::Late(_) => {}
        }
    }

    fn set_timer(&mut self, node: usize, timer: u64, at: TimeNs) {
        let at = at.0.saturating_sub(self.nodes[node].skew_ns).max(self.now);
        self.nodes[node].timers.insert(timer, at);
        let stale = self.random.chance(250);
        let life = self.nodes[node].life;
        let event = Event::Timer {
            node,
            life,
            timer,
            at,
            stale,
        };
        self.at(at - self.now, event);
    }

    fn build(&mut self, node: usize, height: Height, round: u32) {
        let is_valid = Some(node) != self.scenario.byzantine || self.random.chance(700);
        let block = self.new_block(is_valid);
        let extension = self.extension();
        self.input(
            node,
            Input::Built {
                height,
                round,
                block,
                extension,
            },
        );
    }

    fn new_block(&mut self, is_valid: bool) -> Hash {
        let block = TABLE.hash(&self.random.next().to_le_bytes());
        self.blocks.insert(block, is_valid);
        block
    }

    fn extension(&mut self) -> Vec<u8> {
        let len = usize::try_from(self.random.between(0, 8)).expect("short");
        self.random.next().to_le_bytes()[..len].to_vec()
    }

    fn judge(&mut self, node: usize, block: &Hash) -> Input {
        let objects = self.is_faulty_time() && self.random.chance(self.scenario.objection_permille);
        let verdict = match self.blocks.get(block) {
            Some(true) if objects && Some(node) != self.scenario.byzantine => Verdict::Objection,
            Some(true) => Verdict::Valid,
            _ => Verdict::Invalid,
        };
        Input::Verdict {
            block: *block,
            verdict,
            extension: self.extension(),
        }
    }

    fn decided(&mut self, node: usize, certificate: Certificate) {
        let height = self.height(node);
        let seed = self.scenario.seed;
        assert_eq!(certificate.height, height, "seed {seed}: in order");
        let key = (height, TABLE.hash_parts(&[&bytes_of(&certificate)]));
        if self.scenario.has_quorum && self.checked.insert(key, true).is_none() {
            let proof = certificate.verify(&CHAIN, &self.set(height));
            assert_eq!(proof, Ok(()), "seed {seed}: a certificate proves its block");
            assert_eq!(
                self.blocks.get(&certificate.block),
                Some(&true),
                "seed {seed}: valid"
            );
        }
        if Some(node) != self.scenario.byzantine {
            let first = *self.decided.entry(height).or_insert(certificate.block);
            if first != certificate.block {
                self.outcome.forks.push(height);
            }
        }
        self.outcome.later_rounds += u64::from(certificate.round > 0);
        self.nodes[node].log.push(certificate);
        // Of a lone validator nobody hears before its block is durable: it may decide anew what a crash took.
        if self.nodes.len() == 1 || self.random.chance(SYNC_PERMILLE) {
            self.nodes[node].durable = self.nodes[node].log.len();
            self.nodes[node].journal.retain(|(of, _)| *of > height);
        }
        let life = self.nodes[node].life;
        self.at(0, Event::Start { node, life });
    }

    fn evidence(&mut self, bytes: &[u8]) {
        let seed = self.scenario.seed;
        let evidence = Evidence::decode(bytes).expect("a plane's evidence can be read");
        let set = self.set(evidence.height());
        let validator = &set[usize::from(evidence.validator())];
        assert_eq!(evidence.verify(&CHAIN, &validator.key), Ok(()), "seed {seed}");
        if self.scenario.keeps_journal {
            let byzantine = self.scenario.byzantine.map(|node| self.nodes[node].key.public());
            assert_eq!(
                Some(&validator.key),
                byzantine,
                "seed {seed}: an honest node is accused"
            );
        }
        self.outcome.evidence.push(evidence);
    }

    fn broadcast(&mut self, node: usize, bytes: &[u8]) {
        let own = Ballot::decode(bytes).ok();
        if Some(node) == self.scenario.byzantine {
            let twin = own
                .as_ref()
                .and_then(|ballot| self.twin(node, ballot))
                .map(|ballot| ballot.to_bytes());
            let forged = own.map(|ballot| self.forged(node, &ballot).to_bytes());
            for to in 0..self.nodes.len() {
                if let Some(forged) = forged.as_ref().filter(|_| self.random.chance(300)) {
                    self.send(node, to, forged);
                }
                match &twin {
                    Some(twin) if self.random.chance(500) => {
                        self.send(node, to, twin);
                        if self.random.chance(500) {
                            self.send(node, to, bytes);
                        }
                    }
                    _ => self.send(node, to, bytes),
                }
            }
            return;
        }
        if let Some(ballot) = own {
            self.oracle(node, &ballot);
        }
        for to in 0..self.nodes.len() {
            self.send(node, to, bytes);
        }
    }

    /// A ballot in the name of another, which nobody may take.
    fn forged(&self, node: usize, ballot: &Ballot) -> Ballot {
        let others = members(self.nodes.len(), ballot.height);
        let seats = u16::try_from(others.len()).expect("few");
        let own = seat(self.nodes.len(), ballot.height, node).unwrap_or_default();
        Ballot {
            validator: (own + 1) % seats,
            ..ballot.clone()
        }
    }

    /// Another ballot for the same slot.
    fn twin(&mut self, node: usize, ballot: &Ballot) -> Option<Ballot> {
        if seat(self.nodes.len(), ballot.height, node) != Some(ballot.validator) {
            return None;
        }
        let statement = match &ballot.statement {
            Statement::Prevote(Some(_)) => Statement::Prevote(None),
            Statement::Prevote(None) => Statement::Prevote(Some(self.new_block(true))),
            Statement::Precommit(block, extension) if self.random.chance(500) => {
                Statement::Precommit(*block, [&extension[..], &[1]].concat())
            }
            Statement::Precommit(..) => Statement::NilPrecommit,
            Statement::NilPrecommit => return None,
            Statement::Proposal(_, polka) => Statement::Proposal(self.new_block(true), *polka),
        };
        let (height, round) = (ballot.height, ballot.round);
        Some(Ballot::sign(
            &CHAIN,
            height,
            round,
            ballot.validator,
            statement,
            &self.nodes[node].key,
        ))
    }

    /// Remembers what an honest node says, and whether it said something else before.
    fn oracle(&mut self, node: usize, ballot: &Ballot) {
        let mine = seat(self.nodes.len(), ballot.height, node) == Some(ballot.validator);
        if !mine {
            return;
        }
        let slot = (node, ballot.statement.kind(), ballot.height, ballot.round);
        let first = self
            .signed
            .entry(slot)
            .or_insert_with(|| ballot.statement.clone());
        if *first != ballot.statement {
            self.outcome.double_signs.push(slot);
        }
    }

    fn send(&mut self, from: usize, to: usize, bytes: &[u8]) {
        if from == to || self.is_cut(from, to) {
            return;
        }
        let (loss, duplicate) = (self.scenario.loss_permille, self.scenario.duplicate_permille);
        if self.is_faulty_time() && self.random.chance(loss) {
            return;
        }
        let copies = if self.is_faulty_time() && self.random.chance(duplicate) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let bytes = bytes.to_vec();
            self.soon(Event::Deliver { to, from, bytes });
        }
    }

    /// Whether two nodes are on different sides now.
    fn is_cut(&mut self, one: usize, other: usize) -> bool {
        if !self.is_faulty_time() {
            return false;
        }
        let slot = self.now / PARTITION_NS;
        let (random, permille) = (&mut self.random, self.scenario.partition_permille);
        let draw = || if random.chance(permille) { random.next() } else { 0 };
        let sides = *self.sides.entry(slot).or_insert_with(draw);
        (sides >> one) & 1 != (sides >> other) & 1
    }
}
