//! One replica asks and is asked.

use super::*;
use crate::replica::{Event, Options, Outgoing, SERVED_BURST_BYTES, SERVED_BYTES_MIN};
use crate::standing::found;
use crate::store::{Store, StoreConfig};
use crate::validating::agreement;
use selfchain_consensus::bft;
use selfchain_engine::builder::Order;
use selfchain_engine::pool::{Pool, PoolLimits, PoolRules};
use selfchain_storage::{Disk, Journal, JournalConfig, MemoryDisk};
use selfchain_types::crypto::SigningKey;
use selfchain_types::genesis::Plane;
use selfchain_types::{AccountId, Amount, AssetId, Envelope, EnvelopeBuilder, Genesis, Operation, Verified};
use std::sync::Arc;

const START: TimeNs = TimeNs(1_700_000_000_000_000_000);
const MS: u64 = 1_000_000;

struct Nobody;

impl Ticket for Nobody {
    fn wants_balances(&self) -> bool {
        false
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

/// Four validators, the first of which has enough power to decide alone: this one at the chain's beginning, its store,
/// and the chain's id.
fn beginning(number: usize) -> (Replica<Nobody>, Store, Hash) {
    let keys = [1, 2, 3, 4].map(key);
    let genesis = Genesis::solo("served", 1, keys[0].public().clone());
    let mut genesis = found(genesis, Plane::Stake, &keys, 64, 1);
    genesis.validators[0].power = 1_000_000;
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    Store::create(&*disk, &genesis).unwrap();
    let mut store = Store::open(Arc::clone(&disk), &StoreConfig::default()).unwrap();
    let chain = store.recover(&mut |_| {}).unwrap();
    let options = Options {
        order: Order::Fee,
        envelopes_max: 64,
        interval_ns: MS,
        tip_every_ns: 500 * MS,
        keeps_bodies: true,
        starves: false,
    };
    let pool = Pool::new(PoolLimits::default(), PoolRules::of(&genesis), Height(1));
    let journal = Journal::open(disk, JournalConfig::default(), 0).unwrap();
    let agreement = agreement(&genesis, &keys[number], None, bft::Options::default());
    let log = store.log_reader();
    let replica = Replica::open(options, chain, agreement, pool, journal, log, START).unwrap();
    (replica, store, genesis.chain_id())
}

/// Has a transaction wait that creates an asset of this number.
fn submit(replica: &mut Replica<Nobody>, chain_id: Hash, asset: u32) {
    let owner = key(1);
    let issuance = AccountId(6 + u128::from(asset));
    let operations = vec![Operation::create_asset(
        AssetId(asset),
        issuance,
        owner.id(),
        2,
        Amount(1 << 60),
    )];
    let height = replica.chain().tip().height;
    let bytes = EnvelopeBuilder::new(chain_id, height, 20, operations).sign(&[(&owner, 0, u64::from(asset))]);
    let verified = Verified::check(Envelope::decode(bytes).unwrap(), &()).unwrap();
    assert!(replica.submit(verified, Nobody, true).is_ok());
}

/// The first of four validators, after three blocks; and its store.
fn replica() -> (Replica<Nobody>, Store) {
    let (mut replica, store, chain_id) = beginning(0);
    submit(&mut replica, chain_id, 1);
    for step in 0..20 {
        replica
            .handle(Event::Clock, TimeNs(START.0 + 10 * step * MS))
            .unwrap();
    }
    assert_eq!(replica.chain().tip().height, Height(3));
    replica.take_outgoing();
    (replica, store)
}

/// What is sent to a peer that says this.
fn answers(
    replica: &mut Replica<Nobody>,
    from: u32,
    message: &PeerMessage<'_>,
    now: TimeNs,
) -> Vec<Outgoing> {
    let bytes = message.to_bytes();
    replica.handle(Event::Peer { from, bytes }, now).unwrap();
    let mut out = replica.take_outgoing();
    out.retain(|outgoing| outgoing.to == To::One(from));
    out
}

fn kind(outgoing: &Outgoing) -> PeerMessage<'_> {
    PeerMessage::decode(&outgoing.bytes).unwrap()
}

#[test]
fn a_peer_that_asks_too_much_is_refused_with_a_time_and_served_after_it() {
    let (mut replica, _store) = replica();
    let now = TimeNs(START.0 + 1_000 * MS);
    let ask = PeerMessage::WantBlocks(Height(1));
    let (mut served, mut bytes) = (0, 0);
    let refused = loop {
        let out = answers(&mut replica, 2, &ask, now);
        assert_eq!(out.len(), 1, "one answer to one question");
        match kind(&out[0]) {
            PeerMessage::Blocks(blocks) => {
                assert_eq!(blocks.len(), 3);
                served += 1;
                bytes += codec::wide(out[0].bytes.len()).max(SERVED_BYTES_MIN);
            }
            refused => break format!("{refused:?}"),
        }
        assert!(
            bytes <= SERVED_BURST_BYTES + SERVED_BYTES_MIN,
            "no limit after {served} answers"
        );
    };
    assert!(
        bytes + SERVED_BYTES_MIN > SERVED_BURST_BYTES,
        "refused after {bytes} bytes"
    );
    assert_eq!(
        refused,
        "Refused { asked: Blocks, why: RateLimited, retry_after_ms: 1 }"
    );
    let other = answers(&mut replica, 3, &ask, now);
    assert!(
        matches!(kind(&other[0]), PeerMessage::Blocks(_)),
        "another peer has its own"
    );
    let body = PeerMessage::WantBody {
        height: Height(2),
        block: Hash::ZERO,
    };
    let out = answers(&mut replica, 2, &body, now);
    assert!(
        matches!(
            kind(&out[0]),
            PeerMessage::Refused {
                asked: Asked::Body,
                ..
            }
        ),
        "bodies count too"
    );
    let later = TimeNs(now.0 + MS);
    let out = answers(&mut replica, 2, &ask, later);
    assert!(
        matches!(kind(&out[0]), PeerMessage::Blocks(_)),
        "after the time it was told"
    );
    let view = replica.view(later);
    assert_eq!(view.counts.refused_to_serve, [1, 1, 0, 0]);
    assert_eq!(view.counts.blocks_served, 3 * (served + 2));
}

#[test]
fn one_that_is_refused_asks_another_and_comes_back_when_it_may() {
    let (mut replica, _store) = replica();
    let at = |ms: u64| TimeNs(START.0 + (1_000 + ms) * MS);
    let asked = |replica: &mut Replica<Nobody>| -> Vec<u32> {
        let wants = |outgoing: &Outgoing| matches!(kind(outgoing), PeerMessage::WantBlocks(_));
        let out = replica.take_outgoing();
        let to = out.iter().filter(|one| wants(one)).map(|one| match one.to {
            To::One(peer) => peer,
            To::All => u32::MAX,
        });
        to.collect()
    };
    let say = |replica: &mut Replica<Nobody>, from, message: &PeerMessage<'_>, now| {
        let bytes = message.to_bytes();
        replica.handle(Event::Peer { from, bytes }, now).unwrap();
    };
    say(&mut replica, 1, &PeerMessage::Tip(Height(90)), at(0));
    assert_eq!(asked(&mut replica), [1]);
    say(&mut replica, 2, &PeerMessage::Tip(Height(80)), at(1));
    assert!(asked(&mut replica).is_empty(), "it waits for the answer");
    let refused = PeerMessage::Refused {
        asked: Asked::Blocks,
        why: AskRefusal::RateLimited,
        retry_after_ms: 400,
    };
    say(&mut replica, 1, &refused, at(2));
    assert_eq!(
        asked(&mut replica),
        [2],
        "at once, without the wait for an answer"
    );
    say(&mut replica, 2, &refused, at(3));
    assert!(asked(&mut replica).is_empty());
    assert_eq!(replica.view(at(3)).catching_up.refusing.len(), 2);
    for ms in [100, 300, 401] {
        replica.handle(Event::Clock, at(ms)).unwrap();
        assert!(asked(&mut replica).is_empty(), "both refuse at {ms} ms");
    }
    assert!(replica.next_wake() <= at(402));
    replica.handle(Event::Clock, at(402)).unwrap();
    assert_eq!(asked(&mut replica), [1]);
    assert_eq!(replica.view(at(402)).counts.refused_by_others, 2);
}

#[test]
fn a_view_says_what_was_decided_and_who_did_it() {
    let (replica, store) = replica();
    let view = replica.view(START);
    assert_eq!(view.tip, Height(3));
    let last = view.last.unwrap();
    assert_eq!((last.height, last.round, last.missing.len()), (Height(3), 0, 3));
    assert_eq!(last.power.0, 1_000_000);
    let did = view.lately.did(&key(1).public().id());
    assert_eq!(
        (did.proposed, did.precommitted),
        (Some(Height(3)), Some(Height(3)))
    );
    assert_eq!((view.counts.proposed, view.counts.rounds.count()), (3, 3));
    assert_eq!(view.standing.members.len(), 4);
    drop(store);
}

/// What a validator that decided `count` blocks sends of them.
fn decided(count: u32) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (mut replica, _store, chain_id) = beginning(0);
    let mut now = START;
    for asset in 1..=count {
        submit(&mut replica, chain_id, asset);
        now.0 += 10 * MS;
        replica.handle(Event::Clock, now).unwrap();
    }
    replica.take_outgoing();
    let out = answers(&mut replica, 2, &PeerMessage::WantBlocks(Height(1)), now);
    let PeerMessage::Blocks(blocks) = kind(&out[0]) else {
        panic!("no blocks")
    };
    let owned = |(block, certificate): (&[u8], &[u8])| (block.to_vec(), certificate.to_vec());
    let blocks: Vec<_> = blocks.into_iter().map(owned).collect();
    assert_eq!(blocks.len(), usize::try_from(count).unwrap(), "one a step");
    blocks
}

/// Whom the second validator asks for blocks, and from which height, when a peer says this.
fn heard(
    replica: &mut Replica<Nobody>,
    from: u32,
    message: &PeerMessage<'_>,
    now: TimeNs,
) -> Vec<(To, Height)> {
    let bytes = message.to_bytes();
    replica.handle(Event::Peer { from, bytes }, now).unwrap();
    let out = replica.take_outgoing();
    let asked = out.iter().filter_map(|one| match kind(one) {
        PeerMessage::WantBlocks(height) => Some((one.to, height)),
        _ => None,
    });
    asked.collect()
}

fn message(blocks: &[(Vec<u8>, Vec<u8>)]) -> PeerMessage<'_> {
    let parts = blocks
        .iter()
        .map(|(block, certificate)| (block.as_slice(), certificate.as_slice()));
    PeerMessage::Blocks(parts.collect())
}

#[test]
fn the_next_blocks_are_asked_for_before_those_that_came_are_all_executed() {
    let blocks = decided(100);
    let (mut replica, _store, _) = beginning(1);
    let now = TimeNs(START.0 + 2_000 * MS);
    let asked = heard(&mut replica, 0, &PeerMessage::Tip(Height(500)), now);
    assert_eq!(asked, [(To::One(0), Height(1))]);
    let asked = heard(&mut replica, 0, &message(&blocks[..70]), now);
    assert_eq!(asked, [(To::One(0), Height(71))]);
    let first = replica.chain().tip().height;
    assert!(first.0 > 0 && first.0 < 70, "{first}");
    assert!(replica.next_wake() <= now, "it goes on at once");
    let asked = heard(&mut replica, 2, &message(&blocks[70..]), now);
    assert!(asked.is_empty(), "whoever is not asked takes no room: {asked:?}");
    while replica.next_wake() <= now {
        replica.handle(Event::Clock, now).unwrap();
    }
    assert_eq!(replica.chain().tip().height, Height(70));
    heard(&mut replica, 0, &message(&blocks[70..]), now);
    assert_eq!(replica.chain().tip().height, Height(100));
    assert_eq!(replica.view(now).counts.blocks_fetched, 100);
}

#[test]
fn after_a_block_that_was_not_decided_the_rest_is_dropped_and_another_peer_is_asked() {
    let mut blocks = decided(60);
    let (mut replica, _store, _) = beginning(1);
    let now = TimeNs(START.0 + 2_000 * MS);
    for peer in [0, 2] {
        heard(&mut replica, peer, &PeerMessage::Tip(Height(60)), now);
    }
    let good = blocks.clone();
    *blocks[39].1.last_mut().unwrap() ^= 1;
    heard(&mut replica, 0, &message(&blocks), now);
    replica.handle(Event::Clock, now).unwrap();
    assert_eq!(
        replica.chain().tip().height,
        Height(39),
        "block 40 has a bad signature"
    );
    let asked: Vec<To> = replica
        .take_outgoing()
        .iter()
        .filter(|one| matches!(kind(one), PeerMessage::WantBlocks(Height(40))))
        .map(|one| one.to)
        .collect();
    assert_eq!(asked, [To::One(2)], "the other one, from there on");
    heard(&mut replica, 2, &message(&good[39..]), now);
    assert_eq!(replica.chain().tip().height, Height(60));
}
