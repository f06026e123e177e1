//! Four replicas whose blocks leave out all that waits: who objects, and what it costs.

use super::replica::{Event, Options, Outgoing, Replica, Ticket, To};
use crate::standing::found;
use crate::store::{Store, StoreConfig};
use crate::validating::agreement;
use selfchain_consensus::bft;
use selfchain_consensus::poai::extension::{Extension, verdict};
use selfchain_engine::builder::Order;
use selfchain_engine::pool::{Pool, PoolLimits, PoolRules};
use selfchain_storage::{Disk, Journal, JournalConfig, MemoryDisk};
use selfchain_types::block::Row;
use selfchain_types::certificate::Certificate;
use selfchain_types::crypto::SigningKey;
use selfchain_types::genesis::Plane;
use selfchain_types::peer::PeerMessage;
use selfchain_types::seam::log::Log;
use selfchain_types::{Envelope, EnvelopeBuilder, Genesis, Hash, Height, Operation, TimeNs, Verified};
use std::collections::VecDeque;
use std::sync::Arc;

const MS: u64 = 1_000_000;
const BEGAN: u64 = 1_700_000_000_000_000_000;
/// The one that may object.
const VOTER: u16 = 3;

struct Nobody;

impl Ticket for Nobody {
    fn wants_balances(&self) -> bool {
        false
    }
}

struct Network {
    validators: Vec<(Replica<Nobody>, Store)>,
    /// Whether a message from one reaches another.
    passes: fn(u16, u16, &PeerMessage<'_>) -> bool,
    messages: VecDeque<(u16, u16, Arc<[u8]>)>,
    now: u64,
    /// The latest round that a block was decided in.
    round_max: u32,
    /// What precommits said, by who did.
    said: Vec<(u16, Extension)>,
}

impl Network {
    /// Decides forty blocks, all empty, after a client gave all but the voter one transaction.
    fn starve(passes: fn(u16, u16, &PeerMessage<'_>) -> bool) -> Self {
        let keys: Vec<SigningKey> = (1..=4).map(|seed| SigningKey::from_seed(&[seed; 32])).collect();
        let genesis = Genesis::solo("starved", 1, keys[0].public().clone());
        let genesis = found(genesis, Plane::Poai, &keys, 1_024, 256);
        let mut network = Self {
            validators: (0..4).map(|me| start(me, &keys, &genesis)).collect(),
            passes,
            messages: VecDeque::new(),
            now: BEGAN,
            round_max: 0,
            said: Vec::new(),
        };
        let operations = vec![Operation::anchor(1, Hash::ZERO)];
        let builder = EnvelopeBuilder::new(genesis.chain_id(), Height(1), 1_000, operations);
        let bytes = builder.sign(&[(&keys[0], 0, 1)]);
        // The voter has it from the others, or not at all.
        for (replica, _) in &mut network.validators[..usize::from(VOTER)] {
            submit(replica, bytes.clone(), true);
        }
        for _ in 0..20_000 {
            network.pass();
            if network
                .validators
                .iter()
                .all(|one| one.0.chain().tip().height >= Height(40))
            {
                return network;
            }
        }
        panic!("nothing is decided any more");
    }

    fn pass(&mut self) {
        while let Some((from, to, bytes)) = self.messages.pop_front() {
            let bytes = bytes.to_vec();
            let from = u32::from(from);
            self.handle(to, Event::Peer { from, bytes });
        }
        self.now += 5 * MS;
        (0..4).for_each(|at| self.handle(at, Event::Clock));
    }

    fn handle(&mut self, at: u16, event: Event) {
        let (replica, store) = &mut self.validators[usize::from(at)];
        replica.handle(event, TimeNs(self.now)).unwrap();
        for (_, bytes) in replica.take_unverified() {
            submit(replica, bytes, false);
        }
        replica.take_refused();
        for committed in replica.take_committed() {
            let row = &committed.block.row;
            store.log.append(committed.block.tip.height.0, row).unwrap();
            store.log.sync().unwrap();
            self.round_max = self.round_max.max(committed.round);
            let certificate = Certificate::decode(Row::decode(row).unwrap().local).unwrap();
            let said = certificate.precommits.iter();
            self.said
                .extend(said.map(|one| (one.validator, Extension::decode(&one.extension).unwrap())));
        }
        let outgoing = replica.take_outgoing();
        outgoing.into_iter().for_each(|message| self.send(at, &message));
    }

    fn send(&mut self, from: u16, message: &Outgoing) {
        let decoded = PeerMessage::decode(&message.bytes).unwrap();
        let receivers: Vec<u16> = match message.to {
            To::All => (0..4).filter(|other| *other != from).collect(),
            To::One(other) => vec![u16::try_from(other).unwrap()],
        };
        for to in receivers {
            if (self.passes)(from, to, &decoded) {
                self.messages.push_back((from, to, Arc::clone(&message.bytes)));
            }
        }
    }

    /// How often each validator objected to a block because of what it leaves out.
    fn objected(&self) -> [u64; 4] {
        [0, 1, 2, 3].map(|at| self.validators[at].0.counts().objected_starved)
    }

    /// Precommits that say they objected for that, by validator.
    fn said_so(&self) -> [usize; 4] {
        [0, 1, 2, 3].map(|at| {
            let is_so = |(by, said): &&(u16, Extension)| *by == at && said.verdict & verdict::STARVED != 0;
            self.said.iter().filter(is_so).count()
        })
    }
}

fn start(me: u16, keys: &[SigningKey], genesis: &Genesis) -> (Replica<Nobody>, Store) {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    Store::create(&*disk, genesis).unwrap();
    let mut store = Store::open(Arc::clone(&disk), &StoreConfig::default()).unwrap();
    let chain = store.recover(&mut |_| ()).unwrap();
    let journal = Journal::open(disk, JournalConfig::default(), 0).unwrap();
    let key = &keys[usize::from(me)];
    let options = Options {
        order: Order::Fee,
        envelopes_max: 64,
        interval_ns: 5 * MS,
        tip_every_ns: 500 * MS,
        keeps_bodies: true,
        starves: true,
    };
    let pool = Pool::new(PoolLimits::default(), PoolRules::of(genesis), Height(1));
    let agreement = agreement(genesis, key, None, bft::Options::default());
    let log = store.log_reader();
    let replica = Replica::open(options, chain, agreement, pool, journal, log, TimeNs(BEGAN));
    (replica.unwrap(), store)
}

fn submit(replica: &mut Replica<Nobody>, bytes: Vec<u8>, is_own: bool) {
    let verified = Verified::check(Envelope::decode(bytes).unwrap(), &()).unwrap();
    let _refused = replica.submit(verified, Nobody, is_own);
}

#[test]
fn one_that_objects_costs_its_own_prevote_and_its_precommit_says_why() {
    let network = Network::starve(|_, to, message| match message {
        PeerMessage::Acknowledged(_) => to == VOTER,
        _ => true,
    });
    let [first, second, third, voter] = network.objected();
    assert_eq!([first, second, third], [0, 0, 0], "nobody told them anything");
    // The others' blocks after the first dozen.
    assert!((12..=30).contains(&voter), "{voter} objections");
    assert_eq!(network.round_max, 0);
    let said = network.said_so();
    assert!(said[3] > 0 && said[..3] == [0, 0, 0], "{said:?}");
}

#[test]
fn all_that_object_cost_two_rounds_and_the_third_block_passes() {
    let network = Network::starve(|_, _, _| true);
    assert!(network.objected().iter().all(|count| *count >= 20));
    assert_eq!(network.round_max, 2, "objections yield after two rounds");
}

#[test]
fn what_was_not_acknowledged_or_is_not_here_is_not_objected_for() {
    let silent = Network::starve(|_, _, message| !matches!(message, PeerMessage::Acknowledged(_)));
    assert_eq!(silent.objected(), [0; 4]);
    // The voter heard that the others have it, and never saw it.
    let withheld = Network::starve(|_, to, message| match message {
        PeerMessage::Transactions(_) => to != VOTER,
        PeerMessage::Acknowledged(_) => to == VOTER,
        _ => true,
    });
    assert_eq!(withheld.objected(), [0; 4]);
    // It heard so of one of three.
    let alone = Network::starve(|from, to, message| match message {
        PeerMessage::Acknowledged(_) => from == 0 && to == VOTER,
        _ => true,
    });
    let voter = alone.objected()[usize::from(VOTER)];
    assert!((3..=12).contains(&voter), "{voter} objections to one of three");
}
