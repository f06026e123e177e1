//! The clients: each lane of the one key sends a transaction, asks until it has an outcome, and sends the next.

use super::plan::MODEL_AFTER;
use crate::random::Random;
use selfchain::types::crypto::SigningKey;
use selfchain::types::envelope::EnvelopeView;
use selfchain::types::{
    AccountFlags, AccountId, Amount, AssetId, EnvelopeBuilder, Hash, Height, Operation, Policy,
};

/// What there is, and what bonds are units of.
pub(super) const MONEY: AssetId = AssetId(7);
/// Bonds are pending towards it.
pub(super) const RESERVE: AccountId = AccountId(2_000_000);
const ISSUANCE: AccountId = AccountId(1_000_000);
const ACCOUNTS: u64 = 16;
/// What genesis gives each validator at stake.
const BOND: u64 = 1_000;
/// What the first one has at stake beside that, at most.
const BOND_MORE_MAX: u64 = 60;
/// Of so many operations one changes that.
const BOND_EVERY: u64 = 12;
/// From these scores on transfers are explained, and held.
const ANNOTATE: u8 = 60;
const HOLD: u8 = 100;

/// A transaction under way.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) tx_id: Hash,
    pub(super) bytes: Vec<u8>,
    /// The newest block when it was made.
    pub(super) since: Height,
    pub(super) valid_until: Height,
}

/// What one lane does.
pub(super) struct Lane {
    number: u32,
    counter: u64,
    made: u128,
    /// The model that its first transaction puts in force.
    model: Option<Hash>,
    /// Heights that its transactions are valid for.
    validity: u64,
    /// When its next transaction is due.
    pub(super) due_ns: u64,
    pub(super) sent: Option<Sent>,
}

impl Lane {
    pub(super) fn new(number: u32, model: Option<Hash>, validity: u64, due_ns: u64) -> Self {
        Self {
            number,
            model,
            validity,
            due_ns,
            counter: 0,
            made: 0,
            sent: None,
        }
    }

    /// What the lane sent is in a block.
    pub(super) fn settled(&mut self) {
        self.counter += 1;
        self.sent = None;
    }

    /// What it sent can be in no block any more: its counter is free.
    pub(super) fn expired(&mut self) {
        self.sent = None;
    }

    /// Its next transaction.
    pub(super) fn next(
        &mut self,
        key: &SigningKey,
        chain_id: Hash,
        tip: Height,
        random: &mut Random,
    ) -> &Sent {
        let operations = if self.number == 0 && self.counter == 0 {
            let mut all = opening(key);
            let model = self.model.map(|model| scored(model, tip));
            all.extend(model.into_iter().flatten());
            all
        } else {
            let count = random.between(1, 3);
            (0..count).map(|_| self.operation(key, random)).collect()
        };
        let builder = EnvelopeBuilder::new(chain_id, tip, self.validity, operations);
        let bytes = builder.sign(&[(key, self.number, self.counter + 1)]);
        let tx_id = EnvelopeView::new(&bytes).map_or(Hash::ZERO, |view| view.tx_id());
        self.sent.insert(Sent {
            tx_id,
            bytes,
            since: Height(tip.0.saturating_sub(1)),
            valid_until: Height(tip.0 + self.validity),
        })
    }

    /// A transfer, or now and then another bond of the first validator, whose key signs for the clients too.
    fn operation(&mut self, key: &SigningKey, random: &mut Random) -> Operation {
        if random.below(BOND_EVERY) > 0 {
            return self.transfer(random);
        }
        let bond = BOND + random.below(BOND_MORE_MAX);
        Operation::bond(1, key.id(), bond, account(0))
    }

    fn transfer(&mut self, random: &mut Random) -> Operation {
        self.made += 1;
        let id = u128::from(self.number) << 64 | self.made;
        let from = random.below(ACCOUNTS);
        let to = (from + random.between(1, ACCOUNTS - 1)) % ACCOUNTS;
        let amount = Amount(u128::from(random.between(1, 40)));
        Operation::transfer(id, account(from), account(to), amount, MONEY)
    }
}

fn account(number: u64) -> AccountId {
    AccountId(u128::from(number) + 1)
}

/// The model, and a policy that explains some of its scores and holds some transfers until a second is over.
fn scored(model: Hash, tip: Height) -> [Operation; 2] {
    let policy = Policy {
        annotate: ANNOTATE,
        hold: HOLD,
        hold_timeout_s: 1,
        ..Policy::default()
    };
    [
        Operation::set_policy(1 << 101, AccountId::NONE, &policy),
        Operation::set_model(1 << 102, model, Height(tip.0 + MODEL_AFTER)),
    ]
}

/// The asset, the accounts, and money on each.
fn opening(key: &SigningKey) -> Vec<Operation> {
    let flags = AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS;
    let mut all = vec![
        Operation::create_asset(MONEY, ISSUANCE, key.id(), 0, Amount(1 << 60)),
        Operation::open_account(RESERVE, MONEY, key.id(), flags, Amount(0), 0),
    ];
    for number in 0..ACCOUNTS {
        all.push(Operation::open_account(
            account(number),
            MONEY,
            key.id(),
            flags,
            Amount(0),
            0,
        ));
        let id = u128::from(number) + (1 << 100);
        all.push(Operation::transfer(
            id,
            ISSUANCE,
            account(number),
            Amount(100),
            MONEY,
        ));
    }
    all
}
