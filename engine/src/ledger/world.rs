//! A small chain for tests: people with keys, accounts with money, and blocks that are executed and folded.
#![allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    reason = "tests fail by panicking"
)]

use super::{Executed, Ledger};
use alloc::collections::{BTreeMap, BTreeSet};
use selfchain_types::account::Balances;
use selfchain_types::block::{BlockResult, Exception};
use selfchain_types::crypto::{Scheme, SigningKey};
use selfchain_types::envelope::EnvelopeView;
use selfchain_types::time::NS_PER_S;
use selfchain_types::{
    AccountFlags, AccountId, Amount, AssetId, EnvelopeBuilder, Genesis, Height, KeyId, Operation, Outcome,
    Risk, TimeNs,
};

/// People, by the seed of their key.
pub(super) const ISSUER: u8 = 1;
pub(super) const ALICE: u8 = 2;
pub(super) const BOB: u8 = 3;
pub(super) const CAROL: u8 = 4;
pub(super) const AUTHORITY: u8 = 9;

pub(super) const COIN: AssetId = AssetId(7);
pub(super) const GEM: AssetId = AssetId(8);

/// The issuance account of COIN, with a cap of 1,000,000.
pub(super) const MINT: AccountId = AccountId(1);
pub(super) const GEM_MINT: AccountId = AccountId(2);
/// Alice's, with 1,000 coins.
pub(super) const A: AccountId = AccountId(11);
pub(super) const A2: AccountId = AccountId(12);
/// Alice's gems: 100.
pub(super) const A_GEM: AccountId = AccountId(13);
/// Bob's, empty.
pub(super) const B: AccountId = AccountId(21);
/// Bob's, with history.
pub(super) const B_HISTORY: AccountId = AccountId(22);
/// Bob's; its credits may exceed its debits by 50.
pub(super) const B_FEW: AccountId = AccountId(23);
/// Bob's, without a constraint.
pub(super) const B_FREE: AccountId = AccountId(24);

pub(super) const BOUND: AccountFlags = AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS;

/// The root of an identity, as is every seed from it on: those are quick to sign with.
pub(super) const ROOT: u8 = 200;

pub(super) fn key(seed: u8) -> SigningKey {
    let scheme = if seed < ROOT {
        Scheme::Ed25519
    } else {
        Scheme::Ed25519SlhDsa128f
    };
    SigningKey::of_scheme(scheme, &[seed; 32]).unwrap()
}

pub(super) fn id(seed: u8) -> KeyId {
    key(seed).id()
}

pub(super) fn pay(id: u128, debit: AccountId, credit: AccountId, amount: u128) -> Operation {
    Operation::transfer(id, debit, credit, Amount(amount), COIN)
}

pub(super) fn reserve(id: u128, debit: AccountId, credit: AccountId, amount: u128) -> Operation {
    Operation::reserve(id, debit, credit, Amount(amount), COIN, 10)
}

pub(super) fn open(account: AccountId, owner: u8) -> Operation {
    Operation::open_account(account, COIN, id(owner), BOUND, Amount::ZERO, 0)
}

#[derive(Clone)]
pub(super) struct World {
    pub(super) ledger: Ledger,
    pub(super) genesis: Genesis,
    pub(super) now: TimeNs,
    /// Outcomes that were met.
    pub(super) seen: BTreeSet<u16>,
    pub(super) fee: (AccountId, AssetId, Amount),
    pub(super) attachments: Vec<u8>,
    /// What a scorer says of the next block.
    pub(super) risk: Risk,
    counters: BTreeMap<u8, u64>,
}

impl World {
    /// A chain without anything on it.
    pub(super) fn empty(change: impl FnOnce(&mut Genesis)) -> Self {
        let mut genesis = Genesis::solo("test", 1, key(AUTHORITY).public().clone());
        change(&mut genesis);
        Self {
            ledger: Ledger::new(&genesis),
            genesis,
            now: TimeNs(NS_PER_S),
            seen: BTreeSet::new(),
            fee: (AccountId::NONE, AssetId(0), Amount::ZERO),
            attachments: Vec::new(),
            risk: Risk::default(),
            counters: BTreeMap::new(),
        }
    }

    /// A chain with the accounts above.
    pub(super) fn new(change: impl FnOnce(&mut Genesis)) -> Self {
        let mut world = Self::empty(change);
        let few = AccountFlags::CREDITS_MUST_NOT_EXCEED_DEBITS;
        let opening = |account, asset, owner, flags, limit| {
            Operation::open_account(account, asset, id(owner), flags, Amount(limit), 0)
        };
        world.must(
            &[ISSUER],
            &[
                Operation::create_asset(COIN, MINT, KeyId::NONE, 2, Amount(1_000_000)),
                Operation::create_asset(GEM, GEM_MINT, KeyId::NONE, 0, Amount(1_000_000)),
                opening(A, COIN, ALICE, BOUND, 0),
                opening(A2, COIN, ALICE, BOUND, 0),
                opening(A_GEM, GEM, ALICE, BOUND, 0),
                opening(B, COIN, BOB, BOUND, 0),
                opening(B_HISTORY, COIN, BOB, BOUND.with(AccountFlags::HISTORY), 0),
                opening(B_FEW, COIN, BOB, few, 50),
                opening(B_FREE, COIN, BOB, AccountFlags(0), 0),
                pay(1, MINT, A, 1_000),
                Operation::transfer(1, GEM_MINT, A_GEM, Amount(100), GEM),
            ],
        );
        world
    }

    /// Signs operations with the next counters.
    pub(super) fn envelope(&mut self, by: &[u8], operations: &[Operation]) -> Vec<u8> {
        let next = self.ledger.height().next();
        let mut builder = EnvelopeBuilder::new(self.genesis.chain_id(), next, 10, operations.to_vec());
        builder.fee = self.fee;
        builder.attachments = self.attachments.clone();
        let keys: Vec<SigningKey> = by.iter().map(|seed| key(*seed)).collect();
        let signers: Vec<(&SigningKey, u32, u64)> = by
            .iter()
            .zip(&keys)
            .map(|(seed, key)| {
                let counter = self.counters.entry(*seed).or_default();
                *counter += 1;
                (key, 0, *counter)
            })
            .collect();
        builder.sign(&signers)
    }

    /// Executes the next block, and checks that folding its result gives the same state and report.
    pub(super) fn block(&mut self, envelopes: &[Vec<u8>]) -> Executed {
        let views: Vec<EnvelopeView<'_>> = envelopes
            .iter()
            .map(|bytes| EnvelopeView::new(bytes).unwrap())
            .collect();
        let height = self.ledger.height().next();
        let time = self.ledger.next_time(&views, self.now);
        self.ledger.validate(height, time, &views).unwrap();
        let risk = core::mem::take(&mut self.risk);
        let mut folded = self.ledger.clone();
        let executed = self
            .ledger
            .execute(height, time, &views, &risk, &|_| true)
            .unwrap();
        let mut bytes = Vec::new();
        executed.result.encode(&mut bytes);
        let result = BlockResult::decode(&bytes).unwrap();
        let report = folded.fold(height, time, &views, &risk, &result).unwrap();
        assert_eq!(report.history, executed.history);
        assert_eq!(report.registered, executed.registered);
        assert_eq!(
            (report.applied, report.refused),
            (executed.applied, executed.refused)
        );
        assert_eq!(folded.roots(), self.ledger.roots(), "folding gives another state");
        for (asset, debits, credits) in self.ledger.totals() {
            assert_eq!(debits, credits, "asset {asset}");
        }
        self.seen.extend(&executed.result.outcomes);
        executed
    }

    /// Executes one envelope in a block of its own; its outcomes in words.
    pub(super) fn run(&mut self, by: &[u8], operations: &[Operation]) -> String {
        let envelope = self.envelope(by, operations);
        let executed = self.block(&[envelope]);
        words(&executed.result)
    }

    /// Executes operations that must all take effect.
    pub(super) fn must(&mut self, by: &[u8], operations: &[Operation]) {
        let outcomes = self.run(by, operations);
        assert!(
            outcomes.split(' ').all(|outcome| outcome.starts_with("ok")),
            "{outcomes}"
        );
    }

    /// Checks the outcomes of one envelope, and leaves this world as it was.
    pub(super) fn check(&mut self, by: &[u8], operations: &[Operation], expected: &str) {
        let mut other = self.clone();
        assert_eq!(other.run(by, operations), expected);
        self.seen = other.seen;
    }

    pub(super) fn pass(&mut self, seconds: u32) {
        self.now = self.now.plus_seconds(seconds).unwrap();
    }

    /// Debits and credits posted, debits and credits pending.
    pub(super) fn totals(&self, account: AccountId) -> [u128; 4] {
        numbers(&self.ledger.account(account).unwrap().balances())
    }

    pub(super) fn height(&self) -> Height {
        self.ledger.height()
    }
}

pub(super) fn numbers(balances: &Balances) -> [u128; 4] {
    [
        balances.debits_posted.get(),
        balances.credits_posted.get(),
        balances.debits_pending.get(),
        balances.credits_pending.get(),
    ]
}

/// Outcomes in words: `ok`, `ok=7` when 7 moved, `insufficient_funds:9/5` when 9 were needed of 5.
pub(super) fn words(result: &BlockResult) -> String {
    let outcomes = (0..).zip(&result.outcomes);
    let words: Vec<String> = outcomes
        .map(|(at, code)| {
            let name = Outcome::from_code(*code).unwrap().name();
            match result.exception(at) {
                None => name.into(),
                Some(Exception::Actual(amount)) => format!("{name}={amount}"),
                Some(Exception::Shortfall { needed, available }) => format!("{name}:{needed}/{available}"),
            }
        })
        .collect();
    words.join(" ")
}
