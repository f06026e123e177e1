//! Four replicas with a model in force: what becomes of scores that are wrong, left out, or of a missing model.

use super::replica::{Event, Options, Replica, Ticket, To};
use crate::drive::Scoring;
use crate::standing::found;
use crate::store::{Store, StoreConfig};
use crate::telemetry::Metrics;
use crate::validating::agreement;
use selfchain_ai::Projection;
use selfchain_ai::model::{Model, default_model};
use selfchain_consensus::bft;
use selfchain_engine::builder::Order;
use selfchain_engine::pool::{Pool, PoolLimits, PoolRules};
use selfchain_storage::{Disk, Journal, JournalConfig, MemoryDisk};
use selfchain_types::block::{Body, Header, Row};
use selfchain_types::crypto::SigningKey;
use selfchain_types::envelope::EnvelopeView;
use selfchain_types::genesis::Plane;
use selfchain_types::receipt::NOT_SCORED;
use selfchain_types::seam::log::Log;
use selfchain_types::seam::scorer::{Scorer, Terms, Timed};
use selfchain_types::{
    AccountFlags, AccountId, Amount, AssetId, Envelope, EnvelopeBuilder, Genesis, Hash, Height, Operation,
    Policy, Risk, TimeNs, Verified,
};
use std::collections::VecDeque;
use std::error::Error;
use std::sync::{Arc, LazyLock};

use Scores::{Honestly, Late, LeavingOneOut, Lying, WithoutTheModel, WithoutTheStrictModel};

const MS: u64 = 1_000_000;
const BEGAN: u64 = 1_700_000_000_000_000_000;
/// A budget that is never used up, and is not that of judging.
const AMPLE: u64 = u64::MAX - 1;
const MODEL_FROM: Height = Height(4);
/// When a test is given up: an hour of virtual time.
const PATIENCE_NS: u64 = 3_600_000 * MS;

static MODEL: LazyLock<Arc<Model>> = LazyLock::new(|| Arc::new(default_model()));

/// Finds everything risky that an account asks it about.
static STRICT: LazyLock<Arc<Model>> = LazyLock::new(|| {
    let rule = "[[rule]]\ncode = \"large\"\nsays = \"a large amount\"\nscore = 230\nwhen = [\"amount >= 1_000_000_000\"]\n";
    let pack = format!("name = \"strict\"\nversion = 1\nbase = 230\n{rule}");
    Arc::new(Model::read(pack.as_bytes()).unwrap())
});
/// What it says.
const STRICT_SCORE: u8 = 230;

struct Nobody;

impl Ticket for Nobody {
    fn wants_balances(&self) -> bool {
        false
    }
}

/// How one validator scores.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scores {
    Honestly,
    /// Says of the first scored operation of each own block that it is safe, or risky where it is safe.
    Lying,
    /// Leaves the last scored operation of each own block out.
    LeavingOneOut,
    /// Has no time for own blocks.
    Late,
    WithoutTheModel,
    WithoutTheStrictModel,
}

/// Changes the scores of own blocks, which have a budget.
struct Lies {
    honest: Projection,
    how: Scores,
}

impl Scorer for Lies {
    fn knows(&self, model: &Hash) -> bool {
        self.honest.knows(model)
    }

    fn is_exact(&self, model: &Hash) -> bool {
        self.honest.is_exact(model)
    }

    fn observe(&mut self, operations: &[Timed<'_>]) {
        self.honest.observe(operations);
    }

    fn score(&mut self, operations: &[Timed<'_>], terms: &Terms<'_>, risk: &mut Risk) {
        self.honest.score(operations, terms, risk);
        if terms.budget_ns == u64::MAX {
            return;
        }
        let mut scored = risk.scores.iter_mut().filter(|score| **score != NOT_SCORED);
        match self.how {
            Lying => {
                if let Some(score) = scored.next() {
                    *score = if *score == 0 { 1 } else { 0 };
                }
            }
            LeavingOneOut => {
                if let Some(score) = scored.next_back() {
                    *score = NOT_SCORED;
                }
            }
            Honestly | Late | WithoutTheModel | WithoutTheStrictModel => {}
        }
    }

    fn keep(&mut self, learnt: &[Timed<'_>]) {
        self.honest.keep(learnt);
    }

    fn freeze(&mut self) {
        self.honest.freeze();
    }

    fn sweep(&mut self, count: u32, sink: &mut dyn FnMut(&[u8])) -> bool {
        self.honest.sweep(count, sink)
    }

    fn restore(&mut self, chunk: &[u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.honest.restore(chunk)
    }

    fn memory_hash(&self) -> Hash {
        self.honest.memory_hash()
    }

    fn memory_bytes(&self) -> usize {
        self.honest.memory_bytes()
    }

    fn failed(&self) -> u64 {
        self.honest.failed()
    }

    fn cpu_ns(&self) -> u64 {
        self.honest.cpu_ns()
    }
}

struct Validator {
    replica: Replica<Nobody>,
    store: Store,
    metrics: Arc<Metrics>,
    /// The rounds that blocks were decided in, by height from 1 on.
    rounds: Vec<u32>,
}

struct Network {
    validators: Vec<Validator>,
    keys: Vec<SigningKey>,
    chain_id: Hash,
    now: u64,
    messages: VecDeque<(u32, u32, Arc<[u8]>)>,
    counter: u64,
    /// Whether scorers are read for a snapshot whenever anything has happened.
    reads_scorers: bool,
}

impl Network {
    fn new(scores: [Scores; 4]) -> Self {
        let keys: Vec<SigningKey> = (1..=4).map(|seed| SigningKey::from_seed(&[seed; 32])).collect();
        let genesis = Genesis::solo("scored", 1, keys[0].public().clone());
        let genesis = found(genesis, Plane::Stake, &keys, 1_024, 1);
        let each = (0..).zip(scores);
        let validators = each.map(|(me, scores)| Validator::start(&keys[me], &genesis, scores));
        let mut network = Self {
            validators: validators.collect(),
            keys: Vec::new(),
            chain_id: genesis.chain_id(),
            now: BEGAN,
            messages: VecDeque::new(),
            counter: 0,
            reads_scorers: false,
        };
        network.keys = keys;
        network.commit(opening(&network.keys[0]));
        network.reach(MODEL_FROM);
        network
    }

    fn reach(&mut self, height: Height) {
        while self.tip() < height {
            self.commit(vec![Operation::anchor(1, Hash::ZERO)]);
        }
    }

    fn tip(&self) -> Height {
        let tips = self.validators.iter().map(|one| one.replica.chain().tip().height);
        tips.min().unwrap()
    }

    /// Lets a client of the first validator commit one transaction, and waits until all have decided its block.
    fn commit(&mut self, operations: Vec<Operation>) {
        self.counter += 1;
        let tip = self.tip();
        let builder = EnvelopeBuilder::new(self.chain_id, tip.next(), 100, operations);
        let bytes = builder.sign(&[(&self.keys[0], 0, self.counter)]);
        let now = TimeNs(self.now);
        self.validators[0].submit(bytes, true);
        self.handle(0, Event::Clock, now);
        let (until, counter, key) = (self.now + PATIENCE_NS, self.counter, self.keys[0].id());
        let has_it = |one: &Validator| one.replica.chain().ledger().lane(&key, 0) == counter;
        while !self.validators.iter().all(has_it) {
            assert!(self.now < until, "nothing is decided any more");
            self.pass();
        }
    }

    /// Delivers what is under way, then lets time pass until somebody wants to be woken.
    fn pass(&mut self) {
        while let Some((from, to, bytes)) = self.messages.pop_front() {
            let bytes = bytes.to_vec();
            self.handle(
                usize::try_from(to).unwrap(),
                Event::Peer { from, bytes },
                TimeNs(self.now),
            );
        }
        let wakes = self.validators.iter().map(|one| one.replica.next_wake().0);
        self.now = wakes.min().unwrap().max(self.now + MS);
        for at in 0..self.validators.len() {
            self.handle(at, Event::Clock, TimeNs(self.now));
        }
    }

    fn handle(&mut self, at: usize, event: Event, now: TimeNs) {
        let count = u32::try_from(self.validators.len()).unwrap();
        let me = u32::try_from(at).unwrap();
        if self.reads_scorers
            && let (_, Some(scorer)) = self.validators[at].replica.for_snapshot()
        {
            scorer.freeze();
        }
        for message in self.validators[at].handle(event, now) {
            match message.to {
                To::All => {
                    let others = (0..count).filter(|other| *other != me);
                    self.messages
                        .extend(others.map(|other| (me, other, Arc::clone(&message.bytes))));
                }
                To::One(other) => self.messages.push_back((me, other, message.bytes)),
            }
        }
    }

    /// Commits so many transfers, each alone.
    fn transfers(&mut self, count: u128) {
        for number in 0..count {
            let (from, to) = (1 + number % 5, 1 + (number + 1 + number / 5 % 3) % 5);
            let amount = Amount(1 + 7 * number);
            self.commit(vec![
                Operation::anchor(1, Hash::ZERO),
                Operation::transfer(100 + number, AccountId(from), AccountId(to), amount, MONEY),
            ]);
        }
    }

    /// Every decided block with a transfer after an anchor, and a model in force: who proposed it, its scores, and its round.
    fn scored_blocks(&self) -> Vec<(u16, Vec<u8>, u32)> {
        let one = &self.validators[0];
        let reader = one.store.log_reader();
        let mut blocks = Vec::new();
        for height in MODEL_FROM.next().0..=one.replica.chain().tip().height.0 {
            let row = reader.read(height).unwrap();
            let row = Row::decode(&row).unwrap();
            let body = Body::decode(row.body).unwrap();
            let operations = |bytes: &&[u8]| EnvelopeView::new(bytes).unwrap().operations().len();
            if body.envelopes.first().map(operations) != Some(2) {
                continue;
            }
            let proposer = Header::decode(row.header).unwrap().proposer;
            let proposer = self.keys.iter().position(|key| key.id() == proposer).unwrap();
            let round = one.rounds[usize::try_from(height).unwrap() - 1];
            blocks.push((u16::try_from(proposer).unwrap(), body.scores.to_vec(), round));
        }
        assert!(!blocks.is_empty());
        blocks
    }

    /// All decided the same, and all who remember remember the same, as one who is told the log anew does.
    fn agree(&mut self) {
        let mut hashes = Vec::new();
        let mut tips = Vec::new();
        for one in &mut self.validators {
            tips.push(one.replica.chain().tip());
            if let (_, Some(scorer)) = one.replica.for_snapshot() {
                scorer.freeze();
                hashes.push(scorer.memory_hash());
            }
            let fresh = || -> Box<dyn Scorer> { Box::new(Projection::new(Vec::new())) };
            let told = one
                .store
                .remember(one.replica.chain(), &fresh, &mut |_| ())
                .unwrap();
            hashes.push(told.memory.memory_hash());
        }
        assert!(tips.iter().all(|tip| *tip == tips[0]), "{tips:?}");
        assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
    }
}

impl Validator {
    fn start(key: &SigningKey, genesis: &Genesis, scores: Scores) -> Self {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        Store::create(&*disk, genesis).unwrap();
        let mut store = Store::open(Arc::clone(&disk), &StoreConfig::default()).unwrap();
        let chain = store.recover(&mut |_| ()).unwrap();
        let journal = Journal::open(disk, JournalConfig::default(), 0).unwrap();
        let metrics = Arc::<Metrics>::default();
        let models = match scores {
            WithoutTheModel => Vec::new(),
            WithoutTheStrictModel => vec![Arc::clone(&MODEL)],
            _ => vec![Arc::clone(&MODEL), Arc::clone(&STRICT)],
        };
        let scorer = Lies {
            honest: Projection::new(models),
            how: scores,
        };
        let budget_ns = if scores == Late { 0 } else { AMPLE };
        let mut agreement = agreement(genesis, key, None, bft::Options::default());
        agreement.scoring = Some(Scoring::new(Box::new(scorer), budget_ns, Arc::clone(&metrics)));
        let options = Options {
            order: Order::Fee,
            envelopes_max: 64,
            interval_ns: 5 * MS,
            tip_every_ns: 500 * MS,
            keeps_bodies: true,
            starves: false,
        };
        let pool = Pool::new(PoolLimits::default(), PoolRules::of(genesis), Height(1));
        let log = store.log_reader();
        Self {
            replica: Replica::open(options, chain, agreement, pool, journal, log, TimeNs(BEGAN)).unwrap(),
            store,
            metrics,
            rounds: Vec::new(),
        }
    }

    fn submit(&mut self, bytes: Vec<u8>, is_own: bool) {
        let verified = Verified::check(Envelope::decode(bytes).unwrap(), &()).unwrap();
        let _refused = self.replica.submit(verified, Nobody, is_own);
    }

    fn handle(&mut self, event: Event, now: TimeNs) -> Vec<super::Outgoing> {
        self.replica.handle(event, now).unwrap();
        for (_, bytes) in self.replica.take_unverified() {
            self.submit(bytes, false);
        }
        self.replica.handle(Event::Clock, now).unwrap();
        for committed in self.replica.take_committed() {
            let height = committed.block.tip.height.0;
            self.store.log.append(height, &committed.block.row).unwrap();
            self.store.log.sync().unwrap();
            self.rounds.push(committed.round);
        }
        self.replica.take_refused();
        self.replica.take_outgoing()
    }
}

const MONEY: AssetId = AssetId(7);
const ISSUANCE: AccountId = AccountId(1_000_000);

/// The asset, five accounts with money, a policy that keeps reasons, and the model.
fn opening(key: &SigningKey) -> Vec<Operation> {
    let policy = Policy {
        annotate: 60,
        ..Policy::default()
    };
    let mut all = vec![
        Operation::create_asset(MONEY, ISSUANCE, key.id(), 0, Amount(1 << 60)),
        Operation::set_policy(1, AccountId::NONE, &policy),
        Operation::set_model(1, MODEL.hash(), MODEL_FROM),
    ];
    for number in 1..=5 {
        let flags = AccountFlags::default();
        let account = AccountId(number);
        all.push(Operation::open_account(
            account,
            MONEY,
            key.id(),
            flags,
            Amount(0),
            0,
        ));
        all.push(Operation::transfer(
            number,
            ISSUANCE,
            account,
            Amount(10_000),
            MONEY,
        ));
    }
    all
}

#[test]
fn honest_validators_score_the_same_and_decide_in_the_first_round() {
    let mut network = Network::new([Honestly; 4]);
    network.transfers(24);
    for (_, scores, round) in network.scored_blocks() {
        assert_eq!((scores[0], round), (NOT_SCORED, 0));
        assert_ne!(scores[1], NOT_SCORED);
    }
    network.agree();
    for one in &network.validators {
        let metrics = &one.metrics;
        let of_others = [
            &metrics.scores_disputed,
            &metrics.scores_left_out,
            &metrics.model_missing,
        ];
        assert_eq!(of_others.map(|counter| counter.get()), [0; 3]);
        assert_eq!(metrics.scored.get(), 24, "each decided operation is counted once");
        assert!(metrics.score_blocks.get() > 0 && metrics.score_budget_ns.get() == AMPLE);
    }
}

#[test]
fn what_was_scored_and_then_read_for_a_snapshot_is_folded_all_the_same() {
    let mut network = Network::new([Honestly; 4]);
    network.reads_scorers = true;
    network.transfers(8);
    network.agree();
}

#[test]
fn a_second_opinion_is_heard_where_the_proposer_has_the_model_and_nobody_else_need_have_it() {
    let mut network = Network::new([WithoutTheStrictModel, Honestly, Honestly, WithoutTheStrictModel]);
    let (tip, strict) = (network.tip().0, STRICT.hash());
    // A model may be preferred that decides or has decided.
    let in_force = [
        Operation::set_model(1, strict, Height(tip + 4)),
        Operation::set_model(1, MODEL.hash(), Height(tip + 5)),
    ];
    network.commit(in_force.to_vec());
    network.reach(Height(tip + 5));
    network.commit(vec![Operation::prefer_model(1, AccountId(1), strict)]);
    let disputed = |network: &Network| -> u64 {
        let all = network.validators.iter();
        all.map(|one| one.metrics.scores_disputed.get()).sum()
    };
    network.transfers(24);
    let is_strict: Vec<(u16, bool)> = network
        .scored_blocks()
        .iter()
        // The block that put both models in force has two operations too.
        .skip(1)
        .enumerate()
        .inspect(|(_, (.., round))| assert_eq!(*round, 0))
        // Every fifth is account 1's.
        .filter(|(number, _)| number % 5 == 0)
        .map(|(_, (proposer, scores, _))| (*proposer, scores[1] == STRICT_SCORE))
        .collect();
    let has_it = |proposer: u16| proposer == 1 || proposer == 2;
    assert!(
        is_strict
            .iter()
            .all(|(proposer, strict)| *strict == has_it(*proposer)),
        "{is_strict:?}"
    );
    assert!(is_strict.iter().any(|(_, strict)| *strict) && is_strict.iter().any(|(_, strict)| !*strict));
    assert_eq!(disputed(&network), 0);
    network.agree();
}

#[test]
fn a_lying_score_and_one_that_is_left_out_are_refused_by_all_and_the_height_goes_on_in_a_later_round() {
    for how in [Lying, LeavingOneOut] {
        let mut network = Network::new([Honestly, Honestly, how, Honestly]);
        network.transfers(24);
        let blocks = network.scored_blocks();
        assert!(blocks.iter().all(|(proposer, ..)| *proposer != 2), "{blocks:?}");
        assert!(
            blocks.iter().any(|(.., round)| *round > 0),
            "the liar had its turns"
        );
        assert!(blocks.iter().all(|(_, scores, _)| scores[1] != NOT_SCORED));
        for honest in [0, 1, 3] {
            assert!(network.validators[honest].metrics.scores_disputed.get() > 0);
        }
        network.agree();
    }
}

#[test]
fn a_block_without_scores_costs_its_proposer_the_round_and_no_more() {
    let mut network = Network::new([Honestly, Honestly, Late, Honestly]);
    network.transfers(24);
    let blocks = network.scored_blocks();
    assert!(
        blocks.iter().all(|(_, scores, _)| scores.len() == 2),
        "{blocks:?}"
    );
    assert!(blocks.iter().any(|(.., round)| *round == 1), "{blocks:?}");
    assert!(network.validators[0].metrics.scores_left_out.get() > 0);
    let late = |at: usize| network.validators[at].metrics.score_late.get();
    assert!(late(2) > 0, "its budget is nothing");
    assert_eq!(late(0), 0, "judging has no budget");
    network.agree();

    // Where nobody has time, objections end after two rounds.
    let mut network = Network::new([Late; 4]);
    network.transfers(6);
    for (_, scores, round) in network.scored_blocks() {
        assert_eq!((scores.len(), round), (0, 2));
    }
    network.agree();
}

#[test]
fn without_the_model_a_validator_takes_scores_as_they_are_and_goes_on() {
    let mut network = Network::new([WithoutTheModel, Honestly, Honestly, Honestly]);
    network.transfers(24);
    let metrics = &network.validators[0].metrics;
    assert!(metrics.model_missing.get() > 0 && metrics.scores_disputed.get() == 0);
    let blocks = network.scored_blocks();
    assert!(
        blocks
            .iter()
            .all(|(proposer, scores, _)| (*proposer != 0) == (scores.len() == 2))
    );
    network.agree();
}

#[test]
fn where_too_many_lack_the_model_lies_are_decided_and_whoever_has_it_says_so_and_follows() {
    let mut network = Network::new([WithoutTheModel, WithoutTheModel, Lying, Honestly]);
    network.transfers(24);
    let blocks = network.scored_blocks();
    assert!(blocks.iter().any(|(proposer, ..)| *proposer == 2), "{blocks:?}");
    assert!(network.validators[3].metrics.scores_disputed.get() > 0);
    network.agree();
}
