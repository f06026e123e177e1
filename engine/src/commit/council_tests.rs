//! What the chain does with a standing: a small one whose validators take turns, and leave when they are found out.

use super::super::{
    Block, Candidate, Chain, ChainSnapshot, Known, Prepared, Proposal, Proposing, RestoreError, VerifyError,
};
use crate::ledger::Ledger;
use core::convert::Infallible;
use selfchain_types::ballot::{Ballot, Statement};
use selfchain_types::certificate::{Certificate, Precommit, precommit_digest};
use selfchain_types::codec::{DecodeError, Reader};
use selfchain_types::crypto::{BatchVerifier, SigningKey};
use selfchain_types::evidence::{Evidence, encode_evidence};
use selfchain_types::genesis::{Plane, Validator, validators_hash};
use selfchain_types::roots::Table;
use selfchain_types::seam::consensus::Schedule;
use selfchain_types::seam::standing::{
    Change, ChangeRefusal, Held, Observed, Offence, Reward, Standing, StandingError,
};
use selfchain_types::{Amount, Genesis, Hash, Height, KeyId, Risk, TimeNs};
use std::sync::Arc;

const EPOCH: u64 = 4;

/// Validators take turns; who loses its bond leaves at an epoch's end.
#[derive(Clone)]
struct Turns {
    founders: Vec<Validator>,
    height: Height,
    /// From which height on which founder is out.
    left: Vec<(Height, u16)>,
}

impl Turns {
    fn of(&self, height: Height) -> Arc<[Validator]> {
        let is_in = |at: u16| !self.left.iter().any(|(from, who)| height >= *from && *who == at);
        let founders = (0..).zip(&self.founders);
        founders
            .filter(|(at, _)| is_in(*at))
            .map(|(_, validator)| validator.clone())
            .collect()
    }

    fn proposer(&self, round: u32) -> KeyId {
        let set = self.validators();
        let turn = usize::try_from(self.height.0 + u64::from(round)).unwrap();
        set[turn % set.len()].key.id()
    }
}

impl Standing for Turns {
    fn check(&self, block: &Observed<'_>) -> Result<(), StandingError> {
        if block.proposer != self.proposer(block.round) {
            return Err(StandingError::Proposer { round: block.round });
        }
        if block.parent.map(|parent| parent.height) != Some(self.height).filter(|height| height.0 > 0) {
            return Err(StandingError::Parent);
        }
        let is_unknown = |offence: &Offence| !self.punishes(offence);
        match block.offences.iter().position(is_unknown) {
            Some(at) => Err(StandingError::Offence { at }),
            None => Ok(()),
        }
    }

    fn observe(&mut self, block: &Observed<'_>) -> Result<(), StandingError> {
        self.check(block)?;
        self.height = block.height;
        Ok(())
    }

    fn change(&mut self, change: &Change) -> Result<(), ChangeRefusal> {
        let Change::Forfeit { member: at } = change else {
            return Err(ChangeRefusal::Unknown);
        };
        let from = Height((self.height.0 / EPOCH + 1) * EPOCH + 1);
        self.left.push((from, u16::try_from(*at).unwrap()));
        Ok(())
    }

    fn rewards(&self, _: Amount) -> Vec<Reward> {
        Vec::new()
    }

    fn close(&mut self) {}

    fn height(&self) -> Height {
        self.height
    }

    fn validators(&self) -> Arc<[Validator]> {
        self.of(self.height.next())
    }

    fn next_validators(&self) -> Arc<[Validator]> {
        self.of(self.height.next().next())
    }

    fn validators_of(&self, height: Height) -> Option<Arc<[Validator]>> {
        (height <= self.height.next()).then(|| self.of(height))
    }

    fn schedule(&self) -> Schedule {
        Schedule::by_power(Height(1))
    }

    fn reveals_before(&self, _: &KeyId) -> Option<Hash> {
        Some(Hash::ZERO)
    }

    fn misses(&self, _: Height, _: u16) -> bool {
        false
    }

    fn punishes(&self, offence: &Offence) -> bool {
        offence.height <= self.height && self.left.is_empty()
    }

    fn member(&self, validator: &KeyId) -> Option<u32> {
        let is_it = |founder: &Validator| founder.key.id() == *validator;
        let at = self.founders.iter().position(is_it)?;
        u32::try_from(at).ok()
    }

    fn holds(&self, _: u32) -> Option<u64> {
        None
    }

    fn held(&self) -> Arc<[Held]> {
        Arc::new([])
    }

    fn encode(&self, table: Table, out: &mut Vec<u8>) {
        if table == Table::Validators {
            out.extend_from_slice(&self.height.0.to_le_bytes());
            for (from, at) in &self.left {
                out.extend_from_slice(&from.0.to_le_bytes());
                out.extend_from_slice(&at.to_le_bytes());
            }
        }
    }

    fn restore(&mut self, validators: &[u8], plane: &[u8]) -> Result<(), DecodeError> {
        Reader::new("plane", plane).finish()?;
        let mut reader = Reader::new("turns", validators);
        let height = Height(reader.u64()?);
        let mut left = Vec::new();
        while reader.left() > 0 {
            left.push((Height(reader.u64()?), reader.u16()?));
        }
        (self.height, self.left) = (height, left);
        Ok(())
    }
}

struct World {
    keys: Vec<SigningKey>,
    genesis: Genesis,
    standing: Turns,
    /// The chain as one that judges and executes has it.
    chain: Chain,
    certificate: Vec<u8>,
    rows: Vec<Vec<u8>>,
}

impl World {
    fn new() -> Self {
        let keys: Vec<SigningKey> = (1..=4).map(|seed| SigningKey::from_seed(&[seed; 32])).collect();
        let mut genesis = Genesis::solo("council", 0, keys[0].public().clone());
        genesis.plane = Plane::Stake;
        genesis.validators = keys
            .iter()
            .map(|key| Validator {
                key: key.public().clone(),
                power: 10,
            })
            .collect();
        let standing = Turns {
            founders: genesis.validators.clone(),
            height: Height::GENESIS,
            left: Vec::new(),
        };
        Self {
            chain: Chain::new(genesis.clone(), Some(Box::new(standing.clone()))),
            standing,
            keys,
            genesis,
            certificate: Vec::new(),
            rows: Vec::new(),
        }
    }

    fn fresh(&self) -> Chain {
        Chain::new(self.genesis.clone(), Some(Box::new(self.standing.clone())))
    }

    fn next_proposer(&self) -> KeyId {
        let set = self.chain.validators();
        let turn = usize::try_from(self.chain.tip().height.0).unwrap();
        set[turn % set.len()].key.id()
    }

    fn propose<'a>(&'a self, change: impl FnOnce(&mut Proposing<'a>)) -> Candidate {
        let mut proposing = Proposing {
            parent_certificate: &self.certificate,
            ..Proposing::solo(self.next_proposer())
        };
        change(&mut proposing);
        self.chain
            .propose(Vec::new(), Risk::default(), TimeNs(1), proposing)
    }

    fn judge(&self, candidate: &Candidate) -> Result<Candidate, VerifyError> {
        let proposal = Proposal::new(candidate.to_bytes()).unwrap();
        self.chain
            .judge(&proposal, &BatchVerifier::new(), &Known::NOTHING)
    }

    /// Of all of the next height's set but one.
    fn certify(&self, candidate: &Candidate) -> Certificate {
        let (height, block) = (candidate.header().height, candidate.hash());
        let digest = precommit_digest(&self.genesis.chain_id(), height, 0, &block, &[]);
        let sign = |(at, validator): (u16, &Validator)| {
            let key = self
                .keys
                .iter()
                .find(|key| *key.public() == validator.key)
                .unwrap();
            Precommit {
                validator: at,
                extension: Vec::new(),
                signature: key.sign(digest.as_bytes()),
            }
        };
        Certificate {
            height,
            round: 0,
            block,
            precommits: (0..).zip(self.chain.validators().iter()).map(sign).collect(),
        }
    }

    fn step(&mut self, evidence: &[u8]) -> Block {
        let candidate = self
            .judge(&self.propose(|proposing| proposing.evidence = evidence))
            .unwrap();
        let certificate = self.certify(&candidate);
        let block = self.chain.commit(&candidate, &certificate, &|_| false).unwrap();
        self.certificate.clear();
        certificate.encode(&mut self.certificate);
        self.rows.push(block.row.clone());
        block
    }

    /// That the fourth validator prevoted two things at height 1.
    fn proof(&self, key: &SigningKey) -> Vec<u8> {
        let chain_id = self.genesis.chain_id();
        let ballot = |block| {
            let statement = Statement::Prevote(Some(Hash([block; 32])));
            Ballot::sign(&chain_id, Height(1), 0, 3, statement, key)
        };
        let mut bytes = Vec::new();
        encode_evidence(&[Evidence::new(ballot(1), ballot(2)).unwrap()], &mut bytes);
        bytes
    }

    /// Up to `height`, the fourth validator found out in block 2.
    fn to(height: u64) -> Self {
        let mut world = Self::new();
        world.step(&[]);
        let proof = world.proof(&world.keys[3]);
        world.step(&proof);
        for _ in 2..height {
            world.step(&[]);
        }
        world
    }
}

#[test]
fn who_contradicts_itself_leaves_and_headers_name_the_set_of_their_height() {
    let world = World::to(7);
    let headers: Vec<_> = world
        .rows
        .iter()
        .zip(1..)
        .map(|(row, height)| Prepared::new(Height(height), row).unwrap().header().clone())
        .collect();
    let (four, three) = (
        validators_hash(&world.genesis.validators),
        validators_hash(&world.genesis.validators[..3]),
    );
    for header in &headers {
        let is_over = header.height.0 > EPOCH;
        assert_eq!(header.validators_hash, if is_over { three } else { four });
        let next = if header.height.0 >= EPOCH { three } else { four };
        assert_eq!(header.next_validators_hash, next, "{}", header.height);
    }
    assert_eq!(world.chain.validators().len(), 3);
    assert_eq!(world.chain.validators_of(Height(4)).unwrap().len(), 4);
}

#[test]
fn certificates_count_in_the_set_of_their_own_height_offline_too() {
    let world = World::to(7);
    let signatures = BatchVerifier::new();
    let (mut verified, mut folded) = (world.fresh(), world.fresh());
    for (row, height) in world.rows.iter().zip(1..) {
        let block = Prepared::new(Height(height), row).unwrap();
        verified.verify(&block, &signatures).unwrap();
        folded.fold(block, true).unwrap();
    }
    for chain in [&verified, &folded] {
        assert_eq!(chain.tip(), world.chain.tip());
        assert_eq!(chain.roots(), world.chain.roots());
    }
    // Those who were validators until height 4 cannot decide height 5.
    let row = &world.rows[4];
    let hash = Prepared::new(Height(5), row).unwrap().hash();
    let digest = precommit_digest(&world.genesis.chain_id(), Height(5), 0, &hash, &[]);
    let sign = |(at, key): (u16, &SigningKey)| Precommit {
        validator: at,
        extension: Vec::new(),
        signature: key.sign(digest.as_bytes()),
    };
    let founders = Certificate {
        height: Height(5),
        round: 0,
        block: hash,
        precommits: (0..).zip(&world.keys).map(sign).collect(),
    };
    let mut bytes = Vec::new();
    founders.encode(&mut bytes);
    let mut block = Prepared::new(Height(5), row).unwrap();
    block.unpacked.local = &bytes;
    let mut chain = world.fresh();
    for (row, height) in world.rows[..4].iter().zip(1..) {
        let block = Prepared::new(Height(height), row).unwrap();
        chain.verify(&block, &signatures).unwrap();
    }
    assert!(matches!(
        chain.verify(&block, &signatures),
        Err(VerifyError::Certificate { .. })
    ));
}

fn refuses<'a>(world: &'a World, change: impl FnOnce(&mut Proposing<'a>), want: &str) {
    let error = world.judge(&world.propose(change)).unwrap_err();
    let source = core::error::Error::source(&error).map(ToString::to_string);
    let text = format!("{error}: {}", source.unwrap_or_default());
    assert!(text.contains(want), "{text}");
}

#[test]
fn what_a_block_says_of_validators_is_judged() {
    let mut world = World::new();
    world.step(&[]);
    assert!(world.judge(&world.propose(|_| {})).is_ok());
    let other = world.keys[3].id();
    refuses(
        &world,
        |proposing| proposing.proposer = other,
        "proposer of round 0 is another",
    );
    refuses(
        &world,
        |proposing| proposing.round = 2,
        "proposer of round 2 is another",
    );
    refuses(
        &world,
        |proposing| proposing.parent_certificate = &[],
        "not one of the height before",
    );
    let mut forged = Certificate::decode(&world.certificate).unwrap();
    forged.precommits.truncate(2);
    let mut bytes = Vec::new();
    forged.encode(&mut bytes);
    refuses(
        &world,
        |proposing| proposing.parent_certificate = &bytes,
        "certificate does not hold",
    );
    let proof = world.proof(&world.keys[2]);
    refuses(
        &world,
        |proposing| proposing.evidence = &proof,
        "signature of evidence",
    );
    refuses(
        &world,
        |proposing| proposing.evidence = &[1],
        "evidence cannot be read",
    );
    refuses(
        &world,
        |proposing| proposing.late_precommits = &[1],
        "late precommits cannot be read",
    );
}

#[test]
fn a_snapshot_carries_the_standing_and_no_other_is_taken_for_it() {
    let mut world = World::to(3);
    let snapshot = ChainSnapshot::decode(&world.chain.snapshot().to_bytes()).unwrap();
    assert_eq!(snapshot, world.chain.snapshot());
    let mut chunks = Vec::new();
    world
        .chain
        .ledger()
        .snapshot(&mut |table, chunk| chunks.push((table, chunk.to_vec())));
    let restore = |snapshot: ChainSnapshot| {
        let mut chunks = chunks.iter().cloned().map(Ok::<_, Infallible>);
        let ledger = Ledger::restore(&world.genesis, &mut chunks).unwrap();
        let standing: Option<Box<dyn Standing>> = Some(Box::new(world.standing.clone()));
        Chain::restore(world.genesis.clone(), standing, ledger, snapshot)
    };
    let mut restored = restore(snapshot.clone()).unwrap();
    let mut other = snapshot.clone();
    other.tables[0].truncate(8);
    assert_eq!(restore(other).err(), Some(RestoreError::Root(Table::Validators)));
    let mut cut = snapshot;
    cut.tables[0].truncate(9);
    assert!(matches!(restore(cut), Err(RestoreError::Standing(_))));
    for height in 4..8 {
        world.step(&[]);
        let row = world.rows.last().unwrap();
        let block = Prepared::new(Height(height), row).unwrap();
        restored.verify(&block, &BatchVerifier::new()).unwrap();
    }
    assert_eq!(restored.roots(), world.chain.roots());
    assert_eq!(restored.validators().len(), 3);
}
