//! A small chain of several validators, in memory: every block is certified by all of its set.

use selfchain::engine::commit::{Block, Chain, Known, Prepared, Proposal, Proposing};
use selfchain::engine::ledger::Ledger;
use selfchain::standing::{Seen, extension, found, reveals, standing};
use selfchain_consensus::poai::reveal::RevealChain;
use selfchain_consensus::schedule::proposer;
use selfchain_types::ballot::{Ballot, Statement};
use selfchain_types::certificate::{Certificate, Precommit, precommit_digest};
use selfchain_types::crypto::{BatchVerifier, Scheme, SigningKey};
use selfchain_types::evidence::{Evidence, encode_evidence};
use selfchain_types::genesis::{Fees, Plane, Validator};
use selfchain_types::{
    AccountFlags, AccountId, Amount, AssetId, Envelope, EnvelopeBuilder, Genesis, Hash, Height, KeyId,
    Operation, Outcome, Risk, TimeNs, Verified,
};
use std::collections::BTreeMap;
use std::convert::Infallible;

pub const EPOCH: u64 = 16;
pub const COIN: AssetId = AssetId(7);
pub const RESERVE: AccountId = AccountId(900);
/// The owner's, with 10,000 coins.
pub const PURSE: AccountId = AccountId(31);
/// The issuer's, with coins for fees.
const FLOAT: AccountId = AccountId(32);

/// Seeds of keys.
pub const ISSUER: u8 = 1;
pub const AUTHORITY: u8 = 9;
pub const FOUNDERS: [u8; 4] = [11, 12, 13, 14];
pub const JOINER: u8 = 21;
pub const OTHER: u8 = 22;
pub const OWNER: u8 = 31;
/// The root of an identity, quick to sign with.
pub const ROOT: u8 = 200;
const SEEDS: [u8; 9] = [ISSUER, AUTHORITY, 11, 12, 13, 14, JOINER, OTHER, OWNER];
const REVEALS: u32 = 512;
const BOUND: AccountFlags = AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS;

pub fn key(seed: u8) -> SigningKey {
    let scheme = if seed == ROOT {
        Scheme::Ed25519SlhDsa128f
    } else {
        Scheme::Ed25519
    };
    SigningKey::of_scheme(scheme, &[seed; 32]).unwrap()
}

pub fn id(seed: u8) -> KeyId {
    key(seed).id()
}

/// The account that earns for a validator without a bond in money.
pub fn earnings(seed: u8) -> AccountId {
    AccountId::derive(&id(seed), COIN, 0)
}

pub fn pay(id: u128, debit: AccountId, credit: AccountId, amount: u128) -> Operation {
    Operation::transfer(id, debit, credit, Amount(amount), COIN)
}

/// A join and its attachments.
pub fn join(world: &World, seed: u8, bond: u64, account: AccountId) -> (Operation, Vec<u8>) {
    let head = world.chains[&id(seed)].head();
    let attachments = [head.0.as_slice(), key(seed).public().as_bytes()].concat();
    let len = u32::try_from(attachments.len()).unwrap();
    let operation = Operation::join(1, id(seed), bond, account, 1, (0, len));
    (operation, attachments)
}

pub struct World {
    pub genesis: Genesis,
    pub chain: Chain,
    pub rows: Vec<Vec<u8>>,
    plane: Plane,
    certificate: Vec<u8>,
    counters: BTreeMap<u8, u64>,
    /// Of founders, and of who may join.
    chains: BTreeMap<KeyId, RevealChain>,
    fresh: BTreeMap<KeyId, RevealChain>,
}

impl World {
    pub fn new(plane: Plane) -> Self {
        Self::with_fees(plane, |_| ())
    }

    pub fn with_fees(plane: Plane, change: impl FnOnce(&mut Fees)) -> Self {
        Self::with(plane, change, |_| ())
    }

    pub fn with(plane: Plane, change: impl FnOnce(&mut Fees), found_with: impl FnOnce(&mut Genesis)) -> Self {
        let mut genesis = Genesis::solo("members", 1, key(AUTHORITY).public().clone());
        genesis.fees.asset = COIN;
        genesis.fees.collector = RESERVE;
        change(&mut genesis.fees);
        let keys = FOUNDERS.map(key);
        let epoch = u32::try_from(EPOCH).unwrap();
        let mut genesis = found(genesis, plane, &keys, epoch, REVEALS);
        found_with(&mut genesis);
        let mut world = Self::of(genesis, plane);
        world.found();
        world
    }

    pub fn of(genesis: Genesis, plane: Plane) -> Self {
        let chain = Chain::new(genesis.clone(), standing(&genesis).unwrap());
        let own = |seed: u8| RevealChain::new(&[seed; 32], REVEALS);
        let chains = SEEDS
            .into_iter()
            .map(|seed| {
                (
                    id(seed),
                    reveals(&genesis, &key(seed)).unwrap_or_else(|| own(seed)),
                )
            })
            .collect();
        Self {
            genesis,
            chain,
            rows: Vec::new(),
            plane,
            certificate: Vec::new(),
            counters: BTreeMap::new(),
            chains,
            fresh: BTreeMap::new(),
        }
    }

    /// The asset, the money, and the reserve, opened last: from then on fees are charged.
    pub fn found(&mut self) {
        let open = |account, owner| Operation::open_account(account, COIN, id(owner), BOUND, Amount::ZERO, 0);
        let mut operations = vec![
            Operation::create_asset(COIN, AccountId(1), KeyId::NONE, 0, Amount(1 << 40)),
            open(PURSE, OWNER),
            open(FLOAT, OTHER),
            pay(1, AccountId(1), PURSE, 10_000),
            pay(2, AccountId(1), FLOAT, 1 << 30),
        ];
        if self.genesis.fees.collector != AccountId::NONE {
            operations.push(open(RESERVE, AUTHORITY));
        }
        self.must(&[ISSUER, AUTHORITY], operations, Vec::new());
    }

    pub fn height(&self) -> u64 {
        self.chain.tip().height.0
    }

    /// The next height's power of a validator.
    pub fn power(&self, seed: u8) -> Option<u64> {
        let validators = self.chain.validators();
        let found = validators.iter().find(|one| one.key.id() == id(seed));
        found.map(|one| one.power)
    }

    /// The next height's qualities, by position.
    pub fn qualities(&self) -> Vec<u16> {
        let view = self.chain.standing().unwrap().view();
        view.members.iter().filter_map(|member| member.quality).collect()
    }

    /// Debits and credits posted, debits and credits pending.
    pub fn totals(&self, account: AccountId) -> [u128; 4] {
        let balances = self.chain.ledger().account(account).unwrap().balances();
        [
            balances.debits_posted.get(),
            balances.credits_posted.get(),
            balances.debits_pending.get(),
            balances.credits_pending.get(),
        ]
    }

    pub fn reveals_before(&self, seed: u8) -> Hash {
        self.chain.standing().unwrap().reveals_before(&id(seed)).unwrap()
    }

    /// The last link of a chain that a validator may begin.
    pub fn new_reveals(&mut self, seed: u8) -> Hash {
        let chain = RevealChain::new(&[seed + 100; 32], REVEALS);
        let head = chain.head();
        self.fresh.insert(id(seed), chain);
        head
    }

    pub fn begin_new_reveals(&mut self, seed: u8) {
        let chain = self.fresh.remove(&id(seed)).unwrap();
        self.chains.insert(id(seed), chain);
    }

    pub fn open_earnings(&mut self, seed: u8) {
        let open = Operation::open_account(earnings(seed), COIN, id(seed), BOUND, Amount::ZERO, 0);
        self.must(&[OTHER], vec![open], Vec::new());
    }

    /// A block whose only operation anchors something.
    pub fn pay_fee(&mut self) {
        self.must(&[OTHER], vec![Operation::anchor(1, Hash([1; 32]))], Vec::new());
    }

    pub fn must(&mut self, by: &[u8], operations: Vec<Operation>, attachments: Vec<u8>) {
        let outcomes = self.run(by, operations, attachments);
        assert!(outcomes.iter().all(|one| *one == Outcome::Ok), "{outcomes:?}");
    }

    /// Executes one envelope in a block of its own. Fees are paid from the float, whose owner signs too.
    pub fn run(&mut self, by: &[u8], operations: Vec<Operation>, attachments: Vec<u8>) -> Vec<Outcome> {
        let next = self.chain.tip().height.next();
        let mut builder = EnvelopeBuilder::new(self.genesis.chain_id(), next, 10, operations);
        builder.attachments = attachments;
        let mut by = by.to_vec();
        if self.genesis.fees.base > 0 && next > Height(1) {
            builder.fee = (FLOAT, COIN, Amount(self.genesis.fees.base.into()));
            if !by.contains(&OTHER) {
                by.push(OTHER);
            }
        }
        let keys: Vec<SigningKey> = by.iter().map(|seed| key(*seed)).collect();
        let signers: Vec<(&SigningKey, u32, u64)> = keys
            .iter()
            .zip(&by)
            .map(|(key, seed)| {
                let counter = self.counters.entry(*seed).or_default();
                *counter += 1;
                (key, 0, *counter)
            })
            .collect();
        let envelope = Envelope::decode(builder.sign(&signers)).unwrap();
        let verified = Verified::check(envelope, &()).unwrap();
        let block = self.step_with(vec![verified], &[]);
        let outcomes = block.result.outcomes.iter();
        outcomes.map(|code| Outcome::from_code(*code).unwrap()).collect()
    }

    /// Up to a height.
    pub fn to(&mut self, height: u64) {
        while self.height() < height {
            self.step();
        }
    }

    pub fn step(&mut self) {
        self.step_with(Vec::new(), &[]);
    }

    /// The next block, judged, certified and executed.
    pub fn step_with(&mut self, envelopes: Vec<Verified>, evidence: &[u8]) -> Block {
        let height = self.chain.tip().height.next();
        let validators = self.chain.validators();
        let (id, reveal) = if self.plane == Plane::Solo {
            (validators[0].key.id(), Hash::ZERO)
        } else {
            let at = proposer(&self.chain.schedule(), height, 0).unwrap();
            let id = validators[at].key.id();
            let head = self.chain.standing().unwrap().reveals_before(&id).unwrap();
            let reveal = match head {
                Hash::ZERO => Hash::ZERO,
                _ => self.chains.get_mut(&id).unwrap().before(&head).unwrap(),
            };
            (id, reveal)
        };
        let proposing = Proposing {
            reveal,
            parent_certificate: &self.certificate,
            evidence,
            ..Proposing::solo(id)
        };
        let now = TimeNs(height.0 * 1_000_000);
        let candidate = self.chain.propose(envelopes, Risk::default(), now, proposing);
        let proposal = Proposal::new(candidate.to_bytes()).unwrap();
        let candidate = self
            .chain
            .judge(&proposal, &BatchVerifier::new(), &Known::NOTHING)
            .unwrap();
        let certificate = self.certify(height, candidate.hash());
        let block = self.chain.commit(&candidate, &certificate, &|_| false).unwrap();
        if self.plane != Plane::Solo {
            self.certificate.clear();
            certificate.encode(&mut self.certificate);
        }
        self.rows.push(block.row.clone());
        block
    }

    fn certify(&self, height: Height, block: Hash) -> Certificate {
        let said = extension(self.plane, &Seen::own());
        let digest = precommit_digest(&self.genesis.chain_id(), height, 0, &block, &said);
        let sign = |(at, validator): (u16, &Validator)| {
            let seed = SEEDS.into_iter().find(|seed| id(*seed) == validator.key.id());
            Precommit {
                validator: at,
                extension: said.clone(),
                signature: key(seed.unwrap()).sign(digest.as_bytes()),
            }
        };
        Certificate {
            height,
            round: 0,
            block,
            precommits: (0..).zip(self.chain.validators().iter()).map(sign).collect(),
        }
    }

    /// That a validator prevoted two things at a height.
    pub fn proof(&self, seed: u8, height: Height) -> Vec<u8> {
        let validators = self.chain.validators_of(height).unwrap();
        let at = validators
            .iter()
            .position(|one| one.key.id() == id(seed))
            .unwrap();
        let ballot = |block| {
            let statement = Statement::Prevote(Some(Hash([block; 32])));
            let at = u16::try_from(at).unwrap();
            Ballot::sign(&self.genesis.chain_id(), height, 0, at, statement, &key(seed))
        };
        let mut bytes = Vec::new();
        encode_evidence(&[Evidence::new(ballot(1), ballot(2)).unwrap()], &mut bytes);
        bytes
    }

    /// That verifying and folding every row give this state, one of them through a snapshot at each epoch's end.
    pub fn check(&self) {
        let start = || standing(&self.genesis).unwrap();
        let mut verified = Chain::new(self.genesis.clone(), start());
        let mut folded = Chain::new(self.genesis.clone(), start());
        let signatures = BatchVerifier::new();
        for (height, row) in (1..).zip(&self.rows) {
            let block = || Prepared::new(Height(height), row).unwrap();
            verified.verify(&block(), &signatures).unwrap();
            folded.fold(block(), true).unwrap();
            assert_eq!(folded.roots(), verified.roots(), "height {height}");
            if height % EPOCH == EPOCH / 2 {
                let mut chunks = Vec::new();
                folded.ledger().snapshot(&mut |table, bytes| {
                    chunks.push(Ok::<_, Infallible>((table, bytes.to_vec())));
                });
                let ledger = Ledger::restore(&self.genesis, &mut chunks.into_iter()).unwrap();
                folded = Chain::restore(self.genesis.clone(), start(), ledger, folded.snapshot()).unwrap();
            }
        }
        assert_eq!(verified.tip(), self.chain.tip());
        assert_eq!(verified.roots(), self.chain.roots());
        for (asset, debits, credits) in self.chain.ledger().totals() {
            assert_eq!(debits, credits, "asset {asset}");
        }
    }
}
