//! What the stages are fed: a ledger with open accounts, and envelopes between them.

use selfchain_bench::load::workload::{Profile, Workload};
use selfchain_engine::ledger::Ledger;
use selfchain_engine::pool::{Pool, PoolLimits, PoolRules};
use selfchain_types::crypto::SigningKey;
use selfchain_types::envelope::EnvelopeView;
use selfchain_types::{
    AccountFlags, AccountId, Amount, AssetId, Envelope, EnvelopeBuilder, Genesis, Height, KeyId, Operation,
    TimeNs, Verified,
};

/// Accounts of every stage.
pub(crate) const ACCOUNTS: u64 = 100_000;
/// Operations of a full envelope.
pub(crate) const FULL: usize = 8_190;
const COIN: AssetId = AssetId(1);
const MINT: AccountId = AccountId(1 << 64);

/// A chain of one and the transfers between its accounts.
pub(crate) struct Load {
    pub(crate) genesis: Genesis,
    key: SigningKey,
    counter: u64,
    workload: Workload,
}

impl Load {
    pub(crate) fn new() -> Self {
        let key = SigningKey::from_seed(&[1; 32]);
        Self {
            genesis: Genesis::solo("stages", 1, key.public().clone()),
            key,
            counter: 0,
            workload: Workload::new(ACCOUNTS, Profile::Uniform, 1).unwrap(),
        }
    }

    /// The next envelope of so many transfers.
    pub(crate) fn envelope(&mut self, operations: usize) -> Vec<u8> {
        let operation = |transfer: selfchain_bench::load::workload::WorkloadTransfer| {
            let amount = Amount(u128::from(transfer.amount));
            Operation::transfer(1, account(transfer.debit), account(transfer.credit), amount, COIN)
        };
        let operations = self.workload.by_ref().take(operations).map(operation).collect();
        self.sign(operations)
    }

    /// The next single-signed transfers, each under the one key's next counter, verified.
    pub(crate) fn verified(&mut self, len: usize) -> Vec<Verified> {
        let one = |_| Verified::from_log(Envelope::decode(self.envelope(1)).unwrap());
        (0..len).map(one).collect()
    }

    fn sign(&mut self, operations: Vec<Operation>) -> Vec<u8> {
        self.counter += 1;
        let builder = EnvelopeBuilder::new(self.genesis.chain_id(), Height(1), 1_000, operations);
        builder.sign(&[(&self.key, 0, self.counter)])
    }

    /// A ledger on which every account is open and funded.
    pub(crate) fn ledger(&mut self) -> Ledger {
        let mut ledger = Ledger::new(&self.genesis);
        let asset = self.sign(vec![Operation::create_asset(
            COIN,
            MINT,
            KeyId::NONE,
            2,
            Amount::MAX,
        )]);
        execute(&mut ledger, &[asset]);
        let owner = self.key.id();
        let flags = AccountFlags::DEBITS_MUST_NOT_EXCEED_CREDITS;
        let open = |at: u64| {
            [
                Operation::open_account(account(at), COIN, owner, flags, Amount::ZERO, 0),
                Operation::transfer(1, MINT, account(at), Amount(1 << 80), COIN),
            ]
        };
        let all: Vec<u64> = (0..ACCOUNTS).collect();
        for some in all.chunks(FULL / 2) {
            let envelope = self.sign(some.iter().flat_map(|at| open(*at)).collect());
            execute(&mut ledger, &[envelope]);
        }
        ledger.roots();
        ledger
    }

    pub(crate) fn pool(&self) -> Pool<()> {
        let mut rules = PoolRules::of(&self.genesis);
        rules.validity_max = 1 << 20;
        Pool::new(PoolLimits::default(), rules, Height(1))
    }
}

pub(crate) fn views(envelopes: &[Vec<u8>]) -> Vec<EnvelopeView<'_>> {
    envelopes
        .iter()
        .map(|bytes| EnvelopeView::new(bytes).unwrap())
        .collect()
}

/// Executes one block; every operation must take effect.
pub(crate) fn execute(ledger: &mut Ledger, envelopes: &[Vec<u8>]) {
    let views = views(envelopes);
    let (height, time_ns) = (ledger.height().next(), TimeNs(ledger.last_op_time().0 + 1));
    let executed = ledger
        .execute(
            height,
            time_ns,
            &views,
            &selfchain_types::Risk::default(),
            &|_| false,
        )
        .unwrap();
    assert_eq!(executed.refused, 0);
}

fn account(at: u64) -> AccountId {
    AccountId(u128::from(at) + 1)
}
