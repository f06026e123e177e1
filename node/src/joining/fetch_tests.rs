//! One that has nothing joins by the snapshot of others, some of whom lie.

use super::*;
use crate::joining::{Offering, install};
use crate::replica::{Event, Options, Replica, Ticket};
use crate::standing::found;
use crate::store::{Store, StoreConfig};
use crate::validating::agreement;
use selfchain_consensus::bft;
use selfchain_engine::builder::Order;
use selfchain_engine::commit::Folded;
use selfchain_engine::pool::{Pool, PoolLimits, PoolRules};
use selfchain_storage::{Journal, JournalConfig, LogConfig, MemoryDisk, Sealing};
use selfchain_types::account::AccountFlags;
use selfchain_types::crypto::SigningKey;
use selfchain_types::genesis::Plane;
use selfchain_types::seam::log::Log;
use selfchain_types::{AccountId, Amount, AssetId, Envelope, EnvelopeBuilder, Genesis, Operation, Verified};

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

/// Four validators, the first of which has enough power to decide alone.
fn genesis(salt: u64) -> Genesis {
    let keys = [1, 2, 3, 4].map(key);
    let genesis = Genesis::solo("joined", salt, keys[0].public().clone());
    let mut genesis = found(genesis, Plane::Stake, &keys, 64, 1);
    genesis.validators[0].power = 1_000_000;
    genesis
}

fn config() -> StoreConfig {
    StoreConfig {
        log: LogConfig {
            segment_bytes: 64 << 10,
            reserve_bytes: 0,
            sealing: Sealing::Inline,
            ..LogConfig::default()
        },
        ..StoreConfig::default()
    }
}

fn store(disk: &Arc<dyn Disk>) -> Store {
    Store::open(Arc::clone(disk), &config()).unwrap()
}

fn empty(genesis: &Genesis) -> Arc<dyn Disk> {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    Store::create(&*disk, genesis).unwrap();
    disk
}

/// A chain of blocks with something in them, and a snapshot of one of the last: its store, the height and the state
/// root. `amount` makes chains differ.
fn source(genesis: &Genesis, amount: u128) -> (Store, Height, Hash) {
    let disk = empty(genesis);
    let mut store = store(&disk);
    let chain = store.recover(&mut |_| {}).unwrap();
    let options = Options {
        order: Order::Fee,
        envelopes_max: 64,
        interval_ns: MS,
        tip_every_ns: 500 * MS,
        keeps_bodies: true,
        starves: false,
    };
    let pool = Pool::new(PoolLimits::default(), PoolRules::of(genesis), Height(1));
    let journal = Journal::open(disk, JournalConfig::default(), 0).unwrap();
    let agreement = agreement(genesis, &key(1), None, bft::Options::default());
    let log = store.log_reader();
    let mut replica = Replica::<Nobody>::open(options, chain, agreement, pool, journal, log, START).unwrap();
    let (mut taken, mut now) = (None, START.0);
    for counter in 1..=20u64 {
        let operation = if counter == 1 {
            Operation::create_asset(AssetId(1), AccountId(7), key(1).id(), 2, Amount(1 << 60))
        } else {
            let account = AccountId(100 + u128::from(counter) * amount);
            Operation::open_account(
                account,
                AssetId(1),
                key(1).id(),
                AccountFlags::default(),
                Amount(0),
                0,
            )
        };
        let bytes = EnvelopeBuilder::new(genesis.chain_id(), Height(0), 90, vec![operation]).sign(&[(
            &key(1),
            0,
            counter,
        )]);
        let verified = Verified::check(Envelope::decode(bytes).unwrap(), &()).unwrap();
        assert!(replica.submit(verified, Nobody, true).is_ok());
        for _ in 0..4 {
            now += 10 * MS;
            replica.handle(Event::Clock, TimeNs(now)).unwrap();
            for committed in replica.take_committed() {
                let block = committed.block;
                store.log.append(block.tip.height.0, &block.row).unwrap();
                store.log.sync().unwrap();
                let folded = Folded {
                    tip: block.tip,
                    transactions: block.transactions,
                    history: block.history,
                    receipt_nodes: block.receipt_nodes,
                    handover: block.handover,
                };
                store.project(&folded).unwrap();
            }
            replica.take_outgoing();
        }
        if counter == 15 {
            store.write_snapshot(replica.chain()).unwrap();
            let chain = replica.chain();
            taken = Some((chain.tip().height, chain.roots().state_root()));
        }
    }
    let (height, root) = taken.unwrap();
    assert!(height.0 > 10 && replica.chain().tip().height.0 > height.0 + 3);
    (store, height, root)
}

fn offering(store: &Store) -> Offering {
    let (snapshots, handovers) = (Arc::clone(&store.snapshots), Arc::clone(&store.handovers));
    let lag = store.genesis.plane.root_lag();
    Offering::new(snapshots, handovers, store.log_reader(), lag)
}

/// An answer of a peer, before it is sent.
type Answer = Option<Vec<u8>>;

/// One that joins, with nothing on its disk.
struct Joiner {
    disk: Arc<dyn Disk>,
    chain: Chain,
    joining: Joining,
    now: u64,
    asked: Vec<u32>,
}

impl Joiner {
    fn new(genesis: &Genesis) -> Self {
        let disk = empty(genesis);
        let mut store = store(&disk);
        let chain = store.recover(&mut |_| {}).unwrap();
        let config = JoinConfig { behind_blocks: 4 };
        let joining = Joining::new(Arc::clone(&disk), Arc::clone(&store.handovers), config);
        Self {
            disk,
            chain,
            joining,
            now: START.0,
            asked: Vec::new(),
        }
    }

    /// Lets `peers` answer for so many steps of a tenth of a second, or until the snapshot is there.
    fn run(
        &mut self,
        peers: u32,
        steps: u32,
        answer: &mut dyn FnMut(u32, &PeerMessage<'_>) -> Answer,
    ) -> bool {
        let ahead: Vec<(u32, Height)> = (1..=peers).map(|peer| (peer, Height(90))).collect();
        for _ in 0..steps {
            self.now += 100 * MS;
            let now = TimeNs(self.now);
            let at = Standpoint {
                chain: &self.chain,
                ahead: &ahead,
                power: &|_| 1_000,
            };
            let mut questions: std::collections::VecDeque<Question> = self.joining.clock(&at, now).into();
            while let Some((peer, question)) = questions.pop_front() {
                self.asked.push(peer);
                let Some(bytes) = answer(peer, &question) else {
                    continue;
                };
                match PeerMessage::decode(&bytes) {
                    Ok(PeerMessage::Snapshot(offer)) => self.joining.offered(peer, offer),
                    Ok(PeerMessage::Part { id, part, bytes }) => {
                        questions.extend(self.joining.part(peer, (id, part, bytes), &at, now));
                    }
                    Ok(PeerMessage::Handovers(handovers)) => {
                        questions.extend(self.joining.handovers(peer, &handovers, &at, now));
                    }
                    _ => {}
                }
            }
            if self.joining.ready().is_some() {
                return true;
            }
        }
        false
    }

    /// Where it stands after a restart.
    fn stands(&self) -> (Height, Hash) {
        let mut store = store(&self.disk);
        let chain = store.recover(&mut |_| {}).unwrap();
        (chain.tip().height, chain.roots().state_root())
    }

    fn has_nothing(&self) -> bool {
        install(&self.disk).unwrap().is_none() && self.stands().0 == Height::GENESIS
    }
}

/// What an honest peer answers.
fn honest(offering: &mut Offering, question: &PeerMessage<'_>) -> Answer {
    match question {
        PeerMessage::WantSnapshot => Some(PeerMessage::Snapshot(offering.newest()).to_bytes()),
        PeerMessage::WantPart { id, part } => {
            let bytes = offering.part(id, *part)?;
            let (id, part, bytes) = (*id, *part, bytes.as_slice());
            Some(PeerMessage::Part { id, part, bytes }.to_bytes())
        }
        PeerMessage::WantHandovers(from) => {
            let handovers = offering.handovers(*from);
            let handovers = handovers.iter().map(Vec::as_slice).collect();
            Some(PeerMessage::Handovers(handovers).to_bytes())
        }
        _ => None,
    }
}

/// Bytes of a part's message before the part itself: kind, id, number.
const PART_HEAD: usize = 1 + 32 + 4;

#[test]
fn one_with_nothing_begins_at_the_others_snapshot_with_the_same_state() {
    let genesis = genesis(1);
    let (source, height, root) = source(&genesis, 1);
    let mut offering = offering(&source);
    assert_eq!(offering.newest().unwrap().height, height);
    let mut joiner = Joiner::new(&genesis);
    assert!(joiner.run(2, 20, &mut |_, question| honest(&mut offering, question)));
    assert_eq!(joiner.joining.refusals(), 0);
    assert!(
        joiner.asked.contains(&1) && joiner.asked.contains(&2),
        "parts come from both"
    );
    assert_eq!(joiner.stands(), (height, root));
    assert_eq!(store(&joiner.disk).log_reader().first(), None);
}

#[test]
fn any_flipped_byte_of_any_part_is_refused_and_nothing_of_it_is_kept() {
    let genesis = genesis(1);
    let (source, ..) = source(&genesis, 1);
    let mut offering = offering(&source);
    let offer = offering.newest().unwrap();
    let mut flipped = 0;
    for part in 0..=offer.chunks {
        let len = offering.part(&offer.id, part).unwrap().len();
        for at in (0..len).step_by(if part == 0 { 11 } else { 5 }) {
            let mut joiner = Joiner::new(&genesis);
            let is_ready = joiner.run(1, 12, &mut |_, question| {
                let mut bytes = honest(&mut offering, question)?;
                if matches!(question, PeerMessage::WantPart { part: asked, .. } if *asked == part) {
                    bytes[PART_HEAD + at] ^= 1 << (at % 8);
                }
                Some(bytes)
            });
            assert!(
                !is_ready && joiner.joining.refusals() > 0,
                "byte {at} of part {part}"
            );
            if at % 50 == 0 {
                assert!(joiner.has_nothing(), "byte {at} of part {part}");
            }
            flipped += 1;
        }
    }
    assert!(flipped > 300, "{flipped} bytes are too few");
}

#[test]
fn what_is_cut_or_longer_is_refused_and_another_peer_goes_on() {
    let genesis = genesis(1);
    let (source, height, root) = source(&genesis, 1);
    let mut offering = offering(&source);
    let spoils: [fn(&mut Vec<u8>); 3] = [
        |bytes| bytes.truncate(bytes.len() - 1),
        |bytes| bytes.push(0),
        |bytes| bytes.resize(4 << 20, 7),
    ];
    for spoil in spoils {
        for liar_from in [0, 1, 4] {
            let mut joiner = Joiner::new(&genesis);
            let mut lies = 0;
            let is_ready = joiner.run(2, 30, &mut |peer, question| {
                let mut bytes = honest(&mut offering, question)?;
                if matches!(question, PeerMessage::WantPart { part, .. } if peer == 1 && *part >= liar_from) {
                    lies += 1;
                    spoil(&mut bytes);
                }
                Some(bytes)
            });
            assert!(is_ready && lies > 0, "{lies} lies");
            assert_eq!(joiner.joining.refusals(), 1, "nothing more is asked of the liar");
            assert_eq!(joiner.stands(), (height, root));
        }
    }
}

/// What a liar answers who makes everything that needs no signature fit together: an index of its own.
fn forged(index: &Index, chunks: &[Vec<u8>], height: Height, question: &PeerMessage<'_>) -> Answer {
    let bytes = index.to_bytes();
    let id = Index::id(&bytes);
    Some(match question {
        PeerMessage::WantSnapshot => PeerMessage::Snapshot(Some(SnapshotOffer {
            height,
            id,
            chunks: codec::narrow(index.chunks.len()),
            bytes: index.bytes(),
        }))
        .to_bytes(),
        PeerMessage::WantPart { part, .. } => {
            let mut all = core::iter::once(&bytes).chain(chunks);
            let bytes = all.nth(codec::index(*part))?.as_slice();
            PeerMessage::Part {
                id,
                part: *part,
                bytes,
            }
            .to_bytes()
        }
        PeerMessage::WantHandovers(_) => PeerMessage::Handovers(Vec::new()).to_bytes(),
        _ => return None,
    })
}

fn taken(offering: &mut Offering) -> (Index, Vec<Vec<u8>>, Height) {
    let offer = offering.newest().unwrap();
    let index = Index::decode(&offering.part(&offer.id, 0).unwrap()).unwrap();
    let chunks = (1..=offer.chunks).map(|part| offering.part(&offer.id, part).unwrap());
    (index, chunks.collect(), offer.height)
}

#[test]
fn a_state_that_no_header_commits_to_is_refused_when_all_of_it_is_here() {
    let genesis = genesis(1);
    let (source, ..) = source(&genesis, 1);
    let (index, chunks, height) = taken(&mut offering(&source));
    let mut numbers: BTreeMap<u16, u64> = BTreeMap::new();
    for at in 0..chunks.len() {
        let number = numbers.entry(index.chunks[at].table).or_default();
        for byte in [8, chunks[at].len() / 2, chunks[at].len() - 1] {
            let (mut index, mut chunks) = (index.clone(), chunks.clone());
            chunks[at][byte] ^= 1;
            let table = index.chunks[at].table;
            index.chunks[at].hash = chunk_hash(height.0, table, *number, &chunks[at]);
            let mut joiner = Joiner::new(&genesis);
            let is_ready = joiner.run(1, 12, &mut |_, question| {
                forged(&index, &chunks, height, question)
            });
            assert!(
                !is_ready && joiner.joining.refusals() > 0,
                "byte {byte} of chunk {at}"
            );
            assert!(joiner.joining.taken() > 0 && joiner.has_nothing());
        }
        *number += 1;
    }
}

#[test]
fn a_snapshot_of_another_chain_or_of_a_fork_without_a_quorum_is_refused() {
    let own = genesis(1);
    let (other, ..) = source(&genesis(2), 1);
    let (fork, ..) = source(&own, 3);
    // The fork's last certificate without what the first validator signed.
    let (mut index, chunks, height) = taken(&mut offering(&fork));
    let mut anchor = Anchor::decode(&index.anchor).unwrap();
    let mut certificate = selfchain_types::certificate::Certificate::decode(&anchor.certificate).unwrap();
    certificate.precommits.retain(|one| one.validator != 0);
    anchor.certificate.clear();
    certificate.encode(&mut anchor.certificate);
    index.anchor = anchor.to_bytes();
    let (other_index, other_chunks, other_height) = taken(&mut offering(&other));
    let mut joiner = Joiner::new(&own);
    let is_ready = joiner.run(2, 40, &mut |peer, question| match peer {
        1 => forged(&index, &chunks, height, question),
        _ => forged(&other_index, &other_chunks, other_height, question),
    });
    assert!(!is_ready && joiner.has_nothing());
    assert_eq!(joiner.joining.refusals(), 2, "each offer is refused once");
    assert_eq!(
        joiner.joining.taken(),
        0,
        "no chunk is asked for before the proof"
    );
}

#[test]
fn an_index_without_its_anchor_or_manifest_part_is_refused_before_any_chunk() {
    let genesis = genesis(1);
    let (source, ..) = source(&genesis, 1);
    let (index, chunks, height) = taken(&mut offering(&source));
    let anchor = Anchor::decode(&index.anchor).unwrap();
    let with = |change: &dyn Fn(&mut Anchor)| {
        let mut anchor = anchor.clone();
        change(&mut anchor);
        Index {
            anchor: anchor.to_bytes(),
            ..index.clone()
        }
    };
    let mut indexes = vec![
        with(&|anchor| drop(anchor.headers.pop())),
        with(&|anchor| anchor.headers.clear()),
        with(&|anchor| drop(anchor.blocks.remove(0))),
        with(&|anchor| anchor.blocks[2].1.clear()),
        with(&|anchor| anchor.certificate.clear()),
    ];
    // Every byte of the manifest that is not the anchor's word.
    for at in (0..index.manifest.len()).step_by(7) {
        let mut index = index.clone();
        index.manifest[at] ^= 2;
        indexes.push(index);
    }
    for (case, index) in indexes.iter().enumerate() {
        let mut joiner = Joiner::new(&genesis);
        let is_ready = joiner.run(1, 12, &mut |_, question| forged(index, &chunks, height, question));
        assert!(!is_ready && joiner.joining.refusals() > 0, "case {case}");
        assert_eq!(joiner.joining.taken(), 0, "case {case}");
    }
}

#[test]
fn a_peer_that_says_nothing_more_is_given_up_after_bounded_questions() {
    let genesis = genesis(1);
    let (source, height, root) = source(&genesis, 1);
    let mut offering = offering(&source);
    let mut joiner = Joiner::new(&genesis);
    let mut asked = 0;
    let is_ready = joiner.run(1, 330, &mut |_, question| {
        asked += u32::from(matches!(question, PeerMessage::WantPart { part: 3, .. }));
        if matches!(question, PeerMessage::WantPart { part: 3, .. }) {
            return None;
        }
        honest(&mut offering, question)
    });
    assert!(!is_ready && joiner.has_nothing());
    assert_eq!(asked, TRIES_MAX, "in 33 seconds");
    // It comes to its senses.
    assert!(joiner.run(1, 40, &mut |_, question| honest(&mut offering, question)));
    assert_eq!(joiner.stands(), (height, root));
}

#[test]
fn nobody_who_is_near_joins_by_snapshot_unless_the_next_block_is_gone() {
    let genesis = genesis(1);
    let (source, height, root) = source(&genesis, 1);
    let mut offering = offering(&source);
    let mut joiner = Joiner::new(&genesis);
    joiner.joining.config.behind_blocks = 1_000;
    assert!(!joiner.run(2, 20, &mut |_, question| honest(&mut offering, question)));
    assert!(joiner.asked.is_empty());
    joiner.joining.starved_by(1);
    assert!(!joiner.run(2, 20, &mut |_, question| honest(&mut offering, question)));
    assert!(joiner.asked.is_empty(), "the other may have it");
    joiner.joining.starved_by(2);
    assert!(joiner.run(2, 20, &mut |_, question| honest(&mut offering, question)));
    assert_eq!(joiner.stands(), (height, root));
}
