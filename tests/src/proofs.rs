//! Proofs of a real chain of several validators whose set changes twice: good ones, and the same spoilt.

use crate::random::Random;
use crate::world::{EPOCH, JOINER, OWNER, PURSE, World, id, join, pay};
use selfchain::answers::Past;
use selfchain::engine::commit::Prepared;
use selfchain::engine::proof::{Checkpoint, Claim, ProofFile, ProofFileError, Proven, Trust, TrustedSet};
use selfchain::proving::{Rebuilding, SINCE_GENESIS};
use selfchain::storage::{IndexConfig, LogConfig, MemoryDisk, Sealing, SnapshotConfig};
use selfchain::store::{Store, StoreConfig};
use selfchain::types::block::{Header, Row};
use selfchain::types::certificate::{Certificate, Precommit, precommit_digest};
use selfchain::types::checkpoint::{CheckpointSignature, checkpoint_digest};
use selfchain::types::codec::{put_bytes_u32, put_section_versioned};
use selfchain::types::crypto::{PublicKey, Scheme, SigningKey};
use selfchain::types::genesis::{Checkpointing, Plane, Validator, validators_hash};
use selfchain::types::message::BY_CHECKPOINTS;
use selfchain::types::seam::log::Log;
use selfchain::types::{AccountId, Hash, Height, Operation, hash};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The other account, which the purse pays to.
pub const PAID: AccountId = AccountId(32);

/// A chain whose set of validators changes after blocks 16 and 32, on a disk in memory.
pub struct Stand {
    /// The chain, as it was made.
    pub world: World,
    /// Its disk.
    pub disk: Arc<MemoryDisk>,
    /// Its store, with every block.
    pub store: Store,
    /// What answers.
    pub past: Past,
    /// Credits posted to [`PAID`] after each height, from 0 on.
    pub paid: Vec<u128>,
    /// The transactions that paid it, with their heights.
    pub payments: Vec<(Hash, Height)>,
}

/// Small, and without room to spare on the disk.
pub fn config() -> StoreConfig {
    StoreConfig {
        log: LogConfig {
            segment_bytes: 8_000,
            reserve_bytes: 0,
            sealing: Sealing::Inline,
            ..LogConfig::default()
        },
        index: IndexConfig {
            reserve_bytes: 0,
            ..IndexConfig::default()
        },
        snapshots: SnapshotConfig {
            keep: 9,
            reserve_bytes: 0,
            ..SnapshotConfig::default()
        },
    }
}

impl Stand {
    /// The chain: a fifth validator joins with the second epoch and leaves with the third, and in between the purse
    /// pays. A snapshot of block 20 is kept.
    pub fn new() -> Self {
        Self::over(World::new(Plane::Stake))
    }

    /// As [`new`](Self::new), with checkpoints of every eighth header. That of block 16 names other signers.
    #[allow(clippy::unwrap_used, reason = "a chain that cannot be made is a failed test")]
    pub fn with_checkpoints() -> Self {
        let keys: Vec<SigningKey> = (60..64).map(checkpoint_key).collect();
        let publics = keys.iter().map(|key| key.public().clone()).collect();
        let stand = Self::over(World::with(
            Plane::Stake,
            |_| (),
            |genesis| {
                genesis.checkpoints = Some(Checkpointing {
                    every_blocks: 8,
                    keys: publics,
                });
            },
        ));
        let first = stand.world.genesis.checkpoint_set().unwrap();
        let mut second = first.clone();
        let replaced = checkpoint_key(70);
        second.signers[3].key = replaced.public().clone();
        for at in (8..stand.world.height()).step_by(8) {
            let row = Row::decode(&stand.world.rows[usize::try_from(at - 1).unwrap()]).unwrap();
            let next = if at < 16 { &first } else { &second };
            let header = row.header.to_vec();
            let digest = checkpoint_digest(
                &stand.world.genesis.chain_id(),
                Height(at),
                &hash::HEADER.hash(&header),
                &next.hash(),
            );
            // Three of four sign; from the second set on, the new key among them.
            let signing = if at <= 16 {
                [&keys[0], &keys[1], &keys[2]]
            } else {
                [&keys[1], &keys[2], &replaced]
            };
            let mut signatures = signing.map(|key| CheckpointSignature {
                key: key.id(),
                signature: key.sign(digest.as_bytes()),
            });
            signatures.sort_by_key(|one| one.key);
            let checkpoint = Checkpoint {
                header,
                next: next.clone(),
                signatures: signatures.into(),
            };
            stand
                .store
                .checkpoints
                .append(at, &checkpoint.to_bytes())
                .unwrap();
        }
        stand
    }

    #[allow(clippy::unwrap_used, reason = "a chain that cannot be made is a failed test")]
    fn over(mut world: World) -> Self {
        let mut paid = vec![0, credits(&world)];
        let mut payments = Vec::new();
        while world.height() < 2 * EPOCH + 6 {
            match world.height() + 1 {
                2 => {
                    let (operation, attachments) = join(&world, JOINER, 500, PURSE);
                    world.must(&[JOINER, OWNER], vec![operation], attachments);
                }
                at if at == EPOCH + 3 => {
                    let leaves = Operation::bond(1, id(JOINER), 0, AccountId::NONE);
                    world.must(&[JOINER], vec![leaves], Vec::new());
                }
                at if at % 3 == 0 || at > 2 * EPOCH + 3 => {
                    let pays = |id, amount| pay(id, PURSE, PAID, amount);
                    // The last of them is refused: there is not so much.
                    world.run(
                        &[OWNER],
                        vec![pays(1, 5), pays(2, 7), pays(3, 1 << 60)],
                        Vec::new(),
                    );
                    let row = world.rows.last().unwrap();
                    let height = Height(world.height());
                    let tx_id = Prepared::new(height, row).unwrap().transactions()[0].tx_id;
                    payments.push((tx_id, height));
                }
                _ => world.step(),
            }
            paid.push(credits(&world));
        }
        let disk = Arc::new(MemoryDisk::new());
        Store::create(&*disk, &world.genesis).unwrap();
        let mut store = Store::open(Arc::<MemoryDisk>::clone(&disk), &config()).unwrap();
        for (height, row) in (1..).zip(&world.rows) {
            store.log.append(height, row).unwrap();
            if height == SNAPSHOT {
                store.log.sync().unwrap();
                let chain = store.recover(&mut |_| {}).unwrap();
                store.write_snapshot(&chain).unwrap();
            }
        }
        store.log.sync().unwrap();
        let chain = store.recover(&mut |_| {}).unwrap();
        assert_eq!(chain.tip(), world.chain.tip());
        Self {
            past: Past::of(&store),
            world,
            disk,
            store,
            paid,
            payments,
        }
    }

    /// Trust in those that the chain was born with.
    pub fn founders(&self) -> Trust {
        Trust::of_genesis(&self.world.genesis)
    }

    /// A proof of each kind, for whoever trusts the set of a height.
    #[allow(clippy::unwrap_used, reason = "a proof that cannot be made is a failed test")]
    pub fn proofs(&self, since: Height) -> Vec<(&'static str, ProofFile)> {
        let newest = match since {
            BY_CHECKPOINTS => self.past.checkpointed(Height(0)).unwrap(),
            _ => self.past.newest(),
        };
        let (last, _) = *self.payments.iter().rfind(|(_, at)| *at <= newest).unwrap();
        let path = self.account_at(PAID, newest);
        let old = Height(since.0.max(3));
        vec![
            ("operation", self.past.prove_operation(&last, 1, since).unwrap()),
            ("account", self.past.prove_account(path, since).unwrap()),
            (
                "consistency",
                self.past.prove_consistency(old, Height(0), since).unwrap(),
            ),
        ]
    }

    #[allow(clippy::unwrap_used, reason = "a path that cannot be taken is a failed test")]
    fn account_at(&self, account: AccountId, height: Height) -> selfchain::engine::commit::AccountPath {
        let how = Rebuilding {
            blocks_max: u64::MAX,
            progress: &mut |_, _| {},
            stop: &AtomicBool::new(false),
        };
        self.past.account_at(account, height, how).unwrap()
    }
}

impl Default for Stand {
    fn default() -> Self {
        Self::new()
    }
}

/// The height whose snapshot is kept.
pub const SNAPSHOT: u64 = 20;

fn credits(world: &World) -> u128 {
    world.totals(PAID)[1]
}

/// Verifies the bytes of a proof.
///
/// # Errors
/// [`ProofFileError`].
pub fn verified(bytes: &[u8], trust: &Trust) -> Result<Proven, ProofFileError> {
    ProofFile::decode(bytes)?.verify(trust)
}

/// The same claim, decided by other validators, whoever they are: with keys of any scheme. And trust in them.
///
/// # Errors
/// When the proof holds no header, or the scheme is not built.
pub fn resigned(
    proof: &ProofFile,
    schemes: &[Scheme],
) -> Result<(ProofFile, Trust), Box<dyn core::error::Error + Send + Sync>> {
    let keys: Vec<SigningKey> = (1u8..)
        .zip(schemes)
        .map(|(seed, scheme)| SigningKey::of_scheme(*scheme, &[seed; 32]))
        .collect::<Result<_, _>>()?;
    let validators: Vec<Validator> = keys
        .iter()
        .map(|key| Validator {
            key: PublicKey::clone(key.public()),
            power: 10,
        })
        .collect();
    let mut proof = ProofFile {
        handovers: Vec::new(),
        checkpoints: Vec::new(),
        ..proof.clone()
    };
    let sign = |header: &mut Vec<u8>, certificate: &mut Vec<u8>| {
        let mut read = Header::decode(header)?;
        read.validators_hash = validators_hash(&validators);
        read.next_validators_hash = read.validators_hash;
        *header = read.to_bytes();
        let digest = precommit_digest(&read.chain_id, read.height, 0, &read.hash(), b"said");
        let precommits = (0..).zip(&keys).map(|(validator, key)| Precommit {
            validator,
            extension: b"said".to_vec(),
            signature: key.sign(digest.as_bytes()),
        });
        certificate.clear();
        Certificate {
            height: read.height,
            round: 0,
            block: read.hash(),
            precommits: precommits.collect(),
        }
        .encode(certificate);
        Ok::<(), selfchain::types::codec::DecodeError>(())
    };
    match &mut proof.claim {
        Claim::Operation(receipt) => sign(&mut receipt.header, &mut receipt.certificate)?,
        Claim::Account(account) => sign(&mut account.header, &mut account.certificate)?,
        Claim::Consistency(both) => {
            sign(&mut both.old.header, &mut both.old.certificate)?;
            sign(&mut both.new.header, &mut both.new.certificate)?;
        }
    }
    let trust = Trust {
        chain_id: proof.chain_id,
        root_lag: 2,
        set: TrustedSet::new(SINCE_GENESIS, validators),
        signers: None,
    };
    Ok((proof, trust))
}

/// Spoils a proof in so many ways: bits flipped, bytes cut and added, sections moved, handovers swapped and left out,
/// each from a seed.
pub fn spoilt(proof: &ProofFile, flips: usize, random: &mut Random) -> Vec<(String, Vec<u8>)> {
    let bytes = proof.to_bytes();
    let mut all = Vec::new();
    for number in 0..flips {
        // The first bytes, where the frames are, more often.
        let at = random.index(if number % 4 == 0 {
            bytes.len().min(200)
        } else {
            bytes.len()
        });
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << random.index(8);
        all.push((format!("a bit of byte {at} flipped"), flipped));
    }
    for _ in 0..flips / 10 {
        let at = random.index(bytes.len());
        all.push((format!("cut at {at}"), bytes[..at].to_vec()));
        all.push((
            format!("a byte put in at {at}"),
            [&bytes[..at], &[0], &bytes[at..]].concat(),
        ));
        all.push((
            format!("byte {at} taken out"),
            [&bytes[..at], &bytes[at + 1..]].concat(),
        ));
    }
    all.push(("doubled".into(), [&bytes[..], &bytes].concat()));
    all.push(("nothing".into(), Vec::new()));
    let mut more = bytes.clone();
    put_section_versioned(&mut more, 99, 1, false, |out| out.push(1));
    all.push(("a section that nobody knows".into(), more));
    let with = |handovers: Vec<_>| {
        ProofFile {
            handovers,
            ..proof.clone()
        }
        .to_bytes()
    };
    for at in 0..proof.handovers.len() {
        let mut without = proof.handovers.clone();
        let taken = without.remove(at);
        all.push((format!("without handover {at}"), with(without.clone())));
        without.insert(0, taken.clone());
        without.insert(0, taken);
        all.push((format!("handover {at} first, and twice"), with(without)));
    }
    if proof.handovers.len() > 1 {
        let mut swapped = proof.handovers.clone();
        swapped.reverse();
        all.push(("handovers swapped".into(), with(swapped)));
    }
    for at in 0..proof.checkpoints.len() {
        let mut without = proof.clone();
        without.checkpoints.remove(at);
        all.push((format!("without checkpoint {at}"), without.to_bytes()));
        let mut doubled = proof.clone();
        doubled.checkpoints.insert(at, proof.checkpoints[at].clone());
        all.push((format!("checkpoint {at} twice"), doubled.to_bytes()));
        for signature in 0..proof.checkpoints[at].signatures.len() {
            let mut fewer = proof.clone();
            fewer.checkpoints[at].signatures.remove(signature);
            all.push((
                format!("without signature {signature} of checkpoint {at}"),
                fewer.to_bytes(),
            ));
        }
    }
    let other = ProofFile {
        chain_id: Hash([7; 32]),
        ..proof.clone()
    };
    all.push(("another chain".into(), other.to_bytes()));
    all
}

/// A key that signs checkpoints.
#[allow(clippy::unwrap_used, reason = "a key that cannot be made is a failed test")]
fn checkpoint_key(seed: u8) -> SigningKey {
    SigningKey::of_scheme(Scheme::Ed25519MlDsa65, &[seed; 32]).unwrap()
}

/// A proof that a later version wrote: it has a section that this one passes over.
pub fn of_later_version(proof: &ProofFile) -> Vec<u8> {
    let mut bytes = proof.to_bytes();
    put_section_versioned(&mut bytes, 64, 1, true, |out| put_bytes_u32(out, b"a checkpoint"));
    bytes
}
