//! A running network follows its validators: one joins and counts, one takes another key, one leaves; real nodes over
//! real links.

use crate::stage::{PATIENCE, config};
use selfchain::client::{Client, ClientOptions, Signer};
use selfchain::config::PeerAddress;
use selfchain::engine::proof::{Checkpoint, TrustedSigners};
use selfchain::keys;
use selfchain::node::{Node, NodeConfig};
use selfchain::replica::ReplicaView;
use selfchain::standing::found;
use selfchain::storage::{Disk, HandoverFile, MemoryDisk};
use selfchain::store::Store;
use selfchain::telemetry::Metrics;
use selfchain::types::address::encode_address;
use selfchain::types::crypto::{Scheme, SigningKey};
use selfchain::types::genesis::{Checkpointing, Plane};
use selfchain::types::message::Detail;
use selfchain::types::{Amount, AssetId, Genesis, Hash, Height, KeyId};
use selfchain::{AccountFlags, AccountId, Operation, Outcome};
use selfchain_transport::links::{LinkClose, PeerStatus};
use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

const EPOCH: u32 = 16;
const COIN: AssetId = AssetId(7);
const RESERVE: AccountId = AccountId(900);
const PURSE: AccountId = AccountId(31);
/// Of 5,000: four validators of five have a quorum, three of the four founders have none.
const BOND: u64 = 1_000;
/// Where the joiner and its number come after the founders.
const JOINER: usize = 4;
/// Most transactions that are sent until something is the case: several epochs of blocks.
const PUSHES_MAX: usize = 200;

/// How often it is looked whether something is the case.
const LOOK_EVERY: Duration = Duration::from_millis(5);

fn until(fact: impl Fn() -> bool) {
    let began = Instant::now();
    while !fact() {
        assert!(began.elapsed() < PATIENCE, "nothing happened for a minute");
        std::thread::park_timeout(LOOK_EVERY);
    }
}

fn key_of(scheme: Scheme, at: usize) -> SigningKey {
    SigningKey::of_scheme(scheme, &[u8::try_from(at).unwrap() + 101; 32]).unwrap()
}

fn copy(key: &SigningKey) -> SigningKey {
    key.copy()
}

/// One validator: its disk and address outlive its process.
struct Seat {
    key: SigningKey,
    disk: Arc<dyn Disk>,
    config: NodeConfig,
    running: Option<(Node, Runtime)>,
}

struct Network {
    seats: Vec<Seat>,
    addresses: Vec<SocketAddr>,
    folder: TempDir,
}

impl Seat {
    fn start(&mut self) {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (disk, metrics) = (Arc::clone(&self.disk), Arc::new(Metrics::default()));
        let node = Node::start(
            disk,
            &self.key,
            &self.config,
            metrics,
            runtime.handle(),
            &mut |_| {},
        );
        self.running = Some((node.unwrap(), runtime));
    }

    fn stop(&mut self) {
        let (node, runtime) = self.running.take().unwrap();
        runtime.block_on(node.stop()).unwrap();
    }

    fn node(&self) -> &Node {
        &self.running.as_ref().unwrap().0
    }

    fn view(&self) -> Arc<ReplicaView> {
        assert_eq!(self.node().fault(), None);
        self.node().view()
    }

    fn link(&self, number: usize) -> Option<PeerStatus> {
        let status = self.node().reach().unwrap().status();
        let number = u32::try_from(number).unwrap();
        status.into_iter().find(|peer| peer.number == number)
    }

    fn is_linked(&self, number: usize) -> bool {
        self.link(number).is_some_and(|peer| peer.round_trip.is_some())
    }

    /// The last height that a key signed, as this node saw it.
    fn signed(&self, key: &SigningKey) -> Option<Height> {
        self.view().lately.did(&key.id()).precommitted
    }

    fn names(&self, key: &SigningKey) -> bool {
        self.view().validators.iter().any(|one| one.key == *key.public())
    }
}

impl Network {
    /// Four founders that run, and one who may join and knows the address of the first founder only.
    fn start(scheme: Scheme) -> Self {
        Self::start_with(scheme, |_, _| ())
    }

    /// With more in genesis, which may put files into the folder.
    fn start_with(scheme: Scheme, change: impl FnOnce(&mut Genesis, &Path)) -> Self {
        let key = |at| key_of(scheme, at);
        let founders: Vec<SigningKey> = (0..JOINER).map(key).collect();
        let mut genesis = Genesis::solo("live", 1, founders[0].public().clone());
        (genesis.fees.asset, genesis.fees.collector) = (COIN, RESERVE);
        let mut genesis = found(genesis, Plane::Stake, &founders, EPOCH, 1);
        let folder = tempfile::tempdir().unwrap();
        change(&mut genesis, folder.path());
        // All are held until each has one, so that no two are the same.
        let sockets: Vec<UdpSocket> = (0..=JOINER)
            .map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap())
            .collect();
        let addresses: Vec<SocketAddr> = sockets.iter().map(|one| one.local_addr().unwrap()).collect();
        drop(sockets);
        let known = |at: usize| PeerAddress::of(key(at).public(), addresses[at]);
        let seats = (0..=JOINER).map(|at| {
            let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
            Store::create(&*disk, &genesis).unwrap();
            let mut config = config();
            config.validator.listen = Some(addresses[at]);
            config.validator.peers = if at == JOINER {
                vec![known(0)]
            } else {
                (0..JOINER).map(known).collect()
            };
            config.validator.next_key = Some(folder.path().join(format!("{at}.key")));
            config.validator.checkpoint_keys = checkpoint_files(folder.path(), at).into();
            Seat {
                key: key(at),
                disk,
                config,
                running: None,
            }
        });
        let mut network = Self {
            seats: seats.collect(),
            addresses: addresses.clone(),
            folder,
        };
        network.seats[..JOINER].iter_mut().for_each(Seat::start);
        network
    }

    fn next_key(&self, at: usize) -> PathBuf {
        self.folder.path().join(format!("{at}.key"))
    }

    fn client(&self) -> Client {
        let node = self.seats[0].node();
        let options = ClientOptions::new(node.address(), node.public_key());
        Client::connect(&ClientOptions {
            deadline: PATIENCE,
            ..options
        })
        .unwrap()
    }

    /// Whoever runs stands at one block, executed to the same result.
    fn settle(&self) {
        let running = || self.seats.iter().filter(|seat| seat.running.is_some());
        let settled = Cell::new(0);
        until(|| {
            let tips: Vec<(u64, Hash)> = running()
                .map(|seat| seat.node().tip())
                .map(|tip| (tip.height.0, tip.hash))
                .collect();
            settled.set(tips[0].0);
            tips.windows(2).all(|pair| pair[0] == pair[1])
        });
        let height = settled.get();
        let state_root = |seat: &Seat| {
            let row = seat.node().log().read(height).unwrap();
            let row = selfchain::types::block::Row::decode(&row).unwrap();
            (Hash(*blake3::hash(row.header).as_bytes()), row.result.to_vec())
        };
        let first = state_root(&self.seats[0]);
        assert!(running().all(|seat| state_root(seat) == first), "block {height}");
    }
}

/// Where a validator's checkpoint key lies, and the one to come.
fn checkpoint_files(folder: &Path, at: usize) -> [PathBuf; 2] {
    ["checkpoint", "next-checkpoint"].map(|name| folder.join(format!("{at}.{name}")))
}

/// Of different schemes.
fn checkpoint_key(at: usize) -> SigningKey {
    let scheme = match at {
        0 => Scheme::Ed25519SlhDsa128f,
        1 => Scheme::Ed25519MlDsa44,
        _ => Scheme::Ed25519MlDsa65,
    };
    key_of(scheme, at + 50)
}

fn must(signer: &Signer, others: &[SigningKey], operations: Vec<Operation>, attachments: Vec<u8>) {
    let ticket = signer.submit_among(others, operations, attachments, Detail::Refusals);
    let committed = signer.wait(ticket.unwrap()).unwrap();
    assert!(committed.refused.is_empty(), "{:?}", committed.refused);
}

/// Sends transactions one after the other, each of which is a block or two, until something is the case.
fn push(signer: &Signer, fact: impl Fn() -> bool) {
    for _ in 0..PUSHES_MAX {
        if fact() {
            return;
        }
        must(signer, &[], vec![Operation::anchor(1, Hash([1; 32]))], Vec::new());
    }
    panic!("it did not come about in {PUSHES_MAX} transactions");
}

/// Sends so many transactions.
fn go_on(signer: &Signer, count: usize) {
    (0..count).for_each(|_| must(signer, &[], vec![Operation::anchor(1, Hash([2; 32]))], Vec::new()));
}

fn opening() -> Vec<Operation> {
    let bound = AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS;
    let open = |account| Operation::open_account(account, COIN, KeyId::NONE, bound, Amount::ZERO, 0);
    vec![
        Operation::create_asset(COIN, AccountId(1), KeyId::NONE, 0, Amount(1 << 40)),
        open(PURSE),
        open(RESERVE),
        Operation::transfer(1, AccountId(1), PURSE, Amount(10_000), COIN),
    ]
}

fn join(joiner: &SigningKey, address: &SocketAddr) -> (Vec<Operation>, Vec<u8>) {
    let mut attachments = [&[0; 32], joiner.public().as_bytes()].concat();
    let len = u32::try_from(attachments.len()).unwrap();
    let scheme = joiner.public().scheme().code();
    let join = Operation::join(1, joiner.id(), BOND, PURSE, scheme, (0, len));
    attachments.extend_from_slice(&encode_address(address));
    let address = Operation::address(2, joiner.id(), len);
    (vec![join, address], attachments)
}

fn rotate(from: &SigningKey, to: &SigningKey) -> (Vec<Operation>, Vec<u8>) {
    let attachments = [to.id().0.as_bytes().as_slice(), to.public().as_bytes()].concat();
    let len = u32::try_from(attachments.len()).unwrap();
    let scheme = to.public().scheme().code();
    (
        vec![Operation::rotate(1, from.id(), scheme, (0, len))],
        attachments,
    )
}

fn refuses(signer: &Signer, others: &[SigningKey], said: (Vec<Operation>, Vec<u8>), want: Outcome) {
    let ticket = signer.submit_among(others, said.0, said.1, Detail::Refusals);
    let committed = signer.wait(ticket.unwrap()).unwrap();
    let outcomes = committed.refused.iter().map(|(_, outcome, _)| *outcome);
    assert_eq!(outcomes.collect::<Vec<_>>().first(), Some(&want));
}

#[test]
fn a_running_network_follows_who_joins_who_takes_another_key_and_who_leaves() {
    follows(Scheme::Ed25519, Scheme::Ed25519MlDsa65);
}

#[test]
fn a_running_network_of_hybrid_votes_follows_them_likewise() {
    follows(Scheme::Ed25519MlDsa65, Scheme::Ed25519);
}

/// A network whose validators sign with one scheme, and let nobody in who would with the other.
fn follows(scheme: Scheme, other: Scheme) {
    let key = |at| key_of(scheme, at);
    let mut network = Network::start(scheme);
    let client = network.client();
    let signer = client.signer(key(0), 1).unwrap();
    must(&signer, &[], opening(), Vec::new());

    // Nobody lets the newcomer in before the chain knows it.
    network.seats[JOINER].start();
    let not_in_set = Some(LinkClose::NotInSet);
    until(|| {
        network.seats[JOINER]
            .link(0)
            .is_some_and(|link| link.last == not_in_set)
    });
    assert_eq!(network.seats[JOINER].node().tip().height, Height(0));
    let stranger = key_of(other, JOINER);
    let address = &network.addresses[JOINER];
    let said = join(&stranger, address);
    refuses(&signer, &[stranger], said, Outcome::SchemeUnknown);
    let joiner = key(JOINER);
    let (operations, attachments) = join(&joiner, &network.addresses[JOINER]);
    must(&signer, &[copy(&joiner)], operations, attachments);

    // It knows one address, the founders none of its own configuration's: the chain has it.
    for founder in 0..JOINER {
        until(|| network.seats[founder].is_linked(JOINER));
        until(|| network.seats[JOINER].is_linked(founder));
        let address = network.seats[founder].link(JOINER).unwrap().address;
        assert_eq!(address, Some(network.addresses[JOINER]));
    }
    let has_caught_up = || network.seats[JOINER].node().tip().height >= network.seats[0].node().tip().height;
    until(has_caught_up);
    assert!(!network.seats[0].names(&joiner), "not before the epoch ends");
    push(&signer, || network.seats[0].names(&joiner));

    // A founder is killed: without the newcomer's vote nothing more is decided.
    network.seats[1].stop();
    go_on(&signer, 6);
    network.settle();
    let tip = network.seats[0].node().tip().height;
    until(|| network.seats[0].signed(&joiner) >= Some(tip));
    assert!(network.seats[0].signed(&key(1)) < Some(tip));

    // Another takes a key that comes while it runs.
    let (old, new) = (key(2), SigningKey::of_scheme(scheme, &[222; 32]).unwrap());
    let stranger = key_of(other, 2);
    let said = rotate(&old, &stranger);
    refuses(&signer, &[copy(&old), stranger], said, Outcome::SchemeUnknown);
    let (operations, attachments) = rotate(&old, &new);
    must(&signer, &[copy(&old), copy(&new)], operations, attachments);
    assert_eq!(network.seats[2].node().key_id(), old.id());
    keys::write(&network.next_key(2), &new).unwrap();
    push(&signer, || network.seats[0].names(&new));
    go_on(&signer, 3);
    until(|| network.seats[2].node().key_id() == new.id());
    let tip = network.seats[0].node().tip().height;
    until(|| network.seats[0].signed(&new) >= Some(tip));
    let last_of_old = network.seats[0].signed(&old).unwrap();
    assert!(!network.seats[0].names(&old) && last_of_old < tip);

    // A restart in the epoch in which both keys get in: the chain says which one counts.
    network.seats[2].stop();
    network.seats[2].start();
    go_on(&signer, 3);
    let tip = network.seats[0].node().tip().height;
    until(|| network.seats[0].signed(&new) >= Some(tip));
    assert_eq!(network.seats[0].signed(&old), Some(last_of_old));
    assert_eq!(network.seats[2].node().key_id(), new.id());
    network.settle();

    // The newcomer leaves, is followed for one epoch more, and then is a stranger.
    let leave = Operation::bond(1, joiner.id(), 0, AccountId::NONE);
    must(&signer, &[copy(&joiner)], vec![leave], Vec::new());
    push(&signer, || !network.seats[0].names(&joiner));
    let last_of_joiner = network.seats[0].signed(&joiner);
    push(&signer, || network.seats[0].link(JOINER).is_none());
    let is_out = |why: Option<LinkClose>| matches!(why, Some(LinkClose::Removed | LinkClose::NotInSet));
    until(|| {
        network.seats[JOINER]
            .link(0)
            .is_some_and(|link| is_out(link.last))
    });
    assert_eq!(network.seats[0].signed(&joiner), last_of_joiner);
    // The old key gets nobody in any more, and the new one keeps its links.
    until(|| network.seats[0].is_linked(2) && network.seats[3].is_linked(2));
    network.seats[JOINER].stop();
    network.settle();
    for at in [0, 2, 3] {
        network.seats[at].stop();
    }
}

/// Heights of the newest checkpoints, as a node shows them; none before it shows anything.
fn checkpoints(seat: &Seat) -> Vec<u64> {
    let view = seat.view();
    let checkpoints = view.checkpoints.iter();
    checkpoints
        .flat_map(|one| one.newest.iter().map(|one| one.height.0))
        .collect()
}

#[test]
fn validators_sign_checkpoints_and_whoever_was_away_gets_them() {
    let every = 8;
    let mut network = Network::start_with(Scheme::Ed25519, |genesis, folder| {
        let keys = (0..JOINER).map(|at| {
            let [file, _] = checkpoint_files(folder, at);
            keys::write(&file, &checkpoint_key(at)).unwrap();
            checkpoint_key(at).public().clone()
        });
        genesis.checkpoints = Some(Checkpointing {
            every_blocks: every,
            keys: keys.collect(),
        });
    });
    let client = network.client();
    let signer = client.signer(key_of(Scheme::Ed25519, 0), 1).unwrap();
    must(&signer, &[], opening(), Vec::new());
    push(&signer, || checkpoints(&network.seats[0]).len() >= 2);

    // Without one of four there is power enough; when it is back it gets what it missed.
    network.seats[3].stop();
    let before = checkpoints(&network.seats[0]).len();
    push(&signer, || checkpoints(&network.seats[0]).len() >= before + 2);
    network.seats[3].start();
    // A signature that was lost on the way may have cost it one that the others have: the newest counts.
    let newest = checkpoints(&network.seats[0]).last().copied();
    until(|| checkpoints(&network.seats[3]).last().copied() >= newest);

    // Another key: signed by both, named by a checkpoint, and from then on signed with.
    let (validator, next) = (key_of(Scheme::Ed25519, 2), key_of(Scheme::Ed25519MlDsa44, 99));
    let [_, file] = checkpoint_files(network.folder.path(), 2);
    keys::write(&file, &next).unwrap();
    let said = |key: &SigningKey| {
        let bytes = key.public().as_bytes().to_vec();
        let len = u32::try_from(bytes.len()).unwrap();
        let scheme = key.public().scheme().code();
        let operation = Operation::checkpoint_key(1, validator.id(), scheme, (0, len));
        (vec![operation], bytes)
    };
    let (classical, others) = (key_of(Scheme::Ed25519, 98), checkpoint_key(1));
    refuses(&signer, &[copy(&validator)], said(&next), Outcome::NotAuthorized);
    refuses(&signer, &[copy(&next)], said(&next), Outcome::NotAuthorized);
    let both = [copy(&validator), copy(&classical)];
    refuses(&signer, &both, said(&classical), Outcome::SchemeUnknown);
    let both = [copy(&validator), copy(&others)];
    refuses(&signer, &both, said(&others), Outcome::KeyExists);
    let (operations, attachments) = said(&next);
    must(&signer, &[copy(&validator), copy(&next)], operations, attachments);
    // The first checkpoint from here on names it; those after that need it, without one of four.
    network.seats[3].stop();
    let end = network.seats[0].node().tip().height.0 + 3 * u64::from(every);
    push(&signer, || checkpoints(&network.seats[0]).last() >= Some(&end));
    network.settle();
    let genesis = network.seats[0].node().genesis().clone();
    for seat in &mut network.seats[..3] {
        seat.stop();
    }

    // From genesis on each is signed by those whom the one before names.
    let file = HandoverFile::open(&*network.seats[0].disk, "checkpoints").unwrap();
    let mut signers = TrustedSigners::of_genesis(&genesis).unwrap();
    let mut signed_by_next = 0;
    for bytes in file.read_from(1, usize::MAX, usize::MAX).unwrap() {
        let checkpoint = Checkpoint::decode(&bytes).unwrap();
        let header = signers.follow(&genesis.chain_id(), &checkpoint).unwrap();
        assert_eq!(header.height.0 % u64::from(every), 0);
        signed_by_next += usize::from(checkpoint.signatures.iter().any(|one| one.key == next.id()));
    }
    assert!(signed_by_next > 0, "nothing is signed with the new key");
    assert!(signers.set().signer(&next.id()).is_some());
    assert!(signers.set().signer(&checkpoint_key(2).id()).is_none());
}
