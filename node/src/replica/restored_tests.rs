//! Four replicas, one of which comes back from a backup: it says nothing where it may have spoken before.

use super::quiet::mark_restored;
use super::replica::{Event, Options, Outgoing, Replica, Ticket, To};
use super::sharing::Sharing;
use crate::joining::{JoinConfig, Joining, Offering};
use crate::standing::found;
use crate::store::{Store, StoreConfig};
use crate::validating::agreement;
use selfchain_consensus::bft;
use selfchain_engine::builder::Order;
use selfchain_engine::pool::{Pool, PoolLimits, PoolRules};
use selfchain_storage::{Disk, Journal, JournalConfig, MemoryDisk};
use selfchain_types::crypto::SigningKey;
use selfchain_types::genesis::Plane;
use selfchain_types::peer::PeerMessage;
use selfchain_types::seam::log::Log;
use selfchain_types::{Envelope, EnvelopeBuilder, Genesis, Hash, Height, Operation, TimeNs, Verified};
use std::collections::VecDeque;
use std::sync::Arc;

const MS: u64 = 1_000_000;
const BEGAN: u64 = 1_700_000_000_000_000_000;
/// The one that comes back.
const RESTORED: u16 = 3;
/// Where its backup ends.
const BACKED_UP: u64 = 4;

struct Nobody;

impl Ticket for Nobody {
    fn wants_balances(&self) -> bool {
        false
    }
}

struct Network {
    validators: Vec<(Replica<Nobody>, Store, Arc<dyn Disk>)>,
    messages: VecDeque<(u16, u16, Arc<[u8]>)>,
    now: u64,
    /// The height in hand of the restored one when it first said something to agree by.
    spoke_at: Option<Height>,
}

impl Network {
    /// Blocks of one transaction each, by all four; so many transactions are given.
    fn new(keys: &[SigningKey], genesis: &Genesis, transactions: u64) -> Self {
        let mut network = Self {
            validators: (0..4)
                .map(|me| start(me, keys, genesis, fresh(genesis)))
                .collect(),
            messages: VecDeque::new(),
            now: BEGAN,
            spoke_at: None,
        };
        for counter in 1..=transactions {
            network.submit(keys, genesis, counter);
        }
        network
    }

    fn submit(&mut self, keys: &[SigningKey], genesis: &Genesis, counter: u64) {
        let operations = vec![Operation::anchor(1, Hash::ZERO)];
        let builder = EnvelopeBuilder::new(genesis.chain_id(), Height(1), 1_000, operations);
        let bytes = builder.sign(&[(&keys[0], 0, counter)]);
        for (replica, ..) in &mut self.validators {
            submit(replica, bytes.clone());
        }
    }

    fn tip(&self, at: u16) -> Height {
        self.validators[usize::from(at)].0.chain().tip().height
    }

    fn run(&mut self, is_done: impl Fn(&Self) -> bool) -> bool {
        for _ in 0..6_000 {
            if is_done(self) {
                return true;
            }
            while let Some((from, to, bytes)) = self.messages.pop_front() {
                let bytes = bytes.to_vec();
                let from = u32::from(from);
                self.handle(to, Event::Peer { from, bytes });
            }
            self.now += 5 * MS;
            (0..4).for_each(|at| self.handle(at, Event::Clock));
        }
        false
    }

    fn handle(&mut self, at: u16, event: Event) {
        let (replica, store, _) = &mut self.validators[usize::from(at)];
        replica.handle(event, TimeNs(self.now)).unwrap();
        for (_, bytes) in replica.take_unverified() {
            submit(replica, bytes);
        }
        replica.take_refused();
        for committed in replica.take_committed() {
            let height = committed.block.tip.height;
            store.log.append(height.0, &committed.block.row).unwrap();
            store.log.sync().unwrap();
        }
        let outgoing = replica.take_outgoing();
        outgoing.into_iter().for_each(|message| self.send(at, &message));
    }

    fn send(&mut self, from: u16, message: &Outgoing) {
        let decoded = PeerMessage::decode(&message.bytes).unwrap();
        if from == RESTORED && matches!(decoded, PeerMessage::Plane { .. }) && self.spoke_at.is_none() {
            self.spoke_at = Some(self.tip(RESTORED));
        }
        let receivers: Vec<u16> = match message.to {
            To::All => (0..4).filter(|other| *other != from).collect(),
            To::One(other) => vec![u16::try_from(other).unwrap()],
        };
        for to in receivers {
            self.messages.push_back((from, to, Arc::clone(&message.bytes)));
        }
    }
}

fn fresh(genesis: &Genesis) -> Arc<dyn Disk> {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    Store::create(&*disk, genesis).unwrap();
    disk
}

fn start(
    me: u16,
    keys: &[SigningKey],
    genesis: &Genesis,
    disk: Arc<dyn Disk>,
) -> (Replica<Nobody>, Store, Arc<dyn Disk>) {
    let mut store = Store::open(Arc::clone(&disk), &StoreConfig::default()).unwrap();
    let chain = store.recover(&mut |_| ()).unwrap();
    let tip = chain.tip().height;
    let journal = Journal::open(Arc::clone(&disk), JournalConfig::default(), tip.0).unwrap();
    let options = Options {
        order: Order::Fee,
        envelopes_max: 1,
        interval_ns: 5 * MS,
        tip_every_ns: 100 * MS,
        keeps_bodies: true,
        starves: false,
    };
    let pool = Pool::new(PoolLimits::default(), PoolRules::of(genesis), tip.next());
    let agreement = agreement(genesis, &keys[usize::from(me)], None, bft::Options::default());
    let log = store.log_reader();
    let sharing = Sharing {
        offering: Offering::new(
            Arc::clone(&store.snapshots),
            Arc::clone(&store.handovers),
            Arc::clone(&log),
            genesis.plane.root_lag(),
        ),
        joining: Joining::new(
            Arc::clone(&disk),
            Arc::clone(&store.handovers),
            JoinConfig { behind_blocks: 0 },
        ),
    };
    let replica = Replica::open(options, chain, agreement, pool, journal, log, TimeNs(BEGAN)).unwrap();
    (replica.sharing(sharing).unwrap(), store, disk)
}

fn submit(replica: &mut Replica<Nobody>, bytes: Vec<u8>) {
    let verified = Verified::check(Envelope::decode(bytes).unwrap(), &()).unwrap();
    let _refused = replica.submit(verified, Nobody, true);
}

/// The others' blocks up to a height, on a disk of its own: what a backup gives back.
fn restored(network: &Network, genesis: &Genesis, through: u64) -> Arc<dyn Disk> {
    let disk = fresh(genesis);
    let reader = network.validators[0].1.log_reader();
    let mut store = Store::open(Arc::clone(&disk), &StoreConfig::default()).unwrap();
    for height in 1..=through {
        store.log.append(height, &reader.read(height).unwrap()).unwrap();
    }
    store.log.sync().unwrap();
    disk
}

#[test]
fn one_from_a_backup_says_nothing_until_the_others_are_past_what_it_may_have_signed() {
    let keys: Vec<SigningKey> = (1..=4).map(|seed| SigningKey::from_seed(&[seed; 32])).collect();
    let genesis = Genesis::solo("restored", 1, keys[0].public().clone());
    let genesis = found(genesis, Plane::Stake, &keys, 1_024, 256);
    let mut network = Network::new(&keys, &genesis, 10);
    assert!(network.run(|network| (0..4).all(|at| network.tip(at) >= Height(10))));
    let decided = network.tip(0);

    let disk = restored(&network, &genesis, BACKED_UP);
    mark_restored(Arc::clone(&disk), Height(BACKED_UP)).unwrap();
    mark_restored(Arc::clone(&disk), Height(BACKED_UP)).unwrap();
    network.messages.clear();
    network.spoke_at = None;
    network.validators[usize::from(RESTORED)] = start(RESTORED, &keys, &genesis, disk);
    for counter in 11..=20 {
        network.submit(&keys, &genesis, counter);
    }
    assert!(
        network.run(|network| network.spoke_at.is_some()),
        "it never speaks again"
    );
    let spoke_at = network.spoke_at.unwrap();
    assert!(spoke_at > decided.next(), "{spoke_at} is not past {decided}");

    // Started once more it need not listen again: the journal remembers that it knows.
    let disk = Arc::clone(&network.validators[usize::from(RESTORED)].2);
    let (replica, ..) = start(RESTORED, &keys, &genesis, disk);
    assert!(!replica.is_quiet());
}
